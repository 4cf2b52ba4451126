"""Pages of a MediaWiki XML dump, streamed: https://www.mediawiki.org/wiki/Help:Export"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from lvmfast.errors import DataError, missing_extra
from lvmfast.ingest.dump_streams import Through, decompressed

#: What may stand before the root element. A document type could declare entities, and no dump has one.
_HEAD = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml(?P<declaration>[^>]*)\?>\s*)?(?:<!--.*?-->\s*)*<mediawiki[\s>]",
    re.DOTALL,
)
_UTF8 = re.compile(rb"encoding\s*=\s*[\"']utf-?8[\"']", re.IGNORECASE)
_LONGEST_HEAD = 1 << 16

_FILE, _CATEGORY, _MEDIA = 6, 14, -2


@dataclass(frozen=True, slots=True)
class Page:
    """An article as its author wrote it."""

    index: int  #: zero-based place among the namespace-0 pages that are no redirects
    page_id: int
    revision_id: int
    title: str
    timestamp: str  #: of the revision, ISO 8601
    wikitext: str


@dataclass
class Site:
    """What the dump says about its wiki; filled in while the dump is read."""

    database: str = ""  #: such as ``enwiki``
    language: str = "en"
    #: lower-case names of the namespaces whose links are no prose: files, categories, media
    files: frozenset[str] = frozenset({"file", "image", "media"})
    categories: frozenset[str] = frozenset({"category"})


@dataclass
class Passed:
    """Pages that were met, by kind."""

    pages: int = 0
    other_namespaces: int = 0
    redirects: int = 0

    @property
    def articles(self) -> int:
        """Namespace-0 pages that are no redirects."""
        return self.pages - self.other_namespaces - self.redirects


#: Whether a page is wanted, by its index, page id and title.
Wanted = Callable[[int, int, str], bool]


@dataclass
class Dump:
    """A dump on disk: `.xml` or `.xml.bz2`, one stream or many."""

    path: str
    site: Site = field(default_factory=Site)
    passed: Passed = field(default_factory=Passed)

    @cached_property
    def date(self) -> str | None:
        """The day of the dump, from the name it was published under (``enwiki-20240101-...``), ISO 8601."""
        found = re.search(r"(?<!\d)(20\d\d)(\d\d)(\d\d)(?!\d)", Path(self.path).name)
        return "-".join(found.groups()) if found else None

    def pages(
        self, wanted: Wanted, through: Through = lambda _: None, last_index: int | None = None
    ) -> Iterator[Page]:
        """The wanted articles, in the dump's order. Memory does not grow with the dump.

        With `last_index` the rest of the dump is left unread.

        Raises:
            DataError: no dump, a broken one, one that ends early, or one that declares a document type.
        """
        for element in _elements(self.path, through):
            name = _local(element)
            if name == "siteinfo":
                self._describe(element)
            elif name == "page":
                page = self._article(element, wanted)
                if page is not None:
                    yield page
                if last_index is not None and self.passed.articles > last_index:
                    return

    def _article(self, element: Any, wanted: Wanted) -> Page | None:
        self.passed.pages += 1
        parts = {_local(child): child for child in element}
        if _text(parts.get("ns")) not in ("0", ""):
            self.passed.other_namespaces += 1
            return None
        if "redirect" in parts:
            self.passed.redirects += 1
            return None
        index = self.passed.articles - 1
        title, page_id = _text(parts.get("title")), self._number(parts, "id")
        if not wanted(index, page_id, title):
            return None
        # A full-history dump has several revisions; the last is the article.
        revisions = [child for child in element if _local(child) == "revision"]
        fields = {_local(child): child for child in revisions[-1]} if revisions else {}
        return Page(
            index,
            page_id,
            self._number(fields, "id"),
            title,
            _text(fields.get("timestamp")),
            _text(fields.get("text")),
        )

    def _number(self, parts: dict[str, Any], name: str) -> int:
        text = _text(parts.get(name))
        if not text.isdecimal():
            title = _text(parts.get("title"))
            raise DataError(f"{self.path}: page {title!r}: {name}: expected a number, got {text!r}")
        return int(text)

    def _describe(self, element: Any) -> None:
        names: dict[str, set[str]] = {}
        for child in element.iter():
            if _local(child) == "dbname":
                self.site.database = _text(child)
            elif _local(child) == "namespace":
                names.setdefault(child.get("key", ""), set()).add(_text(child).lower())
        root = element.getparent()
        language = root.get("{http://www.w3.org/XML/1998/namespace}lang") if root is not None else None
        self.site.language = language or self.site.language
        self.site.files |= names.get(str(_FILE), set()) | names.get(str(_MEDIA), set())
        self.site.categories |= names.get(str(_CATEGORY), set())


def _elements(path: str, through: Through) -> Iterator[Any]:
    """The children of the root element, each complete; what is behind is forgotten."""
    try:
        from lxml import etree
    except ImportError as error:
        raise missing_extra("reading a dump", "encode", error) from error

    # A page may be larger than the 10 MB that libxml2 allows by default, hence huge_tree. What that limit is
    # for, entities that expand to gigabytes, cannot be: the head is checked and no entity is declared.
    parser = etree.XMLPullParser(
        events=("start", "end"), huge_tree=True, resolve_entities=False, no_network=True, load_dtd=False
    )
    depth = 0
    try:
        for block in _checked(path, decompressed(path, through)):
            parser.feed(block)
            for event, element in parser.read_events():
                depth += 1 if event == "start" else -1
                if event == "end" and depth == 1:
                    yield element
                    element.clear()
                    while element.getprevious() is not None:
                        del element.getparent()[0]
        parser.close()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: broken {error.encoding}: {error.reason}") from error
    except etree.XMLSyntaxError as error:
        raise DataError(f"{path}: the XML is broken or ends early: {error.msg}") from error


def _checked(path: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks, in UTF-8, once their head is known to be that of a dump."""
    head = next(blocks, b"")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        texts = codecs.iterdecode(chain([head], blocks), "utf-16")
        blocks = (text.encode() for text in texts)
        head = next(blocks, b"")
    for block in blocks:
        head += block
        if len(head) >= _LONGEST_HEAD or _HEAD.match(head):
            break
    found = _HEAD.match(head)
    declaration = (found["declaration"] if found else None) or b""
    if found is None or (b"encoding" in declaration and not _UTF8.search(declaration)):
        if b"<!DOCTYPE" in head[:_LONGEST_HEAD]:
            raise DataError(f"{path}: declares a document type, which no dump does; refused")
        raise DataError(f"{path}: expected a MediaWiki dump in UTF-8 (<mediawiki ...>), got {head[:40]!r}")
    yield head
    yield from blocks


def _local(element: Any) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _text(element: Any) -> str:
    return (element.text or "") if element is not None else ""
