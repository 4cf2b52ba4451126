"""The scan in naive Python: nested loops over rows, written from the words of the promises alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tests.support import overlap as overlaps

LEVELS = ("doc", "chunk", "text", "overlap", "vector", "context", "oracle")


@dataclass
class Expected:
    """What one level should find."""

    matched: dict[str, set[int]] = field(default_factory=dict)
    unchecked: dict[str, Counter[str]] = field(default_factory=dict)
    pairs: int = 0
    evidence: set[tuple] = field(default_factory=set)


def normalized(text: str) -> str:
    return re.sub(r"\s+", " ", text.lower()).strip()


def cosine(x, y) -> float:
    x, y = [float(v) for v in x], [float(v) for v in y]
    dot = math.fsum(a * b for a, b in zip(x, y, strict=True))
    norms = math.fsum(a * a for a in x) * math.fsum(b * b for b in y)
    return max(-1.0, min(1.0, dot / math.sqrt(norms)))


def vector_fault(vector) -> str | None:
    values = [float(v) for v in vector]
    if any(math.isnan(v) for v in values):
        return "nan"
    if any(math.isinf(v) for v in values):
        return "infinite"
    if all(v == 0 for v in values):
        return "zero"
    return None


def key_of(split: dict, level: str, row: int, min_chars: int):
    """(key, None), or (None, reason) for a row that cannot be checked."""
    if level == "text":
        text = split["text"][row]
        if text is None:
            return None, "no_text"
        text = normalized(text)
        if not text:
            return None, "empty_text"
        return (None, "short_text") if len(text) < min_chars else (text, None)
    ids = [split["doc_id"][row]] + ([split["chunk_id"][row]] if level == "chunk" else [])
    return (None, "null_id") if any(i is None for i in ids) else (tuple(map(str, ids)), None)


def keyed(train: dict, eval_: dict, level: str, min_chars: int) -> Expected:
    found = Expected({"train": set(), "eval": set()}, {"train": Counter(), "eval": Counter()})
    keys = {}
    for side, split in (("train", train), ("eval", eval_)):
        keys[side] = []
        for row in range(len(split["doc_id"])):
            key, reason = key_of(split, level, row, min_chars)
            keys[side].append(key)
            if reason:
                found.unchecked[side][reason] += 1
    groups: dict = {}
    for i, a in enumerate(keys["train"]):
        for j, b in enumerate(keys["eval"]):
            if a is not None and a == b:
                found.matched["train"].add(i)
                found.matched["eval"].add(j)
                found.pairs += 1
                groups.setdefault(a, []).append((i, j))
    for pairs in groups.values():
        lefts, rights = {i for i, _ in pairs}, {j for _, j in pairs}
        found.evidence.add((min(lefts), None, min(rights), None, 1.0, len(lefts), len(rights)))
    return found


def overlap(train: dict, eval_: dict) -> Expected:
    found = Expected({"train": set(), "eval": set()}, {"train": Counter(), "eval": Counter()})
    for side, split in (("train", train), ("eval", eval_)):
        for text in split["text"]:
            count = 5 if text is None else len(overlaps.tokens(text))
            reason = "empty_text" if count == 0 else "short_text" if count < 5 else None
            if text is None or (side == "eval" and reason):
                found.unchecked[side]["no_text" if text is None else reason] += 1
    items = ["" if text is None else text for text in eval_["text"]]
    same_as = overlaps.evaluation_side(items).same_as
    for pair in overlaps.pairs(items, ["" if text is None else text for text in train["text"]]):
        if pair["strength"] == 2:
            row, first = pair["document"], pair["item"]
            alike = [other for other, of in enumerate(same_as) if of == first]
            score = max(pair["covered"], pair["in_document"]) / pair["weight"]
            found.matched["train"].add(row)
            found.matched["eval"].update(alike)
            found.pairs += len(alike)
            found.evidence.add((row, None, first, None, score, 1, len(alike)))
    return found


def _cells(split: dict, kind: str):
    if kind == "vector":
        return [(row, None, v) for row, v in enumerate(split["vector"])]
    return [(row, p, v) for row, window in enumerate(split["context"]) for p, v in enumerate(window)]


def _join(found: Expected, left: list, right: list, threshold: float) -> None:
    groups: dict = {}
    for i, p, x in left:
        if vector_fault(x):
            continue
        for j, q, y in right:
            if vector_fault(y):
                continue
            score = cosine(x, y)
            if score >= threshold:
                found.matched["train"].add(i)
                found.matched["eval"].add(j)
                found.pairs += 1
                key = (tuple(v + 0.0 for v in x), tuple(v + 0.0 for v in y))
                groups.setdefault(key, []).append(((i, p), (j, q), score))
    order = lambda cell: (cell[0], -1 if cell[1] is None else cell[1])  # noqa: E731
    for hits in groups.values():
        lefts = sorted({h[0] for h in hits}, key=order)
        rights = sorted({h[1] for h in hits}, key=order)
        found.evidence.add((*lefts[0], *rights[0], hits[0][2], len(lefts), len(rights)))


def vector(train: dict, eval_: dict, threshold: float) -> Expected:
    found = Expected({"train": set(), "eval": set()}, {"train": Counter(), "eval": Counter()})
    _join(found, _cells(train, "vector"), _cells(eval_, "vector"), threshold)
    for side, split in (("train", train), ("eval", eval_)):
        found.unchecked[side].update(filter(None, map(vector_fault, split["vector"])))
    return found


def window_fault(target, window) -> str | None:
    fault = vector_fault(target)
    if fault:
        return fault
    faults = [vector_fault(v) for v in window]
    if all(f == "zero" for f in faults):
        return "no_context"
    # infinite outranks nan only in its code; a row is named by one of them
    for reason in ("infinite", "nan"):
        if reason in faults:
            return reason
    return None


def context(train: dict, eval_: dict, threshold: float) -> Expected:
    found = Expected({"train": set(), "eval": set()}, {"train": Counter(), "eval": Counter()})
    _join(found, _cells(train, "context"), _cells(eval_, "vector"), threshold)
    _join(found, _cells(train, "vector"), _cells(eval_, "context"), threshold)
    for side, split in (("train", train), ("eval", eval_)):
        for row, (target, window) in enumerate(zip(split["vector"], split["context"], strict=True)):
            if row not in found.matched[side] and (fault := window_fault(target, window)):
                found.unchecked[side][fault] += 1
    return found


def oracle(eval_: dict, threshold: float) -> Expected:
    found = Expected({"eval": set()}, {"eval": Counter()})
    for row, (target, window) in enumerate(zip(eval_["vector"], eval_["context"], strict=True)):
        for position, v in enumerate(window):
            if not vector_fault(target) and not vector_fault(v):
                score = cosine(target, v)
                if score >= threshold:
                    found.matched["eval"].add(row)
                    found.pairs += 1
                    found.evidence.add((None, None, row, position, score, None, 1))
        if row not in found.matched["eval"] and (fault := window_fault(target, window)):
            found.unchecked["eval"][fault] += 1
    return found


def scan(train: dict, eval_: dict, threshold: float, min_chars: int) -> dict[str, Expected]:
    return {
        **{level: keyed(train, eval_, level, min_chars) for level in ("doc", "chunk", "text")},
        "overlap": overlap(train, eval_),
        "vector": vector(train, eval_, threshold),
        "context": context(train, eval_, threshold),
        "oracle": oracle(eval_, threshold),
    }


def within(train: dict, threshold: float, min_chars: int) -> dict[str, Expected]:
    """Duplicates inside one split; evidence is (row, row, score, n, n')."""
    text = Expected({"train": set()}, {"train": Counter()})
    vec = Expected({"train": set()}, {"train": Counter()})
    keys = []
    for row in range(len(train["doc_id"])):
        key, reason = key_of(train, "text", row, min_chars)
        keys.append(key)
        text.unchecked["train"].update([reason] if reason else [])
    vec.unchecked["train"].update(filter(None, map(vector_fault, train["vector"])))
    rows = range(len(keys))
    group = [tuple(np.asarray(v, float) + 0.0) for v in train["vector"]]
    size = Counter(group)
    for i in rows:
        for j in rows:
            if i >= j:
                continue
            if keys[i] is not None and keys[i] == keys[j]:
                text.matched["train"] |= {i, j}
                text.pairs += 1
                members = [r for r in rows if keys[r] == keys[i]]
                text.evidence.add((members[0], members[1], 1.0, len(members), len(members)))
            x, y = train["vector"][i], train["vector"][j]
            if vector_fault(x) or vector_fault(y):
                continue
            score = cosine(x, y)
            if score >= threshold:
                vec.matched["train"] |= {i, j}
                vec.pairs += 1
                if group[i] == group[j]:
                    members = [r for r in rows if group[r] == group[i]]
                    vec.evidence.add((members[0], members[1], 1.0, len(members), len(members)))
                else:
                    a, b = sorted((group.index(group[i]), group.index(group[j])))
                    vec.evidence.add((a, b, score, size[group[a]], size[group[b]]))
    return {"text": text, "vector": vec}
