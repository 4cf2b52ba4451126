"""The objective: InfoNCE against frozen targets, and cosine.

Targets never change, so a microbatch is scored against the targets of its whole effective batch, of the
bank and of the other ranks, which no gradient reaches. Each sequence's loss then hangs on its own prediction
alone, and the sum over microbatches, divided by the rows of the effective batch, is the loss of one large
batch, and so is its gradient. InfoNCE: van den Oord, Li and Vinyals, *Representation learning with
contrastive predictive coding* (2018), with the prediction as the query.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lvmfast.training.config import TrainConfig


class ProjectionHead(nn.Module):
    """d -> hidden, GELU, LayerNorm, -> out without bias, at unit length."""

    def __init__(self, dim: int, hidden: int, out: int) -> None:
        """Fresh weights."""
        super().__init__()
        self.inner = nn.Linear(dim, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.outer = nn.Linear(hidden, out, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """(n, d) -> (n, out)."""
        return F.normalize(self.outer(self.norm(F.gelu(self.inner(vectors)))), dim=-1)


@dataclass(frozen=True)
class Candidates:
    """What every sequence of an effective batch is scored against, in the space of the loss."""

    targets: Tensor  #: (e, d) the frozen targets of the effective batch, unit length
    batch: Tensor  #: (e, s) the same in the loss's space
    bank: Tensor | None  #: (b, s) the bank in the loss's space
    bank_targets: Tensor | None  #: (b, d) the bank itself


@dataclass(frozen=True)
class Negatives:
    """Which candidates are no negatives, as (row of the microbatch, column) pairs and as whole columns."""

    masked: tuple[Tensor, Tensor]  #: (p,) rows and columns of the e + b candidates
    dropped: Tensor  #: (q,) columns that stand for a target of the effective batch a second time
    same_document: tuple[Tensor, Tensor]  #: (r,) rows and columns that share a document, to be counted


@dataclass(frozen=True)
class RowLosses:
    """Per sequence of a microbatch, (k,) each."""

    total: Tensor
    infonce: Tensor | None
    cosine: Tensor
    same_document: Tensor | None  #: (): how many negatives were targets of the row's own document
    candidates: Tensor | None  #: what each was scored against, its own target among it

    def sums(self) -> Tensor:
        """(6,) float64, over the rows: loss, InfoNCE, cosine, negatives of the own document, candidates, and
        the InfoNCE of chance, which is the logarithm of a row's candidates; 0 without InfoNCE.
        """
        found = torch.zeros(6, dtype=torch.float64, device=self.total.device)
        chance = None if self.candidates is None else self.candidates.double().log()
        parts = (self.total, self.infonce, self.cosine, self.same_document, self.candidates, chance)
        for place, part in enumerate(parts):
            if part is not None:
                found[place] = part.detach().double().sum()
        return found


class Objective(nn.Module):
    """infonce * InfoNCE + cosine * (1 - cos), per sequence. Its parameters are those of the head."""

    def __init__(self, config: TrainConfig, dim: int) -> None:
        """For predictions and targets of `dim` values."""
        super().__init__()
        self.infonce, self.cosine, self.tau = config.infonce, config.cosine, config.tau
        self.mask_near = config.mask_near
        self.head = ProjectionHead(dim, config.head_hidden, config.head_dim) if config.head else None

    def candidates(self, targets: Tensor, bank: Tensor | None) -> Candidates:
        """Frozen vectors, brought into the loss's space by the head as it is now, without a gradient.

        Args:
            targets: (e, d) of the effective batch.
            bank: (b, d), unit length already: it stays for an epoch.
        """
        with torch.no_grad():
            own = F.normalize(targets, dim=-1)
            if self.head is None:
                return Candidates(own, own, bank, bank)
            return Candidates(own, self.head(own), None if bank is None else self.head(bank), bank)

    def forward(
        self, prediction: Tensor, place: Tensor, candidates: Candidates, negatives: Negatives | None
    ) -> RowLosses:
        """Losses of a microbatch.

        Args:
            prediction: (k, d), unit length.
            place: (k,) which of the effective batch each row is.
            candidates: of the effective batch.
            negatives: what is masked.
        """
        target = candidates.targets[place]
        cosine = (prediction * target).sum(-1)
        if self.infonce == 0 or negatives is None:
            return RowLosses(self.cosine * (1 - cosine), None, cosine, None, None)
        query = prediction if self.head is None else self.head(prediction)
        logits = query @ candidates.batch.T  # (k, e)
        if candidates.bank is not None:
            logits = torch.cat([logits, query @ candidates.bank.T], dim=1)  # (k, e + b)
        logits = logits / self.tau
        with torch.no_grad():
            masked = self._masked(logits, target, place, candidates, negatives)
        own = logits.gather(1, place[:, None])[:, 0]
        infonce = torch.logsumexp(logits.masked_fill(masked, -torch.inf), 1) - own
        met = (~masked[negatives.same_document]).sum()
        total = self.infonce * infonce + self.cosine * (1 - cosine)
        return RowLosses(total, infonce, cosine, met, (~masked).sum(1))

    def _masked(
        self, logits: Tensor, target: Tensor, place: Tensor, candidates: Candidates, negatives: Negatives
    ) -> Tensor:
        """(k, e + b): which candidates are neither the row's target nor a negative of it."""
        masked = torch.zeros_like(logits, dtype=torch.bool)
        masked[:, negatives.dropped] = True
        masked[negatives.masked] = True
        if self.mask_near > 0:
            near = target @ candidates.targets.T
            if candidates.bank_targets is not None:
                near = torch.cat([near, target @ candidates.bank_targets.T], dim=1)
            masked |= near >= self.mask_near
        masked[torch.arange(len(place), device=place.device), place] = False
        return masked
