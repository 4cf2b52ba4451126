"""Large scans: 20 million texts in 2 GiB, one split through every engine, and the model of docs/scale.md.

scale.py texts DIR [--rows 20000000 --eval-rows 100000]   generated shards of text
scale.py both DIR [--rows 1000000]                        64 shards with text, ids and 384-d vectors
scale.py limit DIR [--limit 2GiB]                         scan what `texts` made, under a control group
scale.py engines DIR [--ray]                              local, shards and merge, and Ray: one answer, timed
scale.py workers DIR                                      this machine, and Ray with 2, 4 and 8 workers
scale.py parted DIR [--limit 700MiB]                      two large sides of `texts`, by disk and on Ray
scale.py model DIR                                        the cost model beside runs at three sizes
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common import machine
from lvmfast.cli.values import size
from memory_limit import Finished, run

SHARDS = 64
DIM = 384
#: Of the cluster that `workers` starts.
PORT = 6399
LVMFAST = (sys.executable, "-m", "lvmfast")

#: A text is this many fragments of four words, about 170 characters.
FRAGMENTS = 8
SYLLABLES = [consonant + vowel for consonant in "bdklmn" for vowel in "aeiou"]


def fragments() -> pa.Array:
    """65,536 runs of four made-up words."""
    rng = np.random.default_rng(11)
    syllables = pa.array(SYLLABLES)
    words = pc.binary_join_element_wise(*(drawn(syllables, 5_000, rng) for _ in range(2)), "")
    return pc.binary_join_element_wise(*(drawn(words, 65_536, rng) for _ in range(4)), " ")


def drawn(pool: pa.Array, count: int, rng: np.random.Generator) -> pa.Array:
    """`count` values of `pool`."""
    return pool.take(pa.array(rng.integers(0, len(pool), count)))


def texts(first: int, count: int, seed: int, pool: pa.Array) -> pa.Array:
    """`count` texts: no two alike, for each ends in its number."""
    rng = np.random.default_rng([seed, first])
    parts = [drawn(pool, count, rng) for _ in range(FRAGMENTS)]
    numbers = pc.cast(pa.array(np.arange(first, first + count)), pa.string())
    return pc.binary_join_element_wise(*parts, numbers, " ")


def columns(first: int, count: int, seed: int, pool: pa.Array, vectors: bool) -> pa.Table:
    """Rows `first` to `first + count` of a split."""
    table = {"text": texts(first, count, seed, pool)}
    if vectors:
        rng = np.random.default_rng([seed, first, 1])
        rows = np.arange(first, first + count) + seed * 10**9
        values = rng.standard_normal((count, DIM), dtype=np.float32)
        table["doc_id"] = pa.array(rows // 20)
        table["chunk_id"] = pa.array(rows % 20)
        table["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), DIM)
    return pa.table(table)


def write_shard(folder: Path, shard: int, shards: int, rows: int, seed: int, vectors: bool) -> None:
    """One shard of a split, the same on every run."""
    start, stop = rows * shard // shards, rows * (shard + 1) // shards
    pool = fragments()
    step = 20_000 if vectors else 100_000
    pieces = (
        columns(first, min(step, stop - first), seed, pool, vectors) for first in range(start, stop, step)
    )
    first = next(pieces)
    path = folder / f"{shard:05}.parquet"
    with pq.ParquetWriter(path, first.schema, compression="zstd", use_dictionary=False) as writer:
        writer.write_table(first)
        for piece in pieces:
            writer.write_table(piece)


def write_split(folder: Path, rows: int, shards: int, seed: int, vectors: bool) -> None:
    """All shards of a split."""
    folder.mkdir(parents=True)
    with ProcessPoolExecutor() as workers:
        for done in [
            workers.submit(write_shard, folder, shard, shards, rows, seed, vectors) for shard in range(shards)
        ]:
            done.result()


def write_eval(folder: Path, train: Path, rows: int, vectors: bool) -> None:
    """A fresh split, of which one row in a hundred repeats one of train."""
    shards = sorted(train.glob("*.parquet"))
    fresh = columns(0, rows, 2, fragments(), vectors)
    wanted = rows // 100
    each = -(-wanted // len(shards))
    heads = (pa.Table.from_batches([next(pq.ParquetFile(shard).iter_batches(each))]) for shard in shards)
    seen = pa.concat_tables(heads).slice(0, wanted)
    seen = seen.set_column(0, "text", pc.utf8_upper(seen["text"]))
    folder.mkdir(parents=True)
    pq.write_table(pa.concat_tables([fresh.slice(wanted), seen]), folder / "eval.parquet")


def make(folder: Path, rows: int, eval_rows: int, vectors: bool) -> None:
    """A train split in shards and an eval split."""
    start = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    write_split(folder / "train", rows, SHARDS, 1, vectors)
    write_eval(folder / "eval", folder / "train", eval_rows, vectors)
    nbytes = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    print(f"{rows:,} + {eval_rows:,} rows, {nbytes / 1e9:.2f} GB, {time.perf_counter() - start:.0f} s")


def scan(folder: Path, out: Path, *more: str) -> list[str]:
    """The command of a scan of what `make` wrote."""
    sides = ["--train", str(folder / "train"), "--eval", str(folder / "eval")]
    return [*LVMFAST, "leakscan", *sides, "--out", str(out), "--quiet", *more]


def said(done: Finished) -> str:
    """How a run ended, in a line."""
    how = "enforced" if done.enforced else "watched"
    return f"exit {done.code}, {done.seconds:.1f} s, peak {done.peak / 2**20:.0f} MiB anonymous ({how})"


def limited(folder: Path, limit: int) -> None:
    """The 20 million texts under a limit, smaller side indexed, and the figures of the scan."""
    out = folder / "out-limit"
    shutil.rmtree(out, ignore_errors=True)
    done = run(scan(folder, out, "--memory-limit", str(limit)), limit)
    print(f"within {limit / 2**30:.2f} GiB: {said(done)}")
    if done.code not in (0, 1):
        sys.exit(done.stderr)
    summary = json.loads((out / "summary.json").read_text())
    rows = sum(file["rows"] for file in summary["files"])
    matched = summary["levels"]["text"]["eval_rows_matched"]
    print(f"  {rows / done.seconds:,.0f} rows/s, {matched:,} eval rows matched, timings {summary['timings']}")


def timed(command: Sequence[str]) -> float:
    """Seconds of a command that ends with exit code 0 or 1."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return time.perf_counter() - start


