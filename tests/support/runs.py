"""What runs of `lvmfast train` left, to be compared."""

import hashlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch

from lvmfast.models.checkpoint import read_tensors
from lvmfast.training import learner
from lvmfast.training.interrupts import Interrupted
from lvmfast.training.state import KIND as STATE_KIND


@contextmanager
def stopped_at(step, said):
    """What trains in here is stopped at that step, counted from 1, as by Ctrl-C, and says so."""
    seen, real = [], learner.Learner.step

    def stepping(self, part, bank, position, stop):
        seen.append(1)
        stop.raised = len(seen) == step
        return real(self, part, bank, position, stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner.Learner, "step", stepping)
        with pytest.raises(Interrupted, match=said):
            yield
    assert len(seen) == step


def weights(run, epoch):
    return read_tensors(run / "checkpoints" / f"epoch-{epoch:04d}.safetensors", "lvmfast checkpoint")[0]


def timeless(history):
    return [{key: value for key, value in row.items() if key != "time"} for row in history]


def digests(run):
    """SHA-256 of every file of a run but those that tell of times and machines."""
    apart = {"history.json", "times.json", "run.json", "heartbeat.json"}
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in apart and "leakscan" not in path.parts
    }


def same_run(a, b, epochs=3, files=True):
    """Bit for bit: weights of each epoch, weights and moments of the last state, figures but the time.

    And the files themselves, where the data and the machine's settings are the same.
    """
    left, right = (json.loads((run / "history.json").read_text()) for run in (a, b))
    assert timeless(left) == timeless(right)
    for epoch in range(1, epochs + 1):
        one, other = weights(a, epoch), weights(b, epoch)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = (read_tensors(run / "checkpoints" / "last.safetensors", STATE_KIND)[0] for run in (a, b))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    if files:
        assert digests(a) == digests(b)


def by_one_and_two(program, folder, data, what):
    """Histories of the runs that one process and two made with `program`, which has DATA, OUT and `what`."""
    script = folder / "run.py"
    script.write_text(program)
    histories = []
    for count in (1, 2):
        out = folder / f"run-{count}"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        done = subprocess.run(
            [*command, str(script), str(data), str(out), what],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        histories.append(json.loads((out / "history.json").read_text()))
        assert json.loads((out / "run.json").read_text())["processes"] == count
    return histories
