"""`fingerprint`: a training set that cannot be shared becomes a file that can be checked against."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

from lvmfast import _core
from lvmfast.corpus import Dataset, Payload, load_payload, load_split
from lvmfast.corpus.codecs import FINGERPRINT
from lvmfast.corpus.dataset import SplitFile
from lvmfast.corpus.fingerprint import (
    KEYED,
    Fingerprint,
    open_fingerprint,
)
from lvmfast.corpus.keys import text_bytes
from lvmfast.corpus.load import Given
from lvmfast.corpus.looks import LackingError, begins_again
from lvmfast.corpus.lvfp import pack, unpack
from lvmfast.durable import write_bytes
from lvmfast.engines.cluster import on_ray
from lvmfast.errors import DataError, naming
from lvmfast.leaks import memory
from lvmfast.leaks.options import DEFAULT_MIN_CHARS, Normalization, ScanOptions
from lvmfast.leaks.progress import Progress, read
from lvmfast.report.progress import shows_progress
from lvmfast.splits.directions import fitted_directions
from lvmfast.splits.kept import Keeping, Kept
from lvmfast.splits.ray_fingerprint import cuts_from_cluster
from lvmfast.stores import holds

#: Bits of the filter for each run of tokens, of which false positives are about 1 in 1,000.
GRAM_BITS = 16
#: Files whose first rows tell how many runs a row has.
SAMPLED_FILES = 16
#: Times that the filter is held while it is written: itself, and packed.
FILTERS_HELD = 3


@shows_progress
@holds("out", parents=False)
@begins_again(unless=lambda asked: asked.get("engine", "local") != "local")
def fingerprint(
    train: Given,
    out: str | PathLike[str],
    *,
    payload: Given | Payload | None = None,
    columns: Mapping[str, str] | None = None,
    normalize: Normalization = "default",
    min_chars: int = DEFAULT_MIN_CHARS,
    overlap: bool = False,
    threads: int = 0,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    progress: Progress | bool = False,
) -> Fingerprint:
    """Writes what is needed to scan against `train` later, without a text or a whole vector of it.

    docs/fingerprint.md says what the file holds and what it reveals.

    Args:
        train: as for `leakscan`.
        out: the ``.lvfp`` file to write, whole or not at all; nothing may stand there.
        payload: texts by (doc_id, chunk_id), as for `leakscan`.
        columns: column -> field, where a field has an unusual name.
        normalize: how texts are made comparable; a scan against the fingerprint has to ask for the same.
        min_chars: texts with fewer characters after normalisation are unchecked; likewise.
        overlap: whether to keep a filter of all runs of five tokens: it proves of an evaluation text that it
            stands inside none of the texts, or cannot. Much of them can be rebuilt from it.
        threads: 0 for one per available core.
        engine: where the files are read: in this process, or by the workers of a Ray cluster, who must see
            them by the same paths or URIs, and which join no payload. The file is the same.
        ray_address: of the cluster, as ``ray.init`` takes it (``auto``, ``host:port``); None for one of this
            machine that ends with the work.
        progress: True shows how far it is; or what is called as (phase, rows done, rows in all or None).

    Returns:
        The fingerprint, read back from the file; `identity` is what to keep beside a model.

    Raises:
        DataError: bad input, an `out` that exists or cannot be written, or a file that changed meanwhile.

    Examples:
        >>> import lvmfast
        >>> made = lvmfast.fingerprint(["a text of the training set", "another"], "train.lvfp")
        >>> lvmfast.leakscan("train.lvfp", ["A text of the training set"], levels=["text"])
        <LeakReport LEAK: text=1/1>
    """
    assert callable(progress)
    path = Path(out)
    _check_place(path)
    on_cluster = on_ray(engine, ray_address)
    if on_cluster and payload is not None:
        raise DataError("payload: the engine ray joins no texts to the files that its workers read")
    options = ScanOptions(normalize=normalize, min_chars=min_chars, threads=threads)
    texts = None if payload is None else load_payload(payload, columns=columns)
    dataset = load_split(train, columns=columns, payload=texts, lenient=True)
    dataset.require_rows("is a fingerprint already")
    for column in KEYED:
        if column in dataset.unreadable:
            raise DataError(f"{dataset.unreadable[column]}: a fingerprint would be blind to it")
    present = [column for column in KEYED if column in dataset.columns]
    if not present or dataset.rows == 0:
        names = ", ".join(file.name for file in dataset.files[:3])
        raise LackingError(f"{names}: expected rows with {', '.join(KEYED)}, or some of them; there are none")
    stamps = _stamps(dataset, () if texts is None else texts.files)
    if overlap and "text" not in present:
        raise LackingError(f"overlap: {dataset.files[0].name}: no text")
    directions = None
    if "vector" in present:
        progress("sample", 0, None)
        directions = fitted_directions(dataset)
    keeping = Keeping(present, directions, _blocks(dataset, options) if overlap else 0)
    kept = Kept(keeping, options)
    if on_cluster:
        for cut in cuts_from_cluster(ray_address, dataset, keeping, options, progress):
            kept.fold(cut)
    else:
        for batch in read(dataset, present, "fingerprint", options, progress):
            kept.add(batch)
    content, arrays = kept.content(dataset, options), kept.arrays()
    if content["rows"] == 0:
        raise DataError(f"{dataset.files[0].name}: no rows")
    if _stamps(dataset, () if texts is None else texts.files) != stamps:
        raise DataError(f"{dataset.files[0].name}: this or another file changed while it was read")
    with naming(path, "cannot write the fingerprint"):
        write_bytes(path, pack(content, arrays))
    return open_fingerprint(str(path))


def fingerprint_identity(path: str | PathLike[str]) -> str:
    """The BLAKE3 of a fingerprint in hexadecimal, after the file was checked against it.

    Raises:
        DataError: the file is no fingerprint, is truncated or was altered.

    Examples:
        >>> import lvmfast
        >>> made = lvmfast.fingerprint(["a text of the training set"], "train.lvfp")
        >>> lvmfast.fingerprint_identity("train.lvfp") == made.identity
        True
    """
    return unpack(os.fspath(path)).identity


def _blocks(dataset: Dataset, options: ScanOptions) -> int:
    """Blocks of 256 bits of a filter that has about `GRAM_BITS` for each run of tokens.

    Raises:
        DataError: there is no memory for them.
    """
    files = [file for file in dataset.files if "text" in file.fields]
    rows = runs = 0
    for file in files[:: -(-len(files) // SAMPLED_FILES)]:
        batch = next(iter(file.batches(["text"], memory.SAMPLED_ROWS)), None)
        if batch is not None and batch.text is not None:
            texts = text_bytes(batch.text.fill_null(""))
            runs += len(_core.overlap_grams(*texts, options.threads))
            rows += batch.rows
    blocks = 1 + dataset.estimated_rows() * runs * GRAM_BITS // (256 * max(1, rows))
    need, room = FILTERS_HELD * 32 * blocks, memory.available() - memory.working_bytes(options)
    if need > room:
        gib = f"{need / 2**30:.1f} GiB, over the {max(0, room) / 2**30:.1f} GiB"
        raise DataError(f"overlap: writing its filter needs about {gib} of available memory")
    return blocks


def _check_place(path: Path) -> None:
    if path.suffix != FINGERPRINT:
        raise DataError(f"{path}: expected a name that ends with {FINGERPRINT}")
    if os.path.lexists(path):
        raise DataError(f"{path}: exists already")
    if not path.parent.is_dir():
        raise DataError(f"{path}: no such folder: {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"{path}: cannot write there: {path.parent} is read-only")


def _stamps(dataset: Dataset, texts: Sequence[SplitFile]) -> dict[str, tuple[int, int] | None]:
    """Size and time of every local file, None for one that is gone."""
    stamps: dict[str, tuple[int, int] | None] = {}
    for file in (*dataset.files, *texts):
        if file.path is not None:
            try:
                status = os.stat(file.path)
                stamps[file.path] = (status.st_size, status.st_mtime_ns)
            except OSError:
                stamps[file.path] = None
    return stamps
