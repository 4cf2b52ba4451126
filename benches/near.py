"""The cosine scan against faiss IndexFlatIP.range_search in the same run, on data made here.

`syn` has the spectrum of sentence embeddings, clusters, and pairs planted around each threshold, turned so
that no coordinate stands for one direction of the spectrum; `random` is uniform on the sphere with planted
pairs, the worst case there is; `real` are embeddings of docstrings and articles (`embeddings.py`,
--real-rows). Arrays are kept in `.bench/`. The pair sets of both programs are compared before a time is
printed: pairs on which they differ must lie within faiss's float32 rounding of the threshold. With
--nearest, the nearest neighbour of every eval row against search(k=1), compared likewise. Memory is
what our scan held at its peak beyond what was there before, which is the inputs.

`--ladder` compares at thresholds from 0.0 to 1.0 (20k x 2k) with what cannot be beaten by much: numpy's
blocked product, the float64 scores of the pairs that it leaves, and their output.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from common import machine, peak_memory, race
from lvmfast import _core
from lvmfast.leaks.memory import available

Rows = npt.NDArray[np.float32]
CACHE = Path(__file__).resolve().parent.parent / ".bench"
PLANTED = 200  # pairs per threshold
PLANTED_AT = (0.995, 0.98, 0.95, 0.90)
BLOCK = 32_768  # train rows per scan
ROUNDING = 1e-5  # of a float32 product of unit vectors, with room to spare


def draw(rng: np.random.Generator, recipe: str, n: int, dim: int, centres: Rows, spectrum: Rows) -> Rows:
    rows = rng.standard_normal((n, dim), dtype=np.float32) * spectrum
    if recipe == "syn":
        rows = 0.7 * rows + 0.7 * centres[rng.integers(len(centres), size=n)] + 0.6 * spectrum
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def stored(recipe: str, n: int, m: int, dim: int) -> list[Path]:
    """Where the train and the eval rows of a recipe are kept."""
    name = "syn-turned" if recipe == "syn" else recipe
    return [CACHE / f"{name}-{n}-{m}-{dim}-{side}.npy" for side in ("train", "eval")]


def make(recipe: str, n: int, m: int, dim: int) -> tuple[Rows, Rows]:
    """(n, dim) train and (m, dim) eval rows of unit length."""
    if recipe == "real":
        return real_embeddings(n, m)
    paths = stored(recipe, n, m, dim)
    if not all(path.exists() for path in paths):
        CACHE.mkdir(exist_ok=True)
        rng = np.random.default_rng(7)
        spectrum = (1.0 + np.arange(dim)) ** (-0.5 if recipe == "syn" else 0.0)
        spectrum = rng.permutation(spectrum).astype(np.float32)
        centres = rng.standard_normal((3000, dim), dtype=np.float32) * spectrum
        parts = [min(20_000, n - i) for i in range(0, n, 20_000)]
        train = np.concatenate([draw(rng, recipe, part, dim, centres, spectrum) for part in parts])
        eval = draw(rng, recipe, m, dim, centres, spectrum)
        planted = rng.permutation(m)[: len(PLANTED_AT) * PLANTED]
        for i, threshold in zip(planted, np.resize(PLANTED_AT, len(planted)), strict=True):
            row = train[rng.integers(n)].astype(np.float64)
            across = rng.standard_normal(dim) * spectrum
            across -= row * (row @ across) / (row @ row)
            cosine = threshold + rng.uniform(-1e-4, 1e-4)
            sine = np.sqrt(1 - cosine**2)
            eval[i] = cosine * row / np.linalg.norm(row) + sine * across / np.linalg.norm(across)
        if recipe == "syn":
            turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
            for rows in (eval, *np.array_split(train, len(parts))):
                rows[:] = rows @ turn
        for path, rows in zip(paths, (train, eval), strict=True):
            np.save(path, rows)
    train, eval = (np.load(path) for path in paths)
    return train, eval


def real_embeddings(n: int, m: int) -> tuple[Rows, Rows]:
    path = CACHE / "minilm.npz"
    rows = np.load(path)["vectors"] if path.exists() else np.empty((0, 0), np.float32)
    if len(rows) < n + m:
        raise SystemExit(f"{path.name} has {len(rows):,} rows: run embeddings.py --rows {n + m} first")
    return rows[:n].copy(), rows[n : n + m].copy()


def memory_of(run: Callable[[], object]) -> str:
    """What `run` needs beyond its inputs, where the system says."""
    if not Path("/proc/self/status").exists():
        return "not known"
    with peak_memory() as peak:
        run()
    return f"{peak.extra / 1e6:.0f} MB"


def nearest(train: Rows, eval: Rows, threads: int) -> tuple[npt.NDArray[Any], ...]:
    index = _core.NearIndex(eval.shape[1], 1.0, threads)
    index.add(eval)
    for start in range(0, len(train), BLOCK):
        index.seek(train[start : start + BLOCK], start)
    cosine, row = index.nearest()
    return cosine[index.group_of_row], row[index.group_of_row]


def compare_nearest(train: Rows, eval: Rows, ours: tuple, theirs: tuple) -> None:
    """An error if faiss found a nearer row, or called nearest what is farther by more than its rounding."""
    units = [side.astype(np.float64) for side in (eval, train[ours[1]], train[theirs[1][:, 0]])]
    units = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in units]
    found, other = (np.einsum("ij,ij->i", units[0], side) for side in units[1:])
    wrong = (np.abs(found - ours[0]) > 1e-12) | (other > found + 1e-12) | (other < found - ROUNDING)
    if wrong.any():
        j = int(np.flatnonzero(wrong)[0])
        raise SystemExit(
            f"nearest rows differ at eval row {j}: ours {ours[0][j]}, {found[j]}, theirs {other[j]}"
        )


def scan(train: Rows, eval: Rows, threshold: float, threads: int) -> tuple[npt.NDArray[Any], ...]:
    index = _core.NearIndex(eval.shape[1], threshold, threads)
    index.add(eval)
    pairs = []
    for start in range(0, len(train), BLOCK):
        rows, groups, cosine, *_ = index.scan(train[start : start + BLOCK])
        pairs.append((rows + start, groups, cosine))
    rows, groups, cosine = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return rows, groups, index.group_of_row, cosine


def by_faiss(index: faiss.IndexFlatIP, eval: Rows, threshold: float) -> tuple[npt.NDArray[np.int64], ...]:
    # Its comparison is "greater than", and its rounding may fall either way: the pairs are compared below.
    limits, _, rows = index.range_search(eval, float(np.nextafter(np.float32(threshold), np.float32(0))))
    return rows, np.repeat(np.arange(len(eval)), np.diff(limits).astype(np.int64))


def compare(train: Rows, eval: Rows, threshold: float, ours: tuple, theirs: tuple) -> int:
    """The number of pairs; an error if the two sets differ by more than faiss's rounding."""
    rows, groups, group_of_row, _ = ours
    firsts = np.unique(group_of_row, return_index=True)[1]
    assert len(firsts) == group_of_row.max() + 1, "the benchmark's data have no unusable rows"
    found = set(zip(rows.tolist(), groups.tolist(), strict=True))
    other = set(zip(theirs[0].tolist(), group_of_row[theirs[1]].tolist(), strict=True))
    for i, group in found ^ other:
        x, y = train[i].astype(np.float64), eval[firsts[group]].astype(np.float64)
        cosine = x @ y / np.sqrt((x @ x) * (y @ y))
        if abs(cosine - threshold) > ROUNDING or ((i, group) in found) != (cosine >= threshold):
            raise SystemExit(f"pair sets differ at train row {i}, eval group {group}: cosine {cosine}")
    return len(found)


