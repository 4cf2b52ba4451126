"""The keyed levels where neither side fits in memory: both are parted by the hash of their keys, on disk.

A partition is read block by block and joined alone (`joins.py`); one that is too large is parted again.

Of texts only the 128-bit keys are parted at first (24 bytes a row). The rows whose key is shared are then
read again, and their texts parted and compared as texts, so that a match is an equality here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from lvmfast.corpus.blocks import ahead
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.leaks.joins import PartitionJoin, joined_bytes, keyed_result, merged_partitions
from lvmfast.leaks.keyed import Keyed
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.records import Records, keys_of
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.spill import MOST_PARTITIONS, Spill, key_hashes
from lvmfast.leaks.tally import NO_ROWS, Rows, SideTally

#: The largest partition is this much larger than the mean, at most, while keys are many.
UNEVEN = 1.3
#: A partition that still is too large after so many splits holds keys that no hash tells apart.
DEEPEST = 6
SPLIT_AGAIN = 16

#: Rows of one side again: those asked for, ascending, and others of their blocks.
Again = Callable[[Side, Rows], Iterable[Batch]]
#: Told of partitions that are done: (phase, how many, of how many).
Joined = Callable[[str, int, int], None]
Found = TypeVar("Found")


class PartitionedLevel:
    """A keyed level over two sides, or within one, within a budget of memory.

    Both sides go by once, in any order of sides; `result` then joins.
    """

    def __init__(
        self,
        level: Keyed,
        sides: Sequence[Side],
        files: Mapping[Side, int],
        rows: Mapping[Side, int],
        options: ScanOptions,
        folder: Path,
        budget: int,
    ) -> None:
        """`sides` are the indexed and the streamed one, or ``train`` alone; `rows` estimates their rows.

        Args:
            level: that is found.
            sides: the side that is indexed, then the other.
            files: files of each side.
            rows: rows of each side, about.
            options: of the scan.
            folder: where the partitions stand.
            budget: bytes that the join of a partition may hold.

        Raises:
            DataError: the partitions cannot be written, here and wherever rows are taken.
        """
        assert level.keys is not None
        self.level, self._keys = level.name, level.keys
        self._sides, self._options, self._folder, self._budget = tuple(sides), options, folder, budget
        self._tally = {side: SideTally(files[side]) for side in SIDES if side in sides}
        need = joined_bytes(self._keys) * (rows[sides[0]] if self._keys.texts else sum(rows.values()))
        self.partitions = max(1, min(MOST_PARTITIONS, int(UNEVEN * need / budget) + 1))
        self._records = Records(level.keys, options)
        schema = self._records.schema
        self._spills = {side: self._spill(f"{level.name}-{side}", schema, self.partitions) for side in sides}

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

    def result(self, again: Again, joined: Joined = lambda phase, done, of: None) -> LevelResult:
        """What was found, once every row went by; `joined` is told of partitions that are done.

        Args:
            again: reads rows once more, for texts that are to be compared.
            joined: (phase, partitions done, of how many).
        """
        if self._keys.texts:
            found = self._joined_texts(again, joined)
        else:
            found = self._joined(self._spills, f"join {self.level}", joined, PartitionJoin.result)
        return keyed_result(self._tally, [merged_partitions(found, self._options)], self._options)

    def _joined_texts(self, again: Again, joined: Joined) -> Iterator[LevelResult]:
        sharing: dict[Side, list[Rows]] = {side: [NO_ROWS] for side in self._sides}
        for part in self._joined(self._spills, f"join {self.level}", joined, PartitionJoin.sharing):
            for side, rows in part.items():
                sharing[side].append(rows)
        wanted = {side: np.sort(np.concatenate(sharing.pop(side))) for side in self._sides}
        if any(len(rows) for rows in wanted.values()):
            texts = self._spill_texts(wanted, again)
            del wanted
            yield from self._joined(texts, f"compare {self.level}", joined, PartitionJoin.result, texts=True)

    def _spill_texts(self, candidates: Mapping[Side, Rows], again: Again) -> dict[Side, Spill]:
        """The texts of the rows that share a key, in partitions of their own."""
        each = self._records.text_bytes // max(1, self._records.texts) + joined_bytes(self._keys)
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

    def _joined(
        self,
        spills: Mapping[Side, Spill],
        phase: str,
        joined: Joined,
        found: Callable[[PartitionJoin], Found],
        *,
        texts: bool = False,
    ) -> Iterator[Found]:
        """What is `found` by the join of every partition; only one is alive at a time."""
        for spill in spills.values():
            spill.close()
        partitions = len(next(iter(spills.values())).rows)
        joined(phase, 0, partitions)
        for place in range(partitions):
            parts = {side: SpilledPart(spill, place) for side, spill in spills.items()}
            yield from self._joined_part(parts, found, texts, 0)
            joined(phase, place + 1, partitions)

    def _joined_part(
        self,
        parts: Mapping[Side, SpilledPart],
        found: Callable[[PartitionJoin], Found],
        texts: bool,
        depth: int,
    ) -> Iterator[Found]:
        join = PartitionJoin(self._keys, self._sides, parts, self._options, texts=texts)
        small = join.count(self._budget if depth < DEEPEST else None)
        of_join = found(join) if small else None
        del join  # its memory is needed by the joins of the smaller parts, and of the next
        if of_join is not None:
            yield of_join
        else:
            for smaller in self._split(parts, depth + 1):
                yield from self._joined_part(smaller, found, texts, depth + 1)
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
