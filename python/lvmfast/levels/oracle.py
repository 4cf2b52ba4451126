"""Targets inside their own context window."""

from __future__ import annotations

from lvmfast.leaks.running import Beginning, Running
from lvmfast.levels.base import Level


def begin(beginning: Beginning) -> Running:
    """Targets and windows of the evaluation side."""
    from lvmfast.leaks.vectors import OracleLevel

    return OracleLevel(beginning)


ORACLE = Level(
    name="oracle",
    needs=("vector", "context"),
    what="an evaluation row whose own context contains its target: the query holds the answer",
    sought="targets inside their own windows",
    cannot_see="targets that only nearly repeat their context",
    by_fingerprint="as ever; it needs the evaluation set alone",
    cosine=True,
    sides=("eval",),
    run=begin,
)
