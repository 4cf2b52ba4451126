"""The cost model of docs/scale.md: constants measured on one shard, and what they say beside whole runs."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus import load_split
from lvmfast.corpus.keys import text_bytes
from lvmfast.leaks import cost
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.records import fixed
from lvmfast.leaks.spill import Spill, key_hashes
from memory_limit import run

LVMFAST = (sys.executable, "-m", "lvmfast")
#: A limit under which two sides of a million texts are parted, and the evidence that it leaves room for.
TIGHT = ("--memory-limit", str(600 << 20), "--max-pairs", "10000")
DIM = 384


@dataclass(frozen=True)
class Constants:
    """What a machine takes, in seconds (of all its cores together: `cpu`)."""

    cores: int
    start: float  #: until a command has loaded what it needs, and to write its report
    hash_byte: float  #: to hash a byte of an input file
    read_row: float  #: to read and decode a row of text
    read_cpu: float
    find_cpu: float  #: to normalise a text, hash it and look it up
    key_cpu: float  #: to normalise and hash it
    part_cpu: float  #: to put its key into a partition
    join_cpu: float  #: to read it back, and count it
    pairs_second: float  #: pairs of 384-d vectors compared in a second

    def streamed(self, rows: int, nbytes: int) -> float:
        """Seconds of a scan of `rows` texts in `nbytes` of files against a small index."""
        row = max(self.read_row, (self.read_cpu + self.find_cpu) / self.cores)
        return self.start + nbytes * self.hash_byte + rows * row

    def parted(self, rows: int, nbytes: int) -> float:
        """Seconds of a scan of texts by partitions, `rows` on both sides together."""
        row = max(self.read_row, (self.read_cpu + self.key_cpu + self.part_cpu) / self.cores)
        return self.start + nbytes * self.hash_byte + rows * (row + self.join_cpu)

    def compared(self, pairs: int) -> float:
        """Seconds of a comparison of vectors."""
        return self.start + pairs / self.pairs_second


@dataclass
class Spent:
    """Seconds between two points, by the clock and by all cores."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def spent() -> Iterator[Spent]:
    """Measures the block."""
    found, wall, cpu = Spent(), time.perf_counter(), time.process_time()
    yield found
    found.wall, found.cpu = time.perf_counter() - wall, time.process_time() - cpu


def measure(shard: Path) -> Constants:
    """The constants of this machine, from one shard of text."""
    starts = []
    for _ in range(5):
        with spent() as start:
            subprocess.run([*LVMFAST, "leakscan", "--help"], capture_output=True, check=True)
        starts.append(start.wall)
    with spent() as hashed:
        _core.blake3_file(shard, 0)
    split = load_split(str(shard))
    with spent() as reading:
        batches = list(split.batches(("text",), 16_384))
    rows = sum(batch.rows for batch in batches)
    index = _core.TextIndex("default", 16, 0)
    index.add(*text_bytes(batches[0].text))
    with spent() as finding:
        for batch in batches:
            index.find(*text_bytes(batch.text))
    with spent() as keying:
        keys = [_core.text_keys(*text_bytes(batch.text), "default", 16, 0) for batch in batches]
    with tempfile.TemporaryDirectory(dir=shard.parent) as folder:
        schema = pa.schema([("row", pa.int64()), ("key", pa.binary(16))])
        spill = Spill(Path(folder), "keys", schema, 16, 8 << 20)
        with spent() as parting:
            for batch, of in zip(batches, keys, strict=True):
                numbers = pa.array(batch.start + np.arange(batch.rows))
                rows_of = pa.RecordBatch.from_pydict({"row": numbers, "key": fixed(of)})
                spill.add(key_hashes(of, 0), rows_of)
            spill.close()
        with spent() as joining:
            for place in range(16):
                table = _core.KeyTable(2, 0)
                for part in spill.read(place):
                    words = np.frombuffer(part.column("key").buffers()[1], np.uint64)
                    slots = table.insert(words.reshape(-1, 2)[: part.num_rows])
                    np.add.at(np.zeros(len(table), np.int64), slots, 1)
    return Constants(
        cores=len(os.sched_getaffinity(0)),
        start=statistics.median(starts),
        hash_byte=hashed.wall / shard.stat().st_size,
        read_row=reading.wall / rows,
        read_cpu=reading.cpu / rows,
        find_cpu=finding.cpu / rows,
        key_cpu=keying.cpu / rows,
        part_cpu=parting.cpu / rows,
        join_cpu=joining.cpu / rows,
        pairs_second=pairs_second(),
    )


