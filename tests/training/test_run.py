"""Runs as a user starts them: what they write, what they refuse, how they stop and go on."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import nullcontext

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors")

import lvmfast  # noqa: E402
from lvmfast import durable  # noqa: E402
from lvmfast.cli import app  # noqa: E402
from lvmfast.errors import DataError  # noqa: E402
from lvmfast.models.checkpoint import load_model, read_tensors, write_tensors  # noqa: E402
from lvmfast.training import compute, learner, trainer  # noqa: E402
from lvmfast.training.state import KIND as STATE_KIND  # noqa: E402
from lvmfast.training.toml import config_text, read_config  # noqa: E402
from tests.support import walks  # noqa: E402
from tests.support.runs import by_one_and_two, digests, same_run, stopped_at, timeless  # noqa: E402
from tests.support.walks import QUICK  # noqa: E402

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return walks.write(tmp_path_factory.mktemp("data") / "walks.npz")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return lvmfast.train(data, out=out, **QUICK)


def test_what_a_run_leaves(whole, data):
    run = whole.path
    history = json.loads((run / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert whole.history == history
    wanted = {
        *("epoch", "train_loss", "train_infonce", "train_ar_cosine", "val_loss", "val_cosine", "lr", "time"),
        *("val_r5", "val_mrr", "val_margin", "val_std", "val_pairwise_cosine", "val_infonce"),
        *("train_candidates", "val_candidates", "train_below_chance", "val_below_chance", "train_r5"),
        *("negatives_same_document", "baselines"),
    }
    assert all(row.keys() == wanted for row in history)
    assert set(history[0]["baselines"]) == {"copy-last", "mean", "lag-mix", "lag-mix-density"}
    mix = json.loads((run / "run.json").read_text())["lag_mix"]  # what `lvmfast eval` scores the lag mix by
    assert len(mix) == lvmfast.load_split(data).files[0].context_length
    assert np.abs(mix).sum() == pytest.approx(1)
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    documents = pq.read_table(run / "split" / "documents.parquet").to_pydict()
    assert sorted(documents["doc_id"], key=int) == [str(i) for i in range(14)]
    assert documents["part"].count("val") == 3
    stated = json.loads((run / "run.json").read_text())
    assert (stated["n_val"], stated["n_train"]) == (3 * 12, 11 * 12)
    assert stated["leak_status"] == "clean"
    assert stated["device"] == "cpu"
    assert stated["precision"] == "float32"
    assert stated["train_hash"] == lvmfast._core.blake3_file(str(data), 1)
    assert stated["fingerprint"] == lvmfast.fingerprint_identity(run / "train.lvfp")
    assert json.loads((run / "split" / "leakscan" / "summary.json").read_text())["verdict"] == "clean"
    model, info = load_model(run)
    assert info.epoch == json.loads((run / "best.json").read_text())["epoch"] == whole.best_epoch
    assert info.fingerprint_path == run / "train.lvfp"
    assert info.provenance["embedder_id"] == "walk-16"
    assert info.metrics["val_mrr"] == max(row["val_mrr"] for row in history)
    beside = json.loads((run / "checkpoints" / "epoch-0002.json").read_text())
    assert beside["metrics"] == timeless(history)[1]
    windows = lvmfast.corpus.sequences.open_sequences(str(data)).contexts(np.arange(5))
    predicted = model(torch.from_numpy(windows))
    np.testing.assert_allclose(predicted.detach().norm(dim=1), 1, rtol=1e-5)


def test_validation_figures_are_those_of_loops(whole, data):
    """R@5, MRR, margin, collapse: by hand, from the checkpoint and the documents that were held out."""
    model, info = load_model(whole.path / "checkpoints" / "epoch-0003.safetensors")
    documents = pq.read_table(whole.path / "split" / "documents.parquet").to_pydict()
    held = {int(d) for d, part in zip(documents["doc_id"], documents["part"], strict=True) if part == "val"}
    vectors, keys, windows = walks.walks()
    windows = windows[[keys[w[-1], 0] in held for w in windows]]
    with torch.no_grad():
        predicted = model(torch.from_numpy(vectors[windows[:, :-1]])).double().numpy()
    pool = sorted(set(windows[:, -1].tolist()))
    ranks, positives, negatives = [], [], []
    for query, window in zip(predicted, windows, strict=True):
        candidates = [c for c in pool if c not in window[:-1]]
        scores = {c: float(query @ vectors[c] / np.linalg.norm(vectors[c])) for c in candidates}
        own = scores.pop(window[-1])
        ranks.append(1 + sum(score >= own for score in scores.values()))
        positives.append(own)
        negatives += scores.values()
    row = info.metrics
    assert row["val_r5"] == pytest.approx(100 * np.mean([rank <= 5 for rank in ranks]))
    assert row["val_mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))
    assert row["val_cosine"] == pytest.approx(np.mean(positives), abs=1e-6)
    assert row["val_margin"] == pytest.approx(np.mean(positives) - np.mean(negatives), abs=1e-6)
    n = len(predicted)
    pairs = [predicted[i] @ predicted[j] for i in range(n) for j in range(n) if i != j]
    assert row["val_pairwise_cosine"] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert row["val_std"] == pytest.approx(predicted.std(0).mean() * 4, abs=1e-6)
    copied = [
        1
        + sum(
            float(vectors[w[-2]] @ vectors[c]) >= float(vectors[w[-2]] @ vectors[w[-1]])
            for c in pool
            if c not in w[:-1] and c != w[-1]
        )
        for w in windows
    ]
    assert row["baselines"]["copy-last"]["val_mrr"] == pytest.approx(np.mean([1 / rank for rank in copied]))
    mix = json.loads((whole.path / "run.json").read_text())["lag_mix"]
    units = {c: vectors[c].astype(np.float64) / np.linalg.norm(vectors[c].astype(np.float64)) for c in pool}
    dense = {c: np.mean(sorted(units[c] @ units[o] for o in pool if o != c)[-10:]) for c in pool}
    ranks = []
    for window in windows:
        query = mix @ vectors[window[:-1]].astype(np.float64)
        query /= np.linalg.norm(query)
        scores = {c: query @ units[c] - dense[c] for c in pool if c not in window[:-1]}
        ranks.append(sum(score >= scores[window[-1]] for score in scores.values()))
    found = row["baselines"]["lag-mix-density"]
    assert found["val_mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))
    assert found["val_r5"] == pytest.approx(100 * np.mean([rank <= 5 for rank in ranks]))
    assert found["val_cosine"] == pytest.approx(row["baselines"]["lag-mix"]["val_cosine"])


def test_collapse_shows():
    from lvmfast.training.identities import Identities
    from lvmfast.training.validation import make_pool, quality

    rng = np.random.default_rng(0)
    targets = torch.from_numpy(rng.normal(size=(50, 8)).astype(np.float32))
    alone = Identities(np.arange(50), np.full((50, 2), -1))
    pool = make_pool(targets, alone)
    one = torch.nn.functional.normalize(torch.ones(50, 8), dim=1)
    collapsed = quality(one, pool)
    assert collapsed.pairwise_cosine == pytest.approx(1, abs=1e-5)
    assert collapsed.std == pytest.approx(0, abs=1e-5)
    spread = quality(torch.nn.functional.normalize(targets, dim=1), pool)
    assert spread.r5 == 100
    assert spread.mrr == 1
    assert abs(spread.pairwise_cosine) < 0.1
    assert spread.std > 0.8
    # ties count against the model: one vector that stands for all
    tied = quality(one, make_pool(torch.ones(50, 8), Identities(np.arange(50), alone.context)))
    assert tied.mrr == pytest.approx(1 / 50)


def test_the_config_that_was_written_runs_again(whole, tmp_path):
    config = read_config(whole.path / "config.toml")
    assert {**config} == {name: config[name] for name in lvmfast.training.config.TYPES}  # all of it
    again = lvmfast.train(out=tmp_path / "again", config=whole.path / "config.toml")
    same_run(whole.path, again.path)


def test_the_layouts_train_alike(whole, tmp_path):
    seed = walks.write(tmp_path / "seed.npz", "seed")
    same_run(whole.path, lvmfast.train(seed, out=tmp_path / "run", **QUICK).path, files=False)


@pytest.mark.parametrize("recipe", ["seed", "ar", "bank"])
def test_accumulation_changes_nothing_but_rounding(data, tmp_path, recipe):
    """11 x 12 = 132 sequences in steps of 32: the last one is partial, and so is its last microbatch."""
    common = {**QUICK, "recipe": recipe, "dropout": 0.0, "epochs": 2, "max_per_document": 0}
    histories = []
    for batch, accumulate in ((32, 1), (16, 2), (8, 4)):
        common |= {"batch": batch, "accumulate": accumulate}
        done = lvmfast.train(data, out=tmp_path / str(batch), **common)
        assert done.run["steps_per_epoch"] == 5
        histories.append(timeless(done.history))
    for other in histories[1:]:
        for a, b in zip(histories[0], other, strict=True):
            assert a.keys() == b.keys()
            for key in (
                "train_loss",
                "train_infonce",
                "train_ar_cosine",
                "val_loss",
                "val_cosine",
                "val_margin",
            ):
                assert a[key] == (b[key] and pytest.approx(b[key], rel=2e-4)), key
            assert a["negatives_same_document"] == b["negatives_same_document"]


def test_the_residual_starts_as_its_baseline(data, tmp_path):
    done = lvmfast.train(data, out=tmp_path / "run", **{**QUICK, "residual": "last", "epochs": 1})
    model, info = load_model(tmp_path / "run" / "checkpoints" / "epoch-0000.safetensors")
    assert info.epoch == 0
    for key in ("val_cosine", "val_r5", "val_mrr", "val_margin"):
        assert info.metrics[key] == pytest.approx(done.history[0]["baselines"]["copy-last"][key], rel=1e-5)
    vectors, _, windows = walks.walks()
    predicted = model(torch.from_numpy(vectors[windows[:9, :-1]]))
    np.testing.assert_allclose(predicted.detach(), vectors[windows[:9, -2]], atol=1e-6)
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    rows = [info.metrics, *done.history]
    assert best["val_mrr"] == max(row["val_mrr"] for row in rows)
    assert [row["epoch"] for row in done.history] == [1]


@pytest.mark.parametrize("rate", [1e-9, 3e-3])
def test_the_command_says_which_baselines_its_best_epoch_does_not_pass(data, tmp_path, rate):
    figures = {**QUICK, "epochs": 8, "lr": rate, "residual": "none"}
    options = [f"--{key.replace('_', '-')}={value}" for key, value in figures.items()]
    out = tmp_path / "run"
    printed = CliRunner().invoke(app, ["train", "--train", str(data), "--out", str(out), *options]).output
    best = json.loads((out / "best.json").read_text())["epoch"]
    (row,) = (row for row in json.loads((out / "history.json").read_text()) if row["epoch"] == best)
    as_good = {n for n, figures in row["baselines"].items() if figures["val_mrr"] >= row["val_mrr"]}
    assert ("is no better than what needs no training" in printed) == bool(as_good)
    assert {
        n for n in row["baselines"] if f"{row['baselines'][n]['val_mrr']:.3f} of {n}" in printed
    } == as_good
    if rate < 1e-6:
        assert as_good


def test_nats_are_above_or_below_chance():
    from lvmfast.cli.train import _losses

    said = [
        _losses({"val_below_chance": val, "train_below_chance": train})
        for val, train in ((0.5, 1), (-0.5, 1), (-0.5, -1))
    ]
    assert said == [
        "0.50 nats below chance (training 1.00)",
        "0.50 nats above chance (training 1.00 below)",
        "0.50 nats above chance (training 1.00)",
    ]


def test_patience_ends_a_run(data, tmp_path):
    figures = {**QUICK, "epochs": 30, "patience": 2, "lr": 1e-9, "warmup": 0.0}
    done = lvmfast.train(data, out=tmp_path / "run", **figures)
    assert done.stopped.startswith("no epoch had a better val_mrr than epoch")
    assert len(done.history) < 30
    again = lvmfast.train(out=tmp_path / "run", resume=True)
    assert timeless(again.history) == timeless(done.history)
    figures["epochs"] = len(done.history)
    whole = lvmfast.train(data, out=tmp_path / "whole", **figures)
    assert (whole.stopped, len(whole.history)) == (None, len(done.history)), "its last epoch is no early end"


class Killed(BaseException):
    """What stands for SIGKILL where the process has to go on."""


def killing(monkeypatch, name, after):
    """Dies at the second write of the file `name`, before or after it stands at its place."""
    real, seen = os.replace, []

    def replace(source, target):
        if os.path.basename(target) == name:
            seen.append(target)
            if len(seen) == 2:
                if after:
                    real(source, target)
                raise Killed
        real(source, target)

    monkeypatch.setattr(durable.os, "replace", replace)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", ["last.safetensors", "history.json", "best.json"])
def test_a_run_that_dies_between_its_files_goes_on_bit_for_bit(
    data, whole, tmp_path, monkeypatch, name, after
):
    with monkeypatch.context() as patch:
        killing(patch, name, after)
        with pytest.raises(Killed):
            lvmfast.train(data, out=tmp_path / "run", **QUICK)
    lvmfast.train(data, out=tmp_path / "run", resume=True, **QUICK)
    same_run(whole.path, tmp_path / "run")


@pytest.mark.parametrize("step", [2, 6, 12, 13])
def test_a_run_that_is_stopped_in_an_epoch_goes_on_bit_for_bit(data, whole, tmp_path, step):
    """Stopped as by Ctrl-C, saved, and gone on with: also from the last step of an epoch."""
    with stopped_at(step, "saved"):
        lvmfast.train(data, out=tmp_path / "run", **QUICK)
    lvmfast.train(out=tmp_path / "run", resume=True, save_every=7.0)  # the machine's: no other run
    same_run(whole.path, tmp_path / "run")
    times = [row["time"] for row in json.loads((tmp_path / "run" / "history.json").read_text())]
    assert all(isinstance(time, float) and time > 0 for time in times)


def aged(run, hashed):
    """Makes of `run` what an older version left: its spelling, and its state with a hash of that."""
    text = (run / "config.toml").read_text().replace('recipe = "bank"', 'preset = "bank"')
    text = re.sub(r"(?m)^(ignore|layout|context|log) = .*\n", "", text)
    (run / "config.toml").write_text(text)
    if hashed:
        place = run / "checkpoints" / "last.safetensors"
        tensors, stated = read_tensors(place, STATE_KIND)
        del stated["figures"]
        plain = re.sub(r"(?m)^threads = 1$", "threads = 0", text)
        plain = re.sub(r'(?m)^device = "cpu"$', 'device = "auto"', plain)
        write_tensors(place, tensors, {**stated, "config": lvmfast._core.blake3_bytes(plain.encode(), 1)})


@pytest.fixture(scope="module")
def cut_off(data, tmp_path_factory):
    """The run `whole`, stopped in its second epoch."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with stopped_at(7, "saved in epoch 2"):
        lvmfast.train(data, out=out, **QUICK)
    return out


