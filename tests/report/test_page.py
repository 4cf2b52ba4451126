"""report.html: in a browser, against summary.json, with hostile data, and drawn again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from functools import reduce
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.report.differences import compare
from lvmfast.report.page import draw_page
from lvmfast.report.shares import spans, tenths
from lvmfast.shown import visible
from tests.support import data
from tests.support.browser import needs_browser, opened_page

HOSTILE = (
    '<script>document.title="owned"</script><img src="http://192.0.2.1/x.png" onerror="document.title=1">'
    " & \"double\" 'single' {{ 7 * 7 }} \x00nul \x1b[31m \u202eright to left\u202c \u2066x "
)


def nearest(rows: int) -> dict:
    counts = [0] * 400
    counts[300], counts[320], counts[398], counts[399] = rows - 4, 1, 1, 2
    names = ("min", "p01", "p05", "p25", "p50", "p75", "p95", "p99", "max")
    return {
        "rows": rows,
        "quantiles": dict(zip(names, np.linspace(0.5, 1.0, 9).tolist(), strict=True)),
        "histogram": {"bin_width": 0.005, "first_edge": -1.0, "counts": counts},
    }


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    """A saved scan of hostile data: texts, ids and a file name."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    tables = []
    for side in range(2):
        text = [f"{t} of side {side}" for t in data.texts(rng, 40)]
        text[0], text[1] = HOSTILE + f"side {side}", "w" * 100_000 + str(side)
        text[2] = "a text that stands on both sides, word for word"
        vectors = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)
        vectors[30:] *= -1 + 2 * side
        vectors[9, 0] = np.nan
        ids = ["<b>doc</b>\u202e", "</table>", *(str(n % 5) for n in range(38))]
        tables.append(pa.table({"doc_id": ids, "text": text, "vector": list(vectors)}))
    name = folder / "eval '\"<i>&.parquet"
    pq.write_table(tables[0], folder / "train.parquet")
    pq.write_table(tables[1], name)
    lvmfast.leakscan(folder / "train.parquet", name).save(folder / "report")
    return folder / "report"


def at(summary: dict, path: str):
    return reduce(lambda v, key: v[int(key)] if isinstance(v, list) else v[key], path.split("."), summary)


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("with_nearest", [False, True])
def test_it_renders_in_a_browser(scan, tmp_path, scheme, with_nearest):
    summary = json.loads((scan / "summary.json").read_text())
    page_file = scan / "report.html"
    if with_nearest:
        summary["levels"]["vector"]["nearest"] = nearest(39)
        page_file = tmp_path / "report.html"
        page_file.write_text(draw_page(summary, pq.read_table(scan / "matches.parquet")), "utf-8")
    with opened_page(page_file, scheme) as page:
        numbers = page.eval_on_selector_all(
            "[data-number]", "all => all.map(e => [e.dataset.number, e.value, e.innerText])"
        )
        found = {
            "verdict": page.get_attribute(".verdict", "data-verdict"),
            "sentence": page.inner_text("#sentence"),
            "title": page.title(),
            "foreign": page.locator("img, iframe, link, script[src]").count(),
            "bars": page.locator(".levels svg.bar").count(),
            "pairs": page.locator("[data-pair=worst]").count(),
            "histogram": page.locator("svg.histogram rect").count(),
            "leaking": page.locator("svg.histogram rect.matched").count(),
            "overflow": page.evaluate("document.documentElement.scrollWidth - innerWidth"),
            "paper": page.evaluate("getComputedStyle(document.body).backgroundColor"),
        }
        page.keyboard.press("Tab")
        first_stop = page.evaluate("document.activeElement.className")
    assert len(numbers) > 30
    for path, value, shown in numbers:
        expected = at(summary, path)
        assert float(value) == expected, path
        assert shown == (f"{expected:,}" if isinstance(expected, int) else f"{expected:.1%}"), path
    assert found["verdict"] == summary["verdict"] == "leak"
    assert found["sentence"] == summary["sentence"]
    assert found["title"].startswith("Leak found")
    assert found["foreign"] == 0
    assert found["bars"] == 2 * sum(f["status"] != "not_checkable" for f in summary["levels"].values())
    assert found["pairs"] >= 8
    assert found["histogram"] == (4 if with_nearest else 0)
    assert found["leaking"] == (1 if with_nearest else 0)
    assert found["overflow"] <= 0
    dark = sum(map(int, found["paper"].removeprefix("rgb(").removesuffix(")").split(","))) < 200
    assert dark == (scheme == "dark")
    assert first_stop == "skip"


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.links += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href") or k.startswith("on")]


