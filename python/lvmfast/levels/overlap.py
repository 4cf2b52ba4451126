"""Evaluation texts that stand inside training texts: cut, re-wrapped or edited (docs/overlap.md).

The evaluation side is indexed whatever the sizes, for a document holds an item and not the other way round.
Items of equal tokens are compared once, as the first of them; the others come back in the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Column, Dataset
from lvmfast.corpus.keys import text_bytes
from lvmfast.corpus.plain import null_rows, without_nulls
from lvmfast.corpus.sides import Side
from lvmfast.errors import DataError
from lvmfast.leaks import memory, published
from lvmfast.leaks.alone import FieldAlone
from lvmfast.leaks.chunks import ChunkJoin, Documents
from lvmfast.leaks.cuts import AS_THEY_ARE
from lvmfast.leaks.evidence import EVIDENCE_BYTES, NO_ROW, Named
from lvmfast.leaks.keyed_by import Comparable
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.overlapping import (
    MATCH,
    SHORT,
    Alike,
    Places,
    evidence_of,
    near_rows,
    rows_of,
    touched_rows,
)
from lvmfast.leaks.results import Holders, LevelResult, Merging, Undecided
from lvmfast.leaks.rules import OWN, RULES
from lvmfast.leaks.running import Beginning, Running
from lvmfast.leaks.slots import MISSING_COLUMN
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores, SideTally, Tally
from lvmfast.leaks.trees import Tree, from_arrays, to_arrays
from lvmfast.levels.base import IndexBytes, Level, Pieces

if TYPE_CHECKING:
    from lvmfast.corpus.fingerprint import Fingerprint

#: Fields that are told of where they stand without their question.
ALONE: tuple[Column, ...] = ("passage", "answer")
#: What is counted beside the matches: those with an answer nearby.
ANSWERED = "answered"
#: The texts of a match in a report, in lengths of the item: it, a stretch of about two, and the stretch with
#: an answer, three times over.
TEXTS_SHOWN = 15
#: Bytes of an item, of a token of one, and of a token in the index of a block while it is made.
ITEM_BYTES, TOKEN_BYTES, INDEX_BYTES = 40, 9.25, 40
#: Where no text can be looked at, tokens are this short.
LEAST_TOKEN_BYTES = 5
#: Bytes of an answer, and per byte of its text: 8 a token, of two bytes or more.
ANSWER_BYTES, ANSWER_TOKEN_BYTES = 64, 4
#: Bytes per byte of an item while it is compared: 120 a token, of five bytes or more.
COMPARED_BYTES = 24


def leaks(pairs: _core.OverlapPairs, options: ScanOptions) -> npt.NDArray[np.bool_]:
    """(pairs,): whether each is a leak by itself."""
    return pairs.strength >= (SHORT if options.overlap_short == "leak" else MATCH)


@dataclass(frozen=True)
class ItemsPart:
    """The evaluation side, as it is saved."""

    tally: Tally
    same_as: Rows  #: the first row with the tokens of each
    beside: Mapping[str, bool]  #: what is counted beside the matches
    grams: published.Grams


@dataclass(frozen=True)
class DocumentsPart:
    """What training rows yield, as it is saved."""

    tally: Tally
    found: LevelResult  #: an evaluation row stands for all with its tokens
    continued: int  #: rows that were joined to the one before them
    seen: Mapping[str, published.Places]  #: n-grams of items, by length


class OverlapLevel:
    """Evaluation items inside the training documents that stream past."""

    matched = 0  #: of a matched row only its best score is held

    def __init__(self, beginning: Beginning) -> None:
        """Nothing read yet."""
        assert beginning.indexed == "eval"
        self._options = beginning.options
        self._tally = {side: SideTally(n) for side, n in beginning.files.items()}
        self._index = _core.OverlapIndex()
        self._answers = _core.OverlapAnswers()
        self._answered: list[npt.NDArray[np.bool_]] = [np.empty(0, np.bool_)]  #: rows with an answer
        self._alone = [FieldAlone(column, self._options) for column in ALONE]
        self._beside = ["short"]  #: what is counted beside the matches
        self._unread: list[Rows] = [NO_ROWS]  #: evaluation rows without a text
        self._bytes = 0  #: of all items
        self._item_bytes = 0.0  #: of one
        self._same_as = NO_ROWS
        self._found = Merging(self._options)
        self._chunks = ChunkJoin(self._options)
        self._block = 0
        self._continued = 0  #: rows that were joined, by the first block alone
        self._grams: published.Grams | None = None  #: of a part
        self._grams_seen = published.union([])
        self._seen_by: Literal["this", "all", "others"] = "this"  #: whose rows have n-grams that it takes

    @property
    def nbytes(self) -> int:
        """Bytes held by the index."""
        return self._index.nbytes + self._answers.nbytes + sum(field.nbytes for field in self._alone)

    @property
    def evidence(self) -> int:
        """Matches held for a report, each with the texts that it will show there."""
        texts = TEXTS_SHOWN * self._item_bytes / EVIDENCE_BYTES
        return int(self._found.held * (1 + texts))

    def index(self, batch: Batch) -> None:
        """Takes the next items."""
        texts = self._seen("eval", batch)
        null = np.flatnonzero(null_rows(texts))
        self._unread.append(batch.start + null)
        data, offsets = text_bytes(without_nulls(texts))
        self._index.add(data, offsets, self._options.threads)
        self._bytes += int(offsets[-1] - offsets[0])
        answers = pa.nulls(batch.rows, pa.large_string()) if batch.answer is None else batch.answer
        told = text_bytes(without_nulls(answers))
        self._answered.append(self._answers.add((data, offsets), told, self._options.threads))
        for field in self._alone:
            field.index(batch)

    def stream(self, batch: Batch) -> None:
        """Takes the next documents, or rows of them."""
        texts = self._seen("train", batch)
        joined = self._options.join_chunks
        shown = self._scan(self._chunks.add(batch, texts) if joined else [Documents(batch.start, texts)])
        shown -= batch.start
        batch.keep(shown[(shown >= 0) & (shown < batch.rows)])

    def beside(self) -> OverlapLevel:
        """As `Beside.beside`.

        What documents have of n-grams is noted in the index that all share. So this one alone takes it, and
        every cut of it has all, whichever of them was looking: one may be lost, and others folded.
        """
        self._seen_by = "all"
        twin = copy(self)
        twin._seen_by = "others"
        twin._tally = {**self._tally, "train": SideTally(self._tally["train"].files)}
        twin._found, twin._chunks = Merging(self._options), ChunkJoin(self._options)
        twin._continued, twin._grams_seen = 0, published.union([])
        return twin

    def begin(self, before: Batch | None) -> None:
        """As `Joining.begin`."""
        self._chunks.begin(before)

    def follow(self, batch: Batch) -> bool:
        """As `Joining.follow`."""
        texts = pa.nulls(batch.rows, pa.large_string()) if batch.text is None else batch.text
        return self._chunks.follow(batch, texts)

    def end(self) -> None:
        """As `Joining.end`."""
        self._scan(self._chunks.end())

    def _scan(self, parts: Iterable[Documents]) -> Rows:
        """Takes documents; the rows of them that evidence may show."""
        shown = [NO_ROWS]
        for documents in parts:
            pairs = self._index.scan(*documents.packed, self._options.threads, documents.starts)
            leak = leaks(pairs, self._options)
            of_pair, rows = self._with_answers(documents, pairs)
            answer = np.full(len(pairs), NO_ROW, np.int64)
            answer[of_pair[::-1]] = rows[::-1]  # the first of each
            stands: dict[str, Rows] = {"answer": answer}
            beside: dict[str, LevelResult] = {}
            if ANSWERED in self._beside:
                answered = leak & (answer != NO_ROW)
                train, _ = touched_rows(pairs, answered, documents)
                beside[ANSWERED] = published.rows_alone(train, rows[leak[of_pair]])
            for field in self._alone:
                beside[field.name], near = field.stream(documents, pairs)
                stands.setdefault(field.column, near.astype(np.int64))
            if len(pairs) or any(found.match_count for found in beside.values()):
                beside["short"] = self._those(pairs, ~leak, documents, stands)
                self._found.add(replace(self._those(pairs, leak, documents, stands), beside=beside))
                self._found.check()
                shown.append(near_rows(pairs, documents))
        return np.concatenate(shown)

    def _with_answers(self, documents: Documents, pairs: _core.OverlapPairs) -> tuple[Rows, Rows]:
        """Each pair and evaluation row of its item whose answer stands near the question."""
        if ANSWERED not in self._beside or not len(pairs):
            return NO_ROWS, NO_ROWS
        of_pair, rows = self._with_answer.each(pairs.item)
        matched, document = np.unique(pairs.document, return_inverse=True)
        windows = (document, pairs.window_start, pairs.window_end)
        places = np.stack([*(values[of_pair] for values in windows), rows], axis=1)
        near = self._answers.nearby(text_bytes(documents.joined(matched)), places, self._options.threads)
        return of_pair[near], rows[near]

    def _seen(self, side: Side, batch: Batch) -> pa.Array:
        tally = self._tally[side] if not self._block else SideTally(batch.file + 1)  # it is counted once
        tally.see(batch)
        if batch.text is None:
            tally.uncheck_all(batch, MISSING_COLUMN)
            return pa.nulls(batch.rows, pa.large_string())
        null = null_rows(batch.text)
        tally.uncheck(batch, null.astype(np.int64), {1: "no_text"})
        return batch.text

    def close(self) -> None:
        """Ends the indexing."""
        self._index.end(self._options.threads)
        self._index.watch_grams()
        tokens, least = self._index.tokens(), RULES[self._options.overlap_rule].tokens
        tokens[np.concatenate(self._unread)] = least  # counted already
        self._tally["eval"].uncheck_rows(np.flatnonzero(tokens == 0), "empty_text")
        short = np.flatnonzero((tokens > 0) & (tokens < least))
        self._tally["eval"].uncheck_rows(short, "short_text")
        self._item_bytes = self._bytes / max(1, self._index.items)
        self._know(self._index.same_as())
        answered = np.flatnonzero(np.concatenate(self._answered))
        self._with_answer = Alike.of(answered, self._same_as[answered], len(self._same_as))
        self._alone = [field for field in self._alone if field.close(self._index, self._same_as)]
        self._beside += [ANSWERED] if len(answered) else []
        self._beside += [field.name for field in self._alone]

    def blocks(self, room: int) -> int | None:
        """As `InBlocks.blocks`: the index of each field has as many, and its share of the room."""
        indexes = [self._index, *(field.items for field in self._alone)]
        all_bytes = sum(index.nbytes for index in indexes)
        needed = [index.blocks(max(0, room) * index.nbytes // max(1, all_bytes)) for index in indexes]
        return max((of for of in needed if of is not None), default=None) if None not in needed else None

    def turn(self, block: int, of: int) -> None:
        """As `InBlocks.turn`."""
        self.end()
        self._take_seen()
        self._item_grams()  # while there is no block
        self._continued, self._chunks = self._joined, ChunkJoin(self._options)
        self._block = block
        self._index.turn(block, of, self._options.threads)
        for field in self._alone:
            field.turn(block, of)

    @property
    def _joined(self) -> int:
        """Rows that were joined to the one before them."""
        return self._continued + (0 if self._block else self._chunks.continued)

    def _know(self, same_as: Rows) -> None:
        self._same_as = same_as
        self._size = np.bincount(same_as, minlength=len(same_as))  #: items of each first one's tokens

    def _those(
        self,
        pairs: _core.OverlapPairs,
        which: npt.NDArray[np.bool_],
        documents: Documents,
        stands: Mapping[str, Rows],
    ) -> LevelResult:
        these = np.flatnonzero(which)
        item, one = pairs.item[these], np.ones(len(these), np.int64)
        size = self._size[item]
        matches = evidence_of(pairs, these, documents, Places(item, size))
        details = {**matches.details, **{field: rows[these] for field, rows in stands.items()}}
        train, of_pair = touched_rows(pairs, which, documents)
        sides: dict[Side, Tally] = {
            "train": Tally.of_matches(train, matches.score[np.searchsorted(these, of_pair)]),
            "eval": Tally.of_matches(item, matches.score),
        }
        return LevelResult(
            sides,
            replace(matches, details=details),
            len(these),
            int(size.sum()),
            holders=Holders.of(item, one),
        )

    def indexed(self) -> Tree:
        """What the evaluation side is for `result`; it stays."""
        beside = dict.fromkeys(self._beside, True)
        grams = self._item_grams()
        return to_arrays(ItemsPart(self._tally["eval"].part(), self._same_as, beside, grams))

    def restore(self, tree: Tree) -> None:
        """Takes the place of a level that indexed what `indexed` tells of."""
        part = from_arrays(ItemsPart, tree)
        self._tally["eval"].add(part.tally)
        self._know(part.same_as)
        self._beside = list(part.beside)
        self._grams = part.grams

    def cut(self) -> Tree:
        """What was streamed since the last cut; nothing of it is left."""
        part = DocumentsPart(
            self._tally["train"].part(), self._found.result(), self._joined, self._take_seen()
        )
        self._grams_seen = self._grams_seen if self._seen_by == "all" else published.union([])
        self._tally["train"].forget()
        self._found, self._continued, self._chunks.continued = Merging(self._options), 0, 0
        return to_arrays(part)

    def fold(self, tree: Tree, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        part = from_arrays(DocumentsPart, tree)
        self._tally["train"].add(part.tally.relocated(starts))
        self._found.add(part.found.relocated({"train": starts, "eval": AS_THEY_ARE}))
        self._found.check()
        self._continued += part.continued
        self._grams_seen = published.union([self._grams_seen, part.seen])

    def _take_seen(self) -> Mapping[str, published.Places]:
        if self._seen_by != "others":
            self._grams_seen = published.union([self._grams_seen, published.taken(self._index)])
        return self._grams_seen

    def named(self) -> Named:
        """The rows that the evidence may name, and the items that match."""
        found = self._of_each_item(self._found.result())
        answers = found.matches.details.get("answer", NO_ROWS)
        evidence: dict[Side, Rows] = {"train": NO_ROWS, "eval": answers[answers != NO_ROW]}
        named = [Named(evidence, np.concatenate([found.sides["eval"].matched, self._may_leak()]))]
        for matches in [found.matches, *(beside.matches for beside in found.beside.values())]:
            named.append(Named({"train": rows_of(matches), "eval": matches.eval_row}, NO_ROWS))
        return Named.of(named)

    def result(self) -> LevelResult:
        """What was found, once every row went by."""
        self.end()
        seen = LevelResult({side: tally.part() for side, tally in self._tally.items()})
        seen = replace(seen, beside={name: published.rows_alone(NO_ROWS, NO_ROWS) for name in self._beside})
        found = LevelResult.merged([seen, self._of_each_item(self._found.result())], self._options)
        found = replace(found, continued=self._joined if self._options.join_chunks else None)
        grams, places = self._item_grams(), self._take_seen()
        self._index, self._alone = _core.OverlapIndex(), []  # what they take is needed now
        found = replace(found, items=grams.in_training(places, self._same_as))
        return published.decided(found, grams.leaked(places, self._same_as), self._options.overlap_rule)

    def _item_grams(self) -> published.Grams:
        if self._grams is None:
            self._grams = published.Grams.of(self._index, self._options.threads)
        return self._grams

    def _may_leak(self) -> Rows:
        """The rows of which the documents so far hold what a published rule, if one decides, asks for."""
        rule = self._options.overlap_rule
        return NO_ROWS if rule == OWN else self._item_grams().touched(rule, self._take_seen(), self._same_as)

    def _of_each_item(self, found: LevelResult) -> LevelResult:
        """What was found of the first of equal items, of each of them."""
        if not found.sides:
            return replace(found, sides={"eval": Tally.of_matches(NO_ROWS, np.empty(0))})
        of_eval = found.sides["eval"]
        best: Scores = np.full(len(self._same_as), np.nan)
        best[of_eval.matched] = of_eval.best
        best = best[self._same_as]
        rows = np.flatnonzero(~np.isnan(best))
        assert found.holders is not None
        held = np.zeros(len(self._same_as), np.int64)
        held[found.holders.eval_row] = found.holders.train_rows
        return replace(
            found,
            sides={**found.sides, "eval": Tally.of_matches(rows, best[rows])},
            holders=Holders(rows, held[self._same_as[rows]]),
            beside={
                name: self._of_each_item(beside) if beside.holders and name == "short" else beside
                for name, beside in found.beside.items()
            },
        )


class FilteredOverlap(OverlapLevel):
    """Against a fingerprint: of each item it is proven that no document holds it, or undecided."""

    def __init__(self, beginning: Beginning) -> None:
        """Nothing read yet.

        Raises:
            DataError: the filter has no blocks.
        """
        super().__init__(replace(beginning, indexed="eval"))
        train = beginning.fingerprint
        assert train is not None
        assert train.grams is not None
        try:
            self._filter = _core.GramFilter.of(train.grams.blocks)
        except ValueError as error:
            raise DataError(f"{train.path}: {error}") from error

    def index(self, batch: Batch) -> None:
        """Counts the next documents."""
        self._seen("train", batch)

    def close(self) -> None:
        """Nothing: the items come now."""

    def stream(self, batch: Batch) -> None:
        """Takes the next items."""
        super().index(batch)

    def result(self) -> LevelResult:
        """What was found, once every row went by."""
        super().close()
        self._index.turn(0, 1, self._options.threads)
        share = self._index.possible(self._filter)
        rows = np.flatnonzero(share)
        sides = {side: tally.part() for side, tally in self._tally.items()}
        return LevelResult(sides, undecided=Undecided(rows, share[rows]))


def groups(pieces: Pieces, options: Comparable) -> Rows:
    """Items of equal tokens are one group."""
    index = _core.OverlapIndex()
    for batch, rows in pieces:
        assert batch.text is not None
        texts = without_nulls(batch.text).take(pa.array(rows))
        index.add(*text_bytes(texts), options.threads)
    index.end(options.threads)
    return index.same_as()


def begin(beginning: Beginning) -> Running:
    """The documents themselves, or the filter that a fingerprint keeps of them."""
    return OverlapLevel(beginning) if beginning.fingerprint is None else FilteredOverlap(beginning)


def not_in_fingerprint(fingerprint: Fingerprint) -> str:
    """Why a fingerprint cannot say whether a document holds an item; empty where it can."""
    if fingerprint.grams is None:
        return "a fingerprint holds no texts, and this one has no overlap filter (--overlap)"
    made, own = fingerprint.grams.unicode, _core.overlap_unicode()
    return "" if made == own else f"its filter was made by Unicode {made}, this lvmfast has {own}"


def index_bytes(items: Dataset, options: ScanOptions) -> IndexBytes:
    """What the index of `items`, and comparing one in each thread, are expected to need."""
    threads, rows = _core.thread_count(options.threads), items.estimated_rows()
    columns: list[Column] = ["text", *sorted(items.columns.intersection(ALONE))]
    texts = sum(memory.text_bytes(items, column) for column in columns)
    tokens = sum(_tokens(items, column, options) for column in columns)
    answers = 0
    if "answer" in items.columns:
        answers = rows * (ANSWER_BYTES + ANSWER_TOKEN_BYTES * memory.text_bytes(items, "answer"))
    whole = int(rows * (len(columns) * ITEM_BYTES + tokens * TOKEN_BYTES)) + threads * COMPARED_BYTES * texts
    return IndexBytes(whole + answers, int(rows * tokens * INDEX_BYTES))


def _tokens(items: Dataset, column: Column, options: ScanOptions) -> float:
    """How many tokens the texts of a column have, by a look at some of its first rows, with a margin."""
    for texts in memory.sampled(items, column):
        index = _core.OverlapIndex()
        index.add(*text_bytes(without_nulls(texts)), options.threads)
        return float(memory.TEXT_MARGIN * index.tokens().mean())
    return memory.TEXT_BYTES / LEAST_TOKEN_BYTES


OVERLAP = Level(
    name="overlap",
    needs=("text",),
    of_items=ALONE,
    what="evaluation texts that stand inside training texts: cut, re-wrapped or edited",
    sought="texts that stand inside others",
    cannot_see="paraphrased or translated text, and evaluation texts under 5 tokens",
    by_fingerprint=(
        "a row is **clean for certain**, or **undecided**, where the fingerprint was made with `--overlap`; "
        "else not checkable"
    ),
    not_in_fingerprint=not_in_fingerprint,
    indexes="eval",
    index_bytes=index_bytes,
    in_blocks=True,
    of_chunks=True,
    excerpts=True,
    grouped=groups,
    payload=True,
    run=begin,
)
