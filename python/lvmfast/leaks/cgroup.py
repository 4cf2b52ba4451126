"""What the control group of this process still allows of memory: the limit of a container or a batch job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")

#: Files of limit and use, and the fields of memory.stat with pages of files, which can be dropped.
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
V2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))


def available(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Bytes until the tightest limit of this process's group and those above it; None where there is none."""
    left = [free for group, files in _groups(root, own) if (free := _free(group, *files)) is not None]
    return min(left, default=None)


def _groups(root: Path, own: Path) -> Iterator[tuple[Path, tuple[str, str, tuple[str, str]]]]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            mounts, files = [root / "memory"], V1
        elif number == "0":
            mounts, files = [root, root / "unified"], V2
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
