"""Objects in a store: the same rows as on disk, and one clear line when it fails."""

from __future__ import annotations

import gzip
import io
import json
import ntpath
import random
import threading
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import lvmfast
from lvmfast import DataError
from lvmfast.cli.app import app
from lvmfast.corpus import load_split
from lvmfast.corpus.footer import column_chunks, footer_size
from lvmfast.corpus.paths import expand
from lvmfast.stores import ahead, failures, file_info, folder, open_input
from lvmfast.stores.ahead import Plan, Queue, in_lockstep
from lvmfast.stores.filesystems import filesystem
from lvmfast.stores.reader import ObjectReader
from tests.support.store import failing, put

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiobotocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:moto"),
]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def parquet(table: pa.Table, **options) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def rows(start: int, count: int, dim: int = 8) -> pa.Table:
    rng = np.random.default_rng(start)
    vectors = rng.standard_normal((count, dim)).astype(np.float32)
    return pa.table(
        {
            "unread": [bytes(200)] * count,
            "doc_id": np.arange(start, start + count) // 4,
            "chunk_id": np.arange(start, start + count) % 4,
            "text": [
                f"passage number {row} of the collection, long enough" for row in range(start, start + count)
            ],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim),
        }
    )


@pytest.fixture
def shards(bucket, tmp_path):
    """Training shards and an eval file, on disk and in the store: (local folder, URI)."""
    tables = [rows(100 * place, 100) for place in range(6)]
    tables.insert(3, rows(0, 0))  # an empty shard is fine
    eval_rows = pa.concat_tables([tables[1].slice(20, 10), tables[6].slice(95, 5), rows(10_000, 40)])
    files = {
        f"train/part-{place}.parquet": parquet(table, row_group_size=32) for place, table in enumerate(tables)
    }
    files |= {"eval.parquet": parquet(eval_rows), "train/_SUCCESS": b"", "train/notes.md": b"x"}
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        put(f"{bucket}/{name}", content)
    return tmp_path, bucket


def scanned(train: object, evaluation: object, out: Path, **options):
    report = lvmfast.leakscan(train, evaluation, **options)
    report.save(out)
    return report


def test_a_scan_from_a_store_is_the_scan_from_disk(shards, tmp_path, monkeypatch):
    local, uri = shards
    monkeypatch.chdir(local)
    on_disk = scanned("train", "eval.parquet", tmp_path / "a")
    stored = scanned(f"{uri}/train", f"{uri}/eval.parquet", tmp_path / "b")
    assert not on_disk.passed
    for name in ("matched_rows", "matches"):  # but for the names of the files
        expected, found = getattr(on_disk, name), getattr(stored, name)
        for column in ("file", "train_file", "eval_file"):
            place = found.schema.get_field_index(column)
            if place >= 0:
                names = [value and value.removeprefix(f"{uri}/") for value in found[column].to_pylist()]
                field = found.schema.field(column)
                found = found.set_column(place, field, pa.array(names, field.type))
        assert found.equals(expected)
    first, second = on_disk.summary, stored.summary
    assert first["levels"] == json.loads(json.dumps(second["levels"]).replace(f"{uri}/", ""))
    for file, info in zip(second["inputs"]["train"]["files"], first["inputs"]["train"]["files"], strict=True):
        assert file["blake3"] is None
        assert file["etag"] == file_info(file["path"]).etag
        assert info["etag"] is None
        assert file["bytes"] == info["bytes"]


def test_patterns_folders_and_files_of_a_store(shards):
    _, uri = shards
    assert expand([f"{uri}/train/part-[01].parquet"]).files == [
        f"{uri}/train/part-{n}.parquet" for n in (0, 1)
    ]
    assert expand([f"{uri}/train/"]).files == [f"{uri}/train/part-{n}.parquet" for n in range(7)]
    assert expand([f"{uri}/*"]).files == [f"{uri}/eval.parquet", *expand([f"{uri}/train"]).files]
    assert expand([f"{uri}/**/part-1.parquet"]).files == [f"{uri}/train/part-1.parquet"]
    assert expand([uri]).files == expand([f"{uri}/*"]).files
    assert "notes.md" in expand([f"{uri}/train"]).notes[0]
    with pytest.raises(DataError, match=r"part-0.parquet: given twice"):
        expand([f"{uri}/train", f"{uri.replace('s3:', 's3a:')}/train/part-0.parquet"])
    with pytest.raises(DataError, match=r"none-\*: the pattern matches no data file"):
        expand([f"{uri}/none-*"])
    with pytest.raises(DataError, match=r"no-such-bucket/train/\*: no such bucket"):
        expand(["s3://no-such-bucket/train/*"])
    for bucket in ("s3://no-such-bucket", "s3://no-such-bucket/"):
        with pytest.raises(DataError, match=f"^{bucket}: no such bucket$"):
            expand([bucket])


