"""What an evaluation is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from lvmfast.errors import DataError
from lvmfast.evals.pools import POOLS, PoolName
from lvmfast.evals.scoring import Bootstrap
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress, silent


@dataclass(frozen=True)
class EvalOptions:
    """The arguments of `evaluate`, which says what each of them means."""

    checkpoint: str | PathLike[str] | None = None
    eval_npz: Any = None
    payload: Any = None
    pools: Sequence[str] = ("eval",)
    compare: Sequence[str | PathLike[str]] = ()
    train: Any = None
    domains: str | PathLike[str] | None = None
    density: float | None = None
    rerank: str | None = None
    gate_domains: str | None = None
    approximate: str | None = None
    gates: str | None = None
    max_p95: float | None = None
    phase: int | None = None
    device: str = "cpu"
    form: str | None = None
    columns: Mapping[str, str] | None = None
    allow_leaked: bool = False
    resamples: int = Bootstrap.resamples
    seed: int = 0
    threads: int = 0
    progress: Progress = silent

    def __post_init__(self) -> None:
        """Holds what is asked to what can be.

        Raises:
            DataError: it cannot.
        """
        if self.phase not in (None, 1, 2):
            raise DataError(f"phase: expected 1 or 2, got {self.phase}")
        if self.phase == 2 and self.allow_leaked:
            raise DataError("phase 2: absolute figures, on a clean split only: --allow-leaked is for phase 1")
        if self.max_p95 is not None and not self.max_p95 > 0:
            raise DataError(f"max-p95: expected milliseconds above 0, got {self.max_p95:g}")
        if self.max_p95 is not None and self.gates is None:
            raise DataError("max-p95: it needs --gates: a latency alone says nothing about a model")
        asked = [name for name in VARIANTS if getattr(self, name) is not None]
        if asked and all(pool == "same-doc" for pool in self.pool_names):
            raise DataError(
                f"{asked[0].replace('_', '-')}: the pool same-doc has a document's few candidates and is "
                "neither reordered nor gated; ask for the pool eval or corpus too"
            )

    @property
    def models(self) -> list[str | PathLike[str]]:
        """All that are named, the one that gates decide about first."""
        return [*([] if self.checkpoint is None else [self.checkpoint]), *self.compare]

    @property
    def pool_names(self) -> list[PoolName]:
        """The pools, each once.

        Raises:
            DataError: one that is not known, or none.
        """
        known: dict[str, PoolName] = {name: name for name in POOLS}
        for name in self.pools:
            if name not in known:
                raise DataError(f"pool: expected one of {', '.join(POOLS)}, got {name!r}")
        if not self.pools:
            raise DataError(f"pool: expected at least one of {', '.join(POOLS)}")
        return [known[name] for name in dict.fromkeys(self.pools)]

    @property
    def bootstrap(self) -> Bootstrap:
        """How intervals are drawn."""
        return Bootstrap(resamples=self.resamples, seed=self.seed)

    @property
    def scan(self) -> ScanOptions:
        """How the set is scanned against what a model was trained on."""
        return ScanOptions(threads=self.threads)


#: What puts more than the models themselves in the table.
VARIANTS = ("density", "rerank", "gate_domains", "approximate")
