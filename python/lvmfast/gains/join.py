"""Scores find the items of a scan that they are of: by text, by id or by row, whichever finds most."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lvmfast.errors import DataError
from lvmfast.gains.figures import Values
from lvmfast.gains.items import Items, plain
from lvmfast.gains.scored import Scored, Scores

#: Of items found by id or by row, how many must have the text that the scan has, where both have one.
AGREEING = 0.9
#: How many of what did not join are named.
NAMED = 5

#: The items of each score: one, none, or all rows of a document that has the score.
Found = list[tuple[int, ...]]


@dataclass(frozen=True)
class Joined:
    """The items that the scores of one file are of.

    Attributes:
        scores: of the file.
        by: what they were found by, in words; empty where nothing was found.
        found: the items of each score.
        tried: how many scores each way finds, or why it does not count.
        compared: pairs found by id or row whose texts were compared.
    """

    scores: Scores
    by: str
    found: Found
    tried: Mapping[str, int | str]
    compared: int = 0

    @property
    def count(self) -> int:
        """Scores that found an item."""
        return _count(self.found)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        pairs = list(zip(self.scores.items, self.found, strict=True))
        lost = [scored.place for scored, items in pairs if not items]
        return {
            "path": self.scores.path,
            "reader": self.scores.reader,
            "scores": len(pairs),
            "unscored": sum(math.isnan(scored.score) for scored, _ in pairs),
            "joined": self.count,
            "by": self.by,
            "texts_compared": self.compared,
            "tried": dict(self.tried),
            "not_joined": lost[:NAMED],
        }


@dataclass
class Model:
    """The scores of one model: NaN for items without one."""

    name: str
    metric: str
    values: Values
    files: list[Joined] = field(default_factory=list)


class Joiner:
    """What items of a scan are known by."""

    def __init__(self, items: Items) -> None:
        """Looks up nothing yet."""
        self._items = items
        self._file = items.file
        self._by_text = _places(enumerate(items.texts))
        self._by_id = {name: _places(enumerate(ids)) for name, ids in items.ids.items()}

    def join(self, scores: Scores) -> Joined:
        """The items of the scores of one file.

        Raises:
            DataError: none was found; the message says what was tried.
        """
        ways: list[tuple[str, Found, int]] = []
        tried: dict[str, int | str] = {}
        for words, found, certain in self._ways(scores.items):
            count = _count(found)
            compared, agree = (0, 0) if certain else self._agreement(scores.items, found)
            if count and compared and agree < AGREEING * compared:
                tried[words] = f"{compared - agree:,} of {compared:,} texts differ"
            else:
                tried[words] = count
                ways.append((words, found, compared))
        tried |= {words: why for words, why in self._row_refusal(scores.items).items() if words not in tried}
        best = max(ways, key=lambda way: _count(way[1]), default=None)
        if best is None or not _count(best[1]):
            told = "; ".join(f"{words}: {_told(result)}" for words, result in tried.items())
            known = any(text is not None for text in self._items.texts)
            lost = "; no text of an item is known: --eval says where the evaluation files are"
            raise DataError(
                f"{scores.path}: none of its {len(scores.items):,} scores is of an item of the scan "
                f"({', '.join(self._items.files[:3])}): is it of another benchmark? Tried {told or 'nothing'}"
                f"{'' if known else lost}"
            )
        return Joined(scores, best[0], best[1], tried, best[2])

    def _ways(self, scored: Sequence[Scored]) -> Iterator[tuple[str, Found, bool]]:
        """Each way in words, the items it finds, and whether equal texts are what it goes by."""
        for slot in dict.fromkeys(slot for each in scored for slot in each.texts):
            keys = [plain(each.texts.get(slot)) for each in scored]
            yield f"text ({slot})", self._looked_up(self._by_text, keys, scored), True
        ids = [each.id for each in scored]
        if any(id_ is not None for id_ in ids):
            for name, places in self._by_id.items():
                yield f"id ({name})", self._looked_up(places, ids, scored, whole=True), False
        if (file := self._file_of_rows(scored)) is not None:
            yield "row", self._in_file(scored, [file] * len(scored)), False
        elif any(each.file is not None for each in scored):
            files = {name: place for place, name in enumerate(self._items.files)}
            yield (
                "file and row",
                self._in_file(scored, [files.get(each.file or "") for each in scored]),
                False,
            )

    def _in_file(self, scored: Sequence[Scored], files: Sequence[int | None]) -> Found:
        """The items in the rows that scores name."""
        found: Found = []
        for each, file in zip(scored, files, strict=True):
            there = file is not None and each.row is not None
            start, end = self._items.starts[file : file + 2].tolist() if file is not None else (0, 0)
            found.append((start + each.row,) if there and each.row < end - start else ())  # type: ignore[operator]
        return found

    def _looked_up(
        self,
        places: Mapping[str, Sequence[int]],
        keys: Sequence[str | None],
        scored: Sequence[Scored],
        *,
        whole: bool = False,
    ) -> Found:
        """The items of each key, of the file with most of them. Several with one key are taken in turn.

        Where scores of one key name rows that these items have, they are in these rows. With `whole`, one
        score of a key that several items have, as rows have their document, is of all of them.
        """
        by_key: dict[tuple[str, str], list[int]] = {}
        hits = np.zeros(len(self._items.files), np.int64)
        for place, (key, each) in enumerate(zip(keys, scored, strict=True)):
            if key and key in places:
                by_key.setdefault((key, each.repeat), []).append(place)
                hits[self._file[places[key]]] += 1
        found: Found = [()] * len(keys)
        for (key, _), asking in by_key.items():
            best = max((self._file[item] for item in places[key]), key=lambda file: (hits[file], -file))
            own = [item for item in places[key] if self._file[item] == best]
            if whole and len(asking) == 1:
                found[asking[0]] = tuple(own)
                continue
            rows = {item - int(self._items.starts[best]): item for item in own}
            named = all(scored[place].row in rows for place in asking)
            for turn, place in enumerate(asking):
                row = scored[place].row
                found[place] = (rows[row] if named and row is not None else own[turn % len(own)],)
        return found

    def _agreement(self, scored: Sequence[Scored], found: Found) -> tuple[int, int]:
        """Scores whose text and that of an item are known, and how many have it, or one has the other's."""
        compared = agree = 0
        for each, items in zip(scored, found, strict=True):
            own = [text for text in (self._items.texts[item] for item in items) if text]
            if own and each.texts:
                compared += 1
                texts = [text for text in map(plain, each.texts.values()) if text]
                agree += any(one in text or text in one for text in texts for one in own)
        return compared, agree

    def _file_of_rows(self, scored: Sequence[Scored]) -> int | None:
        """The evaluation file that rows count in: the only one, one whose texts agree, or one by name."""
        if all(each.row is None for each in scored) or any(each.file is not None for each in scored):
            return None
        if len(self._items.files) == 1:
            return 0
        fits = []
        for file in range(len(self._items.files)):
            compared, agree = self._agreement(scored, self._in_file(scored, [file] * len(scored)))
            if compared and agree >= AGREEING * compared:
                fits.append((agree, -file))
        if fits:
            return -max(fits)[1]
        stem = _stem(scored[0].place)
        named = [file for file, name in enumerate(self._items.files) if _stem(name) in stem]
        return named[0] if len(named) == 1 else None

    def _row_refusal(self, scored: Sequence[Scored]) -> dict[str, str]:
        if any(each.row is not None for each in scored) and len(self._items.files) > 1:
            return {"row": "it is not known of which evaluation file (a column file says so)"}
        return {}


