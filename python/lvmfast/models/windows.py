"""Windows with padding in front: a run of rows of zeros before the first real row."""

from __future__ import annotations

import torch


def leading_padding(context: torch.Tensor) -> torch.Tensor:
    """(batch, length, dim) -> (batch,) int64: how many rows of zeros stand before the first other row."""
    empty = (context == 0).all(-1)
    return empty.long().cumprod(1).sum(1)


def padding_last(context: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    """(batch, length, dim), each window turned so that its padding follows its real rows.

    What reads from left to right then meets the real rows as if they were the whole window.
    """
    length = context.shape[1]
    place = (torch.arange(length, device=context.device) + padding[:, None]) % length
    return context.gather(1, place[:, :, None].expand_as(context))


def at_last_real(hidden: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    """(batch, length, width) of windows turned by `padding_last` -> (batch, width) at the last real row."""
    last = (hidden.shape[1] - 1 - padding).clamp(min=0)
    return hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[2])).squeeze(1)
