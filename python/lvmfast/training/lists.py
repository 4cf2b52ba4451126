"""Lists of candidates, for models that take densities of candidates off (`models/linear.py`, `on_linear.py`).

Training documents are dealt into pools of about `DOCUMENTS`, `DEALINGS` times: densities are those of some
pool. Every sequence has a list in each of its pools: its own target, and the others that the lag mix less
density puts first, without its own context. The loss is the cross entropy between the softmax of a list's
scores and its target (Cao et al., ICML 2007), the mean over its lists. Lists hold the numbers of sequences;
their targets are looked up when a microbatch is scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.documents import Packs
from lvmfast.evals.density import NEIGHBOURS, WEIGHT
from lvmfast.models.logit import conditional_logit
from lvmfast.models.next_vector import NextVectorModel
from lvmfast.models.on_linear import scorer_of
from lvmfast.training.batches import LISTS, generator
from lvmfast.training.compute import Compute
from lvmfast.training.config import TrainConfig
from lvmfast.training.device import Place
from lvmfast.training.identities import Identities
from lvmfast.training.loss import Objective, RowLosses
from lvmfast.training.steps import Micro, Step, StepReader, windows_alone
from lvmfast.training.validation import Pool, dense_columns, make_pool

DOCUMENTS, DEALINGS, CANDIDATES = 17, 2, 100
#: Sequences that twelve weights are learned from at most, in whole documents drawn by the seed.
SEQUENCES = 16_384
#: Half of it times the squared length of the scorer's weights is added to the loss that they are fitted by.
RIDGE = 1e-5
#: Cosines of windows with a pool that are computed at a time, and values of windows that are read.
_COSINES = 1 << 25
#: Bytes of targets, and of figures, that are held on the device; more are made again for each microbatch.
HELD = 2 << 30
#: Bytes of figures that the scorer of a network is fitted to: with long windows, those of fewer sequences.
FITTED = 2 << 30
#: Sequences whose figures are made at a time, where their windows are not too long.
_ROWS = 256


@dataclass(frozen=True)
class Lists:
    """The lists of a side."""

    reader: StepReader
    chosen: (
        Tensor  #: (n, dealings, candidates) int32 sequences whose targets they are, its own first; -1: none
    )
    dense: Tensor  #: (n, dealings, m) densities of each sequence's target in its pools
    targets: Tensor | None  #: (n, d) unit targets; None where they are not held
    figures: Tensor | None = None  #: (n, dealings, candidates, length + m) that the scorer weighs, if held

    def of(self, rows: Tensor, first: int | None = None) -> tuple[Tensor, Tensor]:
        """Of (k,) sequences: (k, dealings, `first` or all, d) unit candidates, their (..., m) densities."""
        place = self.chosen[rows, :, :first].long().clamp(min=0)
        number = torch.arange(place.shape[1], device=place.device)[:, None]
        return self._targets(place), self.dense[place, number]

    def _targets(self, place: Tensor) -> Tensor:
        if self.targets is not None:
            return self.targets[place]
        rows, found = np.unique(place.cpu().numpy(), return_inverse=True)
        read = torch.from_numpy(self.reader.targets(rows)).to(place.device)
        return nn.functional.normalize(read, dim=-1)[torch.from_numpy(found.reshape(place.shape))]


class ListCompute(Compute):
    """A model that takes densities off, on its device, and the lists that it is trained on and judged by."""

    def __init__(
        self, config: TrainConfig, model: NextVectorModel, objective: Objective, place: Place
    ) -> None:
        """`model` is untrained: its weights are the lag mix by which candidates are picked."""
        super().__init__(config, model, objective, place)
        linear = scorer_of(model)
        assert linear is not None
        self._linear = linear
        self._mix = nn.functional.normalize(linear.lags.detach().clone(), p=1, dim=0)
        self._lists: dict[bool, Lists] = {}  #: of the side that trains, and of the other
        self._queries = torch.compile(model.queries) if place.compiled else model.queries

    def start(self, reader: StepReader) -> None:
        """Gives a network the linear scorer to stand on: the most likely weights of the training lists."""
        if self.model is self._linear:
            return
        lists = self.bank(reader, np.arange(0))
        _, dealings, candidates = lists.chosen.shape
        begun = torch.cat(self._linear.weights).detach().double().cpu().numpy()
        most = max(1, FITTED // (4 * dealings * candidates * len(begun)))
        rows = drawn_sequences(reader.document, reader.config.seed, most)
        leads = np.empty((dealings * len(rows), candidates - 1, len(begun)), np.float32)
        held = np.empty(leads.shape[:2], np.bool_)
        at = 0
        for part, figures in self._figures(lists, rows):
            there = lists.chosen[self.tensor(part)] >= 0
            of_part = slice(at, at := at + dealings * len(part))
            leads[of_part] = (figures[:, :, 1:] - figures[:, :, :1]).flatten(0, 1).cpu().numpy()
            held[of_part] = ~there[:, :, 1:].flatten(0, 1).cpu().numpy()
        self._linear.take(torch.from_numpy(conditional_logit(leads, held, begun, RIDGE)).float())

    def bank(self, reader: StepReader, places: Rows) -> Lists:
        """The lists of all sequences of a side, made once."""
        if reader.trains not in self._lists:
            lists = self._made(reader)
            width = reader.side.sequences.length + len(self.model.neighbours)
            small = 4 * lists.chosen.numel() * width <= HELD  # not so with windows of hundreds of chunks
            if self.model is self._linear and reader.trains and small:
                figures = [made for _, made in self._figures(lists, np.arange(len(reader.side)))]
                lists = replace(lists, figures=torch.cat(figures))
            self._lists[reader.trains] = lists
        return self._lists[reader.trains]

    def candidates(self, step: Step, bank: Lists) -> tuple[Lists, Tensor]:
        """The lists, and the (e,) sequences of a step."""
        return bank, self.tensor(step.rows)

    def losses(self, micro: Micro, candidates: tuple[Lists, Tensor]) -> tuple[Tensor, RowLosses]:
        """(k, d + m + 1) queries of a microbatch, and its losses."""
        lists, step = candidates
        rows = step[self.tensor(micro.place)]
        queries = self.predict(micro.contexts)
        dim = queries.shape[1] - len(self.model.neighbours) - 1
        directions, weights = queries[:, :dim], queries[:, dim:-1]
        if lists.figures is None:
            vectors, dense = lists.of(rows)
            scores = torch.einsum("kgcd,kd->kgc", vectors, directions)
            scores = scores + torch.einsum("kgcm,km->kgc", dense, weights)
            own = vectors[:, 0, 0]
        else:
            scores = lists.figures[rows] @ torch.cat(self._linear.weights)
            own = lists.of(rows, 1)[0][:, 0, 0]
        there = lists.chosen[rows] >= 0
        scores = scores.masked_fill(~there, -torch.inf)
        loss = (torch.logsumexp(scores, -1) - scores[..., 0]).mean(1)
        with torch.no_grad():
            cosine = nn.functional.cosine_similarity(directions, own, dim=-1)
            met = there.sum(-1).double().mean(1)
        return queries, RowLosses(loss, loss, cosine, torch.zeros((), device=loss.device), met)

    def predict(self, contexts: Vectors | Packs) -> Tensor:
        """(k, d + m + 1) queries of (k, length, d) windows."""
        windows = windows_alone(contexts)
        queries = self._queries if len(windows) == self._batch else self.model.queries
        with self.place.autocast():
            return queries(self.tensor(windows))

    def _figures(self, lists: Lists, rows: Rows) -> Iterator[tuple[Rows, Tensor]]:
        """Some sequences at a time: cosines of candidates with the window, and densities taken off."""
        side = lists.reader.side
        step = max(1, min(_ROWS, _COSINES // (side.sequences.length * side.sequences.dim)))
        for begin in range(0, len(rows), step):
            part = rows[begin : begin + step]
            vectors, dense = lists.of(self.tensor(part))
            windows = self.tensor(side.sequences.contexts(side.rows[part]))
            cosines = torch.einsum("kgcd,kld->kgcl", vectors, nn.functional.normalize(windows, dim=-1))
            yield part, torch.cat([cosines, -dense], dim=3)

    def _made(self, reader: StepReader) -> Lists:
        assert reader.identities is not None
        n, dealings = len(reader.side), list(_dealings(reader))
        device, m = self.place.device, len(self.model.neighbours)
        bytes_of_all = 4 * n * reader.side.sequences.dim
        lists = Lists(
            reader,
            torch.full((n, len(dealings), CANDIDATES), -1, dtype=torch.int32, device=device),
            torch.zeros(n, len(dealings), m, device=device),
            self._targets(reader) if bytes_of_all <= HELD else None,
        )
        for number, dealing in enumerate(dealings):
            for places in dealing:
                self._fill(lists, number, places)
        return lists

    def _targets(self, reader: StepReader) -> Tensor:
        """(n, d) unit targets of a side."""
        return nn.functional.normalize(self.tensor(reader.targets(np.arange(len(reader.side)))), dim=-1)

    def _fill(self, lists: Lists, number: int, places: Rows) -> None:
        """Puts the lists of `places`, whose targets are a pool, where dealing `number` has its own."""
        reader, neighbours = lists.reader, self.model.neighbours
        pool = self._pool_of(reader, places)
        size = len(pool.vectors)
        dense = dense_columns(pool, neighbours, reader.config.threads)  # (size, m)
        owner = self.tensor(places)[pool.rows]  # (size,) a sequence that has the target
        lists.dense[owner, number] = dense
        tenth = WEIGHT * dense[:, neighbours.index(NEIGHBOURS)]
        step = max(1, _COSINES // (size * reader.side.sequences.length))
        for start in range(0, len(places), step):
            part = places[start : start + step]
            contexts = self.tensor(reader.side.sequences.contexts(reader.side.rows[part]))
            units = nn.functional.normalize(contexts, dim=-1)
            mixed = torch.einsum("l,qld->qd", self._mix, units)
            length = mixed.norm(dim=-1, keepdim=True)
            first = (mixed @ pool.vectors.T) / length.clamp(min=1e-12) - tenth
            mine = (pool.excluded[0] >= start) & (pool.excluded[0] < start + len(part))
            first[pool.excluded[0, mine] - start, pool.excluded[1, mine]] = -torch.inf
            first.scatter_(1, pool.truth[start : start + len(part), None], torch.inf)
            scores, chosen = first.topk(min(CANDIDATES, size), dim=1)
            found = torch.where(scores == -torch.inf, -1, owner[chosen]).int()
            lists.chosen[self.tensor(part), number, : found.shape[1]] = found

    def _pool_of(self, reader: StepReader, places: Rows) -> Pool:
        """The targets of some sequences, which are all of a side that does not train."""
        if not reader.trains:
            return self.pool(reader)
        assert reader.identities is not None
        names = Identities(reader.identities.target[places], reader.identities.context[places])
        return make_pool(self.tensor(reader.targets(places)), names)


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
        order = np.argsort(pool_of, kind="stable")
        yield np.split(order, np.cumsum(np.bincount(pool_of, minlength=pools))[:-1])


def drawn_sequences(document: Rows, seed: int, most: int | None = None) -> Rows:
    """Places of what weights are learned from: all, or at most `SEQUENCES` in documents drawn by the seed."""
    most = SEQUENCES if most is None else min(most, SEQUENCES)
    if len(document) <= most:
        return np.arange(len(document))
    rank = generator(seed, LISTS, DEALINGS).permutation(int(document.max()) + 1)
    order = np.argsort(rank[document], kind="stable")[:most]
    return np.sort(order)
