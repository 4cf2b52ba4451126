"""Rows of Arrow columns of every type, divided: values, types and metadata stay, and nothing else does."""

from __future__ import annotations

import datetime
import json
import struct

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast import clean, leakscan, split
from lvmfast.corpus import load_split
from lvmfast.corpus.arrow import record_batches
from lvmfast.corpus.messages import messages
from lvmfast.corpus.rewriters.taking import take
from lvmfast.errors import DataError
from lvmfast.splits.rewrite import rewrite
from tests.support.arrow_columns import IDS, TEXTS, VECTORS
from tests.support.arrow_files import ROWS, kept_as, texts, to_file, to_parquet, to_stream, vectors

NULLABLE = st.one_of(st.none(), st.text(max_size=20))


def others():
    """Types that are no column of any level."""
    numbers = pa.array(range(ROWS), pa.int32())
    words = pa.array([f"word {n}" for n in range(ROWS)])
    views = words.cast(pa.string_view())
    codes = pa.array([n % 2 for n in range(ROWS)], pa.int8())
    spread = pa.array([n // 2 for n in range(ROWS)], pa.int32())
    yield "null", pa.nulls(ROWS)
    yield "bool", pa.array([n % 2 == 0 for n in range(ROWS)])
    yield "bool8", pa.ExtensionArray.from_storage(pa.bool8(), codes)
    for type_, unit in (
        (pa.date32(), 1),
        (pa.date64(), 86_400_000),
        (pa.timestamp("ns", "UTC"), 1),
        (pa.duration("us"), 1),
        (pa.time32("ms"), 1),
    ):
        width = pa.int32() if type_.bit_width == 32 else pa.int64()
        yield str(type_), pa.array([n * unit for n in range(ROWS)], width).view(type_)
    yield "interval", pa.array([(1, 2, n) for n in range(ROWS)], pa.month_day_nano_interval())
    yield "decimal", numbers.cast(pa.decimal128(20, 3))
    yield "struct", pa.StructArray.from_arrays([numbers, views], ["a", "b"])
    yield "map", pa.array([[(f"k{n}", "v" * n)] for n in range(ROWS)], pa.map_(pa.string(), pa.string_view()))
    yield "sparse union", pa.UnionArray.from_sparse(codes, [numbers, words])
    yield "dense union", pa.UnionArray.from_dense(codes, spread, [numbers, words])
    yield "list of string_view", pa.array([["a", None] * n for n in range(ROWS)], pa.list_(pa.string_view()))
    yield (
        "list of dictionary",
        pa.ListArray.from_arrays(pa.array(range(ROWS + 1), pa.int32()), words.dictionary_encode()),
    )
    yield "ordered dictionary", pa.DictionaryArray.from_arrays(codes, ["lo", "hi"], ordered=True)


CARRIED = {
    **{f"id {name}": make(range(ROWS)) for name, (make, _) in IDS.items()},
    **{f"text {name}": make(texts(0, ROWS)) for name, make in TEXTS.items()},
    **{f"vectors {name}": make(vectors(ROWS)) for name, make in VECTORS.items() if name != "lists of runs"},
    **{
        f"windows {name}": make(vectors(ROWS, "int8", (2, 4)))
        for name, make in VECTORS.items()
        if name != "lists of runs"
    },
    **dict(others()),
}


def rows_of(table):
    return [repr(row) for row in table.to_pylist()]


def read_table(path):
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with open(path, "rb") as file:
        opened = pa.ipc.open_file if file.read(6) == b"ARROW1" else pa.ipc.open_stream
    return opened(path.read_bytes()).read_all()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("lvmfast.corpus.rewriters.table_files.BLOCK_BYTES", 300)


@pytest.mark.parametrize("container", ["parquet", "file", "stream"])
@pytest.mark.parametrize("name", CARRIED)
def test_rows_keep_values_and_types(tmp_path, container, name):
    table = pa.table({"n": range(ROWS), "other": CARRIED[name]}).replace_schema_metadata({"a": "b"})
    source = kept_as(container, table, tmp_path)
    part = np.random.default_rng(1).integers(-1, 2, ROWS).astype(np.int8)
    targets = [tmp_path / f"out{place}.{source.rsplit('.')[-1]}" for place in (0, 1)]
    rewrite([source], [part], targets)
    before = read_table(tmp_path / source)
    for place, target in enumerate(targets):
        after = read_table(target)
        after.validate(full=True)
        assert after.schema.equals(before.schema, check_metadata=True)
        # Arrow takes no rows of views and runs; it cuts and joins them.
        kept = pa.concat_tables([before.slice(row, 1) for row in np.flatnonzero(part == place)])
        assert rows_of(after) == rows_of(kept)


@pytest.mark.parametrize("write", [to_file, to_stream])
def test_a_union_of_views_is_refused_by_its_name(tmp_path, write):
    views = pa.array([f"word {n}" for n in range(4)], pa.string_view())
    union = pa.UnionArray.from_sparse(pa.array([0, 1, 0, 1], pa.int8()), [pa.array(range(4)), views])
    source = write(pa.table({"u": union}), tmp_path / "a.arrow")
    with pytest.raises(DataError, match=r"a\.arrow: u: rows of sparse_union<.*> cannot be taken"):
        rewrite([source], [np.array([0, 1, 0, 1], np.int8)], [tmp_path / "b.arrow", tmp_path / "c.arrow"])


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.lists(NULLABLE, max_size=4)), max_size=20),
    kind=st.sampled_from([pa.list_, pa.large_list, pa.list_view, pa.large_list_view]),
    data=st.data(),
)
def test_rows_of_lists_of_views_are_those_of_python(values, kind, data):
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    kept = data.draw(st.lists(st.booleans(), min_size=stop - start, max_size=stop - start))
    array = pa.array(values, kind(pa.string_view())).slice(start, stop - start)
    taken = take(array, np.flatnonzero(kept))
    taken.validate(full=True)
    assert taken.type == array.type
    assert taken.to_pylist() == [value for value, keep in zip(values[start:stop], kept, strict=True) if keep]


