"""Data without document ids: each row is a document, and rows keep their shape."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast import DataError
from tests.support.command import run


def chats(count: int) -> list[str]:
    """Lines of chats with fields of their own; every tenth question stands in the next one, in capitals."""
    rng = np.random.default_rng(5)
    words = np.array([f"word{place}" for place in range(3000)])
    lines, before = [], ""
    for row in range(count):
        question = before.upper() if row % 10 == 1 else " ".join(rng.choice(words, 15))
        messages = [{"role": "user", "content": question}]
        if row % 10 > 1:
            messages.append({"role": "assistant", "content": " ".join(rng.choice(words, 9))})
        lines.append(
            json.dumps(
                {"messages": messages, "tags": ["a", row], "meta": {"é": None, "x": 1.50}}, indent=None
            )
        )
        before = question
    return lines


def test_chats_without_ids_are_divided_row_by_row_and_keep_their_bytes(tmp_path):
    lines = chats(200)
    (tmp_path / "chats.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    result = run("split", str(tmp_path / "chats.jsonl"), "--eval-docs", "30", "--out", str(tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    assert (
        "no doc_id: each row is a document of its own; --by FIELD names what belongs together"
        in result.stdout
    )
    assert "eval.jsonl: 30 rows" in result.stdout
    assert "20 sets of rows share text" in result.stdout
    sides = {
        name: (tmp_path / "out" / f"{name}.jsonl").read_text("utf-8").splitlines()
        for name in ("train", "eval")
    }
    assert Counter(sides["train"] + sides["eval"]) == Counter(lines)  # byte for byte, all fields
    assert [line for line in lines if line in set(sides["eval"])] == sides["eval"]  # in order
    for row in range(0, 200, 10):  # a question and its copy in capitals
        assert (lines[row] in sides["eval"]) == (lines[row + 1] in sides["eval"])
    certificate = json.loads((tmp_path / "out" / "clean.json").read_text())
    assert certificate["split"]["by"] is None
    assert certificate["split"]["documents"] == {"train": 170, "eval": 30}
    assert lvmfast.verify(tmp_path / "out").verified


def test_vectors_alone_are_divided_and_near_ones_stay_together(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((100, 16)).astype(np.float32)
    vectors[50:60] = vectors[:10] * 1.0001
    np.save(tmp_path / "v.npy", vectors)
    first = lvmfast.split(tmp_path / "v.npy", out=tmp_path / "a", eval_fraction=0.4)
    lvmfast.split(tmp_path / "v.npy", out=tmp_path / "b", eval_fraction=0.4)
    assert first.passed
    held = np.load(tmp_path / "a" / "eval.npy")
    np.testing.assert_array_equal(held, np.load(tmp_path / "b" / "eval.npy"))
    place = {row.tobytes(): at for at, row in enumerate(vectors)}
    rows = {place[row.tobytes()] for row in held}
    assert all((row in rows) == (row + 50 in rows) for row in range(10))
    other = lvmfast.split(tmp_path / "v.npy", out=tmp_path / "c", eval_fraction=0.4, seed=1)
    assert other.passed
    assert {place[row.tobytes()] for row in np.load(tmp_path / "c" / "eval.npy")} != rows


def test_an_id_that_comes_late_counts(tmp_path):
    rows = [{"text": f"a text of its own, number {row} of them"} for row in range(40_000)]
    rows += [{"text": f"and one with an id, {row}", "doc_id": row // 2} for row in range(40)]
    (tmp_path / "late.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = lvmfast.split(tmp_path / "late.jsonl", out=tmp_path / "out", eval_docs=3, min_chunks_per_doc=2)
    assert made.certificate is not None
    assert made.certificate["split"]["by"] == "doc_id"
    assert made.certificate["split"]["rows_without_id"] == 40_000


def test_files_of_which_some_have_ids_are_told_apart(tmp_path: Path):
    pq.write_table(pa.table({"text": ["a text"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["another"], "doc_id": [1]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"a.parquet: no doc_id to split by"):
        lvmfast.split(tmp_path, out=tmp_path.parent / "out", eval_docs=1)
    pq.write_table(pa.table({"doc_id": [1.5]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="doc_id"):
        lvmfast.split(tmp_path / "b.parquet", out=tmp_path.parent / "out", eval_docs=1)
    pq.write_table(pa.table({"other": [1.5]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b.parquet"):
        lvmfast.split(tmp_path / "b.parquet", out=tmp_path.parent / "out", eval_docs=1)
