"""The formats that are read and written, and what a file's name says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lvmfast.corpus.codecs import CODECS, codec_of, without_codec
from lvmfast.corpus.dataset import Column, SplitFile
from lvmfast.errors import DataError
from lvmfast.stores import Source

if TYPE_CHECKING:
    from lvmfast.corpus.rewriters.rows import InPieces, Parts


class Opener(Protocol):
    """Learns and checks the columns of a file; `strict` where it must have one of them."""

    def __call__(self, path: Source, mapping: dict[Column, str], *, strict: bool) -> SplitFile:
        """The file, with `mapping` saying which field a column is read from where names do not.

        Raises:
            DataError: it is broken, hostile, or does not hold what was asked for.
        """
        ...


class Rewriter(Protocol):
    """Writes the rows of sources to targets, some in pieces, as `splits.rewrite.rewrite` says."""

    def __call__(
        self,
        sources: Sequence[str],
        parts: Sequence[Parts],
        targets: Sequence[Path],
        pieces: Sequence[InPieces],
        /,
    ) -> None:
        """The rows of each source that `parts` name, at its target."""
        ...


def _opener(name: str) -> Opener:
    """Of a format, which is imported once a file is opened: a scan waits for no format but its own."""
    return partial(_call, f"lvmfast.corpus.{name}", f"open_{name}")


def _rewriter(module: str, name: str) -> Rewriter:
    return partial(_call, f"lvmfast.corpus.rewriters.{module}", f"rewrite_{name}")


def _call(module: str, function: str, *args: Any, **how: Any) -> Any:
    return getattr(import_module(module), function)(*args, **how)


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


NPZ = Format("npz", (".npz",), "a zip archive", _opener("npz"), _rewriter("array_files", "npz"))
NPY = Format("npy", (".npy",), "an npy array", _opener("npy"), _rewriter("array_files", "npy"))
PARQUET = Format(
    "parquet",
    (".parquet", ".pq", ".parq"),
    "parquet",
    _opener("parquet"),
    _rewriter("table_files", "parquet"),
    cuttable=True,
)
ARROW = Format(
    "arrow",
    (".arrow", ".arrows", ".ipc", ".feather"),
    "Arrow IPC",
    _opener("arrow"),
    _rewriter("table_files", "arrow"),
    cuttable=True,
)
JSONL = Format(
    "jsonl",
    (".jsonl", ".ndjson", ".jl", ".json"),
    "plain text",
    _opener("jsonl"),
    _rewriter("line_files", "jsonl"),
    streamed=True,
    cuttable=True,
)
CSV = Format(
    "csv",
    (".csv", ".tsv"),
    "plain text",
    _opener("csv"),
    _rewriter("line_files", "csv"),
    streamed=True,
    cuttable=True,
)
TXT = Format(
    "txt",
    (".txt",),
    "plain text",
    _opener("txt"),
    _rewriter("line_files", "txt"),
    streamed=True,
    commonplace=True,
)
WEBDATASET = Format(
    "webdataset",
    (".tar",),
    "plain text",  # the name of a member
    _opener("webdataset"),
    _rewriter("archives", "webdataset"),
    streamed=True,
)

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
