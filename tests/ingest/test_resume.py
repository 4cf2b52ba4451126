"""A run that is killed at any write, and resumed, ends in the same bytes as one that was left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mwparserfromhell")
pytest.importorskip("sentencex")

from lvmfast import load_split, verify
from lvmfast.encoding import parts
from lvmfast.errors import DataError
from lvmfast.ingest import embeddings, pipeline
from lvmfast.ingest.chunks import ChunkOptions
from lvmfast.ingest.proof import Training
from lvmfast.ingest.selection import Selection

MADE = ("articles.parquet", "chunks.parquet", "sequences.npz")

# Stands in for the encoder, which is slow to load and has no part in what is tested here.
STAND_IN = textwrap.dedent(
    """
    import hashlib
    import numpy as np

    class StandIn:
        dim, device, window, special_tokens = 8, "cpu", 40, 2

        def __init__(self, name, **options):
            self.name = name
            self.provenance = {"embedder_id": name, "dim": 8}

        def tokens(self, texts):
            return [len(text.split()) for text in texts]

        def encode(self, texts):
            seeds = [int(hashlib.md5(text.encode()).hexdigest()[:8], 16) for text in texts]
            return np.stack([np.random.default_rng(s).standard_normal(8, np.float32) for s in seeds])
    """
)

# Every file comes to be by os.replace: the process is killed before or behind the n-th of them.
KILLED = STAND_IN + textwrap.dedent(
    """
        import os, signal, sys
        from lvmfast.encoding import parts
        from lvmfast.ingest import pipeline
        from lvmfast.ingest.proof import Training

        source, out, step, moment = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
        parts.PART_ROWS = 16
        pipeline.Encoder = StandIn
        replace, count = os.replace, 0

        def die():
            os.kill(os.getpid(), signal.SIGKILL)

        def counting(*paths):
            global count
            count += 1
            if count == step and moment == "before":
                die()
            replace(*paths)
            if count == step and moment == "behind":
                die()

        os.replace = counting
        train = next((word[6:] for word in sys.argv if word.startswith("train=")), None)
        against = train and Training((f"{train}/sequences.npz",), f"{train}/chunks.parquet")
        pipeline.ingest(source, out, encoder="stand-in", against=against, resume="resume" in sys.argv)
        print(count)
        """
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "articles.jsonl"
    words = np.random.default_rng(3)
    with path.open("w") as file:
        for i in range(12):
            sentences = (f"Word{words.integers(99)} " * 12 + "ends." for _ in range(60))
            file.write(json.dumps({"id": i, "title": f"T{i}", "text": " ".join(sentences)}) + "\n")
    return str(path)


def run(source, out, step, moment, *more):
    command = [sys.executable, "-c", KILLED, source, str(out), str(step), moment, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def made(out):
    return {name: (out / name).read_bytes() for name in MADE}


@pytest.fixture
def stand_in(monkeypatch):
    names: dict = {}
    exec(STAND_IN, names)
    monkeypatch.setattr(pipeline, "Encoder", names["StandIn"])
    monkeypatch.setattr(parts, "PART_ROWS", 16)


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_killed_at_every_write_and_resumed(source, tmp_path):
    whole = tmp_path / "whole"
    unbroken = run(source, whole, 0, "never")
    assert unbroken.returncode == 0, unbroken.stderr
    writes = int(unbroken.stdout)
    assert writes >= 12
    expected = made(whole)
    for step in range(1, writes + 1):
        moment = "before" if step % 2 else "behind"
        out = tmp_path / f"killed-{step}"
        killed = run(source, out, step, moment)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        pipeline.ingest(source, out, encoder="stand-in", resume=True)
        assert made(out) == expected, f"{step} {moment}"
        assert sorted(p.name for p in out.iterdir()) == sorted((*MADE, "ingest.json"))


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_killed_in_the_proof_and_resumed(source, tmp_path):
    other = tmp_path / "other.jsonl"
    lines = Path(source).read_text().splitlines()
    other.write_text("".join(line.replace("Word", "Other") + "\n" for line in lines[:3]))
    assert run(str(other), tmp_path / "train", 0, "never").returncode == 0
    # Training has articles 0 to 2 under their ids, so that the proof has something to drop.
    train = f"train={tmp_path / 'train'}"
    against = Training((f"{tmp_path}/train/sequences.npz",), f"{tmp_path}/train/chunks.parquet")
    whole = run(source, tmp_path / "whole", 0, "never", train)
    assert whole.returncode == 0, whole.stderr
    fresh = (tmp_path / "whole" / "fresh" / "sequences.npz").read_bytes()
    plain = run(source, tmp_path / "plain", 0, "never")
    for step in range(int(plain.stdout), int(whole.stdout) + 1):
        for moment in ("before", "behind"):
            out = tmp_path / f"{step}-{moment}"
            assert run(source, out, step, moment, train).returncode == -signal.SIGKILL
            pipeline.ingest(source, out, encoder="stand-in", against=against, resume=True)
            assert (out / "fresh" / "sequences.npz").read_bytes() == fresh
            assert verify(out / "fresh").verified
            assert not list(out.glob(".*"))


@pytest.mark.usefixtures("stand_in")
def test_sequences_hold_the_vectors_of_their_chunks(source, tmp_path):
    pipeline.ingest(source, tmp_path / "a", encoder="x", context=3)
    pipeline.ingest(source, tmp_path / "b", encoder="x", context=3, layout="seed")
    columns = ("doc_id", "chunk_id", "vector", "context")
    ours, seed = (load_split(tmp_path / name / "sequences.npz") for name in "ab")
    assert (ours.rows, ours.dim, ours.context_length) == (seed.rows, 8, 3)
    for a, b in zip(ours.batches(columns, 7), seed.batches(columns, 7), strict=True):
        assert a.doc_id.equals(b.doc_id)
        assert a.chunk_id.equals(b.chunk_id)
        np.testing.assert_array_equal(a.vector, b.vector)
        np.testing.assert_array_equal(a.context, b.context)
        # The target of a window is the last vector of the context of the next one.
        same = np.diff(a.doc_id.to_numpy()) == 0
        np.testing.assert_array_equal(a.vector[:-1][same], a.context[1:, -1][same])


@pytest.mark.usefixtures("stand_in")
def test_a_run_is_resumed_only_as_it_was_begun(source, tmp_path):
    out = tmp_path / "out"
    pipeline.ingest(source, out, encoder="x", selection=Selection(((0, 3),)))
    with pytest.raises(DataError, match="continue it with --resume"):
        pipeline.ingest(source, out, encoder="x", selection=Selection(((0, 3),)))
    again = pipeline.ingest(source, out, encoder="x", selection=Selection(((0, 3),)), resume=True)
    assert again.stages["articles"]["kept"] == 3
    with pytest.raises(
        DataError, match=r"""the run there is another: encoder: name: was "x", is "y"; --resume"""
    ):
        pipeline.ingest(source, out, encoder="y", selection=Selection(((0, 3),)), resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        pipeline.ingest(source, tmp_path / "other", encoder="x")


@pytest.mark.usefixtures("stand_in")
def test_what_differs_is_said_in_words(source, tmp_path):
    copy, out = tmp_path / "articles.jsonl", tmp_path / "out"
    copy.write_bytes(Path(source).read_bytes())
    pipeline.ingest(str(copy), out, encoder="x")
    with pytest.raises(DataError, match=r"the run there is another: context: was 5, is 4; --resume"):
        pipeline.ingest(str(copy), out, encoder="x", context=4, resume=True)
    with pytest.raises(DataError, match=r"selection: random: was null, is 3;"):
        pipeline.ingest(str(copy), out, encoder="x", selection=Selection(random=3), resume=True)
    with copy.open("a") as file:
        file.write("\n")
    size = copy.stat().st_size
    told = rf"articles\.jsonl: was {size - 1:,} bytes of \S+ \S+, is {size:,} bytes of \d\S+ \d\S+; --resume"
    with pytest.raises(DataError, match=told):
        pipeline.ingest(str(copy), out, encoder="x", resume=True)


@pytest.mark.usefixtures("stand_in")
def test_after_an_error_the_corrected_call_goes_on(source, tmp_path, monkeypatch):
    """From the stages that it leaves as they are, and with the bytes of a run that knew no error."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": 1, "title": "T"\n')
    with pytest.raises(DataError):
        pipeline.ingest(str(broken), out, encoder="x")
    assert not out.exists()
    with pytest.raises(DataError):
        pipeline.ingest(source, out, encoder="x", chunk_options=ChunkOptions(10_000, 10_000, 20_000))
    kept = (out / "articles.parquet").stat()
    assert sorted(path.name for path in out.iterdir()) == ["articles.parquet", "ingest.json"]
    with pytest.raises(DataError):  # windows longer than any article
        pipeline.ingest(source, out, encoder="x", context=500)
    with pytest.raises(DataError, match=r"--resume needs"):  # its chunks are others
        pipeline.ingest(source, out, encoder="x", chunk_options=ChunkOptions(80), resume=True)
    assert (out / "articles.parquet").stat().st_ino == kept.st_ino
    encode = pipeline.Encoder.encode
    monkeypatch.setattr(pipeline.Encoder, "encode", None)  # the vectors are there
    pipeline.ingest(source, out, encoder="x", context=4)
    monkeypatch.setattr(pipeline.Encoder, "encode", encode)
    pipeline.ingest(source, whole, encoder="x", context=4)
    assert made(out) == made(whole)
    assert sorted(p.name for p in out.iterdir()) == sorted((*MADE, "ingest.json"))


