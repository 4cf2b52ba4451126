"""Writing npz files whose bytes hang on the arrays alone, and not on the clock."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Vectors
from lvmfast.ingest.parquet_files import appearing

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first day that a zip file knows


@dataclass(frozen=True)
class Blocks:
    """A float32 array that is too large to be held: consecutive blocks of its rows, made when written."""

    shape: tuple[int, ...]
    rows: Iterator[Vectors]


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
                    header = {"descr": "<f4", "fortran_order": False, "shape": values.shape}
                    np.lib.format.write_array_header_1_0(member, header)
                    for block in values.rows:
                        member.write(np.ascontiguousarray(block, "<f4").data.cast("B"))
                else:
                    np.lib.format.write_array(member, values, allow_pickle=False)
