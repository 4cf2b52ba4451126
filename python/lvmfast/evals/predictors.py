"""Who predicts: a trained run, or a baseline that needs no training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus import load_split
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.load import as_fingerprint
from lvmfast.corpus.sequences import Sequences
from lvmfast.errors import DataError, missing_extra
from lvmfast.evals.augmented import lag_mix_density
from lvmfast.evals.density import NEIGHBOURS
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.queries import Queries
from lvmfast.leaks.devices import device_name
from lvmfast.models.baselines import predict_baseline
from lvmfast.models.checkpoint import CheckpointInfo, load_model
from lvmfast.models.config import BASELINES, LAG_MIX_DENSITY
from lvmfast.models.threads import torch_threads, wait_quietly, worthwhile
from lvmfast.parse import read_json

#: Windows that are predicted at a time.
BATCH = 1024
RUN, HISTORY = "run.json", "history.json"


@dataclass(frozen=True)
class Predictor:
    """A name and what it predicts: (n, length, dim) float32 -> (n, dim) float32.

    One that takes m densities off predicts augmented queries instead, (n, dim + m + 1).
    """

    name: str
    predict: Callable[[Vectors], Vectors]
    device: str = "cpu"
    neighbours: tuple[int, ...] = ()  #: nearest others of a candidate, by whose mean cosines it is taken down
    form: str | None = None  #: kernels or reference, where a model has both
    weights: tuple[float, ...] | None = None  #: of the lag mix, oldest first
    checkpoint: CheckpointInfo | None = None  #: None for a baseline
    run: Path | None = None  #: the folder of the run, where there is one
    most: int | None = None  #: chunks of a document that it sees; None: the windows of the queries

    def contexts(self, sequences: Sequences, rows: Rows) -> Vectors:
        """(k, length, dim): what it sees of (k,) queries."""
        return sequences.contexts(rows) if self.most is None else sequences.before(rows, self.most)

    @property
    def is_baseline(self) -> bool:
        """Whether it needs no training."""
        return self.checkpoint is None


def baseline(name: str, weights: npt.ArrayLike | None = None) -> Predictor:
    """One of `BASELINES`; lag-mix, with density or without, needs its weights."""
    stated = None if weights is None else tuple(float(w) for w in np.asarray(weights))
    if name == LAG_MIX_DENSITY:
        return Predictor(
            name,
            lambda contexts: lag_mix_density(contexts, weights),
            neighbours=(NEIGHBOURS,),
            weights=stated,
        )
    return Predictor(name, lambda contexts: predict_baseline(name, contexts, weights), weights=stated)


def load_run(path: str | PathLike[str], queries: Queries, options: EvalOptions) -> Predictor:
    """The model of a run's folder or of a checkpoint, held to the encoder and shape of the queries.

    On a processor it predicts with the threads that are asked for; 0: with as many as its windows are worth.

    Raises:
        DataError: no checkpoint, a truncated one, or one of another encoder, dimension or window.
    """
    wait_quietly()
    try:
        import torch
    except ImportError as error:
        raise missing_extra("evaluating a checkpoint", "train", error) from error
    device_name(options.device)  # says what is missing
    model, info = load_model(path, options.device, options.form)
    stated = (info.config.dim, info.config.length)
    given = (queries.sequences.dim, queries.sequences.length)
    of_documents = info.config.layout == "documents"
    if stated[0] != given[0] or (stated != given and not of_documents):
        raise DataError(
            f"{info.path or path}: expected windows of {stated[1]} vectors of {stated[0]} values, "
            f"got {given[1]} of {given[0]} in {queries.name}"
        )
    info.check_encoder(queries.provenance)

    each = 2 * sum(parameter.numel() for parameter in model.parameters())

    def predict(contexts: Vectors) -> Vectors:
        with (
            torch.inference_mode(),
            torch_threads(options.threads or worthwhile(each * contexts.shape[0] * contexts.shape[1])),
        ):
            window = torch.from_numpy(np.ascontiguousarray(contexts)).to(options.device)  # (n, length, dim)
            predicted: Vectors = model.queries(window).float().cpu().numpy()  # (n, dim)
        return predicted

    folder = _folder(info)
    return Predictor(
        folder.name if folder is not None else Path(path).stem,
        predict,
        neighbours=model.neighbours,
        device=options.device,
        form=model.form,
        checkpoint=info,
        run=folder,
        most=info.config.length if of_documents else None,
    )


def _folder(info: CheckpointInfo) -> Path | None:
    """The folder of the run that a checkpoint lies in."""
    if info.path is None:
        return None
    folder = info.path.resolve().parent.parent
    return folder if (folder / RUN).is_file() else None


def is_baseline_name(checkpoint: object) -> bool:
    """Whether `checkpoint` names a baseline; a folder of that name is meant with ./ before it."""
    return checkpoint in BASELINES


def emit(predictor: Predictor, queries: Queries, progress: Callable[[str, int, int | None], None]) -> Vectors:
    """(n, dim): the prediction for every query, or as wide as its augmented queries are.

    Raises:
        DataError: a prediction is not finite, or of another dimension.
    """
    n, dim = queries.n, queries.sequences.dim + len(predictor.neighbours) + bool(predictor.neighbours)
    out = np.empty((n, dim), np.float32)
    batch = BATCH if predictor.most is None else max(1, BATCH * queries.sequences.length // predictor.most)
    for start in range(0, n, batch):
        rows = np.arange(start, min(n, start + batch))
        predicted = predictor.predict(predictor.contexts(queries.sequences, rows))
        if predicted.shape != (len(rows), dim):
            raise DataError(
                f"{predictor.name}: expected predictions of {(len(rows), dim)}, got {predicted.shape}"
            )
        out[rows] = predicted
        progress(f"predict {predictor.name}", start + len(rows), n)
    wrong = np.flatnonzero(~np.isfinite(out).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{predictor.name}: {len(wrong)} of {n} predictions are NaN or infinite; the first is of "
            f"{'{}: row {}'.format(*queries.sequences.locate(int(wrong[0])))}"
        )
    return out


def stated_mix(run: Predictor) -> npt.NDArray[Any] | None:
    """The weights of the lag mix that a run states."""
    weights = _run_stated(run.run).get("lag_mix")
    return None if weights is None else np.asarray(weights, np.float64)


def trained_on(run: Predictor, train: Any, *, alone: bool = False) -> bool:
    """Whether every file that a run says it was trained on is among those of `train`, by content.

    With `alone` there must be no others.
    """
    files = _run_stated(run.run).get("files", {}).get("train", [])
    hashes = {file.get("blake3") for file in files}
    if not hashes:
        return False
    there = {
        None if file.path is None else _core.blake3_file(file.path, 0)
        for file in load_split(train, allow_leaked=True).files
    }
    return hashes == there if alone else hashes <= there


def training_files(run: Path | None) -> list[str] | None:
    """The files that the run in a folder says it was trained on, where all of them are still there."""
    files = _run_stated(run).get("files", {}).get("train", [])
    paths = [file.get("path") for file in files]
    return paths if paths and all(path is not None and Path(path).is_file() for path in paths) else None


def _run_stated(run: Path | None) -> dict[str, Any]:
    """What run.json says; nothing for a checkpoint without a run."""
    if run is None or not (run / RUN).is_file():
        return {}
    stated = read_json(run / RUN)
    if not isinstance(stated, dict):
        raise DataError(f"{run / RUN}: expected a JSON object, got {type(stated).__name__}")
    return stated


def open_train(train: Any, columns: Any = None) -> Sequences | None:
    """The sequences of `--train`; None where it holds no windows, as a fingerprint or a file of chunks.

    Raises:
        DataError: it cannot be opened.
    """
    if train is None or as_fingerprint(train) is not None:
        return None
    dataset = load_split(train, columns=columns, allow_leaked=True)
    return Sequences(dataset) if {"vector", "context"} <= dataset.columns else None
