"""Leaked files moved out of the way, recognised under any name, and moved back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import lvmfast
from lvmfast.corpus.quarantined import Quarantines
from lvmfast.splits import move as moving
from tests.support import data
from tests.support.places import SCHEMA

LVMFAST = [sys.executable, "-m", "lvmfast"]
FOLDER, MANIFEST, WARNING = "LEAKED_EVAL_SETS", "manifest.json", "README_LEAK_WARNING.md"


def run(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LVMFAST, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    data.leaky(folder)
    clean = data.sequences(np.random.default_rng(5), 30, first_doc=900)
    np.savez(folder / "clean.npz", **clean)
    lvmfast.leakscan(str(folder / "train.npz"), [str(folder / "eval.npz"), str(folder / "clean.npz")]).save(
        folder / "report"
    )
    return folder


@pytest.fixture
def place(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "work")
    return tmp_path / "work"


def manifest(folder: Path) -> list[dict]:
    return json.loads((folder / MANIFEST).read_text())["files"]


def test_the_file_the_warning_and_the_manifest(place):
    content = (place / "eval.npz").read_bytes()
    done = lvmfast.quarantine(place / "eval.npz", place / "report")
    folder = place / FOLDER
    assert sorted(os.listdir(folder)) == [WARNING, "eval.npz", MANIFEST]
    assert not (place / "eval.npz").exists()
    assert (folder / "eval.npz").read_bytes() == content
    (entry,) = manifest(folder)
    assert entry == done.moved[0].entry
    assert entry["levels"]["vector"] | {"threshold": 0} == {
        "status": "leak",
        "threshold": 0,
        "checked": 60,
        "matched": 20,
        "rate": 20 / 60,
    }
    assert entry["scan"]["levels"]["vector"]["rate"] == 20 / 90  # the clean file was scanned with it
    assert (entry["verdict"], entry["pending"], entry["forced"]) == ("leak", None, None)
    assert entry["original_path"] == str(place / "eval.npz")
    summary = json.loads((place / "report" / "summary.json").read_text())
    assert entry["blake3"] == summary["inputs"]["eval"]["files"][0]["blake3"]
    assert entry["scan"]["train"][0]["blake3"] == summary["inputs"]["train"]["files"][0]["blake3"]
    warning = (folder / WARNING).read_text()
    for word in ("train.npz", "20 of 60 checked (33.3%)", "22.2%", "Invalid", "lvmfast clean", "Found 20"):
        assert word in warning


def test_a_copy_under_another_name_is_refused_and_stamped(place):
    lvmfast.quarantine(place / "eval.npz", place / "report")
    (place / "deep" / "er").mkdir(parents=True)
    copy = shutil.copy(place / FOLDER / "eval.npz", place / "deep" / "er" / "harmless.npz")
    for leaked in (copy, place / FOLDER / "eval.npz"):
        with pytest.raises(lvmfast.DataError, match=r"seen in training at .*vector \(33\.3%\).*allow-leaked"):
            lvmfast.load_split(leaked)
    split = lvmfast.load_split(copy, allow_leaked=True)
    assert split.leaked == (str(copy),)
    assert lvmfast.load_split(place / "clean.npz").leaked == ()
    assert lvmfast.load_split(place / "clean.npz", allow_leaked=True).leaked == ()
    train = str(place / "train.npz")
    for source in (split, str(copy)):
        report = lvmfast.leakscan(train, source, allow_leaked=True)
        assert (report.summary["stamp"], report.summary["leaked_inputs"]) == ("LEAKED", [str(copy)])
        jsonschema.validate(report.summary, SCHEMA)
        assert "LEAKED" in str(report)
    clean = lvmfast.leakscan(train, str(place / "clean.npz"), allow_leaked=True)
    assert (clean.summary["stamp"], clean.summary["leaked_inputs"]) == (None, [])
    jsonschema.validate(clean.summary, SCHEMA)
    assert "LEAKED" not in str(clean)


def test_a_leaked_payload_is_refused_and_stamps(place):
    payload = place / "eval_payload.parquet"
    lvmfast.leakscan(str(payload), str(payload), levels=["text"]).save(place / "own")
    lvmfast.quarantine(payload, place / "own", force=True)  # it is its own training set
    copy = str(shutil.copy(place / FOLDER / payload.name, place / "texts.parquet"))
    with pytest.raises(lvmfast.DataError, match=r"texts\.parquet: seen in training"):
        lvmfast.load_split(place / "eval.npz", payload=copy)
    assert lvmfast.load_split(place / "eval.npz", payload=copy, allow_leaked=True).leaked == (copy,)


def test_only_files_of_an_entrys_size_are_hashed(place, monkeypatch):
    lvmfast.quarantine(place / "eval.npz", place / "report")
    hashed = []
    from lvmfast import _core

    hash_file = _core.blake3_file
    monkeypatch.setattr(_core, "blake3_file", lambda path, n: hashed.append(str(path)) or hash_file(path, n))
    lvmfast.load_split(place / "clean.npz")
    assert hashed == []
    twin = place / "twin.npz"
    twin.write_bytes(b"x" * (place / FOLDER / "eval.npz").stat().st_size)
    assert Quarantines().find(str(twin)) is None
    assert hashed == [str(twin)]


def test_a_quarantine_elsewhere_counts_by_the_environment(place, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    lvmfast.quarantine(place / "eval.npz", place / "report", into=elsewhere)
    copy = shutil.copy(elsewhere / "eval.npz", place / "copy.npz")
    lvmfast.load_split(copy)
    monkeypatch.setenv("LVMFAST_QUARANTINE", f"{elsewhere}")
    with pytest.raises(lvmfast.DataError, match="seen in training"):
        lvmfast.load_split(copy)
    monkeypatch.setenv("LVMFAST_QUARANTINE", f"{elsewhere}{os.pathsep}{tmp_path / 'typo'}")
    with pytest.raises(lvmfast.DataError, match=r"LVMFAST_QUARANTINE: .*typo: no quarantine there"):
        lvmfast.load_split(copy)


def test_a_link_to_a_quarantined_file_is_refused(place, tmp_path):
    lvmfast.quarantine(place / "eval.npz", place / "report")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "link.npz").symlink_to(place / FOLDER / "eval.npz")
    with pytest.raises(lvmfast.DataError, match="seen in training"):
        lvmfast.load_split(tmp_path / "far" / "link.npz")


def test_a_folder_passes_over_its_quarantine_and_says_so(place):
    for name in ("train.npz", "train_payload.parquet", "eval_payload.parquet"):
        (place / name).unlink()
    lvmfast.quarantine(place / "eval.npz", place / "report")
    shutil.rmtree(place / "report")
    split = lvmfast.load_split(place)
    assert [Path(file.name).name for file in split.files if file.name.endswith("npz")] == ["clean.npz"]
    assert any(f"{FOLDER}: quarantined" in note for note in split.notes)
    (place / "clean.npz").unlink()
    with pytest.raises(lvmfast.DataError, match="quarantined, passed over"):
        lvmfast.load_split(place)


def test_restore_brings_it_back_and_clears_up(place):
    content = (place / "eval.npz").read_bytes()
    lvmfast.quarantine([place / "eval.npz", place / "clean.npz"], place / "report", force=True)
    folder = place / FOLDER
    assert {entry["file"]: entry["forced"] for entry in manifest(folder)} == {
        "eval.npz": None,
        "clean.npz": "the scan found it clean",
    }
    assert lvmfast.restore(folder / "eval.npz") == place / "eval.npz"
    assert (place / "eval.npz").read_bytes() == content
    lvmfast.load_split(place / "eval.npz")
    assert (folder / WARNING).exists()
    assert "## eval.npz" not in (folder / WARNING).read_text()
    lvmfast.restore(folder / "clean.npz")
    assert os.listdir(folder) == [MANIFEST]
    assert lvmfast.quarantined(place) == ()


def test_restore_refuses_what_would_lose_something(place):
    folder = place / FOLDER
    with pytest.raises(lvmfast.DataError, match=r"cannot move|not quarantined"):
        lvmfast.restore(folder / "eval.npz")
    lvmfast.quarantine(place / "eval.npz", place / "report")
    (place / "eval.npz").write_bytes(b"new")
    with pytest.raises(lvmfast.DataError, match="another file is there"):
        lvmfast.restore(folder / "eval.npz")
    assert (place / "eval.npz").read_bytes() == b"new"
    (place / "eval.npz").unlink()
    with pytest.raises(lvmfast.DataError, match="not quarantined"):
        lvmfast.restore(folder / MANIFEST)
    (folder / "eval.npz").write_bytes(b"altered")
    with pytest.raises(lvmfast.DataError, match="expected BLAKE3"):
        lvmfast.restore(folder / "eval.npz")
    assert not (place / "eval.npz").exists()


def test_a_folder_or_a_glob_moves_what_leaked(place):
    (place / "evals").mkdir()
    for name in ("eval.npz", "clean.npz"):
        os.rename(place / name, place / "evals" / name)
    done = lvmfast.quarantine(str(place / "evals" / "*.npz"), place / "report")
    assert [entry.path for entry in done.moved] == [place / "evals" / FOLDER / "eval.npz"]
    assert done.clean == (place / "evals" / "clean.npz",)
    with pytest.raises(lvmfast.DataError, match="no file there leaked"):
        lvmfast.quarantine(place / "evals", place / "report")


def test_a_copy_of_the_same_name_joins_what_is_there(place):
    saved = (place / "eval.npz").read_bytes()
    lvmfast.quarantine(place / "eval.npz", place / "report")
    (place / "eval.npz").write_bytes(saved)
    lvmfast.quarantine(place / "eval.npz", place / "report")
    assert not (place / "eval.npz").exists()
    assert len(manifest(place / FOLDER)) == 1


def unchanged(place: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: (p / "eval.npz").write_bytes(b"other"), "not what .* scanned as eval"),
        (lambda p: (p / "eval.npz").unlink(), "no such file"),
        (lambda p: (p / "report" / "summary.json").unlink(), "no finished scan"),
        (lambda p: alter(p, schema_version=2), "schema_version: expected 1, got 2"),
        (lambda p: alter(p, verdict="incomplete"), "the scan is incomplete"),
        (lambda p: occupy(p, "eval.npz"), "another file is at"),
        (lambda p: occupy(p, MANIFEST), r"manifest\.json: kind"),
        (lambda p: link(p), "a symbolic link; quarantine what it points to"),
        (lambda p: (p / FOLDER).write_text("a file"), "cannot move"),
    ],
)
def test_refused_and_nothing_moved(place, spoil, message):
    spoil(place)
    before = unchanged(place)
    with pytest.raises(lvmfast.DataError, match=message):
        lvmfast.quarantine(place / "eval.npz", place / "report")
    assert unchanged(place) == before


def alter(place: Path, **fields) -> None:
    path = place / "report" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def occupy(place: Path, name: str) -> None:
    (place / FOLDER).mkdir()
    (place / FOLDER / name).write_text("{}")


def link(place: Path) -> None:
    os.rename(place / "eval.npz", place / "real.npz")
    (place / "eval.npz").symlink_to(place / "real.npz")


def test_a_clean_file_needs_force(place):
    with pytest.raises(lvmfast.DataError, match="found it clean; --force"):
        lvmfast.quarantine([place / "eval.npz", place / "clean.npz"], place / "report")
    assert (place / "eval.npz").exists()
    assert not (place / FOLDER).exists()


def test_a_copy_of_the_training_file_needs_force(place):
    copy = shutil.copy(place / "train.npz", place / "copy.npz")
    lvmfast.leakscan(str(place / "train.npz"), str(copy)).save(place / "own")
    with pytest.raises(lvmfast.DataError, match=r"content of the training file .*train\.npz"):
        lvmfast.quarantine(copy, place / "own")


def test_two_files_of_one_name_do_not_meet(place):
    (place / "b").mkdir()
    shutil.copy(place / "eval.npz", place / "b" / "eval.npz")
    with pytest.raises(lvmfast.DataError, match="would take the place of"):
        lvmfast.quarantine([place / "eval.npz", place / "b" / "eval.npz"], place / "report", into=place / "q")


@pytest.mark.parametrize("text", ["{", '{"kind": "lvmfast quarantine", "schema_version": 9}'])
def test_a_broken_manifest_lets_nothing_through(place, text):
    lvmfast.quarantine(place / "eval.npz", place / "report")
    (place / FOLDER / MANIFEST).write_text(text)
    with pytest.raises(lvmfast.DataError, match=r"manifest\.json: "):
        lvmfast.load_split(place / "clean.npz")


@pytest.mark.parametrize("name", ["../eval.npz", "..", "", "/etc/passwd"])
def test_a_manifest_cannot_point_elsewhere(place, name):
    lvmfast.quarantine(place / "eval.npz", place / "report")
    path = place / FOLDER / MANIFEST
    content = json.loads(path.read_text())
    content["files"][0]["file"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(lvmfast.DataError, match="not a file of this folder"):
        lvmfast.restore(place / FOLDER / "eval.npz")


def test_somebody_elses_manifest_is_none(place):
    (place / MANIFEST).write_text('{"name": "a web page"}')
    lvmfast.load_split(place / "clean.npz")
    (place / MANIFEST).write_text("not json")
    lvmfast.load_split(place / "clean.npz")


@pytest.mark.parametrize("failing", ["rename", "fsync", "replace"])
def test_a_folder_that_cannot_be_written_leaves_everything(place, monkeypatch, failing):
    content = (place / "eval.npz").read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, refuse)
        with pytest.raises(lvmfast.DataError, match="Read-only file system"):
            lvmfast.quarantine(place / "eval.npz", place / "report")
    assert (place / "eval.npz").read_bytes() == content
    assert not (place / FOLDER / "eval.npz").exists()


def other_device(place: Path) -> Path:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == place.stat().st_dev:
        pytest.skip("needs /dev/shm on another file system")
    return shm / f"lvmfast-test-{os.getpid()}"


@pytest.fixture(params=["same", "other"])
def into(request, place):
    if request.param == "same":
        yield place / "q"
    else:
        folder = other_device(place)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def test_there_and_back_across_file_systems(place, into):
    content = (place / "eval.npz").read_bytes()
    lvmfast.quarantine(place / "eval.npz", place / "report", into=into)
    assert (into / "eval.npz").read_bytes() == content
    assert not (place / "eval.npz").exists()
    lvmfast.restore(into / "eval.npz")
    assert (place / "eval.npz").read_bytes() == content
    assert os.listdir(into) == [MANIFEST]


def test_a_disk_that_is_full_in_the_middle_of_a_copy(place, monkeypatch):
    folder = other_device(place)
    content = (place / "eval.npz").read_bytes()

    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(moving.shutil, "copy2", full)
    try:
        with pytest.raises(lvmfast.DataError, match="No space left"):
            lvmfast.quarantine(place / "eval.npz", place / "report", into=folder)
        assert not folder.exists()
        folder.mkdir()
        with pytest.raises(lvmfast.DataError, match="No space left"):
            lvmfast.quarantine(place / "eval.npz", place / "report", into=folder)
        assert os.listdir(folder) == [MANIFEST]
        assert manifest(folder) == []
    finally:
        shutil.rmtree(folder)
    assert (place / "eval.npz").read_bytes() == content


STEPS = (
    (os, ("rename", "replace", "unlink", "mkdir", "fsync")),
    (shutil, ("copy2",)),
    (Path, ("write_text", "unlink", "mkdir")),
)


def dies_before(step: int, action: Callable[[], object]) -> bool:
    """Runs `action` in a child that ends just before its `step`-th call that changes the disk, as if the
    power went: nothing is cleaned up. False if it came to its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of every fork beside threads
        child = os.fork()
    if child == 0:
        left = step

        def dying(call):
            def counted(*arguments, **options):
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(99)
                return call(*arguments, **options)

            return counted

        for module, names in STEPS:
            for name in names:
                setattr(module, name, dying(getattr(module, name)))
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 99)
    return code == 99


