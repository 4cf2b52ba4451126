"""The levels of a two-sided scan while its rows go by, and the findings they come to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import COLUMNS, Batch, Column, Dataset, SplitFile
from lvmfast.corpus.keys import text_bytes
from lvmfast.corpus.plain import null_rows, of_type, without_nulls
from lvmfast.corpus.sides import SIDES, Side, other_side
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.chunks import CHUNK_IDS
from lvmfast.leaks.cuts import Cut, Span
from lvmfast.leaks.evidence import Named
from lvmfast.leaks.findings import Findings, LevelFinding, SideInfo
from lvmfast.leaks.options import LevelName as Level
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.running import Beginning, Beside, InBlocks, Joining, Running
from lvmfast.leaks.tally import Rows, SideTally, Tally
from lvmfast.leaks.trees import from_arrays, to_arrays
from lvmfast.levels import LEVELS, columns_of, joined
from lvmfast.scan.plan import Sides

if TYPE_CHECKING:
    from lvmfast.corpus.fingerprint import Fingerprint

#: Rows that are read first behind a span, where its last document may go on.
ROWS_BEHIND = 256


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
                data, offsets = text_bytes(without_nulls(text := of_type(values, pa.large_string())))
                self._take(f"{column} lengths", np.where(null_rows(text), -1, np.diff(offsets)))
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
    if side == "eval":
        columns += tuple(dict.fromkeys(column for level in read_by for column in LEVELS[level].of_items))
    if (
        options.max_df is not None
        and any(LEVELS[level].boilerplate for level in levels)
        and "doc_id" not in columns
    ):
        columns = ("doc_id", *columns)
    if side == "train" and joined(levels, options):
        columns = tuple(dict.fromkeys((*CHUNK_IDS, *columns)))
    return columns


def side_info(dataset: Dataset, seen: SideTally | Tally) -> SideInfo:
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
    blocks: int | None = None  #: by which the streamed side goes in turn, once it is settled

    @classmethod
    def of(cls, sides: Mapping[Side, Dataset], levels: Sequence[Level], options: ScanOptions) -> Comparison:
        """That of two sides, the indexed one first."""
        indexed = next(iter(sides))
        files: dict[Side, int] = {side: len(sides[side].files) for side in SIDES}  # so they are told
        return cls(tuple(levels), indexed, sides[indexed].dim or 1, files, options)

    def columns(self, side: Side, block: int = 0) -> tuple[Column, ...]:
        """The columns that a side is read for: by later blocks, for the levels alone that have them."""
        levels = [level for level in self.levels if block == 0 or LEVELS[level].in_blocks]
        return columns_read(levels, side, self.options)


class RunningLevels:
    """The running levels of a two-sided scan, and the vectors that some of them share."""

    def __init__(self, comparison: Comparison, *, fingerprint: Fingerprint | None = None) -> None:
        """Nothing read yet.

        Args:
            comparison: of what.
            fingerprint: what train is known by, if that is all.
        """
        self.comparison = comparison
        self._indexed: Side = comparison.indexed
        self.streamed: Side = other_side(comparison.indexed)
        self.seen = {side: SideTally(n) for side, n in comparison.files.items()}
        beginning = Beginning(
            comparison.indexed, comparison.files, comparison.options, comparison.dim, fingerprint
        )
        self._levels = {name: LEVELS[name].begin(beginning) for name in comparison.levels}
        compares = any(LEVELS[name].compares_vectors for name in comparison.levels)
        self._vectors = beginning.vectors if compares and fingerprint is None else None
        self._content = IndexedContent() if beginning.cuts else None
        self._in_blocks = [
            name for name in comparison.levels if LEVELS[name].in_blocks and fingerprint is None
        ]
        self._block: int | None = None
        self._joined = joined(comparison.levels, comparison.options)
        self._joining = [cast(Joining, self._levels[name]) for name in self._joined]

    def take(self, side: Side, batch: Batch) -> None:
        """Gives a batch to every level that reads the side."""
        if side == self._indexed or not self._block:
            self.seen[side].see(batch)
        if self._content and side == self._indexed:
            self._content.see(batch)
        for level in self._reading(side).values():
            (level.index if side == self._indexed else level.stream)(batch)

    def beside(self) -> RunningLevels:
        """Levels with the same index and block that have streamed nothing: another thread streams to them.

        For levels that compare no vectors; the index stays as it is meanwhile.
        """
        twin = copy(self)
        twin.seen = {**self.seen, self.streamed: SideTally(self.seen[self.streamed].files)}
        those = {name: cast(Beside, level).beside() for name, level in self._reading(self.streamed).items()}
        twin._levels = {**self._levels, **those}
        twin._joining = [cast(Joining, twin._levels[name]) for name in self._joined]
        return twin

    def cut_of(self, span: Span, file: SplitFile, batches: Iterable[Batch]) -> Cut:
        """What a span of the streamed side comes to by itself."""
        for _ in self.take_span(span, file, batches):
            pass
        return self.cut()

    def take_span(self, span: Span, file: SplitFile, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Gives the rows of a span of the streamed side to the levels that read it; yields them, taken.

        Where rows are joined, those that go on with a document of an earlier span belong to that one, and the
        last document is read to its end.
        """
        if self._joining:
            before = Span(span.file, span.start - 1, span.start)
            row = next(before.batches(file, CHUNK_IDS, 1), None) if span.start else None
            for level in self._joining:
                level.begin(row)
        for batch in batches:
            self.take(self.streamed, batch)
            yield batch
        if self._joining:
            for batch in self._behind(span, file):
                going_on = [level.follow(batch) for level in self._joining]
                if not any(going_on):
                    break
            for level in self._joining:
                level.end()

    def _behind(self, span: Span, file: SplitFile) -> Iterator[Batch]:
        """The rows behind a span: few at a time at first, for few go on with a document."""
        start, rows, end = span.stop, ROWS_BEHIND, file.rows
        while start is not None and (end is None or start < end):
            stop = start + rows if end is None else min(start + rows, end)
            yield from Span(span.file, start, stop).batches(file, (*CHUNK_IDS, "text"), rows)
            start, rows = stop, 4 * rows

    def _reading(self, side: Side) -> dict[Level, Running]:
        later = side == self.streamed and self._block
        names = self._in_blocks if later else self._levels
        return {name: self._levels[name] for name in names if side in LEVELS[name].sides}

    @property
    def nbytes(self) -> int:
        """Bytes held by the indexes."""
        shared = self._vectors.nbytes if self._vectors else 0
        return shared + sum(level.nbytes for level in self._levels.values())

    @property
    def matched(self) -> int:
        """Streamed rows held that matched; a row counts at every level."""
        return sum(level.matched for level in self._levels.values())

    @property
    def evidence(self) -> int:
        """Matches held for a report."""
        return sum(level.evidence for level in self._levels.values())

    def close_index(self, room: int = memory.ENDLESS) -> None:
        """To be called between the two sides; settles the blocks where nobody did.

        Args:
            room: bytes that the index may take.

        Raises:
            DataError: not one block of a level fits in there.
        """
        if self._vectors:
            self._vectors.close()
        for level in self._levels.values():
            level.close()
        blocks = self.comparison.blocks or 1
        if self.comparison.blocks is None:
            for name in self._in_blocks:
                left = room - self.nbytes
                needed = cast(InBlocks, self._levels[name]).blocks(left)
                if needed is None:
                    raise DataError(
                        f"{name}: the {self._indexed} side takes {self.nbytes / 2**30:.2f} GiB, and the "
                        f"{left / 2**30:.2f} GiB left hold no block of its index: raise the limit"
                    )
                blocks = max(blocks, needed)
        self.comparison = replace(self.comparison, blocks=blocks)

    @property
    def blocks(self) -> int:
        """By how many blocks of the indexed side the other has to go, once that is settled."""
        return self.comparison.blocks or 1

    def turn(self, block: int) -> None:
        """What is streamed next goes by that block; by the first alone at levels that have none."""
        if block != self._block:
            for name in self._in_blocks:
                cast(InBlocks, self._levels[name]).turn(block, self.blocks)
            self._block = block

    def cut(self) -> Cut:
        """What was streamed since the last cut; nothing of it is left."""
        tree: Cut = {"seen": to_arrays(self.seen[self.streamed].part())}
        self.seen[self.streamed].forget()
        return tree | {name: level.cut() for name, level in self._reading(self.streamed).items()}

    def fold(self, tree: Cut, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        self.seen[self.streamed].add(from_arrays(Tally, tree["seen"]).relocated(starts))
        for name, level in self._levels.items():
            if name in tree:
                level.fold(tree[name], starts)

    def indexed(self) -> Cut:
        """What the index is for `findings`, once closed; it stays."""
        tree: Cut = {"seen": to_arrays(self.seen[self._indexed].part())}
        if self._content:
            tree["content"] = self._content.digest()
        if self._vectors:
            tree["vectors"] = self._vectors.indexed()
        return tree | {name: level.indexed() for name, level in self._reading(self._indexed).items()}

    def restore(self, tree: Cut) -> None:
        """Takes the place of levels that indexed what `indexed` tells of."""
        self.seen[self._indexed].add(from_arrays(Tally, tree["seen"]))
        if self._vectors:
            self._vectors.restore(tree["vectors"])
        for name, level in self._reading(self._indexed).items():
            level.restore(tree[name])

    def named(self) -> Named:
        """The rows whose ids and texts a report of what was streamed so far may give."""
        return Named.of([level.named() for level in self._levels.values()])

    def findings(self) -> dict[Level, LevelFinding]:
        """The findings, not yet judged."""
        threshold = self.comparison.options.threshold
        return {name: level_finding(name, level.result(), threshold) for name, level in self._levels.items()}


def block_phase(side: Side, block: int, blocks: int) -> str:
    """What goes on while `side` goes by a block of the other."""
    return f"scan {side}" + (f", block {block + 1} of {blocks}" if blocks > 1 else "")


def level_finding(level: Level, result: LevelResult, threshold: float) -> LevelFinding:
    """The finding of a level, not yet judged; `threshold` is that of the levels that compare by cosine."""
    return LevelFinding(
        level,
        "clean",
        threshold=threshold if LEVELS[level].cosine else None,
        pairs=result.pairs,
        sides={side: tally.count() for side, tally in result.sides.items()},
        keys=result.keys,
        shared_keys=result.match_count if result.keys else None,
        pairs_at=result.pairs_at,
        padding=result.padding,
        nearest=result.nearest,
        matches=result.matches,
        undecided=result.undecided,
        holders=result.holders,
        beside={name: level_finding(level, found, threshold) for name, found in result.beside.items()},
        continued=result.continued,
        rule=result.rule,
        items=result.items,
        match_count=result.match_count,
    )


def findings_of(
    found: Mapping[Level, LevelResult], seen: Mapping[Side, SideTally | Tally], sides: Sides, threshold: float
) -> Findings:
    """The findings of levels, and the sides whose rows went by."""
    return Findings(
        {level: level_finding(level, result, threshold) for level, result in found.items()},
        {side: side_info(sides[side], seen[side]) for side in SIDES if side in sides},
    )
