"""Rows that a report names are kept as they go by: no file is read again for them, reports stay the same."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.corpus import kept, load_split
from lvmfast.corpus.budget import Budget
from lvmfast.errors import DataError
from lvmfast.stores.objects import LocalFile

WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen"
ROWS = [
    {"text": f"{row} {WORDS} {row % 150}", "doc_id": f"d{row}", "chunk_id": row % 3} for row in range(400)
]
MATCHED = [3, 170, 171, 399]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_gz(path, rows):
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=90)


WRITERS = {"jsonl": write_jsonl, "jsonl.gz": write_gz, "parquet": write_parquet}


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that are opened, one for each time."""
    names, of_file = [], LocalFile.open

    def opens(self, *given, **named):
        names.append(self.name)
        return of_file(self, *given, **named)

    monkeypatch.setattr(LocalFile, "open", opens)
    return names


def scanned(tmp_path, suffix, levels, texts, **options):
    train, eval_ = tmp_path / f"train.{suffix}", tmp_path / "eval.jsonl"
    WRITERS[suffix](train, ROWS)
    write_jsonl(eval_, [{"text": text} for text in texts])
    return lvmfast.leakscan(str(train), str(eval_), levels=levels, **options)


@pytest.mark.parametrize("levels", [["text"], ["overlap"], ["text", "overlap"]], ids="+".join)
@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_is_read_once_for_few_matches(tmp_path, opened, suffix, levels):
    train = str(tmp_path / f"train.{suffix}")
    scanned(tmp_path, suffix, levels, ["nothing of this stands anywhere"])
    without = opened.count(train)
    opened.clear()
    report = scanned(tmp_path, suffix, levels, [ROWS[row]["text"] for row in MATCHED])
    assert opened.count(train) == without
    found = report.matches.filter(pa.compute.equal(report.matches["level"], "text")).to_pylist()
    if "text" in levels:
        named = [(m["train_row"], m["train_doc_id"], m["train_chunk_id"], m["train_text"]) for m in found]
        assert named == [
            (row, ROWS[row]["doc_id"], str(ROWS[row]["chunk_id"]), ROWS[row]["text"]) for row in MATCHED
        ]


@pytest.mark.parametrize("levels", [["text"], ["overlap"]], ids="+".join)
@pytest.mark.parametrize("suffix", WRITERS)
def test_reports_are_the_same_where_rows_are_too_many(tmp_path, monkeypatch, suffix, levels):
    texts = [ROWS[row]["text"] for row in MATCHED]
    few = scanned(tmp_path, suffix, levels, texts)
    monkeypatch.setattr(kept, "_ROW_BYTES", Budget().kept_bytes // 3)  # there is room for two
    many = scanned(tmp_path, suffix, levels, texts)
    assert few.matches.num_rows
    assert many.matches.equals(few.matches)
    assert (many.overlaps is None) == (few.overlaps is None)
    assert many.overlaps is None or many.overlaps.equals(few.overlaps)
    assert kept.KeptRows.held == 0


@pytest.mark.parametrize("suffix", WRITERS)
def test_rows_that_wait_for_others_are_joined_to_them(tmp_path, suffix):
    # A document of three rows, of which the evidence shows the second and third alone.
    rows = [{"text": WORDS.replace(" ", f"{row} "), "doc_id": "d", "chunk_id": row} for row in range(3)]
    text = " ".join(row["text"] for row in rows[1:])
    train, eval_ = tmp_path / f"train.{suffix}", tmp_path / "eval.jsonl"
    WRITERS[suffix](train, rows)
    write_jsonl(eval_, [{"text": text}])
    report = lvmfast.leakscan(str(train), str(eval_), levels=["overlap"], join_chunks=True)
    assert report.overlaps["train_text"].to_pylist() == ["\n".join(row["text"] for row in rows[1:])]


@pytest.mark.parametrize("odd", [1.5, {"a": 1}, True], ids=["number", "object", "bool"])
def test_ids_that_are_none_matter_where_a_report_names_them(tmp_path, odd):
    train, eval_ = tmp_path / "train.jsonl", tmp_path / "eval.jsonl"
    rows = [dict(row) for row in ROWS]
    rows[200]["doc_id"] = odd
    write_jsonl(train, rows)
    write_jsonl(eval_, [{"text": ROWS[3]["text"]}])
    report = lvmfast.leakscan(str(train), str(eval_), levels=["text"])
    assert report.matches["train_doc_id"].to_pylist() == ["d3"]
    write_jsonl(eval_, [{"text": ROWS[200]["text"]}])
    with pytest.raises(DataError, match=r"train\.jsonl: line 201: doc_id: expected an integer or string id"):
        lvmfast.leakscan(str(train), str(eval_), levels=["text"])


def test_batches_keep_rows_by_their_numbers_in_the_file(tmp_path, opened):
    path = tmp_path / "a.parquet"
    write_parquet(path, ROWS)
    split = load_split(path)
    for batch in split.batches(["text"], 64):
        batch.sliced(1, batch.rows).keep(pa.array([0, 5]).to_numpy())
    opened.clear()
    rows = [1, 6, 65, 70, 91]  # every batch begins where one of 64, or a row group of 90, does
    table = split.take(pa.array(rows).to_numpy(), ["text", "doc_id"])
    assert table["text"].to_pylist() == [ROWS[row]["text"] for row in rows]
    assert table["doc_id"].to_pylist() == [ROWS[row]["doc_id"] for row in rows]
    assert not opened
    assert split.take(pa.array([2]).to_numpy(), ["text"])["text"].to_pylist() == [ROWS[2]["text"]]
    assert opened
