"""What a folder holds beside data, through every command: refused by name, or passed over and told."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.corpus.convert import convert_payload
from lvmfast.durable import staged_folder
from lvmfast.errors import DataError
from lvmfast.ingest.articles import write_articles
from lvmfast.ingest.chunks import ChunkOptions, write_chunks
from lvmfast.ingest.selection import Selection
from lvmfast.training.config import TrainConfig
from lvmfast.training.data import open_sides


def row(i):
    return json.dumps({"doc_id": i // 4, "text": f"a sentence about subject {i}, and long enough"}) + "\n"


@pytest.fixture
def place(tmp_path):
    """Two sides that share nothing, each a folder with a README, and with notes in a text file."""
    for name, start in (("train", 0), ("eval", 1000)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a.jsonl").write_text("".join(map(row, range(start, start + 40))))
        (folder / "README.md").write_text("what this is")
        (folder / "notes.txt").write_text("a corpus?")
    return tmp_path


def run(place, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "lvmfast", *map(str, arguments)], cwd=place, capture_output=True, text=True
    )


def test_every_command_names_what_it_does_not_read_and_tells_what_it_was_asked_to_pass_over(place):
    commands = {
        "leakscan": ["--train", "train", "--eval", "eval", "--out", "report", "--quiet"],
        "clean": ["--train", "train", "--eval", "eval", "--report", "report", "--out", "cleaned"],
        "split": ["train", "--eval-docs", 2, "--min-chunks-per-doc", 1, "--out", "halves"],
        "fingerprint": ["train", "--out", "train.lvfp"],
        "verify": ["cleaned", "--train", "train"],
    }
    for command, arguments in commands.items():
        refused = run(place, command, *arguments)
        assert refused.returncode == 2, refused.stderr
        told = ": text, which need not be part of it, beside data in another format: notes.txt; --ignore"
        assert told in refused.stderr
        done = run(place, command, *arguments, "--ignore", "*.txt")
        assert done.returncode == 0, done.stderr
        for name in ("train", "eval") if "--eval" in arguments else ("train",):
            assert f"{name}: passed over as no data: README.md\n" in done.stderr
            assert f"{name}: ignored as asked: notes.txt\n" in done.stderr
    summary = json.loads((place / "report" / "summary.json").read_text())
    assert summary["inputs"]["eval"]["notes"] == [
        "eval: passed over as no data: README.md",
        "eval: ignored as asked: notes.txt",
    ]
    assert [file["path"] for file in summary["inputs"]["train"]["files"]] == ["train/a.jsonl"]


def test_ignore_in_python(place, monkeypatch):
    monkeypatch.chdir(place)
    with pytest.raises(DataError, match=r"train: .*: notes\.txt; "):
        lvmfast.leakscan("train", "eval")
    report = lvmfast.leakscan("train", "eval", ignore=["notes.*"])
    assert report.summary["inputs"]["train"]["notes"][1] == "train: ignored as asked: notes.txt"


def test_training_passes_over_what_it_is_told_to(place, monkeypatch):
    monkeypatch.chdir(place)
    rng = np.random.default_rng(0)
    for name in ("train", "eval"):
        (place / name / "a.jsonl").unlink()
        vectors = rng.normal(size=(40, 4, 8)).astype(np.float32)
        keys = np.stack([np.arange(40) // 4, np.arange(40) % 4], axis=1)
        np.savez(place / name / "a.npz", truth_keys=keys, targets=vectors[:, 0], contexts=vectors[:, 1:])

    def sides(**figures):
        config = TrainConfig(train=("train",), val=("eval",), **figures)
        return open_sides(config, None, lambda *_: None)

    with pytest.raises(DataError, match=r"train: .*: notes\.txt; "):
        sides()
    opened = sides(ignore=("*.txt",))
    assert opened.val_split.notes[1] == "eval: ignored as asked: notes.txt"


def test_clean_with_the_report_of_other_files_says_so_and_blames_no_column(place):
    for n in (1, 2):
        (place / f"{n}.jsonl").write_text("".join(map(row, range(100 * n, 100 * n + 20))))
        texts = "".join(f"a sentence of some length {n} {i}\n" for i in range(9))
        (place / f"{n}.csv").write_text("body\n" + texts)
    lvmfast.leakscan(place / "1.csv", place / "2.csv", columns={"text": "body"}).save(place / "other")
    arguments = ("--train", "1.jsonl", "--eval", "2.jsonl", "--report", "other", "--out", "cleaned")
    done = run(place, "clean", *arguments)
    assert done.returncode == 2
    assert "1.jsonl: not what other" in done.stderr
    assert "field" not in done.stderr


def test_a_message_names_the_folder_that_was_asked_for_and_not_the_one_it_was_staged_in(tmp_path):
    def fail():
        with staged_folder(tmp_path / "out") as stage:
            raise DataError(f"{stage.folder}/a.npz: broken")

    with pytest.raises(DataError, match=rf"^{tmp_path}/out/a.npz: broken$"):
        fail()


def test_nothing_is_made_of_a_quarantined_file(place, monkeypatch):
    monkeypatch.chdir(place)
    rows = [{"id": i, "text": f"a sentence about subject {i}, and long enough"} for i in range(4)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, "articles.parquet")
    shutil.copy("articles.parquet", "eval.parquet")
    pq.write_table(table, "seen.parquet", compression="none")
    lvmfast.leakscan("seen.parquet", "eval.parquet").save("report")
    lvmfast.quarantine("eval.parquet", "report")
    for stage in (
        lambda: write_articles("articles.parquet", place / "out.parquet", Selection()),
        lambda: write_chunks(place / "articles.parquet", place / "out.parquet", ChunkOptions()),
        lambda: convert_payload("articles.parquet", "out.parquet"),
    ):
        with pytest.raises(DataError, match=r"articles.parquet: seen in training at .*; nothing is made"):
            stage()
    assert not (place / "out.parquet").exists()


def test_what_is_printed_of_a_closing_scan_names_files_where_they_are(place):
    for name, rows in (("t", range(40)), ("a", range(39, 60)), ("b", range(1000, 1010))):
        (place / f"{name}.jsonl").write_text("".join(map(row, rows)))
    lvmfast.leakscan(place / "t.jsonl", [place / "a.jsonl", place / "b.jsonl"]).save(place / "report")
    files = ("--train", "t.jsonl", "--eval", "a.jsonl", "--eval", "b.jsonl")
    done = run(place, "clean", *files, "--report", "report", "--out", "cleaned")
    assert done.returncode == 0, done.stderr
    assert "cleaned/b.jsonl" in done.stdout
    assert ".part" not in done.stdout + done.stderr


def test_data_beside_a_report_are_data(tmp_path, monkeypatch):
    """A report that went to a folder of data takes none of them with it."""
    monkeypatch.chdir(tmp_path)
    for name, start in (("train/1", 0), ("train/2", 40), ("eval", 60)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.jsonl").write_text("".join(map(row, range(start, start + 40))))
    first = lvmfast.leakscan("train", "eval", levels=["text"])
    first.save("train/2")
    again = lvmfast.leakscan("train", "eval", levels=["text"])
    assert again.findings.levels["text"].sides["eval"].matched == 20
    notes = again.summary["inputs"]["train"]["notes"]
    assert "train/2: a report of lvmfast, passed over" in notes
