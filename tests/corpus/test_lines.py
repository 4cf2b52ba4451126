"""JSON lines and CSV, plain and compressed, against Python's own `json` and `csv`."""

import bz2
import csv
import gzip
import io
import json
import lzma

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lvmfast.corpus.json_rows
import lvmfast.corpus.lines
from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support.corpus_reading import read, read_all

PACKED = pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2", ".xz"])


def pack(path, data):
    if isinstance(data, str):
        data = data.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = pa.compress(data, codec="zstd", asbytes=True)
    elif path.suffix in (".bz2", ".xz"):
        data = {".bz2": bz2, ".xz": lzma}[path.suffix].compress(data)
    path.write_bytes(data)
    return path


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def example(rows=40):
    rng = np.random.default_rng(0)
    return [
        {
            "doc_id": i,
            "chunk_id": f"{i:03}",
            "text": f'quoted "{i}" é\n𝄞',
            "vector": rng.normal(size=3).tolist(),
            "contexts": rng.normal(size=(2, 3)).tolist(),
            "extra": {"any": [i, None]},
        }
        for i in range(rows)
    ]


@PACKED
@pytest.mark.parametrize("rows", [1, 7, 8192])
@pytest.mark.parametrize("block", [200, 16 << 20])
def test_jsonl_reads_as_json_does(tmp_path, monkeypatch, suffix, rows, block):
    monkeypatch.setattr(lvmfast.corpus.lines, "_BLOCK_BYTES", block)
    data = example()
    path = pack(tmp_path / f"a.jsonl{suffix}", lines(data))
    split = load_split(path)
    assert split.rows is None
    assert split.estimated_rows() > 0
    got = read_all(split, rows)
    assert split.rows == 40
    assert got["doc_id"] == [str(row["doc_id"]) for row in data]
    assert got["chunk_id"] == [row["chunk_id"] for row in data]
    assert got["text"] == [row["text"] for row in data]
    assert np.array_equal(got["vector"], np.float32([row["vector"] for row in data]))
    assert np.array_equal(got["context"], np.float32([row["contexts"] for row in data]))
    assert split.notes == ()


def test_estimates_of_plain_files_are_close(tmp_path):
    path = pack(tmp_path / "a.jsonl", lines([{"text": f"row {i:07}"} for i in range(100_000)]))
    assert 90_000 < load_split(path).estimated_rows() < 110_000


def test_mixed_ids_blank_lines_and_a_byte_order_mark(tmp_path):
    text = '\ufeff{"doc_id": 1}\n\n{"doc_id": "1"}\r\n  \n{"doc_id": null}\n{}\n'
    text += '{"doc_id": 99999999999999999999}\n{"doc_id": -0}'
    path = pack(tmp_path / "a.jsonl", text)
    assert read(path)["doc_id"] == ["1", "1", None, None, "99999999999999999999", "0"]


def test_dates_stay_text(tmp_path):
    path = pack(tmp_path / "a.jsonl", lines([{"doc_id": "2020-01-01", "text": "2020-01-01 00:00:00"}]))
    assert read(path)["doc_id"] == ["2020-01-01"]
    assert read(path)["text"] == ["2020-01-01 00:00:00"]


