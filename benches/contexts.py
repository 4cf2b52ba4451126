"""Whole documents as sequences: what a longer context is worth and costs, for the same targets.

    python benches/contexts.py                 # invented documents, minutes on one thread
    python benches/contexts.py --data DIR      # what `lvmfast ingest` wrote: DIR/sequences.npz

Mamba-S of two layers (Mamba2), a GRU and the attention mixture are trained by `lvmfast train --layout
documents` with contexts of 5, 20 and 100 chunks: every next chunk of the same documents is a target each
time, in epochs of as many targets. Scores are those of the last epoch on documents that no choice was
made on, R@5 and MRR among all of their chunks. Beside the time of lvmfast for a target, all in, stand
those of the same model in plain PyTorch: packed batches as they are, and a window of its own for each
target, which is what one pass saves. On a processor the time is that of the processor itself.

The invented documents wander: a chunk is near the one before it or, where a document comes back to
something, near a chunk of 6 to 60 chunks ago. So a longer context has something to find there; whether it
has in real documents is for --data to say.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import lvmfast
from common import machine
from lvmfast.corpus import load_split
from lvmfast.corpus.documents import Documents, chunks_of
from lvmfast.models.build import build
from lvmfast.models.config import ModelConfig
from lvmfast.training.batches import PieceBatching

CONTEXTS = (5, 20, 100)
MODELS: dict[str, dict[str, Any]] = {
    "mamba_s": {"n_layers": 2, "d_state": 32, "headdim": 32},
    "gru": {},
    "amn": {},
}
DIM, BATCH, TAU = 64, 200, 0.07
SHAPE = {"d_model": 128, "dropout": 0.0}


def wandering(documents: int, chunks: int, seed: int, first: int = 0) -> dict[str, Any]:
    """Arrays of the chunk-matrix layout: `documents` of about `chunks` chunks each."""
    rng = np.random.default_rng(seed)
    vectors, keys, windows = [], [], []
    for document in range(documents):
        length, at = int(rng.integers(chunks // 2, 2 * chunks)), sum(map(len, vectors))
        topic, walk = rng.standard_normal(DIM), [rng.standard_normal(DIM)]
        for place in range(1, length):
            back = int(rng.integers(6, 61))
            source = walk[place - back] if back <= place and rng.random() < 0.5 else walk[-1]
            walk.append(0.8 * source + 0.6 * rng.standard_normal(DIM))
        rows = np.array(walk) + 0.7 * topic
        vectors.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
        keys.append(np.stack([np.full(length, first + document), np.arange(length)], 1))
        windows += [np.arange(at + i, at + i + 6) for i in range(length - 5)]
    return {
        "chunk_vectors": np.concatenate(vectors),
        "chunk_keys": np.concatenate(keys),
        "windows": np.array(windows, np.int32),
    }


def invented(folder: Path, documents: int) -> tuple[Path, Path]:
    train, val = folder / "train.npz", folder / "val.npz"
    np.savez(train, **wandering(documents, 100, seed=0))
    np.savez(val, **wandering(max(4, documents // 5), 100, seed=1, first=1_000_000))
    return train, val


def divided(folder: Path, source: Path) -> tuple[Path, Path]:
    """A fifth of the documents of a chunk-matrix file for validation, drawn by a seed."""
    with np.load(source) as file:
        arrays = {name: file[name] for name in file.files}
    named = arrays["chunk_keys"][:, 0]
    drawn = np.random.default_rng(0).permutation(np.unique(named))
    held = np.isin(named, drawn[: len(drawn) // 5])
    paths = folder / "train.npz", folder / "val.npz"
    for path, keep in zip(paths, (~held, held), strict=True):
        number = np.cumsum(keep) - 1
        windows = arrays["windows"]
        windows = number[windows[keep[windows[:, -1]]]]
        chunks = {name: arrays[name][keep] for name in ("chunk_vectors", "chunk_keys")}
        np.savez(path, **chunks, windows=windows.astype(np.int32))
    return paths


def train(model: str, context: int, data: tuple[Path, Path], out: Path, options: Any) -> tuple[Any, float]:
    """The last row of a run's history, and its seconds a target of training and validation."""
    clock = clock_of(options.device)
    ends: list[float] = []
    figures = {"model": model, "context": context, "layout": "documents", **SHAPE, **MODELS[model]}
    done = lvmfast.train(
        data[0], val=str(data[1]), out=out, batch=BATCH, accumulate=1, epochs=options.epochs, patience=0,
        warmup=0.1, device=options.device, allow_leaked=True, threads=options.threads,
        started=lambda run: ends.append(clock()), epoch_done=lambda row: ends.append(clock()), **figures,
    )  # fmt: skip
    run = json.loads((out / "run.json").read_text())
    seconds = float(np.median(np.diff(ends)))
    return done.history[-1], seconds / (run["n_train"] + run["n_val"])


