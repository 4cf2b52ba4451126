"""The scan that ends every making of a clean split, and that `verify` runs again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from lvmfast.api import leakscan
from lvmfast.corpus.columns import ColumnsOfSides
from lvmfast.corpus.load import Given
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress
from lvmfast.report.leak_report import LeakReport

#: What a proof does not take over: it tolerates nothing, and nearest rows below the threshold prove nothing.
OVERRIDDEN: Mapping[str, Any] = {"allow": {}, "nearest": False}


def closing_scan(
    sides: tuple[Given, Given],
    payloads: tuple[Sequence[str] | None, Sequence[str] | None],
    options: ScanOptions,
    columns: ColumnsOfSides,
    *,
    decisions: str | None = None,
    progress: Progress,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
) -> LeakReport:
    """Scans two sides with the options of another scan, all but those in `OVERRIDDEN`.

    Args:
        sides: train and eval, as `leakscan` takes them.
        payloads: the texts of train and of eval; read once where they are the same.
        options: those of the command, or of the scan that is proven again.
        columns: as for a scan.
        decisions: as for a scan: what is decided to be boilerplate may stand on both sides.
        progress: as for a scan.
        engine: likewise.
        ray_address: likewise.

    Raises:
        DataError: as `leakscan`.
    """
    one = payloads[0] == payloads[1]
    return leakscan(
        *sides,
        payload=payloads[0] if one else None,
        train_payload=None if one else payloads[0],
        eval_payload=None if one else payloads[1],
        columns=columns,
        decisions=decisions,
        engine=engine,
        ray_address=ray_address,
        progress=progress,
        options=replace(options, **OVERRIDDEN),
    )
