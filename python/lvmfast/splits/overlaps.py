"""Documents that belong together because a held-out text stands inside a text that is trained on.

What matches at the level overlap hangs on the whole evaluation side, which is not known before the lots are
drawn: so a division is looked at, what matches across it is joined, and another one is made.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus import Dataset
from lvmfast.corpus.keys import text_bytes
from lvmfast.leaks import memory
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress, read
from lvmfast.leaks.tally import NO_ROWS, Rows
from lvmfast.levels.overlap import index_bytes, leaks
from lvmfast.splits.components import Components


def join_overlaps(
    components: Components,
    split: Dataset,
    document: Rows,
    trained: npt.NDArray[np.bool_],
    held_out: npt.NDArray[np.bool_],
    options: ScanOptions,
    progress: Progress,
) -> bool:
    """Joins documents of which one has a text that stands in a text of the other; whether there are any.

    Args:
        components: of documents.
        split: n rows.
        document: (n,) the document of each row.
        trained: (n,) the rows that would be trained on.
        held_out: (n,) the rows that would be held out.
        options: of the scan that the sides must pass.
        progress: as for a scan.

    Raises:
        DataError: the memory limit is too low, or a file is broken.
    """
    if "text" not in split.columns:
        return False
    need = int(index_bytes(split, options).all * held_out.mean())
    memory.check(memory.working_bytes(options) + need, options)
    index = _core.OverlapIndex()
    items = [NO_ROWS]
    for rows, texts in _texts(split, held_out, options, progress, "index held out"):
        index.add(*text_bytes(texts), options.threads)
        items.append(rows)
    index.close(options.threads)
    item, same_as, joined = np.concatenate(items), index.same_as(), False
    for rows, texts in _texts(split, trained, options, progress, "scan train"):
        pairs = index.scan(*text_bytes(texts), options.threads)
        found = leaks(pairs, options)
        if found.any():
            joined = True
            components.join(document[rows[pairs.document[found]]], document[item[pairs.item[found]]])
    if joined:  # equal items match what the first of them matches
        components.join(document[item], document[item[same_as]])
    return joined


def _texts(
    split: Dataset, wanted: npt.NDArray[np.bool_], options: ScanOptions, progress: Progress, phase: str
) -> Iterator[tuple[Rows, pa.Array]]:
    """The rows that are `wanted` and have a text, with their texts."""
    for batch in read(split, ("text",), phase, options, progress):
        if batch.text is None:
            continue
        there = wanted[batch.start : batch.start + batch.rows] & batch.text.is_valid().to_numpy(
            zero_copy_only=False
        )
        rows = np.flatnonzero(there)
        yield batch.start + rows, batch.text.take(pa.array(rows))
