"""The fields of evaluation items: what is read of them in every format, and what a user hears of the rest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import lvmfast
from lvmfast.cli.app import app
from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support.written_rows import written

STRINGS = st.text(st.characters(codec="utf-8"), max_size=5)
FIELDS = ("text", "passage", "choices", "answer")


def read(split, rows=2):
    found = {}
    for batch in split.batches(FIELDS, rows):
        for name in FIELDS:
            values = getattr(batch, name)
            found.setdefault(name, []).extend([None] * batch.rows if values is None else values.to_pylist())
    return found


FORMS = ("jsonl", "parquet", "arrow", "lists", "table")


@pytest.mark.parametrize("how", [*FORMS, "csv"])
def test_a_question_is_the_text_and_every_role_has_its_field(how, tmp_path):
    rows = [{"question": f"q{i}", "passage": f"p{i}", "answer": f"a{i}", "id": i} for i in range(5)]
    split = load_split(written(rows, how, tmp_path), items=True)
    assert split.files[0].fields == {"text": "question", "passage": "passage", "answer": "answer"}
    assert read(split) == {
        "text": ["q0", "q1", "q2", "q3", "q4"],
        "passage": ["p0", "p1", "p2", "p3", "p4"],
        "choices": [None] * 5,
        "answer": ["a0", "a1", "a2", "a3", "a4"],
    }
    assert not split.notes


@pytest.mark.parametrize("how", FORMS)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.lists(st.one_of(st.none(), STRINGS), max_size=3)),
            st.one_of(st.none(), st.integers(-(2**40), 2**40)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_lists_are_their_texts_and_integers_their_digits(how, tmp_path_factory, values):
    rows = [{"text": "t", "choices": choices, "passage": number} for choices, number in values]
    split = load_split(written(rows, how, tmp_path_factory.mktemp("items")), items=True)
    found = read(split)
    texts = [None if c is None else [one for one in c if one is not None] for c, _ in values]
    assert found["choices"] == ["\x1e".join(of) if of else None for of in texts]
    assert found["passage"] == [None if n is None else str(n) for _, n in values]


@pytest.mark.parametrize("how", FORMS)
def test_an_answer_beside_choices_is_no_number_of_one(how, tmp_path):
    rows = [{"question": "q", "choices": ["a", "b"], "answer": 1}] * 3
    split = load_split(written(rows, how, tmp_path), items=True)
    assert "answer" not in split.columns
    assert "where there are no choices" in split.notes[0]
    assert read(split)["choices"] == ["a\x1eb"] * 3


@pytest.mark.parametrize(
    ("how", "value"),
    # Objects in a list may differ from one to the next: each that is no text is read as none.
    [(how, value) for how in FORMS for value in (True, 1.5)] + [(how, {"text": ["a"]}) for how in FORMS[:3]],
)
def test_what_is_no_text_is_left_out_with_a_note_unless_it_was_named(how, value, tmp_path):
    source = written([{"question": "q", "answer": value}] * 3, how, tmp_path)
    split = load_split(source, items=True)
    assert split.columns == {"text"}
    assert "answer: not read as answer: expected text, integers" in split.notes[0]
    with pytest.raises(DataError, match="answer: expected text, integers"):
        load_split(source, items=True, lenient=True, columns={"answer": "answer"})


def test_roles_are_of_evaluation_items_alone(tmp_path):
    rows = [{"text": "t", "question": "q", "prompt": "p", "answer": "a"}]
    source = written(rows, "parquet", tmp_path)
    assert load_split(source).columns == {"text"}
    assert load_split(source, columns={"answer": "nowhere"}).files[0].fields == {"text": "text"}
    assert load_split(source, items=True).files[0].fields == {"text": "text", "answer": "answer"}
    for named in ({"question": "prompt"}, {"text": "prompt"}):
        assert load_split(source, items=True, columns=named).files[0].fields["text"] == "prompt"
    mapped = load_split(source, items=True, columns={"answer": "prompt"}).files[0].fields
    assert mapped == {"text": "text", "answer": "prompt"}
    for role in ("question", "answer"):
        with pytest.raises(DataError, match=r"no field 'nowhere'"):
            load_split(source, items=True, columns={role: "nowhere"})


def test_an_answer_that_comes_late_in_a_long_file_is_read(tmp_path):
    rows = [{"question": "q" * 900}] * 1500 + [{"question": "the last of so many", "answer": "a"}]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "train.jsonl").write_text('{"text": "a text that is long enough"}\n')
    split = load_split(tmp_path / "items.jsonl", items=True)
    assert read(split, 500)["answer"] == [None] * 1500 + ["a"]
    report = lvmfast.leakscan(tmp_path / "train.jsonl", tmp_path / "items.jsonl").summary
    assert report["inputs"]["eval"]["files"][0]["fields"] == {"text": "question", "answer": "answer"}


def test_arrays_of_another_length_are_no_field_of_the_items():
    split = load_split({"text": ["a", "b"], "answer": ["x"], "choices": "abc"}, items=True)
    assert split.columns == {"text"}
    assert "expected 2 rows, got 1" in " ".join(split.notes)


def test_a_benchmark_of_questions_is_scanned_without_an_option(tmp_path):
    question = "Which of the nine rivers of the old kingdom did the surveyors cross before the winter began"
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"text": f"So, then. {question}? The ninth."}) + "\n")
    (tmp_path / "bench.jsonl").write_text(
        json.dumps({"question": question, "answer": {"text": ["the ninth"]}}) + "\n"
    )
    sides = ["--train", str(tmp_path / "corpus.jsonl"), "--eval", str(tmp_path / "bench.jsonl")]
    done = CliRunner().invoke(app, ["leakscan", *sides, "--json"])
    assert done.exit_code == 1, done.output
    summary = json.loads(done.stdout)
    assert summary["levels"]["overlap"]["eval_rows_matched"] == 1
    assert summary["inputs"]["eval"]["files"][0]["fields"] == {"text": "question"}
    assert "answer: not read as answer" in " ".join(summary["inputs"]["eval"]["notes"])
