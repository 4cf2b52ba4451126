"""`lvmfast score`: hits made elsewhere, against a library of measures, and every way they can be wrong."""

from __future__ import annotations

import json

import ir_measures
import numpy as np
import pytest
from typer.testing import CliRunner

from lvmfast.cli import app
from lvmfast.errors import DataError
from lvmfast.evals.hits import load_hits, load_truth, score_hits
from lvmfast.evals.metrics import retrieval_metrics
from lvmfast.evals.ranks import truth_ranks
from lvmfast.evals.search import top_k

runner = CliRunner()


@pytest.fixture
def retrieved(tmp_path):
    """An evaluation set, a payload in another order, and hits 60 deep of noisy predictions."""
    rng = np.random.default_rng(0)
    keys = np.stack([np.repeat(np.arange(10), 30), np.tile(np.arange(30), 10)], axis=1)
    vectors = rng.standard_normal((300, 24)).astype(np.float32)
    order = rng.permutation(300)
    rows = np.sort(rng.permutation(300)[:80])
    np.savez(
        tmp_path / "eval.npz",
        truth_keys=keys[rows],
        targets=vectors[rows],
        contexts=rng.standard_normal((80, 5, 24)).astype(np.float32),
    )
    np.savez(tmp_path / "payload.npz", truth_keys=keys[order], targets=vectors[order])
    asked = (vectors[rows] + 1.2 * rng.standard_normal((80, 24))).astype(np.float32)
    truth = np.argsort(order)[rows]
    found = top_k(asked, vectors[order], 60)
    records = [
        {"query_idx": i, "hit_indices": found.rows[i].tolist(), "hit_scores": found.scores[i].tolist()}
        for i in rng.permutation(80).tolist()
    ]
    ranks = truth_ranks(asked, vectors[order], truth)
    return tmp_path, records, truth, ranks, found


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_scores_are_those_of_a_library_of_measures(retrieved):
    folder, records, truth, ranks, found = retrieved
    scored = score_hits(
        load_hits(write(folder / "hits.jsonl", records)),
        load_truth(folder / "eval.npz", folder / "payload.npz"),
    )
    qrels = [ir_measures.Qrel(str(i), str(row), 1) for i, row in enumerate(truth)]
    run = [
        ir_measures.ScoredDoc(str(i), str(row), score)
        for i in range(80)
        for row, score in zip(found.rows[i], found.scores[i], strict=True)
    ]
    measures = {f"R@{k}": ir_measures.R @ k for k in (1, 5, 10, 20)} | {"Contain@50": ir_measures.R @ 50}
    theirs = ir_measures.calc_aggregate(
        [*measures.values(), ir_measures.RR, ir_measures.nDCG @ 10], qrels, run
    )
    for name, measure in measures.items():
        assert scored.metrics[name] == pytest.approx(100 * theirs[measure])
    assert scored.metrics["MRR"] == pytest.approx(theirs[ir_measures.RR])
    assert scored.metrics["nDCG@10"] == pytest.approx(theirs[ir_measures.nDCG @ 10])
    ours = retrieval_metrics(ranks)
    assert scored.metrics["Eff@5"] == pytest.approx(ours["Eff@5"])
    assert {name: scored.metrics[name] for name in measures} == pytest.approx(
        {name: ours[name] for name in measures}
    )
    assert scored.by_article
    assert scored.clusters == 10
    low, high = scored.intervals["R@5"]
    assert low < scored.metrics["R@5"] < high


def test_the_command_prints_a_table_and_json(retrieved):
    folder, records, *_ = retrieved
    hits = write(folder / "hits.jsonl", records)
    options = [
        "score",
        str(hits),
        "--truth",
        str(folder / "eval.npz"),
        "--payload",
        str(folder / "payload.npz"),
    ]
    result = runner.invoke(app, [*options, "--out", str(folder / "score.json")])
    assert result.exit_code == 0, result.output
    assert "Contain@50" in result.output
    assert "10 articles" in result.output
    printed = json.loads(runner.invoke(app, [*options, "--json"]).stdout)
    assert printed == json.loads((folder / "score.json").read_text())
    assert printed["n_queries"] == 80
    assert printed["interval"]["R@5"][0] < printed["R@5"]


def test_short_lists_tell_no_more_than_they_hold(retrieved):
    folder, records, truth, ranks, _ = retrieved
    short = [
        {
            "query_idx": r["query_idx"],
            "retrieved_indices": r["hit_indices"][:10],
            "truth_idx": int(truth[r["query_idx"]]),
        }
        for r in records
    ]
    scored = score_hits(load_hits(write(folder / "hits.jsonl", short)))
    assert scored.metrics["R@20"] is None
    assert scored.metrics["Eff@5"] is None
    assert scored.metrics["R@10"] == pytest.approx(100 * np.mean(ranks <= 10))
    assert scored.metrics["MRR"] == pytest.approx(np.where(ranks <= 10, 1 / ranks, 0).mean())
    assert not scored.by_article
    assert any("cannot be told" in note for note in scored.notes)