def test_names_of_objects_have_no_backslashes_where_paths_have(shards, monkeypatch):
    _, uri = shards
    expected = expand([f"{uri}/train"]).files
    monkeypatch.setattr("os.path.join", ntpath.join)
    assert expand([f"{uri}/train"]).files == expected


def test_a_local_file_and_its_uri_are_one(tmp_path):
    np.save(tmp_path / "a b.npy", np.eye(3, dtype=np.float32))
    uri = (tmp_path / "a b.npy").as_uri()
    split = load_split(uri)
    assert split.files[0].path == str(tmp_path / "a b.npy")
    with pytest.raises(DataError, match="given twice"):
        load_split([uri, str(tmp_path / "a b.npy")])


def npz(compressed: bool, order: str = "C") -> bytes:
    table = rows(0, 500)
    vectors = np.asarray(table["vector"].combine_chunks().values).reshape(-1, 8)
    keys = np.stack([table["doc_id"].to_numpy(), table["chunk_id"].to_numpy()], axis=1)
    sink = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(
        sink, truth_keys=keys, targets=np.asarray(vectors, order=order), contexts=np.stack([vectors] * 3, 1)
    )
    return sink.getvalue()


def npy(order: str) -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.asarray(np.random.default_rng(0).standard_normal((300, 7)), order=order))
    return sink.getvalue()


def arrow(stream: bool) -> bytes:
    sink = io.BytesIO()
    table = rows(0, 300)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)
    return sink.getvalue()


def lines(kind: str) -> bytes:
    objects = [{"doc_id": n, "chunk_id": 0, "text": f"line {n}", "vector": [n, 1.5]} for n in range(400)]
    if kind == "csv":
        return b"doc_id,text\n" + b"".join(f"{o['doc_id']},{o['text']}\n".encode() for o in objects)
    return b"".join(json.dumps(o).encode() + b"\n" for o in objects)


FORMATS = {
    "a.npz": npz(False),
    "packed.npz": npz(True),
    "fortran.npz": npz(False, "F"),
    "a.npy": npy("C"),
    "fortran.npy": npy("F"),
    "a.arrow": arrow(True),
    "b.arrow": arrow(False),
    "a.jsonl": lines("jsonl"),
    "a.jsonl.gz": gzip.compress(lines("jsonl")),
    "a.jsonl.zst": pa.compress(lines("jsonl"), "zstd", asbytes=True),
    "a.csv": lines("csv"),
    "a.parquet": parquet(rows(0, 300), row_group_size=64),
}


def content(split) -> list:
    found = []
    for batch in split.batches(["doc_id", "chunk_id", "text", "vector", "context"], 64):
        values = [getattr(batch, name) for name in ("doc_id", "chunk_id", "text", "vector", "context")]
        found.append((batch.start, [v.tolist() if v is not None else None for v in values]))
    return found


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("scheme", ["s3", "memory"])
def test_every_format_reads_as_on_disk(bucket, tmp_path, monkeypatch, name, scheme):
    monkeypatch.setattr(ahead, "PIECE_BYTES", 3000)  # so that small files have many pieces
    (tmp_path / name).write_bytes(FORMATS[name])
    uri = f"{bucket if scheme == 's3' else 'memory:/' + bucket[4:]}/{name}"
    put(uri, FORMATS[name])
    stored, local = load_split(uri), load_split(str(tmp_path / name))
    assert stored.files[0].path is None
    assert content(stored) == content(local)
    assert content(stored) == content(local)
    wanted = np.array([3, 70, 299])
    columns = [c for c in ("doc_id", "text") if c in local.columns]
    assert stored.take(wanted, columns) == local.take(wanted, columns)
    deadline = time.monotonic() + 30
    while ahead.queue.held and time.monotonic() < deadline:
        time.sleep(0.01)  # what was under way when its reader stopped ends by itself
    assert ahead.queue.held == 0


