"""Ids and texts by position, from files beside vectors, against the same columns in one file."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import lvmfast
from lvmfast.cli.app import app
from lvmfast.corpus.beside import attach, open_beside
from lvmfast.corpus.load import load_split
from lvmfast.errors import DataError
from tests.support.shards import assert_same

ROWS = 5000
VECTORS = np.random.default_rng(0).normal(size=(ROWS, 32)).astype(np.float32)
IDS = [7 * n for n in range(ROWS)]
TEXTS = [f"text {n} é" for n in range(ROWS)]


def command(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def place(tmp_path):
    np.save(tmp_path / "vectors.npy", VECTORS)
    for part, rows in enumerate((slice(0, 1700), slice(1700, None))):
        np.save(tmp_path / f"part{part}.npy", VECTORS[rows])
    np.save(tmp_path / "ids.npy", np.array(IDS))
    np.save(tmp_path / "names.npy", np.array([str(n) for n in IDS]))
    np.save(tmp_path / "pairs.npy", np.stack([IDS, np.arange(ROWS) % 3], 1))
    np.save(tmp_path / "texts.npy", np.array(TEXTS))
    (tmp_path / "ids.txt").write_text("".join(f"{n}\n" for n in IDS))
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    pq.write_table(
        pa.table({"id": IDS, "text": TEXTS, "my": IDS}), tmp_path / "both.parquet", row_group_size=999
    )
    lines = (json.dumps({"doc_id": n, "text": text}) for n, text in zip(IDS, TEXTS, strict=True))
    (tmp_path / "both.jsonl").write_text("\n".join(lines))
    return tmp_path


def columns(split, names, rows):
    found = {name: [] for name in names}
    for batch in split.batches(names, rows):
        for name in names:
            values = getattr(batch, name)
            found[name] += values.tolist() if name == "vector" else [str(v) for v in values.to_pylist()]
    return found


@pytest.mark.parametrize("vectors", ["vectors.npy", "part?.npy"])
@pytest.mark.parametrize(
    "ids", ["ids.npy", "names.npy", "ids.txt", "both.parquet", "both.jsonl", "pairs.npy"]
)
@pytest.mark.parametrize("texts", ["texts.npy", "texts.txt", "both.parquet", "both.jsonl"])
def test_rows_have_what_stands_beside_them(place, vectors, ids, texts):
    beside = [("ids", open_beside("ids", str(place / ids), {}))]
    beside.append(("texts", open_beside("texts", str(place / texts), {})))
    split = attach(load_split(str(place / vectors)), beside)
    for rows in (333, 8192):
        found = columns(split, ("doc_id", "text", "vector"), rows)
        assert found["doc_id"] == [str(n) for n in IDS]
        assert found["text"] == TEXTS
        assert np.array_equal(found["vector"], VECTORS)
    assert columns(split, ("doc_id",), 700)["doc_id"] == [str(n) for n in IDS]
    if ids == "pairs.npy":
        assert columns(split, ("chunk_id",), 700)["chunk_id"] == [str(n % 3) for n in range(ROWS)]
    some = np.array([0, 1699, 1700, 4321])
    taken = split.take(some, ("doc_id", "text"))
    assert taken["text"].to_pylist() == [TEXTS[row] for row in some]
    assert [str(n) for n in taken["doc_id"].to_pylist()] == [str(IDS[row]) for row in some]


def test_a_scan_is_that_of_one_file_with_all_columns(place):
    whole = {"vector": VECTORS, "doc_id": IDS, "text": TEXTS}
    held_out = {name: values[-9:] for name, values in whole.items()}
    expected = lvmfast.leakscan(whole, held_out).summary
    np.save(place / "eval.npy", VECTORS[-9:])
    (place / "eval.txt").write_text("\n".join(map(str, IDS[-9:])))
    (place / "eval-texts.txt").write_text("\n".join(TEXTS[-9:]))
    done = command(
        *("leakscan", "--train", place / "vectors.npy", "--train-ids", place / "both.parquet"),
        *("--train-texts", place / "texts.txt", "--train-column", "doc_id=my", "--eval", place / "eval.npy"),
        *("--eval-ids", place / "eval.txt", "--eval-texts", place / "eval-texts.txt", "--out", place / "out"),
    )
    assert done.exit_code == 1, done.output
    summary = json.loads((place / "out" / "summary.json").read_text())
    for level, found in expected["levels"].items():  # but for the reason, which names the file
        assert {**summary["levels"][level], "reason": None} == {**found, "reason": None}, level
    assert f"doc_id: by position, from {place / 'both.parquet'}" in summary["inputs"]["train"]["notes"]
    found = pq.read_table(place / "out" / "matches.parquet").to_pylist()
    assert {row["train_doc_id"] for row in found if row["level"] == "vector"} == {str(n) for n in IDS[-9:]}


def test_shards_are_that_scan_and_clean_refuses_what_it_would_prove_less_of(place, monkeypatch):
    monkeypatch.setattr("lvmfast.api.SPAN_BYTES", 40_000)
    np.save(place / "eval.npy", np.concatenate([VECTORS[1690:1710], -VECTORS[-9:]]))
    np.save(place / "eval-ids.npy", np.concatenate([IDS[1690:1710], -1 - np.arange(9)]))
    sides = str(place / "part?.npy"), str(place / "eval.npy")
    beside = {
        "ids": {"train": str(place / "ids.txt"), "eval": str(place / "eval-ids.npy")},
        "texts": {"train": str(place / "both.jsonl")},
    }
    lvmfast.leakscan(*sides, nearest=True, **beside).save(place / "whole")
    parts = [place / f"part-{share}" for share in (1, 2, 3)]
    for share, part in enumerate(parts, 1):
        lvmfast.leakscan(*sides, nearest=True, shard=(share, 3), out=part, **beside).save(part)
    merged = lvmfast.merge(parts)
    assert merged.summary["levels"]["doc"]["eval_rows_matched"] == 20
    merged.save(place / "merged")
    assert_same(place / "merged", place / "whole")
    with pytest.raises(DataError, match=r"part0\.npy: its doc_id was read by position, .* into one file"):
        lvmfast.clean(*sides, place / "whole", out=place / "clean")


def test_what_does_not_belong_together_is_refused(place):
    np.save(place / "short.npy", np.arange(7))
    scan = ("leakscan", "--eval", place / "vectors.npy", "--train")
    for arguments, told in {
        (
            place / "vectors.npy",
            "--train-ids",
            place / "short.npy",
        ): "short.npy: expected ids of the 5000 rows of",
        (place / "both.jsonl", "--train-ids", place / "ids.npy"): "its rows are counted while they are read",
        (place / "vectors.npy", "--train-ids", place / "texts.npy", "--engine", "ray"): (
            "the engine ray reads no columns by position; use --shard, or put both into one file"
        ),
        (place / "vectors.npy", "--train", place / "both.parquet"): "has vectors alone, and .* has none",
        (
            place / "vectors.npy",
            "--train",
            place / "ids.npy",
        ): "alone and .*ids.npy as --train-ids",
        (place / "vectors.npy", "--train-texts", place / "vectors.npy"): r"expected \(n,\) text",
    }.items():
        done = command(*scan, *arguments)
        assert done.exit_code == 2, (arguments, done.output)
        assert re.search(told, done.output.replace("\n", " ")), done.output
    both = load_split(str(place / "both.jsonl"))
    for _ in both.batches(("doc_id",)):  # to the end, where its rows are known
        pass
    with pytest.raises(DataError, match=r"ids\.npy: doc_id: .*both\.jsonl has one of its own"):
        attach(both, [("ids", open_beside("ids", str(place / "ids.npy"), {}))])
    with pytest.raises(DataError, match="ids: eval: there is no such side"):
        lvmfast.leakscan(place / "vectors.npy", ids={"eval": str(place / "ids.npy")})
