"""`clean` and `verify`: what is left is clean, nothing else is lost, and every bad input is named."""

from __future__ import annotations

import json
import os
import resource
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

import lvmfast
from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from lvmfast.splits import rewrite as rewriting
from tests.support import data, oracle
from tests.support.colliding import MIN_CHARS
from tests.support.command import killed_before_its_closing_scan, refused, run
from tests.support.divided import as_table, dataset, documents

THRESHOLD = 0.97


@pytest.fixture
def leaky(tmp_path) -> dict[str, str]:
    """The files of `data.leaky` and a report of their scan."""
    files = data.leaky(tmp_path)
    scan(files, tmp_path / "report")
    return files


def scan(files: dict[str, str], out: Path, **options) -> None:
    lvmfast.leakscan(
        files["train.npz"],
        files["eval.npz"],
        train_payload=files["train_payload"],
        eval_payload=files["eval_payload"],
        **options,
    ).save(out)


def arguments(files: dict[str, str], *more: str) -> list[str]:
    folder = Path(files["train.npz"]).parent
    return [
        *("clean", "--train", files["train.npz"], "--eval", files["eval.npz"]),
        *("--report", str(folder / "report"), "--out", str(folder / "out"), *more),
    ]


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@settings(max_examples=60, deadline=None)
@given(train=documents(), eval_=documents())
def test_what_is_left_is_clean_and_nothing_else_is_lost(tmp_path_factory, train, eval_):
    folder = tmp_path_factory.mktemp("clean")
    sides = {"train": train, "eval": eval_}
    for side, rows in sides.items():
        pq.write_table(as_table(rows), folder / f"{side}.parquet")
    paths = [folder / "train.parquet", folder / "eval.parquet"]
    try:
        lvmfast.leakscan(*paths, threshold=THRESHOLD, min_chars=MIN_CHARS).save(folder / "report")
    except DataError as error:
        assert "no level can be checked" in str(error)  # noqa: PT017
        return
    found = oracle.scan(train, eval_, THRESHOLD, MIN_CHARS)
    for drop, rows in sides.items():
        levels = {
            row: [level for level, what in found.items() if row in what.matched.get(drop, ())]
            for row in range(len(rows["doc_id"]))
        }
        left = [row for row, why in levels.items() if not why]
        out = folder / drop
        if not left or (drop == "train" and found["oracle"].matched["eval"]):
            with pytest.raises(DataError, match=r"rows would be left|only --drop eval can mend"):
                lvmfast.clean(*paths, folder / "report", drop=drop, out=out)
            continue
        try:
            result = lvmfast.clean(*paths, folder / "report", drop=drop, out=out)
        except DataError as error:
            assert "no level can be checked" in str(error)  # noqa: PT017
            continue
        assert result.passed
        assert listing(out) == sorted(["_dropped.parquet", "clean.json", f"{drop}.parquet"])
        whole = as_table(rows)
        kept = whole.filter(pa.array([row in left for row in range(len(whole))]))
        assert repr(pq.read_table(out / f"{drop}.parquet").to_pylist()) == repr(kept.to_pylist())
        ledger = pq.read_table(out / "_dropped.parquet").to_pylist()
        assert [(r["row"], r["levels"]) for r in ledger] == [(row, why) for row, why in levels.items() if why]
        assert [r["doc_id"] for r in ledger] == [rows["doc_id"][r["row"]] for r in ledger]
        mended = {**sides, drop: {name: [v[row] for row in left] for name, v in rows.items()}}
        again = oracle.scan(mended["train"], mended["eval"], THRESHOLD, MIN_CHARS)
        assert all(what.pairs == 0 for what in again.values())
        for level, stated in result.certificate["scans"][0]["levels"].items():
            for side, reasons in stated["unchecked"].items():
                assert Counter(reasons) == again[level].unchecked[side]


