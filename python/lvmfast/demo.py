"""The demo: two splits made of text that every Python installation carries, divided the customary way.

`pydoc_data.topics` holds the documentation topics of the interpreter. Whole topics go to one side or the
other, so document ids and (document, chunk) pairs do not overlap; but many paragraphs stand word for word in
more than one topic, so texts and vectors do. The same topics stand there once more as a corpus of whole
topics and as questions, for a scan of texts alone.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lvmfast.errors import naming

DIMENSIONS = 256
CONTEXT = 5
EMBEDDER = f"lexical-feature-hash-{DIMENSIONS}"
EVAL_EVERY = 5  #: every fifth topic is an evaluation document
MIN_CHARS = 40  #: shorter paragraphs are headings and signatures


@dataclass(frozen=True)
class DemoSplits:
    """Where the demo's files lie, and what to say of them."""

    train: Path
    eval: Path
    train_payload: Path
    eval_payload: Path
    report: Path
    description: str

    @property
    def command(self) -> str:
        """The command line that scans the demo's splits."""
        return (
            f"lvmfast leakscan --train {self.train} --eval {self.eval} --train-payload {self.train_payload} "
            f"--eval-payload {self.eval_payload} --out {self.report}"
        )

    @property
    def next_steps(self) -> str:
        """What a newcomer does with the answer."""
        return (
            "\nThe two splits share no document, and still the evaluation set was seen in training: a score "
            "on it is no measure of generalisation.\n"
            f"See the evidence: {self.report / 'matches.parquet'} (both texts of every match). "
            "Every matched row, to drop or to move: "
            f"{self.report / 'matched_rows.parquet'}.\n"
            "Then scan your own: lvmfast leakscan --train YOUR_TRAIN --eval YOUR_EVAL --out REPORT"
        )


def build_demo(directory: Path) -> DemoSplits:
    """Writes train and eval `.npz` files with their payloads into `directory`, and both sides as texts.

    `corpus.jsonl` has the training topics, one a line; `benchmark.jsonl` the evaluation paragraphs, as
    questions.

    Raises:
        DataError: the directory cannot be written.
    """
    documents = [_paragraphs(topics[name]) for name in sorted(topics)]
    sides = {
        "train": [i for i in range(len(documents)) if i % EVAL_EVERY],
        "eval": [i for i in range(len(documents)) if i % EVAL_EVERY == 0],
    }
    with naming(directory, "cannot write the demo"):
        directory.mkdir(parents=True, exist_ok=True)
        rows = {side: _write_split(directory, side, documents, members) for side, members in sides.items()}
        _write_lines(directory / "corpus.jsonl", "text", ["\n\n".join(documents[i]) for i in sides["train"]])
        _write_lines(
            directory / "benchmark.jsonl", "question", [text for i in sides["eval"] for text in documents[i]]
        )
    return DemoSplits(
        train=directory / "train.npz",
        eval=directory / "eval.npz",
        train_payload=directory / "train_payload.parquet",
        eval_payload=directory / "eval_payload.parquet",
        report=directory / "report",
        description=(
            f"Python's own documentation topics as two splits, divided by document: {len(sides['train'])} "
            f"topics ({rows['train']:,} paragraphs) to train, {len(sides['eval'])} "
            f"({rows['eval']:,}) to eval.\n"
            f"Vectors: {EMBEDDER}, hashed word counts made on the spot: no neural encoder, only a stand-in."
        ),
    )


def _paragraphs(topic: str) -> list[str]:
    blocks = (" ".join(block.split()) for block in topic.split("\n\n"))
    return [block for block in blocks if len(block) >= MIN_CHARS]


def _write_lines(path: Path, field: str, texts: list[str]) -> None:
    path.write_text("".join(json.dumps({field: text}, ensure_ascii=False) + "\n" for text in texts), "utf-8")


def _write_split(directory: Path, side: str, documents: list[list[str]], members: list[int]) -> int:
    keys = [(doc, chunk) for doc in members for chunk in range(len(documents[doc]))]
    texts = [documents[doc][chunk] for doc, chunk in keys]
    vectors = np.stack([embed(text) for text in texts])
    padded = np.concatenate([np.zeros((CONTEXT, DIMENSIONS), np.float32), vectors])
    truth_keys = np.array(keys, np.int64)
    # The window before row i is padded[i : i + CONTEXT]; positions before the document's start are zero.
    windows = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT, axis=0)[: len(keys)]
    contexts = np.ascontiguousarray(windows.transpose(0, 2, 1))
    before = CONTEXT - np.minimum(truth_keys[:, 1], CONTEXT)
    contexts[np.arange(CONTEXT) < before[:, None]] = 0.0
    provenance = {"embedder_id": EMBEDDER, "norm": "l2_once", "metric": "ip"}
    np.savez(
        directory / f"{side}.npz",
        truth_keys=truth_keys,
        targets=vectors,
        contexts=contexts,
        provenance=np.array(json.dumps(provenance)),
    )
    payload = pa.table(
        {"doc_id": truth_keys[:, 0], "chunk_id": truth_keys[:, 1], "text": pa.array(texts, pa.large_string())}
    )
    pq.write_table(payload, directory / f"{side}_payload.parquet")
    return len(keys)


def embed(text: str) -> npt.NDArray[np.float32]:
    """A unit vector of signed hashed counts of words and word pairs (Weinberger et al. 2009), not learned."""
    words = text.lower().split()
    vector = np.zeros(DIMENSIONS, np.float64)
    for feature in (*words, *(f"{a} {b}" for a, b in pairwise(words))):
        digest = zlib.crc32(feature.encode())
        vector[(digest >> 1) % DIMENSIONS] += 1.0 if digest & 1 else -1.0
    norm = float(np.linalg.norm(vector))
    return (vector / norm if norm else vector).astype(np.float32)
