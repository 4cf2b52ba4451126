"""A script: a scan on a Ray cluster of two nodes of this machine, one of which may be killed in the middle.

Usage: ray_cluster.py CORPUS OUT [kill|version|missing|driver]. Ray stays out of the process of the tests.
With `driver` the scan is a process of its own that kills itself in the middle, and then one that resumes it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"


OPTIONS: dict[str, Any] = {"nearest": True, "max_pairs": 50, "max_df": 4, "threads": 1}


def drive(corpus: Path, out: Path, address: str, resume: bool) -> None:
    """A scan that dies when the first cuts are recorded; or the one that resumes it, and says where."""
    import lvmfast
    from lvmfast.leaks import journal

    journal.SECONDS = 0.0
    told: list[int] = []

    def progress(phase: str, done: int, total: int | None) -> None:
        if phase == "scan train":
            told.append(done)
            if not resume and done > told[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    scan: dict[str, Any] = {**OPTIONS, "out": out, "engine": "ray", "ray_address": address}
    report = lvmfast.leakscan(
        corpus / "train", corpus / "eval.parquet", resume=resume, progress=progress, **scan
    )
    report.save(out)
    print(f"resumed at {told[0]} of {told[-1]}")


def main(corpus: Path, out: Path, what: str) -> None:
    from ray.cluster_utils import Cluster

    import lvmfast
    from lvmfast.engines import ray as engine

    memory = {"memory": 4 << 30, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
    other = cluster.add_node(num_cpus=1, memory=4 << 30, object_store_memory=100 << 20)
    cluster.wait_for_nodes()
    killed = []

    def progress(phase: str, done: int, total: int | None) -> None:
        if what == "kill" and phase == "scan train" and done and not killed:
            killed.append(done)
            cluster.remove_node(other, allow_graceful=False)

    if what == "version":
        engine.__version__ = "0.0.0"
    if what == "missing":
        from lvmfast.engines.ray import _path

        engine._path = lambda file: _path(file).replace("train", "elsewhere")  # type: ignore[assignment]
    if what == "driver":
        driver = [sys.executable, __file__, str(corpus), str(out), cluster.address]
        died = subprocess.run([*driver, "die"], capture_output=True, text=True)
        assert died.returncode == -signal.SIGKILL, died.stderr
        resumed = subprocess.run([*driver, "resume"], capture_output=True, text=True)
        print(resumed.stderr, resumed.stdout, sep="\n")
        cluster.shutdown()
        return
    try:
        report = lvmfast.leakscan(
            corpus / "train",
            corpus / "eval.parquet",
            out=out,
            engine="ray",
            ray_address=cluster.address,
            progress=progress,
            **OPTIONS,
        )
        report.save(out)
        print(f"killed after {killed}" if killed else "done")
    except lvmfast.DataError as error:
        print(error)
    cluster.shutdown()


if __name__ == "__main__":
    if len(sys.argv) > 4:
        drive(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "resume")
        sys.exit()
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
