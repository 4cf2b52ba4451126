"""`lvmfast impact`: what a leak was worth to the scores of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from os import PathLike, fspath
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast import __version__
from lvmfast.errors import DataError
from lvmfast.evals.bootstrap import RESAMPLES
from lvmfast.gains.figures import (
    LEAST,
    LEVEL,
    Mask,
    Pair,
    Sampling,
    Values,
    compare_all,
    largest_gain,
    sweep_point,
)
from lvmfast.gains.items import Items, scanned_items
from lvmfast.gains.join import NAMED, Joiner, Model, models_of
from lvmfast.gains.readers import Asked, read_scores
from lvmfast.gains.scored import Scores
from lvmfast.gains.write import write_impact
from lvmfast.parse import without_nan
from lvmfast.report.decisions import Decisions
from lvmfast.report.impact_sentences import sentence
from lvmfast.report.saved import SavedScan

SCHEMA_VERSION = 1
#: Intervals of more are the same to the last digit that is shown, and take hours.
MOST_RESAMPLES = 1_000_000
#: Coverage from which items are removed, one after the other.
THRESHOLDS = tuple(round(1 - step / 20, 2) for step in range(20))
#: Edges of bins of coverage; the last bin holds 1.
EDGES = tuple(step / 10 for step in range(11))

#: Paths of scores: one, several, or by the name that a model is to have.
Given = str | PathLike[str] | Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class Impact:
    """What `impact` found.

    Attributes:
        content: as `impact.json` (docs/impact.md).
        items: as `impact.parquet`: a row for each evaluation row of the scan.
    """

    content: dict[str, Any]
    items: pa.Table

    @property
    def sentences(self) -> list[str]:
        """What is said of each model, for people."""
        return [model["sentence"] for model in self.content["models"]]

    def save(self, directory: str | PathLike[str]) -> None:
        """Writes `impact.json`, `impact.parquet` and `impact.html` into a new or an empty folder.

        Raises:
            DataError: it holds something already, or cannot be written.
        """
        write_impact(directory, self.content, self.items)


def impact(
    report: str | PathLike[str],
    scores: Given,
    *,
    control: Given | None = None,
    eval: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    metric: str | None = None,
    decisions: str | PathLike[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Impact:
    """Joins a saved scan with scores of its items: what is the score without what leaked?

    Args:
        report: what ``lvmfast leakscan --out`` wrote.
        scores: files of scores, or folders of an evaluator's files (docs/impact.md lists the kinds). A
            mapping gives models names.
        control: scores of a model that did not see the training data of the scan.
        eval: the evaluation files, where they lie elsewhere than when they were scanned.
        metric: the score to read, where a file has several.
        decisions: of `lvmfast review`: an item that matches by boilerplate alone is none that leaked.
        resamples: samples of the bootstrap.
        seed: of the samples.

    Raises:
        DataError: a file cannot be read, no score of a file is of an item of the scan, an item has two scores
            of one model, or a score is no finite number.
    """
    if not 100 <= resamples <= MOST_RESAMPLES:
        raise DataError(f"resamples: expected from 100 to {MOST_RESAMPLES:,}, got {resamples:,}")
    if seed < 0:
        raise DataError(f"seed: expected 0 or more, got {seed}")
    sampling = Sampling(resamples, seed)
    scan = SavedScan.open(report)
    items = scanned_items(
        scan,
        [eval] if isinstance(eval, (str, PathLike)) else list(eval),
        None if decisions is None else Decisions.read(decisions),
    )
    asked, joiner = Asked(metric, items.expressions), Joiner(items)
    models, notes = models_of(items, [joiner.join(each) for each in _read(scores, asked)])
    controls, of_controls = models_of(items, [joiner.join(each) for each in _read(control or (), asked)])
    if len(controls) > 1:
        names = ", ".join(model.name for model in controls)
        raise DataError(f"control: expected the scores of one model, got those of {names}")
    if controls and controls[0].name in {model.name for model in models}:
        raise DataError(f"control: {controls[0].name} is one of the models; NAME=PATH gives one another name")
    notes = [*items.notes, *notes, *of_controls]
    notes += [note for model in (*models, *controls) for file in model.files for note in file.scores.notes]
    told = [_told(items, model, None if not controls else controls[0], sampling) for model in models]
    told += [_told(items, model, None, sampling, is_control=True) for model in controls]
    content = {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "report": fspath(report),
        "verdict": scan.summary["verdict"],
        "scan_sentence": scan.summary.get("sentence"),
        "items": {
            "all": len(items),
            "leaked": int(items.leaked.sum()),
            "undecided": int(items.undecided.sum()),
            "set_aside": int(items.set_aside.sum()),
            "levels": {level: int(mask.sum()) for level, mask in items.levels.items()},
            "files": list(items.files),
        },
        "review": None if items.review is None else items.review.to_dict(),
        "options": {
            "metric": metric,
            "resamples": resamples,
            "seed": seed,
            "level": LEVEL,
            "least": LEAST,
            "control": controls[0].name if controls else None,
        },
        "models": told,
        "notes": list(dict.fromkeys(notes)),
    }
    return Impact(without_nan(_lists(content)), _table(items, [*models, *controls]))


def _read(given: Given, asked: Asked) -> list[Scores]:
    """The scores behind what was given; of a model with a name, under that name."""
    if isinstance(given, (str, PathLike)):
        return read_scores(fspath(given), asked)
    if not isinstance(given, Mapping):
        return [found for each in given for found in _read(each, asked)]
    found = []
    for name, paths in given.items():
        of_model = _read(paths, asked)
        there = {scores.model for scores in of_model if scores.stated}
        if name in there:  # one of several models of a file
            of_model = [scores for scores in of_model if scores.model == name]
        elif len(there) > 1:
            raise DataError(
                f"{name}: {of_model[0].path}: expected the scores of one model, or one of the models there: "
                f"{', '.join(sorted(there))}"
            )
        found += [replace(scores, model=name) for scores in of_model]
    return found


def _told(
    items: Items, model: Model, control: Model | None, sampling: Sampling, *, is_control: bool = False
) -> dict[str, Any]:
    """Everything that is said of a model."""
    known = np.isfinite(model.values) & ~items.undecided
    missing = np.flatnonzero(np.isnan(model.values))
    leaked, clean = items.leaked & known, ~items.leaked & known
    files = {name: known & (items.file == place) for place, name in enumerate(items.files)}
    files = {name: mask for name, mask in files.items() if mask.any()}
    bins = list(_bins(items, known))
    anywhere = items.coverage.get("coverage_anywhere", np.full(len(items), np.nan))
    measured = known & np.isfinite(anywhere)
    pairs = [
        Pair(leaked, clean),
        *(Pair(mask & known, clean) for mask in items.levels.values()),
        *(Pair(leaked & mask, clean & mask) for mask in files.values()),
        *(Pair(mask, np.zeros_like(mask)) for _, mask in bins),
        *(
            Pair(measured & (anywhere >= threshold), measured & (anywhere < threshold))
            for threshold in THRESHOLDS
        ),
    ]
    found = iter(_compared(items, model.values, pairs, known, sampling))
    told: dict[str, Any] = {
        "name": model.name,
        "control": is_control,
        "metric": model.metric,
        "percent": bool(((model.values[known] >= 0) & (model.values[known] <= 1)).all()),
        "joined": [file.to_dict() for file in model.files],
        "without_score": len(missing),
        "first_without_score": [items.name(int(item)) for item in missing[:NAMED]],
        "undecided": int((np.isfinite(model.values) & items.undecided).sum()),
        "overall": next(found),
        "levels": {level: next(found) for level in items.levels},
        "files": [{"file": name, **next(found)} for name in files],
        "strength": [{**edges, **next(found)["leaked"]} for edges, _ in bins],
        "sweep": None,
        "against_control": None,
    }
    if items.coverage:
        points = [sweep_point(threshold, next(found)) for threshold in THRESHOLDS]
        told["sweep"] = {
            "measure": "coverage_anywhere",
            "items": int(measured.sum()),
            "not_measured": int((known & ~measured).sum()),
            "points": points,
            "largest_gain_at": largest_gain(points),
        }
    if control is not None:
        both = known & np.isfinite(control.values)
        pair = Pair(items.leaked & both, ~items.leaked & both)
        (apart,) = _compared(items, model.values - control.values, [pair], both, sampling)
        told["against_control"] = {
            "control": control.name,
            "items": int(both.sum()),
            **{name: apart[name] for name in ("leaked_minus_clean", "gain", "over", "verdict")},
        }
    told["sentence"] = sentence(told, LEAST)
    return told


def _compared(
    items: Items, values: Values, pairs: Sequence[Pair], known: Mask, sampling: Sampling
) -> list[dict[str, Any]]:
    """`compare_all` of the items that have a score."""
    within = [Pair(pair.leaked[known], pair.clean[known]) for pair in pairs]
    return compare_all(values[known], within, items.clusters[known], sampling)


def _bins(items: Items, known: Mask) -> Iterator[tuple[dict[str, Any], Mask]]:
    """The tenths of each coverage that hold any item, and these."""
    for measure, coverage in items.coverage.items():
        for low, high in pairwise(EDGES):
            mask = known & (coverage >= low) & ((coverage < high) | (high == EDGES[-1]))
            if mask.any():
                yield {"measure": measure, "low": low, "high": high}, mask


def _lists(value: Any) -> Any:
    """JSON has no tuples."""
    if isinstance(value, Mapping):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, (list, tuple)) else value


def _table(items: Items, models: Sequence[Model]) -> pa.Table:
    """A row for each item: where it stands, the levels it leaked at, its coverage, and each model's score."""
    levels = [[level for level, mask in items.levels.items() if mask[item]] for item in range(len(items))]
    columns: dict[str, pa.Array] = {
        "eval_file": pa.array([items.files[file] for file in items.file], pa.string()),
        "eval_row": pa.array(items.row),
        "leaked": pa.array(items.leaked),
        "undecided": pa.array(items.undecided),
        "levels": pa.array(levels, pa.list_(pa.string())),
        **{name: pa.array(values, from_pandas=True) for name, values in items.coverage.items()},
        "cluster": pa.array(items.clusters),
    }
    scores = pa.StructArray.from_arrays(
        [pa.array(model.values, from_pandas=True) for model in models], [model.name for model in models]
    )
    return pa.table({**columns, "scores": scores})
