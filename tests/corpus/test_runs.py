"""Files of several streams: what threads decompress is what one thread reads, to the last error."""

import bz2
import gzip
import io
import json
import lzma
import random
import shutil
import struct
import subprocess
import threading
import tracemalloc
import zlib
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus import budget, load_split, runs
from lvmfast.corpus.budget import Budget, reading_beside, reading_within
from lvmfast.corpus.runs import Runs
from lvmfast.corpus.streams import decompressed
from lvmfast.errors import DataError

#: A run is of 100 bytes or more, and of 2400 at most when it is decompressed.
ROOM = 3200
EVERY = pytest.mark.parametrize("suffix", [".gz", ".bgzf.gz", ".zst", ".bz2", ".xz"])


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


def skippable(data):
    return struct.pack("<II", 0x184D2A50, len(data)) + data


def raw_frame(data):
    """A frame of zstd of one block, in which the data stand as they are."""
    return b"\x28\xb5\x2f\xfd\x00\x50" + (len(data) << 3 | 1).to_bytes(3, "little") + data


def bgzf(data):
    """A block as htslib writes it: a member that has its own size in a field of its header."""
    deflate = zlib.compressobj(wbits=-15)
    body = deflate.compress(data) + deflate.flush()
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


PACK = {".gz": gzip.compress, ".bgzf.gz": bgzf, ".zst": zstd, ".bz2": bz2.compress, ".xz": lzma.compress}


def outcome(path, threads, size=1 << 20):
    """All that is read before the end or an error, and what the error says."""
    parts = []
    try:
        with reading_within(None, threads), decompressed(str(path)) as stream:
            while part := stream.read(size):
                parts.append(part)
    except DataError as error:
        return b"".join(parts), str(error)
    return b"".join(parts), None


@contextmanager
def short_runs():
    """Small files have runs, too; gives a list of whether there was one, each time that one was asked for."""
    made, following = [], Runs.following

    def told(self):
        run = following(self)
        made.append(run is not None)
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "_LEAST_RUN_BYTES", ROOM)
        patch.setattr(Budget, "run_bytes", property(lambda self: ROOM))
        patch.setattr(Runs, "following", told)
        yield made


def ahead(path, threads=8, size=1 << 20):
    """As `outcome`, in short runs."""
    with short_runs():
        return outcome(path, threads, size)


def streams(suffix, count, seed=1):
    rng = random.Random(seed)
    pieces = [b"%d " % i + rng.randbytes(rng.randint(0, 200)).hex().encode() for i in range(count)]
    return pieces, [PACK[suffix](piece) for piece in pieces]


@EVERY
def test_runs_are_made_by_threads(tmp_path, suffix):
    pieces, packed = streams(suffix, 60)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"".join(packed))
    with short_runs() as made:
        assert outcome(path, 8) == outcome(path, 1) == (b"".join(pieces), None)
    assert sum(made) > 10


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=300) | st.integers(0, 9000).map(bytes), min_size=1, max_size=30),
    padding=st.lists(st.sampled_from([0, 0, 0, 1, 20]), min_size=30, max_size=30),
    size=st.sampled_from([1, 7, 1 << 20]),
    suffix=st.sampled_from(list(PACK)),
    threads=st.integers(3, 8),
    behind=st.sampled_from([b"", b"", b"x", bytes(500), b"\x1f\x8b\x08\0\0\0\0\0\0\xff", zstd(b"")[:7]]),
)
def test_any_number_of_streams(tmp_path_factory, pieces, padding, size, suffix, threads, behind):
    path = tmp_path_factory.getbasetemp() / f"runs{suffix}"
    packed = [PACK[suffix](piece) + bytes(n) for piece, n in zip(pieces, padding, strict=False)]
    path.write_bytes(b"".join(packed) + behind)
    found = ahead(path, threads, size)
    assert found == outcome(path, 1, size)
    assert b"".join(pieces).startswith(found[0])
    assert behind.strip(b"\0") or found == (b"".join(pieces), None)