def test_nulls_and_numbers_out_of_range_in_vectors(tmp_path):
    path = pack(
        tmp_path / "a.jsonl",
        '{"vector":[1,null]}\n{"vector":null}\n{}\n{"vector":[1e400,NaN]}\n{"vector":[1e300,-1]}',
    )
    nan, inf = np.nan, np.inf
    want = [[1, nan], [nan, nan], [nan, nan], [inf, nan], [inf, -1]]
    assert np.array_equal(read(path)["vector"], want, equal_nan=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "x"', "line 43, column 13: Expecting ',' delimiter"),
        ("nonsense", "line 43, column 1: Expecting value"),
        ('{"text": "x"} {"text": "y"}', "line 43, column 15: Extra data"),
        ('{"text":\n"x"}', "line 43, column 9: Expecting value"),
        ("[1]", "line 43: expected a JSON object, got list"),
        ('{"text": 3}', "line 43: text: expected text, got int"),
        ('{"text": "\\ud800"}', "line 43: text: a lone surrogate, \\ud800"),
        ('{"text": "x", "text": "y"}', "line 43: 'text' stands twice"),
        ('{"doc_id": 1.0}', "line 43: doc_id: expected an integer or string id, got float"),
        ('{"doc_id": true}', "line 43: doc_id: expected an integer or string id, got bool"),
        ('{"doc_id": [1]}', "line 43: doc_id: expected an integer or string id, got list"),
        ('{"vector": 3}', "line 43: vector: expected a list of numbers, got int"),
        ('{"vector": [1, "2"]}', "line 43: vector: expected a list of numbers, got str in it"),
        ('{"contexts": [1]}', "line 43: contexts: expected a list of numbers, got int"),
        (b'{"text": "\xff"}', "line 43: not UTF-8"),
        ('{"vector": [1, 2]}', "vector: row 40: expected 3 values, got 2"),
    ],
)
@PACKED
def test_broken_lines_are_named(tmp_path, suffix, line, message):
    line = line if isinstance(line, bytes) else line.encode()
    data = lines(example()).encode() + b"\n \n" + line + b"\n" + lines(example()).encode()
    path = pack(tmp_path / f"a.jsonl{suffix}", data)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("block", [64, 1000])
def test_line_numbers_run_through_all_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr(lvmfast.corpus.lines, "_BLOCK_BYTES", block)
    monkeypatch.setattr(lvmfast.corpus.streams, "_HEAD_BYTES", 500)
    path = pack(tmp_path / "a.jsonl", lines([{"text": "x" * i} for i in range(50)]) + "{")
    with pytest.raises(DataError, match="line 51, column 2"):
        read(path)


def test_a_first_line_longer_than_the_head(tmp_path, monkeypatch):
    monkeypatch.setattr(lvmfast.corpus.streams, "_HEAD_BYTES", 100)
    path = pack(tmp_path / "a.jsonl", lines([{"text": "x" * 500}, {"text": "y"}]))
    assert read(path)["text"] == ["x" * 500, "y"]


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lvmfast.corpus.lines, "_LONGEST_LINE", 1000)
    monkeypatch.setattr(lvmfast.corpus.lines, "_BLOCK_BYTES", 100)
    path = pack(tmp_path / "a.jsonl", lines([{"text": "x"}, {"text": "x" * 5000}]))
    with pytest.raises(DataError, match="line 2: over 1000 bytes long"):
        read(path)


def test_lines_of_megabytes_among_short_ones(tmp_path):
    texts = ["x" * (3 << 20) if row % 3 else "y" for row in range(8)]
    assert read(pack(tmp_path / "a.jsonl", lines([{"text": text} for text in texts])))["text"] == texts


def test_an_empty_jsonl_has_no_rows(tmp_path):
    split = load_split(pack(tmp_path / "a.jsonl", ""))
    assert split.columns == frozenset()
    assert list(split.batches(())) == []
    assert split.rows == 0


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2", ".xz"])
def test_truncated_and_corrupt_compression_is_refused(tmp_path, name, suffix):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 30)) for _ in range(2000)]
    text = (
        lines([{"text": word} for word in words]) if name == "a.jsonl" else "text\n" + "\n".join(words) + "\n"
    )
    path = pack(tmp_path / f"{name}{suffix}", text)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:-3], b"", b"plain text\n", b"\0" * 50):
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


JSON_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "doc_id": st.none() | st.integers(-(2**70), 2**70) | JSON_TEXT.map("d{}".format),
                "text": st.none() | JSON_TEXT,
                "vector": st.none() | st.lists(st.floats(width=32), min_size=2, max_size=2),
            },
        ),
        min_size=1,
        max_size=20,
    ),
    ascii_only=st.booleans(),
    size=st.integers(1, 30),
)
def test_any_objects(tmp_path, rows, ascii_only, size):
    rows = [{"doc_id": "first", "text": "t", "vector": [0.5, 1]}, *rows]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows), newline="")
    got = read(path, size)
    assert got["doc_id"] == [None if row.get("doc_id") is None else str(row["doc_id"]) for row in rows]
    assert got["text"] == [row.get("text") for row in rows]
    want = np.float32([row.get("vector") or [np.nan] * 2 for row in rows])
    assert np.array_equal(got["vector"], want, equal_nan=True)


