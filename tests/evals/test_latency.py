"""Latency: what is timed, for how long, and whether the processor was at work meanwhile."""

from __future__ import annotations

import time

import numpy as np
import pytest

import lvmfast
from lvmfast.evals import latency as module
from lvmfast.evals.latency import LEAST_TIMED, TIMED, latency, parted_note
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.pools import build_pool
from lvmfast.evals.predictors import Predictor
from lvmfast.evals.queries import open_queries
from lvmfast.evals.ways import Way, open_indexes
from tests.support.eval_world import EVAL_DOCS, copies, save


@pytest.fixture(scope="module")
def queries(tmp_path_factory):
    return open_queries(save(tmp_path_factory.mktemp("world") / "eval.npz", copies(EVAL_DOCS)))


def timed(queries, predict, seconds):
    pool = build_pool("eval", queries, None)
    way = Way(open_indexes(pool, EvalOptions(threads=1)))
    return latency(Predictor("a model", predict), queries, pool, way, seconds=seconds)


def test_a_process_that_waits_is_called_so(queries):
    def waiting(contexts):
        time.sleep(0.005)
        return contexts[:, -1]

    found = timed(queries, waiting, 0.0)
    assert found["parted"]
    assert found["P50"] >= 5 > found["cpu_P50"]
    (note,) = parted_note({"a model": found})
    assert "other work kept the processor busy" in note
    assert parted_note({"a model": found | {"parted": False}}) == []


def test_quantiles_are_those_of_the_clocks(queries, monkeypatch):
    """The wall stands at i ms after query i, the processor at 0.9 i: no other work, and known quantiles."""
    turns = iter(range(1, 10_000))
    clock = {"wall": 0, "cpu": 0}
    monkeypatch.setattr(module.time, "perf_counter_ns", lambda: clock["wall"])
    monkeypatch.setattr(module.time, "process_time_ns", lambda: clock["cpu"])

    def working(contexts):
        turn = next(turns)
        clock["wall"] += turn * 1_000_000
        clock["cpu"] += turn * 900_000
        return contexts[:, -1]

    found = timed(queries, working, 1e9)
    asked = min(TIMED, queries.n)
    assert found["queries"] == asked
    taken = np.arange(module.WARM_UP + 1, module.WARM_UP + asked + 1)
    for quantile in (50, 95, 99):
        assert found[f"P{quantile}"] == pytest.approx(np.percentile(taken, quantile))
        assert found[f"cpu_P{quantile}"] == pytest.approx(0.9 * np.percentile(taken, quantile))
    assert not found["parted"]


def test_timing_is_bounded(queries):
    def slow(contexts):
        time.sleep(0.02)
        return contexts[:, -1]

    began = time.perf_counter()
    assert timed(queries, slow, 0.0)["queries"] == LEAST_TIMED
    assert LEAST_TIMED < timed(queries, slow, 0.5)["queries"] < min(TIMED, queries.n)
    assert time.perf_counter() - began < 20


def test_an_evaluation_says_both_times(queries):
    found = lvmfast.evaluate("copy-last", queries.sequences.dataset, density=0.5, resamples=20)
    assert set(found.details["latency"]) == {r["model"] for r in found.records}
    for each in found.details["latency"].values():
        assert each["queries"] >= LEAST_TIMED
        assert each["cpu_P50"] > 0
        assert any("other work" in note for note in found.details["notes"]) or not each["parted"]
