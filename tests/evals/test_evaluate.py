"""lvmfast eval: against nested loops in float64, and with each fault that real projects fell into."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import lvmfast
from lvmfast import _core
from lvmfast.cli import app
from lvmfast.errors import DataError, LeakError
from lvmfast.evals.domains import fit_domains
from lvmfast.evals.evaluation import Evaluation
from lvmfast.models.config import BASELINES
from tests.support.eval_world import (
    CHUNKS,
    EVAL_DOCS,
    LENGTH,
    TRAIN_DOCS,
    copies,
    document,
    matrix,
    payload,
    run,
    save,
    world,
)

pytestmark = pytest.mark.heavy

FAST = {"resamples": 50}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def trained(files) -> str:
    return run(files.folder / "run-a", files.train)


def cli(*arguments: str):
    return CliRunner().invoke(app, ["eval", *map(str, arguments), "--quiet"])


def naive(pool: str, context: str, mix=(0, 0, 1), weight=0.0) -> dict[str, float]:
    """A mix less density by nested loops: rank = candidates that score at least what the truth scores."""
    docs = list(EVAL_DOCS) if pool == "eval" else [*TRAIN_DOCS, *EVAL_DOCS]
    first = LENGTH if pool == "eval" else 0
    candidates = {(d, c): document(d)[c].astype(np.float64) for d in docs for c in range(first, CHUNKS)}
    units = {key: vector / np.linalg.norm(vector) for key, vector in candidates.items()}
    density = {
        key: np.mean(sorted(unit @ other for k, other in units.items() if k != key)[-10:])
        for key, unit in units.items()
    }
    ranks = []
    for doc in EVAL_DOCS:
        for place in range(LENGTH, CHUNKS):
            query = np.array(mix) @ document(doc)[place - LENGTH : place].astype(np.float64)
            own = {(doc, c) for c in range(place - LENGTH, place)} if context == "out" else set()
            seen = {
                key: unit @ query / np.linalg.norm(query) - weight * density[key]
                for key, unit in units.items()
                if key not in own and (pool != "same-doc" or key[0] == doc)
            }
            goal = seen[doc, place]
            ranks.append(sum(value >= goal - 1e-12 for value in seen.values()))
    ranks = np.array(ranks)
    return {"R@1": 100 * (ranks <= 1).mean(), "R@5": 100 * (ranks <= 5).mean(), "MRR": (1 / ranks).mean()}


@pytest.mark.parametrize("layout", ["eval", "eval_matrix"])
def test_scores_are_those_of_nested_loops(files, layout):
    found = lvmfast.evaluate(
        "copy-last",
        getattr(files, layout),
        payload=files.payload,
        pools=["eval", "corpus", "same-doc"],
        train=files.train,
        **FAST,
    )
    assert isinstance(found, Evaluation)
    assert found.status.status == "clean"
    assert found.status.level == "cross-document"
    for pool in ("eval", "corpus", "same-doc"):
        for context in ("in", "out"):
            # without chunks before the first target the pool same-doc is that of the payload
            mix = found.details["models"]["lag-mix-density"]["weights"]
            for model, expected in {
                "copy-last": naive(pool, context),
                "lag-mix": naive(pool, context, mix),
                "lag-mix-density": naive(pool, context, mix, 1.0),
            }.items():
                record = found.find(model, pool, context)
                for name, value in expected.items():
                    assert record[name] == pytest.approx(value, abs=1e-9), (model, pool, context, name)
                assert record["n_queries"] == len(EVAL_DOCS) * (CHUNKS - LENGTH)
    assert {r["model"] for r in found.records} == set(BASELINES)
    # the query's own last vector stands in the corpus and is copied: the signature of that pool
    assert found.find("copy-last", "corpus", "in")["R@1"] == 0


def test_what_is_written(files, trained, tmp_path):
    out = tmp_path / "new" / "out"
    result = cli(
        *("--checkpoint", trained, "--train", files.train, "--eval-npz", files.eval, "--out", out),
        *("--payload", files.payload, "--pool", "corpus", "--pool", "eval"),
    )
    assert result.exit_code == 0, result.output
    names = {"metrics.json", "evaluation.json", "hits.parquet", "documents.parquet", "eval.html"}
    assert {path.name for path in out.iterdir()} == names
    records = json.loads((out / "metrics.json").read_text())
    assert [r["split_status"] for r in records] == ["clean"] * len(records)
    hits = pq.read_table(out / "hits.parquet").to_pylist()
    for row in hits[:: len(hits) // 50]:
        assert len(row["hit_indices"]) == len(row["hit_scores"]) == 50
        assert row["hit_scores"] == sorted(row["hit_scores"], reverse=True)
        if row["rank"] <= 50:
            assert row["truth"] in row["hit_indices"][: row["rank"]]
        else:
            assert row["truth"] not in row["hit_indices"]
    one = next(r for r in records if r["model"] == "run-a" and r["pool"] == "eval" and r["context"] == "out")
    rows = [r for r in hits if (r["model"], r["pool"], r["context"]) == ("run-a", "eval", "out")]
    assert one["R@5"] == pytest.approx(100 * np.mean([r["rank"] <= 5 for r in rows]))
    assert one["count"]["R@5"] == sum(r["rank"] <= 5 for r in rows)
    low, high = one["interval"]["R@5"]
    assert low <= one["R@5"] <= high
    documents = pq.read_table(out / "documents.parquet").to_pylist()
    own = [r for r in documents if (r["model"], r["pool"], r["context"]) == ("run-a", "eval", "out")]
    assert {r["doc_id"] for r in own} == {str(doc) for doc in EVAL_DOCS}
    assert one["macro"]["R@5"] == pytest.approx(np.mean([r["R@5"] for r in own]))
    details = json.loads((out / "evaluation.json").read_text())
    assert {row["against"] for row in details["differences"]} == {*BASELINES, "run-a"}
    assert set(details["latency"]["run-a"]) >= {"P50", "P95", "P99", "pool_size", "model_device"}
    again = cli("--checkpoint", "copy-last", "--eval-npz", files.eval, "--out", out)
    assert again.exit_code == 2
    assert "not empty" in again.output


def test_the_set_must_be_named():
    result = cli("--checkpoint", "copy-last")
    assert result.exit_code == 2
    assert "--eval-npz" in result.output
    with pytest.raises(TypeError, match="eval_npz"):
        lvmfast.evaluate("copy-last")


def test_a_leak_that_nobody_scanned_for_is_refused(files, trained, tmp_path):
    out = tmp_path / "out"
    result = cli("--checkpoint", trained, "--eval-npz", files.leaky, "--out", out)
    assert result.exit_code == 1
    assert "seen in training at doc (50.0%), chunk (50.0%), vector (50.0%), context" in result.output
    assert not out.exists()
    allowed = cli("--checkpoint", trained, "--eval-npz", files.leaky, "--out", out, "--allow-leaked")
    assert allowed.exit_code == 0
    assert "LEAKED" in allowed.output
    records = json.loads((out / "metrics.json").read_text())
    assert {r["split_status"] for r in records} == {"LEAKED"}
    assert json.loads((out / "evaluation.json").read_text())["stamp"] == "LEAKED"
    page = (out / "eval.html").read_text()
    assert page.count("LEAKED") > 5
    assert "<title>LEAKED" in page
    phase = cli("--checkpoint", trained, "--eval-npz", files.leaky, "--phase", "2")
    assert phase.exit_code == 1


def test_a_window_that_training_saw_is_a_leak(files, trained, tmp_path):
    arrays = copies(EVAL_DOCS)
    arrays["contexts"][7, 1] = copies(TRAIN_DOCS)["targets"][20]
    path = save(tmp_path / "eval.npz", arrays)
    with pytest.raises(LeakError, match="seen in training at context"):
        lvmfast.evaluate(trained, path, **FAST)


def test_quarantined_files_are_refused_until_allowed(files, tmp_path):
    path = save(tmp_path / "eval.npz", copies(EVAL_DOCS))
    train = save(tmp_path / "train.npz", copies([*TRAIN_DOCS, *EVAL_DOCS]))
    lvmfast.leakscan(train, path).save(tmp_path / "report")
    lvmfast.quarantine(path, tmp_path / "report")
    moved = tmp_path / "LEAKED_EVAL_SETS" / "eval.npz"
    assert cli("--checkpoint", "copy-last", "--eval-npz", moved).exit_code == 2
    allowed = cli("--checkpoint", "copy-last", "--eval-npz", moved, "--allow-leaked")
    assert allowed.exit_code == 0
    assert "LEAKED" in allowed.output
    # clean against another training set, it is still what was quarantined
    found = lvmfast.evaluate("copy-last", moved, train=files.train, allow_leaked=True, **FAST)
    assert {record["split_status"] for record in found.records} == {"LEAKED"}


def test_a_fingerprint_that_is_not_the_runs_own(files, tmp_path):
    folder = tmp_path / "run"
    run(folder, files.train)
    other = save(tmp_path / "other.npz", copies(range(200, 210)))
    (folder / "train.lvfp").unlink()
    lvmfast.fingerprint(other, folder / "train.lvfp")
    with pytest.raises(DataError, match="expected the fingerprint"):
        lvmfast.evaluate(str(folder), files.eval, **FAST)
    (folder / "train.lvfp").unlink()
    with pytest.raises(DataError, match=r"no train\.lvfp.*--train"):
        lvmfast.evaluate(str(folder), files.eval, **FAST)


@pytest.mark.parametrize("shift", [-1, 1])
def test_keys_off_by_one(files, tmp_path, shift):
    moved = payload([*TRAIN_DOCS, *EVAL_DOCS])
    moved["truth_keys"][:, 1] += shift
    out = tmp_path / "out"
    path = save(tmp_path / "payload.npz", moved)
    result = cli(
        *("--checkpoint", "copy-last", "--eval-npz", files.eval, "--payload", path),
        *("--pool", "corpus", "--out", out),
    )
    assert result.exit_code == 2
    assert "off by" in result.output
    assert not out.exists()


def test_keys_that_the_payload_lacks(files, tmp_path):
    path = save(tmp_path / "payload.npz", payload([*TRAIN_DOCS, *list(EVAL_DOCS)[1:]]))
    with pytest.raises(DataError, match=r"87\.5% of the keys are in .*payload\.npz \(77 of 88"):
        lvmfast.evaluate("copy-last", files.eval, payload=path, pools=["corpus"], **FAST)


def broken_payloads(folder: Path) -> dict[str, tuple[str, str]]:
    whole = payload([*TRAIN_DOCS, *EVAL_DOCS])
    twice = {name: np.concatenate([values, values[:1]]) for name, values in whole.items()}
    texts = pa.table({"doc_id": [1], "chunk_id": [1], "text": ["nothing but a text, and a long one"]})
    pq.write_table(texts, folder / "texts.parquet")
    other = json.dumps({"embedder_id": "another-encoder"})
    narrow = whole | {"embeddings": whole["embeddings"][:, :8]}
    empty = {name: values[:0] for name, values in whole.items()}
    return {
        "twice": (save(folder / "twice.npz", twice), "more than once"),
        "texts": (str(folder / "texts.parquet"), "texts alone"),
        "encoder": (save(folder / "encoder.npz", whole, other), "two encoders"),
        "narrow": (save(folder / "narrow.npz", narrow), "expected vectors of 16 values"),
        "empty": (save(folder / "empty.npz", empty), "no rows"),
    }


@pytest.mark.parametrize("kind", ["twice", "texts", "encoder", "narrow", "empty"])
def test_broken_payloads(files, tmp_path, kind):
    path, message = broken_payloads(tmp_path)[kind]
    result = cli("--checkpoint", "copy-last", "--eval-npz", files.eval, "--payload", path, "--pool", "corpus")
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1


def test_a_pool_too_small_to_rank(files, tmp_path):
    path = save(tmp_path / "few.npz", copies(list(EVAL_DOCS)[:4]))
    with pytest.raises(DataError, match="44 candidates, expected more than 50"):
        lvmfast.evaluate("copy-last", path, **FAST)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("column", "what"), [("targets", "vector"), ("contexts", "context")])
def test_vectors_that_are_not_finite(files, tmp_path, column, what, value):
    with np.load(files.eval) as stored:
        columns = dict(stored)
    columns[column] = columns[column].copy()
    columns[column][4, ..., 1] = value
    np.savez(tmp_path / "odd.npz", **columns)
    said = rf"odd\.npz: row 4 \(.*\): its {what} has values that are NaN or infinite \(such rows: 1 of"
    with pytest.raises(DataError, match=said):
        lvmfast.evaluate("copy-last", tmp_path / "odd.npz", **FAST)
    with np.load(files.train) as stored:
        columns = dict(stored)
    columns[column] = columns[column].copy()
    columns[column][4, ..., 1] = value
    np.savez(tmp_path / "odd-train.npz", **columns)
    found = lvmfast.evaluate("copy-last", files.eval, train=tmp_path / "odd-train.npz", **FAST)
    reason = "nan" if np.isnan(value) else "infinite"
    level = {"vector": "vector", "context": "context"}[what]
    assert f"{level}: rows not checked: train 1 {reason}" in found.statuses["copy-last"].sentence


def test_a_truth_that_is_not_finite_is_named(files, tmp_path):
    odd = payload([*TRAIN_DOCS, *EVAL_DOCS])
    vectors = next(name for name, values in odd.items() if values.ndim == 2 and values.dtype == np.float32)
    odd[vectors] = odd[vectors].copy()
    odd[vectors][-1, 3] = np.nan  # the last chunk of a document, which is no query's context
    path = save(tmp_path / "payload.npz", odd)
    with pytest.raises(
        DataError, match=r"pool corpus: the vector that query \d+ is to find, row \d+ of the pool"
    ):
        lvmfast.evaluate("copy-last", files.eval, payload=path, pools=["corpus"], **FAST)


def test_corpus_without_payload(files):
    with pytest.raises(DataError, match="pool corpus: expected --payload"):
        lvmfast.evaluate("copy-last", files.eval, pools=["corpus"], **FAST)


def test_broken_checkpoints(files, tmp_path):
    with pytest.raises(DataError, match=r"NaN or infinite; the first is of .*row 0"):
        lvmfast.evaluate(run(tmp_path / "nan", files.train, nan=True), files.eval, **FAST)
    with pytest.raises(DataError, match="expected windows of 3 vectors of 8 values"):
        lvmfast.evaluate(run(tmp_path / "dim", files.train, dim=8), files.eval, **FAST)
    with pytest.raises(DataError, match="cosines between two encoders"):
        lvmfast.evaluate(run(tmp_path / "enc", files.train, embedder="other"), files.eval, **FAST)
    whole = Path(run(tmp_path / "cut", files.train)) / "checkpoints" / "epoch-0002.safetensors"
    whole.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(DataError, match="epoch-0002"):
        lvmfast.evaluate(tmp_path / "cut", files.eval, **FAST)
    with pytest.raises(
        DataError, match=r"lag-mix needs a weight for each of the 3 .*: --train with the training"
    ):
        lvmfast.evaluate("lag-mix", files.eval, **FAST)


def test_windows_that_are_not_the_chunks_before(files, tmp_path):
    """Keys of a window are guessed in the seed layout; a wrong guess takes nothing out, and says so."""
    arrays = copies(EVAL_DOCS)
    arrays["contexts"] = arrays["contexts"][:, ::-1]
    found = lvmfast.evaluate(
        "copy-last", save(tmp_path / "e.npz", arrays), payload=files.payload, pools=["corpus"], **FAST
    )
    assert {record["context"] for record in found.records} == {"in"}
    assert any("context cannot be taken out" in note for note in found.details["notes"])


def test_an_oracle_is_called_one(files):
    from lvmfast.evals.options import EvalOptions
    from lvmfast.evals.pools import build_pool
    from lvmfast.evals.queries import open_queries
    from lvmfast.evals.split_status import scan_split
    from lvmfast.evals.table import records, score_all

    queries = open_queries(files.eval)
    pool = build_pool("eval", queries, None)
    status = scan_split(queries, files.train, EvalOptions())
    predicted = {"cheat": queries.targets, "honest": np.roll(queries.targets, 1, axis=0)}
    table = score_all(predicted, queries, [pool], EvalOptions(**FAST))
    found = records(table, dict.fromkeys(predicted, status), dict.fromkeys(predicted, "run"))
    for record in found:
        assert record["equals_oracle"] == (["R@1", "R@5", "MRR"] if record["model"] == "cheat" else [])


def test_gates_decide(files, trained):
    passed = cli(
        "--checkpoint", "copy-last", "--eval-npz", files.eval, "--train", files.train, "--gates", "honest"
    )
    assert passed.exit_code != 0, "no baseline passes the honest gates"
    found = lvmfast.evaluate(trained, files.eval, train=files.train, gates="production", **FAST)
    verdict = found.details["gates"]["run-a"]["production"]
    assert found.exit_code == verdict["exit_code"]
    by_name = {gate["name"]: gate for gate in verdict["gates"]}
    record = found.find("run-a", "eval", "out")
    assert by_name["R@5"]["value"] == record["R@5"]
    assert "P95" not in by_name
    assert by_name["clean"]["value"] == "clean"
    slow, fast = (
        lvmfast.evaluate(trained, files.eval, gates="production", max_p95=limit, **FAST)
        for limit in (1e-9, 1e9)
    )
    for found, status in ((slow, "failed"), (fast, "passed")):
        (speed,) = (g for g in found.details["gates"]["run-a"]["production"]["gates"] if g["name"] == "P95")
        assert (speed["status"], speed["value"]) == (status, found.details["latency"]["run-a"]["P95"])
    assert slow.exit_code == 1
    refused = cli("--checkpoint", trained, "--eval-npz", files.eval, "--max-p95", "2")
    assert (refused.exit_code, "it needs --gates" in refused.output) == (2, True)
    with pytest.raises(DataError, match=r"max-p95: expected milliseconds above 0, got -1"):
        lvmfast.evaluate(trained, files.eval, gates="production", max_p95=-1, **FAST)
    with pytest.raises(DataError, match="expected a file of gates"):
        lvmfast.evaluate("copy-last", files.eval, gates="nothing", **FAST)


def test_an_amn_beside_the_run_joins_where_a_gate_asks_about_it(files, tmp_path):
    first = run(tmp_path / "runs" / "first", files.train)
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "best.json").write_text("{")
    run(tmp_path / "runs" / "elsewhere", files.leaky, model="amn")
    asked = lvmfast.evaluate(first, files.eval, train=files.train, gates="stretch", **FAST)
    assert {r["model"] for r in asked.records} == {"first", *BASELINES}
    assert any("/runs/broken: in the folder beside a run" in note for note in asked.details["notes"])
    run(tmp_path / "runs" / "other", files.train, model="amn")
    alone = lvmfast.evaluate(first, files.eval, train=files.train, gates="target", **FAST)
    assert {r["model"] for r in alone.records} == {"first", *BASELINES}, "no gate asks about an AMN"
    assert not any("AMN" in note for note in alone.details["notes"])
    found = lvmfast.evaluate(first, files.eval, train=files.train, gates="stretch", **FAST)
    assert {r["model"] for r in found.records} == {"first", "other", *BASELINES}
    assert any("other: was not named, but was found at" in note for note in found.details["notes"])
    assert any(d["model"] == "first" and d["against"] == "other" for d in found.details["differences"])
    asked = {g["name"]: g for g in found.details["gates"]["first"]["stretch"]["gates"]}
    assert asked["no worse than AMN"]["status"] != "not_checkable"
    assert found.details["chief"] == "first"


def test_phase_1(files, trained, tmp_path):
    good = run(tmp_path / "con", files.train, seed=0)
    bad = run(tmp_path / "ar", files.train, seed=8)
    result = cli("--phase", "1", "--compare", bad, good, "--eval-npz", files.leaky, "--allow-leaked")
    assert "the difference alone; no absolute figure is claimed" in result.output
    found = lvmfast.evaluate(
        None, files.leaky, compare=[bad, good], phase=1, allow_leaked=True, gates="minimum", **FAST
    )
    compared = found.details["phase_1"]
    own, other = found.find("con", "eval", "out"), found.find("ar", "eval", "out")
    difference = compared["differences"]["R@5"]
    assert difference["difference"] == pytest.approx(own["R@5"] - other["R@5"])
    low, high = difference["interval"]
    outcome = "better" if low > 0 else "worse" if high < 0 else "undecided"
    assert compared["outcome"] == outcome
    gates = {gate["name"]: gate for gate in found.details["gates"]["con"]["minimum"]["gates"]}
    assert gates["epoch 2"]["value"] == pytest.approx(0.6)
    assert gates["above AR only"]["value"] == pytest.approx(own["R@5"] - other["R@5"])
    stranger = run(tmp_path / "stranger", files.train, train_hash="ff")
    with pytest.raises(DataError, match="trained on different data"):
        lvmfast.evaluate(None, files.leaky, compare=[bad, stranger], phase=1, allow_leaked=True)
    with pytest.raises(DataError, match="expected two runs"):
        lvmfast.evaluate(bad, files.leaky, phase=1, allow_leaked=True)
    with pytest.raises(DataError, match="phase 2"):
        lvmfast.evaluate(bad, files.leaky, phase=2, allow_leaked=True)


def test_a_full_disk_leaves_nothing(files, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lvmfast", "eval", "--checkpoint", "copy-last", "--quiet"]
    done = subprocess.run(
        [*command, "--eval-npz", files.eval, "--out", str(out)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "cannot write the evaluation" in done.stderr
    assert list(tmp_path.iterdir()) == []


def through(files, index: str, pools=("eval", "corpus")):
    return lvmfast.evaluate(
        "copy-last",
        files.eval,
        payload=files.payload,
        pools=pools,
        train=files.train,
        approximate=index,
        **FAST,
    )


def test_an_index_that_misses_nothing_is_the_exact_search(files):
    found = through(files, "Flat")
    rows = found.details["approximate"]["found"]
    assert {(row["model"], row["pool"], row["context"]) for row in rows} == {
        (record["model"], record["pool"], record["context"]) for record in found.records
    }
    for row in rows:
        record = found.find(row["model"], row["pool"], row["context"])
        assert row["recall"] == 1, row
        for name in ("R@5", "Contain@50"):
            assert row[name] == {"exact": record[name], "index": record[name]}, row
        assert (row["P50"]["index"] is not None) == (row["pool"] == "eval")


def test_an_index_that_looks_at_few_rows_says_what_it_misses(files):
    exact = {(r["model"], r["pool"], r["context"]): r for r in through(files, "Flat").records}
    rows = through(files, "IVF16,Flat").details["approximate"]["found"]
    assert all(0 < row["recall"] < 1 for row in rows)
    for row in rows:
        record = exact[row["model"], row["pool"], row["context"]]
        assert row["Contain@50"]["index"] <= row["Contain@50"]["exact"] == record["Contain@50"]
    assert any(row["Contain@50"]["index"] < row["Contain@50"]["exact"] for row in rows)


def test_an_index_that_cannot_be(files, monkeypatch):
    with pytest.raises(DataError, match="approximate index 'Nonsense9' over"):
        through(files, "Nonsense9")
    with pytest.raises(DataError, match="approximate index 'IVF9999,Flat' over"):
        through(files, "IVF9999,Flat")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(DataError, match=r"pip install 'lvmfast\[faiss\]'"):
        through(files, "Flat")


def test_what_a_fingerprint_leaves_open_the_run_s_own_files_decide(files, tmp_path, monkeypatch):
    from lvmfast.evals import scanned as module

    place = run(tmp_path / "run-own", files.train)
    stated = {"path": files.train, "blake3": _core.blake3_file(files.train, 0)}
    stated = {"leak_status": "clean", "files": {"train": [stated]}}
    Path(place, "run.json").write_text(json.dumps(stated))
    scan, against = module.scan_split, []

    def undecided(queries, train, *more, **named):
        against.append(str(train))
        status = scan(queries, train, *more, **named)
        return replace(status, status="undecided") if str(train).endswith(".lvfp") else status

    monkeypatch.setattr(module, "scan_split", undecided)
    found = lvmfast.evaluate(place, files.eval, **FAST)
    assert found.status.status == "clean"
    assert any(files.train in path for path in against)
    stated["files"]["train"][0]["blake3"] = "00"
    Path(place, "run.json").write_text(json.dumps(stated))
    assert lvmfast.evaluate(place, files.eval, **FAST).status.status == "undecided"


def gated(files, source: str, pool: str, **more):
    return lvmfast.evaluate(
        "copy-last",
        files.eval,
        payload=files.payload,
        pools=[pool],
        train=files.train,
        gate_domains=source,
        **FAST,
        **more,
    )


def naive_gated(domain_of_query, domain_of_row, pool: str) -> np.ndarray:
    """Ranks of copy-last, context out, in the query's domain; far behind where the truth is of another."""
    docs = [*TRAIN_DOCS, *EVAL_DOCS] if pool == "corpus" else list(EVAL_DOCS)
    first = LENGTH if pool == "eval" else 0
    ranks = []
    for doc in EVAL_DOCS:
        for place in range(LENGTH, CHUNKS):
            query = document(doc)[place - 1].astype(np.float64)
            domain = domain_of_query(doc, place)
            scores = {}
            for d in docs:
                for c in range(first, CHUNKS):
                    own = d == doc and place - LENGTH <= c < place
                    if not own and domain_of_row(d, c) == domain:
                        row = document(d)[c].astype(np.float64)
                        scores[d, c] = row @ query / np.sqrt((row @ row) * (query @ query))
            goal = scores.get((doc, place))
            ranks.append(10**6 if goal is None else sum(s >= goal - 1e-12 for s in scores.values()))
    return np.array(ranks)


