"""The identity of a match, and the file of decisions that several people write to."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.report.decisions import Decision, DecisionLog, Decisions, match_ids, scan_digest
from tests.support import data

SCAN = "0" * 32
IDS = [f"{n:032x}" for n in range(1, 60)]


def ids_of(report: lvmfast.LeakReport) -> list[str | None]:
    summary = report.summary
    return match_ids(report.matches, summary["inputs"], summary["options"]["normalize"]).to_pylist()


def decide(match: str, decision: str | None, **more) -> Decision:
    return Decision.now(match, "text", decision, scan=SCAN, **more)


SENTENCES = [
    "the cat sat on the mat and looked at the moon for hours",
    "a bird in the hand is worth two of those in the bush",
    "nothing else was to be seen but a long row of white houses",
    "copyright notice: all rights of the authors are reserved here",
    "seven sailors sang seven songs about seven silver ships at sea",
]


@st.composite
def rows(draw) -> list[tuple[str, str, str]]:
    """(doc_id, chunk_id, text), each row once."""
    documents = st.sampled_from("ABC")
    chunks = st.sampled_from("01")
    return draw(
        st.lists(
            st.tuples(documents, chunks, st.sampled_from(SENTENCES)), min_size=1, max_size=8, unique=True
        )
    )


def spelt(text: str, which: int) -> str:
    """The same text to the level text."""
    return (text, text.upper(), text.replace(" ", "  "), f"\n{text} ")[which % 4]


def found(train, eval_, order: random.Random | None = None) -> set[tuple[str, str]]:
    """(level, identity) of every match; rows are shuffled and spelt by `order`."""
    sides = []
    for side in (train, eval_):
        if order is not None:
            side = order.sample(side, len(side))
            side = [(doc, chunk, spelt(text, order.randrange(4))) for doc, chunk, text in side]
        sides.append(
            {
                name: list(column)
                for name, column in zip(("doc_id", "chunk_id", "text"), zip(*side, strict=True), strict=True)
            }
        )
    report = lvmfast.leakscan(*(pa.table(side) for side in sides), levels=["doc", "text", "overlap"])
    return set(zip(report.matches["level"].to_pylist(), ids_of(report), strict=True))


@settings(max_examples=25, deadline=None)
@given(rows(), rows(), st.integers(0, 1000))
def test_an_identity_does_not_depend_on_the_order_of_rows_nor_on_case_and_space(train, eval_, seed):
    assert found(train, eval_) == found(train, eval_, random.Random(seed))


@settings(max_examples=25, deadline=None)
@given(rows(), rows())
def test_different_matches_have_different_identities(train, eval_):
    """Against an oracle: what a match at text and at doc is, counted from the rows."""
    seen = found(train, eval_)
    texts = {text for *_, text in train} & {text for *_, text in eval_}
    documents = {doc for doc, *_ in train} & {doc for doc, *_ in eval_}
    assert sum(level == "text" for level, _ in seen) == len(texts)
    assert sum(level == "doc" for level, _ in seen) == len(documents)
    assert None not in {identity for _, identity in seen}


def test_files_of_other_names_and_in_another_order_have_the_same_identities(tmp_path):
    def scan(folder: str, names: list[str]) -> set[str | None]:
        place = tmp_path / folder
        place.mkdir()
        for name, sentence in zip(names, SENTENCES, strict=False):
            pq.write_table(pa.table({"text": [sentence, sentence + " again"]}), place / name)
        pq.write_table(pa.table({"text": SENTENCES}), tmp_path / f"{folder}.parquet")
        report = lvmfast.leakscan(str(place), str(tmp_path / f"{folder}.parquet"))
        return set(ids_of(report))

    one = scan("one", ["a.parquet", "b.parquet", "c.parquet"])
    assert one == scan("two", ["z.parquet", "y.parquet", "x.parquet"])
    assert len(one) == 6  # three sentences at text and, with what goes on, at overlap as one stretch each


def test_levels_of_vectors_go_by_ids_or_by_the_place_in_the_bytes_of_a_file(tmp_path):
    files = data.leaky(tmp_path)
    with_ids = set(ids_of(lvmfast.leakscan(files["train.npz"], files["eval.npz"])))
    assert None not in with_ids
    bare = {}
    for name in ("train", "eval"):
        with np.load(files[f"{name}.npz"]) as arrays:
            np.save(tmp_path / f"{name}.npy", arrays["targets"])
            bare[name] = arrays["targets"]
    first = ids_of(lvmfast.leakscan(str(tmp_path / "train.npy"), str(tmp_path / "eval.npy")))
    os.rename(tmp_path / "train.npy", tmp_path / "other.npy")
    renamed = ids_of(lvmfast.leakscan(str(tmp_path / "other.npy"), str(tmp_path / "eval.npy")))
    assert first == renamed
    assert len(set(first)) == len(first) == 20
    in_memory = ids_of(lvmfast.leakscan({"vector": bare["train"]}, {"vector": bare["eval"]}))
    assert in_memory == [None] * 20, "of rows of which nothing but a number is known there is no identity"


@pytest.mark.parametrize("empty", ["", " \n", "\u00a0"])
def test_rows_in_whose_texts_nothing_stands_are_told_apart_by_their_ids(tmp_path, empty):
    vectors = np.random.default_rng(5).normal(size=(4, 8)).astype(np.float32)
    texts = [empty, empty, "a caption", empty]
    train, eval_ = (
        {"vector": vectors, "text": texts, "doc_id": [f"{side}{n}" for n in range(4)], "chunk_id": [0] * 4}
        for side in ("t", "e")
    )
    ids = ids_of(lvmfast.leakscan(train, eval_, levels=["vector"]))
    assert len(set(ids)) == 4
    bare = [{"vector": vectors, "text": texts}] * 2
    assert [match is None for match in ids_of(lvmfast.leakscan(*bare, levels=["vector"]))] == [
        True, True, False, True,
    ]  # fmt: skip


def test_texts_in_letters_that_this_python_does_not_know_are_told_apart():
    """The tokens of a scan are by the Unicode of the core, which is newer than that of Python."""
    texts = [
        f"what does it say in this line {''.join(chr(first + n) for n in range(30))}"
        for first in (0x31350, 0x31400)  # Han of Unicode 15
    ]
    report = lvmfast.leakscan({"text": texts}, {"text": texts}, levels=["overlap"])
    assert len(set(ids_of(report))) == len(report.matches) == 2


def test_at_text_two_texts_are_one_where_they_are_to_the_scan():
    texts = ["Who wrote this, and when?", "who wrote  this, and when?", "who wrote this and when"]
    sides = {"text": texts}, {"text": texts}
    for normalize, matches in (("none", 3), ("default", 2), ("strict", 1)):
        ids = ids_of(lvmfast.leakscan(*sides, levels=["text"], normalize=normalize))
        assert len(set(ids)) == len(ids) == matches


def test_inside_one_split_it_does_not_matter_which_row_comes_first(tmp_path):
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(6, 8)).astype(np.float32)
    vectors[3:] = vectors[:3] * 1.0001
    texts = [f"{SENTENCES[n % 5]} {n}" for n in range(6)]
    ids = []
    for order in (slice(None), slice(None, None, -1)):
        report = lvmfast.leakscan({"vector": vectors[order], "text": texts[order]}, threshold=0.999)
        assert set(report.matches["level"].to_pylist()) == {"vector"}
        ids.append(set(ids_of(report)))
    assert ids[0] == ids[1]
    assert len(ids[0]) == 3


def test_items_of_equal_words_are_one_at_overlap_and_two_of_other_figures_are_not():
    stretch = "what is the sum of three apples and of {} pears in the basket of the king"
    train = {"text": [f"page one. {stretch.format(5)} page end"]}
    one = ids_of(lvmfast.leakscan(train, {"text": [stretch.format(5)]}, levels=["overlap"]))
    other = ids_of(
        lvmfast.leakscan(
            train, {"text": [stretch.format("5").upper().replace(" IN", ", IN")]}, levels=["overlap"]
        )
    )
    assert one == other
    figures = ids_of(lvmfast.leakscan(train, {"text": [stretch.format(6)]}, levels=["overlap"]))
    assert set(figures).isdisjoint(one)


def test_a_scan_is_known_by_what_its_files_hold(tmp_path):
    for name, texts in (("a", SENTENCES), ("b", SENTENCES[:2]), ("c", SENTENCES[:2])):
        pq.write_table(pa.table({"text": texts}), tmp_path / f"{name}.parquet")

    def digest(train: str, eval_: str, **options) -> str:
        summary = lvmfast.leakscan(str(tmp_path / train), str(tmp_path / eval_), **options).summary
        return scan_digest(summary["inputs"], summary["options"])

    one = digest("a.parquet", "b.parquet")
    assert one == digest("a.parquet", "c.parquet"), "of the same bytes"
    assert one != digest("b.parquet", "c.parquet")
    assert one != digest("a.parquet", "b.parquet", min_chars=2)


def test_the_last_word_counts_and_can_be_taken_back(tmp_path):
    log = DecisionLog(tmp_path / "decisions.jsonl")
    assert log.read().by_match == {}
    log.append([decide(IDS[0], "real"), decide(IDS[1], "unsure", reviewer="Ada", note="ask ⟨x⟩\n\x1b[2J")])
    log.append([decide(IDS[0], "boilerplate"), decide(IDS[2], "real")])
    log.append([decide(IDS[2], None)])
    for read in (log.read(), Decisions.read(tmp_path / "decisions.jsonl")):
        assert {match: found.decision for match, found in read.by_match.items()} == {
            IDS[0]: "boilerplate",
            IDS[1]: "unsure",
        }
        assert read.by_match[IDS[1]].note == "ask ⟨x⟩\n\x1b[2J"
        assert read.of(IDS[2]) is read.of(None) is None
    lines = (tmp_path / "decisions.jsonl").read_text().splitlines()
    assert len(lines) == 5, "what was said before stays"
    assert json.loads(lines[1])["reviewer"] == "Ada"


WRITER = """
import sys
from lvmfast.report.decisions import Decision, DecisionLog
log = DecisionLog(sys.argv[1])
for n in range(int(sys.argv[3])):
    match = f"{int(sys.argv[2]) * 100000 + n:032x}"
    log.append([Decision.now(match, "text", "real", scan="0" * 32, reviewer=sys.argv[2], note="n" * 500)])
    print(match, flush=True)
