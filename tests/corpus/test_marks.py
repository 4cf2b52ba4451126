"""Rows of lines that are read again, against all rows of the file by `json`."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lvmfast.corpus.lines
from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from lvmfast.stores.objects import LocalFile

PACKERS = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}
BLANK = st.sampled_from(["", " ", "\t", "\r", "\x0b "])
TEXT = st.text('aé\n"{}[]\\', max_size=40)


@pytest.fixture
def blocks_of_200_bytes(monkeypatch):
    monkeypatch.setattr(lvmfast.corpus.lines, "_BLOCK_BYTES", 200)


def written(path, lines, *, bom=False, end="\n", last=True):
    data = end.join(lines) + (end if last else "")
    path.write_bytes(
        PACKERS[path.suffix if path.suffix in PACKERS else ""](b"\xef\xbb\xbf" * bom + data.encode())
    )
    return path


@given(
    st.lists(st.one_of(TEXT, BLANK.map(lambda blank: (blank,))), min_size=1, max_size=60),
    st.sampled_from(sorted(PACKERS)),
    st.data(),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_found_again(tmp_path, blocks_of_200_bytes, items, suffix, data, bom, end, last):
    texts = ["first", *(item for item in items if isinstance(item, str))]
    lines = [item[0] if isinstance(item, tuple) else json.dumps({"n": 1, "text": item}) for item in items]
    lines = [json.dumps({"text": "first"}), *lines]
    split = load_split(written(tmp_path / f"a.jsonl{suffix}", lines, bom=bom, end=end, last=last))
    assert [text for batch in split.batches(("text",)) for text in batch.text.to_pylist()] == texts
    numbers = st.integers(0, len(texts) - 1)
    for _ in range(3):
        wanted = np.array(sorted(data.draw(st.sets(numbers))), np.int64)
        table = split.take(wanted, ("text",))
        assert table["row"].to_pylist() == wanted.tolist()
        assert table["text"].to_pylist() == [texts[row] for row in wanted]


@pytest.mark.parametrize("suffix", sorted(PACKERS))
@pytest.mark.parametrize("step", [1, 2, 3, 500, 9000])
def test_many_rows_of_a_block_are_read_with_it(tmp_path, suffix, step):
    path = written(
        tmp_path / f"a.jsonl{suffix}", [json.dumps({"text": f"text {row}"}) for row in range(20_000)]
    )
    split = load_split(path)
    assert sum(batch.rows for batch in split.batches(("text",))) == 20_000
    wanted = np.arange(0, 20_000, step)
    assert split.take(wanted, ("text",))["text"].to_pylist() == [f"text {row}" for row in wanted]


def test_of_a_plain_file_blocks_without_wanted_rows_are_not_read(tmp_path, monkeypatch, blocks_of_200_bytes):
    path = written(tmp_path / "a.jsonl", [json.dumps({"text": f"text {row:05}"}) for row in range(1000)])
    split = load_split(path)
    assert sum(batch.rows for batch in split.batches(("text",))) == 1000
    read = []

    class Spied:
        def __init__(self, raw):
            self.raw = raw

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.raw.close()

        def seek(self, at):
            return self.raw.seek(at)

        def read(self, size):
            read.append(size)
            return self.raw.read(size)

    real = LocalFile.open
    monkeypatch.setattr(LocalFile, "open", lambda self, *stages: Spied(real(self, *stages)))
    table = split.take(np.array([7, 8, 500, 999]), ("text",))
    assert table["text"].to_pylist() == ["text 00007", "text 00008", "text 00500", "text 00999"]
    assert 0 < sum(read) < 1000 < path.stat().st_size


@pytest.mark.parametrize("suffix", sorted(PACKERS))
def test_a_file_that_became_shorter_is_named(tmp_path, suffix, blocks_of_200_bytes):
    lines = [json.dumps({"text": f"text {row}"}) for row in range(300)]
    split = load_split(written(tmp_path / f"a.jsonl{suffix}", lines))
    assert sum(batch.rows for batch in split.batches(("text",))) == 300
    written(tmp_path / f"a.jsonl{suffix}", lines[:100])
    with pytest.raises(DataError, match=r"a\.jsonl.*: changed while it was read"):
        split.take(np.array([3, 250]), ("text",))


def test_what_became_broken_is_told_with_its_line(tmp_path, blocks_of_200_bytes):
    lines = [json.dumps({"text": f"text {row:03}"}) for row in range(300)]
    lines[100:100] = [""] * 5
    path = written(tmp_path / "a.jsonl", lines)
    split = load_split(path)
    assert sum(batch.rows for batch in split.batches(("text",))) == 300
    path.write_bytes(path.read_bytes().replace(b'"text 250"}', b'"text 250" '))
    with pytest.raises(DataError, match=r"a\.jsonl: line 256, column"):
        split.take(np.array([3, 100, 250]), ("text",))
