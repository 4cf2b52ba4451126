"""Overlap with its items in blocks, by each of which the training side goes: the bytes of a scan without."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast import merging
from lvmfast.leaks.journal import Journal
from lvmfast.levels.base import IndexBytes
from lvmfast.levels.overlap import OverlapLevel
from lvmfast.scan import plan
from tests.support.peaks import MIB, ran
from tests.support.shards import MACHINES

TABLES = ("matches.parquet", "matched_rows.parquet", "overlaps.parquet")
LEVELS = {"levels": ["doc", "text", "overlap"]}


def world(seed: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Documents, and items with passages and an answer, of which some are equal or of a template."""
    lots = random.Random(seed)
    words = ["".join(lots.choices("bdklmnrst", k=3)) + lots.choice("aeiou") for _ in range(700)]
    text = lambda n: " ".join(lots.choices(words, k=n))  # noqa: E731
    frame, passages = text(9), [text(lots.randint(14, 40)) for _ in range(30)]
    items: list[dict[str, Any]] = []
    for number in range(120):
        question = text(lots.randint(6, 30))
        if number % 4 == 0:
            question = f"{frame} {question}" if number % 8 else frame
        passage = lots.sample(passages, lots.choice([0, 1, 1, 2, 3])) or None
        answer = text(lots.choice([1, 3, 12])) if lots.random() < 0.7 else None
        items.append({"question": question, "passage": passage, "answer": answer})
    items += [dict(item) for item in lots.sample(items, 15)]
    items.append({"question": None, "passage": None, "answer": None})
    items.append({"question": "two words", "passage": None, "answer": None})
    lots.shuffle(items)
    documents = []
    for _ in range(300):
        parts = [text(lots.randint(5, 60))]
        for item in lots.sample(items, lots.choice([0, 0, 1, 2, 4])):
            kinds = [item["question"], item["answer"], *(item["passage"] or [])]
            parts += [f"{part} {text(6)}" for part in kinds if part and lots.random() < 0.6]
        documents.append("\n".join(parts))
    return documents, items