@pytest.mark.parametrize("action", ["quarantine", "restore"])
def test_killed_at_each_step_nothing_is_lost_and_resume_finishes(place, into, action):
    content = (place / "eval.npz").read_bytes()

    def there():
        lvmfast.quarantine(place / "eval.npz", place / "report", into=into)

    def back():
        lvmfast.restore(into / "eval.npz")

    begin, undo = (there, back) if action == "quarantine" else (back, there)
    start, end = place / "eval.npz", into / "eval.npz"
    if action == "restore":
        there()
        start, end = end, start
    resumed = 0
    for step in range(60):
        if not dies_before(step, begin):
            break
        whole = [path for path in (start, end) if path.exists() and path.read_bytes() == content]
        assert whole, f"lost at step {step}"
        if (into / MANIFEST).exists():
            resumed += bool(lvmfast.resume_quarantine(into))
        if not resumed:
            assert start.exists()
            continue  # it had not begun
        assert not start.exists()
        assert end.read_bytes() == content
        assert [entry["pending"] for entry in manifest(into)] == ([None] if action == "quarantine" else [])
        assert (into / WARNING).exists() == (action == "quarantine")
        assert not [name for name in os.listdir(into) if name.endswith("npz.part")]
        undo()
    else:
        pytest.fail("it never came to its end")
    assert resumed > 3
    assert not start.exists()
    assert end.read_bytes() == content


