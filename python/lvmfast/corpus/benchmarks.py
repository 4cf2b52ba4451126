"""Benchmarks by name: a table says where the data of each stand, and the caches of the user have them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lvmfast.corpus.columns import ROLES
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.dead_ends import nearest
from lvmfast.corpus.paths import Expansion, Named, expand, expanded
from lvmfast.errors import DataError
from lvmfast.parse import Fields, read_toml
from lvmfast.stores import is_uri
from lvmfast.stores.hub import (
    Kept,
    datasets_cache,
    fetch_files,
    fetch_split,
    hub_cache,
    kept_files,
    kept_split,
)

_TABLE = str(Path(__file__).with_name("benchmarks.toml"))
#: The name of a data set of the hub, with its owner's.
_DATASET = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?", re.ASCII)
#: What a table of a benchmark can say beside the roles of fields.
_KEYS = ("dataset", "revision", "whole", "configs", "split", "files", "licence")


@dataclass(frozen=True)
class Benchmark:
    """What a table says of a benchmark, or of one of its parts."""

    name: str  #: of a part with that of the part: ``mgsm/de``
    dataset: str  #: on the hub; empty where `files` are of this machine
    revision: str | None  #: the commit in which the table was checked
    whole: str | None  #: a configuration that has all the others
    configs: tuple[str, ...]  #: its parts, each a configuration of the data set
    split: str
    files: str | None  #: a pattern, with {config} and {split}; None: only ``datasets`` knows
    columns: Mapping[Column, str]  #: field or expression by column
    licence: str | None
    table: str  #: the file that says so

    def kept(self) -> tuple[dict[str, Kept], list[str]]:
        """By configuration what the caches have of it, and the configurations that they lack.

        Raises:
            DataError: ``huggingface_hub`` is missing.
        """
        if self.whole is not None and (whole := self._kept(self.whole)) is not None:
            return {self.whole: whole}, []
        found = {config: self._kept(config) for config in self.configs}
        return (
            {config: kept for config, kept in found.items() if kept is not None},
            [config for config, kept in found.items() if kept is None],
        )

    def at_hand(self) -> str:
        """Whether this machine has it, in a word or two.

        Raises:
            DataError: ``huggingface_hub`` is missing.
        """
        if not self.dataset:
            return "a file"
        kept, lacking = self.kept()
        if not lacking:
            return "yes"
        return f"{len(kept)} of {len(self.configs)} parts" if kept else "no"

    def told(self) -> dict[str, Any]:
        """What a list in JSON says of it.

        Raises:
            DataError: ``huggingface_hub`` is missing.
        """
        kept, lacking = self.kept() if self.dataset else ({}, [])
        return {
            "name": self.name,
            "dataset": self.dataset or None,
            "revision": self.revision,
            "split": self.split,
            "licence": self.licence,
            "columns": {
                ("question" if column == "text" else column): of for column, of in self.columns.items()
            },
            "files": [file for part in kept.values() for file in part.files],
            "missing": lacking,
        }

    def _kept(self, config: str) -> Kept | None:
        """The commit of the table, where a cache has it; else another."""
        found = list(kept_split(self.dataset, config, self.split))
        if self.files is not None:
            found = [*kept_files(self.dataset, self._pattern(config)), *found]
        return next((kept for kept in found if kept.revision == self.revision), found[0] if found else None)

    def _pattern(self, config: str) -> str:
        return str(self.files).replace("{config}", config).replace("{split}", self.split)

    def expanded(self) -> Expansion:
        """Its files, each by the name that a report has for it.

        Raises:
            DataError: a part is not on this machine; the message says what fetches it.
        """
        if not self.dataset:
            return self._local()
        kept, lacking = self.kept()
        if lacking:
            first = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
            parts = f"{len(lacking)} of {len(self.configs)} parts ({first}) of " if kept else ""
            table = "" if self.table == _TABLE else f" --benchmark-table {self.table}"
            raise DataError(
                f"{self.name}: neither cache has {parts}{self.dataset}, split {self.split} (looked in "
                f"{hub_cache()} and {datasets_cache()}); `lvmfast benchmarks --fetch {self.name}{table}` "
                "fetches it"
            )
        found = Expansion()
        for config, part in kept.items():
            name = self.name if len(kept) == 1 else f"{self.name}/{config}"
            found.files += part.files
            found.named |= {file: self._named(name, file, len(part.files)) for file in part.files}
        read = sorted({(part.revision, part.cache) for part in kept.values()})
        told = ", ".join(f"{revision} in {cache}" for revision, cache in read)
        if self.revision is not None and any(revision != self.revision for revision, _ in read):
            told += f" (the table has {self.revision})"
        found.notes.append(f"{self.name}: {self.dataset}, split {self.split}, revision {told}")
        return found

    def _local(self) -> Expansion:
        files = self._pattern("")
        found = expand([files if is_uri(files) else os.path.join(os.path.dirname(self.table), files)])
        found.named = {file: self._named(self.name, file, len(found.files)) for file in found.files}
        return found

    def _named(self, name: str, file: str, files: int) -> Named:
        return Named(name if files == 1 else f"{name}/{os.path.basename(file)}", self.columns)

    def fetch(self) -> None:
        """Fetches what the caches lack of it.

        Raises:
            DataError: a package is missing, or the hub does not give it.
        """
        if not self.dataset:
            return
        _, lacking = self.kept()
        wanted = [self.whole] if self.whole is not None and lacking else lacking
        if self.files is not None and wanted:
            fetch_files(self.dataset, self.revision, [self._pattern(config) for config in wanted])
        elif self.files is None:
            for config in wanted:
                fetch_split(self.dataset, self.revision, config, self.split)


def known_benchmarks(table: str | os.PathLike[str] | None = None) -> dict[str, Benchmark]:
    """Every benchmark that the package knows, and those of a table of one's own, which go first.

    Raises:
        DataError: the table cannot be read, or says something that no table can.
    """
    tables = [_TABLE] if table is None else [_TABLE, os.fspath(table)]
    return {
        name: _benchmark(name, Fields(f"{path}: {name}", said), path)
        for path in tables
        for name, said in read_toml(path).items()
    }


def benchmarks_named(names: Sequence[str], table: str | os.PathLike[str] | None = None) -> list[Benchmark]:
    """The benchmarks of these names, or their parts (``mgsm/de``).

    Raises:
        DataError: there is none of a name, or as `known_benchmarks`.
    """
    known = known_benchmarks(table)
    return [_part(name, known) for name in names]


def named_benchmarks(
    names: Sequence[str], *, beside: Any = None, table: str | os.PathLike[str] | None = None
) -> Expansion:
    """Benchmarks as an evaluation side, from the caches of the Hugging Face hub on this machine.

    Args:
        names: of benchmarks, or of parts (``mgsm/de``).
        beside: evaluation files that stand before them: a path, a quoted glob, a folder or several.
        table: a TOML file with benchmarks of one's own, which go before those of the package
            (docs/named-benchmarks.md).

    Returns:
        What `leakscan`, `clean` and `verify` take as `eval`.

    Raises:
        DataError: no name is given; a benchmark is unknown or not on this machine, and then the message says
            what fetches it; `beside` is in memory.
    """
    if not names:
        raise DataError("benchmarks: expected the name of one, got none")
    side = Expansion() if beside is None else expanded(beside)
    if side is None:
        raise DataError(
            f"benchmarks can be added to files only; this evaluation set is a {type(beside).__name__}"
        )
    for benchmark in benchmarks_named(names, table):
        side = side.and_then(benchmark.expanded())
    return side


def _part(name: str, known: Mapping[str, Benchmark]) -> Benchmark:
    if name in known:
        return known[name]
    whole, _, config = name.partition("/")
    if whole not in known:
        hint = nearest(name, known) or f"; known are {', '.join(known)}"
        raise DataError(f"{name}: no benchmark of this name{hint}")
    if config not in known[whole].configs:
        parts = known[whole].configs
        raise DataError(f"{name}: {whole} has no such part{nearest(config, parts) or f'; it has {parts}'}")
    return replace(known[whole], name=name, configs=(config,), whole=None)


def _stays_inside(path: str) -> bool:
    """Whether a path in a data set leads to something in it, whatever is put before it."""
    return bool(path) and not os.path.isabs(path) and ".." not in path.split("/")


def _benchmark(name: str, said: Fields, table: str) -> Benchmark:
    unknown = [key for key in said.values if key not in (*_KEYS, *ROLES)]
    if unknown:
        raise DataError(f"{said.where}: {unknown[0]}: expected one of {', '.join((*_KEYS, *ROLES))}")
    dataset = said.text("dataset", "")
    if dataset and not _DATASET.fullmatch(dataset):
        raise DataError(f"{said.where}: dataset: expected owner/name, as the hub has it, got {dataset!r:.60}")
    if not dataset and "files" not in said.values:
        raise DataError(f"{said.where}: expected a dataset of the hub, or files of this machine")
    configs = said.list("configs") if "configs" in said.values else ["default"]
    if not configs or not all(isinstance(config, str) for config in configs):
        raise DataError(f"{said.where}: configs: expected a list of names, got {configs!r:.60}")
    if not dataset and ("configs" in said.values or "whole" in said.values):
        raise DataError(
            f"{said.where}: files of this machine have no configs: each is a benchmark of its own"
        )
    columns = {role: said.text(role) for role in ROLES if role in said.values}
    if "question" not in columns:
        raise DataError(
            f"{said.where}: question: expected the field or expression that is asked, got nothing"
        )
    optional = {key: said.text(key) if key in said.values else None for key in _KEYS if key != "configs"}
    empty = next((key for key, value in (*optional.items(), *columns.items()) if value == ""), None)
    if empty is not None:
        raise DataError(f"{said.where}: {empty}: expected text, got none")
    inside = {"configs": configs, **{key: [optional[key] or "."] for key in ("whole", "split", "files")}}
    for key, paths in inside.items() if dataset else ():
        outside = next((path for path in paths if not _stays_inside(path)), None)
        if outside is not None:
            raise DataError(f"{said.where}: {key}: expected a name inside the data set, got {outside!r:.60}")
    return Benchmark(
        name,
        dataset,
        optional["revision"],
        optional["whole"],
        tuple(configs),
        said.text("split", "test"),
        optional["files"],
        {"text": columns.pop("question"), **columns},
        optional["licence"],
        table,
    )
