"""`load_split`: from what the user gave to a `Dataset`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from lvmfast.corpus.codecs import is_fingerprint
from lvmfast.corpus.columns import check_mapping, mapping_of_items, mapping_of_texts
from lvmfast.corpus.dataset import ITEM_COLUMNS, Column, Dataset, SplitFile
from lvmfast.corpus.formats import required_format
from lvmfast.corpus.looks import LackingError
from lvmfast.corpus.paths import Named, Paths, expanded, given_paths
from lvmfast.corpus.payload import Payload, join
from lvmfast.corpus.pointers import refuse_pointer
from lvmfast.corpus.quarantined import leaked_among
from lvmfast.errors import DataError
from lvmfast.stores import as_source, is_uri
from lvmfast.threads import threads

if TYPE_CHECKING:
    from lvmfast.corpus.fingerprint import Fingerprint
    from lvmfast.corpus.frames import InMemory

#: What a split is opened of.
Given: TypeAlias = "Paths | InMemory | Dataset"
#: Objects whose footers or first blocks are fetched side by side.
OPENED_AT_ONCE = 16


def load_split(
    source: Given,
    *,
    columns: Mapping[str, str] | None = None,
    payload: Given | Payload | None = None,
    allow_leaked: bool = False,
    lenient: bool = False,
    ignore: Sequence[str] = (),
    items: bool = False,
) -> Dataset:
    """Opens a split. Rows are read only where a payload is joined: all of the payload, and the split's ids.

    Args:
        source: a path, a quoted glob or a folder; several of them; one fingerprint (``.lvfp``); a dict of
            arrays, tensors or lists; whatever gives its rows through Arrow (frames of pandas and polars, a
            relation of duckdb, a pyarrow Table) or a LazyFrame; an HF ``datasets`` Dataset or
            IterableDataset; a list of dicts, or of texts (strings of which one has a blank and none could be
            a path: ``{"text": [...]}`` are texts for certain, and a ``Path`` is a path); a torch Dataset of
            dicts; an iterator of batches, which goes through a temporary file; or a Dataset of this package.
        columns: field names by column (``{"vector": "my_field"}``), where the known names do not do. With
            a payload, a field that either of the two has.
        payload: texts by (doc_id, chunk_id) to join to the rows, in any form that `source` can have, or a
            `Payload` that `load_payload` made.
        allow_leaked: open files whose content is quarantined; `Dataset.leaked` then names them.
        lenient: leave columns that cannot be read to `Dataset.unreadable`, where `columns` does not name
            them: perhaps nobody needs them.
        ignore: globs of names, or of ends of paths, of what folders and globs hold that is not part of the
            data: of the payload's, too. Anything else that is neither data nor plainly none is an error.
        items: the rows are evaluation items: ``passage``, ``choices`` and ``answer`` are read where they are
            there and hold texts (a note says where not), and a ``question`` where there is no ``text``.

    Raises:
        DataError: something is missing, broken, hostile or quarantined, or does not fit; one line says what
            and where.

    Examples:
        >>> import lvmfast
        >>> split = lvmfast.load_split({"doc_id": [1, 2], "text": ["one text", "another text"]})
        >>> split.rows, sorted(split.columns)
        (2, ['doc_id', 'text'])
    """
    mapped = check_mapping(columns)
    mapping = mapping_of_items(mapped) if items else mapping_of_texts(mapped)
    split = _load(source, mapping, payload, allow_leaked, ignore)
    for column, why in split.unreadable.items():
        if column in mapped or not (lenient or column in ITEM_COLUMNS):
            raise DataError(why)
    of_items = {column: mapped[column] for column in ITEM_COLUMNS if items and column in mapped}
    _check_mapped(of_items, split.files)
    return split


def _load(
    source: Any,
    mapping: dict[Column, str],
    payload: Any,
    allow_leaked: bool,
    ignore: Sequence[str],
) -> Dataset:
    fingerprint = as_fingerprint(source)
    if fingerprint is not None:
        if payload is not None:
            raise DataError(f"{fingerprint.path}: a fingerprint has its texts; no payload can be joined")
        return fingerprint
    if isinstance(source, Dataset):
        split = source
    else:
        files, notes, leaked = _opened(
            source, mapping, strict=payload is None, allow_leaked=allow_leaked, ignore=ignore
        )
        _refuse_apart(files)
        split = Dataset(tuple(files), remarks=tuple(notes), leaked=leaked)
    if payload is None:
        return split
    texts = (
        payload
        if isinstance(payload, Payload)
        else load_payload(
            payload, columns={str(c): f for c, f in mapping.items()}, allow_leaked=allow_leaked, ignore=ignore
        )
    )
    if not isinstance(source, Dataset):
        _check_mapped(mapping_of_texts(mapping), (*split.files, *texts.files))
    return join(split, texts)


def _refuse_apart(files: Sequence[SplitFile]) -> None:
    """Refuses vectors in one file and their ids or texts in another: rows would stand behind each other.

    Raises:
        DataError: a side has such files.
    """
    floats: set[Column] = {"vector", "context"}
    others: set[Column] = {"doc_id", "chunk_id", "text"}
    of_vectors = [file for file in files if floats & file.fields.keys() and not others & file.fields.keys()]
    # An array that is no vectors has no column at all.
    of_others = [
        file for file in files if not floats & file.fields.keys() and (file.fields or file.unreadable)
    ]
    if of_vectors and of_others:
        vectors, other = of_vectors[0].name, of_others[0].name
        raise DataError(
            f"{vectors} has vectors alone, and {other} has none: files of one side are read one "
            f"after the other; where rows belong together by position, give {vectors} alone and {other} as "
            "--train-ids, --eval-ids, --train-texts or --eval-texts"
        )


def as_fingerprint(source: Any) -> Fingerprint | None:
    """The fingerprint that `source` is or names, opened; None for any other split.

    Raises:
        DataError: it is broken, or stands beside other paths.
    """
    if isinstance(source, Dataset):
        return cast("Fingerprint", source) if source.keys_alone else None
    paths = given_paths(source)
    found = [os.fspath(path) for path in paths if is_fingerprint(path)]
    if found and len(paths) > 1:
        raise DataError(
            f"{found[0]}: a fingerprint must be the only path of its side; {len(paths)} paths were given"
        )
    if not found:
        return None
    from lvmfast.corpus.fingerprint import open_fingerprint

    return open_fingerprint(found[0])


def load_payload(
    source: Given | Payload,
    *,
    columns: Mapping[str, str] | None = None,
    allow_leaked: bool = False,
    ignore: Sequence[str] = (),
) -> Payload:
    """Reads a payload once, to be joined to one or more splits.

    Raises:
        DataError: as `load_split`, and when one key has two different texts.
    """
    if isinstance(source, Payload):
        return source
    if isinstance(source, Dataset):
        return Payload(source.files, leaked=source.leaked, remarks=source.remarks)
    files, notes, leaked = _opened(
        source,
        mapping_of_texts(check_mapping(columns)),
        strict=False,
        allow_leaked=allow_leaked,
        ignore=ignore,
    )
    return Payload(files, leaked=leaked, remarks=tuple(notes))


def _each(opened: Callable[[str], SplitFile], paths: Sequence[str]) -> list[SplitFile]:
    """Opens one after the other on disk; in a store many at once, as each waits for its answer."""
    if not any(map(is_uri, paths)):
        return [opened(path) for path in paths]
    with threads(OPENED_AT_ONCE, "lvmfast-open") as pool:
        opening = [pool.submit(copy_context().run, opened, path) for path in paths]
        try:
            return [file.result() for file in opening]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_mapped(mapping: Mapping[Column, str], files: Sequence[SplitFile]) -> None:
    """A split and its payload share a mapping, so a field may be missing in one of them, but not in both."""
    for column, field in mapping.items():
        if not any(file.fields.get(column) == field or column in file.unreadable for file in files):
            names = ", ".join(file.name for file in files)
            raise DataError(f"{names}: {column}: no field {field!r} in any of them")


def _opened_as(named: Named, file: SplitFile) -> SplitFile:
    """A file under its name, once it has every column that is read of it."""
    for column, field in named.columns.items():
        if column in file.unreadable:
            raise DataError(file.unreadable[column])
        if file.fields.get(column) != field:
            raise DataError(f"{file.name}: {column}: no field {field!r}, which {named.name} is read from")
    file.name = named.name
    return file


def _opened(
    source: Any, mapping: dict[Column, str], *, strict: bool, allow_leaked: bool, ignore: Sequence[str]
) -> tuple[list[SplitFile], list[str], tuple[str, ...]]:
    """The files, what was passed over, and the names of quarantined files."""
    expansion = expanded(source, ignore)
    if expansion is not None:
        leaked = leaked_among(expansion.files, allow_leaked=allow_leaked, listed=expansion.listed)

        def opened(path: str) -> SplitFile:
            source = as_source(path, expansion.listed.get(path))
            refuse_pointer(source)
            format = required_format(path)
            try:
                if (named := expansion.named.get(path)) is not None:
                    return _opened_as(named, format.open(source, dict(named.columns), strict=True))
                return format.open(source, mapping, strict=strict)
            except LackingError:
                raise
            except DataError as error:
                from lvmfast.corpus.guises import seems

                # Of an object no byte is asked for again: the store may have refused them.
                if source.path is not None and (guise := seems(source, format)):
                    raise DataError(f"{error}{guise}") from error
                raise

        return _each(opened, expansion.files), expansion.notes, leaked
    from lvmfast.corpus.memory import open_memory

    file = open_memory(source, mapping, strict=strict)
    if file is None:
        what = "nothing" if isinstance(source, (list, tuple)) else type(source).__name__
        raise DataError(
            f"expected paths, a dict of arrays, a table, rows, texts, batches or a dataset, got {what}"
        )
    return [file], [], ()
