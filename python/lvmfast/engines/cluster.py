"""A Ray cluster, whatever is done on it: who connects, and how many workers it holds."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from lvmfast.errors import DataError, missing_extra, naming

#: Of a worker, beside what the same work holds on one machine: Ray's own.
WORKER_BYTES = 200 << 20
LISTENING_SECONDS = 10.0


@dataclass(frozen=True)
class Workers:
    """How many workers there can be, and what is set apart for each."""

    count: int
    cpus: int
    gpus: int
    memory: int  #: bytes


def on_ray(engine: str, address: str | None) -> bool:
    """Whether an engine is Ray, which is there then; the other one is local.

    Raises:
        DataError: it is neither, Ray is not installed, nobody listens at the address, or there is an address
            for the engine local.
    """
    if engine not in ("local", "ray"):
        raise DataError(f"engine: expected local or ray, got {engine!r}")
    if engine == "local":
        if address is not None:
            raise DataError("ray_address: is for the engine ray")
        return False
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise missing_extra("the engine ray", "ray", error) from error
    _check_listening(address)
    return True


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, connected; what was started here is stopped.

    Args:
        address: as `ray.init` takes it; None for a cluster of this machine that ends with the work.

    Raises:
        DataError: there is no such cluster.
    """
    import ray
    import ray.data

    mine = not ray.is_initialized()
    if mine:
        _check_listening(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        local: dict[str, Any] = {"include_dashboard": False} if address is None else {}
        try:
            ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **local)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise DataError(f"ray: {' '.join(str(error).split())[:200]}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        yield ray
    finally:
        if mine:
            with suppress(Exception):
                ray.shutdown()


def _check_listening(address: str | None) -> None:
    """Holds an address to have somebody at it: Ray itself would ask for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return
    with naming("ray", f"no cluster at {address}"):
        socket.create_connection((host, int(port)), timeout=LISTENING_SECONDS).close()


def gpus(ray: Any) -> int:
    """GPUs of the cluster."""
    return sum(int(node.get("GPU", 0)) for node in _nodes(ray))


def workers(ray: Any, memory: int, cpus: int = 0, *, gpu: bool = False) -> Workers:
    """As many workers as the cluster can hold.

    Args:
        ray: as `connected` gives it.
        memory: bytes that a worker needs.
        cpus: processors of a worker; 0 for those of the smallest node, or with `gpu` its share of them.
        gpu: whether each has a GPU of its own.

    Raises:
        DataError: no node has what a worker needs.
    """
    nodes = [node for node in _nodes(ray) if not gpu or node.get("GPU", 0) >= 1]
    largest = max((node.get("memory", 0) for node in nodes), default=0)
    if largest < memory:
        raise DataError(
            f"a worker needs about {memory / 2**30:.2f} GiB, and no node of the cluster gives more than "
            f"{largest / 2**30:.2f} GiB"
        )
    shares = [node["CPU"] // (node["GPU"] if gpu else 1) for node in nodes]
    cpus = cpus or max(1, int(min(shares)))
    fitting = [
        min(
            int(node["CPU"]) // cpus,
            int(node.get("memory", 0)) // memory,
            *((int(node["GPU"]),) if gpu else ()),
        )
        for node in nodes
    ]
    if not sum(fitting):
        raise DataError(
            f"no node of the cluster has {cpus} processors and {memory / 2**30:.2f} GiB for a worker"
        )
    return Workers(sum(fitting), cpus, int(gpu), memory)


def _nodes(ray: Any) -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
