"""A Ray cluster, whatever is done on it: who connects, what a worker is, and what comes back.

Ray Data distributes the items, restarts what died with its node, and hands over the results as they come.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lvmfast._core import __version__
from lvmfast.errors import DataError, missing_extra

#: Of a worker, beside what the same work holds on one machine: Ray's own.
WORKER_BYTES = 200 << 20
LISTENING_SECONDS = 10.0
#: How often an item is begun whose workers die, with their nodes or by themselves: Ray would try for ever.
MOST_TRIES = 6

#: What a worker does with an item, one row of a table: bytes come back.
Work = Callable[[dict[str, Any]], bytes]


@dataclass(frozen=True)
class Workers:
    """How many workers there can be, and what is set apart for each."""

    count: int
    cpus: int
    gpus: int
    memory: int  #: bytes


class Worker:
    """Makes its work once, does it item by item, and says what is wrong instead of failing."""

    def __init__(
        self,
        version: str,
        begun: Callable[[int], int],
        make: Callable[..., Work],
        arguments: tuple[Any, ...],
    ) -> None:
        """`make(*arguments)` gives the work; it is not made where the driver has another version.

        `begun` counts how often an item, by number, was begun on any worker.
        """
        self._begun, self._fault = begun, ""
        if version != __version__:
            self._fault = f"a worker has lvmfast {__version__}, the driver {version}: put one on all nodes"
            return
        try:
            self._work = make(*arguments)
        except Exception as error:
            self._fault = _on_this_node(error)

    def __call__(self, items: pa.Table) -> pa.Table:
        """The result of each item, or what is wrong with it."""
        results, faults = [], []
        for item in items.to_pylist():
            result, fault = b"", self._fault
            if not fault and self._begun(item["number"]) > MOST_TRIES:
                fault = f"{MOST_TRIES} workers died over one item, perhaps for want of memory: see Ray's logs"
            if not fault:
                try:
                    result = self._work(item)
                except Exception as error:
                    fault = _on_this_node(error)
            results.append(result)
            faults.append(fault)
        return pa.table(
            {
                "number": items["number"],
                "result": pa.array(results, pa.large_binary()),
                "fault": pa.array(faults, pa.string()),
            }
        )


class _Tries:
    """An actor: how often each item was begun."""

    def __init__(self) -> None:
        self._of: Counter[int] = Counter()

    def begun(self, number: int) -> int:
        self._of[number] += 1
        return self._of[number]


class _Begun:
    """Asks that actor."""

    def __init__(self, tries: Any) -> None:
        self._tries = tries

    def __call__(self, number: int) -> int:
        import ray

        return int(ray.get(self._tries.begun.remote(number)))


def _on_this_node(error: Exception) -> str:
    kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
    return f"{kind}{' '.join(str(error).split())} (on node {os.uname().nodename})"


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
    try:
        socket.create_connection((host, int(port)), timeout=LISTENING_SECONDS).close()
    except OSError as error:
        raise DataError(f"ray: no cluster at {address}: {error.strerror or error}") from error


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


def spread(
    ray: Any,
    items: Sequence[pa.Table],
    make: Callable[..., Work],
    arguments: tuple[Any, ...],
    of: Workers,
    *,
    in_order: bool = False,
) -> Iterator[tuple[int, bytes]]:
    """The place of each item and what its work gave, as it comes; an item is a table of one row.

    Args:
        ray: as `connected` gives it.
        items: at least one.
        make: called as `make(*arguments)` on each worker; what it gives is called with each item.
        arguments: objects that Ray can send.
        of: who works.
        in_order: results come in the order of the items; what is early waits in Ray's object store.

    Raises:
        DataError: of a worker, which may have another version, or of the cluster.
    """
    given = ray.data.from_arrow(
        [item.append_column("number", pa.array([number], pa.int64())) for number, item in enumerate(items)]
    )
    given.context.execution_options.preserve_order = in_order
    tries = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Tries).remote()
    results = given.map_batches(
        Worker,
        batch_size=1,
        batch_format="pyarrow",
        concurrency=(1, of.count) if of.count > 1 else 1,
        num_cpus=of.cpus,
        num_gpus=of.gpus or None,
        memory=of.memory,
        fn_constructor_args=(__version__, _Begun(tries), make, arguments),
    )
    left = len(items)
    with _told():
        for table in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in table.to_pylist():
                if row["fault"]:
                    raise DataError(row["fault"])
                left -= 1
                yield row["number"], row["result"]
    if left:
        raise DataError(f"the cluster gave {len(items) - left} of {len(items)} results back")


@contextmanager
def _told() -> Iterator[None]:
    """What became of the cluster, in a line."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause = getattr(error, "cause", None) or error
        raise DataError(f"ray: {type(cause).__name__}: {' '.join(str(cause).split())[:200]}") from error
