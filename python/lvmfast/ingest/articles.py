"""Stage 1: the wanted articles of a dump, or of a file of plain texts, as parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from lvmfast.corpus.formats import format_of
from lvmfast.corpus.quarantined import check_usable
from lvmfast.corpus.writing import parquet_writer
from lvmfast.errors import DataError, missing_extra
from lvmfast.ingest.dump import Dump, Page, Site
from lvmfast.ingest.ordered import in_order
from lvmfast.ingest.plain import PlainArticle, plain_articles
from lvmfast.ingest.selection import Sample, Selection
from lvmfast.ingest.wikitext import Prose, is_disambiguation, prose
from lvmfast.leaks.progress import Progress, silent

SECTION = pa.struct(
    [("heading", pa.string()), ("depth", pa.int32()), ("paragraphs", pa.list_(pa.large_string()))]
)
SCHEMA = pa.schema(
    [
        ("doc_id", pa.int64()),
        ("page_id", pa.int64()),
        ("revision_id", pa.int64()),
        ("title", pa.string()),
        ("timestamp", pa.string()),
        ("categories", pa.list_(pa.string())),
        ("domain", pa.string()),
        ("sections", pa.list_(SECTION)),
    ]
)

#: Wikitext that one task of the pool parses.
_TASK_CHARACTERS = 1 << 20
_ROW_GROUP = 1024

#: The domain of an article by the first pattern that one of its categories contains, lower case.
Domains = Mapping[str, tuple[str, ...]]


@dataclass
class ArticlesRead:
    """What became of the articles that were met."""

    kept: int = 0
    passed: int = 0  #: articles met, wanted or not
    dropped: dict[str, int] = field(default_factory=dict)  #: wanted articles by the reason they were dropped
    notes: list[str] = field(default_factory=list)

    def drop(self, reason: str) -> None:
        """Counts a wanted article that is no article to keep."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def write_articles(
    source: str,
    out: Path,
    selection: Selection,
    *,
    domains: Domains | None = None,
    workers: int = 0,
    progress: Progress = silent,
) -> ArticlesRead:
    """Writes the wanted articles of `source` to the parquet file `out`, in the source's order.

    Args:
        source: a MediaWiki XML dump, plain or bz2; or jsonl (also compressed) or parquet of id, title, text.
        out: the file to write; it appears when it is whole.
        selection: which articles.
        domains: patterns by domain; where one of an article's categories contains one, lower case, that is
            its domain. The first domain wins.
        workers: processes that parse wikitext, 0 for one per core.

    Raises:
        DataError: `source` is broken or hostile, or holds no article that was asked for.
    """
    check_usable(source)
    read = ArticlesRead()
    metadata = {"source": Path(source).name}
    if format_of(source) is None and source.lower().endswith((".xml", ".bz2")):
        dump = Dump(source)
        metadata["dump_date"] = dump.date or ""
        rows = _from_dump(dump, selection, domains or {}, workers, read, progress)
    else:
        rows = _from_plain(source, selection, read, progress)
    with parquet_writer(out, SCHEMA.with_metadata({"lvmfast": json.dumps(metadata)})) as write:
        while group := list(islice(rows, _ROW_GROUP)):
            write(pa.Table.from_pylist(group, schema=SCHEMA))
            read.kept += len(group)
        _check_found(source, selection, read)
    return read


def _check_found(source: str, selection: Selection, read: ArticlesRead) -> None:
    for start, stop in selection.ranges:
        if start >= read.passed:
            raise DataError(
                f"{source}: articles {start}:{stop} begin past the end: there are {read.passed:,}"
            )
        if stop > read.passed:
            read.notes.append(f"articles {start}:{stop} end past the last one: there are {read.passed:,}")
    if selection.random is not None and read.kept < selection.random:
        read.notes.append(f"asked for {selection.random:,} random articles, found only {read.kept:,}")
    if not read.kept:
        why = ", ".join(f"{n:,} {reason}" for reason, n in read.dropped.items())
        raise DataError(f"{source}: no article left of {read.passed:,}{': ' + why if why else ''}")


