"""The formats that are read and written, and what a file's name says of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lvmfast.corpus.arrow import open_arrow
from lvmfast.corpus.codecs import CODECS, codec_of, without_codec
from lvmfast.corpus.csv import open_csv
from lvmfast.corpus.dataset import Column, SplitFile
from lvmfast.corpus.jsonl import open_jsonl
from lvmfast.corpus.npy import open_npy
from lvmfast.corpus.npz import open_npz
from lvmfast.corpus.parquet import open_parquet
from lvmfast.corpus.rewriters.archives import rewrite_webdataset
from lvmfast.corpus.rewriters.array_files import rewrite_npy, rewrite_npz
from lvmfast.corpus.rewriters.line_files import rewrite_csv, rewrite_jsonl, rewrite_txt
from lvmfast.corpus.rewriters.rows import InPieces, Parts
from lvmfast.corpus.rewriters.table_files import rewrite_arrow, rewrite_parquet
from lvmfast.corpus.txt import open_txt
from lvmfast.corpus.webdataset import open_webdataset
from lvmfast.errors import DataError
from lvmfast.stores import Source


class Opener(Protocol):
    """Learns and checks the columns of a file; `strict` where it must have one of them."""

    def __call__(self, path: Source, mapping: dict[Column, str], *, strict: bool) -> SplitFile:
        """The file, with `mapping` saying which field a column is read from where names do not.

        Raises:
            DataError: it is broken, hostile, or does not hold what was asked for.
        """
        ...


#: Writes the rows of sources to targets, some in pieces, as `splits.rewrite.rewrite` says.
Rewriter = Callable[[Sequence[str], Sequence[Parts], Sequence[Path], Sequence[InPieces]], None]


@dataclass(frozen=True)
class Format:
    """A way to keep rows in a file."""

    name: str  #: in messages
    suffixes: tuple[str, ...]  #: lower case; names have them in whatever case
    begins: str  #: what its files begin as, in the words of `guises`
    open: Opener
    rewrite: Rewriter
    streamed: bool = False  #: read and written forward, and so through any codec
    cuttable: bool = False  #: whether a row can become pieces of its text
    commonplace: bool = False  #: whether what is no data has such names, too


NPZ = Format("npz", (".npz",), "a zip archive", open_npz, rewrite_npz)
NPY = Format("npy", (".npy",), "an npy array", open_npy, rewrite_npy)
PARQUET = Format(
    "parquet", (".parquet", ".pq", ".parq"), "parquet", open_parquet, rewrite_parquet, cuttable=True
)
ARROW = Format(
    "arrow",
    (".arrow", ".arrows", ".ipc", ".feather"),
    "Arrow IPC",
    open_arrow,
    rewrite_arrow,
    cuttable=True,
)
JSONL = Format(
    "jsonl",
    (".jsonl", ".ndjson", ".jl", ".json"),
    "plain text",
    open_jsonl,
    rewrite_jsonl,
    streamed=True,
    cuttable=True,
)
CSV = Format("csv", (".csv", ".tsv"), "plain text", open_csv, rewrite_csv, streamed=True, cuttable=True)
TXT = Format("txt", (".txt",), "plain text", open_txt, rewrite_txt, streamed=True, commonplace=True)

WEBDATASET = Format(
    "webdataset", (".tar",), "plain text", open_webdataset, rewrite_webdataset, streamed=True
)  # which begins with the name of a member

#: Every format there is. Whatever asks what a file is asks here.
FORMATS = (NPZ, NPY, PARQUET, ARROW, JSONL, CSV, TXT, WEBDATASET)


def format_of(path: str) -> Format | None:
    """The format that a file's name says it has, or None for a name that says nothing."""
    plain = without_codec(os.path.basename(path))
    suffix = os.path.splitext(plain.lower())[1]
    found = next((format for format in FORMATS if suffix in format.suffixes), None)
    return None if found is None or (codec_of(path) and not found.streamed) else found


def required_format(path: str) -> Format:
    """`format_of` a file that is to be read.

    Raises:
        DataError: its name says nothing.
    """
    if (format := format_of(path)) is None:
        raise DataError(f"{path}: unknown format (known: {known_formats()})")
    return format


def suffix_of(path: str) -> str:
    """The end of a name that says the format, lower case, codec included (``.jsonl.gz``)."""
    name = os.path.basename(path).lower()
    return name[len(os.path.splitext(without_codec(name))[0]) :]


def known_formats() -> str:
    """What can be read, for messages."""
    streamed, others = (
        ", ".join(suffix for format in FORMATS if format.streamed is way for suffix in format.suffixes)
        for way in (True, False)
    )
    return f"{others}; {streamed}, plain or with {', '.join(CODECS)}"
