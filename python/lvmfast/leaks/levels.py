"""Names from before levels had a package, for the arithmetic."""

from __future__ import annotations

from lvmfast.corpus.sides import SIDES, Side, other_side
from lvmfast.levels import LEVELS, columns_of, parse_levels
from lvmfast.levels.base import LevelName as Level

COSINE_LEVELS = tuple(name for name, level in LEVELS.items() if level.cosine)

__all__ = ["COSINE_LEVELS", "LEVELS", "SIDES", "Level", "Side", "columns_of", "other_side", "parse_levels"]
