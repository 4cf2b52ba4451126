"""A small world for evaluations: documents that wander, split by document, in the layouts of the wild."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lvmfast.splits.fingerprint import fingerprint, fingerprint_identity

LENGTH, DIM, CHUNKS = 3, 16, 14
TRAIN_DOCS, EVAL_DOCS = range(12), range(100, 108)
PROVENANCE = json.dumps({"embedder_id": "wander-16", "norm": "l2_once", "metric": "ip"})


@dataclass(frozen=True)
class World:
    folder: Path

    def __getattr__(self, name: str) -> str:
        return str(self.folder / f"{name}.npz")


def document(doc: int) -> np.ndarray:
    """(CHUNKS, DIM) unit vectors, each near the one before."""
    rng = np.random.default_rng(doc)
    steps = rng.normal(size=(CHUNKS, DIM)) * 0.6
    vectors = rng.normal(size=DIM) + np.cumsum(steps, axis=0)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def copies(docs) -> dict[str, np.ndarray]:
    """The seed layout: windows copied out."""
    keys, targets, contexts = [], [], []
    for doc in docs:
        chunks = document(doc)
        for place in range(LENGTH, CHUNKS):
            keys.append((doc, place))
            targets.append(chunks[place])
            contexts.append(chunks[place - LENGTH : place])
    return {"truth_keys": np.array(keys), "targets": np.array(targets), "contexts": np.array(contexts)}


def matrix(docs) -> dict[str, np.ndarray]:
    """The chunk-matrix layout."""
    docs = list(docs)
    keys = np.array([(doc, place) for doc in docs for place in range(CHUNKS)])
    windows = [
        np.arange(number * CHUNKS + start, number * CHUNKS + start + LENGTH + 1)
        for number in range(len(docs))
        for start in range(CHUNKS - LENGTH)
    ]
    vectors = np.concatenate([document(doc) for doc in docs])
    return {"chunk_vectors": vectors, "chunk_keys": keys, "windows": np.array(windows)}


def payload(docs) -> dict[str, np.ndarray]:
    docs = list(docs)
    keys = np.array([(doc, place) for doc in docs for place in range(CHUNKS)])
    return {"truth_keys": keys, "embeddings": np.concatenate([document(doc) for doc in docs])}


def save(path: Path, arrays: dict[str, np.ndarray], provenance: str = PROVENANCE) -> str:
    np.savez(path, provenance=np.array(provenance), **arrays)
    return str(path)


def world(folder: Path) -> World:
    save(folder / "train.npz", copies(TRAIN_DOCS))
    save(folder / "eval.npz", copies(EVAL_DOCS))
    save(folder / "eval_matrix.npz", matrix(EVAL_DOCS))
    save(folder / "payload.npz", payload([*TRAIN_DOCS, *EVAL_DOCS]))
    half = [*list(TRAIN_DOCS)[:4], *list(EVAL_DOCS)[4:]]
    save(folder / "leaky.npz", copies(half))
    return World(folder)


def run(
    folder: Path,
    train: str,
    *,
    model: str = "mlp",
    dim: int = DIM,
    train_hash: str = "00",
    embedder: str = "wander-16",
    seed: int = 0,
    nan: bool = False,
    leak_status: str = "clean",
) -> str:
    """The folder of a run whose model was never trained: what an evaluation needs of it is all there."""
    import torch

    from lvmfast.models.build import build
    from lvmfast.models.checkpoint import CheckpointInfo, save_checkpoint
    from lvmfast.models.config import ModelConfig

    (folder / "checkpoints").mkdir(parents=True)
    torch.manual_seed(seed)
    config = ModelConfig(model=model, dim=dim, length=LENGTH, d_model=16, n_layers=1, residual="last")
    built = build(config)
    with torch.no_grad():
        for weight in built.head.parameters():
            weight.normal_(std=0.05 * (seed + 1))
        if nan:
            built.head.bias[0] = float("nan")
    fingerprint(train, folder / "train.lvfp")
    info = CheckpointInfo(
        config,
        2,
        {"embedder_id": embedder},
        leak_status,
        train_hash,
        fingerprint_identity(folder / "train.lvfp"),
        {"val_cosine": 0.6},
    )
    save_checkpoint(folder / "checkpoints" / "epoch-0002.safetensors", built.state_dict(), info)
    (folder / "best.json").write_text(json.dumps({"checkpoint": "epoch-0002.safetensors"}))
    (folder / "run.json").write_text(json.dumps({"leak_status": leak_status}))
    rows = [
        {"epoch": epoch, "val_cosine": 0.4 + 0.1 * epoch, "val_loss": 1 / epoch, "val_r5": 10.0 * epoch}
        for epoch in (1, 2)
    ]
    (folder / "history.json").write_text(json.dumps(rows))
    return str(folder)
