"""The sign of life of a trainer: `heartbeat.json` in its run folder, and what can be read from it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lvmfast.durable import write_text
from lvmfast.errors import DataError
from lvmfast.parse import read_json

HEARTBEAT = "heartbeat.json"
FINISHED, STOPPED = "finished", "stopped"  #: phases after which nobody is expected to beat
SECONDS_BETWEEN_BEATS = 5.0
SECONDS_TO_STALL = 300.0

Life = Literal["running", "finished", "stopped", "died", "stalled", "unknown"]


class Heartbeat:
    """Writes the sign of life of this process into a run folder."""

    def __init__(self, run: str | Path, seconds: float = SECONDS_BETWEEN_BEATS) -> None:
        """Writes at most every `seconds`, but each new phase or epoch at once. Nothing is written yet."""
        self._path = Path(run) / HEARTBEAT
        self._seconds = seconds
        self._last = -float("inf")
        self._at: tuple[int, str] | None = None
        self._process = {
            "pid": os.getpid(),
            "pid_started": process_started(os.getpid()),
            "host": socket.gethostname(),
            "started": time.time(),
        }

    def beat(self, *, epoch: int, step: int, phase: str = "train") -> None:
        """Says where the run is; cheap enough for every step.

        A run must not end because its sign of life cannot be written (a full disk, say): then it stays as
        old as it is.

        Args:
            epoch: counted from 1.
            step: within the run or the epoch, as the trainer counts.
            phase: `train`, `validate`, ..., and last of all `FINISHED` or `STOPPED`.
        """
        now = time.monotonic()
        if self._at == (epoch, phase) and now - self._last < self._seconds:
            return
        self._last, self._at = now, (epoch, phase)
        where = {"time": time.time(), "epoch": epoch, "step": step, "phase": phase}
        try:
            write_text(self._path, json.dumps(self._process | where) + "\n")
        except OSError:
            return


@dataclass(frozen=True)
class State:
    """What is known of a run's process."""

    life: Life
    sentence: str  #: the same for people
    pid: int | None = None  #: of the trainer, where it lives on this host
    pid_started: str | None = None


def state(run: str | Path, stall_after: float = SECONDS_TO_STALL) -> State:
    """Whether the trainer of a run folder is at work.

    `died`: its process is gone, or its id belongs to another one, and it never said that it finished.
    `stalled`: it is there, or cannot be looked up from this host, and gave no sign for `stall_after` seconds.

    Raises:
        DataError: the heartbeat is broken.
    """
    path = Path(run) / HEARTBEAT
    if not path.exists():
        return State("unknown", f"no {HEARTBEAT}: so it is not known whether its trainer is running")
    beat = _read(path)
    pid, host, phase = beat["pid"], beat["host"], beat["phase"]
    where = f"epoch {beat['epoch']}, step {beat['step']}"
    if phase == FINISHED:
        return State("finished", f"the run finished after epoch {beat['epoch']}")
    if phase == STOPPED:
        return State("stopped", f"the run was stopped at {where}, and saved")
    age = max(0.0, time.time() - beat["time"])
    seen = f"last sign of life {age:,.0f} s ago ({where}, {phase})"
    # Where processes cannot be looked up, Windows for one, the age of the heartbeat alone says what is so.
    here = host == socket.gethostname() and process_started(os.getpid()) is not None
    if here and (process_started(pid) != beat["pid_started"] or beat["pid_started"] is None):
        return State("died", f"its trainer (process {pid}) died; {seen}")
    known = (pid, beat["pid_started"]) if here else (None, None)
    if age > stall_after:
        return State("stalled", f"its trainer (process {pid} on {host}) is stalled; {seen}", *known)
    return State("running", f"its trainer (process {pid} on {host}) is running; {seen}", *known)


def _read(path: Path) -> dict[str, Any]:
    beat = read_json(path)
    kinds: dict[str, type | tuple[type, ...]] = {
        "pid": int,
        "pid_started": (str, type(None)),
        "host": str,
        "time": (int, float),
        "epoch": int,
        "step": int,
        "phase": str,
    }
    if not isinstance(beat, dict):
        raise DataError(f"{path}: expected an object, got {beat!r}")
    for key, kind in kinds.items():
        if key not in beat or not isinstance(beat[key], kind) or isinstance(beat[key], bool):
            raise DataError(f"{path}: {key}: expected what a trainer writes, got {beat.get(key)!r}")
    if beat["pid"] <= 1:
        raise DataError(f"{path}: pid: expected that of a trainer, got {beat['pid']}")
    return beat


def process_started(pid: int) -> str | None:
    """When a process started, as text that no later process of the same id has; None where there is none."""
    try:
        # The name of the program, in parentheses, can hold spaces and parentheses itself.
        figures = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    return None if figures[0] in "ZX" else f"{boot}:{figures[19]}"


def _started_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    except OSError:
        return None
    state, _, started = shown.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None
