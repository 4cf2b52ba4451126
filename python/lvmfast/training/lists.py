"""Lists of candidates, for a model that scores them by a few figures of each (`models/linear.py`).

Training documents are dealt into pools of about `DOCUMENTS`, `DEALINGS` times: densities are those of some
pool. Every sequence has a list in each of its pools: its own target, and the others that the lag mix less
density puts first, without its own context. The loss is the cross entropy between the softmax of a list's
scores and its target (Cao et al., ICML 2007), the mean over its lists.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lvmfast.corpus.dataset import Rows
from lvmfast.evals.density import NEIGHBOURS, WEIGHT
from lvmfast.models.linear import Linear
from lvmfast.training.batches import LISTS, generator
from lvmfast.training.compute import Compute
from lvmfast.training.config import TrainConfig
from lvmfast.training.device import Place
from lvmfast.training.identities import Identities
from lvmfast.training.loss import Objective, RowLosses
from lvmfast.training.steps import Micro, Step, StepReader
from lvmfast.training.validation import augmented_pool, make_pool

DOCUMENTS, DEALINGS, CANDIDATES = 17, 2, 100
#: Sequences that twelve weights are learned from at most, in whole documents drawn by the seed.
SEQUENCES = 16_384
#: Cosines of windows with a pool that are computed at a time.
_COSINES = 1 << 25


class ListCompute(Compute):
    """A linear model on its device, and the lists that it is trained on and judged by.

    A list is (candidates, length + m + 1): cosines with the window's vectors, densities with their sign
    turned, and 0, or minus infinity where a small pool has no candidate to put there. The target comes first.
    """

    def __init__(self, config: TrainConfig, model: Linear, objective: Objective, place: Place) -> None:
        """`model` is untrained: its weights are the lag mix by which candidates are picked."""
        super().__init__(config, model, objective, place)
        self._linear = model
        self._mix = nn.functional.normalize(model.lags.detach().clone(), p=1, dim=0)
        self._lists: dict[bool, Tensor] = {}  #: of the side that trains, and of the other

    def bank(self, reader: StepReader, places: Rows) -> Tensor | None:
        """(n, dealings, candidates, figures) lists of all sequences of a side, made once."""
        if reader.trains not in self._lists:
            self._lists[reader.trains] = self._made(reader)
        return self._lists[reader.trains]

    def candidates(self, step: Step, bank: Tensor | None) -> Tensor:
        """(e, dealings, candidates, figures) of a step."""
        assert bank is not None
        return bank[self.tensor(step.rows)]

    def losses(self, micro: Micro, candidates: Tensor) -> tuple[Tensor, RowLosses]:
        """(k, d + m + 1) queries of a microbatch, and its losses."""
        lists = candidates[self.tensor(micro.place)]
        scores = (
            lists[..., :-1] @ torch.cat(self._linear.weights) + lists[..., -1]
        )  # (k, dealings, candidates)
        loss = (torch.logsumexp(scores, -1) - scores[..., 0]).mean(1)
        contexts = self.tensor(micro.contexts)
        with torch.no_grad():
            queries = self._linear.queries(contexts)
            own = lists[:, 0, 0, : contexts.shape[1]] @ self._linear.weights[0]
            cosine = own / self._linear.mixed(contexts).norm(dim=-1).clamp(min=1e-12)
            there = torch.isfinite(lists[..., -1]).sum(-1).double().mean(1)
        return queries, RowLosses(loss, loss, cosine, torch.zeros((), device=loss.device), there)

    def predict(self, contexts: np.ndarray) -> Tensor:
        """(k, d + m + 1) queries of (k, length, d) windows."""
        return self._linear.queries(self.tensor(contexts))

    def _made(self, reader: StepReader) -> Tensor:
        assert reader.identities is not None
        n, length, m = len(reader.side), reader.side.sequences.length, len(self._linear.neighbours)
        dealings = list(_dealings(reader))
        found = torch.zeros(n, len(dealings), CANDIDATES, length + m + 1, device=self.place.device)
        for number, dealing in enumerate(dealings):
            for places in dealing:
                self._fill(found[:, number], reader, places)
        return found

    def _fill(self, found: Tensor, reader: StepReader, places: Rows) -> None:
        """Puts lists of the sequences `places`, whose targets are a pool, into (n, candidates, figures)."""
        assert reader.identities is not None
        names = Identities(reader.identities.target[places], reader.identities.context[places])
        pool = make_pool(self.tensor(reader.targets(places)), names)
        size, dim = pool.vectors.shape
        neighbours = self._linear.neighbours
        dense = augmented_pool(pool, neighbours).vectors[:, dim:-1]  # (size, m)
        tenth = WEIGHT * dense[:, neighbours.index(NEIGHBOURS)]
        most = min(CANDIDATES, size)
        step = max(1, _COSINES // (size * reader.side.sequences.length))
        for start in range(0, len(places), step):
            part = places[start : start + step]
            contexts = self.tensor(reader.side.sequences.contexts(reader.side.rows[part]))
            units = nn.functional.normalize(contexts, dim=-1)
            cosines = torch.einsum("qld,cd->qcl", units, pool.vectors)
            length = torch.einsum("l,qld->qd", self._mix, units).norm(dim=-1, keepdim=True)
            first = cosines @ self._mix / length.clamp(min=1e-12) - tenth
            mine = (pool.excluded[0] >= start) & (pool.excluded[0] < start + len(part))
            first[pool.excluded[0, mine] - start, pool.excluded[1, mine]] = -torch.inf
            first.scatter_(1, pool.truth[start : start + len(part), None], torch.inf)
            scores, chosen = first.topk(most, dim=1)
            lists = torch.zeros(len(part), *found.shape[1:], device=found.device)
            lists[..., -1] = -torch.inf
            lags = cosines.gather(1, chosen[..., None].expand(-1, -1, cosines.shape[2]))
            lists[:, :most, :-1] = torch.cat([lags, -dense[chosen]], dim=2)
            lists[:, :most, -1] = torch.where(scores == -torch.inf, -torch.inf, 0.0)
            found[self.tensor(part)] = lists


def _dealings(reader: StepReader) -> Iterator[list[Rows]]:
    """The places of each pool's sequences: of training by document, of validation all in one."""
    if not reader.trains:
        yield [np.arange(len(reader.side))]
        return
    documents = int(reader.document.max(initial=0)) + 1
    pools = max(1, round(documents / DOCUMENTS))
    for number in range(DEALINGS):
        dealt = generator(reader.config.seed, LISTS, number).permutation(documents) % pools
        pool_of = dealt[reader.document]
        yield [np.flatnonzero(pool_of == pool) for pool in range(pools)]


def drawn_sequences(document: Rows, seed: int) -> Rows:
    """Places of what weights are learned from: all, or `SEQUENCES` of them in documents drawn by the seed."""
    if len(document) <= SEQUENCES:
        return np.arange(len(document))
    rank = generator(seed, LISTS, DEALINGS).permutation(int(document.max()) + 1)
    order = np.argsort(rank[document], kind="stable")[:SEQUENCES]
    return np.sort(order)