@pytest.mark.parametrize("drop", ["eval", "train"])
def test_the_certificate_the_ledger_and_the_files(leaky, tmp_path, drop):
    result = run(*arguments(leaky, "--drop", drop))
    assert result.returncode == 0, result.stderr
    table = pq.read_table(tmp_path / "report" / "matched_rows.parquet").to_pylist()
    matched = sorted({row["row"] for row in table if row["side"] == drop})
    rows = {"eval": 60, "train": 200}[drop]
    keep = [row for row in range(rows) if row not in matched]
    assert 20 <= len(matched) < rows
    assert f"{drop}: dropped {len(matched)} rows" in result.stdout
    assert "CLEAN: doc=0/" in result.stdout
    out = tmp_path / "out"
    assert listing(out) == sorted(["_dropped.parquet", "clean.json", f"{drop}.npz"])
    certificate = json.loads((out / "clean.json").read_text())
    assert certificate["sides"][drop]["rows"] == len(keep)
    assert certificate["sides"][drop]["files"][0]["file"] == f"{drop}.npz"
    other = {"eval": "train", "train": "eval"}[drop]
    assert certificate["sides"][other]["files"][0]["path"] == leaky[f"{other}.npz"]
    split = load_split(out)
    assert [Path(file.name).name for file in split.files] == [f"{drop}.npz"]
    assert split.rows == len(keep)
    assert split.notes == ()
    with np.load(leaky[f"{drop}.npz"]) as before, np.load(out / f"{drop}.npz") as after:
        for name in ("truth_keys", "targets", "contexts"):
            np.testing.assert_array_equal(after[name], before[name][keep])
        assert after["provenance"] == before["provenance"]
    ledger = pq.read_table(out / "_dropped.parquet").to_pylist()
    assert [row["row"] for row in ledger] == matched
    copied, partner = {"eval": (0, 30), "train": (30, 0)}[drop]
    (entry,) = [row for row in ledger if row["row"] == copied]
    assert (entry["partner_file"], entry["partner_row"]) == (leaky[f"{other}.npz"], partner)
    assert entry["levels"] == ["doc", "chunk", "text", "overlap", "vector", "context"]
    checked = run("verify", str(out))
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.startswith("VERIFIED:")


def test_the_ledger_and_the_certificate_are_never_data(leaky, tmp_path):
    out = tmp_path / "out"
    lvmfast.clean(leaky["train.npz"], leaky["eval.npz"], tmp_path / "report", out=out)
    for source in (out, str(out / "*"), str(out / "*.*")):
        split = load_split(source)
        assert [file.path for file in split.files] == [str(out / "eval.npz")]
        assert split.notes == () or source != out
    with pytest.raises(DataError, match=r"_dropped.parquet: the ledger of what `lvmfast clean` dropped"):
        load_split(out / "_dropped.parquet")
    with pytest.raises(DataError, match="matches no data file"):
        load_split(str(out / "_*.parquet"))
    np.savez(tmp_path / "all.npz", **dataset(30))
    lvmfast.split(tmp_path / "all.npz", out=tmp_path / "two", eval_docs=3)
    sides = ", ".join(str(tmp_path / "two" / name) for name in ("train.npz", "eval.npz"))
    for source in ("two", "."):
        with pytest.raises(DataError, match=f"two: the sides of a split; give one of them: {sides}"):
            load_split(tmp_path / source)
    assert load_split(tmp_path / "two" / "eval.npz").rows == 36
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "clean.json").write_text('{"vector": [1, 1]}')  # somebody else's name for data
    np.save(tmp_path / "mine" / "a.npy", np.eye(2, dtype=np.float32))
    assert sum(batch.rows for batch in load_split(tmp_path / "mine").batches(["vector"])) == 3


def test_files_in_folders_keep_their_places(tmp_path):
    rng = np.random.default_rng(0)
    train, eval_ = data.sequences(rng, 50), data.sequences(rng, 60, first_doc=50)
    np.savez(tmp_path / "train.npz", **train)
    folder = tmp_path / "eval"
    for name, rows in (("a/x.npz", slice(0, 20)), ("b/x.npz", slice(20, 40)), ("b/y.npz", slice(40, 60))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.savez(folder / name, **{key: values[rows] for key, values in eval_.items()})
    with np.load(folder / "b/x.npz") as leaking:
        arrays = dict(leaking)
    arrays["targets"][:] = train["targets"][:20]
    np.savez(folder / "b/x.npz", **arrays)
    lvmfast.leakscan(tmp_path / "train.npz", folder, levels=["vector"]).save(tmp_path / "report")
    moved = folder.rename(tmp_path / "moved")
    result = lvmfast.clean(tmp_path / "train.npz", moved, tmp_path / "report", out=tmp_path / "out")
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.npz")) == [
        "a/x.npz",
        "b/y.npz",
    ]
    assert result.certificate["dropped"]["empty_files"] == [str(moved / "b/x.npz")]
    assert load_split(tmp_path / "out").rows == 40
    (tmp_path / "out" / "b" / "z.npz").write_bytes((tmp_path / "out" / "b" / "y.npz").read_bytes())
    failures = lvmfast.verify(tmp_path / "out").failures
    assert failures == (f"{tmp_path}/out/b/z.npz: data that the certificate does not know",)


