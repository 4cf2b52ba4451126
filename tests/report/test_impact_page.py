"""impact.html in a browser, wide and narrow: against impact.json, with hostile names, without script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lvmfast
from lvmfast.report.impact_page import draw_impact
from tests.support.benchmark import benchmark, harness_samples, write
from tests.support.browser import needs_browser, opened_page

HOSTILE = "<b onmouseover=alert(1)>ours\u202e {{ 7 * 7 }}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("page")
    first, second = (benchmark(root / name, leaked=80, seed=seed) for name, seed in (("one", 1), ("two", 2)))
    lvmfast.leakscan([first.train, second.train], [first.eval, second.eval]).save(root / "report")

    def scores(gain: float, seed: int) -> list[str]:
        return [
            write(
                root / f"samples_{gain}_{place}.jsonl",
                harness_samples(each.items, each.scores(0.5, gain, seed + place)),
            )
            for place, each in enumerate((first, second))
        ]

    found = lvmfast.impact(
        root / "report", {HOSTILE: scores(0.3, 0), "w" * 90: scores(0.1, 5)}, control={"before": scores(0, 9)}
    )
    found.save(root / "impact")
    return root / "impact"


@needs_browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_it_renders_in_a_browser(folder, scheme, width):
    content = json.loads((folder / "impact.json").read_text("utf-8"))
    with opened_page(folder / "impact.html", scheme) as page:
        page.set_viewport_size({"width": width, "height": 900})
        scripts = page.locator("script, img, iframe, link, [onmouseover]").count()
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        # What is wider than its place can be scrolled to, with the keyboard, too.
        cut = page.evaluate(
            """[...document.querySelectorAll("main *")].filter(e => e.scrollWidth > e.clientWidth + 1
               && getComputedStyle(e).overflowX == "hidden").length"""
        )
        text = page.inner_text("body")
        bars = page.locator("svg.forest .estimate").count()
        curves = page.locator("svg.sweep .curve").count()
        rows = page.locator("table.scores tr[data-model]").count()
    assert (scripts, cut) == (0, 0)
    assert overflow <= 0
    assert "⟨U+202E⟩ {{ 7 * 7 }}" in text
    assert curves == len(content["models"]) == 3
    assert rows == 3 * 3, "all items and two files of each model"
    assert bars >= 3 * (3 + 3)
    for model in content["models"]:
        assert f"{100 * model['overall']['all']['mean']:.1f}%" in text
    assert "evidence of an advantage and no proof of memorising" in text
    assert "beyond the control" in text


def test_it_is_a_function_of_the_file(folder):
    content = json.loads((folder / "impact.json").read_text("utf-8"))
    assert draw_impact(content) == (folder / "impact.html").read_text("utf-8")


def test_it_draws_what_says_little(tmp_path):
    world = benchmark(tmp_path, items=30, leaked=3)
    lvmfast.leakscan(world.train, world.eval, levels=["text"]).save(tmp_path / "report")
    path = write(tmp_path / "few.jsonl", [{"row": i, "score": i / 3} for i in range(30)])
    found = lvmfast.impact(tmp_path / "report", path)
    found.save(tmp_path / "impact")
    page = (tmp_path / "impact" / "impact.html").read_text("utf-8")
    assert "too few items" in page
    assert "no items.parquet" in page
    assert 'id="sweep"' not in page


@pytest.mark.parametrize(("of_control", "claimed"), [(0.0, True), (0.4, False)])
def test_what_a_control_has_too_is_no_headline(tmp_path, of_control, claimed):
    made = benchmark(tmp_path / "data", leaked=100, seed=3)
    lvmfast.leakscan(made.train, made.eval).save(tmp_path / "report")
    ours, control = (
        write(tmp_path / f"samples_{name}.jsonl", harness_samples(made.items, made.scores(0.5, gain, seed)))
        for seed, (name, gain) in enumerate((("ours", 0.4), ("control", of_control)))
    )
    found = lvmfast.impact(tmp_path / "report", {"ours": ours}, control={"before": control})
    assert found.content["models"][0]["overall"]["verdict"] == "advantage"
    page = draw_impact(found.content)
    assert (" points from the leak: ours</h1>" in page) is claimed
    assert ("No advantage is shown for ours beside before</h1>" in page) is not claimed
    assert any("The leak is worth" in said for said in found.sentences) is claimed
