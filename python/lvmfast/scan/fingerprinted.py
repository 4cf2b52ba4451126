"""The scan against a fingerprint: keys of the training rows are known, their texts and vectors are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Column, Dataset
from lvmfast.corpus.fingerprint import NO_WORD, Fingerprint, vector_keys
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.checkable import checkable
from lvmfast.leaks.findings import Findings, LevelFinding, Undecided
from lvmfast.leaks.keyed import KeyedLevel
from lvmfast.leaks.near import UNUSABLE
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.slots import REASONS, DistinctKeys, HashedRows
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores, SideTally
from lvmfast.leaks.vectors import OracleLevel
from lvmfast.levels import LEVELS
from lvmfast.levels.base import LevelName as Level
from lvmfast.levels.keys import NO_TEXT
from lvmfast.levels.oracle import ORACLE
from lvmfast.levels.text import TEXT
from lvmfast.levels.vector import VECTOR
from lvmfast.scan.context import ScanContext
from lvmfast.scan.judged import judged_findings
from lvmfast.scan.running import columns_read, level_finding, side_info

#: The slot of a vector that cannot be compared is this less its usability code.
UNUSABLE_SLOT = -10


def scan_fingerprint(train: Fingerprint, eval: Dataset, context: ScanContext) -> Findings:
    """Compares every row of `eval` with what a fingerprint keeps of every row of `train`.

    doc, chunk and text are what a scan of the training set itself would find (texts by their 128-bit hashes).
    At vector equal rows match, and every other row is proven to have no match or is undecided.

    Raises:
        DataError: as `run.scan`, and when the fingerprint's texts are normalised in another way.
    """
    options = context.options
    _check_texts(train, options)
    lacking = {name: why for name, level in LEVELS.items() if (why := level.not_in_fingerprint)}
    for name in [name for name in lacking if name in (options.levels or ())]:
        raise DataError(f"level {name}: {train.path}: {lacking[name]}")
    levels, missing = checkable(train, eval, options)
    for name in [name for name in lacking if name in (*missing, *levels)]:
        missing[name] = f"{lacking[name]} ({train.path})"
    levels = tuple(level for level in levels if level not in missing)
    sides: Mapping[Side, Dataset] = {"train": train, "eval": eval}
    counted = [n for n in levels if (keys := LEVELS[n].keys) is not None and not keys.texts]
    need = memory.index_bytes(counted, train, eval, options)
    memory.check(memory.working_bytes(options) + need + 4 * train.size, options.memory_limit)
    files: Mapping[Side, int] = {side: len(dataset.files) for side, dataset in sides.items()}
    seen = {side: SideTally(n) for side, n in files.items()}
    vectors = SketchedVectors(train, options) if VECTOR.name in levels else None
    keyed = [
        KeyedLevel(LEVELS[level], "train", files, options, HashedRows(keys, options))
        for level in levels
        if (keys := LEVELS[level].keys) is not None
    ]
    if vectors is not None:
        keyed.append(KeyedLevel(VECTOR, "train", files, options, vectors))
    oracle = OracleLevel(files["eval"], options) if ORACLE.name in levels else None
    with context.clock.phase("index"):
        columns: list[Column] = [
            column
            for column in columns_read(levels, "train", options)
            if column in ("doc_id", "chunk_id", "text")
        ]
        for batch in context.read(train, columns, "index train"):
            seen["train"].see(batch)
            for level in keyed:
                level.index(batch)
    with context.clock.phase("scan"):
        for batch in context.read(eval, columns_read(levels, "eval", options), "scan eval"):
            seen["eval"].see(batch)
            for level in keyed:
                level.stream(batch)
            if oracle is not None:
                oracle.check(batch)
    found: dict[Level, LevelFinding] = {}
    with context.clock.phase("count"):
        for level in keyed:
            found[level.level] = level_finding(level.level, level.result())
        if vectors is not None:
            found[VECTOR.name] = replace(
                found[VECTOR.name], threshold=options.threshold, undecided=vectors.undecided()
            )
        if oracle is not None:
            found[ORACLE.name] = level_finding(ORACLE.name, oracle.result(), options.threshold)
    info = {side: side_info(sides[side], seen[side]) for side in SIDES}
    return judged_findings(Findings(found, info), missing, options)


def _check_texts(train: Fingerprint, options: ScanOptions) -> None:
    texts = train.texts
    wanted = options.levels is None or TEXT.name in options.levels
    if texts is None or "text" not in train.columns or not wanted:
        return
    made, asked = (texts.normalize, texts.min_chars), (options.normalize, options.min_chars)
    if made != asked:
        raise DataError(
            f"{train.path}: its texts were hashed with normalize {made[0]} and min_chars {made[1]}, "
            f"the scan asks for {asked[0]} and {asked[1]}"
        )
    if texts.unicode != _core.unicode_version():
        raise DataError(
            f"{train.path}: its texts were lower-cased by Unicode {texts.unicode}, this lvmfast has "
            f"{_core.unicode_version()}; leave out the level text, or make the fingerprint anew"
        )


class SketchedVectors:
    """Slots of vectors by the hash of their bytes, and bounds of their cosines from sketches."""

    reasons: Mapping[int, str] = {
        **REASONS,
        **{UNUSABLE_SLOT - code: reason for code, reason in UNUSABLE.items()},
    }
    streamed: DistinctKeys | None = None

    def __init__(self, train: Fingerprint, options: ScanOptions) -> None:
        """Every vector of `train`, which has some.

        Raises:
            DataError: the directions or codes are not what a fingerprint holds.
        """
        column, sketches = train.column("vector"), train.sketches
        assert sketches is not None
        self._train, self._threshold = train, options.threshold
        self._table = _core.KeyTable(2, options.threads)
        real = np.flatnonzero(column.keys[:, 0] != NO_WORD)
        slots = np.empty(len(column.keys), np.int64)
        slots[real] = self._table.insert(np.ascontiguousarray(column.keys[real]))
        faulty = column.keys[:, 0] == NO_WORD
        slots[faulty] = UNUSABLE_SLOT - column.keys[faulty, 1].astype(np.int64)
        self._slots = np.append(slots, NO_TEXT)[column.index]  # a place of -1 is that of the last
        try:
            self._index = _core.SketchIndex(
                sketches.directions,
                sketches.steps,
                sketches.codes[real],
                sketches.rests[real],
                options.threads,
            )
        except ValueError as error:
            raise DataError(f"{train.path}: {error}") from error
        self._rows: list[Rows] = []
        self._bounds: list[Scores] = []

    def add(self, batch: Batch) -> Rows | None:
        """The slots of training rows."""
        if "vector" not in self._train.files[batch.file].fields:
            return None
        return self._slots[batch.start : batch.start + batch.rows]

    def find(self, batch: Batch) -> Rows | None:
        """The slots of eval rows; remembers those that neither match nor are proven not to."""
        if batch.vector is None:
            return None
        bound, codes, keys = self._index.bounds(batch.vector, self._threshold)
        slots = self._table.find(vector_keys(keys, codes))
        slots[codes != 0] = UNUSABLE_SLOT - codes[codes != 0].astype(np.int64)
        open_ = np.flatnonzero((slots == -1) & (bound >= self._threshold))
        self._rows.append(batch.start + open_)
        self._bounds.append(bound[open_])
        return slots

    def undecided(self) -> Undecided:
        """What was remembered."""
        return Undecided(
            np.concatenate(self._rows or [NO_ROWS]), np.concatenate(self._bounds or [np.empty(0)])
        )

    def __len__(self) -> int:
        """Distinct vectors of the training rows."""
        return len(self._table)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._table.nbytes + self._slots.nbytes
