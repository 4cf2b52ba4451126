"""Rows of files into files of the same format: values, types, bytes and metadata stay as they are."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.corpus import load_split
from lvmfast.corpus.rewriters import rows
from lvmfast.errors import DataError
from lvmfast.splits.rewrite import rewrite
from tests.support.corpus_reading import read

ROWS = 500


@pytest.fixture
def part():
    return np.random.default_rng(3).integers(-1, 2, ROWS).astype(np.int8)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of a few rows, so that every writer has to go round."""
    for module in ("array_files", "table_files"):
        monkeypatch.setattr(f"lvmfast.corpus.rewriters.{module}.BLOCK_BYTES", 1000)
    monkeypatch.setattr("lvmfast.corpus.csv._BLOCK_BYTES", 1000)
    monkeypatch.setattr("lvmfast.corpus.rewriters.table_files.GROUP_BYTES", 4000)


def arrays(rows: int = ROWS, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "truth_keys": rng.integers(0, 9, (rows, 2)),
        "targets": rng.normal(size=(rows, 8)).astype(np.float32),
        "provenance": np.array('{"embedder_id": "e"}'),
        "half": rng.normal(size=(rows, 3)).astype(np.float16).view("V2"),
        "big_endian": np.arange(rows, dtype=">i4"),
        "fortran": np.asfortranarray(rng.normal(size=(rows, 3, 2))),
        "title": np.array([f"title {i}" for i in range(rows)]),
        "stamp": np.arange(rows).astype("datetime64[s]"),
        "record": np.zeros(rows, [("a", "<i4"), ("b", "<f8", (2,))]),
        "edges": np.arange(7),
        "scalar": np.array(3.5),
    }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_keeps_every_member(tmp_path, part, save):
    members = arrays()
    save(tmp_path / "in.npz", **members)
    with zipfile.ZipFile(tmp_path / "in.npz", "a") as archive:
        archive.writestr("README.txt", "about")
    targets = [tmp_path / "0.npz", tmp_path / "1.npz"]
    rewrite([str(tmp_path / "in.npz")], [part], targets)
    with zipfile.ZipFile(tmp_path / "in.npz") as source:
        kinds = [(info.filename, info.compress_type) for info in source.infolist()]
    for place, target in enumerate(targets):
        with zipfile.ZipFile(target) as archive:
            assert [(info.filename, info.compress_type) for info in archive.infolist()] == kinds
            assert archive.testzip() is None
            assert archive.read("README.txt") == b"about"
        with np.load(target) as got:
            for name, values in members.items():
                expected = values[part == place] if values.shape[:1] == (ROWS,) else values
                assert got[name].dtype == values.dtype, name
                assert got[name].tobytes() == np.ascontiguousarray(expected).tobytes(), name
        assert load_split(target).provenance == {str(target): {"embedder_id": "e"}}


