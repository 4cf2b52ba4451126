"""The vectors of a split's texts, in files that are named by what they were made of.

Consecutive texts of a file are a run, and the vectors of a run are a file in a folder, named by a digest of
the texts and one of the encoder. What an earlier call left, whole or cut off, is therefore found again where
the texts are the same, whatever file or format they stand in now, and nothing else is taken for it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Dataset, Vectors
from lvmfast.corpus.writing import appearing
from lvmfast.encoding.encoder import Encoder
from lvmfast.errors import DataError
from lvmfast.leaks.progress import Progress, silent

#: Texts of a run: what a stopped call loses at most, of each that was at work.
PART_ROWS = 2048
#: A run ends before it has more characters than this, so that long texts are held few at a time.
PART_CHARS = 16 << 20
#: Rows that are read at a time.
_READ_ROWS = 8192

#: The number of a run, and the texts whose vectors it is for.
Run = tuple[int, list[str]]


class Embed(Protocol):
    """Makes vectors of runs of texts, wherever."""

    device: str  #: where: known at the end

    def __call__(self, encoder: Encoder, runs: Iterator[Run]) -> Iterator[tuple[int, Vectors]]:
        """The number of each run and its vectors (n, d), in any order."""
        ...


class EmbedHere:
    """Run after run in this process."""

    device = ""

    def __call__(self, encoder: Encoder, runs: Iterator[Run]) -> Iterator[tuple[int, Vectors]]:
        """As `Embed`, in the order of the runs."""
        for number, texts in runs:
            self.device = encoder.device
            yield number, encoder.encode(texts)


@dataclass(frozen=True)
class Part:
    """The file of one run, there or to be made. A text that is empty has a vector of zeros."""

    path: Path
    rows: int

    def truncated(self) -> int | None:
        """How many texts the encoder did not read to their end; None where the file is not there."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return int(file["truncated"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def write(self, vectors: Vectors, truncated: int) -> None:
        """Stores (rows, d) float32.

        Raises:
            DataError: the disk is full, say.
        """
        with appearing(self.path) as staged, staged.open("wb") as file:
            np.savez(file, vectors=vectors, truncated=np.int64(truncated))

    def read(self) -> Vectors:
        """(rows, d) float32.

        Raises:
            DataError: the file is damaged, or somebody removed it.
        """
        try:
            with np.load(self.path, allow_pickle=False) as file:
                vectors: Vectors = file["vectors"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path}: no longer the vectors that were kept here: {error}") from error
        if vectors.ndim != 2 or len(vectors) != self.rows or vectors.dtype != np.float32:
            raise DataError(
                f"{self.path}: expected ({self.rows}, d) float32, got {vectors.shape} {vectors.dtype}; "
                "remove the file"
            )
        return vectors


@dataclass
class Embedded:
    """What became of the texts of a split."""

    dim: int
    files: list[list[Part]]  #: of each file of the split, its vectors in the order of its rows
    rows: int = 0
    resumed: int = 0  #: rows whose vectors were there already
    empty: int = 0  #: rows without a text, whose vectors are zeros
    truncated: int = 0  #: texts longer than the encoder reads
    device: str = ""  #: what made the vectors; empty where all were there

    def vectors(self) -> Iterator[Vectors]:
        """All of them, run after run.

        Raises:
            DataError: as `Part.read`.
        """
        return (part.read() for parts in self.files for part in parts)


@dataclass
class _Pending:
    """A run that was given away to be embedded."""

    part: Part
    there: npt.NDArray[np.bool_]  #: which rows have a text
    truncated: int


def embed_texts(
    dataset: Dataset,
    encoder: Encoder,
    folder: Path,
    *,
    embed: Embed | None = None,
    progress: Progress = silent,
) -> Embedded:
    """Makes the vectors of all texts of `dataset` that `folder` has not.

    Args:
        dataset: the texts are its column ``text``.
        encoder: its provenance says whose vectors are whose.
        folder: where the vectors are kept, each encoder's in a folder of its own.
        embed: who makes the vectors: by default `encoder`, here.
        progress: called as ("embeddings", rows done, rows in all or None).

    Raises:
        DataError: the texts cannot be read, or the vectors not be written.
    """
    embed = embed or EmbedHere()
    kept = folder / encoder_digest(encoder.provenance)
    done = Embedded(encoder.dim, [[] for _ in dataset.files])
    pending: dict[int, _Pending] = {}
    in_all = dataset.rows

    def finished(part: Part) -> None:
        done.rows += part.rows
        progress("embeddings", done.rows, in_all)

    def missing() -> Iterator[Run]:
        for number, (file, texts) in enumerate(runs_of(dataset)):
            part = Part(kept / f"{_digest(texts)}.npz", len(texts))
            done.files[file].append(part)
            there = np.array([bool(text) for text in texts])
            done.empty += int(len(there) - there.sum())
            truncated = part.truncated()
            if truncated is not None:
                done.resumed += part.rows
                done.truncated += truncated
                finished(part)
            elif there.any():
                with_text = [text for text in texts if text]
                pending[number] = _Pending(part, there, count_truncated(with_text, encoder))
                yield number, with_text
            else:
                part.write(np.zeros((part.rows, done.dim), np.float32), 0)
                finished(part)

    progress("embeddings", 0, in_all)
    for number, made in embed(encoder, missing()):
        run = pending.pop(number)
        vectors = np.zeros((run.part.rows, done.dim), np.float32)
        vectors[run.there] = made
        run.part.write(vectors, run.truncated)
        done.truncated += run.truncated
        finished(run.part)
    done.device = embed.device
    return done


def encoder_digest(provenance: dict[str, Any]) -> str:
    """What tells the vectors of two encoders apart, under whatever name either was loaded."""
    passing = {"libraries", "embedder_id"} if provenance.get("weights") else {"libraries"}
    stated = {name: value for name, value in provenance.items() if name not in passing}
    return hashlib.blake2b(json.dumps(stated, sort_keys=True).encode(), digest_size=12).hexdigest()


def _digest(texts: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def runs_of(dataset: Dataset) -> Iterator[tuple[int, list[str]]]:
    """(file, texts): all rows, in runs that the texts alone decide; nulls and blank texts are empty ones."""
    held: list[str] = []
    file = size = 0
    for batch in dataset.batches(("text",), _READ_ROWS):
        if batch.file != file and held:
            yield file, held
            held, size = [], 0
        file = batch.file
        for text in [None] * batch.rows if batch.text is None else batch.text.to_pylist():
            length = len(text or "")
            if len(held) == PART_ROWS or (held and size + length > PART_CHARS):
                yield file, held
                held, size = [], 0
            held.append(text if text and not text.isspace() else "")
            size += length
    if held:
        yield file, held


def count_truncated(texts: list[str], encoder: Encoder) -> int:
    """How many texts the encoder does not read to their end."""
    if encoder.window is None:
        return 0
    read = encoder.window - encoder.special_tokens
    # A token is a byte at least, so that short texts need not be cut into tokens.
    long = [text for text in texts if 4 * len(text) > read and len(text.encode()) > read]
    return sum(length > read for length in encoder.tokens(long)) if long else 0
