"""Which candidates are no negatives of a sequence, by the identity of vectors and documents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvmfast.corpus.dataset import Rows
from lvmfast.training.config import TrainConfig
from lvmfast.training.identities import Identities

Pairs = tuple[Rows, Rows]


@dataclass(frozen=True)
class Exclusions:
    """`loss.Negatives` before it is brought to a device."""

    masked: Pairs
    dropped: Rows
    same_document: Pairs


class Lookup:
    """The places at which values stand."""

    def __init__(self, values: Rows) -> None:
        """Of (n,) values."""
        self._order = np.argsort(values, kind="stable")
        self._sorted = values[self._order]

    def pairs(self, wanted: Rows) -> Pairs:
        """(query, place) of every place that holds the value of a query; negative values stand nowhere."""
        low = np.searchsorted(self._sorted, wanted, "left")
        count = np.where(wanted < 0, 0, np.searchsorted(self._sorted, wanted, "right") - low)
        query = np.repeat(np.arange(len(wanted)), count)
        within = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count)
        return query, self._order[low[query] + within]


class NegativeMasks:
    """The masks of an epoch: the bank stays, effective batches come and go."""

    def __init__(self, config: TrainConfig, identities: Identities, document: Rows, bank: Rows) -> None:
        """`bank`: the training sequences whose targets are in it."""
        self._config, self._identities, self._document = config, identities, document
        self._names, self._documents = Lookup(identities.target[bank]), Lookup(document[bank])
        self._bank_names = identities.target[bank]

    def of(self, rows: Rows, share: slice) -> Exclusions:
        """The exclusions of the microbatch `share` of the effective batch `rows`, (e,).

        Columns are the targets of `rows`, then those of the bank.
        """
        mine, names = rows[share], self._identities.target[rows]
        batch_names, batch_documents = Lookup(names), Lookup(self._document[rows])
        held = np.isin(self._bank_names, names[names >= 0])
        same = self._among(batch_documents, self._documents, self._document[mine], len(rows))
        same = _without_own(same, share.start)
        masked = [_without_own(self._among(batch_names, self._names, names[share], len(rows)), share.start)]
        if self._config.mask_context:
            context = self._identities.context[mine]
            query, column = self._among(batch_names, self._names, context.reshape(-1), len(rows))
            masked.append((query // context.shape[1], column))
        if self._config.mask_same_document:
            masked.append(same)
        return Exclusions(
            (np.concatenate([m[0] for m in masked]), np.concatenate([m[1] for m in masked])),
            len(rows) + np.flatnonzero(held),
            same,
        )

    @staticmethod
    def _among(batch: Lookup, bank: Lookup, wanted: Rows, columns: int) -> Pairs:
        (row, column), (other_row, other_column) = batch.pairs(wanted), bank.pairs(wanted)
        return np.concatenate([row, other_row]), np.concatenate([column, columns + other_column])


def _without_own(pairs: Pairs, start: int) -> Pairs:
    """Without each row's own target."""
    other = pairs[1] != pairs[0] + start
    return pairs[0][other], pairs[1][other]
