"""Checkpoints: weights as safetensors whose header says what they are. Nothing is ever unpickled.

What the header says stands beside the file once more, as JSON, for people and other programs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvmfast.corpus.failures import one_line, reading
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.durable import write_bytes, write_text
from lvmfast.errors import DataError, missing_extra
from lvmfast.models.config import ModelConfig
from lvmfast.models.registry import MODELS
from lvmfast.parse import parse_json, read_json

if TYPE_CHECKING:
    from torch import Tensor

    from lvmfast.models.next_vector import NextVectorModel

KIND = "lvmfast checkpoint"
VERSION = 1
SUFFIX = ".safetensors"
BEST = "best.json"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself."""

    config: ModelConfig
    epoch: int  #: 0: untrained
    provenance: Mapping[str, Any]  #: the training data's own statement of its encoder
    leak_status: str  #: clean or LEAKED
    train_hash: str  #: BLAKE3 of the training data's files
    fingerprint: str  #: identity of `train.lvfp`, the fingerprint of what was trained on; "" without one
    metrics: Mapping[str, Any] = field(default_factory=dict)  #: the epoch's row of history.json
    path: Path | None = None  #: where it was read from

    @property
    def fingerprint_path(self) -> Path | None:
        """The fingerprint of the training set, where the run's folder still has it."""
        if self.path is None:
            return None
        place = self.path.parent.parent / "train.lvfp"
        return place if place.is_file() else None

    def check_encoder(self, provenance: Mapping[str, Mapping[str, Any]]) -> None:
        """Holds data to the encoder that the checkpoint was trained on; what states none passes.

        Args:
            provenance: what files state, by file name: `Dataset.provenance`.

        Raises:
            DataError: they are vectors of another encoder.
        """
        if self.provenance:
            check_same_encoder({str(self.path or "the checkpoint"): self.provenance}, provenance)


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], info: CheckpointInfo) -> None:
    """Writes `path`, and its JSON beside it, each whole or not at all.

    Raises:
        OSError: it cannot be written; what stood there still does.
    """
    stated = {
        "kind": KIND,
        "version": VERSION,
        "model": info.config.to_dict(),
        "epoch": info.epoch,
        "provenance": dict(info.provenance),
        "leak_status": info.leak_status,
        "train_hash": info.train_hash,
        "fingerprint": info.fingerprint,
        "metrics": dict(info.metrics),
    }
    write_tensors(path, tensors, stated)
    write_text(path.with_suffix(".json"), json.dumps(stated, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], stated: Mapping[str, Any]) -> None:
    """Puts a safetensors file at `path` whose header holds `stated`, whole or not at all.

    Raises:
        OSError: it cannot be written; what stood there still does.
    """
    from safetensors.torch import save

    on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(on_host, {"lvmfast": json.dumps(stated)}))


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and statement of a file that `write_tensors` wrote, on the CPU.

    Raises:
        DataError: it is no such file, of another kind or version, truncated, or cannot be read.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise missing_extra("a checkpoint", "train", error) from error
    with reading(str(path)):
        path.open("rb").close()
    try:
        with safe_open(str(path), "pt") as file:
            header = (file.metadata() or {}).get("lvmfast")
            stated = parse_json(str(path), header) if header else {}
            found = stated.get("kind") if isinstance(stated, dict) else None
            if found != kind:
                raise DataError(f"{path}: expected a {kind}, got {found or 'weights that are none of ours'}")
            if stated.get("version") != VERSION:
                raise DataError(f"{path}: version: expected {VERSION}, got {stated.get('version')!r}")
            return {name: file.get_tensor(name) for name in file.keys()}, stated  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: expected a {kind}: {one_line(error)}") from error


def resolve_checkpoint(path: str | PathLike[str]) -> Path:
    """The file behind a checkpoint's path, or behind a run's folder: its best epoch.

    Raises:
        DataError: there is none.
    """
    place = Path(path)
    if not place.is_dir():
        return place
    best = place / BEST
    if not best.is_file():
        raise DataError(
            f"{place}: no {BEST}: expected the folder of a run with a finished epoch, or a checkpoint"
        )
    try:
        name = read_json(best)["checkpoint"]
        if Path(name).name != name:
            raise ValueError(f"{name!r} is not a file of {CHECKPOINTS}/")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{best}: checkpoint: expected the name of a checkpoint: {one_line(error)}"
        ) from error
    return place / CHECKPOINTS / str(name)


def load_model(
    path: str | PathLike[str], device: str = "cpu", form: str | None = None
) -> tuple[NextVectorModel, CheckpointInfo]:
    """The model of a checkpoint, or of a run's best epoch, ready to predict.

    Args:
        path: a ``.safetensors`` file or the folder of a run.
        device: where the model goes: cpu, cuda or cuda:N.
        form: of the blocks of a Mamba-S, such as ``reference`` for a run made with kernels; None: the one
            that the checkpoint asks for. `NextVectorModel.form` tells what came of it.

    Raises:
        DataError: no checkpoint, a foreign, truncated or broken one, torch is missing, or the form cannot
            run on this device.
    """
    file = resolve_checkpoint(path)
    tensors, stated = read_tensors(file, KIND)
    try:
        info = CheckpointInfo(
            ModelConfig.from_dict(stated["model"]),
            int(stated["epoch"]),
            dict(stated["provenance"]),
            str(stated["leak_status"]),
            str(stated["train_hash"]),
            str(stated["fingerprint"]),
            dict(stated["metrics"]),
            file,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise DataError(f"{file}: {error}") from error
        raise DataError(f"{file}: its header lacks what a checkpoint states: {one_line(error)}") from error
    from lvmfast.models.build import build

    config = info.config
    if form is not None and MODELS[config.model].forms:
        config = replace(config, form=form)
    try:
        model = build(config, device=device)
    except DataError as error:
        hint = "; form reference computes the same without them" if config.form == "kernels" else ""
        raise DataError(f"{file}: {error}{hint}") from error
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise DataError(f"{file}: weights that do not fit its model: {one_line(error)}") from error
    return model.eval(), info
