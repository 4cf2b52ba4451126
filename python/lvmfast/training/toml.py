"""Configuration files: a table per group of figures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lvmfast import _core
from lvmfast.errors import DataError
from lvmfast.models.registry import MODELS
from lvmfast.parse import read_text, read_toml
from lvmfast.training.config import (
    FORMER_DEFAULTS,
    FORMER_NAMES,
    FREE,
    GROUPS,
    TYPES,
    Figure,
    TrainConfig,
    shown,
    typed,
)


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
        for key, value in table.items():
            name = str(FORMER_NAMES.get(key, key))
            if name in figures:
                former = next(old for old, new in FORMER_NAMES.items() if new == name)
                raise DataError(f"{where}: {group}.{name}: stated twice: {former} is its former name")
            if name in TYPES and GROUPS[name] != group:
                raise DataError(f"{where}: {group}.{name}: belongs into [{GROUPS[name]}]")
            figures[name] = typed(f"{where}: {group}", name, value)
    model = MODELS.get(str(figures.get("model")))
    if model and model.whole and "preset" in tables.get("recipe", {}):
        return {name: value for name, value in figures.items() if value != FORMER_DEFAULTS.get(name)}
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


def check_same_run(file: Path, config: TrainConfig, state: Path, stated: Mapping[str, Any]) -> None:
    """Holds the figures of a run, which stand in `file`, to those that its state was saved with.

    A figure that is missing had its default: it is younger than the state.

    Raises:
        DataError: one that changes the outcome differs.
    """
    if isinstance(stated.get("config"), str):
        if stated["config"] != _former_identity(file):
            raise DataError(
                f"{file}: not as it was when {state} was saved: restore it, or begin a new run with --config"
            )
        return
    saved = {name: typed(str(state), name, value) for name, value in dict(stated["figures"]).items()}
    for name, old in (TrainConfig().of_outcome() | saved).items():
        if old != (new := getattr(config, name)):
            raise DataError(
                f"{file}: {name}: {shown(new)}, but the state of the run was saved with {shown(old)}; "
                "other settings need another run"
            )


def _former_identity(file: Path) -> str:
    """What states knew their run by at first: the hash of its file, as it was spelled."""
    text = read_text(file)
    for name in FREE:
        text = re.sub(f"(?m)^{name} = .*$", f"{name} = {_toml(getattr(TrainConfig, name))}", text)
    return _core.blake3_bytes(text.encode(), 1)
