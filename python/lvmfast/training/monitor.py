"""Following a run until its gates can be judged, and acting once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lvmfast.errors import DataError
from lvmfast.gates import Gate, Verdicts, judge
from lvmfast.training.foreign import EVENTS, find_history
from lvmfast.training.heartbeat import SECONDS_TO_STALL, State, process_started, state
from lvmfast.training.history import HISTORY, Run, read_run

Action = Literal["stop", "triage", "warn"]
ENDED = ("finished", "stopped", "died")


@dataclass(frozen=True)
class Outcome:
    """How following a run ended."""

    run: Run
    verdicts: Verdicts
    state: State
    stopped: str | None = None  #: what came of stopping it, where that was asked for

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 not decided."""
        return self.verdicts.exit_code


def monitor(
    path: str | Path,
    gates: Sequence[Gate],
    *,
    every: float = 120.0,
    on_fail: Action = "warn",
    stall_after: float = SECONDS_TO_STALL,
    say: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Looks at a run every `every` seconds until its gates are decided or it can get no further.

    A run whose trainer died, was stopped or finished is judged by what it left. A stalled one is no waiting
    one: it is reported as undecided at once. A history that cannot be read (its trainer may be writing it) is
    read once more before it is an error.

    Args:
        path: a run folder, or the history file of another trainer; whether that one goes on is unknown, so it
            counts as stalled when its file has not changed for `stall_after` seconds.
        gates: with their epochs.
        every: seconds.
        on_fail: `stop` sends SIGTERM to the trainer, on which it saves its state; the caller does the rest.
        stall_after: seconds without a sign of life.
        say: told what is going on, when it changes.
        sleep: waits; for tests.

    Raises:
        DataError: it is no run, or its files stay broken.
    """
    said = ""
    broken = False
    while True:
        # First the process and then its files: what it wrote before it ended is judged.
        life = _life(Path(path), stall_after)
        try:
            run = read_run(path)
            broken = False
        except DataError:
            if broken or life.life in ENDED:
                raise
            broken = True
            sleep(min(every, 1.0))
            continue
        run.history.refuse_ambiguous(gate.metric for gate in gates)
        verdicts = judge(gates, run.evidence)
        if not verdicts.awaited:
            stopped = None
            if verdicts.verdict == "failed" and on_fail == "stop":
                stopped = stop(life, Path(path), sleep=sleep)
            return Outcome(run, verdicts, life, stopped)
        if life.life in (*ENDED, "stalled"):
            return Outcome(run, verdicts, life)
        epochs = f"{max(run.history.epochs, default=0)} epochs so far"
        if (life.life + epochs) != said:
            said = life.life + epochs
            say(f"{epochs}; {life.sentence}")
        sleep(every)


def _life(path: Path, stall_after: float) -> State:
    if path.is_dir():
        life = state(path, stall_after)
        if life.life != "unknown":
            return life
        path = _history_in(path)
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return State("unknown", "no history.json and no heartbeat.json yet")
    sentence = f"no heartbeat.json; {path.name} changed {max(age, 0):,.0f} s ago"
    return State("stalled" if age > stall_after else "unknown", sentence)


def _history_in(folder: Path) -> Path:
    """What of a run folder changes while its trainer is at work: the history, of whichever trainer."""
    found = None if (folder / HISTORY).exists() else find_history(folder)
    path = folder / HISTORY if found is None else found[0]
    events = list(path.glob(f"{EVENTS}*")) if path.is_dir() else []
    return max(events, key=lambda event: event.stat().st_mtime) if events else path


def stop(
    life: State, run: Path, *, patience: float = 60.0, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Asks the trainer to save and end (SIGTERM), and waits up to `patience` seconds; says what came of it.

    The signal goes to the very process that wrote the heartbeat: one that took over its id is left alone.
    Nothing is ever killed.
    """
    pid, started = life.pid, life.pid_started
    if process_started(os.getpid()) is None:
        return "nothing was stopped: this system has no signal that would let a trainer save before it ends"
    if pid is None or started is None:
        return f"nothing was stopped: {life.sentence}"
    try:
        _signal(pid, started)
    except ProcessLookupError:
        return f"nothing was stopped: process {pid} is gone"
    except PermissionError:
        return f"nothing was stopped: process {pid} belongs to somebody else"
    waited = 0.0
    while process_started(pid) == started and waited < patience:
        sleep(0.1)
        waited += 0.1
    if process_started(pid) == started:
        return f"SIGTERM was sent to process {pid}, which has not ended after {patience:,.0f} s"
    return f"SIGTERM was sent to process {pid}, and {state(run).sentence}"


def _signal(pid: int, started: str) -> None:
    """Sends SIGTERM to a process and to no other one.

    Raises:
        ProcessLookupError, PermissionError: it is gone, or not ours.
    """
    if not hasattr(os, "pidfd_open"):
        if process_started(pid) != started:
            raise ProcessLookupError
        os.kill(pid, signal.SIGTERM)
        return
    # The handle stays with the process that it was opened for, so no id is reused between look and signal.
    handle = os.pidfd_open(pid)
    try:
        if process_started(pid) != started:
            raise ProcessLookupError
        signal.pidfd_send_signal(handle, signal.SIGTERM)
    finally:
        os.close(handle)