@pytest.mark.heavy
def test_a_saved_dataset_stays_one(tmp_path):
    import datasets

    rng = np.random.default_rng(0)
    text = data.texts(rng, 40)
    whole = datasets.Dataset.from_dict({"doc_id": list(range(40)), "text": text, "label": [1, 2] * 20})
    whole.save_to_disk(tmp_path / "eval", num_shards=2)
    pq.write_table(pa.table({"doc_id": [100, 101], "text": [text[3], text[30]]}), tmp_path / "train.parquet")
    lvmfast.leakscan(tmp_path / "train.parquet", tmp_path / "eval").save(tmp_path / "report")
    result = lvmfast.clean(
        tmp_path / "train.parquet", tmp_path / "eval", tmp_path / "report", out=tmp_path / "out"
    )
    assert result.passed
    mended = datasets.load_from_disk(str(tmp_path / "out"))
    assert mended["doc_id"] == [i for i in range(40) if i not in (3, 30)]
    assert mended.features == whole.features
    assert mended._fingerprint != datasets.load_from_disk(str(tmp_path / "eval"))._fingerprint
    assert load_split(tmp_path / "out").rows == 38
    assert lvmfast.verify(tmp_path / "out").verified
    (tmp_path / "out" / "state.json").write_text("{}")
    assert "state.json: not the bytes that were certified" in lvmfast.verify(tmp_path / "out").failures[0]


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz", "e.csv.zst", "e.parquet", "e.arrow"])
def test_every_format_comes_out_as_it_went_in(tmp_path, name):
    text = data.texts(np.random.default_rng(0), 30)
    table = pa.table({"doc_id": [str(i) for i in range(30)], "text": text})
    path = tmp_path / name
    if "parquet" in name:
        pq.write_table(table, path)
    elif "arrow" in name:
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        lines = (
            [json.dumps(row) for row in table.to_pylist()]
            if "jsonl" in name
            else ["doc_id,text", *(f"{i},{line}" for i, line in enumerate(text))]
        )
        codec = {"gz": "gzip", "zst": "zstd"}.get(name.split(".")[-1])
        with pa.OSFile(str(path), "wb") as file:
            out = pa.CompressedOutputStream(file, codec) if codec else file
            out.write("\n".join(lines).encode())
            out.close()
    pq.write_table(
        pa.table({"doc_id": ["x", "7"], "text": [text[20], "of no account at all"]}), tmp_path / "t.parquet"
    )
    lvmfast.leakscan(tmp_path / "t.parquet", path).save(tmp_path / "report")
    lvmfast.clean(tmp_path / "t.parquet", path, tmp_path / "report", out=tmp_path / "out")
    (got,) = load_split(tmp_path / "out").batches(("doc_id", "text"))
    assert got.doc_id.to_pylist() == [str(i) for i in range(30) if i not in (7, 20)]
    assert got.text.to_pylist() == [line for i, line in enumerate(text) if i not in (7, 20)]
    assert listing(tmp_path / "out") == sorted(["_dropped.parquet", "clean.json", name])


def test_report_and_data_that_do_not_belong_together(leaky, tmp_path):
    other = data.leaky(tmp_path / "x" if (tmp_path / "x").mkdir() is None else tmp_path, seed=1)
    result = run(*arguments(leaky | {"eval.npz": other["eval.npz"]}))
    refused(result, "x/eval.npz: not what", "expected BLAKE3", leaky["eval.npz"])
    refused(run(*arguments(leaky, "--eval", other["eval.npz"])), "--eval: 2 files, but", "is a scan of 1")
    refused(
        run(*arguments(leaky, "--eval-payload", other["eval_payload"])), "x/eval_payload.parquet: not what"
    )
    lvmfast.leakscan(leaky["train.npz"], leaky["eval.npz"]).save(tmp_path / "bare")
    bare = [a.replace("/report", "/bare") for a in arguments(leaky, "--payload", leaky["eval_payload"])]
    refused(run(*bare), "--payload:", "bare is a scan without a payload for train")
    lvmfast.leakscan(leaky["train.npz"]).save(tmp_path / "within")
    within = [a.replace("/report", "/within") for a in arguments(leaky)]
    refused(run(*within), "within: a scan inside one split")
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    for change, words in (
        ({"schema_version": 99}, ["summary.json: schema_version: expected", "99"]),
        ({"verdict": "incomplete"}, ["the scan is incomplete"]),
    ):
        (tmp_path / "report" / "summary.json").write_text(json.dumps(summary | change))
        refused(run(*arguments(leaky)), *words)
    assert not (tmp_path / "out").exists()


