"""Writing in `lvmfast.clean` and `lvmfast.split` of a large npz, against `cp` and `sync` of the same file.

Both end with a scan of what they wrote, which is timed apart, and so is the search for what belongs together
in `split`. The data is made as for `leakscan.py`, but no two documents share a chunk; where the disk lacks
the room for the file and a copy, the rows are scaled down, and the output says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

from common import machine
from leakscan import (
    EVAL_ROWS,
    FOLDER,
    LENGTH,
    ROW_BYTES,
    ROWS,
    ROWS_PER_DOC,
    peak_anonymous,
    planted_eval,
    write_split,
)

CLEAN = """
import json, sys, lvmfast
train, eval_, report, out = sys.argv[1:]
done = lvmfast.clean(train, eval_, report, out=out, drop="train")
print(json.dumps(done.timings))
sys.exit(not done.passed)
"""
SPLIT = """
import json, sys, lvmfast
done = lvmfast.split(sys.argv[1], out=sys.argv[2], eval_fraction=0.1)
print(json.dumps(done.timings))
sys.exit(not done.passed)
"""
MOST_BYTES = 2 << 30


def run(script: str, *arguments: Path) -> tuple[dict[str, float], int]:
    """Seconds per phase, and the largest RssAnon in bytes."""
    _, peak, done = peak_anonymous([sys.executable, "-c", script, *map(str, arguments)])
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows (default {ROWS:,})")
    parser.add_argument("--rounds", type=int, default=3, help="counted runs (default 3)")
    args = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    rows = args.rows
    train, eval_ = FOLDER / f"documents-{rows}.npz", FOLDER / "eval.npz"
    room = shutil.disk_usage(FOLDER).free - (4 << 30)
    copies = 1 if train.exists() else 2
    if copies * rows * ROW_BYTES > room:
        rows = max(0, room) // (2 * ROW_BYTES)
        print(f"scaled down from {args.rows:,} to {rows:,} rows: the disk has no room for a copy")
        train = FOLDER / f"documents-{rows}.npz"
    if not train.exists():
        write_split(train, rows, 0, seed=1, chunks_per_doc=ROWS_PER_DOC + LENGTH)
    if not eval_.exists():
        write_split(eval_, EVAL_ROWS, 10_000, seed=2, planted=planted_eval())
    report, out = FOLDER / "report", FOLDER / "out"
    scan = ["leakscan", "--train", train, "--eval", eval_, "--out", report, "--quiet"]
    assert peak_anonymous([sys.executable, "-m", "lvmfast", *map(str, scan)])[2].returncode == 1
    size = train.stat().st_size
    print(f"{machine()}\n{train.name}: {size / 1e9:.2f} GB, {rows:,} rows")

    copied: list[float] = []
    written: dict[str, list[float]] = {"clean": [], "split": []}
    peaks: dict[str, int] = {"clean": 0, "split": 0}
    timings: dict[str, dict[str, float]] = {}
    for _ in range(args.rounds):
        copied.append(peak_anonymous(["sh", "-c", f"cp {train} {out} && sync {out}"])[0])
        out.unlink()
        for name, call in (("clean", (CLEAN, train, eval_, report, out)), ("split", (SPLIT, train, out))):
            timings[name], peak = run(*call)
            shutil.rmtree(out)
            written[name].append(timings[name]["write"])
            peaks[name] = max(peaks[name], peak)
    peer = statistics.median(copied)
    print(f"cp and sync: {peer:.1f} s, {size / peer / 1e9:.2f} GB/s")
    print("asked for: at least 0.5 of cp and sync, at most 2 GiB")
    failed = False
    for name, seconds in written.items():
        mine = statistics.median(seconds)
        print(
            f"{name}: wrote in {mine:.1f} s, {size / mine / 1e9:.2f} GB/s: {peer / mine:.2f} of cp and sync"
        )
        print(f"  anonymous memory at its peak: {peaks[name] / 2**30:.2f} GiB")
        print("  by phase:", ", ".join(f"{phase} {s:.1f} s" for phase, s in timings[name].items()))
        failed |= mine > 2 * peer or peaks[name] > MOST_BYTES
    if failed:
        sys.exit("a figure misses what was asked for")


if __name__ == "__main__":
    main()
