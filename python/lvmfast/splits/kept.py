"""What a fingerprint keeps of the rows of a training set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvmfast import _core
from lvmfast.corpus import Batch, Column, Dataset
from lvmfast.corpus.fingerprint import GRAM_HASH, NO_KEY, pack_index, pack_keys, vector_keys
from lvmfast.corpus.keys import Keys, id_keys, newly_inserted, text_bytes
from lvmfast.corpus.lvfp import Array
from lvmfast.corpus.plain import distinct
from lvmfast.leaks.cuts import Cut
from lvmfast.leaks.options import ScanOptions

#: The unit of the integers that are kept of a projection. No component of a unit vector is above one, so that
#: none is ever cut off at 127.
STEP = 1 / 126

#: The place, among some keys, of the key of each row.
Index = npt.NDArray[np.integer[Any]]


class _Keys:
    """The distinct keys of one column, and the place of every row's key among them."""

    def __init__(self, threads: int) -> None:
        self._table = _core.KeyTable(2, threads)
        self._keys: list[Keys] = [np.empty((0, 2), np.uint64)]
        self._index: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]

    def add(self, keys: Keys, index: Index) -> npt.NDArray[np.bool_]:
        """Adds rows by `keys`, and the place of each row's key among them; which of the keys are new."""
        known = len(self._table)
        places = self._table.insert(np.ascontiguousarray(keys))
        new = newly_inserted(places, known)
        found = np.full(len(index), NO_KEY, np.int64)
        found[index >= 0] = places[index[index >= 0]]
        self._keys.append(keys[new])
        self._index.append(found)
        return new

    def skip(self, rows: int) -> None:
        """Adds rows of a file that lacks the column."""
        self._index.append(np.full(rows, NO_KEY, np.int64))

    def cut(self) -> Cut:
        """What `add` needs elsewhere to add these rows."""
        return {"keys": np.concatenate(self._keys), "index": np.concatenate(self._index).astype(np.int32)}

    def arrays(self, column: Column) -> dict[str, Array]:
        """The two sections of the column."""
        return {
            f"{column}.keys": pack_keys(np.concatenate(self._keys)),
            f"{column}.index": pack_index(np.concatenate(self._index)),
        }


@dataclass(frozen=True)
class Keeping:
    """What is to be kept."""

    columns: Sequence[Column]
    directions: npt.NDArray[np.float32] | None  #: (width, d) that vectors are projected on
    blocks: int = 0  #: of a filter of the runs of tokens of all texts; 0 for none


class _Grams:
    """The runs of tokens of some rows, to be put into a filter elsewhere."""

    def __init__(self) -> None:
        """None yet."""
        self._hashes: list[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)]

    def insert(self, hashes: npt.NDArray[np.uint64]) -> None:
        """Adds what `_core.overlap_grams` gave."""
        self._hashes.append(distinct(hashes))

    def hashes(self) -> npt.NDArray[np.uint64]:
        """Each run once."""
        return distinct(np.concatenate(self._hashes))


