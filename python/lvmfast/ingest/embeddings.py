"""Stage 3: a vector for every chunk, restartable in the middle of a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq

from lvmfast import _core
from lvmfast.corpus import load_split
from lvmfast.corpus.dataset import Vectors
from lvmfast.corpus.failures import reading
from lvmfast.corpus.quarantined import check_usable
from lvmfast.durable import write_text
from lvmfast.errors import DataError, naming
from lvmfast.ingest.encoder import Encoder
from lvmfast.ingest.npz_files import Blocks, write_npz
from lvmfast.ingest.parquet_files import appearing
from lvmfast.leaks.progress import Progress, silent
from lvmfast.parse import Fields, read_json

#: Chunks of a batch file: what a stopped run loses at most, of each that was at work.
PART_ROWS = 2048

#: The number of a batch file, and the texts whose vectors it is for.
Batch = tuple[int, list[str]]


@dataclass
class Embedded:
    """What became of the chunks."""

    chunks: int = 0
    resumed: int = 0  #: chunks whose vectors an earlier run had left
    truncated: int = 0  #: chunks longer than the encoder reads
    device: str = ""  #: what made the vectors; empty where an earlier run had made all


class Embed(Protocol):
    """Makes vectors of batches of texts, wherever."""

    device: str  #: where: known at the end

    def __call__(self, encoder: Encoder, batches: Iterator[Batch]) -> Iterator[tuple[int, Vectors]]:
        """The number of each batch and its vectors (n, d), in any order."""
        ...


class EmbedHere:
    """Batch after batch in this process."""

    device = ""

    def __call__(self, encoder: Encoder, batches: Iterator[Batch]) -> Iterator[tuple[int, Vectors]]:
        """As `Embed`, in the order of the batches."""
        for number, texts in batches:
            self.device = encoder.device
            yield number, encoder.encode(texts)


def write_embeddings(
    chunks: Path,
    out: Path,
    encoder: Encoder,
    *,
    embed: Embed | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Embedded:
    """Writes `truth_keys` (n, 2), `embeddings` (n, d) and `provenance` of all chunks to the npz file `out`.

    Until it is whole, the vectors stand in batch files in a hidden folder beside `out`; `resume` goes on
    from there if chunks and encoder are the same.

    Args:
        chunks: what stage 2 wrote.
        out: the file to write.
        encoder: counts tokens, and says what the vectors are.
        embed: who makes the vectors: by default `encoder`, here.
        resume: go on with an unfinished run.
        progress: called as ("embeddings", chunks done, chunks in all).

    Raises:
        DataError: `chunks` is no file of stage 2, an earlier run was of other chunks or another encoder, or
            the disk is full.
    """
    check_usable(chunks)
    with reading(str(chunks)):
        rows = pq.read_metadata(chunks).num_rows
    parts = out.with_name(f".{out.name}.parts")
    provenance = {**encoder.provenance, "chunks": f"blake3:{_core.blake3_file(str(chunks), 0)}"}
    if resume and out.exists() and load_split(str(out)).files[0].provenance == provenance:
        shutil.rmtree(parts, ignore_errors=True)
        return Embedded(rows, resumed=rows, truncated=_truncated(chunks, encoder))
    _begin(parts, provenance, resume)
    done = Embedded(truncated=_truncated(chunks, encoder))
    files = [parts / f"{number:06}.npy" for number in range(-(-rows // PART_ROWS))]

    def missing() -> Iterator[Batch]:
        for number, texts in enumerate(_texts(chunks)):
            if files[number].exists():
                done.resumed += len(texts)
                done.chunks += len(texts)
            else:
                yield number, texts

    embed = embed or EmbedHere()
    progress("embeddings", 0, rows)
    for number, made in embed(encoder, missing()):
        with appearing(files[number]) as staged, staged.open("wb") as file:
            np.save(file, made)
        done.chunks += len(made)
        progress("embeddings", done.chunks, rows)
    done.device = embed.device
    keys = pq.read_table(chunks, columns=["doc_id", "chunk_id"])
    truth = np.stack([keys[c].to_numpy() for c in ("doc_id", "chunk_id")], axis=1)
    vectors = Blocks((rows, encoder.dim), (np.load(path, allow_pickle=False) for path in files))
    write_npz(out, {"truth_keys": truth, "embeddings": vectors}, provenance)
    shutil.rmtree(parts)
    return done


def _truncated(chunks: Path, encoder: Encoder) -> int:
    """How many texts the encoder does not read to their end."""
    if encoder.window is None:
        return 0
    read = encoder.window - encoder.special_tokens
    return sum(length > read for texts in _texts(chunks) for length in encoder.tokens(texts))


def _begin(parts: Path, run: dict[str, Any], resume: bool) -> None:
    record = parts / "run.json"
    with naming(parts, "cannot be written"):
        if record.exists() and resume:
            earlier = Fields(str(record), read_json(record)).values
            for what, value in run.items():
                if earlier.get(what) != value:
                    raise DataError(
                        f"{parts}: {what}: expected {earlier.get(what)} as in the unfinished run, got {value}"
                    )
            return
        if parts.exists():
            shutil.rmtree(parts)
        parts.mkdir(parents=True)
        write_text(record, json.dumps(run, indent=2))


def _texts(chunks: Path) -> Iterator[list[str]]:
    """All texts in lists of PART_ROWS, the last one shorter."""
    with reading(str(chunks)), pq.ParquetFile(chunks) as file:
        held: list[str] = []
        for batch in file.iter_batches(PART_ROWS, columns=["text"]):
            held += batch.column(0).to_pylist()
            while len(held) >= PART_ROWS:
                yield held[:PART_ROWS]
                held = held[PART_ROWS:]
        if held:
            yield held
