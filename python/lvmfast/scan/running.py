"""The levels of a two-sided scan while its rows go by, and the findings they come to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import COLUMNS, Batch, Column, Dataset
from lvmfast.corpus.keys import text_bytes
from lvmfast.corpus.sides import SIDES, Side, other_side
from lvmfast.leaks.cells import Cells, Codes
from lvmfast.leaks.common_scan import BatchCells, CommonScan
from lvmfast.leaks.cuts import AS_THEY_ARE, Cut
from lvmfast.leaks.evidence import Named
from lvmfast.leaks.findings import LevelFinding, SideInfo
from lvmfast.leaks.keyed import KeyedLevel
from lvmfast.leaks.near import CommonIndex, IndexedVectors
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.tally import Rows, SideTally, Tally
from lvmfast.leaks.trees import from_arrays, to_arrays
from lvmfast.leaks.vectors import ContextLevel, OracleLevel, VectorLevel
from lvmfast.levels import LEVELS, columns_of
from lvmfast.levels.base import LevelName as Level
from lvmfast.levels.context import CONTEXT
from lvmfast.levels.oracle import ORACLE
from lvmfast.levels.vector import VECTOR


class IndexedContent:
    """A digest of the rows that were indexed, whatever the size of their batches."""

    def __init__(self) -> None:
        """No row yet."""
        self._columns: dict[str, hashlib.blake2b] = {}

    def see(self, batch: Batch) -> None:
        """Takes the next rows."""
        for column in COLUMNS:
            values = getattr(batch, column)
            if isinstance(values, np.ndarray):
                self._take(column, values)
            elif values is not None:
                import pyarrow.compute as pc

                text = values.cast(pa.large_string())
                self._take(f"{column} lengths", pc.binary_length(text).fill_null(-1).to_numpy())
                data, offsets = text_bytes(text.fill_null(""))
                self._take(column, data[offsets[0] : offsets[-1]])

    def _take(self, name: str, values: npt.NDArray[Any]) -> None:
        of_column = self._columns.setdefault(name, hashlib.blake2b(digest_size=16))
        of_column.update(np.ascontiguousarray(values).view(np.uint8).data if values.size else b"")

    def digest(self) -> str:
        """Equal for equal rows."""
        return " ".join(f"{name}:{self._columns[name].hexdigest()}" for name in sorted(self._columns))


def columns_read(levels: Sequence[Level], side: Side, options: ScanOptions) -> tuple[Column, ...]:
    """The columns of one side that `levels` need."""
    read_by = [level for level in levels if side in LEVELS[level].sides]
    columns = columns_of(read_by)
    if (
        options.max_df is not None
        and any(LEVELS[level].boilerplate for level in levels)
        and "doc_id" not in columns
    ):
        columns = ("doc_id", *columns)
    return columns


def side_info(dataset: Dataset, seen: SideTally) -> SideInfo:
    """The files of a side, with the rows that went by."""
    return SideInfo(tuple(file.name for file in dataset.files), seen.count().file_rows)


@dataclass(frozen=True)
class Comparison:
    """What two sides are compared by: all that a machine that takes part must know."""

    levels: tuple[Level, ...]
    indexed: Side
    dim: int  #: of the vectors
    files: Mapping[Side, int]  #: how many each side has
    options: ScanOptions

    @classmethod
    def of(cls, sides: Mapping[Side, Dataset], levels: Sequence[Level], options: ScanOptions) -> Comparison:
        """That of two sides, the indexed one first."""
        indexed = next(iter(sides))
        files: dict[Side, int] = {side: len(sides[side].files) for side in SIDES}  # so they are told
        return cls(tuple(levels), indexed, sides[indexed].dim or 1, files, options)

    def columns(self, side: Side) -> tuple[Column, ...]:
        """The columns that a side is read for."""
        return columns_read(self.levels, side, self.options)


class RunningLevels:
    """The running levels of a two-sided scan, and the vectors that some of them share."""

    def __init__(self, comparison: Comparison, *, cuts: bool = False) -> None:
        """Nothing read yet; with `cuts` what is found can be cut out."""
        self.comparison = comparison
        levels, indexed, options = comparison.levels, comparison.indexed, comparison.options
        dim, files = comparison.dim, comparison.files
        self._indexed: Side = indexed
        self.streamed: Side = other_side(indexed)
        self.seen = {side: SideTally(n) for side, n in files.items()}
        compares = any(LEVELS[level].compares_vectors for level in levels)
        self._options, self._dim = options, dim
        #: A search for nearest rows goes by all vectors of an index, and is for targets.
        of_targets = CommonIndex(dim, options) if compares else None
        of_windows = CommonIndex(dim, options) if options.nearest else of_targets
        self._targets = IndexedVectors(of_targets) if of_targets else None
        self._windows = IndexedVectors(of_windows) if of_windows and CONTEXT.name in levels else None
        self._scan: CommonScan | None = None
        self._keyed = [
            KeyedLevel(LEVELS[level], indexed, files, options, cuts=cuts)
            for level in levels
            if LEVELS[level].keys is not None
        ]
        self._vector = (
            VectorLevel(indexed, self._targets, files, options)
            if self._targets and VECTOR.name in levels
            else None
        )
        self._context = (
            ContextLevel(indexed, self._targets, self._windows, files, options)
            if self._targets and self._windows
            else None
        )
        self._oracle = OracleLevel(files["eval"], options) if ORACLE.name in levels else None
        self._threshold = options.threshold
        self._content = IndexedContent() if cuts else None

    def take(self, side: Side, batch: Batch) -> None:
        """Gives a batch to every level."""
        self.seen[side].see(batch)
        if side == self._indexed:
            self._index(batch)
        else:
            for keyed in self._keyed:
                keyed.stream(batch)
            cells = self._scan(batch) if self._scan else BatchCells.of(batch)
            for level in (self._vector, self._context):
                if level:
                    level.stream(batch, cells)
        if self._oracle and side == "eval":
            self._oracle.check(batch)

    def _index(self, batch: Batch) -> None:
        if self._content:
            self._content.see(batch)
        for keyed in self._keyed:
            keyed.index(batch)
        codes: Codes | None = None
        if self._targets and batch.targets is not None:
            codes = self._targets.add(Cells.of(batch.targets, batch.start))
        for level in (self._vector, self._context):
            if level:
                level.index(batch, codes)

    @property
    def nbytes(self) -> int:
        """Bytes held by the indexes."""
        vectors = [v for v in (self._targets, self._windows) if v]
        indexes = {id(v.near): v.near.nbytes for v in vectors}
        beside = sum(level.nbytes for level in self._keyed) + sum(v.nbytes for v in vectors)
        return beside + sum(indexes.values())

    @property
    def matched(self) -> int:
        """Streamed rows held that the keyed levels matched; a row counts at every level."""
        return sum(level.matched for level in self._keyed)

    @property
    def evidence(self) -> int:
        """Matches held for a report: a keyed level has one a matched row at most."""
        of_keyed = sum(min(level.matched, self._options.max_pairs) for level in self._keyed)
        return of_keyed + sum(level.evidence for level in (self._vector, self._context) if level)

    def close_index(self) -> None:
        """To be called between the two sides."""
        for vectors in (self._targets, self._windows):
            if vectors:
                vectors.close()
        if self._targets and self._windows and self._targets.near is self._windows.near:
            self._scan = CommonScan(self._targets.near, self._options)

    def cut(self) -> Cut:
        """What was streamed since the last cut; nothing of it is left."""
        tree: Cut = {"seen": to_arrays(self.seen[self.streamed].part())}
        self.seen[self.streamed].forget()
        tree |= {name: level.cut() for name, level in self._cut_at(self.streamed).items()}
        return tree

    def fold(self, tree: Cut, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        self.seen[self.streamed].add(from_arrays(Tally, tree["seen"]).relocated(starts))
        for name, level in self._cut_at(self.streamed).items():
            level.fold(tree[name], starts)

    def indexed(self) -> Cut:
        """What the index is for `findings`, once closed; it stays."""
        tree: Cut = {"seen": to_arrays(self.seen[self._indexed].part())}
        if self._content:
            tree["content"] = self._content.digest()
        tree |= {name: level.indexed() for name, level in self._two_sided().items()}
        for name, vectors in self._vectors().items():
            tree[name] = vectors.indexed()
        if self._oracle and self._indexed == "eval":
            tree[ORACLE.name] = to_arrays(self._oracle.result())
        return tree

    def restore(self, tree: Cut) -> None:
        """Takes the place of levels that indexed what `indexed` tells of."""
        self.seen[self._indexed].add(from_arrays(Tally, tree["seen"]))
        for name, vectors in self._vectors().items():
            vectors.restore(tree[name])
        for name, level in self._two_sided().items():
            level.restore(tree[name])
        if self._oracle and self._indexed == "eval":
            self._oracle.fold(tree[ORACLE.name], AS_THEY_ARE)

    def named(self) -> Named:
        """The rows whose ids and texts a report of what was streamed so far may give."""
        of_levels = [level.named() for level in self._two_sided().values()]
        return Named.of([*of_levels, *([self._oracle.named()] if self._oracle else [])])

    def _two_sided(self) -> dict[str, KeyedLevel | VectorLevel | ContextLevel]:
        levels: dict[str, KeyedLevel | VectorLevel | ContextLevel] = {k.level: k for k in self._keyed}
        if self._vector:
            levels[VECTOR.name] = self._vector
        if self._context:
            levels[CONTEXT.name] = self._context
        return levels

    def _cut_at(self, side: Side) -> dict[str, KeyedLevel | VectorLevel | ContextLevel | OracleLevel]:
        of_oracle = {ORACLE.name: self._oracle} if self._oracle and side == "eval" else {}
        return {**self._two_sided(), **of_oracle}

    def _vectors(self) -> dict[str, IndexedVectors]:
        both = {"targets": self._targets, "windows": self._windows}
        return {name: vectors for name, vectors in both.items() if vectors}

    def findings(self) -> dict[Level, LevelFinding]:
        """The findings, not yet judged."""
        found: dict[Level, LevelFinding] = {}
        for keyed in self._keyed:
            found[keyed.level] = level_finding(keyed.level, keyed.result())
        for name in [name for name, level in LEVELS.items() if level.cosine]:
            level = {VECTOR.name: self._vector, CONTEXT.name: self._context, ORACLE.name: self._oracle}[name]
            if level:
                found[name] = level_finding(name, level.result(), self._threshold)
        return found


def level_finding(level: Level, result: LevelResult, threshold: float | None = None) -> LevelFinding:
    """The finding of a level, not yet judged; `threshold` is that of a level that compares by cosine."""
    return LevelFinding(
        level,
        "clean",
        threshold=threshold,
        pairs=result.pairs,
        sides={side: tally.count() for side, tally in result.sides.items()},
        keys=result.keys,
        shared_keys=result.match_count if result.keys else None,
        pairs_at=result.pairs_at,
        padding=result.padding,
        nearest=result.nearest,
        matches=result.matches,
        match_count=result.match_count,
    )