@pytest.mark.parametrize("hashed", [False, True])
def test_a_run_of_an_older_version_goes_on(whole, cut_off, tmp_path, hashed):
    run = shutil.copytree(cut_off, tmp_path / "run")
    aged(run, hashed)
    lvmfast.train(out=run, resume=True, preset="bank", save_every=7.0)
    same_run(whole.path, run, files=False)


@pytest.mark.parametrize(
    ("line", "other", "hashed", "said"),
    [
        (
            "tau = 0.07",
            "tau = 0.2",
            False,
            r"^[^:]*config\.toml: tau: 0\.2, but the state .* was saved with 0\.07; other sett",
        ),
        ("tau = 0.07\n", "", False, None),  # its default
        ("epochs = 3\n", "", False, r"config\.toml: epochs: 20, but the state .* was saved with 3"),
        ("tau = 0.07", "tau = 0.2", True, r"config\.toml: not as it was when .*last\.safetensors was saved"),
        ("threads = 1", "threads = 2", True, None),
    ],
)
def test_a_run_whose_settings_were_edited_does_not_go_on(cut_off, tmp_path, line, other, hashed, said):
    run = shutil.copytree(cut_off, tmp_path / "run")
    aged(run, hashed)
    text = (run / "config.toml").read_text()
    assert line in text
    (run / "config.toml").write_text(text.replace(line, other))
    with nullcontext() if said is None else pytest.raises(DataError, match=said):
        lvmfast.train(out=run, resume=True)


