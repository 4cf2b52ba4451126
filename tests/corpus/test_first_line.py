"""The line that a row stands on, where rows stand one a line, against the text of the file itself."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus import lines, load_split

ROW = '{"text": "a text of row %d that is long enough"}'


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from(["row", "row", "row", "row", "", " \t"]), min_size=1, max_size=30),
    end=st.sampled_from(["\n", "\r\n"]),
    ended=st.booleans(),
    bom=st.booleans(),
)
def test_rows_of_jsonl_stand_on_the_lines_that_are_told(tmp_path, monkeypatch, kinds, end, ended, bom):
    monkeypatch.setattr(lines, "_BLOCK_BYTES", 100)
    made = [ROW % number if kind == "row" else kind for number, kind in enumerate(kinds)]
    text = end.join(made) + (end if ended else "")
    path = tmp_path / "rows.jsonl"
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    split = load_split(str(path))
    assert split.files[0].first_line is None
    read = (
        [value for batch in split.batches(("text",)) for value in batch.text.to_pylist()]
        if split.columns
        else []
    )
    first = split.files[0].first_line
    on_line = text.split(end)
    if first is None:
        assert "" in [line.strip() for line in on_line[: -1 if ended else None]] or not read
    else:
        assert [json.loads(on_line[row + first - 1])["text"] for row in range(len(read))] == read


def test_a_list_and_a_whole_text_have_no_line_a_row_and_lines_of_text_have(tmp_path):
    (tmp_path / "list.json").write_text("[" + ",\n".join(ROW % n for n in range(3)) + "]")
    (tmp_path / "some.txt").write_text("one line\n\nanother line\n")
    for name, columns, expected in (
        ("list.json", None, None),
        ("some.txt", None, None),
        ("some.txt", {"text": "line"}, 1),
    ):
        split = load_split(str(tmp_path / name), columns=columns)
        assert sum(batch.rows for batch in split.batches(("text",))) == (
            1 if columns is None and "txt" in name else 3
        )
        assert split.files[0].first_line == expected


@pytest.mark.parametrize(("blank", "told"), [("", "row 1, line 2<"), ("\n", "row 1<")])
def test_a_report_names_the_line_of_a_match(tmp_path, blank, told):
    rows = [ROW % n for n in range(4)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "eval.jsonl").write_text(blank + ROW % 9 + "\n" + rows[3] + "\n")
    report = lvmfast.leakscan(tmp_path / "train.jsonl", tmp_path / "eval.jsonl", levels=["text"])
    report.save(tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"eval.jsonl</bdi>, {told}" in page
    assert "train.jsonl</bdi>, row 3, line 4<" in page
    (file,) = report.summary["inputs"]["eval"]["files"]
    assert file["first_line"] == (None if blank else 1)
