"""Embedding on a Ray cluster: an encoder on every worker, texts go there and vectors come back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.dataset import Vectors
from lvmfast.encoding.encoder import Encoder
from lvmfast.encoding.parts import Embed, EmbedHere, Run
from lvmfast.engines.cluster import WORKER_BYTES, connected, gpus, on_ray, workers
from lvmfast.engines.spread import spread
from lvmfast.errors import DataError

#: Of a worker beside its weights, which it holds twice while they are loaded: torch, and what 64 long texts
#: need in an encoder of customary size.
ENCODER_BYTES = 2 << 30
#: Texts that Ray holds at once: workers are made anew when these are through.
ROUND_BYTES = 512 << 20


class TextEncoder:
    """The work of a worker: vectors of texts."""

    def __init__(
        self, name: str, device: str, bf16: bool, batch_size: int, cpus: int, stated: Mapping[str, Any]
    ) -> None:
        """Loads the encoder, whose provenance the driver has `stated`.

        Raises:
            DataError: it cannot be loaded, or is another one than the driver's.
        """
        if device == "cpu":
            import torch

            torch.set_num_threads(cpus)
        self._encoder = Encoder(name, device=device, bf16=bf16, batch_size=batch_size)
        for what, value in self._encoder.provenance.items():
            if value != stated.get(what):
                raise DataError(f"{name}: {what}: expected {stated.get(what)} as the driver has, got {value}")

    def __call__(self, item: dict[str, Any]) -> bytes:
        """The vectors of one run, float32, row after row."""
        return self._encoder.encode(item["texts"]).tobytes()


class RayEmbed:
    """Embeds runs of texts on the workers of a cluster: one for each GPU, or without any, for each node."""

    device = ""

    def __init__(self, address: str | None, device: str | None) -> None:
        """Connects to nothing yet.

        Args:
            address: as `ray.init` takes it; None for a cluster of this machine that ends with the work.
            device: cpu, or cuda for one GPU a worker; None for GPUs where the cluster has any.

        Raises:
            DataError: the device is none of these.
        """
        if device not in (None, "cpu", "cuda"):
            raise DataError(f"device: the engine ray has cpu, or cuda for one GPU a worker, got {device!r}")
        self._address, self._asked = address, device

    def __call__(self, encoder: Encoder, runs: Iterator[Run]) -> Iterator[tuple[int, Vectors]]:
        """As `parts.Embed`.

        Raises:
            DataError: no cluster is at the address, it has no GPU though one was asked for or not the memory
                that a worker needs, or a worker has another version or another encoder.
        """
        first = next(runs, None)
        if first is None:
            return
        runs = chain([first], runs)
        with connected(self._address) as ray:
            gpu = self._asked == "cuda" or (self._asked is None and gpus(ray) > 0)
            if gpu and not gpus(ray):
                raise DataError("device: expected cuda, the cluster has no GPU")
            need = ENCODER_BYTES + 2 * encoder.nbytes + WORKER_BYTES
            those = workers(ray, need, gpu=gpu)
            device = "cuda" if gpu else "cpu"
            self.device = f"ray: {device}, {those.count} worker{'s' if those.count > 1 else ''}"
            arguments = (
                _name(encoder),
                device,
                encoder.bf16,
                encoder.batch_size,
                those.cpus,
                encoder.provenance,
            )
            while held := _round(runs):
                numbers = [number for number, _ in held]
                for place, result in spread(ray, [texts for _, texts in held], TextEncoder, arguments, those):
                    yield numbers[place], np.frombuffer(result, np.float32).reshape(-1, encoder.dim)


def embedder_of(engine: str, ray_address: str | None, device: str | None) -> Embed:
    """Who embeds, by engine.

    Raises:
        DataError: as `on_ray` and `RayEmbed`.
    """
    return RayEmbed(ray_address, device) if on_ray(engine, ray_address) else EmbedHere()


def device_here(engine: str, device: str | None) -> str | None:
    """Where the encoder runs in this process, which with Ray only counts tokens."""
    return "cpu" if engine == "ray" else device


def _name(encoder: Encoder) -> str:
    """The name by which a worker loads the encoder."""
    folder = os.path.expanduser(encoder.name)
    return os.path.abspath(folder) if os.path.isdir(folder) else encoder.name


def _round(runs: Iterator[Run]) -> list[tuple[int, pa.Table]]:
    """The next runs as items, of about `ROUND_BYTES`."""
    held: list[tuple[int, pa.Table]] = []
    size = 0
    for number, texts in runs:
        held.append((number, pa.table({"texts": pa.array([texts], pa.large_list(pa.large_string()))})))
        size += held[-1][1].nbytes
        if size >= ROUND_BYTES:
            break
    return held
