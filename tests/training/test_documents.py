"""Training on whole documents: how they are cut and packed, what a run makes of them, how it goes on."""

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import lvmfast  # noqa: E402
from lvmfast.corpus import load_split  # noqa: E402
from lvmfast.corpus.documents import Documents  # noqa: E402
from lvmfast.corpus.sequences import open_sequences  # noqa: E402
from lvmfast.errors import DataError  # noqa: E402
from lvmfast.models.checkpoint import load_model  # noqa: E402
from lvmfast.training.batches import PieceBatching, whole_pieces  # noqa: E402
from lvmfast.training.config import OF_WINDOWS  # noqa: E402
from lvmfast.training.ranks import Ranks  # noqa: E402
from lvmfast.training.toml import read_config  # noqa: E402
from tests.support import walks  # noqa: E402
from tests.support.runs import same_run, timeless, weights  # noqa: E402

pytestmark = pytest.mark.heavy

QUICK = walks.QUICK | {
    "layout": "documents",
    "context": 6,
    "model": "gru",
    "batch": 12,
    "residual": "lag-mix",
}
DIM = 4


def documents(lengths, context, seed=0, missing=()):
    """Documents of these lengths, their chunks in any order, and their vectors by (document, chunk)."""
    rng = np.random.default_rng(seed)
    keys = [(d, c) for d, n in enumerate(lengths) for c in range(n) if (d, c) not in missing]
    keys = [keys[i] for i in rng.permutation(len(keys))]
    vectors = rng.standard_normal((len(keys), DIM)).astype(np.float32)
    ids, chunks = (np.array(part) for part in zip(*keys, strict=True))
    opened = Documents(load_split({"doc_id": ids, "chunk_id": chunks, "vector": vectors}), context)
    return opened, dict(zip(keys, vectors, strict=True))


LENGTHS = st.lists(st.integers(1, 23), min_size=1, max_size=8).filter(lambda n: max(n) > 1)


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, context=st.integers(1, 9), seed=st.integers(0, 9), data=st.data())
def test_every_next_chunk_is_a_target_once_and_sees_its_own_piece(lengths, context, seed, data):
    opened, vectors = documents(lengths, context, seed)
    wanted = sorted((d, c) for d, n in enumerate(lengths) for c in range(1, n))
    assert sorted(map(tuple, opened.keys.tolist())) == wanted
    rows = np.array(data.draw(st.permutations(range(len(opened)))))[: data.draw(st.integers(1, len(opened)))]
    packs = opened.inputs(rows)
    assert len(packs) == len(rows)
    assert np.array_equal(opened.targets(rows), [vectors[tuple(key)] for key in opened.keys[rows].tolist()])
    assert packs.since.max() < context
    width = packs.vectors.shape[1]
    for place, row in zip(packs.place.tolist(), rows.tolist(), strict=True):
        line, at = divmod(place, width)
        doc, chunk = opened.keys[row].tolist()
        since = packs.since[line, at]
        seen = packs.vectors[line, at - since : at + 1]
        assert np.array_equal(seen, [vectors[doc, c] for c in range(chunk - 1 - since, chunk)])
        assert packs.since[line, at - since : at + 1].tolist() == list(range(since + 1))
    assert len(set(packs.place.tolist())) == len(rows)
    for doc, n in enumerate(lengths):  # as few pieces as will do, and none much shorter than another
        sizes = np.bincount(opened.pieces[opened.keys[:, 0] == doc])
        sizes = sizes[sizes > 0]
        if n > 1:
            assert len(sizes) == -(-(n - 1) // context)
            assert sizes.max() - sizes.min() <= 1


def test_windows_of_baselines_end_where_a_document_begins():
    opened, vectors = documents([4, 9], 6)
    row = next(i for i, key in enumerate(opened.keys.tolist()) if key == [0, 2])
    found = opened.contexts(np.array([row]))[0]
    assert np.array_equal(found[-2:], [vectors[0, 0], vectors[0, 1]])
    assert not found[:-2].any()
    assert (opened.windows[row] >= 0).tolist() == [False] * 3 + [True] * 3


def test_a_missing_number_ends_a_document_and_is_told():
    opened, _ = documents([8, 1, 30], 6, missing={(0, 3)})
    assert [0, 4] not in opened.keys.tolist()
    notes = " ".join(opened.notes)
    assert "missing in 1 place:" in notes
    assert "1 document of 3 without a chunk" in notes
    assert "more than 6 chunks" in notes


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"doc_id": [1, 1], "chunk_id": [3, 3]}, "stands in"),
        ({"doc_id": [1, 1], "chunk_id": ["a", "b"]}, "whole numbers"),
        ({"doc_id": [1, 2], "chunk_id": [0, 0]}, "no next one"),
        ({"doc_id": [1, 1], "chunk_id": [None, 0]}, "from 0 on"),
        ({"doc_id": [1, 1]}, "chunk_id"),
    ],
)
def test_what_are_no_documents(columns, message):
    with pytest.raises(DataError, match=message):
        Documents(load_split(pa.table({**columns, "vector": [[1.0, 0.0], [0.0, 1.0]]})), 5)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=20),
    step_rows=st.integers(1, 40),
    batch=st.integers(1, 20),
    processes=st.integers(1, 5),
)
def test_steps_hold_whole_pieces_and_processes_share_them(sizes, step_rows, batch, processes):
    piece = np.repeat(np.arange(len(sizes)), sizes)
    batching = PieceBatching(step_rows, seed=3)
    steps = batching.epoch(piece, 1)
    assert len(steps) == batching.steps(piece)
    assert sorted(np.concatenate(steps).tolist()) == list(range(len(piece)))
    assert min(map(len, steps)) >= 1
    assert sum(len(np.unique(piece[rows])) for rows in steps) == len(sizes)
    assert max(map(len, steps)) <= step_rows + 2 * max(sizes)
    for rows in steps:
        shared = [
            whole_pieces(piece[rows], Ranks(r, processes).share(len(rows)), batch) for r in range(processes)
        ]
        parts = [part for one in shared for part in one]
        places = [i for part in parts for i in range(part.start, part.stop)]
        assert places == list(range(len(rows)))
        assert sum(len(np.unique(piece[rows[part]])) for part in parts) == len(np.unique(piece[rows]))
        assert all(p.stop - p.start <= max(batch, max(sizes)) for p in parts)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return walks.write(tmp_path_factory.mktemp("documents") / "walks.npz")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    return lvmfast.train(data, out=tmp_path_factory.mktemp("runs") / "whole", **QUICK)


