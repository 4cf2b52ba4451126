"""The level overlap through everything that carries a scan, against the naive twin."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import lvmfast
from lvmfast.cli.app import app
from tests.support import oracle
from tests.support import overlap as naive

WORDS = st.sampled_from(
    ["alpha", "Beta", "gamma,", "déjà", "ｆｕｌｌ", "7", "猫", "กา", "x", "\u200b", "🙂", "(omega)"]
)
TEXTS = st.one_of(st.none(), st.lists(WORDS, max_size=30).map(" ".join))
SIDE = st.lists(TEXTS, min_size=1, max_size=6)


def split_of(texts):
    return {"text": pa.array(texts, pa.large_string())}


@st.composite
def sides(draw):
    """Two sides, some of whose training texts hold evaluation texts between others."""
    items = draw(SIDE)
    known = [text for text in items if text] or ["nothing"]
    documents = st.lists(st.one_of(TEXTS.filter(bool), st.sampled_from(known)), max_size=4).map("\n".join)
    return draw(st.lists(documents, min_size=1, max_size=6)), items


@settings(max_examples=80, deadline=None)
@given(sides())
def test_rows_pairs_and_evidence_are_those_of_the_twin(both):
    train, items = both
    try:
        report = lvmfast.leakscan(split_of(train), split_of(items), levels=["overlap"])
    except lvmfast.DataError as error:
        assert "no row was checked" in str(error) or "overlap" in str(error)  # noqa: PT017
        assert not any(len(naive.tokens(text or "")) >= 5 for text in items)
        return
    expected = oracle.overlap({"text": train}, {"text": items})
    found = report.levels["overlap"]
    for side, count in found.sides.items():
        assert set(count.matched_rows.tolist()) == expected.matched[side]
        assert count.unchecked == dict(expected.unchecked[side])
    assert found.pairs == expected.pairs
    assert {
        (m["train_row"], None, m["eval_row"], None, m["score"], m["train_count"], m["eval_count"])
        for m in report.matches.to_pylist()
    } == expected.evidence
    for told in report.overlaps.to_pylist():
        document, item = train[told["train_row"]], items[told["eval_row"]]
        assert document[told["train_start"] : told["train_end"]] == told["train_text"]
        for run in told["runs"]:
            ours = document[run["train_start"] : run["train_end"]]
            theirs = item[run["eval_start"] : run["eval_end"]]
            assert naive.tokens(ours) == naive.tokens(theirs)
            assert document.encode()[run["train_start_byte"] : run["train_end_byte"]].decode() == ours
            assert item.encode()[run["eval_start_byte"] : run["eval_end_byte"]].decode() == theirs


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two training files and one evaluation file; every third item stands in a document, some in several."""
    folder = tmp_path_factory.mktemp("overlap")
    lots = random.Random(5)
    words = ["".join(lots.choices("bdklmnrst", k=3)) + lots.choice("aeiou") for _ in range(900)]
    text = lambda n: " ".join(lots.choices(words, k=n))  # noqa: E731
    items = [text(lots.randint(12, 40)) for _ in range(60)] + ["one two three four five six", None]
    documents = [text(150) for _ in range(300)]
    for place, item in enumerate(items[::3]):
        for copy in range(1 + place % 3):
            at = (place * 7 + copy * 31) % 300
            documents[at] = f"{documents[at]}\n{item.upper()}!\n{text(40)}"
    documents[299] += " one, two: three four (five) six"
    (folder / "train").mkdir()
    for part, rows in enumerate((documents[:120], documents[120:])):
        table = pa.table({"doc_id": range(len(rows)), "text": rows})
        pq.write_table(table, folder / "train" / f"{part}.parquet", row_group_size=20)
    pq.write_table(pa.table({"doc_id": range(1000, 1062), "text": items}), folder / "eval.parquet")
    return folder


