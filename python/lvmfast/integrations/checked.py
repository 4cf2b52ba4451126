"""What the callbacks of all trainers do: one scan, on one process, before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from lvmfast.api import leakscan
from lvmfast.errors import DataError, LeakError

OnLeak = Literal["raise", "warn"]
#: For so long the other processes wait for the scan.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Checked:
    """What a scan of two splits came to, small enough to be told to every process."""

    verdict: str  #: that of the report: clean, allowed, leak or incomplete
    sentence: str | None  #: of a scan that did not pass, its closing line
    figures: dict[str, float]  #: for loggers: whether it is a leak, and by level the share of evaluation rows

    def act(self, on_leak: OnLeak) -> None:
        """Raises or warns where the scan did not pass.

        Raises:
            LeakError: with ``raise``.
        """
        if self.sentence is None:
            return
        if on_leak == "raise":
            raise LeakError(self.sentence)
        warnings.warn(self.sentence, RuntimeWarning, stacklevel=3)


def check(train: Any, eval: Any, options: dict[str, Any]) -> Checked:
    """Scans in the first process of a group; the others wait and have its answer, or its error.

    Raises:
        DataError: the two cannot be compared.
    """
    return _told_to_all(lambda: _scan(train, eval, options))


def check_choice(on_leak: str) -> None:
    """Holds `on_leak` to what there is.

    Raises:
        DataError: it is something else.
    """
    if on_leak not in get_args(OnLeak):
        raise DataError(f"on_leak: expected raise or warn, got {on_leak!r}")


def _scan(train: Any, eval: Any, options: dict[str, Any]) -> Checked:
    report = leakscan(train, eval, **options)
    sentence = None
    try:
        report.raise_if_leaky()
    except LeakError as leak:
        sentence = str(leak)
    figures = {"leakcheck/leak": float(not report.passed)}
    for name, level in report.summary["levels"].items():
        if level["eval_rate"] is not None:
            figures[f"leakcheck/{name}"] = level["eval_rate"]
    return Checked(report.summary["verdict"], sentence, figures)


def _told_to_all(work: Callable[[], Checked]) -> Checked:
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return work()
    # A group of its own: NCCL's would take the wait for a fault, and needs a GPU.
    group = dist.new_group(backend="gloo", timeout=_PATIENCE)
    told: list[Any] = [None]
    if dist.get_rank() == 0:
        try:
            told = [work()]
        except Exception as error:  # the others must not wait for ever
            told = [error]
    dist.broadcast_object_list(told, src=0, group=group)
    dist.destroy_process_group(group)
    if isinstance(told[0], Exception):
        raise told[0]
    answer: Checked = told[0]
    return answer
