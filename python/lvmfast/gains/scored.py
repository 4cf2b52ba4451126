"""What a reader makes of a file of scores: items, and whatever they can be known by in a scan."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lvmfast.errors import DataError

#: Letters of inspect-ai: correct, incorrect, partly, no answer; and words that spell a truth value.
WORDS = {"c": 1.0, "i": 0.0, "p": 0.5, "n": 0.0, "true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}

#: Sums of squares of so large scores are finite.
MOST = 1e100


@dataclass(frozen=True)
class Scored:
    """One item with its score.

    Attributes:
        place: where it stands, for messages.
        score: finite, or NaN where the evaluator gave none.
        id: the item's id as text.
        row: its row in the evaluation file.
        texts: what may be its text, by where it was found.
        file: the evaluation file it is of.
        repeat: the epoch or trial: scores of one item with different ones are averaged.
    """

    place: str
    score: float
    id: str | None = None
    row: int | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    file: str | None = None
    repeat: str = ""


@dataclass(frozen=True)
class Scores:
    """The scores of one model in one file, in the order of the file."""

    path: str
    reader: str
    model: str
    metric: str
    items: Sequence[Scored]
    notes: Sequence[str] = ()
    stated: bool = True  #: whether the file says what the model is called


def number(place: str, metric: str, value: Any) -> float:
    """A score as a number; NaN where there is none.

    Raises:
        DataError: it is something else, infinite, or so large that its square is no finite number.
    """
    if isinstance(value, str):
        value = WORDS.get(value.strip().lower(), value.strip() or None)
    if value is None:
        return math.nan
    try:
        if not isinstance(value, (int, float, str, Decimal)):
            raise ValueError
        found = float(value)
    except ValueError:
        raise DataError(f"{place}: {metric}: expected a number, got {value!r:.60}") from None
    if abs(found) > MOST:
        raise DataError(f"{place}: {metric}: expected a finite number of at most {MOST:g}, got {found:g}")
    return found


def is_score(value: Any) -> bool:
    """Whether a value is a number, or says that there is none."""
    try:
        number("", "", value)
    except DataError:
        return False
    return True


def chosen(place: str, asked: str | None, there: Mapping[str, Any], preferred: Sequence[str] = ()) -> str:
    """The name of the score to read: what was asked for, else the first preferred one, else the first number.

    Raises:
        DataError: there is none, or it is not there.
    """
    names = [name for name, value in there.items() if is_score(value)]
    if asked is not None:
        if asked not in there:
            shown = ", ".join(names[:20]) or "no number"
            raise DataError(f"{place}: no score {asked!r}; there is {shown}")
        return asked
    found = next((name for name in preferred if name in names), None)
    if found is None and not preferred:
        found = next(iter(names), None)
    if found is None:
        shown = ", ".join(names[:20]) or "no number"
        raise DataError(f"{place}: which score is it? --metric names one; there is {shown}")
    return found


def text_of(value: Any) -> str | None:
    """An id or a text out of a row; None where it is none. Of 12.0 the id is 12."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return str(value) if isinstance(value, (str, int)) and str(value).strip() else None


def row_of(value: Any) -> int | None:
    """A row number out of a row."""
    text = text_of(value)
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None


def leaves(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """The texts among the fields of an object, by name."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, str) and inner.strip():
                yield f"{prefix}{name}", inner