SCRIPT = """
import os, signal, sys
import lvmfast
from lvmfast import durable
from lvmfast.training import learner
from tests.support.walks import QUICK
name, moment, count, out, data = sys.argv[1:]
seen = []
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def matches(path):
    if os.path.basename(path) == name:
        seen.append(path)
    return len(seen) == int(count) and os.path.basename(path) == name
real_replace, real_write = os.replace, durable.Path.write_bytes
def replace(source, target):
    hit = matches(target)
    if hit and moment == "before":
        die()
    real_replace(source, target)
    if hit and moment == "after":
        die()
def write_bytes(path, data):
    if moment == "half" and path.name.startswith(f".{name}.") and (seen.append(1) or len(seen) == int(count)):
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        die()
    return real_write(path, data)
real_step = learner.Learner.step
def step(self, *arguments):
    if name == "step":
        seen.append(1)
        if len(seen) == int(count):
            die()
    return real_step(self, *arguments)
if moment != "half":
    durable.os.replace = replace
durable.Path.write_bytes = write_bytes
learner.Learner.step = step
lvmfast.train(data, out=out, resume=True, save_every=1e-9, **QUICK)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moment", "count"),
    [
        ("config.toml", "after", 1),
        ("train.lvfp", "half", 1),
        ("run.json", "after", 1),
        ("step", "now", 1),
        ("step", "now", 8),
        ("last.safetensors", "half", 3),
        ("last.safetensors", "before", 9),
        ("last.safetensors", "after", 12),
        ("epoch-0002.safetensors", "half", 1),
        ("epoch-0002.safetensors", "after", 1),
        ("epoch-0002.json", "half", 1),
        ("history.json", "before", 2),
        ("history.json", "after", 2),
        ("best.json", "half", 2),
    ],
)
def test_sigkill_anywhere_and_resume_bit_for_bit(data, whole, tmp_path, name, moment, count):
    out = tmp_path / "run"
    command = [sys.executable, "-c", SCRIPT, name, moment, str(count), str(out), str(data)]
    killed = subprocess.run(command, cwd=os.getcwd(), capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    command[3] = "nothing"
    finished = subprocess.run(command, cwd=os.getcwd(), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    same_run(whole.path, out, files=False)
    left, right = digests(whole.path), digests(out)
    assert left.pop("config.toml") != right.pop("config.toml")  # --save-every is another
    assert left == right


def test_ctrl_c_saves_and_says_so(data, tmp_path):
    out = tmp_path / "run"
    options = [f"--{key.replace('_', '-')}={value}" for key, value in {**QUICK, "epochs": 100000}.items()]
    command = [sys.executable, "-m", "lvmfast", "train", "--train", str(data), "--out", str(out), *options]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while running.poll() is None and not (out / "history.json").exists():
            pass
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, said
    assert "interrupted; saved" in said
    assert "--resume" in said
    before = len(json.loads((out / "history.json").read_text()))
    position = read_tensors(out / "checkpoints" / "last.safetensors", STATE_KIND)[1]["position"]
    assert position["epoch"] == before + 1


TWO = textwrap.dedent(
    """
    import pathlib, sys, time, torch, lvmfast
    from tests.support.walks import QUICK
    torch.set_num_threads(1)
    figures = {"dropout": 0.0, "epochs": 2, "batch": 15, "max_per_document": 0, "recipe": sys.argv[3]}
    lvmfast.train(sys.argv[1], out=sys.argv[2], **{**QUICK, **figures})
    for _ in range(100):  # the last of them ends a moment after the group, on a busy machine
        threads = [path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
        if not [name for name in threads if "gloo" in name]:
            break
        time.sleep(0.1)
    assert not [name for name in threads if "gloo" in name], threads
    """
)


@pytest.mark.parametrize("recipe", ["seed", pytest.param("bank", marks=pytest.mark.slow)])
def test_two_processes_give_the_loss_of_one(data, tmp_path, recipe):
    histories = [timeless(history) for history in by_one_and_two(TWO, tmp_path, data, recipe)]
    assert len(histories[0]) == 2
    for one, two in zip(*histories, strict=True):
        assert one["negatives_same_document"] == two["negatives_same_document"]
        for key in ("train_loss", "train_infonce", "train_ar_cosine", "val_loss", "val_cosine", "val_mrr"):
            assert one[key] == pytest.approx(two[key], rel=2e-4), key


def test_a_window_split_is_refused_and_stamped_when_forced(tmp_path):
    """The leak that random windows make: overlapping windows of one document on both sides."""
    vectors, keys, windows = walks.walks()
    side = np.random.default_rng(0).random(len(windows)) < 0.1
    for name, keep in (("train", ~side), ("val", side)):
        part = windows[keep]
        np.savez(
            tmp_path / f"{name}.npz",
            truth_keys=keys[part[:, -1]],
            targets=vectors[part[:, -1]],
            contexts=vectors[part[:, :-1]],
        )
    files = {"train": str(tmp_path / "train.npz"), "val": str(tmp_path / "val.npz")}
    refused = lvmfast.train(out=tmp_path / "refused", **files, **QUICK)
    assert not refused.trained
    assert "LEAK" in refused.leak
    assert not list((tmp_path / "refused" / "checkpoints").iterdir())
    assert (
        json.loads((tmp_path / "refused" / "split" / "leakscan" / "summary.json").read_text())["verdict"]
        == "leak"
    )
    options = [f"--{key.replace('_', '-')}={value}" for key, value in {**QUICK, **files}.items()]
    printed = CliRunner().invoke(app, ["train", "--out", str(tmp_path / "cli"), *options])
    assert printed.exit_code == 1
    assert "Nothing was trained" in printed.output
    assert "--allow-leaked" in printed.output

    forced = lvmfast.train(out=tmp_path / "forced", allow_leaked=True, **files, **QUICK)
    assert forced.leak_status == "LEAKED"
    assert json.loads((tmp_path / "forced" / "run.json").read_text())["leak_status"] == "LEAKED"
    assert json.loads((tmp_path / "forced" / "best.json").read_text())["leak_status"] == "LEAKED"
    assert load_model(tmp_path / "forced")[1].leak_status == "LEAKED"
    assert all(row["leak_status"] == "LEAKED" for row in forced.history)
    printed = CliRunner().invoke(app, ["train", "--out", str(tmp_path / "cli2"), "--allow-leaked", *options])
    assert printed.exit_code == 0
    assert "LEAKED" in printed.output


def test_validation_keeps_shared_paragraphs_on_one_side(tmp_path):
    vectors, keys, windows = walks.walks(documents=12)
    vectors[20:24] = vectors[5:9]  # documents 0 and 1 share four chunks
    np.savez(tmp_path / "a.npz", chunk_vectors=vectors, chunk_keys=keys, windows=windows)
    for seed in range(8):
        out = tmp_path / str(seed)
        done = lvmfast.train(
            tmp_path / "a.npz", out=out, **{**QUICK, "epochs": 1, "seed": seed, "val_docs": 4}
        )
        documents = pq.read_table(out / "split" / "documents.parquet").to_pydict()
        part = dict(zip(documents["doc_id"], documents["part"], strict=True))
        assert part["0"] == part["1"]
        assert done.leak_status == "clean"


def test_bad_input_is_one_line(data, whole, tmp_path, monkeypatch):
    def refuses(match, **figures):
        with pytest.raises(DataError, match=match) as caught:
            lvmfast.train(out=tmp_path / "refused", **{**QUICK, "train": str(data), **figures})
        assert "\n" not in str(caught.value)
        shutil.rmtree(tmp_path / "refused", ignore_errors=True)

    refuses(r"train: taw: there is no such setting", taw=0.1)
    refuses(r"tau: expected above 0, got -1\.0", tau=-1)
    refuses(r"tau: expected float, got 'hot'", tau="hot")
    refuses(r"log: expected one of tensorboard, wandb, mlflow, got 'comet'$", log="comet")
    refuses(r"recipe: expected one of seed, ar, bank, linear, residual, got 'best'", recipe="best")
    refuses(r"132 sequences to train on, fewer than a batch of 512: choose a smaller batch", batch=512)
    refuses(r"device: cuda:7: torch .* sees 0 GPUs", device="cuda:7")
    refuses(r"device: expected auto, cpu", device="tpu")
    refuses(
        r"--val-docs 14: 14 documents asked for, \d+ can be held out: .*; hold out fewer, or", val_docs=14
    )
    refuses(r"nothing to train on", train=[])
    refuses(r"none\.npz: no such file", train=str(tmp_path / "none.npz"))
    one = walks.write(tmp_path / "one.npz", documents=1, chunks=40)
    refuses(r"one\.npz: .*one document only", train=str(one))
    other = walks.write(tmp_path / "other.npz", encoder="another", first_doc=50, seed=9)
    refuses(r"other\.npz: vectors of another.*two encoders", val=str(other))

    config = tmp_path / "run.toml"
    for text, match in [
        ("[objective]\ntaw = 1", r"run\.toml: objective: taw: there is no such setting"),
        ("[model]\ntau = 1.0", r"run\.toml: model\.tau: belongs into \[objective\]"),
        ("[colour]\nx = 1", r"run\.toml: colour: expected tables named"),
        ("tau = 1.0", r"run\.toml: tau: expected tables named"),
        (
            '[recipe]\npreset = "bank"\nrecipe = "seed"',
            r"recipe\.recipe: stated twice: preset is its former name",
        ),
        ("[objective]\ntau = true", r"tau: expected float, got True"),
        ("[objective", r"run\.toml: expected TOML"),
    ]:
        config.write_text(text)
        refuses(match, config=config)

    with pytest.raises(DataError, match="not empty; continue this run with --resume"):
        lvmfast.train(data, out=whole.path, **QUICK)
    with pytest.raises(DataError, match=r"config\.toml: tau: the run has 0\.07, --resume was asked for 0\.2"):
        lvmfast.train(out=whole.path, resume=True, tau=0.2)
    with pytest.raises(DataError, match=r"layout: the run has 'windows', --resume was asked for 'documents'"):
        lvmfast.train(out=whole.path, resume=True, layout="documents")
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "x").touch()
    with pytest.raises(DataError, match="not the folder of a run"):
        lvmfast.train(data, out=tmp_path / "stray", resume=True, **QUICK)


def test_no_gpu_is_no_silent_cpu(data, tmp_path):
    printed = CliRunner().invoke(
        app, ["train", "--train", str(data), "--out", str(tmp_path / "run"), "--device", "cuda"]
    )
    assert printed.exit_code == 2
    assert "sees 0 GPUs" in printed.stderr
    assert not (tmp_path / "run").exists()


def test_other_data_under_the_same_name_is_no_resume(tmp_path):
    path = walks.write(tmp_path / "a.npz")
    lvmfast.train(path, out=tmp_path / "run", **{**QUICK, "epochs": 1})
    walks.write(path, seed=5)
    with pytest.raises(DataError, match="began with other data"):
        lvmfast.train(out=tmp_path / "run", resume=True)


def test_data_that_changes_under_a_run_is_no_checkpoint(tmp_path, monkeypatch):
    path = walks.write(tmp_path / "a.npz")
    real = learner.Learner.step

    def stepping(self, *arguments):
        os.utime(path, (1, 1))
        return real(self, *arguments)

    monkeypatch.setattr(learner.Learner, "step", stepping)
    with pytest.raises(DataError, match=r"a\.npz: this or another file changed since the run began"):
        lvmfast.train(path, out=tmp_path / "run", **QUICK)
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    assert not (tmp_path / "run" / "train.lvfp").exists()


def test_a_loss_that_is_no_number_names_the_batch_and_keeps_the_checkpoint(data, tmp_path, monkeypatch):
    real, seen = compute.Compute.predict, []

    def poisoned(self, contexts):
        predicted = real(self, contexts)
        if self.model.training:
            seen.append(1)
            if len(seen) == 20:
                predicted = predicted.clone()
                predicted[3] = float("nan")
        return predicted

    monkeypatch.setattr(compute.Compute, "predict", poisoned)
    with pytest.raises(DataError, match=r"epoch 2, batch \d of 6: the loss is nan") as caught:
        lvmfast.train(data, out=tmp_path / "run", **QUICK)
    assert "walks.npz (doc_id" in str(caught.value)
    assert "epoch-0001.safetensors is the last good checkpoint" in str(caught.value)
    model, info = load_model(tmp_path / "run")
    assert info.epoch == 1
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())) == 1


def spoiled(path, chunk, value):
    with np.load(path) as stored:
        columns = dict(stored)
    columns["chunk_vectors"][chunk, 2] = value
    np.savez(path, **columns)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("side", "chunk", "said"),
    [
        ("train", 7, r"walks\.npz: row 4 \(doc_id 0, chunk_id 7\): its vector .*\(such rows: 4 of 168\)"),
        ("val", 7, r"val\.npz: row 4 \(doc_id 50, chunk_id 7\): its vector .*\(such rows: 4 of 48\)"),
        ("val", 0, r"val\.npz: row 0 \(doc_id 50, chunk_id 3\): its context .*\(such rows: 1 of 48\)"),
    ],
)
@pytest.mark.parametrize("layout", ["windows", "documents"])
def test_a_vector_that_is_not_finite_is_named_before_anything_is_trained(
    tmp_path, side, chunk, said, value, layout
):
    paths = {"train": walks.write(tmp_path / "walks.npz")}
    paths["val"] = walks.write(tmp_path / "val.npz", documents=4, seed=8, first_doc=50)
    spoiled(paths[side], chunk, value)
    figures = QUICK | {"layout": layout}
    if layout == "documents":  # every chunk but the first is a target there
        figures |= {"context": 3}
        said = r"(walks|val)\.npz: row \d+ \(doc_id \d+, chunk_id \d+\): its (vector|context) .*NaN or inf"
    with pytest.raises(DataError, match=said):
        lvmfast.train(paths["train"], out=tmp_path / "run", val=str(paths["val"]), **figures)
    assert not (tmp_path / "run").exists()


def test_a_leaked_vector_that_is_not_finite_is_named_as_well(tmp_path):
    """Rows that match by what is left of them are not counted as unchecked."""
    path = walks.write(tmp_path / "walks.npz")
    spoiled(path, 0, np.nan)
    with pytest.raises(
        DataError, match=r"row 0 \(doc_id 0, chunk_id 3\): its context has values that are NaN"
    ):
        lvmfast.train(path, out=tmp_path / "run", val=str(path), allow_leaked=True, **QUICK)


def test_a_context_that_is_not_finite_is_named_though_its_target_says_nothing(tmp_path):
    path = walks.write(tmp_path / "walks.npz", layout="seed")
    with np.load(path) as stored:
        columns = dict(stored)
    columns["contexts"][7, 1, 2], columns["targets"][7] = np.nan, 0
    np.savez(path, **columns)
    with pytest.raises(DataError, match=r"row 7 \(.*\): its context has values that are NaN"):
        lvmfast.train(path, out=tmp_path / "run", **QUICK)


def test_a_full_disk_keeps_what_stood_there(data, whole, tmp_path):
    """RLIMIT_FSIZE cuts a checkpoint short: the run ends with one line, and goes on where there is room."""
    out = tmp_path / "run"
    script = textwrap.dedent(
        """
        import resource, sys, lvmfast
        from tests.support.walks import QUICK
        def full(row):
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
        try:
            lvmfast.train(sys.argv[1], out=sys.argv[2], epoch_done=full, **QUICK)
        except lvmfast.DataError as error:
            print(error)
            sys.exit(2)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(data), str(out)], cwd=os.getcwd(), capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "cannot write there: File too large" in done.stdout
    assert load_model(out)[1].epoch == 1
    assert len(json.loads((out / "history.json").read_text())) == 1
    assert not list(out.rglob("*.part"))
    lvmfast.train(out=out, resume=True)
    same_run(whole.path, out)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 3000


