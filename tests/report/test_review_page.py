"""The matches that report.html carries, as its script shows them in a browser, against the tables."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.report.page import draw_page
from lvmfast.report.tables import MATCHES
from tests.support import data
from tests.support.browser import CHROMIUM, needs_browser, opened_page

HOSTILE = (
    '</script><script>document.title="owned"</script><!-- \x00 \x1b[31m \u202eturned\u202c 𝒳 & {{ 7 * 7 }}'
)
ARABIC = "هذا النص يقف في المجموعتين كلمة بكلمة ولا يختلف في شيء"
FILES = ("train-a", "train-b"), ("math", "law")
SHOWN = "#review[data-shown]:not([aria-busy])"


def put(page: Any, name: str, value: str) -> float:
    """Fills a field of the form; seconds until the matches that it asks for are shown."""
    return _shown_after(page, {"name": name, "value": value})


def press(page: Any, button: str) -> None:
    """Presses a button, and waits until what it asks for is shown."""
    _shown_after(page, {"button": button})


def _shown_after(page: Any, act: dict[str, str]) -> float:
    return page.evaluate(
        """async ({name, value, button}) => {
            const root = document.getElementById("review");
            const before = root.dataset.shown, start = performance.now();
            if (button) root.querySelector(button).click();
            else {
                const field = root.querySelector("form").elements[name];
                field.value = value;
                field.dispatchEvent(new Event("input", {bubbles: true}));
            }
            while (root.dataset.shown === before) await new Promise((done) => setTimeout(done, 2));
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            return (performance.now() - start) / 1000;
        }""",
        act,
    )


def total(page: Any) -> int:
    found = re.match(r"([\d,]+) match", page.inner_text("#review [role=status]"))
    return int(found[1].replace(",", "")) if found else 0


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A saved scan with matches at several levels, in two files a side, and hostile texts."""
    folder = tmp_path_factory.mktemp("review")
    rng = np.random.default_rng(0)
    texts = [f"{text} number {n}" for n, text in enumerate(data.texts(rng, 60))]
    long = " ".join(f"word{n}" for n in range(30_000))
    item = " ".join(f"needle{n}" for n in range(30)) + " 𝒳 end of the item"
    shared = [HOSTILE + " and so on to a good length", ARABIC, *texts[:30]]
    for name, rows in (("a", shared), ("b", [*texts[30:40], f"{long} {item} {long}"])):
        (folder / f"train-{name}.jsonl").write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in rows), "utf-8"
        )
    for name, rows in (
        ("math", shared[:20]),
        ("law", [*shared[20:], *texts[30:35], f"Q: {item}?", "x y z " * 9]),
    ):
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in rows), "utf-8"
        )
    trains, evals = ([str(folder / f"{name}.jsonl") for name in names] for names in FILES)
    lvmfast.leakscan(trains, evals).save(folder / "report")
    return folder / "report"


@pytest.fixture(scope="module")
def matches(report) -> list[dict[str, Any]]:
    return pq.read_table(report / "matches.parquet").to_pylist()


@needs_browser
def test_filters_search_and_sorting_find_what_the_table_has(report, matches):
    with opened_page(report / "report.html", "light") as page:
        page.wait_for_selector(SHOWN)
        assert total(page) == len(matches)
        assert not page.is_visible("#worst")
        assert page.title().startswith("Leak found")
        for level in ("text", "overlap"):
            put(page, "level", level)
            assert total(page) == sum(match["level"] == level for match in matches) > 0
            assert set(page.locator("#review .pair header b").all_inner_texts()) == {level}
        put(page, "level", "")
        put(page, "benchmark", "law")
        assert total(page) == sum(match["eval_file"].endswith("law.jsonl") for match in matches)
        put(page, "file", "TRAIN-b")
        of_b = [m for m in matches if "train-b" in m["train_file"]]
        assert total(page) == sum(m["eval_file"].endswith("law.jsonl") for m in of_b) > 0
        put(page, "benchmark", "")
        put(page, "file", "")
        put(page, "max", "99.9")
        assert total(page) == sum(match["score"] <= 0.999 for match in matches) > 0
        put(page, "max", "")
        for search in ("NUMBER 7", "</script>", ARABIC[5:20], "nothing has this"):
            put(page, "search", search)
            texts = [f"{m['train_text']}\0{m['eval_text']}".lower() for m in matches]
            assert total(page) == sum(search.lower() in text for text in texts), search
        assert page.inner_text("#review [role=status]").startswith("No match fits these filters")
        press(page, "[type=reset]")
        put(page, "sort", "eval")
        rows = page.locator("#review .pair .texts > div:last-child .where").all_inner_texts()
        found = re.findall(r"math\.jsonl, row (\d+)", "\n".join(rows))
        assert len(found) == 20
        assert found == sorted(found, key=int)
        press(page, "[data-step=last]")
        assert page.locator("#review .pair").count() == (len(matches) - 1) % 20 + 1


