"""Trials in processes of their own: what one of them does to its process is a finding and not the end."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

#: A trial that takes longer hangs.
LONGEST_SECONDS = 60.0
#: What a trial may add to the memory of its process; inputs are of kilobytes.
MOST_BYTES = 1 << 30


class Trials(Protocol):
    """What a worker does: trial after trial, each in `folder`, where its input lies until the next."""

    def trial(self, number: int) -> None:
        """One trial.

        Raises:
            BaseException: a finding.
        """
        ...


@dataclass(frozen=True)
class Finding:
    """A trial that went wrong, and where its input was kept."""

    number: int
    what: str
    kept: Path


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    folder: Path
    number: int
    since: float


def run(
    trials: Callable[[Path], Trials], *, seconds: float, most: int, jobs: int, keep: Path, start: int = 0
) -> tuple[int, list[Finding]]:
    """Trials from number `start` on, for `seconds` or until there were `most`: their number, and findings.

    `trials` is called in each worker with a folder of its own. Inputs of findings are moved into `keep`.
    """
    scratch = Path(
        tempfile.mkdtemp(prefix="lvmfast-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    )
    end, done, findings = time.monotonic() + seconds, 0, []
    context = multiprocessing.get_context("fork")
    first = iter(range(start, start + most))

    def begin(place: int) -> _Worker:
        folder = scratch / f"{place}-{time.monotonic_ns()}"
        folder.mkdir()
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(trials, folder, theirs), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, folder, -1, time.monotonic())

    def give(worker: _Worker) -> bool:
        """Sends the worker its next trial, if there is one."""
        number = next(first, None) if time.monotonic() < end else None
        if number is None:
            worker.pipe.close()
            return False
        worker.number, worker.since = number, time.monotonic()
        worker.pipe.send(number)
        return True

    workers = [begin(place) for place in range(jobs)]
    try:
        workers = [worker for worker in workers if give(worker)]
        while workers:
            ready = wait([worker.pipe for worker in workers], timeout=1.0)
            for place, worker in enumerate(list(workers)):
                lives, what = True, ""
                if worker.pipe in ready:
                    try:
                        what = worker.pipe.recv()
                    except (EOFError, ConnectionResetError):
                        worker.process.join()
                        if worker.process.exitcode == 1:
                            raise RuntimeError("the fuzzer itself failed, see above") from None
                        lives, what = False, f"the process died: {_ending(worker.process.exitcode)}"
                elif time.monotonic() - worker.since > LONGEST_SECONDS:
                    lives, what = False, f"a trial of over {LONGEST_SECONDS:.0f} s"
                else:
                    continue
                done += 1
                if what:
                    findings.append(_keep(worker, what, keep))
                    print(f"trial {worker.number}: {what.strip().splitlines()[-1][:300]}", flush=True)
                if not lives:
                    worker.process.kill()
                    worker.pipe.close()
                    workers[workers.index(worker)] = worker = begin(place)
                if not give(worker):
                    workers.remove(worker)
    finally:
        for worker in workers:
            worker.process.kill()
        shutil.rmtree(scratch, ignore_errors=True)
    return done, findings


def _keep(worker: _Worker, what: str, keep: Path) -> Finding:
    kept = keep / f"{worker.number}"
    shutil.rmtree(kept, ignore_errors=True)
    keep.mkdir(parents=True, exist_ok=True)
    shutil.copytree(worker.folder, kept, symlinks=True)
    (kept / "finding.txt").write_text(what)
    return Finding(worker.number, what, kept)


def _ending(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit {code}"


def _work(trials: Callable[[Path], Trials], folder: Path, pipe: Connection) -> None:
    """A worker: numbers come in, what went wrong goes out, nothing where nothing did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = trials(folder)
    highest = _peak()
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            os._exit(0)
        what = ""
        try:
            worker.trial(number)
        except BaseException:
            what = traceback.format_exc()
        peak = _peak()
        if not what and peak - highest > MOST_BYTES:
            what = f"the trial took {(peak - highest) >> 20} MiB"
        highest = max(highest, peak)
        pipe.send(what)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
