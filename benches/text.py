"""Text hashing beside the Python loop it replaces: `re.sub` + `lower` + `strip` + `xxhash`, one core."""

from __future__ import annotations

import argparse
import random
import re
import string
import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pyarrow as pa
import xxhash

from common import machine, race
from lvmfast import _core

ALPHABETS = {
    "Cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяіїєґ",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψωάέήίόύώϊϋ",
    "CJK": "".join(map(chr, range(0x4E00, 0x6E00))) + "、。",
}


def english(megabytes: int) -> list[str]:
    """Paragraphs that every Python carries, repeated under running numbers."""
    library = Path(string.__file__).parent
    sources = [*topics.values(), *(path.read_text(errors="ignore") for path in sorted(library.glob("*.txt")))]
    for path in sorted(library.glob("*.py")):
        sources += re.findall(r'"""(.*?)"""', path.read_text(errors="ignore"), re.DOTALL)
    paragraphs = [p for source in sources for p in re.split(r"\n\s*\n", source) if len(p) > 40]
    return repeated(paragraphs, megabytes)


def written_in(alphabet: str, rng: random.Random) -> Iterator[str]:
    """Paragraphs of words of one alphabet, some capitalised, with the ASCII that such text has."""
    while True:
        words = []
        for _ in range(rng.randint(20, 120)):
            word = "".join(rng.choices(alphabet, k=rng.randint(1, 11)))
            words.append(word.capitalize() if rng.random() < 0.15 else word)
            if rng.random() < 0.1:
                words.append(rng.choice([",\n", ". ", "(1999)", "API", "😀"]))
        yield " ".join(words)


def repeated(paragraphs: list[str], megabytes: int) -> list[str]:
    texts: list[str] = []
    size = 0
    while size < megabytes << 20:
        text = f"{paragraphs[len(texts) % len(paragraphs)]} {len(texts)}"
        size += len(text.encode())
        texts.append(text)
    return texts


def python_loop(texts: list[str]) -> list[bytes]:
    digest = xxhash.xxh3_128_digest
    return [digest(re.sub(r"\s+", " ", text.lower()).strip().encode()) for text in texts]


def bench(name: str, texts: list[str], threads: int) -> None:
    column = pa.array(texts, pa.large_string())
    _, offsets_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64, len(texts) + 1)
    data = np.frombuffer(data_buffer, np.uint8)[: offsets[-1]]
    result = race(lambda: _core.hash_texts_128(data, offsets, "default", threads), lambda: python_loop(texts))
    if result.our_answer.astype(">u8").tobytes() != b"".join(result.peer_answer):
        sys.exit(f"{name}: the hashes differ")
    size = data.size / 1e6
    other = np.mean([not byte < 128 for byte in data[:100_000]])
    print(
        f"{name:9} {len(texts):8,} texts {size:6.1f} MB, {other:4.0%} of the bytes not ASCII:"
        f" ours {size / result.ours:7.1f} MB/s, Python {size / result.peer:5.1f} MB/s,"
        f" ratio {result.ratio:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=64, help="size of each text (default 64)")
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    args = parser.parse_args()
    rng = random.Random(7)
    print(f"{machine()}, {_core.thread_count(args.threads)} threads, text path: portable blocks of 32 bytes")
    bench("English", english(args.megabytes), args.threads)
    for name, alphabet in ALPHABETS.items():
        paragraphs = [text for text, _ in zip(written_in(alphabet, rng), range(2000), strict=False)]
        bench(name, repeated(paragraphs, args.megabytes), args.threads)


if __name__ == "__main__":
    main()
