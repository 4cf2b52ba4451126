"""The files of `lvmfast impact`: all of them, or none."""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

import pyarrow as pa

from lvmfast.durable import staged_folder
from lvmfast.errors import naming
from lvmfast.evals.claim import IMPACT_FILE
from lvmfast.evals.write import check_place
from lvmfast.report.impact_page import IMPACT_PAGE, draw_impact

ITEMS_FILE = "impact.parquet"


def write_impact(directory: str | PathLike[str], content: dict[str, Any], items: pa.Table) -> None:
    """Writes the files of docs/impact.md into `directory`, which appears whole or not at all.

    Raises:
        DataError: it holds something already, cannot be written, or the disk is full.
    """
    import pyarrow.parquet as pq

    place = check_place(directory)
    with naming(place, "cannot write the impact"), staged_folder(place) as stage:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (stage.folder / IMPACT_FILE).write_text(text, "utf-8")
        # Drawn from the text and not from `content`, as a program would read it.
        (stage.folder / IMPACT_PAGE).write_text(draw_impact(json.loads(text)), "utf-8")
        pq.write_table(items, stage.folder / ITEMS_FILE, compression="zstd")
        stage.publish()