def test_what_a_run_on_documents_leaves(whole, data):
    run = json.loads((whole.path / "run.json").read_text())
    assert (run["n_train"], run["n_val"]) == (11 * 14, 3 * 14)  # every chunk but each document's first
    assert run["model"]["layout"] == "documents"
    assert run["model"]["length"] == 6
    assert len(run["lag_mix"]) == 5
    assert any("cut into" in note for note in run["notes"])
    assert read_config(whole.path / "config.toml")["context"] == 6
    history = whole.history
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    untrained = json.loads((whole.path / "checkpoints" / "epoch-0000.json").read_text())["metrics"]
    assert untrained["val_cosine"] == pytest.approx(untrained["baselines"]["lag-mix"]["val_cosine"], abs=0.02)
    model, _ = load_model(whole.path)
    sequences = open_sequences(str(data))
    predicted = model(torch.from_numpy(sequences.before(np.arange(20), 6)))
    assert predicted.shape == (20, walks.DIM)


def test_the_validation_cosine_is_that_of_each_window_alone(whole, data):
    """From the checkpoint, target by target, each with the chunks of its piece alone."""
    model, info = load_model(whole.path / "checkpoints" / "epoch-0003.safetensors")
    split = (whole.path / "split" / "documents.parquet").as_posix()
    documents = pq.read_table(split).to_pydict()
    held = [int(d) for d, part in zip(documents["doc_id"], documents["part"], strict=True) if part == "val"]
    vectors, keys, _ = walks.walks()
    cosines = []
    for doc in held:
        own = vectors[keys[:, 0] == doc]
        bounds = [j * 14 // 3 for j in range(4)]  # 14 targets in three pieces
        for low, high in pairwise(bounds):
            for target in range(low + 1, high + 1):
                with torch.no_grad():
                    predicted = model(torch.from_numpy(own[None, low:target]))[0].numpy()
                cosines.append(float(predicted @ own[target]))
    assert info.metrics["val_cosine"] == pytest.approx(np.mean(cosines), abs=1e-6)


@pytest.mark.parametrize("layout", ["seed", "table"])
def test_other_files_of_chunks(layout, tmp_path):
    vectors, keys, _ = walks.walks()
    if layout == "table":
        table = {"doc_id": keys[:, 0], "chunk_id": keys[:, 1], "vector": list(vectors)}
        pq.write_table(pa.table(table), tmp_path / "chunks.parquet")
        path, expected = tmp_path / "chunks.parquet", 14
    else:
        path, expected = walks.write(tmp_path / "walks.npz", layout="seed"), 11
    done = lvmfast.train(path, out=tmp_path / "run", **(QUICK | {"epochs": 1, "residual": "none"}))
    run = json.loads((done.path / "run.json").read_text())
    assert run["n_train"] == 11 * expected
    assert any("copies a window" in note for note in run["notes"]) == (layout == "seed")


@pytest.mark.parametrize("model", ["amn", "mamba_s"])
def test_other_models_and_recipes(model, data, tmp_path):
    shape = {"n_layers": 1, "d_state": 8, "headdim": 8, "epochs": 1, "recipe": "seed", "residual": "none"}
    done = lvmfast.train(data, out=tmp_path / "run", **(QUICK | shape | {"model": model}))
    assert done.trained
    config = read_config(done.path / "config.toml")
    assert [config[name] for name in OF_WINDOWS] == [0.0, 0.0, 0]


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"model": "mlp"}, "expected mamba_s, amn or gru"),
        ({"article_dropout": 0.1}, "article_dropout: it is for windows"),
        ({"max_per_document": 2}, "max_per_document: it is for windows"),
        ({"context": 0}, "at least 1 chunk"),
        ({"layout": "windows"}, "--layout documents"),
        ({"layout": "pages"}, "one of windows, documents"),
    ],
)
def test_what_documents_have_no_use_for(figures, message, data, tmp_path):
    with pytest.raises(DataError, match=message):
        lvmfast.train(data, out=tmp_path / "run", **(QUICK | figures))