NUMBERS = ["0", "-0", "7", "-7", "1e3", "1.0", "-0.0", "1e400", "-1e400", "1e-400", "9223372036854775808"]
NUMBERS += ["123456789012345678901234567890", "NaN", "Infinity", "-Infinity", "01", "+1", "1.", ".5", "0x1"]
STRINGS = [
    '""',
    '"7"',
    '"a"',
    '"\\u0000"',
    '"\\ud83d\\ude00"',
    '"\\ud800"',
    '"\\ude00"',
    '"\\/"',
    '"\\x"',
    '"a\tb"',
]
STRINGS += ['"\x7f"', '"\u2028"', '"\r"', '"\x00"']
NESTED = [
    "[]",
    "[null]",
    "[1]",
    "[1, 2]",
    "[1, null]",
    "[[1, 2]]",
    "[[1, 2], null]",
    "[[1, 2], [3, 4]]",
    "[{}]",
]
NESTED += [
    "{}",
    '{"text": "x"}',
    "[true]",
    '["1"]',
    "[1e400, 2]",
    "[NaN, -Infinity]",
    "[1 2]",
    "[1,]",
    '{"a": 1,}',
]
ANY = st.sampled_from([*NUMBERS, *STRINGS, *NESTED, "null", "true", "false", "nul", ""])
KEYS = ["doc_id", "text", "vector", "contexts", "x", "te\\u0078t"]
OBJECT = st.lists(st.tuples(st.sampled_from(KEYS), ANY), max_size=3).map(
    lambda pairs: "{" + ", ".join(f'"{key}": {value}' for key, value in pairs) + "}"
)
LINE = OBJECT | st.sampled_from(
    ["", " ", "\t\r", "{}", " {} ", "{}\r", "null", "7", "[1]", '"a"', "{}{}", "{} {}", "{", "}", "{},"]
)


def naively(text, field):
    """(line, object) of each line of `text`; None for a line that is no object, or has `field` twice."""
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.isspace():
            try:
                value = json.loads(line, object_pairs_hook=list)
                pairs = value if line.strip().startswith("{") else None
                names = [name for name, _ in pairs]
                assert names.count(field) < 2
                yield number, json.loads(line)
            except (ValueError, TypeError, AssertionError):
                yield number, None


def as_column(column, value):
    """`value` as a column gives it; raises ValueError where it is none."""
    if value is None:
        return None
    if column == "doc_id":
        fits, made = isinstance(value, str) or type(value) is int, str(value)
    elif column == "text":
        fits, made = isinstance(value, str), value
    elif column == "vector":
        fits, made = type(value) is list and len(value) == 2, value
        fits = fits and all(item is None or type(item) in (int, float) for item in value)
    else:
        fits, made = type(value) is list and len(value) == 2, value
        made = [as_column("vector", item) for item in value] if fits else None
    if not fits:
        raise ValueError(value)
    if isinstance(made, str):
        made.encode()
    return made


