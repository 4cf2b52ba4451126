"""Splits that are in memory already: dicts of arrays or tensors, HF datasets, and what `frames` reads.

torch and ``datasets`` are never imported: their objects are known by what they can do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.array_source import ArraySource, ReadRows
from lvmfast.corpus.arrays_file import ArraysFile
from lvmfast.corpus.columns import resolve
from lvmfast.corpus.dataset import ITEM_COLUMNS, Column, Rows, SplitFile
from lvmfast.corpus.failures import one_line
from lvmfast.corpus.frames import DATASET, is_hf_stream, open_frame
from lvmfast.corpus.table_file import TableFile
from lvmfast.errors import DataError
from lvmfast.parse import parse_json, without_nan

ARRAYS = "<arrays>"


def open_memory(source: Any, mapping: dict[Column, str], *, strict: bool = True) -> SplitFile | None:
    """The split file of an object in memory; None for an object of another kind.

    Raises:
        DataError: arrays or fields that do not fit their columns, or a DatasetDict of several splits.
    """
    if isinstance(source, Mapping):
        if isinstance(source, dict) and source and all(map(_is_split, source.values())):
            if len(source) == 1:
                return open_memory(next(iter(source.values())), mapping, strict=strict)
            raise DataError(
                f"{DATASET}: a DatasetDict; give one of its splits: "
                + ", ".join(f"dataset[{name!r}]" for name in source)
            )
        return _open_arrays(source, mapping, strict)
    if isinstance(source, np.ndarray) and source.dtype.kind in "UTO" and source.ndim == 1:
        source = source.tolist()
    if isinstance(source, np.ndarray) or _is_tensor(source):
        field = mapping.get("vector", "vector")
        return _open_arrays({field: source}, {"vector": field}, strict)
    if _is_hf_dataset(source):
        return _open_hf_dataset(source, mapping, strict)
    return open_frame(source, mapping, strict=strict)


def _open_arrays(arrays: Mapping[str, Any], mapping: dict[Column, str], strict: bool) -> ArraysFile:
    fields = resolve(ARRAYS, arrays, mapping, pairs=True, strict=strict)
    sources = {field: _source(field, arrays) for c, field in fields.items() if c not in ITEM_COLUMNS}
    sources |= {field: _item_source(arrays[field]) for field in fields.values() if field not in sources}
    nbytes = sum(source.nbytes for source in sources.values())
    stated = _provenance(arrays["provenance"]) if "provenance" in arrays else None
    typed: dict[str, ArraySource] = dict(sources)
    chosen: dict[Column, str] = dict(fields)
    return ArraysFile(ARRAYS, None, nbytes, typed, chosen, strict=strict, provenance=stated)


def _provenance(value: Any) -> dict[str, Any] | None:
    try:
        text = json.dumps(dict(value), default=str) if isinstance(value, Mapping) else str(value)
        stated = without_nan(parse_json("provenance", text))
    except (ValueError, TypeError, RecursionError):
        return None
    return stated if isinstance(stated, dict) else None


class _NumpyArray:
    """`ArraySource` over an array."""

    pickled = False

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.shape, self.dtype, self.nbytes, self._values = values.shape, values.dtype, values.nbytes, values

    @contextmanager
    def opened(self) -> Iterator[ReadRows]:
        yield lambda start, stop: self._values[start:stop]


class _Tensor:
    """`ArraySource` over a torch tensor on any device, brought over block by block."""

    pickled = False

    def __init__(self, values: Any) -> None:
        self.shape = tuple(int(n) for n in values.shape)
        kind = str(values.dtype).removeprefix("torch.")
        # numpy has no bfloat16: its blocks are widened to float32, which is exact.
        self._widen = kind == "bfloat16"
        self.dtype = np.dtype("float32" if self._widen else kind)
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self._values = values

    @contextmanager
    def opened(self) -> Iterator[ReadRows]:
        yield self._read

    def _read(self, start: int, stop: int) -> npt.NDArray[Any]:
        block = self._values[start:stop].detach()
        block = (block.float() if self._widen else block).cpu()
        values: npt.NDArray[Any] = block.numpy()
        return values


def _source(field: str, arrays: Mapping[str, Any]) -> _NumpyArray | _Tensor:
    try:
        value = arrays[field]  # an open NpzFile may refuse here
        if _is_tensor(value):
            return _Tensor(value)
        if isinstance(value, (list, tuple)):
            return _NumpyArray(_from_list(value))
        return _NumpyArray(np.asarray(value))
    except (ValueError, TypeError) as error:
        raise DataError(f"{ARRAYS}: {field}: {one_line(error)}") from error


def _item_source(value: Any) -> _NumpyArray:
    """Of texts, of lists of them, or of anything else, which its reader may refuse."""
    if not isinstance(value, (list, tuple)):
        return _NumpyArray(np.asarray(value))
    numbers = all(isinstance(one, (bool, int, float)) for one in value)
    return _NumpyArray(np.asarray(value) if numbers else _objects(value))


def _objects(values: list[Any] | tuple[Any, ...]) -> npt.NDArray[Any]:
    out = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        out[place] = value
    return out


def _from_list(values: list[Any] | tuple[Any, ...]) -> npt.NDArray[Any]:
    """Strings, Nones, booleans and mixed ids stay Python values; all numbers, or nested, becomes an array."""
    if any(value is None or isinstance(value, (str, bytes, bool)) for value in values):
        return _objects(values)
    return np.asarray(values)


def _is_tensor(value: Any) -> bool:
    return str(getattr(value, "dtype", "")).startswith("torch.") and hasattr(value, "detach")


def _is_hf_dataset(value: Any) -> bool:
    wanted = ("features", "column_names", "with_format", "select_columns", "__len__", "__getitem__")
    return not isinstance(value, Mapping) and all(hasattr(value, name) for name in wanted)


def _is_split(value: Any) -> bool:
    return _is_hf_dataset(value) or is_hf_stream(value)


def _open_hf_dataset(dataset: Any, mapping: dict[Column, str], strict: bool) -> TableFile:
    """Read through the dataset's own indexing, which knows of selections and shuffles."""
    rows = len(dataset)
    schema = dataset.with_format("arrow")[: min(rows, 1)].schema

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        view = dataset.select_columns(fields or dataset.column_names[:1]).with_format("arrow")
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            if wanted is None or np.diff(np.searchsorted(wanted, (start, stop)))[0]:
                first = start
                for batch in view[start:stop].to_batches():
                    yield first, batch.select(fields)
                    first += batch.num_rows

    return TableFile(DATASET, None, int(dataset.data.nbytes), rows, schema, scan, mapping, strict=strict)