@EVERY
def test_every_cut_is_noticed_where_it_is(tmp_path, suffix):
    _, packed = streams(suffix, 5)
    whole, path = b"".join(packed), tmp_path / f"a{suffix}"
    ends = {sum(map(len, packed[:i])) for i in range(1, len(packed) + 1)}
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        found = ahead(path)
        assert found == outcome(path, 1)
        assert (found[1] is None) == (end in ends)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 1 << 20), flip=st.integers(1, 255), suffix=st.sampled_from(list(PACK)))
def test_a_broken_byte_is_told_as_by_one_thread(tmp_path_factory, place, flip, suffix):
    path = tmp_path_factory.getbasetemp() / f"broken{suffix}"
    _, packed = streams(suffix, 20, seed=2)
    data = bytearray(b"".join(packed))
    data[place % len(data)] ^= flip
    path.write_bytes(data)
    assert ahead(path, size=50) == outcome(path, 1, 50)


def test_a_member_with_a_wrong_checksum_comes_behind_those_before_it(tmp_path):
    pieces, packed = streams(".gz", 40)
    packed[30] = packed[30][:-8] + bytes(4) + packed[30][-4:]
    path = tmp_path / "a.gz"
    path.write_bytes(b"".join(packed))
    content, said = ahead(path, size=1)
    assert content.startswith(b"".join(pieces[:30]))
    assert said == f"{path}: broken gzip data: Error -3 while decompressing data: incorrect data check"


def test_what_looks_like_the_beginning_of_a_stream_inside_one(tmp_path):
    """Files of streams, stored in streams as they are."""
    for suffix, stored in ((".gz", lambda data: gzip.compress(data, 0)), (".zst", raw_frame)):
        pieces, packed = streams(suffix, 40)
        inner = random.Random(3).randbytes(300).join(packed)
        path = tmp_path / f"a{suffix}"
        many = b"".join(packed)
        passed_over = skippable(inner) if suffix == ".zst" else b""
        path.write_bytes(stored(inner) + many + stored(inner) + passed_over + many)
        assert packed[20] in stored(inner)
        content = b"".join(pieces)
        assert ahead(path) == ((inner + content) * 2, None)


def test_frames_that_are_passed_over(tmp_path):
    """As pzstd writes them before each frame, and the seekable format behind the last one."""
    pieces, packed = streams(".zst", 60)
    path = tmp_path / "a.zst"
    path.write_bytes(
        b"".join(skippable(struct.pack("<I", len(one))) + one for one in packed) + skippable(b"table")
    )
    with short_runs() as made:
        assert outcome(path, 8) == (b"".join(pieces), None)
    assert sum(made) > 10


@pytest.mark.skipif(shutil.which("pzstd") is None, reason="needs the command pzstd")
def test_a_file_of_pzstd(tmp_path):
    rng = random.Random(4)
    data = b"".join(b"%x\n" % rng.getrandbits(200) for _ in range(400_000))
    done = subprocess.run(["pzstd", "-q", "-1", "-p", "2", "-c"], input=data, capture_output=True, check=True)
    (tmp_path / "a.zst").write_bytes(done.stdout)
    assert outcome(tmp_path / "a.zst", 8) == (data, None)


