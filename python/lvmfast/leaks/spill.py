"""Rows on disk, parted by the hash of their keys: equal ones stand together, in the order they came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.keys import Keys
from lvmfast.errors import DataError
from lvmfast.threads import threads

Hashes = npt.NDArray[np.uint64]

#: Files that are open at a time per spill; what needs more parts is split again.
MOST_PARTITIONS = 128


def key_hashes(keys: Keys, depth: int) -> Hashes:
    """A well-mixed word per key (n, width); another `depth` gives one that is independent of it.

    The mixing is the finaliser of splitmix64 (Steele, Lea, Flood 2014), once per word.
    """
    state = np.full(len(keys), (depth + 1) * 0x9E3779B97F4A7C15 % 2**64, np.uint64)
    for word in keys.T:
        state ^= word
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state ^= state >> np.uint64(shift)
            state *= np.uint64(factor)
        state ^= state >> np.uint64(31)
    return state


class Spill:
    """Record batches parted among files: written in the background, read back one part at a time."""

    def __init__(
        self, folder: Path, name: str, schema: pa.Schema, partitions: int, buffer_bytes: int
    ) -> None:
        """Opens `partitions` files under `folder`.

        Raises:
            DataError: they cannot be made.
        """
        self.name, self.schema = name, schema
        self._folder, self._buffer_bytes = folder, buffer_bytes
        self._paths = [folder / f"{name}-{place}.arrows" for place in range(partitions)]
        with _written_under(folder):
            self._files: list[IO[bytes]] = [path.open("wb", buffering=0) for path in self._paths]
            self._writers = [pa.ipc.new_stream(file, schema) for file in self._files]
        self._pending: list[pa.RecordBatch] = []
        self._pending_hashes: list[Hashes] = []
        self._pending_bytes = 0
        self._thread = threads(1, "lvmfast-spill")
        self._flushing: Future[None] | None = None
        self.rows = np.zeros(partitions, np.int64)  #: of each partition
        self.nbytes = 0  #: written so far

    def add(self, hashes: Hashes, rows: pa.RecordBatch) -> None:
        """Takes rows, each to the partition that its hash names.

        Raises:
            DataError: there is no space left, or the folder cannot be written.
        """
        if rows.num_rows == 0:
            return
        self._pending.append(rows)
        self._pending_hashes.append(hashes)
        self._pending_bytes += rows.nbytes + hashes.nbytes
        if self._pending_bytes >= self._buffer_bytes:
            self._flush()

    def _flush(self) -> None:
        self._settle()
        pending, hashes = self._pending, self._pending_hashes
        self._pending, self._pending_hashes, self._pending_bytes = [], [], 0
        if pending:
            self._flushing = self._thread.submit(self._write, pending, hashes)

    def _settle(self) -> None:
        if self._flushing is not None:
            flushing, self._flushing = self._flushing, None
            flushing.result()

    def _write(self, pending: Sequence[pa.RecordBatch], hashes: Sequence[Hashes]) -> None:
        rows = pa.Table.from_batches(pending).combine_chunks().to_batches()
        place = partition_of(np.concatenate(hashes), len(self._paths)).astype(np.uint8)
        start = 0
        with _written_under(self._folder):
            for batch in rows:  # more than one only where texts would overflow their offsets
                of = place[start : start + batch.num_rows]
                start += batch.num_rows
                order = np.argsort(of, kind="stable")
                counts = np.bincount(of, minlength=len(self._paths))
                ends = np.cumsum(counts)
                for part in np.flatnonzero(counts):
                    picked = batch.take(pa.array(order[ends[part] - counts[part] : ends[part]]))
                    self._writers[part].write_batch(picked)
                self.rows += counts
            self.nbytes = sum(file.tell() for file in self._files)

    def close(self) -> None:
        """Ends the writing.

        Raises:
            DataError: as `add`.
        """
        self._flush()
        self._settle()
        self._thread.shutdown()
        with _written_under(self._folder):
            for writer, file in zip(self._writers, self._files, strict=True):
                writer.close()
                file.close()

    def read(self, partition: int) -> Iterator[pa.RecordBatch]:
        """The rows of a partition, once closed, in the order they came."""
        with pa.OSFile(str(self._paths[partition])) as file, pa.ipc.open_stream(file) as stream:
            yield from stream

    def remove(self, partition: int) -> None:
        """Gives the space of a partition back."""
        self._paths[partition].unlink()


def partition_of(hashes: Hashes, partitions: int) -> Hashes:
    """The partition of each hash: its high half as a fraction of the partitions."""
    half = np.uint64(32)
    places: Hashes = ((hashes >> half) * np.uint64(partitions)) >> half
    return places


class _written_under:
    """Turns what the system says of writing into an error that names the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or " ".join(str(error).split())
            raise DataError(
                f"{self._folder.parent}: the partitions of the scan cannot be written: {reason}"
            ) from error
