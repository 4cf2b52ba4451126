"""Objects that leaked are quarantined in their store: refused there, brought back, never lost on the way."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import lvmfast
from lvmfast import DataError
from lvmfast.cli.app import app
from lvmfast.stores import objects_under, open_input
from tests.support.store import failing, put

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiobotocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:moto"),
]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def names(uri: str) -> list[str]:
    return [name[len(uri) + 1 :] for name in objects_under(uri)]


def content(uri: str) -> bytes:
    with open_input(uri) as raw:
        return raw.read()


@pytest.fixture
def scanned(bucket, tmp_path):
    """A bucket with a training object and two evaluation objects, of which one leaked, and their scan."""
    texts = {"train": range(50), "eval/seen": [3, 4, 100], "eval/unseen": range(200, 210)}
    for name, numbers in texts.items():
        table = pa.table({"text": [f"a text of its own with the number {number}" for number in numbers]})
        pq.write_table(table, tmp_path / "file.parquet")
        put(f"{bucket}/{name}.parquet", (tmp_path / "file.parquet").read_bytes())
    asked = ["leakscan", "--train", f"{bucket}/train.parquet", "--eval", f"{bucket}/eval", "--levels", "text"]
    assert command(*asked, "--out", f"{bucket}/report").exit_code == 1
    return bucket, asked


def test_what_leaked_is_moved_refused_and_brought_back(scanned):
    bucket, asked = scanned
    before = content(f"{bucket}/eval/seen.parquet")
    moved = command("quarantine", f"{bucket}/eval", "--report", f"{bucket}/report")
    assert moved.exit_code == 0, moved.output
    quarantined = f"{bucket}/eval/LEAKED_EVAL_SETS/seen.parquet"
    assert f"{bucket}/eval/seen.parquet -> {quarantined}: seen in training at text (66.7%)" in moved.output
    assert f"{bucket}/eval/unseen.parquet: clean, stays" in moved.output
    place = "LEAKED_EVAL_SETS"
    expected = [f"{place}/README_LEAK_WARNING.md", f"{place}/manifest.json", f"{place}/seen.parquet"]
    assert names(f"{bucket}/eval") == [*expected, "unseen.parquet"]
    assert content(quarantined) == before
    assert command(*asked).exit_code == 0  # the folder is passed over
    refused = command("leakscan", "--train", f"{bucket}/train.parquet", "--eval", quarantined)
    assert refused.exit_code == 2
    assert "in quarantine" in refused.output
    listed = command("quarantine", "list", f"{bucket}/eval")
    assert f"{quarantined}: seen in training" in listed.output
    (entry,) = lvmfast.quarantined(f"{bucket}/eval")
    assert entry.original == f"{bucket}/eval/seen.parquet"
    back = command("quarantine", "restore", quarantined)
    assert (back.exit_code, back.output) == (0, f"{quarantined} -> {bucket}/eval/seen.parquet\n")
    assert content(f"{bucket}/eval/seen.parquet") == before
    assert names(f"{bucket}/eval/{place}") == ["manifest.json"]
    assert "not quarantined" in command("quarantine", "restore", quarantined).output


def test_what_cannot_be_quarantined(scanned, tmp_path):
    bucket, _ = scanned
    report = ["--report", f"{bucket}/report"]
    clean = command("quarantine", f"{bucket}/eval/unseen.parquet", *report)
    assert "found it clean; --force quarantines it in spite of this" in clean.output
    other = command("quarantine", f"{bucket}/train.parquet", *report)
    assert "not what" in other.output
    both = command("quarantine", f"{bucket}/eval", tmp_path, *report)
    assert "got both" in both.output
    put(f"{bucket}/q/seen.parquet", b"another")
    taken = command("quarantine", f"{bucket}/eval", "--into", f"{bucket}/q", *report)
    assert f"another object is at {bucket}/q/seen.parquet" in taken.output
    elsewhere = command("quarantine", f"{bucket}/eval", "--into", "memory://q", *report)
    assert f"expected a folder in the store of {bucket}/eval/seen.parquet" in elsewhere.output
    assert names(f"{bucket}/eval") == ["seen.parquet", "unseen.parquet"]


def test_a_move_that_fails_leaves_the_object_and_one_that_is_cut_off_is_finished(scanned, proxy, monkeypatch):
    bucket, _ = scanned
    before = content(f"{bucket}/eval/seen.parquet")
    arguments = ["quarantine", f"{bucket}/eval", "--report", f"{bucket}/report", "--into", f"{bucket}/q"]
    proxy.faults = failing(100, 403, method="PUT", part="q/seen.parquet")
    assert command(*arguments).exit_code == 2
    proxy.faults = lambda method, path, headers: None
    assert content(f"{bucket}/eval/seen.parquet") == before
    assert json.loads(content(f"{bucket}/q/manifest.json"))["files"] == []

    def killed(*_: object) -> None:
        raise SystemExit(9)

    for patched in ("_holds", "_put"):  # before the copy is looked at, and when the original is gone
        with monkeypatch.context() as patch:
            if patched == "_put":
                real = lvmfast.splits.stored_quarantine._put
                calls: list[object] = []

                def second(entry, *, drop=False, calls=calls, real=real):
                    calls.append(entry)
                    return killed() if len(calls) > 1 else real(entry, drop=drop)

                patch.setattr("lvmfast.splits.stored_quarantine._put", second)
            else:
                patch.setattr("lvmfast.splits.stored_quarantine._finish", killed)
                patch.setattr("lvmfast.splits.stored_quarantine._holds", lambda uri, known: False)
            with pytest.raises(SystemExit):
                lvmfast.quarantine(f"{bucket}/eval", f"{bucket}/report", into=f"{bucket}/q")
        (entry,) = lvmfast.quarantined(f"{bucket}/q")
        assert entry.pending == "quarantine"
        with pytest.raises(DataError, match="its quarantine was cut off; finish it first"):
            lvmfast.restore(f"{bucket}/q/seen.parquet")
        done = command("quarantine", "--resume", "--into", f"{bucket}/q")
        assert "seen.parquet: quarantine finished" in done.output, done.output
        assert content(f"{bucket}/q/seen.parquet") == before
        assert names(f"{bucket}/eval") == ["unseen.parquet"]
        assert lvmfast.restore(f"{bucket}/q/seen.parquet") == f"{bucket}/eval/seen.parquet"
    assert content(f"{bucket}/eval/seen.parquet") == before