def test_only_the_wanted_columns_are_fetched(bucket, proxy, monkeypatch):
    monkeypatch.setattr(ahead, "GAP_BYTES", 0)
    table = pa.table(
        {"text": ["a text of some length"] * 9, "junk": [random.Random(0).randbytes(1 << 20)] * 9}
    )
    put(f"{bucket}/a.parquet", parquet(table, row_group_size=3, compression="none", use_dictionary=False))
    proxy.log.clear()
    assert sum(batch.rows for batch in load_split(f"{bucket}/a.parquet").batches(["text"])) == 9
    fetched = 0
    for method, _, span in proxy.log:
        if method == "GET" and span:
            start, stop = map(int, span.removeprefix("bytes=").split("-"))
            fetched += stop + 1 - start
    assert fetched < 1 << 20


@pytest.mark.parametrize("fault", [500, 503, "reset", "truncate"])
def test_what_passes_is_tried_again(shards, proxy, fault):
    _, uri = shards
    expected = content(load_split(f"{uri}/train/part-1.parquet"))
    split = load_split(f"{uri}/train/part-1.parquet")
    proxy.faults = failing(3, fault, part="part-1")
    assert content(split) == expected


@pytest.mark.parametrize("fault", [500, 503, "reset", "truncate"])
def test_what_does_not_pass_is_an_error_that_names_the_object(shards, proxy, fault):
    _, uri = shards
    split = load_split(f"{uri}/train")
    proxy.log.clear()
    proxy.faults = failing(10_000, fault, part="part-4")
    with pytest.raises(
        DataError, match=rf"^{uri}/train/part-4.parquet: .*\(tried {failures.ATTEMPTS} times\)$"
    ):
        content(split)
    assert ahead.queue.held == 0 or threading.active_count() > 1  # what is under way ends by itself


def test_what_is_refused_is_not_tried_again(shards, proxy):
    _, uri = shards
    proxy.faults = failing(10_000, 403, part="part-2")
    proxy.log.clear()
    with pytest.raises(DataError, match=rf"^{uri}/train/part-2.parquet: access refused: "):
        load_split(f"{uri}/train")
    assert sum("part-2" in path for _, path, _ in proxy.log) == 1
    proxy.faults = lambda method, path, headers: None
    for missing in (f"{uri}/no.parquet", f"{uri}/train/no.npz"):
        with pytest.raises(DataError, match=f"^{missing}: no such object$"):
            load_split(missing)
    with pytest.raises(DataError, match=r"^s3://no-such-bucket-here/a.npz: no such bucket$"):
        load_split("s3://no-such-bucket-here/a.npz")


def test_an_object_that_is_replaced_is_noticed(shards, proxy):
    _, uri = shards
    name = f"{uri}/train/part-1.parquet"
    split = load_split(name)
    put(name, parquet(rows(100, 100).slice(0, 99), row_group_size=32))
    with pytest.raises(DataError, match=rf"^{name}: changed while it was read"):
        content(split)


def test_an_object_that_is_replaced_after_it_was_read_is_noticed(shards, proxy):
    _, uri = shards
    name, changed = f"{uri}/train/part-1.parquet", parquet(rows(700, 100))

    def progress(phase: str, done: int, total: int | None) -> None:
        if done:
            put(name, changed)

    with pytest.raises(DataError, match=rf"^{name}: changed while it was read"):
        lvmfast.leakscan(f"{uri}/train", f"{uri}/eval.parquet", levels=["text"], progress=progress)


def test_a_store_without_etags_is_asked_at_the_end():
    put("memory://spot/a.parquet", parquet(rows(0, 20)))
    origin = load_split("memory://spot/a.parquet").files[0].origin
    assert origin.info.etag is None
    origin.check_unchanged()
    put("memory://spot/a.parquet", parquet(rows(0, 20)))
    with pytest.raises(DataError, match=r"^memory://spot/a.parquet: changed while it was read"):
        origin.check_unchanged()


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        (b"no parquet at all", "magic bytes"),
        (b"", "0 bytes"),
        (parquet(rows(0, 10, dim=9)), "expected vectors of 8 values"),
        (parquet(pa.table({"text": [1, 2]})), "text"),
    ],
    ids=["bytes", "empty", "dimension", "schema"],
)
def test_a_bad_shard_among_many_is_named(shards, shard, message):
    _, uri = shards
    put(f"{uri}/train/part-5.parquet", shard)
    with pytest.raises(DataError, match=rf"^{uri}/train/part-5.parquet: .*{message}"):
        load_split(f"{uri}/train")


def test_a_payload_from_a_store(bucket):
    texts = rows(0, 50).select(["doc_id", "chunk_id", "text"])
    put(f"{bucket}/texts.parquet", parquet(texts))
    put(f"{bucket}/keys.parquet", parquet(texts.drop_columns("text")))
    split = load_split(f"{bucket}/keys.parquet", payload=f"{bucket}/texts.parquet")
    assert [text for batch in split.batches(["text"]) for text in batch.text.to_pylist()] == texts[
        "text"
    ].to_pylist()


