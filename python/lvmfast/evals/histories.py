"""The training curves of the runs that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lvmfast.errors import DataError
from lvmfast.evals.predictors import HISTORY, Predictor
from lvmfast.parse import read_json, without_nan


def histories(runs: Sequence[Predictor]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each run's history.json, by the run's name; a checkpoint without a run has none.

    Raises:
        DataError: a file is broken.
    """
    found = {}
    for run in runs:
        if run.run is None or not (place := run.run / HISTORY).is_file():
            continue
        rows = read_json(place)
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and isinstance(row.get("epoch"), int) for row in rows
        ):
            raise DataError(f"{place}: expected a list of epochs, each with its number as `epoch`")
        found[run.name] = without_nan(rows)  # a loss that overflowed is no figure
    return found
