"""What a scan found so far as a value: it can be saved, carried elsewhere, and folded with other such values.

A scan indexes one side and streams the other. Whatever consecutive rows of the streamed side yield can be
cut out as a tree of arrays. Folding such cuts in the order of their rows, into the levels of a scan that
indexed the same rows, gives what an unbroken stream gives:

- slots and groups of the indexed side are numbered by first appearance, so they are the same wherever the
  same rows are indexed;
- counts, reasons, rows and distinct keys add up, and the best score of a group is the best of its bests;
- a match names the first row of its group of equal streamed vectors. A group that an earlier cut named brings
  only its size: its matches are there already, with the same scores;
- a cut keeps the `max_pairs` best matches, which loses none of the best ones of all: before a match that
  it leaves out stand so many others of no lower score, whose groups are named, here or in an earlier cut, by
  earlier rows.

How long earlier files are may be unknown while a file is read (another machine has them), so rows go by
numbers that hold the place of the file and the row in it; folding makes them rows of the dataset.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Batch, Column, Dataset, SplitFile
from lvmfast.corpus.side_by_side import in_turn
from lvmfast.errors import DataError
from lvmfast.parse import parse_json

Rows = npt.NDArray[np.int64]
#: What was cut out: arrays, JSON values, and trees of them by name.
Cut = dict[str, Any]

#: Bits of a row number below those of its file: no file has a trillion rows.
ROW_BITS = 40
#: Bytes of a file after which the stream may be cut, at the next row at which reading can begin.
SPAN_BYTES = 256 << 20
_DIGEST_BYTES = 32


def numbered(file: int, row: int) -> int:
    """The number of a row of a file."""
    return (file << ROW_BITS) + row


def located(numbers: Rows, starts: Rows) -> Rows:
    """The dataset rows of `numbers`, given the dataset row at which each file starts."""
    if starts is AS_THEY_ARE:
        return numbers
    return np.asarray(starts[numbers >> ROW_BITS] + (numbers & ((1 << ROW_BITS) - 1)), np.int64)


def numbers_of(files: int) -> Rows:
    """Starts by which rows keep their numbers."""
    return np.arange(files, dtype=np.int64) << ROW_BITS


#: Of rows that are numbered as in the dataset already.
AS_THEY_ARE: Rows = np.zeros(1, np.int64)


@dataclass(frozen=True, order=True)
class Span:
    """Consecutive rows of one file, as they go by one block of the indexed side."""

    file: int
    start: int
    stop: int | None  #: None: to the end of the file, wherever that is
    block: int = 0

    def batches(self, file: SplitFile, columns: Sequence[Column], rows: int) -> Generator[Batch, None, None]:
        """Streams the rows from their file, at most `rows` at a time, ``start`` numbered by file and row.

        Raises:
            DataError: the file is broken.
        """
        present = [column for column in columns if column in file.fields]
        wanted = None
        if self.start or self.stop is not None:
            stop = self.stop if self.stop is not None else file.rows
            assert stop is not None  # only a file of known length is cut
            wanted = np.arange(self.start, stop)
        read = file.batches(present, rows, wanted)  # begun here, not when the first batch is asked for
        return self._numbered(read, wanted)

    def _numbered(self, read: Iterator[Batch], wanted: Rows | None) -> Generator[Batch, None, None]:
        for batch in read:
            if wanted is not None:
                low = max(self.start - batch.file_row, 0)
                high = min(self.start + len(wanted) - batch.file_row, batch.rows)
                if low >= high:
                    continue
                batch = batch.sliced(low, high) if high - low < batch.rows else batch
            yield replace(batch, file=self.file, start=numbered(self.file, batch.file_row))


def spans_of(dataset: Dataset, span_bytes: int = SPAN_BYTES) -> list[Span]:
    """The files of `dataset` in spans of about `span_bytes`, cut where reading can begin."""
    spans = []
    for place, file in enumerate(dataset.files):
        rows = file.rows
        pieces = max(1, file.nbytes // span_bytes)
        cuts = [0]
        if rows and pieces > 1:
            even = np.arange(1, pieces) * rows // pieces
            if file.starts is not None:
                starts = np.append(file.starts, rows)
                even = starts[np.searchsorted(starts, even)]
            cuts += [int(row) for row in np.unique(even) if 0 < row < rows]
        spans += [Span(place, start, stop) for start, stop in zip(cuts, [*cuts[1:], None], strict=True)]
    return spans


def share_of(spans: Sequence[Span], dataset: Dataset, share: int, shares: int) -> list[Span]:
    """The spans of one of `shares` pieces (the first is 1) of about as many bytes; each is in one piece."""
    weights = []
    for span in spans:
        file = dataset.files[span.file]
        of_file = 1.0
        if file.rows:
            of_file = ((file.rows if span.stop is None else span.stop) - span.start) / file.rows
        weights.append(of_file * max(1, file.nbytes))
    ends = np.cumsum(weights)
    middles = (ends - np.asarray(weights) / 2) / max(1.0, float(ends[-1]))
    return [
        span for span, at in zip(spans, middles, strict=True) if (share - 1) / shares <= at < share / shares
    ]


def spans_read(
    dataset: Dataset, spans: Sequence[Span], columns: Sequence[Column], rows: int
) -> Iterator[tuple[Span, Generator[Batch, None, None]]]:
    """Each span with its batches; those of the next ones are begun, and so fetched where they are objects."""
    readings = [partial(span.batches, dataset.files[span.file], columns, rows) for span in spans]
    yield from zip(spans, in_turn(readings, beside=False), strict=True)


def nbytes_of(tree: Cut) -> int:
    """Bytes of the arrays in a tree."""
    values = tree.values()
    return sum(nbytes_of(v) if isinstance(v, dict) else getattr(v, "nbytes", 0) for v in values)


def pack(header: Cut, tree: Cut) -> bytes:
    """A tree as bytes, led by a header that can be read alone."""
    arrays: dict[str, npt.NDArray[Any]] = {}

    def shape(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: shape(inner, f"{name}/{key}") for key, inner in value.items()}
        if isinstance(value, np.ndarray):
            arrays[str(len(arrays))] = value
            return [len(arrays) - 1]
        return value

    shapes = shape(tree, "")
    head = json.dumps({"header": header, "tree": shapes}).encode()
    body = io.BytesIO()
    np.savez(body, **arrays)  # type: ignore[arg-type]
    content = len(head).to_bytes(8, "little") + head + body.getvalue()
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() + content


def unpack(name: str, data: bytes) -> tuple[Cut, Cut]:
    """The header and the tree behind `pack`.

    Raises:
        DataError: the bytes are not whole; `name` is what they are called.
    """
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if len(digest) < _DIGEST_BYTES or hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() != digest:
        raise DataError(f"{name}: damaged: its bytes do not match the digest before them")
    end = 8 + int.from_bytes(content[:8], "little")
    head = parse_json(name, content[8:end])
    with np.load(io.BytesIO(content[end:]), allow_pickle=False) as arrays:

        def value(shape: Any) -> Any:
            if isinstance(shape, dict):
                return {key: value(inner) for key, inner in shape.items()}
            return arrays[str(shape[0])] if isinstance(shape, list) else shape

        return head["header"], value(head["tree"])
