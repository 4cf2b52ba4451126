"""Fingerprints: bytes a row, seconds beside reading the file, unrelated rows that come out certain-clean.

Sizes and seconds: 396k rows of 768 dimensions with ids and texts, made here, scaled down where the disk lacks
the room. The peers of `fingerprint` are `cat FILE >/dev/null` and a pass of our own reader over the same
columns. Shares: the real embeddings of `embeddings.py`, split by document (a package, an article); eval rows
whose true cosine with a training row reaches the threshold are set aside. The training side is doubled until
it is whole, so that one can see how the shares fall with its size.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import lvmfast
from common import machine

ROWS, EVAL_ROWS, DIM = 396_258, 5_244, 768
BLOCK = 20_000
FOLDER = Path(__file__).parent.parent / ".bench"
REAL = FOLDER / "minilm.npz"
THRESHOLDS = (0.995, 0.98, 0.95)


#: A process that reads what `fingerprint` reads, and does nothing with it.
READ = """
import sys, lvmfast
for _ in lvmfast.load_split(sys.argv[1]).batches(("doc_id", "chunk_id", "text", "vector")): pass
"""


def vectors(rng: np.random.Generator, rows: int, spectrum: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Rows with the spectrum and the clusters of sentence embeddings, as `syn` of near.py."""
    noise = rng.standard_normal((rows, DIM), dtype=np.float32) * spectrum
    return (0.7 * noise + 0.7 * centres[rng.integers(len(centres), size=rows)] + 0.6 * spectrum).astype(
        np.float32
    )


def write(path: Path, rows: int, first_doc: int, seed: int) -> None:
    rng = np.random.default_rng(7)
    spectrum = rng.permutation((1.0 + np.arange(DIM)) ** -0.5).astype(np.float32)
    centres = rng.standard_normal((3000, DIM), dtype=np.float32) * spectrum
    rng = np.random.default_rng(seed)
    schema = pa.schema(
        {
            "doc_id": pa.int64(),
            "chunk_id": pa.int64(),
            "text": pa.string(),
            "vector": pa.list_(pa.float32(), DIM),
        }
    )
    partial = path.with_suffix(".partial")
    # Plain pages: reading them is little more than reading the file.
    with pq.ParquetWriter(partial, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, rows, BLOCK):
            number = np.arange(start, min(start + BLOCK, rows))
            block = vectors(rng, len(number), spectrum, centres)
            columns = [
                pa.array(first_doc + number // 65),
                pa.array(number % 65),
                pa.array([f"the text of row {n} of part {seed}, and so on" for n in number]),
                pa.FixedSizeListArray.from_arrays(block.reshape(-1), DIM),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
    partial.rename(path)


def seconds(command: list[str], expected: int = 0) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == expected, (done.returncode, done.stderr.decode()[-500:])
    return time.perf_counter() - start


def sizes(rows: int, rounds: int) -> None:
    room = shutil.disk_usage(FOLDER).free - (4 << 30)
    if not (FOLDER / f"fp-{rows}.parquet").exists() and rows * 4 * DIM > room:
        rows = max(0, room) // (4 * DIM)
        print(f"scaled down to {rows:,} rows: the disk has no more room")
    train, eval_ = FOLDER / f"fp-{rows}.parquet", FOLDER / "fp-eval.parquet"
    for path, count, first, seed in ((train, rows, 0, 1), (eval_, EVAL_ROWS, 1_000_000, 2)):
        if not path.exists():
            write(path, count, first, seed)
    out = FOLDER / "fp.lvfp"
    lvmfast_ = [sys.executable, "-m", "lvmfast"]
    print(f"{train.name}: {rows:,} rows, {train.stat().st_size / 1e9:.2f} GB")
    best: dict[str, float] = {}
    for _ in range(rounds):
        out.unlink(missing_ok=True)
        taken = {
            "cat": seconds(["sh", "-c", f"cat {train} > /dev/null"]),
            "our reader": seconds([sys.executable, "-c", READ, str(train)]),
            "fingerprint": seconds([*lvmfast_, "fingerprint", str(train), "--out", str(out), "--quiet"]),
            "scan": seconds([*lvmfast_, "leakscan", "--train", str(out), "--eval", str(eval_), "--quiet"]),
        }
        best = {name: min(best.get(name, np.inf), took) for name, took in taken.items()}
    size = out.stat().st_size
    print(
        f"fingerprint: {size / 1e6:.1f} MB, {size / rows:.1f} bytes a row (at most 40 MB at 396k asked for)"
    )
    for name, took in best.items():
        print(f"{name}: {took:.2f} s")
    print(f"fingerprint / our reader: {best['fingerprint'] / best['our reader']:.2f} (at most 2 asked for)")


def shares() -> None:
    if not REAL.exists():
        print(f"no {REAL.name}: run embeddings.py first for the shares of certain-clean rows")
        return
    held = np.load(REAL)
    rows, document = held["vectors"], held["document"]
    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.unique(document))
    is_eval = np.isin(document, chosen[: len(chosen) // 6])
    train, eval_ = rows[~is_eval], rows[is_eval]
    print(f"real embeddings, {rows.shape[1]} dims, {len(eval_):,} eval rows of other documents")
    with tempfile.TemporaryDirectory() as folder:
        for part in (8, 4, 2, 1):
            some = train[: len(train) // part]
            path = Path(folder) / f"{part}.lvfp"
            made = lvmfast.fingerprint({"vector": some}, path)
            scale = lambda x: x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)  # noqa: E731
            largest = (scale(eval_) @ scale(some).T).max(axis=1)
            line = []
            for threshold in THRESHOLDS:
                report = lvmfast.leakscan(path, {"vector": eval_}, threshold=threshold)
                unrelated = largest < threshold
                undecided = np.zeros(len(eval_), bool)
                undecided[report.levels["vector"].undecided.rows] = True
                assert not (~unrelated & ~undecided & (largest < 1 - 1e-6)).any(), "a match was called clean"
                left = int((undecided & unrelated).sum())
                line.append(
                    f"{threshold}: {1 - left / unrelated.sum():.3%} ({left} of {unrelated.sum():,} undecided)"
                )
            size = f"{made.size / len(some):.0f} bytes a row"
            print(f"  {len(some):,} train rows, {size}: certain-clean at {'; '.join(line)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    print(machine())
    shares()
    sizes(args.rows, args.rounds)


if __name__ == "__main__":
    main()
