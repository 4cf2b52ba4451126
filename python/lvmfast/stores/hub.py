"""Data sets of the Hugging Face hub that are on this machine already, and the one way to fetch others.

``huggingface_hub`` keeps files as the hub has them, by commit; ``datasets`` keeps what it made of them, by
configuration and commit. Both are looked up as they lie there: no network, and no import of ``datasets``.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmfast.errors import DataError, missing_extra
from lvmfast.stores.failures import cause, status_of

#: The hub does not say which: a stranger need not know that there is one.
_REFUSED = (
    "the hub has no such data set or revision, or gives it to those alone who logged in (`hf auth login`) "
    "and accepted its terms (https://huggingface.co/datasets/{})"
)
_SHARD = re.compile(r"-\d{5}-of-(\d{5})(?=\.)")


@dataclass(frozen=True)
class Kept:
    """Files of a data set in one of the caches, all that were looked for."""

    files: tuple[str, ...]
    revision: str  #: commit of the data set
    cache: str  #: in words


def kept_files(dataset: str, pattern: str) -> Iterator[Kept]:
    """Files of a data set that match a pattern, in every commit of the hub's cache that has all of them.

    What the main branch points at comes first, then the newest.

    Raises:
        DataError: ``huggingface_hub`` is missing.
    """
    hub = _hub()
    name = hub.file_download.repo_folder_name(repo_id=dataset, repo_type="dataset")
    folder = Path(hub.constants.HF_HUB_CACHE, name)
    try:
        main = (folder / "refs" / "main").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    snapshots = sorted(_below(folder / "snapshots"), key=lambda one: (one.name != main, -one.stat().st_mtime))
    for snapshot in snapshots:
        found = [path for path in snapshot.glob(pattern) if not path.is_dir()]
        files = sorted(map(str, found))
        if _is_whole(files) and all(path.is_file() for path in found):  # and none is a link to nothing
            yield Kept(tuple(files), snapshot.name, "the hub's cache")


def kept_split(dataset: str, config: str, split: str) -> Iterator[Kept]:
    """Arrow files that ``datasets`` made of a split, newest first.

    Raises:
        DataError: ``huggingface_hub`` is missing, which says where the caches are.
    """
    # What `datasets` calls a folder is the name in snake case; which case it had is not told by it.
    wanted = _plain(dataset.replace("/", "___"))
    of_split = re.compile(rf".+-{re.escape(split)}(-\d{{5}}-of-\d{{5}})?\.arrow")
    made = [
        made
        for folder in _below(datasets_cache())
        if _plain(folder.name) == wanted
        for version in _below(folder / config)
        for made in _below(version)
        if not made.name.endswith(".incomplete")
    ]
    for folder in sorted(made, key=lambda one: -one.stat().st_mtime):
        files = sorted(str(path) for path in folder.iterdir() if of_split.fullmatch(path.name))
        if _is_whole(files):
            yield Kept(tuple(files), folder.name, "the cache of datasets")


def datasets_cache() -> Path:
    """Where ``datasets`` keeps what it made.

    Raises:
        DataError: ``huggingface_hub`` is missing.
    """
    return Path(os.environ.get("HF_DATASETS_CACHE") or Path(_hub().constants.HF_HOME, "datasets"))


def hub_cache() -> Path:
    """Where ``huggingface_hub`` keeps files.

    Raises:
        DataError: ``huggingface_hub`` is missing.
    """
    return Path(_hub().constants.HF_HUB_CACHE)


def fetch_files(dataset: str, revision: str | None, patterns: Sequence[str]) -> None:
    """Fetches files of a data set into the hub's cache.

    Raises:
        DataError: ``huggingface_hub`` is missing, or the hub does not give them.
    """
    with _asking(dataset):
        _hub().snapshot_download(
            dataset, repo_type="dataset", revision=revision, allow_patterns=list(patterns)
        )


def fetch_split(dataset: str, revision: str | None, config: str, split: str) -> None:
    """Has ``datasets`` fetch a split and keep what it makes of it.

    Raises:
        DataError: ``datasets`` is missing, or the hub does not give it.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{dataset}: fetching it needs datasets: pip install datasets") from error
    with _asking(dataset):
        datasets.load_dataset(dataset, config, split=split, revision=revision)


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.file_download
    except ImportError as error:
        raise missing_extra("looking into the caches of the Hugging Face hub", "hf", error) from error
    return huggingface_hub


@contextmanager
def _asking(dataset: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of several libraries, one for each way in which a request can end
        refused = status_of(error) in (401, 403, 404)
        why = _REFUSED.format(dataset) if refused else cause(error)
        raise DataError(f"{dataset}: not fetched: {why}") from error


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _below(folder: Path) -> list[Path]:
    """The folders in a folder, if there is one."""
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def _is_whole(files: Sequence[str]) -> bool:
    """Whether there is a file, and of those that are one of so many every other."""
    shards = Counter((_SHARD.sub("", file), match[1]) for file in files if (match := _SHARD.search(file)))
    return bool(files) and all(found == int(of) for (_, of), found in shards.items())
