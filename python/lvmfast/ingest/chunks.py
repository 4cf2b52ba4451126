"""Stage 2: articles cut into chunks of about equal length, at the ends of sentences and paragraphs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from lvmfast.corpus.failures import reading
from lvmfast.corpus.quarantined import check_usable
from lvmfast.corpus.writing import parquet_writer
from lvmfast.errors import DataError, missing_extra
from lvmfast.ingest.wikitext import is_boilerplate
from lvmfast.leaks.progress import Progress, silent

if TYPE_CHECKING:
    from lvmfast.encoding.encoder import Encoder

SCHEMA = pa.schema(
    [("doc_id", pa.int64()), ("chunk_id", pa.int64()), ("text", pa.large_string()), ("domain", pa.string())]
)

#: What a cut costs besides the length that it makes: none between sections, most between two sentences.
_AT_SECTION, _AT_PARAGRAPH, _AT_SENTENCE = 0.0, 0.05, 0.15
_TOO_SHORT = 1e3

#: What a length counts: words between blanks, or tokens of the encoder.
LengthUnit = Literal["words", "tokens"]
#: The length of a text.
Length = Callable[[str], int]


@dataclass(frozen=True)
class ChunkOptions:
    """How long chunks are.

    Raises:
        DataError: the lengths contradict each other.
    """

    target: int = 90
    minimum: int = 30
    maximum: int = 180
    unit: LengthUnit = "words"
    drop_boilerplate: bool = True

    def __post_init__(self) -> None:
        """Refuses lengths that nothing could have."""
        if self.unit not in get_args(LengthUnit):
            raise DataError(f"chunks: expected lengths in words or tokens, got {self.unit!r}")
        if not 1 <= self.minimum <= self.target <= self.maximum:
            raise DataError(
                f"chunks: expected 1 <= minimum <= target <= maximum, "
                f"got {self.minimum}, {self.target}, {self.maximum}"
            )
        if self.maximum < 2 * self.minimum - 1:
            raise DataError(
                f"chunks: maximum {self.maximum} is too small for minimum {self.minimum}: "
                "a text between the two could not be cut"
            )


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece that is not cut further, and what a cut behind it costs."""

    text: str
    length: int
    cut: float
    glue: str  #: what joins it to the next: a line feed, a blank, or nothing in scripts without blanks


def words(text: str) -> int:
    """Words between blanks."""
    return len(text.split())


def chunk_article(
    sections: Sequence[Sequence[str]], options: ChunkOptions, language: str = "en", length: Length = words
) -> list[str]:
    """Cuts one article, given as the paragraphs of its sections.

    Of all ways to cut it the one of least cost is taken (dynamic programming over sentence ends): the squared
    deviation of each chunk from the target, as a fraction of it, and a price for cuts inside paragraphs. A
    sentence longer than the maximum is cut between words. Paragraphs of a chunk are joined by a line feed.

    Returns:
        Texts of minimum to maximum length. An article shorter than the minimum has none, and where sentences
        cannot be put together otherwise, a piece under the minimum is left out.
    """
    sentences = list(_sentences(sections, options, language, length))
    ends = [0, *accumulate(sentence.length for sentence in sentences)]
    best: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, len(ends)):
        choices = []
        for start in range(stop - 1, -1, -1):
            size = ends[stop] - ends[start]
            if size > options.maximum and start < stop - 1:
                break
            cost = ((size - options.target) / options.target) ** 2 + sentences[stop - 1].cut
            if size < options.minimum:
                cost += _TOO_SHORT
            choices.append((best[start][0] + cost, start))
        best.append(min(choices))
    chunks: list[str] = []
    stop = len(sentences)
    while stop:
        start = best[stop][1]
        text = "".join(sentence.text + sentence.glue for sentence in sentences[start:stop]).strip()
        # The sum counts a word twice that the splitter cut in two.
        if length(text) >= options.minimum:
            chunks.append(text)
        stop = start
    return chunks[::-1]


