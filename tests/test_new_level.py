"""A level in one place: it is registered, and everything else follows; its naive twin says what it finds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import lvmfast
from lvmfast.cli.app import app
from lvmfast.corpus import load_split
from lvmfast.leaks.keyed_by import KeyedBy, text_keys
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.partitioned import PartitionedLevel
from lvmfast.levels import LEVELS
from lvmfast.levels.base import Level
from lvmfast.scan.running import level_finding

FIRST, MIN_CHARS = 6, 4


def beginnings(batch, options):
    """The hash of the first characters of each row's text."""
    return None if batch.text is None else text_keys(pc.utf8_slice_codeunits(batch.text, 0, FIRST), options)


BEGINNING = Level(
    name="beginning",
    needs=("text",),
    what="texts that begin alike",
    sought="texts that begin alike",
    cannot_see="texts that go on alike",
    by_fingerprint="not checkable: no text is kept",
    keys=KeyedBy(words=2, of=beginnings),
    within=True,
    not_in_fingerprint=lambda fingerprint: "a fingerprint holds no texts",
    phases={"join": "parts"},
)

TEXTS = st.sampled_from(
    [None, "", "ab", "abcdef", "ABCDEF and on", "abcdef ghi", "abcd  f", "abcd f", "ghijkl"]
)
SPLITS = st.lists(TEXTS, min_size=1, max_size=12)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(LEVELS, BEGINNING.name, BEGINNING)


def key_of(text):
    """What rows of equal keys have in common, or why there is none."""
    if text is None:
        return None, "no_text"
    key = " ".join(text[:FIRST].lower().split())
    if not key:
        return None, "empty_text"
    return (key, None) if len(key) >= MIN_CHARS else (None, "short_text")


def twin(train, eval_):
    """Matched rows and reasons by side, and pairs, by nested loops."""
    keys = {"train": [key_of(text)[0] for text in train], "eval": [key_of(text)[0] for text in eval_]}
    pairs = [(i, j) for i, a in enumerate(keys["train"]) for j, b in enumerate(keys["eval"]) if a and a == b]
    matched = {"train": sorted({i for i, _ in pairs}), "eval": sorted({j for _, j in pairs})}
    reasons = {
        side: Counter(reason for text in texts if (reason := key_of(text)[1]))
        for side, texts in (("train", train), ("eval", eval_))
    }
    return matched, reasons, len(pairs)


def split_of(texts):
    return {"text": pa.array(texts, pa.large_string())}


def checked(texts):
    return any(key_of(text)[0] for text in texts)


def found_by(finding):
    matched = {side: count.matched_rows.tolist() for side, count in finding.sides.items()}
    return matched, {side: Counter(count.unchecked) for side, count in finding.sides.items()}, finding.pairs


@settings(max_examples=20, deadline=None)
@given(train=SPLITS.filter(checked), eval_=SPLITS.filter(checked))
def test_two_sides(train, eval_):
    report = lvmfast.leakscan(split_of(train), split_of(eval_), levels=[BEGINNING.name], min_chars=MIN_CHARS)
    assert found_by(report.levels[BEGINNING.name]) == twin(train, eval_)
    assert list(report.levels) == [BEGINNING.name]


@settings(max_examples=20, deadline=None)
@given(train=SPLITS.filter(checked), eval_=SPLITS.filter(checked), partitions=st.booleans())
def test_by_partitions(tmp_path_factory, train, eval_, partitions):
    options = ScanOptions(min_chars=MIN_CHARS)
    sides = {"eval": load_split(split_of(eval_)), "train": load_split(split_of(train))}
    rows = {side: dataset.estimated_rows() for side, dataset in sides.items()}
    level = PartitionedLevel(
        BEGINNING,
        tuple(sides),
        dict.fromkeys(sides, 1),
        rows,
        options,
        tmp_path_factory.mktemp("parts"),
        100 if partitions else 1 << 20,
    )
    for side, dataset in sides.items():
        for batch in dataset.batches(("text",), 5):
            level.take(side, batch)
    result = level.result(again=None)
    tallies = {side: tally.count() for side, tally in result.sides.items()}
    matched = {side: count.matched_rows.tolist() for side, count in tallies.items()}
    reasons = {side: Counter(count.unchecked) for side, count in tallies.items()}
    assert (matched, reasons, result.pairs) == twin(train, eval_)


@settings(max_examples=20, deadline=None)
@given(train=SPLITS.filter(checked))
def test_within_one_set(train):
    report = lvmfast.leakscan(split_of(train), levels=[BEGINNING.name], min_chars=MIN_CHARS)
    keys = [key_of(text)[0] for text in train]
    repeated = [row for row, key in enumerate(keys) if key and keys.count(key) > 1]
    assert report.levels[BEGINNING.name].sides["train"].matched_rows.tolist() == repeated
    assert report.levels[BEGINNING.name].pairs == sum(
        n * (n - 1) // 2 for n in Counter(key for key in keys if key).values()
    )


@settings(max_examples=20, deadline=None)
@given(train=SPLITS.filter(checked), partitions=st.booleans())
def test_within_one_set_by_partitions(tmp_path_factory, train, partitions):
    split = load_split(split_of(train))
    options, budget = ScanOptions(min_chars=MIN_CHARS), 100 if partitions else 1 << 20
    level = PartitionedLevel(
        BEGINNING,
        ("train",),
        {"train": 1},
        {"train": len(train)},
        options,
        tmp_path_factory.mktemp("parts"),
        budget,
    )
    for batch in split.batches(("text",), 5):
        level.take("train", batch)
    parted = level_finding(BEGINNING.name, level.result(again=None), options.threshold)
    report = lvmfast.leakscan(split_of(train), levels=[BEGINNING.name], min_chars=MIN_CHARS)
    held = report.levels[BEGINNING.name]
    assert found_by(parted) == found_by(held)
    assert parted.keys is None  # they are counted of two sides alone
    assert held.keys is None
    assert parted.matches.train_row.tolist() == held.matches.train_row.tolist()


