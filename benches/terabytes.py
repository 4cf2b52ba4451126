"""What terabytes of jsonl.zst cost at each level of texts, by what a scan takes here.

The corpus of `corpora.py`, a quarter of it and all of it, each as one jsonl.zst, is scanned for `--items`
questions made of its words. What all of it takes beyond a quarter is what its bytes take; the start, the
index and the report, which do not grow with the corpus, are left out. Seconds are those of the processor,
all threads together, medians of `--rounds`.

    python benches/terabytes.py                       # 400 MB, 30,000 items, 0.05 dollars a core-hour
    python benches/terabytes.py --price 0.03
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
from pathlib import Path

from common import machine
from corpora import FOLDER, processor_seconds, scan, write
from memory_limit import run
from text import english

LEVELS = ("text", "overlap", "text,overlap")
TERABYTES = (1, 10, 100)
#: Words of an item.
WORDS = 40


def write_sides(megabytes: int, items: int) -> tuple[Path, Path, Path]:
    """A quarter of the corpus, all of it, and the items, none of which stands in it."""
    write(megabytes)
    whole = FOLDER / "train.jsonl.zst"
    quarter, eval = FOLDER / "quarter.jsonl", FOLDER / "items.jsonl"
    lines = (FOLDER / "train.jsonl").read_bytes().splitlines(keepends=True)
    quarter.write_bytes(b"".join(lines[: len(lines) // 4]))
    subprocess.run(["zstd", "-q", "-f", str(quarter)], check=True)
    words, rng = " ".join(english(4)).split(), random.Random(7)
    with eval.open("w", encoding="utf-8") as out:
        for item in range(items):
            text = " ".join(rng.sample(words, WORDS))
            out.write(json.dumps({"text": text, "id": item}) + "\n")
    return quarter.with_suffix(".jsonl.zst"), whole, eval


def seconds(path: Path, levels: str, eval: Path, rounds: int) -> float:
    """Of the processor, for a whole scan."""
    taken = []
    for _ in range(rounds):
        before = processor_seconds()
        scan(path, levels, eval)()
        taken.append(processor_seconds() - before)
    return statistics.median(taken)


def peak(path: Path, levels: str, eval: Path) -> int:
    """The most anonymous memory of a scan, in bytes."""
    sides = ["--train", str(path), "--eval", str(eval), "--levels", levels, "--quiet"]
    done = run([sys.executable, "-m", "lvmfast", "leakscan", *sides], 16 << 30)
    if done.code not in (0, 1):
        sys.exit(done.stderr)
    return done.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400, help="of text (default 400)")
    parser.add_argument("--items", type=int, default=30_000, help="of the evaluation set (default 30000)")
    parser.add_argument("--rounds", type=int, default=3, help="of each scan (default 3)")
    parser.add_argument(
        "--ratio", type=float, default=3.0, help="of jsonl to its zst (default 3, as of English)"
    )
    parser.add_argument(
        "--price", type=float, default=0.05, help="dollars for an hour of a core (default 0.05)"
    )
    args = parser.parse_args()
    print(machine())
    quarter, whole, eval = write_sides(args.megabytes, args.items)
    more = whole.with_suffix("").stat().st_size - quarter.with_suffix("").stat().st_size
    print(f"{args.ratio} bytes of jsonl in a byte of zst; {args.price} dollars a core-hour")
    names = [f"{terabytes} TB of zst" for terabytes in TERABYTES]
    print(f"\n| levels | MB of jsonl a second and core | {' | '.join(names)} | memory of a process |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for levels in LEVELS:
        taken = seconds(whole, levels, eval, args.rounds) - seconds(quarter, levels, eval, args.rounds)
        hours = [terabytes * 1e12 * args.ratio / more * taken / 3600 for terabytes in TERABYTES]
        cost = " | ".join(f"{each:,.1f} core-hours, {each * args.price:,.2f} dollars" for each in hours)
        memory = peak(whole, levels, eval) / 2**20
        print(f"| {levels} | {more / taken / 1e6:.0f} | {cost} | {memory:.0f} MiB |", flush=True)


if __name__ == "__main__":
    main()
