"""Clean splits from a store and into one: the files that a disk would have, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import lvmfast
from lvmfast import DataError
from lvmfast.cli.app import app
from lvmfast.stores import file_info, objects_under, open_input
from tests.support.store import failing, put

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiobotocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:moto"),
]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows(start: int, count: int, words: int = 12) -> list[dict]:
    rng = np.random.default_rng(start)
    vocabulary = np.array([f"word{place}" for place in range(5000)])
    return [
        {
            "doc_id": (start + row) // 4,
            "text": " ".join(rng.choice(vocabulary, words)),
            "vector": rng.standard_normal(6).astype(np.float32).tolist(),
        }
        for row in range(count)
    ]


def uploaded(folder: Path, uri: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(f"{uri}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def content(uri: str) -> bytes:
    with open_input(uri) as raw:
        return raw.read()


@pytest.fixture
def data(bucket, tmp_path):
    """Training shards of three formats and an evaluation set that leaked in part: (local folder, URI)."""
    train = [rows(1000 * shard, 40) for shard in range(3)]
    evaluation = [*train[0][:5], *train[2][7:10], *rows(90_000, 30)]
    (tmp_path / "train").mkdir()
    schema = pa.schema([("doc_id", pa.int64()), ("text", pa.string()), ("vector", pa.list_(pa.float32(), 6))])
    pq.write_table(pa.Table.from_pylist(train[0], schema), tmp_path / "train/a.parquet")
    with pa.ipc.new_file(tmp_path / "train/b.arrow", schema) as writer:
        writer.write_table(pa.Table.from_pylist(train[1], schema))
    (tmp_path / "train/c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train[2]))
    pq.write_table(pa.Table.from_pylist(evaluation, schema), tmp_path / "eval.parquet")
    uploaded(tmp_path, bucket)
    return tmp_path, bucket


def test_a_side_is_cleaned_from_a_store_into_a_store(data, tmp_path):
    local, uri = data
    scan = command(
        "leakscan", "--train", f"{uri}/train", "--eval", f"{uri}/eval.parquet", "--out", f"{uri}/r"
    )
    assert scan.exit_code == 1, scan.output
    arguments = ["--train", f"{uri}/train", "--eval", f"{uri}/eval.parquet", "--report", f"{uri}/r"]
    lvmfast.leakscan(local / "train", local / "eval.parquet").save(tmp_path / "r")
    for drop in ("train", "eval"):
        result = command("clean", *arguments, "--drop", drop, "--out", f"{uri}/clean-{drop}")
        assert result.exit_code == 0, result.output
        assert f"Certified: {uri}/clean-{drop}/clean.json" in result.output
        lvmfast.clean(
            local / "train", local / "eval.parquet", tmp_path / "r", out=tmp_path / f"clean-{drop}", drop=drop
        )
        expected = {
            path.relative_to(tmp_path / f"clean-{drop}").as_posix(): path.read_bytes()
            for path in (tmp_path / f"clean-{drop}").rglob("*")
        }
        found = {name[len(f"{uri}/clean-{drop}/") :] for name in objects_under(f"{uri}/clean-{drop}")}
        assert found == set(expected)
        for name in found - {"clean.json", "_dropped.parquet"}:  # those name where the files came from
            assert content(f"{uri}/clean-{drop}/{name}") == expected[name]
        certificate = json.loads(content(f"{uri}/clean-{drop}/clean.json"))
        other = certificate["sides"]["eval" if drop == "train" else "train"]["files"]
        assert [file["etag"] for file in other] == [file_info(file["path"]).etag for file in other]
        verified = command("verify", f"{uri}/clean-{drop}")
        assert verified.exit_code == 0, verified.output
        assert f"VERIFIED: {uri}/clean-{drop}" in verified.output
    # What was scanned there is cleaned to a disk as well, and what was tampered with is noticed.
    result = command("clean", *arguments, "--out", tmp_path / "here")
    assert result.exit_code == 0, result.output
    put(f"{uri}/clean-eval/eval.parquet", b"x")
    assert "not the bytes that were certified" in command("verify", f"{uri}/clean-eval").output
    put(f"{uri}/eval.parquet", (local / "eval.parquet").read_bytes()[:-1] + b"x")
    assert "ETag" in command("clean", *arguments, "--out", tmp_path / "again").output


def test_reports_in_a_store_are_read_by_what_acts_on_them(data, tmp_path):
    local, uri = data
    lvmfast.leakscan(f"{uri}/train", f"{uri}/eval.parquet").save(f"{uri}/r")
    assert command("report", f"{uri}/r").exit_code == 0
    with pytest.raises(
        DataError, match=r"train.a.parquet: .*/r knows .* by its ETag .*, and of this one there is"
    ):
        lvmfast.clean(local / "train", local / "eval.parquet", f"{uri}/r", out=tmp_path / "x")
    lvmfast.leakscan(local / "train", local / "eval.parquet").save(f"{uri}/local")
    done = lvmfast.clean(local / "train", local / "eval.parquet", f"{uri}/local", out=f"{uri}/from-disk")
    assert done.passed
    assert done.folder == f"{uri}/from-disk"
    moved = lvmfast.quarantine(local / "eval.parquet", f"{uri}/local")
    assert [entry.entry["scan"]["report"] for entry in moved.moved] == [f"{uri}/local"]


def test_a_split_from_a_store_into_a_store(bucket, tmp_path):
    lines = [json.dumps(row) for row in rows(0, 200)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines[:120]) + "\n")
    (tmp_path / "b.jsonl").write_text("\n".join(lines[120:]) + "\n")
    uploaded(tmp_path, f"{bucket}/data")
    asked = ["--eval-docs", "10", "--min-chunks-per-doc", "1"]
    assert command("split", tmp_path, "--out", tmp_path.parent / "split", *asked).exit_code == 0
    result = command("split", f"{bucket}/data", "--out", f"{bucket}/split", *asked)
    assert result.exit_code == 0, result.output
    for name in ("train.jsonl", "eval.jsonl"):
        assert content(f"{bucket}/split/{name}") == (tmp_path.parent / "split" / name).read_bytes()
    certificate = json.loads(content(f"{bucket}/split/clean.json"))
    assert [file["etag"] for file in certificate["source"]] == [
        file_info(f"{bucket}/data/{name}").etag for name in ("a.jsonl", "b.jsonl")
    ]
    assert command("verify", f"{bucket}/split").exit_code == 0
    assert (
        "not empty; nothing is written over"
        in command("split", f"{bucket}/data", "--out", f"{bucket}/split", *asked).output
    )
    inside = command("split", f"{bucket}/data", "--out", f"{bucket}/data/split", *asked)
    assert f"lies inside {bucket}/data" in inside.output


def test_what_cannot_be_put_whole_is_taken_away(bucket, proxy, tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(0, 200)))
    asked = ["--eval-docs", "10", "--min-chunks-per-doc", "1"]
    proxy.faults = failing(100, 403, method="PUT", part="eval.jsonl")
    result = command("split", tmp_path / "a.jsonl", "--out", f"{bucket}/split", *asked)
    assert result.exit_code == 2
    assert f"{bucket}/split/eval.jsonl: access refused" in result.output
    assert not objects_under(f"{bucket}/split")
    proxy.faults = failing(100, 403, method="PUT", part="clean.json")
    assert command("split", tmp_path / "a.jsonl", "--out", f"{bucket}/split", *asked).exit_code == 2
    assert not objects_under(f"{bucket}/split")
    order: list[str] = []
    proxy.faults = lambda method, path, headers: order.append(path) if method == "PUT" else None
    assert command("split", tmp_path / "a.jsonl", "--out", f"{bucket}/split", *asked).exit_code == 0
    assert order[-1].endswith("clean.json")  # a killed run leaves none, so nothing that could be verified
    put(f"{bucket}/killed/train.jsonl", b"{}\n")
    said = command("split", tmp_path / "a.jsonl", "--out", f"{bucket}/killed", *asked).output
    assert "1 objects and no clean.json" in said
    assert command("verify", f"{bucket}/killed").exit_code == 2


@pytest.mark.heavy
def test_a_dataset_that_was_saved_to_a_store_is_one_again(bucket, tmp_path):
    datasets = pytest.importorskip("datasets")
    train, evaluation = rows(0, 40), [*rows(0, 40)[:5], *rows(9000, 20)]
    datasets.Dataset.from_list(train).save_to_disk(str(tmp_path / "train"))
    datasets.Dataset.from_list(evaluation).save_to_disk(str(tmp_path / "eval"))
    uploaded(tmp_path, bucket)
    lvmfast.leakscan(f"{bucket}/train", f"{bucket}/eval").save(f"{bucket}/r")
    assert lvmfast.clean(f"{bucket}/train", f"{bucket}/eval", f"{bucket}/r", out=tmp_path / "clean").passed
    again = datasets.load_from_disk(str(tmp_path / "clean"))
    assert [row["text"] for row in again] == [row["text"] for row in evaluation[5:]]


def test_a_machine_without_room_is_told_before_anything_is_read(data, monkeypatch, tmp_path):
    _, uri = data
    lvmfast.leakscan(f"{uri}/train", f"{uri}/eval.parquet").save(tmp_path / "r")
    usage = type("usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    with pytest.raises(DataError, match=r"bytes are needed .* and 10 are free; TMPDIR names another place"):
        lvmfast.clean(f"{uri}/train", f"{uri}/eval.parquet", tmp_path / "r", out=f"{uri}/x")
    with pytest.raises(DataError, match=r"bytes are needed .* and 10 are free"):
        lvmfast.split(f"{uri}/eval.parquet", out=tmp_path / "x", eval_docs=2, min_chunks_per_doc=1)
    with pytest.raises(DataError, match="--ray-address"):
        lvmfast.clean(
            f"{uri}/train", f"{uri}/eval.parquet", tmp_path / "r", out=f"{uri}/x",
            engine="ray", ray_address="host:1",
        )  # fmt: skip
