"""eval.html in a browser: against metrics.json, with hostile names, without script or request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lvmfast
from lvmfast.evals.write import write_evaluation
from lvmfast.report.eval_page import draw_evaluation
from tests.support.browser import needs_browser, opened_page
from tests.support.eval_world import run, world

pytestmark = pytest.mark.heavy
HOSTILE = "<b onmouseover=alert(1)>run\u202e {{ 7 * 7 }}"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    files = world(folder)
    runs = [run(folder / "ar", files.train, seed=5), run(folder / HOSTILE, files.train)]
    found = lvmfast.evaluate(
        None,
        files.leaky,
        compare=runs,
        payload=files.payload,
        pools=["eval", "corpus"],
        phase=1,
        gates="minimum",
        allow_leaked=True,
        resamples=50,
    )
    write_evaluation(folder / "out", found)
    return folder / "out"


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_renders_in_a_browser(evaluation, scheme):
    records = json.loads((evaluation / "metrics.json").read_text())
    page_file = evaluation / "eval.html"
    with opened_page(page_file, scheme) as page:
        numbers = page.eval_on_selector_all(
            "[data-number]", "all => all.map(e => [e.dataset.number, e.value, e.innerText])"
        )
        scripts = page.locator("script, img, iframe, link, [onmouseover]").count()
        dots = page.locator("svg.recalls circle.dot").count()
        curves = page.locator("svg.curves path.curve").count()
        stamps = page.get_by_text("LEAKED", exact=True).count()
        title, overflow = page.title(), page.evaluate("document.documentElement.scrollWidth - innerWidth")
        tables = page.locator("table.scores").count()
        text = page.inner_text("main")
        sentence = page.inner_text("#sentence")
    assert scripts == 0
    assert overflow <= 0
    assert title.startswith("LEAKED")
    assert tables == 4
    assert dots == len(records)
    assert curves >= 2 * 3, "two runs, with a curve of each figure that their histories have"
    assert stamps > len(records), "every row and every table is stamped"
    assert "no absolute figure is claimed" in sentence
    assert "⟨U+202E⟩ {{ 7 * 7 }}" in text
    assert len(numbers) == 10 * len(records)
    for path, value, shown in numbers:
        row, name = path.split(".", 1)
        expected = records[int(row)][name]
        assert float(value) == expected, path
        percent = name[0] in "RC"
        assert shown == (f"{expected:.1f}%" if percent else f"{expected:.3f}"), path


@needs_browser
def test_no_column_is_cut_off_and_each_difference_stands_once(evaluation):
    with opened_page(evaluation / "eval.html", "light") as page:
        page.set_viewport_size({"width": 1200, "height": 900})
        cut = page.evaluate(
            "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length"
        )
        contexts = page.eval_on_selector_all("table.scores", "all => all.map(e => e.dataset.context)")
        rows = page.eval_on_selector_all(
            "table.differences tbody tr",
            "all => all.map(e => [...e.cells].slice(0, 3).map(c => c.innerText))",
        )
        text = page.inner_text("body")
    assert cut == 0
    assert contexts == ["out", "in"] * 2
    pairs = [(frozenset(models), place) for *models, place in rows]
    assert len(set(pairs)) == len(pairs) > 0
    stated = json.loads((evaluation / "evaluation.json").read_text())["differences"]
    assert len(pairs) == len(
        {(frozenset((d["model"], d["against"])), d["pool"], d["context"]) for d in stated}
    )
    assert "–" not in text


def test_what_is_not_decided_has_its_reason(evaluation):
    records, details = (
        json.loads((evaluation / name).read_text("utf-8")) for name in ("metrics.json", "evaluation.json")
    )
    assert "Not decided, because" not in draw_evaluation(records, details)
    open_ = {**details, "exit_code": 3, "stamp": "", "gates_asked": "minimum"}
    page = draw_evaluation(records, open_)
    assert "<h1>Not decided</h1>" in page
    gates = [g for g in details["gates"][details["chief"]]["minimum"]["gates"] if g["reason"]]
    assert gates
    for gate in gates:
        assert f"the gate {gate['name']} (" in page
        assert f", as {gate['reason']}" in page
    leaked = {**details, "exit_code": 3, "phase": 2, "phase_1": None, "gates_asked": None}
    assert "phase 2 asks for a set that is clean, and this one is LEAKED." in draw_evaluation(records, leaked)


def test_it_is_a_function_of_the_files(evaluation):
    """Drawn again from what is on disk it is the same page."""
    records, details = (
        json.loads((evaluation / name).read_text("utf-8")) for name in ("metrics.json", "evaluation.json")
    )
    assert draw_evaluation(records, details) == (evaluation / "eval.html").read_text("utf-8")
