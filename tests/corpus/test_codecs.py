"""Compressed files: many streams, padding, broken ends and large windows, against what Python wrote."""

import bz2
import gzip
import json
import lzma
import shutil
import subprocess
import tracemalloc
import zlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast import _core
from lvmfast.corpus import load_split
from lvmfast.corpus.streams import decompressed
from lvmfast.errors import DataError

PACK = {
    ".gz": gzip.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
EVERY = pytest.mark.parametrize("suffix", PACK)


def content(path, size=1 << 20):
    with decompressed(str(path)) as stream:
        parts = []
        while part := stream.read(size):
            parts.append(part)
    assert all(len(part) == size for part in parts[:-1])
    return b"".join(parts)


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=300), min_size=1, max_size=6),
    padding=st.lists(st.integers(0, 20), min_size=6, max_size=6),
    size=st.sampled_from([1, 7, 1 << 20]),
    suffix=st.sampled_from(list(PACK)),
)
def test_rows_of_streams_with_padding(tmp_path_factory, pieces, padding, size, suffix):
    path = tmp_path_factory.getbasetemp() / f"streams{suffix}"
    path.write_bytes(
        b"".join(PACK[suffix](piece) + bytes(n) for piece, n in zip(pieces, padding, strict=False))
    )
    assert content(path, size) == b"".join(pieces)


@EVERY
def test_many_small_streams_across_the_pieces_that_are_read(tmp_path, suffix):
    rows = [json.dumps({"doc_id": i, "text": f"text {i * 7919}"}) + "\n" for i in range(400)]
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(b"".join(PACK[suffix](row.encode()) for row in rows) + bytes(100_000))
    split = load_split(path)
    texts = [t for batch in split.batches(["text"]) for t in batch.text.to_pylist()]
    assert texts == [json.loads(row)["text"] for row in rows]


@EVERY
@pytest.mark.parametrize("behind", [b"x", b"more\n" * 40_000, bytes(600) + b"x", b"\0\0{}"])
def test_what_is_no_stream_behind_one_is_refused(tmp_path, suffix, behind):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(PACK[suffix](b'{"text": "one"}\n') + behind)
    with pytest.raises(DataError, match=rf"a\.jsonl{suffix}: (what follows|truncated|broken)"):
        content(path)


@EVERY
def test_every_cut_is_noticed(tmp_path, suffix):
    whole = PACK[suffix](b"some text, and then some more of it\n" * 20)
    path = tmp_path / f"a.jsonl{suffix}"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"truncated|got an empty file"):
            content(path)


@EVERY
def test_a_file_that_grows_a_thousandfold_is_decompressed_in_pieces(tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(PACK[suffix](bytes(40 << 20)))
    tracemalloc.start()
    try:
        with decompressed(str(path)) as stream:
            total = 0
            while part := stream.read(1 << 20):
                total += len(part)
        assert total == 40 << 20
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the command zstd")
def test_a_window_above_the_default_is_read(tmp_path):
    line = b'{"text": "%s"}\n'
    made = subprocess.run(
        ["zstd", "-1", "--long=28", "-c"],
        input=line % (b"a" * 1000) * 300_000,
        capture_output=True,
        check=True,
    ).stdout
    with (
        pytest.raises(OSError, match="memory"),
        pa.CompressedInputStream(pa.BufferReader(made), "zstd") as plain,
    ):
        plain.read(1)  # so the window is one that readers refuse by default
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(made)
    assert content(path, 1 << 24) == line % (b"a" * 1000) * 300_000


def test_a_window_is_held_to_the_memory_limit(tmp_path):
    rows = "".join(json.dumps({"text": f"a text of some length, {i}"}) + "\n" for i in range(50))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 256 << 20}]
    (tmp_path / "a.jsonl.xz").write_bytes(lzma.compress(rows.encode(), filters=filters))
    made = [(tmp_path / "a.jsonl.xz")]
    if shutil.which("zstd"):
        done = subprocess.run(
            ["zstd", "--long=28", "-c"], input=rows.encode(), capture_output=True, check=True
        )
        (tmp_path / "a.jsonl.zst").write_bytes(done.stdout)
        made.append(tmp_path / "a.jsonl.zst")
    for path in made:
        if path.suffix == ".zst" and done.stdout[4] & 32:  # it took the window from the size
            continue
        with pytest.raises(DataError, match=r"a\.jsonl\..*: its \w+ window is larger than the 150 MiB that"):
            lvmfast.leakscan(path, memory_limit=500 << 20)
        assert lvmfast.leakscan(path, memory_limit=2 << 30).passed


@EVERY
def test_nothing_but_nul_bytes_is_no_stream(tmp_path, suffix):
    (tmp_path / f"a.jsonl{suffix}").write_bytes(bytes(50))
    with pytest.raises(DataError, match=r"broken|truncated"):
        content(tmp_path / f"a.jsonl{suffix}")


def test_the_window_of_every_stream_is_held_to_the_memory_limit(tmp_path):
    """Also of those that a thread reads ahead."""
    row = b'{"text": "a text of some length"}\n'
    wide = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 256 << 20}]
    path = tmp_path / "a.jsonl.xz"
    path.write_bytes(lzma.compress(row * 60_000, preset=0) + lzma.compress(row, filters=wide))
    with pytest.raises(DataError, match=r"a\.jsonl\.xz: its xz window is larger than the 150 MiB that"):
        lvmfast.leakscan(path, memory_limit=500 << 20)
    assert lvmfast.leakscan(path, levels=["text"]).findings.sides["train"].rows == 60_001


def inflated(data, piece, most, decoder):
    """What a decoder of one gzip member gives of `data` in pieces, what it leaves, and whether it ended."""
    out, at = b"", 0
    while not decoder.eof and (at < len(data) or not decoder.needs_input):
        given = data[at : at + piece] if decoder.needs_input else b""
        at += len(given)
        made = decoder.decompress(given, most)
        assert len(made) <= most
        out += made
    return out, decoder.unused_data + data[at:] if decoder.eof else b"", decoder.eof


def outcome(read):
    """What comes out, or what is said."""
    try:
        return read()
    except (ValueError, zlib.error) as error:
        return str(error)


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=300) | st.integers(0, 5000).map(lambda count: b"ab" * count),
    level=st.integers(0, 9),
    behind=st.binary(max_size=20),
    cut=st.integers(0, 40),
    spoilt=st.none() | st.tuples(st.integers(0, 400), st.integers(1, 255)),
    piece=st.integers(1, 700),
    most=st.integers(1, 3000),
)
def test_a_gzip_member_is_what_zlib_makes_of_it(content, level, behind, cut, spoilt, piece, most):
    data = bytearray(gzip.compress(content, level, mtime=0) + behind)
    data = data[: len(data) - cut]
    if spoilt is not None and spoilt[0] < len(data):
        data[spoilt[0]] ^= spoilt[1]
    data = bytes(data)
    peer = zlib.decompressobj(wbits=31)
    assert outcome(lambda: inflated(data, piece, most, _core.GzipDecoder())) == outcome(
        lambda: (peer.decompress(data), peer.unused_data, peer.eof)
    )
