"""Which side each document goes to: the decision of `lvmfast split`, without a file in sight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lvmfast.errors import DataError
from lvmfast.leaks.tally import Rows
from lvmfast.shown import counted
from lvmfast.splits.documents import Documents, Lots

Part = Literal["train", "eval", "val"]
PARTS: tuple[Part, ...] = ("train", "eval", "val")
TRAIN = PARTS.index("train")

DEFAULT_MIN_CHUNKS = 10
#: A component with more of all rows than this is no evaluation set, however many documents were asked for.
MOST_OF_ALL_ROWS = 0.5


@dataclass(frozen=True)
class Shares:
    """How much each held-out side is to get: documents, or a fraction of them.

    Raises:
        DataError: on construction, when it is neither or both, or out of its domain.
    """

    eval_docs: int | None = None
    eval_fraction: float | None = None
    val_docs: int | None = None
    val_fraction: float | None = None
    min_chunks_per_doc: int = DEFAULT_MIN_CHUNKS  #: documents with fewer rows are trained on
    seed: int = 0

    def __post_init__(self) -> None:
        """Holds every share to its domain."""
        if (self.eval_docs is None) == (self.eval_fraction is None):
            raise DataError("split: expected one of --eval-docs and --eval-fraction")
        if self.eval_docs is None and self.val_docs is not None:
            raise DataError("split: --val-docs goes with --eval-docs, --val-fraction with --eval-fraction")
        if self.eval_fraction is None and self.val_fraction is not None:
            raise DataError("split: --val-docs goes with --eval-docs, --val-fraction with --eval-fraction")
        for name in ("eval", "val"):
            docs, fraction = getattr(self, f"{name}_docs"), getattr(self, f"{name}_fraction")
            if docs is not None and docs < 1:
                raise DataError(f"--{name}-docs: expected at least 1, got {docs}")
            if fraction is not None and not (math.isfinite(fraction) and 0.0 < fraction < 1.0):
                raise DataError(f"--{name}-fraction: expected a fraction between 0 and 1, got {fraction}")
        if sum(self.fractions.values()) >= 1.0:
            raise DataError("--eval-fraction and --val-fraction: expected less than 1 together")
        if self.min_chunks_per_doc < 1:
            raise DataError(f"--min-chunks-per-doc: expected at least 1, got {self.min_chunks_per_doc}")

    @property
    def held_out(self) -> tuple[Part, ...]:
        """The sides beside train."""
        return ("eval",) if self.val_docs is None and self.val_fraction is None else ("eval", "val")

    @property
    def fractions(self) -> Mapping[Part, float]:
        """Asked for by fraction, in the order in which places are given out."""
        asked: tuple[tuple[Part, float | None], ...] = (
            ("eval", self.eval_fraction),
            ("val", self.val_fraction),
        )
        return {part: fraction for part, fraction in asked if fraction is not None}

    @property
    def docs(self) -> Mapping[Part, int]:
        """Asked for by number of documents, in the order in which they are picked."""
        asked: tuple[tuple[Part, int | None], ...] = (("eval", self.eval_docs), ("val", self.val_docs))
        return {part: docs for part, docs in asked if docs is not None}


@dataclass(frozen=True)
class Component:
    """Documents that were kept together."""

    documents: int
    rows: int
    examples: tuple[str, ...]  #: the first of their ids


@dataclass(frozen=True)
class Division:
    """The side of every document, and what stood in the way."""

    part: npt.NDArray[np.int8]  #: (documents,) place in PARTS
    documents: Mapping[Part, int]
    rows: Mapping[Part, int]
    joined: int  #: components of more than one document
    too_large: tuple[Component, ...]  #: trained on because no held-out side has room, the largest first
    too_small: int  #: documents with too few rows, or joined to one that has
    with_answer: int  #: documents with a row that holds its own answer, or joined to one


EXAMPLES = 3


def divide(documents: Documents, root: Rows, with_answer: Rows, lots: Lots, shares: Shares) -> Division:
    """Gives every component a side.

    A component is held out only if each of its documents may be: enough rows, an id, no row that holds its
    own answer. By fraction its side is that of the one member with the lowest rank: eval where its place is
    below the fraction, val in the stretch behind that. By number, components are taken in the order of that
    member's place while there is room.

    Args:
        documents: D of them.
        root: (D,) the component of each, named by its lowest document.
        with_answer: documents that have a row which holds its own answer.
        lots: of the documents that have an id.
        shares: what was asked for.

    Raises:
        DataError: a held-out side would get nothing, or fewer documents than asked for; or train nothing.
    """
    named, count = len(documents.ids), len(documents.rows)
    small = documents.rows < shares.min_chunks_per_doc
    small[named:] = True
    answering = np.zeros(count, np.bool_)
    answering[with_answer] = True
    barred_small, barred_answer = (_any_of(root, flag) for flag in (small, answering))
    size = np.bincount(root, minlength=count)
    rows = np.bincount(root, documents.rows, count).astype(np.int64)
    total = int(documents.rows.sum())
    place = np.ones(count)
    order = np.lexsort((lots.rank, root[:named]))  # by component, then rank; the first of each speaks
    speaks = order[np.diff(root[order], prepend=-1) > 0]
    place[root[speaks]] = lots.place[speaks]

    roots = np.flatnonzero(size)
    room = {part: _room(part, shares, size, rows, total) for part in shares.held_out}
    free = ~barred_small & ~barred_answer
    chosen = np.full(count, TRAIN, np.int8)  # of each root
    if shares.docs:
        taken = np.zeros(count, np.bool_)
        by_place = roots[np.argsort(place[roots], kind="stable")]
        for part, wanted in shares.docs.items():
            left = wanted
            for component in by_place[(free & room[part] & ~taken)[by_place]]:
                if size[component] <= left:
                    chosen[component], taken[component] = PARTS.index(part), True
                    left -= int(size[component])
                    if not left:
                        break
    else:
        start = 0.0
        for part, fraction in shares.fractions.items():
            inside = (place >= start) & (place < start + fraction) & free & room[part] & (size > 0)
            chosen[inside] = PARTS.index(part)
            start += fraction
    large = roots[~np.logical_or.reduce([room[part] for part in shares.held_out])[roots]]
    large = large[np.argsort(-rows[large], kind="stable")]
    division = Division(
        part=chosen[root],
        documents={p: int(size[chosen == PARTS.index(p)].sum()) for p in ("train", *shares.held_out)},
        rows={
            p: int(rows[(chosen == PARTS.index(p)) & (size > 0)].sum()) for p in ("train", *shares.held_out)
        },
        joined=int(np.count_nonzero(size > 1)),
        too_large=tuple(_described(documents, root, int(r), size, rows) for r in large),
        too_small=int(size[barred_small & (size > 0)].sum()),
        with_answer=int(size[barred_answer & (size > 0)].sum()),
    )
    _check(division, shares)
    return division


def _any_of(root: Rows, flag: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """For each root: whether any of its members has the flag."""
    of_root = np.zeros(len(root), np.bool_)
    of_root[root[flag]] = True
    return of_root


def _room(part: Part, shares: Shares, size: Rows, rows: Rows, total: int) -> npt.NDArray[np.bool_]:
    """Which components fit into an empty `part`."""
    most_rows = shares.fractions.get(part, MOST_OF_ALL_ROWS) * total
    fits: npt.NDArray[np.bool_] = (rows <= most_rows) & (rows <= MOST_OF_ALL_ROWS * total)
    return fits & (size <= shares.docs[part]) if part in shares.docs else fits


def _described(documents: Documents, root: Rows, component: int, size: Rows, rows: Rows) -> Component:
    members = np.flatnonzero(root[: len(documents.ids)] == component)[:EXAMPLES]
    examples = tuple(documents.ids[member] for member in members)
    return Component(int(size[component]), int(rows[component]), examples)


def _check(division: Division, shares: Shares) -> None:
    large = sum(component.documents for component in division.too_large)
    kept = [
        (division.too_small, f"with fewer than {shares.min_chunks_per_doc} rows or no id"),
        (division.with_answer, "with a row that holds its own answer"),
        (large, "in groups too large to hold out"),
    ]
    why = ", ".join(f"{counted(n, 'document')} {reason}" for n, reason in kept if n)
    joined = "and what shares texts or vectors with these"
    why = f"training keeps {why}, {joined}" if why else "the lots left none; another --seed draws others"
    for part in shares.held_out:
        got, wanted = division.documents[part], shares.docs.get(part)
        if wanted is not None and got < wanted:
            asked = f"{counted(wanted, 'document')} asked for"
            raise DataError(f"--{part}-docs: {asked}, {got:,} can be held out: {why}")
        if got == 0:
            raise DataError(f"--{part}-fraction: no document is left to hold out: {why}")
    if division.documents["train"] == 0:
        raise DataError("split: no document is left to train on; hold out fewer")