def command(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def scanned(corpus, out, *more):
    sides = ("--train", corpus / "train", "--eval", corpus / "eval.parquet")
    return command("leakscan", *sides, "--levels", "text,overlap", "--out", out, *more)


TABLES = ("matches.parquet", "matched_rows.parquet", "overlaps.parquet")


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    done = scanned(corpus, out)
    assert done.exit_code == 1, done.output
    return out, done.output


def test_a_command_tells_what_is_a_leak_and_what_is_only_short(whole):
    out, said = whole
    found = json.loads((out / "summary.json").read_text())["levels"]["overlap"]
    assert (found["eval_rows_matched"], found["eval_rows_unchecked"]) == (20, 1)
    assert found["short"] == {"train_rows": 4, "eval_rows": 1}
    assert "overlap: 1 evaluation text of under 8 words stands whole in training texts" in " ".join(
        said.split()
    )
    told = pq.read_table(out / "overlaps.parquet").to_pylist()
    assert {row["strength"] for row in told} == {"match", "short"}
    assert sorted({row["train_rows"] for row in told}) == [1, 2, 3, 4]  # 4 for the short one
    assert "overlaps.parquet" in said


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_small_blocks_give_the_same_bytes(corpus, whole, tmp_path, threads, monkeypatch):
    from lvmfast.leaks import options

    monkeypatch.setattr(options, "BLOCK_BYTES", 40_000)
    assert scanned(corpus, tmp_path / "out", "--threads", threads).exit_code == 1
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (whole[0] / name).read_bytes()


def test_shards_merge_to_the_same_bytes(corpus, whole, tmp_path):
    parts = [tmp_path / str(i) for i in range(3)]
    for i, part in enumerate(parts):
        assert scanned(corpus, part, "--shard", f"{i + 1}/3").exit_code == 0
    done = command("merge", *parts, "--out", tmp_path / "out")
    assert done.exit_code == 1, done.output
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (whole[0] / name).read_bytes()


def test_where_no_index_fits_the_level_still_streams(corpus, whole, tmp_path, monkeypatch):
    from lvmfast.scan import plan

    monkeypatch.setattr(plan, "_two_sides", lambda indexed, _, given: plan._beyond_memory(indexed, given))
    assert scanned(corpus, tmp_path / "out").exit_code == 1
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (whole[0] / name).read_bytes()


@pytest.mark.parametrize("drop", ["train", "eval"])
def test_clean_drops_what_overlaps_and_proves_it(corpus, whole, tmp_path, drop):
    sides = ("--train", corpus / "train", "--eval", corpus / "eval.parquet")
    done = command("clean", *sides, "--report", whole[0], "--drop", drop, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    levels = json.loads((tmp_path / "out" / "clean.json").read_text())["scans"][0]["levels"]
    assert levels["overlap"]["status"] == "clean"


def test_split_keeps_together_what_overlaps(corpus, tmp_path):
    """Every document comes once more inside a longer one, and no two of them have an equal text."""
    rows = pq.read_table(corpus / "eval.parquet")["text"].to_pylist()[:60]
    longer = [f"Before it stands something else. {text} And this follows it." for text in rows]
    table = pa.table({"doc_id": range(120), "text": rows + longer})
    pq.write_table(table, tmp_path / "all.parquet")
    done = command(
        *("split", tmp_path / "all.parquet", "--eval-docs", 20, "--min-chunks-per-doc", 1),
        *("--out", tmp_path / "out"),
    )
    assert done.exit_code == 0, done.output
    held = set(pq.read_table(tmp_path / "out" / "eval.parquet")["doc_id"].to_pylist())
    assert held == {doc for one in held for doc in (one % 60, one % 60 + 60)}
    assert len(held) >= 20


def test_a_fingerprint_is_not_scanned_for_it(corpus, tmp_path):
    made = command("fingerprint", corpus / "train", "--out", tmp_path / "train.lvfp")
    assert made.exit_code == 0, made.output
    asked = ("--train", tmp_path / "train.lvfp", "--eval", corpus / "eval.parquet")
    assert "a fingerprint holds no texts" in command("leakscan", *asked, "--levels", "overlap").output
    assert "overlap (a fingerprint holds no texts" in command("leakscan", *asked).output


def test_short_ones_are_leaks_if_they_are_to_be(corpus, tmp_path):
    assert scanned(corpus, tmp_path / "out", "--overlap-short", "leak").exit_code == 1
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["levels"]["overlap"]
    assert (found["eval_rows_matched"], found["short"]) == (21, {"train_rows": 0, "eval_rows": 0})
    refused = scanned(corpus, tmp_path / "no", "--overlap-short", "maybe")
    assert (refused.exit_code, "expected count or leak, got 'maybe'" in refused.output) == (2, True)
