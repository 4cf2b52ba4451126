"""Overlap against a fingerprint: what its filter of runs of tokens proves, and what it leaves undecided."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast import _core
from lvmfast.corpus import lvfp
from lvmfast.corpus.fingerprint import GRAM_HASH
from lvmfast.corpus.keys import text_bytes
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from tests.support import overlap as naive
from tests.support.command import run

#: Few words, so that runs are shared, repeated and frequent.
TEXTS = st.lists(st.sampled_from(["red", "blue", "green", "7", "x", "字", "ไ"]), max_size=40).map(" ".join)
SIDE = st.lists(TEXTS, min_size=1, max_size=14)

DOCUMENT = (
    "A long page about many things, and in the midst of it: which of the four rivers that cross the old "
    "province of Aradel reaches the sea first, if one counts from the spring floods? After that it goes on."
)
INSIDE = "Which of the four rivers that cross the old province of Aradel reaches the sea first?"
ELSEWHERE = (
    "How many of the seven lighthouses on the northern shore were built before the great winter storm?"
)


def filter_of(texts: Sequence[str], blocks: int) -> _core.GramFilter:
    made = _core.GramFilter(blocks)
    made.insert(_core.overlap_grams(*text_bytes(pa.array(texts, pa.large_string())), 1))
    return made


def index_of(items: Sequence[str]) -> _core.OverlapIndex:
    index = _core.OverlapIndex()
    index.add(*text_bytes(pa.array(items, pa.large_string())), 1)
    index.close(1)
    return index


def share_held(item: naive.Item, held: set[tuple[str, ...]]) -> float:
    """Of the weight of the tokens in seeds, what is in those that are held; 0 below a fifth."""

    def weight(seeds: set[tuple[str, ...]]) -> int:
        places = [p for p, gram in enumerate(naive.grams(item.tokens, 5)) if gram in seeds]
        return sum(item.weights[j] for j in {p + k for p in places for k in range(5)})

    ours, all_ = weight(item.seeds & held), weight(item.seeds)
    if not item.seeds & held or 5 * ours < all_:
        return 0.0
    return ours / all_ if all_ else 1.0


@settings(max_examples=150, deadline=None)
@given(documents=SIDE, items=SIDE)
def test_the_share_that_may_be_there_is_that_of_all_documents_together(
    documents: list[str], items: list[str]
) -> None:
    side = naive.evaluation_side(items)
    held = {gram for text in documents for gram in naive.grams(naive.tokens(text), 5)}
    expected = [share_held(side.items[same], held) for same in side.same_as]
    np.testing.assert_allclose(index_of(items).possible(filter_of(documents, 4000)), expected, rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(documents=SIDE, items=SIDE, blocks=st.sampled_from([1, 2, 50]))
def test_no_item_that_a_document_holds_is_proven_absent(
    documents: list[str], items: list[str], blocks: int
) -> None:
    index = index_of(items)
    pairs = index.scan(*text_bytes(pa.array(documents, pa.large_string())), 1)
    assert (index.possible(filter_of(documents, blocks))[pairs.item] > 0).all()


def test_hashes_of_runs_are_those_that_fingerprints_hold() -> None:
    """With another hash of the same words older fingerprints would prove what is not so."""
    assert GRAM_HASH == 1
    text = pa.array(["One two, three FOUR five"], pa.large_string())
    assert _core.overlap_grams(*text_bytes(text), 1).tolist() == [1621922085577289489]


def test_from_texts_to_an_answer_by_commands(tmp_path: Path) -> None:
    train, eval_, path = (tmp_path / name for name in ("train.jsonl", "eval.jsonl", "train.lvfp"))
    train.write_text("".join(json.dumps({"text": text}) + "\n" for text in [DOCUMENT, "Another short page."]))
    eval_.write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in [ELSEWHERE, INSIDE, "Too short", ELSEWHERE])
    )
    made = run("fingerprint", str(train), "--out", str(path), "--overlap")
    assert made.returncode == 0, made.stderr
    assert "overlap: a filter of " in made.stdout
    scan = ("leakscan", "--train", str(path), "--eval", str(eval_))
    answer = run(*scan, "--out", str(tmp_path / "report"))
    assert answer.returncode == 3, answer.stderr
    assert "overlap: 1 eval rows may match: the fingerprint neither finds" in answer.stdout
    undecided = pq.read_table(tmp_path / "report" / "undecided.parquet").to_pylist()
    assert [(row["level"], row["row"], row["bound"]) for row in undecided] == [("overlap", 1, 1.0)]
    level = json.loads((tmp_path / "report" / "summary.json").read_text())["levels"]["overlap"]
    assert (level["eval_rows_checked"], level["train_rows_checked"]) == (3, 2)
    assert level["unchecked"]["eval"] == {"short_text": 1}
    assert run(*scan, "--allow", "overlap=0.5").returncode == 0


def test_a_fingerprint_without_a_filter_says_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "t.lvfp"
    lvmfast.fingerprint({"text": [DOCUMENT]}, path)
    report = lvmfast.leakscan(path, {"text": [INSIDE]})
    assert report.levels["overlap"].status == "not_checkable"
    assert "(--overlap)" in str(report.levels["overlap"].reason)
    with pytest.raises(DataError, match=r"level overlap: .*\(--overlap\)"):
        lvmfast.leakscan(path, {"text": [INSIDE]}, levels=["overlap"])
    with pytest.raises(DataError, match=r"overlap: .*no text"):
        lvmfast.fingerprint({"doc_id": [1]}, tmp_path / "2.lvfp", overlap=True)


def test_a_filter_that_proves_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.lvfp"
    lvmfast.fingerprint({"text": [DOCUMENT]}, path, overlap=True)
    held = lvfp.unpack(str(path))

    def stated(**more: object) -> dict[str, object]:
        return {**held.content, "overlap": {**held.content["overlap"], **more}}

    for content, blocks, word in (
        (stated(hash=2), held.arrays["overlap.filter"], "hashes of the form 2, expected 1"),
        (stated(), np.empty((0, 4), np.uint64), "0 blocks"),
        (stated(), np.zeros((3, 5), np.uint64), r"expected \(any, 4\)"),
        ({**held.content, "overlap": {}}, held.arrays["overlap.filter"], "header: KeyError"),
    ):
        path.write_bytes(lvfp.pack(content, {**held.arrays, "overlap.filter": blocks}))
        with pytest.raises(DataError, match=word):
            lvmfast.leakscan(path, {"text": [INSIDE]})
    path.write_bytes(lvfp.pack(stated(unicode="1.1.0"), held.arrays))
    reason = lvmfast.leakscan(path, {"text": [INSIDE]}).levels["overlap"].reason
    assert "made by Unicode 1.1.0, this lvmfast has" in str(reason)


def test_the_filter_has_room_for_the_runs_of_every_script(tmp_path: Path) -> None:
    """A run of five Han characters is 15 bytes of text, one of five words thirty."""
    generator = np.random.default_rng(3)
    texts = ["".join(map(chr, generator.integers(0x4E00, 0x9000, 300))) for _ in range(40)]
    made = lvmfast.fingerprint({"text": texts}, tmp_path / "t.lvfp", overlap=True)
    assert made.grams is not None
    assert 0.0002 < made.grams.false_positive_rate < 0.002


def test_a_filter_that_memory_does_not_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 0)
    with pytest.raises(DataError, match="overlap: writing its filter needs about"):
        lvmfast.fingerprint({"text": [DOCUMENT]}, tmp_path / "t.lvfp", overlap=True)
