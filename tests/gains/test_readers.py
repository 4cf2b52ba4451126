"""Files of scores as evaluators write them, and what is refused as one."""

import gzip
import json
import math
import zipfile
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lvmfast.corpus.expressions import made_of
from lvmfast.errors import DataError
from lvmfast.gains.readers import Asked, read_scores
from tests.support.benchmark import benchmark, harness_samples, write

ASKED = Asked(None, {"question": made_of("question")})


def one(path, metric=None):
    (scores,) = read_scores(str(path), Asked(metric, ASKED.texts))
    return scores


def values(scores):
    return [item.score for item in scores.items]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return benchmark(tmp_path_factory.mktemp("benchmark"), items=4, leaked=1)


def test_samples_of_lm_evaluation_harness(world, tmp_path):
    folder = tmp_path / "out" / "org__model"
    folder.mkdir(parents=True)
    write(
        folder / "samples_stones_2026-01-01T00-00-00.jsonl",
        harness_samples(world.items, [1.0, 0.0, 1.0, 0.0]),
    )
    (folder / "results_2026-01-01T00-00-00.json").write_text(json.dumps({"model_name": "org/model"}))
    scores = one(tmp_path / "out")
    assert (scores.reader, scores.model, scores.metric) == ("lm-evaluation-harness", "org/model", "acc")
    assert values(scores) == [1.0, 0.0, 1.0, 0.0]
    first = scores.items[0]
    assert (first.id, first.row) == ("q-0", 0)
    assert first.texts["question"] == world.items[0]["question"]
    assert first.place.endswith("samples_stones_2026-01-01T00-00-00.jsonl: line 1")
    assert values(one(tmp_path / "out", "acc_norm")) == [0.0, 1.0, 0.0, 1.0]


def test_a_filter_of_the_harness_is_chosen_and_said(world, tmp_path):
    rows = [
        row | {"metrics": ["exact_match"], "exact_match": score, "filter": name}
        for name, score in (("strict-match", 0.0), ("flexible-extract", 1.0))
        for row in harness_samples(world.items, [0.0] * 4)
    ]
    path = write(tmp_path / "samples_gsm8k.jsonl", rows)
    strict = one(path)
    assert (strict.metric, values(strict)) == ("exact_match,strict-match", [0.0] * 4)
    assert "--metric takes exact_match,flexible-extract instead" in strict.notes[0]
    assert values(one(path, "exact_match,flexible-extract")) == [1.0] * 4
    with pytest.raises(DataError, match="no filter 'odd'; there is strict-match, flexible-extract"):
        one(path, "exact_match,odd")


def inspect_log(world, **fields):
    samples = [
        {
            "id": at + 1,
            "epoch": epoch,
            "input": item["question"]
            if at % 2
            else [{"role": "user", "content": [{"type": "text", "text": item["question"]}]}],
            "choices": item["choices"],
            "target": "red",
            "scores": {"choice": {"value": value, "answer": "A"}},
        }
        for epoch, letters in ((1, "CIPN"), (2, "CCPN"))
        for at, (item, value) in enumerate(zip(world.items, letters, strict=True))
    ]
    spec = {"task": "stones", "model": "openai/one", "dataset": {"name": "stones", "shuffled": False}}
    return {"version": 2, "status": "success", "eval": spec, "plan": {}, "samples": samples} | fields


@pytest.mark.parametrize("compression", [None, "gz", "stored", "deflated"])
def test_logs_of_inspect_ai(world, tmp_path, compression):
    log = inspect_log(world)
    if compression is None:
        path = tmp_path / "log.json"
        path.write_text(json.dumps(log, indent=2))
    elif compression == "gz":
        path = tmp_path / "log.json.gz"
        path.write_bytes(gzip.compress(json.dumps(log).encode()))
    else:
        path = tmp_path / "log.eval"
        with zipfile.ZipFile(path, "w", getattr(zipfile, f"ZIP_{compression.upper()}")) as archive:
            archive.writestr("header.json", json.dumps({k: v for k, v in log.items() if k != "samples"}))
            for sample in log["samples"]:
                archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
            archive.writestr("summaries.json", "[]")
    scores = one(path)
    assert (scores.reader, scores.model, scores.metric) == ("inspect-ai", "openai/one", "choice")
    assert values(scores) == [1.0, 0.0, 0.5, 0.0, 1.0, 1.0, 0.5, 0.0]
    assert [item.texts["input"] for item in scores.items[:4]] == [item["question"] for item in world.items]
    assert [(item.row, item.repeat) for item in scores.items[3:5]] == [(3, "1"), (0, "2")]