def _from_dump(
    dump: Dump, selection: Selection, domains: Domains, workers: int, read: ArticlesRead, progress: Progress
) -> Iterator[dict[str, Any]]:
    try:
        from loky import get_reusable_executor
    except ImportError as error:
        raise missing_extra("reading wikitext", "encode", error) from error

    workers = workers or os.cpu_count() or 1
    executor = get_reusable_executor(max_workers=workers, timeout=60)
    # The site is known once the first page is there.
    tasks = ((dump.site, pages) for pages in _tasks(_pages(dump, selection, read, progress)))
    for task in in_order(executor, _parsed, tasks, 3 * workers):
        for page, found in task:
            if not found.sections:
                read.drop("without text")
                continue
            yield {
                "doc_id": page.index,
                "page_id": page.page_id,
                "revision_id": page.revision_id,
                "title": page.title,
                "timestamp": page.timestamp,
                "categories": found.categories,
                "domain": _domain(found.categories, domains),
                "sections": [asdict(section) for section in found.sections],
            }


def _pages(dump: Dump, selection: Selection, read: ArticlesRead, progress: Progress) -> Iterator[Page]:
    """The pages whose wikitext is to be parsed."""
    size = os.path.getsize(dump.path)
    last = selection.last_index

    def through(bytes_read: int) -> None:
        met = dump.passed.articles
        progress("articles", met, int(met * size / bytes_read) if last is None else last + 1)

    sample: Sample[Page] | None = Sample(selection.random) if selection.random else None
    for page in dump.pages(selection.wants, through, last):
        if is_disambiguation(page.title, page.wikitext):
            read.drop("disambiguation")
        elif sample is not None:
            sample.offer(selection.priority(page.index), page.index, page)
        else:
            yield page
    read.passed = dump.passed.articles
    progress("articles", read.passed, read.passed)
    if sample is not None:
        yield from sample.items()


def _tasks(pages: Iterator[Page]) -> Iterator[list[Page]]:
    task: list[Page] = []
    characters = 0
    for page in pages:
        task.append(page)
        characters += len(page.wikitext)
        if characters >= _TASK_CHARACTERS:
            yield task
            task, characters = [], 0
    if task:
        yield task


def _parsed(task: tuple[Site, list[Page]]) -> list[tuple[Page, Prose]]:
    site, pages = task
    return [(replace(page, wikitext=""), prose(page.wikitext, site)) for page in pages]


def _from_plain(
    source: str, selection: Selection, read: ArticlesRead, progress: Progress
) -> Iterator[dict[str, Any]]:
    sample: Sample[PlainArticle] | None = Sample(selection.random) if selection.random else None
    for article in _plain(source, selection, read, progress):
        if not article.text.strip():
            read.drop("without text")
        elif sample is not None:
            sample.offer(selection.priority(article.index), article.index, article)
        else:
            yield _plain_row(article)
    if sample is not None:
        yield from map(_plain_row, sample.items())


def _plain(
    source: str, selection: Selection, read: ArticlesRead, progress: Progress
) -> Iterator[PlainArticle]:
    for article in plain_articles(source):
        if selection.last_index is not None and article.index > selection.last_index:
            return
        read.passed += 1
        progress("articles", read.passed, None)
        if selection.wants(article.index, article.page_id, article.title):
            yield article


def _plain_row(article: PlainArticle) -> dict[str, Any]:
    return {
        "doc_id": article.index,
        "page_id": article.page_id,
        "title": article.title,
        "domain": article.domain,
        "sections": [asdict(section) for section in article.sections()],
    }


def _domain(categories: Sequence[str], domains: Domains) -> str | None:
    lowered = [category.lower() for category in categories]
    for domain, patterns in domains.items():
        if any(pattern.lower() in category for pattern in patterns for category in lowered):
            return domain
    return None