def engines(folder: Path, parts: int, ray: bool) -> None:
    """One split through every engine: the same bytes, and how long each takes."""
    outs = {name: folder / f"out-{name}" for name in ("local", "merged", "ray")}
    for out in (*outs.values(), *folder.glob("part-*")):
        shutil.rmtree(out, ignore_errors=True)
    print(f"local: {timed(scan(folder, outs['local'])):.1f} s")
    seconds = [
        timed(scan(folder, folder / f"part-{part}", "--shard", f"{part}/{parts}"))
        for part in range(1, parts + 1)
    ]
    merge = [*LVMFAST, "merge", *(str(folder / f"part-{part}") for part in range(1, parts + 1))]
    merging = timed([*merge, "--out", str(outs["merged"]), "--quiet"])
    print(f"{parts} shards: {sum(seconds):.1f} s, the longest {max(seconds):.1f} s; merge: {merging:.1f} s")
    if ray:
        print(f"ray: {timed(scan(folder, outs['ray'], '--engine', 'ray')):.1f} s")
    for name in ("merged", "ray") if ray else ("merged",):
        check_same(outs["local"], outs[name], name)


def workers(folder: Path, counts: Sequence[int] = (2, 4, 8)) -> None:
    """A scan on a cluster that stands, with more and more workers of one processor, beside this machine's.

    The peer is the local engine with all processors of this machine, so that more workers than there are
    processors show what a worker costs and not what it gains.
    """
    local = folder / "out-local"
    shutil.rmtree(local, ignore_errors=True)
    alone = timed(scan(folder, local))
    print(f"local, {os.cpu_count()} threads: {alone:.1f} s")
    ray = str(Path(sys.executable).with_name("ray"))
    for count in counts:
        address = f"127.0.0.1:{PORT}"
        start = ("start", "--head", f"--port={PORT}", f"--num-cpus={count}", "--include-dashboard=false")
        subprocess.run([ray, *start, "--disable-usage-stats"], check=True, capture_output=True)
        try:
            out = folder / f"out-ray-{count}"
            shutil.rmtree(out, ignore_errors=True)
            more = ("--engine", "ray", "--ray-address", address, "--threads", "1")
            seconds = timed(scan(folder, out, *more))
        finally:
            subprocess.run([ray, "stop", "--force"], check=False, capture_output=True)
        print(f"ray, {count} workers: {seconds:.1f} s, {seconds / alone:.2f} of local")
        check_same(local, out, f"ray, {count} workers")


def parted(folder: Path, limit: int) -> None:
    """Two sides of which neither fits in a limit, by partitions on disk and by Ray's group-by."""
    outs = {name: folder / f"out-{name}" for name in ("local", "ray")}
    for name, out in outs.items():
        shutil.rmtree(out, ignore_errors=True)
        more = ("--memory-limit", str(limit), "--max-pairs", "100000", "--engine", name)
        print(f"{name}: {timed(scan(folder, out, *more)):.1f} s")
    check_same(outs["local"], outs["ray"], "ray")


def check_same(ours: Path, others: Path, name: str) -> None:
    """Ends the run where two reports differ."""
    for table in ("matches.parquet", "matched_rows.parquet"):
        same = filecmp.cmp(ours / table, others / table, shallow=False)
        print(f"{name}: {table}: {'the same bytes' if same else 'DIFFERENT'}")
        if not same:
            sys.exit(1)
    left, right = (comparable(out / "summary.json") for out in (ours, others))
    if left != right:
        sys.exit(f"{name}: the summaries differ")


def comparable(path: Path) -> dict[str, object]:
    """A summary without what depends on the machine."""
    summary: dict[str, object] = json.loads(path.read_text())
    return {key: value for key, value in summary.items() if key not in ("timings", "environment", "inputs")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["texts", "both", "limit", "engines", "workers", "parted", "model"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--eval-rows", type=int)
    parser.add_argument(
        "--limit",
        type=size,
    )
    parser.add_argument("--parts", type=int, default=SHARDS)
    parser.add_argument("--ray", action="store_true", help="also run on Ray")
    args = parser.parse_args()
    print(machine())
    if args.what == "texts":
        make(args.folder, args.rows or 20_000_000, args.eval_rows or 100_000, vectors=False)
    elif args.what == "both":
        make(args.folder, args.rows or 1_000_000, args.eval_rows or 10_000, vectors=True)
    elif args.what == "limit":
        limited(args.folder, args.limit or size("2GiB"))
    elif args.what == "engines":
        engines(args.folder, args.parts, args.ray)
    elif args.what == "workers":
        workers(args.folder)
    elif args.what == "parted":
        parted(args.folder, args.limit or size("700MiB"))
    else:
        from scale_model import compare

        compare(args.folder)


if __name__ == "__main__":
    main()
