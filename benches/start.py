"""From the command line to the first step of `lvmfast train`: 396k sequences of 5 x 768, in both layouts.

Timed from the start of the process until the first step of the optimiser is done, from a warm page cache:
hashing, division by document and leak scan included; the fingerprint follows with the first checkpoint. The
peer is `cat` of the same file. The data is that of `leakscan.py`, without a chunk that two documents share;
it is kept in `.bench/`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from common import machine
from leakscan import DIM, FOLDER, LENGTH, ROWS, ROWS_PER_DOC, write_split

ASKED = 60.0
SCRIPT = """
import json, sys, time
started = float(sys.argv[1])
import lvmfast
from lvmfast.training import learner, session
phases, seen = {}, ["start", started, 0.0]
def progress(phase, done, total):
    now, processor = time.time(), time.process_time()
    spent = phases.setdefault(seen[0], [0.0, 0.0])
    spent[0] += now - seen[1]
    spent[1] += processor - seen[2]
    seen[:] = [phase, now, processor]
class First(BaseException):
    pass
readers, real = session._readers, learner.Learner.step
def prepare(*arguments):
    progress("prepare", 0, None)
    return readers(*arguments)
def step(self, *arguments):
    progress("first step", 0, None)
    real(self, *arguments)
    progress("end", 0, None)
    raise First
session._readers, learner.Learner.step = prepare, step
figures = dict(model="amn", device="cpu", batch=256, accumulate=4)
try:
    lvmfast.train(sys.argv[2], out=sys.argv[3], progress=progress, **figures)
except First:
    print(json.dumps({"seconds": time.time() - started, "cpu": time.process_time(), "phases": phases}))
"""


def write_chunks(path: Path, rows: int) -> None:
    """The chunk-matrix layout of as many windows."""
    documents = -(-rows // ROWS_PER_DOC)
    per_document = ROWS_PER_DOC + LENGTH
    keys = np.stack(np.divmod(np.arange(documents * per_document), per_document), 1)
    starts = np.arange(documents)[:, None] * per_document + np.arange(ROWS_PER_DOC)
    windows = (starts.reshape(-1)[:rows, None] + np.arange(LENGTH + 1)).astype(np.int32)
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((len(keys), DIM), np.float32)
    np.savez(path, chunk_vectors=vectors, chunk_keys=keys, windows=windows)


def first_step(path: Path, out: Path) -> dict:
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-c", SCRIPT, str(time.time()), str(path), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"sequences (default {ROWS:,})")
    parser.add_argument("--layouts", nargs="+", default=["chunks", "seed"], choices=["chunks", "seed"])
    args = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    print(machine())
    failed = False
    for layout in args.layouts:
        path = FOLDER / f"{'documents' if layout == 'seed' else 'matrix'}-{args.rows}.npz"
        if not path.exists():
            if layout == "seed":
                write_split(path, args.rows, 0, seed=1, chunks_per_doc=ROWS_PER_DOC + LENGTH)
            else:
                write_chunks(path, args.rows)
        with open("/dev/null", "wb") as nothing:
            subprocess.run(["cat", str(path)], stdout=nothing, check=True)
            start = time.perf_counter()
            subprocess.run(["cat", str(path)], stdout=nothing, check=True)
            peer = time.perf_counter() - start
        found = first_step(path, FOLDER / "run-start")
        size = path.stat().st_size / 1e9
        print(f"{layout}: {size:.2f} GB; cat {peer:.1f} s; ", end="")
        print(f"first step after {found['seconds']:.1f} s, asked: at most {ASKED:.0f} s; ", end="")
        print(f"processor time {found['cpu']:.1f} s")
        for phase, (wall, processor) in found["phases"].items():
            print(f"  {phase}: {wall:.1f} s, processor {processor:.1f} s")
        failed |= found["seconds"] > ASKED
    shutil.rmtree(FOLDER / "run-start", ignore_errors=True)
    if failed:
        sys.exit("a figure misses what was asked for")


if __name__ == "__main__":
    main()
