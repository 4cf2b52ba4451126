"""What the folder of a training run says by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvmfast.errors import DataError
from lvmfast.evals.claim import HISTORY_FILE, LEAKED, RUN_FILE, Claim, Standing
from lvmfast.models.checkpoint import BEST
from lvmfast.parse import read_json


def of_history(folder: Path) -> list[Claim]:
    """The claims of a run's own folder.

    Raises:
        DataError: a file in it is broken.
    """
    file = folder / HISTORY_FILE
    rows = read_json(file)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{file}: expected a list of epochs")
    untrained = _untrained_best(folder)
    return [*untrained, _early(folder, file, rows, bool(untrained))]


def _early(folder: Path, file: Path, rows: Sequence[Mapping[str, Any]], untrained: bool) -> Claim:
    epochs = {row["epoch"]: row["val_cosine"] for row in rows if _has_cosine(row)}
    if 1 not in epochs or 2 not in epochs:
        why = "epochs 1 and 2 are not both in the history"
        return Claim("pending", f"{folder.name}: training improves by epoch 2", why, (str(file),))
    change = f"val_cosine {epochs[1]:.3f} to {epochs[2]:.3f}"
    better = epochs[2] > epochs[1] and not untrained
    status = _status_of(folder)
    why = f"{change}, on the same validation data"
    if untrained:
        why += "; its best epoch is 0, the model before training"
    if status == LEAKED:
        why += "; that data was seen in training, so the figure itself counts for nothing"
    standing: Standing = "valid" if better else "invalid"
    return Claim(standing, f"{folder.name}: training improves by epoch 2", why, (str(file),))


def _untrained_best(folder: Path) -> list[Claim]:
    """What a run says whose best epoch is the one before training."""
    file = folder / BEST
    best = read_json(file) if file.is_file() else {}
    if not isinstance(best, dict):
        raise DataError(f"{file}: expected a JSON object, got {type(best).__name__}")
    if best.get("epoch") != 0:
        return []
    by = best.get("by", "figure by which epochs are compared")
    why = f"no epoch is shown to have a better {by} than the model had before training"
    return [Claim("invalid", f"{folder.name} learned something from its training", why, (str(file),))]


def _has_cosine(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("epoch"), int) and isinstance(row.get("val_cosine"), (int, float))


def _status_of(folder: Path) -> Any:
    run = folder / RUN_FILE
    stated = read_json(run) if run.is_file() else {}
    return stated.get("leak_status") if isinstance(stated, dict) else None
