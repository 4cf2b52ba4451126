"""Documents whose lines are numbered, against the naive twin."""

from __future__ import annotations

import ast
import inspect
import textwrap

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast import _core
from lvmfast.corpus.keys import text_bytes
from tests.support import overlap as naive

LINE = st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "7", "8", "x", "Straße", "ｆｕｌｌ"]), max_size=4)
TEXT = st.lists(LINE.map(" ".join), min_size=1, max_size=9).map("\n".join)
STYLES = st.sampled_from(
    ["{n} {line}", "{n:4}| {line}", "\t{n}:{line}", "[{n}] {line}", "{n}{line}", "{line}"]
)
RARE = st.sampled_from(
    ["{n}_{line}", "{n}\u0301 {line}", "{n}é {line}", "0{n}. {line}", "{n}\r", "1234567 {line}"]
)


def scanned(items: list[str], documents: list[str]) -> list[dict[str, object]]:
    """The pairs, told as the twin tells them."""
    index = _core.OverlapIndex()
    index.add(*text_bytes(pa.array(items, pa.large_string())), 1)
    index.close(1)
    pairs = index.scan(*text_bytes(pa.array(documents, pa.large_string())), 1)
    names = naive.pairs(["a b c d e"], ["a b c d e"])[0]
    return [{name: getattr(pairs, name)[row].item() for name in names} for row in range(len(pairs))]


@st.composite
def numbered(draw, texts):
    """A text with numbers before its lines, now and then one that is wrong, or a line without."""
    start, style = draw(st.integers(0, 12)), draw(STYLES)
    lines = draw(texts).split("\n")
    wrong = draw(st.sets(st.integers(0, len(lines) - 1), max_size=1))
    rare = draw(RARE)
    return "\n".join(
        (rare if place in wrong else style).format(n=start + place, line=line)
        for place, line in enumerate(lines)
    )


@given(st.lists(TEXT, min_size=1, max_size=4), st.data())
@settings(max_examples=300, deadline=None)
def test_pairs_and_spans_of_numbered_lines_equal_the_twin(items: list[str], data: st.DataObject) -> None:
    items = [*items, *data.draw(st.lists(numbered(TEXT), max_size=2))]
    planted = st.one_of(numbered(st.sampled_from(items)), st.sampled_from(items), numbered(TEXT))
    documents = data.draw(st.lists(st.lists(planted, min_size=1, max_size=3).map("\n".join), max_size=3))
    pairs = naive.pairs(items, documents)
    assert scanned(items, documents) == pairs
    for pair in pairs:
        document, item = documents[pair["document"]], items[pair["item"]]
        window = np.array([[pair["window_start"], pair["window_end"]]])
        (spans,) = _core.overlap_spans(document, [item], window)
        ours = [naive.tokens(document[a:b]) for a, b, *_ in spans.tolist()]
        assert ours == [naive.tokens(item[c:d]) for _, _, c, d, *_ in spans.tolist()]
        assert all(ours)


def body(function: object) -> str:
    source = textwrap.dedent(inspect.getsource(function))
    statements = ast.parse(source).body[0].body[1:]
    return "\n".join(source.split("\n")[statements[0].lineno - 1 : statements[-1].end_lineno])


@pytest.mark.parametrize("style", ["{n:4}  {line}", "{n}: {line}", "{n} | {line}"])
def test_code_of_short_lines_is_found_with_its_lines_numbered(style: str) -> None:
    functions = [textwrap.indent, textwrap.dedent, inspect.getcomments, inspect.getmodule, inspect.cleandoc]
    items = ["x += 1\ny -= 2\nif x > y:\n    y = f(x)\n    z = g(y)\nreturn z", *map(body, functions)]
    documents = [
        "\n".join(style.format(n=97 + n, line=line) for n, line in enumerate(item.split("\n")))
        for item in items
    ]
    found = scanned(items, documents)
    assert {(pair["document"], pair["item"]) for pair in found} >= {(n, n) for n in range(len(items))}
    for pair in found:
        if pair["document"] == pair["item"]:
            assert pair["tokens_covered"] == len(naive.tokens(items[pair["item"]]))
