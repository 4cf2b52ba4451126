"""The keyed levels where neither side fits in memory: both are parted by the hash of their keys, on disk.

A partition is read block by block and joined alone (`joins.py`); one that is too large is parted again.

Of texts only the 128-bit keys are parted at first (24 bytes a row). The rows whose key is shared are then
read again, and their texts parted and compared as texts, so that a match is an equality here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lvmfast.corpus.blocks import ahead
from lvmfast.corpus.dataset import Batch
from lvmfast.leaks.joins import Found, Join, Slots, joined_bytes, key_slots, text_slots
from lvmfast.leaks.keyed import KeyedResult
from lvmfast.leaks.levels import SIDES, Level, Side
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.records import Records, keys_of
from lvmfast.leaks.spill import MOST_PARTITIONS, Spill, key_hashes
from lvmfast.leaks.tally import Rows, SideTally

#: The largest partition is this much larger than the mean, at most, while keys are many.
UNEVEN = 1.3
#: A partition that still is too large after so many splits holds keys that no hash tells apart.
DEEPEST = 6
SPLIT_AGAIN = 16

#: Rows of one side again: those asked for, ascending, and others of their blocks.
Again = Callable[[Side, Rows], Iterable[Batch]]


class PartitionedLevel:
    """The level doc, chunk or text over two sides, or text over one, within a budget of memory.

    Both sides go by once, in any order of sides; `result` then joins.
    """

    def __init__(
        self,
        level: Level,
        sides: Sequence[Side],
        files: Mapping[Side, int],
        rows: Mapping[Side, int],
        options: ScanOptions,
        folder: Path,
        budget: int,
    ) -> None:
        """`sides` are the indexed and the streamed one, or ``train`` alone; `rows` estimates their rows.

        Args:
            level: doc, chunk or text.
            sides: the side that is indexed, then the other.
            files: files of each side.
            rows: rows of each side, about.
            options: of the scan.
            folder: where the partitions stand.
            budget: bytes that the join of a partition may hold.

        Raises:
            DataError: the partitions cannot be written, here and wherever rows are taken.
        """
        self.level: Level = level
        self._sides, self._options, self._folder, self._budget = tuple(sides), options, folder, budget
        self._tally = {side: SideTally(files[side]) for side in SIDES if side in sides}
        need = joined_bytes(level) * (sum(rows.values()) if level != "text" else rows[sides[0]])
        self.partitions = max(1, min(MOST_PARTITIONS, int(UNEVEN * need / budget) + 1))
        self._records = Records(level, options)
        schema = self._records.schema
        self._spills = {side: self._spill(f"{level}-{side}", schema, self.partitions) for side in sides}

    def _spill(self, name: str, schema: pa.Schema, partitions: int) -> Spill:
        return Spill(self._folder, name, schema, partitions, self._options.block_bytes // 2)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(spill.nbytes for spill in self._spills.values())

    def take(self, side: Side, batch: Batch) -> None:
        """Takes the next rows of a side."""
        keys, rows = self._records.of(batch, self._tally[side])
        self._spills[side].add(key_hashes(keys, 0), rows)

    def result(
        self, again: Again, joined: Callable[[str, int, int], None] = lambda phase, done, of: None
    ) -> KeyedResult:
        """What was found, once every row went by; `joined` is told of partitions that are done.

        Args:
            again: reads rows once more, for texts that are to be compared.
            joined: (phase, partitions done, of how many).
        """
        found = Found(self._sides, self._options)
        sharing: dict[Side, list[Rows]] = {side: [] for side in self._sides}

        def add(join: Join) -> None:
            found.add(join.found())

        def name_sharing(join: Join) -> None:
            for side, rows in join.sharing().items():
                sharing[side].append(rows)

        if self.level != "text":
            self._join_all(self._spills, self._id_slots, f"join {self.level}", joined, add)
            return found.result(self.level, self._tally)
        self._join_all(self._spills, self._id_slots, "join text", joined, name_sharing)
        wanted = {side: np.sort(np.concatenate(sharing.pop(side))) for side in self._sides}
        if any(len(rows) for rows in wanted.values()):
            texts = self._spill_texts(wanted, again)
            del wanted
            self._join_all(texts, self._text_slots, "compare text", joined, add)
        return found.result(self.level, self._tally)

    def _spill_texts(self, candidates: Mapping[Side, Rows], again: Again) -> dict[Side, Spill]:
        """The texts of the rows that share a key, in partitions of their own."""
        each = self._records.text_bytes // max(1, self._records.texts) + joined_bytes("text")
        need = UNEVEN * len(candidates[self._sides[0]]) * each
        partitions = max(1, min(MOST_PARTITIONS, int(need / self._budget) + 1))
        schema = self._records.text_schema
        spills = {side: self._spill(f"{side}-texts", schema, partitions) for side in self._sides}
        for side, wanted in candidates.items():
            for batch in again(side, wanted):
                low, high = np.searchsorted(wanted, (batch.start, batch.start + batch.rows))
                keys, rows = self._records.of_texts(side, batch, wanted[low:high] - batch.start)
                spills[side].add(key_hashes(keys, 0), rows)
        return spills

    def _id_slots(self) -> Slots:
        return key_slots(self.level, self._options)

    def _text_slots(self) -> Slots:
        return text_slots(self._options)

    def _join_all(
        self,
        spills: Mapping[Side, Spill],
        slots: Callable[[], Slots],
        phase: str,
        joined: Callable[[str, int, int], None],
        use: Callable[[Join], None],
    ) -> None:
        """Calls `use` with the join of every partition; only one is alive at a time."""
        for spill in spills.values():
            spill.close()
        partitions = len(next(iter(spills.values())).rows)
        joined(phase, 0, partitions)
        for place in range(partitions):
            self._join({side: SpilledPart(spill, place) for side, spill in spills.items()}, slots, 0, use)
            joined(phase, place + 1, partitions)

    def _join(
        self,
        parts: Mapping[Side, SpilledPart],
        slots: Callable[[], Slots],
        depth: int,
        use: Callable[[Join], None],
    ) -> None:
        join: Join | None = Join(self._sides, parts, slots(), self._options)
        assert join is not None
        if join.count(self._budget if depth < DEEPEST else None):
            use(join)
        else:
            join = None  # its memory is needed by the joins of the smaller parts
            for smaller in self._split(parts, depth + 1):
                self._join(smaller, slots, depth + 1, use)
        for part in parts.values():
            part.remove()

    def _split(self, parts: Mapping[Side, SpilledPart], depth: int) -> Iterator[dict[Side, SpilledPart]]:
        """The rows of a partition in smaller ones, by another hash."""
        spills: dict[Side, Spill] = {}
        for side, part in parts.items():
            spill = self._spill(f"{part.name}-again", part.schema, SPLIT_AGAIN)
            for rows in part.read():
                spill.add(key_hashes(keys_of(rows), depth), rows)
            spill.close()
            spills[side] = spill
        for place in range(SPLIT_AGAIN):
            yield {side: SpilledPart(spill, place) for side, spill in spills.items()}


@dataclass(frozen=True)
class SpilledPart:
    """One partition of a spill."""

    spill: Spill
    place: int

    @property
    def name(self) -> str:
        """A name for files made from it."""
        return f"{self.spill.name}-{self.place}"

    @property
    def schema(self) -> pa.Schema:
        """Of its rows."""
        return self.spill.schema

    def read(self) -> Iterator[pa.RecordBatch]:
        """Its rows, the next ones read while the last are dealt with."""
        return ahead(self.spill.read(self.place))

    def remove(self) -> None:
        """Gives its space back."""
        self.spill.remove(self.place)
