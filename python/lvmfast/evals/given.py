"""What is given beside an evaluation set is held to it, whether a score needs it or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus import load_payload, load_split
from lvmfast.corpus.dataset import Column, Dataset, Rows, Vectors
from lvmfast.corpus.keys import Keys, pair_keys, text_bytes
from lvmfast.corpus.payload import Payload, join
from lvmfast.errors import DataError
from lvmfast.evals.audits import SHIFTS
from lvmfast.evals.checks import key_audits
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.payload import VectorPayload, load_vector_payload, moved, truth_rows
from lvmfast.evals.pools import Pool
from lvmfast.evals.queries import Queries
from lvmfast.evals.search import open_pool

_COLUMNS: tuple[Column, ...] = ("doc_id", "chunk_id")


@dataclass(frozen=True)
class Given:
    """A payload by what is in it."""

    texts: Payload | None = None  #: for the scan
    vectors: VectorPayload | None = None  #: for pools
    quarantined: tuple[str, ...] = ()  #: files that leaked
    notes: tuple[str, ...] = ()  #: what the texts cover


NOTHING_GIVEN = Given()


def open_payload(options: EvalOptions, queries: Queries) -> Given:
    """The payload that is asked for, its texts held to the queries.

    Raises:
        DataError: the pool `corpus` is wanted, and the payload has no vectors; or as `audit_texts`.
    """
    if options.payload is None:
        return NOTHING_GIVEN
    dataset = load_split(options.payload, columns=options.columns, allow_leaked=options.allow_leaked)
    texts = load_payload(dataset) if "text" in dataset.columns else None
    wanted = "vector" in dataset.columns or "corpus" in options.pools or texts is None
    vectors = load_vector_payload(dataset) if wanted else None
    notes = () if texts is None else audit_texts(queries.sequences.dataset, texts)
    return Given(texts, vectors, dataset.leaked, notes)


def audit_given(
    queries: Queries, pools: Sequence[Pool], given: Given, options: EvalOptions
) -> dict[str, list[dict[str, Any]]]:
    """The audit of a payload's vectors, where no pool that is made of them was audited.

    Raises:
        DataError: as `audit_vectors`.
    """
    vectors, dataset = given.vectors, queries.sequences.dataset
    if vectors is None or any(pool.vectors is vectors.vectors for pool in pools):
        return {}
    threads, device = options.threads, options.device
    audits = audit_vectors(dataset, queries.targets, queries.keys, vectors, threads=threads, device=device)
    return {"payload": audits}


def audit_vectors(
    dataset: Dataset,
    targets: Vectors,
    keys: Keys | None,
    payload: VectorPayload,
    *,
    threads: int = 0,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Holds the keys of an evaluation set to a payload of vectors, as in the pool that is made of it.

    Args:
        dataset: the evaluation set.
        targets: (q, d) its targets.
        keys: (q, 4) theirs.
        payload: the vectors by key.
        threads: 0 for one per available core.
        device: where the search runs.

    Raises:
        DataError: another encoder or dimension, keys that the payload lacks, or others than its vectors have.
    """
    truth = truth_rows(dataset, targets.shape[1], keys, payload)
    index = open_pool(payload.vectors, threads=threads, device=device)
    where = f"{dataset.files[0].name}, payload {payload.name}"
    return key_audits(where, targets, keys, index, payload.vectors, payload.keys, truth)


def audit_texts(dataset: Dataset, payload: Payload) -> tuple[str, ...]:
    """Holds the keys of an evaluation set to a payload of texts; what it covers, in words.

    Raises:
        DataError: nearly no row finds a text; or with chunk ids moved by one all rows do, or more rows find
            the text that they hold themselves.
    """
    found = join(dataset, payload)
    there, same = np.zeros(len(SHIFTS), np.int64), np.zeros(len(SHIFTS), np.int64)
    rows = texts = 0
    own = "text" in dataset.columns
    for batch in dataset.batches((*_COLUMNS, "text") if own else _COLUMNS, 8192):
        keys, valid = pair_keys(batch.doc_id, batch.chunk_id)
        integers = keys[:, 2] == 0  # what is no integer has no neighbour
        digests = None if batch.text is None else _digests(batch.text)
        rows += int(valid.sum())
        texts += 0 if batch.text is None else int(np.count_nonzero(valid & _there(batch.text)))
        for place, shift in enumerate(SHIFTS):
            asked = valid & (integers | (shift == 0))
            slots = np.full(len(keys), -1, np.int64)
            slots[asked] = payload.find(np.ascontiguousarray(moved(keys[asked], shift)))
            there[place] += int((slots >= 0).sum())
            if digests is not None and batch.text is not None:
                hit = np.flatnonzero((slots >= 0) & _there(batch.text))
                theirs = _digests(payload.at(slots[hit]))
                same[place] += int((theirs == digests[hit]).all(axis=1).sum())
    at = SHIFTS.index(0)
    name = dataset.files[0].name
    if there[at] < rows == there.max():
        raise DataError(
            f"{name}, payload {payload.name}: key shift audit failed: of {rows:,} keys with chunks moved by "
            f"{_shown(there)} are there: the keys are off by {SHIFTS[int(there.argmax())]:+d}"
        )
    if same.max() > same[at]:
        raise DataError(
            f"{name}, payload {payload.name}: key shift audit failed: of {texts:,} texts those under keys "
            f"with chunks moved by {_shown(same)} are the rows' own: the keys are off by "
            f"{SHIFTS[int(same.argmax())]:+d}"
        )
    notes = found.remarks[len(dataset.remarks) :]
    if texts and same[at] < texts:
        notes = (*notes, f"payload: {same[at]:,} of {texts:,} texts of the set are those under their keys")
    return notes


def _shown(counts: Rows) -> str:
    shifts = (f"{shift:+d}" if shift else "0" for shift in SHIFTS)
    return ", ".join(f"{shift}: {count:,}" for shift, count in zip(shifts, counts, strict=True))


def _there(text: pa.Array) -> Any:
    return np.asarray(text.is_valid())


def _digests(text: pa.Array) -> Any:
    """(n, 2) hashes of normalised texts, of the empty text where there is none."""
    import pyarrow.compute as pc

    filled = pc.fill_null(text.cast(pa.large_string()), "")
    return _core.hash_texts_128(*text_bytes(filled), "default", 0)
