"""`threshold`: reads off two sets and off edited copies which cosine tells duplicates from the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvmfast.api import leakscan
from lvmfast.calibration.edits import EDITS, edited
from lvmfast.calibration.suggest import Cosines, Suggestion, suggest
from lvmfast.corpus import Dataset, Payload, load_payload, load_split
from lvmfast.corpus.columns import ColumnsOfSides, columns_of
from lvmfast.corpus.load import Given
from lvmfast.corpus.looks import begins_again
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.encoding.encoded import encoded_sides
from lvmfast.encoding.encoder import Encoder
from lvmfast.encoding.measured import Near
from lvmfast.errors import DataError
from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.progress import Progress
from lvmfast.leaks.results import NearestRows
from lvmfast.levels import LEVELS
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.progress import shows_progress

#: Texts that are edited, each in every way.
EDITED = 1000
#: Pairs that nothing but their vectors brings together, for a person to look at.
SHOWN = 5
#: The kind of duplicates that a level of texts finds, beside those of `EDITS`.
MATCHED = "equal text"


@dataclass(frozen=True)
class Calibration:
    """What was read off two sets."""

    train_rows: int
    eval_rows: int
    encoder: str | None  #: which made the vectors; None where no file says it
    weights: str | None  #: the digest of its weights
    levels: Sequence[str]  #: at which a row that matches is not unrelated
    unrelated: Cosines  #: (n,) the nearest cosine of evaluation rows that match at none of them, ascending
    duplicates: Mapping[str, Cosines]  #: by kind, cosines of texts known to say the same, ascending
    closest: Sequence[
        tuple[float, str | None, str | None]
    ]  #: unrelated: cosine, training and evaluation text
    suggestions: Mapping[Near, Suggestion]


@shows_progress
@begins_again()
def threshold(
    train: Given,
    eval: Given,
    *,
    encoder: str | None = None,
    train_payload: Given | Payload | None = None,
    eval_payload: Given | Payload | None = None,
    columns: ColumnsOfSides | None = None,
    seed: int = 0,
    threads: int = 0,
    memory_limit: int | None = None,
    progress: Progress | bool = False,
    announce: Announce = say_nothing,
) -> Calibration:
    """Suggests from which cosine on two texts are the same, and from which on one says what the other does.

    Unrelated are evaluation rows that match no training row at any level of texts; each stands for itself
    with the cosine of its nearest training row. Known duplicates are rows that match at text and, with an
    encoder, up to 1,000 texts of `eval` that are edited on purpose (`edits.EDITS`). The rule is that of
    `suggest`.

    Args:
        train: as for `leakscan`; not a fingerprint.
        eval: the same.
        encoder: makes vectors of texts that have none, and of edited ones.
        train_payload: texts for `train`.
        eval_payload: texts for `eval`.
        columns: as for `leakscan`.
        seed: of the edits.
        threads: 0 for one per available core.
        memory_limit: bytes, as for `leakscan`.
        progress: True shows how far it is; or what is called as (phase, rows done, rows in all or None).
        announce: told what was embedded.

    Raises:
        DataError: as `leakscan`; a side has no vectors; or too few rows are unrelated.
    """
    assert callable(progress)
    given: Mapping[Side, tuple[Any, Any]] = {"train": (train, train_payload), "eval": (eval, eval_payload)}
    datasets = {side: _opened(side, *given[side], columns) for side in SIDES}
    model = None if encoder is None else Encoder(encoder)
    if model is not None:
        datasets = encoded_sides(datasets, model, progress, announce)
    nearest_level = next(name for name, level in LEVELS.items() if level.nearest)
    for side, dataset in datasets.items():
        lacking = set(LEVELS[nearest_level].needs) - dataset.columns
        if lacking:
            raise DataError(
                f"{side}: no {' and no '.join(sorted(lacking))}; --encoder MODEL makes them of texts"
            )
    columns_there = datasets["train"].columns & datasets["eval"].columns
    of_texts = [n for n, level in LEVELS.items() if level.needs == ("text",) and "text" in columns_there]
    report = leakscan(
        datasets["train"],
        datasets["eval"],
        levels=[*of_texts, nearest_level],
        threshold=1.0,
        nearest=True,
        threads=threads,
        memory_limit=memory_limit,
        progress=progress,
    )
    nearest = report.levels[nearest_level].nearest
    assert nearest is not None
    matched = {level: report.levels[level].sides["eval"].matched_rows for level in of_texts}
    related = np.isin(nearest.eval_row, np.concatenate([np.empty(0, np.int64), *matched.values()]))
    duplicates: dict[str, Cosines] = {}
    keyed = [rows for level, rows in matched.items() if LEVELS[level].keys is not None]
    if keyed and len(rows := np.concatenate(keyed)):
        duplicates[MATCHED] = np.sort(nearest.cosine[np.isin(nearest.eval_row, rows)])
    alone = NearestRows(nearest.eval_row[~related], nearest.cosine[~related], nearest.train_row[~related])
    if model is not None:
        duplicates |= _edited(_texts(datasets["eval"], _spread(alone.eval_row)), model, seed)
    stated = next((file for d in datasets.values() for file in d.provenance.values()), {})
    return Calibration(
        _checked(report, nearest_level, "train"),
        _checked(report, nearest_level, "eval"),
        stated.get("embedder_id"),
        stated.get("weights"),
        of_texts,
        np.sort(alone.cosine),
        duplicates,
        _closest(datasets, alone),
        suggest(alone.cosine, duplicates),
    )


def _opened(side: Side, source: Any, payload: Any, columns: ColumnsOfSides | None) -> Dataset:
    named = columns_of(columns, side)
    texts = None if payload is None else load_payload(payload, columns=named)
    return load_split(source, columns=named, payload=texts, lenient=True, items=side == "eval")


def _checked(report: LeakReport, level: str, side: Side) -> int:
    return report.levels[level].sides[side].checked


def _spread(rows: Any) -> Any:
    """At most `EDITED` of the rows, evenly."""
    if len(rows) <= EDITED:
        return rows
    return rows[np.linspace(0, len(rows) - 1, EDITED).astype(np.int64)]


def _texts(dataset: Dataset, rows: Any) -> list[str]:
    if "text" not in dataset.columns:
        return []
    texts = dataset.take(rows, ("text",))["text"].to_pylist()
    return [text for text in texts if text and not text.isspace()]


def _edited(texts: Sequence[str], encoder: Encoder, seed: int) -> dict[str, Cosines]:
    """By edit, the cosine of each text and its edited copy, ascending."""
    if not texts:
        return {}
    vectors = dict(zip(texts, encoder.encode(texts), strict=True))
    found = {}
    for edit in EDITS:
        pairs = edited(texts, edit, seed)
        if pairs:
            copies = encoder.encode([copy for _, copy in pairs]).astype(np.float64)
            originals = np.stack([vectors[text] for text, _ in pairs]).astype(np.float64)
            found[edit] = np.sort(np.einsum("nd,nd->n", copies, originals))
    return found


def _closest(
    datasets: Mapping[Side, Dataset], alone: NearestRows
) -> list[tuple[float, str | None, str | None]]:
    """The unrelated pairs with the highest cosines, and their texts where there are any."""
    best = np.argsort(-alone.cosine, kind="stable")[:SHOWN]
    texts: dict[Side, dict[int, str | None]] = {}
    rows_of: Mapping[Side, Any] = {"train": alone.train_row[best], "eval": alone.eval_row[best]}
    for side, rows in rows_of.items():
        if "text" in datasets[side].columns:
            table = datasets[side].take(np.unique(rows), ("text",))
            texts[side] = dict(zip(table["row"].to_pylist(), table["text"].to_pylist(), strict=True))
    return [
        (
            float(alone.cosine[place]),
            texts.get("train", {}).get(int(alone.train_row[place])),
            texts.get("eval", {}).get(int(alone.eval_row[place])),
        )
        for place in best
    ]
