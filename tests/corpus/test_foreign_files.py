"""Files as other programs write them: read, or refused with what they are."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from lvmfast import leakscan, split, verify
from lvmfast.corpus import load_split
from lvmfast.errors import DataError

ROWS = 12
TEXTS = [f'row {n} says "enough", naïvely, to be compared' for n in range(ROWS)]
LINES = "".join(
    json.dumps({"doc_id": n, "text": text}, ensure_ascii=False) + "\n" for n, text in enumerate(TEXTS)
)


def refusal(path) -> str:
    with pytest.raises(DataError) as caught:
        leakscan(str(path))
    assert str(caught.value).count("\n") == 0
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


@pytest.mark.parametrize(
    ("name", "made", "kind"),
    [
        ("a.jsonl", gzip.compress, "gzip data"),
        ("a.csv", gzip.compress, "gzip data"),
        ("a.jsonl", bz2.compress, "bzip2 data"),
        ("a.jsonl", lzma.compress, "xz data"),
        ("a.jsonl", zstd, "zstd data"),
        ("a.jsonl.gz", zlib.compress, "zlib data"),
        ("a.jsonl.gz", zstd, "zstd data"),
        ("a.jsonl.gz", bytes, "plain text"),
        ("a.jsonl.xz", lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE), "lzma data"),
        ("a.jsonl", lambda data: data.decode().encode("utf-16"), "text in UTF-16"),
        ("a.jsonl", lambda data: data.decode().encode("utf-16-le"), "text in UTF-16"),
        ("a.jsonl", lambda data: data.decode().encode("utf-32"), "text in UTF-32"),
        ("a.parquet", bytes, "plain text"),
        ("a.parquet", lambda data: b"<!DOCTYPE html>\n<html></html>", "HTML"),
        ("a.npz", bytes, "plain text"),
        ("a.npy", gzip.compress, "gzip data"),
    ],
)
def test_what_a_file_is_whose_name_says_something_else(tmp_path, name, made, kind):
    path = tmp_path / name
    path.write_bytes(made(LINES.encode()))
    assert f"; the file begins as {kind}, whatever its name says" in refusal(path)


def test_feather_of_version_1_is_named(tmp_path):
    path = tmp_path / "a.feather"
    with pytest.warns(DeprecationWarning, match="Feather V1"):
        pa.feather.write_feather(pa.table({"text": TEXTS}), str(path), version=1)
    assert "the file begins as Feather version 1" in refusal(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet", "a.arrow", "a.npy"])
def test_what_is_broken_and_what_its_name_says_is_told_once(tmp_path, name):
    path = tmp_path / name
    whole = {
        "a.jsonl": lambda: LINES.encode() + b"{",
        "a.jsonl.gz": lambda: gzip.compress(LINES.encode())[:-4],
        "a.parquet": lambda: written(pq.write_table)[:-4],
        "a.arrow": lambda: written(to_arrow)[:-4],
        "a.npy": lambda: written(lambda _, out: np.save(out, np.ones((3, 4), np.float32)))[:-4],
    }
    path.write_bytes(whole[name]())
    assert "begins as" not in refusal(path)


def written(write) -> bytes:
    out = io.BytesIO()
    write(pa.table({"doc_id": range(ROWS), "text": TEXTS}), out)
    return out.getvalue()


def to_arrow(table, out):
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)


def to_stream(table, out):
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(("name", "write"), [("a.arrows", to_stream), ("a.parq", pq.write_table)])
def test_suffixes_of_streams_and_of_fastparquet(tmp_path, name, write):
    (tmp_path / name).write_bytes(written(write))
    batches = load_split(str(tmp_path)).batches(("text",))
    assert [text for batch in batches for text in batch.text.to_pylist()] == TEXTS


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize(
    ("name", "mark", "found"),
    [
        ("a.csv", ";", "expected commas between the fields, found semicolons"),
        ("a.csv", "\t", "expected commas between the fields, found tabs"),
        ("a.csv", "|", "expected commas between the fields, found vertical bars"),
        ("a.tsv", ",", "expected tabs between the fields, found commas"),
        ("a.tsv", ";", "expected tabs between the fields, found semicolons"),
    ],
)
@pytest.mark.parametrize("start", ["", "\ufeff", "\r\n"])
def test_csv_with_other_separators(tmp_path, name, mark, found, quoting, start):
    path = tmp_path / name
    with open(path, "w", newline="", encoding="utf-8") as out:
        out.write(start)
        writer = csv.writer(out, delimiter=mark, quoting=quoting)
        writer.writerow(["doc_id", "text"])
        writer.writerows(enumerate(TEXTS))
    assert f"line 1: {found}" in refusal(path)


def test_a_field_with_a_semicolon_in_its_name_is_read_where_it_is_mapped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a;b\n" + "\n".join(f"a text of one cell; number {n}" for n in range(ROWS)))
    report = leakscan(str(path), columns={"text": "a;b"})
    assert report.levels["text"].sides["train"].checked == ROWS


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("behind", [b"\0", "another"])
def test_arrays_behind_the_first_of_an_npy_are_not_passed_over(tmp_path, compressed, behind):
    rows = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
    out = io.BytesIO()
    np.save(out, rows[:5])
    if behind == "another":
        np.save(out, rows[5:])
    else:
        out.write(behind)
    path = tmp_path / "a.npy"
    path.write_bytes(out.getvalue())
    if compressed:
        path = tmp_path / "a.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("vector.npy", out.getvalue())
    assert "the header promises (5, 4) float32, 80 bytes, but" in refusal(path)


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.ones(32, np.float32), "(32,) float32"),
        (np.ones((4, 2, 4), np.float32), "(4, 2, 4) float32"),
        (np.ones((4, 2), bool), "(4, 2) bool"),
        (np.ones((4, 2), np.complex64), "(4, 2) complex64"),
        (np.float32(1), "() float32"),
        (np.array(["a", "b"]), "(2,) <U1"),
        (np.zeros(3, [("vector", "f4", 8)]), "(3,) [('vector', '<f4', (8,))]"),
    ],
)
def test_an_array_that_is_no_vectors_is_named_as_what_it_is(tmp_path, array, got):
    path = tmp_path / "a.npy"
    np.save(path, array)
    assert refusal(path) == f"{path}: vector: expected (n, d) float, got {got}"


def test_a_header_that_is_not_of_python_is_shown(tmp_path):
    path = tmp_path / "a.npy"
    header = b"{'descr':'<f4','fortran_order':false,'shape':(1,1)}\n"
    path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + b"\0\0\0\0")
    assert "broken .npy header: expected a dict of descr, fortran_order and shape, got" in refusal(path)


def test_columns_in_names_of_folders_are_said_not_to_be_read(tmp_path):
    for lang in ("de", "en"):
        folder = tmp_path / "all" / f"lang={lang}" / "doc_id=7"
        folder.mkdir(parents=True)
        (folder / "part-0.json").write_text(json.dumps({"text": f"a text of some length in {lang}"}))
    notes = load_split(str(tmp_path / "all")).notes
    assert notes == (f"{tmp_path / 'all'}: not read: doc_id, in names of folders",)
    assert load_split(str(Path(tmp_path / "all" / "lang=de" / "doc_id=7"))).notes == ()


def test_what_follows_a_short_gzip_stream(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(LINES.encode()) + b"more of it")
    assert refusal(path) == f"{path}: what follows the gzip data is no gzip data"


@pytest.mark.parametrize("write", [to_arrow, to_stream, pq.write_table])
@pytest.mark.parametrize("ids", ["numbers", "categories"])
def test_batches_of_a_row_are_read_many_at_a_time(tmp_path, write, ids):
    rows = 700
    table = pa.table(
        {
            "doc_id": pa.array([None if n % 9 == 0 else n // 2 for n in range(rows)]),
            "text": [None if n % 7 == 0 else f"text number {n}, naïve" * (n % 4) for n in range(rows)],
            "vector": pa.array([[n, -n, 1.5] for n in range(rows)], pa.list_(pa.float32())),
        }
    )
    if ids == "categories":
        table = table.set_column(0, "doc_id", table["doc_id"].cast(pa.string()).dictionary_encode())
    path = tmp_path / "a"
    path = path.with_suffix(".parquet" if write is pq.write_table else ".arrow")
    if write is pq.write_table:
        with pq.ParquetWriter(path, table.schema) as out:
            for n in range(rows):
                out.write_table(table.slice(n, 1))
    else:
        new = pa.ipc.new_file if write is to_arrow else pa.ipc.new_stream
        with new(str(path), table.schema) as out:
            for n in range(rows):
                out.write_table(table.slice(n, 1))
    split = load_split(str(path))
    batches = list(split.batches(("doc_id", "text", "vector"), 300))
    assert [batch.start for batch in batches] == np.cumsum([0, *(b.rows for b in batches[:-1])]).tolist()
    assert max(batch.rows for batch in batches) <= 300
    assert ids == "categories" or len(batches) == 3
    assert [text for batch in batches for text in batch.text.to_pylist()] == table["text"].to_pylist()
    found = [None if i is None else str(i) for batch in batches for i in batch.doc_id.to_pylist()]
    assert found == table["doc_id"].cast(pa.string()).to_pylist()
    assert np.concatenate([batch.vector for batch in batches]).tolist() == table["vector"].to_pylist()
    wanted = np.array([0, 3, 299, 300, 650])
    assert split.take(wanted, ("text",))["text"].to_pylist() == table["text"].take(wanted).to_pylist()


@pytest.mark.parametrize("place", ["part-0", "part-2"])
@pytest.mark.parametrize("content", [b"", b"\n"])
def test_a_part_without_rows_is_divided_with_the_others(tmp_path, place, content):
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / f"{place}.json.gz").write_bytes(gzip.compress(content))
    (folder / "part-1.json.gz").write_bytes(gzip.compress(LINES.encode()))
    split(str(folder), eval_docs=3, min_chunks_per_doc=1, out=tmp_path / "out")
    assert verify(tmp_path / "out").verified
    sides = [gzip.decompress(path.read_bytes()).decode() for path in (tmp_path / "out").glob("*.gz")]
    assert sorted("".join(sides).splitlines()) == sorted(LINES.splitlines())
    assert sorted(side.count("\n") for side in sides) == [3, ROWS - 3]


def test_a_part_without_rows_hides_no_null_ids(tmp_path):
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / "a.jsonl").write_text("")
    (folder / "b.jsonl").write_text('{"doc_id": null, "text": "a text of some length"}\n')
    with pytest.raises(DataError, match=r"b\.jsonl: doc_id: every id is null"):
        split(str(folder), eval_docs=1, min_chunks_per_doc=1, out=tmp_path / "out")
