"""Records of csv against Python's own `csv` with strict=True, pandas and polars, however blocks are cut."""

import csv
import io
import os
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import lvmfast.corpus.csv
import lvmfast.corpus.streams
from lvmfast.cli import app
from lvmfast.corpus import load_split
from lvmfast.corpus.budget import reading_within
from lvmfast.errors import DataError
from tests.support.corpus_reading import read

FUNCTION_SCOPED = [HealthCheck.function_scoped_fixture]


def python_reads(data):
    """The columns `doc_id` and `text` as Python has them, or None where it, or the header, refuses them."""
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        records = [record for record in csv.reader(io.StringIO(text, newline=""), strict=True) if record]
        header, *rows = records
        if any(len(row) != len(header) for row in rows):
            return None
        places = header.index("doc_id"), header.index("text")
        ids, texts = ([row[place] for row in rows] for place in places)
        "".join([*header, *ids, *texts]).encode()  # what was not UTF-8 is a surrogate now
    except (csv.Error, ValueError):
        return None
    return [cell or None for cell in ids], texts


def we_read(path):
    try:
        split = load_split(path)
        rows = read(path)
    except DataError as error:
        message = str(error)
    else:
        return (rows["doc_id"] or [], rows["text"] or []) if split.columns == {"doc_id", "text"} else None
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return None


PIECES = st.sampled_from(['"', '""', ",", "\n", "\r", "\r\n", "x", "yz", " ", "ä", "\N{SNOWMAN}"])
WELL_FORMED = st.lists(st.tuples(st.text('x,"\r\n ä', max_size=6), st.text('x,"\r\n ä', max_size=6)))


