"""Several files are read at once, and come as if each had been read after the one before it."""

import gzip
import json
import signal
import subprocess
import sys
import threading
import time
from contextvars import copy_context
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvmfast.corpus import load_split, side_by_side
from lvmfast.corpus.budget import Budget, reading_within
from lvmfast.corpus.codecs import CODECS
from lvmfast.corpus.looks import begins_again
from lvmfast.errors import DataError

LIMIT = 4 << 30


def rows_of(place, count, length=40):
    return [{"doc_id": f"{place}-{row}", "text": f"text {row} of {place} " * length} for row in range(count)]


def write(folder, place, rows, kind):
    path = folder / f"{place:03}.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows, pa.schema({"doc_id": "string", "text": "string"})), path)
        return path
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if kind.endswith("gz"):
        data = gzip.compress(data, 1)
    elif kind.endswith("zst"):
        sink = pa.BufferOutputStream()
        with CODECS[".zst"].writer(sink) as out:
            out.write(data)
        data = sink.getvalue().to_pybytes()
    path.write_bytes(data)
    return path


def read(paths, threads, columns=("doc_id", "text"), limit=None):
    """(file, row of it, row of all, id, text) of each row, read with so many threads."""
    found = []
    with reading_within(limit, threads):
        for batch in load_split(paths).batches(columns, 100):
            ids = batch.doc_id.to_pylist() if batch.doc_id is not None else [None] * batch.rows
            for place, values in enumerate(zip(ids, batch.text.to_pylist(), strict=True)):
                found.append((batch.file, batch.file_row + place, batch.start + place, *values))
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.one_of(st.integers(0, 5), st.integers(90, 700)), min_size=2, max_size=12),
    kinds=st.lists(st.sampled_from(["jsonl", "jsonl.gz", "jsonl.zst", "parquet"]), min_size=1, max_size=4),
    threads=st.sampled_from([2, 3, 8]),
)
def test_files_come_in_order_whatever_their_sizes(tmp_path_factory, sizes, kinds, threads):
    folder = tmp_path_factory.mktemp("files")
    sizes[0] = max(1, sizes[0])
    given = [rows_of(place, size) for place, size in enumerate(sizes)]
    paths = [write(folder, at, rows, kinds[at % len(kinds)]) for at, rows in enumerate(given)]
    found = read(paths, threads)
    assert [values[3:] for values in found] == [
        (row["doc_id"], row["text"]) for rows in given for row in rows
    ]
    assert [values[2] for values in found] == list(range(sum(sizes)))
    assert [values[:2] for values in found] == [
        (at, row) for at, size in enumerate(sizes) for row in range(size)
    ]
    assert found == read(paths, 1)


def broken_line(path, line):
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = b'{"text": '
    path.write_bytes(b"\n".join(lines))


def fault(paths, threads, limit=None):
    before = []

    @begins_again()  # as a scan does, so that files are not looked through when they are opened
    def read_all():
        before.clear()
        for batch in load_split(paths, columns={"text": "text"}).batches(["text"], 100):
            before.append((batch.file, batch.file_row, batch.rows))

    with reading_within(limit, threads), pytest.raises(DataError) as raised:
        read_all()
    return str(raised.value), before


def test_the_first_bad_file_is_told_though_a_later_one_is_bad_as_well(tmp_path):
    paths = [write(tmp_path, place, rows_of(place, 9000), "jsonl") for place in range(6)]
    broken_line(paths[4], 8600)  # behind the MiB that is looked at as a file is opened
    broken_line(paths[2], 8900)
    told, before = fault(paths, 4)
    assert told.startswith(f"{paths[2]}: line 8900, column ")
    assert {file for file, _, _ in before} == {0, 1, 2}
    assert (told, before) == fault(paths, 1)


