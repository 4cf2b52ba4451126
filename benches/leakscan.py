"""A whole `lvmfast leakscan` of a large npz, contexts included: seconds, and anonymous memory at its peak.

With `--vectors`, of the vectors alone: the rows `syn` of `benches/near.py` in two npy files.

The peer is reading the same file once (`cat FILE >/dev/null`), which no scan can beat. The data is written to
`.bench/` and kept for the next run; where the disk lacks the room the rows are scaled down, and the output
says so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np

from common import machine

ROWS, EVAL_ROWS, LENGTH, DIM = 396_258, 5_244, 5, 768
BLOCK = 4_096
ROWS_PER_DOC = 65
ROW_BYTES = 4 * DIM * (LENGTH + 1) + 16
FOLDER = Path(__file__).parent.parent / ".bench"


def write_split(
    path: Path,
    rows: int,
    first_doc: int,
    seed: int,
    planted: np.ndarray | None = None,
    chunks_per_doc: int = ROWS_PER_DOC,
) -> None:
    """Windows over one long random text: row i is chunks i to i + 4 and then chunk i + 5.

    With ROWS_PER_DOC + LENGTH chunks per document, no two documents share a chunk.
    """
    partial = path.with_suffix(".partial")
    document, place = np.divmod(np.arange(rows), ROWS_PER_DOC)
    keys = np.column_stack([first_doc + document, place])
    first_chunk = document * chunks_per_doc + place

    def chunks(start: int, stop: int) -> np.ndarray:
        # Each block of chunks comes from its own seed, so that any part can be made again.
        first, last = start // BLOCK, -(-stop // BLOCK)
        blocks = [
            np.random.default_rng([seed, b]).normal(size=(BLOCK, DIM)).astype(np.float32)
            for b in range(first, last)
        ]
        return np.concatenate(blocks)[start - first * BLOCK : stop - first * BLOCK]

    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("truth_keys.npy", "w") as member:
            np.lib.format.write_array(member, keys)
        for name, shape in (("targets", (rows, DIM)), ("contexts", (rows, LENGTH, DIM))):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                for start in range(0, rows, BLOCK):
                    stop = min(start + BLOCK, rows)
                    low = first_chunk[start]
                    block = chunks(low, first_chunk[stop - 1] + LENGTH + 1)
                    if planted is not None and low < len(planted):
                        block[: min(len(planted) - low, len(block))] = planted[low : low + len(block)]
                    within = first_chunk[start:stop] - low
                    if name == "targets":
                        member.write(block[within + LENGTH].tobytes())
                    else:
                        member.write(block[within[:, None] + np.arange(LENGTH)].tobytes())
    partial.rename(path)


def planted_eval() -> np.ndarray:
    """The first 300 chunks of the eval text are the training text's."""
    return np.random.default_rng([1, 0]).normal(size=(BLOCK, DIM)).astype(np.float32)[:300]


def peak_anonymous(command: list[str]) -> tuple[float, int, subprocess.CompletedProcess[bytes]]:
    """Seconds, and the largest RssAnon in bytes seen while `command` ran."""
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            for line in status.read_text().splitlines():
                if line.startswith("RssAnon"):
                    peak = max(peak, int(line.split()[1]) * 1024)
        except (FileNotFoundError, ProcessLookupError):
            break
        time.sleep(0.05)  # a look holds the locks that page faults want
    output, errors = process.communicate()
    seconds = time.perf_counter() - start
    return seconds, peak, subprocess.CompletedProcess(command, process.returncode, output, errors)