@pytest.mark.parametrize("pool", ["eval", "corpus"])
def test_candidates_of_one_cluster(files, pool):
    found = gated(files, "clusters:3", pool, gates="stretch")
    chunks = np.concatenate([document(doc)[LENGTH:] for doc in TRAIN_DOCS])
    centroids = fit_domains(chunks, 3)

    def cluster(vector):
        return int(np.argmax((vector / np.linalg.norm(vector)) @ centroids.T))

    for by, of_query in {
        "prediction": lambda doc, place: cluster(document(doc)[place - 1]),
        "truth (ORACLE)": lambda doc, place: cluster(document(doc)[place]),
    }.items():
        ranks = naive_gated(of_query, lambda d, c: cluster(document(d)[c]), pool)
        record = found.find(f"copy-last + domain by {by}", pool, "out")
        assert record["R@5"] == pytest.approx(100 * (ranks <= 5).mean()), by
        assert record["Contain@50"] == found.find("copy-last", pool, "out")["Contain@50"]
        assert record["kind"] == ("gated" if by == "prediction" else "oracle")
        row = next(
            r
            for r in found.details["gated"]
            if r["name"] == record["model"] and (r["pool"], r["context"]) == (pool, "out")
        )
        assert row["shut_out"] == np.count_nonzero(ranks == 10**6)
        assert row["Contain@50"]["with"] == pytest.approx(100 * (ranks <= 50).mean())
        assert row["R@5"]["without"] == found.find("copy-last", pool, "out")["R@5"]
        assert (row["P50"]["with"] is not None) == (by == "prediction")
    stretch = {gate["name"]: gate for gate in found.details["gates"]["copy-last"]["stretch"]["gates"]}
    asked = stretch["R@5, gated by domain"]
    assert asked["value"] == found.find("copy-last + domain by prediction", pool, "out")["R@5"]


