"""The engine ray on a cluster of two nodes of this machine: the bytes of one machine, whatever dies."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast as lvmfast_api
from tests.support import data
from tests.support.places import ROOT
from tests.support.shards import OPTIONS, assert_same, assert_same_within, random_table
from tests.support.tiny_encoder import make_tiny_encoder

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(600)]
#: Beside other tests a node may take a while to start, where Ray itself gives up after 30 seconds, and its
#: workers are to have as much of the machine as those tests.
PATIENT = {**os.environ, "RAY_raylet_start_wait_time_s": "120", "RAY_worker_niceness": "0"}


def on_cluster(work: str, what: str, *arguments: Path) -> str:
    script = ROOT / "tests" / "support" / "ray_cluster.py"
    run = subprocess.run(
        [sys.executable, str(script), work, what, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=ROOT,
        env=PATIENT,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout.strip().splitlines()[-1]


#: The command with batch files so small that there are many.
LVMFAST = """
from lvmfast.__main__ import main
from lvmfast.encoding import parts
parts.PART_ROWS = 50
main()
"""


def lvmfast(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LVMFAST, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=PATIENT)


@pytest.mark.parametrize("what", ["", "kill"])
def test_a_cluster_finds_what_one_machine_finds(corpus: Path, whole: Path, tmp_path: Path, what: str) -> None:
    assert on_cluster("scan", what, corpus, tmp_path).startswith("killed after" if what else "done")
    assert json.loads((tmp_path / "summary.json").read_text())["environment"]["engine"] == "ray"
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("what", ["", "kill"])
def test_two_large_sides_are_parted_by_a_cluster(
    corpus: Path, whole: Path, tmp_path: Path, what: str
) -> None:
    assert on_cluster("large", what, corpus, tmp_path).startswith("killed after" if what else "done")
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("what", ["", "kill"])
def test_a_cluster_finds_the_texts_repeated_inside_one_set(corpus: Path, tmp_path: Path, what: str) -> None:
    alone = {name: value for name, value in OPTIONS.items() if name != "nearest"}
    lvmfast_api.leakscan(corpus / "train", levels=["text"], **alone).save(tmp_path / "local")
    assert on_cluster("within", what, corpus, tmp_path / "ray").startswith("killed after" if what else "done")
    assert_same_within(tmp_path / "ray", tmp_path / "local")


def test_large_sides_on_a_cluster_that_cannot_read_them(corpus: Path, tmp_path: Path) -> None:
    said = on_cluster("large", "missing", corpus, tmp_path)
    assert "elsewhere" in said
    assert "no such file (on node" in said
    assert "the driver 0.0.0: put one on all nodes" in on_cluster("large", "version", corpus, tmp_path)


def test_a_driver_that_was_killed_is_resumed(corpus: Path, whole: Path, tmp_path: Path) -> None:
    said = on_cluster("scan", "driver", corpus, tmp_path)
    match = re.fullmatch(r"resumed at (\d+) of (\d+)", said)
    assert match, said
    assert 0 < int(match[1]) < int(match[2])
    assert_same(tmp_path, whole)


def test_a_worker_of_another_version_is_refused(corpus: Path, tmp_path: Path) -> None:
    assert "the driver 0.0.0: put one on all nodes" in on_cluster("scan", "version", corpus, tmp_path)


def test_a_file_that_a_worker_does_not_see_is_named(corpus: Path, tmp_path: Path) -> None:
    said = on_cluster("scan", "missing", corpus, tmp_path)
    assert "elsewhere" in said
    assert "no such file (on node" in said


def test_bad_addresses_and_sides_are_refused(corpus: Path, tmp_path: Path) -> None:
    command = ["leakscan", "--engine", "ray", "--train", corpus / "train"]
    within = lvmfast(*command)
    assert within.returncode == 2
    assert "vector: the engine ray finds repeated texts inside one set (--levels text)" in within.stderr
    files = data.leaky(tmp_path)
    payload = ("--train-payload", files["train_payload"], "--levels", "text")
    joined = lvmfast(*command[:-1], files["train.npz"], *payload)
    assert joined.returncode == 2
    assert "train: the engine ray has no texts by payload on a side that it reads" in joined.stderr
    nobody = lvmfast(*command, "--eval", corpus / "eval.parquet", "--ray-address", "127.0.0.1:1")
    assert nobody.returncode == 2
    assert "lvmfast: ray: no cluster at 127.0.0.1:1" in nobody.stderr


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    make_tiny_encoder(folder / "other", seed=1)  # what workers load where they are to have another one
    return make_tiny_encoder(folder)


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of many lengths, some longer than the encoder reads."""
    path = tmp_path_factory.mktemp("chunks") / "chunks.parquet"
    rows = range(450)
    texts = [" ".join(f"word{row * place % 97}" for place in range(1 + row * 7 % 120)) for row in rows]
    table = {"doc_id": pa.array(rows), "chunk_id": pa.array([0] * len(rows)), "text": texts}
    pq.write_table(pa.table(table), path, row_group_size=64)
    return path


