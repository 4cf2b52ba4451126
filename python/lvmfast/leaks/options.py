"""What a scan is asked to do."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from lvmfast.corpus.budget import BLOCK_BYTES, share_of
from lvmfast.errors import DataError
from lvmfast.leaks.rules import OWN, RULES

#: A key of `levels.LEVELS`: as the command line, the summary and the tables have it.
LevelName = str

Normalization = Literal["default", "none", "strict"]
Short = Literal["count", "leak"]

DEFAULT_THRESHOLD = 0.995
DEFAULT_MIN_CHARS = 16
DEFAULT_MAX_PAIRS = 1_000_000

MOST_THREADS = 1024


@dataclass(frozen=True)
class ScanOptions:
    """Options of a scan. The first block changes the answer; the second changes only how it is found."""

    levels: Collection[LevelName] | None = None  #: None: every level whose columns are there
    threshold: float = DEFAULT_THRESHOLD  #: cosine from which a pair is a match
    normalize: Normalization = "default"
    min_chars: int = DEFAULT_MIN_CHARS  #: shorter normalised texts are unchecked
    max_df: int | None = None  #: a text in more documents than this is boilerplate, set apart
    overlap_rule: str = OWN  #: of `rules.RULES`: what makes an evaluation item a leak at overlap
    overlap_short: Short = "count"  #: what a whole match of under 8 words is: counted, or a leak
    join_chunks: bool = False  #: whether training rows that are chunks of a document are looked at together
    encoder: str | None = None  #: what makes vectors of texts that have none: a folder or a name on the hub
    allow: Mapping[LevelName, float] = field(default_factory=dict)  #: tolerated fraction of rows per level
    nearest: bool = False  #: whether to find the nearest training row of every evaluation row
    max_pairs: int = DEFAULT_MAX_PAIRS  #: rows of evidence kept per level; counts are never cut

    threads: int = 0  #: 0: one per available core
    device: str = "cpu"  #: where vectors are compared: cpu, cuda or cuda:N
    memory_limit: int | None = None  #: bytes; None: what the system has available
    scratch: str | None = None  #: folder for what does not fit in memory; None: that of temporary files
    most_seconds: float | None = None  #: a comparison of vectors that would take longer is refused

    @property
    def block_bytes(self) -> int:
        """Bytes of rows that are read, and compared, at a time. The answer does not depend on it."""
        return min(BLOCK_BYTES, share_of(self.memory_limit))

    def __post_init__(self) -> None:
        """Holds every option to its domain."""
        if not (isinstance(self.threshold, (int, float)) and -1.0 <= self.threshold <= 1.0):
            raise DataError(f"threshold: expected a cosine in [-1, 1], got {self.threshold}")
        if self.normalize not in get_args(Normalization):
            raise DataError(f"normalize: expected default, none or strict, got {self.normalize!r}")
        if self.overlap_short not in get_args(Short):
            raise DataError(f"overlap_short: expected count or leak, got {self.overlap_short!r}")
        if self.overlap_rule not in RULES:
            raise DataError(f"overlap_rule: expected {', '.join(RULES)}, got {self.overlap_rule!r}")
        if self.overlap_rule != OWN and self.overlap_short != "count":
            raise DataError(f"overlap_short: a choice of the rule {OWN}, not of {self.overlap_rule}")
        for level, rate in self.allow.items():
            if not (math.isfinite(rate) and 0.0 <= rate <= 1.0):
                raise DataError(f"allow: {level}: expected a fraction in [0, 1], got {rate}")
        for name, value, least in (
            ("min_chars", self.min_chars, 0),
            ("max_pairs", self.max_pairs, 1),
            ("max_df", self.max_df, 1),
            ("threads", self.threads, 0),
            ("memory_limit", self.memory_limit, 1),
        ):
            if value is not None and value < least:
                raise DataError(f"{name}: expected at least {least}, got {value}")
            if value is not None and value >= 2**63:
                raise DataError(
                    f"{name}: expected a number that 64 bits hold, got one of {len(str(value))} digits"
                )
        if self.threads > MOST_THREADS:
            raise DataError(f"threads: expected at most {MOST_THREADS}, got {self.threads}")
