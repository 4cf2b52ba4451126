"""Several processes, as a user starts them with torchrun: one voice, whatever happens to which of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")

from tests.support import walks

pytestmark = pytest.mark.heavy

#: A run in which one process has an error of its own, or dies, in its fourth step.
ALONE = """
import os, signal, sys
from lvmfast import cli, errors
from lvmfast.training import learner
what, real, seen = sys.argv.pop(1), learner.Learner.step, []
def step(self, *arguments):
    seen.append(1)
    if len(seen) == 4 and os.environ["RANK"] == "1":
        if what == "error":
            raise errors.DataError("b.npz: no such file on this machine")
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *arguments)
learner.Learner.step = step
cli.app()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return walks.write(tmp_path_factory.mktemp("data") / "walks.npz")


def started(data, out, *words, program=("-m", "lvmfast"), **figures):
    settled = {**walks.QUICK, "epochs": 2, "train": data, "out": out, **figures}
    options = [f"--{key.replace('_', '-')}={value}" for key, value in settled.items()]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.Popen(
        [*torchrun, *program, "train", *options, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def run(*arguments, **figures):
    running = started(*arguments, **figures)
    try:
        said, errors = running.communicate(timeout=120)
    finally:
        running.kill()
    assert "not a verdict" not in errors, errors
    return running.returncode, said, [line for line in errors.splitlines() if line.startswith("lvmfast: ")]


def test_a_fresh_run_speaks_once_and_is_clean(data, tmp_path):
    code, said, errors = run(data, tmp_path / "run")
    assert (code, errors) == (0, [])
    assert "LEAKED" not in said
    for once in ("Best epoch:", "train against validation: clean", "epoch 2:"):
        assert said.count(once) == 1, said
    stated = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (stated["leak_status"], stated["processes"]) == ("clean", 2)


def test_a_leak_is_said_once_and_is_no_success_of_any_process(data, tmp_path):
    code, said, errors = run(data, tmp_path / "run", val=data)
    assert code != 0
    assert errors == []
    assert said.count("Nothing was trained") == 1
    assert "Best epoch" not in said


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"train": "none.npz"}, "none.npz: no such file"),
        pytest.param({"device": "cuda:7"}, "sees 0 GPUs here", marks=pytest.mark.slow),
        pytest.param({"tau": 0}, "tau: expected above 0", marks=pytest.mark.slow),
        pytest.param({"batch": 5000}, "fewer than a batch of 5000", marks=pytest.mark.slow),
    ],
)
def test_an_error_of_all_is_said_once(data, tmp_path, figures, message):
    code, said, errors = run(data, tmp_path / "run", **figures)
    assert code != 0
    assert said == ""
    assert [message in line for line in errors] == [True]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("error", "lvmfast: process 1 of 2: b.npz: no such file on this machine"),
        pytest.param("death", "lvmfast: another process of the run has ended (", marks=pytest.mark.slow),
    ],
)
def test_the_error_of_one_reaches_the_user_once(data, tmp_path, what, message):
    script = tmp_path / "alone.py"
    script.write_text(ALONE)
    code, _, errors = run(data, tmp_path / "run", program=(str(script), what))
    assert code != 0
    assert len(errors) <= 1
    if what == "error" or errors:  # torchrun may have ended the first process before it could speak
        assert errors[0].startswith(message)


@pytest.mark.slow
def test_ctrl_c_is_said_once(data, tmp_path):
    out = tmp_path / "run"
    running = started(data, out, epochs=100_000)
    try:
        while running.poll() is None and not (out / "history.json").exists():
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=120)
    finally:
        running.kill()
    assert errors.count("lvmfast: interrupted; saved") == 1, errors