def _count(found: Found) -> int:
    return sum(bool(items) for items in found)


def _told(result: int | str) -> str:
    return result if isinstance(result, str) else f"{result:,} found"


def _stem(path: str) -> str:
    return os.path.basename(path).partition(".")[0].lower()


def _places(keys: Any) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for item, key in keys:
        if key:
            found.setdefault(key, []).append(item)
    return found


def models_of(items: Items, joined: Sequence[Joined]) -> tuple[list[Model], list[str]]:
    """The scores by model, put together from its files, and notes.

    Several scores of one item, of epochs, trials, or rows with the same text, are averaged.

    Raises:
        DataError: an item stands twice in the scores of a model, or these are of two kinds, or all missing.
    """
    models: dict[str, Model] = {}
    sources: dict[str, dict[int, dict[tuple[str, int | None], Scored]]] = {}
    for of_file in joined:
        scores = of_file.scores
        model = models.setdefault(
            scores.model, Model(scores.model, scores.metric, np.full(len(items), np.nan))
        )
        if model.metric != scores.metric:
            raise DataError(
                f"{scores.path}: {scores.model} is scored by {scores.metric} there and by {model.metric} in "
                f"{model.files[0].scores.path}: --metric says which, or NAME=PATH keeps two models apart"
            )
        model.files.append(of_file)
        of_model = sources.setdefault(scores.model, {})
        for scored, found in zip(scores.items, of_file.found, strict=True):
            for item in found:
                before = of_model.setdefault(item, {})
                if (twin := before.get((scored.repeat, scored.row))) is not None:
                    raise DataError(
                        f"{scored.place}: {scores.model}: the item {items.name(item)} has a score already, "
                        f"in {twin.place}; NAME=PATH keeps two models apart"
                    )
                before[scored.repeat, scored.row] = scored
    notes = []
    for name, of_model in sources.items():
        for item, several in of_model.items():
            known = [each.score for each in several.values() if not math.isnan(each.score)]
            if known:
                models[name].values[item] = math.fsum(known) / len(known)
        averaged = sum(len(several) > 1 for several in of_model.values())
        if averaged:
            several_of = "several scores (epochs, trials, equal texts)"
            notes.append(f"{name}: {averaged:,} items have {several_of}: their means count")
    for model in models.values():
        if np.isnan(model.values).all():
            where = model.files[0].scores.path
            raise DataError(f"{where}: {model.metric}: expected numbers, all are missing or NaN")
    return list(models.values()), notes
