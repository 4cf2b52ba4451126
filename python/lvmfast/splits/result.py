"""What `clean` and `split` give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmfast.splits.certificate import ClosingScan


@dataclass(frozen=True)
class CleanSplit:
    """A split that was made clean, or was to be: with a closing scan that failed nothing was written."""

    folder: Path
    scans: tuple[ClosingScan, ...]
    certificate: Mapping[str, Any] | None  #: what `clean.json` says; None where a closing scan found a leak
    timings: Mapping[str, float]  #: seconds per phase

    @property
    def passed(self) -> bool:
        """Whether every closing scan was clean, so that the folder is there."""
        return self.certificate is not None
