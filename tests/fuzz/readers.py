"""One trial of a reader: an input is made, read by lvmfast and by a reference, and the two are compared."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.fuzz.grow import COMPRESS, PLAIN
from tests.fuzz.references import Fault, Reading, Unsure, reference
from tests.fuzz.spoil import spoiled

_KEPT_PER_SUFFIX = 400
_LONGEST_MESSAGE = 2000


class Wrong(AssertionError):
    """lvmfast did what it must never do with an input."""


class Pool:
    """Inputs that made lvmfast say something it had not said before: they are spoiled further."""

    def __init__(self) -> None:
        """Empty: every input is grown at first."""
        self._held: dict[str, list[bytes]] = defaultdict(list)
        self._seen: set[tuple[str, str]] = set()

    def draw(self, rng: Random, suffix: str) -> bytes:
        """An input that was met, or a new one."""
        held = self._held[suffix]
        return rng.choice(held) if held and rng.random() < 0.5 else PLAIN[suffix](rng)

    def met(self, rng: Random, suffix: str, data: bytes, outcome: str) -> None:
        """Keeps `data` if nothing before it had this `outcome`."""
        kind = (suffix, re.sub(r"[0-9]+|'[^']*'|\"[^\"]*\"", "#", outcome)[:200])
        if kind in self._seen or len(data) > 1 << 16:
            return
        self._seen.add(kind)
        held = self._held[suffix]
        if len(held) < _KEPT_PER_SUFFIX:
            held.append(data)
        else:
            held[rng.randrange(len(held))] = data


def make(rng: Random, pool: Pool) -> tuple[str, str, bytes, bytes]:
    """(suffix, suffixes of the file, the plain input, the bytes of the file)."""
    suffix = rng.choice(list(PLAIN))
    data = pool.draw(rng, suffix)
    if rng.random() < 0.9:
        data = spoiled(rng, suffix, data)
    if suffix in (".jsonl", ".json", ".csv", ".tsv", ".tar") and rng.random() < 0.2:
        codec = rng.choice(list(COMPRESS))
        packed = COMPRESS[codec](data)
        return suffix, suffix + codec, data, spoiled(rng, codec, packed) if rng.random() < 0.5 else packed
    return suffix, suffix, data, data


def read_rows(path: Path) -> dict[str, list[Any]]:
    """Every column of the file by lvmfast, ids as text.

    Raises:
        DataError: lvmfast refuses it.
    """
    split = load_split(str(path))
    wanted = sorted(split.columns - {"context"})
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    rows = 0
    for batch in split.batches(wanted, 5):
        rows += batch.rows
        for name in wanted:
            values = getattr(batch, name)
            columns[name] += values.tolist() if name == "vector" else values.to_pylist()
    for name in ("doc_id", "chunk_id"):
        if name in columns:
            columns[name] = [None if value is None else str(value) for value in columns[name]]
    if split.rows != rows:
        raise Wrong(f"{split.rows} rows are promised, {rows} came")
    return columns


def check(path: Path) -> str:
    """Reads the file; what lvmfast said of it, in words.

    Raises:
        Wrong: another answer than the reference's, a file refused that is good, or read that is broken.
    """
    suffixes = re.findall(r"\.[a-z0-9]+", path.name)
    expected, fault, unsure = Reading({}), "", ""  # not the exceptions: they would hold decoders in a circle
    try:
        expected = reference(suffixes, path.read_bytes())
    except Fault as error:
        fault = f"a broken file is read: {error}"
    except Unsure as error:
        unsure = f"read, {error}"
    try:
        found = read_rows(path)
    except DataError as error:
        _check_message(str(error), path)
        if expected.exact:
            raise Wrong(f"a good file is refused: {error}") from error
        return str(error).replace(str(path), "")
    if fault:
        raise Wrong(fault)
    if unsure:
        return unsure
    for name, values in expected.columns.items():
        if not _equal(name, values, found.get(name)):
            raise Wrong(f"{name}: expected {values!r:.300}, got {found.get(name)!r:.300}")
    return f"read {sorted(found)}"


def _check_message(message: str, path: Path) -> None:
    if path.name not in message:
        raise Wrong(f"the message does not name the file: {message!r:.300}")
    if len(message) > _LONGEST_MESSAGE or "\n" in message:
        raise Wrong(f"the message is not one short line: {message!r:.300}")


def _equal(name: str, expected: list[Any], found: list[Any] | None) -> bool:
    if found is None or len(expected) != len(found):
        return found is None and all(value is None for value in expected)
    if name != "vector":
        return bool(expected == found)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array_equal(np.asarray(expected, np.float32), np.asarray(found, np.float32), equal_nan=True)


class ReaderTrials:
    """Trials of the readers: number after number gives the same inputs for the same seed and outcomes."""

    def __init__(self, seed: int, folder: Path) -> None:
        """Keeps the input of the trial in `folder`."""
        self._seed, self._folder, self._pool = seed, folder, Pool()

    def trial(self, number: int) -> None:
        """Makes an input, reads it, and compares.

        Raises:
            BaseException: what must not be.
        """
        rng = Random(f"{self._seed}/{number}")
        suffix, suffixes, plain, data = make(rng, self._pool)
        for left in self._folder.iterdir():
            left.unlink()
        path = self._folder / f"input{suffixes}"
        path.write_bytes(data)
        outcome = check(path)
        if suffixes == suffix:
            self._pool.met(rng, suffix, plain, outcome)
