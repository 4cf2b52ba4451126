"""Which items each published rule calls leaked, by a scan and by the rules' words in plain Python."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

import peers

#: By rule, the n of its n-grams, and whether an item is leaked, given which of its n-grams stand in training.
RULES: Mapping[str, tuple[int, Callable[[Sequence[bool]], bool]]] = {
    "gpt3": (13, any),
    "palm": (8, lambda there: sum(there) >= 0.7 * len(there)),
    "llama2": (11, lambda there: covered(there, 11) >= 0.8),
    "llama3": (8, lambda there: covered(there, 8) >= 0.5),
}


def covered(there: Sequence[bool], n: int) -> float:
    """The share of an item's tokens that are in n-grams which are there."""
    tokens = {place + k for place, found in enumerate(there) if found for k in range(n)}
    return len(tokens) / (len(there) + n - 1)


def plainly(items: Sequence[str], documents: Sequence[str]) -> dict[str, list[bool]]:
    """By rule, whether each item is leaked by all documents together."""
    cut = [peers.tokens(item) for item in items]
    sought = {gram for n, _ in RULES.values() for item in cut for gram in peers.grams(item, n)}
    seen = set()
    for document in documents:
        words = peers.tokens(document)
        seen |= {gram for n in (8, 11, 13) for gram in peers.grams(words, n)} & sought
    return {
        rule: [len(item) >= n and leaked([gram in seen for gram in peers.grams(item, n)]) for item in cut]
        for rule, (n, leaked) in RULES.items()
    }


def scanned(folder: Path) -> dict[str, list[bool]]:
    """The same by `lvmfast leakscan`."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable,
            "-m",
            "lvmfast",
            "leakscan",
            "--levels",
            "overlap",
            "--quiet",
            "--out",
            out,
        ]
        command += ["--train", str(folder / "train"), "--eval", str(folder / "eval.jsonl"), "--threads", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            sys.exit(f"lvmfast: {done.stderr}")
        said = pq.read_table(Path(out, "items.parquet"))["rules"].to_pylist()
    return {rule: [rule in of_item for of_item in said] for rule in RULES}


def compare(folder: Path) -> str:
    """A table: items by rule, those on which the two differ, and the seconds of each.

    They differ where text is cut in another way: `peers.tokens` takes a mark of Thai by itself, and a scan
    alone looks at code without the numbers of its lines.
    """
    rows = list(peers.rows(folder / "eval.jsonl"))
    items, scripts = [row["text"] for row in rows], [row["script"] for row in rows]
    documents = [text for _, _, text in peers.documents(folder)]
    start = time.perf_counter()
    ours = scanned(folder)
    between = time.perf_counter()
    plain = plainly(items, documents)
    end = time.perf_counter()
    lines = [
        f"| leaked, of {len(items):,} items | lvmfast | plain Python | differ |",
        "| --- | --- | --- | --- |",
    ]
    for rule in RULES:
        differ = Counter(s for a, b, s in zip(ours[rule], plain[rule], scripts, strict=True) if a != b)
        told = ", ".join(f"{count:,} {script}" for script, count in differ.most_common()) or "0"
        lines.append(f"| {rule} | {sum(ours[rule]):,} | {sum(plain[rule]):,} | {told} |")
    lines.append(f"| seconds, of all rules | {between - start:.2f} | {end - between:.2f} | |")
    return "\n".join(lines)
