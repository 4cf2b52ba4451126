"""Articles that are plain text already: jsonl or parquet of id, title and text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from lvmfast.corpus.failures import reading
from lvmfast.corpus.formats import PARQUET, format_of
from lvmfast.corpus.streams import decompressed
from lvmfast.errors import DataError
from lvmfast.ingest.wikitext import Section, is_boilerplate
from lvmfast.parse import parse_json

_FIELDS = ("id", "title", "text")
_BATCH = 256


@dataclass(frozen=True, slots=True)
class PlainArticle:
    """One record of the file."""

    index: int  #: zero-based place in the file
    page_id: int | None
    title: str
    text: str
    domain: str | None

    def sections(self) -> tuple[Section, ...]:
        """Every line is a paragraph. A line that is the customary heading of boilerplate begins a section."""
        sections: list[tuple[str, list[str]]] = [("", [])]
        for line in filter(None, map(str.strip, self.text.splitlines())):
            if is_boilerplate(line):
                sections.append((line, []))
            else:
                sections[-1][1].append(line)
        return tuple(
            Section(heading, 2 if heading else 0, tuple(lines)) for heading, lines in sections if lines
        )


def plain_articles(path: str) -> Iterator[PlainArticle]:
    """The records of a jsonl (also compressed) or parquet file; `title` and `domain` may be missing.

    Raises:
        DataError: the file is broken, or a record has no id or no text.
    """
    records = _parquet(path) if format_of(path) is PARQUET else _jsonl(path)
    for index, (where, record) in enumerate(records):
        text = record.get("text")
        if not isinstance(text, str):
            raise DataError(f"{where}: text: expected a string, got {type(text).__name__}")
        identity = str(record.get("id", ""))
        yield PlainArticle(
            index,
            int(identity) if identity.isdecimal() else None,
            str(record.get("title") or ""),
            text,
            str(record["domain"]) if record.get("domain") is not None else None,
        )


def _parquet(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with reading(path), pq.ParquetFile(path) as file:
        names = set(file.schema_arrow.names)
        if "text" not in names:
            raise DataError(f"{path}: no field 'text'; there is {', '.join(sorted(names))}")
        fields = [name for name in (*_FIELDS, "domain") if name in names]
        row = 0
        for batch in file.iter_batches(_BATCH, columns=fields):
            for record in batch.to_pylist():
                yield f"{path}: row {row}", record
                row += 1


def _jsonl(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with reading(path), decompressed(path) as stream:
        number, rest = 0, b""
        while block := stream.read(1 << 20):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                number += 1
                if line.strip():
                    yield f"{path}: line {number}", _record(path, number, line)
        if rest.strip():
            yield f"{path}: line {number + 1}", _record(path, number + 1, rest)


def _record(path: str, number: int, line: bytes) -> dict[str, Any]:
    record = parse_json(f"{path}: line {number}", line)
    if not isinstance(record, dict):
        raise DataError(f"{path}: line {number}: expected an object, got {type(record).__name__}")
    return record
