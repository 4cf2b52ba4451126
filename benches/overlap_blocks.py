"""Overlap with a large evaluation side: a million items in memory, and in blocks under a limit.

overlap_blocks.py make DIR [--items 1000000 --words 100 --documents 100000]   some documents hold an item
overlap_blocks.py scan DIR [--limit 2GiB]                                     the same bytes; memory, speed
"""

from __future__ import annotations

import argparse
import filecmp
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from common import machine
from lvmfast.cli.values import size
from memory_limit import Finished, run

#: Made-up words of two or three syllables.
VOCABULARY = 40_000
DOCUMENT_WORDS = 500
#: One document in so many holds an item, of which one word in ten is another.
HOLDS = 20
ROWS = 10_000
TABLES = ("matches.parquet", "matched_rows.parquet", "overlaps.parquet")
ENDLESS = 1 << 40


def vocabulary() -> npt.NDArray[np.str_]:
    syllables = [c + v for c in "bdfgklmnprst" for v in "aeiou"]
    rng = np.random.default_rng(5)
    drawn = {"".join(rng.choice(syllables, rng.integers(2, 4))) for _ in range(3 * VOCABULARY)}
    return np.array(sorted(drawn)[:VOCABULARY])


def items(count: int, words: int) -> Iterator[npt.NDArray[np.int64]]:
    """Items as numbers of words, `ROWS` of them at a time."""
    for first in range(0, count, ROWS):
        rng = np.random.default_rng([1, first])
        yield rng.integers(0, VOCABULARY, (min(ROWS, count - first), words))


def documents(count: int, known: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Documents as numbers of words, some with one of the `known` items in the middle."""
    rng = np.random.default_rng(2)
    for first in range(0, count, ROWS):
        rows = rng.integers(0, VOCABULARY, (min(ROWS, count - first), DOCUMENT_WORDS))
        for row in range(0, len(rows), HOLDS):
            item = known[(first + row) // HOLDS % len(known)]
            changed = np.where(rng.random(len(item)) < 0.1, rng.integers(0, VOCABULARY, len(item)), item)
            rows[row, 50 : 50 + len(item)] = changed
        yield rows


def write(path: Path, parts: Iterator[npt.NDArray[np.int64]], words: npt.NDArray[np.str_]) -> int:
    """Texts as a file of parquet; how many bytes of text they are."""
    nbytes = 0
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())]), compression="zstd") as writer:
        for rows in parts:
            texts = pa.array([" ".join(row) for row in words[rows]])
            nbytes += texts.nbytes
            writer.write_table(pa.table({"text": texts}))
    return nbytes


def make(folder: Path, count: int, words: int, rows: int) -> None:
    """The two sides; the items that documents hold are spread over the whole evaluation side."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = vocabulary()
    known = np.concatenate([part[:: ROWS // 20] for part in items(count, words)])
    for name, parts in (("eval", items(count, words)), ("train", documents(rows, known))):
        nbytes = write(folder / f"{name}.parquet", parts, pool)
        print(f"{name}: {nbytes / 1e6:,.0f} MB of text")


def scanned(folder: Path, out: Path, limit: int | None) -> Finished:
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "lvmfast", "leakscan", "--levels", "overlap", "--max-pairs", "10000"]
    command += ["--train", str(folder / "train.parquet"), "--eval", str(folder / "eval.parquet")]
    command += ["--threads", "1", "--out", str(out)]
    done = run([*command, *([] if limit is None else ["--memory-limit", str(limit)])], limit or ENDLESS)
    if done.code not in (0, 1):
        sys.exit(f"exit {done.code}, peak {done.peak / 2**20:.0f} MiB\n{done.stderr}")
    return done


def compare(folder: Path, limit: int) -> None:
    """Both ways, and whether they gave the same bytes."""
    text = sum(table.nbytes for table in [pq.read_table(folder / "train.parquet")])
    outs = {"in memory": (folder / "out", None), f"{limit / 2**30:.2f} GiB": (folder / "out-limited", limit)}
    for name, (out, most) in outs.items():
        done = scanned(folder, out, most)
        summary = json.loads((out / "summary.json").read_text())
        timings = summary["timings"]
        blocks = next((line for line in done.stderr.splitlines() if "blocks" in line), "in one block")
        print(
            f"{name}: {blocks}\n  peak {done.peak / 2**20:,.0f} MiB, index {timings['index']:.0f} s, scan "
            f"{timings['scan']:.0f} s, {text / timings['scan'] / 1e6:.0f} MB of training text a second; "
            f"{summary['levels']['overlap']['pairs']:,} pairs"
        )
    (ours, _), (theirs, _) = outs.values()
    for table in TABLES:
        if not filecmp.cmp(ours / table, theirs / table, shallow=False):
            sys.exit(f"{table}: DIFFERENT")
    print("the same bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["make", "scan"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--limit", type=size, default=size("2GiB"))
    args = parser.parse_args()
    print(machine())
    if args.what == "make":
        make(args.folder, args.items, args.words, args.documents)
    else:
        compare(args.folder, args.limit)


if __name__ == "__main__":
    main()
