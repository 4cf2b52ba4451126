"""What a file's name says of it: the format, and how the file is compressed."""

from __future__ import annotations

import os

from lvmfast.corpus.codecs import CODECS

#: Format by suffix, in whatever case.
FORMATS = {
    ".npz": "npz",
    ".npy": "npy",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".parq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jl": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
}
#: Those that are read forward, and so from any codec.
_STREAMED = ("jsonl", "csv")


def suffix_of(path: str) -> str | None:
    """The end of a file's name that says its format, lower case (``.jsonl.gz``); None where none does."""
    stem, suffix = os.path.splitext(os.path.basename(path).lower())
    if suffix in FORMATS:
        return suffix
    inner = os.path.splitext(stem)[1]
    return inner + suffix if suffix in CODECS and FORMATS.get(inner) in _STREAMED else None


def format_of(path: str) -> str | None:
    """The format that a file's name says it has, or None for a name that says nothing."""
    suffix = suffix_of(path)
    return None if suffix is None else FORMATS[f".{suffix.split('.')[1]}"]


def known_formats() -> str:
    """What can be read, for messages."""
    streamed = [suffix for suffix, name in FORMATS.items() if name in _STREAMED]
    others = [suffix for suffix in FORMATS if suffix not in streamed]
    return f"{', '.join(others)}; {', '.join(streamed)}, plain or with {', '.join(CODECS)}"
