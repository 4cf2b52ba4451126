"""Lines of jsonl and of text and records of csv, byte for byte as they stand, plain or compressed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.codecs import codec_of
from lvmfast.corpus.csv import Records, delimiter_of
from lvmfast.corpus.lines import begins_a_list, line_blocks
from lvmfast.corpus.rewriters.pieces import csv_in_pieces, in_pieces, json_in_pieces
from lvmfast.corpus.rewriters.rows import InPieces, Parts, check_rows, writing
from lvmfast.corpus.streams import decompressed
from lvmfast.corpus.txt import texts_of
from lvmfast.errors import DataError

_ONE_FILE = (
    "a document of its own, which would become one with those of other files; "
    "write them as jsonl, or read a document per line (text=line)"
)


def rewrite_jsonl(
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
    pieces: Sequence[InPieces],
) -> None:
    """As `rewrite`, lists where the first source is one; blank lines are no rows and are left out."""
    with decompressed(sources[0]) as stream:
        listed = begins_a_list(stream.read(1 << 20))
    opening, between, closing = (b"[\n", b",\n", b"\n]\n") if listed else (b"", b"\n", b"\n")
    with _written(targets) as outs:
        before = [opening] * len(outs)
        for source, part, cut in zip(sources, parts, pieces, strict=True):
            row = 0
            with decompressed(source) as stream:
                for block in line_blocks(source, stream):
                    lines = [line for _, line in block.numbered()]
                    where = part[row : row + len(lines)].tolist()
                    first, row = row, row + len(lines)
                    lines, where = in_pieces(lines, where, first, cut, json_in_pieces)
                    for place, out in enumerate(outs):
                        kept = [line for line, to in zip(lines, where, strict=False) if to == place]
                        if kept:
                            with writing(targets[place]):
                                out.write(before[place] + between.join(kept))
                            before[place] = between
            check_rows(source, part, row)
        for place, out in enumerate(outs):
            if listed or before[place] is between:
                with writing(targets[place]):
                    out.write(closing if before[place] is between else opening + closing)


def rewrite_csv(
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
    pieces: Sequence[InPieces],
) -> None:
    """As `rewrite`; every target begins with the header. Blank lines are no rows and are left out."""
    with _written(targets) as outs:
        names: list[str] | None = None
        for source, part, cut in zip(sources, parts, pieces, strict=True):
            _check_delimiter(source, targets)
            row = -1  # the header comes before the rows
            for header, spans in _records(source):
                if row < 0:
                    if names is None:
                        names = header
                        for target, out in zip(targets, outs, strict=True):
                            with writing(target):
                                out.write(spans[0])
                    elif header != names:
                        raise DataError(
                            f"{source}: expected the header {names} as in {sources[0]}, got {header}"
                        )
                    row, spans = 0, spans[1:]
                where = part[row : row + len(spans)].tolist()
                first, row = row, row + len(spans)
                written = partial(csv_in_pieces, header=header, delimiter=delimiter_of(source))
                spans, where = in_pieces(spans, where, first, cut, written)
                for place, (target, out) in enumerate(zip(targets, outs, strict=True)):
                    with writing(target):
                        out.write(b"".join(raw for raw, to in zip(spans, where, strict=False) if to == place))
            check_rows(source, part, row)


def rewrite_txt(
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
    pieces: Sequence[InPieces],
) -> None:
    """As `rewrite`: lines, or files whole, where a file is one row.

    Raises:
        DataError: as `rewrite`, and where several files would become one, whose rows would be one.
    """
    with _written(targets) as outs:
        filled = [False] * len(outs)
        for source, part in zip(sources, parts, strict=True):
            row = 0
            with decompressed(source) as stream:
                for block in texts_of(source, stream, by_line=len(part) != 1):
                    lines = [block] if len(part) == 1 else [line + b"\n" for line in block.split(b"\n")[:-1]]
                    where = part[row : row + len(lines)].tolist()
                    row += len(lines)
                    for place, (target, out) in enumerate(zip(targets, outs, strict=True)):
                        kept = b"".join(line for line, to in zip(lines, where, strict=False) if to == place)
                        if kept and filled[place] and len(part) == 1:
                            raise DataError(f"{source}: {_ONE_FILE}")
                        filled[place] = filled[place] or bool(kept)
                        with writing(target):
                            out.write(kept)
            check_rows(source, part, row)


def _check_delimiter(source: str, targets: Sequence[Path]) -> None:
    for target in targets:
        if delimiter_of(source) != delimiter_of(target.name):
            raise DataError(
                f"{source}: cannot go to {target.name}: one has commas between cells, one has tabs"
            )


def _records(path: str) -> Iterator[tuple[list[str], list[bytes]]]:
    """(header, bytes of the next records), the header being the first; every record ends in a newline."""
    records = Records(path)
    held, base = bytearray(), 0
    for block in records.blocks():
        held += block
        records.feed(block)
        spans = (records.spans().astype(np.int64) - base).tolist()
        if spans and records.header is not None:
            last = spans[-1][1]
            raw = [bytes(held[start:stop]) for start, stop in spans]
            if not raw[-1].endswith((b"\n", b"\r")):
                raw[-1] += b"\n"
            yield records.header, raw
            del held[:last]
            base += last


@contextmanager
def _written(targets: Sequence[Path]) -> Iterator[list[Any]]:
    """Streams into `targets`, compressed as their names say."""
    with ExitStack() as stack:
        outs = []
        for target in targets:
            out = stack.enter_context(pa.OSFile(os.fspath(target), "wb"))
            codec = codec_of(target.name)
            outs.append(stack.enter_context(codec.writer(out)) if codec else out)
        yield outs
