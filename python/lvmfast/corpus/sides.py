"""The two sides of a scan."""

from __future__ import annotations

from typing import Literal

Side = Literal["train", "eval"]

SIDES: tuple[Side, ...] = ("train", "eval")


def other_side(side: Side) -> Side:
    """train for eval, eval for train."""
    return "train" if side == "eval" else "eval"
