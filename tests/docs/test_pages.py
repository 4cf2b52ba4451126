"""README and docs: their commands print what they say, their links lead somewhere, README is short.

`python -m tests.docs.test_pages` runs the commands and writes what they print into the pages.
"""

from __future__ import annotations

import re
import tempfile
from importlib import import_module
from pathlib import Path

import pytest

import lvmfast
from tests.support.pages import (
    PAGES,
    PRINTED_WITH,
    Step,
    agree,
    digest_of_topics,
    fresh_clone,
    masked,
    rewritten,
    run_steps,
    steps_of,
)  # fmt: skip
from tests.support.places import ROOT

README = ROOT / "README.md"
RUNNABLE = [page for page in PAGES if steps_of(page.read_text("utf-8"))]


def run_page(page: Path, folder: Path) -> list[Step]:
    steps = steps_of(page.read_text("utf-8"))
    if page != README:
        demo = [Step(0, "make demo", ())]
        run_steps(demo, folder, active=False)
    return run_steps(steps, folder, active=page != README)


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_print_what_the_page_says(page, tmp_path):
    same = digest_of_topics() == PRINTED_WITH
    printed = run_page(page, fresh_clone(tmp_path / "clone"))
    for said, done in zip(steps_of(page.read_text("utf-8")), printed, strict=True):
        expected, found = (masked(step.printed, numbers=not same) for step in (said, done))
        assert agree(expected, found), "\n".join(
            (
                f"{page.name}, line {said.line}: $ {said.command}",
                "prints",
                *found,
                "and the page says",
                *expected,
            )
        )


def test_the_readme_runs_what_it_shows():
    commands = [step.command for step in steps_of(README.read_text("utf-8")) if not step.file]
    assert commands[0] == "make demo"
    assert sum("lvmfast leakscan" in command for command in commands) >= 2
    assert any(command.startswith("python ") for command in commands)


def test_the_reference_of_python_names_what_is_public():
    paths = re.findall(r"^::: (\S+)$", (ROOT / "docs/reference/python.md").read_text("utf-8"), re.M)
    public = [getattr(lvmfast, name) for name in lvmfast.__all__]
    for path in paths:
        module, _, name = path.rpartition(".")
        assert any(getattr(import_module(module), name) is value for value in public), path


def test_the_readme_is_short():
    assert len(README.read_text("utf-8").splitlines()) <= 130


def headings(page: Path) -> set[str]:
    text = re.sub(r"^(`{3,}).*?^\1\s*$", "", page.read_text("utf-8"), flags=re.S | re.M)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CODE_OF_CONDUCT.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page):
    text = re.sub(r"^(`{3,}).*?^\1\s*$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.S | re.M)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in headings(target), link


def test_steps_are_read_as_the_rules_say():
    steps = steps_of(
        "\n```console\n$ one \\\n    more\nprinted\n\n$ two\n```\n"
        "<!-- file: a.py -->\n```python\nx\n```\n```sh\nno\n```\n"
    )
    assert steps == [
        Step(3, "one \\\n    more", ("printed", "")), Step(7, "two", ()), Step(11, "x\n", (), "a.py"),
    ]  # fmt: skip


def test_what_differs_is_seen(tmp_path):
    folder = fresh_clone(tmp_path / "clone")
    page = "```console\n$ printf 'a 1.5 s\\nb 12\\n'; echo $PWD/c >&2\na 2.0 s\n...\nc\n```\n"
    (first,) = run_steps(steps_of(page), folder, active=True)
    assert first.printed == ("a 1.5 s", "b 12", "c")
    found = masked(first.printed, numbers=False)
    assert agree(masked(("a 2.0 s", "...", "c"), numbers=False), found)
    assert agree(masked(("a 3 s", "b 12", "c"), numbers=False), found)
    assert not agree(masked(("a 3 s", "b 13", "c"), numbers=False), found)
    assert agree(masked(("a 3 s", "b 13", "c"), numbers=True), masked(first.printed, numbers=True))
    assert not agree(masked(("a 3 s", "b 12"), numbers=False), found)
    said = "```console\n$ echo new\nold\n$ echo x\n...\n```\n"
    printed = run_steps(steps_of(said), folder, active=True)
    assert rewritten(said, printed) == "```console\n$ echo new\nnew\n$ echo x\n...\n```\n"


def write_pages() -> None:
    """Writes into every page what its commands print now."""
    for page in RUNNABLE:
        with tempfile.TemporaryDirectory() as folder:
            printed = run_page(page, fresh_clone(Path(folder) / "clone"))
            page.write_text(rewritten(page.read_text("utf-8"), printed), "utf-8")


if __name__ == "__main__":
    write_pages()
