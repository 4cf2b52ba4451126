"""Every script in `examples/`, from files as their users have them to a verdict."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lvmfast.stores import objects_under, open_input
from tests.support.store import put

EXAMPLES = Path(__file__).parents[2] / "examples"
QUESTIONS = [
    "Which planet of the solar system has the largest number of known moons?",
    "At how many degrees Celsius does water boil at the level of the sea?",
    "Who wrote the play in which a prince of Denmark speaks to a skull?",
]

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiobotocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:moto"),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    """A PATH on which `lvmfast` is the one under test."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "lvmfast"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lvmfast "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def example(path):
    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        shell = ["sh"] if name.endswith(".sh") else [sys.executable]
        return subprocess.run(
            [*shell, str(EXAMPLES / name), *map(str, arguments)],
            capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PATH": path},
        )  # fmt: skip

    return run


def sentences(count: int, seed: int) -> list[str]:
    words = np.array([f"word{place}" for place in range(4000)])
    return [" ".join(row) for row in np.random.default_rng(seed).choice(words, (count, 14))]


def lines(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def chats(file: Path, questions: list[str]) -> Path:
    asked = [*sentences(40, 1), *(f"Tell me, please: {question}" for question in questions)]
    answers = sentences(len(asked), 2)
    return lines(file, [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
        for question, answer in zip(asked, answers, strict=True)
    ])  # fmt: skip


def test_one_who_fine_tunes_on_chats(example, tmp_path):
    questions = lines(tmp_path / "questions.jsonl", [{"question": question} for question in QUESTIONS])
    found = example(
        "fine_tuner.sh", chats(tmp_path / "a.jsonl", QUESTIONS[:1]), questions, tmp_path / "report"
    )
    assert found.returncode == 1, found.stderr
    assert "overlap=1/3" in found.stdout
    assert (tmp_path / "report" / "report.html").is_file()
    clean = example("fine_tuner.sh", chats(tmp_path / "b.jsonl", []), questions, tmp_path / "other")
    assert clean.returncode == 0, clean.stdout + clean.stderr


def test_a_retrieval_engineer(example, tmp_path):
    vectors = np.random.default_rng(0).standard_normal((3000, 32)).astype(np.float32)
    np.save(tmp_path / "corpus.npy", vectors[:2900])
    np.save(tmp_path / "queries.npy", np.vstack([vectors[40:45] * 1.0001, vectors[2900:]]))
    (tmp_path / "ids.txt").write_text("".join(f"passage-{row}\n" for row in range(2900)))
    given = [tmp_path / name for name in ("corpus.npy", "ids.txt", "queries.npy", "report")]
    found = example("retrieval_engineer.sh", *given)
    assert found.returncode == 1, found.stderr
    assert "vector=5/105" in found.stdout
    matches = pq.read_table(tmp_path / "report" / "matches.parquet")
    assert sorted(matches["train_doc_id"].to_pylist()) == [f"passage-{row}" for row in range(40, 45)]


def test_one_who_trains_in_a_script(example, tmp_path):
    train, validation = sentences(200, 3), [*sentences(200, 3)[:4], *sentences(20, 4)]
    pq.write_table(pa.table({"text": train, "label": range(200)}), tmp_path / "train.parquet")
    for name, texts, code in (("seen.csv", validation, 1), ("unseen.csv", validation[4:], 0)):
        (tmp_path / name).write_text("text,label\n" + "".join(f"{text},0\n" for text in texts))
        found = example("trainer.py", tmp_path / "train.parquet", tmp_path / name)
        assert found.returncode == code, found.stderr
        assert ("text=4/24" in found.stdout) == (code == 1)


def test_the_team_with_sequence_files(example, tmp_path):
    rng = np.random.default_rng(0)
    for name, documents in (("train.npz", range(30)), ("eval.npz", range(28, 40))):
        keys = np.array([(document, chunk) for document in documents for chunk in range(5)])
        np.savez(
            tmp_path / name,
            truth_keys=keys,
            targets=rng.standard_normal((len(keys), 16)).astype(np.float32),
            contexts=rng.standard_normal((len(keys), 3, 16)).astype(np.float32),
        )
    found = example("sequence_team.sh", tmp_path / "train.npz", tmp_path / "eval.npz", tmp_path / "report")
    assert found.returncode == 1, found.stderr
    assert "doc=10/60" in found.stdout
    assert "context=0/60" in found.stdout


def test_one_who_evaluates(example, tmp_path):
    samples = [
        {
            "doc_id": place,
            "doc": {"question": question, "choices": ["a one", "b two"], "answer": 1},
            "target": "1",
            "arguments": {"gen_args_0": {"arg_0": f"Question: {question}\nAnswer:", "arg_1": " B"}},
            "resps": [[["-1.0", "False"]]],
            "filtered_resps": [["-1.0", "False"]],
            "acc": score,
        }
        for place, (question, score) in enumerate(zip(QUESTIONS, (1.0, 0.0, 1.0), strict=True))
    ]
    file = lines(tmp_path / "samples_quiz.jsonl", samples)
    found = example("evaluator.py", chats(tmp_path / "a.jsonl", QUESTIONS[:1]), file, "acc")
    assert found.returncode == 1, found.stderr
    assert found.stdout.splitlines()[-2:] == [
        "acc: 0.667 over all 3 items",
        "acc: 0.500 over the 2 that were not seen in training",
    ]
    clean = example("evaluator.py", chats(tmp_path / "b.jsonl", []), file, "acc")
    assert (clean.returncode, clean.stdout) == (0, "acc: 0.667 over all 3 items\n"), clean.stderr


def test_one_who_prepares_data_in_a_bucket(example, bucket, tmp_path):
    texts = sentences(400, 5)
    for shard in range(4):
        pq.write_table(pa.table({"text": texts[100 * shard : 100 * shard + 100]}), tmp_path / "shard.parquet")
        put(f"{bucket}/train/part-{shard}.parquet", (tmp_path / "shard.parquet").read_bytes())
    pq.write_table(pa.table({"text": [texts[7], texts[205], *sentences(30, 6)]}), tmp_path / "eval.parquet")
    put(f"{bucket}/eval.parquet", (tmp_path / "eval.parquet").read_bytes())
    where = [f"{bucket}/{name}" for name in ("train", "eval.parquet", "report", "clean")]
    found = example("data_engineer.sh", *where)
    assert found.returncode == 0, found.stderr
    assert "train: dropped 2 rows" in found.stdout
    left = []
    for shard in range(4):
        with open_input(f"{bucket}/clean/part-{shard}.parquet") as raw:
            left += pq.read_table(raw)["text"].to_pylist()
    assert left == [text for text in texts if text not in (texts[7], texts[205])]
    assert f"{bucket}/clean/clean.json" in objects_under(f"{bucket}/clean")


def test_one_who_decontaminates(example, monkeypatch, tmp_path):
    commit = "0" * 40
    cached = tmp_path / "home" / "hub" / "datasets--openai--gsm8k" / "snapshots" / commit / "main"
    cached.mkdir(parents=True)
    pq.write_table(
        pa.table({"question": QUESTIONS, "answer": ["a"] * 3}), cached / "test-00000-of-00001.parquet"
    )
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    rows = [*sentences(20, 7), f"Quiz: {QUESTIONS[1]} (easy)"]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    where = [tmp_path / name for name in ("train.jsonl", "report", "clean")]
    found = example("decontaminator.sh", where[0], "gsm8k", *where[1:])
    assert found.returncode == 0, found.stderr
    assert "train: dropped 1 row (" in found.stdout
    left = (tmp_path / "clean" / "train.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in left] == rows[:20]
    report = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert [file["path"] for file in report["inputs"]["eval"]["files"]] == ["gsm8k"]
    found = example("decontaminator.sh", tmp_path / "clean" / "train.jsonl", "gsm8k", tmp_path / "again", "x")
    assert (found.returncode, "nothing leaked" in found.stdout) == (0, True)


def test_every_example_is_listed_and_run():
    names = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    run = Path(__file__).read_text("utf-8")
    assert len(names) == 7
    assert all(f"[{name}]({name})" in listed and f'"{name}"' in run for name in names)