def vectors(rows: int, seed: int) -> np.ndarray:
    """Rows that are no one's neighbours."""
    return np.random.default_rng(seed).standard_normal((rows, DIM), dtype=np.float32)


def pairs_second() -> float:
    """Pairs of vectors in a second, as `leakscan` measures them before a long comparison."""
    left, right = (load_split({"vector": vectors(16_384, seed)}) for seed in (1, 2))
    found = cost.estimate(left, right, 1, 1, ScanOptions())
    assert found is not None
    return found.pairs_per_second


def timed(*arguments: str) -> tuple[float, int]:
    """Seconds and peak bytes of a scan."""
    done = run([*LVMFAST, "leakscan", *arguments, "--quiet"], 16 << 30)
    if done.code not in (0, 1):
        sys.exit(done.stderr)
    return done.seconds, done.peak


def sides(train: list[Path], eval_: list[Path]) -> list[str]:
    """Options that name the files."""
    return [
        *(word for path in train for word in ("--train", str(path))),
        *(word for path in eval_ for word in ("--eval", str(path))),
    ]


def row(name: str, rows: str, model: float, measured: tuple[float, int]) -> None:
    """Prints a line of the table."""
    seconds, peak = measured
    print(f"| {name} | {rows} | {model:.1f} s | {seconds:.1f} s | {peak / 2**20:.0f} MiB |", flush=True)


def compare(folder: Path) -> None:
    """Prints the constants, then model and measurement at three sizes of three kinds of scan."""
    shards = sorted((folder / "train").glob("*.parquet"))
    known = measure(shards[0])
    for name, value in vars(known).items():
        print(f"{name:>14} {value:.3g}")
    print("\n| scan | rows | model | measured | peak |\n| --- | ---: | ---: | ---: | ---: |")
    small = folder / "eval" / "eval.parquet"
    out = folder / "out-model"
    for count in (4, 16, 64):
        files = shards[:count]
        rows = count_rows([*files, small])
        model = known.streamed(rows, nbytes([*files, small]))
        row("text, streamed", f"{rows:,}", model, timed(*sides(files, [small]), "--out", str(out)))
    for count in (2, 4, 8):
        left, right = shards[:count], shards[count : 2 * count]
        rows = count_rows([*left, *right])
        model = known.parted(rows, nbytes([*left, *right]))
        found = timed(*sides(left, right), "--out", str(out), *TIGHT)
        row("text, parted", f"{rows:,}", model, found)
    for count in (20_000, 40_000, 80_000):
        paths = [folder / f"vectors-{side}.npy" for side in "ab"]
        for seed, path in enumerate(paths):
            np.save(path, vectors(count, seed))
        found = timed(*sides(paths[:1], paths[1:]), "--out", str(out), "--yes")
        row("vectors", f"{count:,} x {count:,}", known.compared(count**2), found)
        for path in paths:
            path.unlink()
    shutil.rmtree(out, ignore_errors=True)


def count_rows(paths: list[Path]) -> int:
    """Rows of parquet files."""
    return load_split([str(path) for path in paths]).rows or 0


def nbytes(paths: list[Path]) -> int:
    """Size of files."""
    return sum(path.stat().st_size for path in paths)
