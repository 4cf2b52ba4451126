"""The monitor against real processes: one that passes, is stopped, is killed, stalls, or has another's id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from lvmfast.cli import app
from lvmfast.gates import TRAINING, at_epoch
from lvmfast.training import heartbeat
from lvmfast.training.heartbeat import Heartbeat, process_started, state
from lvmfast.training.history import read_run
from lvmfast.training.monitor import monitor
from lvmfast.training.triage import triage
from tests.support import walks

GATES = at_epoch(TRAINING, 2)
TRAINER = """
import json, signal, sys, time
from pathlib import Path
from lvmfast.durable import write_text
from lvmfast.training.heartbeat import Heartbeat
run, cosines = Path(sys.argv[1]), json.loads(sys.argv[2])
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
beat = Heartbeat(run, seconds=0.05)
beat.beat(epoch=1, step=0)
rows = []
for epoch, value in enumerate(cosines, 1):
    rows.append({"epoch": epoch, "val_cosine": value})
    write_text(run / "history.json", json.dumps(rows))
print("ready", flush=True)
while not stop:
    beat.beat(epoch=len(rows) + 1, step=1)
    time.sleep(0.02)
write_text(run / "saved", "yes")
beat.beat(epoch=len(rows) + 1, step=2, phase="stopped")
"""


@pytest.fixture
def trainer(tmp_path):
    started = []

    def start(cosines):
        (tmp_path / "config.toml").write_text("")
        command = [sys.executable, "-c", TRAINER, str(tmp_path), json.dumps(cosines)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_failing_run_is_stopped_and_saves(trainer, tmp_path):
    process = trainer([0.3, 0.4])
    outcome = monitor(tmp_path, GATES, every=0.1, on_fail="stop")
    assert (outcome.exit_code, outcome.state.life) == (1, "running")
    assert "SIGTERM was sent" in outcome.stopped
    assert "saved" in outcome.stopped
    assert process.wait(10) == 0
    assert (tmp_path / "saved").exists()
    assert state(tmp_path).life == "stopped"


def test_a_passing_run_is_left_alone(trainer, tmp_path):
    process = trainer([0.3, 0.6])
    assert monitor(tmp_path, GATES, every=0.1, on_fail="stop").exit_code == 0
    assert process.poll() is None


def test_a_killed_trainer_is_reported_dead(trainer, tmp_path):
    process = trainer([0.3])
    said = []

    def sleep(seconds):
        process.send_signal(signal.SIGKILL)
        time.sleep(0.2)  # not reaped: a zombie is dead, too

    outcome = monitor(tmp_path, GATES, every=0.1, on_fail="stop", say=said.append, sleep=sleep)
    assert (outcome.exit_code, outcome.state.life, outcome.stopped) == (3, "died", None)
    assert "died" in outcome.state.sentence
    assert "1 epochs so far" in said[0]


def test_a_stalled_trainer_is_no_waiting_one(trainer, tmp_path):
    process = trainer([0.3])
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    outcome = monitor(tmp_path, GATES, every=0.1, stall_after=0.2)
    assert (outcome.exit_code, outcome.state.life) == (3, "stalled")


def test_a_process_that_took_over_the_id_is_never_signalled(trainer, tmp_path):
    process = trainer([0.3, 0.4])
    beat = json.loads((tmp_path / "heartbeat.json").read_text())
    process.kill()
    process.wait()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "heartbeat.json").write_text(
            json.dumps(beat | {"pid": bystander.pid, "time": time.time()})
        )
        outcome = monitor(tmp_path, GATES, every=0.1, on_fail="stop")
        assert outcome.state.life == "died"
        assert "nothing was stopped" in outcome.stopped
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_another_host_is_never_signalled(tmp_path):
    Heartbeat(tmp_path).beat(epoch=2, step=9)
    beat = json.loads((tmp_path / "heartbeat.json").read_text())
    assert beat["pid_started"] == process_started(os.getpid())
    (tmp_path / "heartbeat.json").write_text(json.dumps(beat | {"host": "elsewhere"}))
    found = state(tmp_path)
    assert (found.life, found.pid) == ("running", None)
    assert state(tmp_path, stall_after=-1.0).life == "stalled"


def test_beats_are_throttled_and_survive_a_folder_that_is_gone(tmp_path):
    beat = Heartbeat(tmp_path, seconds=60)
    for step in range(3):
        beat.beat(epoch=1, step=step)
    assert json.loads((tmp_path / "heartbeat.json").read_text())["step"] == 0
    beat.beat(epoch=1, step=3, phase="finished")
    assert state(tmp_path).life == "finished"
    Heartbeat(tmp_path / "gone").beat(epoch=1, step=0)


def test_triage_has_both_orders_with_evidence(tmp_path):
    rows = [
        {"epoch": n, "val_cosine": 0.17, "train_infonce": 5.0 - n, "val_pairwise_cosine": 0.95}
        for n in (1, 2, 3)
    ]
    (tmp_path / "history.json").write_text(json.dumps(rows))
    config = (
        "[objective]\ntau = 0.07\nhead = true\n[batches]\nbatch = 256\naccumulate = 4\nmax_per_document = 2\n"
    )
    (tmp_path / "config.toml").write_text(config)
    found = triage(read_run(tmp_path))
    assert [s.name for s in found.steps if s.order == "customary"] == [
        "tau 0.05", "tau 0.10", "lambda 0.85/0.15", "batch 512", "head check", "2 per document",
    ]  # fmt: skip
    steps = {step.name: step for step in found.steps}
    assert f"--config {tmp_path}/config.toml --tau 0.05 --out {tmp_path}-tau-005" in steps["tau 0.05"].command
    assert "how many negatives it had is not known" in steps["batch 512"].evidence
    counted = [row | {"train_candidates": 1820.4, "train_below_chance": 3.5} for row in rows]
    (tmp_path / "history.json").write_text(json.dumps(counted))
    (tmp_path / "run.json").write_text(json.dumps({"rows_per_step": 38.2, "n_train": 2765}))
    evidence = {step.name: step.evidence for step in triage(read_run(tmp_path)).steps}["batch 512"]
    assert evidence == (
        "1,819 negatives a sequence in the last epoch, after masks; 38 sequences a step; train_infonce is "
        "2.00, 3.50 below the 5.50 of chance"
    )
    assert steps["2 per document"].done
    assert "4.00 -> 2.00" in steps["drop the head"].evidence
    assert any("collapse" in symptom for symptom in found.symptoms)


def without_proc(monkeypatch):
    real = heartbeat.Path
    monkeypatch.setattr(heartbeat, "Path", lambda path: real(str(path).replace("/proc/", "/nowhere/")))


def test_where_there_is_no_proc_ps_tells(monkeypatch):
    without_proc(monkeypatch)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        started = process_started(child.pid)
        assert started
        assert ":" in started  # a date and not the boot's id
        time.sleep(1.1)
        assert process_started(child.pid) == started
        child.kill()
        for _ in range(100):
            if process_started(child.pid) is None:
                break
            time.sleep(0.05)
        assert process_started(child.pid) is None  # a zombie
    finally:
        child.kill()
        child.wait()
    assert process_started(child.pid) is None
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(
        heartbeat.subprocess, "run", lambda *a, **k: (_ for _ in ()).throw(FileNotFoundError())
    )
    assert process_started(os.getpid()) is None


OURS = """
import sys, lvmfast
from tests.support.walks import QUICK
lvmfast.train(sys.argv[1], out=sys.argv[2], **{**QUICK, "epochs": 100_000, "lr": 1e-6})
"""
PASSED = """
[[gate]]
name = "a finite loss"
metric = "train_loss"
at_most = 1000
"""
FAILED = """
[[gate]]
name = "out of reach"
metric = "val_cosine"
at_least = 0.999
"""


@pytest.fixture
def lvmfast_trainer(tmp_path):
    """`lvmfast.train` as a process of its own, two epochs in."""
    pytest.importorskip("torch")
    data, run = walks.write(tmp_path / "walks.npz"), tmp_path / "run"
    errors = (tmp_path / "stderr").open("w+")
    process = subprocess.Popen([sys.executable, "-c", OURS, str(data), str(run)], stderr=errors)
    try:
        for _ in range(2400):
            if (run / "history.json").exists() and len(read_run(run).history.epochs) >= 2:
                break
            assert process.poll() is None, (tmp_path / "stderr").read_text()
            time.sleep(0.1)
        yield process, run
    finally:
        process.kill()
        process.wait()
        errors.close()


def look(run, *options):
    printed = CliRunner().invoke(app, ["monitor", str(run), "--every", "0.1", *options])
    return printed.exit_code, printed.output


@pytest.mark.heavy
def test_monitor_and_trainer(lvmfast_trainer, tmp_path):
    """The two commands as they meet: at work, passed, failed in each way, stalled, stopped, gone on with."""
    process, run = lvmfast_trainer
    gates = {name: tmp_path / f"{name}.toml" for name in ("passed", "failed")}
    gates["passed"].write_text(PASSED)
    gates["failed"].write_text(FAILED)
    failed, far = ("--gates", str(gates["failed"])), ("--epoch", "99999")
    code, said = look(run, "--gates", str(gates["passed"]), "--on-fail", "stop")
    assert (code, "PASSED" in said) == (0, True), said
    code, said = look(run, *failed)
    assert (code, "FAILED" in said, "SIGTERM" in said) == (1, True, False), said
    code, said = look(run, *failed, "--on-fail", "triage")
    assert (code, "The customary order" in said) == (1, True), said
    assert process.poll() is None
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    code, said = look(run, *far, "--stall-after", "1")
    assert (code, "stalled" in said) == (3, True), said
    process.send_signal(signal.SIGCONT)
    code, said = look(run, *failed, "--on-fail", "stop")
    assert code == 1
    assert "SIGTERM was sent" in said
    assert "stopped at epoch" in said
    assert process.wait(60) != 0
    assert (run / "checkpoints" / "last.safetensors").exists()
    code, said = look(run, *far)
    assert (code, "stopped at epoch" in said) == (3, True), said


@pytest.mark.heavy
def test_monitor_and_a_trainer_that_is_killed(lvmfast_trainer):
    process, run = lvmfast_trainer
    process.kill()
    process.wait()
    code, said = look(run, "--epoch", "99999", "--on-fail", "stop")
    assert (code, "died" in said, "stalled" in said) == (3, True, False), said
    assert f"lvmfast train --resume --out {run} continues" in said


@pytest.mark.heavy
def test_monitor_and_a_finished_run(tmp_path):
    pytest.importorskip("torch")
    import lvmfast

    lvmfast.train(walks.write(tmp_path / "walks.npz"), out=tmp_path / "run", **walks.QUICK)
    (tmp_path / "gates.toml").write_text(FAILED)
    code, said = look(tmp_path / "run", "--gates", str(tmp_path / "gates.toml"), "--on-fail", "stop")
    assert code == 1
    assert "nothing was stopped: the run finished after epoch 3" in said
    code, said = look(tmp_path / "run", "--epoch", "9")
    assert (code, "the run finished" in said) == (3, True), said
