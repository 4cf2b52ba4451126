"""How many threads of torch's work on a processor is worth, and how they wait for each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lvmfast.leaks.cgroup import cores

#: What a thread must have to do between two steps to be worth its waking: about 0.05 seconds of a core.
FLOPS_PER_THREAD = 2e9


def wait_quietly() -> None:
    """Before torch is loaded: threads that wait for each other sleep, and do not spin."""
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def worthwhile(flops: float) -> int:
    """Threads for work of so many floating-point operations: a function of the work, and not of the hour.

    Never more than the cores that this process may use, of which the processes of torchrun have an equal part
    each, nor than OMP_NUM_THREADS.
    """
    most = cores() // max(1, _stated("LOCAL_WORLD_SIZE", 1))
    return max(1, min(most, _stated("OMP_NUM_THREADS", most), int(flops / FLOPS_PER_THREAD)))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """torch computes with `count` threads until the block ends."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _stated(name: str, default: int) -> int:
    found = os.environ.get(name, "")
    return int(found) if found.isdecimal() and int(found) > 0 else default