class Kept:
    """What is kept of the rows that went by: here, or elsewhere and then folded in the order of rows."""

    def __init__(self, keeping: Keeping, options: ScanOptions, *, cuts: bool = False) -> None:
        """No row yet; `cuts` says whether what is kept will be folded elsewhere."""
        self._options = options
        self._columns = {column: _Keys(options.threads) for column in keeping.columns}
        self._rows: Counter[int] = Counter()
        self._codes: list[Array] = []
        self._rests: list[Array] = []
        self._gathered = _Grams() if cuts and keeping.blocks else None
        self._filter = _core.GramFilter(keeping.blocks) if keeping.blocks and not cuts else None
        if keeping.directions is not None:
            self._directions = keeping.directions
            self._steps = np.full(len(self._directions), STEP)
            self._sketcher = _core.Sketcher(self._directions, self._steps, options.threads)

    def add(self, batch: Batch) -> None:
        """Takes the next rows."""
        self._rows[batch.file] += batch.rows
        for column, kept in self._columns.items():
            values = getattr(batch, column)
            if values is None:
                kept.skip(batch.rows)
            elif column == "vector":
                codes, rests, usability, keys = self._sketcher.sketch(values)
                new = kept.add(vector_keys(keys, usability), np.arange(batch.rows))
                self._codes.append(codes[new])
                self._rests.append(rests[new])
            else:
                kept.add(*self._keys_of(column, values))

    def _keys_of(self, column: Column, values: pa.Array) -> tuple[Keys, Index]:
        if column == "text":
            data, offsets = text_bytes(pc.fill_null(values, ""))
            asked = self._options
            if (grams := self._gathered or self._filter) is not None:
                grams.insert(_core.overlap_grams(data, offsets, asked.threads))
            keys = _core.text_keys(data, offsets, asked.normalize, asked.min_chars, asked.threads)
            valid = np.asarray(values.is_valid())
        else:
            keys, valid = id_keys(values, self._options.threads)
        return keys[valid], np.where(valid, np.cumsum(valid) - 1, NO_KEY)

    def cut(self) -> Cut:
        """What `fold` takes."""
        cut: Cut = {
            "rows": {str(file): rows for file, rows in self._rows.items()},
            "columns": {column: kept.cut() for column, kept in self._columns.items()},
        }
        if "vector" in self._columns:
            cut["codes"], cut["rests"] = self._sketches()
        if self._gathered is not None:
            cut["grams"] = self._gathered.hashes()
        return cut

    def fold(self, cut: Cut) -> int:
        """Takes the next rows, which went by elsewhere; how many they are."""
        self._rows.update({int(file): rows for file, rows in cut["rows"].items()})
        for column, kept in self._columns.items():
            new = kept.add(cut["columns"][column]["keys"], cut["columns"][column]["index"])
            if column == "vector":
                self._codes.append(cut["codes"][new])
                self._rests.append(cut["rests"][new])
        if self._filter is not None:
            self._filter.insert(cut["grams"])
        return sum(cut["rows"].values())

    def content(self, dataset: Dataset, options: ScanOptions) -> dict[str, Any]:
        """What the header says."""
        files = [
            {
                "name": file.name,
                "rows": self._rows[place],
                "fields": {c: f for c, f in file.fields.items() if c in self._columns},
                "provenance": file.provenance,
            }
            for place, file in enumerate(dataset.files)
        ]
        texts = {
            "normalize": options.normalize,
            "min_chars": options.min_chars,
            "unicode": _core.unicode_version(),
        }
        content: dict[str, Any] = {
            "rows": self._rows.total(),
            "dim": dataset.dim if "vector" in self._columns else None,
            "texts": texts,
            "files": files,
            "notes": list(dataset.notes),
        }
        if self._filter is not None:
            content["overlap"] = {
                "hash": GRAM_HASH,
                "unicode": _core.overlap_unicode(),
                "false_positive_rate": self._filter.false_positive_rate,
            }
        return content

    def arrays(self) -> dict[str, Array]:
        """What the sections hold. Codes stand direction by direction: alike with alike compresses better."""
        arrays: dict[str, Array] = {}
        for column, kept in self._columns.items():
            arrays |= kept.arrays(column)
        if "vector" in self._columns:
            arrays["directions"], arrays["steps"] = self._directions, self._steps
            codes, rests = self._sketches()
            arrays["codes"], arrays["rests"] = codes.T, rests.T
        if self._filter is not None:
            arrays["overlap.filter"] = self._filter.blocks.view(np.uint64)
        return arrays

    def _sketches(self) -> tuple[Array, Array]:
        """Codes (k, width) and rests (k, 2) of the distinct vectors."""
        none = np.empty((0, len(self._directions)), np.int8), np.empty((0, 2), np.uint16)
        return np.concatenate([none[0], *self._codes]), np.concatenate([none[1], *self._rests])
