"""The command line as a process, and what a refusal looks like."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence

LVMFAST = [sys.executable, "-m", "lvmfast"]


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LVMFAST, *arguments], capture_output=True, text=True, timeout=120, check=False, **options
    )


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, nothing on stdout, one line on stderr that holds the words."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0], lines[0]


def killed_before_its_closing_scan(arguments: Sequence[str]) -> None:
    """Runs `clean` until all files are written, and kills it there."""
    script = (
        "import sys, time, lvmfast.splits.clean as clean, lvmfast.__main__ as main;"
        "clean.closing_scan = lambda *a, **o: (print('written', flush=True), time.sleep(60));"
        "main.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
