"""`python -m tests.fuzz readers|commands [--seconds S] [--inputs N] [--seed N] [--jobs N] [--keep DIR]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.fuzz import campaign
from tests.fuzz.commands import CommandTrials, build
from tests.fuzz.readers import ReaderTrials


def main() -> int:
    """Runs a campaign; 1 where it found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("what", choices=("readers", "commands"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--inputs", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path(".fuzz"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lvmfast-fuzz-world-") as scratch:
        if asked.what == "commands":
            build(world := Path(scratch, "world"))
            trials = partial(CommandTrials, world, asked.seed)
        else:
            trials = partial(ReaderTrials, asked.seed)
        began = time.monotonic()
        done, findings = campaign.run(
            trials, seconds=asked.seconds, most=asked.inputs, jobs=asked.jobs, keep=asked.keep
        )
    took = time.monotonic() - began
    print(f"{done} inputs in {took:.0f} s, seed {asked.seed}: {len(findings)} findings")
    for finding in findings:
        print(f"  {finding.kept}: {finding.what.strip().splitlines()[-1][:200]}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
