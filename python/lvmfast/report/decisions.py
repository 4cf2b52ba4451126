"""What people decided of matches: which match is meant, wherever its rows lie, and the file that keeps it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.durable import flush
from lvmfast.errors import DataError, naming
from lvmfast.leaks.findings import DECISIONS
from lvmfast.levels import LEVELS
from lvmfast.locking import locked
from lvmfast.parse import Fields, parse_json

#: What is told of the matches of a scan that people decided on.
DECIDED = pa.schema(
    [
        ("level", pa.string()),
        ("score", pa.float64()),
        ("match", pa.string()),
        ("decision", pa.string()),
        ("reviewer", pa.string()),
        ("time", pa.string()),
        ("note", pa.string()),
        ("train_file", pa.string()),
        ("train_row", pa.int64()),
        ("train_position", pa.int64()),
        ("eval_file", pa.string()),
        ("eval_row", pa.int64()),
        ("eval_position", pa.int64()),
    ]
)

#: Changes with what an identity is made of, so that no decision is taken for one of another match.
_FORM = b"lvmfast match 1"
#: What evidence tells of the row on each side.
_TOLD = ("file", "row", "doc_id", "chunk_id", "position", "text")
_BYTES = 16
#: Characters of a note or a name that are kept.
MOST_NOTE, MOST_NAME = 2000, 200
#: Bytes by which a file of decisions is told from one that took its place.
_TOLD_APART = 1 << 10
#: How each line begins: what does not is no torn line of ours.
_BEGINNING = b'{"match": "'
_WORDS = re.compile(r"[0-9a-z]+")
#: Marks are of words: most vowels of Indic scripts are some. So is what this Python does not know yet, and
#: scans by a newer Unicode do: letters of a new block are no white space.
_IN_WORDS = frozenset(("Mn", "Mc", "Me", "Cn"))
_IDENTITY = re.compile(f"[0-9a-f]{{{2 * _BYTES}}}")


def match_ids(matches: pa.Table, inputs: Mapping[str, Any], normalize: str) -> pa.Array:
    """What each match is known by: the same in every scan that finds it, whatever files and rows are called.

    It is made of the level and of what its two rows hold: the ids that a level compares, and texts, with
    case, white space and, where the level passes over it, punctuation left out. A row without a text is known
    by its ids, and one without these by its place in the bytes of its file. Inside one split it does not
    matter which row comes first.

    Args:
        matches: as `matches.parquet`; n rows.
        inputs: as `summary.json` has them.
        normalize: the option of the scan.

    Returns:
        (n,) hexadecimal strings; null where nothing is known of a row but where it lay: of arrays in memory.
        Two matches of the same texts at a level have one identity.
    """
    within = "eval" not in inputs
    places: dict[Side, dict[str, str]] = {
        side: _contents(inputs["train" if within else side]) for side in SIDES
    }
    ids: list[str | None] = []
    texts: dict[tuple[str, str], bytes | None] = {}
    for batch in matches.to_batches(max_chunksize=1 << 16):
        columns = [[batch.column(f"{side}_{name}").to_pylist() for name in _TOLD] for side in SIDES]
        of_rows = zip(*(zip(*of_side, strict=True) for of_side in columns), strict=True)
        for level, rows in zip(batch.column("level").to_pylist(), of_rows, strict=True):
            how = LEVELS[level].texts_alike(normalize)
            of_sides = [
                _side(level, how, row, places[side], texts) for side, row in zip(SIDES, rows, strict=True)
            ]
            known = [of_side for of_side in of_sides if of_side is not None]
            if len(known) < len(of_sides):
                ids.append(None)
                continue
            ids.append(_digest(_FORM, level.encode(), *(sorted(known) if within else known)).hex())
    return pa.array(ids, pa.string())


def _side(
    level: str,
    how: str,
    row: tuple[Any, ...],
    places: Mapping[str, str],
    texts: dict[tuple[str, str], bytes | None],
) -> bytes | None:
    """What one side of a match is known by; None where by nothing that lasts."""
    file, number, doc_id, chunk_id, position, text = row
    if file is None:
        return b"none"  # a level that looks at one side
    parts: list[bytes] = []
    if position is not None:
        parts += [b"position", str(position).encode()]
    known_by = LEVELS[level].known_by
    of_ids = [("doc_id", doc_id), ("chunk_id", chunk_id)]
    for name, value in of_ids:
        if name in known_by and value is not None:
            parts += [name.encode(), value.encode()]
    plain = None if text is None or "text" not in known_by else _known_text(text, how, texts)
    if plain is not None:
        parts += [b"text", plain]
    elif known_by == ("text",):
        if doc_id is not None and chunk_id is not None:
            parts += [part for name, value in of_ids for part in (name.encode(), value.encode())]
        elif (content := places.get(file)) is not None:
            parts += [b"place", content.encode(), str(number).encode()]
        else:
            return None
    return _digest(*parts)


def _known_text(text: str, how: str, texts: dict[tuple[str, str], bytes | None]) -> bytes | None:
    """What a text is known by; None of one in which nothing stands, which tells no row from another."""
    key = (how, text)
    if key not in texts:
        if len(texts) >= 1 << 16:
            texts.clear()
        plain = _plain(text, how)
        texts[key] = _digest(plain.encode()) if plain and not plain.isspace() else None
    return texts[key]


def _plain(text: str, how: str) -> str:
    """A text with what a level passes over left out."""
    if how != "words":
        return _core.normalize_text(text, how)
    folded = unicodedata.normalize("NFKC", text).casefold()
    if not folded.isascii():
        folded = "".join(c if c.isalnum() or unicodedata.category(c) in _IN_WORDS else " " for c in folded)
        return " ".join(folded.split())
    return " ".join(_WORDS.findall(folded))


def _digest(*parts: bytes) -> bytes:
    """Of parts that run into one another nowhere."""
    digest = hashlib.blake2b(digest_size=_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _contents(side: Mapping[str, Any]) -> dict[str, str]:
    """What the bytes of each file are known by; without files that were no bytes."""
    known = {file["path"]: file["blake3"] or file.get("etag") for file in side["files"]}
    return {path: content for path, content in known.items() if content}


def scan_digest(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """What a scan is known by: the contents of its files and its options, as its summary has them."""
    contents = {
        side: [[file["bytes"], file["blake3"] or file.get("etag")] for file in of_side["files"]]
        for side, of_side in inputs.items()
    }
    return _digest(json.dumps([contents, options], sort_keys=True).encode()).hex()


@dataclass(frozen=True)
class Decision:
    """What somebody decided of a match, or that they took it back."""

    match: str  #: the identity of the match
    level: str
    decision: str | None  #: one of `DECISIONS`; None takes an earlier one back
    scan: str  #: `scan_digest` of the scan that it was decided in
    time: str  #: in UTC, to the second
    reviewer: str | None = None
    note: str | None = None

    @classmethod
    def now(
        cls,
        match: str,
        level: str,
        decision: str | None,
        *,
        scan: str,
        reviewer: str | None = None,
        note: str | None = None,
    ) -> Decision:
        """One that is made at this moment.

        Raises:
            DataError: there is no such decision, or no such identity, or a note or a name is too long.
        """
        time = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = {"match": match, "level": level, "decision": decision, "scan": scan, "time": time}
        return _decision("decision", {**line, "reviewer": reviewer or None, "note": note or None})

    def to_line(self) -> bytes:
        """As it stands in a file."""
        return json.dumps(vars(self), ensure_ascii=True).encode() + b"\n"


def _decision(where: str, value: Any) -> Decision:
    """The decision of a line.

    Raises:
        DataError: it is none.
    """
    of_line = Fields(where, value)
    match = of_line.text("match")
    if not _IDENTITY.fullmatch(match):
        raise DataError(f"{where}: match: expected {2 * _BYTES} hexadecimal digits, got {match!r:.60}")
    decided = of_line.values.get("decision")
    if decided is not None and decided not in DECISIONS:
        raise DataError(f"{where}: decision: expected {', '.join(DECISIONS)} or null, got {decided!r:.60}")
    for name, most in (("reviewer", MOST_NAME), ("note", MOST_NOTE)):
        text = of_line.text(name, "")
        if len(text) > most or any("\ud800" <= character <= "\udfff" for character in text):
            raise DataError(f"{where}: {name}: expected at most {most:,} characters of Unicode text")
    return Decision(
        match,
        of_line.text("level"),
        decided,
        of_line.text("scan"),
        of_line.text("time"),
        of_line.text("reviewer", "") or None,
        of_line.text("note", "") or None,
    )


@dataclass(frozen=True)
class Decisions:
    """The last word on each match."""

    path: str
    by_match: Mapping[str, Decision]  #: without those that were taken back

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Decisions:
        """All of a file.

        Raises:
            DataError: it cannot be read; a line is no decision (the message has its number); or the last
                line was cut off, which may have taken an earlier decision back.
        """
        log = DecisionLog(path)
        if not Path(log.path).is_file():
            raise DataError(f"{log.path}: no such file; expected decisions of `lvmfast review`")
        read = log.read()
        if log.torn:
            raise DataError(
                f"{log.path}: the last line was cut off, and what it decided is lost: delete that line, "
                "and decide again in `lvmfast review`"
            )
        return read

    def copy_to(self, place: Path) -> None:
        """Puts the last words into a file of their own.

        Raises:
            OSError: it cannot be written.
        """
        place.write_bytes(b"".join(decision.to_line() for decision in self.by_match.values()))

    def of(self, match: str | None) -> str | None:
        """What was decided of a match."""
        found = None if match is None else self.by_match.get(match)
        return None if found is None else found.decision


def decisions_on(matches: pa.Table, decided: pa.Table) -> list[str | None]:
    """What was decided of each match, given the `DECIDED` of the scan."""
    places = ("level", *(f"{side}_{name}" for side in SIDES for name in ("file", "row", "position")))
    keys = zip(*(decided[name].to_pylist() for name in places), strict=True)
    found = dict(zip(keys, decided["decision"].to_pylist(), strict=True))
    return [found.get(key) for key in zip(*(matches[name].to_pylist() for name in places), strict=True)]


@dataclass
class DecisionLog:
    """A file of decisions, a line each, that several people write to; it need not be there yet."""

    path: str | os.PathLike[str]
    torn: bool = False  #: whether the last line that was read was cut off, and so counts for nothing
    _by_match: dict[str, Decision] = field(default_factory=dict)
    _read: int = 0  #: bytes, up to the end of a line
    _lines: int = 0
    _last: bytes = b""  #: the last of these bytes: where others stand there, it is another file by now

    def __post_init__(self) -> None:
        """Reads nothing yet."""
        self.path = os.fspath(self.path)

    def read(self) -> Decisions:
        """All decisions by now: what was written since the last time is read, and nothing else.

        Raises:
            DataError: as `Decisions.read`; a file that is not there has none.
        """
        with naming(self.path, "cannot be read"):
            try:
                with open(self.path, "rb") as file:
                    file.seek(self._read - len(self._last))
                    new = file.read()
                    if not new.startswith(self._last):
                        self._by_match, self._read, self._lines, self._last = {}, 0, 0, b""
                        file.seek(0)
                        new = file.read()
            except FileNotFoundError:
                return Decisions(str(self.path), {})
        whole, newline, rest = new[len(self._last) :].rpartition(b"\n")
        new_lines = whole.split(b"\n") if newline else []
        self._by_match |= self._decided(new_lines)
        self._lines += len(new_lines)
        self._read += len(whole) + len(newline)
        self._last = (self._last + whole + newline)[-_TOLD_APART:]
        by_match, self.torn = dict(self._by_match), False
        if rest.strip():
            last = _finished(rest, str(self.path))
            self.torn = last is None
            if last is not None:
                by_match[last.match] = last
        decided = {match: found for match, found in by_match.items() if found.decision is not None}
        return Decisions(str(self.path), decided)

    def _decided(self, lines: Sequence[bytes]) -> dict[str, Decision]:
        """The last word of each match in the lines behind those that were read."""
        found: dict[str, Decision] = {}
        for number, line in enumerate(lines, self._lines + 1):
            if line.strip():
                where = f"{self.path}: line {number}"
                one = _decision(where, parse_json(where, line, nan=False))
                found[one.match] = one
        return found

    def append(self, decisions: Sequence[Decision]) -> None:
        """Adds decisions behind all others; they are on disk when it returns.

        Who else writes at the same moment is waited for. A last line that was cut off goes first.

        Raises:
            DataError: it cannot be written or locked, or its last line is none of a decision.
        """
        place = Path(self.path)
        lines = b"".join(decision.to_line() for decision in decisions)
        with naming(place, "cannot be written"):
            new = not place.exists()
            handle = os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            try:
                with _alone(place):
                    end = _mended(handle, str(place))
                    try:
                        _write_at(handle, lines, end)
                        os.fsync(handle)
                    except OSError:
                        os.ftruncate(handle, end)
                        raise
            finally:
                os.close(handle)
            if new:
                flush(place.absolute().parent)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """While nobody else writes to a file."""
    try:
        lock = locked(place, wait=True)
    except OSError as error:
        raise DataError(
            f"{place}: cannot be locked, and decisions of two people could be lost: keep it on a file system "
            "with locks"
        ) from error
    if lock is None:
        raise DataError(f"{place}: cannot be locked")
    try:
        yield
    finally:
        lock.release()


def _mended(handle: int, path: str) -> int:
    """Where the next line begins: behind the last whole one, once nothing else stands there.

    Raises:
        DataError: what stands there is no line of ours that was cut off.
    """
    size = os.fstat(handle).st_size
    rest, begins = b"", size
    for back in (min(size, 1 << power) for power in count(12)):
        os.lseek(handle, size - back, os.SEEK_SET)
        tail = _read_fully(handle, back)
        if b"\n" in tail or back == size:
            rest = tail.rpartition(b"\n")[2]
            begins = size - len(rest)
            break
    if not rest:
        return size
    if rest.strip() and _finished(rest, path) is not None:  # whole, and only its end of line is missing
        _write_at(handle, b"\n", size)
        return size + 1
    os.ftruncate(handle, begins)
    return begins


def _finished(rest: bytes, path: str) -> Decision | None:
    """The decision of a last line without an end; None where it was cut off.

    Raises:
        DataError: it is neither.
    """
    where = f"{path}: its last line"
    with suppress(DataError):
        return _decision(where, parse_json(where, rest, nan=False))
    if not rest.startswith(_BEGINNING[: len(rest)]) or rest.rstrip().endswith(b"}"):
        raise DataError(f"{where}: expected a decision of `lvmfast review`, got {rest[:60]!r}")
    return None


def _read_fully(handle: int, nbytes: int) -> bytes:
    parts: list[bytes] = []
    while nbytes and (part := os.read(handle, nbytes)):
        parts.append(part)
        nbytes -= len(part)
    return b"".join(parts)


def _write_at(handle: int, data: bytes, place: int) -> None:
    os.lseek(handle, place, os.SEEK_SET)
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]
