"""`leakscan --encoder`: the answer is that of files of vectors, what was made is kept, misfits refused."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.encoding import encoded, measured, parts
from lvmfast.errors import DataError
from tests.support.command import refused, run
from tests.support.letter_encoder import LetterEncoder

WORDS = "river stone cloud lamp copper garden violin winter letter harbour meadow engine".split()
made: list[LetterEncoder] = []


def sentences(rows, seed=0):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, 9)) + f" {i}" for i in range(rows)]


TRAIN = sentences(90)
EVAL = [*sentences(30, seed=1), TRAIN[7], "Well, " + TRAIN[50], "", "  "]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch, tmp_path):
    def loaded(name, **options):
        made.append(LetterEncoder(name))
        return made[-1]

    made.clear()
    monkeypatch.setattr(encoded, "Encoder", loaded)
    monkeypatch.setattr(parts, "PART_ROWS", 16)
    monkeypatch.setenv("LVMFAST_VECTORS", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path):
    (tmp_path / "train").mkdir()
    rows = [{"doc_id": i // 4, "text": text} for i, text in enumerate(TRAIN)]
    lines = "".join(json.dumps(row) + "\n" for row in rows[:50])
    (tmp_path / "train" / "a.jsonl").write_text(lines)
    pq.write_table(pa.Table.from_pylist(rows[50:]), tmp_path / "train" / "b.parquet", row_group_size=7)
    pq.write_table(pa.table({"question": EVAL}), tmp_path / "eval.parquet")
    return tmp_path / "train", tmp_path / "eval.parquet"


def pairs(report):
    rows = report.matches.to_pylist()
    return {
        (row["train_file"], row["train_row"], row["eval_row"], row["score"])
        for row in rows
        if row["level"] == "vector"
    }


@pytest.mark.parametrize("limits", [{}, {"memory_limit": 262 << 20}])
def test_it_finds_what_files_of_vectors_have(files, tmp_path, limits):
    train, eval = files
    report = lvmfast.leakscan(train, eval, encoder="letters", threshold=0.8, nearest=True, **limits)
    letters = LetterEncoder()
    vectors = {
        "train": letters.encode(TRAIN),
        "eval": np.stack([letters._of(t) if t.strip() else np.zeros(64, np.float32) for t in EVAL]),
    }
    plain = lvmfast.leakscan(
        {"vector": vectors["train"]}, {"vector": vectors["eval"]}, threshold=0.8, nearest=True
    )
    found = {(name, row, other, score) for name, row, other, score in pairs(report)}
    names = [str(train / name) for name in ("a.jsonl", "b.parquet")]
    wanted = {
        (names[row >= 50], row - 50 * (row >= 50), other, score) for _, row, other, score in pairs(plain)
    }
    assert found == wanted
    assert {(7, 30), (50, 31)} <= {(row + 50 * (name == names[1]), other) for name, row, other, _ in found}
    assert report.findings.levels["vector"].sides["eval"].unchecked == plain.findings.levels[
        "vector"
    ].sides["eval"].unchecked  # fmt: skip
    assert report.findings.levels["text"].sides["eval"].matched == 1
    summary = report.summary
    assert summary["options"]["encoder"] == "letters"
    described = summary["inputs"]["eval"]["files"][0]
    assert described["fields"] == {"text": "question", "vector": "question by letters"}
    assert described["provenance"]["weights"] == "crc:letters"


def test_what_was_made_is_kept_by_content_and_encoder(files, tmp_path):
    train, eval = files
    told = []
    first = lvmfast.leakscan(train, eval, encoder="letters", announce=told.append)
    assert len(made[-1].asked) == len(TRAIN) + len(EVAL) - 2
    assert any("90 vectors by letters, none kept from before" in line for line in told)
    again = lvmfast.leakscan(train, eval, encoder="letters", announce=told.append)
    assert made[-1].asked == []
    assert any("90 vectors by letters, 90 of them kept" in line for line in told)
    assert again.matches.equals(first.matches)
    table = {"text": TRAIN[:50], "doc_id": ["x"] * 50}
    lvmfast.leakscan(pa.table(table), eval, encoder="letters")
    assert made[-1].asked == []
    lvmfast.leakscan(train, eval, encoder="others")
    assert len(made[-1].asked) == len(TRAIN) + len(EVAL) - 2


def test_vectors_that_are_there_stay_and_must_be_the_encoders(files, tmp_path):
    train, eval = files
    lvmfast.embed(train, tmp_path / "train.npz", encoder=LetterEncoder("letters"))
    report = lvmfast.leakscan(tmp_path / "train.npz", eval, encoder="letters", threshold=0.8)
    assert len(made[-1].asked) == len(EVAL) - 2
    both = lvmfast.leakscan(train, eval, encoder="letters", threshold=0.8)
    assert len(pairs(report)) == len(pairs(both)) > 1
    with pytest.raises(
        DataError, match=r"others: vectors of others.*train\.npz of letters.*cosines between two encoders"
    ):
        lvmfast.leakscan(tmp_path / "train.npz", eval, encoder="others")
    assert made[-1].asked == []
    narrow = {"vector": np.ones((3, 8), np.float32)}
    with pytest.raises(DataError, match="expected vectors of 64 values as letters makes, got 8"):
        lvmfast.leakscan(train, narrow, encoder="letters")
    assert made[-1].asked == []


def test_payloads_and_one_set_alone(files, tmp_path):
    keys = {"doc_id": np.arange(90), "chunk_id": np.zeros(90, int)}
    payload = pa.table({**keys, "text": TRAIN})
    report = lvmfast.leakscan(keys, files[1], train_payload=payload, encoder="letters", threshold=0.8)
    assert (7, 30) in {(row, other) for _, row, other, _ in pairs(report)}
    twice = pa.table({"text": [*TRAIN, TRAIN[3]]})
    alone = lvmfast.leakscan(twice, encoder="letters", levels=["vector"])
    assert [(row, other) for _, row, other, _ in pairs(alone)] == [(3, 90)]


def test_a_scan_with_an_encoder_is_cleaned_and_verified(files, tmp_path):
    train, eval = files
    lvmfast.leakscan(train, eval, encoder="letters", threshold=0.8).save(tmp_path / "report")
    matched = pq.read_table(tmp_path / "report" / "matched_rows.parquet").to_pylist()
    dropped = {row["row"] for row in matched if row["side"] == "eval"}
    done = lvmfast.clean(train, eval, tmp_path / "report", out=tmp_path / "clean")
    assert done.passed
    kept = pq.read_table(tmp_path / "clean" / "eval.parquet")["question"].to_pylist()
    assert kept == [text for row, text in enumerate(EVAL) if row not in dropped]
    assert lvmfast.verify(tmp_path / "clean").verified
    assert made[-1].name == "letters"


def test_what_is_near_by_an_encoder_stays_on_one_side_of_a_split(tmp_path):
    """Documents 3 and 17 have a text each that no level of texts tells for one."""
    rows = [{"doc_id": i // 5, "text": text} for i, text in enumerate(sentences(200))]
    rows[3 * 5]["text"] = "lamp river"
    rows[17 * 5]["text"] = "river lamp"
    source = tmp_path / "all.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"eval_docs": 12, "min_chunks_per_doc": 1, "threshold": 0.999, "min_chars": 1}
    apart = 0
    for seed in range(6):
        plain, joined = (
            lvmfast.split(source, out=tmp_path / f"{name}-{seed}", seed=seed, encoder=encoder, **options)
            for name, encoder in (("plain", None), ("joined", "letters"))
        )
        assert plain.passed
        assert joined.passed
        sides = {}
        for name in ("plain", "joined"):
            lines = (tmp_path / f"{name}-{seed}" / "eval.jsonl").read_text().splitlines()
            sides[name] = {json.loads(line)["doc_id"] for line in lines}
        assert (3 in sides["joined"]) == (17 in sides["joined"])
        apart += (3 in sides["plain"]) != (17 in sides["plain"])
    assert apart


def test_a_split_takes_the_threshold_that_was_measured_for_its_encoder(tmp_path, monkeypatch):
    table = {"crc": {"weights": LetterEncoder().provenance["weights"], "same": 0.9999, "paraphrase": 0.999}}
    monkeypatch.setattr(measured, "read_toml", lambda path: table)
    rows = [{"doc_id": i // 5, "text": text} for i, text in enumerate(sentences(100))]
    source = tmp_path / "all.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told, options = [], {"eval_docs": 4, "min_chunks_per_doc": 1, "encoder": "letters"}
    for near, expected in (("same", 0.9999), ("paraphrase", 0.999)):
        done = lvmfast.split(source, out=tmp_path / near, near=near, announce=told.append, **options)
        given = lvmfast.split(source, out=tmp_path / f"{near}-given", threshold=expected, **options)
        assert f"threshold {expected}: measured for {near} with crc" in told
        assert done.scans[0].report.options.threshold == given.scans[0].report.options.threshold == expected
        names = [tmp_path / folder / "eval.jsonl" for folder in (near, f"{near}-given")]
        assert names[0].read_bytes() == names[1].read_bytes()
    with pytest.raises(DataError, match="near: same chooses the threshold"):
        lvmfast.split(source, out=tmp_path / "both", near="same", threshold=0.9, **options)
    split = ["split", str(source), "--out", str(tmp_path / "cli"), "--eval-docs", "4", "--near"]
    refused(run(*split, "alike"), "near: expected same or paraphrase, got 'alike'")
    refused(run(*split, "same"), "no file says which encoder made its vectors")


def test_what_it_cannot_do_is_refused(files, tmp_path):
    train, eval = files
    with pytest.raises(DataError, match="encoder: no level of text compares vectors; add vector"):
        lvmfast.leakscan(train, eval, encoder="letters", levels=["text"])
    with pytest.raises(DataError, match="pieces reads vectors from files; write them with `lvmfast embed`"):
        lvmfast.leakscan(train, eval, encoder="letters", shard=(1, 2), out=tmp_path / "part")
    command = ["leakscan", "--train", str(train), "--eval", str(eval), "--encoder"]
    refused(run(*command, "./nothing"), "./nothing: no such folder")
