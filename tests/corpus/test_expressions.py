"""Texts made of fields: paths, joined paths and templates, in every format, against naive code."""

import json

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support.written_rows import written

WORDS = st.text(st.sampled_from("abé\U0001f600 \n"), max_size=4)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "bot"]), "content": st.none() | WORDS}),
    max_size=3,
)
PARTS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["text", "image_url"]),
            "text": st.none() | WORDS,
            "image_url": st.none() | WORDS,
        }
    ),
    max_size=3,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "messages": st.none() | MESSAGES,
            "turns": st.lists(
                st.fixed_dictionaries({"role": st.just("user"), "content": st.none() | PARTS}), max_size=2
            ),
            "q": st.none() | WORDS,
            "n": st.none() | st.integers(-5, 10**12),
            "data": st.fixed_dictionaries({"q": st.none() | WORDS}),
            "id": st.integers(0, 9),
        }
    ),
    min_size=1,
    max_size=6,
)
FULL = {
    "messages": [{"role": "user", "content": "a"}, {"role": "bot", "content": "b"}],
    "turns": [{"role": "user", "content": [{"type": "text", "text": "e", "image_url": "f"}]}],
    "q": "c",
    "n": 3,
    "data": {"q": "d"},
    "id": 1,
}


def contents(row, keep=lambda place, message: True):
    messages = row["messages"] or []
    return [m["content"] for i, m in enumerate(messages) if keep(i, m) and m["content"] is not None]


def lines(texts):
    return "\n".join(texts) if texts else None


def present(*values):
    return [str(value) for value in values if value is not None]


NAIVE = {
    "messages[*].content": lambda row: lines(contents(row)),
    "messages[role=user].content": lambda row: lines(contents(row, lambda i, m: m["role"] == "user")),
    "messages[1].content": lambda row: lines(contents(row, lambda i, m: i == 1)),
    "turns[*].content": lambda row: lines(
        present(*(part["text"] for turn in row["turns"] for part in turn["content"] or []))
    ),
    "data.q": lambda row: row["data"]["q"],
    "q+n+data.q": lambda row: lines(present(row["q"], row["n"], row["data"]["q"])),
    "Q: {q} ({n})": lambda row: None if None in (row["q"], row["n"]) else f"Q: {row['q']} ({row['n']})",
    "{n}": lambda row: None if row["n"] is None else str(row["n"]),
}
FORMATS = ("jsonl", "parquet", "arrow", "table")


def texts(source, mapped, rows=2):
    batches = load_split(source, columns={"text": mapped, "doc_id": "id"}).batches(("text", "doc_id"), rows)
    return [text for batch in batches for text in batch.text.to_pylist()]


@pytest.mark.parametrize("how", FORMATS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, mapped=st.sampled_from(sorted(NAIVE)))
def test_an_expression_is_what_its_words_say(how, rows, mapped, tmp_path):
    rows = [FULL, *rows]  # whose types are known
    assert texts(written(rows, how, tmp_path), mapped) == [NAIVE[mapped](row) for row in rows]


def test_a_field_of_that_very_name_goes_before_an_expression():
    assert texts(pa.table({"a.b": ["x"], "a": [{"b": "y"}], "id": [1]}), "a.b") == ["x"]


@pytest.mark.parametrize(
    ("mapped", "told"),
    [
        ("data[*]", "expected a list, got struct"),
        ("messages.content", "expected an object with 'content', got list"),
        ("data.nothing", "no field 'nothing' in it; there is q"),
        ("data", "expected text, got struct"),
        ("turns", "expected text, got list"),
        ("turns[*].content[*]", "expected text or integers at its end, got struct"),
        ("nowhere.q", r"no field 'nowhere' \(for nowhere\.q\); there is data, id, messages, n, q"),
        ("messages[*", r"no field 'messages\[\*'"),
    ],
)
def test_what_no_row_can_have_is_refused_when_the_file_is_opened(mapped, told):
    with pytest.raises(DataError, match=told):
        load_split(pa.Table.from_pylist([FULL]), columns={"text": mapped})


@pytest.mark.parametrize(
    ("late", "told"),
    [
        ({"messages": [{"content": 1.5}]}, "expected text or integers, got float"),
        ({"messages": [{"content": ["hi"]}]}, r"expected text, integers or content parts .*, got list"),
        (
            {"messages": [{"content": [{"text": "hi"}]}]},
            r"expected text, integers or content parts .*, got list",
        ),
        ({"messages": [{"content": [{"type": "text", "text": {}}]}]}, "expected text or integers, got dict"),
        ({"messages": "hi"}, "expected a list, got str"),
        ({"messages": ["hi"]}, "expected an object with 'content', got str"),
    ],
)
def test_a_line_of_another_shape_is_named(late, told, tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps(FULL) + "\n" + json.dumps(late) + "\n")
    with pytest.raises(DataError, match=rf"chats.jsonl: line 2: messages\[\*\].content: {told}"):
        list(load_split(path, columns={"text": "messages[*].content"}).batches(("text",)))