def test_data_is_never_markup_and_nothing_is_loaded(scan):
    html = (scan / "report.html").read_text("utf-8")
    elements = Elements()
    elements.feed(html)
    assert not {"img", "i", "iframe", "object", "link"} & set(elements.tags)
    assert elements.tags["script"] == 1 + 1 + html.count("data-block>"), "the script, what it knows, blocks"
    assert all(link.startswith("#") or link == "matches.parquet" for link in elements.links)
    assert html.count("url(") == html.count("url(#hatch)") == 1
    assert "@import" not in html
    for written_out in ("script&gt;document", "{{ 7 * 7 }}", "⟨U+202E⟩", "⟨U+0000⟩"):
        assert written_out in html
    assert not set(html) & set("\x00\x1b\u202e\u202c\u2066")
    assert len(html) < 200_000  # the text of 100,000 characters is cut


def test_documents_are_counted_exactly(scan):
    documents = json.loads((scan / "summary.json").read_text())["documents"]
    rows = pq.read_table(scan / "matched_rows.parquet").to_pylist()
    file = next(r["file"] for r in rows if r["side"] == "eval")
    ids = pq.read_table(file)["doc_id"].to_pylist()
    any_level = Counter(ids[row] for row in {r["row"] for r in rows if r["side"] == "eval"})
    assert {d["doc_id"]: d["rows"] for d in documents["top"]} == any_level
    assert (documents["count"], documents["rows"]) == (len(any_level), sum(any_level.values()))
    assert [d["rows"] for d in documents["top"]] == sorted(any_level.values(), reverse=True)
    for document in documents["top"]:
        by_level = Counter(
            r["level"] for r in rows if r["side"] == "eval" and ids[r["row"]] == document["doc_id"]
        )
        assert document["levels"] == by_level


def test_documents_follow_a_raised_threshold_and_null_ids_are_counted():
    train = {"doc_id": [1, 2], "vector": np.array([[1, 0], [0, 1]], np.float32)}
    eval_ = pa.table({"doc_id": [7, 7, None], "vector": [[1.0, 0.0], [1.0, 0.3], [0.0, 1.0]]})
    report = lvmfast.leakscan(train, eval_, threshold=0.9)
    described = report.summary["documents"]
    assert (described["rows"], described["rows_without_id"]) == (2, 1)
    assert described["top"] == [{"doc_id": "7", "rows": 2, "levels": {"vector": 2}}]
    assert report.rethreshold(0.99).summary["documents"]["top"][0]["rows"] == 1
    assert lvmfast.leakscan({"vector": train["vector"]}).summary["documents"] is None


