"""What a run says at its end that began as a baseline: whether training is shown to have made it better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvmfast.models.config import ON_LINEAR, RESIDUALS
from lvmfast.shown import counted
from lvmfast.training.state import Position

_WORDS = {"val_mrr": "MRR", "val_r5": "R@5", "val_cosine": "cosine", "val_loss": "loss"}


def concluded(position: Position, residual: str) -> str | None:
    """Some sentences with figures; None for a run that did not begin as a baseline, or has no epoch yet."""
    over, start = position.over_start, position.start
    if over is None or start is None:
        return None
    named = "the fitted linear scorer" if residual == ON_LINEAR else RESIDUALS[residual]
    by, epoch = over["by"], over["epoch"]
    digits = 1 if by == "val_r5" else 3
    before = start["figures"][by]
    figures = (
        f"validation {_WORDS[by]} {before + over['difference']:.{digits}f}, {before:.{digits}f} at the "
        f"start, {over['difference']:+.{digits}f} {_interval(over, digits)}"
    )
    if over["above"]:
        return f"Epoch {epoch} is better than the start, which is {named}: {figures}."
    return (
        f"No epoch is shown to be better than the start, which is {named}: the best epoch is 0, before "
        f"training. The nearest is epoch {epoch}: {figures}."
    )


def _interval(over: Mapping[str, Any], digits: int) -> str:
    low, high = over["interval"]
    documents = counted(over["documents"], "document")
    if low is None or high is None:
        return f"({documents}: no interval can be drawn)"
    return f"[{low:+.{digits}f}, {high:+.{digits}f}] over {documents}"