@pytest.fixture
def files(tmp_path):
    """Two files that share beginnings, and no text."""
    sides = {
        "train": ["the quick brown fox jumps", "of another kind altogether", "nothing that is shared"],
        "eval": ["the quick and the dead ones", "something else entirely so"],
    }
    for side, texts in sides.items():
        pq.write_table(pa.table({"text": texts}), tmp_path / f"{side}.parquet")
    return tmp_path


def command(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_line_and_all_that_is_written(files):
    sides = ("--train", files / "train.parquet", "--eval", files / "eval.parquet")
    done = command("leakscan", *sides, "--min-chars", MIN_CHARS, "--out", files / "out")
    assert done.exit_code == 1, done.output
    rest = "not checked: doc, chunk (no ids); vector, context, oracle (no vectors)"
    assert done.stdout.endswith(f" beginning=1/2; {rest}\n")
    assert "rows matched at beginning (50.0%)" in done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines() if line.startswith(" beginning")] == [
        ["beginning", "leak"]
    ]
    found = json.loads((files / "out" / "summary.json").read_text())["levels"][BEGINNING.name]
    assert (found["status"], found["pairs"], found["train_rows_matched"]) == ("leak", 1, 1)
    assert (found["train_keys"], found["eval_keys"], found["shared_keys"]) == (3, 2, 1)
    match = pq.read_table(files / "out" / "matches.parquet").to_pylist()[0]
    assert (match["level"], match["train_row"], match["eval_row"]) == (BEGINNING.name, 0, 0)
    assert match["eval_text"] == "the quick and the dead ones"
    matched = pq.read_table(files / "out" / "matched_rows.parquet").to_pylist()
    assert [(row["level"], row["side"], row["row"]) for row in matched] == [
        (BEGINNING.name, "train", 0),
        (BEGINNING.name, "eval", 0),
    ]
    page = (files / "out" / "report.html").read_text()
    assert '<tr data-level="beginning">' in page
    assert '<span class="badge"><b>beginning</b></span>' in page


def test_what_is_clean_names_what_it_cannot_see(files):
    sides = ("--train", files / "train.parquet", "--eval", files / "eval.parquet")
    only = ("--levels", "beginning", "--min-chars", MIN_CHARS)
    allowed = command("leakscan", *sides, *only, "--allow", "beginning=0.5")
    assert allowed.exit_code == 0, allowed.output
    far = files / "far.parquet"
    pq.write_table(pa.table({"text": ["wholly unlike the others"]}), far)
    clean = command("leakscan", *sides[:2], "--eval", far, *only)
    assert clean.exit_code == 0, clean.output
    assert "beginning: texts that go on alike" in " ".join(clean.stdout.split())


@pytest.mark.parametrize("more", [0, 1, 9])
def test_a_clean_split_leaves_out_what_it_matches(files, more, monkeypatch):
    names = [BEGINNING.name, *(f"beginning{number}" for number in range(more))]
    for name in names:
        monkeypatch.setitem(LEVELS, name, replace(BEGINNING, name=name))
    sides = ("--train", files / "train.parquet", "--eval", files / "eval.parquet")
    scanned = command("leakscan", *sides, "--min-chars", MIN_CHARS, "--out", files / "out", "--quiet")
    assert scanned.exit_code == 1
    done = command(
        "clean", *sides, "--report", files / "out", "--drop", "train", "--out", files / "clean", "--quiet"
    )
    assert done.exit_code == 0, done.output
    kept = pq.read_table(next((files / "clean").glob("**/train.parquet")))
    assert kept["text"].to_pylist() == ["of another kind altogether", "nothing that is shared"]
    dropped = pq.read_table(files / "clean" / "_dropped.parquet").to_pylist()
    assert [row["levels"] for row in dropped] == [names]


@pytest.mark.parametrize("seed", range(4))
def test_split_keeps_together_what_it_matches(tmp_path, seed):
    texts = [f"{row // 3:06} and then the words of {row}" for row in range(24)]  # three begin alike
    pq.write_table(pa.table({"doc_id": range(24), "text": texts}), tmp_path / "all.parquet")
    options = {"eval_docs": 6, "min_chunks_per_doc": 1, "min_chars": MIN_CHARS, "seed": seed}
    done = lvmfast.split(str(tmp_path / "all.parquet"), out=tmp_path / "out", **options)
    assert done.certificate is not None
    train, eval_ = (
        pq.read_table(tmp_path / "out" / f"{side}.parquet")["text"].to_pylist() for side in ("train", "eval")
    )
    assert len(eval_) == 6
    assert sorted([*train, *eval_]) == sorted(texts)
    assert not {text[:FIRST] for text in train} & {text[:FIRST] for text in eval_}


def test_where_it_means_nothing_it_is_refused(monkeypatch):
    monkeypatch.setitem(LEVELS, BEGINNING.name, replace(BEGINNING, within=False))
    only = " and ".join(name for name, level in LEVELS.items() if level.within)
    with pytest.raises(lvmfast.DataError, match=f"within one split only {only} mean something"):
        lvmfast.leakscan(split_of(["the quick brown fox"] * 2), levels=[BEGINNING.name])
    with pytest.raises(lvmfast.DataError, match="eval has no text"):
        lvmfast.leakscan(
            split_of(["the quick brown fox"]),
            {"vector": np.ones((1, 4), np.float32)},
            levels=[BEGINNING.name],
        )
