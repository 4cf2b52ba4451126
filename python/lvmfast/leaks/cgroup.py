"""What the control group of this process allows, a container or a batch job: memory, and cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")

#: Files of limit and use, and the fields of memory.stat with pages of files, which can be dropped.
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
V2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))
#: Files with the microseconds of a processor that there are in a period, and of the period.
CPU_V1 = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
CPU_V2 = ("cpu.max",)

Files = TypeVar("Files")


def available(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Bytes until the tightest limit of this process's group and those above it; None where there is none."""
    left = [
        free
        for group, files in _groups(root, own, "memory", V1, V2)
        if (free := _free(group, *files)) is not None
    ]
    return min(left, default=None)


def cores(root: Path = ROOT, own: Path = OWN) -> int:
    """Cores that this process may use: those it may run on, within the quota of its group and those above it.

    At least 1; what a quota has beyond whole cores is left out.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    groups = _groups(root, own, "cpu", CPU_V1, CPU_V2)
    quotas = [quota for group, files in groups if (quota := _quota(group, files)) is not None]
    return max(1, min([there, *quotas]))


def _quota(group: Path, files: tuple[str, ...]) -> int | None:
    try:
        quota, period = (word for file in files for word in (group / file).read_text().split())
        return None if quota in ("max", "-1") else int(quota) // int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _groups(root: Path, own: Path, controller: str, v1: Files, v2: Files) -> Iterator[tuple[Path, Files]]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            mounts, files = [root / controller], v1
        elif number == "0":
            mounts, files = [root, root / "unified"], v2
        else:
            continue
        for mount in mounts:
            group = mount / path.lstrip("/")
            # A container can see its own group as the root while the path is still that of the host; the
            # group of that name is not there then, and the root is what counts.
            while group != mount.parent:
                yield group, files
                group = group.parent


def _free(group: Path, limit: str, usage: str, cached: tuple[str, str]) -> int | None:
    try:
        most = (group / limit).read_text().strip()
        used = int((group / usage).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        if most == "max" or int(most) >= 2**62:
            return None
        return max(0, int(most) - used + sum(int(stat.get(field, 0)) for field in cached))
    except (OSError, ValueError):
        return None