def test_a_log_of_inspect_ai_that_did_not_end_is_said(world, tmp_path):
    log = inspect_log(world, status="cancelled")
    log["eval"]["dataset"]["shuffled"] = True
    log["samples"][0]["scores"] = {"choice": {"value": "NaN"}}
    (tmp_path / "log.json").write_text(json.dumps(log))
    scores = one(tmp_path / "log.json")
    assert "the log says that its run is cancelled" in scores.notes[0]
    assert scores.items[0].score != scores.items[0].score
    assert {item.row for item in scores.items} == {None}
    (tmp_path / "log.json").write_text(json.dumps(inspect_log(world, samples=None)))
    with pytest.raises(DataError, match="no samples in it"):
        one(tmp_path / "log.json")


def test_per_instance_stats_of_helm(world, tmp_path):
    def stat(name, mean):
        return {"name": {"name": name, "split": "test"}, "count": 1, "sum": mean, "mean": mean}

    runs = [
        {"instance_id": f"id{at}", "train_trial_index": 0, "stats": [stat(*each) for each in stats]}
        for stats in ((("num_prompt_tokens", 80.0),), (("exact_match", 1.0), ("f1_score", 0.5)))
        for at in range(4)
    ]
    runs.append({**runs[-1], "perturbation": {"name": "typos"}})
    (tmp_path / "per_instance_stats.json").write_text(json.dumps(runs, indent=2))
    (tmp_path / "run_spec.json").write_text(json.dumps({"adapter_spec": {"model": "org/two"}}))
    instances = [
        {"input": {"text": item["question"]}, "id": f"id{at}", "split": "test"}
        for at, item in enumerate(world.items)
    ]
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    scores = one(tmp_path)
    assert (scores.reader, scores.model, scores.metric) == ("HELM", "org/two", "exact_match")
    assert values(scores) == [1.0] * 4
    assert values(one(tmp_path, "f1_score")) == [0.5] * 4
    assert [item.texts["input.text"] for item in scores.items] == [item["question"] for item in world.items]
    (tmp_path / "instances.json").unlink()
    states = {"request_states": [{"instance": instance, "request": {}} for instance in instances]}
    (tmp_path / "scenario_state.json").write_text(json.dumps(states))
    assert one(tmp_path).items == scores.items
    with pytest.raises(DataError, match="no score 'bleu'; there is exact_match, f1_score, num_prompt_tokens"):
        one(tmp_path, "bleu")


def test_details_of_lighteval(world, tmp_path):
    folder = tmp_path / "details" / "org" / "three" / "2026-01-01T00-00-00.000000"
    folder.mkdir(parents=True)
    rows = [
        {
            "doc": {
                "query": f"Question: {item['question']}\nAnswer:",
                "choices": item["choices"],
                "id": str(at),
            },
            "metric": {"acc": at % 2, "em": 1.0},
            "model_response": {"text": ["red"]},
        }
        for at, item in reversed(list(enumerate(world.items)))
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "details_lighteval|stones|0_2026-01-01.parquet")
    scores = one(tmp_path)
    assert (scores.reader, scores.model, scores.metric) == ("lighteval", "org/three", "acc")
    assert [(item.row, item.score) for item in scores.items] == [(3, 1.0), (2, 0.0), (1, 1.0), (0, 0.0)]


def test_hits_and_documents_of_an_evaluation(tmp_path):
    places = [
        ("run", "eval", "in"),
        ("run", "eval", "out"),
        ("mean", "eval", "out"),
        ("run", "corpus", "out"),
    ]
    rows = [
        {
            "model": model,
            "pool": pool,
            "context": context,
            "query_idx": query,
            "doc_id": "7",
            "truth": 0,
            "rank": rank,
        }
        for model, pool, context in places
        for query, rank in enumerate((1, 4, 20))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "hits.parquet")
    run, mean = read_scores(str(tmp_path), ASKED)
    assert (run.model, mean.model, run.metric, run.stated) == ("run", "mean", "R@5", True)
    assert values(run) == [1.0, 1.0, 0.0]
    assert "pool eval, context out" in run.notes[0]
    assert values(read_scores(str(tmp_path), Asked("MRR", {}))[0]) == [1.0, 0.25, 0.05]
    with pytest.raises(DataError, match="there is MRR, and R@k"):
        read_scores(str(tmp_path), Asked("acc", {}))
    documents = [
        {"model": "run", "pool": "eval", "context": "in", "doc_id": "7", "n_queries": 3, "R@5": 66.6}
    ]
    pq.write_table(pa.Table.from_pylist(documents), tmp_path / "documents.parquet")
    scores = one(tmp_path / "documents.parquet")
    assert (scores.metric, scores.items[0].id, values(scores)) == ("R@5", "7", [66.6])


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_plain_tables(tmp_path, suffix):
    rows = [{"item_id": f"q-{at}", "score": score} for at, score in enumerate((1.0, 0.5, None))]
    path = tmp_path / f"mine.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix in ("csv", "tsv"):
        mark = "," if suffix == "csv" else "\t"
        lines = [mark.join(("item_id", "score"))] + [f"{r['item_id']}{mark}{r['score'] or ''}" for r in rows]
        path.write_text("\n".join(lines) + "\n")
    else:
        path.write_text(json.dumps(rows) if suffix == "json" else "\n".join(map(json.dumps, rows)))
    scores = one(path)
    assert (scores.reader, scores.model, scores.metric) == ("table", "mine", "score")
    assert [item.id for item in scores.items] == ["q-0", "q-1", "q-2"]
    assert values(scores)[:2] == [1.0, 0.5]
    assert values(scores)[2] != values(scores)[2]


