"""Whether an evaluation set is of other domains than training, by the document ids of both."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lvmfast import _core
from lvmfast.corpus import Dataset, load_split
from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.failures import one_line, reading
from lvmfast.corpus.keys import Keys, id_keys
from lvmfast.errors import DataError

DOC_ID: Column = "doc_id"
DOMAIN = "domain"


class Domains:
    """The domain of each document, from a parquet table such as `articles.parquet` of `lvmfast ingest`."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Reads its columns doc_id and domain.

        Raises:
            DataError: it cannot be read, lacks one of them, or gives a document two domains.
        """
        self.name = str(path)
        with reading(self.name):
            try:
                table = pq.read_table(path, columns=[DOC_ID, DOMAIN])
            except (pa.ArrowInvalid, KeyError) as error:
                raise DataError(
                    f"{path}: expected parquet with doc_id and domain: {one_line(error)}"
                ) from error
        if set(table.column_names) != {DOC_ID, DOMAIN}:
            raise DataError(
                f"{path}: expected columns doc_id and domain, got {', '.join(table.column_names)}"
            )
        known = table.filter(pc.and_(pc.is_valid(table[DOC_ID]), pc.is_valid(table[DOMAIN])))
        self._domains: list[str] = known[DOMAIN].cast(pa.string()).to_pylist()
        self._table = _core.KeyTable(2, 0)
        slots = self._table.insert(_keys(known[DOC_ID], self.name))
        first = np.unique(slots, return_index=True)[1]
        for row, slot in enumerate(slots):
            if self._domains[row] != self._domains[first[slot]]:
                raise DataError(f"{path}: rows {first[slot]} and {row} give one document two domains")
        self._domains = [self._domains[row] for row in first]

    def numbers(self, doc_keys: Keys) -> Rows:
        """(n,) a number for the domain of each of (n, 2) keys of documents, -1 where the table has none."""
        slots = self._table.find(np.ascontiguousarray(doc_keys))
        numbers = np.unique(self._domains, return_inverse=True)[1] if self._domains else np.empty(0, np.int64)
        return np.where(slots >= 0, np.append(numbers, -1)[slots], -1).astype(np.int64)

    def of(self, split: Dataset) -> tuple[set[str], int]:
        """The domains of a split's documents, and the rows whose document has none in the table."""
        found: set[int] = set()
        unknown = 0
        for batch in split.batches((DOC_ID,), 1 << 16):
            if batch.doc_id is None:
                unknown += batch.rows
                continue
            keys, valid = id_keys(batch.doc_id)
            slots = self._table.find(np.ascontiguousarray(keys[valid]))
            unknown += batch.rows - int(np.count_nonzero(slots >= 0))
            found |= set(np.unique(slots[slots >= 0]).tolist())
        return {self._domains[slot] for slot in found}, unknown


def domain_reason(domains: Domains, train: Any, queries: Dataset) -> tuple[bool, str]:
    """Whether no domain is shared, and in words what was found. A document without a domain leaves it open.

    Raises:
        DataError: `train` cannot be opened.
    """
    own, own_unknown = domains.of(queries)
    others, other_unknown = domains.of(load_split(train, allow_leaked=True))
    if own_unknown or other_unknown:
        rows = f"{own_unknown:,} evaluation and {other_unknown:,} training rows"
        return False, f"domains are not known of all documents ({rows} have none in {domains.name})"
    shared = sorted(own & others)
    if shared:
        return False, f"{len(shared)} of {len(own)} domains are training's: {', '.join(shared[:3])}"
    return True, f"none of its {len(own)} domains is training's"


def _keys(ids: pa.ChunkedArray, name: str) -> Any:
    array = ids.combine_chunks()
    array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
    if pa.types.is_integer(array.type):
        array = array.cast(pa.int64())
    elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = array.cast(pa.large_string())
    else:
        raise DataError(f"{name}: doc_id: expected integers or strings, got {array.type}")
    return np.ascontiguousarray(id_keys(array)[0])
