"""Where a run computes, and in which precision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from lvmfast.errors import DataError
from lvmfast.training.config import TrainConfig


@dataclass(frozen=True)
class Place:
    """A device and how it computes there."""

    device: torch.device
    name: str  #: ``cpu``, or ``cuda:0 (...)`` with the name of the GPU
    precision: str  #: float32 or bf16: of the model; the loss is always computed in float32
    compiled: bool

    def autocast(self) -> Any:
        """A context in which the model computes in the run's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def likely_device(config: TrainConfig) -> str:
    """cuda or cpu: by what processes will talk, before it is known that the device is there."""
    return "cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu"


def find_place(config: TrainConfig) -> Place:
    """Settles what the configuration leaves to the machine.

    Raises:
        DataError: a GPU was asked for where torch sees none.
    """
    wanted = config.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda"):
        seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = int(wanted.partition(":")[2] or os.environ.get("LOCAL_RANK", "0"))
        if number >= seen:
            raise DataError(f"device: {config.device}: torch {torch.__version__} sees {seen} GPUs here")
        device = torch.device("cuda", number)
        name = f"{device} ({torch.cuda.get_device_name(device)})"
    else:
        device, name = torch.device("cpu"), "cpu"
    on_gpu = device.type == "cuda"
    precision = ("bf16" if on_gpu else "float32") if config.precision == "auto" else config.precision
    # Batches of documents have another shape each time: compiling them anew would take longer than it saves.
    worth = on_gpu and config.layout == "windows"
    compiled = worth if config.compile == "auto" else config.compile == "on"
    return Place(device, name, precision, compiled)


@contextmanager
def repeatable(place: Place) -> Iterator[None]:
    """Algorithms that give the same bits again until the block ends, and then torch's threads as before."""
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
    )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
        torch.set_float32_matmul_precision("high")  # TF32 for the scores; float32 sums
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.set_float32_matmul_precision(before[2])
        torch.set_num_threads(before[3])
