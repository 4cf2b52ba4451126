"""`embed`: the texts of anything that the readers open become a file of vectors that every scan reads."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus import Payload, load_payload, load_split
from lvmfast.corpus.columns import CUSTOMARY
from lvmfast.corpus.dataset import Column, Dataset
from lvmfast.corpus.load import Given
from lvmfast.corpus.looks import begins_again
from lvmfast.corpus.writing import Blocks, write_npz
from lvmfast.encoding.encoder import Encoder
from lvmfast.encoding.parts import embed_texts
from lvmfast.encoding.ray import device_here, embedder_of
from lvmfast.errors import DataError
from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.progress import Progress
from lvmfast.report.progress import shows_progress
from lvmfast.report.record import Inputs, OpenSplit
from lvmfast.stores import holds

#: Of more source files than this the provenance has one digest instead of a line each.
LISTED_SOURCES = 1000
_IDS: tuple[Column, ...] = ("doc_id", "chunk_id")
_READ_ROWS = 65_536


@dataclass
class EmbeddedTexts:
    """What `embed` wrote."""

    out: Path
    rows: int
    dim: int
    window: int | None  #: tokens that the encoder reads of a text
    texts: dict[str, str]  #: what the text of a row was made of, by file
    resumed: int = 0  #: rows whose vectors an earlier call had left
    empty: int = 0  #: rows without a text, whose vectors are zeros
    truncated: int = 0  #: texts longer than the encoder reads
    device: str = ""  #: what made the vectors; empty where an earlier call had made all
    notes: list[str] = field(default_factory=list)  #: what else became of the rows


@shows_progress
@holds("out")
@begins_again()
def embed(
    data: Given,
    out: str | os.PathLike[str],
    *,
    encoder: str | Encoder,
    items: bool = False,
    payload: Given | Payload | None = None,
    columns: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    device: str | None = None,
    bf16: bool = False,
    batch_size: int = 64,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    progress: Progress | bool = False,
    announce: Announce = say_nothing,
) -> EmbeddedTexts:
    """Writes the vectors of the texts of `data`, row by row, and the ids where it has any.

    Until the file is whole, vectors stand in a hidden folder beside `out`: a call that was cut off goes on
    where it was when it is made again, and keeps what is of the same texts and the same encoder.

    Args:
        data: anything that `leakscan` takes as a side.
        out: the ``.npz`` file to write: ``embeddings`` (n, d) float32 of unit length, ``doc_id`` and
            ``chunk_id`` (n,) where there are any, and ``provenance``: the encoder and its weights, what the
            text of a row is, and digests of the files. A row without a text has a vector of zeros, which a
            scan counts as unchecked.
        encoder: a sentence-transformers folder or its name on the model hub, or an `Encoder`.
        items: the rows are evaluation items, as `leakscan` reads them: their text is what is asked.
        payload: texts by (doc_id, chunk_id), as `leakscan` takes them.
        columns: field names by column, such as ``{"text": "messages[*].content"}``.
        ignore: globs of what folders and globs hold that is not to be read.
        device: where the encoder runs; a GPU where there is one.
        bf16: run it in bfloat16.
        batch_size: texts that it takes at once.
        engine: local, or ray for the workers of a cluster, who must have the encoder under the same name.
        ray_address: of the cluster, as ``ray.init`` takes it.
        progress: True shows how far it is; or what is called as ("embeddings", rows done, rows in all or
            None).
        announce: told in a line what the text of a row is.

    Raises:
        DataError: bad input, no such encoder, no text in any row, or files that are quarantined
            or changed meanwhile.
    """
    assert callable(progress)
    place = Path(out)
    if place.suffix != ".npz":
        raise DataError(f"{place}: vectors are written to a .npz file; give a name that ends so")
    embedder = embedder_of(engine, ray_address, device)
    texts = None
    if payload is not None:
        texts = load_payload(payload, columns=columns, ignore=ignore)
    dataset = load_split(
        data,
        columns=columns,
        payload=texts,
        lenient=True,
        ignore=ignore,
        items=items,
    )
    of_texts = texts_of(dataset)
    if (named := dict.fromkeys(of_texts.values())).keys() - CUSTOMARY:
        announce(f"the text of a row is {', '.join(named)}")
    inputs = Inputs({"train": OpenSplit(dataset, texts)}, 0)
    if isinstance(encoder, str):
        encoder = Encoder(encoder, device=device_here(engine, device), bf16=bf16, batch_size=batch_size)
    parts = place.with_name(f".{place.name}.parts")
    made = embed_texts(dataset, encoder, parts, embed=embedder, progress=progress)
    if made.empty == made.rows:
        shutil.rmtree(parts, ignore_errors=True)
        raise DataError(f"{dataset.files[0].name}: no row has a text to embed")
    inputs.check_unchanged()
    done = EmbeddedTexts(
        place,
        made.rows,
        made.dim,
        encoder.window,
        of_texts,
        made.resumed,
        made.empty,
        made.truncated,
        made.device,
    )
    arrays: dict[str, npt.NDArray[Any] | Blocks] = {}
    for column in _IDS:
        if column in dataset.columns:
            ids = _ids(dataset, column, made.rows)
            if isinstance(ids, Blocks):
                arrays[column] = ids
            else:
                done.notes.append(f"{column}: left out, as {ids:,} rows have none and npz has no nulls")
    arrays["embeddings"] = Blocks((made.rows, made.dim), made.vectors())
    write_npz(place, arrays, {**encoder.provenance, **_sources(inputs), "items": items})
    shutil.rmtree(parts)
    return done


def texts_of(dataset: Dataset) -> dict[str, str]:
    """What the text of a row is made of, by file.

    Raises:
        DataError: no file has a text.
    """
    found = {file.name: file.fields["text"] for file in dataset.files if "text" in file.fields}
    if "text" not in dataset.columns or not found:
        name = dataset.files[0].name if dataset.files else "no file"
        why = dataset.unreadable.get("text", f"{name}: no field is known to be the text")
        raise DataError(f"{why}; say which it is: --column text=FIELD (in Python columns={{'text': ...}})")
    return found


def _ids(dataset: Dataset, column: Column, rows: int) -> Blocks | int:
    """The ids of all rows, to be read when they are written; how many rows have none, if there are such."""
    nulls, longest, whole = 0, 1, True
    for batch in dataset.batches((column,), _READ_ROWS):
        ids = getattr(batch, column)
        nulls += batch.rows if ids is None else ids.null_count
        if ids is not None:
            strings = _strings(ids)
            longest = max(longest, *map(len, strings), 0)
            whole = whole and (pa.types.is_integer(ids.type) or all(map(_is_int64, strings)))
    if nulls:
        return nulls
    dtype = "<i8" if whole else f"<U{longest}"

    def blocks() -> Iterator[npt.NDArray[Any]]:
        for batch in dataset.batches((column,), _READ_ROWS):
            strings = _strings(getattr(batch, column))
            yield np.array([int(value) for value in strings] if whole else strings, dtype)

    return Blocks((rows,), blocks(), dtype)


def _strings(ids: pa.Array) -> list[str]:
    return [str(value) for value in ids.to_pylist() if value is not None]


def _is_int64(text: str) -> bool:
    """Whether an integer prints as `text`: those of lines of JSON come as texts."""
    if not (text[-1:].isdigit() and text.isascii() and text.lstrip("-").isdigit() and len(text) <= 20):
        return False
    return str(int(text)) == text and -(2**63) <= int(text) < 2**63


def _sources(inputs: Inputs) -> dict[str, Any]:
    """What the provenance says of the files: their digests, and what the text of a row is."""
    side = inputs.described()["train"]
    files = [*side["files"], *((side["payload"] or {}).get("files", ()))]
    stated = [
        {"path": file["path"], "blake3": file["blake3"], "etag": file["etag"]}
        | {"text": file["fields"].get("text")}
        for file in files
    ]
    if len(stated) <= LISTED_SOURCES:
        return {"sources": stated}
    digest = hashlib.blake2b(json.dumps(stated, sort_keys=True).encode(), digest_size=16).hexdigest()
    return {"sources": {"files": len(stated), "digest": f"blake2b:{digest}"}}