LADDER = (0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0)
LADDER_SHAPE = (20_000, 2_000)


def by_product(
    train: Rows, eval: Rows, threshold: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """numpy's float32 product, float64 scores of the pairs that it leaves, and those at the threshold.

    Where more than a tenth of a block is left, its scores are one float64 product, which is as fast as BLAS.
    """
    wide = eval.astype(np.float64)
    right_norms = np.linalg.norm(wide, axis=1)
    found = []
    for start in range(0, len(train), 4096):
        block = train[start : start + 4096]
        rows, columns = np.nonzero(block @ eval.T >= threshold - ROUNDING)
        left = block.astype(np.float64)
        left_norms = np.linalg.norm(left, axis=1)
        if len(rows) > 0.1 * len(block) * len(eval):
            scores = (left @ wide.T)[rows, columns]
        else:
            scores = np.einsum("ij,ij->i", left[rows], wide[columns])
        scores /= left_norms[rows] * right_norms[columns]
        kept = scores >= threshold
        found.append((rows[kept] + start, columns[kept], scores[kept]))
    rows, columns, scores = (np.concatenate(side) for side in zip(*found, strict=True))
    return rows, columns, scores


def ladder(recipes: list[str], dim: int, rounds: int, threads: int, clock: Callable[[], float]) -> None:
    """Prints the seconds of both, after their pairs were found equal but for rounding at the threshold."""
    print(f"{LADDER_SHAPE[0]:,} x {LADDER_SHAPE[1]:,} x {dim}; medians of {rounds} runs in turn")
    for recipe in recipes:
        train, eval = make(recipe, *LADDER_SHAPE, dim)
        for threshold in LADDER:
            raced = race(
                partial(scan, train, eval, threshold, threads),
                partial(by_product, train, eval, threshold),
                rounds,
                clock,
            )
            count, others = len(raced.our_answer[0]), len(raced.peer_answer[0])
            differ = abs(count - others)
            if differ > 1e-3 * max(count, others) + 10:
                raise SystemExit(f"{recipe} at {threshold}: {count} pairs, of which the product has {others}")
            print(
                f"{recipe} at {threshold}: {count} pairs ({differ} in doubt), ours {raced.ours:.3f} s, "
                f"product, scores and output {raced.peer:.3f} s, {raced.ours / raced.peer:.2f} of it",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=396_258)
    parser.add_argument("--eval-rows", type=int, default=5_244)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--recipes", nargs="+", default=["syn", "random"], choices=["syn", "random", "real"])
    parser.add_argument("--real-rows", type=int, nargs=2, default=[28_000, 2_000], metavar=("TRAIN", "EVAL"))
    parser.add_argument("--thresholds", nargs="+", type=float, default=[0.995, 0.90])
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each, in turn (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--nearest", action="store_true", help="nearest neighbours instead of thresholds")
    parser.add_argument("--within", action="store_true", help="also scan each train set against itself")
    parser.add_argument("--ladder", action="store_true", help="all thresholds on 20k x 2k, and nothing else")
    parser.add_argument("--cpu", action="store_true", help="time the processor instead of the wall clock")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    room = available()
    # The rows, their copy in faiss, and both once more while they are made.
    most = None if room is None else room // (4 * 4 * options.dim)
    if most is not None and options.rows > most:
        print(f"scaled down from {options.rows:,} to {most:,} rows: there is no more memory")
        options.rows = most
    faiss.omp_set_num_threads(options.threads)
    print(f"{machine()}, {options.threads} threads, kernel {_core.kernel_name()}, faiss {faiss.__version__}")
    if options.ladder:
        ladder(options.recipes, options.dim, options.rounds, options.threads, clock)
        return
    for recipe in options.recipes:
        rows = options.real_rows if recipe == "real" else (options.rows, options.eval_rows)
        train, eval = make(recipe, *rows, options.dim)
        dim = train.shape[1]
        print(f"{recipe}: {len(train):,} x {len(eval):,} x {dim}; medians of {options.rounds} runs in turn")
        index = faiss.IndexFlatIP(dim)
        index.add(train)
        if options.nearest:
            ours = partial(nearest, train, eval, options.threads)
            memory = memory_of(ours)
            raced = race(ours, lambda: index.search(eval, 1), options.rounds, clock)  # noqa: B023
            compare_nearest(train, eval, raced.our_answer, raced.peer_answer)
            print(
                f"{recipe}, nearest: ours {raced.ours:.2f} s, faiss search(k=1) {raced.peer:.2f} s, "
                f"ratio {raced.ratio:.1f}; {memory} beyond the inputs",
                flush=True,
            )
            continue
        for threshold in options.thresholds:
            ours = partial(scan, train, eval, threshold, options.threads)
            memory = memory_of(ours)
            raced = race(
                ours,
                partial(by_faiss, index, eval, threshold),
                options.rounds,
                clock,
            )
            count = compare(train, eval, threshold, raced.our_answer, raced.peer_answer)
            print(
                f"{recipe} at {threshold}: {count} pairs, ours {raced.ours:.2f} s, "
                f"faiss range_search {raced.peer:.2f} s, ratio {raced.ratio:.1f}; {memory} beyond the inputs",
                flush=True,
            )
        for threshold in options.thresholds if options.within else ():
            start = time.perf_counter()
            left, *_ = _core.scan_within(train, threshold, options.threads)
            seconds = time.perf_counter() - start
            print(f"{recipe} with itself at {threshold}: {len(left)} pairs, ours {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
