"""Passages and answers that stand in training texts without their question, against the naive twin."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import lvmfast
from lvmfast.cli.app import app
from tests.support import overlap as naive

WORDS = st.sampled_from(["alpha", "Beta", "gamma,", "déjà", "ﬁn", "7", "猫", "กา", "x", "🙂", "(omega)"])
TEXT = (
    st.lists(WORDS, min_size=6, max_size=24).map(" ".join).filter(lambda text: len(naive.tokens(text)) >= 5)
)
TEXTS = st.one_of(st.none(), TEXT, st.lists(TEXT, max_size=3))
ITEMS = st.lists(st.tuples(TEXT, TEXTS, TEXTS), min_size=1, max_size=5)


def texts_of(field):
    return [field] if isinstance(field, str) else field or []


def stands(items, field, documents):
    """(document, row, text) of each text of a field that matches."""
    flat = [(row, text) for row, item in enumerate(items) for text in texts_of(item[field])]
    found = naive.pairs([text for _, text in flat], documents)
    same_as = naive.evaluation_side([text for _, text in flat]).same_as
    return {
        (pair["document"], row, text)
        for pair in found
        if pair["strength"] == 2
        for (row, text), first in zip(flat, same_as, strict=True)
        if first == pair["item"]
    }


def with_question(items, documents):
    """(document, row) of each question that stands there, whole and short ones too."""
    questions = [question for question, _, _ in items]
    same_as = naive.evaluation_side(questions).same_as
    return {
        (pair["document"], row)
        for pair in naive.pairs(questions, documents)
        for row, first in enumerate(same_as)
        if first == pair["item"]
    }


@settings(max_examples=60, deadline=None)
@given(ITEMS, st.data())
def test_what_stands_alone_is_what_the_twin_finds_and_decides_nothing(items, data):
    known = [text for item in items for field in item for text in texts_of(field)]
    piece = st.one_of(TEXT, st.sampled_from(known))
    documents = data.draw(st.lists(st.lists(piece, max_size=4).map("\n".join), min_size=1, max_size=5))
    names = ("question", "passage", "answer")
    fields = {name: [item[i] for item in items] for i, name in enumerate(names)}
    train = {"text": pa.array(documents, pa.large_string())}
    report = lvmfast.leakscan(train, fields, levels=["overlap"])
    plain = lvmfast.leakscan(train, {"question": fields["question"]}, levels=["overlap"])
    assert report.matched_rows.equals(plain.matched_rows)
    assert report.findings.verdict == plain.findings.verdict
    leaks_and_short = with_question(items, documents)
    told = report.overlaps.to_pylist()
    for place, name in ((1, "passage"), (2, "answer")):
        there = stands(items, place, documents)
        alone = {one for one in there if one[:2] not in leaks_and_short}
        counted = report.summary["levels"]["overlap"].get(f"{name}_alone", {"train_rows": 0, "eval_rows": 0})
        assert counted == {
            "train_rows": len({document for document, _, _ in alone}),
            "eval_rows": len({row for _, row, _ in alone}),
        }
        rows = [row for row in told if row["fields"] == [name]]
        assert {row["strength"] for row in rows} <= {"alone"}
        keyed = {(row["train_row"], row["eval_row"], tuple(naive.tokens(row["eval_text"]))) for row in rows}
        of_twin = {(document, row, tuple(naive.tokens(text))) for document, row, text in alone}
        assert len(keyed) == len(rows)
        assert keyed <= of_twin
        # A text that several rows have is told of the first of them.
        assert {(document, text) for document, _, text in keyed} == {(d, text) for d, _, text in of_twin}
        for row in rows:
            assert row["eval_text"] in texts_of(items[row["eval_row"]][place])
            held = {d for d, item, _ in alone if item == row["eval_row"]}
            assert row["train_rows"] == len(held)
            for run in row["runs"]:
                ours = documents[row["train_row"]][run["train_start"] : run["train_end"]]
                theirs = row["eval_text"][run["eval_start"] : run["eval_end"]]
                assert naive.tokens(ours) == naive.tokens(theirs)
    passages = {(document, row) for document, row, _ in stands(items, 1, documents)}
    questions = [question for question, _, _ in items]
    same_as = naive.evaluation_side(questions).same_as
    for row in told:
        if row["fields"][0] == "question":
            like = [i for i, first in enumerate(same_as) if first == same_as[row["eval_row"]]]
            assert ("passage" in row["fields"]) == any((row["train_row"], i) in passages for i in like)


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    """A reading task: three questions a passage; some passages are public, one answer stands alone."""
    folder = tmp_path_factory.mktemp("reading")
    lots = random.Random(11)
    words = ["".join(lots.choices("bdklmnrst", k=3)) + lots.choice("aeiou") for _ in range(900)]
    text = lambda n: " ".join(lots.choices(words, k=n))  # noqa: E731
    items = [
        {"question": text(14), "passage": passage, "answer": text(12)}
        for passage in [text(60) for _ in range(20)]
        for _ in range(3)
    ]
    documents = [text(150) for _ in range(80)]
    for place in range(8):
        documents[9 * place] += f"\n{items[3 * place]['passage']}\n" + text(20)
    documents[9] += "\n" + items[3]["question"]  # this one has its passage beside it
    documents[40] = text(30) + items[45]["answer"] + text(30)
    documents[41] = text(30) + items[46]["question"] + " " + items[46]["answer"]
    (folder / "train").mkdir()
    for part in range(2):
        table = pa.table({"text": documents[part::2]})
        pq.write_table(table, folder / "train" / f"{part}.parquet", row_group_size=7)
    (folder / "eval.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def command(name, *arguments, code):
    done = CliRunner().invoke(app, [name, *map(str, arguments)])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def scanned(reading, out, *more, code=1):
    sides = ("--train", reading / "train", "--eval", reading / "eval.jsonl", "--levels", "overlap")
    return command("leakscan", *sides, "--out", out, *more, code=code)


def test_they_are_said_and_parts_add_up_to_the_same_bytes(reading, tmp_path, monkeypatch):
    said = scanned(reading, tmp_path / "whole")
    assert (
        "the passages of 23 evaluation rows stand in training texts without their questions, "
        "which is no leak by itself, since it may be public (overlaps.parquet)" in said
    )
    assert (
        "the answer of 1 evaluation row stands in training texts without its question, "
        "which is no leak by itself (overlaps.parquet)" in said
    )
    level = json.loads((tmp_path / "whole" / "summary.json").read_text())["levels"]["overlap"]
    assert level["passage_alone"] == {"train_rows": 8, "eval_rows": 23}
    assert level["answer_alone"] == {"train_rows": 1, "eval_rows": 1}
    assert level["eval_rows_matched"] == 2
    rows = pq.read_table(tmp_path / "whole" / "overlaps.parquet").to_pylist()
    fields = [(row["strength"], *row["fields"]) for row in rows]
    assert sorted(fields) == sorted(
        [("match", "question", "passage"), ("match", "question", "answer"), ("alone", "answer")]
        + [("alone", "passage")] * 8
    )
    for shard in (1, 2, 3):
        scanned(reading, tmp_path / f"part{shard}", "--shard", f"{shard}/3", code=0)
    parts = [tmp_path / f"part{shard}" for shard in (3, 1, 2)]
    command("merge", *parts, "--out", tmp_path / "merged", code=1)
    monkeypatch.setattr("lvmfast.leaks.memory.MOST_BLOCK_ROWS", 5)
    scanned(reading, tmp_path / "small", "--threads", "2")
    for other in ("merged", "small"):
        for name in ("overlaps.parquet", "matches.parquet", "matched_rows.parquet"):
            assert (tmp_path / other / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert json.loads((tmp_path / other / "summary.json").read_text())["levels"]["overlap"] == level


def test_clean_leaves_what_stands_alone(reading, tmp_path):
    scanned(reading, tmp_path / "report")
    sides = ("--train", reading / "train", "--eval", reading / "eval.jsonl")
    drop = ("--report", tmp_path / "report", "--drop", "train", "--out", tmp_path / "out")
    command("clean", *sides, *drop, code=0)
    kept = sum(pq.read_table(path).num_rows for path in (tmp_path / "out").rglob("[01].parquet"))
    assert kept == 78
