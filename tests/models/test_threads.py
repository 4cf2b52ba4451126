"""How many threads are taken: by what the work is worth, within what the process may use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lvmfast.leaks import cgroup
from lvmfast.models import threads
from lvmfast.models.threads import FLOPS_PER_THREAD, worthwhile
from tests.support import walks


@pytest.mark.parametrize("version", [1, 2])
def test_cores_are_those_of_the_tightest_quota_above(tmp_path, version, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("3:cpu,cpuacct:/jobs/one\n0::/\n" if version == 1 else "0::/jobs/one\n")
    top = root / "cpu" if version == 1 else root

    def quota(group, micros, period=100_000):
        group.mkdir(parents=True, exist_ok=True)
        if version == 1:
            (group / "cpu.cfs_quota_us").write_text(f"{micros}\n")
            (group / "cpu.cfs_period_us").write_text(f"{period}\n")
        else:
            (group / "cpu.max").write_text(f"{'max' if micros == -1 else micros} {period}\n")

    quota(top / "jobs" / "one", -1)
    assert cgroup.cores(root, own) == 8
    quota(top / "jobs", 350_000)
    assert cgroup.cores(root, own) == 3
    quota(top / "jobs" / "one", 20_000)
    assert cgroup.cores(root, own) == 1
    assert cgroup.cores(tmp_path / "none", tmp_path / "none") == 8


def test_threads_follow_the_work(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [worthwhile(work * FLOPS_PER_THREAD) for work in (0, 1.5, 3, 100)] == [1, 1, 3, 8]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert worthwhile(100 * FLOPS_PER_THREAD) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert worthwhile(100 * FLOPS_PER_THREAD) == 1


CODE = """
import os, sys, lvmfast
from tests.support.walks import QUICK
figures = {**QUICK, "epochs": 1, "threads": 0}
done = lvmfast.train(sys.argv[1], out=sys.argv[2], **figures)
import torch
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
before = torch.get_num_threads()
assert done.run["threads"] == 1, done.run["threads"]
lvmfast.train(sys.argv[1], out=sys.argv[2] + "-2", **{**figures, "threads": 3})
assert torch.get_num_threads() == before
"""


@pytest.mark.heavy
def test_a_small_run_takes_one_thread_and_says_so(tmp_path):
    pytest.importorskip("torch")
    data = walks.write(tmp_path / "walks.npz")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(data), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
