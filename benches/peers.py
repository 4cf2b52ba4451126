"""What finds planted items, ours and others', each as a function of a planted folder that returns pairs.

The formats in which tools report stand here and nowhere else in the benches. The published rules are computed
plainly, in Python, on tokens of our own (NFKC, case folded; runs of letters, marks and numbers; characters of
scripts without spaces one by one), so they differ from their papers in how text is cut, and in nothing else.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from scoring import Pair
from words import split


@dataclass
class Found:
    """Pairs, and the seconds of the index and of the documents; nan where a tool does not tell them apart."""

    pairs: list[Pair]
    seconds: float
    index_seconds: float = float("nan")
    threads: int = 1


Tool = Callable[[Path], "dict[str, Found]"]


def rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def documents(folder: Path) -> Iterator[tuple[str, int, str]]:
    """File, row and text of every training document."""
    for path in sorted((folder / "train").iterdir()):
        for row, document in enumerate(rows(path)):
            yield path.name, row, document["text"]


def tokens(text: str) -> list[str]:
    """The normal form, cut into words."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    return [word.core for word in split(folded)]


def grams(words: list[str], n: int) -> list[str]:
    return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]


RULES = {
    "any 13-gram": "GPT-3",
    "70% of 8-grams": "PaLM",
    "half of tokens in 8-grams": "Llama",
    "50 characters": "GPT-4",
}


@dataclass
class Rules:
    """The published rules over one item side."""

    sizes: list[int] = field(default_factory=list)  #: tokens of each item
    eights: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    thirteens: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    fifties: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, text: str, rng: random.Random) -> None:
        """The next item, and three of its substrings of 50 letters and numbers, as in GPT-4's report."""
        row, words = len(self.sizes), tokens(text)
        self.sizes.append(len(words))
        for place, gram in enumerate(grams(words, 8)):
            self.eights[gram].append((row, place))
        for gram in grams(words, 13):
            self.thirteens[gram].add(row)
        letters = "".join(words)
        for _ in range(3):
            start = rng.randint(0, max(0, len(letters) - 50))
            self.fifties[letters[start : start + 50]].add(row)  # the whole item where it is shorter

    def found(self, text: str) -> dict[str, set[int]]:
        """Items that each rule finds in a document."""
        words = tokens(text)
        starts: dict[int, set[int]] = defaultdict(set)
        for gram in grams(words, 8):
            for row, place in self.eights.get(gram, ()):
                starts[row].add(place)
        found: dict[str, set[int]] = {name: set() for name in RULES}
        for row, places in starts.items():
            size = self.sizes[row]
            if len(places) >= 0.7 * (size - 7):
                found["70% of 8-grams"].add(row)
            if 2 * len({place + i for place in places for i in range(8)}) >= size:
                found["half of tokens in 8-grams"].add(row)
        for gram in grams(words, 13):
            found["any 13-gram"] |= self.thirteens.get(gram, set())
        letters = "".join(words)
        for i in range(max(1, len(letters) - 49)):
            found["50 characters"] |= self.fifties.get(letters[i : i + 50], set())
        return found


def published_rules(folder: Path) -> dict[str, Found]:
    start, rng, rules = time.perf_counter(), random.Random(7), Rules()
    for item in rows(folder / "eval.jsonl"):
        rules.add(item["text"], rng)
    indexed = time.perf_counter()
    pairs: dict[str, list[Pair]] = {name: [] for name in RULES}
    for file, row, text in documents(folder):
        for name, items in rules.found(text).items():
            pairs[name] += [(file, row, item) for item in items]
    seconds = time.perf_counter() - indexed  # of all rules together
    return {name: Found(pairs[name], seconds, indexed - start) for name in RULES}


def minhash(folder: Path) -> dict[str, Found]:
    """datasketch: 5-grams of tokens, 128 permutations, LSH and then the estimate at Jaccard .5."""
    from datasketch import MinHash, MinHashLSH

    def sketch(text: str) -> MinHash:
        words = tokens(text)
        made = MinHash(128)
        made.update_batch([gram.encode() for gram in grams(words, min(5, len(words)))])
        return made

    start = time.perf_counter()
    index, sketches = MinHashLSH(0.5, 128), {}
    for row, item in enumerate(rows(folder / "eval.jsonl")):
        sketches[row] = sketch(item["text"])
        index.insert(row, sketches[row])
    indexed = time.perf_counter()
    pairs = []
    for file, row, text in documents(folder):
        made = sketch(text)
        pairs += [(file, row, item) for item in index.query(made) if made.jaccard(sketches[item]) >= 0.5]
    return {"MinHash .5": Found(pairs, time.perf_counter() - indexed, indexed - start)}


def by_decon(folder: Path, answers: bool) -> Found:
    """decon on one thread; with answers as it comes, without them as questions alone."""
    with tempfile.TemporaryDirectory() as scratch:
        evals, out = Path(scratch, "evals"), Path(scratch, "out")
        evals.mkdir()
        with (evals / "planted.jsonl").open("w", encoding="utf-8") as file:
            for row, item in enumerate(rows(folder / "eval.jsonl")):
                told: dict[str, object] = {
                    "eval_key": "planted",
                    "eval_instance_index": row,
                    "doc_id": row,
                    "split": "test",
                }
                told |= {"config": "all", "question": item["text"]}
                if answers and item["answer"]:
                    told["answer"] = item["answer"]
                file.write(json.dumps(told, ensure_ascii=False) + "\n")
        command = ["decon", "detect", "--training-dir", str(folder / "train"), "--evals-dir", str(evals)]
        command += ["--report-output-dir", str(out), "--worker-threads", "1"]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"decon: {done.stderr}")
        found = [row for path in sorted(out.rglob("*.jsonl")) for row in rows(path)]
    return Found([decon_pair(row) for row in found], seconds)


def decon_pair(row: dict[str, object]) -> Pair:
    """A line of decon's report."""
    return str(row["training_file"]), int(str(row["training_line"])), int(str(row["eval_instance_index"]))


def decon(folder: Path) -> dict[str, Found]:
    return {"decon": by_decon(folder, answers=True), "decon, questions": by_decon(folder, answers=False)}


def lvmfast_pairs(report: Path) -> list[Pair]:
    """The pairs of an lvmfast report: of `overlaps.parquet`, or else of `matches.parquet`."""
    overlaps = report / "overlaps.parquet"
    table = pq.read_table(overlaps if overlaps.exists() else report / "matches.parquet")
    if "level" in table.column_names:
        table = table.filter(np.isin(table["level"].to_numpy(zero_copy_only=False), ["text", "overlap"]))
    names = [Path(name).name for name in table["train_file"].to_pylist()]
    return list(zip(names, table["train_row"].to_pylist(), table["eval_row"].to_pylist(), strict=True))


def lvmfast_scan(folder: Path, levels: str) -> Found:
    """A whole `lvmfast leakscan`, start of the process and reading included."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "-m",
            "lvmfast",
            "leakscan",
            "--levels",
            levels,
            "--quiet",
            "--out",
            scratch,
        ]
        command += ["--train", str(folder / "train"), "--eval", str(folder / "eval.jsonl"), "--threads", "1"]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode not in (0, 1):
            sys.exit(f"lvmfast: {done.stderr}")
        return Found(lvmfast_pairs(Path(scratch)), seconds)


def text_level(folder: Path) -> dict[str, Found]:
    return {"lvmfast text": lvmfast_scan(folder, "text")}


def overlap_level(folder: Path) -> dict[str, Found]:
    return {"lvmfast overlap": lvmfast_scan(folder, "overlap")}
