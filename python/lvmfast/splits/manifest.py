"""The writing of a quarantine's manifest and warning, by one process at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lvmfast import locking
from lvmfast.corpus.quarantined import (
    MANIFEST,
    MANIFEST_KIND,
    MANIFEST_VERSION,
    WARNING,
    QuarantinedFile,
    read_manifest,
)
from lvmfast.durable import flush, write_text
from lvmfast.splits.warning import warning


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Waits until no other process changes the quarantine `folder`. The lock ends with its process."""
    lock = locking.locked(folder, wait=True)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def write_manifest(folder: Path, entries: Sequence[QuarantinedFile]) -> None:
    """Writes the manifest, whole or not at all, and the warning that goes with it.

    An empty quarantine keeps its manifest, so that `LVMFAST_QUARANTINE` may go on naming it.

    Raises:
        OSError: the folder cannot be written.
    """
    manifest = {
        "schema_version": MANIFEST_VERSION,
        "kind": MANIFEST_KIND,
        "files": [dict(entry.entry) for entry in entries],
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    if entries:
        write_text(folder / WARNING, warning([entry.entry for entry in entries]))
    else:
        (folder / WARNING).unlink(missing_ok=True)
        flush(folder)


def put(entry: QuarantinedFile) -> None:
    """Writes one entry, in place of an earlier one of that file name."""
    others = [other for other in read_manifest(entry.folder) or () if other.path != entry.path]
    write_manifest(entry.folder, [*others, entry])


def drop(entry: QuarantinedFile) -> None:
    """Removes the entry of one file name."""
    others = [other for other in read_manifest(entry.folder) or () if other.path != entry.path]
    write_manifest(entry.folder, others)