def test_quarantined_objects_are_refused(shards, tmp_path, monkeypatch):
    local, uri = shards
    scanned(str(local / "train"), str(local / "eval.parquet"), tmp_path / "scan")
    moved = command("quarantine", local / "eval.parquet", "--report", tmp_path / "scan")
    assert moved.exit_code == 0, moved.output
    monkeypatch.setenv("LVMFAST_QUARANTINE", str(local))
    with pytest.raises(DataError, match=rf"^{uri}/eval.parquet: seen in training at "):
        load_split(f"{uri}/eval.parquet")
    assert load_split(f"{uri}/eval.parquet", allow_leaked=True).leaked == (f"{uri}/eval.parquet",)
    put(f"{uri}/train/LEAKED_EVAL_SETS/old.parquet", FORMATS["a.parquet"])
    assert any("quarantined, passed over" in note for note in load_split(f"{uri}/train").notes)
    with pytest.raises(DataError, match="in quarantine"):
        load_split(f"{uri}/train/LEAKED_EVAL_SETS/old.parquet")


# Reports.


def test_a_report_is_written_to_a_store_and_read_back(shards):
    local, uri = shards
    arguments = ["leakscan", "--train", local / "train", "--eval", local / "eval.parquet", "--quiet"]
    assert command(*arguments, "--out", f"{uri}/reports/1").exit_code == 1
    assert command(*arguments, "--out", local / "out").exit_code == 1
    report = folder(f"{uri}/reports/1")
    assert report.names() == [
        "items.parquet",
        "matched_rows.parquet",
        "matches.parquet",
        "overlaps.parquet",
        "report.html",
        "summary.json",
    ]
    for name in ("matches.parquet", "matched_rows.parquet"):
        assert report.read(name) == (local / "out" / name).read_bytes()
    page = report.read("report.html")
    report.write("report.html", b"")
    drawn = command("report", f"{uri}/reports/1")
    assert (drawn.exit_code, drawn.stdout) == (0, f"{uri}/reports/1/report.html\n")
    assert report.read("report.html") == page
    moved = command("quarantine", local / "eval.parquet", "--report", f"{uri}/reports/1")
    assert moved.exit_code == 0
    assert "seen in training at" in moved.stdout


@pytest.mark.parametrize("fault", [403, 507])
def test_a_store_that_takes_nothing_is_found_before_the_work(shards, proxy, fault):
    local, uri = shards
    proxy.faults = failing(10_000, fault, method="PUT")
    refused = command("leakscan", "--train", local / "train", "--out", f"{uri}/reports/2")
    assert refused.exit_code == 2
    lines = refused.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"lvmfast: {uri}/reports/2: cannot write there: ")
    assert folder(f"{uri}/reports").names() == []


def test_a_store_that_fills_up_keeps_no_half_of_a_report(shards, proxy):
    local, uri = shards
    proxy.faults = failing(10_000, 507, method="PUT", part="report.html")
    refused = command("leakscan", "--train", local / "train", "--quiet", "--out", f"{uri}/reports/3")
    assert refused.exit_code == 2
    assert f"{uri}/reports/3/report.html: the store is full" in refused.stderr
    assert folder(f"{uri}/reports/3").names() == []


@pytest.mark.parametrize("kind", ["s3", "memory", "local"])
def test_folders(bucket, tmp_path, kind):
    place = {"s3": f"{bucket}/x", "memory": f"memory://{bucket[5:]}/x", "local": str(tmp_path / "x")}[kind]
    records = folder(place)
    assert records.names() == []
    records.check()
    assert records.names() == []
    for name in ("b", "a", "parts/1", "parts/2"):
        records.write(name, name.encode())
    records.write("a", b"again")
    assert records.names() == ["a", "b", "parts/1", "parts/2"]
    assert records.names("parts/") == ["parts/1", "parts/2"]
    assert records.read("a") == b"again"
    assert records.exists("parts/1")
    assert not records.exists("parts")
    assert not records.exists("c")
    records.remove("b")
    records.remove("b")
    assert records.names() == ["a", "parts/1", "parts/2"]
    with pytest.raises(DataError, match="/b: "):
        records.read("b")


# Other stores.