@pytest.mark.parametrize("write", [to_file, to_stream])
@pytest.mark.parametrize(
    "type_", [pa.string_view(), pa.list_view(pa.string_view()), pa.list_(pa.binary_view())]
)
def test_views_take_no_bytes_of_rows_that_are_not_there(tmp_path, write, type_):
    words = [f"{n:05}" * 50 for n in range(400)]
    values = words if type_ == pa.string_view() else [[w] for w in words]
    if type_ == pa.list_(pa.binary_view()):
        values = [[w.encode()] for [w] in values]
    table = pa.table({"n": range(400), "other": pa.array(values, type_)})
    source = tmp_path / "a.arrow"
    with pa.ipc.new_file(source, table.schema) as writer:
        writer.write_table(table)
    part = np.zeros(400, np.int8)
    part[::2] = 1
    targets = [tmp_path / "b.arrow", tmp_path / "c.arrow"]
    rewrite([str(source)], [part], targets)
    assert sum(target.stat().st_size for target in targets) < 3 * source.stat().st_size
    whole = tmp_path / "d.arrow"
    rewrite([str(source)], [np.zeros(400, np.int8)], [whole])
    assert whole.stat().st_size < 3 * source.stat().st_size


def categories(values, ordered=False):
    return pd.DataFrame({"doc_id": values, "lang": pd.Categorical(values, ordered=ordered)})


@pytest.mark.parametrize("end", ["parquet", "feather"])
@pytest.mark.parametrize(("first", "second"), [(2, 2), (100, 100), (100, 300), (300, 100)])
def test_categories_of_two_shards_are_united(tmp_path, end, first, second):
    """pandas picks the width of indices by the number of categories of each shard."""
    frames = [categories([f"{s}{n}" for n in range(rows)] * 2) for s, rows in (("a", first), ("b", second))]
    sources = [str(tmp_path / f"{name}.{end}") for name in "ab"]
    for frame, source in zip(frames, sources, strict=True):
        (frame.to_parquet if end == "parquet" else frame.to_feather)(source)
    parts = [np.arange(len(frame), dtype=np.int64) % 2 for frame in frames]
    targets = [tmp_path / f"{name}.{end}" for name in ("train", "eval")]
    rewrite(sources, [part.astype(np.int8) for part in parts], targets)
    for place, target in enumerate(targets):
        found = (pd.read_parquet if end == "parquet" else pd.read_feather)(target)
        expected = pd.concat([f[p == place] for f, p in zip(frames, parts, strict=True)]).astype(str)
        assert found["lang"].dtype == "category"
        assert found.astype(str).to_numpy().tolist() == expected.to_numpy().tolist()


