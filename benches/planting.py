"""Planted leaks: evaluation items and training documents of invented words, and the truth about them.

Each chosen item is planted once, in a document of its own script or, where texts are given as background, in
one of those. All is a function of the seed and of the texts given. The files, all of JSON lines:

    eval.jsonl          text, answer, script
    train/part-00.jsonl, ...  id, text
    truth.jsonl         file, row, eval_row, kind, strength, verdict, script, words
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import decoys  # noqa: F401, they enter their kinds
import edits  # noqa: F401
from kinds import KINDS, SHORT, Item, Kind
from words import SCRIPTS, Language, learned, split
from worlds import World

GIVEN = "given"  #: the script of items from a file
FILES = 4
PATIENCE = 100
SUFFIXES = {".txt", ".py", ".md", ".rst"}
LARGEST_DOCUMENT = 2_000_000  # characters


@dataclass(frozen=True)
class Plant:
    """One row of the truth: which item stands where, as what."""

    file: str
    row: int
    eval_row: int
    kind: str
    strength: str
    verdict: str
    script: str
    words: int


@dataclass(frozen=True)
class Size:
    """How much is made: plants of each kind in each script, documents without a plant, items without one."""

    per_kind: int = 12
    documents: int = 16_000
    spare_items: int = 800


class Planted(NamedTuple):
    """What stands in a document while the set is made."""

    item: int
    kind: Kind
    strength: str

    def stands(self, file: str, row: int, eval_row: int, item: Item) -> Plant:
        """Its row of the truth."""
        told = (self.kind.name, self.strength, self.kind.verdict, item.script, len(item.words))
        return Plant(file, row, eval_row, *told)


@dataclass(frozen=True)
class Given:
    """Texts of this machine: a folder of documents, so many characters of which are read, a file of items."""

    background: Path | None = None
    characters: int = 100_000_000
    items: Path | None = None


NOTHING = Given()
Chosen = tuple[Item, "tuple[Kind, str, str] | None"]


def line(row: dict[str, object]) -> str:
    """A row of JSON lines."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def read_texts(folder: Path, limit: int) -> Iterator[str]:
    """Local texts, one document a file or a line of JSON lines, until `limit` characters."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".jsonl":
            with path.open(encoding="utf-8", errors="replace") as lines:
                texts = [json.loads(line).get("text") for line in lines]
        elif path.suffix in SUFFIXES:
            texts = [path.read_text(encoding="utf-8", errors="replace")]
        else:
            continue
        for text in texts:
            if isinstance(text, str) and 0 < len(text) < LARGEST_DOCUMENT:
                yield text
                limit -= len(text)
                if limit < 0:
                    return


def read_items(path: Path) -> list[Item]:
    """Items from JSON lines with question, text or prompt, and perhaps answer; each different text once."""
    items: dict[str, Item] = {}
    with path.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            text = next(
                (row[key] for key in ("question", "text", "prompt") if isinstance(row.get(key), str)), ""
            )
            words, answer = split(text), row.get("answer")
            if len(words) >= 5:
                key = " ".join(word.core.lower() for word in words)
                items.setdefault(key, Item(words, answer if isinstance(answer, str) else "", GIVEN))
    return list(items.values())


def choose(items: Iterator[Item], language: Language, count: int, rng: random.Random) -> Iterator[Chosen]:
    """Items until each kind has had `count`, and None with those that fit no kind that is left.

    It ends where `PATIENCE` items one behind the other fit none: a script does not have every kind.
    """
    wanted = dict.fromkeys(KINDS, count)
    idle = 0
    while any(wanted.values()) and idle < PATIENCE:
        item = next(items, None)
        if item is None:
            return
        short = len(item.words) < SHORT
        left = [name for name in wanted if wanted[name] and name.startswith("short") == short]
        rng.shuffle(left)
        for name in sorted(left, key=wanted.__getitem__, reverse=True):
            planted = KINDS[name].plant(item, language, rng)
            if planted:
                wanted[name] -= 1
                idle = 0
                yield item, (KINDS[name], *planted)
                break
        else:
            idle += 1
            yield item, None


def put_into(text: str, planted: str, rng: random.Random) -> str:
    """The planted text at a paragraph, a line or a blank of a document, or at any place of one without."""
    for edge in rng.sample(["\n\n", "\n", " "], 3):
        if edge in text:
            start = text.find(edge, rng.randrange(len(text)))
            at = start if start >= 0 else text.find(edge)
            return f"{text[:at]}{edge}{planted}{edge}{text[at + len(edge) :]}"
    at = rng.randrange(len(text) + 1)
    return f"{text[:at]}\n{planted}\n{text[at:]}"


@dataclass
class Planting:
    """A set while it is made; with background, half of the plants stand in its documents."""

    worlds: list[World]
    background: list[str]
    items: list[Item] = field(default_factory=list)
    documents: list[tuple[str, Planted | None]] = field(default_factory=list)

    def plant(self, chosen: Iterable[Chosen], world: World | None, rng: random.Random) -> None:
        """Items into documents of their world, or of any where they have none."""
        for item, edited in chosen:
            if edited:
                kind, text, strength = edited
                planted = Planted(len(self.items), kind, strength)
                self.documents.append((put_into(self.host(world, rng), text, rng), planted))
            self.items.append(item)

    def host(self, world: World | None, rng: random.Random) -> str:
        """A document without a plant."""
        if self.background and (world is None or rng.random() < 0.5):
            return rng.choice(self.background)[:200_000]
        return (world or rng.choice(self.worlds)).document(rng)

    def write(self, folder: Path, rng: random.Random) -> list[Plant]:
        """Items and documents in an order of their own, and the truth."""
        (folder / "train").mkdir(parents=True, exist_ok=True)
        order = rng.sample(range(len(self.items)), len(self.items))
        row_of = {item: row for row, item in enumerate(order)}
        documents = rng.sample(self.documents, len(self.documents))
        truth: list[Plant] = []
        for part in range(FILES):
            name = f"part-{part:02}.jsonl"
            with (folder / "train" / name).open("w", encoding="utf-8") as file:
                for row, (text, planted) in enumerate(documents[part::FILES]):
                    file.write(line({"id": f"{part}-{row}", "text": text}))
                    if planted:
                        truth.append(
                            planted.stands(name, row, row_of[planted.item], self.items[planted.item])
                        )
        with (folder / "eval.jsonl").open("w", encoding="utf-8") as file:
            for item in map(self.items.__getitem__, order):
                file.write(line({"text": item.text, "answer": item.answer, "script": item.script}))
        with (folder / "truth.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(line(asdict(plant)) for plant in truth)
        return truth


def make(folder: Path, seed: str, size: Size, given: Given = NOTHING) -> list[Plant]:
    """Writes a set into `folder` and returns the truth."""
    rng = random.Random(f"{seed}/set")
    texts = list(read_texts(given.background, given.characters)) if given.background else []
    made = Planting([World(script, seed) for script in SCRIPTS], texts)
    for world in made.worlds:
        own = random.Random(f"{seed}/{world.script}/items")
        chosen = choose(world.questions(own), world.language, size.per_kind, own)
        made.plant((one for one in chosen if one[1]), world, own)
        made.items += [world.item(own) for _ in range(size.spare_items // len(made.worlds))]
        made.documents += [(world.document(own), None) for _ in range(size.documents // len(made.worlds))]
    if given.items:
        items = read_items(given.items)
        rng.shuffle(items)
        count = max(1, min(size.per_kind * len(made.worlds), len(items) // (2 * len(KINDS))))
        rest = iter(items)
        made.plant(choose(rest, learned(GIVEN, (item.text for item in items)), count, rng), None, rng)
        made.items += rest
    made.documents += [(text, None) for text in texts]
    return made.write(folder, rng)


def read_truth(folder: Path) -> list[Plant]:
    """What `make` wrote."""
    with (folder / "truth.jsonl").open(encoding="utf-8") as lines:
        return [Plant(**json.loads(line)) for line in lines]
