"""The curves of runs: in a browser, with what a history lacks, and with hostile names."""

from __future__ import annotations

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from lvmfast.report.curves import Panel, _ticks, curves_svg
from tests.support.browser import needs_browser, opened_page

HOSTILE = "<script>alert(1)</script>&\"'\u202e.json"


@pytest.fixture
def runs(tmp_path):
    baselines = {"copy-last": {"val_cosine": 0.539, "val_r5": 54.1, "val_mrr": 0.397}}
    ours = [
        {
            "epoch": n,
            "val_cosine": 0.4 + n / 20,
            "val_r5": 50.0 + n,
            "val_mrr": 0.3 + n / 50,
            "val_loss": 3.0 / n,
        }
        | {"train_loss": 3.5 / n, "lr": 1e-3 / n, "baselines": baselines}
        for n in range(1, 6)
    ]
    wild = [{"epoch": n, "val_cosine": 0.4 + n / 100} for n in range(1, 11)]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "history.json").write_text(json.dumps(ours))
    (tmp_path / "run" / "config.toml").write_text("")
    (tmp_path / "run" / "run.json").write_text('{"leak_status": "LEAKED"}')
    wild_file = tmp_path / HOSTILE.replace("/", "_")
    wild_file.write_text(json.dumps(wild))
    return [str(tmp_path / "run"), str(wild_file)]


def plot(*arguments):
    command = [sys.executable, "-m", "lvmfast", "plot", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_renders_in_a_browser(runs, tmp_path, scheme):
    out = tmp_path / "curves.html"
    assert plot(*runs, "--out", str(out)).returncode == 0
    with opened_page(out, scheme) as page:
        found = {
            "panels": page.locator("svg.curves .panel").count(),
            "dots": page.locator("svg.curves .dot").count(),
            "baselines": page.locator("svg.curves .baseline").count(),
            "gates": page.locator("svg.curves path.gate").count(),
            "lacking": page.locator("svg.curves .lacking").count(),
            "stamp": page.locator(".verdict").inner_text(),
            "scripts": page.locator("script").count(),
            "overflow": page.evaluate("document.documentElement.scrollWidth - innerWidth"),
            "paper": page.evaluate("getComputedStyle(document.querySelector('.paper')).fill"),
        }
    assert (found["panels"], found["dots"]) == (6, 5 * 5 + 10)
    assert (found["baselines"], found["gates"], found["lacking"]) == (3, 1, 5)
    assert found["stamp"].startswith("LEAKED")
    assert (found["scripts"], found["overflow"] <= 0) == (0, True)
    dark = sum(map(int, found["paper"].removeprefix("rgb(").removesuffix(")").split(","))) < 200
    assert dark == (scheme == "dark")


def test_the_image_is_xml_of_its_own(runs, tmp_path):
    out = tmp_path / "curves.svg"
    assert plot(*runs, "--out", str(out)).returncode == 0
    text = out.read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [e for e in root.iter() if e.tag.endswith("script")]
    assert "\u202e" not in text


def test_what_cannot_be_drawn_is_refused(runs, tmp_path):
    empty = tmp_path / "empty.json"
    empty.write_text("[]")
    for arguments, word in (
        ([runs[0], "--out", str(tmp_path / "x.png")], ".svg or .html"),
        ([str(empty), "--out", str(tmp_path / "x.svg")], "nothing to draw"),
        ([runs[0], runs[0], "--out", str(tmp_path / "x.svg")], "named twice"),
        ([runs[0], "--out", str(tmp_path / "no" / "x.svg")], "cannot be written"),
    ):
        done = plot(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert word in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_panel_without_figures_says_so():
    svg = curves_svg([Panel("MRR", {"a": []})], ["a"])
    assert "not in the history of any of these runs" in svg


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.4, 0.52), (-3, 7e5), (5, 5), (0, 0), (1e-9, 2e-9), (-1e-3, 0)]
)
def test_ticks_are_few_and_hold_all_values(low, high):
    ticks = _ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + 1e-9 * abs(low)
    assert high - 1e-9 * abs(high) <= ticks[-1]
    assert ticks == sorted(set(ticks))
