"""A benchmark, a training set that holds some of its items, and scores made by a known rule."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

WORDS = [
    f"{first}{last}"
    for first in "ba ke li mo nu pra sti tro gle fon".split()
    for last in "dar mel nik sol".split()
]


@dataclass(frozen=True)
class Benchmark:
    """Its files, its items, and which of them stand in training."""

    train: str
    eval: str
    items: list[dict]
    leaked: frozenset[int]

    def scores(self, base: float, gain: float, seed: int = 0) -> list[float]:
        """Right with a chance of `base`, and of `gain` more where the item leaked."""
        rng = random.Random(seed)
        return [float(rng.random() < base + gain * (i in self.leaked)) for i in range(len(self.items))]


def words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(WORDS, k=count))


def benchmark(
    folder: Path, items: int = 300, leaked: int = 100, *, per_document: int = 1, seed: int = 1
) -> Benchmark:
    """`leaked` of the items stand in training, `per_document` in a document."""
    folder.mkdir(exist_ok=True)
    rng = random.Random(seed)
    rows = [
        {"id": f"q-{i}", "question": f"{words(rng, 20)}?", "choices": ["red", "blue"], "answer": i % 2}
        for i in range(items)
    ]
    chosen = rng.sample(range(items), leaked)
    documents = [words(rng, 50) for _ in range(50)]
    for start in range(0, leaked, per_document):
        held = [rows[i]["question"] for i in chosen[start : start + per_document]]
        documents.append(" ".join(f"{words(rng, 12)} {question}" for question in held))
    write(folder / "train.jsonl", [{"text": text} for text in documents])
    write(folder / "stones.jsonl", rows)
    return Benchmark(str(folder / "train.jsonl"), str(folder / "stones.jsonl"), rows, frozenset(chosen))


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def harness_samples(items: list[dict], scores: list[float], **more) -> list[dict]:
    """The lines that lm-evaluation-harness 0.4.13 logs for a multiple-choice task."""
    return [
        {
            "doc_id": i,
            "doc": item,
            "target": str(item["answer"]),
            "arguments": {
                f"gen_args_{n}": {"arg_0": f"Q: {item['question']}\nA:", "arg_1": f" {choice}"}
                for n, choice in enumerate(item["choices"])
            },
            "resps": [[["-0.25", "False"]], [["-0.75", "False"]]],
            "filtered_resps": [["-0.25", "False"], ["-0.75", "False"]],
            "filter": "none",
            "metrics": ["acc", "acc_norm"],
            "doc_hash": "0b9b",
            "prompt_hash": "4a16",
            "target_hash": "5fec",
            "acc": score,
            "acc_norm": 1 - score,
            **more,
        }
        for i, (item, score) in enumerate(zip(items, scores, strict=True))
    ]
