"""Wikitext to the prose that a reader sees, by walking what mwparserfromhell parsed.

Templates, tables, references, galleries, formulas, files and categories are no prose and go; link texts,
list items and emphasised words stay; headings become the titles of sections.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lvmfast.errors import missing_extra
from lvmfast.ingest.customs import BOILERPLATE_HEADINGS, DISAMBIGUATION_TEMPLATES
from lvmfast.ingest.dump import Site

#: Tags whose contents are no prose.
_DROPPED_TAGS = frozenset(
    "ref references table gallery math chem ce score timeline imagemap graph mapframe maplink templatestyles "
    "syntaxhighlight source pre code hiero style script section noinclude indicator inputbox".split()
)
#: Tags that begin a line of their own.
_BLOCK_TAGS = frozenset("br p div li dd dt hr blockquote center poem ul ol dl".split())
_DISAMBIGUATION = re.compile(
    r"\{\{\s*(?:" + "|".join(map(re.escape, DISAMBIGUATION_TEMPLATES)) + r")\s*(?:\||\}\})|__DISAMBIG__",
    re.IGNORECASE,
)
_INTERWIKI = re.compile(r"[a-z]{2,3}(-[a-z-]+)?:")
_EMPTY_BRACKETS = re.compile(r"[ \t]*[(\[][\s,;:–-]*[)\]]")
#: Markup that the parser gave back as text, because it does not close where it should.
_UNREAD_TABLE = re.compile(r"^[ \t:]*\{\|.*?^[ \t]*\|\}", re.DOTALL | re.MULTILINE)
_QUOTES = re.compile(r"'{2,5}")
_SPACES = re.compile(r"[ \t\u00a0]+")
_BEFORE_STOP = re.compile(r" +([,.;:])(?=\s|$)")
_AFTER_BRACKET = re.compile(r"([(\[])[\s,;]+")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the paragraphs below it, up to the next heading of any depth."""

    heading: str  #: empty before the first heading
    depth: int  #: 0 before the first heading, 2 for ``== A ==``, 3 for ``=== B ===``
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prose:
    """What is left of an article's wikitext."""

    sections: tuple[Section, ...]
    categories: tuple[str, ...]


@dataclass
class _Text:
    """Text on its way to paragraphs."""

    pieces: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)


def is_boilerplate(heading: str) -> bool:
    """Whether a section holds references, links and the like, by the customary names of such sections."""
    return heading.strip(" :").casefold() in BOILERPLATE_HEADINGS


def is_disambiguation(title: str, wikitext: str) -> bool:
    """Whether a page only leads to others of its name, by its title or one of the customary templates."""
    return title.endswith("(disambiguation)") or _DISAMBIGUATION.search(wikitext) is not None


def prose(wikitext: str, site: Site) -> Prose:
    """The prose of one article.

    Raises:
        DataError: mwparserfromhell is not installed.
    """
    try:
        import mwparserfromhell
    except ImportError as error:
        raise missing_extra("reading wikitext", "encode", error) from error

    text = _Text()
    sections: list[Section] = []
    heading, depth = "", 0
    try:
        nodes = mwparserfromhell.parse(wikitext, skip_style_tags=False).nodes
    except mwparserfromhell.parser.ParserError:
        nodes = mwparserfromhell.parse(wikitext, skip_style_tags=True).nodes
    for node in nodes:
        if isinstance(node, mwparserfromhell.nodes.Heading):
            sections.append(Section(heading, depth, tuple(_paragraphs(text.pieces))))
            text.pieces.clear()
            inner = _Text()
            _walk(node.title, inner, site)
            heading, depth = " ".join("".join(inner.pieces).split()), node.level
        else:
            _visit(node, text, site)
    sections.append(Section(heading, depth, tuple(_paragraphs(text.pieces))))
    kept = tuple(section for section in sections if section.paragraphs)
    return Prose(kept, tuple(dict.fromkeys(text.categories)))


def _walk(wikicode: Any, text: _Text, site: Site) -> None:
    for node in wikicode.nodes:
        _visit(node, text, site)


def _visit(node: Any, text: _Text, site: Site) -> None:
    kind = type(node).__name__
    if kind == "Text":
        text.pieces.append(str(node))
    elif kind == "Wikilink":
        _link(node, text, site)
    elif kind == "Tag":
        _tag(node, text, site)
    elif kind == "HTMLEntity":
        text.pieces.append(_character(node))
    elif kind == "ExternalLink":
        # A bare address is no prose; a described one reads as its description.
        if node.title is not None:
            _walk(node.title, text, site)
    elif kind == "Heading":
        _walk(node.title, text, site)
    # Templates, comments and arguments are not for the reader.


def _link(node: Any, text: _Text, site: Site) -> None:
    target = str(node.title).strip()
    namespace, colon, rest = target.partition(":")
    name = namespace.strip().replace("_", " ").lower()
    if colon and name in site.files:
        return
    if colon and name in site.categories:
        text.categories.append(" ".join(rest.replace("_", " ").split()))
        return
    if node.text is not None:
        _walk(node.text, text, site)
    elif not (colon and _INTERWIKI.match(target)):
        text.pieces.append(target.removeprefix(":"))


def _tag(node: Any, text: _Text, site: Site) -> None:
    name = str(node.tag).strip().lower()
    if name in _DROPPED_TAGS:
        return
    if name in _BLOCK_TAGS:
        text.pieces.append("\n")
    if node.contents is not None:
        _walk(node.contents, text, site)
    if name in ("p", "div", "blockquote", "center"):
        text.pieces.append("\n")


def _character(node: Any) -> str:
    try:
        return str(node.normalize())
    except (ValueError, OverflowError):  # a number that is no code point
        return ""


def _paragraphs(pieces: list[str]) -> Iterator[str]:
    """Lines of text, put right where something was taken out of their middle."""
    text = _UNREAD_TABLE.sub("\n", "".join(pieces))
    for line in text.splitlines():
        if line.lstrip().startswith(("|", "{|")):
            continue
        line = _QUOTES.sub("", line)
        line = _EMPTY_BRACKETS.sub("", line)
        line = _AFTER_BRACKET.sub(r"\1", line)
        line = _BEFORE_STOP.sub(r"\1", _SPACES.sub(" ", line)).strip()
        if any(character.isalnum() for character in line):
            yield line
