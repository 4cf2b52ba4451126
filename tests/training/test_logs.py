"""Runs logged elsewhere as well: what their own readers find there is what history.json says."""

from __future__ import annotations

import importlib
import json
import os
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import lvmfast  # noqa: E402
from lvmfast.errors import DataError  # noqa: E402
from lvmfast.training import learner, logged  # noqa: E402
from lvmfast.training.interrupts import Interrupted  # noqa: E402
from lvmfast.training.loggers import LOGGERS  # noqa: E402
from tests.support import walks  # noqa: E402
from tests.support.walks import QUICK  # noqa: E402

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("default"),  # those of the clients are not ours
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return walks.write(tmp_path_factory.mktemp("data") / "walks.npz")


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "WANDB_"))]:
        monkeypatch.delenv(name)


def from_tensorboard(run, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "logs" / "tensorboard"))
    events.Reload()
    last = {tag: events.Tensors(tag)[-1].tensor_proto for tag in events.Tags()["tensors"]}
    texts = {tag: proto.string_val[0].decode() for tag, proto in last.items()}
    status = texts.get("status/text_summary")
    return [(event.step, event.value) for event in events.Scalars(name)], status, texts["run/text_summary"]


def from_mlflow(run, name):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run.absolute()}/logs/mlflow/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'lvmfast'")
    (found,) = client.search_runs([experiment.experiment_id])  # one, however often the run went on
    assert found.info.run_name == run.name
    assert found.data.params["d_model"] == "16"
    points = [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, name)]
    return points, found.data.tags.get("status"), json.dumps(found.data.tags)


def records_of(content):
    """The records of a log in LevelDB's format, of blocks of 32 KiB, behind seven bytes of W&B."""
    at, record = 7, b""
    while at + 7 <= len(content):
        if (left := 0x8000 - at % 0x8000) < 7:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece of one
            yield record
            record = b""


def from_wandb(run, name):
    from wandb.proto.wandb_internal_pb2 import Record

    points, status, said, ids = [], None, {}, set()
    for path in sorted((run / "logs" / "wandb" / "wandb").glob("offline-run-*/*.wandb")):
        for data in records_of(path.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            if record.run.run_id:
                ids.add(record.run.run_id)
                said |= {item.key: item.value_json for item in record.run.config.update}
            row = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            if name in row:
                points.append((int(row["_step"]), json.loads(row[name])))
            for item in record.summary.update:
                if (item.key or item.nested_key[0]) == "status":
                    status = json.loads(item.value_json)
    assert len(ids) == 1
    assert said["d_model"] == "16"
    return points, status, json.dumps(said)


READERS = {"tensorboard": from_tensorboard, "mlflow": from_mlflow, "wandb": from_wandb}
BEYOND = [pytest.param(name, marks=pytest.mark.slow) for name in ("mlflow", "wandb")]


@pytest.fixture(params=["tensorboard", *BEYOND])
def name(request):
    pytest.importorskip(request.param)
    return request.param


def history_of(run):
    return json.loads((run / "history.json").read_text())


def same_points(run, name):
    """The status there, once every epoch of history.json was found there, and found once."""
    points, status, said = READERS[name](run, "val_mrr")
    history = history_of(run)
    assert [step for step, _ in points] == [row["epoch"] for row in history]
    assert [value for _, value in points] == pytest.approx([row["val_mrr"] for row in history])
    copied = READERS[name](run, "copy-last/val_mrr")[0]
    stated = [row["baselines"]["copy-last"]["val_mrr"] for row in history]
    assert [value for _, value in copied] == pytest.approx(stated)
    assert "leak_status" in said
    assert "clean" in said
    return status


def test_every_epoch_is_logged_with_the_status_at_the_end(name, data, tmp_path):
    done = lvmfast.train(data, out=tmp_path / "run", log=[name], **QUICK)
    assert same_points(done.path, name) == "finished"
    log = done.run["logs"][name]
    assert (log["failed"], log["missing"]) == (None, [])
    assert str(tmp_path / "run" / "logs") in log["where"]


def test_a_run_that_goes_on_goes_on_there(name, data, tmp_path, monkeypatch):
    real, seen = learner.Learner.step, []

    def stepping(self, part, bank, position, stop):
        seen.append(1)
        stop.raised = len(seen) == self.steps_per_epoch + 2  # in the second epoch
        return real(self, part, bank, position, stop)

    with monkeypatch.context() as patch:
        patch.setattr(learner.Learner, "step", stepping)
        with pytest.raises(Interrupted, match="saved"):
            lvmfast.train(data, out=tmp_path / "run", log=[name], **QUICK)
    assert same_points(tmp_path / "run", name) == "interrupted and saved"
    lvmfast.train(out=tmp_path / "run", resume=True)  # its config.toml says where it is logged
    assert len(history_of(tmp_path / "run")) == QUICK["epochs"]
    assert same_points(tmp_path / "run", name) == "finished"


def test_a_logger_that_fails_ends_no_run_and_has_the_rest_later(name, data, tmp_path, monkeypatch):
    module = importlib.import_module(f"lvmfast.training.loggers.{name}")
    (kind,) = [value for key, value in vars(module).items() if key.endswith("Log")]
    real, tried = kind.epoch, []

    def failing(self, epoch, figures):
        tried.append(epoch)
        if epoch >= 2:
            raise OSError(28, "No space left on device")
        real(self, epoch, figures)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "epoch", failing)
        done = lvmfast.train(data, out=tmp_path / "run", log=[name], **QUICK)
    assert len(done.history) == QUICK["epochs"]
    assert tried == [1, 2, 2]  # in its epoch, and once more at the end
    assert "No space left" in done.run["logs"][name]["failed"]
    assert done.run["logs"][name]["missing"] == [2, 3]
    again = lvmfast.train(out=tmp_path / "run", resume=True)
    assert again.run["logs"][name]["missing"] == []
    assert same_points(tmp_path / "run", name) == "finished"


def test_a_client_that_cannot_open_ends_no_run(data, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from lvmfast.training.loggers import tensorboard

    def refuse(told):
        raise ConnectionError("nobody answers\nat all")

    monkeypatch.setattr(tensorboard, "open_log", refuse)
    done = lvmfast.train(data, out=tmp_path / "run", log="tensorboard", **QUICK)
    assert len(done.history) == QUICK["epochs"]
    log = done.run["logs"]["tensorboard"]
    assert log == {"where": None, "failed": "nobody answers", "missing": [1, 2, 3]}


@pytest.mark.parametrize("name", LOGGERS)
def test_a_client_that_is_not_there_is_one_sentence_before_anything(name, data, tmp_path, monkeypatch):
    loaded = (name, f"lvmfast.training.loggers.{name}", f"torch.utils.{name}")
    for module in [module for module in sys.modules if module.startswith(loaded)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=rf"^--log {name} needs \S+: pip install 'lvmfast\[{name}\]'$"):
        lvmfast.train(data, out=tmp_path / "run", log=[name], **QUICK)
    assert not (tmp_path / "run").exists()


def test_what_is_no_logger_is_refused(data, tmp_path):
    with pytest.raises(DataError, match="log: expected one of tensorboard, wandb, mlflow"):
        lvmfast.train(data, out=tmp_path / "run", log=["comet"], **QUICK)


def test_figures_are_finite_numbers_by_name():
    row = {"epoch": 3, "a": 1, "b": None, "c": float("nan"), "d": "LEAKED", "e": True}
    row["baselines"] = {"mean": {"a": 2}}
    assert logged.figures_of(row) == {"a": 1.0, "mean/a": 2.0}