def test_candidates_of_documents_of_one_domain(files, tmp_path):
    docs = [*TRAIN_DOCS, *EVAL_DOCS]
    names = [f"domain {place % 3}" for place in range(len(docs))]
    table = tmp_path / "domains.parquet"
    pq.write_table(pa.table({"doc_id": docs, "domain": names}), table)
    found = gated(files, str(table), "corpus")
    domain = dict(zip(docs, names, strict=True))
    ranks = naive_gated(lambda doc, place: domain[doc], lambda d, c: domain[d], "corpus")
    record = found.find("copy-last + domain by context", "corpus", "out")
    assert record["R@5"] == pytest.approx(100 * (ranks <= 5).mean())
    assert record["MRR"] == pytest.approx((1 / ranks).mean())
    assert {row["shut_out"] for row in found.details["gated"]} == {0}
    assert not [r for r in found.records if "ORACLE" in r["model"]]

    part = tmp_path / "part.parquet"
    pq.write_table(pa.table({"doc_id": docs[:-1], "domain": names[:-1]}), part)
    with pytest.raises(DataError, match="expected a domain for every document"):
        gated(files, str(part), "corpus")


@pytest.mark.parametrize("source", ["clusters:1", "clusters:many", "clusters:100000", "nowhere.parquet"])
def test_gates_that_cannot_be(files, source):
    with pytest.raises(DataError, match=r"domain|nowhere"):
        gated(files, source, "eval")