"""


def writer(path: Path, who: int, times: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(who), str(times)], stdout=subprocess.PIPE, text=True
    )


def test_of_two_people_who_write_at_once_nothing_is_lost(tmp_path):
    path = tmp_path / "decisions.jsonl"
    people = [writer(path, who, 60) for who in (1, 2, 3)]
    told = [line for person in people for line in person.communicate()[0].split()]
    assert [person.returncode for person in people] == [0, 0, 0]
    assert set(Decisions.read(path).by_match) == set(told)
    assert len(told) == len(path.read_text().splitlines()) == 180
    assert [place.name for place in tmp_path.iterdir()] == ["decisions.jsonl"]


def test_what_was_told_as_written_survives_a_kill(tmp_path):
    path = tmp_path / "decisions.jsonl"
    with writer(path, 1, 100_000) as person:
        assert person.stdout is not None
        told = [person.stdout.readline().strip() for _ in range(20)]
        person.send_signal(signal.SIGKILL)
        told += [line for line in person.stdout.read().split() if len(line) == 32]
    DecisionLog(path).append([decide(IDS[0], "boilerplate")])
    read = Decisions.read(path)
    assert set(told) <= set(read.by_match)
    assert read.of(IDS[0]) == "boilerplate"


@pytest.mark.parametrize("kept", [1, 5, 11, 60, -2])
def test_a_line_that_was_cut_off_is_told_and_goes_with_the_next_decision(tmp_path, kept):
    path = tmp_path / "decisions.jsonl"
    whole = decide(IDS[0], "real").to_line()
    path.write_bytes(whole + decide(IDS[1], "boilerplate").to_line()[:kept])
    with pytest.raises(lvmfast.DataError, match=r"decisions\.jsonl: the last line was cut off"):
        Decisions.read(path)
    log = DecisionLog(path)
    assert set(log.read().by_match) == {IDS[0]}
    assert log.torn
    log.append([decide(IDS[2], "unsure")])
    assert path.read_bytes().startswith(whole)
    assert set(Decisions.read(path).by_match) == set(log.read().by_match) == {IDS[0], IDS[2]}
    assert not log.torn


def test_a_last_line_that_only_lacks_its_end_counts(tmp_path):
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(decide(IDS[0], "real").to_line()[:-1])
    assert Decisions.read(path).of(IDS[0]) == "real"
    DecisionLog(path).append([decide(IDS[1], "real")])
    assert set(Decisions.read(path).by_match) == {IDS[0], IDS[1]}


def test_a_file_of_something_else_is_neither_read_nor_written(tmp_path):
    path = tmp_path / "notes.txt"
    for content, said in (
        (b"my notes", r"notes\.txt: its last line: expected a decision of `lvmfast review`, got b'my notes'"),
        (b"my notes\n", r"notes\.txt: line 1: expected JSON"),
        (b'{"match": "x"}\n', r"notes\.txt: line 1: match: expected 32 hexadecimal digits, got 'x'"),
        (
            decide(IDS[0], "real").to_line().replace(b"real", b"fine"),
            "line 1: decision: expected real, boiler",
        ),
        (b"\n" + b"[" * 5000 + b"\n", "line 2: expected JSON"),
        (b"\xff\xfe\n", "line 1: expected UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(lvmfast.DataError, match=said):
            Decisions.read(path)
    path.write_bytes(b"my notes")
    with pytest.raises(lvmfast.DataError, match="its last line"):
        DecisionLog(path).append([decide(IDS[0], "real")])
    assert path.read_bytes() == b"my notes"
    with pytest.raises(lvmfast.DataError, match="no such file; expected decisions"):
        Decisions.read(tmp_path / "gone.jsonl")
    with pytest.raises(lvmfast.DataError, match="no such file"):
        Decisions.read(tmp_path)
    with pytest.raises(lvmfast.DataError, match="cannot be written"):
        DecisionLog(tmp_path / "no" / "folder.jsonl").append([decide(IDS[0], "real")])


def test_what_no_file_could_hold_is_no_decision():
    for wrong in (
        {"match": "../../etc/passwd"},
        {"decision": "yes"},
        {"note": "n" * 2001},
        {"note": "\ud800"},
        {"reviewer": "n" * 201},
    ):
        given = {"match": IDS[0], "decision": "real", **wrong}
        match, decision = given.pop("match"), given.pop("decision")
        with pytest.raises(lvmfast.DataError, match="expected"):
            decide(match, decision, **given)


def test_what_others_wrote_meanwhile_is_read_without_the_rest(tmp_path):
    path = tmp_path / "decisions.jsonl"
    mine, theirs = DecisionLog(path), DecisionLog(path)
    mine.append([decide(IDS[0], "real")])
    assert mine.read().of(IDS[0]) == "real"
    theirs.append([decide(IDS[1], "unsure")])
    assert mine.read().of(IDS[1]) == "unsure"
    path.write_bytes(decide(IDS[3], "real").to_line())  # another file by now, which is shorter
    assert set(mine.read().by_match) == {IDS[3]}


def test_a_file_that_took_the_place_of_another_is_read_from_its_beginning(tmp_path):
    place = tmp_path / "decisions.jsonl"
    log = DecisionLog(place)
    log.append([decide(IDS[0], "real"), decide(IDS[1], "real")])
    assert set(log.read().by_match) == {IDS[0], IDS[1]}
    others = b"".join(decide(match, "unsure", note="another file").to_line() for match in IDS[1:3])
    for written in (others, others * 20, others):  # longer than the one before it, and shorter
        place.write_bytes(written)
        assert {match: one.decision for match, one in log.read().by_match.items()} == {
            IDS[1]: "unsure",
            IDS[2]: "unsure",
        }
    place.unlink()
    assert log.read().by_match == {}
    log.append([decide(IDS[3], "real")])
    assert set(log.read().by_match) == {IDS[3]}


def test_a_line_that_is_no_decision_has_its_number_however_often_it_is_read(tmp_path):
    place = tmp_path / "decisions.jsonl"
    log = DecisionLog(place)
    log.append([decide(IDS[0], "real"), decide(IDS[1], "real")])
    log.read()
    whole = place.read_bytes()
    place.write_bytes(whole + b"\nsomething else\n")
    for _ in range(3):
        with pytest.raises(lvmfast.DataError, match="line 4: "):
            log.read()
    place.write_bytes(whole)
    assert set(log.read().by_match) == {IDS[0], IDS[1]}
