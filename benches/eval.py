"""Exact top-k against faiss IndexFlatIP.search in the same run, on the `syn` rows of `near.py`.

Both answers are compared before a time is printed: a row on which they differ must tie with its rival within
faiss's float32 rounding. Wall and user CPU seconds; then one query at a time, as latency has it.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

import faiss
import numpy as np

from common import machine
from lvmfast import _core
from lvmfast.evals.search import open_pool
from near import ROUNDING, make


def timed(run):
    cpu, start = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter()
    answer = run()
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu, answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=584_545)
    parser.add_argument("--queries", type=int, default=5_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("-k", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    faiss.omp_set_num_threads(options.threads)
    print(f"{machine()}, {options.threads} threads, kernel {_core.kernel_name()}, faiss {faiss.__version__}")
    pool, queries = make("syn", options.rows, options.queries, options.dim)
    index = faiss.IndexFlatIP(options.dim)
    index.add(pool)
    ours = open_pool(pool, threads=options.threads)
    figures = []
    for _ in range(options.rounds):
        figures.append([timed(lambda: ours.top_k(queries, options.k))])
        figures[-1].append(timed(lambda: index.search(queries, options.k)))
    found, (scores, rows) = figures[-1][0][2], figures[-1][1][2]
    differ = found.rows != rows
    if (np.abs(found.scores - scores)[differ] > ROUNDING).any():
        raise SystemExit("the answers differ by more than faiss's rounding")
    (wall, cpu), (peer_wall, peer_cpu) = (
        np.median([[run[who][:2] for run in figures]][0], axis=0) for who in (0, 1)
    )
    print(
        f"top-{options.k} of {len(queries):,} over {len(pool):,} x {options.dim}: ours {wall:.1f} s "
        f"({cpu:.1f} s of CPU), faiss {peer_wall:.1f} s ({peer_cpu:.1f}), ratio {peer_wall / wall:.2f}; "
        f"{differ.mean():.1e} of the rows in another order, all within {ROUNDING}"
    )
    for name, one in (
        ("ours", lambda q: ours.top_k(q, options.k)),
        ("faiss", lambda q: index.search(q, options.k)),
    ):
        one(queries[:1])
        seconds = [timed(lambda i=i, one=one: one(queries[i : i + 1]))[0] for i in range(100)]
        p50, p95, p99 = 1e3 * np.quantile(seconds, [0.5, 0.95, 0.99])
        print(f"one query, {name}: P50 {p50:.1f} ms, P95 {p95:.1f} ms, P99 {p99:.1f} ms")


if __name__ == "__main__":
    main()
