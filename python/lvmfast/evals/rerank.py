"""A listwise reranker: a small network on similarities of a candidate with the window, and on its density.

It never sees a vector, so that it cannot know a text by heart; what it learns is how much each place of the
window counts, and how much a crowded neighbourhood speaks against a candidate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.failures import reading
from lvmfast.durable import write_bytes
from lvmfast.errors import DataError, missing_extra
from lvmfast.evals.density import candidate_similarities, reordered
from lvmfast.evals.request import Scores, TopK
from lvmfast.parse import parse_json

KIND, VERSION = "reranker", 1
#: What is known of a candidate beside its cosine with each vector of the window. With a window of five: 11.
BESIDE = ("prediction", "density", "highest lag", "mean lag", "behind the first", "gain of its rank")
#: Its width gives 209 parameters with 11 features.
HIDDEN = 16
EPOCHS, BATCH, RATE, DECAY = 60, 64, 5e-3, 1e-4
#: Every so many training documents one is kept to choose the epoch.
KEPT_ASIDE = 5

Features = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reranker:
    """A network of one hidden layer over standardised features, and what it was fitted to."""

    length: int  #: vectors of a window
    depth: int  #: candidates of a list
    mean: Features  #: (f,)
    scale: Features  #: (f,)
    hidden: Features  #: (f + 1, HIDDEN), the bias last
    output: Features  #: (HIDDEN + 1,), the bias last
    stated: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Fitted numbers."""
        return self.hidden.size + self.output.size

    def scores(self, features: Features) -> Scores:
        """(q, k) scores of candidates with (q, k, f) features."""
        return _forward((features - self.mean) / self.scale, self.hidden, self.output)[1]

    def rerank(
        self, found: TopK, contexts: Vectors, pool: Vectors, densities: Scores, threads: int = 0
    ) -> TopK:
        """The candidates in the reranker's order.

        Args:
            found: what was retrieved, to the depth that the reranker was fitted to.
            contexts: (q, length, d) windows, oldest first.
            pool: (n, d).
            densities: (n,) of the pool's rows.
            threads: 0 for one per available core.

        Raises:
            DataError: windows or lists of another length than it was fitted to.
        """
        if found.rows.shape[1] != self.depth:
            raise DataError(f"reranker: expected {self.depth} candidates, got {found.rows.shape[1]}")
        if contexts.shape[1] != self.length:
            raise DataError(f"reranker: expected windows of {self.length} vectors, got {contexts.shape[1]}")
        return reordered(found, self.scores(list_features(found, contexts, pool, densities, threads)))


def feature_names(length: int) -> tuple[str, ...]:
    """The features of a candidate, in order; lag 1 is the last vector of the window."""
    return tuple(f"lag {length - place}" for place in range(length)) + BESIDE


def list_features(
    found: TopK, contexts: Vectors, pool: Vectors, densities: Scores, threads: int = 0
) -> Features:
    """(q, k, f) features of retrieved candidates; the arguments are those of `Reranker.rerank`.

    None of them tells where a candidate stands in its document: there is no bonus for the next chunk.
    """
    lags = np.stack(
        [
            candidate_similarities(np.ascontiguousarray(contexts[:, place]), found.rows, pool, threads)
            for place in range(contexts.shape[1])
        ],
        axis=2,
    )  # (q, k, length)
    gain = 1 / np.log2(2 + np.arange(found.rows.shape[1]))
    beside = [
        found.scores,
        densities[found.rows],
        lags.max(axis=2),
        lags.mean(axis=2),
        found.scores - found.scores[:, :1],
        np.broadcast_to(gain, found.rows.shape),
    ]
    return np.concatenate([lags, np.stack(beside, axis=2)], axis=2)


