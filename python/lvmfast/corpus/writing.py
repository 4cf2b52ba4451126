"""Files of arrays and tables: they appear when they are whole, and equal content makes equal bytes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import durable
from lvmfast.errors import naming

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first day that a zip file knows


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """As `durable.appearing`, in a folder that is made if it is not there.

    Raises:
        DataError: it cannot be written, or the disk is full.
    """
    with naming(path, "cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with durable.appearing(path) as staged:
            yield staged


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Calls append row groups. Equal tables make equal bytes.

    Raises:
        DataError: as `appearing`.
    """
    import pyarrow.parquet as pq

    with appearing(path) as staged, pq.ParquetWriter(staged, schema, compression="zstd") as writer:
        yield lambda table: writer.write_table(table, row_group_size=max(1, len(table)))


@dataclass(frozen=True)
class Blocks:
    """An array that is too large to be held: consecutive blocks of its rows, made when written."""

    shape: tuple[int, ...]
    rows: Iterator[npt.NDArray[Any]]
    dtype: str = "<f4"


def write_npz(
    path: Path, arrays: Mapping[str, npt.NDArray[Any] | Blocks], provenance: Mapping[str, Any]
) -> None:
    """Stores `arrays` uncompressed, so that they can be mapped, and the provenance as JSON.

    Raises:
        DataError: the file cannot be written; nothing stands at `path` then.
    """
    members = {**arrays, "provenance": np.array(json.dumps(provenance, sort_keys=True))}
    with appearing(path) as staged, zipfile.ZipFile(staged, "w", zipfile.ZIP_STORED) as archive:
        for name, values in members.items():
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(info, "w", force_zip64=True) as member:
                if isinstance(values, Blocks):
                    header = {"descr": values.dtype, "fortran_order": False, "shape": values.shape}
                    np.lib.format.write_array_header_1_0(member, header)
                    for block in values.rows:
                        member.write(np.ascontiguousarray(block, values.dtype).tobytes())
                else:
                    np.lib.format.write_array(member, values, allow_pickle=False)
