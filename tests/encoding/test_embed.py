"""`embed`: rows, ids and provenance of what it writes, and what is left when it is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lvmfast
from lvmfast.encoding import parts
from lvmfast.encoding.parts import EmbedHere, embed_texts
from lvmfast.errors import DataError
from tests.support.command import refused, run
from tests.support.letter_encoder import LetterEncoder

pytestmark = pytest.mark.heavy

WORDS = "river stone cloud lamp copper garden violin winter letter harbour meadow engine".split()


def sentences(rows, seed=0):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, 9)) + f" {i}" for i in range(rows)]


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def expected(texts):
    return np.stack([LetterEncoder()._of(text) if text else np.zeros(64, np.float32) for text in texts])


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "PART_ROWS", 16)


def test_every_row_has_the_vector_of_its_text_and_its_ids(tmp_path):
    texts = sentences(50)
    rows = [{"doc_id": i // 3, "chunk_id": f"c{i}", "text": text} for i, text in enumerate(texts)]
    jsonl(tmp_path / "a.jsonl", rows[:21])
    pq.write_table(pa.Table.from_pylist(rows[21:]), tmp_path / "b.parquet")
    out = tmp_path / "vectors.npz"
    done = lvmfast.embed([tmp_path / "a.jsonl", tmp_path / "b.parquet"], out, encoder=LetterEncoder())
    assert (done.rows, done.dim, done.resumed, done.empty, done.device) == (50, 64, 0, 0, "cpu")
    with np.load(out) as file:
        np.testing.assert_array_equal(file["embeddings"], expected(texts))
        assert file["doc_id"].tolist() == [i // 3 for i in range(50)]
        assert file["chunk_id"].tolist() == [f"c{i}" for i in range(50)]
    stated = lvmfast.load_split(out).files[0].provenance
    assert stated["weights"] == "crc:letters"
    assert stated["dim"] == 64
    import blake3

    assert [source["blake3"] for source in stated["sources"]] == [
        blake3.blake3((tmp_path / name).read_bytes()).hexdigest() for name in ("a.jsonl", "b.parquet")
    ]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_scan_reads_what_was_written(tmp_path):
    train = sentences(40)
    eval = [*sentences(10, seed=1), train[7], train[11] + " once"]
    for name, texts in (("train", train), ("eval", eval)):
        source = jsonl(tmp_path / f"{name}.jsonl", [{"text": text} for text in texts])
        lvmfast.embed(source, tmp_path / f"{name}.npz", encoder=LetterEncoder())
    report = lvmfast.leakscan(
        tmp_path / "train.npz", tmp_path / "eval.npz", levels=["vector"], threshold=0.9, max_pairs=100
    )
    cosines = expected(train).astype(np.float64) @ expected(eval).astype(np.float64).T
    pairs = {(int(a), int(b)) for a, b in np.argwhere(cosines >= 0.9)}
    found = report.matches.select(["train_row", "eval_row"]).to_pylist()
    assert {(row["train_row"], row["eval_row"]) for row in found} == pairs
    assert {(7, 10), (11, 11)} <= pairs


def test_rows_without_a_text_are_unchecked_in_a_scan(tmp_path):
    texts = ["", *sentences(20), None, " \n\t"]
    source = pa.table({"text": pa.array(texts, pa.large_string()), "doc_id": list(range(23))})
    encoder = LetterEncoder()
    done = lvmfast.embed(source, tmp_path / "v.npz", encoder=encoder)
    assert (done.rows, done.empty) == (23, 3)
    assert encoder.asked == sentences(20)
    report = lvmfast.leakscan(tmp_path / "v.npz", {"vector": expected(sentences(2))}, levels=["vector"])
    (reasons,) = report.findings.levels["vector"].sides["train"].unchecked.values()
    assert reasons == 3
    with pytest.raises(DataError, match="no row has a text to embed"):
        lvmfast.embed(pa.table({"text": ["", " "]}), tmp_path / "none.npz", encoder=LetterEncoder())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.npz"]


def test_ids_that_lack_in_some_rows_are_left_out_with_a_word(tmp_path):
    source = pa.table({"text": sentences(3), "doc_id": pa.array([1, None, 2]), "chunk_id": [1, 2, 3]})
    done = lvmfast.embed(source, tmp_path / "v.npz", encoder=LetterEncoder())
    assert done.notes == ["doc_id: left out, as 1 rows have none and npz has no nulls"]
    assert lvmfast.load_split(tmp_path / "v.npz").columns == {"chunk_id", "vector"}


def test_the_text_is_that_of_the_shape_and_of_the_options(tmp_path):
    chat = [
        {"messages": [{"role": "user", "content": f"ask {i}"}, {"role": "assistant", "content": f"say {i}"}]}
        for i in range(4)
    ]
    source = jsonl(tmp_path / "chat.jsonl", chat)
    told = []
    whole, asked = LetterEncoder(), LetterEncoder()
    lvmfast.embed(source, tmp_path / "a.npz", encoder=whole, announce=told.append)
    lvmfast.embed(source, tmp_path / "b.npz", encoder=asked, items=True)
    assert told == ["the text of a row is messages[*].content"]
    assert [text.split() for text in whole.asked] == [["ask", f"{i}", "say", f"{i}"] for i in range(4)]
    assert asked.asked == [f"ask {i}" for i in range(4)]
    columns = {"text": "messages[role=assistant].content"}
    own = LetterEncoder()
    lvmfast.embed(source, tmp_path / "c.npz", encoder=own, columns=columns)
    assert own.asked == [f"say {i}" for i in range(4)]
    with pytest.raises(DataError, match=r"no field is known to be the text; say which it is: --column text="):
        lvmfast.embed(pa.table({"doc_id": [1]}), tmp_path / "d.npz", encoder=own)


def test_texts_come_from_a_payload(tmp_path):
    texts = sentences(6)
    keys = {"doc_id": np.arange(6), "chunk_id": np.zeros(6, int)}
    payload = pa.table({**keys, "text": texts})
    lvmfast.embed({k: v[::-1].copy() for k, v in keys.items()}, tmp_path / "v.npz", encoder=LetterEncoder(),
                  payload=payload)  # fmt: skip
    with np.load(tmp_path / "v.npz") as file:
        np.testing.assert_array_equal(file["embeddings"], expected(texts[::-1]))
        assert file["doc_id"].tolist() == [5, 4, 3, 2, 1, 0]


def test_long_texts_are_counted(tmp_path):
    texts = ["one two", "word " * 38, "word " * 39, "a" * 1000]
    done = lvmfast.embed(pa.table({"text": texts}), tmp_path / "v.npz", encoder=LetterEncoder())
    assert (done.truncated, done.window) == (1, 40)


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    import lvmfast
    from lvmfast.encoding import parts
    from tests.support.letter_encoder import LetterEncoder

    source, out, step, moment = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    parts.PART_ROWS = 16
    replace, count = os.replace, 0

    def counting(*paths):
        global count
        count += 1
        if count == step and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)
        if count == step and moment == "behind":
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = counting
    print(lvmfast.embed(source, out, encoder=LetterEncoder()).resumed, count)
    """
)


