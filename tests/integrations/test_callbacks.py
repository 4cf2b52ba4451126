"""The callbacks inside the real trainers: nothing is trained on a leak, and their loggers are told."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap

import pytest

torch = pytest.importorskip("torch")

from lvmfast.errors import DataError, LeakError  # noqa: E402
from tests.support.places import ROOT  # noqa: E402

TRAIN = {"text": [f"a sentence of the training set, number {n}, about the sea" for n in range(40)]}
UNSEEN = {"text": ["a question that nobody has asked before", "and one more that is about mountains"]}
SEEN = {"text": [TRAIN["text"][3], TRAIN["text"][9], *UNSEEN["text"]]}
FIGURES = {"leakcheck/leak": 1.0, "leakcheck/text": 0.5}
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # those of the trainers are not ours
]


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, row):
        ids = torch.arange(8) + row
        return {"input_ids": ids, "labels": ids}


def in_transformers(folder, check, **arguments):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    config = transformers.GPT2Config(vocab_size=64, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    trainer = transformers.Trainer(
        model=transformers.GPT2LMHeadModel(config),
        train_dataset=Rows(),
        callbacks=[check],
        args=transformers.TrainingArguments(
            output_dir=str(folder), max_steps=2, use_cpu=True, save_strategy="no", disable_tqdm=True,
            **{"report_to": [], **arguments},
        ),
    )  # fmt: skip
    check.log = trainer.log
    return trainer


def in_lightning(folder, check, logger=False):
    lightning = pytest.importorskip("lightning")

    class Line(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(8, 1)

        def training_step(self, batch, place):
            return self.line(batch["input_ids"].float()).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    trainer = lightning.Trainer(
        max_steps=2, accelerator="cpu", callbacks=[check], default_root_dir=folder, logger=logger,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.run = lambda: trainer.fit(Line(), torch.utils.data.DataLoader(Rows(), batch_size=4))
    return trainer


def scalars(folder):
    """Every scalar in the event files below a folder, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for place in {path.parent for path in folder.rglob("events.out.tfevents.*")}:
        events = EventAccumulator(str(place))
        events.Reload()
        found |= {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return found


def test_transformers_does_not_begin_on_a_leak(tmp_path):
    from lvmfast.integrations.transformers import LeakCheck

    trainer = in_transformers(tmp_path, LeakCheck(TRAIN, SEEN, levels=["text"]), report_to=["tensorboard"])
    with pytest.raises(LeakError, match="text"):
        trainer.train()
    assert trainer.state.global_step == 0
    found = scalars(tmp_path)
    assert {name: found[f"train/{name}"] for name in FIGURES} == {name: [v] for name, v in FIGURES.items()}


def test_transformers_warns_and_trains(tmp_path):
    from lvmfast.integrations.transformers import LeakCheck

    trainer = in_transformers(tmp_path, LeakCheck(TRAIN, SEEN, levels=["text"], on_leak="warn"))
    with pytest.warns(RuntimeWarning, match="text"):
        trainer.train()
    assert trainer.state.global_step == 2
    assert FIGURES.items() <= trainer.state.log_history[0].items()


def test_transformers_trains_on_what_is_clean(tmp_path):
    from lvmfast.integrations.transformers import LeakCheck

    trainer = in_transformers(tmp_path, LeakCheck(TRAIN, UNSEEN))
    trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.state.log_history[0]["leakcheck/leak"] == 0.0


def test_lightning_does_not_begin_on_a_leak(tmp_path):
    from lightning.pytorch.loggers import TensorBoardLogger

    from lvmfast.integrations.lightning import LeakCheck

    check = LeakCheck(lambda trainer: TRAIN, lambda trainer: SEEN, levels=["text"])
    trainer = in_lightning(tmp_path, check, logger=TensorBoardLogger(tmp_path))
    with pytest.raises(LeakError, match="text"):
        trainer.run()
    assert trainer.global_step == 0
    trainer.logger.finalize("failed")
    assert FIGURES.items() <= {name: values[0] for name, values in scalars(tmp_path).items()}.items()


def test_lightning_warns_and_trains_and_says_nothing_of_what_is_clean(tmp_path):
    from lvmfast.integrations.lightning import LeakCheck

    trainer = in_lightning(tmp_path, LeakCheck(TRAIN, SEEN, on_leak="warn", levels=["text"]))
    with pytest.warns(RuntimeWarning, match="text"):
        trainer.run()
    assert trainer.global_step == 2
    trainer = in_lightning(tmp_path, LeakCheck(TRAIN, UNSEEN))
    trainer.run()
    assert trainer.global_step == 2


TWO = textwrap.dedent(
    """
    import json, os, sys
    import torch.distributed as dist
    from lvmfast.errors import LvmfastError
    from lvmfast.integrations import checked

    train, eval, out = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    dist.init_process_group("gloo")
    scans, real = [], checked._scan
    checked._scan = lambda *given: scans.append(1) or real(*given)
    try:
        checked.check(train, eval, {}).act("raise")
        said = "passed"
    except LvmfastError as error:
        said = f"{type(error).__name__}: {error}"
    dist.barrier()
    json.dump([said, len(scans)], open(f"{out}/{dist.get_rank()}.json", "w"))
    """
)


@pytest.mark.parametrize("eval", [SEEN, UNSEEN, {"text": []}], ids=["leak", "clean", "no rows"])
def test_of_two_processes_one_scans_and_both_know(eval, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*command, str(script), json.dumps(TRAIN), json.dumps(eval), str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (said, scans), (other, none) = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert said == other
    assert (scans, none) == (1, 0)
    expected = {2: "passed", 4: "LeakError: ", 0: "DataError: "}[len(eval["text"])]
    assert said.startswith(expected)


@pytest.mark.parametrize("name", ["transformers", "lightning"])
def test_what_is_no_choice_is_refused(name):
    pytest.importorskip(name)
    module = importlib.import_module(f"lvmfast.integrations.{name}")
    with pytest.raises(DataError, match="on_leak: expected raise or warn"):
        module.LeakCheck(TRAIN, UNSEEN, on_leak="ignore")
