"""The epochs of a run, from our `history.json` or another trainer's files, and what gates ask of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lvmfast.errors import DataError
from lvmfast.parse import read_json, read_toml
from lvmfast.training.foreign import EVENTS, METRICS, TRAINER_STATE, find_history, read_rows, with_usual_names

HISTORY, CONFIG, RUN = "history.json", "config.toml", "run.json"

#: What every curve and gate reads as a number.
FIGURES = (
    *("train_loss", "train_infonce", "train_ar_cosine", "val_loss", "val_cosine", "lr", "time"),
    *("train_candidates", "train_below_chance", "train_r5", "val_infonce", "val_candidates"),
    "val_below_chance",
    *("val_r5", "val_mrr", "val_margin", "val_std", "val_pairwise_cosine", "negatives_same_document"),
)


@dataclass(frozen=True)
class History:
    """The epochs that a history file tells of."""

    path: Path
    epochs: Mapping[int, Mapping[str, Any]]  #: rows by epoch, in order
    notes: tuple[str, ...] = ()  #: what is odd about the file, a sentence each
    #: figures that several fields of the file could be, and those fields
    ambiguous: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def figures(self) -> list[str]:
        """The names of the figures that any epoch has."""
        rows = self.epochs.values()
        names = dict.fromkeys(name for row in rows for name, value in row.items() if _is_figure(value))
        return [name for name in names if name != "epoch"]

    def refuse_ambiguous(self, metrics: Iterable[str]) -> None:
        """Returns where each of `metrics` is one field of the file, or none.

        Raises:
            DataError: one could be several.
        """
        for metric in metrics:
            if names := self.ambiguous.get(metric):
                raise DataError(
                    f"{self.path}: {metric}: {' and '.join(names)} could be meant, and differ; a gate of "
                    f"your own names one (--gates FILE, metric = {names[0]!r})"
                )

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """The epochs that have a finite figure of that name, and the figures."""
        return [
            (epoch, float(row[metric]))
            for epoch, row in self.epochs.items()
            if row.get(metric) is not None and math.isfinite(row[metric])
        ]

    def baselines(self, metric: str) -> dict[str, float]:
        """The figures of the baselines, from the last epoch that has them."""
        found: dict[str, float] = {}
        for row in self.epochs.values():
            for name, figures in (row.get("baselines") or {}).items():
                if figures.get(metric) is not None and math.isfinite(figures[metric]):
                    found[name] = float(figures[metric])
        return found


@dataclass(frozen=True)
class Run:
    """What is known of a run: its history, and the folder it stands in."""

    path: Path
    folder: Path | None  #: None for a history file alone
    history: History
    config: Mapping[str, Any]  #: figures by name; empty where no config.toml is at hand
    leak_status: str | None  #: `clean`, `LEAKED`, or not known
    record: Mapping[str, Any] = field(default_factory=dict)  #: what its run.json says; empty without one

    @property
    def evidence(self) -> dict[str, Any]:
        """What `gates.judge` asks for."""
        known: dict[str, Any] = {"epochs": self.history.epochs}
        if isinstance(masked := self.config.get("mask_same_document"), bool):
            known["same_document_masked"] = masked
        return known


def read_run(path: str | Path) -> Run:
    """A run folder, of lvmfast or another trainer, or a history, which is empty before an epoch is finished.

    Which trainer wrote it is told by its files (see `foreign`).

    Raises:
        DataError: it is none of these, or a file in it is broken.
    """
    where = Path(path)
    if not where.exists():
        raise DataError(f"{where}: expected the folder of a run or a history, found nothing")
    if not where.is_dir():
        return Run(where, None, read_history(where), {}, None)
    file = where / HISTORY
    if not any((where / name).exists() for name in (HISTORY, CONFIG, RUN)):
        other = find_history(where)
        if other is None:
            raise DataError(
                f"{where}: not the folder of a run: no {HISTORY}, {CONFIG} or {RUN} in it, and no "
                f"{TRAINER_STATE}, {METRICS} or {EVENTS}* of another trainer"
            )
        history = read_history(other[0])
        return Run(where, None, replace(history, notes=(*other[1], *history.notes)), {}, None)
    history = read_history(file) if file.exists() else History(file, {})
    record = read_json(where / RUN) if (where / RUN).exists() else {}
    if not isinstance(record, dict):
        raise DataError(f"{where / RUN}: expected a JSON object, got {type(record).__name__}")
    status = record.get("leak_status")
    known = status if isinstance(status, str) else None
    return Run(where, where, history, _config(where / CONFIG), known, record)


def _config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    tables = read_toml(path)
    return {
        key: value for table in tables.values() if isinstance(table, dict) for key, value in table.items()
    }


def read_history(path: str | Path) -> History:
    """Reads a list of epochs, each an object with `epoch`, or what another trainer wrote of them.

    A figure also stands under its usual name (``val_loss`` for ``eval_loss``). Epochs out of order are
    sorted, and rows that all lack `epoch` are counted from 1; both are noted, as are gaps, repeated rows and
    figures that are no finite numbers.

    Raises:
        DataError: no JSON, no list, a row that is no object, a figure that is no number, or two different
            rows of one epoch.
    """
    where = Path(path)
    read = read_rows(where)
    rows, notes = read.rows, list(read.notes)
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{where}: row {place}: expected an object, got {_kind(row)}")
        _check_baselines(f"{where}: row {place}", row.get("baselines"))
    if rows and not any("epoch" in row for row in rows):
        rows = [{"epoch": place, **row} for place, row in enumerate(rows, 1)]
        notes.append("its rows name no epoch, so they are counted from 1")
    rows, ambiguous = with_usual_names(rows)
    notes += [f"{name}: {' and '.join(of)} differ, so none is taken for it" for name, of in ambiguous.items()]
    epochs: dict[int, Mapping[str, Any]] = {}
    for place, row in enumerate(rows):
        _check_figures(f"{where}: row {place}", row)
        epoch = _epoch(f"{where}: row {place}", row)
        if epoch in epochs and not _equal(epochs[epoch], row):
            raise DataError(f"{where}: epoch {epoch}: two rows that differ; expected one, of one run")
        if epoch in epochs:
            notes.append(f"epoch {epoch} occurs twice")
        epochs[epoch] = row
    return History(where, dict(sorted(epochs.items())), (*notes, *_notes(epochs)), ambiguous)


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _notes(epochs: Mapping[int, Mapping[str, Any]]) -> list[str]:
    notes = []
    if list(epochs) != sorted(epochs):
        notes.append("its epochs are out of order, and were sorted")
    if epochs and min(epochs) == 0:
        notes.append("it counts epochs from 0, so its epoch 2 is the third")
    if gaps := [
        n for n in range(min(epochs, default=0), min(max(epochs, default=0), 10_000)) if n not in epochs
    ]:
        named = ", ".join(map(str, gaps[:5])) + (" and more" if gaps[5:] else "")
        notes.append(f"epochs are missing: {named}")
    for epoch, row in sorted(epochs.items()):
        odd = [name for name in FIGURES if row.get(name) is not None and not math.isfinite(row[name])]
        if odd:
            notes.append(f"epoch {epoch}: {', '.join(odd)}: not finite")
    return notes


def _epoch(where: str, row: Mapping[str, Any]) -> int:
    epoch = row.get("epoch")
    whole = isinstance(epoch, int) or (isinstance(epoch, float) and epoch.is_integer())
    if not whole or isinstance(epoch, bool) or epoch is None or epoch < 0:
        found = "none" if "epoch" not in row else repr(epoch)
        raise DataError(f"{where}: epoch: expected a whole number from 0, got {found}")
    return int(epoch)


def _check_figures(where: str, figures: Mapping[str, Any]) -> None:
    for name in FIGURES:
        value = figures.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise DataError(f"{where}: {name}: expected a number, got {_kind(value)}")


def _check_baselines(where: str, baselines: Any) -> None:
    if baselines is None:
        return
    if not isinstance(baselines, dict):
        raise DataError(f"{where}: baselines: expected an object, got {_kind(baselines)}")
    for name, figures in baselines.items():
        if not isinstance(figures, dict):
            raise DataError(f"{where}: baselines.{name}: expected an object, got {_kind(figures)}")
        _check_figures(f"{where}: baselines.{name}", figures)


def _equal(left: Any, right: Any) -> bool:
    return repr(left) == repr(right)  # so that NaN equals NaN


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), repr(value))