@pytest.fixture(scope="module")
def embedded(chunks: Path, encoder: Path) -> bytes:
    out = chunks.with_name("local.npz")
    done = lvmfast("ingest", "embed", chunks, "--encoder", encoder, "--out", out, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert re.search(r"450 vectors of 32 on cpu, \d+ longer than", done.stdout)
    return out.read_bytes()


def test_a_cluster_embeds_what_one_machine_embeds(
    chunks: Path, encoder: Path, embedded: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "ray.npz"
    done = lvmfast("ingest", "embed", chunks, "--encoder", encoder, "--out", out, "--engine", "ray")
    assert done.returncode == 0, done.stderr
    assert "450 vectors of 32 on ray: c" in done.stdout
    assert out.read_bytes() == embedded


def test_embedding_survives_a_node(chunks: Path, encoder: Path, embedded: bytes, tmp_path: Path) -> None:
    out = tmp_path / "ray.npz"
    assert on_cluster("embed", "kill", chunks, out, encoder).startswith("killed after")
    assert out.read_bytes() == embedded
    assert not out.with_name(".ray.npz.parts").exists()


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("version", "the driver 0.0.0: put one on all nodes"),
        ("encoder", "other/encoder: weights: expected blake2b:"),
        (
            "gpu",
            "Found no NVIDIA driver",
        ),  # the nodes say that they have one: it is asked for, and is not replaced in silence
    ],
)
def test_workers_that_cannot_embed_are_refused(
    chunks: Path, encoder: Path, tmp_path: Path, what: str, expected: str
) -> None:
    said = on_cluster("embed", what, chunks, tmp_path / "out.npz", encoder)
    assert expected in said
    assert what == "version" or "(on node " in said
    assert not (tmp_path / "out.npz").exists()


def test_embedding_on_ray_names_what_it_cannot_do(chunks: Path, encoder: Path, tmp_path: Path) -> None:
    command = ["ingest", "embed", chunks, "--encoder", encoder, "--out", tmp_path / "out.npz"]
    for more, expected in (
        (("--engine", "ray", "--device", "cuda:1"), "one GPU a worker, got 'cuda:1'"),
        (("--engine", "ray", "--ray-address", "127.0.0.1:1"), "ray: no cluster at 127.0.0.1:1"),
        (("--engine", "dask"), "engine: expected local or ray, got 'dask'"),
        (("--ray-address", "auto"), "ray_address: is for the engine ray"),
    ):
        refused = lvmfast(*command, *more)
        assert refused.returncode == 2
        assert expected in refused.stderr