def test_a_table_of_several_models_by_rows_and_truth_values(tmp_path):
    rows = [
        {"model": name, "file": "a.jsonl", "row": 3, "correct": name == "b", "note": "x"} for name in "ab"
    ]
    a, b = read_scores(write(tmp_path / "all.jsonl", rows), ASKED)
    assert (a.model, b.model, values(a), values(b)) == ("a", "b", [0.0], [1.0])
    assert (a.items[0].file, a.items[0].row) == ("a.jsonl", 3)
    bare = one(write(tmp_path / "bare.jsonl", [{"acc": 1}, {"acc": 0}]))
    assert [item.row for item in bare.items] == [0, 1]


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_a_prompt_can_be_longer_than_a_block(tmp_path, suffix):
    rows = [{"text": letter * 200_000, "score": at} for at, letter in enumerate("ab")]
    path = tmp_path / f"long.{suffix}"
    if suffix == "csv":
        path.write_text("text,score\n" + "".join(f"{row['text']},{row['score']}\n" for row in rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = one(path)
    assert [(item.texts["text"], item.score) for item in scores.items] == [
        (row["text"], row["score"]) for row in rows
    ]


def test_decimals_are_numbers(tmp_path):
    pq.write_table(pa.table({"row": [0, 1], "score": [Decimal("0.25"), None]}), tmp_path / "a.parquet")
    first, second = values(one(tmp_path / "a.parquet"))
    assert first == 0.25
    assert math.isnan(second)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", "", "expected scores of items, found none"),
        ("a.csv", "", "expected scores of items, found none"),
        ("a.csv", "id,score\n", "expected scores of items, found none"),
        ("a.csv", "id,score\nq,1\nq,high\n", "line 3: score: expected a number, got 'high'"),
        ("a.csv", "id,score\nq,inf\n", "line 2: score: expected a finite number"),
        ("a.csv", "id,score\nq,-1e200\n", r"line 2: score: expected a finite number of at most 1e\+100"),
        ("a.csv", "id,score\nq\n", "line 2: expected 2 cells"),
        ("a.csv", "id,score,score\nq,0,1\n", "the column 'score' stands twice"),
        ("a.csv", b"\xff\xfei\x00d\x00", "expected UTF-8 text, found byte 0 outside it"),
        ("a.jsonl", '{"id": "q", "score": [1]}', r"line 1: score: expected a number, got \[1\]"),
        ("a.jsonl", '{"id": "q", "points": 1}', "expected a score: one of score, correct"),
        ("a.jsonl", '{"id": "q", "score": 1}\n{"id": "r"}', "line 2: no score there"),
        ("a.jsonl", '{"id": "q", "score": 1}\n[]', "line 2: expected an object"),
        ("a.jsonl", '{"id": "q", ', "line 1: expected JSON"),
        ("a.json", '{"eval": {}, "plan": {}, "samples": [3]}', "sample 1: expected an object"),
        ("a.eval", "no archive", "expected a log of inspect-ai: File is not"),
        ("a.parquet", "no parquet", "a.parquet: "),
        ("a.txt", "1", "expected scores as .jsonl"),
    ],
    ids=lambda value: None if isinstance(value, bytes) or "\n" in value or "{" in value else value[:30],
)
def test_what_holds_no_scores_is_refused_by_place(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words):
        one(path)


def test_a_folder_without_scores_and_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no file of scores in it; looked for samples_"):
        one(tmp_path)
    for name in ("gone.csv", "gone"):
        with pytest.raises(DataError, match=f"{name}: no such file or folder"):
            one(tmp_path / name)
