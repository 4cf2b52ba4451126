"""Targets of one side inside context windows of the other."""

from __future__ import annotations

from lvmfast.leaks.running import Beginning, Running
from lvmfast.levels.base import Level


def begin(beginning: Beginning) -> Running:
    """Targets and windows of both sides."""
    from lvmfast.leaks.vectors import ContextLevel

    return ContextLevel(beginning)


CONTEXT = Level(
    name="context",
    needs=("vector", "context"),
    what="targets of one side inside context windows of the other, both ways",
    sought="targets inside the other side's windows",
    cannot_see="windows that were built from other chunks",
    by_fingerprint="not checkable: no window is kept",
    cosine=True,
    windows=True,
    not_in_fingerprint=lambda fingerprint: "a fingerprint holds no context windows",
    run=begin,
)
