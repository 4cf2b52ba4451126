"""Fingerprints: the same answer as a scan of the training set, bounds that are never wrong, hostile files."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import blake3
import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast import _core
from lvmfast.corpus import lvfp
from lvmfast.errors import DataError
from tests.support import data
from tests.support.command import LVMFAST, refused, run
from tests.support.places import SCHEMA

# Few values, so that everything collides.
INTEGERS = st.sampled_from([None, 0, 1, -7, 2**62])
STRINGS = st.sampled_from([None, "1", "-7", "012", "a", "é", ""])
TEXTS = st.sampled_from([None, "", "  ", "abc", "One  text", "one text", "ONE\ttext ", "another text"])
VECTORS = st.sampled_from(
    [
        *[(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 1, 1), (-1, 0, 0), (0, 3, 4), (-0.0, 3, 4), (0, 0, 0)],
        *[(np.nan, 1, 0), (np.inf, 0, 1), (1e-42, 0, 0), (1e18, 1e18, 0), (1e-18, 0, 2e-18)],
    ]
)


@st.composite
def splits(draw, ids):
    rows = draw(st.integers(1, 9))
    column = lambda values: draw(st.lists(values, min_size=rows, max_size=rows))  # noqa: E731
    kind = pa.int64() if ids is INTEGERS else pa.string()
    vectors = np.array(column(VECTORS), np.float32)
    return pa.table(
        {
            "doc_id": pa.array(column(ids), kind),
            "chunk_id": pa.array(column(ids), kind),
            "text": pa.array(column(TEXTS), pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), 3),
        }
    )


def both_ways(train, eval_, folder, **options):
    """The reports of a scan of `train` itself and of its fingerprint; None for both where both refuse."""
    path = folder / "train.lvfp"
    path.unlink(missing_ok=True)
    made = {name: options[name] for name in ("normalize", "min_chars") if name in options}
    lvmfast.fingerprint(train, path, **made)
    reports = []
    for side in (train, str(path)):
        try:
            reports.append(lvmfast.leakscan(side, eval_, **options))
        except DataError as error:
            reports.append(error)
    return reports


def comparable(report):
    """Summary and tables at doc, chunk and text, without the texts and the string ids of the train side."""
    levels = {level: report.summary["levels"].get(level) for level in ("doc", "chunk", "text")}
    keyed = [level in levels for level in report.matches["level"].to_pylist()]
    unknown = ["train_text", "train_doc_id", "train_chunk_id"]
    matches = report.matches.filter(pa.array(keyed, pa.bool_())).drop_columns(unknown)
    rows = report.matched_rows
    rows = rows.filter(pa.array([level in levels for level in rows["level"].to_pylist()], pa.bool_()))
    return levels, matches, rows


@pytest.mark.parametrize("ids", [(INTEGERS, INTEGERS), (STRINGS, STRINGS), (INTEGERS, STRINGS)])
@settings(max_examples=20, deadline=None)
@given(data_=st.data(), max_df=st.sampled_from([None, 1, 2]), threshold=st.sampled_from([0.5, 0.9, 0.995]))
def test_doc_chunk_and_text_are_those_of_the_whole_scan(tmp_path_factory, ids, data_, max_df, threshold):
    train, eval_ = data_.draw(splits(ids[0])), data_.draw(splits(ids[1]))
    folder = tmp_path_factory.mktemp("f")
    full, printed = both_ways(
        train, eval_, folder, min_chars=4, max_df=max_df, threshold=threshold, levels=None
    )
    if isinstance(full, DataError):
        assert isinstance(printed, DataError)
        return
    theirs, ours = comparable(full), comparable(printed)
    assert theirs[0] == ours[0]
    assert theirs[1].equals(ours[1])
    assert theirs[2].equals(ours[2])
    vector, undecided = printed.levels["vector"], printed.levels["vector"].undecided
    if vector.status == "not_checkable":
        assert full.levels["vector"].status == "not_checkable"
        return
    # A row is matched, undecided or clean; what the whole scan matched is never clean.
    matched = set(full.levels["vector"].sides["eval"].matched_rows.tolist())
    certain = set(vector.sides["eval"].matched_rows.tolist())
    assert certain <= matched <= certain | set(undecided.rows.tolist())
    for side in ("train", "eval"):
        assert vector.sides[side].unchecked == full.levels["vector"].sides[side].unchecked
    jsonschema.validate(printed.summary, SCHEMA)


def test_a_fingerprint_without_a_usable_vector_says_so(tmp_path):
    train = pa.table(
        {"text": ["a text of the set"], "vector": pa.array([[0, 0, 0]], pa.list_(pa.float32(), 3))}
    )
    eval_ = pa.table({"text": ["another text"], "vector": pa.array([[1, 0, 0]], pa.list_(pa.float32(), 3))})
    full, printed = both_ways(train, eval_, tmp_path, min_chars=4, levels=None)
    assert printed.summary["levels"]["vector"] == full.summary["levels"]["vector"]
    assert printed.levels["vector"].reason == "no row of train can be checked (1 zero)"


def rows_at(rng, base, cosine):
    """A row at about the given cosine from `base`, at a random length."""
    across = rng.normal(size=len(base))
    across -= base * (across @ base) / (base @ base)
    across /= np.linalg.norm(across)
    row = cosine * base / np.linalg.norm(base) + np.sqrt(max(0.0, 1 - cosine**2)) * across
    return row * 10.0 ** rng.uniform(-17, 17)


def brute_force(train, eval_):
    """The largest cosine of each eval row with a training row, in float64 (longdouble sums)."""
    x, y = (a.astype(np.longdouble) for a in (eval_, train))
    x /= np.sqrt((x * x).sum(axis=1, keepdims=True))
    y /= np.sqrt((y * y).sum(axis=1, keepdims=True))
    return (x @ y.T).max(axis=1).astype(np.float64)


@pytest.mark.parametrize("dim", [2, 3, 16, 79, 81, 384])
@pytest.mark.parametrize("threshold", [0.0, 0.9, 0.95, 0.995, 1.0])
def test_a_row_that_reaches_the_threshold_is_never_clean(tmp_path, dim, threshold):
    rng = np.random.default_rng([dim, int(threshold * 1000)])
    # Half of the rows lie in a plane that the directions were fitted to, half do not.
    train = rng.normal(size=(300, dim)) * np.r_[1.0, np.full(dim - 1, 0.2)]
    train[::2] *= 10.0 ** rng.uniform(-17, 17, size=(150, 1))
    train = train.astype(np.float32)
    near = [threshold + e for e in (0, 1e-9, 1e-7, 1e-5, -1e-9, -1e-7, -1e-5, -1e-3)]
    planted = [rows_at(rng, train[i].astype(np.float64), min(1.0, c)) for i in range(40) for c in near]
    eval_ = np.array([*planted, *rng.normal(size=(50, dim))]).astype(np.float32)
    path = tmp_path / "t.lvfp"
    lvmfast.fingerprint({"vector": train}, path)
    report = lvmfast.leakscan(str(path), {"vector": eval_}, threshold=threshold)
    full = lvmfast.leakscan({"vector": train}, {"vector": eval_}, threshold=threshold)
    level = report.levels["vector"]
    kept = set(level.sides["eval"].matched_rows.tolist()) | set(level.undecided.rows.tolist())
    assert set(full.levels["vector"].sides["eval"].matched_rows.tolist()) <= kept
    largest = brute_force(train, eval_)
    assert set(np.flatnonzero(largest >= threshold + 1e-12).tolist()) <= kept
    assert (level.undecided.bounds >= largest[level.undecided.rows] - 1e-12).all()
    assert (level.undecided.bounds >= threshold).all()


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_bounds_hold_for_any_directions_steps_and_codes(data_):
    rng = np.random.default_rng(data_.draw(st.integers(0, 2**32)))
    dim = data_.draw(st.integers(2, 40))
    width = data_.draw(st.integers(1, dim))
    directions, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    directions = directions[:width].astype(np.float32)
    if width < 4:  # not quite orthonormal
        directions *= np.float32(1 + data_.draw(st.floats(-1e-3, 1e-3)))
    steps = np.full(width, data_.draw(st.sampled_from([1e-12, 1e-4, 1 / 126, 0.1, 1.0])))
    steps *= 10.0 ** -rng.uniform(0, 0.5, width)
    steps = np.maximum(steps, 1e-12)
    train = (rng.normal(size=(20, dim)) * 10.0 ** rng.uniform(-18, 18, (20, 1))).astype(np.float32)
    eval_ = np.array(
        [rows_at(rng, row.astype(np.float64), rng.uniform(-1, 1)) for row in train] + [*-train, *train]
    ).astype(np.float32)
    codes, rests, usability, keys = _core.Sketcher(directions, steps, 0).sketch(train)
    assert not usability.any()
    index = _core.SketchIndex(directions, steps, codes, rests, 0)
    bound, usability, eval_keys = index.bounds(eval_, -1.0)
    assert not usability.any()
    assert (eval_keys[-20:] == keys).all()
    assert (bound >= brute_force(train, eval_) - 1e-15).all()
    # What a threshold leaves out is below it, and what it keeps is the same.
    for threshold in (0.3, 0.9, 0.995):
        kept, _, _ = index.bounds(eval_, threshold)
        assert np.array_equal(kept, np.where(bound >= threshold, bound, -np.inf))


def test_bounds_do_not_depend_on_threads_or_kernel(tmp_path):
    rng = np.random.default_rng(5)
    train, eval_ = (rng.normal(size=(n, 48)).astype(np.float32) for n in (900, 70))
    np.savez(tmp_path / "eval.npz", vector=eval_)
    np.savez(tmp_path / "train.npz", vector=train)
    assert run("fingerprint", str(tmp_path / "train.npz"), "--out", str(tmp_path / "t.lvfp")).returncode == 0
    written = []
    for threads, kernel in (("1", "scalar"), ("1", ""), ("3", "")):
        out = tmp_path / f"{threads}{kernel}"
        result = run(
            *("leakscan", "--train", str(tmp_path / "t.lvfp"), "--eval", str(tmp_path / "eval.npz")),
            *("--threshold", "0.4", "--threads", threads, "--out", str(out)),
            env=os.environ | {"LVMFAST_KERNEL": kernel},
        )
        assert result.returncode == 3, result.stderr
        written.append((out / "undecided.parquet").read_bytes())
    assert written[0] == written[1] == written[2]


def test_sizes_of_integer_ids_texts_and_vectors(tmp_path):
    rng = np.random.default_rng(0)
    rows = 4000
    train = {
        "doc_id": np.arange(rows) // 65,
        "chunk_id": np.arange(rows) % 65,
        "text": [f"text number {i} of them" for i in range(rows)],
        "vector": rng.normal(size=(rows, 96)).astype(np.float32),
    }
    made = lvmfast.fingerprint(train, tmp_path / "t.lvfp")
    directions = 4 * 80 * 96
    assert (made.size - directions) / rows < 100


def test_a_fingerprint_holds_no_text_and_no_vector(tmp_path):
    rng = np.random.default_rng(0)
    vector = rng.normal(size=(50, 100)).astype(np.float32)
    text = [f"the secret sentence number {i}" for i in range(50)]
    ids = [f"private-name-{i}" for i in range(50)]
    lvmfast.fingerprint({"doc_id": ids, "text": text, "vector": vector}, tmp_path / "t.lvfp")
    held = [(tmp_path / "t.lvfp").read_bytes()]
    held += [a.tobytes() for a in lvfp.unpack(str(tmp_path / "t.lvfp")).arrays.values()]
    for row in range(50):
        for secret in (text[row].encode(), ids[row].encode(), vector[row, :4].tobytes()):
            assert not any(secret in part for part in held)


def test_the_file_is_the_same_every_time_and_knows_itself(tmp_path):
    files = data.leaky(tmp_path)
    made = [
        lvmfast.fingerprint(
            files["train.npz"], tmp_path / f"{n}.lvfp", payload=files["train_payload"], threads=n
        )
        for n in (1, 2)
    ]
    assert made[0].identity == made[1].identity == lvmfast.fingerprint_identity(tmp_path / "1.lvfp")
    raw = (tmp_path / "1.lvfp").read_bytes()
    assert raw[:4] == b"LVFP"
    assert raw[-32:].hex() == made[0].identity == blake3.blake3(raw[:-32]).hexdigest()
    assert made[0].size == len(raw)


def small(path) -> bytes:
    lvmfast.fingerprint({"doc_id": [1, 2], "text": ["one long enough text", "short"]}, path)
    return path.read_bytes()


def test_every_truncation_and_every_flipped_byte_is_refused(tmp_path):
    path = tmp_path / "t.lvfp"
    raw = small(path)
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(DataError, match=r"t\.lvfp: (not a fingerprint|truncated)"):
            lvmfast.load_split(path)
    for place in range(len(raw)):
        for mask in (1, 255):
            path.write_bytes(raw[:place] + bytes([raw[place] ^ mask]) + raw[place + 1 :])
            with pytest.raises(DataError, match=r"^[^\n]*t\.lvfp: "):
                lvmfast.load_split(path)
    path.write_bytes(raw + b"\0")
    with pytest.raises(DataError, match="altered"):
        lvmfast.load_split(path)
    path.write_bytes(raw)
    assert lvmfast.load_split(path).rows == 2


def forged(raw: bytes, change, version: int = lvfp.VERSION) -> bytes:
    """The file with its header changed, and a length and a checksum that are right."""
    _, _, _, length = struct.unpack_from("<4sIQQ", raw)
    header = json.loads(raw[24 : 24 + length])
    old, new = header["sections"][0]["offset"], 4096
    for section in header["sections"]:
        section["offset"] += new - old
    change(header)
    text = json.dumps(header).encode()
    assert len(text) <= new - 24
    body = text.ljust(new - 24, b" ") + raw[old:-32]
    whole = struct.pack("<4sIQQ", b"LVFP", version, 24 + len(body) + 32, new - 24) + body
    return whole + blake3.blake3(whole).digest()


HOSTILE = {
    "huge": lambda h: h["sections"][0].update(shape=[2, 2**47], bytes=2**52),
    "bomb": lambda h: h["sections"][0].update(shape=[2, 2**30], bytes=2**34),
    "negative": lambda h: h["sections"][0].update(offset=-64),
    "outside": lambda h: h["sections"][0].update(stored=2**40),
    "overlap": lambda h: h["sections"][1].update(offset=h["sections"][0]["offset"]),
    "unaligned": lambda h: h["sections"][1].update(offset=h["sections"][1]["offset"] + 1),
    "dtype": lambda h: h["sections"][0].update(dtype="|O"),
    "codec": lambda h: h["sections"][0].update(codec="lzma"),
    "fraction": lambda h: h["sections"][0].update(stored=1.5),
    "truth": lambda h: h["sections"][0].update(stored=True),
    "shape": lambda h: h["sections"][0].update(shape=[3, 3]),
    "twice": lambda h: h["sections"][1].update(name=h["sections"][0]["name"]),
    "nameless": lambda h: h["sections"][0].pop("name"),
    "missing": lambda h: h["sections"].pop(),
    "empty": lambda h: h.clear(),
    "rows": lambda h: h["content"].update(rows=-1),
    "more rows": lambda h: h["content"].update(rows=7),
    "file rows": lambda h: h["content"]["files"][0].update(rows=True),
    "files": lambda h: h["content"].update(files=3),
    "no files": lambda h: h["content"].pop("files"),
    "texts": lambda h: h["content"].update(texts=None),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_forged_header_is_refused(tmp_path, attack):
    path = tmp_path / "t.lvfp"
    raw = small(path)
    path.write_bytes(forged(raw, lambda h: None))
    assert lvmfast.load_split(path).rows == 2
    path.write_bytes(forged(raw, HOSTILE[attack]))
    with pytest.raises(DataError, match=r"^[^\n]*t\.lvfp: (header|section)"):
        lvmfast.load_split(path)


def test_a_newer_version_is_refused_by_name(tmp_path):
    path = tmp_path / "t.lvfp"
    path.write_bytes(forged(small(path), lambda h: None, version=2))
    with pytest.raises(DataError, match="expected fingerprint version 1, got 2; a newer lvmfast wrote it"):
        lvmfast.load_split(path)


def test_forged_places_and_directions_are_refused(tmp_path):
    path = tmp_path / "t.lvfp"
    rng = np.random.default_rng(0)
    lvmfast.fingerprint({"doc_id": [1, 2], "vector": rng.normal(size=(2, 5)).astype(np.float32)}, path)
    held = lvfp.unpack(str(path))
    for name, value, word in (
        ("doc_id.index", np.array([0, 9], np.int32), "places outside"),
        ("doc_id.index", np.array([0], np.int32), r"expected \(2\)"),
        ("directions", np.full((5, 5), np.nan, np.float32), "orthonormal"),
        ("directions", np.ones((5, 5), np.float32), "orthonormal"),
        ("steps", np.zeros(5), "steps"),
        ("codes", np.zeros((5, 3), np.int8), r"expected \(5, 2\)"),
    ):
        path.write_bytes(lvfp.pack(held.content, {**held.arrays, name: value}))
        with pytest.raises(DataError, match=word):
            lvmfast.leakscan(path, {"doc_id": [1], "vector": np.ones((1, 5), np.float32)})


def test_what_cannot_be_asked_of_a_fingerprint(tmp_path):
    files = data.leaky(tmp_path)
    path = str(tmp_path / "t.lvfp")
    payloads = ("--payload", files["train_payload"])
    assert run("fingerprint", files["train.npz"], "--out", path, *payloads).returncode == 0
    train, eval_ = ("--train", path), ("--eval", files["eval.npz"])
    refused(run("leakscan", *train), path, "none was given")
    refused(run("leakscan", "--train", files["train.npz"], "--eval", path), path, "only be the training side")
    refused(run("leakscan", *train, "--train", files["train.npz"], *eval_), path, "only path of its side")
    refused(run("leakscan", *train, *eval_, "--levels", "context"), path, "no context windows")
    refused(run("leakscan", *train, *eval_, "--train-payload", files["train_payload"]), path, "no payload")
    more = ("--eval-payload", files["eval_payload"])
    refused(run("leakscan", *train, *eval_, *more, "--normalize", "strict"), path, "default", "strict")
    refused(run("leakscan", *train, *eval_, *more, "--min-chars", "3"), path, "16", "3")
    refused(run("fingerprint", path, "--out", str(tmp_path / "2.lvfp")), path, "already")
    refused(run("fingerprint", files["train.npz"], "--out", path), path, "exists already")
    refused(run("fingerprint", files["train.npz"], "--out", str(tmp_path / "t.bin")), ".lvfp")
    refused(
        run("fingerprint", files["train.npz"], "--out", str(tmp_path / "no" / "t.lvfp")), "no such folder"
    )
    (tmp_path / "link.lvfp").symlink_to(tmp_path / "nowhere")
    refused(run("fingerprint", files["train.npz"], "--out", str(tmp_path / "link.lvfp")), "exists already")
    refused(run("leakscan", "--train", str(tmp_path / "none.lvfp"), *eval_), "no such file")
    (tmp_path / "f.lvfp").write_bytes(b"PK\x03\x04 not one")
    refused(run("leakscan", "--train", str(tmp_path / "f.lvfp"), *eval_), "not a fingerprint")


def test_exit_codes_and_files(tmp_path):
    rng = np.random.default_rng(3)
    train = rng.normal(size=(400, 200)).astype(np.float32)
    away = rng.normal(size=(30, 200)).astype(np.float32)
    near = train[:4] + 0.05 * rng.normal(size=(4, 200)).astype(np.float32)
    np.savez(tmp_path / "train.npz", vector=train)
    for name, rows in (("clean", away), ("near", [*away, *near]), ("leak", [*away, *near, train[7]])):
        np.savez(tmp_path / f"{name}.npz", vector=np.array(rows, np.float32))
    path, out = str(tmp_path / "t.lvfp"), tmp_path / "out"
    assert run("fingerprint", str(tmp_path / "train.npz"), "--out", path).returncode == 0

    def scan(name: str, *more: str) -> subprocess.CompletedProcess[str]:
        eval_ = str(tmp_path / f"{name}.npz")
        return run("leakscan", "--train", path, "--eval", eval_, "--out", str(out), *more)

    clean = scan("clean")
    assert clean.returncode == 0, clean.stdout
    assert "CLEAN: vector=0/30; not checked:" in clean.stdout.strip().splitlines()[-1]
    assert pq.read_table(out / "undecided.parquet").num_rows == 0
    undecided = scan("near")
    assert undecided.returncode == 3
    assert "INCOMPLETE" in undecided.stdout
    assert "vector=0/34+4?" in undecided.stdout
    assert "4 rows that may match at vector ≥0.995" in undecided.stdout
    table = pq.read_table(out / "undecided.parquet").to_pylist()
    assert [(r["file"], r["row"]) for r in table] == [(str(tmp_path / "near.npz"), n) for n in range(30, 34)]
    summary = json.loads((out / "summary.json").read_text())
    jsonschema.validate(summary, SCHEMA)
    assert (summary["verdict"], summary["exit_code"]) == ("incomplete", 3)
    assert summary["levels"]["vector"]["eval_rows_undecided"] == 4
    assert (
        summary["inputs"]["train"]["files"][0]["blake3"] == blake3.blake3(Path(path).read_bytes()).hexdigest()
    )
    leak = scan("leak")
    assert leak.returncode == 1
    assert "vector=1/35+4?" in leak.stdout
    assert scan("leak", "--allow", "vector=0.05").returncode == 3
    assert scan("leak", "--allow", "vector=0.5").returncode == 0
    # A scan of the data itself leaves no table of the scan before.
    run(
        "leakscan",
        "--train",
        str(tmp_path / "train.npz"),
        "--eval",
        str(tmp_path / "near.npz"),
        "--out",
        str(out),
    )
    assert not (out / "undecided.parquet").exists()


def test_a_higher_threshold_decides_more_without_another_scan(tmp_path):
    rng = np.random.default_rng(4)
    train, eval_ = (rng.normal(size=(n, 90)).astype(np.float32) for n in (200, 60))
    path = tmp_path / "t.lvfp"
    lvmfast.fingerprint({"vector": train}, path)
    low = lvmfast.leakscan(path, {"vector": eval_}, threshold=0.3)
    assert low.undecided.num_rows > 0
    for threshold in (0.5, 0.7, 0.99):
        fresh = lvmfast.leakscan(path, {"vector": eval_}, threshold=threshold)
        raised = low.rethreshold(threshold)
        assert raised.undecided.equals(fresh.undecided)
        assert raised.summary["levels"] == fresh.summary["levels"]


def test_several_files_some_of_which_lack_columns(tmp_path):
    rng = np.random.default_rng(6)
    vectors = rng.normal(size=(6, 4)).astype(np.float32)
    np.savez(tmp_path / "a.npz", doc_id=np.arange(4), vector=vectors[:4])
    pq.write_table(
        pa.table({"doc_id": [4, 5], "text": ["a text that is long enough", None]}), tmp_path / "b.parquet"
    )
    train = [str(tmp_path / "a.npz"), str(tmp_path / "b.parquet")]
    eval_ = {"doc_id": [4, 9, 0], "text": ["x", "A text that is  long enough", None], "vector": vectors[1:4]}
    full, printed = both_ways(train, eval_, tmp_path)
    theirs, ours = comparable(full), comparable(printed)
    assert theirs[0] == ours[0]
    assert theirs[1].equals(ours[1])
    assert theirs[2].equals(ours[2])
    of_full = full.summary["files"]
    assert [file["levels"].pop("overlap") for file in of_full]  # the fingerprint holds no texts
    assert of_full == printed.summary["files"]
    assert full.summary["levels"]["vector"]["unchecked"] == printed.summary["levels"]["vector"]["unchecked"]
    ids = printed.matches.filter(pa.compute.equal(printed.matches["level"], "doc"))["train_doc_id"]
    assert ids.to_pylist() == ["0", "4"]


def test_a_full_disk_leaves_nothing(tmp_path):
    np.savez(
        tmp_path / "train.npz", vector=np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = subprocess.run(
        [*LVMFAST, "fingerprint", str(tmp_path / "train.npz"), "--out", str(tmp_path / "t.lvfp")],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )
    refused(done, "t.lvfp", "cannot write")
    assert sorted(os.listdir(tmp_path)) == ["train.npz"]


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "train.npz"
    np.savez(path, vector=np.ones((10, 4), np.float32))

    def touch(phase: str, done: int, total: int | None) -> None:
        os.utime(path, ns=(1, 1))

    with pytest.raises(DataError, match="changed while it was read"):
        lvmfast.fingerprint(path, tmp_path / "t.lvfp", progress=touch)
    assert not (tmp_path / "t.lvfp").exists()


def test_nothing_is_imported_that_is_heavy():
    script = "import lvmfast, sys; assert not {'torch', 'scipy', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
