"""Training rows that matched by a stretch of their text: which are cut, and what is written of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lvmfast.corpus import Dataset
from lvmfast.corpus.expressions import expression
from lvmfast.corpus.rewriters.rows import InPieces, Stretch
from lvmfast.errors import DataError
from lvmfast.leaks.progress import Progress
from lvmfast.report.saved import SavedScan
from lvmfast.splits.cut import DROPPED, LEAST_CHARACTERS, MOST_LOOKS, MOST_PIECES, Cut, Cutter
from lvmfast.splits.ledger import Leaked
from lvmfast.splits.rewrite import check_cuttable


def check_cut(leaked: Leaked, split: Dataset, saved: SavedScan) -> None:
    """Refuses rows whose texts do not stand in their file, or cannot be cut there.

    Raises:
        DataError: there is one; its file is named.
    """
    if saved.summary["inputs"]["train"]["payload"] is not None:
        raise DataError(
            f"--cut: {saved.name} is a scan with a payload for train, whose texts are not written"
        )
    for place in np.unique(leaked.file_of(leaked.by_excerpts)).tolist():
        file = split.files[place]
        check_cuttable(file.name)
        if "text" not in file.fields:
            raise DataError(f"{file.name}: no text to cut")
        if expression(file.fields["text"]) is not None:
            raise DataError(f"--cut: {file.name}: {file.fields['text']} is made of fields, and cannot be cut")


def cut_rows(cutter: Cutter, leaked: Leaked, split: Dataset, progress: Progress) -> Mapping[int, Cut]:
    """What is left of each training row that matched by a stretch of its text alone, by row.

    Raises:
        DataError: one of them holds no item now.
    """
    rows = leaked.by_excerpts
    cuts: dict[int, Cut] = {}
    progress("cut", 0, len(rows))
    for taken in split.taken(rows, ["text"]):
        cuts.update(zip(taken["row"].to_pylist(), cutter.cut(taken["text"].to_pylist()), strict=True))
        progress("cut", len(cuts), len(rows))
    whole = next((row for row, cut in cuts.items() if not cut.removed), None)
    if whole is not None:
        (place,) = leaked.file_of(np.array([whole])).tolist()
        raise DataError(
            f"{leaked.files[place]}: row {whole - leaked.starts[place]}: it matched in the report, "
            "and holds no evaluation text now; scan again"
        )
    return cuts


def without(leaked: Leaked, cuts: Mapping[int, Cut]) -> Leaked:
    """The rows of `leaked` of which nothing is written."""
    at = leaked.at.copy()
    at[[row for row, cut in cuts.items() if cut.pieces]] = 0
    return replace(leaked, at=at)


def in_pieces(cuts: Mapping[int, Cut], leaked: Leaked, split: Dataset) -> list[InPieces]:
    """What each file is written with."""
    of_row: list[dict[int, list[Stretch]]] = [{} for _ in split.files]
    kept = [row for row, cut in cuts.items() if cut.pieces]
    for row, place in zip(kept, leaked.file_of(np.array(kept, np.int64)).tolist(), strict=True):
        of_row[place][row - int(leaked.starts[place])] = cuts[row].pieces
    found = []
    for file, of_file in zip(split.files, of_row, strict=True):
        chunk_id = file.fields.get("chunk_id")
        named = None if chunk_id == file.fields.get("doc_id") else chunk_id
        found.append(InPieces(file.fields.get("text", ""), named, of_file))
    return found


def stated_cuts(cuts: Mapping[int, Cut], margin: int) -> dict[str, Any]:
    """What a certificate says of them."""
    kept = [cut for cut in cuts.values() if cut.pieces]
    return {
        "margin": margin,
        "least_characters": LEAST_CHARACTERS,
        "most_pieces": MOST_PIECES,
        "most_looks": MOST_LOOKS,
        "rows": len(kept),
        "pieces": sum(len(cut.pieces) for cut in kept),
        "characters": sum(cut.gone for cut in kept),
        "dropped": {fate: sum(cut.fate == fate for cut in cuts.values()) for fate in DROPPED},
    }
