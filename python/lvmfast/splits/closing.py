"""The scan that ends every making of a clean split, and that `verify` runs again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lvmfast.api import leakscan
from lvmfast.corpus.budget import limited
from lvmfast.leaks.progress import Progress
from lvmfast.report.leak_report import LeakReport


@limited
def closing_scan(
    train: Sequence[str],
    eval: Sequence[str],
    payloads: tuple[Sequence[str] | None, Sequence[str] | None],
    options: Mapping[str, Any],
    *,
    threads: int,
    memory_limit: int | None,
    progress: Progress,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
) -> LeakReport:
    """Scans two sides with the options of a summary, but tolerates nothing.

    Args:
        train: files.
        eval: files.
        payloads: the texts of train and of eval; read once where they are the same.
        options: the part `options` of a summary.
        threads: 0 for one per available core.
        memory_limit: bytes; a scan that would need more is refused.
        progress: as for a scan.
        engine: likewise.
        ray_address: likewise.

    Raises:
        DataError: as `leakscan`.
    """
    one = payloads[0] == payloads[1]
    return leakscan(
        train,
        eval,
        payload=payloads[0] if one else None,
        train_payload=None if one else payloads[0],
        eval_payload=None if one else payloads[1],
        levels=options["levels"],
        threshold=options["threshold"],
        normalize=options["normalize"],
        min_chars=options["min_chars"],
        max_df=options["max_df"],
        max_pairs=options["max_pairs"],
        columns=options["columns"],
        threads=threads,
        memory_limit=memory_limit,
        engine=engine,
        ray_address=ray_address,
        progress=progress,
    )