def sides_of(folder: Path) -> tuple[Path, Path]:
    return folder / "train", folder / "eval.jsonl"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training files of chunks of documents, and an evaluation file."""
    folder = tmp_path_factory.mktemp("blocks")
    documents, items = world(11)
    rows = []
    for number, document in enumerate(documents):
        cut = document.split(" ")
        for place, first in enumerate(range(0, len(cut), 40)):
            rows.append({"doc_id": number, "chunk_id": place, "text": " ".join(cut[first : first + 40])})
    (folder / "train").mkdir()
    for part, first in enumerate(range(0, len(rows), 400)):
        table = pa.Table.from_pylist(rows[first : first + 400])
        pq.write_table(table, folder / "train" / f"{part}.parquet", row_group_size=60)
    (folder / "eval.jsonl").write_text(
        "".join(json.dumps({"doc_id": -1 - n, **item}) + "\n" for n, item in enumerate(items))
    )
    return folder


def scan(corpus: Path, place: Path, *, kept: bool = False, **options: Any) -> Path:
    """A scan, with a journal if it is `kept`."""
    out = {"out": place} if kept else {}
    lvmfast.leakscan(*sides_of(corpus), **{**LEVELS, **out, **options}).save(place)
    return place


def assert_same(out: Path, whole: Path) -> None:
    for name in TABLES:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (json.loads((place / "summary.json").read_text()) for place in (out, whole))
    for name in MACHINES:
        del ours[name], theirs[name]
    assert ours == theirs


@pytest.fixture
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(blocks: int) -> None:
        monkeypatch.setattr(OverlapLevel, "blocks", lambda level, room: blocks)

    return of


@pytest.mark.parametrize("blocks", [2, 3, 7])
@pytest.mark.parametrize("options", [{}, {"join_chunks": True, "overlap_short": "leak"}, {"max_pairs": 9}])
def test_blocks_give_the_bytes_of_all_items(
    corpus: Path, tmp_path: Path, in_blocks: Any, blocks: int, options: dict[str, Any]
) -> None:
    whole = scan(corpus, tmp_path / "whole", **options)
    found = json.loads((whole / "summary.json").read_text())["levels"]["overlap"]
    assert found["eval_rows_matched"] > 30
    for beside in ("answered", "passage_alone", "answer_alone", "short"):
        assert found[beside]["eval_rows"] > 0 or (beside == "short" and "overlap_short" in options), beside
    in_blocks(blocks)
    said: list[str] = []
    assert_same(scan(corpus, tmp_path / "parted", announce=said.append, **options), whole)
    assert f"goes by it in {blocks} blocks" in " ".join(said)
    assert_same(scan(corpus, tmp_path / "kept", kept=True, **options), whole)
    assert not (tmp_path / "kept" / ".partial").exists()


def test_passages_in_several_blocks_count_a_document_once(tmp_path: Path, in_blocks: Any) -> None:
    """Two passages of one item, the first and the last of all, stand in one document."""
    lots = random.Random(3)
    words = [f"word{i}" for i in range(500)]
    text = lambda n: " ".join(lots.choices(words, k=n))  # noqa: E731
    passages = [[text(20), text(20)] for _ in range(12)]
    passages[0][1] = passages[11][0]
    evaluation = {"question": [text(12) for _ in passages], "passage": passages}
    train = {"text": [" ".join([*passages[0], text(9), *passages[5]]), text(30), passages[11][1]]}
    reports = []
    for blocks in (1, 2, 5):
        in_blocks(blocks)
        reports.append(lvmfast.leakscan(train, evaluation, levels=["overlap"]))
    told = reports[0].overlaps.to_pylist()
    assert {row["train_rows"] for row in told if row["eval_row"] == 0} == {1}
    assert all(report.overlaps.equals(reports[0].overlaps) for report in reports)


def test_shards_may_have_other_blocks_each(corpus: Path, tmp_path: Path, in_blocks: Any) -> None:
    whole = scan(corpus, tmp_path / "whole", join_chunks=True)
    parts = []
    for share, blocks in ((1, 1), (2, 3), (3, 2)):
        in_blocks(blocks)
        part = tmp_path / f"part-{share}"
        parts.append(scan(corpus, part, kept=True, shard=(share, 3), join_chunks=True))
    lvmfast.merge(parts).save(tmp_path / "out")
    assert_same(tmp_path / "out", whole)


def test_a_part_without_a_cut_of_a_block_is_refused() -> None:
    spans = [[0, 0, 5, 0], [0, 5, None, 0], [0, 0, 5, 1], [0, 5, None, 1]]
    for left in range(1, 5):
        headers = {str(n): {"blocks": 2, "spans": [span]} for n, span in enumerate(spans[:left])}
        part: Any = SimpleNamespace(path="part", headers=headers)
        if left == 4:
            merging._check_blocks([part])
            continue
        with pytest.raises(lvmfast.DataError, match="part: a block of the evaluation side is not whole"):
            merging._check_blocks([part])


@pytest.mark.parametrize("cuts", [1, 6, 11])
def test_a_scan_that_was_stopped_in_any_block_goes_on(
    corpus: Path, tmp_path: Path, in_blocks: Any, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    whole = scan(corpus, tmp_path / "whole")
    monkeypatch.setattr("lvmfast.leaks.journal.SECONDS", 0.0)
    in_blocks(4)
    out, added, add = tmp_path / "out", [0], Journal.add

    def stopping(journal: Journal, *given: Any, **more: Any) -> None:
        if added[0] == cuts:
            raise KeyboardInterrupt
        added[0] += 1
        add(journal, *given, **more)

    monkeypatch.setattr(Journal, "add", stopping)
    with pytest.raises(KeyboardInterrupt, match="--resume continues"):
        scan(corpus, out, kept=True)
    assert added[0] == cuts
    monkeypatch.setattr(Journal, "add", add)
    more = len(list((corpus / "train").iterdir())) * 4
    told: list[tuple[str, int]] = []
    scan(corpus, out, kept=True, resume=True, progress=lambda phase, done, of: told.append((phase, done)))
    assert 0 < cuts < more
    first = next(phase for phase, _ in told if phase.startswith("scan train"))
    assert first == f"scan train, block {1 + cuts // (more // 4)} of 4"
    assert_same(out, whole)


def test_beside_levels_beyond_memory_it_goes_by_blocks_too(
    corpus: Path, tmp_path: Path, in_blocks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scan(corpus, tmp_path / "whole")
    monkeypatch.setattr(plan, "_two_sides", lambda indexed, _, given: plan._beyond_memory(indexed, given))
    in_blocks(3)
    assert_same(scan(corpus, tmp_path / "parted", kept=True), whole)


def test_as_many_reads_as_the_room_asks_for() -> None:
    index = IndexBytes(100 * MIB, 400 * MIB)
    assert index.reads(500 * MIB) == 1
    assert index.reads(500 * MIB - 1) == 2
    assert index.reads(200 * MIB) == 4
    assert index.reads(140 * MIB) == 10
    assert index.reads(100 * MIB) is None


@pytest.mark.slow
def test_a_limit_is_held_by_blocks(tmp_path: Path) -> None:
    lots = random.Random(2)
    words = ["".join(lots.choices("bdfgklmnprst", k=4)) + lots.choice("aeiou") for _ in range(20_000)]
    items = [" ".join(lots.choices(words, k=90)) for _ in range(80_000)]
    half = [" ".join(item.split()[10:70]) for item in items[:3000]]
    documents = [" ".join([*lots.choices(words, k=60), text]) for text in half]
    for name, texts in (("eval", items), ("train", documents)):
        pq.write_table(pa.table({"text": texts}), tmp_path / f"{name}.parquet", row_group_size=2000)
    command = ("leakscan", "--train", "train.parquet", "--eval", "eval.parquet", "--levels", "overlap")
    command = (*command, "--max-pairs", 1000)
    free = ran(tmp_path, *command, "--out", "free")
    limited = ran(tmp_path, *command, "--out", "limited", "--memory-limit", f"{400 * MIB}")
    assert (free.code, limited.code) == (1, 1), free.err + limited.err
    assert "blocks" in limited.err
    assert limited.peak <= 400 * MIB < free.peak
    assert_same(tmp_path / "limited", tmp_path / "free")


RAY = """
import sys, lvmfast
from lvmfast.levels.overlap import OverlapLevel
OverlapLevel.blocks = lambda level, room: 3  # of the driver, whom the workers follow
train, evaluation, out = sys.argv[1:]
options = {"levels": ["doc", "text", "overlap"], "join_chunks": True, "out": out}
lvmfast.leakscan(train, evaluation, engine="ray", **options).save(out)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_of_a_cluster_go_by_the_blocks_of_the_driver(corpus: Path, tmp_path: Path) -> None:
    whole = scan(corpus, tmp_path / "whole", join_chunks=True)
    patient = {**os.environ, "RAY_raylet_start_wait_time_s": "120", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", RAY, *map(str, sides_of(corpus)), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=patient, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same(tmp_path / "out", whole)
