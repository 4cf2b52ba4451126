"""`load_split`: from what the user gave to a `Dataset`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lvmfast.corpus.columns import check_mapping
from lvmfast.corpus.dataset import Column, Dataset, SplitFile
from lvmfast.corpus.npy import open_npy
from lvmfast.corpus.npz import open_npz
from lvmfast.corpus.parquet import open_parquet
from lvmfast.corpus.paths import expand, format_of
from lvmfast.errors import DataError

_OPENERS: dict[str, Callable[..., SplitFile]] = {"npz": open_npz, "npy": open_npy, "parquet": open_parquet}


def load_split(source: Any, *, columns: Mapping[str, str] | None = None, payload: Any = None) -> Dataset:
    """Opens a split without reading its rows.

    Args:
        source: a path, a quoted glob or a folder; several of them; a dict of arrays, tensors or lists; a
            pyarrow Table; an HF ``datasets`` Dataset; or a Dataset of this package, returned as it is.
        columns: field names by column (``{"vector": "my_field"}``), where the known names do not do.
        payload: texts by (doc_id, chunk_id) to join to the rows, in any form that `source` can have.

    Raises:
        DataError: something is missing, broken or hostile, or does not fit; one line says what and where.
    """
    if isinstance(source, Dataset):
        return source
    mapping = check_mapping(columns)
    files, notes = _opened(source, mapping, strict=True)
    return Dataset(tuple(files), remarks=tuple(notes))


def _opened(source: Any, mapping: dict[Column, str], *, strict: bool) -> tuple[list[SplitFile], list[str]]:
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    if isinstance(source, Sequence) and source and all(isinstance(p, (str, os.PathLike)) for p in source):
        expansion = expand([os.fspath(path) for path in source])
        return [_open_file(path, mapping, strict) for path in expansion.files], expansion.notes
    raise DataError(f"expected paths, arrays or a table, got {type(source).__name__}")


def _open_file(path: str, mapping: dict[Column, str], strict: bool) -> SplitFile:
    return _OPENERS[str(format_of(path))](path, mapping, strict=strict)