def test_npz_files_one_after_the_other(tmp_path, part):
    one, two = arrays(), arrays(30, seed=1)
    two["title"] = np.array([f"a longer title {i}" for i in range(30)])
    np.savez(tmp_path / "a.npz", **one)
    np.savez_compressed(tmp_path / "b.npz", **two)
    where = np.arange(30, dtype=np.int8) % 2
    rewrite(
        [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")],
        [part, where],
        [tmp_path / "0.npz", tmp_path / "1.npz"],
    )
    for place in (0, 1):
        with np.load(tmp_path / f"{place}.npz") as got:
            for name in ("targets", "title", "fortran"):
                both = [one[name][part == place], two[name][where == place]]
                np.testing.assert_array_equal(got[name], np.concatenate(both))
            np.testing.assert_array_equal(got["edges"], one["edges"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": np.arange(8)}, "b.npz: edges: differs from that of"),
        ({"targets": np.zeros((30, 8))}, r"b.npz: expected float32 rows of \(8,\) as in .*, got float64"),
        ({"targets": np.zeros((30, 4), np.float32)}, r"b.npz: expected float32 rows of \(8,\)"),
        ({"stamp": np.arange(29)}, r"b.npz: stamp: expected an array of 30 rows, got the shape \(29,\)"),
        ({"more": np.arange(30)}, "a.npz: no member 'more.npy', which .*b.npz has"),
    ],
)
def test_npz_files_that_do_not_go_together(tmp_path, part, change, message):
    np.savez(tmp_path / "a.npz", **arrays())
    np.savez(tmp_path / "b.npz", **(arrays(30) | change))
    with pytest.raises(DataError, match=message):
        rewrite(
            [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")],
            [part, np.zeros(30, np.int8)],
            [tmp_path / "0.npz", tmp_path / "1.npz"],
        )


def test_a_pickle_is_copied_whole_or_refused(tmp_path):
    vectors = np.eye(4, dtype=np.float32)
    odd = np.array([{"a": 1}, None], dtype=object)
    np.savez(tmp_path / "a.npz", targets=vectors, notes=odd)
    rewrite([str(tmp_path / "a.npz")], [np.array([0, -1, 0, -1], np.int8)], [tmp_path / "0.npz"])
    with np.load(tmp_path / "0.npz", allow_pickle=True) as got:
        assert got["notes"].tolist() == odd.tolist()
        assert len(got["targets"]) == 2
    np.savez(tmp_path / "b.npz", targets=vectors, notes=np.array([{}, 1, 2, 3], dtype=object))
    with pytest.raises(DataError, match=r"b.npz: notes: 4 pickled values, which cannot be cut"):
        rewrite([str(tmp_path / "b.npz")], [np.zeros(4, np.int8)], [tmp_path / "1.npz"])


def test_npy(tmp_path, part):
    values = np.random.default_rng(0).normal(size=(ROWS, 5)).astype(np.float16)
    np.save(tmp_path / "in.npy", values)
    rewrite([str(tmp_path / "in.npy")], [part], [tmp_path / "0.npy", tmp_path / "1.npy"])
    for place in (0, 1):
        got = np.load(tmp_path / f"{place}.npy")
        assert got.dtype == values.dtype
        np.testing.assert_array_equal(got, values[part == place])
    with pytest.raises(DataError, match="expected the 7 rows that were scanned, found 500"):
        rewrite([str(tmp_path / "in.npy")], [part[:7]], [tmp_path / "2.npy", tmp_path / "3.npy"])


def table() -> pa.Table:
    vectors = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
    columns = {
        "doc_id": pa.array([None if i % 7 == 0 else i // 10 for i in range(ROWS)]),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4),
        "text": pa.array([f"text {i}" * (i % 5) for i in range(ROWS)], pa.large_string()),
        "kind": pa.array(["x", "y"] * (ROWS // 2)).dictionary_encode(),
        "meta": pa.array([{"a": i, "b": [i] * (i % 3)} for i in range(ROWS)]),
    }
    return pa.table(columns).replace_schema_metadata({"made": "here"})


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_parquet_keeps_schema_metadata_compression_and_row_groups(tmp_path, part, compression):
    whole = table()
    pq.write_table(whole, tmp_path / "in.parquet", row_group_size=60, compression=compression)
    rewrite([str(tmp_path / "in.parquet")], [part], [tmp_path / "0.parquet", tmp_path / "1.parquet"])
    before = pq.ParquetFile(tmp_path / "in.parquet")
    for place in (0, 1):
        after = pq.ParquetFile(tmp_path / f"{place}.parquet")
        assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True)
        expected = pq.read_table(tmp_path / "in.parquet").filter(pa.array(part == place))
        assert after.read().equals(expected)
        assert max(after.metadata.row_group(i).num_rows for i in range(after.num_row_groups)) <= 60
        chunk = after.metadata.row_group(0).column(0)
        assert chunk.compression == before.metadata.row_group(0).column(0).compression
        after.close()
    before.close()


def test_parquet_in_the_lz4_of_hadoop(tmp_path, part):
    """Codec 5 of the format, which fastparquet and Spark write, where pyarrow writes 7."""
    source, target = tmp_path / "in.parquet", tmp_path / "0.parquet"
    pq.write_table(table(), source, compression="lz4")
    content = source.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    of_column = b"\x15\x0a\x16"  # its codec, and the field behind it
    source.write_bytes(content[:footer] + content[footer:].replace(b"\x15\x0e\x16", of_column))
    assert pq.ParquetFile(source).metadata.row_group(0).column(0).compression == "UNKNOWN"
    rewrite([str(source)], [part], [target, tmp_path / "1.parquet"])
    columns = pq.ParquetFile(target).metadata.row_group(0)
    assert {columns.column(place).compression for place in range(columns.num_columns)} == {"LZ4"}
    assert pq.read_table(target).equals(table().filter(pa.array(part == 0)))


@pytest.mark.parametrize("create", [pa.ipc.new_file, pa.ipc.new_stream])
def test_arrow_keeps_its_format(tmp_path, part, create):
    whole = table()
    with create(str(tmp_path / "in.arrow"), whole.schema) as writer:
        writer.write_table(whole, max_chunksize=170)
    rewrite([str(tmp_path / "in.arrow")], [part], [tmp_path / "0.arrow", tmp_path / "1.arrow"])
    opened = pa.ipc.open_file if create is pa.ipc.new_file else pa.ipc.open_stream
    for place in (0, 1):
        with pa.memory_map(str(tmp_path / f"{place}.arrow")) as mapped:
            got = opened(mapped).read_all()
            assert got.equals(whole.filter(pa.array(part == place)))
            assert got.schema.equals(whole.schema, check_metadata=True)


def test_tables_of_other_schemas(tmp_path):
    pq.write_table(pa.table({"doc_id": [1], "text": ["a"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"doc_id": ["1"], "text": ["a"]}), tmp_path / "b.parquet")
    one = np.zeros(1, np.int8)
    sources = [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]
    with pytest.raises(
        DataError, match=r"b.parquet: expected the schema of .*: doc_id: string instead of int64"
    ):
        rewrite(sources, [one, one], [tmp_path / "0.parquet"])
    np.save(tmp_path / "c.npy", np.eye(1))
    with pytest.raises(DataError, match=r"c.npy: npy beside the parquet of"):
        rewrite([str(tmp_path / "a.parquet"), str(tmp_path / "c.npy")], [one, one], [tmp_path / "1.parquet"])


CODECS = {
    ".gz": gzip,
    ".bz2": bz2,
    ".xz": lzma,
    ".zst": SimpleNamespace(
        compress=lambda data: pa.compress(data, codec="zstd", asbytes=True),
        decompress=lambda data: pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(),
    ),
}


def compressed(path, data: bytes) -> None:
    codec = CODECS.get(path.suffix)
    path.write_bytes(data if codec is None else codec.compress(data))


def plain(path) -> bytes:
    codec, data = CODECS.get(path.suffix), path.read_bytes()
    return data if codec is None else codec.decompress(data)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".ndjson", ".jsonl.zst", ".jsonl.bz2", ".jl.xz"])
def test_jsonl_lines_stay_as_they_are(tmp_path, part, suffix):
    end = "\r"
    lines = [f' {{"doc_id":{i}, "text": "\\u00e4 ä", "x": 1.0}}{end * (i % 2)}'.encode() for i in range(ROWS)]
    data = b"\xef\xbb\xbf" + b"\n \n".join(lines)
    compressed(tmp_path / f"in{suffix}", data)
    targets = [tmp_path / f"{place}{suffix}" for place in (0, 1)]
    rewrite([str(tmp_path / f"in{suffix}")], [part], targets)
    for place, target in enumerate(targets):
        kept = [line for line, to in zip(lines, part, strict=True) if to == place]
        assert plain(target) == b"".join(line + b"\n" for line in kept)


FIELD = st.text(st.sampled_from('a",\n\r ä\N{SNOWMAN}\x85'), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=12),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    newline=st.sampled_from(["\n", "\r\n"]),
    seed=st.integers(0, 99),
)
def test_csv_records_stay_as_they_are(tmp_path_factory, records, quoting, newline, seed):
    folder = tmp_path_factory.mktemp("csv")
    out = io.StringIO(newline="")
    # Told that lines end in both, it quotes a field that holds one of them, as it must to be read back.
    writer = csv.writer(out, quoting=quoting, lineterminator="\r\n")
    raw = []
    for record in [("doc_id", "text"), *records]:
        out.seek(0)
        out.truncate()
        writer.writerow(record)
        raw.append(out.getvalue().removesuffix("\r\n") + newline)
    (folder / "in.csv").write_bytes((raw[0] + newline + newline.join(raw[1:])).encode())
    part = np.random.default_rng(seed).integers(-1, 2, len(records)).astype(np.int8)
    rewrite([str(folder / "in.csv")], [part], [folder / "0.csv", folder / "1.csv"])
    for place in (0, 1):
        kept = [line for line, to in zip(raw[1:], part, strict=True) if to == place]
        assert (folder / f"{place}.csv").read_bytes().decode() == raw[0] + "".join(kept)
        if kept:
            assert len(read(folder / f"{place}.csv")["text"]) == len(kept)


@settings(max_examples=60, deadline=None)
@given(
    start=st.sampled_from(["", "\ufeff", "\n", "\ufeff\r\n\r"]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    cells=st.lists(st.sampled_from(["x", '5"', '"a,b"', '"\r\n"', '"""\n"', '""', " ", "ä"]), max_size=12),
    blank=st.sampled_from(["", "\n", "\r\n", "\r"]),
    end=st.booleans(),
    block=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_csv_rows_are_those_that_python_reads(
    tmp_path_factory, start, newline, cells, blank, end, block, seed
):
    folder = tmp_path_factory.mktemp("csv")
    records = [f"{row},{cell}" for row, cell in enumerate(cells)]
    text = (newline + blank).join([f"{start}doc_id,text", *records]) + (newline if end else "")
    (folder / "in.csv").write_bytes(text.encode())
    _, *rows = filter(None, csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))
    assert len(rows) == len(cells)
    part = np.random.default_rng(seed).integers(-1, 2, len(rows)).astype(np.int8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lvmfast.corpus.csv._BLOCK_BYTES", block)
        rewrite([str(folder / "in.csv")], [part], [folder / "0.csv", folder / "1.csv"])
    for place in (0, 1):
        with open(folder / f"{place}.csv", encoding="utf-8", newline="") as file:
            header, *kept = csv.reader(file, strict=True)
        assert header == ["doc_id", "text"]
        assert kept == [row for row, to in zip(rows, part, strict=True) if to == place]


@pytest.mark.parametrize(
    "text", ['doc_id,text\n1,"a\n2,b\n', 'doc_id,text\n1,"a"b\n', "doc_id,text\n1\n", ""]
)
def test_what_the_reader_refuses_is_not_written(tmp_path, text):
    (tmp_path / "in.csv").write_text(text)
    for action in (
        lambda: read(tmp_path / "in.csv"),
        lambda: rewrite([str(tmp_path / "in.csv")], [np.zeros(1, np.int8)], [tmp_path / "0.csv"]),
    ):
        with pytest.raises(DataError, match=r"in\.csv: (line 2|expected a line of field names)"):
            action()


def test_commas_and_tabs_do_not_mix(tmp_path):
    (tmp_path / "a.tsv").write_text("doc_id\ttext\n1\ta,b\n")
    rewrite([str(tmp_path / "a.tsv")], [np.zeros(1, np.int8)], [tmp_path / "0.tsv"])
    assert (tmp_path / "0.tsv").read_text() == "doc_id\ttext\n1\ta,b\n"
    with pytest.raises(DataError, match=r"a\.tsv: cannot go to 0\.csv"):
        rewrite([str(tmp_path / "a.tsv")], [np.zeros(1, np.int8)], [tmp_path / "0.csv"])


def test_csv_with_stray_quotes_long_fields_and_gzip(tmp_path):
    long = "x" * 200_000
    text = f'doc_id,text\r\n1,5" disk\r\n2,"{long}"\n3,"two\nlines, ""quoted"""\n4,no newline at the end'
    with gzip.open(tmp_path / "in.csv.gz", "wb") as file:
        file.write(b"\xef\xbb\xbf" + text.encode())
    limit = csv.field_size_limit()
    part = np.array([0, 1, 0, 1], np.int8)
    rewrite([str(tmp_path / "in.csv.gz")], [part], [tmp_path / "0.csv.gz", tmp_path / "1.csv.gz"])
    assert csv.field_size_limit() == limit
    assert gzip.decompress((tmp_path / "0.csv.gz").read_bytes()).decode() == (
        'doc_id,text\r\n1,5" disk\r\n3,"two\nlines, ""quoted"""\n'
    )
    assert plain(tmp_path / "1.csv.gz").decode() == f'doc_id,text\r\n2,"{long}"\n4,no newline at the end\n'
    (tmp_path / "other.csv").write_text("text,doc_id\na,1\n")
    with pytest.raises(DataError, match=r"other.csv: expected the header \['doc_id', 'text'\]"):
        rewrite(
            [str(tmp_path / "in.csv.gz"), str(tmp_path / "other.csv")],
            [part, part[:1]],
            [tmp_path / "2.csv", tmp_path / "3.csv"],
        )


def test_a_file_that_has_grown_is_refused(tmp_path):
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"doc_id": i}) + "\n" for i in range(9)))
    with pytest.raises(DataError, match="expected the 8 rows that were scanned, found 9"):
        rewrite([str(tmp_path / "in.jsonl")], [np.zeros(8, np.int8)], [tmp_path / "0.jsonl"])
    assert rows.GROUP_BYTES > rows.BLOCK_BYTES
