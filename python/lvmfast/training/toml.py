"""Configuration files: a table per group of figures."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lvmfast import _core
from lvmfast.errors import DataError
from lvmfast.parse import read_toml
from lvmfast.training.config import FREE, GROUPS, TYPES, Figure, TrainConfig, typed


def read_config(path: str | Path) -> dict[str, Figure]:
    """The figures that a configuration file states, by name.

    Raises:
        DataError: it cannot be read, or has a key that is no figure, or one in another table than its own.
    """
    where = str(path)
    tables = read_toml(Path(path))
    figures: dict[str, Figure] = {}
    for group, table in tables.items():
        if group not in GROUPS.values():
            known = ", ".join(dict.fromkeys(GROUPS.values()))
            raise DataError(f"{where}: {group}: expected tables named {known}")
        if not isinstance(table, dict):
            raise DataError(f"{where}: {group}: expected a table, got {table!r}")
        for name, value in table.items():
            if name in TYPES and GROUPS[name] != group:
                raise DataError(f"{where}: {group}.{name}: belongs into [{GROUPS[name]}]")
            figures[name] = typed(f"{where}: {group}", name, value)
    return figures


def config_text(config: TrainConfig) -> str:
    """All figures of `config`, as `read_config` reads them."""
    values = asdict(config)
    lines = ["# What ran. `lvmfast train --config THIS --out RUN` runs it again."]
    for group in dict.fromkeys(GROUPS.values()):
        lines += ["", f"[{group}]"]
        lines += [f"{name} = {_toml(values[name])}" for name, own in GROUPS.items() if own == group]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):  # JSON's escapes are TOML's, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def identity_of(config: TrainConfig) -> str:
    """What the figures that change the outcome are known by."""
    fixed = replace(config, **{name: getattr(TrainConfig(), name) for name in FREE})
    return _core.blake3_bytes(config_text(fixed).encode(), 1)
