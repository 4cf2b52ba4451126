"""What the script of report.html marks in two texts, in a browser, against plain arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvmfast.report import page as report_page
from lvmfast.shown import percent, visible
from tests.support.browser import CHROMIUM, needs_browser

SCRIPTS = Path(report_page.__file__).parent / "script"
pytestmark = needs_browser
IN_BROWSER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORDS = st.lists(st.sampled_from(["a", "b", "c ", "\n", " d", "é", "漢字", "𝒳"]), max_size=40).map(" ".join)
#: With letters of one and of two units, and what is not shown as it is.
TEXT = st.text(st.sampled_from("ab 𝒳é\u202e\x00\n"), max_size=80)
SPANS = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80)).map(sorted), max_size=5)


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    """Calls a function of the scripts with JSON."""
    from playwright.sync_api import sync_playwright

    names = "spansOfWords, spansOfRuns, piecesOf, visible, unitsOf, pointsIn, percent"
    content = "".join((SCRIPTS / name).read_text("utf-8") for name in ("texts.js", "review.js"))
    content = content.replace("\nbegin();\n", "\n")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(content=f"window.script = (() => {{ {content}; return {{ {names} }}; }})()")
        yield lambda body, *given: page.evaluate(f"(given) => {{ const s = window.script; {body} }}", given)
        browser.close()


def units(text: str) -> list[str]:
    """The UTF-16 units of a text, in which spans are told; each a code point of its own here."""
    coded = text.encode("utf-16-le", "surrogatepass")
    return [coded[n : n + 2].decode("utf-16-le", "surrogatepass") for n in range(0, len(coded), 2)]


def cut(text: str, span: dict[str, Any]) -> str:
    joined = "".join(units(text)[span["begin"] : span["end"]])
    return joined.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def longest_common(a: list[str], b: list[str]) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        previous, row = row, [0]
        for n, y in enumerate(b):
            row.append(previous[n] + 1 if x == y else max(row[-1], previous[n + 1]))
    return row[-1]


def tokens(text: str) -> list[str]:
    """Words, and letters of a script without spaces between words."""
    return [t for word in text.split() for t in (word if "漢" in word else [word])]


@IN_BROWSER
@given(train=WORDS, eval_=WORDS)
def test_words_that_are_not_marked_are_a_longest_common_sequence(script, train, eval_):
    found = script("return s.spansOfWords(...given)", train, eval_)
    same = {}
    for side, text in (("train", train), ("eval", eval_)):
        spans = found[side]
        assert "".join(cut(text, span) for span in spans) == text
        kept = [cut(text, span) for span in spans if span["mark"] == "same"]
        same[side] = tokens(" ".join(kept))
    assert not found["rough"]
    assert same["train"] == same["eval"]
    assert len(same["train"]) == longest_common(tokens(train), tokens(eval_))


def test_texts_that_are_too_unlike_are_bounded_work_and_say_so(script):
    train, eval_ = (" ".join(f"{side}{n}" for n in range(50_000)) for side in "ab")
    found = script(
        """const start = performance.now(), found = s.spansOfWords(...given);
           return [found.rough, performance.now() - start]""",
        f"one {train} two",
        f"one {eval_} two",
    )
    assert found[0] is True
    assert found[1] < 10_000


@IN_BROWSER
@given(
    text=TEXT, runs=SPANS, answer=st.none() | st.tuples(st.integers(0, 80), st.integers(0, 80)).map(sorted)
)
def test_each_character_of_runs_has_its_mark(script, text, runs, answer):
    answer = None if answer is None or answer[0] >= min(answer[1], len(text)) else answer
    spans = script(
        """const [text, runs, answer] = given, at = s.unitsOf(text), of = (span) => span.map(at);
           return s.spansOfRuns(text, runs.map(of), answer && of(answer))""",
        text,
        runs,
        answer,
    )
    marks = ["alone"] * len(text)
    for low, high in runs:
        marks[low:high] = ["common"] * len(text[low:high])
    if answer:
        marks[slice(*answer)] = ["answer"] * len(text[slice(*answer)])
    assert "".join(cut(text, span) for span in spans) == text
    told = [mark for span in spans for mark in [span["mark"]] * len(cut(text, span))]
    # Between runs it is told apart what differs.
    assert [mark if mark in ("common", "answer") else "alone" for mark in told] == marks
    for all_ in (False, True):
        pieces = script("const [t, spans, all] = given; return s.piecesOf(t, spans, all)", text, spans, all_)
        assert "".join(piece["text"] for piece in pieces) == text


@IN_BROWSER
@given(text=st.text(max_size=30), lengths=st.lists(st.integers(1, 900), min_size=1, max_size=6))
def test_what_is_not_shown_of_a_long_text_is_counted(script, text, lengths):
    parts = [(text or "𝒳y ") * length for length in lengths]
    whole = "".join(parts)
    runs, place = [], 0
    for n, part in enumerate(parts):
        if n % 2:
            runs.append([place, place + len(part)])
        place += len(part)
    pieces = script(
        """const [text, runs] = given, at = s.unitsOf(text);
           return s.piecesOf(text, s.spansOfRuns(text, runs.map((run) => run.map(at)), null), false)""",
        whole,
        runs,
    )
    done = 0
    for piece in pieces:
        if "left" in piece:
            done += piece["left"]
        else:
            assert whole[done : done + len(piece["text"])] == piece["text"]
            done += len(piece["text"])
    assert done == len(whole)


@IN_BROWSER
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=60))
def test_what_hides_is_written_out_as_elsewhere(script, text):
    assert script("return s.visible(given[0])", text) == visible(text, keep="\n\t")


@IN_BROWSER
@given(counts=st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_shares_read_as_elsewhere(script, counts):
    share = counts[0] / counts[1]
    assert script("return s.percent(given[0])", share) == percent(share)