def _sentences(
    sections: Sequence[Sequence[str]], options: ChunkOptions, language: str, length: Length
) -> Iterator[Sentence]:
    try:
        from sentencex import segment
    except ImportError as error:
        raise missing_extra("cutting chunks", "encode", error) from error

    for paragraphs in sections:
        for i, paragraph in enumerate(paragraphs):
            found = [text for text in segment(language, paragraph) if text.strip()]
            pieces = [piece for text in found for piece in _pieces(text, options.maximum, length)]
            for j, (text, size) in enumerate(pieces):
                last = j == len(pieces) - 1
                at_section = last and i == len(paragraphs) - 1
                cut = _AT_SECTION if at_section else _AT_PARAGRAPH if last else _AT_SENTENCE
                glue = "\n" if last else " " if text[-1].isspace() else ""
                yield Sentence(text.strip(), size, cut, glue)


def _pieces(sentence: str, maximum: int, length: Length) -> Iterator[tuple[str, int]]:
    """The sentence, or parts of about equal length where it is too long; blanks stay at the ends of parts."""
    size = length(sentence)
    if size <= maximum or len(sentence) < 2:
        yield sentence, size
        return
    parts = re.findall(r"\S+\s*", sentence)
    if len(parts) == 1:  # a script without blanks, or no sentence at all
        middle = len(sentence) // 2
        halves = [sentence[:middle], sentence[middle:]]
    else:
        middle = len(parts) // 2
        halves = ["".join(parts[:middle]), "".join(parts[middle:])]
    for half in halves:
        yield from _pieces(half, maximum, length)


@dataclass
class ChunksCut:
    """What became of the articles."""

    articles: int = 0
    too_short: int = 0  #: articles that are shorter than one chunk
    chunks: int = 0
    words: int = 0


def write_chunks(
    articles: Path,
    out: Path,
    options: ChunkOptions,
    *,
    encoder: Encoder | None = None,
    language: str = "en",
    progress: Progress = silent,
) -> ChunksCut:
    """Cuts the articles of stage 1 and writes `doc_id, chunk_id, text, domain` to the parquet file `out`.

    Chunks are numbered from 0 in each article. Equal articles and options make equal bytes.

    Args:
        articles: what stage 1 wrote.
        out: the file to write; it appears when it is whole.
        options: how long chunks are.
        encoder: whose tokens are counted, where lengths are in tokens.
        language: for the ends of sentences, an ISO 639 code.
        progress: called as ("chunks", articles done, articles in all).

    Raises:
        DataError: `articles` is no file of stage 1, or no article is long enough for a chunk.
    """
    if options.unit == "tokens" and encoder is None:
        raise DataError("chunks: lengths in tokens need an encoder")
    length = words if encoder is None or options.unit == "words" else _tokens_of(encoder)
    cut = ChunksCut()
    check_usable(articles)
    with reading(str(articles)), pq.ParquetFile(articles) as file:
        missing = {"doc_id", "sections"} - set(file.schema_arrow.names)
        if missing:
            raise DataError(
                f"{articles}: expected articles with doc_id and sections, found no {missing.pop()} there"
            )
        metadata = file.schema_arrow.metadata or {}
        total = file.metadata.num_rows
        columns = [c for c in ("doc_id", "sections", "domain") if c in file.schema_arrow.names]
        with parquet_writer(out, SCHEMA.with_metadata(metadata)) as write:
            for group in range(file.num_row_groups):
                rows: list[dict[str, Any]] = []
                for article in file.read_row_group(group, columns).to_pylist():
                    texts = chunk_article(_prose(article, options), options, language, length)
                    cut.articles += 1
                    cut.too_short += not texts
                    cut.chunks += len(texts)
                    cut.words += sum(map(words, texts))
                    rows += (
                        {
                            "doc_id": article["doc_id"],
                            "chunk_id": i,
                            "text": text,
                            "domain": article.get("domain"),
                        }
                        for i, text in enumerate(texts)
                    )
                    progress("chunks", cut.articles, total)
                write(pa.Table.from_pylist(rows, schema=SCHEMA))
            if not cut.chunks:
                raise DataError(f"{articles}: none of {cut.articles:,} articles is long enough for a chunk")
    return cut


def _tokens_of(encoder: Encoder) -> Length:
    return lambda text: encoder.tokens([text])[0]


def _prose(article: dict[str, Any], options: ChunkOptions) -> list[list[str]]:
    kept: list[list[str]] = []
    below: int | None = None  # depth of the boilerplate heading that we are under
    for section in article["sections"]:
        if below is not None and section["depth"] > below:
            continue
        below = section["depth"] if options.drop_boilerplate and is_boilerplate(section["heading"]) else None
        if below is None:
            kept.append(section["paragraphs"])
    return kept