@pytest.mark.parametrize("value_type", [pa.string(), pa.string_view(), pa.int64()])
def test_a_stream_whose_dictionaries_are_replaced_is_divided(tmp_path, value_type):
    batches = []
    for k in range(3):
        entries = pa.array([100 * k + n for n in range(4)]).cast(
            pa.string() if value_type != pa.int64() else value_type
        )
        lang = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3, 3], pa.int8()), entries.cast(value_type))
        batches.append(pa.record_batch({"n": range(5), "lang": lang}))
    with pa.ipc.new_stream(tmp_path / "a.arrow", batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    part = (np.arange(15) % 2).astype(np.int8)
    targets = [tmp_path / "b.arrow", tmp_path / "c.arrow"]
    rewrite([str(tmp_path / "a.arrow")], [part], targets)
    rows = [row for batch in batches for row in batch.to_pylist()]
    for place, target in enumerate(targets):
        assert read_table(target).to_pylist() == rows[place::2]


def whole(table):
    """Documents of four rows, so that something can be held out."""
    rows = [n // 4 for n in range(ROWS)]
    return {"doc_id": rows, "text": texts(0, ROWS)} | table


@pytest.mark.parametrize("container", ["parquet", "file", "stream"])
@pytest.mark.parametrize(
    ("column", "name"),
    [
        *(
            ("doc_id", name)
            for name in ("arrow.uuid", "decimal128", "binary digest", "dictionary of string_view")
        ),
        *(("text", name) for name in ("string_view", "dictionary of string_view", "arrow.json")),
        *(("vector", name) for name in ("list_view", "fixed_shape_tensor", "fixed_shape_tensor turned")),
        *(("other", name) for name in ("id runs of string_view", "map", "list of dictionary")),
    ],
)
def test_split_and_clean(tmp_path, container, column, name):
    made = {
        "doc_id": lambda: IDS[name][0]([n // 4 for n in range(ROWS)]),
        "text": lambda: TEXTS[name](texts(0, ROWS)),
        "vector": lambda: VECTORS[name](vectors(ROWS)),
        "other": lambda: CARRIED[name],
    }[column]()
    table = pa.table(whole({column: made}))
    source = kept_as(container, table, tmp_path)
    split(source, out=tmp_path / "split", eval_docs=2, min_chunks_per_doc=1)
    end = source.rsplit(".")[-1]
    parts = [read_table(tmp_path / "split" / f"{side}.{end}") for side in ("train", "eval")]
    assert sorted(row for part in parts for row in rows_of(part)) == sorted(rows_of(table))
    assert parts[1].num_rows == 8
    for part in parts:
        assert part.schema.equals(table.schema)
    held_out = str(tmp_path / "split" / f"eval.{end}")
    leakscan(source, held_out).save(tmp_path / "report")
    clean(source, held_out, report=tmp_path / "report", drop="train", out=tmp_path / "clean")
    left = tmp_path / "clean" / f"train.{end}"
    assert sorted(rows_of(read_table(left))) == sorted(rows_of(parts[0]))


def test_what_a_split_would_be_blind_to_is_refused(tmp_path):
    source = to_parquet(
        pa.table(whole({"text": pa.array([[t] for t in texts(0, ROWS)])})), tmp_path / "a.parquet"
    )
    with pytest.raises(DataError, match=r"a\.parquet: text: expected text, got list<"):
        split(source, out=tmp_path / "out", eval_docs=2)
    dates = pa.array([datetime.date(2020, 1, 1 + n // 4) for n in range(ROWS)])
    source = to_parquet(pa.table(whole({"doc_id": dates})), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: doc_id: expected integer or string ids, got date32"):
        split(source, out=tmp_path / "out", eval_docs=2)
    # A passage in pieces that is named context is no window, and without vectors nobody would ask.
    contexts = pa.array([[{"title": "t"}]] * ROWS)
    source = to_parquet(pa.table(whole({"context": contexts})), tmp_path / "c.parquet")
    certified = split(source, out=tmp_path / "out", eval_docs=2, min_chunks_per_doc=1)
    assert certified.certificate is not None
    assert json.loads((tmp_path / "out" / "clean.json").read_text())


@pytest.mark.parametrize("write", [to_file, to_stream])
@pytest.mark.parametrize("name", CARRIED)
def test_pieces_of_a_large_batch_are_its_rows(tmp_path, monkeypatch, write, name):
    monkeypatch.setattr("lvmfast.corpus.messages.PIECE_BYTES", 300)
    nulls = pa.array([None if n % 3 else n for n in range(ROWS)])
    flags = pa.array([None if n % 5 == 0 else n % 2 == 0 for n in range(ROWS)])
    table = pa.table({"n": nulls, "other": CARRIED[name], "flag": flags})
    source = write(table.slice(0, ROWS), tmp_path / "a.arrow")
    pieces = list(record_batches(source))
    for piece in pieces:
        piece.validate(full=True)
    read = pa.Table.from_batches(pieces)
    assert read.schema.equals(table.schema)
    assert rows_of(read) == rows_of(table)


@pytest.mark.parametrize("write", [to_file, to_stream])
def test_an_arrow_file_that_ends_anywhere_is_refused(tmp_path, write):
    source = tmp_path / "a.arrow"
    write(pa.table({"doc_id": [f"d{n}" for n in range(ROWS)], "text": texts(0, ROWS)}), source)
    content = source.read_bytes()
    # The mark behind the last message of a stream may be left out, and a stream may end behind any message.
    whole = range(len(content) - (8 if write is to_stream else 0), len(content) + 1)
    ends = []
    for end in range(len(content)):
        source.write_bytes(content[:end])
        try:
            dataset = load_split(str(source))
            rows = sum(batch.rows for batch in dataset.batches(("doc_id", "text")))
        except DataError as error:
            if not str(error).startswith(str(source)):
                raise
        else:
            ends.append((rows, end in whole))
    expected = [(rows, False) for rows in (7, 14, 21)]
    assert sorted({end for end in ends if not end[1] and end[0]}) == (expected if write is to_stream else [])
    assert all(rows == ROWS for rows, is_whole in ends if is_whole)


@pytest.mark.parametrize("options", [{}, {"compression": "lz4"}, {"unify_dictionaries": True}], ids=str)
@pytest.mark.parametrize("start", [b"\x04\0\0\0\xf2\xff\xff\xff", b"\xff\xff\xff\xff\0\0\0\0"])
def test_a_file_holds_what_its_footer_lists(tmp_path, options, start):
    """As polars writes it: the schema before the first batch is none that a stream could begin with."""
    words = pa.array(texts(0, ROWS))
    table = pa.table({"doc_id": range(ROWS), "text": words.dictionary_encode() if options else words})
    source = tmp_path / "a.arrow"
    with pa.ipc.new_file(source, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=7)
    content = bytearray(source.read_bytes())
    content[8 : 8 + len(start)] = start
    source.write_bytes(content)
    assert pa.ipc.open_file(str(source)).read_all().equals(table)
    assert pa.Table.from_batches(record_batches(str(source))).equals(table)
    batches = list(load_split(str(source)).batches(("doc_id", "text")))
    assert [text for batch in batches for text in batch.text.to_pylist()] == words.to_pylist()
    assert leakscan(str(source)).levels["text"].sides["train"].checked == ROWS


def test_batches_that_the_footer_does_not_list_are_none(tmp_path):
    """A message that is there twice in a footer, or not at all, is so for pyarrow too."""
    table = pa.table({"doc_id": range(ROWS), "text": texts(0, ROWS)})
    source = tmp_path / "a.arrow"
    to_file(table, source)
    content = bytearray(source.read_bytes())
    with open(source, "rb") as raw:
        listed = messages(str(source), raw, len(content))
    blocks = [struct.pack("<qi4xq", m.start, m.body - m.start, m.stop - m.body) for m in listed]
    place = content.rindex(blocks[0])
    content[place : place + 24] = blocks[-1]
    source.write_bytes(content)
    source.write_bytes(content)
    expected = pa.ipc.open_file(str(source)).read_all()
    assert expected["doc_id"].to_pylist() != table["doc_id"].to_pylist()
    assert pa.Table.from_batches(record_batches(str(source))).equals(expected)


@pytest.mark.parametrize("where", ["disk", "store"])
def test_what_stands_behind_a_stream_is_not_lost(tmp_path, where):
    """pyarrow reads the first of two streams in a file, and says nothing of the second."""
    source = tmp_path / "a.arrow"
    to_stream(pa.table({"doc_id": [f"d{n}" for n in range(ROWS)], "text": texts(0, ROWS)}), source)
    content = source.read_bytes()
    name = str(source) if where == "disk" else f"memory://behind/{tmp_path.name}/a.arrow"
    for behind in (b"", bytes(100), content, content[:3], b"\0\0x"):
        with fsspec.open(name, "wb") as out:
            out.write(content + behind)
        if behind.strip(b"\0"):
            with pytest.raises(DataError, match=r"a\.arrow: expected the end of the \w+ behind"):
                list(load_split(name).batches(("text",)))
        else:
            assert sum(batch.rows for batch in load_split(name).batches(("text",))) == ROWS
