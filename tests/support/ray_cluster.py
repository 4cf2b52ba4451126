"""A script: work on a Ray cluster of two nodes of this machine, one of which may be killed in the middle.

Usage: ray_cluster.py WORK WHAT ARGUMENT... WORK is scan, large, within, embed, fingerprint, clean or fail;
WHAT is nothing, kill, version, or a fault of that work. Ray stays out of the process of the tests.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"


OPTIONS: dict[str, Any] = {"nearest": True, "max_pairs": 50, "max_df": 4, "threads": 1}
#: In which phase the node of a work is killed, once something is done.
PHASES = {
    "scan": ["scan train"],
    "large": ["part doc"],
    "within": ["join text", "compare text"],
    "embed": ["embeddings"],
    "fingerprint": ["fingerprint"],
    "clean": ["scan train"],
}


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


@contextmanager
def two_nodes(**more: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a cluster of two nodes of one processor each, and what kills the second."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "memory": 4 << 30, "object_store_memory": 100 << 20, **more}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    other = cluster.add_node(**node)
    cluster.wait_for_nodes()
    yield cluster.address, lambda: cluster.remove_node(other, allow_graceful=False)
    cluster.shutdown()


def scan(corpus: str, out: str, **engine: Any) -> None:
    import lvmfast

    found = lvmfast.leakscan(f"{corpus}/train", f"{corpus}/eval.parquet", out=out, **OPTIONS, **engine)
    found.save(out)


def large(corpus: str, out: str, **engine: Any) -> None:
    """A scan whose index does not fit."""
    from lvmfast.scan import plan, run

    run.plan = lambda sides, given: plan.plan(sides, replace(given, outgrown=True))
    scan(corpus, out, **engine)


def within(corpus: str, out: str, **engine: Any) -> None:
    import lvmfast

    options = {**OPTIONS, "nearest": False, "levels": ["text"]}
    lvmfast.leakscan(f"{corpus}/train", out=out, **options, **engine).save(out)


def embed(chunks: str, out: str, encoder: str, *, engine: str, ray_address: str, progress: Any) -> None:
    from lvmfast.encoding import parts
    from lvmfast.encoding.encoder import Encoder
    from lvmfast.encoding.ray import embedder_of
    from lvmfast.ingest import embeddings

    parts.PART_ROWS = 50
    embedding = embedder_of(engine, ray_address, None)
    done = embeddings.write_embeddings(
        Path(chunks), Path(out), Encoder(encoder, device="cpu"), embed=embedding, progress=progress
    )
    print(done.device)


def fingerprint(corpus: str, out: str, **engine: Any) -> None:
    import lvmfast
    from lvmfast.splits import ray_fingerprint

    spans_of = ray_fingerprint.spans_of
    ray_fingerprint.spans_of = lambda dataset: spans_of(dataset, 1 << 13)
    lvmfast.fingerprint(f"{corpus}/train", out, threads=1, **engine)


def clean(train: str, eval: str, report: str, out: str, **engine: Any) -> None:
    import lvmfast

    assert lvmfast.clean(train, eval, report, out=out, threads=1, **engine).passed


def fail(*, ray_address: str, **_: Any) -> None:
    """Work that fails by an exception and by the death of its process, spread and grouped."""
    import pyarrow as pa

    from lvmfast.engines.cluster import connected, workers
    from lvmfast.engines.group_by import by_group
    from lvmfast.engines.spread import spread
    from lvmfast.errors import DataError

    def raises() -> Any:
        return lambda item: bytes(1 // item["value"])

    def dies() -> Any:
        return lambda item: os._exit(7)

    def part(item: dict[str, Any]) -> pa.Table:
        return pa.table({"group": pa.array([item["value"]], pa.int32())})

    def join(rows: pa.Table) -> list[bytes]:
        return [raises()({"value": rows["group"][0].as_py()})]

    told = []
    items = [pa.table({"value": [value]}) for value in (1, 0)]
    with connected(ray_address) as ray:
        of = workers(ray, 1 << 20)
        for work in (
            lambda: spread(ray, items, raises, (), of),
            lambda: spread(ray, items, dies, (), of),
            lambda: by_group(ray, items, part, join, of, 2, print),
            lambda: by_group(ray, items, part, dies(), of, 2, print),
        ):
            try:
                told.append(str(list(work())))
            except DataError as error:
                told.append(str(error))
    raise DataError("; ".join(told))


WORKS: dict[str, Callable[..., None]] = {
    "scan": scan,
    "large": large,
    "within": within,
    "embed": embed,
    "fingerprint": fingerprint,
    "clean": clean,
    "fail": fail,
}


def main(work: str, what: str, arguments: list[str]) -> None:
    import lvmfast
    from lvmfast.engines import ledger, spans

    with two_nodes(**({"num_gpus": 1} if what == "gpu" else {})) as (address, kill):
        killed = []

        def progress(phase: str, done: int, total: int | None) -> None:
            if what == "kill" and phase in PHASES[work] and done and not killed:
                killed.append(done)
                kill()

        if what == "version":
            ledger.__version__ = "0.0.0"
        if what == "missing":
            path = spans._path
            spans._path = lambda file: path(file).replace("train", "elsewhere")  # type: ignore[assignment]
        if what == "encoder":
            from lvmfast.encoding import ray as ray_embedding

            elsewhere = Path(arguments[-1]).parent / "other" / "encoder"
            ray_embedding._name = lambda encoder: str(elsewhere)
        if what == "driver":
            driver = [sys.executable, __file__, "drive", "", *arguments, address]
            died = subprocess.run([*driver, "die"], capture_output=True, text=True)
            assert died.returncode == -signal.SIGKILL, died.stderr
            resumed = subprocess.run([*driver, "resume"], capture_output=True, text=True)
            print(resumed.stderr, resumed.stdout, sep="\n")
            return
        try:
            WORKS[work](*arguments, engine="ray", ray_address=address, progress=progress)
            print(f"killed after {killed}" if killed else "done")
        except lvmfast.DataError as error:
            print(error)


if __name__ == "__main__":
    _, asked, what, *arguments = sys.argv
    if asked == "drive":
        drive(Path(arguments[0]), Path(arguments[1]), arguments[2], arguments[3] == "resume")
    else:
        main(asked, what, arguments)
