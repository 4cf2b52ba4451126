"""A Ray cluster, whatever is done on it: who connects, what a worker is, and what comes back.

Ray Data distributes the items, restarts what died with its node, and hands over the results as they come.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from lvmfast._core import __version__
from lvmfast.errors import DataError, missing_extra

#: Of a worker, beside what the same work holds on one machine: Ray's own.
WORKER_BYTES = 200 << 20
LISTENING_SECONDS = 10.0
#: How often an item is begun whose workers die, with their nodes or by themselves: Ray would try for ever.
MOST_TRIES = 6

_DEADLY = f"{MOST_TRIES} workers died over one item, perhaps for want of memory: see Ray's logs"
#: How often it is looked how many items have ended, where nothing comes back for each.
LOOK_SECONDS = 0.5

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
            self._fault = _other_version(version)
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
                fault = _DEADLY
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


class _Ledger:
    """An actor: how often each item was begun, which have ended, and what went wrong first."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()
        self._ended: set[int] = set()
        self._fault = ""

    def begun(self, number: int) -> int:
        self._begun[number] += 1
        return self._begun[number]

    def end(self, number: int) -> None:
        self._ended.add(number)

    def ended(self) -> int:
        return len(self._ended)

    def fail(self, fault: str) -> None:
        self._fault = self._fault or fault

    def fault(self) -> str:
        return self._fault


class _Begun:
    """Asks that actor."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def __call__(self, number: int) -> int:
        import ray

        return int(ray.get(self._ledger.begun.remote(number)))


def _other_version(drivers: str) -> str:
    return f"a worker has lvmfast {__version__}, the driver {drivers}: put one on all nodes"


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
    given = _numbered(ray, items)
    given.context.execution_options.preserve_order = in_order
    ledger = _ledger(ray)
    results = given.map_batches(
        Worker,
        batch_size=1,
        batch_format="pyarrow",
        concurrency=(1, of.count) if of.count > 1 else 1,
        num_cpus=of.cpus,
        num_gpus=of.gpus or None,
        memory=of.memory,
        fn_constructor_args=(__version__, _Begun(ledger), make, arguments),
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


def _ledger(ray: Any) -> Any:
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Ledger).remote()


def _numbered(ray: Any, items: Sequence[pa.Table]) -> Any:
    return ray.data.from_arrow(
        [item.append_column("number", pa.array([number], pa.int64())) for number, item in enumerate(items)]
    )


#: What an item is parted into: rows whose int32 column `group` says which belong together.
Part = Callable[[dict[str, Any]], pa.Table]
#: What the rows of a group become.
Join = Callable[[pa.Table], Sequence[bytes]]


def by_group(
    ray: Any,
    items: Sequence[pa.Table],
    part: Part,
    join: Join,
    of: Workers,
    groups: int,
    parted: Callable[[int], None],
) -> Iterator[bytes]:
    """What `join` makes of each group of the rows into which `part` parts the items: Ray's group-by.

    What dies with a node is done again; nothing is kept in a worker.

    Args:
        ray: as `connected` gives it.
        items: at least one, each a table of one row.
        part: a function that Ray can send.
        join: the same.
        of: what each task takes.
        groups: how many groups there are, about.
        parted: told now and then, from another thread, how many items are parted.

    Raises:
        DataError: of a worker, which may have another version, or of the cluster.
    """
    ledger = _ledger(ray)
    how: dict[str, Any] = {"batch_format": "pyarrow", "num_cpus": of.cpus, "memory": of.memory}
    arguments = (__version__, ledger)
    rows = _numbered(ray, items).map_batches(_parted, batch_size=1, fn_args=(*arguments, part), **how)
    grouped = rows.groupby("group", num_partitions=groups)
    results = grouped.map_groups(_joined, fn_args=(*arguments, join, len(items)), **how)
    fault = partial(_ask, ray, ledger.fault)
    with _told(fault), _watched(partial(_ask, ray, ledger.ended), len(items), parted):
        for table in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from table["result"].to_pylist()


def _ask(ray: Any, method: Any) -> Any:
    return ray.get(method.remote())


def _parted(items: pa.Table, version: str, ledger: Any, part: Part) -> pa.Table:
    (item,) = items.to_pylist()
    with _work(version, ledger, item["number"]):
        rows = part(item)
    ledger.end.remote(item["number"])
    return rows


def _joined(rows: pa.Table, version: str, ledger: Any, join: Join, items: int) -> pa.Table:
    if rows.num_rows == 0:  # asked for what comes out
        return pa.table({"result": pa.array([], pa.large_binary())})
    with _work(version, ledger, items + 1 + rows["group"][0].as_py()):
        return pa.table({"result": pa.array(join(rows), pa.large_binary())})


@contextmanager
def _work(version: str, ledger: Any, number: int) -> Iterator[None]:
    """Says what is wrong with work done inside, and where; Ray would hide it in a trace."""
    import ray

    try:
        if version != __version__:
            raise DataError(_other_version(version))
        if _Begun(ledger)(number) > MOST_TRIES:
            raise DataError(_DEADLY)
        yield
    except Exception as error:
        ray.get(ledger.fail.remote(_on_this_node(error)))
        raise


@contextmanager
def _watched(look: Callable[[], int], until: int, told: Callable[[int], None]) -> Iterator[None]:
    """Tells what is seen when it has changed, from another thread, `until` it is so much."""
    over = threading.Event()

    def watch() -> None:
        seen = 0
        with suppress(Exception):  # of a cluster that ends
            while seen < until and not over.wait(LOOK_SECONDS):
                now = look()
                if now > seen:
                    told(now)
                    seen = now

    thread = threading.Thread(target=watch, name="lvmfast-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _told(fault: Callable[[], str] = str) -> Iterator[None]:
    """What became of the cluster, in a line; `fault` knows better where work failed."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        known = ""
        with suppress(RayError):
            known = fault()
        cause = getattr(error, "cause", None) or error
        raise DataError(
            known or f"ray: {type(cause).__name__}: {' '.join(str(cause).split())[:200]}"
        ) from error
