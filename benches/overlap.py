"""Planted leaks: what lvmfast and its peers find of evaluation items that stand inside training documents.

A set of invented words in eight scripts is made in `.bench/` (`planting.py`; the kinds in `edits.py` and
`decoys.py`), every tool that is there is run on it, and recall by kind, script and length, false pairs, hard
negatives and speed are printed as tables. With --background and --items, local texts as well.

    python benches/overlap.py                       # all tools that are there
    python benches/overlap.py --quick               # a small set, in less than a minute
    python benches/overlap.py --tools core rules    # some
    python benches/overlap.py --background DIR --items FILE.jsonl
    python benches/overlap.py core                  # the core in memory: speed, threads, memory
    python benches/overlap.py rules                 # items that published rules call leaked, and plain Python
    python benches/overlap.py templates             # items of templates, and the templates filled otherwise
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import overlap_core
import overlap_rules
import overlap_templates
import peers
from common import machine
from kinds import LEAK, NEGATIVE
from lvmfast.levels import LEVELS
from planting import Given, Size, make
from scoring import Pair, Score, report, score

CACHE = Path(__file__).resolve().parent.parent / ".bench"
SIZES = {"quick": Size(2, 400, 80), "whole": Size()}
#: What finds planted items, and whether it is there.
TOOLS: dict[str, tuple[peers.Tool, bool]] = {
    "core": (overlap_core.found, True),
    "overlap": (peers.overlap_level, "overlap" in LEVELS),
    "text": (peers.text_level, True),
    "rules": (peers.published_rules, True),
    "minhash": (peers.minhash, importlib.util.find_spec("datasketch") is not None),
    "decon": (peers.decon, shutil.which("decon") is not None),
}


def text_size(folder: Path) -> tuple[int, int]:
    """Bytes of text of the training documents, and how many there are."""
    sizes = [len(text.encode()) for _, _, text in peers.documents(folder)]
    return sum(sizes), len(sizes)


def speeds(found: dict[str, peers.Found], size: int) -> str:
    """A row for each tool, on one thread, reading and start included where the tool is a command."""
    lines = ["| one thread | documents, s | MB/s | index, s |", "| --- | --- | --- | --- |"]
    for name, one in found.items():
        index = "within" if one.index_seconds != one.index_seconds else f"{one.index_seconds:.2f}"
        lines.append(f"| {name} | {one.seconds:.2f} | {size / 1e6 / one.seconds:.1f} | {index} |")
    return "\n".join(lines)


def examples(folder: Path, scores: dict[str, Score], count: int) -> Iterator[str]:
    """Some misses, negatives reported and false pairs of each tool, as JSON lines with both texts."""
    items = [row["text"] for row in peers.rows(folder / "eval.jsonl")]
    texts = {(file, row): text for file, row, text in peers.documents(folder)}
    rng = random.Random(7)
    for tool, one in scores.items():
        wrong: dict[str, list[Pair]] = defaultdict(list)
        wrong["false pair"] = one.false_pairs
        for plant, found in one.found.items():
            if (plant.verdict, found) in ((LEAK, False), (NEGATIVE, True)):
                what = f"{plant.verdict}: {plant.kind}, {plant.strength}"
                wrong[what].append((plant.file, plant.row, plant.eval_row))
        for what, pairs in wrong.items():
            for pair in rng.sample(pairs, min(count, len(pairs))):
                told = {"tool": tool, "what": what, "item": items[pair[2]], "document": texts[pair[:2]]}
                yield json.dumps({**told, "pair": pair}, ensure_ascii=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="score", choices=["score", "core", "rules", "templates"])
    parser.add_argument("--quick", action="store_true", help="a small set")
    parser.add_argument("--seed", default="7")
    parser.add_argument("--per-kind", type=int, help="plants of each kind in each script")
    parser.add_argument("--documents", type=int, help="documents without a plant")
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), help="default: all that are there")
    parser.add_argument("--background", type=Path, help="folder of .txt, .md, .rst, .py, .jsonl")
    parser.add_argument("--megabytes", type=int, default=100, help="at most so much background (default 100)")
    parser.add_argument("--items", type=Path, help="JSON lines with question, text or prompt, and answer")
    parser.add_argument("--folder", type=Path, help="where the set is written (default: in .bench)")
    parser.add_argument("--examples", type=Path, help="writes what went wrong, with both texts, to this file")
    args = parser.parse_args()
    print(machine())
    size = SIZES["quick" if args.quick else "whole"]
    if args.what == "core":
        overlap_core.measure(args.quick)
        return
    if args.what == "templates":
        print(overlap_templates.table(args.seed))
        return
    size = replace(
        size,
        per_kind=args.per_kind or size.per_kind,
        documents=size.documents if args.documents is None else args.documents,
    )
    folder = args.folder or CACHE / ("overlap-quick" if args.quick else "overlap")
    shutil.rmtree(folder, ignore_errors=True)
    truth = make(folder, args.seed, size, Given(args.background, args.megabytes * 1_000_000, args.items))
    nbytes, count = text_size(folder)
    print(f"{len(truth):,} plants in {count:,} documents, {nbytes / 1e6:.1f} MB of text; seed {args.seed}\n")
    if args.what == "rules":
        print(overlap_rules.compare(folder))
        return
    found: dict[str, peers.Found] = {}
    for name in args.tools or [name for name, (_, there) in TOOLS.items() if there]:
        found |= TOOLS[name][0](folder)
    scores = {name: score(truth, one.pairs) for name, one in found.items()}
    print(f"{report(truth, scores)}\n\n{speeds(found, nbytes)}")
    if args.examples:
        args.examples.write_text("".join(f"{told}\n" for told in examples(folder, scores, 3)))


if __name__ == "__main__":
    main()
