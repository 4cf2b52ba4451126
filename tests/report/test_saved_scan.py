"""A report directory read back, and what is refused as one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import blake3
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.report.saved import SavedScan
from tests.support import data


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return data.leaky(tmp_path_factory.mktemp("leaky"))


@pytest.fixture(scope="module")
def report(files):
    return lvmfast.leakscan(
        files["train.npz"],
        files["eval.npz"],
        train_payload=files["train_payload"],
        eval_payload=files["eval_payload"],
    )


@pytest.fixture
def saved(report, tmp_path) -> Path:
    report.save(tmp_path / "report")
    return tmp_path / "report"


def altered(saved: Path, **fields) -> Path:
    summary = json.loads((saved / "summary.json").read_text())
    (saved / "summary.json").write_text(json.dumps(summary | fields))
    return saved


def test_what_was_saved_is_read_back(report, saved, files):
    scan = SavedScan.open(saved)
    tables = {
        name: blake3.blake3((saved / name).read_bytes()).hexdigest()
        for name in ("items.parquet", "matched_rows.parquet", "matches.parquet", "overlaps.parquet")
    }
    assert scan.summary == json.loads(json.dumps(report.summary)) | {"tables": tables}
    assert scan.sides == ("train", "eval")
    assert scan.complete
    scan.require_complete()
    assert scan.matched_rows.equals(report.matched_rows)
    assert scan.matches.equals(report.matches)
    (file,) = scan.files("eval")
    assert (file.name, file.rows, file.identity.nbytes) == (
        files["eval.npz"],
        60,
        Path(files["eval.npz"]).stat().st_size,
    )
    assert file.levels["text"] == {"checked": 60, "matched": 20, "set_aside": 0}
    assert file.matched_levels == ("doc", "chunk", "text", "overlap", "vector", "context")


def test_inputs_are_known_by_content(saved, files, tmp_path):
    scan = SavedScan.open(saved)
    copy = shutil.copy(files["eval.npz"], tmp_path / "renamed.bin")
    assert scan.check_inputs("eval", [files["eval.npz"], copy]) == [scan.files("eval")[0]] * 2
    with pytest.raises(lvmfast.DataError, match=r"train\.npz: not what .*report scanned as eval"):
        scan.check_inputs("eval", [files["train.npz"]])
    with pytest.raises(lvmfast.DataError, match=r"gone\.npz"):
        scan.check_inputs("eval", [tmp_path / "gone.npz"])
    with pytest.raises(lvmfast.DataError, match="not what"):
        scan.check_inputs("eval", [tmp_path])


def test_equal_files_are_told_apart_by_name(files, tmp_path):
    twins = [str(tmp_path / name) for name in ("a.npz", "b.npz")]
    for twin in twins:
        shutil.copy(files["eval.npz"], twin)
    lvmfast.leakscan(files["train.npz"], twins, levels=["vector"]).save(tmp_path / "report")
    found = SavedScan.open(tmp_path / "report").check_inputs("eval", twins[::-1])
    assert [file.name for file in found] == twins[::-1]


def test_duplicates_inside_one_split_have_one_side(files, tmp_path):
    lvmfast.leakscan(files["train.npz"]).save(tmp_path / "report")
    scan = SavedScan.open(tmp_path / "report")
    assert scan.sides == ("train",)
    assert scan.files("eval") == ()
    assert scan.matched_rows.num_rows == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema_version": 2}, "schema_version: expected 1, got 2"),
        ({"levels": None}, "levels: expected dict"),
        ({"files": []}, "do not describe the same files"),
        ({"inputs": {"train": {}}}, "do not describe the same files"),
    ],
)
def test_another_summary_is_refused(saved, fields, message):
    with pytest.raises(lvmfast.DataError, match=message):
        SavedScan.open(altered(saved, **fields))


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"'])
def test_a_broken_summary_is_refused(saved, text):
    (saved / "summary.json").write_text(text)
    with pytest.raises(lvmfast.DataError, match=r"summary\.json: expected"):
        SavedScan.open(saved)


def test_a_folder_without_a_finished_scan_is_refused(tmp_path):
    with pytest.raises(lvmfast.DataError, match="no finished scan"):
        SavedScan.open(tmp_path)
    with pytest.raises(lvmfast.DataError, match="no such folder"):
        SavedScan.open(tmp_path / "gone")


def test_an_incomplete_scan_can_be_read_but_not_acted_on(saved):
    scan = SavedScan.open(altered(saved, verdict="incomplete"))
    assert not scan.complete
    with pytest.raises(lvmfast.DataError, match="the scan is incomplete"):
        scan.require_complete()


@pytest.mark.parametrize("name", ["matched_rows", "matches"])
def test_tables_of_another_scan_are_refused(saved, name):
    path = saved / f"{name}.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(lvmfast.DataError, match=rf"{name}\.parquet: not the table of this summary\.json"):
        getattr(SavedScan.open(saved), name)
    path.write_bytes(whole)
    altered(saved, tables={})  # as of earlier versions
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(lvmfast.DataError, match=rf"{name}\.parquet: doc: expected"):
        getattr(SavedScan.open(saved), name)
    pq.write_table(pq.read_table(path).drop_columns(["level"]), path)
    with pytest.raises(lvmfast.DataError, match="expected the columns"):
        getattr(SavedScan.open(saved), name)
    path.write_bytes(b"PAR1")
    with pytest.raises(lvmfast.DataError, match="cannot be read"):
        getattr(SavedScan.open(saved), name)
    path.unlink()
    with pytest.raises(lvmfast.DataError, match="cannot be read"):
        getattr(SavedScan.open(saved), name)
