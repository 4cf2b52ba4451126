"""One rule for ids in every format: an integer or a string, and no number that is spelt otherwise."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvmfast import _core
from lvmfast.corpus import load_split
from lvmfast.corpus.keys import text_bytes
from lvmfast.errors import DataError
from tests.support.corpus_reading import read

NAMES = [
    "007",
    "1.5",
    "1.50",
    "1.5.2",
    "v7.0",
    "7.0.0",
    "10.1000/182",
    "2301.01234",
    "12e4567",
    "1e3456",
    "deadbeef",
]
NAMES += [
    "7",
    "-7",
    "18446744073709551616",
    "7e",
    "e7",
    "1e+",
    ".",
    "-",
    "+",
    " a ",
    "7,0",
    "0x7",
    "NaN",
    "inf",
    "7.0a",
]
NUMBERS = [
    "7.0",
    "7.",
    "-7.00",
    "+7.0",
    "0.0",
    ".0",
    "1e3",
    "1E3",
    "1e+16",
    "1.5E7",
    "1.2345678901234568e+18",
    "5e-324",
]
NUMBERS += [" 7", "7 ", "\t-7\n", " 7.0 "]


def as_dataset(ids):
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_dict({"doc_id": ids})


def as_csv(path, ids):
    path.write_text("doc_id,text\n" + "".join(f'"{one}",x\n' for one in ids))
    return path


def as_jsonl(path, ids):
    path.write_text("".join(json.dumps({"doc_id": one, "text": "x"}) + "\n" for one in ids))
    return path


def as_parquet(path, ids):
    pq.write_table(pa.table({"doc_id": ids}), path)
    return path


def as_npz(path, ids):
    np.savez(path, doc_id=np.array(ids))
    return path


def as_arrow(path, ids, type_=None):
    table = pa.table({"doc_id": pa.array(ids, type_)})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    return path


FORMS = {
    "a.csv": as_csv,
    "a.jsonl": as_jsonl,
    "a.parquet": as_parquet,
    "a.npz": as_npz,
    "a.arrow": as_arrow,
    "large.arrow": lambda path, ids: as_arrow(path, ids, pa.large_string()),
    "bytes.arrow": lambda path, ids: as_arrow(path, [one.encode() for one in ids]),
    "categories.arrow": lambda path, ids: as_arrow(path, pa.array(ids).dictionary_encode()),
    "list": lambda _, ids: {"doc_id": list(ids)},
    "mixed list": lambda _, ids: {"doc_id": [None, 12, *ids][2:]},
    "array": lambda _, ids: {"doc_id": np.array(ids)},
    "objects": lambda _, ids: {"doc_id": np.array(ids, object)},
    "table": lambda _, ids: pa.table({"doc_id": ids}),
    "dataset": lambda _, ids: as_dataset(list(ids)),
}
HEAVY = {"dataset"}
EACH_FORM = pytest.mark.parametrize(
    "form", [pytest.param(form, marks=pytest.mark.heavy) if form in HEAVY else form for form in FORMS]
)


@EACH_FORM
def test_names_are_ids(tmp_path, form):
    assert read(FORMS[form](tmp_path / form, NAMES))["doc_id"] == NAMES


@EACH_FORM
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_in_another_spelling_is_refused_by_field_and_row(tmp_path, form, number):
    source = FORMS[form](tmp_path / form, ["7", "x", number, "8"])
    expected = (
        f"doc_id: row 2: expected an integer or string id, got {number!r}: write a number as a plain integer"
    )
    with pytest.raises(DataError, match=re.escape(expected)):
        read(source, rows=2)


FLOATS = pytest.mark.parametrize("floats", [[7.0, 8.0], [7.0, None], [7, 8.5], [np.float32(7), 8]])


@pytest.mark.heavy
@FLOATS
def test_floats_of_a_dataset_are_no_ids(floats):
    with pytest.raises(DataError, match=r"doc_id: .*expected"):
        read(as_dataset([None if value is None else float(value) for value in floats]))


@FLOATS
def test_floats_are_no_ids(tmp_path, floats):
    plain = [None if value is None else float(value) for value in floats]
    sources = [
        as_jsonl(tmp_path / "a.jsonl", plain),
        as_parquet(tmp_path / "a.parquet", plain),
        as_arrow(tmp_path / "a.arrow", plain),
        pa.table({"doc_id": plain}),
        as_npz(tmp_path / "a.npz", np.array(floats, float)),
        {"doc_id": floats},
        {"doc_id": np.array(floats, float)},
        {"doc_id": np.array([*floats, "x"], object)},
    ]
    for source in sources:
        with pytest.raises(DataError, match=r"doc_id: .*expected"):
            read(source)


def test_a_payload_is_held_to_the_same_rule(tmp_path):
    as_csv(tmp_path / "p.csv", ["7.0"])
    (tmp_path / "p.csv").write_text("doc_id,chunk_id,text\n7.0,1,x\n")
    split = {"doc_id": [7], "chunk_id": [1]}
    with pytest.raises(
        DataError, match=r"p\.csv: doc_id: row 0: expected an integer or string id, got '7.0'"
    ):
        load_split(split, payload=tmp_path / "p.csv")


def test_what_stands_behind_a_null_does_not_count():
    offsets, data = pa.py_buffer(np.array([0, 3, 4])), pa.py_buffer(b"7.0x")
    ids = pa.Array.from_buffers(pa.large_string(), 2, [pa.py_buffer(b"\x02"), offsets, data])
    assert read(pa.table({"doc_id": ids}))["doc_id"] == [None, "x"]


def misspelt(text):
    return _core.misspelt_number(*text_bytes(pa.array(["x", text], pa.large_string()))) == 1


@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers().map(float)
    | st.integers(-99, 99).map(float)
)
def test_floats_that_are_whole_are_found_however_python_writes_them(value):
    whole = value.is_integer()
    assert misspelt(repr(value)) is (whole or "e" in repr(value))
    assert misspelt(f"{value:e}")
    assert misspelt(f"{value:.1f}") is (f"{value:.1f}"[-1] == "0")


@given(st.integers())
def test_integers_never_are(value):
    assert not misspelt(str(value))
    assert misspelt(f" {value}")
    assert misspelt(f"{value}.0")


@given(st.text("0123456789abcdef", min_size=8, max_size=40))
def test_hashes_never_are(digest):
    assert not misspelt(digest)
