"""What is given beside an evaluation set is looked at, whether a score needs it or not."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import lvmfast
from lvmfast.cli import app
from lvmfast.errors import DataError, LeakError
from lvmfast.evals.hits import load_hits, load_truth, score_hits
from tests.support.eval_world import (
    CHUNKS,
    EVAL_DOCS,
    LENGTH,
    TRAIN_DOCS,
    copies,
    matrix,
    payload,
    run,
    save,
    world,
)

pytestmark = pytest.mark.heavy

ALL = [*TRAIN_DOCS, *EVAL_DOCS]
FAST = {"resamples": 50}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"))


def evaluated(*arguments):
    printed = CliRunner().invoke(app, ["eval", "--checkpoint", "copy-last", "--quiet", *map(str, arguments)])
    return printed.exit_code, printed.output


def text_of(doc, chunk):
    return f"Document {doc} says in its part {chunk} what no other part of it says."


def texts(path, docs=ALL, chunks=range(CHUNKS)):
    rows = [(doc, chunk, text_of(doc, chunk)) for doc in docs for chunk in chunks]
    names = ("doc_id", "chunk_id", "text")
    pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), path)
    return str(path)


@pytest.mark.parametrize("pool", ["eval", "corpus", "same-doc"])
@pytest.mark.parametrize("layout", [copies, matrix])
@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_keys_that_are_off_are_found_in_every_pool(files, tmp_path, pool, layout, shift):
    arrays = layout(EVAL_DOCS)
    arrays["truth_keys" if layout is copies else "chunk_keys"][:, 1] += shift
    path, out = save(tmp_path / "eval.npz", arrays), tmp_path / "out"
    code, said = evaluated("--eval-npz", path, "--payload", files.payload, "--pool", pool, "--out", out)
    assert (code, "off by" in said, out.exists()) == ((2, True, False) if shift else (0, False, True)), said


def test_vectors_of_others_under_the_same_keys(files, tmp_path):
    """Keys that are all there, and name other rows: a shift finds no more of them."""
    whole = payload(ALL)
    rows = np.flatnonzero(np.isin(whole["truth_keys"][:, 0], EVAL_DOCS))
    swapped = whole["embeddings"].copy()
    swapped[rows[5]], swapped[rows[40]] = swapped[rows[40]], swapped[rows[5]].copy()
    path = save(tmp_path / "swapped.npz", whole | {"embeddings": swapped})
    code, said = evaluated("--eval-npz", files.eval, "--payload", path)
    assert (code, "oracle audit failed" in said) == (2, True), said
    path = save(tmp_path / "part.npz", payload(ALL[:-1]))
    code, said = evaluated("--eval-npz", files.eval, "--payload", path)
    assert (code, "87.5% of the keys" in said) == (2, True), said


def test_a_payload_of_another_encoder(files, tmp_path):
    path = save(tmp_path / "other.npz", payload(ALL), json.dumps({"embedder_id": "another"}))
    code, said = evaluated("--eval-npz", files.eval, "--payload", path)
    assert (code, "two encoders" in said) == (2, True), said
    silent = save(tmp_path / "eval.npz", copies(EVAL_DOCS), "{}")  # the set itself says nothing
    with pytest.raises(DataError, match="two encoders"):
        lvmfast.evaluate(run(tmp_path / "run", files.train), silent, payload=path, **FAST)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_payload_of_texts_alone(files, tmp_path, shift):
    """Places 3 to 13 of each document: moved by one, the payload of whole documents lacks the last one."""
    arrays = copies(EVAL_DOCS)
    arrays["truth_keys"][:, 1] += shift
    path = save(tmp_path / "eval.npz", arrays)
    own = texts(tmp_path / "texts.parquet", chunks=range(LENGTH, CHUNKS))
    code, said = evaluated("--eval-npz", path, "--payload", own)
    assert (code, f"off by {-shift:+d}" in said) == ((2, True) if shift else (0, False)), said


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_texts_of_the_set_and_of_the_payload(tmp_path, shift):
    arrays = copies(EVAL_DOCS)
    keys = arrays["truth_keys"] + [0, shift]
    whole = texts(tmp_path / "texts.parquet", chunks=range(-2, CHUNKS + 2))  # no key is missing, moved or not
    given = {
        "doc_id": keys[:, 0],
        "chunk_id": keys[:, 1],
        "vector": arrays["targets"],
        "context": arrays["contexts"],
        "text": [text_of(doc, chunk) for doc, chunk in arrays["truth_keys"].tolist()],
    }
    if shift:
        with pytest.raises(DataError, match=rf"audit failed: of 88 texts .* off by \{-shift:+d}"):
            lvmfast.evaluate("copy-last", given, payload=whole, **FAST)
    else:
        given["text"][3] = "Nothing of the kind."
        found = lvmfast.evaluate("copy-last", given, payload=whole, **FAST)
        assert any("87 of 88 texts of the set" in note for note in found.details["notes"])


def test_a_training_set_beside_a_run_is_scanned_too(files, tmp_path):
    trained = run(tmp_path / "run", files.train)
    leaky = save(tmp_path / "more.npz", copies([*TRAIN_DOCS, EVAL_DOCS[0]]))
    with pytest.raises(LeakError, match=r"seen in training at doc .*more\.npz"):
        lvmfast.evaluate(trained, files.eval, train=leaky, **FAST)
    found = lvmfast.evaluate(trained, files.eval, train=leaky, allow_leaked=True, **FAST)
    assert found.find("run")["split_status"] == "clean"
    assert found.find("lag-mix")["split_status"] == "LEAKED"
    assert found.details["stamp"] == "LEAKED"
    lvmfast.fingerprint(leaky, tmp_path / "more.lvfp")
    with pytest.raises(LeakError, match=r"more\.lvfp"):
        lvmfast.evaluate(trained, files.eval, train=tmp_path / "more.lvfp", **FAST)


def test_what_would_be_passed_over_is_refused(files):
    with pytest.raises(DataError, match="density: the pool same-doc"):
        lvmfast.evaluate("copy-last", files.eval, pools=["same-doc"], density=0.5, **FAST)


def test_hits_are_held_to_the_vectors_and_to_their_own_truths(files, tmp_path):
    moved = payload(ALL)
    moved["truth_keys"][:, 1] += 1
    with pytest.raises(DataError, match="off by"):
        load_truth(files.eval, save(tmp_path / "moved.npz", moved))
    truth = load_truth(files.eval, files.payload)
    rows = truth.row.tolist()
    path = tmp_path / "hits.jsonl"

    def scored(stated):
        records = [
            {"query_idx": i, "hit_indices": [row], "truth_idx": told}
            for i, (row, told) in enumerate(zip(rows, stated, strict=True))
        ]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return score_hits(load_hits(path), truth)

    assert scored(rows).metrics["R@1"] == 100
    with pytest.raises(DataError, match=rf"line 5: truth_idx: expected {rows[4]}, .* got {rows[4] + 1}"):
        scored([*rows[:4], rows[4] + 1, *rows[5:]])