def test_a_killed_run_goes_on_to_the_same_bits(whole, data, tmp_path):
    out = tmp_path / "run"
    code = (
        "import os, signal, lvmfast\n"
        "from lvmfast.training import learner\n"
        "plain, steps = learner.Learner.step, 0\n"
        "def step(self, *given):\n"
        "    global steps\n"
        "    steps += 1\n"
        "    if steps == 9: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return plain(self, *given)\n"
        "learner.Learner.step = step\n"
        f"lvmfast.train({str(data)!r}, out={str(out)!r}, save_every=1e-9, **{QUICK!r})\n"
    )
    died = subprocess.run([sys.executable, "-c", code], env=os.environ, timeout=300, check=False)
    assert died.returncode == -signal.SIGKILL
    lvmfast.train(out=out, resume=True)
    same_run(whole.path, out, files=False)


def test_other_microbatches_give_the_same_loss(data, tmp_path):
    shape = QUICK | {"dropout": 0.0, "epochs": 1, "accumulate": 1, "batch": 24}
    one = lvmfast.train(data, out=tmp_path / "one", **shape)
    two = lvmfast.train(data, out=tmp_path / "two", **(shape | {"accumulate": 4, "batch": 6}))
    assert one.history[0]["train_loss"] == pytest.approx(two.history[0]["train_loss"], rel=1e-5)
    for name, value in weights(one.path, 1).items():
        torch.testing.assert_close(value, weights(two.path, 1)[name], rtol=1e-3, atol=1e-5)


def test_two_processes_are_one(data, tmp_path):
    figures = QUICK | {"dropout": 0.0, "epochs": 2, "batch": 8, "accumulate": 2}
    alone = lvmfast.train(data, out=tmp_path / "alone", **figures)
    code = f"import lvmfast; lvmfast.train({str(data)!r}, out={str(tmp_path / 'both')!r}, **{figures!r})"
    (tmp_path / "train.py").write_text(code)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(tmp_path / "train.py")], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    both = json.loads((tmp_path / "both" / "history.json").read_text())
    for ours, theirs in zip(timeless(alone.history), timeless(both), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)
        assert ours["val_mrr"] == pytest.approx(theirs["val_mrr"], abs=0.03)


@pytest.mark.parametrize("layout", ["chunks", "seed"])
def test_a_run_on_documents_is_evaluated_on_windows_and_on_documents(whole, layout, tmp_path):
    """Its ranks are those of a loop: by all chunks before a target, or by the windows that a file has."""
    path = walks.write(tmp_path / "eval.npz", layout=layout, seed=9, first_doc=500, documents=6)
    done = lvmfast.evaluate(whole.path, path, resamples=20, threads=1)  # windows of 3: no lag mix of 5
    vectors, keys, windows = walks.walks(seed=9, documents=6)
    model, _ = load_model(whole.path)
    context, ranks = {"chunks": 6, "seed": walks.LENGTH}[layout], []
    pool = sorted(set(windows[:, -1].tolist()))
    for window in windows:
        target = int(window[-1])
        seen = vectors[max(target - int(keys[target, 1]), target - context) : target]
        with torch.no_grad():
            query = model(torch.from_numpy(seen[None]))[0].numpy()
        scores = {c: float(query @ vectors[c]) for c in pool if c not in window[:-1]}
        ranks.append(1 + sum(score >= scores[target] for c, score in scores.items() if c != target))
    assert done.details["models"]["whole"]["context"] == 6
    assert done.find("whole")["MRR"] == pytest.approx(np.mean([1 / rank for rank in ranks]), abs=1e-6)