def test_a_member_that_is_cut_in_the_middle_file_is_told_in_its_turn(tmp_path):
    paths = [write(tmp_path, place, rows_of(place, 9000), "jsonl.gz") for place in range(5)]
    whole = paths[2].read_bytes()
    paths[2].write_bytes(whole + whole[: len(whole) // 2])
    told, before = fault(paths, 4)
    assert told == f"{paths[2]}: truncated: the gzip data end in the middle of a stream"
    assert {file for file, _, _ in before} == {0, 1, 2}
    assert (told, before) == fault(paths, 1)


def test_a_window_that_files_side_by_side_have_no_room_for_is_read_in_its_turn(tmp_path):
    """Half of what 4 GiB leave is for windows: 1.9 GiB for one file, less than 1 GiB for each of three."""
    from lvmfast.corpus.codecs import _zstd

    zstd = _zstd()
    paths = [write(tmp_path, place, rows_of(place, 300), "jsonl.zst") for place in range(4)]
    options = {zstd.CompressionParameter.window_log: 30}
    with zstd.ZstdFile(paths[2], "wb", options=options) as out:  # of no stated size, so it asks for all of it
        for row in rows_of(2, 300):
            out.write((json.dumps(row) + "\n").encode())
    with reading_within(LIMIT):
        assert Budget().window_bytes > 1 << 30
    assert read(paths, 3, limit=LIMIT) == read(paths, 1)


def test_a_limit_has_fewer_files_read_at_once_and_threads_bound_them():
    def at_once(limit, threads):
        with reading_within(limit, threads):
            return Budget().files_at_once

    assert [at_once(None, threads) for threads in (1, 2, 8, 64)] == [1, 2, 8, 8]
    assert at_once(256 << 20, 8) == 1
    assert [at_once(gib << 30, 8) for gib in (1, 2, 4, 8)] == sorted(
        at_once(gib << 30, 8) for gib in (1, 2, 4, 8)
    )
    assert at_once(2 << 30, 8) in range(2, 8)


def test_what_waits_for_its_turn_is_bounded(tmp_path):
    """Whoever takes one batch and no more has few of the next files read."""
    paths = [write(tmp_path, place, rows_of(place, 2000, 400), "jsonl") for place in range(12)]
    assert sum(path.stat().st_size for path in paths) > 130 << 20
    with reading_within(None, 4):
        split = load_split(paths)
        before = _resident()
        batches = split.batches(["text"], 100)
        next(batches)
        time.sleep(1)
        assert _resident() - before < 90 << 20
        batches.close()


def _resident():
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * 4096


def test_whoever_stops_leaves_no_thread(tmp_path):
    paths = [write(tmp_path, place, rows_of(place, 3000), "jsonl.gz") for place in range(6)]
    before = threading.active_count()
    with reading_within(None, 4):
        batches = load_split(paths).batches(["text"], 100)
        next(batches)
        batches.close()
    assert threading.active_count() == before


def test_an_interrupt_ends_it_within_a_second(tmp_path):
    for place in range(6):
        write(tmp_path, place, rows_of(place, 30_000), "jsonl.gz")
    program = (
        "import sys\nfrom lvmfast.corpus import load_split\n"
        "from lvmfast.corpus.budget import reading_within\n"
        "with reading_within(None, 4):\n"
        "    while True:\n"
        "        for batch in load_split(sys.argv[1]).batches(['text'], 100): print(batch.file, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - started < 5  # of a busy machine
    assert process.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in said


class One:
    """A batch of one row."""

    rows = 1
    nbytes = 10

    def sliced(self, start, stop):
        return self


def ones(count):
    """The generator of so many batches."""
    for _ in range(count):
        yield One()


def taken(counts, at_once, *more, room=25):
    """How many batches come of each reading, three of which fill the room."""
    readings = [*(partial(ones, count) for count in counts), *more]
    return [sum(1 for _ in part) for part in side_by_side._side_by_side(readings, at_once, room)]


class SlowlyLeft:
    """A context that its thread is in for a while after the work, as a thread is that others keep waiting."""

    def __init__(self):
        self._context, self._entered = copy_context(), False

    def run(self, *work):
        if self._entered:
            raise RuntimeError("cannot enter context: it is already entered")
        self._entered = True
        try:
            return self._context.run(*work)
        finally:
            time.sleep(0.002)
            self._entered = False


@pytest.mark.timeout(60)
def test_a_reading_that_paused_goes_on_though_the_thread_that_paused_it_is_still_leaving(monkeypatch):
    monkeypatch.setattr(side_by_side, "copy_context", SlowlyLeft)
    assert taken([20] * 4, 3) == [20] * 4


@pytest.mark.timeout(60)
@pytest.mark.parametrize("can_start", [0, 1, 2])
def test_where_no_more_threads_can_start_those_that_did_read_or_the_asker(monkeypatch, can_start):
    started, start = [], threading.Thread.start

    def bounded(thread):
        if len(started) == can_start:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    before = threading.active_count()
    monkeypatch.setattr(threading.Thread, "start", bounded)
    assert taken([20, 0, 7, 30], 4) == [20, 0, 7, 30]
    assert len(started) == can_start
    assert threading.active_count() == before


@pytest.mark.timeout(60)
def test_an_interrupt_is_not_taken_for_a_fault_of_a_file_where_no_thread_reads(monkeypatch):
    monkeypatch.setattr("lvmfast.threads._has_room", lambda: False)
    calls = []

    def interrupted():
        calls.append(1)
        yield One()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taken([3], 2, interrupted, room=1000)
    assert len(calls) == 1
