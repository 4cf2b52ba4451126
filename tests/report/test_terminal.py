"""Shares and names as a terminal shows them."""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lvmfast
from lvmfast.report.terminal import show
from lvmfast.shown import percent
from tests.support import data


@given(st.integers(1, 10**12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_reads_nothing_or_all_only_where_it_is(counts):
    part, whole = counts
    shown = percent(part / whole)
    assert re.fullmatch(r"\d+\.\d+%", shown)
    value = Decimal(shown[:-1])
    assert (value == 0) == (part == 0)
    assert (value == 100) == (part == whole)
    decimals = len(shown) - shown.index(".") - 2
    exact = Decimal(100) * part / whole
    assert abs(value - exact) <= Decimal(10) ** -decimals * Decimal("0.51")


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(100, 300_000, "0.03%"), (1, 3, "33.3%"), (9_999, 10_000, "99.99%"), (1, 10_000_000, "0.00001%")],
)
def test_shares_are_as_short_as_they_can_be(part, whole, shown):
    assert percent(part / whole) == shown


def test_no_name_is_broken_in_80_columns(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    names = [f"{'a-name-that-is-long-' * 4}{n}.jsonl" for n in range(3)] + ["short.jsonl"]
    for name in names:
        (tmp_path / name).write_text("".join(f'{{"text": "{t}"}}\n' for t in data.texts(rng, 5)))
    report = lvmfast.leakscan({"text": data.texts(rng, 5)}, [tmp_path / name for name in names])
    monkeypatch.setenv("COLUMNS", "80")
    show(report.findings)
    out = capsys.readouterr().out
    for name in names:
        assert f"{tmp_path / name}" in out
    table = out[out.index("eval rows matched, by file") :]
    for line in table.splitlines()[:7]:
        assert len(line) <= 80
    assert re.search(r"^ *\[1\] …[-a-z]+-0\.jsonl +0/5", table, re.M)
