"""Answers near the questions that leaked, against a search in plain Python."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import lvmfast
from lvmfast import _core
from lvmfast.cli.app import app
from lvmfast.corpus.keys import text_bytes
from tests.support import overlap as naive

WORDS = st.sampled_from(["alpha", "Beta,", "7", "12", "x", "Y", "猫", "déjà", "déjà", "ﬁn"])
TEXT = st.lists(WORDS, max_size=12).map(" ".join)
ANSWERS = st.one_of(st.none(), st.lists(st.lists(WORDS, max_size=3).map(" ".join), max_size=3))


def times(text, answer):
    return sum(text[i : i + len(answer)] == answer for i in range(len(text) - len(answer) + 1))


def near(document, start, end, question, answers):
    """Whether one of `answers` stands near a question at `start` to `end` of the tokens of a document."""
    stretch = naive.tokens(document)[max(0, start - 64) : end + 64]
    cut = [naive.tokens(answer) for answer in answers or ()]
    known = [
        a for a in cut if a and not (len(a) == 1 and len(a[0]) == 1 and a[0] in "abcdefghijklmnopqrstuvwxyz")
    ]
    return any(times(stretch, a) > times(naive.tokens(question), a) for a in known)


def where(document, start, end, question, answers):
    """Place and tokens of the first answer that is near: the first behind, last before, or last within."""
    for answer in answers or ():
        if not near(document, start, end, question, [answer]):
            continue
        tokens, wanted = naive.tokens(document), naive.tokens(answer)
        low, high = max(0, start - 64), min(len(tokens), end + 64)
        places = [i for i in range(low, high - len(wanted) + 1) if tokens[i : i + len(wanted)] == wanted]
        behind = [i for i in places if i >= end]
        before = [i for i in places if i + len(wanted) <= start]
        return (min(behind) if behind else max(before or places)), wanted
    return None


def arrow(texts):
    return text_bytes(pa.array(texts, pa.large_string()))


@settings(deadline=None)
@given(st.data())
def test_the_core_finds_answers_as_plain_python_does(data):
    items = data.draw(st.lists(st.tuples(TEXT, ANSWERS), min_size=1, max_size=4))
    fillers = st.lists(st.sampled_from(["alpha", "12", "rest"]), max_size=70).map(" ".join)
    documents = data.draw(st.lists(st.tuples(fillers, TEXT, fillers).map(" ".join), min_size=1, max_size=3))
    places = []
    for row, document in enumerate(documents):
        size = len(naive.tokens(document))
        for item in range(len(items)):
            ends = sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size))))
            places.append((row, *ends, item))
    answers = _core.OverlapAnswers()
    joined = ["\x1e".join(of or []) for _, of in items]
    answers.add(arrow([question for question, _ in items]), arrow(joined), 1)
    found = answers.nearby(arrow(documents), np.array(places, np.int64), 2)
    expected = [near(documents[d], start, end, *items[item]) for d, start, end, item in places]
    assert found.tolist() == expected
    for document, start, end, item in places:
        question, texts = items[item]
        told = (question, "\x1e".join(texts or []))
        ((low, high),) = _core.overlap_answers(documents[document], [told], np.array([[start, end]])).tolist()
        text = documents[document]
        place = (len(naive.tokens(text[:low])), naive.tokens(text[low:high])) if high else None
        assert place == where(text, start, end, question, texts)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Questions that leaked with their answers or without, two rows with one, and some that did not."""
    folder = tmp_path_factory.mktemp("answers")
    question = lambda i: " ".join(f"word{i}x{k}" for k in range(14))  # noqa: E731
    items = [{"question": question(i), "answer": [f"never{i}", f"answer {i}"]} for i in range(30)]
    items += [{"question": question(0), "answer": ["elsewhere"]}, {"question": question(1), "answer": None}]
    documents = []
    for i in range(20):
        filler = " ".join(f"f{k}" for k in range(80))
        answer = {0: f"It is answer-{i}.", 1: f"{filler} answer {i}", 2: ""}[i % 3]
        documents.append(f"{filler} {question(i)} {answer} {filler}")
    (folder / "train").mkdir()
    for part in range(2):
        rows = pa.table({"text": documents[part::2]})
        pq.write_table(rows, folder / "train" / f"{part}.parquet", row_group_size=3)
    (folder / "eval.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def scanned(bench, out, *more):
    sides = ("--train", bench / "train", "--eval", bench / "eval.jsonl", "--levels", "overlap", "--out", out)
    done = CliRunner().invoke(app, ["leakscan", *map(str, sides), *map(str, more)])
    assert done.exit_code == (0 if more else 1), done.output
    return done.output


def test_what_stands_is_told_and_counted_and_parts_add_up_to_it(bench, tmp_path):
    said = " ".join(scanned(bench, tmp_path / "whole").split())
    assert "overlap: of 22 matching evaluation rows, 7 have their answers near the match in training" in said
    level = json.loads((tmp_path / "whole" / "summary.json").read_text())["levels"]["overlap"]
    assert level["answered"] == {"train_rows": 7, "eval_rows": 7}
    table = pq.read_table(tmp_path / "whole" / "overlaps.parquet")
    told = {row["eval_row"]: row["fields"] for row in table.to_pylist()}
    assert told == {i: ["question", "answer"] if i % 3 == 0 else ["question"] for i in range(20)}
    for shard in range(1, 4):
        scanned(bench, tmp_path / f"part{shard}", "--shard", f"{shard}/3")
    parts = [str(tmp_path / f"part{shard}") for shard in range(1, 4)]
    done = CliRunner().invoke(app, ["merge", *parts, "--out", str(tmp_path / "merged")])
    assert done.exit_code == 1, done.output
    for name in ("overlaps.parquet", "matches.parquet", "matched_rows.parquet"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    merged = json.loads((tmp_path / "merged" / "summary.json").read_text())
    assert merged["levels"]["overlap"] == level


def test_answers_change_nothing_of_what_a_leak_is(bench):
    rows = [json.loads(line) for line in (bench / "eval.jsonl").read_text().splitlines()]
    train = bench / "train"
    plain = lvmfast.leakscan(train, {"text": [row["question"] for row in rows]}, levels=["overlap"])
    asked = lvmfast.leakscan(
        train, {name: [row[name] for row in rows] for name in rows[0]}, levels=["overlap"]
    )
    assert plain.matched_rows.drop_columns("file").equals(asked.matched_rows.drop_columns("file"))
    assert "answered" not in plain.levels["overlap"].beside
    assert "answered" not in plain.summary["levels"]["overlap"]
    answered = asked.levels["overlap"].beside["answered"].sides["eval"].matched_rows
    assert answered.tolist() == [0, 3, 6, 9, 12, 15, 18]
