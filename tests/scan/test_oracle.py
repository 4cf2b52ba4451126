"""The whole scan against nested loops, on small splits in which everything collides."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.leaks import duplicates, options
from tests.support import oracle
from tests.support.colliding import (
    MIN_CHARS,
    as_arrays,
    check,
    evidence_of,
    splits,
)


@pytest.mark.parametrize("block_bytes", [1, 200, 64 << 20])
@settings(max_examples=25, deadline=None)
@given(train=splits(), eval_=splits(), threshold=st.sampled_from([-1.0, 0.0, 0.5, 0.7, 0.97, 1.0]))
def test_two_splits(monkeypatch_module, block_bytes, train, eval_, threshold):
    monkeypatch_module.setattr(options, "BLOCK_BYTES", block_bytes)
    expected = oracle.scan(train, eval_, threshold, MIN_CHARS)
    try:
        report = lvmfast.leakscan(
            as_arrays(train), as_arrays(eval_), threshold=threshold, min_chars=MIN_CHARS
        )
    except lvmfast.DataError as error:
        pytest.fail(f"doc ids are never null, so a level is always checkable: {error}")
    check(report, expected, {"train": len(train["doc_id"]), "eval": len(eval_["doc_id"])})
    for level, want in expected.items():
        if report.levels[level].status != "not_checkable":
            got = evidence_of(report, level)
            assert len(got) == len(set(got))
            assert set(got) == want.evidence, level


@pytest.mark.parametrize("block_bytes", [1, 40, 64 << 20])
@settings(max_examples=25, deadline=None)
@given(train=splits(largest=9), threshold=st.sampled_from([-1.0, 0.0, 0.5, 0.7, 0.97, 1.0]))
def test_within_one_split(monkeypatch_module, block_bytes, train, threshold):
    monkeypatch_module.setattr(duplicates, "BLOCKS_PER_PASS", 1)
    monkeypatch_module.setattr(options, "BLOCK_BYTES", block_bytes)
    expected = oracle.within(train, threshold, MIN_CHARS)
    rows = {"train": len(train["doc_id"])}
    if all(sum(e.unchecked["train"].values()) == rows["train"] for e in expected.values()):
        with pytest.raises(lvmfast.DataError, match="no level can be checked"):
            lvmfast.leakscan(as_arrays(train), threshold=threshold, min_chars=MIN_CHARS)
        return
    report = lvmfast.leakscan(as_arrays(train), threshold=threshold, min_chars=MIN_CHARS)
    check(report, expected, rows)
    for level, want in expected.items():
        if report.levels[level].status != "not_checkable":
            got = [(e[0], e[2], *e[4:]) for e in evidence_of(report, level)]
            assert len(got) == len(set(got))
            assert set(got) == want.evidence, level


@settings(max_examples=40, deadline=None)
@given(
    train=splits(),
    eval_=splits(),
    low=st.sampled_from([-1.0, 0.3, 0.7]),
    high=st.sampled_from([0.7, 0.9, 0.98, 1.0]),
)
def test_rethreshold_equals_a_new_scan(train, eval_, low, high):
    arrays = as_arrays(train), as_arrays(eval_)
    raised = lvmfast.leakscan(*arrays, threshold=low, min_chars=MIN_CHARS).rethreshold(high)
    fresh = lvmfast.leakscan(*arrays, threshold=high, min_chars=MIN_CHARS)
    assert raised.matches.equals(fresh.matches)
    assert raised.matched_rows.equals(fresh.matched_rows)
    for level, theirs in fresh.summary["levels"].items():
        assert raised.summary["levels"][level] == theirs, level


@settings(max_examples=25, deadline=None)
@given(train=splits(), eval_=splits(), limit=st.integers(1, 5))
def test_cut_evidence_keeps_the_highest_scores_and_every_count(train, eval_, limit):
    arrays = as_arrays(train), as_arrays(eval_)
    whole = lvmfast.leakscan(*arrays, threshold=0.5, min_chars=MIN_CHARS)
    cut = lvmfast.leakscan(*arrays, threshold=0.5, min_chars=MIN_CHARS, max_pairs=limit)
    assert cut.matched_rows.equals(whole.matched_rows)
    for level, finding in whole.levels.items():
        assert cut.levels[level].pairs == finding.pairs
        assert cut.levels[level].match_count == finding.match_count
        scores = sorted((e[4] for e in evidence_of(whole, level)), reverse=True)[:limit]
        assert sorted((e[4] for e in evidence_of(cut, level)), reverse=True) == scores