def test_clusters_need_training_vectors(files, trained):
    with pytest.raises(DataError, match="--train names the training set"):
        lvmfast.evaluate(trained, files.eval, gate_domains="clusters:3", **FAST)


def domain_table(path: Path, train: str, held_out: str, docs=(*TRAIN_DOCS, *EVAL_DOCS)) -> Path:
    names = [held_out if doc in EVAL_DOCS else train for doc in docs]
    pq.write_table(pa.table({"doc_id": list(docs), "domain": names, "title": [""] * len(names)}), path)
    return path


def test_the_level_is_known_by_documents_and_domains(files, trained, tmp_path):
    from lvmfast.evals.domain_level import Domains
    from lvmfast.evals.options import EvalOptions
    from lvmfast.evals.queries import open_queries
    from lvmfast.evals.split_status import scan_split

    queries = open_queries(files.eval)
    status_of = partial(scan_split, options=EvalOptions())
    for train in (files.train, str(Path(trained) / "train.lvfp")):
        assert status_of(queries, train).level == "cross-document"
        other = domain_table(tmp_path / "other.parquet", "physics", "music")
        assert status_of(queries, train, domains=Domains(other)).level == "cross-domain"
        same = domain_table(tmp_path / "same.parquet", "music", "music")
        assert status_of(queries, train, domains=Domains(same)).level == "cross-document"
        part = domain_table(tmp_path / "part.parquet", "physics", "music", docs=EVAL_DOCS)
        status = status_of(queries, train, domains=Domains(part))
        assert status.level == "cross-document"
        assert "132 training rows have none" in status.sentence
        assert status_of(open_queries(files.leaky), train).level == "within-document"
    twice = tmp_path / "twice.parquet"
    pq.write_table(pa.table({"doc_id": [1, 1], "domain": ["a", "b"]}), twice)
    with pytest.raises(DataError, match="give one document two domains"):
        Domains(twice)
    pq.write_table(pa.table({"doc_id": [1]}), twice)
    with pytest.raises(DataError, match=r"twice\.parquet: expected"):
        Domains(twice)
    found = lvmfast.evaluate(
        "copy-last", files.eval, train=files.train, domains=tmp_path / "other.parquet", **FAST
    )
    assert {record["level"] for record in found.records} == {"cross-domain"}


