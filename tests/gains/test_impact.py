"""`lvmfast impact` as a user meets it: what joins, what is said, what is written, what is refused."""

import json
import math
import shutil

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.errors import DataError
from tests.support import data
from tests.support.benchmark import benchmark, harness_samples, write
from tests.support.command import refused, run


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return benchmark(tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="module")
def report(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan") / "report"
    lvmfast.leakscan(world.train, world.eval).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def samples(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    return write(folder / "samples_stones.jsonl", harness_samples(world.items, world.scores(0.5, 0.3)))


def table(world, path, scores, **columns):
    rows = [
        {"score": score, **{name: make(i) for name, make in columns.items()}}
        for i, score in enumerate(scores)
    ]
    return write(path, rows)


def test_the_whole_from_the_command_line(world, report, samples, tmp_path, pytestconfig):
    control = table(
        world, tmp_path / "before.jsonl", world.scores(0.5, 0, 9), text=lambda i: world.items[i]["question"]
    )
    out = tmp_path / "impact"
    done = run(
        *("impact", report, "--scores", f"ours={samples}", "--control", control, "--out", str(out)),
    )
    assert done.returncode == 0, done.stderr
    content = json.loads((out / "impact.json").read_text())
    schema = json.loads((pytestconfig.rootpath / "docs" / "impact.schema.json").read_text())
    jsonschema.validate(content, schema)
    ours, before = content["models"]
    assert (ours["name"], before["name"], before["control"]) == ("ours", "before", True)
    assert content["items"] | {"levels": None} == {
        "all": 300,
        "leaked": 100,
        "undecided": 0,
        "set_aside": 0,
        "levels": None,
        "files": [world.eval],
    }
    scores = np.array(world.scores(0.5, 0.3))
    leaked = np.isin(np.arange(300), list(world.leaked))
    assert ours["overall"]["leaked"] | {"interval": None} == {
        "items": 100,
        "mean": scores[leaked].mean(),
        "interval": None,
    }
    assert ours["overall"]["clean"]["mean"] == scores[~leaked].mean()
    low, high = ours["overall"]["leaked_minus_clean"]["interval"]
    assert 0 < low <= 0.3 <= high
    assert (ours["overall"]["verdict"], before["overall"]["verdict"]) == ("advantage", "none shown")
    assert ours["against_control"]["verdict"] == "advantage"
    others = np.array(world.scores(0.5, 0, 9))
    apart = (scores - others)[leaked].mean() - (scores - others)[~leaked].mean()
    assert ours["against_control"]["leaked_minus_clean"]["difference"] == pytest.approx(apart)
    for told in ("ours: acc", "100 of 300", "easier items alone do not explain the advantage"):
        assert told in done.stdout
    rows = pq.read_table(out / "impact.parquet").to_pylist()
    assert [row["eval_row"] for row in rows] == list(range(300))
    assert {i for i, row in enumerate(rows) if row["leaked"]} == world.leaked
    assert [row["scores"]["ours"] for row in rows] == world.scores(0.5, 0.3)
    assert {row["coverage_anywhere"] >= 0.9 for i, row in enumerate(rows) if i in world.leaked} == {True}
    again = run(
        *("impact", report, "--scores", f"ours={samples}", "--control", control, "--out", str(out)),
    )
    refused(again, "not empty")
    as_json = run("impact", report, "--scores", f"ours={samples}", "--control", control, "--json")
    assert json.loads(as_json.stdout) == content


def test_the_score_of_what_is_left_as_the_threshold_goes_down(world, report, samples):
    (model,) = lvmfast.impact(report, samples).content["models"]
    points = {point["threshold"]: point for point in model["sweep"]["points"]}
    assert list(points) == sorted(points, reverse=True)
    assert points[0.9]["removed"] == 100
    assert points[0.9]["remaining"] == model["overall"]["clean"]
    assert points[0.9]["gain"] == model["overall"]["gain"]
    assert model["sweep"]["largest_gain_at"] is not None
    whole = [bin for bin in model["strength"] if bin["measure"] == "coverage" and bin["high"] == 1.0]
    assert whole[0] | {"low": None} == model["overall"]["leaked"] | {
        "measure": "coverage",
        "low": None,
        "high": 1.0,
    }
    assert "evidence of an advantage and no proof of memorising" in model["sentence"]


@pytest.mark.parametrize(
    ("columns", "by"),
    [
        ({"id": lambda i: f"q-{i}"}, "id (id)"),
        ({"row": lambda i: i}, "row"),
        ({}, "row"),
        ({"question": lambda i: "text"}, "text (question)"),
        ({"id": lambda i: i, "prompt": lambda i: "text"}, "text (prompt)"),
    ],
    ids=["id", "row", "order", "question", "prompt"],
)
def test_scores_join_by_whatever_they_have(world, report, tmp_path, columns, by):
    texts = {
        name: (lambda i: f"  {world.items[i]['question'].upper()}\n")
        for name in columns
        if name in ("question", "prompt")
    }
    path = table(world, tmp_path / "t.jsonl", world.scores(0.5, 0.3), **{**columns, **texts})
    found = lvmfast.impact(report, path)
    (joined,) = found.content["models"][0]["joined"]
    assert (joined["by"], joined["joined"], joined["not_joined"]) == (by, 300, [])
    assert found.items["scores"].combine_chunks().field("t").to_pylist() == world.scores(0.5, 0.3)


def test_what_does_not_join_is_counted_and_named(world, report, tmp_path):
    rows = [{"id": f"q-{i}", "score": 1} for i in range(250)] + [
        {"id": f"x-{i}", "score": 1} for i in range(7)
    ]
    path = write(tmp_path / "some.jsonl", rows)
    done = run("impact", report, "--scores", path)
    assert done.returncode == 0
    assert "250 of 257 scores joined by id (id); texts compared: none" in done.stdout
    assert f"not joined: {path}: line 251, " in done.stdout
    assert "line 255 and 2 more" in done.stdout
    assert f"some: 50 items of the scan have no score: {world.eval}: row 250, " in done.stdout


def test_scores_of_another_benchmark_are_refused_with_what_was_tried(world, report, tmp_path):
    other = benchmark(tmp_path, items=300, leaked=0, seed=2)
    rows = harness_samples([item | {"id": f"r-{i}"} for i, item in enumerate(other.items)], [1.0] * 300)
    path = write(tmp_path / "samples_other.jsonl", rows)
    refused(
        run("impact", report, "--scores", path),
        *("none of its 300 scores is of an item of the scan", "is it of another benchmark?"),
        *("text (question): 0 found", "id (id): 0 found", "row: 300 of 300 texts differ"),
    )
    same_ids = write(tmp_path / "samples_ids.jsonl", harness_samples(other.items, [1.0] * 300))
    refused(run("impact", report, "--scores", same_ids), "id (id): 300 of 300 texts differ")


def test_texts_that_stand_twice_are_told_apart_by_row_or_by_turn(world, tmp_path):
    rows = [world.items[0], *world.items[:60], world.items[5]]
    eval = write(tmp_path / "twice.jsonl", [row | {"id": None} for row in rows])
    lvmfast.leakscan(world.train, eval).save(tmp_path / "report")
    scores = [float(i % 2) for i in range(62)]
    by_row = write(tmp_path / "samples_a.jsonl", harness_samples(rows, scores))
    in_turn = write(
        tmp_path / "b.jsonl",
        [{"question": row["question"], "score": score} for row, score in zip(rows, scores, strict=True)],
    )
    found = lvmfast.impact(tmp_path / "report", [by_row, in_turn])
    told = found.items["scores"].combine_chunks()
    assert told.field("samples_a").to_pylist() == told.field("b").to_pylist() == scores
    clusters = found.items["cluster"].to_pylist()
    assert clusters[0] == clusters[1]
    assert clusters[6] == clusters[61]
    assert len(set(clusters)) == 60


def test_items_of_one_training_document_are_one_cluster(tmp_path):
    world = benchmark(tmp_path, items=200, leaked=100, per_document=4)
    lvmfast.leakscan(world.train, world.eval).save(tmp_path / "report")
    path = table(world, tmp_path / "t.jsonl", world.scores(0.5, 0.3), row=lambda i: i)
    found = lvmfast.impact(tmp_path / "report", path).content["models"][0]["overall"]
    assert found["clusters"] == {"all": 125, "clean": 100, "leaked": 25}
    assert found["over"] == "clusters"


def test_several_benchmarks_are_told_apart(world, tmp_path):
    other = benchmark(tmp_path, items=120, leaked=60, seed=3)
    lvmfast.leakscan([world.train, other.train], [world.eval, other.eval]).save(tmp_path / "report")
    folder = tmp_path / "scores"
    folder.mkdir()
    for name, each, seed in (("one", other, 1), ("two", world, 2)):
        write(folder / f"samples_{name}.jsonl", harness_samples(each.items, each.scores(0.5, 0.3, seed)))
    (folder / "results_x.json").write_text(json.dumps({"model_name": "org/model"}))
    (model,) = lvmfast.impact(tmp_path / "report", folder).content["models"]
    assert [(each["file"], each["all"]["items"]) for each in model["files"]] == [
        (world.eval, 300),
        (other.eval, 120),
    ]
    assert model["overall"]["all"]["items"] == 420
    rows = table(other, tmp_path / "rows.jsonl", [1.0] * 120, row=lambda i: i)
    with pytest.raises(DataError, match="row: it is not known of which evaluation file"):
        lvmfast.impact(tmp_path / "report", rows)
    named = table(other, tmp_path / "named.jsonl", [1.0] * 120, row=lambda i: i, file=lambda i: other.eval)
    (model,) = lvmfast.impact(tmp_path / "report", named).content["models"]
    assert model["joined"][0]["by"] == "file and row"


def test_models_of_one_name_and_kinds_of_scores_are_refused(world, report, samples, tmp_path):
    refused(
        run("impact", report, "--scores", f"a={samples}", "--scores", f"a={samples}"), "has a score already"
    )
    twice = table(world, tmp_path / "twice.jsonl", [1, 0], id=lambda i: "q-3")
    refused(
        run("impact", report, "--scores", twice),
        f"{twice}: line 2",
        f"row 3 has a score already, in {twice}: line 1",
    )
    other = table(world, tmp_path / "o.jsonl", [1, 0], row=lambda i: i)
    with pytest.raises(DataError, match="is scored by score there and by acc in"):
        lvmfast.impact(report, {"a": [samples, other]})
    with pytest.raises(DataError, match="control: expected the scores of one model, got those of"):
        lvmfast.impact(report, samples, control={"a": samples, "b": samples})
    with pytest.raises(DataError, match="control: samples_stones is one of the models"):
        lvmfast.impact(report, samples, control=samples)
    with pytest.raises(DataError, match="no score 'f1'; there is acc, acc_norm"):
        lvmfast.impact(report, samples, metric="f1")
    with pytest.raises(DataError, match="resamples: expected from 100 to 1,000,000, got 3"):
        lvmfast.impact(report, samples, resamples=3)


def test_scores_that_are_lacking_are_left_out_and_counted(world, report, tmp_path):
    scores = [math.nan if i % 3 == 0 else 1.0 for i in range(300)]
    path = table(world, tmp_path / "t.jsonl", scores, row=lambda i: i)
    done = run("impact", report, "--scores", path)
    assert "100 have no score there (null or NaN), and are left out" in done.stdout
    refused(
        run("impact", report, "--scores", table(world, tmp_path / "n.jsonl", [None] * 3, row=lambda i: i)),
        "expected numbers, all are missing or NaN",
    )


@pytest.mark.parametrize("asked", [{"seed": -1}, {"resamples": 99}, {"resamples": 10**12}], ids=str)
def test_samples_that_cannot_be_drawn_are_refused(report, samples, asked):
    ((name, _),) = asked.items()
    with pytest.raises(DataError, match=f"{name}: expected "):
        lvmfast.impact(report, samples, **asked)


def test_too_few_items_and_no_claim(world, report, tmp_path):
    path = table(world, tmp_path / "t.jsonl", [1.0] * 25, row=lambda i: i)
    (model,) = lvmfast.impact(report, path).content["models"]
    assert model["overall"]["verdict"] == "too few"
    assert "too few for a statement, and nothing is claimed" in model["sentence"]
    assert model["overall"]["all"]["items"] == 25


def test_files_that_moved_or_changed(world, report, samples, tmp_path):
    moved = tmp_path / "moved.jsonl"
    scan = tmp_path / "report"
    eval = shutil.copy(world.eval, tmp_path / "eval.jsonl")
    lvmfast.leakscan(world.train, eval).save(scan)
    shutil.move(eval, moved)
    found = lvmfast.impact(scan, samples).content
    assert found["models"][0]["joined"][0]["by"] == "row"
    assert (
        "its texts and ids are not known, and scores join by row alone (--eval says where it is)"
        in found["notes"][0]
    )
    found = lvmfast.impact(scan, samples, eval=[str(moved)]).content
    assert found["models"][0]["joined"][0]["by"] == "text (question)"
    by_text = table(world, tmp_path / "by_text.jsonl", [1, 0], question=lambda i: world.items[i]["question"])
    with pytest.raises(DataError, match="no text of an item is known: --eval says where"):
        lvmfast.impact(scan, by_text)
    assert lvmfast.impact(scan, by_text, eval=[str(moved)]).content["models"][0]["joined"][0]["joined"] == 2
    with pytest.raises(DataError, match=r"not what .* scanned as eval"):
        lvmfast.impact(scan, samples, eval=[world.train])
    shutil.copy(world.train, eval)
    assert "it changed since" in lvmfast.impact(scan, samples).content["notes"][0]


def test_a_quarantined_set_is_read(world, samples, tmp_path):
    eval = shutil.copy(world.eval, tmp_path / "eval.jsonl")
    lvmfast.leakscan(world.train, eval).save(tmp_path / "report")
    lvmfast.quarantine([eval], report=tmp_path / "report")
    (kept,) = tmp_path.glob("LEAKED_EVAL_SETS/*.jsonl")
    found = lvmfast.impact(tmp_path / "report", samples, eval=[str(kept)]).content
    assert found["models"][0]["joined"][0]["by"] == "text (question)"


def test_a_scan_without_overlap_says_what_it_cannot(world, samples, tmp_path):
    lvmfast.leakscan(world.train, world.eval, levels=["text"]).save(tmp_path / "report")
    found = lvmfast.impact(tmp_path / "report", samples).content
    assert any("no items.parquet" in note for note in found["notes"])
    (model,) = found["models"]
    assert (model["strength"], model["sweep"]) == ([], None)
    assert model["overall"]["verdict"] == "too few"


def test_a_scan_inside_one_set_and_what_is_none(world, samples, tmp_path):
    lvmfast.leakscan(world.train).save(tmp_path / "within")
    refused(run("impact", str(tmp_path / "within"), "--scores", samples), "a scan inside one set")
    refused(run("impact", str(tmp_path / "gone"), "--scores", samples), "no such folder")
    refused(run("impact", str(tmp_path / "within")), "Missing option '--scores'")


def test_hits_of_an_evaluation_join_by_row(tmp_path):
    files = data.leaky(tmp_path)
    lvmfast.leakscan(files["train.npz"], files["eval.npz"]).save(tmp_path / "report")
    rows = [
        {
            "model": name,
            "pool": "eval",
            "context": "in",
            "query_idx": i,
            "doc_id": "0",
            "truth": i,
            "rank": i % 9,
        }
        for name in ("run", "copy-last")
        for i in range(60)
    ]
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "hits.parquet")
    found = lvmfast.impact(
        tmp_path / "report",
        {"run": tmp_path / "hits.parquet"},
        control={"copy-last": tmp_path / "hits.parquet"},
    ).content
    assert [model["name"] for model in found["models"]] == ["run", "copy-last"]
    assert [model["joined"][0]["joined"] for model in found["models"]] == [60, 60]
    with pytest.raises(DataError, match="one of the models there: copy-last, run"):
        lvmfast.impact(tmp_path / "report", {"mine": tmp_path / "hits.parquet"})
