"""Spans on several threads find what one thread finds, whatever happens on the way."""

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lvmfast.corpus import load_split
from lvmfast.corpus.budget import reading_within
from lvmfast.corpus.codecs import CODECS
from lvmfast.corpus.looks import begins_again
from lvmfast.errors import DataError
from lvmfast.leaks import journal as journals
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.published import rows_by_rule
from lvmfast.scan import on_threads
from lvmfast.scan.context import ScanContext
from lvmfast.scan.executors import LOCAL
from lvmfast.scan.run import scan
from lvmfast.scan.running import Comparison, RunningLevels
from lvmfast.stores.folders import MemoryFolder
from tests.support.cuts import said

WORDS = [f"word{n}" for n in range(40)]
LEVELS = ("doc", "chunk", "text", "overlap")


def rows_of(rng, count, texts):
    """Rows of few ids and of texts that come again, some of them one inside another."""
    rows = []
    for _ in range(count):
        text = texts[rng.integers(len(texts))]
        if text and rng.random() < 0.3:
            text = f"{text} {texts[rng.integers(1, len(texts))]}"
        doc = None if rng.random() < 0.1 else f"d{rng.integers(9)}"
        rows.append({"doc_id": doc, "chunk_id": int(rng.integers(4)), "text": text})
    return rows


def texts_of(rng):
    return [None, "", *(" ".join(rng.choice(WORDS, int(rng.integers(12, 40)))) for _ in range(12))]


def write(folder, name, rows, kind):
    path = folder / f"{name}.{kind}"
    if kind == "parquet":
        schema = pa.schema({"doc_id": "string", "chunk_id": "int64", "text": "string"})
        pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=7)
        return path
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if kind == "jsonl":
        path.write_bytes(data)
        return path
    with pa.OSFile(str(path), "wb") as sink, CODECS[f".{kind.rpartition('.')[2]}"].writer(sink) as out:
        out.write(data)
    return path


def scanned(train, evals, options, journal=None, progress=lambda phase, done, total: None):
    with reading_within(options.memory_limit, options.threads):
        sides = {"train": load_split(train), "eval": load_split(evals)}
        context = ScanContext(options, LOCAL, progress, journal=journal)
        findings = scan(sides["train"], sides["eval"], context)
        return [*said(findings, sides), *(by_rules(finding) for finding in findings.levels.values())]


def by_rules(finding):
    """What the n-grams that were seen come to: by published rule, and how much of each item they cover."""
    rules = {name: rows.tolist() for name, rows in rows_by_rule(finding).items()}
    return rules, None if finding.items is None else [of.tolist() for of in vars(finding.items).values()]


def begun(place, *, resume=False, span_bytes=256 << 20):
    journal = Journal(place, resume=resume, span_bytes=span_bytes)
    journal.open({})
    return journal


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=9),
    kinds=st.lists(st.sampled_from(["jsonl", "jsonl.gz", "parquet"]), min_size=1, max_size=3),
    levels=st.sets(st.sampled_from(LEVELS), min_size=1),
    threads=st.integers(2, 5),
    max_pairs=st.sampled_from([1, 3, 100_000]),
    max_df=st.sampled_from([None, 2]),
    join_chunks=st.booleans(),
    often=st.booleans(),
)
def test_threads_find_what_one_finds(
    tmp_path_factory, monkeypatch, seed, sizes, kinds, levels, threads, max_pairs, max_df, join_chunks, often
):
    rng, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("files")
    texts = texts_of(rng)
    sizes[0] = max(1, sizes[0])
    train = [
        write(folder, f"{place:02}", rows_of(rng, size, texts), kinds[place % len(kinds)])
        for place, size in enumerate(sizes)
    ]
    evals = [write(folder, "eval", rows_of(rng, 9, texts), "jsonl")]

    def options(threads):
        return ScanOptions(
            levels=tuple(level for level in LEVELS if level in levels),
            max_pairs=max_pairs,
            max_df=max_df,
            join_chunks=join_chunks and "overlap" in levels,
            threads=threads,
        )

    try:
        whole = scanned(train, evals, options(1))
    except DataError:  # by chance no row can be checked
        assume(False)
    monkeypatch.setattr(journals, "SECONDS", 0.0 if often else 60.0)
    place = MemoryFolder()
    assert scanned(train, evals, options(threads), begun(place, span_bytes=200)) == whole
    assert scanned(train, evals, options(threads)) == whole
    for name in place.names()[1::3]:  # what is lost is scanned again
        place.remove(name)
    again = begun(place, resume=True, span_bytes=200)
    assert scanned(train, evals, options(threads), again) == whole


