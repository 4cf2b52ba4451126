"""The files of an evaluation: all of them, or none."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lvmfast.durable import staged_folder
from lvmfast.errors import DataError, naming
from lvmfast.evals.evaluation import Evaluation
from lvmfast.report.eval_page import EVAL_PAGE, draw_evaluation

METRICS_FILE = "metrics.json"
DETAILS_FILE = "evaluation.json"
STATED = (METRICS_FILE, DETAILS_FILE)
HITS_FILE = "hits.parquet"
DOCUMENTS_FILE = "documents.parquet"


def check_place(out: str | PathLike[str]) -> Path:
    """Makes sure that `out` can be made, before hours of work depend on it.

    Raises:
        DataError: it holds something already, or cannot be made.
    """
    place = Path(out)
    with naming(place, "cannot write there"):
        if place.is_dir() and any(place.iterdir()):
            raise DataError(f"{place}: not empty: expected a new or an empty folder")
        if place.exists() and not place.is_dir():
            raise DataError(f"{place}: a file: expected a new or an empty folder")
        place.parent.mkdir(parents=True, exist_ok=True)
        with staged_folder(place):
            pass
    return place


def write_evaluation(out: str | PathLike[str], evaluation: Evaluation) -> None:
    """Writes the files of docs/output.md into `out`, which appears whole or not at all.

    Raises:
        DataError: it holds something already, cannot be written, or the disk is full.
    """
    place = check_place(out)
    with naming(place, "cannot write the evaluation"), staged_folder(place) as stage:
        _dump(stage.folder / METRICS_FILE, evaluation.records)
        _dump(stage.folder / DETAILS_FILE, evaluation.details)
        for name, table in ((HITS_FILE, evaluation.hits), (DOCUMENTS_FILE, evaluation.documents)):
            pq.write_table(table, stage.folder / name, compression="zstd")
        # Drawn from the texts and not from `evaluation`, as a program would read them.
        page = draw_evaluation(*(json.loads((stage.folder / name).read_text("utf-8")) for name in STATED))
        (stage.folder / EVAL_PAGE).write_text(page, "utf-8")
        stage.publish()


def _dump(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, "utf-8")
