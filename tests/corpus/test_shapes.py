"""Rows as chats, instructions and benchmarks have them are read without an option, and it is said how."""

import json

import pyarrow as pa
import pytest

import lvmfast
from lvmfast.corpus import load_split

CHAT = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
SHARE = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
IN_PARTS = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Why?"},
            {"type": "image_url"},
            {"type": "text", "text": "Now?"},
        ],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "So."}]},
]
#: Rows, what is said in them, and of an evaluation item its question, choices and answer.
KNOWN = [
    ({"messages": CHAT}, "Why?\nSo.", ("Why?", None, "So.")),
    ({"conversations": SHARE}, "Why?\nSo.", ("Why?", None, "So.")),
    ({"instruction": "Do", "input": "it", "output": "Done"}, "Do\nit\nDone", ("Do\nit", None, "Done")),
    ({"instruction": "Do", "output": "Done"}, "Do\nDone", ("Do", None, "Done")),
    ({"prompt": "Say", "completion": "Hi"}, "Say\nHi", ("Say", None, "Hi")),
    ({"prompt": CHAT[:1], "completion": CHAT[1:]}, "Why?\nSo.", ("Why?", None, None)),
    ({"messages": IN_PARTS}, "Why?\nNow?\nSo.", ("Why?\nNow?", None, "So.")),
    ({"prompt": "Say", "chosen": "Hi", "rejected": "No"}, "Say\nHi\nNo", ("Say", None, "Hi")),
    ({"chosen": CHAT, "rejected": CHAT}, "Why?\nSo.\nWhy?\nSo.", ("Why?", None, None)),
    ({"problem": "2+2?", "solution": "4!"}, "2+2?\n4!", ("2+2?", None, "4!")),
    ({"question": "Who?", "answer": "He."}, "Who?\nHe.", ("Who?", None, "He.")),
    ({"question": "Who?", "choices": ["A", "B"], "answer": 1}, "Who?\nA\nB", ("Who?", "A\x1eB", None)),
    (
        {"question": "Who?", "choices": {"text": ["A", "B"], "label": ["x", "y"]}},
        "Who?\nA\nB",
        ("Who?", "A\x1eB", None),
    ),
    (
        {"context": "Long.", "question": "Who?", "answers": {"text": ["He", "She"]}},
        "Long.\nWho?\nHe\nShe",
        ("Who?", None, "He\x1eShe"),
    ),
    (
        {"ctx": "He ran", "endings": ["away", "home"], "label": "1"},
        "He ran\naway\nhome",
        ("He ran", "away\x1ehome", None),
    ),
    ({"goal": "Cut", "sol1": "a", "sol2": "b"}, "Cut\na\nb", ("Cut", "a\x1eb", None)),
    ({"content": "All of it."}, "All of it.", ("All of it.", None, None)),
]


def forms(row, folder):
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    if not all(isinstance(value, str) for value in row.values()):
        return path, pa.Table.from_pylist([row])
    cells = folder / "rows.csv"
    cells.write_text("".join(",".join(line) + "\n" for line in (row, row.values())))
    return path, cells, pa.Table.from_pylist([row])


def read(split, column):
    (batch,) = split.batches((column,)) if column in split.columns else [None]
    return None if batch is None else getattr(batch, column).to_pylist()[0]


@pytest.mark.parametrize(
    ("row", "said", "item"), KNOWN, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_a_known_shape_needs_no_option(row, said, item, tmp_path):
    for source in forms(row, tmp_path):
        assert read(load_split(source), "text") == said
        split = load_split(source, items=True)
        assert tuple(read(split, column) for column in ("text", "choices", "answer")) == item


def test_what_was_recognised_is_told_and_what_was_not_taken_as_well(tmp_path):
    for source in forms({"messages": CHAT, "instruction": "Do", "output": "Done"}, tmp_path):
        (note,) = load_split(source).files[0].notes
        assert note == (
            "messages[*].content: read as text, as rows look like chat"
            " (and also like instruction+output, which are not read)"
        )


def test_a_text_or_a_name_that_was_given_goes_before_every_shape(tmp_path):
    row = {"messages": CHAT, "text": "plain", "content": "other"}
    for source in forms(row, tmp_path):
        assert read(load_split(source), "text") == "plain"
        assert read(load_split(source, columns={"text": "content"}), "text") == "other"


def test_a_shape_that_begins_late_is_found(tmp_path):
    path = tmp_path / "late.jsonl"
    rows = [{"doc_id": i, "filler": "x" * 1000} for i in range(2000)] + [{"doc_id": 9, "messages": CHAT}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    split = load_split(path)
    *_, last = split.batches(("text",))
    assert last.text.to_pylist()[-1] == "Why?\nSo."
    told = []
    report = lvmfast.leakscan(path, {"doc_id": [3], "text": ["Why?\nSo."]}, min_chars=1, announce=told.append)
    assert report.levels["text"].sides["train"].matched == 1
    assert told == [
        f"{path}: messages first appears in line 2001; read again from the start",
        "train: the text of a row is messages[*].content",
    ]


def test_what_is_called_like_a_shape_and_is_no_text_is_none(tmp_path):
    for source in forms({"doc_id": 1, "content": {"a": 1}}, tmp_path):
        split = load_split(source)
        assert split.columns == {"doc_id"}
        assert [batch.rows for batch in split.batches(("doc_id",))] == [1]


def test_a_passage_that_a_csv_calls_context_is_no_vectors(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("context,question,answer\n,Why?,So.\nA passage.,Who?,He.\n")
    split = load_split(path, items=True)
    assert split.columns == {"text", "answer"}
    assert split.files[0].notes == ("context: large_string, not read as context windows",)
    assert load_split(path, columns={"text": "{question} {context}"}).columns == {"text"}
