"""What folders hold beside data, by name: what is plainly none, and what only looks as if it were none."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

#: What a folder that `lvmfast clean` or `lvmfast split` wrote holds beside data.
CERTIFICATE = "clean.json"
LEDGER = "_dropped.parquet"
DECISIONS_KEPT = "_decisions.jsonl"
#: The files that make a folder a report of `lvmfast leakscan`, and all that it may have.
REPORT = frozenset({"summary.json", "matches.parquet", "matched_rows.parquet"})
OF_REPORTS = REPORT | {
    "nearest.parquet",
    "undecided.parquet",
    "overlaps.parquet",
    "items.parquet",
    "set_aside.parquet",
    "decided.parquet",
    "decisions.jsonl",
    "report.html",
}

#: Files that are no data whatever they hold, lower case. A suffix of a format that is read makes a file
#: data all the same, but for the names in `_MARKERS`.
_PLAINLY_NONE = (
    *("readme*", "license*", "licence*", "copying*", "notice*", "changelog*", "citation*", "contributing*"),
    *("*.md", "*.py", "*.sh", "*.yaml", "*.yml", "*.toml", "*.lock", "*.crc"),
    *("*.md5", "*.sha1", "*.sha256", "*.sha512", "md5sum*", "sha1sum*", "sha256sum*", "sha512sum*"),
    *("checksum*", ".git*", ".ds_store", ".nfs*", ".keep", ".directory", "thumbs.db", "desktop.ini"),
    *("_success", "_committed_*", "_started_*", "_metadata", "_common_metadata"),
)
#: Likewise, in spite of their suffix: what HF datasets, macOS and lvmfast itself put beside data.
_MARKERS = (
    *("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json", "ingest.json"),
    *(LEDGER, DECISIONS_KEPT, "._*"),
)
#: Folders of tools, whatever they hold.
_OF_TOOLS = (
    *(".git", ".hg", ".svn", ".dvc", ".cache", ".huggingface", ".ipynb_checkpoints", "__pycache__"),
    *(".venv", ".idea", ".vscode", ".trash*", "__macosx", "_delta_log"),
    *(".partial", ".*.part", "lvmfast-scratch-*"),
)
#: Beside the files of a dataset that HF datasets saved: what earlier transformations left.
_CACHES = ("cache-*.arrow", "tmp*")


def is_marker(name: str) -> bool:
    """Whether a file is no data in spite of its suffix."""
    return _like_one_of(name, _MARKERS)


def is_plainly_no_data(name: str) -> bool:
    """Whether a file whose suffix is of no format that is read belongs beside data."""
    return _like_one_of(name, _PLAINLY_NONE)


def is_lock(name: str) -> bool:
    """Whether a file is the lock of a command that writes beside it, which is worth no word."""
    return name.startswith(".") and name.endswith(".lock")


def is_of_a_tool(folder: str) -> bool:
    """Whether a folder of this name belongs to a tool."""
    return _like_one_of(folder, _OF_TOOLS)


def is_cache(name: str) -> bool:
    """Whether a file in a folder that HF datasets saved is a cache of it."""
    return _like_one_of(name, _CACHES)


def _like_one_of(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