def lvmfast_report(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lvmfast", "report", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_it_is_drawn_again_as_it_was(scan, tmp_path):
    shutil.copytree(scan, tmp_path / "report")
    page = tmp_path / "report" / "report.html"
    page.unlink()
    done = lvmfast_report(str(tmp_path / "report"))
    assert (done.returncode, done.stdout.strip()) == (0, str(page)), done.stderr
    assert page.read_bytes() == (scan / "report.html").read_bytes()


def spoil(report: Path, how: str) -> None:
    summary = report / "summary.json"
    content = json.loads(summary.read_text())
    if how == "no summary":
        summary.unlink()
    elif how == "version":
        summary.write_text(json.dumps(content | {"schema_version": 2}))
    elif how == "sentence":
        del content["sentence"]
        summary.write_text(json.dumps(content))
    elif how == "no matches":
        (report / "matches.parquet").unlink()
    else:
        os.truncate(report / "matches.parquet", 100)


@pytest.mark.parametrize("how", ["no summary", "version", "sentence", "no matches", "broken"])
def test_a_spoilt_scan_is_refused(scan, tmp_path, how):
    shutil.copytree(scan, tmp_path / "report")
    spoil(tmp_path / "report", how)
    done = lvmfast_report(str(tmp_path / "report"))
    assert done.returncode == 2
    assert done.stdout == ""
    word = {"no matches": "matches", "broken": "matches", "no summary": "summary"}.get(how, how)
    (line,) = done.stderr.strip().splitlines()
    assert word in line
    assert (tmp_path / "report" / "report.html").read_bytes() == (scan / "report.html").read_bytes()


def test_one_split_and_a_clean_scan_have_a_page(tmp_path):
    rng = np.random.default_rng(5)
    one = {"text": data.texts(rng, 20) * 2}
    lvmfast.leakscan(one).save(tmp_path / "one")
    html = (tmp_path / "one" / "report.html").read_text("utf-8")
    assert "Duplicates found" in html
    assert "row pairs" not in html, "two equal texts are one pair"
    lvmfast.leakscan({"text": data.texts(rng, 20) * 3}).save(tmp_path / "thrice")
    assert "3 row pairs" in (tmp_path / "thrice" / "report.html").read_text("utf-8")
    vectors = np.repeat(np.eye(8, dtype=np.float32), 3, axis=0)
    lvmfast.leakscan({"vector": vectors}).save(tmp_path / "vectors")
    assert "3 equal rows" in (tmp_path / "vectors" / "report.html").read_text("utf-8")
    clean = lvmfast.leakscan({"text": data.texts(rng, 20)}, {"text": data.texts(rng, 20)})
    clean.save(tmp_path / "clean")
    html = (tmp_path / "clean" / "report.html").read_text("utf-8")
    for said in ("No leak found at 2 of 7 levels", "Every row was checked at every level that ran."):
        assert said in html
    assert "Not checked: doc, chunk: no ids; vector, context, oracle: no vectors." in html
    assert 'data-level="doc"' not in html
    for empty in ("<script", 'id="worst"', 'id="documents"', 'id="nearest"', 'id="unchecked"', "–"):
        assert empty not in html
    assert all(f'id="{place}"' in html for place in re.findall('href="#([^"]+)"', html))


WORDS = st.lists(st.sampled_from(["a", "b", "c ", "\n", " d", "é"]), max_size=40).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS)
def test_pieces_make_up_the_texts_and_what_is_unmarked_is_equal(train, eval_):
    found = compare(train, eval_)
    assert "".join(p.text for p in found.train) == train
    assert "".join(p.text for p in found.eval) == eval_
    plain = [
        [w for piece in side if not piece.differs for w in piece.text.split()]
        for side in (found.train, found.eval)
    ]
    assert plain[0] == plain[1]
    assert found.marked == (train.split() != eval_.split())


@pytest.mark.parametrize(
    "pair",
    [
        ("a " * 100_000, "b a " * 100_000),
        (" ".join("ab"[n % 2] for n in range(5000)), " ".join("ba"[n % 3 == 0] for n in range(5000))),
        ("x" * 1_000_000, " " * 1_000_000),
    ],
)
def test_huge_texts_are_bounded_work_and_say_what_is_cut(pair):
    start = time.perf_counter()
    found = compare(*pair)
    assert time.perf_counter() - start < 5
    for side, text in zip((found.train, found.eval), pair, strict=True):
        assert text.startswith("".join(p.text for p in side))
    assert found.train_left_out == len(pair[0]) - sum(len(p.text) for p in found.train) > 0


@given(st.text())
def test_visible_text_hides_and_turns_nothing(text):
    shown = visible(text)
    assert not any(ord(c) < 32 and c not in "\n\t" for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\x7f")


@given(st.lists(st.integers(0, 10**9), min_size=3, max_size=3))
def test_bars_fill_their_width_and_hide_no_row(counts):
    widths = spans(counts, 300.0)
    assert sum(widths) == pytest.approx(300.0 if sum(counts) else 0.0)
    assert all((span >= 2.0) == (n > 0) for span, n in zip(widths, counts, strict=True))


def test_tenths_are_bars_in_proportion_and_a_single_row_is_seen():
    bars = list(tenths([1400, 1, 0, 700, 0, 0, 0, 0, 0, 0]))
    assert bars[0] == (0.0, 28.0, "0% to 10%: 1,400 rows")
    assert bars[1] == (26.0, 2.0, "10% to 20%: 1 row")
    assert bars[3] == (14.0, 14.0, "30% to 40%: 700 rows")
    assert [height for _, height, _ in bars if not height] == [0.0] * 7
    assert {height for _, height, _ in tenths([0] * 10)} == {0.0}
