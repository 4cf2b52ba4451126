"""`hold_out`: which rows of a split to validate on, decided as `lvmfast split` decides it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvmfast.corpus import Dataset
from lvmfast.errors import DataError
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress
from lvmfast.splits.components import relate_documents
from lvmfast.splits.divide import TRAIN, Division, Shares, divide
from lvmfast.splits.documents import Documents, draw_lots, read_documents


@dataclass(frozen=True)
class HeldOut:
    """The documents of a split, and those that are held out."""

    documents: Documents
    division: Division

    @property
    def rows(self) -> npt.NDArray[np.bool_]:
        """(n,) whether each row is held out."""
        rows: npt.NDArray[np.bool_] = self.held[self.documents.of_row]
        return rows

    @property
    def held(self) -> npt.NDArray[np.bool_]:
        """(documents,) whether each document is."""
        held: npt.NDArray[np.bool_] = self.division.part != TRAIN
        return held


def hold_out(dataset: Dataset, docs: float, seed: int, options: ScanOptions, progress: Progress) -> HeldOut:
    """Holds out documents, whole, with all that shares a text or a near-duplicate vector with them.

    A document in which a row holds its own answer is trained on, and so is what is joined to one.

    Args:
        dataset: with doc_id, and what else is to be compared.
        docs: documents to hold out: below 1 a share of them (at least one), else how many.
        seed: of the lots.
        options: threshold and normalisation.
        progress: as for a scan.

    Raises:
        DataError: there are fewer than two documents, or fewer can be held out than asked for.
    """
    documents = read_documents(dataset, options, progress)
    count = len(documents.ids)
    if count < 2:
        raise DataError(
            f"{dataset.files[0].name}: {dataset.files[0].fields['doc_id']}: one document only: "
            "nothing is left to train on once it is held out for validation; --val names a file of others"
        )
    wanted = max(1, round(docs * count)) if docs < 1 else int(docs)
    found = relate_documents(dataset, documents.of_row, len(documents.rows), options, progress)
    answers = np.unique(documents.of_row[found.with_answer])
    shares = Shares(eval_docs=wanted, min_chunks_per_doc=1, seed=seed)
    try:
        division = divide(
            documents, found.components.roots(), answers, draw_lots(documents.ids, seed), shares
        )
    except DataError as error:
        said = str(error).replace("--eval-docs:", f"--val-docs {docs:g}:")
        raise DataError(f"{said}; hold out fewer, or name a validation file with --val") from error
    return HeldOut(documents, division)
