"""What density and the listwise reranker add to copy-last, and to each other, on documents that are new.

The file is one that `lvmfast ingest` wrote in the chunk-matrix layout. Its documents are dealt into five
folds, twice; no feature was chosen on either dealing, nor was anything changed between the two. A reranker
and a lag mix are fitted to four folds, lists retrieved from those folds' chunks, and scored on the fifth: in
the pool of that fold's chunks (eval), and in that of all chunks (corpus), the query's own window always left
out.
Nothing is fitted for copy-last and density, which in the pool of all chunks are the same for any split.
Intervals are over articles.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from common import machine
from lvmfast.corpus.sequences import open_sequences
from lvmfast.evals.augmented import augmented_rows, lag_mix_density
from lvmfast.evals.bootstrap import cluster_interval, paired_interval
from lvmfast.evals.density import NEIGHBOURS, density, final_ranks, rerank_by_density
from lvmfast.evals.metrics import query_values, retrieval_metrics
from lvmfast.evals.ranks import truth_ranks
from lvmfast.evals.rerank import fit_reranker, list_features
from lvmfast.evals.search import top_k
from lvmfast.models.baselines import fit_lag_mix, predict_baseline

FOLDS, DEPTH = 5, 50
SPLITS = {"first split": 0, "second split": 1}
CACHE = Path(__file__).resolve().parent.parent / ".bench"


class Side:
    """Windows of some documents and the pool that they retrieve from."""

    def __init__(self, chunks, windows, documents, pool_rows):
        place = np.full(len(chunks), -1)
        place[pool_rows] = np.arange(len(pool_rows))
        self.pool = np.ascontiguousarray(chunks[pool_rows])
        self.contexts = chunks[windows[:, :-1]]
        self.truth, self.exclude = place[windows[:, -1]], place[windows[:, :-1]]
        self.documents = documents
        self.predicted = predict_baseline("copy-last", self.contexts)
        self.density = density(self.pool)
        self.found = top_k(self.predicted, self.pool, DEPTH, exclude=self.exclude)

    def features(self):
        return list_features(self.found, self.contexts, self.pool, self.density)

    def ranks(self, reranker, mix):
        retrieved = truth_ranks(self.predicted, self.pool, self.truth, exclude=self.exclude)
        queries, rows = lag_mix_density(self.contexts, mix), augmented_rows(self.pool, (NEIGHBOURS,))
        by_density = rerank_by_density(self.found, self.density)
        listwise = reranker.rerank(self.found, self.contexts, self.pool, self.density)
        return {
            "copy-last": retrieved,
            "density": final_ranks(by_density, self.truth, retrieved),
            "lag-mix-density": truth_ranks(queries, rows, self.truth, exclude=self.exclude),
            "reranker": final_ranks(listwise, self.truth, retrieved),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sequences", type=Path, default=CACHE / "enwiki" / "sequences.npz")
    options = parser.parse_args()
    if not options.sequences.exists():
        raise SystemExit(f"{options.sequences} is not there: make it with `lvmfast ingest wikipedia`")
    sequences = open_sequences(str(options.sequences))
    chunks, windows = sequences.chunk_vectors, sequences.windows
    of_chunk = sequences.chunk_keys[:, 0]
    documents = of_chunk[windows[:, -1]]
    names = np.unique(of_chunk)
    print(f"{machine()}; {len(names)} articles, {len(chunks):,} chunks, {len(windows):,} windows")
    for split, seed in SPLITS.items():
        fold_of = dict(zip(names, np.random.default_rng(seed).permutation(len(names)) % FOLDS, strict=True))
        fold = np.array([fold_of[name] for name in of_chunk])
        of_window = np.array([fold_of[name] for name in documents])
        ranks: dict[str, dict[str, list]] = {"eval": {}, "corpus": {}}
        clusters: list = []
        for held in range(FOLDS):
            seen = of_window != held
            train = Side(chunks, windows[seen], documents[seen], np.flatnonzero(fold != held))
            reranker = fit_reranker(
                train.features(), train.found.rows, train.truth, train.documents, length=sequences.length
            )
            mix = fit_lag_mix(train.contexts, train.pool[train.truth])
            pools = {"eval": np.flatnonzero(fold == held), "corpus": np.arange(len(chunks))}
            for pool, rows in pools.items():
                side = Side(chunks, windows[~seen], documents[~seen], rows)
                for model, found in side.ranks(reranker, mix).items():
                    ranks[pool].setdefault(model, []).append(found)
            clusters.append(documents[~seen])
        articles = np.concatenate(clusters)
        for pool, of_model in ranks.items():
            joined = {model: np.concatenate(parts) for model, parts in of_model.items()}
            # a list that was put in another order holds what copy-last retrieved; lag-mix-density retrieves
            retrieved = dict.fromkeys(joined, joined["copy-last"])
            retrieved["lag-mix-density"] = joined["lag-mix-density"]
            baselines = {name: query_values(joined[name])["R@5"] for name in ("copy-last", "lag-mix-density")}
            for model, found in joined.items():
                metrics = retrieval_metrics(found, retrieved=retrieved[model])
                values = query_values(found)["R@5"]
                low, high = cluster_interval(values, articles)
                line = (
                    f"{split}, pool {pool}: {model}: R@1 {metrics['R@1']:.1f}, R@5 {metrics['R@5']:.1f} "
                    f"[{low:.1f}, {high:.1f}], Contain@50 {metrics['Contain@50']:.1f}, "
                    f"MRR {metrics['MRR']:.3f}"
                )
                for name, base in baselines.items():
                    if model != name:
                        low, high = paired_interval(values, base, articles)
                        gain = values.mean() - base.mean()
                        line += f", over {name} {gain:+.1f} [{low:+.1f}, {high:+.1f}]"
                print(line, flush=True)


if __name__ == "__main__":
    main()
