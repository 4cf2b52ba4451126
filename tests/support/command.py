"""The command line as a process, and what a refusal looks like."""

from __future__ import annotations

import subprocess
import sys

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
