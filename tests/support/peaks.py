"""Commands in a process of their own that says how much memory it held at most."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20

_WITH_PEAK = """
import atexit, runpy, sys
target = sys.argv.pop(1)
def note():
    with open("/proc/self/status") as status, open(target, "w") as out:
        out.write(status.read())
atexit.register(note)
sys.argv[0] = "lvmfast"
runpy.run_module("lvmfast", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    peak: int  #: bytes that were resident at most, pages of mapped files included
    out: str
    err: str


def ran(folder: Path, *args: object) -> Ran:
    """`lvmfast` with these arguments in `folder`."""
    status = folder / "status-of-the-process"
    command = [sys.executable, "-c", _WITH_PEAK, str(status), *map(str, args)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    peak = int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) << 10
    status.unlink()
    return Ran(done.returncode, peak, done.stdout, done.stderr)