@needs_browser
def test_a_match_shows_its_surroundings_and_more_when_asked(report, matches):
    with opened_page(report / "report.html", "dark") as page:
        page.wait_for_selector(SHOWN)
        put(page, "search", "needle7 needle8")
        card = page.locator("#review .pair").first
        common = card.locator("mark.common").all_inner_texts()
        assert any(text.endswith("𝒳 end of the item") for text in common)
        put(page, "search", "owned")
        card = page.locator("#review .pair").first
        stretch = card.locator(".text").first
        assert "⟨U+202E⟩turned⟨U+202C⟩ 𝒳 & {{ 7 * 7 }}" in stretch.inner_text()
        assert stretch.get_attribute("dir") == "auto"
        put(page, "search", ARABIC)
        assert page.evaluate('getComputedStyle(document.querySelector("#review .text")).direction') == "rtl"


@needs_browser
def test_it_is_worked_by_keyboard(report):
    with opened_page(report / "report.html", "light") as page:
        page.wait_for_selector(SHOWN)
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("#review input, #review select, #review button")]
                .filter((e) => !(e.labels?.length || e.textContent.trim())).length"""
        )
        assert unnamed == 0
        page.focus("#review [name=search]")
        page.keyboard.type("number 1")
        page.get_by_text(re.compile(r"matches of \d+;")).wait_for()
        page.evaluate("document.activeElement.blur()")
        for _ in range(2):
            page.keyboard.press("j")
        assert page.evaluate("document.activeElement.querySelector('h3').innerText") == "2."
        page.keyboard.press("k")
        assert page.evaluate("document.activeElement.querySelector('h3').innerText") == "1."


@needs_browser
@pytest.mark.parametrize("width", [390, 768, 1200])
def test_nothing_is_cut_off_without_a_hint(report, width):
    with opened_page(report / "report.html", "light") as page:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_selector(SHOWN)
        put(page, "search", "needle7")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        hidden = page.evaluate(
            """() => [...document.querySelectorAll("body *")].filter((e) => {
                const style = getComputedStyle(e), shown = e.checkVisibility() && !e.closest("svg");
                return shown && e.scrollWidth > e.clientWidth + 1 && style.overflowX === "hidden";
            }).length"""
        )
        assert hidden == 0
        # What is wider than the page can be scrolled by keyboard, and its edge is shaded.
        wide = page.eval_on_selector_all(
            ".scroll",
            """all => all.filter(e => e.scrollWidth > e.clientWidth)
                .map(e => [e.tabIndex, getComputedStyle(e).backgroundImage.split("gradient").length])""",
        )
        assert all(row == [0, 5] for row in wide)
        card = page.locator("#review .pair").first
        assert card.locator(".gap").count() == 0  # the item is short enough to be shown whole


@needs_browser
def test_printed_it_says_what_it_has(report, tmp_path):
    with opened_page(report / "report.html", "light") as page:
        page.wait_for_selector(SHOWN)
        page.emulate_media(media="print")
        assert page.is_visible("#review [role=status]")
        for control in (".filters", ".pages button", ".pair footer button"):
            assert page.locator(f"#review {control}:visible").count() == 0
        clipped = page.eval_on_selector_all(
            "#review .text", "all => all.filter(e => e.scrollHeight > e.clientHeight + 1).length"
        )
        assert clipped == 0
        assert len(page.pdf(format="A4")) > 20_000


@needs_browser
def test_a_long_text_is_shown_around_what_matches_and_whole_when_asked(report, tmp_path):
    summary = json.loads((report / "summary.json").read_text())
    words = " ".join(f"w{n}" for n in range(20_000))
    table = many(1)
    texts = {
        "train_text": f"{words} here it differs {words}",
        "eval_text": f"{words} there it differs {words}",
    }
    for name, text in texts.items():
        table = table.set_column(
            table.schema.get_field_index(name), name, pa.array([text], pa.large_string())
        )
    (tmp_path / "report.html").write_text(draw_page(summary, table), "utf-8")
    with opened_page(tmp_path / "report.html", "light") as page:
        page.wait_for_selector(SHOWN)
        card = page.locator("#review .pair").first
        assert len(card.locator(".text").first.inner_text()) < 5_000
        assert card.locator("mark.differs").count() == 0, "the page has the beginning alone"
        footer = card.locator("footer").inner_text()
        whole = len(texts["train_text"])
        assert f"characters 1 to 65,536 of {whole:,} in train" in footer
        assert "row 0 of matches.parquet has all" in footer
        card.locator("footer button").click()
        assert len(card.locator(".text").first.inner_text()) > 65_000
        assert card.locator("footer button").get_attribute("aria-expanded") == "true"
        card.locator("footer button").click()
        assert len(card.locator(".text").first.inner_text()) < 5_000


@needs_browser
def test_without_scripts_the_page_is_complete(report):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto((report / "report.html").as_uri())
        assert page.is_visible("#worst .pair")
        assert not page.is_visible("#review")
        browser.close()


@needs_browser
def test_another_script_is_not_run(report, tmp_path):
    """The policy of the page admits its own script and no other one, whatever gets into it."""
    html = (report / "report.html").read_text("utf-8")
    spoilt = tmp_path / "report.html"
    spoilt.write_text(html.replace("<main", '<script>document.title="owned"</script><main'), "utf-8")
    titles = []
    with pytest.raises(AssertionError), opened_page(spoilt, "light") as page:  # noqa: PT012 - browser complains
        page.wait_for_selector(SHOWN)
        titles.append(page.title())
    assert titles[0].startswith("Leak found")


def many(rows: int, chars: int = 300) -> pa.Table:
    """Evidence of distinct texts, which share a rare word a hundred at a time."""
    rng = np.random.default_rng(1)
    words = np.array([f"{a}{b}" for a in data.WORDS for b in data.WORDS])
    drawn = words[rng.integers(len(words), size=(rows, chars // 10))]
    texts = [f"{' '.join(row)} rare{n % 1000} {n}" for n, row in enumerate(drawn)]
    numbers = np.arange(rows)
    columns = {
        "level": np.where(numbers < rows // 2, "text", "vector"),
        "score": np.where(numbers < rows // 2, 1.0, 0.95 + 0.05 * rng.random(rows)),
        **{f"{side}_count": np.ones(rows, np.int64) for side in ("train", "eval")},
        **{f"{side}_row": numbers for side in ("train", "eval")},
        "train_file": np.array([f"train-{n}.jsonl" for n in range(50)])[numbers % 50],
        "eval_file": np.array(["math.jsonl", "law.jsonl"])[numbers % 2],
        "train_text": texts,
        "eval_text": [f"{text} again" for text in texts],
    }
    return pa.table(
        [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type) for f in MATCHES],
        schema=MATCHES,
    )


@needs_browser
def test_a_page_of_100_000_matches_opens_and_filters_at_once(report, tmp_path):
    summary = json.loads((report / "summary.json").read_text())
    rows = 100_500
    start = time.perf_counter()
    html = draw_page(summary, many(rows))
    drawn = time.perf_counter() - start
    assert len(html) < 48 << 20
    (tmp_path / "report.html").write_text(html, "utf-8")
    assert "This page has 100,000 of the 100,500 matches" in html
    with opened_page(tmp_path / "report.html", "light") as page:
        page.wait_for_selector(SHOWN, timeout=60_000)
        opened = page.evaluate("performance.now() / 1000")
        assert total(page) == 100_000
        took = {"level": put(page, "level", "vector")}
        assert total(page) == 50_000
        took |= {"bound": put(page, "min", "97.5"), "search": put(page, "search", "rare77 ")}
        took |= {"search again": put(page, "search", "RARE123 "), "sort": put(page, "sort", "train")}
    said = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items())
    print(f"\n{len(html) / 2**20:.1f} MiB drawn in {drawn:.1f} s, opened in {opened:.2f} s; {said}")
    # Ten times what it takes on a machine with nothing else to do.
    assert opened < 30
    assert max(took.values()) < 3
