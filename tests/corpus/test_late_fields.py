"""Fields of jsonl that come late, against the same rows with nulls from the first line on."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lvmfast
import lvmfast.corpus.lines
import lvmfast.corpus.streams
from lvmfast.corpus import load_payload, load_split
from lvmfast.corpus.columns import ALIASES
from lvmfast.corpus.looks import SampleContradicted, begins_again
from lvmfast.errors import DataError
from tests.support.corpus_reading import read, read_all

FIELDS = ["doc_id", "chunk_id", "text", "vector", "contexts"]
LONG = "a text that is not too short to be compared"
LATE = 40  # the first row that has the late field


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    monkeypatch.setattr(lvmfast.corpus.streams, "_HEAD_BYTES", 600)
    monkeypatch.setattr(lvmfast.corpus.lines, "_BLOCK_BYTES", 500)


def whole_rows(name="t", rows=60):
    rng = np.random.default_rng(sum(name.encode()))
    return [
        {
            "doc_id": f"{name}{i // 3}",
            "chunk_id": i,
            "text": f"{LONG} {name} {i}",
            "vector": rng.normal(size=3).round(3).tolist(),
            "contexts": rng.normal(size=(2, 3)).round(3).tolist(),
        }
        for i in range(rows)
    ]


def without(rows, *fields):
    return [
        {name: value for name, value in row.items() if name not in fields or place >= LATE}
        for place, row in enumerate(rows)
    ]


def write(path, rows):
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = pa.compress(data, codec="zstd", asbytes=True)
    path.write_bytes(data)
    return path


def with_nulls(rows):
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def same(left, right):
    assert left.keys() == right.keys()
    for column, values in left.items():
        if isinstance(values, np.ndarray):
            assert np.array_equal(values, right[column], equal_nan=True)
        else:
            assert values == right[column], column


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_late_field_reads_as_if_it_had_been_null(tmp_path, suffix, field):
    rows = without(whole_rows(), field)
    late = write(tmp_path / f"late{suffix}", rows)
    early = write(tmp_path / f"early{suffix}", with_nulls(rows))
    same(read(late), read(early))
    assert load_split(late).notes == (f"{late}: {field}: first appears in line {LATE + 1}",)
    assert sorted(load_split(late).columns) == sorted(load_split(early).columns)


@pytest.mark.parametrize("field", FIELDS)
def test_by_a_sample_a_call_begins_again_once(tmp_path, field):
    rows = without(whole_rows(), field)
    late = write(tmp_path / "late.jsonl", rows)
    early = write(tmp_path / "early.jsonl", with_nulls(rows))
    calls, told = [], []

    @begins_again()
    def call(path, columns, announce):
        split = load_split(path)
        calls.append(len(split.columns))
        return read_all(split, columns=columns)

    for columns in (lvmfast.corpus.COLUMNS, ("chunk_id",) if field != "chunk_id" else ("text",), ()):
        calls.clear()
        same(call(late, columns, announce=told.append), read_all(load_split(early), columns=columns))
        assert calls == [4, 5]
    assert told == [f"{late}: {field} first appears in line {LATE + 1}; read again from the start"] * 3
    if field not in ("vector", "contexts"):  # null is no shape
        call(early, (), announce=told.append)
        assert len(told) == 3


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_scan_of_late_fields_is_that_of_nulls(tmp_path, suffix, field):
    rows, judged = whole_rows(), whole_rows("e")
    for place in range(5):
        judged[place][field] = rows[LATE + 2 * place][field]
    late = write(tmp_path / f"late{suffix}", without(rows, field))
    early = write(tmp_path / "early.jsonl", with_nulls(without(rows, field)))
    eval_ = write(tmp_path / "eval.jsonl", judged)
    for sides in ((late, eval_), (eval_, late)):
        told = []
        found = lvmfast.leakscan(*sides, announce=told.append)
        wanted = lvmfast.leakscan(*[early if side == late else side for side in sides])
        assert found.findings.verdict == wanted.findings.verdict
        if field not in ("chunk_id", "contexts"):
            assert found.findings.verdict == "leak"
        assert [line for line in told if "first appears" in line] == [
            f"{late}: {field} first appears in line {LATE + 1}; read again from the start"
        ]
        left, right = found.matches.to_pydict(), wanted.matches.to_pydict()
        for column in left:
            if not column.endswith("_file"):
                assert left[column] == right[column], column
        for level, finding in wanted.findings.levels.items():
            assert found.findings.levels[level].status == finding.status


def test_text_as_parquet_and_jsonl_scan_alike(tmp_path):
    rows = [{"doc_id": str(i), **({"text": f"{LONG} {i}"} if i >= LATE else {})} for i in range(80)]
    late = write(tmp_path / "late.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(with_nulls(rows)), tmp_path / "late.parquet")
    pq.write_table(pa.table({"text": [f"{LONG} 41", "other text"]}), tmp_path / "e.parquet")
    for levels in (None, ["text"]):
        for path in (late, tmp_path / "late.parquet"):
            report = lvmfast.leakscan(path, tmp_path / "e.parquet", levels=levels)
            assert report.findings.verdict == "leak"
            assert report.findings.levels["text"].pairs == 1


def test_a_mapped_field_is_looked_for_in_the_whole_file(tmp_path):
    rows = [{"doc_id": i, **({"body": f"{LONG} {i}"} if i >= LATE else {})} for i in range(60)]
    late = write(tmp_path / "late.jsonl", rows)
    judged = write(tmp_path / "eval.jsonl", [{"body": f"{LONG} 50"}, {"body": "nobody"}])
    assert read(late, columns={"text": "body"})["text"][50] == f"{LONG} 50"
    assert lvmfast.leakscan(late, judged, columns={"text": "body"}).findings.verdict == "leak"
    with pytest.raises(DataError, match="text: no field 'bodies'; there is doc_id"):
        lvmfast.leakscan(late, judged, columns={"text": "bodies"})


def test_where_no_column_is_in_the_sample_the_file_is_read_on(tmp_path):
    rows = [{"id": i, **({"text": f"{LONG} {i}"} if i >= LATE else {})} for i in range(60)]
    late = write(tmp_path / "late.jsonl", rows)
    judged = write(tmp_path / "eval.jsonl", [{"text": f"{LONG} 50"}])
    assert lvmfast.leakscan(late, judged).findings.verdict == "leak"
    assert lvmfast.leakscan(judged, late).findings.verdict == "leak"
    with pytest.raises(DataError, match="no field is a known column; there is id"):
        lvmfast.leakscan(write(tmp_path / "none.jsonl", [{"id": i} for i in range(60)]), judged)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ({"body": 0, "text": 5}, "line 61: text: expected text, got int"),
        ({"doc_id": 7.5}, "line 61: doc_id: expected an integer or string id, got float"),
        ({"doc_id": True}, "line 61: doc_id: expected an integer or string id, got bool"),
        ({"doc_id": [1]}, "line 61: doc_id: expected an integer or string id, got list"),
        ({"doc_id": {"a": 1}}, "line 61: doc_id: expected an integer or string id, got dict"),
        ({"article_id": 7}, "doc_id: both doc_id and article_id could be it; map one of them"),
        ({"embedding": [1, 2]}, "embedding: row 0: expected 2 values"),
        ({"text": "a", "nested": {"text": 1, "vector": 2}}, None),
        ({"doc_id": 7, "doc_id ": 7.5}, None),
    ],
)
def test_late_types_that_do_not_fit_are_named(tmp_path, last, message):
    path = write(tmp_path / "a.jsonl", [{"doc_id": i} for i in range(60)] + [last])
    other = write(tmp_path / "b.jsonl", [{"doc_id": "x", "text": "y"}])
    if message is None:
        assert read(path)["doc_id"][:60] == [str(i) for i in range(60)]
        return
    if message.startswith("embedding: row"):
        assert np.isnan(read(path)["vector"][:60]).all()
        return
    for call in (
        read,
        lambda path: lvmfast.leakscan(path, other),
        lambda path: lvmfast.leakscan(other, path),
    ):
        with pytest.raises(DataError) as caught:
            call(path)
        assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("value", ["a", [], ["a"], {"a": 1}, 7])
def test_late_values_that_are_no_vectors_are_named(tmp_path, value):
    path = write(tmp_path / "a.jsonl", [*({"doc_id": i} for i in range(60)), {"embedding": value}])
    other = write(tmp_path / "b.jsonl", [{"doc_id": "x", "vector": [1, 2]}])
    for sides in ((path, other), (other, path)):
        with pytest.raises(DataError, match=r"a.jsonl: embedding: expected a list of floats, .*, in line 61"):
            lvmfast.leakscan(*sides)
    assert lvmfast.leakscan(path, other, levels=["doc"]).findings.verdict == "clean"


@pytest.mark.parametrize("value", [None, "a", 3])
def test_context_that_is_text_stays_text(tmp_path, value):
    rows = [{"doc_id": i, "context": "a passage"} for i in range(60)]
    path = write(tmp_path / "a.jsonl", [*rows, {"doc_id": 1, "context": value}])
    if value == 3:
        with pytest.raises(DataError, match="line 61: context: expected text, got int"):
            read(path)
    else:
        assert "context" not in load_split(path).columns
        assert read(path)["doc_id"][-1] == "1"
    late = write(tmp_path / "late.jsonl", [{"doc_id": i} for i in range(60)] + [{"context": "a passage"}])
    assert "not read as context windows" in load_split(late).notes[0]
    assert begins_again()(read)(late)["context"] is None


def test_a_field_without_any_value_is_left_out(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"doc_id": i, "vector": None} for i in range(60)])
    assert load_split(path).notes == (f"{path}: vector: no row has a value; the column is left out",)
    assert begins_again()(read)(path)["vector"] is None


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst"])
def test_late_fields_of_a_payload(tmp_path, suffix):
    rows = whole_rows()
    keys = write(tmp_path / "keys.jsonl", [{k: row[k] for k in ("doc_id", "chunk_id")} for row in rows])
    texts = [{k: row[k] for k in ("doc_id", "chunk_id", "text")} for row in rows]
    judged = write(tmp_path / "eval.jsonl", [{"text": rows[-1]["text"]}])
    for field in ("doc_id", "chunk_id", "text"):
        payload = write(tmp_path / f"payload{suffix}", without(texts, field))
        assert len(load_payload(payload)) == 60 - LATE
        report = lvmfast.leakscan(keys, judged, train_payload=payload)
        assert report.findings.levels["text"].pairs == 1
        assert report.findings.verdict == "leak"


def test_a_split_and_its_certificate_see_late_texts(tmp_path):
    rows = without(
        [{"doc_id": i // 12, "text": f"{LONG} {i % 50 if i < 60 else i}"} for i in range(600)], "text"
    )
    path = write(tmp_path / "a.jsonl", rows)
    made = lvmfast.split(path, out=tmp_path / "out", eval_docs=5)
    assert made.certificate is not None
    assert made.certificate["scans"][0]["levels"]["text"]["status"] == "clean"
    sides = [
        {
            json.loads(line).get("text")
            for line in (tmp_path / "out" / f"{side}.jsonl").read_text().splitlines()
        }
        - {None}
        for side in ("train", "eval")
    ]
    assert sides[0].isdisjoint(sides[1])
    assert lvmfast.verify(tmp_path / "out").verified


def test_a_fingerprint_holds_late_texts(tmp_path):
    rows = without([{"doc_id": i, "text": f"{LONG} {i}"} for i in range(120)], "text")
    made = lvmfast.fingerprint(write(tmp_path / "a.jsonl", rows), tmp_path / "a.lvfp")
    assert "text" in made.columns
    judged = write(tmp_path / "eval.jsonl", [{"text": f"{LONG} 100"}])
    assert lvmfast.leakscan(tmp_path / "a.lvfp", judged).findings.verdict == "leak"


def test_a_scan_that_keeps_what_it_did_begins_again(tmp_path):
    late = write(tmp_path / "late.jsonl", without(whole_rows(), "text"))
    judged = write(tmp_path / "eval.jsonl", [{"doc_id": "none", "text": whole_rows()[-1]["text"]}])
    out = tmp_path / "out"
    report = lvmfast.leakscan(late, judged, out=out)
    report.save(out)
    assert json.loads((out / "summary.json").read_text())["verdict"] == "leak"
    assert lvmfast.leakscan(late, judged, out=out, resume=True).findings.verdict == "leak"
    for share in (1, 2):
        part = tmp_path / "parts" / str(share)
        lvmfast.leakscan(late, judged, out=part, shard=(share, 2)).save(part)
    merged = lvmfast.merge([tmp_path / "parts" / "1", tmp_path / "parts" / "2"])
    assert merged.findings.verdict == "leak"


def test_files_that_change_under_an_open_split_are_still_held_to_it(tmp_path):
    path = write(tmp_path / "a.jsonl", whole_rows())
    split = begins_again()(load_split)(path)
    write(path, [*whole_rows(), {"embedding": [1, 2, 3]}])
    with pytest.raises(SampleContradicted, match="embedding first appears in line 61"):
        list(split.batches(("doc_id",)))


def test_the_command_says_that_it_began_again(tmp_path):
    train, judged = tmp_path / "train.jsonl", tmp_path / "eval.jsonl"
    lines = [{"doc_id": f"{i:0100}"} for i in range(12_000)] + [{"doc_id": "x", "text": LONG}]
    write(train, lines)
    write(judged, [{"doc_id": "y", "text": LONG}])
    command = [sys.executable, "-m", "lvmfast", "leakscan", "--train", str(train), "--eval", str(judged)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    assert "text first appears in line 12001; read again from the start" in ran.stderr
    assert "has no text" not in ran.stdout


VALUES = {
    "doc_id": st.integers(0, 9) | st.sampled_from("ab"),
    "chunk_id": st.integers(0, 9),
    "text": st.sampled_from(["a", "ä", "long " * 9]),
    "vector": st.lists(st.integers(0, 3), min_size=2, max_size=2),
    "context": st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=2, max_size=2),
}
ROW = st.fixed_dictionaries(
    {"id": st.integers()},
    optional={name: VALUES[column] for column, names in ALIASES.items() for name in names[:2]},
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    blank=st.lists(ROW, max_size=1).map(lambda rows: [{**row} for row in rows]),
    rows=st.lists(st.one_of(st.just({"id": 1}), ROW), min_size=1, max_size=12),
    repeats=st.integers(1, 40),
    head=st.integers(1, 400),
    block=st.integers(1, 400),
)
def test_where_a_field_stands_does_not_matter(tmp_path, monkeypatch, blank, rows, repeats, head, block):
    monkeypatch.setattr(lvmfast.corpus.streams, "_HEAD_BYTES", head)
    monkeypatch.setattr(lvmfast.corpus.lines, "_BLOCK_BYTES", block)
    rows = [*blank, *[{"id": 0}] * repeats, *rows]
    late = write(tmp_path / "late.jsonl", rows)
    early = write(tmp_path / "early.jsonl", with_nulls(rows))

    def outcome(call, path):
        try:
            return call(path)
        except DataError as error:
            return str(error).replace(str(path), "")

    monkeypatch.setattr(lvmfast.corpus.streams, "_HEAD_BYTES", 1 << 20)
    wanted = outcome(read, early)
    monkeypatch.setattr(lvmfast.corpus.streams, "_HEAD_BYTES", head)
    for call in (read, begins_again()(read)):
        found = outcome(call, late)
        if isinstance(wanted, str) and "could be it" in wanted:
            assert "could be it" in found
        elif isinstance(wanted, str):
            assert found == wanted
        else:
            same(found, wanted)