def fit_reranker(
    features: Features,
    rows: Rows,
    truth: Rows,
    documents: Any,
    *,
    length: int,
    seed: int = 0,
    stated: Mapping[str, Any] | None = None,
) -> Reranker:
    """Fits a reranker to retrieved lists of training documents.

    The loss is the cross entropy between the softmax of a list's scores and its true candidate, ListNet's
    with top-one probabilities (Cao et al., ICML 2007), minimised by Adam (Kingma and Ba, ICLR 2015). One in
    five documents is kept aside, and the epoch that does best on them is taken.

    Args:
        features: (q, k, f) as `list_features` gives them.
        rows: (q, k) the candidates.
        truth: (q,) the true rows; lists that lack theirs teach nothing and are left out.
        documents: (q,) the document of each list.
        length: vectors of a window.
        seed: of the start and of the order.
        stated: what is said about it in its file.

    Raises:
        DataError: fewer than two documents have lists that hold their truth.
    """
    among = rows == np.asarray(truth)[:, None]
    there = among.any(axis=1)
    features, goal = features[there], among[there].argmax(axis=1)
    names, number = np.unique(np.asarray(documents)[there], return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"rerank: expected lists that hold their truth from two documents or more, got {len(names)}"
        )
    rng = np.random.default_rng(seed)
    every = min(KEPT_ASIDE, len(names))
    aside = rng.permutation(len(names))[number] % every == 0
    fitted = np.flatnonzero(~aside)
    mean, scale = features[fitted].mean(axis=(0, 1)), features[fitted].std(axis=(0, 1))
    scale = np.where(scale > 1e-9, scale, 1.0)
    standard = (features - mean) / scale
    width = features.shape[2]
    weights = [
        rng.standard_normal((width + 1, HIDDEN)) / np.sqrt(width),
        rng.standard_normal(HIDDEN + 1) / np.sqrt(HIDDEN),
    ]
    weights[0][-1], weights[1][-1] = 0.0, 0.0
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]
    best, best_loss, step = [w.copy() for w in weights], np.inf, 0
    for _ in range(EPOCHS):
        order = rng.permutation(fitted)
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            step += 1
            gradients = _gradients(standard[part], goal[part], weights[0], weights[1])
            for weight, gradient, (first, second) in zip(weights, gradients, moments, strict=True):
                first += 0.1 * (gradient - first)
                second += 0.001 * (gradient**2 - second)
                ahead = first / (1 - 0.9**step)
                spread = np.sqrt(second / (1 - 0.999**step)) + 1e-8
                weight -= RATE * (ahead / spread + DECAY * weight)
        loss = _loss(standard[aside], goal[aside], weights[0], weights[1])
        if loss < best_loss:
            best, best_loss = [w.copy() for w in weights], loss
    return Reranker(length, features.shape[1], mean, scale, best[0], best[1], dict(stated or {}))


def _forward(standard: Features, hidden: Features, output: Features) -> tuple[Features, Scores]:
    """Activations (q, k, HIDDEN) and scores (q, k)."""
    active = np.tanh(standard @ hidden[:-1] + hidden[-1])
    scores: Scores = active @ output[:-1] + output[-1]
    return active, scores


def _log_softmax(scores: Scores) -> Scores:
    shifted = scores - scores.max(axis=1, keepdims=True)
    found: Scores = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def _loss(standard: Features, goal: Rows, hidden: Features, output: Features) -> float:
    logs = _log_softmax(_forward(standard, hidden, output)[1])
    return float(-logs[np.arange(len(goal)), goal].mean())


def _gradients(
    standard: Features, goal: Rows, hidden: Features, output: Features
) -> tuple[Features, Features]:
    """Of the loss, by the weights of both layers."""
    active, scores = _forward(standard, hidden, output)
    error = np.exp(_log_softmax(scores))  # (q, k)
    error[np.arange(len(goal)), goal] -= 1
    error /= len(goal)
    of_output = np.append(np.einsum("qk,qkh->h", error, active), error.sum())
    behind = error[..., None] * output[:-1] * (1 - active**2)  # (q, k, HIDDEN)
    of_hidden = np.concatenate(
        [np.einsum("qkf,qkh->fh", standard, behind), behind.sum(axis=(0, 1))[None]], axis=0
    )
    return of_hidden, of_output


def save_reranker(path: Path, reranker: Reranker) -> None:
    """Puts a safetensors file at `path`, whole or not at all.

    Raises:
        DataError: safetensors is missing.
        OSError: it cannot be written.
    """
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise missing_extra("a reranker's file", "train", error) from error
    header = {
        "kind": KIND,
        "version": VERSION,
        "length": reranker.length,
        "depth": reranker.depth,
        "features": feature_names(reranker.length),
        **reranker.stated,
    }
    tensors = {name: np.ascontiguousarray(getattr(reranker, name)) for name in _TENSORS}
    write_bytes(path, save(tensors, {"lvmfast": json.dumps(header)}))


_TENSORS = ("mean", "scale", "hidden", "output")


def load_reranker(path: Path) -> Reranker:
    """What `save_reranker` wrote.

    Raises:
        DataError: no such file, a foreign, truncated or broken one, or safetensors is missing.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise missing_extra("a reranker's file", "train", error) from error
    with reading(str(path)):
        path.open("rb").close()
    try:
        with safe_open(str(path), "np") as file:
            stated = parse_json(str(path), (file.metadata() or {}).get("lvmfast", "{}"), nan=False)
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
        if stated.get("kind") != KIND or stated.get("version") != VERSION:
            raise ValueError(f"kind {stated.get('kind')}, version {stated.get('version')}")
        length, depth = int(stated.pop("length")), int(stated.pop("depth"))
        if tuple(stated.pop("features")) != feature_names(length):
            raise ValueError("other features than this version has")
        width = len(feature_names(length))
        shapes = {"mean": (width,), "scale": (width,), "hidden": (width + 1, HIDDEN), "output": (HIDDEN + 1,)}
        for name, shape in shapes.items():
            if tensors[name].shape != shape or not np.isfinite(tensors[name]).all():
                raise ValueError(f"{name}: expected {shape} finite numbers, got {tensors[name].shape}")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: expected a reranker of version {VERSION}: {error}") from error
    for name in ("kind", "version"):
        del stated[name]
    return Reranker(length, depth, **tensors, stated=stated)