@settings(max_examples=150, deadline=None, suppress_health_check=FUNCTION_SCOPED)
@given(
    bom=st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb", b"\xef\xbb\xbf\xef\xbb\xbf"]),
    header=st.sampled_from(
        ["text,doc_id", "doc_id,text", 'text,"doc_id"', "x,text,doc_id", "\n\r\ntext,doc_id"]
    ),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    body=st.lists(PIECES, max_size=30).map("".join)
    | st.tuples(WELL_FORMED, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    broken=st.none()
    | st.tuples(st.integers(0, 60), st.sampled_from([b"\xff", b"\xc3", b"\xa4", b"\xed\xa0\x80"])),
    block=st.integers(1, 60),
)
@example(b"", "text,doc_id", "\n", '"x,1\n', None, 3)
@example(b"", "text,doc_id", "\n", '"x"y,1\n', None, 3)
@example(b"", "text,doc_id", "\r\n", '"x\r\ny",1', None, 1)
@example(b"", "text,doc_id", "\n", "x,\xe4", (14, b"\xc3"), 60)
def test_any_bytes_in_any_blocks_read_as_python_reads_them(
    tmp_path, monkeypatch, bom, header, newline, body, broken, block
):
    if not isinstance(body, str):
        rows, quoting = body
        out = io.StringIO(newline="")
        csv.writer(out, quoting=quoting, lineterminator=newline).writerows(rows)
        body = out.getvalue()
    data = bom + (header + newline + body).encode()
    if broken is not None:
        at = min(broken[0], len(data))
        data = data[:at] + broken[1] + data[at:]
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    monkeypatch.setattr(lvmfast.corpus.csv, "_BLOCK_BYTES", block)
    monkeypatch.setattr(lvmfast.corpus.streams, "_HEAD_BYTES", block)
    assert we_read(path) == python_reads(data)


def test_line_ends_inside_cells_stay_at_every_offset(tmp_path, monkeypatch):
    rows = [["1", "a\r\nb"], ["2", "\r\n"], ["3", "\r\r\n\n"], ["4", 'x"\r\n"']]
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows([["doc_id", "text"], *rows])
    path = tmp_path / "a.csv"
    path.write_bytes(out.getvalue().encode())
    for block in range(1, len(out.getvalue()) + 1):
        monkeypatch.setattr(lvmfast.corpus.csv, "_BLOCK_BYTES", block)
        got = read(path)
        assert [list(row) for row in zip(got["doc_id"], got["text"], strict=True)] == rows, block


@pytest.mark.parametrize("border", [8 << 20, 16 << 20])
@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_line_ends_inside_cells_stay_at_the_borders_of_blocks(tmp_path, border, shift):
    start = 'doc_id,text\n1,"'
    text = "x" * (border + shift - 1 - len(start)) + "\r\n" + "y" * 100
    (tmp_path / "a.csv").write_bytes(f'{start}{text}"\n2,z\n'.encode())
    assert read(tmp_path / "a.csv")["text"] == [text, "z"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('doc_id,text\n900,"he said\n1,a\n2,b\n', "line 2: the quote that opens a cell here is never closed"),
        ('doc_id,text\r\n1,"a"\r\n2,"b', "line 3: the quote that opens a cell here is never closed"),
        (
            'doc_id,text\n1,"a\nb"c\n',
            "line 3: expected a separator or the end of the line behind the quote that",
        ),
        ('doc_id,text\n1,"open\n2,"b"\n', "closes the cell opened in line 2"),
        ('doc_id,text\n\n"\n",b\n1,a,b\n', "line 5: expected 2 fields as in the header, found 3"),
        (b"doc_id,text\r1,\xe4\r", "line 2: text: not UTF-8"),
        (b"\xff\xfed\0o\0c\0_\0i\0d\0", "line 1: the header is not UTF-8"),
        ("\ufeff\n\r\n", "expected a line of field names, found none"),
        ("doc_id,text\n1," + "x" * 100 + "\n", "line 2: a record of over 100 bytes"),
        ('doc_id,text\n1,"' + "x\n" * 100, "a quote that opens a cell in line 2 is not closed"),
    ],
)
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_what_is_broken_is_named_by_its_line(tmp_path, monkeypatch, data, message, block):
    monkeypatch.setattr(lvmfast.corpus.csv, "_BLOCK_BYTES", block)
    monkeypatch.setattr(lvmfast.corpus.streams, "_HEAD_BYTES", block)
    monkeypatch.setattr(lvmfast.corpus.csv, "_LONGEST_RECORD", 100)
    path = tmp_path / "a.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(DataError) as caught:
        read(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_not_read_need_not_be_utf8(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"name,text\nB\xe4r,bear\n")
    assert read(tmp_path / "a.csv")["text"] == ["bear"]


def test_blank_lines_and_byte_order_marks_as_pandas_and_polars(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbf\n"doc_id",text\r\n\r\na,b\n\n\nc,"d\n\ne"\n\n')
    got = read(path)
    assert (got["doc_id"], got["text"]) == (["a", "c"], ["b", "d\n\ne"])
    frame = pd.read_csv(path)
    assert frame["text"].tolist() == got["text"]
    path.write_bytes(b'\xef\xbb\xbfdoc_id,text\na,b\nc,"d\n\ne"\n')
    assert pl.read_csv(path)["text"].to_list() == read(path)["text"] == got["text"]


def test_what_pandas_and_polars_write_comes_back(tmp_path):
    texts = ['say "x"', "a,b", "two\nlines", "two\r\nlines", "", " ", "\t", "ä", "'", "\\", "#", '"']
    frame = {"doc_id": [f"d{row}" for row in range(len(texts))], "text": texts}
    pd.DataFrame(frame).to_csv(tmp_path / "a.csv", index=False)
    pl.DataFrame(frame).write_csv(tmp_path / "b.csv")
    for name in "ab":
        got = read(tmp_path / f"{name}.csv")
        assert (got["doc_id"], got["text"]) == (frame["doc_id"], texts)


def test_a_record_as_long_as_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(lvmfast.corpus.csv, "_BLOCK_BYTES", 1000)
    texts = ["a" * 50_000, "", "b\n" * 20_000, "c"]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([["text", "n"], *([text, 1] for text in texts)])
    assert read(tmp_path / "a.csv")["text"] == texts


def test_a_header_longer_than_the_head(tmp_path):
    names = [f"field_{number:07}" for number in range(100_000)]
    cells = ",".join("x" for _ in names)
    (tmp_path / "a.csv").write_text(",".join([*names, "text"]) + f"\n{cells},a\n{cells},b\n")
    start = time.monotonic()
    assert read(tmp_path / "a.csv")["text"] == ["a", "b"]
    assert time.monotonic() - start < 20  # it took minutes when each name was counted among all


def test_rows_are_counted_without_a_column(tmp_path):
    (tmp_path / "a.csv").write_text('text\n"a\n"\n\n""\nb')
    split = load_split(tmp_path / "a.csv")
    assert sum(batch.rows for batch in split.batches(())) == split.rows == 3


def test_numbers_with_a_missing_one_as_pandas_writes_them(tmp_path):
    frame = pd.DataFrame({"doc_id": [7, None, 9], "text": ["a", "b", "c"]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(
        DataError, match=r"a.csv: doc_id: row 0: expected an integer or string id, got '7.0': "
    ):
        read(tmp_path / "a.csv")
    frame.astype({"doc_id": "Int64"}).to_csv(tmp_path / "a.csv", index=False)
    assert read(tmp_path / "a.csv")["doc_id"] == ["7", None, "9"]


def test_rows_of_vectors_over_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(lvmfast.corpus.csv, "_BLOCK_BYTES", 100)
    vectors = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    pd.DataFrame({"vector": [str(row) for row in vectors.tolist()]}).to_csv(tmp_path / "a.csv", index=False)
    assert np.array_equal(read(tmp_path / "a.csv")["vector"], vectors)


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "a.tsv.xz", "A.TSV"])
def test_tabs_between_the_cells_of_a_tsv(tmp_path, name):
    frame = pd.DataFrame({"doc_id": ["a", "b"], "text": ['with, commas\tand "tabs"', "two\r\nlines"]})
    frame.to_csv(tmp_path / name, sep="\t", index=False)
    got = read(tmp_path / name)
    assert got["doc_id"] == frame["doc_id"].tolist()
    assert got["text"] == frame["text"].tolist()
    (tmp_path / "b.tsv").write_text('doc_id\ttext\n1\t"open\n2\tx\n')
    with pytest.raises(DataError, match=r"b\.tsv: line 2: the quote that opens a cell here is never closed"):
        read(tmp_path / "b.tsv")


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs a command in `tmp_path`: its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        with pytest.raises(SystemExit) as left:
            app([*line.split(), "--quiet"])
        return (left.value.code, *capsys.readouterr())

    return run


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    assert header == ["doc_id", "text"]
    return rows


def test_commands_refuse_a_quote_that_is_never_closed(tmp_path, command):
    texts = [f"a sentence about subject number {row} that is long enough" for row in range(30)]
    whole = "doc_id,text\n" + "".join(f'{row},"{text}"\n' for row, text in enumerate(texts))
    (tmp_path / "cut.csv").write_text(whole[:-15])
    (tmp_path / "eval.csv").write_text("doc_id,text\n3," + texts[3] + "\n")
    (tmp_path / "whole.csv").write_text(whole)
    assert command("leakscan --train whole.csv --eval eval.csv --out report")[0] == 1
    for line in (
        "split cut.csv --eval-docs 2 --min-chunks-per-doc 1 --out out",
        "fingerprint cut.csv --out out.lvfp",
        "leakscan --train eval.csv --eval cut.csv",
    ):
        message = "lvmfast: cut.csv: line 31: the quote that opens a cell here is never closed\n"
        assert command(line) == (2, "", message), line
        assert sorted(os.listdir()) == ["cut.csv", "eval.csv", "report", "whole.csv"]
    code, _, told = command("clean --train cut.csv --eval eval.csv --report report --out out")
    assert code == 2
    assert told.startswith("lvmfast: cut.csv: not what report is a scan of")
    line = [sys.executable, "-m", "lvmfast", "leakscan", "--train", "cut.csv", "--eval", "eval.csv"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_commands_keep_line_ends_inside_cells(tmp_path, command):
    texts = [f'a sentence about\r\nsubject number {row}\rthat is "long{row}" enough' for row in range(40)]
    records = [[str(row), text] for row, text in enumerate(texts)]
    with open(tmp_path / "all.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\r\n\r\n").writerows([["doc_id", "text"], *records])
    assert command("split all.csv --eval-docs 5 --min-chunks-per-doc 1 --normalize none --out sides")[0] == 0
    train, held_out = rows_of(tmp_path / "sides" / "train.csv"), rows_of(tmp_path / "sides" / "eval.csv")
    assert len(held_out) == 5
    assert sorted(train + held_out) == sorted(records)
    assert command("verify sides")[0] == 0

    assert command("fingerprint all.csv --out all.lvfp --normalize none")[0] == 0
    pd.DataFrame(records[7:9], columns=["doc_id", "text"]).to_parquet(tmp_path / "eval.parquet")
    scan = "--eval eval.parquet --levels text --normalize none"
    assert command(f"leakscan --train all.lvfp {scan}")[:2] == (1, "LEAK: text=2/2\n")
    assert command(f"leakscan --train all.csv {scan} --out report")[:2] == (1, "LEAK: text=2/2\n")
    clean = "clean --train all.csv --eval eval.parquet --report report --drop train --out cleaned"
    assert command(clean)[0] == 0
    (cleaned,) = (tmp_path / "cleaned").rglob("all.csv")
    assert rows_of(cleaned) == records[:7] + records[9:]


@pytest.mark.parametrize("quoted", [True, False])
def test_a_record_is_held_to_the_memory_limit(tmp_path, quoted):
    """With its whole size, although no more is read of it than there is room for."""
    cell = "word " * (4 << 20)
    record = f'2,"{cell}"\n' if quoted else f"2,{cell}\n"
    start = "doc_id,text\n1,one\n" + "\n" * (9 << 20)  # blank lines are no record
    (tmp_path / "a.csv").write_text(f"{start}{record}3,three\n")
    with reading_within(300 << 20):
        tracemalloc.start()
        try:
            with pytest.raises(DataError) as caught:
                read(tmp_path / "a.csv")
            assert tracemalloc.get_traced_memory()[1] < 10 << 20
        finally:
            tracemalloc.stop()
    where = f"{tmp_path / 'a.csv'}: the record at byte {len(start):,}: expected at most 9.1 MiB"
    assert str(caught.value).startswith(where)
    assert f"got {len(record) / 2**20:.1f} MiB" in str(caught.value)
    with reading_within(500 << 20):
        assert read(tmp_path / "a.csv")["doc_id"] == ["1", "2", "3"]
