"""A command under a memory limit that the system enforces: a control group, where one can be made."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    seconds: float
    peak: int  #: bytes of memory that are no cached pages of files, at most
    enforced: bool  #: whether the system held the limit; else it was only watched
    stderr: str


def cgroup(name: str, limit: int) -> Path | None:
    """A new control group of at most `limit` bytes without swap, or None where none can be made."""
    for root, most, swap in (
        (V1, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        (V2, "memory.max", "memory.swap.max"),
    ):
        group = root / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / most).write_text(str(limit))
            if (group / swap).exists():
                (group / swap).write_text(str(limit) if root == V1 else "0")
            return group
        except OSError:
            group.rmdir()
    return None


def anonymous_bytes(pid: int) -> int:
    """Memory of a process that no file backs, in bytes; 0 once it is gone."""
    try:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return int(fields["RssAnon"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 0


def run(command: Sequence[str], limit: int, environment: Mapping[str, str] | None = None) -> Finished:
    """Runs `command` under `limit` bytes; a process that needs more is killed where a group can be made."""
    group = cgroup(f"lvmfast-{os.getpid()}-{time.monotonic_ns()}", limit)
    enter = f'echo $$ > "{group}/cgroup.procs" && exec "$@"' if group else 'exec "$@"'
    start = time.perf_counter()
    lines: list[str] = []
    peak = 0
    with subprocess.Popen(
        ["sh", "-c", enter, "sh", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    ) as process:
        reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
        reader.start()
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        reader.join()
    if group is not None:
        group.rmdir()
    return Finished(process.returncode, seconds, peak, group is not None, "".join(lines))


if __name__ == "__main__":
    done = run(sys.argv[2:], int(sys.argv[1]))
    print(done.stderr, end="", file=sys.stderr)
    how = "held by a control group" if done.enforced else "only watched"
    print(f"exit {done.code}, {done.seconds:.1f} s, peak {done.peak / 2**20:.0f} MiB anonymous, limit {how}")