@pytest.fixture
def files(tmp_path):
    """Eight files, and some items."""
    rng = np.random.default_rng(5)
    texts = texts_of(rng)
    rows = [rows_of(rng, 400, texts) for _ in range(8)]
    train = [write(tmp_path, f"{place}", of, "jsonl") for place, of in enumerate(rows)]
    return train, [write(tmp_path, "eval", rows_of(rng, 9, texts), "jsonl")]


OPTIONS = ScanOptions(levels=("text", "overlap"), threads=3)


@pytest.mark.parametrize("recorded", [True, False])
def test_threads_scan_whether_or_not_cuts_are_kept(files, monkeypatch, recorded):
    whole, names = scanned(*files, replace(OPTIONS, threads=1)), set()
    cut_of = RunningLevels.cut_of

    def by(self, *of):
        names.add(threading.current_thread().name)
        return cut_of(self, *of)

    monkeypatch.setattr(RunningLevels, "cut_of", by)
    assert scanned(*files, OPTIONS, begun(MemoryFolder()) if recorded else None) == whole
    assert names
    assert all(name.startswith("lvmfast-spans") for name in names)


def test_what_was_interrupted_goes_on(files, monkeypatch):
    monkeypatch.setattr(journals, "SECONDS", 0.0)
    place = MemoryFolder()

    def interrupting(phase, done, total):
        if phase == "scan train" and done > 1500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="--resume"):
        scanned(*files, OPTIONS, begun(place), interrupting)
    assert not [of for of in threading.enumerate() if of.name.startswith("lvmfast-spans")]
    first: list[int] = []

    def noting(phase, done, total):
        if phase == "scan train":
            first.append(done)

    found = scanned(*files, OPTIONS, begun(place, resume=True), noting)
    assert first[0] > 0
    assert first[-1] == 8 * 400
    assert found == scanned(*files, ScanOptions(levels=("text", "overlap"), threads=1))


def test_a_record_has_all_that_its_rows_showed_though_later_ones_were_at_an_end_before(files, monkeypatch):
    """What documents have of n-grams is noted in one index by all threads."""
    for file in files[0][1:]:  # which add nothing of their own, whenever they are read
        file.write_text('{"doc_id": "d", "chunk_id": 1, "text": "nothing of it"}\n')
    monkeypatch.setattr(journals, "SECONDS", 0.0)
    cut_of, second = RunningLevels.cut_of, threading.Event()

    def in_another_order(levels, span, file, batches):
        for batch in levels.take_span(span, file, batches):
            assert batch.rows
        if span.file == 0:
            assert second.wait(30)
        cut = levels.cut()
        if span.file == 1:
            second.set()
        return cut

    added, add, place = [], Journal.add, MemoryFolder()

    def stopping(journal, *given, **more):
        if added:
            raise KeyboardInterrupt
        added.append(given)
        add(journal, *given, **more)

    monkeypatch.setattr(RunningLevels, "cut_of", in_another_order)
    monkeypatch.setattr(Journal, "add", stopping)
    options = ScanOptions(levels=("overlap",), threads=3)
    with pytest.raises(KeyboardInterrupt):
        scanned(*files, options, begun(place))
    monkeypatch.setattr(RunningLevels, "cut_of", cut_of)
    monkeypatch.setattr(Journal, "add", add)
    resumed = scanned(*files, options, begun(place, resume=True))
    assert resumed == scanned(*files, ScanOptions(levels=("overlap",), threads=1))


@begins_again()  # so that files are not looked through when they are opened
def fault(files, threads, place, **more):
    with pytest.raises(DataError) as raised:
        scanned(*files, ScanOptions(levels=("text",), threads=threads, **more), begun(place))
    return str(raised.value)


def test_the_first_bad_file_is_told_and_what_was_before_it_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "SECONDS", 0.0)
    rows = [{"text": f"text {row} " * 40} for row in range(4000)]
    train = [write(tmp_path, f"{place}", rows, "jsonl") for place in range(7)]
    for place, line in ((5, 3700), (3, 3900)):
        lines = train[place].read_bytes().split(b"\n")
        lines[line - 1] = b'{"text": '
        train[place].write_bytes(b"\n".join(lines))
    files = train, [write(tmp_path, "eval", rows[:5], "jsonl")]
    kept = {}
    for threads in (1, 3):
        place = MemoryFolder()
        told = fault(files, threads, place)
        assert told.startswith(f"{train[3]}: line 3900, column ")
        assert "--resume" in told
        kept[threads] = sum(name.endswith(journals.CUT) for name in place.names())
    assert kept == {1: 3, 3: 3}
    assert not [of for of in threading.enumerate() if of.name.startswith("lvmfast-spans")]


