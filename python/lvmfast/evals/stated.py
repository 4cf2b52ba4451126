"""What `evaluation.json` says of the set, of a model and of a pool."""

from __future__ import annotations

from typing import Any

from lvmfast import _core
from lvmfast.evals.payload import VectorPayload
from lvmfast.evals.pools import Pool
from lvmfast.evals.predictors import Predictor
from lvmfast.evals.queries import Queries
from lvmfast.evals.split_status import SplitStatus


def eval_stated(queries: Queries) -> dict[str, Any]:
    """The files, and what is in them."""
    files = {file.name: file.path for file in queries.sequences.dataset.files}
    return {
        "files": [
            {"path": name, "blake3": None if path is None else _core.blake3_file(path, 0)}
            for name, path in files.items()
        ],
        "n_queries": queries.n,
        "n_documents": len(set(queries.documents.tolist())),
        "length": queries.sequences.length,
        "dim": queries.sequences.dim,
        "context_keys": queries.context_from,
        "provenance": dict(queries.sequences.provenance),
    }


def model_stated(predictor: Predictor, status: SplitStatus) -> dict[str, Any]:
    """What it is, where it ran, and what is known of its split."""
    info = predictor.checkpoint
    stated: dict[str, Any] = {
        "kind": "baseline" if info is None else "run",
        "device": predictor.device,
        "split": status.to_dict(),
    }
    if predictor.weights is not None:
        stated["weights"] = list(predictor.weights)
    if info is not None:
        stated |= {
            "checkpoint": str(info.path),
            "model": info.config.model,
            "form": predictor.form,
            "epoch": info.epoch,
            "residual": info.config.residual,
            "leak_status": info.leak_status,
            "train_hash": info.train_hash,
            "metrics": dict(info.metrics),
        }
        if predictor.most is not None:
            stated["context"] = predictor.most  # chunks before a target, where the files hold so many
    return stated


def pool_stated(pool: Pool, payload: VectorPayload | None) -> dict[str, Any]:
    """Where its candidates come from, and how many there are."""
    found = None if pool.context is None else float((pool.context >= 0).mean())
    return {
        "source": "targets" if payload is None or pool.name == "eval" else payload.name,
        "rows": len(pool.vectors),
        "context_in_pool": found,  # the share of the windows' vectors that are candidates at all
    }
