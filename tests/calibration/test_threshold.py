"""`threshold` on sets whose duplicates are planted, and `leakscan --near`."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest

import lvmfast
from lvmfast.calibration import threshold as threshold_module
from lvmfast.calibration.shown import as_json, lines, picture
from lvmfast.encoding import measured
from lvmfast.errors import DataError
from tests.support.command import refused, run
from tests.support.letter_encoder import LetterEncoder

WORDS = [f"{a}{b}{c}" for a in "bdfgkl" for b in "aeiou" for c in "mnrst"]


def sentences(rows, seed):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, 12)) + "." for _ in range(rows)]


TRAIN = sentences(600, seed=0)
UNSEEN = sentences(200, seed=1)
COPIES = TRAIN[:10]
PREFIXED = [f"Question: {text}" for text in TRAIN[100:110]]
EVAL = [*UNSEEN, *COPIES, *PREFIXED]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch, tmp_path):
    monkeypatch.setattr(threshold_module, "Encoder", LetterEncoder)
    monkeypatch.setenv("LVMFAST_VECTORS", str(tmp_path / "cache"))


@pytest.fixture
def tables():
    return pa.table({"text": TRAIN}), pa.table({"question": EVAL})


def test_it_tells_what_is_planted_from_the_rest(tables):
    found = lvmfast.threshold(*tables, encoder="letters")
    assert (found.train_rows, found.eval_rows, found.encoder) == (600, 220, "letters")
    letters = LetterEncoder()
    cosines = letters.encode(EVAL).astype(np.float64) @ letters.encode(TRAIN).astype(np.float64).T
    nearest = cosines.max(axis=1)
    np.testing.assert_allclose(found.unrelated, np.sort(nearest[:200]), atol=1e-6)
    np.testing.assert_allclose(found.duplicates["equal text"], np.ones(10), atol=1e-6)
    assert found.levels == ["text", "overlap"]
    paraphrase = found.suggestions["paraphrase"]
    assert (nearest[200:] >= paraphrase.threshold).all()
    assert paraphrase.above == int((nearest[:200] >= paraphrase.threshold).sum()) <= 1
    assert paraphrase.threshold <= found.suggestions["same"].threshold
    best = int(np.argmax(nearest[:200]))
    cosine, train, eval = found.closest[0]
    assert cosine == pytest.approx(nearest[best], abs=1e-6)
    assert (train, eval) == (TRAIN[int(np.argmax(cosines[best]))], EVAL[best])
    assert set(found.duplicates) == {"equal text", "case", "white space", "punctuation", "prefix", "word"}


def test_vectors_without_texts_or_encoder_say_less(tables):
    letters = LetterEncoder()
    sides = ({"vector": letters.encode(TRAIN)}, {"vector": letters.encode(EVAL)})
    found = lvmfast.threshold(*sides)
    assert (found.levels, dict(found.duplicates), found.encoder) == ([], {}, None)
    assert len(found.unrelated) == 220
    said = list(lines(found))
    assert any("No duplicates are known" in line for line in said)
    assert found.closest[0][1:] == (None, None)
    with pytest.raises(DataError, match=r"train: no vector; --encoder MODEL makes them of texts"):
        lvmfast.threshold(*tables)


def test_what_is_said_is_what_was_found(tables):
    found = lvmfast.threshold(*tables, encoder="letters")
    plain = json.loads(json.dumps(as_json(found)))
    assert plain["unrelated"]["rows"] == 200
    assert sum(plain["unrelated"]["histogram"]["counts"]) == 200
    for near, one in found.suggestions.items():
        said = plain["suggestions"][near]
        assert said["threshold"] == one.threshold
        low, high = said["false_positives_per_million"]["interval_95"]
        assert low <= said["false_positives_per_million"]["counted"] <= high
        assert any(line.startswith(f"--threshold {one.threshold:g} for {near}") for line in lines(found))
    drawn = picture(found)
    root = ET.fromstring(drawn)
    assert root.tag.endswith("svg")
    texts = "".join(root.itertext())
    for name in ("unrelated (200)", "prefix (200)", "equal text (10)"):
        assert name in texts


def test_the_command_prints_and_draws(tables, tmp_path):
    letters = LetterEncoder()
    for name, texts in (("train", TRAIN), ("eval", EVAL)):
        np.savez(tmp_path / f"{name}.npz", vector=letters.encode(texts), text=np.array(texts))
    files = ["--train", str(tmp_path / "train.npz"), "--eval", str(tmp_path / "eval.npz")]
    done = run("threshold", *files, "--out", str(tmp_path / "t.svg"))
    assert done.returncode == 0, done.stderr
    assert "200 unrelated evaluation rows that match at no level of text, overlap, of 220" in done.stdout
    assert (tmp_path / "t.svg").read_text().startswith("<svg")
    printed = json.loads(run("threshold", *files, "--json").stdout)
    assert printed["levels"] == ["text", "overlap"]
    refused(run("threshold", *files, "--out", str(tmp_path / "t.jpg")), "t.jpg", ".svg")


def test_near_is_the_measured_threshold_of_the_encoder(tmp_path, monkeypatch):
    table = {"crc": {"weights": "crc:letters", "same": 0.97, "paraphrase": 0.8}}
    monkeypatch.setattr(measured, "read_toml", lambda path: table)
    letters, told = LetterEncoder(), []
    sides = [
        {"vector": letters.encode(texts), "provenance": json.dumps(letters.provenance)}
        for texts in (TRAIN, EVAL)
    ]
    for near, expected in (("same", 0.97), ("paraphrase", 0.8)):
        report = lvmfast.leakscan(*sides, near=near, announce=told.append)
        assert report.options.threshold == expected
        assert report.matches.equals(lvmfast.leakscan(*sides, threshold=expected).matches)
        assert f"threshold {expected}: measured for {near} with crc" in told
    with pytest.raises(DataError, match=r"near: same chooses the threshold; leave out the threshold 0\.9"):
        lvmfast.leakscan(*sides, near="same", threshold=0.9)
    with pytest.raises(DataError, match="near: expected same or paraphrase, got 'alike'"):
        lvmfast.leakscan(*sides, near="alike")
    for side in sides:
        side["provenance"] = json.dumps({"embedder_id": "mine", "weights": "other"})
    with pytest.raises(DataError, match=r"no threshold was measured for mine.*`lvmfast threshold"):
        lvmfast.leakscan(*sides, near="same")
    with pytest.raises(DataError, match=r"no file says which encoder made its vectors; `lvmfast threshold"):
        lvmfast.leakscan({"vector": sides[0]["vector"]}, {"vector": sides[1]["vector"]}, near="same")
