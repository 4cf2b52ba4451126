"""What published rules need of a scan: which n-grams of evaluation items stand anywhere in training.

They are counted beside lvmfast's own rule, to be held beside figures of papers, or decide in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.plain import distinct
from lvmfast.leaks.findings import LevelFinding
from lvmfast.leaks.results import ItemsInTraining, LevelResult
from lvmfast.leaks.rules import OWN, RULES, SeenItems
from lvmfast.leaks.tally import NO_ROWS, Rows, Tally

Places = npt.NDArray[np.uint32]  #: of tokens of all distinct items, behind each other

#: Tokens of the n-grams, in the order in which the core has them.
LENGTHS = (8, 11, 13)
#: Tokens of items of which rules are asked at a time.
TOGETHER = 1 << 22


@dataclass(frozen=True)
class Grams:
    """The n-grams of the evaluation side, as they are saved."""

    tokens: Rows  #: (distinct items,)
    again: Mapping[str, Places]  #: by length: (n,) where n-grams begin that stand earlier as well
    first: Mapping[str, Places]  #: by length: (n,) the first place of each of these

    @classmethod
    def of(cls, index: _core.OverlapIndex, threads: int) -> Grams:
        """Those of an index to which nothing is added any more."""
        items = distinct(index.same_as())
        known = {str(length): index.repeated_grams(which, threads) for which, length in enumerate(LENGTHS)}
        again, first = ({length: places[which] for length, places in known.items()} for which in (0, 1))
        return cls(index.tokens()[items].astype(np.int64), again, first)

    def leaked(self, seen: Mapping[str, Places], same_as: Rows) -> Mapping[str, Rows]:
        """By published rule, the rows that it calls leaked, given the first places of n-grams seen."""
        rules = {name: by_rule for name, rule in RULES.items() if (by_rule := rule.leaked) is not None}
        leaked: dict[str, list[npt.NDArray[np.bool_]]] = {name: [] for name in rules}
        for items in self._seen(seen):
            for name, by_rule in rules.items():
                leaked[name].append((items.tokens >= RULES[name].tokens) & by_rule(items))
        return {name: _rows_of(parts, same_as) for name, parts in leaked.items()}

    def touched(self, rule: str, seen: Mapping[str, Places], same_as: Rows) -> Rows:
        """The rows that have any n-gram of a rule that was seen: no other can turn out to be leaked by it."""
        touched = [items.seen(RULES[rule].tokens) > 0 for items in self._seen(seen)]
        return _rows_of(touched, same_as)

    def in_training(self, seen: Mapping[str, Places], same_as: Rows) -> ItemsInTraining:
        """How much of each row stands in training, whatever the rule."""
        n, item = LENGTHS[0], _item_of(same_as)
        parts = [(items.covered(n), items.longest(n)) for items in self._seen(seen)]
        covered, longest = (np.concatenate(of_parts)[item] for of_parts in zip(*parts, strict=True))
        return ItemsInTraining(self.tokens[item], covered, longest)

    def _seen(self, seen: Mapping[str, Places]) -> Iterator[SeenItems]:
        """Some items after the other, as many as have `TOGETHER` tokens: all might take too much."""
        begins = {length: self._begins(length, seen[str(length)]) for length in LENGTHS}
        ends = np.cumsum(self.tokens)
        cuts = np.searchsorted(ends, np.arange(TOGETHER, self.tokens.sum(), TOGETHER), side="right")
        for items in np.split(np.arange(len(ends)), distinct(cuts)):
            tokens = self.tokens[items]
            low = 0 if not len(items) else ends[items[0]] - tokens[0]
            there = {length: np.zeros(tokens.sum(), np.bool_) for length in LENGTHS}
            for length, places in begins.items():
                first, end = np.searchsorted(places, [low, low + len(there[length])])
                there[length][places[first:end] - low] = True
            yield SeenItems(tokens, there)

    def _begins(self, length: int, seen: Places) -> Places:
        """The places at which an n-gram that was seen begins, ascending."""
        again, first = self.again[str(length)], self.first[str(length)]
        # A block of items names a gram by its first place there.
        named = distinct(np.concatenate([seen, first[np.isin(again, seen)]]))
        return distinct(np.concatenate([named, again[np.isin(first, named)]]))


def _rows_of(items: Sequence[npt.NDArray[np.bool_]], same_as: Rows) -> Rows:
    """The rows of distinct items, which come in parts."""
    return np.flatnonzero(np.concatenate(items)[_item_of(same_as)])


def _item_of(same_as: Rows) -> Rows:
    """The distinct item of each row."""
    item: Rows = np.unique(same_as, return_inverse=True)[1]
    return item


def union(parts: Iterable[Mapping[str, Places]]) -> Mapping[str, Places]:
    """The n-grams that were seen in any of the parts, by length: of any order, the same."""
    nothing = {str(length): np.empty(0, np.uint32) for length in LENGTHS}
    every = [nothing, *parts]
    return {length: distinct(np.concatenate([part[length] for part in every])) for length in nothing}


def taken(index: _core.OverlapIndex) -> Mapping[str, Places]:
    """What was seen since it was last taken."""
    return dict(zip(map(str, LENGTHS), index.take_seen(), strict=True))


def decided(found: LevelResult, leaked: Mapping[str, Rows], rule: str) -> LevelResult:
    """What lvmfast's own rule found, with the rows that `rule` calls leaked as those that match.

    The rows by all other rules stand beside them. A published rule says of no training row that it matches;
    the evidence stays what lvmfast's own rule found.

    Args:
        found: by lvmfast's own rule.
        leaked: by published rule, the evaluation rows.
        rule: the one that decides.
    """
    by_rule = {name: rows_alone(NO_ROWS, rows) for name, rows in leaked.items()}
    if rule != OWN:
        by_rule[OWN] = LevelResult({side: _matches(tally) for side, tally in found.sides.items()})
        sides = {
            side: replace(tally, matched=NO_ROWS, best=np.empty(0)) for side, tally in found.sides.items()
        }
        of_eval = by_rule[rule].sides["eval"]
        sides["eval"] = replace(sides["eval"], matched=of_eval.matched, best=of_eval.best)
        found = replace(found, sides=sides, rule=rule)
    return replace(found, beside={**found.beside, **by_rule})


def _matches(tally: Tally) -> Tally:
    return Tally.of_matches(tally.matched, tally.best)


def rows_alone(train: Rows, items: Rows) -> LevelResult:
    """Rows of both sides that are counted."""
    return LevelResult(
        {
            "train": Tally.of_matches(train, np.ones(len(train))),
            "eval": Tally.of_matches(items, np.ones(len(items))),
        }
    )


def rows_by_rule(finding: LevelFinding) -> Mapping[str, Rows]:
    """By rule, the evaluation rows that it calls leaked, ascending; nothing where none was asked.

    Rows that a review set aside are not among them.
    """
    if not any(rule in finding.beside for rule in RULES):
        return {}
    return {rule: finding.beside.get(rule, finding).sides["eval"].counted_rows for rule in RULES}