def killed(source, out, step, moment="before"):
    command = [sys.executable, "-c", KILLED, str(source), str(out), str(step), moment]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_killed_at_any_write_the_same_call_goes_on(tmp_path):
    rows = [{"doc_id": f"d{i}", "text": text} for i, text in enumerate(sentences(70))]
    source = jsonl(tmp_path / "source.jsonl", rows)
    whole = killed(source, tmp_path / "whole.npz", 0)
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.split() == ["0", "6"]
    for step in range(1, 7):
        moment = "behind" if step % 2 else "before"
        place = tmp_path / f"{step}.npz"
        assert killed(source, place, step, moment).returncode == -signal.SIGKILL
        assert not place.exists()
        encoder = LetterEncoder()
        done = lvmfast.embed(source, place, encoder=encoder)
        assert done.resumed == min(70, 16 * (step if step % 2 else step - 1))
        assert len(encoder.asked) == 70 - done.resumed
        assert place.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_what_is_kept_is_of_the_same_texts_and_encoder(tmp_path):
    """A killed run leaves vectors; other texts and other encoders take none of them."""
    texts = sentences(48)
    source = jsonl(tmp_path / "s.jsonl", [{"text": text} for text in texts])
    out = tmp_path / "v.npz"
    assert killed(source, out, 3).returncode == -signal.SIGKILL
    other = LetterEncoder("other")
    lvmfast.embed(source, out, encoder=other)
    assert len(other.asked) == 48
    out.unlink()
    assert killed(source, out, 3).returncode == -signal.SIGKILL
    changed = jsonl(tmp_path / "s.jsonl", [{"text": text} for text in ["another", *texts[1:]]])
    again = LetterEncoder()
    assert lvmfast.embed(changed, out, encoder=again).resumed == 16
    assert again.asked == ["another", *texts[1:16], *texts[32:]]
    with np.load(out) as file:
        np.testing.assert_array_equal(file["embeddings"], expected(["another", *texts[1:]]))


