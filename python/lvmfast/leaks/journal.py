"""The cuts of a scan in a folder, so that a scan that was stopped goes on where it was.

Every record says of which scan it is, in its name and in itself, and which process wrote it. So scans that
write to one folder at once, where nothing can be locked, neither fold nor remove what is another's.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from lvmfast.corpus.dataset import Dataset
from lvmfast.errors import DataError
from lvmfast.leaks.cuts import SPAN_BYTES, Cut, Rows, Span, pack, share_of, spans_of, unpack
from lvmfast.stores import Folder

RUN, INDEX, NAMED = "run-", "index", "rows"
CUT, STATE = ".cut", ".state"
#: How records are written: what another lvmfast of the same version wrote in another way is none of them.
FORM, RECORDS = "form of records", 7
#: What makes a scan of data in memory another than any before.
HERE = "here"
#: What a stopped scan loses at most, beside the span that it was in.
SECONDS = 5.0


def digest_of(value: Cut) -> str:
    """A name for a tree of JSON values and arrays: equal for equal trees."""
    return hashlib.blake2b(pack({}, value), digest_size=16).hexdigest()


def run_id(run: Cut) -> str:
    """What the records of a scan are known by: equal for equal JSON values."""
    return hashlib.blake2b(json.dumps(run, sort_keys=True).encode(), digest_size=16).hexdigest()


def check_same(where: str, recorded: Cut, asked: Cut) -> None:
    """Holds what a scan is asked for against what was recorded.

    Raises:
        DataError: they differ; the message says in what.
    """
    for key in asked:
        if recorded.get(key) != asked[key]:
            raise DataError(f"{where}: {_difference(key, recorded.get(key), asked[key])}")


def stamp_text(stamp: Sequence[int]) -> str:
    """Size and time (ns) of a file, for people."""
    size, modified = stamp
    return f"{size:,} bytes of {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(modified / 1e9))}"


def _difference(key: str, recorded: object, asked: object) -> str:
    if key == "stamps" and isinstance(recorded, dict) and isinstance(asked, dict):
        file = next(name for name in asked if recorded.get(name) != asked[name])
        if file not in recorded:
            return f"{file} was not among its files"
        return f"{file} was {stamp_text(recorded[file])}, now it is {stamp_text(asked[file])}"
    if isinstance(recorded, dict) and isinstance(asked, dict):
        inner = next(name for name in asked if recorded.get(name) != asked[name])
        told = _difference(inner, recorded.get(inner), asked[inner])
        path = asked.get("path")
        return f"{path}: {told}" if path is not None and path == recorded.get("path") else told
    if isinstance(recorded, list) and isinstance(asked, list):
        if len(recorded) != len(asked):
            return f"{key}: there were {len(recorded)}, now there are {len(asked)}"
        old, new = next((old, new) for old, new in zip(recorded, asked, strict=True) if old != new)
        return _difference(key, old, new)
    if key == HERE:
        return "data in memory cannot be known again; only scans of files are resumed"
    return f"{key} was {json.dumps(recorded)}, now it is {json.dumps(asked)}"


def forget(folder: Folder, prefix: str, run: str) -> None:
    """Takes away the records of the scan `run`, and those of all others where nobody else writes there.

    Raises:
        DataError: one cannot be removed.
    """
    for name in folder.names(prefix):
        if folder.alone or (run and run in name):
            folder.remove(name)


class Journal:
    """The cuts of one scan. A scan of a few seconds that ends leaves nothing behind."""

    def __init__(
        self,
        folder: Folder,
        prefix: str = "",
        *,
        identity: Cut | None = None,
        resume: bool = False,
        share: tuple[int, int] | None = None,
        span_bytes: int = SPAN_BYTES,
        told: Callable[[str], None] = lambda how_far: None,
        recorded: bool = True,
    ) -> None:
        """Nothing read or written yet.

        Args:
            folder: where the cuts are, or will be, in files whose names begin with `prefix`.
            prefix: may end in ``/``.
            identity: what makes the scan the one it is: JSON values.
            resume: go on from what is there, if it is of the same scan.
            share: (i, n): of n even shares of the streamed side, the i-th is scanned, and what is kept, the
                last cut, too, is a part for a merge.
            span_bytes: bytes of a file after which a cut is possible.
            told: called after each record with how far the scan is, in words.
            recorded: whether what was done is to be found there if the scan ends before its time; else as
                little as possible is written.
        """
        self._folder, self._prefix, self._resume, self._told = folder, prefix, resume, told
        self.part, self.share, self._span_bytes = share is not None, share or (1, 1), span_bytes
        self._identity = identity or {}
        self._run: Cut = {}
        self._id, self._by = "", secrets.token_hex(8)  #: of the scan, of this process
        self._index, self._blocks = "", 1
        self._recorded: dict[str, Cut] = {}  #: headers by name
        self._last: list[Cut] = []
        self._places: dict[Span, int] = {}
        self.recorded, self._seconds = recorded, SECONDS if recorded else math.inf
        self._young_until = self._due = time.monotonic() + self._seconds
        self._stated = False

    def open(self, found_out: Cut) -> None:
        """Begins a scan, or goes on with one; `found_out` adds to what makes the scan the one it is.

        Raises:
            DataError: what is recorded is of another scan, or cannot be read or removed.
        """
        self._run = {FORM: RECORDS, **self._identity, **found_out}
        self._id = run_id(self._run)
        runs = [name for name in self._folder.names(self._prefix) if name.startswith(self._prefix + RUN)]
        if not self._resume:
            forget(self._folder, self._prefix, self._id)
        elif runs and self._prefix + RUN + self._id not in runs:
            recorded, _ = unpack(f"{self._folder.path}: {runs[0]}", self._folder.read(runs[0]))
            if recorded.get(FORM) != RECORDS:
                raise DataError(
                    f"{self._folder.path}: cannot be resumed: its records have the form of an earlier "
                    "lvmfast; without --resume the scan begins anew"
                )
            check_same(f"{self._folder.path}: cannot be resumed", recorded, self._run)

    def begin(self, index: Cut, streamed: Dataset, blocks: int = 1) -> list[Span]:
        """The spans of `streamed` that are still to be scanned, in order; `index` is what they are held to.

        They go by each of `blocks` of the index, one block after the other.

        Raises:
            DataError: what is recorded cannot be read or removed.
        """
        self._index, self._files, self._blocks = digest_of(index), len(streamed.files), blocks
        share = share_of(spans_of(streamed, self._span_bytes), streamed, *self.share)
        spans = [replace(span, block=block) for block in range(blocks) for span in share]
        self._places = {span: place for place, span in enumerate(spans)}
        done: set[Span] = set()
        for name in self._folder.names(self._prefix):
            if not (name.endswith(CUT) and self._id in name):
                continue
            try:
                header, _ = unpack(name, self._folder.read(name))
            except DataError:
                header = {}  # written when the power went, say: its spans are scanned again
            of = [Span(*span) for span in header.get("spans", ())]
            known = (header.get("run"), header.get("index"), header.get("blocks"))
            same = known == (self._id, self._index, blocks)
            if same and self._places.keys() >= set(of) and done.isdisjoint(of):
                self._recorded[name] = header
                done.update(of)
            else:
                self._folder.remove(name)
        self._due = time.monotonic() + self._seconds
        return [span for span in spans if span not in done]

    @property
    def run(self) -> str:
        """What the scan's records are known by."""
        return self._id

    @property
    def files(self) -> set[int]:
        """The places of the files that this share of the scan reads."""
        return {span.file for span in self._places}

    @property
    def rows_done(self) -> int:
        """Rows that the records cover, by the first block."""
        return sum(sum(header["rows"]) for header in self._recorded.values())

    def due(self, span: Span, following: Span | None) -> bool:
        """Whether to cut behind `span`: it is time, or what comes next is recorded or of another block."""
        if time.monotonic() >= self._due or (following is not None and following.block != span.block):
            return True
        return following is not None and self._places[following] != self._places[span] + 1

    def add(self, spans: Sequence[Span], cut: Cut, *, last: bool) -> None:
        """Records a cut of consecutive spans.

        Raises:
            DataError: it cannot be written.
        """
        seen = cut["seen"]
        header = {
            **self._own,
            "index": self._index,
            "blocks": self._blocks,
            "spans": [[span.file, span.start, span.stop, span.block] for span in spans],
            "files": seen["files"].tolist(),
            "rows": seen["rows"].tolist(),
        }
        if last and not self._recorded and not self.part:
            self._recorded[""], self._last = header, [cut]
            return
        if not self._recorded:
            self._begin_folder()
        first = f"{spans[0].file:07d}-{spans[0].start:015d}-{spans[0].block:05d}"
        name = f"{self._prefix}{first}-{self._id}-{self._by}{CUT}"
        self._folder.write(name, pack(header, cut))
        self._recorded[name] = header
        self._due = time.monotonic() + self._seconds
        done = sum(len(header["spans"]) for header in self._recorded.values())
        self._told(f"{done} of {len(self._places)} pieces are scanned")

    def starts(self) -> Rows:
        """The dataset row at which each file of the streamed side starts, once all of it was scanned."""
        return starts_of_files(list(self._recorded.values()), self._files)

    def cuts(self) -> Iterator[Cut]:
        """Every cut, those of one block in the order of rows.

        Raises:
            DataError: one cannot be read any more, or is not what this scan recorded.
        """
        yield from self._last
        for name in sorted(self._recorded):
            if name:
                header, cut = unpack(name, self._folder.read(name))
                if header != self._recorded[name]:
                    raise DataError(f"{self._folder.path}: {name}: another process wrote over it; scan again")
                yield cut

    def state(self, name: str) -> Cut | None:
        """What `keep` kept last under `name`, of a scan that is resumed.

        Raises:
            DataError: it cannot be read.
        """
        name = self._state_name(name)
        if name not in self._folder.names(self._prefix):
            return None
        try:
            header, state = unpack(name, self._folder.read(name))
        except DataError:
            return None  # written when the power went, say: this part of the scan begins again
        if header.get("run") != self._id:
            return None
        self._stated = True
        return state

    def keep(self, name: str, state: Cut, how_far: str, *, seldom: bool = False) -> None:
        """Keeps what a scan needs to go on from here, in place of what was kept as `name`, when it is time.

        Args:
            name: of this part of the scan.
            state: what `state` will give.
            how_far: what is through, in words.
            seldom: it is time whenever the scan as a whole has run for a while.

        Raises:
            DataError: it cannot be written.
        """
        if time.monotonic() < (self._young_until if seldom else self._due):
            return
        self._begin_folder()
        self._folder.write(self._state_name(name), pack(self._own, state))
        self._stated = True
        self._due = time.monotonic() + self._seconds
        self._told(how_far)

    @property
    def _own(self) -> Cut:
        return {"run": self._id, "by": self._by}

    def _state_name(self, name: str) -> str:
        return f"{self._prefix}{name}-{self._id}{STATE}"

    def _begin_folder(self) -> None:
        self._folder.write(self._prefix + RUN + self._id, pack(self._run, {}))

    def close(self, index: Cut, rows: Cut) -> None:
        """Puts what a merge needs beside the cuts: what was indexed, and the rows that a report may name.

        Raises:
            DataError: it cannot be written.
        """
        if not self._recorded:
            self._begin_folder()
        self._folder.write(self._prefix + NAMED, pack(self._own, rows))
        cuts = [name.removeprefix(self._prefix) for name in sorted(self._recorded)]
        self._folder.write(self._prefix + INDEX, pack({**self._own, "cuts": cuts}, index))

    @property
    def headers(self) -> list[Cut]:
        """What each record says of itself."""
        return list(self._recorded.values())

    @property
    def kept(self) -> bool:
        """Whether there is anything to go on from."""
        return self.recorded and (any(self._recorded) or self._stated)


def starts_of_files(headers: Sequence[Cut], files: int) -> Rows:
    """The dataset row at which each file starts, from the headers of the cuts of all of them."""
    rows = np.zeros(files, np.int64)
    for header in headers:
        np.add.at(rows, header["files"], header["rows"])
    return np.cumsum(rows) - rows