def packed_batches(data: Path, context: int, device: str) -> Iterator[tuple[Any, Any]]:
    documents = Documents(chunks_of(load_split(str(data))), context)
    for rows in PieceBatching(BATCH, 0).epoch(documents.pieces, 1):
        packs = documents.inputs(rows)
        seen = [torch.from_numpy(part).to(device) for part in (packs.vectors, packs.since, packs.place)]
        yield seen, torch.from_numpy(documents.targets(rows)).to(device)


def windows_of(seen: Any, context: int) -> Any:
    """(k, context, dim): the same contexts, each copied out, padding first."""
    vectors, since, place = seen
    since, rows = since.flatten()[place], vectors.flatten(0, 1)
    back = torch.arange(context - 1, -1, -1, device=place.device)
    found = rows[(place[:, None] - back).clamp(min=0)]
    found[back > since[:, None]] = 0
    return found


def plain(model: str, context: int, data: Path, device: str, *, packed: bool, most: int) -> float:
    """Seconds a target of a plain loop: forward, InfoNCE among the batch, backward, AdamW."""
    torch.manual_seed(0)
    config = ModelConfig(
        model, load_split(str(data)).dim or 0, context, layout="documents", **SHAPE, **MODELS[model]
    )
    made = build(config, device=device).train()
    optimiser = torch.optim.AdamW(made.parameters(), 1e-3)
    spent, targets = 0.0, 0
    for turn, (seen, target) in enumerate(packed_batches(data, context, device)):
        read = seen if packed else windows_of(seen, context)

        def step(read: Any = read, target: Any = target, place: Any = seen[2]) -> None:
            predicted = made.every(*read[:2]).flatten(0, 1)[place] if packed else made(read)
            scores = predicted @ F.normalize(target, dim=-1).T / TAU
            F.cross_entropy(scores, torch.arange(len(scores), device=device)).backward()
            optimiser.step()
            optimiser.zero_grad()

        taken = seconds_of(step, device)
        if turn:  # the first step allocates
            spent, targets = spent + taken, targets + len(target)
        if turn == most:
            break
    return spent / targets


def seconds_of(step: Callable[[], None], device: str) -> float:
    clock = clock_of(device)
    start = clock()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def clock_of(device: str) -> Callable[[], float]:
    return time.process_time if device == "cpu" else time.perf_counter


def table(options: Any) -> None:
    print("| model | context | R@5 | MRR | lvmfast, us a target | plain, packed | plain, a window each |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = (
            divided(folder, options.data / "sequences.npz")
            if options.data
            else invented(folder, options.documents)
        )
        baselines = None
        for model in options.models:
            for context in options.contexts:
                row, ours = train(model, context, data, folder / f"{model}-{context}", options)
                baselines = row["baselines"]
                loops = [
                    plain(model, context, data[0], options.device, packed=packed, most=options.steps)
                    for packed in (True, False)
                ]
                times = " | ".join(f"{1e6 * seconds:,.0f}" for seconds in (ours, *loops))
                print(
                    f"| {model} | {context} | {row['val_r5']:.1f} | {row['val_mrr']:.3f} | {times} |",
                    flush=True,
                )
        for baseline, found in (baselines or {}).items():
            print(f"| {baseline} | 5 | {found['val_r5']:.1f} | {found['val_mrr']:.3f} | | | |")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of sequences.npz, in layout chunks")
    parser.add_argument("--documents", type=int, default=60, help="invented ones to train on")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--contexts", type=int, nargs="+", default=list(CONTEXTS))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=15, help="of each plain loop")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(f"{machine()}, torch {torch.__version__}, {options.device}, {options.threads} threads")
    table(options)


if __name__ == "__main__":
    main()
