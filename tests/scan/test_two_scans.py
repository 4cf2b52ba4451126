"""Two commands with one `--out`: the second is refused, and where nothing can be locked records never mix."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.errors import DataError
from lvmfast.leaks import journal
from lvmfast.report import tables
from lvmfast.report.saved import SavedScan
from lvmfast.stores import holding

FILES = 6
#: The command line with a record after every file, that stops behind the n-th of them until it is let go.
PACED = """
import os, sys, time, pathlib
import lvmfast.leaks.journal as j
j.SECONDS = 0.0
stop, go, locks = int(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
del sys.argv[1:4]
add, count = j.Journal.add, 0
def paced(self, *args, **options):
    global count
    add(self, *args, **options)
    count += 1
    if count == stop:
        go.with_suffix(".there").touch()
        while not go.exists():
            time.sleep(0.002)
j.Journal.add = paced
if locks == "no locks":
    import errno, fcntl
    def flock(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    fcntl.flock = flock
from lvmfast.__main__ import main
main()
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Training folder `a` holds a text of the evaluation set in its first file, `b` none."""
    texts = [f"an evaluation text of some length, number {n}" for n in range(40)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "eval.parquet")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for place in range(FILES):
            rows = [f"a training text of some length, {name} {place} {n}" for n in range(200)]
            if (name, place) == ("a", 0):
                rows[7] = texts[3]
            pq.write_table(pa.table({"text": rows}), tmp_path / name / f"{place}.parquet")
    return tmp_path


class Scan:
    """A scan of a training folder that stops behind its n-th record until it is let go."""

    def __init__(self, corpus: Path, name: str, stop: int, *more: str, locks: str = "locks") -> None:
        self.go = corpus / f"{name}-{len(list(corpus.iterdir()))}.go"
        command = [sys.executable, "-c", PACED, str(stop), str(self.go), locks, "leakscan", "--quiet"]
        command += ["--train", str(corpus / name), "--eval", str(corpus / "eval.parquet")]
        command += ["--out", str(corpus / "out"), *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stopped(self) -> Scan:
        """Waits until it stops, or ends."""
        while not self.go.with_suffix(".there").exists() and self.process.poll() is None:
            time.sleep(0.002)
        return self

    def end(self) -> tuple[int, str]:
        """Lets it go; its exit code, and what it said on stderr."""
        self.go.touch()
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def verdict(out: Path) -> str:
    said = json.loads((out / "summary.json").read_text())["verdict"]
    assert isinstance(said, str)
    return said


def test_the_second_scan_is_refused_and_told_who_is_first(corpus: Path) -> None:
    first = Scan(corpus, "a", 3).stopped()
    second = Scan(corpus, "b", 99)
    code, errors = second.end()
    assert code == 2
    assert errors.count("\n") == 1
    pid, host = first.process.pid, re.escape(socket.gethostname())
    assert re.search(rf"out: in use by process {pid} on {host} since [-:0-9 ]+ \(.*leakscan.*--train", errors)
    assert first.end()[0] == 1
    assert verdict(corpus / "out") == "leak"
    assert not (corpus / "out" / ".partial").exists()
    assert not list(corpus.glob(".*")), "the lock is gone"


def test_a_killed_scan_holds_nothing(corpus: Path) -> None:
    first = Scan(corpus, "a", 3).stopped()
    first.process.send_signal(signal.SIGKILL)
    first.process.communicate()
    assert len(list(corpus.glob("out/.partial/*.cut"))) >= 3
    code, errors = Scan(corpus, "b", 99, "--resume").end()
    assert code == 2
    assert re.search(r"out: cannot be resumed: path was \".*/a/0\.parquet\", now it is \".*/b/0", errors)
    assert Scan(corpus, "b", 99).end()[0] == 0
    assert verdict(corpus / "out") == "clean"
    assert not list(corpus.glob("out/.partial")), "what the dead scan left is gone"
    assert not list(corpus.glob(".*"))


def test_what_a_scan_that_was_killed_while_it_wrote_its_report_left_goes_with_the_next(corpus: Path) -> None:
    killed = """
import os, signal
import lvmfast
import lvmfast.report.write as write
write.draw_page = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
lvmfast.leakscan("a", "eval.parquet").save("out")
"""
    assert subprocess.run([sys.executable, "-c", killed], cwd=corpus).returncode == -signal.SIGKILL
    assert len(list(corpus.glob("out/*"))) == 1
    lvmfast.leakscan(str(corpus / "b"), str(corpus / "eval.parquet")).save(str(corpus / "out"))
    whole = [
        "items.parquet",
        "matched_rows.parquet",
        "matches.parquet",
        "overlaps.parquet",
        "report.html",
        "summary.json",
    ]
    assert sorted(os.listdir(corpus / "out")) == whole


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("resumed", [False, True])
def test_records_do_not_mix_where_nothing_can_be_locked(corpus: Path, first: str, resumed: bool) -> None:
    """One begins, the other begins, records all of its own and ends, and then the first one goes on."""
    second = "b" if first == "a" else "a"
    right = {"a": (1, "leak"), "b": (0, "clean")}
    long = Scan(corpus, first, 2, locks="no locks").stopped()
    short = Scan(corpus, second, 3, *["--resume"] * resumed, locks="no locks").stopped()
    if resumed:  # there is a scan to be resumed, and it is another one
        code, errors = short.end()
        assert code == 2, errors
        assert "cannot be resumed" in errors
    else:
        code, errors = short.end()
        assert (code, verdict(corpus / "out")) == right[second], errors
    code, errors = long.end()
    assert (code, verdict(corpus / "out")) == right[first], errors
    assert SavedScan.open(corpus / "out").matches.num_rows == (first == "a")


def test_one_scan_twice_at_once_where_nothing_can_be_locked(corpus: Path) -> None:
    """The second removes what is the first one's too: it cannot know. The first says so."""
    long = Scan(corpus, "a", 4, locks="no locks").stopped()
    twin = Scan(corpus, "a", 2, locks="no locks").stopped()
    code, errors = long.end()
    assert code == 2, errors
    assert "cannot be read" in errors
    assert twin.end()[0] == 1
    assert verdict(corpus / "out") == "leak"


def journal_of(place: Path, run: str, **options: Any) -> journal.Journal:
    opened = journal.Journal(lvmfast.stores.folder(place), "x/", identity={"of": run}, **options)
    opened.open({})
    return opened


def test_a_state_of_another_scan_is_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SECONDS", 0.0)
    mine, other = journal_of(tmp_path, "mine"), journal_of(tmp_path, "other")
    mine.keep("passes", {"done": 1}, "")
    other.keep("passes", {"done": 2}, "")
    assert journal_of(tmp_path, "mine", resume=True).state("passes") == {"done": 1}
    name = next(tmp_path.glob(f"x/passes-{other.run}*"))
    shutil.copy(name, tmp_path / "x" / f"passes-{mine.run}.state")
    assert journal_of(tmp_path, "mine", resume=True).state("passes") is None


def test_data_in_memory_is_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells it from other data of the same size."""
    monkeypatch.setattr(journal, "SECONDS", 0.0)
    texts = {"text": [f"a text that is long enough, number {n}" for n in range(20)]}
    pq.write_table(pa.table(texts), tmp_path / "eval.parquet")

    def scan(**options: Any) -> lvmfast.LeakReport:
        train = pa.table({"text": texts["text"] * 30})
        return lvmfast.leakscan(train, tmp_path / "eval.parquet", out=tmp_path / "out", **options)

    class Stopped(Exception): ...

    def stop(*args: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "cuts", stop)
        patch.setattr(journal.Journal, "add", lambda self, *args, **_: self._begin_folder())
        with pytest.raises(Stopped):
            scan()
    with pytest.raises(DataError, match="data in memory cannot be known again"):
        scan(resume=True)
    assert not scan().passed


def test_a_place_is_held_by_one_and_left_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b" / "out"
    hold = "import sys; from lvmfast.stores import holding\nwith holding(sys.argv[1]): pass"
    ask = [sys.executable, "-c", hold]
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with holding(place):
        with holding(place), holding(tmp_path / "a" / "b" / "other"):
            pass
        for name in (place, tmp_path / "link" / "b" / "out"):
            run = subprocess.run([*ask, str(name)], capture_output=True, text=True)
            assert f"{name}: in use by process {os.getpid()} on " in run.stderr
        place.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
    place.mkdir(parents=True)
    with holding(place):
        (place / "kept").touch()
    assert [path.name for path in place.iterdir()] == ["kept"]
    assert [path.name for path in place.parent.iterdir()] == ["out"]
    assert subprocess.run([*ask, str(place)]).returncode == 0


@pytest.mark.parametrize("file", ["part/index", "part/rows", "summary.json", "part/*.cut"])
def test_a_part_holds_the_files_of_one_scan(corpus: Path, file: str) -> None:
    parts: dict[str, list[Path]] = {"a": [], "b": []}
    for name, made in parts.items():
        for share in (1, 2):
            made.append(corpus / f"part-{name}-{share}")
            shard = {"shard": (share, 2), "out": made[-1]}
            lvmfast.leakscan(corpus / name, corpus / "eval.parquet", **shard).save(made[-1])
    assert lvmfast.merge(parts["a"]).findings.verdict == "leak"
    (taken,), (place,) = parts["b"][0].glob(file), parts["a"][0].glob(file)
    shutil.copy(taken, place)
    with pytest.raises(DataError, match=r"part-a-1(: holds files of several|/part/run-\w+: cannot be)"):
        lvmfast.merge(parts["a"])


def test_of_files_that_changed_the_first_is_told(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted((corpus / "a").iterdir())
    matches = tables.matches

    def changing(*given: Any) -> Any:
        found = matches(*given)
        for file in files[1:]:
            file.write_bytes(file.read_bytes() + b"\n")
        return found

    monkeypatch.setattr("lvmfast.api.matches", changing)
    with pytest.raises(DataError, match=rf"{re.escape(files[1].name)}: changed while it was read"):
        lvmfast.leakscan(corpus / "a", corpus / "eval.parquet")


def test_an_interrupt_after_the_last_record_says_what_is_kept(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SECONDS", 0.0)

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lvmfast.api.matches", interrupted)
        with pytest.raises(KeyboardInterrupt, match="what was done is kept; the same command with --resume"):
            lvmfast.leakscan(corpus / "a", corpus / "eval.parquet", out=corpus / "out")
    report = lvmfast.leakscan(corpus / "a", corpus / "eval.parquet", out=corpus / "out", resume=True)
    assert not report.passed


def test_an_error_says_what_is_kept(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SECONDS", 0.0)
    torn = corpus / "a" / f"{FILES - 1}.jsonl"
    torn.write_text('{"text": "a text that is long enough"}\n' * 50_000 + '{"text": \n')
    with pytest.raises(DataError, match=r"5\.jsonl.*; what was done is kept; the same command with --resume"):
        lvmfast.leakscan(corpus / "a", corpus / "eval.parquet", out=corpus / "out")
    torn.unlink()
    report = lvmfast.leakscan(corpus / "a", corpus / "eval.parquet", out=corpus / "out")
    report.save(corpus / "out")
    assert not report.passed
    assert not (corpus / "out" / ".partial").exists()


def test_files_of_two_reports_are_told_apart(corpus: Path) -> None:
    """Two scans with equal counts: only what the tables hold tells them apart."""
    reports = {}
    for name, row in (("a", 7), ("c", 8)):
        (corpus / name).mkdir(exist_ok=True)
        rows = [f"a training text of some length, {n}" for n in range(200)]
        rows[row] = "an evaluation text of some length, number 3"
        pq.write_table(pa.table({"text": rows}), corpus / name / "0.parquet")
        out = reports[name] = corpus / f"report-{name}"
        lvmfast.leakscan(corpus / name / "0.parquet", corpus / "eval.parquet").save(out)
        SavedScan.open(out)
    for table in ("matches", "matched_rows"):
        shutil.copytree(reports["a"], corpus / table)
        shutil.copy(reports["c"] / f"{table}.parquet", corpus / table)
        with pytest.raises(DataError, match=rf"{table}\.parquet: not the table of this summary"):
            getattr(SavedScan.open(corpus / table), table)