def test_ties_are_against_the_model(tmp_path):
    line = {"query_idx": 0, "hit_indices": [3, 1, 2], "scores": [0.5, 0.5, 0.1], "truth_idx": 3}
    scored = score_hits(load_hits(write(tmp_path / "hits.jsonl", [line])))
    assert scored.metrics["R@1"] == 0.0
    assert scored.metrics["MRR"] == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hit_indices": [300, *range(59)]}, "row 300 does not exist: the pool has 300"),
        ({"hit_indices": [7, 7, *range(10, 68)]}, "row 7 is in the list 2 times"),
        ({"hit_scores": [float("nan")] * 60}, "expected finite scores, got nan"),
        ({"hit_scores": [0.1] * 59}, "hit_scores or scores: expected 60 numbers, one per row, got 59"),
        ({"hit_scores": list(range(60))}, "scores must not ascend: 0.0 comes before 1.0"),
        ({"hit_indices": []}, "expected a list of rows"),
        ({"hit_indices": [-1]}, "expected rows, integers from 0, got -1"),
        ({"hit_indices": ["3"]}, "expected rows, integers from 0, got '3'"),
        ({"retrieved_indices": [1]}, "expected hit_indices or retrieved_indices, got both"),
        ({"query_idx": 80}, "query_idx: expected 0 to 79, got 80"),
        ({"query_idx": 1.5}, "query_idx: expected an integer from 0, got 1.5"),
        ({"query_idx": None}, "query_idx: expected an integer from 0, got None"),
        ({"truth_idx": 4}, "truth_idx: 1 of 80 lines have it"),
    ],
)
def test_what_is_wrong_with_hits_is_named_by_line(retrieved, change, message):
    folder, records, *_ = retrieved
    records[5] = records[5] | change
    hits = write(folder / "hits.jsonl", records)
    result = runner.invoke(
        app,
        ["score", str(hits), "--truth", str(folder / "eval.npz"), "--payload", str(folder / "payload.npz")],
    )
    assert result.exit_code == 2
    text = " ".join(result.output.split())
    assert message in text
    assert "hits.jsonl: line 6" in text or "truth_idx" in message


def test_missing_and_repeated_queries_and_other_files_are_refused(retrieved):
    folder, records, *_ = retrieved
    truth = load_truth(folder / "eval.npz", folder / "payload.npz")
    gone = [r for r in records if r["query_idx"] != 17]
    with pytest.raises(DataError, match="1 of 80 queries have no line; the first is 17"):
        score_hits(load_hits(write(folder / "hits.jsonl", gone)), truth)
    with pytest.raises(DataError, match=f"query_idx {records[0]['query_idx']} is already in line 1"):
        load_hits(write(folder / "hits.jsonl", [*records, records[0]]))
    (folder / "hits.jsonl").write_text('{"query_idx": 0,\n')
    with pytest.raises(DataError, match="line 1: expected JSON"):
        load_hits(folder / "hits.jsonl")
    (folder / "hits.jsonl").write_text("")
    with pytest.raises(DataError, match="expected a line per query, got none"):
        load_hits(folder / "hits.jsonl")
    with pytest.raises(DataError, match="truth_idx: expected it in every line"):
        score_hits(load_hits(write(folder / "hits.jsonl", records)))
    with np.load(folder / "payload.npz") as payload:
        keys, targets = payload["truth_keys"], payload["targets"]
    np.savez(folder / "half.npz", truth_keys=keys[:150], targets=targets[:150])
    with pytest.raises(DataError, match=r"holds \d+ of the 80 keys of .*eval.npz \("):
        load_truth(folder / "eval.npz", folder / "half.npz")
    np.savez(folder / "twice.npz", truth_keys=keys[[0, 1, 0]], targets=targets[[0, 1, 0]])
    with pytest.raises(DataError, match=r"row 2: its .* is already in row 0"):
        load_truth(folder / "eval.npz", folder / "twice.npz")


def test_a_reranker_is_fitted_from_the_command_line(tmp_path):
    rng = np.random.default_rng(0)
    keys = np.stack([np.repeat(np.arange(6), 20), np.tile(np.arange(20), 6)], axis=1)
    vectors = (rng.standard_normal((6, 8))[keys[:, 0]] + rng.standard_normal((120, 8))).astype(np.float32)
    starts = np.flatnonzero(keys[:, 1] < 15)
    np.savez(
        tmp_path / "train.npz",
        chunk_vectors=vectors,
        chunk_keys=keys,
        windows=(starts[:, None] + np.arange(6)).astype(np.int32),
    )
    out = tmp_path / "rerank.safetensors"
    result = runner.invoke(app, ["rerank", "fit", str(tmp_path / "train.npz"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "209 parameters, fitted to 90 windows of 6 documents" in " ".join(result.output.split())
    result = runner.invoke(
        app, ["rerank", "fit", str(tmp_path / "train.npz"), "--out", str(out), "--depth", "119"]
    )
    assert result.exit_code == 2
    assert "fewer than k = 119" in result.output


@pytest.mark.parametrize(
    ("start", "kind"), [(b"PAR1", "parquet"), (b"PK\x03\x04", "a zip archive"), (b"\x1f\x8b", "gzip data")]
)
def test_another_format_is_told(tmp_path, start, kind):
    (tmp_path / "hits").write_bytes(start + bytes(range(200)))
    with pytest.raises(DataError, match=rf"hits: expected JSON lines \(\.jsonl\), .* begins as {kind}$"):
        load_hits(tmp_path / "hits")
