"""What becomes of work on a cluster: how often each item was begun, what failed, in words and where."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

from lvmfast._core import __version__
from lvmfast.errors import DataError

#: How often an item is begun whose workers die, with their nodes or by themselves: Ray would try for ever.
MOST_TRIES = 6


def numbered(ray: Any, items: Sequence[pa.Table]) -> Any:
    """The items, each a table of one row, as a dataset of Ray with their numbers."""
    return ray.data.from_arrow(
        [item.append_column("number", pa.array([number], pa.int64())) for number, item in enumerate(items)]
    )


def driver_version() -> str:
    """That workers are to have, too."""
    return __version__


def other_version(drivers: str) -> str:
    """What is wrong with working here for a driver of that version, or nothing."""
    if drivers == __version__:
        return ""
    return f"a worker has lvmfast {__version__}, the driver {drivers}: put one on all nodes"


class Ledger:
    """What workers and driver tell one another of one piece of work: an actor, by its handle."""

    def __init__(self, ray: Any) -> None:
        """Nothing begun."""
        self._actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Ledger).remote()

    def begin(self, number: int) -> str:
        """Begins an item; says what is wrong with that, or nothing."""
        if self._ask("begun", number) > MOST_TRIES:
            return f"{MOST_TRIES} workers died over one item, perhaps because memory ran out: see Ray's logs"
        return ""

    def end(self, number: int) -> None:
        """An item is through."""
        self._actor.end.remote(number)

    def ended(self) -> int:
        """How many items are."""
        return int(self._ask("ended"))

    def fail(self, fault: str) -> None:
        """What is wrong, where Ray would hide it in a trace; the first counts."""
        self._ask("fail", fault)

    def fault(self) -> str:
        """What was wrong, or nothing."""
        return str(self._ask("fault"))

    def _ask(self, method: str, *arguments: Any) -> Any:
        import ray

        return ray.get(getattr(self._actor, method).remote(*arguments))


class _Ledger:
    """The actor."""

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


def on_this_node(error: Exception) -> str:
    """What is wrong, in a line, and where."""
    kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
    return f"{kind}{' '.join(str(error).split())} (on node {os.uname().nodename})"


@contextmanager
def told_in_a_line(fault: Callable[[], str] = str) -> Iterator[None]:
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
