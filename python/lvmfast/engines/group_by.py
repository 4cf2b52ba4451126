"""Ray's group-by: items are parted into rows, and what belongs together is joined."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

from lvmfast.engines.cluster import Workers
from lvmfast.engines.ledger import (
    Ledger,
    driver_version,
    numbered,
    on_this_node,
    other_version,
    told_in_a_line,
)
from lvmfast.errors import DataError

#: How often it is looked how many items are parted.
LOOK_SECONDS = 0.5

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
    ledger = Ledger(ray)
    how: dict[str, Any] = {"batch_format": "pyarrow", "num_cpus": of.cpus, "memory": of.memory}
    arguments = (driver_version(), ledger)
    rows = numbered(ray, items).map_batches(_parted, batch_size=1, fn_args=(*arguments, part), **how)
    grouped = rows.groupby("group", num_partitions=groups)
    results = grouped.map_groups(_joined, fn_args=(*arguments, join, len(items)), **how)
    with told_in_a_line(ledger.fault), _watched(ledger.ended, len(items), parted):
        for table in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from table["result"].to_pylist()


def _parted(items: pa.Table, version: str, ledger: Ledger, part: Part) -> pa.Table:
    (item,) = items.to_pylist()
    with _work(version, ledger, item["number"]):
        rows = part(item)
    ledger.end(item["number"])
    return rows


def _joined(rows: pa.Table, version: str, ledger: Ledger, join: Join, items: int) -> pa.Table:
    with _work(version, ledger, items + 1 + rows["group"][0].as_py()):
        return pa.table({"result": pa.array(join(rows), pa.large_binary())})


@contextmanager
def _work(version: str, ledger: Ledger, number: int) -> Iterator[None]:
    """Tells the ledger what is wrong with what is done inside."""
    try:
        fault = other_version(version) or ledger.begin(number)
        if fault:
            raise DataError(fault)
        yield
    except Exception as error:
        ledger.fail(on_this_node(error))
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
