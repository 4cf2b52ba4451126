"""(article, chunk) pairs intersected in memory, beside Python sets of tuples and numpy's `isin`."""

from __future__ import annotations

import argparse
import sys

import numpy as np
import numpy.typing as npt

from common import machine, race
from lvmfast import _core

Pairs = npt.NDArray[np.int64]


def pairs(rows: int, articles: int, rng: np.random.Generator) -> Pairs:
    """(n, 2) distinct (article, chunk) pairs: whole articles of 1 to 40 chunks, as a corpus is cut."""
    chunks = rng.integers(1, 41, articles)
    article = np.repeat(rng.permutation(articles), chunks)[:rows]
    chunk = np.concatenate([np.arange(count) for count in chunks])[:rows]
    return np.stack([article, chunk], axis=1).astype(np.int64)


def sets_of_tuples(train: Pairs, evaluation: Pairs) -> set[tuple[int, int]]:
    return set(map(tuple, train.tolist())) & set(map(tuple, evaluation.tolist()))


def isin(train: Pairs, evaluation: Pairs) -> npt.NDArray[np.intp]:
    """The train rows whose key, packed into one integer, is among the packed eval keys."""
    return np.flatnonzero(np.isin(train[:, 0] << 32 | train[:, 1], evaluation[:, 0] << 32 | evaluation[:, 1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=396_258, help="train rows (default 396,258)")
    parser.add_argument("--eval", type=int, default=5_244, help="eval rows (default 5,244)")
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    args = parser.parse_args()
    rng = np.random.default_rng(7)
    articles = args.train // 20 + args.eval
    train = pairs(args.train, articles, rng)
    # One eval row in seven stands in train; the articles of the others are none of train's.
    evaluation = pairs(args.eval, args.eval, rng)
    evaluation[:, 0] += articles
    shared = rng.permutation(args.eval)[: args.eval // 7]
    evaluation[shared] = train[rng.permutation(len(train))[: len(shared)]]

    def ours() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return _core.intersect(train.view(np.uint64), evaluation.view(np.uint64), args.threads)

    print(f"{machine()}, {_core.thread_count(args.threads)} threads")
    for name, peer in (("sets of tuples", sets_of_tuples), ("numpy isin", isin)):
        # Milliseconds each: many rounds, so that the median is not a matter of luck.
        result = race(ours, lambda peer=peer: peer(train, evaluation), rounds=21)  # type: ignore[misc]
        train_rows, eval_rows = result.our_answer
        same = np.array_equal(train[train_rows], evaluation[eval_rows])
        if peer is isin:
            same &= np.array_equal(train_rows, result.peer_answer)
        else:
            same &= set(map(tuple, train[train_rows].tolist())) == result.peer_answer
        if not same or len(train_rows) != len(shared):
            sys.exit(f"{name}: the answers differ")
        print(
            f"{len(train):,} x {len(evaluation):,} pairs, {len(train_rows)} shared:"
            f" ours {result.ours * 1e3:.2f} ms, {name} {result.peer * 1e3:.1f} ms, ratio {result.ratio:.1f}"
        )


if __name__ == "__main__":
    main()
