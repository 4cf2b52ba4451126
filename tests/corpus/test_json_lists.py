"""Files that are one list of JSON objects, against Python's `json`."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lvmfast
import lvmfast.corpus.lines
import lvmfast.corpus.streams
from lvmfast.corpus import load_split
from lvmfast.corpus.looks import begins_again
from lvmfast.errors import DataError
from lvmfast.splits.rewrite import rewrite
from tests.support.corpus_reading import read
from tests.support.peaks import ran

LAYOUTS = pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"separators": (",", ":")}])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(lvmfast.corpus.streams, "_HEAD_BYTES", 700)
    monkeypatch.setattr(lvmfast.corpus.lines, "_BLOCK_BYTES", 300)


def example(rows=60):
    rng = np.random.default_rng(0)
    return [
        {
            "doc_id": i if i % 7 else f"d{i}",
            "text": f'[{{"quoted" \\ {i}}}]\né,\u2028𝄞',
            **({"vector": rng.normal(size=3).tolist()} if i > 30 else {}),
            "extra": {"any": [i, None, {"text": 7}]},
        }
        for i in range(rows)
    ]


@LAYOUTS
@pytest.mark.parametrize("start", ["", "\ufeff", " \r\n\t\n"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_list_reads_as_json_does(tmp_path, layout, start, ascii_only):
    data = example()
    path = tmp_path / "a.jsonl"
    path.write_text(start + json.dumps(data, ensure_ascii=ascii_only, **layout), "utf-8")
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for got in (read(path), read(packed, 7), begins_again()(read)(path)):
        assert got["doc_id"] == [str(row["doc_id"]) for row in data]
        assert got["text"] == [row["text"] for row in data]
        want = np.float32([row.get("vector", [np.nan] * 3) for row in data])
        assert np.array_equal(got["vector"], want, equal_nan=True)
    assert 20 < load_split(path).estimated_rows() < 180


@pytest.mark.parametrize("text", ["[]", " [\n] \n", "[{}]", '[{"text": "a"}\n]\n\n'])
def test_short_lists(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    if json.loads(text) == [{}]:
        with pytest.raises(DataError, match=r"a\.jsonl"):
            lvmfast.leakscan(path)
        return
    assert sum(batch.rows for batch in load_split(path).batches(())) == len(json.loads(text))


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("", "line 62: expected , or ] in a list, got the end of the file"),
        ('{"text": "b"}]', "line 62: expected , or ] in a list, got '{'"),
        (",", "line 62: Expecting value"),
        (",]", "line 62: Expecting value"),
        (",\n7]", "line 63: expected a JSON object, got int"),
        (",\n[1]]", "line 63: expected a JSON object, got list"),
        (',\n{"text": "cut', "line 63: Unterminated string"),
        (',\n{"text": "a",\n\n"b" 1}]', "line 65: Expecting ':' delimiter"),
        (',\n{"text": 7}]', "line 63: text: expected text, got int"),
        (',\n{"text": "a",\n"text": "b"}]', "line 63: 'text' stands twice"),
        (',\n{"text": "\\ud800"}]', "line 63: text: a lone surrogate, \\ud800"),
        ("]\n{}", "line 63: expected the end of the file behind its list, got more"),
        ("]]", "line 62: expected the end of the file behind its list, got more"),
        (b',{"text": "\xff"}]', "behind line "),
        ("," + "[" * 100_000, "line 62: "),
    ],
)
def test_broken_lists_are_named(tmp_path, end, message):
    path = tmp_path / "a.jsonl"
    rows = ",\n".join(json.dumps({"text": f"row {i}"}) for i in range(60))
    path.write_bytes(f"\n\n[{rows}".encode() + (end if isinstance(end, bytes) else end.encode()))
    for call in (read, begins_again()(read)):
        with pytest.raises(DataError) as caught:
            call(path)
        assert str(caught.value).startswith(f"{path}: {message}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("indent", [0, 2])
def test_objects_over_several_lines_are_refused_by_line(tmp_path, indent):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' + json.dumps({"text": "b", "doc_id": 1}, indent=indent))
    message = (
        r"line 2, column \d+: Expecting property name .*; expected a whole object on one line, or a list"
    )
    with pytest.raises(DataError, match=message):
        read(path)


def test_a_record_that_does_not_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lvmfast.corpus.lines, "_LONGEST_LINE", 1000)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps([{"text": "x"}, {"text": "x" * 5000}], indent=1))
    with pytest.raises(DataError, match="line 5: over 1000 bytes long"):
        read(path)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.fixed_dictionaries({"text": st.none() | st.text(max_size=9)}, optional={"x": VALUE}),
        min_size=1,
        max_size=8,
    ),
    indent=st.none() | st.integers(0, 3),
    ascii_only=st.booleans(),
    block=st.integers(1, 90),
    head=st.integers(1, 90),
    listed=st.booleans(),
    parts=st.lists(st.integers(-1, 1), min_size=8, max_size=8),
)
def test_any_objects_are_read_and_written_back(
    tmp_path, monkeypatch, rows, indent, ascii_only, block, head, listed, parts
):
    monkeypatch.setattr(lvmfast.corpus.lines, "_BLOCK_BYTES", block)
    monkeypatch.setattr(lvmfast.corpus.streams, "_HEAD_BYTES", head)
    path = tmp_path / "a.jsonl"
    if listed:
        text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    else:
        text = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    path.write_text(text, "utf-8", newline="")
    if any(row["text"] is not None for row in rows):
        assert read(path)["text"] == [row["text"] for row in rows]
    targets = [tmp_path / f"{place}.jsonl" for place in (0, 1)]
    for target in targets:
        target.unlink(missing_ok=True)
    rewrite([str(path)], [np.array(parts[: len(rows)], np.int8)], targets)
    for place, target in enumerate(targets):
        kept = [row for row, to in zip(rows, parts, strict=False) if to == place]
        written = target.read_text("utf-8")
        lines = [] if listed else [json.loads(line) for line in written.split("\n") if line]
        found = json.loads(written) if listed else lines
        assert repr(found) == repr(kept)


@LAYOUTS
def test_a_list_is_split_into_lists(tmp_path, layout):
    rows = [
        {"doc_id": i // 12, "text": f"a text that is not too short to be compared {i}"} for i in range(600)
    ]
    (tmp_path / "a.jsonl").write_text(json.dumps(rows, **layout))
    assert lvmfast.split(tmp_path / "a.jsonl", out=tmp_path / "out", eval_docs=5).certificate is not None
    sides = [json.loads((tmp_path / "out" / f"{side}.jsonl").read_text()) for side in ("train", "eval")]
    assert len({row["doc_id"] for row in sides[1]}) == 5
    assert sorted([*sides[0], *sides[1]], key=str) == sorted(rows, key=str)
    assert lvmfast.verify(tmp_path / "out").verified


def test_lists_and_lines_are_written_as_the_first_one(tmp_path):
    (tmp_path / "list.jsonl").write_text(json.dumps([{"text": "a"}, {"text": "b"}], indent=1))
    (tmp_path / "lines.jsonl").write_text('{"text": "c"}\r\n\n {"text": "d"}')
    sources = [str(tmp_path / "list.jsonl"), str(tmp_path / "lines.jsonl")]
    parts = [np.zeros(2, np.int8)] * 2
    rewrite(sources, parts, [tmp_path / "1.jsonl"])
    assert [row["text"] for row in json.loads((tmp_path / "1.jsonl").read_text())] == list("abcd")
    rewrite(sources[::-1], parts, [tmp_path / "2.jsonl"])
    lines = (tmp_path / "2.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == list("cdab")


@pytest.mark.parametrize("listed", [False, True])
def test_long_lines_stay_within_the_memory_limit_or_are_refused(tmp_path, listed):
    text = "a long line of words " * ((24 << 20) // 21)
    rows = [{"doc_id": i, "text": f"{i} {text}"} for i in range(3)]
    path, judged = tmp_path / "a.jsonl", tmp_path / "e.jsonl"
    path.write_text(json.dumps(rows) if listed else "".join(json.dumps(row) + "\n" for row in rows))
    judged.write_text(json.dumps(rows[2]) + "\n")
    limit = 800 << 20
    sides = ("leakscan", "--train", path, "--eval", judged, "--memory-limit", limit, "--max-pairs", 1)
    refused = ran(tmp_path, *sides)
    assert refused.code == 2
    assert "raise the limit" in refused.err
    done = ran(tmp_path, *sides, "--levels", "doc,text")
    assert done.code == 1, done.err
    assert done.peak < limit
    with pytest.raises(
        DataError, match=r"a\.jsonl: line 1: expected at most 9\.1 MiB.* got \d+\.\d MiB; raise"
    ):
        lvmfast.leakscan(path, judged, memory_limit=300 << 20)