def test_density_reorders_what_was_retrieved(files):
    found = lvmfast.evaluate("copy-last", files.eval, train=files.train, density=0.5, **FAST)
    plain = found.find("copy-last")
    ordered = found.find("copy-last + density 0.5")
    assert ordered["Contain@50"] == plain["Contain@50"]
    none = lvmfast.evaluate("copy-last", files.eval, train=files.train, density=0.0, **FAST)
    for name in ("R@1", "R@5", "MRR", "nDCG@10"):
        assert none.find("copy-last + density 0")[name] == plain[name]
    # the same by hand: mean similarity to the 10 nearest others, of 50 candidates each
    pool = copies(EVAL_DOCS)["targets"].astype(np.float64)
    similar = pool @ pool.T
    np.fill_diagonal(similar, -np.inf)
    densities = np.sort(similar, axis=1)[:, -10:].mean(axis=1)
    per = CHUNKS - LENGTH
    hits = 0
    for query, window in enumerate(copies(EVAL_DOCS)["contexts"]):
        cosines = pool @ window[-1].astype(np.float64)
        place = query % per
        own = [query - back for back in range(1, LENGTH + 1) if place - back >= 0]
        cosines[own] = -np.inf
        first = np.argsort(-cosines, kind="stable")[:50]
        order = first[np.argsort(-(cosines[first] - 0.5 * densities[first]), kind="stable")]
        hits += query in order[:5]
    assert ordered["count"]["R@5"] == hits
    assert {d["model"] for d in found.details["differences"]} >= {"copy-last + density 0.5"}
    with pytest.raises(DataError, match="density: expected a weight"):
        lvmfast.evaluate("copy-last", files.eval, density=-1.0, **FAST)


