"""The engine ray on a cluster of two nodes of this machine: the bytes of the local scan, whatever dies."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_shards import assert_same, corpus, whole

__all__ = ["corpus", "whole"]

pytestmark = pytest.mark.slow


def on_cluster(corpus: Path, out: Path, what: str = "") -> str:
    script = Path(__file__).with_name("ray_cluster.py")
    run = subprocess.run(
        [sys.executable, str(script), str(corpus), str(out), what],
        capture_output=True,
        text=True,
        timeout=400,
        cwd=script.parent.parent,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("what", ["", "kill"])
def test_a_cluster_finds_what_one_machine_finds(corpus: Path, whole: Path, tmp_path: Path, what: str) -> None:
    assert on_cluster(corpus, tmp_path, what).startswith("killed after" if what else "done")
    assert json.loads((tmp_path / "summary.json").read_text())["environment"]["engine"] == "ray"
    assert_same(tmp_path, whole)


def test_a_driver_that_was_killed_is_resumed(corpus: Path, whole: Path, tmp_path: Path) -> None:
    said = on_cluster(corpus, tmp_path, "driver")
    match = re.fullmatch(r"resumed at (\d+) of (\d+)", said)
    assert match, said
    assert 0 < int(match[1]) < int(match[2])
    assert_same(tmp_path, whole)


def test_a_worker_of_another_version_is_refused(corpus: Path, tmp_path: Path) -> None:
    assert "the driver 0.0.0: put one on all nodes" in on_cluster(corpus, tmp_path, "version")


def test_a_file_that_a_worker_does_not_see_is_named(corpus: Path, tmp_path: Path) -> None:
    said = on_cluster(corpus, tmp_path, "missing")
    assert "elsewhere" in said
    assert "no such file (on node" in said


def test_bad_addresses_and_sides_are_refused(corpus: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "lvmfast",
        "leakscan",
        "--engine",
        "ray",
        "--train",
        str(corpus / "train"),
    ]
    within = subprocess.run(command, capture_output=True, text=True)
    assert within.returncode == 2
    assert "compares two sides" in within.stderr
    command += ["--eval", str(corpus / "eval.parquet")]
    nobody = subprocess.run([*command, "--ray-address", "127.0.0.1:1"], capture_output=True, text=True)
    assert nobody.returncode == 2
    assert "lvmfast: ray: no cluster at 127.0.0.1:1" in nobody.stderr