@EVERY
def test_streams_that_grow_a_thousandfold_are_not_held_whole(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    bomb = PACK[suffix](bytes(30 << 20)) if suffix != ".bgzf.gz" else bgzf(bytes(60_000)) * 500
    path.write_bytes(bomb * 6)
    size = 6 * (30_000_000 if suffix == ".bgzf.gz" else 30 << 20)
    tracemalloc.start()
    try:
        with reading_within(None, threads=8), decompressed(str(path)) as stream:
            total = 0
            while part := stream.read(1 << 20):
                total += len(part)
        assert total == size
        assert tracemalloc.get_traced_memory()[1] < 90 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(limit=st.none() | st.integers(1 << 20, 8 << 30), threads=st.integers(1, 64), files=st.integers(1, 8))
def test_what_is_read_ahead_stays_within_a_block(limit, threads, files):
    with reading_within(limit, threads=threads), reading_beside(files):
        given = Budget()
        assert 1 <= given.streams_at_once <= max(1, threads // files - 1)
        if given.streams_at_once > 1:
            assert files * (given.streams_at_once + 1) * given.run_bytes <= given.block_bytes


def test_a_window_is_refused_as_by_one_thread(tmp_path):
    wide = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 256 << 20}]
    pieces, packed = streams(".xz", 40)
    packed[30] = lzma.compress(pieces[30], filters=wide)
    path = tmp_path / "a.xz"
    path.write_bytes(b"".join(packed))
    assert ahead(path) == (b"".join(pieces), None)
    with reading_within(300 << 20):
        content, said = ahead(path, size=1)
    assert content == b"".join(pieces[:30])
    assert said.startswith(f"{path}: its xz window is larger than the 50 MiB that the --memory-limit")


def test_where_no_thread_can_start(tmp_path, monkeypatch):
    pieces, packed = streams(".gz", 60)
    path = tmp_path / "a.gz"
    path.write_bytes(b"".join(packed))

    class Full:
        def submit(self, *_):
            raise RuntimeError("can't start new thread")

        def shutdown(self, **_):
            pass

    monkeypatch.setattr(runs, "threads", lambda count, name: Full())
    assert ahead(path) == (b"".join(pieces), None)


def test_threads_end_with_their_reader(tmp_path):
    _, packed = streams(".gz", 60)
    path = tmp_path / "a.gz"
    path.write_bytes(b"".join(packed))
    with short_runs(), reading_within(None, threads=8), decompressed(str(path)) as stream:
        stream.read(1)
        assert any("lvmfast-streams" in thread.name for thread in threading.enumerate())
    assert not any("lvmfast-streams" in thread.name for thread in threading.enumerate())


def test_a_scan_of_many_members_is_that_of_one_thread(tmp_path):
    rng = random.Random(5)
    rows = [{"id": i, "text": f"{rng.getrandbits(900):x} {i // 3}"} for i in range(24_000)]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for name, count in (("many", 300), ("one", 1)):
        step = -(-len(data) // count)
        members = [gzip.compress(data[at : at + step], 1) for at in range(0, len(data), step)]
        (tmp_path / f"{name}.jsonl.gz").write_bytes(b"".join(members))
    assert gzip.decompress((tmp_path / "many.jsonl.gz").read_bytes()) == data
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[::500]))
    found = []
    for name, threads in (("many", 8), ("many", 1), ("one", 8)):
        train = tmp_path / f"{name}.jsonl.gz"
        report = lvmfast.leakscan(train, tmp_path / "eval.jsonl", levels=["text"], threads=threads)
        report.save(tmp_path / f"{name}{threads}")
        tables = [
            pq.read_table(tmp_path / f"{name}{threads}" / f"{table}.parquet").to_pylist()
            for table in ("matches", "matched_rows")
        ]
        found.append(json.dumps(tables).replace(train.name, "a"))
    assert found[0] == found[1] == found[2]
    assert len(json.loads(found[0])[0]) == len(rows[::500])


def test_a_broken_line_is_named_by_its_number(tmp_path):
    lines = [json.dumps({"text": random.Random(i).randbytes(300).hex()}) + "\n" for i in range(9000)]
    lines[8000] = "{broken\n"
    path = tmp_path / "a.jsonl.gz"
    out = io.BytesIO()
    for at in range(0, len(lines), 100):
        out.write(gzip.compress("".join(lines[at : at + 100]).encode(), 1))
    path.write_bytes(out.getvalue())
    with (
        reading_within(None, threads=8),
        pytest.raises(DataError, match=r"a\.jsonl\.gz: line 8001, column 2"),
    ):
        for _ in load_split(path).batches(["text"]):
            pass
