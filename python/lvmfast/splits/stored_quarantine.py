"""Quarantine in a store: objects are copied by the store itself, and the manifest says what is under way.

Nothing in a store can be locked or renamed. The manifest is the journal: it names an object before that is
copied and until the original is gone, so that a copy is known as leaked at every moment, and `resume_objects`
knows from where to where it goes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from lvmfast.corpus.paths import expand
from lvmfast.corpus.quarantined import (
    MANIFEST,
    MANIFEST_KIND,
    MANIFEST_VERSION,
    QUARANTINE,
    WARNING,
    manifest_entries,
)
from lvmfast.errors import DataError
from lvmfast.report.saved import SavedScan, ScannedFile
from lvmfast.splits.leaky import check_leaky, entry_of, leaked_levels
from lvmfast.splits.warning import warning
from lvmfast.stores import Folder, Identity, folder, is_uri, joined
from lvmfast.stores.failures import with_retries
from lvmfast.stores.filesystems import filesystem


@dataclass(frozen=True)
class QuarantinedObject:
    """One entry of the manifest of a quarantine in a store."""

    folder: str  #: the URI of the quarantine
    entry: Mapping[str, Any]  #: as docs/output.md has it

    @property
    def path(self) -> str:
        """The URI in quarantine."""
        return joined(self.folder, str(self.entry["file"]))

    @property
    def original(self) -> str:
        """The URI from before."""
        return str(self.entry["original_path"])

    @property
    def pending(self) -> str | None:
        """The move that was begun and not finished: ``quarantine``, ``restore``, or None."""
        pending: str | None = self.entry["pending"]
        return pending

    @property
    def content(self) -> Identity:
        """What it is known by: its BLAKE3, for a copy can have another ETag."""
        return Identity(self.path, int(self.entry["bytes"]), str(self.entry["blake3"]))


def place_of_object(uri: str, into: str) -> str:
    """The quarantine of an object: `into` if that is a URI, else a folder of that name beside it."""
    return into.rstrip("/") if is_uri(into) else joined(uri.rpartition("/")[0], into)


def quarantine_objects(
    given: Sequence[str], scan: SavedScan, into: str, *, force: bool, ignore: Sequence[str]
) -> tuple[tuple[QuarantinedObject, ...], tuple[str, ...]]:
    """The objects that were moved, and those that were found clean and left; else as `quarantine`.

    Raises:
        DataError: as `quarantine`; an object changed, or the store refuses: then it is where it was.
    """
    if not all(map(is_uri, given)):
        raise DataError("expected files on disk or objects in a store, got both: two commands move them")
    found: dict[str, ScannedFile] = {}
    for uri in expand(given, ignore).files:
        (found[uri],) = scan.check_inputs("eval", [uri])
        check_leaky(uri, uri in given, scan, found[uri], force)
    leaky = [uri for uri, scanned in found.items() if force or leaked_levels(scan, scanned)]
    if not leaky:
        raise DataError(f"{', '.join(given)}: no object there leaked; --force moves clean ones, too")
    entries = []
    for uri in leaky:
        stated = entry_of(uri.rpartition("/")[2], uri, Identity.read(uri), scan, found[uri])
        entries.append(QuarantinedObject(place_of_object(uri, into), stated))
    if len({entry.path for entry in entries}) < len(entries):
        raise DataError(f"--into: {into}: several objects would have one name there")
    for entry in entries:
        _check(entry)
    for entry in entries:
        _begin(_pending(entry, "quarantine"))
    return tuple(entries), tuple(uri for uri in found if uri not in leaky)


def _check(entry: QuarantinedObject) -> None:
    if entry.original == entry.path:
        raise DataError(f"{entry.original}: is in that quarantine already")
    if entry.entry["file"] in (MANIFEST, WARNING):
        raise DataError(f"{entry.original}: {entry.entry['file']} is a name that the quarantine needs")
    if filesystem(entry.original)[0] is not filesystem(entry.folder)[0]:
        raise DataError(f"--into: {entry.folder}: expected a folder in the store of {entry.original}")
    for other in _entries(folder(entry.folder)):
        if other.pending:
            raise _cut_off(other)
    if _is_there(entry.path) and not _holds(entry.path, entry.content):
        raise DataError(f"{entry.original}: another object is at {entry.path}")


def restore_object(uri: str) -> str:
    """Moves a quarantined object back, and returns its URI.

    Raises:
        DataError: it is not in a manifest, its content changed, another object has taken its place, or its
            move was cut off.
    """
    place = uri.rpartition("/")[0]
    entry = next((entry for entry in _entries(folder(place)) if entry.path == uri), None)
    if entry is None:
        raise DataError(f"{uri}: not quarantined: no entry in {joined(place, MANIFEST)}")
    if entry.pending:
        raise _cut_off(entry)
    if _is_there(entry.original):
        raise DataError(f"{uri}: cannot go back to {entry.original}: another object is there")
    _begin(_pending(entry, "restore"))
    return entry.original


def resume_objects(place: str) -> tuple[QuarantinedObject, ...]:
    """Finishes the moves in the quarantine `place` that were cut off, and returns their entries.

    Raises:
        DataError: it is no quarantine, or an object is in neither of its two places.
    """
    if not folder(place).exists(MANIFEST):
        raise DataError(f"{place}: no quarantine there (no {MANIFEST} of one)")
    begun = tuple(entry for entry in _entries(folder(place)) if entry.pending)
    for entry in begun:
        _finish(entry)
    return begun


def quarantined_objects(place: str) -> tuple[QuarantinedObject, ...]:
    """The entries of the quarantine that `place` is, or has."""
    found = _entries(folder(place))
    return found or _entries(folder(joined(place, QUARANTINE)))


def _entries(place: Folder) -> tuple[QuarantinedObject, ...]:
    if not place.exists(MANIFEST):
        return ()
    where = joined(place.path, MANIFEST)
    entries = manifest_entries(where, place.read(MANIFEST))
    return tuple(QuarantinedObject(place.path, entry) for entry in entries or ())


def _write(place: Folder, entries: Sequence[QuarantinedObject]) -> None:
    files = [dict(entry.entry) for entry in entries]
    manifest = {"schema_version": MANIFEST_VERSION, "kind": MANIFEST_KIND, "files": files}
    place.write(MANIFEST, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    if files:
        place.write(WARNING, warning(files).encode())
    else:
        place.remove(WARNING)


def _put(entry: QuarantinedObject, *, drop: bool = False) -> None:
    place = folder(entry.folder)
    others = [other for other in _entries(place) if other.path != entry.path]
    _write(place, others if drop else [*others, entry])


def _pending(entry: QuarantinedObject, action: str | None) -> QuarantinedObject:
    return replace(entry, entry={**entry.entry, "pending": action})


def _ends(begun: QuarantinedObject) -> tuple[str, str]:
    """From where to where a move goes."""
    ends = begun.original, begun.path
    return ends if begun.pending == "quarantine" else ends[::-1]


def _begin(begun: QuarantinedObject) -> None:
    source, target = _ends(begun)
    there = _is_there(target)
    _put(begun)
    try:
        _finish(begun)
    except BaseException:
        # What did not move needs no resuming; what did move stays in the manifest as begun.
        with suppress(DataError):
            if _holds(source, begun.content):
                if not there:
                    folder(target.rpartition("/")[0]).remove(target.rpartition("/")[2])
                _put(_pending(begun, None), drop=begun.pending == "quarantine")
        raise


def _finish(begun: QuarantinedObject) -> None:
    source, target = _ends(begun)
    here = _holds(source, begun.content)
    if not _holds(target, begun.content):
        if not here:
            raise DataError(
                f"{source}: expected BLAKE3 {begun.content.blake3}, found neither there nor at {target}; it "
                "was moved or changed by something else"
            )
        fs, inner = filesystem(source)
        with_retries(target, lambda: fs.cp_file(inner, filesystem(target)[1]))
        if not _holds(target, begun.content):
            raise DataError(f"{target}: not what was copied there; the original stays at {source}")
    if here:
        folder(source.rpartition("/")[0]).remove(source.rpartition("/")[2])
    _put(_pending(begun, None), drop=begun.pending == "restore")


def _is_there(uri: str) -> bool:
    return folder(uri.rpartition("/")[0]).exists(uri.rpartition("/")[2])


def _holds(uri: str, content: Identity) -> bool:
    return _is_there(uri) and bool(Identity.read(uri).same_as(content))


def _cut_off(entry: QuarantinedObject) -> DataError:
    return DataError(
        f"{entry.path}: its {entry.pending} was cut off; finish it first: "
        f"lvmfast quarantine --resume --into {entry.folder}"
    )
