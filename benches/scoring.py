"""What a tool found of a planted set: recall by kind, script and length, and what was not to be found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kinds import GREY, LEAK, NEGATIVE
from planting import Plant

#: What a tool says: file and row of the document, row of the item.
Pair = tuple[str, int, int]


@dataclass
class Score:
    """How many of a tool's pairs are what they should be."""

    found: dict[Plant, bool]
    false_pairs: list[Pair] = field(default_factory=list)  #: in documents without a plant
    strays: list[Pair] = field(default_factory=list)  #: another item than the one planted there

    def share(self, plants: Sequence[Plant]) -> float:
        """The share of these plants that was found; nan where there is none."""
        return sum(self.found[plant] for plant in plants) / len(plants) if plants else float("nan")


def score(truth: Iterable[Plant], pairs: Iterable[Pair]) -> Score:
    """A pair is a plant found, or false in a document without one, or a stray in a document with another."""
    at = {(plant.file, plant.row): plant for plant in truth}
    result = Score(dict.fromkeys(at.values(), False))
    for pair in sorted(set(pairs)):
        plant = at.get(pair[:2])
        if plant is None:
            result.false_pairs.append(pair)
        elif plant.eval_row == pair[2]:
            result.found[plant] = True
        else:
            result.strays.append(pair)
    return result


def by_length(plant: Plant) -> str:
    """A class of lengths."""
    edges = ((13, "under 13"), (21, "13 to 20"), (41, "21 to 40"), (121, "41 to 120"))
    return next((name for edge, name in edges if plant.words < edge), "over 120")


def table(first: str, rows: Mapping[str, Sequence[Plant]], scores: Mapping[str, Score]) -> str:
    """Percentages found, a row for each group of plants and a column for each tool, as Markdown."""
    lines = [f"| {first} | plants | {' | '.join(scores)} |", "| --- |" + " --- |" * (len(scores) + 1)]
    for name, plants in rows.items():
        shares = (f"{100 * one.share(plants):.1f}" for one in scores.values())
        lines.append(f"| {name} | {len(plants)} | {' | '.join(shares)} |")
    return "\n".join(lines)


def grouped(plants: Iterable[Plant], key: Callable[[Plant], str]) -> dict[str, list[Plant]]:
    """The plants by a key, in the order in which it first appears among the sorted keys."""
    groups: dict[str, list[Plant]] = defaultdict(list)
    for plant in plants:
        groups[key(plant)].append(plant)
    return dict(sorted(groups.items()))


def report(truth: Sequence[Plant], scores: Mapping[str, Score]) -> str:
    """All tables: leaks by kind, by script, by length; grey; negatives; pairs that nobody planted."""
    leaks, grey, negatives = ([p for p in truth if p.verdict == wanted] for wanted in (LEAK, GREY, NEGATIVE))
    parts = []
    for title, plants, key in (
        ("leaks found, %, by kind", leaks, lambda plant: plant.kind),
        ("leaks found, %, by script", leaks, lambda plant: plant.script),
        ("leaks found, %, by words of the item", leaks, by_length),
        ("grey, % reported, not scored", grey, lambda plant: plant.kind),
        ("hard negatives, % reported (0 is right)", negatives, lambda plant: plant.kind),
    ):
        if plants:
            parts.append(table(title, {**grouped(plants, key), "all": plants}, scores))
    counts = [
        f"| pairs that nobody planted | {' | '.join(scores)} |",
        "| --- |" + " --- |" * len(scores),
        f"| in documents without a plant | {' | '.join(str(len(s.false_pairs)) for s in scores.values())} |",
        f"| other items beside a plant | {' | '.join(str(len(s.strays)) for s in scores.values())} |",
    ]
    return "\n\n".join([*parts, "\n".join(counts)])
