"""The processes of a run: one, or those that torchrun started."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from lvmfast.corpus.failures import one_line
from lvmfast.errors import DataError
from lvmfast.training.processes import FollowedError, process_count

#: A process waits for the first one's scan, however long that takes; one that died ends the others at once.
_PATIENCE = timedelta(days=30)


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
            with _talking():
                torch.distributed.all_reduce(flat)
            for tensor, part in zip(alike, flat.split([t.numel() for t in alike]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def any(self, value: bool) -> bool:
        """Whether it is so in any process."""
        if self.count == 1:
            return value
        counted = torch.tensor(float(value), device=_device())
        self.add_up([counted])
        return bool(counted > 0)

    def least(self, value: int) -> int:
        """The least value of all processes."""
        if self.count == 1:
            return value
        lowest = torch.tensor(value, device=_device())
        with _talking():
            torch.distributed.all_reduce(lowest, torch.distributed.ReduceOp.MIN)
        return int(lowest)

    def told(self, tell: Callable[[], Any]) -> Any:
        """What `tell` gives in the first process, in every process; it is called there alone.

        Args:
            tell: gives what JSON can say.
        """
        if self.count == 1:
            return tell()
        content = tell() if self.first else None
        text = bytearray(json.dumps(content).encode())
        size = torch.tensor(len(text), device=_device())
        with _talking():
            torch.distributed.broadcast(size, 0)
            message = torch.frombuffer(text, dtype=torch.uint8) if self.first else torch.empty(int(size))
            message = message.to(_device(), torch.uint8)
            torch.distributed.broadcast(message, 0)
        return content if self.first else json.loads(bytes(message.cpu().numpy()))


@contextmanager
def joined_ranks(device_type: str) -> Iterator[Ranks]:
    """This process among those of torchrun (NCCL on GPUs, gloo on CPUs); alone without it.

    What ends one of them ends all, and is raised as it is in one alone.

    Raises:
        FollowedError: in the others.
    """
    if process_count() == 1:
        yield Ranks(0, 1)
        return
    # Its functions keep the group of the time of their import as a default, and so would keep it alive
    # past its end: gloo's threads then meet the end of the interpreter, which aborts now and then.
    import torch.distributed.nn.functional
    from torch.distributed.rendezvous import rendezvous

    store, rank, count = next(iter(rendezvous("env://")))
    torch.distributed.init_process_group(
        "nccl" if device_type == "cuda" else "gloo",
        store=torch.distributed.PrefixStore("run", store),
        rank=rank,
        world_size=count,
        timeout=_PATIENCE,
    )
    try:
        with _one_voice(store, rank, count):
            yield Ranks(rank, count)
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def _one_voice(store: Any, rank: int, count: int) -> Iterator[None]:
    """Lets the error of the process that is the first to have one through; the others follow it."""
    try:
        yield
    except Exception as error:
        try:
            mine = store.compare_set("who speaks", "", str(rank)) == str(rank).encode()
        except RuntimeError:  # it was the first process's, which has ended
            mine = False
        if not mine:
            raise FollowedError(str(error)) from error
        if rank and isinstance(error, DataError):
            raise DataError(f"process {rank} of {count}: {error}") from error
        raise


@contextmanager
def _talking() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise DataError(
            f"another process of the run has ended ({one_line(error)}); --resume continues from the last "
            "state that was saved"
        ) from error


def _device() -> str:
    return "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