def test_a_fault_of_a_thread_is_of_no_account_where_the_span_can_be_read(files, monkeypatch):
    """A thread has no memory, say; the span is scanned again in its turn, and those behind it alone."""
    whole, scanned_by_thread = scanned(*files, OPTIONS), []
    cut_of = RunningLevels.cut_of

    def failing(levels, span, file, batches):
        scanned_by_thread.append(span.file)
        cut = cut_of(levels, span, file, batches)
        if span.file == 2:
            raise MemoryError
        return cut

    monkeypatch.setattr(RunningLevels, "cut_of", failing)
    done: list[int] = []
    found = scanned(*files, OPTIONS, begun(MemoryFolder()), lambda phase, rows, total: done.append(rows))
    assert found == whole
    assert done[-1] == 8 * 400
    assert 2 in scanned_by_thread


@pytest.mark.timeout(60)
@pytest.mark.parametrize("can_start", [0, 1])
def test_where_no_more_threads_can_start_those_that_did_scan_or_the_asker(files, monkeypatch, can_start):
    whole, started, start = scanned(*files, OPTIONS), [], threading.Thread.start

    def bounded(thread):
        if "lvmfast-spans" in thread.name:
            if len(started) == can_start:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", bounded)
    assert scanned(*files, OPTIONS, begun(MemoryFolder())) == whole
    assert len(started) == can_start


def test_an_interrupt_ends_it_where_no_thread_scans(files, monkeypatch):
    monkeypatch.setattr("lvmfast.threads._has_room", lambda: False)
    calls = []

    def interrupted(levels, span, file, batches):
        calls.append(span)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunningLevels, "cut_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scanned(*files, OPTIONS, begun(MemoryFolder()))
    assert len(calls) == 1


def test_few_files_wait_for_a_long_one_before_them(tmp_path, monkeypatch):
    """However little was found in them: each takes some memory."""
    train = [write(tmp_path, f"{place:02}", [{"doc_id": f"{place}"}], "jsonl") for place in range(60)]
    files = train, [write(tmp_path, "eval", [{"doc_id": "7"}], "jsonl")]
    monkeypatch.setattr(on_threads, "_PIECE_BYTES", 4 << 20)
    cut_of, beside = RunningLevels.cut_of, RunningLevels.beside
    done, made, waited = [], [], []

    def long(levels, span, file, batches):
        if span.file == 0:
            while not waited or waited[-1] != len(done):
                waited.append(len(done))
                time.sleep(0.3)
        cut = cut_of(levels, span, file, batches)
        done.append(span.file)
        return cut

    monkeypatch.setattr(RunningLevels, "cut_of", long)
    monkeypatch.setattr(RunningLevels, "beside", lambda levels: made.append(1) or beside(levels))
    options = ScanOptions(levels=("doc",), threads=3)
    found = scanned(*files, options, begun(MemoryFolder()))
    assert 4 <= waited[-1] <= 8
    assert len(done) == 60
    assert len(made) <= 8
    assert found == scanned(*files, ScanOptions(levels=("doc",), threads=1))


def running_of(files, threads, room):
    """Levels whose keys of the streamed side are held, and what is told while it goes by."""
    train, evals = load_split(files[0]), load_split(files[1])
    options = ScanOptions(levels=("doc",), threads=threads)
    running = RunningLevels(Comparison.of({"eval": evals, "train": train}, ("doc",), options))
    for batch in evals.batches(("doc_id",)):
        running.take("eval", batch)
    running.close_index()
    running.turn(0)
    asked = on_threads.Asked(train, ("doc_id",), 100, running.nbytes + room)
    return running, asked, on_threads.taken(running, journals.spans_of(train), asked)


def test_what_there_is_no_room_for_is_found_out_in_its_turn(tmp_path):
    """Threads hold keys of their own; where these are too much, the asker sees whether one has the room."""
    rows = [[{"doc_id": f"{place}-{row}"} for row in range(20_000)] for place in range(4)]
    train = [write(tmp_path, f"{place}", of, "jsonl") for place, of in enumerate(rows)]
    files = train, [write(tmp_path, "eval", [{"doc_id": "1-7"}], "jsonl")]
    with reading_within(None, 3):
        running, _, going = running_of(files, 3, 1 << 40)
        assert sum(rows for rows, _ in going) == 80_000
        needed, whole = running.nbytes, said_of(running)
        running, asked, going = running_of(files, 3, 0)
        held = [running.nbytes for _ in going]
        assert sorted(held) == held
        assert held[-1] == needed > asked.room
        assert said_of(running) == whole


def said_of(running):
    return running.findings()["doc"].keys, running.findings()["doc"].pairs
