"""Names and paths that lead nowhere are told with the nearest that exist."""

import json

import pyarrow as pa
import pytest

import lvmfast
from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support.written_rows import written

CHAT = [
    {"messages": [{"role": who, "content": f"{who} {n} says so"} for who in ("system", "user", "assistant")]}
    for n in range(5)
]
EMPTY = {"messages": []}
TOLD = {
    "mesages[*].content": r"no field 'mesages' \(for mesages.*\) \(did you mean 'messages'\?\); there is me",
    "messages[role=usr].content": (
        r"finds nothing: no role in messages is 'usr' \(did you mean 'user'\?\); there is assistant, system"
    ),
    "messages[role=tool].content": (
        "finds nothing: no role in messages is 'tool'; there is assistant, system, user"
    ),
    "messages[7].content": "finds nothing: no messages has an item 7",
}
FORMATS = ("jsonl", "parquet", "arrow", "table")


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("mapped", TOLD)
def test_a_path_that_leads_nowhere_is_refused(how, mapped, tmp_path):
    source = written([*CHAT, EMPTY], how, tmp_path)
    with pytest.raises(DataError, match=TOLD[mapped]):
        load_split(source, columns={"text": mapped})
    assert load_split(source, columns={"text": "messages[role=user].content"}).columns == {"text"}


@pytest.mark.parametrize("how", FORMATS)
def test_a_field_inside_that_is_not_there_is_refused(how, tmp_path):
    source = written(CHAT, how, tmp_path)
    with pytest.raises(DataError, match=r"no (field )?'contents' in .*; there is role, content"):
        load_split(source, columns={"text": "messages[*].contents"})


def test_a_row_that_has_it_late_is_read_and_a_note_says_what_the_beginning_has(tmp_path):
    late = {"messages": [{"role": "late", "content": "Here it is, after all."}]}
    path = tmp_path / "chats.jsonl"
    long = [{"messages": [{"role": "user", "content": "x" * 1000}]}] * 1500
    path.write_text("".join(json.dumps(row) + "\n" for row in [*long, late]))
    columns = {"text": "messages[role=late].content"}
    told = []
    report = lvmfast.leakscan(
        path,
        {"text": ["Here it is, after all."]},
        columns={"train": columns},
        min_chars=1,
        announce=told.append,
    )
    assert report.levels["text"].sides["train"].matched == 1
    assert any(
        "finds nothing: no role in messages is 'late'; there is user (in the first MiB)" in t for t in told
    )


def test_roles_that_a_recognised_chat_has_not_are_noted_and_not_refused(tmp_path):
    rows = [{"messages": [{"role": "prompter", "content": "Why is that so?"}]}]
    for source in (written(rows, "jsonl", tmp_path), pa.Table.from_pylist(rows)):
        notes = load_split(source, items=True).notes
        assert any(
            "finds nothing: no role in messages is 'user'; there is prompter" in note for note in notes
        )


def test_a_file_that_is_not_there_is_told_with_the_one_that_is(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match=r"trian.jsonl: no such file \(did you mean 'train.jsonl'\?\)"):
        load_split(tmp_path / "trian.jsonl")


def test_a_template_is_unchecked_where_a_field_of_it_lacks(tmp_path):
    words = "words enough to be looked at by every level there is"
    rows = [{"q": f"{words} {n}", **({"a": str(n)} if n % 3 else {})} for n in range(9)]
    report = lvmfast.leakscan(rows, {"text": ["other " * 20]}, columns={"train": {"text": "{q} {a}"}})
    assert report.summary["levels"]["text"]["unchecked"] == {"train": {"no_text": 3}, "eval": {}}


def test_rows_of_several_shapes_are_counted_where_they_have_not_the_one_that_is_read(tmp_path):
    path = tmp_path / "mixed.jsonl"
    rows = [CHAT[0], {"prompt": "Say it", "completion": "It is said."}, CHAT[1]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (note,) = load_split(path).files[0].notes
    assert note == (
        "messages[*].content: read as text, as rows look like chat"
        " (and also like prompt+completion, prompt, which are not read)"
    )
    report = lvmfast.leakscan(path, {"text": ["nothing of that kind"]}, min_chars=1)
    assert report.summary["levels"]["text"]["unchecked"]["train"] == {"no_text": 1}
