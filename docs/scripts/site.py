"""A hook of mkdocs (`mkdocs.yml`): the reference of commands, and pages of the repository beside docs/.

Links that lead out of docs/ go to those pages; a link to any other file becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import lvmfast
from lvmfast.cli.app import COMMANDS, app
from lvmfast.cli.help import sections

ROOT = Path(__file__).parents[2]
#: Pages of the repository, by their place in the site.
BESIDE = {
    "project/contributing.md": "CONTRIBUTING.md",
    "project/changelog.md": "CHANGELOG.md",
    "project/security.md": "SECURITY.md",
    "project/conduct.md": "CODE_OF_CONDUCT.md",
    "project/examples.md": "examples/README.md",
    "index.md": "README.md",
}
_LINK = re.compile(r"(!?)\[((?:[^\]\[]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leaves out of the navigation what is not there (yet): a page that is there must be in it (`strict`)."""
    made = {*BESIDE, "reference/commands.md"}
    config.nav = _there(config.nav, Path(config.docs_dir), made)
    return config


def _there(entry: Any, docs: Path, made: set[str]) -> Any:
    if isinstance(entry, list):
        return [kept for item in entry if (kept := _there(item, docs, made)) is not None]
    if isinstance(entry, dict):
        ((title, inner),) = entry.items()
        kept = _there(inner, docs, made)
        return None if kept is None else {title: kept}
    return entry if entry in made or (docs / entry).is_file() else None


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made."""
    for place, source in BESIDE.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text("utf-8")))
    files.append(File.generated(config, "reference/commands.md", content="\n".join(_commands())))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as the site has them; the reference of Python also has public names that it does not list."""
    here = page.file.src_uri
    if here == "reference/python.md":
        markdown += _other_names(markdown)
    source = BESIDE.get(here, f"docs/{here}")
    places = {name: place for place, name in BESIDE.items()}

    def link(found: re.Match[str]) -> str:
        image, text, target = found.groups()
        path, _, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return found[0]
        full = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        place = places.get(full, full.removeprefix("docs/") if full.startswith("docs/") else None)
        if place is None:
            return text
        relative = posixpath.relpath(place, posixpath.dirname(here) or ".")
        return f"{image}[{text}]({relative}{'#' + anchor if anchor else ''})"

    return _LINK.sub(link, markdown)


def _other_names(markdown: str) -> str:
    listed = {place.rpartition(".")[2] for place in re.findall(r"^::: (\S+)$", markdown, re.M)}
    homes = (lvmfast._HOMES.get(name, ("lvmfast.errors", name)) for name in lvmfast.__all__)
    others = [f"::: {module}.{name}" for module, name in homes if name not in listed | {"__version__"}]
    return "\n".join(["", "", "## More", "", *others]) if others else ""


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "Made from the program itself: what `lvmfast COMMAND --help` prints, for every command.\n"
    group: Any = typer.main.get_command(app)
    with group.make_context("lvmfast", [], resilient_parsing=True) as context:
        for name in COMMANDS:
            yield from _command(name, group.get_command(context, name), context, depth=2)


def _command(name: str, command: Any, parent: Any, depth: int) -> Iterator[str]:
    with command.make_context(name, [], parent=parent, resilient_parsing=True) as context:
        yield f"{'#' * depth} {context.command_path}\n"
        yield f"{_plain(command.help or '')}\n"
        yield f"```text\n{' '.join(command.get_usage(context).split())}\n```\n"
        for title, records in sections(command, context).items():
            rows = [record for record in records if record[0] != "-h, --help"]
            if rows:
                yield f"| {title.capitalize()} | |\n| --- | --- |"
                yield from (f"| `{_cell(option)}` | {_cell(_plain(text))} |" for option, text in rows)
                yield ""
        for inner in getattr(command, "commands", {}):
            yield from _command(inner, command.get_command(context, inner), context, depth + 1)


def _plain(text: str) -> str:
    """Help as Markdown: nothing in it is markup but names between back quotes."""
    return re.sub(r"([\\*_<>\[\]])", r"\\\1", " ".join(text.split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
