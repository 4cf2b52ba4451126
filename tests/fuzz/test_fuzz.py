"""What the fuzzer found stays mended, and short campaigns find nothing new (`make fuzz` runs long ones)."""

import os
import signal
import time
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import campaign, readers
from tests.fuzz.commands import CommandTrials, build
from tests.fuzz.grow import COMPRESS, PLAIN

FOUND = Path(__file__).parent / "found"


@pytest.mark.parametrize("path", sorted(FOUND.iterdir()), ids=lambda path: path.name)
def test_what_was_found_once_is_read_right_or_refused(path):
    readers.check(path)


def test_every_grown_input_is_read_as_the_reference_reads_it(tmp_path):
    for seed in range(30):
        for suffix, grow in PLAIN.items():
            data = grow(Random(seed))
            path = tmp_path / f"input{suffix}"
            path.write_bytes(data)
            assert readers.check(path).startswith("read"), (suffix, seed)
    for codec, compress in COMPRESS.items():
        path = tmp_path / f"input.jsonl{codec}"
        path.write_bytes(compress(PLAIN[".jsonl"](Random(1))))
        assert readers.check(path).startswith("read")


def test_a_wrong_reader_is_a_finding(tmp_path, monkeypatch):
    """The fuzzer can fail: a reader that drops the last row of a file, one that dies, one that hangs."""
    whole = readers.read_rows
    monkeypatch.setattr(readers, "read_rows", lambda path: {k: v[:-1] for k, v in whole(path).items()})

    def run(most):
        trials = partial(readers.ReaderTrials, 0)
        return campaign.run(trials, seconds=60, most=most, jobs=1, keep=tmp_path / "kept")

    done, findings = run(40)
    assert done == 40
    assert len(findings) > 5
    assert all("Wrong: " in finding.what for finding in findings)
    assert any(path.name.startswith("input") for path in findings[0].kept.iterdir())
    monkeypatch.setattr(readers, "read_rows", lambda path: os.kill(os.getpid(), signal.SIGKILL))
    done, findings = run(2)
    assert [finding.what for finding in findings] == ["the process died: SIGKILL"] * 2
    monkeypatch.setattr(campaign, "LONGEST_SECONDS", 0.5)
    monkeypatch.setattr(readers, "read_rows", lambda path: time.sleep(60))
    done, findings = run(1)
    assert "a trial of over" in findings[0].what


@pytest.mark.slow
@pytest.mark.parametrize(("what", "least"), [("readers", 3000), ("commands", 50)])
def test_a_minute_finds_nothing(tmp_path, what, least):
    """In CI the same trials every time; elsewhere new ones each time."""
    repeatable = "CI" in os.environ
    seed = 0 if repeatable else int(time.time())
    if what == "commands":
        build(tmp_path / "world")
        trials = partial(CommandTrials, tmp_path / "world", seed)
    else:
        trials = partial(readers.ReaderTrials, seed)
    bounds = (
        {"seconds": 600, "most": least, "jobs": 1}
        if repeatable
        else {"seconds": 60, "most": 10**9, "jobs": 2}
    )
    done, findings = campaign.run(trials, keep=tmp_path / "kept", **bounds)
    assert not findings, f"seed {seed}: " + "\n".join(finding.what for finding in findings)
    assert done >= least
