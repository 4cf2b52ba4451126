"""The processes of a run: one, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is."""

    rank: int
    count: int

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """The part of `rows` that is this process's; parts differ by one at most, and may be empty."""
        return slice(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)

    def add_up(self, tensors: list[Tensor]) -> None:
        """Replaces each tensor by its sum over all processes, in one message per dtype and device."""
        if self.count == 1:
            return
        kinds = dict.fromkeys((tensor.dtype, tensor.device) for tensor in tensors)
        for kind in kinds:
            alike = [tensor for tensor in tensors if (tensor.dtype, tensor.device) == kind]
            flat = torch.cat([tensor.reshape(-1) for tensor in alike])
            torch.distributed.all_reduce(flat)
            for tensor, part in zip(alike, flat.split([t.numel() for t in alike]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def least(self, value: int) -> int:
        """The least value of all processes."""
        if self.count == 1:
            return value
        lowest = torch.tensor(value, device=_device())
        torch.distributed.all_reduce(lowest, torch.distributed.ReduceOp.MIN)
        return int(lowest)

    def follow_first(self, tensor: Tensor) -> None:
        """Replaces `tensor` by that of the first process."""
        if self.count > 1:
            torch.distributed.broadcast(tensor, 0)

    def tell(self, tensor: Tensor) -> None:
        """As `follow_first`, for a tensor on the CPU, whatever the processes talk by."""
        if self.count > 1:
            there = tensor.to(_device())
            torch.distributed.broadcast(there, 0)
            tensor.copy_(there)


@contextmanager
def joined_ranks(device_type: str) -> Iterator[Ranks]:
    """This process among those of torchrun (NCCL on GPUs, gloo on CPUs); alone without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(0, 1)
        return
    # Its functions keep the group of the time of their import as a default, and so would keep it alive
    # past its end: gloo's threads then meet the end of the interpreter, which aborts now and then.
    import torch.distributed.nn.functional

    torch.distributed.init_process_group("nccl" if device_type == "cuda" else "gloo")
    try:
        yield Ranks(torch.distributed.get_rank(), count)
    finally:
        torch.distributed.destroy_process_group()


def _device() -> str:
    return "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