def timed(command: list[str]) -> tuple[float, subprocess.CompletedProcess[bytes]]:
    """Seconds of `command`, to the millisecond: without the looks at its memory.

    Modules are kept compiled, as an installed wheel has them, whatever this shell says.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    return time.perf_counter() - start, done


def scan_vectors(rows: int, rounds: int, threshold: float) -> None:
    import near  # which needs faiss

    near.make("syn", rows, EVAL_ROWS, DIM)
    train, eval_ = near.stored("syn", rows, EVAL_ROWS, DIM)
    scan = [sys.executable, "-m", "lvmfast", "leakscan", "--train", str(train), "--eval", str(eval_)]
    scan += ["--levels", "vector", "--threshold", str(threshold), "--json"]
    cat = ["sh", "-c", f"cat {train} > /dev/null"]
    start = [sys.executable, "-m", "lvmfast", "--version"]
    size = train.stat().st_size / 1e9
    print(f"{machine()}\n{train.name}: {size:.2f} GB, at {threshold}; eval {EVAL_ROWS:,} rows")
    timed(cat)
    runs = [[timed(command) for command in (scan, cat, start)] for _ in range(rounds)]
    done = runs[-1][0][1]
    assert done.returncode == 1, done.stderr.decode()
    mine, cats, starts = (statistics.median(run[place][0] for run in runs) for place in range(3))
    print(f"leakscan --levels vector: {mine:.2f} s; cat: {cats:.2f} s; {mine / cats:.1f} times cat")
    print(f"start of the process: {starts:.2f} s; by phase: {json.loads(done.stdout)['timings']}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", action="store_true", help="targets alone, level vector alone")
    parser.add_argument("--threshold", type=float, default=0.995, help="of --vectors (default 0.995)")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"train rows (default {ROWS:,})")
    parser.add_argument("--rounds", type=int, default=3, help="counted runs (default 3)")
    args = parser.parse_args()
    if args.vectors:
        scan_vectors(args.rows, args.rounds, args.threshold)
        return
    FOLDER.mkdir(exist_ok=True)
    rows = args.rows
    train, eval_ = FOLDER / f"train-{rows}.npz", FOLDER / "eval.npz"
    room = shutil.disk_usage(FOLDER).free - (4 << 30)
    if not train.exists() and rows * ROW_BYTES > room:
        rows = max(0, room) // ROW_BYTES
        print(f"scaled down from {args.rows:,} to {rows:,} rows: the disk has no more room")
        train = FOLDER / f"train-{rows}.npz"
    if not train.exists():
        write_split(train, rows, 0, seed=1)
    if not eval_.exists():
        write_split(eval_, EVAL_ROWS, 10_000, seed=2, planted=planted_eval())
    size = train.stat().st_size
    print(f"{machine()}\n{train.name}: {size / 1e9:.2f} GB, {rows:,} rows; eval {EVAL_ROWS:,} rows")
    scan = [
        sys.executable,
        "-m",
        "lvmfast",
        "leakscan",
        "--train",
        str(train),
        "--eval",
        str(eval_),
        "--json",
    ]
    cat = ["sh", "-c", f"cat {train} > /dev/null"]
    peak_anonymous(cat)  # the page cache is as warm as it gets for both
    ours, peer, peaks = [], [], []
    for _ in range(args.rounds):
        seconds, peak, done = peak_anonymous(scan)
        assert done.returncode == 1, done.stderr.decode()
        ours.append(seconds)
        peaks.append(peak)
        peer.append(peak_anonymous(cat)[0])
    summary = json.loads(done.stdout)
    matched = {level: found["eval_rows_matched"] for level, found in summary["levels"].items()}
    assert matched["vector"] == 295, matched  # 300 planted chunks are 295 targets and their windows
    assert matched["doc"] == 0, matched
    mine, cats = statistics.median(ours), statistics.median(peer)
    print(f"leakscan, every level but text: {mine:.1f} s; cat: {cats:.2f} s; {mine / cats:.1f} times cat")
    print(f"anonymous memory at its peak: {max(peaks) / 2**30:.2f} GiB (at most 2 GiB asked for)")
    print(f"by phase: {summary['timings']}")
    if max(peaks) > 2 << 30:
        sys.exit("the peak is above 2 GiB")


if __name__ == "__main__":
    main()
