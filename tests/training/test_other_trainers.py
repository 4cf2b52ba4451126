"""Histories that other trainers write: recognised by what they are, and judged and drawn as our own."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from lvmfast import DataError
from lvmfast.training.foreign import usual_name
from lvmfast.training.history import read_run
from tests.support.command import refused, run

pytestmark = pytest.mark.heavy

GATES = '[[gate]]\nname = "loss"\nmetric = "val_loss"\nat_most = 0.6\n'


@pytest.fixture
def gates(tmp_path) -> str:
    (tmp_path / "gates.toml").write_text(GATES)
    return str(tmp_path / "gates.toml")


def trainer_state(folder: Path, losses: list[float], *, at_step: int, steps: int = 30) -> Path:
    """What transformers' Trainer saves, by its own code: training every 5 steps, evaluation every epoch."""
    transformers = pytest.importorskip("transformers")
    log = [{"epoch": 0.0, "eval_loss": 9.0, "step": 0}]  # eval_on_start
    for step in range(5, at_step + 1, 5):
        log.append(
            {"epoch": step / 10, "grad_norm": 1.0, "learning_rate": 1e-4, "loss": 10 / step, "step": step}
        )
        if step % 10 == 0:
            loss = losses[step // 10 - 1]
            log.append({"epoch": step / 10, "eval_loss": loss, "eval_runtime": 1.0, "step": step})
    if at_step == steps:
        log.append({"epoch": 3.0, "step": steps, "total_flos": 1.0, "train_loss": 7.0, "train_runtime": 1.0})
    state = transformers.TrainerState(
        epoch=at_step / 10, global_step=at_step, max_steps=steps, num_train_epochs=3, log_history=log
    )
    folder.mkdir(parents=True, exist_ok=True)
    state.save_to_json(str(folder / "trainer_state.json"))
    return folder / "trainer_state.json"


def test_transformers_state(tmp_path, gates):
    file = trainer_state(tmp_path / "run", [1.0, 0.5, 0.7], at_step=30)
    for where in (file, file.parent):
        history = read_run(where).history
        assert history.curve("val_loss") == [(1, 1.0), (2, 0.5), (3, 0.7)]
        assert history.curve("eval_loss") == history.curve("val_loss")
        assert history.curve("train_loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
        assert history.curve("lr") == [(epoch, 1e-4) for epoch in (1, 2, 3)]
    assert run("gate", str(file), "--gates", gates, "--epoch", "2").returncode == 0
    assert run("gate", str(file.parent), "--gates", gates, "--epoch", "3").returncode == 1
    drawn = run("plot", str(file.parent), "--out", str(tmp_path / "curves.svg"))
    assert drawn.returncode == 0, drawn.stderr
    assert "loss" in (tmp_path / "curves.svg").read_text()


def test_a_run_of_transformers_that_goes_on_is_read_from_its_last_checkpoint(tmp_path, gates):
    trainer_state(tmp_path / "checkpoint-5", [], at_step=5)
    trainer_state(tmp_path / "checkpoint-25", [1.0, 0.5], at_step=25)
    (tmp_path / "checkpoint-tmp").mkdir()
    history = read_run(tmp_path).history
    assert list(history.epochs) == [1, 2]  # half of the third says nothing of it
    assert any("epoch 3 is not over" in note for note in history.notes)
    waited = run("gate", str(tmp_path), "--gates", gates, "--epoch", "3")
    assert (waited.returncode, waited.stderr) == (3, "")
    assert "epoch 3 is not there yet" in waited.stdout
    followed = run("monitor", str(tmp_path), "--gates", gates, "--epoch", "2", "--every", "0.1")
    assert followed.returncode == 0, followed.stderr


def lightning(folder: Path, losses: list[float]) -> Path:
    """Rows as Lightning's CSVLogger writes them: a line for each call, blank where it has no figure."""
    folder.mkdir(parents=True)
    names = ["epoch", "step", "train_loss_epoch", "train_loss_step", "val_acc", "val_loss"]
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for epoch, loss in enumerate(losses):
            writer.writerow({"epoch": epoch, "step": 10 * epoch + 4, "train_loss_step": 3.0})
            writer.writerow({"epoch": epoch, "step": 10 * epoch + 9, "val_loss": loss, "val_acc": 0.5})
            writer.writerow({"epoch": epoch, "step": 10 * epoch + 9, "train_loss_epoch": 2.0 - epoch})
        writer.writerow({"epoch": len(losses), "step": 99, "train_loss_step": 3.0})  # of an epoch under way
    return folder / "metrics.csv"


def test_lightnings_csv(tmp_path, gates):
    file = lightning(tmp_path / "lightning_logs" / "version_0", [1.0, 0.5])
    for where in (file, file.parent, tmp_path / "lightning_logs", tmp_path):
        history = read_run(where).history
        assert list(history.epochs) == [0, 1]
        assert history.curve("val_loss") == [(0, 1.0), (1, 0.5)]
        assert history.curve("train_loss") == [(0, 2.0), (1, 1.0)]
        assert any("counts epochs from 0" in note for note in history.notes)
    assert run("gate", str(file), "--gates", gates, "--epoch", "1").returncode == 0
    lightning(tmp_path / "lightning_logs" / "version_1", [2.0])
    result = run("gate", str(tmp_path / "lightning_logs"), "--gates", gates)
    refused(result, "several runs lie there: name one of", "version_0", "version_1")
    file.write_text(file.read_text() + "1,2\n")
    refused(run("gate", str(file), "--gates", gates), "metrics.csv: line 9: expected 6 cells, got 2")


def test_a_plain_list_in_json_or_lines_and_the_history_of_keras(tmp_path, gates):
    rows = [{"epoch": 1, "val_loss": 0.9}, {"epoch": 2, "val_loss": 0.4}]
    for name, content in {
        "a.json": json.dumps(rows),
        "a.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "keras.json": json.dumps({"loss": [1.0, 0.8], "val_loss": [0.9, 0.4]}),
        "keras.csv": "epoch,loss,val_loss\n1,1.0,0.9\n2,0.8,0.4\n",
    }.items():
        (tmp_path / name).write_text(content)
        assert read_run(tmp_path / name).history.curve("val_loss") == [(1, 0.9), (2, 0.4)]
        passed = run("gate", str(tmp_path / name), "--gates", gates)
        assert passed.returncode == 0, passed.stderr
    assert read_run(tmp_path / "keras.json").history.curve("train_loss") == [(1, 1.0), (2, 0.8)]
    # The gates of next-vector models do not fit: said with what there is, and no pass.
    other = run("gate", str(tmp_path / "a.json"))
    assert other.returncode == 3
    assert "not checkable: customary; its figures are val_loss" in other.stdout
    for name, content, words in (
        ("b.json", '{"a": 1}', "expected a list of epochs, what transformers or Keras write"),
        ("b.jsonl", '{"epoch": 1}\n[2]\n', "row 1: expected an object"),
        ("b.csv", "step,loss\n1,2\n", "expected a header with `epoch`, got step, loss"),
        (
            "c.json",
            '{"loss": [1], "val_loss": [1, 2]}',
            "as many values of each figure, got loss 1, val_loss 2",
        ),
    ):
        (tmp_path / name).write_text(content)
        refused(run("gate", str(tmp_path / name)), words)
    (tmp_path / "empty").mkdir()
    refused(
        run("gate", str(tmp_path / "empty")), "no history.json", "trainer_state.json", "events.out.tfevents"
    )


def test_a_figure_that_could_be_several_is_refused_with_their_names(tmp_path, gates):
    rows = [{"epoch": 1, "eval_loss": 0.5, "valid/loss": 0.7, "eval_acc": 1.0, "dev_acc": 1.0}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    refused(
        run("gate", str(tmp_path / "a.json"), "--gates", gates),
        "val_loss: eval_loss and valid/loss could be meant",
    )
    assert read_run(tmp_path / "a.json").history.curve("val_acc") == [(1, 1.0)]  # which are one
    (tmp_path / "gates.toml").write_text(GATES.replace("val_loss", "eval_loss"))
    assert run("gate", str(tmp_path / "a.json"), "--gates", gates, "--epoch", "1").returncode == 0
    with pytest.raises(DataError, match="eval_loss and valid/loss"):
        read_run(tmp_path / "a.json").history.refuse_ambiguous(["val_loss"])


@pytest.mark.parametrize(
    ("name", "usual"),
    [
        ("eval_loss", "val_loss"), ("Loss/val", "val_loss"), ("val/loss_epoch", "val_loss"),
        ("loss", "train_loss"),
        ("train_loss_step", "train_loss_step"), ("eval_r@5", "val_r@5"), ("learning_rate", "lr"),
        ("epoch", "epoch"),
        ("val_cosine", "val_cosine"), ("train_below_chance", "train_below_chance"), ("accuracy", "accuracy"),
        ("validation accuracy", "val_accuracy"),
    ],
)  # fmt: skip
def test_usual_names(name, usual):
    assert usual_name(name) == usual


def events(folder: Path, scalars: dict[str, dict[int, float]]) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(str(folder)) as writer:
        for tag, values in scalars.items():
            for step, value in values.items():
                writer.add_scalar(tag, value, step)


def test_event_files_of_tensorboard(tmp_path, gates):
    pytest.importorskip("tensorboard")
    by_epochs = {"Loss/val": {1: 1.0, 2: 0.5}, "Loss/train": {1: 2.0, 2: 1.5}}
    events(tmp_path / "epochs", by_epochs)
    history = read_run(tmp_path / "epochs").history
    assert history.curve("val_loss") == [(1, 1.0), (2, 0.5)]
    assert history.curve("train_loss") == [(1, 2.0), (2, 1.5)]
    assert "its steps are taken as epochs" in history.notes
    assert run("gate", str(tmp_path / "epochs"), "--gates", gates, "--epoch", "2").returncode == 0
    # As transformers writes them, with the epoch of each step as a fraction; and Lightning, from 0.
    events(tmp_path / "runs" / "hf", {
        "train/epoch": {5: 0.5, 10: 1.0, 15: 1.5, 20: 2.0, 25: 2.5},
        "train/loss": {5: 3.0, 10: 2.0, 15: 1.0, 20: 0.9, 25: 0.8},
        "eval/loss": {10: 1.0, 20: 0.5},
    })  # fmt: skip
    history = read_run(tmp_path / "runs").history
    assert history.curve("val_loss") == [(1, 1.0), (2, 0.5)]
    assert history.curve("train_loss") == [(1, 2.0), (2, pytest.approx(0.9))]
    events(
        tmp_path / "pl",
        {"epoch": {9: 0, 19: 1}, "val_loss": {9: 1.0, 19: 0.5}, "train_loss_step": {4: 1, 14: 1}},
    )
    assert read_run(tmp_path / "pl").history.curve("val_loss") == [(0, 1.0), (1, 0.5)]
    events(tmp_path / "steps", {"loss/val": {100: 1.0, 200: 0.5}})
    refused(
        run("gate", str(tmp_path / "steps"), "--gates", gates),
        "no scalar `epoch` beside loss/val",
        "steps, 100 to 200, are no epochs",
    )


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("tensorboard.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(DataError, match=r"needs .*: pip install 'lvmfast\[tensorboard\]'"):
        read_run(tmp_path)
