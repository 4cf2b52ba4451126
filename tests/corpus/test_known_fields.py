"""Lines that say nothing new of fields are passed over by the core, and by no other reason."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvmfast import _core
from lvmfast.corpus import load_split
from lvmfast.corpus.looks import begins_again
from lvmfast.errors import DataError

KEYS = ("a", "b", "é", '"', "\ud800")
VALUE = st.none() | st.integers(0, 3) | st.text(max_size=3) | st.lists(st.none(), max_size=2)
OBJECT = st.dictionaries(st.sampled_from(KEYS), VALUE, max_size=4).map(json.dumps)
OTHER = st.sampled_from(
    ["", "  \t\r", "{}", "[1]", '{"a": }', '{"a": 1} 2', '{"a": "\udcff"}', '{"a": 1', "null"]
)
LINES = st.lists(OBJECT | OTHER, max_size=8)


def says_nothing_new(line, known):
    """Whether a line is blank, or an object whose fields are known; None where it is neither."""
    if not line.strip(b" \t\r"):
        return True
    try:
        row = json.loads(line.decode())
    except ValueError:
        return False
    return isinstance(row, dict) and all(
        name in known and name != "\ud800" and (value is None or known[name]) for name, value in row.items()
    )


@given(LINES, st.dictionaries(st.sampled_from(KEYS[:4]), st.booleans()), st.booleans())
def test_the_lead_ends_before_the_first_line_that_says_something_new(lines, known, ended):
    lines = [line.encode(errors="surrogateescape") for line in lines]
    fields = _core.KnownFields()
    for name, valued in known.items():
        fields.add(name, valued)
    lead = next((at for at, line in enumerate(lines) if not says_nothing_new(line, known)), len(lines))
    data = b"\n".join(lines) + b"\n" * (ended and bool(lines))
    rest = b"\n".join([*lines[:lead], b""]) if lead < len(lines) else data
    behind = min(len(data), len(rest) + len(lines[lead]) + 1) if lead < len(lines) else len(data)
    count = len(lines[:lead]) - (not ended and lead == len(lines) and lines[-1:] == [b""])
    objects = sum(line.strip(b" \t\r") != b"" for line in lines[:lead])
    assert fields.lead(np.frombuffer(data, np.uint8)) == (len(rest), count, objects, behind)


@begins_again()
def opened(path):
    return load_split([path])


def test_a_field_is_found_wherever_it_stands_in_the_beginning(tmp_path):
    rows = [{"text": f"text {row}", "note": None} for row in range(400)]
    rows[150]["note"] = "first of its kind"
    rows[370]["doc_id"] = None
    path = tmp_path / "t.jsonl"
    path.write_text("\n" + "".join(json.dumps(row) + "\n\n" for row in rows))
    (file,) = opened(path).files
    assert file.fields == {"text": "text", "doc_id": "doc_id"}
    path.write_text(json.dumps([{"id": place, **row} for place, row in enumerate(rows)], indent=1))
    (file,) = opened(path).files
    assert set(file.fields) == {"text", "doc_id"}


def test_a_line_that_is_not_in_order_is_named_though_its_fields_are_known(tmp_path):
    path = tmp_path / "t.jsonl"
    good = b'{"text": "a", "title": "b"}\n'
    for line, said in (
        (b'{"text": "a", "title": "\xff"}', "not UTF-8"),
        (b'{"text": "a", "title": }', "column 24"),
    ):
        path.write_bytes(good * 40 + b"\n" + line + b"\n" + good)
        with pytest.raises(DataError, match=f"line 42.*{said}"):
            opened(path)


def test_an_object_without_fields_is_a_row_though_no_line_end_follows(tmp_path):
    path = tmp_path / "t.jsonl"
    for data in (b"{}", b"{}\n", b"[{}]"):
        path.write_bytes(data)
        with pytest.raises(DataError, match="no field is a known column"):
            opened(path)