@pytest.mark.parametrize("column", ["doc_id", "text", "vector", "context"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(LINE, max_size=8), block=st.integers(1, 200), ends=st.booleans(), begins=st.booleans())
def test_every_line_is_what_json_makes_of_it(tmp_path, monkeypatch, column, rows, block, ends, begins):
    monkeypatch.setattr(lvmfast.corpus.lines, "_BLOCK_BYTES", block)
    first = '{"doc_id": 1, "text": "t", "vector": [1, 2], "contexts": [[1, 2], [3, 4]]}'
    text = "\n".join(([first] if begins else [first, *[first] * 3]) + rows) + "\n" * ends
    path = tmp_path / "a.jsonl"
    path.write_text(text, "utf-8", newline="")
    field = "contexts" if column == "context" else column
    wanted, broken = [], None
    for number, value in naively(text, field):
        try:
            if value is None:
                raise ValueError(number)
            wanted.append(as_column(column, value.get(field)))
        except ValueError:
            broken = number
            break
    if broken is not None:
        with pytest.raises(DataError):
            read_column(path, column)
        return
    found = read_column(path, column)
    if column in ("doc_id", "text"):
        assert found == wanted
    else:
        shape = (2,) if column == "vector" else (2, 2)
        full = np.array([_filled(value, shape) for value in wanted], np.float64)
        with np.errstate(over="ignore"):
            assert np.array_equal(np.float32(found), np.float32(full), equal_nan=True)


def read_column(path, column):
    found = []
    for batch in load_split(path).batches([column], 4):
        values = getattr(batch, column)
        found.extend(values.tolist() if isinstance(values, np.ndarray) else values.to_pylist())
    return found


@pytest.mark.parametrize("id_", ["2.0", "[2]", "true"])
def test_an_id_that_nobody_asked_for_stops_nothing_in_a_last_line_without_an_end(id_, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"doc_id": 1, "text": "a"}\n{"doc_id": ' + id_ + ', "text": "b"}')
    assert read_column(path, "text") == ["a", "b"]


def _filled(value, shape):
    if not shape:
        return np.nan if value is None else value
    return [_filled(item, shape[1:]) for item in (value or [None] * shape[0])]


@PACKED
@pytest.mark.parametrize("rows", [1, 7, 8192])
def test_csv_reads_as_csv_does(tmp_path, suffix, rows):
    data = example()
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["doc_id", "chunk_id", "text", "vector", "contexts", "rest"])
    for row in data:
        cells = [row["doc_id"], row["chunk_id"], row["text"], json.dumps(row["vector"])]
        writer.writerow([*cells, json.dumps(row["contexts"]), "x"])
    path = pack(tmp_path / f"a.csv{suffix}", out.getvalue())
    got = read(path, rows)
    assert got["doc_id"] == [str(row["doc_id"]) for row in data]
    assert got["chunk_id"] == [row["chunk_id"] for row in data]
    assert got["text"] == [row["text"] for row in data]
    assert np.array_equal(got["vector"], np.float32([row["vector"] for row in data]))
    assert np.array_equal(got["context"], np.float32([row["contexts"] for row in data]))


def test_csv_ids_are_text_and_null_where_empty(tmp_path):
    path = pack(tmp_path / "a.csv", "\ufeffdoc_id,chunk_index,text\n007,NA,\n,2.x,null\nx,\"\",'y'\n")
    got = read(path)
    assert got["doc_id"] == ["007", None, "x"]
    assert got["chunk_id"] == ["NA", "2.x", None]
    assert got["text"] == ["", "null", "'y'"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("doc_id,text\n1,a\n2\n", "line 3: expected 2 fields as in the header, found 1"),
        (b"doc_id,text\n1,\xff\n", "line 2: text: not UTF-8"),
        ("text,text\n1,a\n", "field 'text' stands twice"),
        ("a,b\n1,2\n", "no field is a known column; there is a, b"),
        ("", "expected a line of field names, found none"),
        ('vector\n"[1, 2]"\n"[1 2]"\n', "vector: row 1: expected a JSON list, got '[1 2]'"),
        ('vector\n"[1, 2]"\n"{}"\n', "vector: rows from 0: "),
        ('vector\n"[1, 2]"\n"[3]"\n', "vector: row 1: expected 2 values, got 1"),
    ],
)
def test_broken_csv_is_refused(tmp_path, data, message):
    path = pack(tmp_path / "a.csv", data)
    with pytest.raises(DataError) as caught:
        read(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_take_reaches_into_files_of_unknown_length(tmp_path):
    for name in ("a", "b"):
        pack(tmp_path / f"{name}.jsonl", lines([{"doc_id": i, "text": f"{name}{i}"} for i in range(30)]))
    split = load_split([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    for _ in range(2):
        table = split.take(np.array([0, 29, 30, 59]), ("doc_id", "text"))
        assert table["text"].to_pylist() == ["a0", "a29", "b0", "b29"]
        assert table["doc_id"].to_pylist() == ["0", "29", "0", "29"]
        with pytest.raises(DataError, match="row 60 is past the end of the split"):
            split.take(np.array([3, 60]), ("text",))
        assert sum(batch.rows for batch in split.batches(())) == 60
        assert split.rows == 60