def test_checkpoints_that_are_none_are_refused(whole, tmp_path):
    good = (whole.path / "checkpoints" / "epoch-0001.safetensors").read_bytes()
    path = tmp_path / "x.safetensors"
    for content in (
        b"",
        good[:50],
        good[: len(good) // 2],
        good[:-1],
        b"\x80\x04pickle",
        good[:8] + b"{" * 90,
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.safetensors: expected a lvmfast checkpoint"):
            load_model(path)
    from safetensors.torch import save_file

    save_file({"a": torch.ones(3)}, path)
    with pytest.raises(DataError, match="weights that are none of ours"):
        load_model(path)
    torch.save({"a": torch.ones(3)}, path)
    with pytest.raises(DataError, match="expected a lvmfast checkpoint"):
        load_model(path)
    with pytest.raises(DataError, match="expected a lvmfast checkpoint, got lvmfast training state"):
        load_model(whole.path / "checkpoints" / "last.safetensors")
    with pytest.raises(DataError, match=r"no best\.json"):
        load_model(tmp_path)
    (tmp_path / "best.json").write_text('{"checkpoint": "../../etc/passwd"}')
    with pytest.raises(DataError, match="is not a file of checkpoints/"):
        load_model(tmp_path)
    _, info = load_model(whole.path)
    info.check_encoder({"b.npz": {"embedder_id": "walk-16"}})
    with pytest.raises(DataError, match=r"b\.npz: vectors of another"):
        info.check_encoder({"b.npz": {"embedder_id": "another"}})


def test_a_second_trainer_is_kept_out(data, tmp_path):
    hold = "import sys; from lvmfast.stores import holding\nwith holding(sys.argv[1]): print(); input()"
    command = [sys.executable, "-c", hold, str(tmp_path / "run")]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    first.stdout.readline()
    with pytest.raises(DataError, match=rf"run: in use by process {first.pid} on "):
        lvmfast.train(data, out=tmp_path / "run", **QUICK)
    first.communicate("\n")
    assert not list(tmp_path.iterdir())


def test_what_saved_nothing_blocks_nothing(data, tmp_path):
    """Bad input, a leak, a kill before the first state: the next call for the folder is as the first."""
    run, quick = tmp_path / "run", {**QUICK, "epochs": 1}
    for bad in ({"batch": 10**6}, {"val_docs": 10**4}, {"columns": ["vector=nothing"]}):
        with pytest.raises(DataError):
            lvmfast.train(data, out=run, **{**quick, **bad})
        assert not list(tmp_path.iterdir()), bad
    with pytest.MonkeyPatch.context() as patch:  # a loss that is no number, in the first step
        patch.setattr(trainer.Trainer, "fit", lambda *args: (_ for _ in ()).throw(DataError("nan")))
        with pytest.raises(DataError, match="nan"):
            lvmfast.train(data, out=run, **quick)
    assert not list(tmp_path.iterdir())
    leaked = lvmfast.train(data, out=run, **{**quick, "val": str(data)})
    assert not leaked.trained
    assert (run / "split" / "leakscan" / "summary.json").is_file()
    (run / ".config.toml.1.part").touch()  # as of a kill
    assert lvmfast.train(data, out=run, **quick).trained
    assert not list(run.glob(".*"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="not empty; continue this run with --resume"):
        lvmfast.train(data, out=run, **{**quick, "tau": 0.2})
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").touch()
    with pytest.raises(DataError, match="not empty; expected an empty or new folder"):
        lvmfast.train(data, out=other, **quick)
    assert [path.name for path in other.iterdir()] == ["mine.txt"]


def test_every_figure_is_an_option_and_a_key(whole):
    printed = CliRunner().invoke(app, ["train", "--help"]).output
    for name in lvmfast.training.config.TYPES:
        assert f"--{name.replace('_', '-')}" in printed
    text = config_text(lvmfast.training.config.TrainConfig(train=('a"b\\ü\x7f', "c"), columns=("vector=x",)))
    path = whole.path.parent / "odd.toml"
    path.write_text(text)
    assert read_config(path)["train"] == ('a"b\\ü\x7f', "c")


def test_torch_stays_unloaded():
    code = (
        "import lvmfast, sys; lvmfast.train; assert not {'torch', 'safetensors', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


GATES = """
[[gate]]
name = "out of reach"
metric = "val_cosine"
at_least = 0.999
"""


@pytest.mark.parametrize(("on_fail", "epochs", "code"), [("stop", 2, 1), ("triage", 3, 0), ("warn", 3, 0)])
def test_gates_inside_the_run(data, tmp_path, on_fail, epochs, code):
    from lvmfast.training.heartbeat import state

    (tmp_path / "gates.toml").write_text(GATES)
    figures = {**QUICK, "gate_epoch": 2, "on_fail": on_fail, "gates": str(tmp_path / "gates.toml")}
    options = [f"--{key.replace('_', '-')}={value}" for key, value in figures.items()]
    out = tmp_path / "run"
    printed = CliRunner().invoke(app, ["train", "--train", str(data), "--out", str(out), *options])
    assert printed.exit_code == code, printed.output
    assert "FAILED" in printed.output
    assert "out of reach" in printed.output
    assert ("The customary order" in printed.output) == (on_fail == "triage")
    assert len(json.loads((out / "history.json").read_text())) == epochs
    assert state(out).life == "finished"
    if on_fail == "stop":
        assert lvmfast.train(out=out, resume=True).stopped == "gates failed at epoch 2: out of reach"
    (tmp_path / "gates.toml").write_text("[[gate]]\nname = 3")
    with pytest.raises(DataError, match=r"gates\.toml"):
        lvmfast.train(data, out=tmp_path / "broken", **figures)
    assert not (tmp_path / "broken").exists()