def test_a_file_in_neither_place_is_said(place):
    lvmfast.quarantine(place / "eval.npz", place / "report")
    path = place / FOLDER / MANIFEST
    content = json.loads(path.read_text())
    content["files"][0]["pending"] = "quarantine"
    path.write_text(json.dumps(content))
    with pytest.raises(lvmfast.DataError, match="was cut off; finish it first"):
        lvmfast.restore(place / FOLDER / "eval.npz")
    (place / FOLDER / "eval.npz").unlink()
    with pytest.raises(lvmfast.DataError, match="found neither there nor at"):
        lvmfast.resume_quarantine(place / FOLDER)
    assert len(manifest(place / FOLDER)) == 1


def test_the_command_lines(place):
    done = run("quarantine", "--report", "report", "eval.npz", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "seen in training at doc (33.3%)" in done.stdout
    listed = run("quarantine", "list", cwd=place)
    assert (listed.returncode, len(listed.stdout.splitlines())) == (0, 1)
    assert str(place / FOLDER / "eval.npz") in listed.stdout
    scan = ["leakscan", "--train", "train.npz", "--eval", f"{FOLDER}/eval.npz"]
    gone = run("leakscan", "--train", "train.npz", "--eval", "eval.npz", cwd=place)
    told = f"lvmfast: eval.npz: no such file: it was quarantined, as {place / FOLDER / 'eval.npz'}; "
    assert (gone.returncode, gone.stderr.startswith(told), gone.stderr.count("\n")) == (2, True, 1)
    refused = run(*scan, cwd=place)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert len(refused.stderr.strip().splitlines()) == 1
    allowed = run(*scan, "--allow-leaked", "--quiet", cwd=place)
    assert allowed.returncode == 1
    assert allowed.stdout.splitlines()[0].startswith("LEAKED: ")
    assert allowed.stdout.splitlines()[-1].startswith("LEAK: doc=20/60")
    assert run("quarantine", "--resume", cwd=place).stdout == "nothing to resume\n"
    back = run("quarantine", "restore", f"{FOLDER}/eval.npz", cwd=place)
    assert (back.returncode, back.stdout) == (0, f"{FOLDER}/eval.npz -> {place}/eval.npz\n")
    assert run("quarantine", "list", cwd=place).stdout == "nothing is quarantined for .\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["eval.npz"], "--report DIR is missing"),
        (["--report", "report"], "EVAL is missing"),
        (["gone.npz", "--report", "report"], "gone.npz: no such file"),
        (["clean.npz", "--report", "report"], "--force"),
        (["restore", "eval.npz"], "not quarantined"),
        (["list", "gone"], "gone: no such folder"),
    ],
)
def test_bad_command_lines_are_exit_2(place, arguments, words):
    done = run("quarantine", *arguments, cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_help_names_every_way():
    assert "EVAL... --report DIR | COMMAND" in run("quarantine", "--help").stdout
    assert "--resume" in run("quarantine", "add", "--help").stdout


@pytest.mark.parametrize(
    "arguments", [("eval.npz", "--report", "report"), ("--resume",), ("restore", "x.npz")]
)
def test_interrupted_moves_do_not_say_that_nothing_was_written(place, monkeypatch, arguments):
    from typer.testing import CliRunner

    from lvmfast.cli import app, quarantine

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    for name in ("put_away", "resume", "put_back"):
        monkeypatch.setattr(quarantine, name, interrupted)
    lvmfast.quarantine(place / "eval.npz", place / "report")
    monkeypatch.chdir(place)
    done = CliRunner().invoke(app, ["quarantine", *arguments])
    assert done.exit_code == 130
    assert done.output == "lvmfast: interrupted; `lvmfast quarantine list` says what was moved\n"
