"""What `clean` and `split` give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from lvmfast.splits.certificate import ClosingScan
from lvmfast.stores import is_uri


@dataclass(frozen=True)
class CleanSplit:
    """A split that was made clean, or was to be: with a closing scan that failed nothing was written."""

    folder: Path | str  #: text where it is a URI
    scans: tuple[ClosingScan, ...]
    certificate: Mapping[str, Any] | None  #: what `clean.json` says; None where a closing scan found a leak
    timings: Mapping[str, float]  #: seconds per phase

    @property
    def passed(self) -> bool:
        """Whether every closing scan was clean, so that the folder is there."""
        return self.certificate is not None


def place_of(out: str | PathLike[str]) -> Path | str:
    """`out` as a result names it: a URI as it is."""
    return fspath(out) if is_uri(out) else Path(out)
