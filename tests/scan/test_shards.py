"""Shards and their merge, and scans that were killed and resumed: the bytes of one unbroken scan."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.errors import DataError, IncompleteError
from lvmfast.report.saved import SavedScan
from tests.support.shards import OPTIONS, assert_same, assert_same_within


def scan_shards(corpus: Path, root: Path, shards: int, **options: Any) -> list[Path]:
    parts = []
    for share in range(1, shards + 1):
        part = root / f"part-{share}"
        report = lvmfast.leakscan(
            corpus / "train",
            corpus / "eval.parquet",
            shard=(share, shards),
            out=part,
            **{**OPTIONS, **options},
        )
        assert report.findings.verdict == "part"
        report.save(part)
        parts.append(part)
    return parts


@pytest.mark.parametrize("shards", [1, 3, 23])
def test_merged_shards_are_the_scan(corpus: Path, whole: Path, tmp_path: Path, shards: int) -> None:
    parts = scan_shards(corpus, tmp_path, shards)
    lvmfast.merge(list(reversed(parts))).save(tmp_path / "out")
    assert_same(tmp_path / "out", whole)


def test_a_merge_needs_no_input(corpus: Path, whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    parts = scan_shards(copy, tmp_path, 2)
    shutil.rmtree(copy)
    lvmfast.merge(parts).save(tmp_path / "out")
    for name in ("score", "train_row", "train_text", "eval_text", "eval_doc_id"):
        ours, theirs = (pq.read_table(place / "matches.parquet")[name] for place in (tmp_path / "out", whole))
        assert ours.equals(theirs)


def test_missing_and_doubled_parts_are_named(corpus: Path, tmp_path: Path) -> None:
    parts = scan_shards(corpus, tmp_path, 3)
    with pytest.raises(IncompleteError, match="part 2 of 3 missing"):
        lvmfast.merge([parts[0], parts[2]])
    with pytest.raises(DataError, match="part-1: part 1 of 3 is there twice"):
        lvmfast.merge([*parts, parts[0]])
    with pytest.raises(DataError, match="one part of a scan; `lvmfast merge`"):
        SavedScan.open(parts[1])
    (parts[1] / "summary.json").unlink()
    with pytest.raises(IncompleteError, match="part-2: not finished"):
        lvmfast.merge(parts)


def test_parts_of_other_scans_are_refused(corpus: Path, tmp_path: Path) -> None:
    first = scan_shards(corpus, tmp_path / "a", 2)
    other = scan_shards(corpus, tmp_path / "b", 2, threshold=0.9)
    with pytest.raises(DataError, match=r"threshold was 0\.9, now it is 0\.995"):
        lvmfast.merge([first[0], other[1]])
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(corpus, elsewhere)
    with pytest.raises(DataError, match="another scan"):
        lvmfast.merge([first[0], scan_shards(elsewhere, tmp_path / "c", 2)[1]])


def test_parts_of_an_earlier_form_are_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = scan_shards(corpus, tmp_path, 2)
    monkeypatch.setattr("lvmfast.merging.RECORDS", 99)
    with pytest.raises(DataError, match="the form of an earlier lvmfast: scan its shards again"):
        lvmfast.merge(parts)


def test_an_evaluation_set_of_other_rows_is_noticed(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    plain = pa.table(
        {"doc_id": ["a", "b"], "chunk_id": [1, 2], "text": ["the first text", "the second text"]}
    )
    other = plain.set_column(0, "doc_id", pa.array(["a", "c"]))
    options = {"max_df": None, "nearest": False, "levels": ["doc"]}
    pq.write_table(plain, copy / "eval.parquet", compression="none")
    first = scan_shards(copy, tmp_path / "a", 2, **options)
    pq.write_table(other, copy / "eval.parquet", compression="none")
    second = scan_shards(copy, tmp_path / "b", 2, **options)
    with pytest.raises(DataError, match="other rows"):
        lvmfast.merge([first[0], second[1]])


@pytest.mark.parametrize("shard", ["65/64", "0/4", "a/b", "3", "-1/4"])
def test_no_such_shard(corpus: Path, tmp_path: Path, shard: str) -> None:
    command = [sys.executable, "-m", "lvmfast", "leakscan", "--train", str(corpus / "train")]
    command += ["--eval", str(corpus / "eval.parquet"), "--out", str(tmp_path), f"--shard={shard}"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2
    assert "shard: expected" in run.stderr
    assert not list(tmp_path.iterdir())


def test_a_damaged_part_is_refused(corpus: Path, tmp_path: Path) -> None:
    parts = scan_shards(corpus, tmp_path, 2)
    cut = next((parts[0] / "part").glob("*.cut"))
    cut.write_bytes(cut.read_bytes()[:-1])
    with pytest.raises(DataError, match="damaged"):
        lvmfast.merge(parts)


#: The command line, with a record after every piece and pieces of a few rows.
EAGER = (
    "import lvmfast.leaks.cuts as c, lvmfast.leaks.journal as j; j.SECONDS = 0.0; "
    "j.Journal.__init__.__kwdefaults__['span_bytes'] = 2000; "
    "from lvmfast.__main__ import main; main()"
)


def command_line(corpus: Path, out: Path, *more: str) -> list[str]:
    command = [sys.executable, "-c", EAGER, "leakscan", "--train", str(corpus / "train"), "--quiet"]
    command += ["--eval", str(corpus / "eval.parquet"), "--nearest", "--max-pairs", "50", "--max-df", "4"]
    return [*command, "--out", str(out), *more]


def test_a_killed_scan_goes_on(corpus: Path, whole: Path, tmp_path: Path) -> None:
    out, seen = tmp_path / "out", set[int]()
    for _ in range(30):
        process = subprocess.Popen(command_line(corpus, out, "--resume"), stderr=subprocess.PIPE, text=True)
        cuts = len(list(out.glob(".partial/*.cut")))
        while process.poll() is None and len(list(out.glob(".partial/*.cut"))) < cuts + 2:
            time.sleep(0.001)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
        summary = json.loads((out / "summary.json").read_text()) if (out / "summary.json").exists() else None
        if summary is not None:
            assert (summary["verdict"], summary["exit_code"]) == ("incomplete", 3)
        seen.add(len(list(out.glob(".partial/*.cut"))))
    assert process.returncode == 1
    assert len(seen) > 2, "it was not killed often enough to prove anything"
    assert_same(out, whole)
    assert not (out / ".partial").exists()


#: The command line, with a record after every pass and passes of a few vectors.
EAGER_WITHIN = (
    "import lvmfast.leaks.journal as j, lvmfast.leaks.memory as m; j.SECONDS = 0.0; "
    "m.vectors_per_pass = lambda *args: 25; "
    "from lvmfast.__main__ import main; main()"
)


def within_command(corpus: Path, out: Path, *more: str) -> list[str]:
    command = [sys.executable, "-c", EAGER_WITHIN, "leakscan", "--train", str(corpus / "train"), "--quiet"]
    return [*command, "--threshold", "0.3", "--max-pairs", "50", "--out", str(out), *more]


def unfinished(summary: Path) -> str | None:
    """How far a scan is, as its summary says; None where there is none, or it is of an ended scan."""
    if not summary.exists():
        return None
    said = json.loads(summary.read_text())
    if said["verdict"] != "incomplete":
        return None
    assert said["exit_code"] == 3
    reason: str = said["levels"]["vector"]["reason"]
    return reason


def kill_until_it_ends(command: list[str], out: Path) -> set[str | None]:
    """Kills a scan whenever it says that it got further; how far it was each time."""
    summary, told = out / "summary.json", set[str | None]()
    for _ in range(40):
        process = subprocess.Popen([*command, "--resume"], stderr=subprocess.PIPE, text=True)
        while process.poll() is None and (reason := unfinished(summary)) in {None, *told}:
            time.sleep(0.001)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            told.add(reason)
        _, errors = process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
    assert process.returncode == 1, errors
    assert not (out / ".partial").exists()
    return told


def test_a_killed_scan_of_one_split_goes_on(corpus: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    lvmfast.leakscan(corpus / "train", threshold=0.3, max_pairs=50).save(whole)
    told = kill_until_it_ends(within_command(corpus, out), out)
    assert len(told) > 2, "it did not get further from kill to kill"
    assert_same_within(out, whole)


#: The command line where no index fits: a record after every keyed level and every block of a few vectors.
EAGER_BEYOND = (
    "import lvmfast.leaks.journal as j; from dataclasses import replace; from lvmfast.scan import plan, run; "
    "j.SECONDS = 0.0; planned = lambda sides, given: plan.plan(sides, replace(given, outgrown=True)); "
    "run.plan = lambda *given: replace(planned(*given), budget=20000, groups=25); "
    "from lvmfast.__main__ import main; main()"
)


def test_a_killed_scan_beyond_memory_goes_on(corpus: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = command_line(corpus, out)
    command[2] = EAGER_BEYOND
    told = kill_until_it_ends(command, out)
    assert len(told) > 5, "it did not get further from kill to kill"
    assert_same(out, whole)


def test_a_killed_scan_of_one_split_beyond_memory_goes_on(corpus: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    lvmfast.leakscan(corpus / "train", threshold=0.3, max_pairs=50).save(whole)
    command = within_command(corpus, out)
    command[2] = EAGER_BEYOND
    told = kill_until_it_ends(command, out)
    assert any(reason and reason.startswith("done at text; ") for reason in told), told
    assert len(told) > 3, "it did not get further from kill to kill"
    assert_same_within(out, whole)


def test_resuming_another_scan_is_refused(corpus: Path, tmp_path: Path) -> None:
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(corpus, copy)

    def stopped(phase: str, done: int, total: int | None) -> None:
        if (out / ".partial").exists() and len(list((out / ".partial").glob("*.cut"))) > 2:
            raise KeyboardInterrupt

    def scan(**more: Any) -> None:
        options = {**OPTIONS, **more}
        lvmfast.leakscan(copy / "train", copy / "eval.parquet", out=out, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lvmfast.leaks.journal.SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt, match="--resume continues"):
            scan(progress=stopped)
    with pytest.raises(DataError, match="not at its end; the same command with --resume"):
        SavedScan.open(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lvmfast.leaks.journal.RECORDS", 99)
        with pytest.raises(DataError, match="records have the form of an earlier lvmfast; without --resume"):
            scan(resume=True)
    with pytest.raises(DataError, match=r"cannot be resumed: max_pairs was 50, now it is 51"):
        scan(resume=True, max_pairs=51)
    (copy / "train" / "3.jsonl").write_text('{"doc_id": 1}\n')
    with pytest.raises(DataError, match=r"cannot be resumed: .*bytes was"):
        scan(resume=True)
