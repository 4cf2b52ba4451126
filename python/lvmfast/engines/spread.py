"""Work spread over a cluster: each worker makes it once, results come back item by item.

Ray Data distributes the items, restarts what died with its node, and hands over the results as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

#: What a worker does with an item, one row of a table: bytes come back.
Work = Callable[[dict[str, Any]], bytes]


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
    given = numbered(ray, items)
    given.context.execution_options.preserve_order = in_order
    results = given.map_batches(
        Worker,
        batch_size=1,
        batch_format="pyarrow",
        concurrency=(1, of.count) if of.count > 1 else 1,
        num_cpus=of.cpus,
        num_gpus=of.gpus or None,
        memory=of.memory,
        fn_constructor_args=(driver_version(), Ledger(ray), make, arguments),
    )
    left = len(items)
    with told_in_a_line():
        for table in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in table.to_pylist():
                if row["fault"]:
                    raise DataError(row["fault"])
                left -= 1
                yield row["number"], row["result"]
    if left:
        raise DataError(f"the cluster gave {len(items) - left} of {len(items)} results back")


class Worker:
    """Makes its work once, does it item by item, and says what is wrong instead of failing."""

    def __init__(
        self,
        version: str,
        ledger: Ledger,
        make: Callable[..., Work],
        arguments: tuple[Any, ...],
    ) -> None:
        """`make(*arguments)` gives the work; it is not made where the driver has another `version`."""
        self._ledger, self._fault = ledger, other_version(version)
        if self._fault:
            return
        try:
            self._work = make(*arguments)
        except Exception as error:
            self._fault = on_this_node(error)

    def __call__(self, items: pa.Table) -> pa.Table:
        """The result of each item, or what is wrong with it."""
        results, faults = [], []
        for item in items.to_pylist():
            result, fault = b"", self._fault or self._ledger.begin(item["number"])
            if not fault:
                try:
                    result = self._work(item)
                except Exception as error:
                    fault = on_this_node(error)
            results.append(result)
            faults.append(fault)
        return pa.table(
            {
                "number": items["number"],
                "result": pa.array(results, pa.large_binary()),
                "fault": pa.array(faults, pa.string()),
            }
        )
