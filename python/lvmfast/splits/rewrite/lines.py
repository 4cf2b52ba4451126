"""Lines of jsonl and records of csv, byte for byte as they stand, plain or compressed."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from lvmfast.corpus.failures import one_line, reading
from lvmfast.corpus.jsonl import line_blocks
from lvmfast.corpus.streams import codec_of, decompressed
from lvmfast.errors import DataError
from lvmfast.splits.rewrite.rows import BLOCK_BYTES, Parts, check_rows, writing

_BOM = "\xef\xbb\xbf"  # as latin-1 reads it


def rewrite_jsonl(sources: Sequence[str], parts: Sequence[Parts], targets: Sequence[Path]) -> None:
    """As `rewrite`; blank lines are no rows and are left out."""
    with _written(targets) as outs:
        for source, part in zip(sources, parts, strict=True):
            row = 0
            with decompressed(source) as stream:
                for _, block in line_blocks(source, stream):
                    lines = [line for line in block.split(b"\n") if line and not line.isspace()]
                    where = part[row : row + len(lines)].tolist()
                    row += len(lines)
                    for place, out in enumerate(outs):
                        kept = [line for line, to in zip(lines, where, strict=False) if to == place]
                        if kept:
                            with writing(targets[place]):
                                out.write(b"\n".join(kept) + b"\n")
            check_rows(source, part, row)


def rewrite_csv(sources: Sequence[str], parts: Sequence[Parts], targets: Sequence[Path]) -> None:
    """As `rewrite`; every target begins with the header. Empty lines are no rows and are left out."""
    with _written(targets) as outs:
        header: list[str] | None = None
        for source, part in zip(sources, parts, strict=True):
            records = _records(source)
            fields, raw = next(records, ([], b""))
            if header is None:
                header = fields
                for out in outs:
                    out.write(raw)
            elif fields != header:
                raise DataError(f"{source}: expected the header {header} as in {sources[0]}, got {fields}")
            row = 0
            waiting: list[list[bytes]] = [[] for _ in outs]
            size = 0
            for _, raw in records:
                if row < len(part) and part[row] >= 0:
                    waiting[part[row]].append(raw)
                    size += len(raw)
                row += 1
                if size > BLOCK_BYTES:
                    _flush(outs, waiting, targets)
                    size = 0
            _flush(outs, waiting, targets)
            check_rows(source, part, row)


def _flush(outs: Sequence[pa.NativeFile], waiting: Sequence[list[bytes]], targets: Sequence[Path]) -> None:
    for out, records, target in zip(outs, waiting, targets, strict=True):
        with writing(target):
            out.write(b"".join(records))
        records.clear()


@contextmanager
def _written(targets: Sequence[Path]) -> Iterator[list[pa.NativeFile]]:
    """Streams into `targets`, compressed as their names say."""
    with ExitStack() as stack:
        outs = []
        for target in targets:
            out = stack.enter_context(pa.OSFile(os.fspath(target), "wb"))
            codec = codec_of(target.name)
            outs.append(stack.enter_context(pa.CompressedOutputStream(out, codec)) if codec else out)
        yield outs


def _records(path: str) -> Iterator[tuple[list[str], bytes]]:
    """(fields, bytes) of each record, the header first; every record ends in a newline.

    `csv` knows where a record ends, and draws just the lines that it needs, which are kept as they are.
    Latin-1 gives every byte a character, so the bytes survive whatever they encode.
    """
    drawn: list[str] = []

    def lines() -> Iterator[str]:
        with decompressed(path) as stream:
            for line in io.TextIOWrapper(cast(BinaryIO, stream), "latin-1", newline=""):
                drawn.append(line.removeprefix(_BOM) if first and not drawn else line)
                yield drawn[-1]

    first = True
    with reading(path), _long_fields():
        reader = csv.reader(lines())
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise DataError(f"{path}: line {reader.line_num}: {one_line(error)}") from error
            if fields is None:
                return
            raw = "".join(drawn).encode("latin-1")
            drawn.clear()
            first = False
            if fields:
                yield fields, raw if raw.endswith((b"\n", b"\r")) else raw + b"\n"


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lets `csv` read fields of any length, as the readers do; its limit is one for the whole process."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
