"""Evaluation texts that stand inside training texts: cut, re-wrapped or edited (docs/overlap.md).

The evaluation side is indexed whatever the sizes, for a document holds an item and not the other way round.
Items of equal tokens are compared once, as the first of them; the others come back in the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Dataset
from lvmfast.corpus.keys import text_bytes
from lvmfast.corpus.sides import Side
from lvmfast.leaks import memory
from lvmfast.leaks.cuts import AS_THEY_ARE
from lvmfast.leaks.evidence import EVIDENCE_BYTES, NO_POSITION, Evidence, Named
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import Holders, LevelResult, Merging
from lvmfast.leaks.running import Beginning
from lvmfast.leaks.slots import MISSING_COLUMN
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores, SideTally, Tally
from lvmfast.leaks.trees import Tree, from_arrays, to_arrays
from lvmfast.levels.base import Level

#: Items of fewer tokens are not looked for.
LEAST_TOKENS = 5
#: The strength of a pair in the core: a whole item too short to be a leak by itself, or a match.
SHORT, MATCH = 1, 2
#: What the core says of each pair, and evidence keeps.
DETAILS = (
    "covered",
    "weight",
    "tokens_covered",
    "words_covered",
    "longest",
    "in_8",
    "in_13",
    "window_start",
    "window_end",
    "numbers_differ",
)
#: The texts of a match in a report, in lengths of the item: it and a stretch of about two, three times over.
TEXTS_SHOWN = 9
#: Bytes of the index per byte of text: 40 a token, of five bytes or more.
INDEX_BYTES = 8
#: Bytes of an answer, and per byte of its text: 8 a token, of two bytes or more.
ANSWER_BYTES, ANSWER_TOKEN_BYTES = 64, 4
#: Bytes per byte of an item while it is compared: its runs in a document are found by an automaton.
COMPARED_BYTES = 64


def leaks(pairs: _core.OverlapPairs, options: ScanOptions) -> npt.NDArray[np.bool_]:
    """(pairs,): whether each is a leak by itself."""
    return pairs.strength >= (SHORT if options.overlap_short == "leak" else MATCH)


@dataclass(frozen=True)
class ItemsPart:
    """The evaluation side, as it is saved."""

    tally: Tally
    same_as: Rows  #: the first row with the tokens of each
    answers: bool  #: whether there is any that can be looked for


@dataclass(frozen=True)
class DocumentsPart:
    """What training rows yield, as it is saved."""

    tally: Tally
    found: LevelResult  #: an evaluation row stands for all with its tokens


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
        self._any_answer = False
        self._unread: list[Rows] = [NO_ROWS]  #: evaluation rows without a text
        self._bytes = 0  #: of all items
        self._item_bytes = 0.0  #: of one
        self._same_as = NO_ROWS
        self._found = Merging(self._options)

    @property
    def nbytes(self) -> int:
        """Bytes held by the index."""
        return self._index.nbytes + self._answers.nbytes

    @property
    def evidence(self) -> int:
        """Matches held for a report, each with the texts that it will show there."""
        texts = TEXTS_SHOWN * self._item_bytes / EVIDENCE_BYTES
        return int(self._found.held * (1 + texts))

    def index(self, batch: Batch) -> None:
        """Takes the next items."""
        texts = self._seen("eval", batch)
        null = np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False))
        self._unread.append(batch.start + null)
        data, offsets = text_bytes(texts.fill_null(""))
        self._index.add(data, offsets, self._options.threads)
        self._bytes += int(offsets[-1] - offsets[0])
        answers = pa.nulls(batch.rows, pa.large_string()) if batch.answer is None else batch.answer
        told = text_bytes(answers.fill_null(""))
        self._answered.append(self._answers.add((data, offsets), told, self._options.threads))

    def stream(self, batch: Batch) -> None:
        """Takes the next documents."""
        texts = self._seen("train", batch)
        documents = text_bytes(texts.fill_null(""))
        pairs = self._index.scan(*documents, self._options.threads)
        if len(pairs):
            leak = leaks(pairs, self._options)
            of_pair, rows = self._with_answers(documents, pairs)
            answer = np.bincount(of_pair, minlength=len(pairs)).astype(np.bool_)
            short = self._those(pairs, ~leak, batch.start, answer)
            found = replace(self._those(pairs, leak, batch.start, answer), short=short)
            if self._any_answer:
                of_leak = leak[of_pair]
                train, items = batch.start + pairs.document[of_pair[of_leak]], rows[of_leak]
                found = replace(found, answered=_rows_alone(train, items))
            self._found.add(found)
            self._found.check()

    def _with_answers(
        self, documents: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]], pairs: _core.OverlapPairs
    ) -> tuple[Rows, Rows]:
        """Each pair and evaluation row of its item whose answer stands near the question."""
        if not self._any_answer:
            return NO_ROWS, NO_ROWS
        counts = self._ends[pairs.item + 1] - self._ends[pairs.item]
        of_pair = np.repeat(np.arange(len(pairs)), counts)
        within = np.arange(len(of_pair)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self._by_item[self._ends[pairs.item][of_pair] + within]
        windows = (pairs.document, pairs.window_start, pairs.window_end)
        places = np.stack([*(values[of_pair] for values in windows), rows], axis=1)
        near = self._answers.nearby(documents, places, self._options.threads)
        return of_pair[near], rows[near]

    def _seen(self, side: Side, batch: Batch) -> pa.Array:
        tally = self._tally[side]
        tally.see(batch)
        if batch.text is None:
            tally.uncheck_all(batch, MISSING_COLUMN)
            return pa.nulls(batch.rows, pa.large_string())
        null = batch.text.is_null().to_numpy(zero_copy_only=False)
        tally.uncheck(batch, null.astype(np.int64), {1: "no_text"})
        return batch.text

    def close(self) -> None:
        """Ends the indexing."""
        self._index.close(self._options.threads)
        tokens = self._index.tokens()
        tokens[np.concatenate(self._unread)] = LEAST_TOKENS  # counted already
        self._tally["eval"].uncheck_rows(np.flatnonzero(tokens == 0), "empty_text")
        short = np.flatnonzero((tokens > 0) & (tokens < LEAST_TOKENS))
        self._tally["eval"].uncheck_rows(short, "short_text")
        self._item_bytes = self._bytes / max(1, self._index.items)
        self._know(self._index.same_as())
        answered = np.flatnonzero(np.concatenate(self._answered))
        self._any_answer = len(answered) > 0
        order = np.argsort(self._same_as[answered], kind="stable")
        self._by_item: Rows = answered[order]  #: rows with an answer, by the first with their tokens
        counts = np.bincount(self._same_as[answered], minlength=len(self._same_as))
        self._ends: Rows = np.concatenate([[0], np.cumsum(counts)])

    def _know(self, same_as: Rows) -> None:
        self._same_as = same_as
        self._size = np.bincount(same_as, minlength=len(same_as))  #: items of each first one's tokens

    def _those(
        self,
        pairs: _core.OverlapPairs,
        which: npt.NDArray[np.bool_],
        start: int,
        answer: npt.NDArray[np.bool_],
    ) -> LevelResult:
        these = np.flatnonzero(which)
        row, item = start + pairs.document[these], pairs.item[these]
        score = np.maximum(pairs.covered, pairs.in_document)[these] / pairs.weight[these]
        nowhere, one = np.full(len(these), NO_POSITION, np.int64), np.ones(len(these), np.int64)
        size = self._size[item]
        details = {name: getattr(pairs, name)[these].astype(np.int64) for name in DETAILS}
        details["answer"] = answer[these].astype(np.int64)
        matches = Evidence(row, nowhere, item, nowhere, score, one, size, size, details)
        sides: dict[Side, Tally] = {
            "train": Tally.of_matches(row, score),
            "eval": Tally.of_matches(item, score),
        }
        return LevelResult(sides, matches, len(these), int(size.sum()), holders=Holders.of(item, one))

    def indexed(self) -> Tree:
        """What the evaluation side is for `result`; it stays."""
        return to_arrays(ItemsPart(self._tally["eval"].part(), self._same_as, self._any_answer))

    def restore(self, tree: Tree) -> None:
        """Takes the place of a level that indexed what `indexed` tells of."""
        part = from_arrays(ItemsPart, tree)
        self._tally["eval"].add(part.tally)
        self._know(part.same_as)
        self._any_answer = part.answers

    def cut(self) -> Tree:
        """What was streamed since the last cut; nothing of it is left."""
        part = DocumentsPart(self._tally["train"].part(), self._found.result())
        self._tally["train"].forget()
        self._found = Merging(self._options)
        return to_arrays(part)

    def fold(self, tree: Tree, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        part = from_arrays(DocumentsPart, tree)
        self._tally["train"].add(part.tally.relocated(starts))
        self._found.add(part.found.relocated({"train": starts, "eval": AS_THEY_ARE}))
        self._found.check()

    def named(self) -> Named:
        """The rows that the evidence may name, and the items that match."""
        found = self._of_each_item(self._found.result())
        named = [found.matches, *([found.short.matches] if found.short else [])]
        return Named.of(
            [
                Named({"train": matches.train_row, "eval": matches.eval_row}, found.sides["eval"].matched)
                for matches in named
            ]
        )

    def result(self) -> LevelResult:
        """What was found, once every row went by."""
        seen = LevelResult({side: tally.part() for side, tally in self._tally.items()})
        if self._any_answer:
            seen = replace(seen, answered=_rows_alone(NO_ROWS, NO_ROWS))
        return LevelResult.merged([seen, self._of_each_item(self._found.result())], self._options)

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
            short=found.short and self._of_each_item(found.short),
        )


def _rows_alone(train: Rows, items: Rows) -> LevelResult:
    """Rows of both sides that are counted."""
    sides: dict[Side, Rows] = {"train": train, "eval": items}
    return LevelResult({side: Tally.of_matches(rows, np.ones(len(rows))) for side, rows in sides.items()})


def index_bytes(items: Dataset, options: ScanOptions) -> int:
    """Bytes that the index of `items`, and comparing one in each thread, are expected to need."""
    threads, rows = _core.thread_count(options.threads), items.estimated_rows()
    answers = 0
    if "answer" in items.columns:
        answers = rows * (ANSWER_BYTES + ANSWER_TOKEN_BYTES * memory.text_bytes(items, "answer"))
    return (rows * INDEX_BYTES + threads * COMPARED_BYTES) * memory.text_bytes(items) + answers


OVERLAP = Level(
    name="overlap",
    needs=("text",),
    of_items=("answer",),
    what="evaluation texts that stand inside training texts: cut, re-wrapped or edited",
    cannot_see="paraphrased or translated text, and evaluation texts under 5 tokens",
    by_fingerprint="not checkable: no text is kept",
    not_in_fingerprint="a fingerprint holds no texts",
    indexes="eval",
    index_bytes=index_bytes,
    of_chunks=True,
    excerpts=True,
    payload=True,
    run=OverlapLevel,
)
