"""The scan against a fingerprint: keys of the training rows are known, their texts and vectors are not."""

from __future__ import annotations

from collections.abc import Mapping

from lvmfast import _core
from lvmfast.corpus.dataset import Column, Dataset
from lvmfast.corpus.fingerprint import Fingerprint
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.findings import Findings, Lacking
from lvmfast.leaks.options import ScanOptions
from lvmfast.levels import LEVELS
from lvmfast.scan import estimates
from lvmfast.scan.checkable import checkable
from lvmfast.scan.context import ScanContext
from lvmfast.scan.judged import judged_findings
from lvmfast.scan.running import Comparison, RunningLevels, side_info

#: What a fingerprint has for columns; the keys of vectors and their sketches are held whole.
KEPT: tuple[Column, ...] = ("doc_id", "chunk_id", "text")


def scan_fingerprint(train: Fingerprint, eval: Dataset, context: ScanContext) -> Findings:
    """Compares every row of `eval` with what a fingerprint keeps of every row of `train`.

    doc, chunk and text are what a scan of the training set itself would find (texts by their 128-bit hashes).
    At vector equal rows match, and every other row is proven to have no match or is undecided; so is every
    row at overlap, where the fingerprint has a filter for it.

    Raises:
        DataError: as `run.scan`, and when the fingerprint's texts are normalised in another way.
    """
    options = context.options
    _check_texts(train, options)
    lacking = {name: why for name, level in LEVELS.items() if (why := level.not_in_fingerprint(train))}
    for name in [name for name in lacking if name in (options.levels or ())]:
        raise DataError(f"level {name}: {train.path}: {lacking[name]}")
    levels, missing = checkable(train, eval, options)
    for name in [name for name in lacking if name in (*missing, *levels)]:
        missing[name] = Lacking(f"{lacking[name]} ({train.path})", lacking[name])
    levels = tuple(level for level in levels if level not in missing)
    sides: Mapping[Side, Dataset] = {"train": train, "eval": eval}
    counted = [n for n in levels if (keys := LEVELS[n].keys) is not None and not keys.texts]
    need = estimates.index_bytes(counted, train, eval, options)
    need += estimates.own_bytes(levels, eval, options).all
    memory.check(memory.working_bytes(options) + need + 4 * train.size, options)
    running = RunningLevels(Comparison.of(sides, levels, options), fingerprint=train)
    with context.clock.phase("index"):
        columns = [column for column in running.comparison.columns("train") if column in KEPT]
        for batch in context.read(train, columns, "index train"):
            running.take("train", batch)
        running.close_index()
    with context.clock.phase("scan"):
        for batch in context.read(eval, running.comparison.columns("eval"), "scan eval"):
            running.take("eval", batch)
    with context.clock.phase("count"):
        found = running.findings()
    info = {side: side_info(sides[side], running.seen[side]) for side in SIDES}
    return judged_findings(Findings(found, info), missing, options)


def _check_texts(train: Fingerprint, options: ScanOptions) -> None:
    texts = train.texts
    by_texts = [name for name in options.levels or LEVELS if (keys := LEVELS[name].keys) and keys.texts]
    if texts is None or "text" not in train.columns or not by_texts:
        return
    made, asked = (texts.normalize, texts.min_chars), (options.normalize, options.min_chars)
    if made != asked:
        raise DataError(
            f"{train.path}: its texts were hashed with normalize {made[0]} and min_chars {made[1]}, "
            f"the scan asks for {asked[0]} and {asked[1]}"
        )
    if texts.unicode != _core.unicode_version():
        raise DataError(
            f"{train.path}: its texts were lower-cased by Unicode {texts.unicode}, this lvmfast has "
            f"{_core.unicode_version()}; leave out {' and '.join(by_texts)}, or make the fingerprint anew"
        )
