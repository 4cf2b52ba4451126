"""Stage 3: a vector for every chunk, restartable in the middle of a file."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from lvmfast import _core
from lvmfast.corpus import load_split
from lvmfast.corpus.failures import reading
from lvmfast.corpus.quarantined import check_usable
from lvmfast.corpus.writing import Blocks, write_npz
from lvmfast.encoding.encoder import Encoder
from lvmfast.encoding.parts import Embed, count_truncated, embed_texts, runs_of
from lvmfast.leaks.progress import Progress, silent


@dataclass
class EmbeddedChunks:
    """What became of the chunks."""

    chunks: int = 0
    resumed: int = 0  #: chunks whose vectors an earlier run had left
    truncated: int = 0  #: chunks longer than the encoder reads
    device: str = ""  #: what made the vectors; empty where an earlier run had made all


def write_embeddings(
    chunks: Path,
    out: Path,
    encoder: Encoder,
    *,
    embed: Embed | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> EmbeddedChunks:
    """Writes `truth_keys` (n, 2), `embeddings` (n, d) and `provenance` of all chunks to the npz file `out`.

    Until it is whole, the vectors stand in files in a hidden folder beside `out`; `resume` takes from there
    what is of the same texts and the same encoder.

    Args:
        chunks: what stage 2 wrote.
        out: the file to write.
        encoder: counts tokens, and says what the vectors are.
        embed: who makes the vectors: by default `encoder`, here.
        resume: go on with an unfinished run.
        progress: called as ("embeddings", chunks done, chunks in all).

    Raises:
        DataError: `chunks` is no file of stage 2, or the disk is full.
    """
    check_usable(chunks)
    with reading(str(chunks)):
        keys = pq.read_table(chunks, columns=["doc_id", "chunk_id"])
    parts = out.with_name(f".{out.name}.parts")
    provenance = {**encoder.provenance, "chunks": f"blake3:{_core.blake3_file(str(chunks), 0)}"}
    dataset = load_split(str(chunks))
    if resume and out.exists() and load_split(str(out)).files[0].provenance == provenance:
        shutil.rmtree(parts, ignore_errors=True)
        truncated = sum(count_truncated(texts, encoder) for _, texts in runs_of(dataset))
        return EmbeddedChunks(len(keys), len(keys), truncated)
    if not resume:
        shutil.rmtree(parts, ignore_errors=True)
    made = embed_texts(dataset, encoder, parts, embed=embed, progress=progress)
    truth = np.stack([keys[c].to_numpy() for c in ("doc_id", "chunk_id")], axis=1)
    write_npz(
        out,
        {"truth_keys": truth, "embeddings": Blocks((made.rows, made.dim), made.vectors())},
        provenance,
    )
    shutil.rmtree(parts)
    return EmbeddedChunks(made.rows, made.resumed, made.truncated, made.device)