def test_a_cluster_makes_the_fingerprint_of_one_machine(corpus: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ray.lvfp", tmp_path / "local.lvfp"
    assert lvmfast("fingerprint", corpus / "train", "--out", theirs).returncode == 0
    done = lvmfast("fingerprint", "train", "--out", ours, "--engine", "ray", cwd=corpus)  # names are relative
    assert done.returncode == 0, done.stderr
    assert "1,600 rows" in done.stdout
    whole = lvmfast("fingerprint", "train", "--out", theirs.with_name("relative.lvfp"), cwd=corpus)
    assert whole.returncode == 0
    assert ours.read_bytes() == theirs.with_name("relative.lvfp").read_bytes()
    assert on_cluster("fingerprint", "kill", corpus, tmp_path / "killed.lvfp").startswith("killed after")
    assert (tmp_path / "killed.lvfp").read_bytes() == theirs.read_bytes()


def test_fingerprints_on_ray_name_what_they_cannot_do(corpus: Path, tmp_path: Path) -> None:
    said = on_cluster("fingerprint", "missing", corpus, tmp_path / "a.lvfp")
    assert "elsewhere" in said
    assert "no such file (on node" in said
    assert "the driver 0.0.0" in on_cluster("fingerprint", "version", corpus, tmp_path / "a.lvfp")
    payload = ("--payload", corpus / "train" / "0.parquet", "--out", tmp_path / "a.lvfp", "--engine", "ray")
    refused = lvmfast("fingerprint", corpus / "train", *payload)
    assert refused.returncode == 2
    assert "payload: the engine ray joins no texts" in refused.stderr
    assert not (tmp_path / "a.lvfp").exists()


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_cluster_cleans_as_one_machine(corpus: Path, tmp_path: Path) -> None:
    train, evaluated, report = corpus / "train", tmp_path / "eval.parquet", tmp_path / "report"
    fresh = random_table(20, 150, 10_000, np.random.default_rng(8).standard_normal((90, 8), np.float32))
    fresh = fresh.set_column(2, "text", pa.array([f"a text of its own, number {n}" for n in range(150)]))
    pq.write_table(pa.concat_tables([pq.read_table(corpus / "eval.parquet")[:60], fresh]), evaluated)
    sides = ("--train", train, "--eval", evaluated)
    assert lvmfast("leakscan", *sides, "--out", report).returncode == 1
    for drop in ("eval", "train"):
        local = lvmfast("clean", *sides, "--report", report, "--drop", drop, "--out", tmp_path / drop)
        assert local.returncode == 0, local.stderr
    more = ("--report", report, "--drop", "train", "--out", tmp_path / "ray", "--engine", "ray")
    done = lvmfast("clean", *sides, *more)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "ray") == content(tmp_path / "train")
    said = on_cluster("clean", "kill", train, evaluated, report, tmp_path / "killed")
    assert said.startswith("killed after")
    assert content(tmp_path / "killed") == content(tmp_path / "eval")


def test_a_scan_with_texts_of_the_larger_side_is_not_cleaned_on_ray(tmp_path: Path) -> None:
    files, report, out = data.leaky(tmp_path), tmp_path / "report", tmp_path / "out"
    sides = ("--train", files["train.npz"], "--eval", files["eval.npz"])
    payload = ("--train-payload", files["train_payload"], "--eval-payload", files["eval_payload"])
    assert lvmfast("leakscan", *sides, *payload, "--out", report).returncode == 1
    refused = lvmfast("clean", *sides, "--report", report, "--out", out, "--engine", "ray")
    assert refused.returncode == 2
    assert "a scan with a payload for train: the engine ray joins no texts" in refused.stderr
    assert not out.exists()


def test_what_a_worker_did_not_foresee_is_told_in_a_line() -> None:
    said = on_cluster("fail", "")
    faults = said.split("; ")
    assert len(faults) == 4
    for raised in faults[0::2]:
        assert raised.startswith("ZeroDivisionError: integer division or modulo by zero (on node ")
    for died in faults[1::2]:
        assert died.startswith("6 workers died over one item")
