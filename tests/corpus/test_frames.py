"""Frames, rows, texts and batches in memory are read as a pyarrow table of the same rows is."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import lvmfast
from lvmfast.corpus import load_split
from lvmfast.corpus.paths import are_texts
from lvmfast.errors import DataError

ROWS = [{"doc_id": i, "text": None if i == 7 else f"text {i} é", "vector": [i, 0.5, -i]} for i in range(2500)]
ROWS = [{**row, "vector": [float(x) for x in row["vector"]]} for row in ROWS]
TEXTS = [row["text"] or "" for row in ROWS]


class Frame:
    """What is known of a frame: that it gives a stream of Arrow's."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


class Numbered:
    """What is known of a torch Dataset."""

    def __init__(self, rows):
        self._rows = rows

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, row):
        if row >= len(self._rows):
            raise IndexError(row)
        return self._rows[row]


class Loader:
    """What is known of a DataLoader: batches by column, as often as they are asked for."""

    dataset = None

    def __len__(self):
        return 3

    def __iter__(self):
        for start in range(0, len(ROWS), 1000):
            part = ROWS[start : start + 1000]
            columns = {name: [row[name] for row in part] for name in ROWS[0]}
            yield {**columns, "vector": np.array(columns["vector"], np.float32)}


def parts(make=lambda part: part):
    return (make(ROWS[start : start + 700]) for start in range(0, len(ROWS), 700))


TABLE = pa.Table.from_pylist(ROWS)
SOURCES = {
    "pandas": lambda: pd.DataFrame(ROWS),
    "polars": lambda: pl.DataFrame(ROWS),
    "lazy": lambda: pl.LazyFrame(ROWS),
    "stream": lambda: Frame(TABLE),
    "reader": lambda: TABLE.to_reader(300),
    "rows": lambda: ROWS,
    "rows with gaps": lambda: [{k: v for k, v in row.items() if v is not None} for row in ROWS],
    "torch": lambda: Numbered(ROWS),
    "loader": Loader,
    "batches of rows": parts,
    "batches of frames": lambda: parts(pl.DataFrame),
    "batches of tables": lambda: parts(pa.Table.from_pylist),
    "row by row": lambda: iter(ROWS),
}


def columns_of(source):
    split = load_split(source)
    found = [], [], []
    for _ in range(2):  # a scan reads more than once
        found = [], [], []
        for batch in split.batches(("doc_id", "text", "vector"), 999):
            for values, column in zip(found, (batch.doc_id, batch.text, batch.vector), strict=True):
                values += column.tolist() if isinstance(column, np.ndarray) else column.to_pylist()
    assert split.rows == len(found[0])
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_it_is_what_the_table_is(name):
    assert columns_of(SOURCES[name]()) == columns_of(TABLE)


@pytest.mark.heavy
def test_hugging_face_streams_are_what_the_table_is():
    datasets = pytest.importorskip("datasets")
    stream = datasets.Dataset(TABLE).to_iterable_dataset()
    assert columns_of(stream) == columns_of(TABLE)
    typed = datasets.IterableDataset.from_generator(lambda: iter(ROWS[8:]))
    assert columns_of(typed) == columns_of(TABLE.slice(8))
    both = datasets.DatasetDict({"train": datasets.Dataset(TABLE), "test": datasets.Dataset(TABLE)})
    for splits in (both, datasets.IterableDatasetDict({"train": stream, "test": typed})):
        with pytest.raises(DataError, match=r"give one of its splits: dataset\['train'\], dataset\['test'\]"):
            load_split(splits)
    for one in (datasets.DatasetDict(train=both["train"]), datasets.IterableDatasetDict(train=stream)):
        assert columns_of(one) == columns_of(TABLE)


@pytest.mark.parametrize(
    "source",
    [TEXTS, tuple(TEXTS), np.array(TEXTS), pd.Series(TEXTS), pl.Series(TEXTS), iter(TEXTS), pa.array(TEXTS)],
    ids=lambda source: type(source).__name__,
)
def test_texts_alone_are_the_texts_of_rows(source):
    batches = list(load_split(source).batches(("text",)))
    assert [text for batch in batches for text in batch.text.to_pylist()] == TEXTS


def test_strings_that_could_be_paths_are_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a folder").mkdir()
    for strings in (
        ["one"],
        ["a folder"],
        ["a b.jsonl"],
        ["a b", "x.npz"],
        ["a b", "s3://b/c d"],
        ["a b", "*"],
    ):
        assert not are_texts(strings), strings
    for strings in (["a b"], ["one", "two words"], ["what is 2 * 3?"], ["a \0 b"], ["long " * 2000]):
        assert are_texts(strings), strings
    with pytest.raises(DataError, match="no such file"):
        load_split(["nowhere"])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ([{"text": "a b"}, {"text": 5}], "<rows>: text: "),
        ([1, 2], "expected rows as dicts, .* got a list of int"),
        ([("a", 1)], "expected rows as dicts, .* got a list of tuple"),
        (Numbered([("a", 1)]), "<dataset>: expected rows as dicts"),
        ([], "expected paths, .* got nothing"),
        (iter(()), "<batches>: there is none"),
        (iter([[{"text": "a"}], [{"text": [1]}]]), "<batches>: batch 1: text: "),
        (iter([[{"text": "a"}], [{"text": "a", "body": "b"}]]), "batch 1: body: a field that the first"),
        (iter([{"text": ["a"]}, 7]), "batch 1: expected rows as dicts, .* got a int"),
        (7, "expected paths, .* got int"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_read_is_told(source, told):
    with pytest.raises(DataError, match=told):
        list(load_split(source).batches(("text",)))


def test_batches_leave_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    split = load_split(parts())
    assert len(list(tmp_path.iterdir())) == 1
    del split
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError):
        load_split(iter([{"text": ["a"]}, 7]))
    assert list(tmp_path.iterdir()) == []


def test_texts_are_scanned_against_a_frame():
    report = lvmfast.leakscan(
        pl.DataFrame(ROWS), ["text 3 é", "a text of no row"], min_chars=1, levels=["text"]
    )
    assert str(report).startswith("LEAK: text=1/2")
