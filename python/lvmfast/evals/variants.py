"""What stands in the table for each model: itself, and the same predictions ranked in other ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lvmfast.corpus.dataset import Rows
from lvmfast.evals.pools import Pool
from lvmfast.evals.retrieved import Retrieved
from lvmfast.evals.split_status import SplitStatus, worst
from lvmfast.evals.ways import Way

#: (q,) ranks of the true rows; and what a variant gives and takes, where a table of the page says so.
Ranked = tuple[Rows, Mapping[str, Any] | None]


#: Of what a reranker ordered whose training documents were not among those that the scan saw.
FITTED_ELSEWHERE = SplitStatus(
    "unscanned",
    reasons=(
        "the chunks that the reranker was fitted to are not known to be those that the set was scanned "
        "against: --train with the file it was fitted to tells",
    ),
)


@dataclass(frozen=True)
class Variant:
    """A way to rank what any model predicts."""

    rank: Callable[[Retrieved], Ranked]
    way: Callable[[Pool, Way], Way] | None  #: of one query, from the plain way; None: only the truth knows it
    label: str = ""  #: behind the model's name
    kind: str | None = None  #: as `metrics.json` has it; None: that of the model
    neighbours: tuple[int, ...] | None = None  #: for models that take these densities off; None: for any
    small_pools: bool = False  #: whether it is for pools of one document, too
    elsewhere: bool = False  #: fitted to chunks that are not known to be those that were scanned

    def name(self, model: str) -> str:
        """The name of a model that is ranked so."""
        return f"{model} + {self.label}" if self.label else model

    def status(self, of_model: SplitStatus) -> SplitStatus:
        """What is known of leaks, from what is known of the model's."""
        return worst(of_model, FITTED_ELSEWHERE) if self.elsewhere else of_model

    def suits(self, pool: Pool) -> bool:
        """Whether it is for that pool, as a model scores it."""
        return self.serves(pool.neighbours) and (self.small_pools or pool.documents is None)

    def serves(self, neighbours: tuple[int, ...]) -> bool:
        """Whether it is for models that take these densities off."""
        return self.neighbours is None or self.neighbours == neighbours


AS_IS = Variant(lambda at: (at.ranks, None), lambda pool, plain: plain, small_pools=True)