class Backwards(EmbedHere):
    """As a cluster may, the last run first."""

    device = "elsewhere"

    def __call__(self, encoder, runs):
        for number, texts in list(runs)[::-1]:
            yield number, encoder.encode(texts)


@given(
    st.lists(st.one_of(st.none(), st.text("ab \n", max_size=6)), min_size=1, max_size=40), st.integers(1, 17)
)
def test_runs_are_a_matter_of_the_texts_alone(tmp_path_factory, texts, step):
    """However a reader cuts its batches, and whoever embeds in what order."""
    folder = tmp_path_factory.mktemp("parts")
    table = pa.table({"text": pa.array(texts, pa.large_string())})
    chunked = pa.Table.from_batches(table.to_batches(max_chunksize=step))
    first, second = LetterEncoder(), LetterEncoder()
    one = embed_texts(lvmfast.load_split(chunked), first, folder, embed=Backwards())
    two = embed_texts(lvmfast.load_split(table), second, folder)
    assert (two.resumed, second.asked) == (len(texts), [])
    wanted = expected([text if text and text.strip() else "" for text in texts])
    np.testing.assert_array_equal(np.concatenate(list(one.vectors())), wanted)
    np.testing.assert_array_equal(np.concatenate(list(two.vectors())), wanted)


def test_damaged_parts_are_made_again(tmp_path):
    split = lvmfast.load_split(pa.table({"text": sentences(40)}))
    made = embed_texts(split, LetterEncoder(), tmp_path)
    kept = [part.path for part in made.files[0]]
    kept[0].write_bytes(b"no zip")
    kept[1].unlink()
    with pytest.raises(DataError, match="no longer the vectors that were kept here"):
        list(made.vectors())
    again = LetterEncoder()
    assert embed_texts(split, again, tmp_path).resumed == 8
    assert again.asked == sentences(40)[:32]


def test_the_command_refuses_by_name(tmp_path):
    source = str(jsonl(tmp_path / "s.jsonl", [{"text": "x"}]))
    refused(run("embed", source, "--encoder", "./none", "--out", str(tmp_path / "v.npz")), "./none: no such")
    refused(
        run("embed", source, "--encoder", "x", "--out", str(tmp_path / "v.parquet")),
        "v.parquet: vectors are written to a .npz file",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["s.jsonl"]


def test_a_real_encoder_writes_what_sentence_transformers_makes(tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from tests.support.tiny_encoder import make_tiny_encoder

    model = make_tiny_encoder(tmp_path / "tiny")
    texts = sentences(40)
    source = jsonl(tmp_path / "s.jsonl", [{"text": text, "doc_id": i} for i, text in enumerate(texts)])
    done = run("embed", str(source), "--encoder", str(model), "--out", str(tmp_path / "v.npz"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{tmp_path}/v.npz: 40 vectors of 32 values, made on cpu"]
    alone = sentence_transformers.SentenceTransformer(str(model), device="cpu")
    with np.load(tmp_path / "v.npz") as file:
        theirs = alone.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        np.testing.assert_allclose(file["embeddings"], theirs, atol=2e-6)
        assert json.loads(str(file["provenance"]))["embedder_id"] == "encoder"