@pytest.mark.usefixtures("stand_in")
def test_after_an_error_other_sources_begin_anew(source, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    other = tmp_path / "other.jsonl"
    other.write_text("".join(Path(source).read_text().splitlines(keepends=True)[:7]))
    with pytest.raises(DataError):
        pipeline.ingest(source, out, encoder="x", context=500)
    pipeline.ingest(str(other), out, encoder="x")
    pipeline.ingest(str(other), whole, encoder="x")
    assert made(out) == made(whole)


@pytest.mark.usefixtures("stand_in")
def test_a_full_disk_leaves_no_half_written_file(source, tmp_path):
    script = (KILLED.replace("os.replace = counting", "") + "\n").replace(
        "pipeline.ingest(",
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000));"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\npipeline.ingest(",
    )
    out = tmp_path / "out"
    result = subprocess.run(
        [sys.executable, "-c", script, source, str(out), "0", "never"], capture_output=True, text=True
    )
    assert "DataError" in result.stderr
    assert "cannot be written" in result.stderr
    assert not out.exists()
    resumed = run(source, out, 0, "never", "resume")
    assert resumed.returncode == 0, resumed.stderr


class Backwards:
    """Embeds as a cluster may: the last batch first, and no more than `most` of them."""

    def __init__(self, most):
        self.device, self.most, self.asked = "elsewhere", most, []

    def __call__(self, encoder, batches):
        for number, texts in list(batches)[::-1]:
            self.asked.append(number)
            if len(self.asked) > self.most:
                raise DataError("the cluster is gone")
            yield number, encoder.encode(texts)


def test_batches_may_come_in_any_order_and_from_anywhere(source, tmp_path, stand_in):
    pipeline.ingest(source, tmp_path / "a", encoder="x")
    chunks = tmp_path / "a" / "chunks.parquet"
    encoder = pipeline.Encoder("x")
    embeddings.write_embeddings(chunks, tmp_path / "here.npz", encoder)
    away = tmp_path / "away.npz"
    with pytest.raises(DataError, match="the cluster is gone"):
        embeddings.write_embeddings(chunks, away, encoder, embed=Backwards(3))
    assert not away.exists()
    rest = Backwards(1000)
    done = embeddings.write_embeddings(chunks, away, encoder, embed=rest, resume=True)
    assert done.device == "elsewhere"
    assert done.resumed == done.chunks - sum(
        len(range(16 * n, min(16 * n + 16, done.chunks))) for n in rest.asked
    )
    assert 0 < done.resumed < done.chunks
    assert away.read_bytes() == (tmp_path / "here.npz").read_bytes()