@pytest.mark.parametrize(("uri", "package"), [("gs://b/a.npz", "gcsfs"), ("az://b/a.npz", "adlfs")])
def test_a_missing_package_is_named_with_its_extra(uri, package):
    with pytest.raises(DataError, match=rf"needs {package}: pip install 'lvmfast\[{uri[:2]}\]'"):
        load_split(uri)


def test_unknown_stores_are_refused():
    with pytest.raises(DataError, match=r"^nowhere://a/b.npz: .*nowhere"):
        load_split("nowhere://a/b.npz")


def test_hugging_face_paths_go_through_its_file_system():
    from huggingface_hub import HfFileSystem

    fs, inner = filesystem("hf://datasets/user/name/train.parquet")
    assert type(fs) is HfFileSystem
    assert inner == "datasets/user/name/train.parquet"


def test_a_store_that_fsspec_learns_of_later():
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class Other(MemoryFileSystem):
        protocol = "other"
        store: ClassVar[dict] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]

    fsspec.register_implementation("other", Other, clobber=True)
    put("other://x/a.parquet", FORMATS["a.parquet"])
    assert load_split("other://x").rows == 300


# The parts.


class Bytes:
    """What is read by ranges, counted."""

    def __init__(self, content: bytes) -> None:
        self.content, self.reads = content, []

    def read(self, start: int, stop: int, abandoned: threading.Event | None = None) -> bytes:
        self.reads.append((start, stop))
        return self.content[start:stop]


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 5000),
    spans=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 700)), max_size=8),
    reads=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 2000)), max_size=30),
    most=st.integers(1, 4000),
    piece=st.integers(50, 900),
)
def test_any_reads_over_any_plan_give_the_bytes(size, spans, reads, most, piece):
    whole = random.Random(size).randbytes(size)
    stored = Bytes(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "PIECE_BYTES", piece)
        patch.setattr(ahead, "GAP_BYTES", 60)
        clipped = sorted((min(a, size), min(a + n, size)) for a, n in spans)
        apart = [s for place, s in enumerate(clipped) if all(s[0] >= t[1] for t in clipped[:place])]
        stages = [in_lockstep(apart[::2]), in_lockstep(apart[1::2])]
        stages = [apart_from(stages[0], []), apart_from(stages[1], stages[0])]
        reader = ObjectReader(stored, size, stages, most)
        for at, count in reads:
            reader.seek(at)
            assert reader.read(count) == whole[at : at + count]
        reader.close()


def apart_from(stage, others):
    return [s for s in stage if all(s[1] <= t[0] or s[0] >= t[1] for t in others)]


def test_no_more_is_held_than_the_bound():
    stored = Bytes(bytes(1000))
    queue = Queue(most=100, fetchers=4)
    plan = Plan(stored, [[(at, at + 10)] for at in range(0, 1000, 10)])
    queue.add(plan)
    for stage in plan.stages:
        assert queue.content(stage[0]) == bytes(10)
        queue.drop(stage)
    queue.remove(plan)
    assert queue.held == 0
    assert 0 < queue.peak <= 110  # and one piece that was waited for
    assert sorted(stored.reads) == [(at, at + 10) for at in range(0, 1000, 10)]


@settings(max_examples=25, deadline=None)
@given(
    counts=st.integers(0, 200),
    group=st.integers(1, 60),
    dictionary=st.booleans(),
    statistics=st.booleans(),
)
def test_the_footer_says_where_chunks_lie_as_pyarrow_does(counts, group, dictionary, statistics):
    written = parquet(
        rows(0, counts), row_group_size=group, use_dictionary=dictionary, write_statistics=statistics
    )
    size = footer_size(written[-8:])
    found = column_chunks(written[len(written) - size : -8])
    metadata = pq.read_metadata(io.BytesIO(written))
    assert len(found) == metadata.num_row_groups
    for place, chunks in enumerate(found):
        for column, chunk in enumerate(chunks):
            expected = metadata.row_group(place).column(column)
            start = min(expected.dictionary_page_offset or 1 << 62, expected.data_page_offset)
            assert (chunk.start, chunk.stop - chunk.start) == (start, expected.total_compressed_size)
            assert ".".join(chunk.path) == expected.path_in_schema


@given(st.binary(max_size=300))
def test_a_hostile_footer_is_not_understood_and_no_more(content):
    column_chunks(content)


def test_an_opened_object_is_a_file(bucket):
    content = random.Random(1).randbytes(100_000)
    put(f"{bucket}/a", content)
    with open_input(f"{bucket}/a") as file:
        assert file.size() == 100_000
        assert file.read(10) == content[:10]
        file.seek(-5, 2)
        assert file.read() == content[-5:]