def test_a_reranker_stands_in_the_table(files, tmp_path):
    from lvmfast.evals.fit import fit_on
    from lvmfast.evals.rerank import save_reranker

    train = save(tmp_path / "train.npz", matrix(TRAIN_DOCS))
    path = tmp_path / "reranker.safetensors"
    reranker = fit_on(train).reranker
    save_reranker(path, reranker)
    found = lvmfast.evaluate("copy-last", files.eval, train=train, rerank=str(path), density=0.5, **FAST)
    plain, ordered = found.find("copy-last"), found.find("copy-last + rerank")
    assert (ordered["kind"], ordered["split_status"]) == ("reranked", "clean")
    assert ordered["Contain@50"] == plain["Contain@50"]
    assert {"copy-last", "copy-last + density 0.5", "copy-last + rerank"} <= set(found.details["latency"])
    # the same by hand: features from their definition, the network as a plain forward pass
    arrays = copies(EVAL_DOCS)
    pool, windows = arrays["targets"].astype(np.float64), arrays["contexts"].astype(np.float64)
    similar = pool @ pool.T
    np.fill_diagonal(similar, -np.inf)
    densities = np.sort(similar, axis=1)[:, -10:].mean(axis=1)
    per, hits = CHUNKS - LENGTH, 0
    for query, window in enumerate(windows):
        cosines = pool @ window[-1]
        cosines[[query - back for back in range(1, LENGTH + 1) if query % per >= back]] = -np.inf
        first = np.argsort(-cosines, kind="stable")[:50]
        lags = pool[first] @ window.T
        behind = cosines[first] - cosines[first[0]]
        gain = 1 / np.log2(np.arange(2, 52))
        beside = [cosines[first], densities[first], lags.max(axis=1), lags.mean(axis=1), behind, gain]
        features = (np.column_stack([lags, *beside]) - reranker.mean) / reranker.scale
        active = np.tanh(features @ reranker.hidden[:-1] + reranker.hidden[-1])
        hits += query in first[np.argsort(-(active @ reranker.output[:-1]), kind="stable")][:5]
    assert ordered["count"]["R@5"] == hits

    elsewhere = lvmfast.evaluate("copy-last", files.eval, train=files.train, rerank=str(path), **FAST)
    assert elsewhere.find("copy-last + rerank")["split_status"] == "unscanned"
    assert elsewhere.find("copy-last")["split_status"] == "clean"
    assert any("the reranker was fitted to" in note for note in elsewhere.details["notes"])


