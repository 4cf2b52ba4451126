"""The core of level overlap alone, in memory: what it finds of a planted set, its speed, index and memory."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

import peers
from common import peak_memory, private_bytes
from edits import places, replaced_at
from lvmfast import _core
from words import GRAMMARS
from worlds import World

LEAK_STRENGTH = 2  #: a short item that is there whole has 1
Packed = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]  #: bytes, and where each text starts and ends


def packed(texts: Iterable[str]) -> Packed:
    """Texts behind each other in UTF-8."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def indexed(items: Packed, threads: int = 1) -> _core.OverlapIndex:
    index = _core.OverlapIndex()
    index.add(*items, threads)
    index.close(threads)
    return index


def found(folder: Path) -> dict[str, peers.Found]:
    """Leaks, and with them the short items that are there whole, as two tools."""
    items = packed(item["text"] for item in peers.rows(folder / "eval.jsonl"))
    places_of, texts = [], []
    for file, row, text in peers.documents(folder):
        places_of.append((file, row))
        texts.append(text)
    documents = packed(texts)
    start = time.process_time()
    index = indexed(items)
    ready = time.process_time()
    pairs = index.scan(*documents, 1)
    seconds = time.process_time() - ready
    rows = list(zip(pairs.document.tolist(), pairs.item.tolist(), pairs.strength.tolist(), strict=True))
    leaks = [(*places_of[d], i) for d, i, strength in rows if strength == LEAK_STRENGTH]
    every = [(*places_of[d], i) for d, i, _ in rows]
    told = {"core": leaks, "core and its short": every}
    return {name: peers.Found(one, seconds, ready - start) for name, one in told.items()}


def median(run: Callable[[], object], clock: Callable[[], float], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        start = clock()
        run()
        seconds.append(clock() - start)
    return statistics.median(seconds)


def prose(worlds: list[World], megabytes: float, rng: random.Random) -> list[str]:
    """Documents of these languages."""
    texts, size = [], 0
    while size < megabytes * 1e6:
        texts.append(rng.choice(worlds).document(rng))
        size += len(texts[-1].encode())
    return texts


def variants(world: World, count: int, each: int, rng: random.Random) -> list[str]:
    """Items of which `each` say the same but for one word in ten."""
    items = [world.item(rng) for _ in range(count // each)]
    return [
        replaced_at(item, world.language, rng, places(rng, item.words, 0.1)).rstrip()
        for item in items
        for _ in range(each)
    ]


def line(name: str, items: list[str], documents: list[str], rounds: int) -> str:
    """A row of the table. One thread in processor time, two against one in wall time."""
    sides = packed(items), packed(documents)
    index = indexed(sides[0])
    size = sides[1][0].size / 1e6
    index_seconds = median(lambda: indexed(sides[0]), time.process_time, rounds)
    one = median(lambda: index.scan(*sides[1], 1), time.process_time, rounds)
    peer = median(lambda: _core.hash_texts_128(*sides[1], "default", 1), time.process_time, rounds)
    walls = [median(lambda n=n: index.scan(*sides[1], n), time.perf_counter, rounds) for n in (1, 2)]
    pairs = len(index.scan(*sides[1], 2))
    bytes_a_token = index.nbytes / max(1, int(index.tokens().sum()))
    cells = [name, f"{len(items):,}", f"{size:.0f}", f"{index_seconds:.2f}", f"{bytes_a_token:.0f}"]
    cells += [f"{size / one:.0f}", f"{size / peer:.0f}", f"{walls[0] / walls[1]:.2f}", f"{pairs:,}"]
    return f"| {' | '.join(cells)} |"


def many(documents: list[str], count: int, rounds: int) -> str:
    """Items of 100 words drawn from those of the documents, added in batches: few of their runs are equal."""
    words = np.array(sorted({word for text in documents for word in text.split()}))
    rng = np.random.default_rng(7)
    index = _core.OverlapIndex()
    seconds = 0.0
    before = private_bytes()
    for start in range(0, count, 20_000):
        drawn = words[rng.integers(0, words.size, (min(20_000, count - start), 100))]
        items = packed(" ".join(item) for item in drawn)
        begin = time.process_time()
        index.add(*items, 1)
        seconds += time.process_time() - begin
    del drawn, items
    held = private_bytes() - before
    begin = time.process_time()
    with peak_memory() as peak:
        index.close(1)
    seconds += time.process_time() - begin
    sides = packed(documents)
    one = median(lambda: index.scan(*sides, 1), time.process_time, rounds)
    return (
        f"{count:,} items, {index.tokens().sum() / 1e6:.0f} million tokens: index {seconds:.1f} s, "
        f"{index.nbytes / 2**30:.2f} GiB, at its peak {(held + peak.extra) / 2**30:.2f} GiB beyond the "
        f"texts; {sides[0].size / 1e6 / one:.0f} MB/s and core"
    )


def long(world: World, megabytes: float, rng: random.Random) -> str:
    """An item as long as its document, compared in one thread."""
    text = "\n".join(prose([world], megabytes, rng))
    side = packed([text])
    index = indexed(side)
    start = time.process_time()
    with peak_memory() as peak:
        pairs = index.scan(*side, 1)
    seconds, size = time.process_time() - start, side[0].size
    assert len(pairs) == 1
    return (
        f"An item of {size / 1e6:.0f} MB that is its document: {seconds:.1f} s, "
        f"{peak.extra / size:.0f} bytes per byte of it while they are compared, "
        f"and {index.nbytes / size:.0f} of the index"
    )


def measure(quick: bool) -> None:
    """Prints the table; the peer reads every byte once, for the level text."""
    rng = random.Random(7)
    count, megabytes, rounds = (1_000, 2, 3) if quick else (30_000, 24, 5)
    worlds = {script: World(script, "7") for script in GRAMMARS}
    latin = worlds["Latin"]
    items = [latin.item(rng).text for _ in range(count)]
    documents = prose([latin], megabytes, rng)
    hosts = [f"{text}\n{item}\n{text}" for text, item in zip(documents, items, strict=False)]
    print("| data | items | MB | index, s | bytes a token | MB/s and core | text level | 2 threads | pairs |")
    print("| --- |" + " --- |" * 8)
    print(line("Latin", items, documents, rounds), flush=True)
    for script in ("Cyrillic", "Han", "Thai"):
        world = worlds[script]
        own = [world.item(rng).text for _ in range(count // 4)]
        print(line(script, own, prose([world], megabytes / 4, rng), rounds), flush=True)
    print(line("Latin, an item in every document", items, hosts, rounds), flush=True)
    near = variants(latin, count, 30, rng)
    print(line("Latin, 30 variants of each item", near, documents, rounds), flush=True)
    hosts = [f"{text}\n{rng.choice(near)}\n{text}" for text in documents]
    print(line("the same, one in every document", near, hosts, rounds), flush=True)
    near = variants(latin, count, 10, rng)
    hosts = [f"{text}\n{rng.choice(near)}\n{text}" for text in documents]
    print(line("Latin, 10 variants of each item, one in every document", near, hosts, rounds), flush=True)
    print(line("the corpus is the benchmark", items, items, rounds), flush=True)
    print(f"\n{long(latin, megabytes, rng)}")
    print(f"\n{many(documents, 20_000 if quick else 1_000_000, rounds)}")
