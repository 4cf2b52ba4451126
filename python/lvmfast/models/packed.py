"""Documents side by side and one behind the other in one batch: what each row of it may see.

`since`, (batch, length) int64, says it all: how many rows of its own document stand before a row. A row sees
itself and those, so that documents which share a row of the batch know nothing of each other, and nothing
sees what comes later. Behind the last document every row stands for itself (`since` is 0).
"""

from __future__ import annotations

import torch


def visible(since: torch.Tensor) -> torch.Tensor:
    """(batch, length) -> (batch, length, length) bool: whether row t, the middle axis, may see row s."""
    place = torch.arange(since.shape[1], device=since.device)
    lag = place[:, None] - place  # (length, length): t - s
    return (lag >= 0) & (lag <= since[:, :, None])


def apart(rows: torch.Tensor, since: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Every document as a row of its own, and where each packed row went; for what has no mask.

    Args:
        rows: (batch, length, width), packed.
        since: (batch, length).

    Returns:
        (documents, longest, width), zeros behind the end of a document, and the two indices into its first
        axes, (batch, length) each: the second is `since`.
    """
    document = (since == 0).flatten().long().cumsum(0).view_as(since) - 1
    documents, longest = int(document[-1, -1]) + 1, int(since.max()) + 1
    alone = rows.new_zeros(documents, longest, rows.shape[-1])
    return alone.index_put((document, since), rows), (document, since)


def mixed(rows: torch.Tensor, since: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """(batch, length, dim): for each row, what it sees times `mix`, (lags,), whose last is for itself."""
    lags = len(mix)
    place = torch.arange(since.shape[1], device=rows.device)
    lag = place[:, None] - place
    weight = mix.flip(0)[lag.clamp(0, lags - 1)]  # (length, length)
    weight = weight.masked_fill(lag >= lags, 0)
    return (weight * visible(since)) @ rows