def test_a_reranker_of_a_run_needs_no_train(files, tmp_path):
    """The files of the run are those that it was fitted to, with what the run held out of them."""
    from lvmfast.evals.fit import fit_on
    from lvmfast.evals.rerank import save_reranker

    train = save(tmp_path / "train.npz", matrix(TRAIN_DOCS))
    seen = save(tmp_path / "seen.npz", matrix(list(TRAIN_DOCS)[2:]))
    folder = run(tmp_path / "run", seen)  # whose fingerprint lacks two documents
    stated = {"files": {"train": [{"path": train, "blake3": _core.blake3_file(train, 0)}]}}
    (Path(folder) / "run.json").write_text(json.dumps(stated))
    path = tmp_path / "reranker.safetensors"
    save_reranker(path, fit_on(None, model=folder).reranker)
    found = lvmfast.evaluate(folder, files.eval, rerank=str(path), **FAST)
    assert found.find("run + rerank")["split_status"] == "clean"
    held_out = save(tmp_path / "held-out.npz", copies([*list(TRAIN_DOCS)[:2], *EVAL_DOCS]))
    assert lvmfast.evaluate(folder, held_out, **FAST).find("run")["split_status"] == "clean"
    with pytest.raises(LeakError, match=r"seen in training at doc .*against .*train\.npz"):
        lvmfast.evaluate(folder, held_out, rerank=str(path), **FAST)
    save(tmp_path / "train.npz", matrix(list(TRAIN_DOCS)[1:]))
    found = lvmfast.evaluate(folder, files.eval, rerank=str(path), **FAST)
    assert found.find("run + rerank")["split_status"] == "unscanned", "other chunks than it was fitted to"