def test_destinations(leaky, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    refused(run(*arguments(leaky)), "out: not empty; nothing is written over")
    assert listing(out) == ["mine.txt"]
    (out / "mine.txt").unlink()
    assert run(*arguments(leaky)).returncode == 0
    file = tmp_path / "file"
    file.write_text("")
    refused(
        run(*[a.replace("/out", "/file") for a in arguments(leaky)]), "file: expected a folder, or nothing"
    )
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    assert run(*[a.replace("/out", "/link") for a in arguments(leaky)]).returncode == 0
    assert link.is_symlink()
    assert "clean.json" in listing(real)
    np.savez(tmp_path / "x.npz", **data.sequences(np.random.default_rng(5), 9))
    (tmp_path / "folder").mkdir()
    os.rename(leaky["eval.npz"], tmp_path / "folder" / "eval.npz")
    inside = arguments(leaky | {"eval.npz": str(tmp_path / "folder")})
    refused(run(*[a.replace("/out", "/folder/out") for a in inside]), "lies inside", "hold its rows twice")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(leaky, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(run(*[a.replace("/out", "/locked/out") for a in arguments(leaky)]), "cannot write there")


def test_a_folder_that_cannot_be_made(leaky):
    refused(
        run(*[a.replace(f"{a}", "/proc/none/out") if a.endswith("/out") else a for a in arguments(leaky)]),
        "/proc/none/out: cannot write there",
    )


@pytest.mark.parametrize("command", ["clean", "split"])
@pytest.mark.parametrize("limit", [100, 9_000])
def test_a_full_disk_leaves_nothing(leaky, tmp_path, command, limit):
    before = listing(tmp_path)
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
    asked = arguments(leaky)
    if command == "split":
        np.savez(tmp_path / "all.npz", **dataset(30))
        before = listing(tmp_path)
        asked = ["split", str(tmp_path / "all.npz"), "--eval-docs", "3", "--out", str(tmp_path / "out")]
    refused(run(*asked, preexec_fn=full), "File too large")
    assert listing(tmp_path) == before


def test_a_crash_leaves_no_half_written_folder(leaky, tmp_path):
    killed_before_its_closing_scan(arguments(leaky))
    assert not (tmp_path / "out").exists()
    assert run(*arguments(leaky)).returncode == 0
    assert not [name for name in listing(tmp_path) if name.endswith(".part")]


def test_a_file_that_changes_while_it_is_read(leaky, tmp_path, monkeypatch):
    real = rewriting.rewrite

    def touched(*asked):
        real(*asked)
        os.utime(leaky["eval.npz"], ns=(0, time.time_ns()))

    monkeypatch.setattr(rewriting, "rewrite", touched)
    with pytest.raises(DataError, match=r"eval.npz: changed while it was read"):
        lvmfast.clean(leaky["train.npz"], leaky["eval.npz"], tmp_path / "report", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_eval_set_in_which_everything_leaks(tmp_path):
    files = data.leaky(tmp_path)
    arguments_ = {**files, "eval.npz": files["train.npz"], "eval_payload": files["train_payload"]}
    os.link(files["train.npz"], tmp_path / "same.npz")
    arguments_["eval.npz"] = str(tmp_path / "same.npz")
    scan(arguments_, tmp_path / "report")
    refused(run(*arguments(arguments_)), "same.npz: all 200 eval rows leak (doc 200", "0 rows would be left")
    assert not (tmp_path / "out").exists()


def test_a_closing_scan_that_still_finds_a_leak_certifies_nothing(tmp_path):
    # Dropping a row makes a text rare enough to be no boilerplate any more.
    text = "a footer that stands everywhere"
    rng = np.random.default_rng(0)
    a, b, c = data.texts(rng, 3)
    pq.write_table(pa.table({"doc_id": [1, 2, 3], "text": [text, text, a]}), tmp_path / "t.parquet")
    pq.write_table(pa.table({"doc_id": [3, 4, 5, 6], "text": [text, text, b, c]}), tmp_path / "e.parquet")
    lvmfast.leakscan(tmp_path / "t.parquet", tmp_path / "e.parquet", max_df=3).save(tmp_path / "report")
    result = run(
        *("clean", "--train", str(tmp_path / "t.parquet"), "--eval", str(tmp_path / "e.parquet")),
        *("--report", str(tmp_path / "report"), "--out", str(tmp_path / "out")),
    )
    assert result.returncode == 1
    assert "not written: a closing scan still finds a leak" in result.stdout
    assert not (tmp_path / "out").exists()


def test_names_that_a_folder_hides(leaky, tmp_path):
    hidden = tmp_path / "_eval.npz"
    os.rename(leaky["eval.npz"], hidden)
    with pytest.raises(DataError, match=r"_eval.npz: '_eval.npz': names that begin so are refused"):
        lvmfast.clean(leaky["train.npz"], hidden, tmp_path / "report", out=tmp_path / "out")


def test_verify_says_what_does_not_hold(leaky, tmp_path):
    out = tmp_path / "out"
    assert run(*arguments(leaky)).returncode == 0
    refused(run("verify", str(tmp_path)), "clean.json: no such file")
    refused(
        run("verify", str(out), "--eval", leaky["eval.npz"]), "--eval: the certificate is for the eval files"
    )
    moved = Path(leaky["train.npz"]).rename(tmp_path / "elsewhere.npz")
    missing = run("verify", str(out))
    assert missing.returncode == 3
    assert "train cannot be found" in missing.stdout
    assert missing.stdout.splitlines()[-1].startswith("INCOMPLETE:")
    assert run("verify", str(out), "--train", str(moved)).returncode == 0
    wrong = run("verify", str(out), "--train", leaky["eval.npz"])
    assert wrong.returncode == 1
    assert "not the bytes that were certified" in wrong.stdout
    found = json.loads(run("verify", str(out), "--train", str(moved), "--json").stdout)
    assert found == {"verified": True, "failures": [], "missing": []}
    certificate = (out / "clean.json").read_text()
    for altered, code, words in (
        (certificate.replace('"rows": 40', '"rows": 41', 1), 1, "clean.json was altered"),
        (
            certificate.replace('"certificate_version": 1', '"certificate_version": 2'),
            2,
            "expected certificate_version 1",
        ),
        (certificate[:500], 2, "clean.json: expected JSON, cut off after 500 characters"),
    ):
        (out / "clean.json").write_text(altered)
        result = run("verify", str(out), "--train", str(moved))
        assert result.returncode == code
        assert words in result.stdout + result.stderr
    (out / "clean.json").write_text(certificate)
    content = (out / "eval.npz").read_bytes()
    (out / "eval.npz").write_bytes(content[:-1] + b"x")
    assert lvmfast.verify(out, train=moved).failures == (
        f"{out}/eval.npz: not the bytes that were certified (BLAKE3 differs)",
    )
    (out / "eval.npz").unlink()
    assert lvmfast.verify(out, train=moved).failures == (f"{out}/eval.npz: no such file",)


def test_verify_finds_a_certificate_that_never_was_true(leaky, tmp_path):
    from lvmfast.splits.certificate import sealed

    out = tmp_path / "out"
    assert run(*arguments(leaky)).returncode == 0
    certificate = json.loads((out / "clean.json").read_text())
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    scanned = summary["inputs"]["eval"]["files"][0]
    certificate["sides"]["eval"]["files"][0].update(bytes=scanned["bytes"], blake3=scanned["blake3"])
    (out / "eval.npz").write_bytes(Path(leaky["eval.npz"]).read_bytes())
    (out / "clean.json").write_text(json.dumps(sealed(certificate)))
    result = lvmfast.verify(out)
    assert "train and eval: certified clean, the scan now says leak" in result.failures
    certificate["sides"]["eval"]["files"][0]["file"] = "../../etc/passwd"
    (out / "clean.json").write_text(json.dumps(sealed(certificate)))
    with pytest.raises(DataError, match="expected a name inside the folder"):
        lvmfast.verify(out)
