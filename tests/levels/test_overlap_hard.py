"""The level overlap where every row matches, or none can be read: counts are whole, and refusals named."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest

import lvmfast
from tests.support.command import refused, run

PHRASE = "it is one of the most of all that there is to be"
QUESTION = "which of the two keepers put out the lamp in the north tower before the storm came"


def scan(train: list[str], items: list[str], max_pairs: int = 50) -> lvmfast.LeakReport:
    sides = ({"text": pa.array(texts, pa.large_string())} for texts in (train, items))
    return lvmfast.leakscan(*sides, levels=["overlap"], max_pairs=max_pairs, threads=1)


def rows(count: int, words: int = 20) -> list[str]:
    """Texts of which no two have a word in common."""
    return [" ".join(f"word{words * row + place}" for place in range(words)) for row in range(count)]


def processor_seconds(train: list[str], items: list[str], max_pairs: int = 50) -> float:
    seconds = []
    for _ in range(3):
        start = time.process_time()
        scan(train, items, max_pairs)
        seconds.append(time.process_time() - start)
    return min(seconds)


@pytest.mark.parametrize("kind", ["the benchmark itself", "a stop phrase", "equal items"])
def test_where_every_row_matches_counts_are_whole_and_evidence_is_bounded(kind: str) -> None:
    def sides(count: int) -> tuple[list[str], list[str]]:
        texts = rows(count)
        return {
            "the benchmark itself": (texts, texts),
            "a stop phrase": ([f"{text}, {PHRASE}" for text in texts], [PHRASE]),
            "equal items": ([f"so {QUESTION} and more"], [QUESTION] * count),
        }[kind]

    train, items = sides(3000)
    report = scan(train, items)
    found = report.levels["overlap"]
    assert {side: len(one.matched_rows) for side, one in found.sides.items()} == {
        "train": len(train),
        "eval": len(items),
    }
    assert found.pairs == max(len(train), len(items))
    assert 1 <= len(report.overlaps) <= 50
    if kind == "a stop phrase":  # how public a text is can be seen
        assert set(report.overlaps["train_rows"].to_pylist()) == {3000}
    assert processor_seconds(*sides(30_000)) < 0.5 + 30 * processor_seconds(*sides(3000))


def test_the_evidence_of_every_match_takes_time_in_proportion() -> None:
    few, many = rows(500, 400), rows(4000, 400)
    assert len(scan(few, few, len(few)).overlaps) == 500
    assert processor_seconds(many, many, len(many)) < 0.5 + 20 * processor_seconds(few, few, len(few))


@pytest.mark.parametrize("side", ["train", "eval"])
def test_half_of_a_surrogate_pair_is_refused_by_its_line_and_a_whole_one_is_read(tmp_path, side: str) -> None:
    lines = {name: [f'{{"text": "{QUESTION}"}}\n'] * 5000 for name in ("train", "eval")}
    lines[side][4000] = f'{{"text": "\\ud83d\\ude00 {QUESTION}"}}\n'
    for name, one in lines.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(one))
    asked = (
        "leakscan",
        "--train",
        "train.jsonl",
        "--eval",
        "eval.jsonl",
        "--levels",
        "overlap",
        "--out",
        "out",
    )
    whole = run(*asked, cwd=tmp_path)
    assert whole.returncode == 1, whole.stderr
    lines[side][4000] = f'{{"text": "\\ud800 {QUESTION}"}}\n'
    (tmp_path / f"{side}.jsonl").write_text("".join(lines[side]))
    refused(run(*asked, cwd=tmp_path), f"{side}.jsonl", "line 4001", "lone surrogate", "\\ud800")