def test_training_chunks_without_windows_are_scanned(files):
    found = lvmfast.evaluate("copy-last", files.eval, train=files.payload, allow_leaked=True, **FAST)
    assert found.status.status == "LEAKED", "the payload has the chunks of both sides"
    assert any("--train has no windows to fit them to" in note for note in found.details["notes"])
    with pytest.raises(
        DataError, match="lag-mix needs a weight for each of the 3 vectors of a window, and --tr"
    ):
        lvmfast.evaluate("lag-mix", files.eval, train=files.payload, allow_leaked=True, **FAST)


def test_a_reranker_is_fitted_to_windows_with_a_payload(files, tmp_path):
    """The customary layout and the chunks of its documents give what the chunk matrix gives."""
    from lvmfast.evals.fit import fit_on
    from lvmfast.evals.rerank import load_reranker

    chunks = files.payload  # with the documents of the evaluation set, which are not looked at
    out = tmp_path / "reranker.safetensors"
    arguments = ["rerank", "fit", files.train, "--payload", chunks, "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    fitted, whole = load_reranker(out), fit_on(save(tmp_path / "train.npz", matrix(TRAIN_DOCS))).reranker
    for name in ("mean", "scale", "hidden", "output"):
        np.testing.assert_allclose(getattr(fitted, name), getattr(whole, name), atol=1e-9)
    found = lvmfast.evaluate("copy-last", files.eval, train=files.train, rerank=str(out), **FAST)
    assert found.find("copy-last + rerank")["split_status"] == "clean", "fitted to what was scanned"
    against = {d["against"] for d in found.details["differences"] if d["model"] == "copy-last + rerank"}
    assert against >= {"copy-last", "lag-mix-density"}
    targets = fit_on(files.train)  # without a payload: retrieved from the targets
    assert targets.queries == len(TRAIN_DOCS) * (CHUNKS - LENGTH)
    with pytest.raises(DataError, match="keys are in"):
        fit_on(files.train, payload=save(tmp_path / "few.npz", payload(list(TRAIN_DOCS)[:9])))


def test_a_reranker_that_does_not_fit_is_refused(files, tmp_path):
    from dataclasses import replace

    from lvmfast.evals.fit import fit_on
    from lvmfast.evals.rerank import save_reranker

    fitted = fit_on(save(tmp_path / "train.npz", matrix(TRAIN_DOCS))).reranker
    path = tmp_path / "reranker.safetensors"
    for change, message in (
        ({"depth": 20}, "lists of 50, got"),
        ({"stated": {**fitted.stated, "dim": 8}}, "windows of 3 vectors of 16 values"),
        ({"stated": {**fitted.stated, "leak_status": "LEAKED"}}, "fitted to a quarantined file"),
        ({"stated": {**fitted.stated, "provenance": {"embedder_id": "other"}}}, "wander-16"),
    ):
        save_reranker(path, replace(fitted, **change))
        with pytest.raises(DataError, match=message):
            lvmfast.evaluate("copy-last", files.eval, rerank=str(path), **FAST)
    result = cli("--checkpoint", "copy-last", "--eval-npz", files.eval, "--rerank", tmp_path / "none")
    assert result.exit_code == 2
