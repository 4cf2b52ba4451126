"""What every bench shares: the machine in one line, and two ways of doing one thing timed in turn."""

from __future__ import annotations

import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def machine() -> str:
    """The processor, the cores this process may use, and Python."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [
            line.partition(":")[2].strip()
            for line in cpuinfo.read_text().splitlines()
            if "model name" in line
        ]
        model = models[0] if models else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


@dataclass(frozen=True)
class Race:
    """Median seconds of ours and of the peer, and what each returned last."""

    ours: float
    peer: float
    our_answer: Any
    peer_answer: Any

    @property
    def ratio(self) -> float:
        """How many times faster than the peer we are."""
        return self.peer / self.ours


def race(
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> Race:
    """Runs both in turn, so that a noisy machine disturbs both alike, after one untimed run of ours.

    With `time.process_time` as the clock the seconds are those of the processor, all threads together.
    """
    ours()
    seconds: tuple[list[float], list[float]] = ([], [])
    answers: list[Any] = [None, None]
    for _ in range(rounds):
        for i, run in enumerate((ours, peer)):
            start = clock()
            answers[i] = run()
            seconds[i].append(clock() - start)
    return Race(statistics.median(seconds[0]), statistics.median(seconds[1]), *answers)


def private_bytes() -> int:
    """Memory of this process that no file is behind."""
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["RssAnon"].split()[0]) * 1024


class Peak:
    """The most private memory beyond what there was at the start, sampled every few milliseconds."""

    def __init__(self) -> None:
        self.extra = 0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    before, peak, stop = private_bytes(), Peak(), threading.Event()

    def sample() -> None:
        while not stop.wait(0.005):
            peak.extra = max(peak.extra, private_bytes() - before)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        stop.set()
        sampler.join()
