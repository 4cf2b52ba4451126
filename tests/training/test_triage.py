"""The commands that triage prints are ones that the command line takes, and that train."""

from __future__ import annotations

import json
import shlex

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

import lvmfast
from lvmfast.cli import app
from lvmfast.cli import train as cli_train
from lvmfast.errors import DataError
from lvmfast.training.history import read_run
from lvmfast.training.recipes import settle
from lvmfast.training.toml import read_config
from lvmfast.training.triage import triage
from tests.support import walks
from tests.support.walks import QUICK

pytestmark = pytest.mark.heavy

#: Kinds of runs that differ in what the commands have to undo.
MADE = {
    "seed": {"recipe": "seed"},
    "ar": {"recipe": "ar"},
    "bank": {"recipe": "bank"},
    "residual": {"recipe": "bank", "residual": "last", "max_per_document": 0, "mask_same_document": True},
    "documents": {"recipe": "bank", "layout": "documents"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    data = walks.write(folder / "walks.npz")
    return {
        name: lvmfast.train(data, out=folder / name, **{**QUICK, "epochs": 1, **figures}).path
        for name, figures in MADE.items()
    }


def parsed(command, monkeypatch):
    """What the real command line makes of a printed command, and the figures that it would train with."""
    seen = []

    def run_train(*, out, config, **figures):
        named = {k: v for k, v in figures.items() if k in lvmfast.training.config.TYPES}
        seen.append((out, settle("train", {} if config is None else read_config(str(config)), named)))
        raise DataError("parsed")

    monkeypatch.setattr(cli_train, "run_train", run_train)
    words = shlex.split(command)
    assert words[0] == "lvmfast"
    printed = CliRunner().invoke(app, words[1:])
    assert "parsed" in printed.stderr, printed.output
    return seen[0]


@pytest.mark.parametrize("said", ['recipe = "residual"', 'preset = "linear"'])
def test_a_run_on_lists_has_no_steps(tmp_path, said):
    (tmp_path / "config.toml").write_text(f"[recipe]\n{said}\n")
    rows = [{"epoch": epoch, "train_r5": 90.0, "val_r5": 20.0} for epoch in (1, 2)]
    (tmp_path / "history.json").write_text(json.dumps(rows))
    found = triage(read_run(tmp_path))
    assert found.steps == ()
    assert "memorises" in found.symptoms[0]
    printed = CliRunner().invoke(app, ["triage", str(tmp_path)])
    assert printed.exit_code == 0
    assert "Nothing to suggest: a run of this recipe has no other objective to try" in printed.output


@pytest.mark.parametrize("made", MADE)
def test_every_command_is_one(runs, made, monkeypatch):
    before = settle("config", read_config(runs[made] / "config.toml"))
    steps = triage(read_run(runs[made])).steps
    assert len(steps) == (8 if made == "documents" else 9), "a limit per document is for windows"
    outs = set()
    for step in steps:
        out, config = parsed(step.command, monkeypatch)
        assert out.parent == runs[made].parent
        assert not out.exists()
        outs.add(out)
        assert config.train == before.train
        assert step.done == (config == before), step.name
    assert len(outs) == len(steps)


def test_commands_for_another_trainers_history(tmp_path, monkeypatch):
    history = tmp_path / "history.json"
    history.write_text(json.dumps([{"epoch": 1, "val_cosine": 0.41}]))
    for step in triage(read_run(history)).steps:
        _, config = parsed(step.command, monkeypatch)
        assert (config.train, config.recipe) == (("TRAIN",), "seed")


def test_a_run_below_copying_says_so(tmp_path):
    row = {"epoch": 1, "val_mrr": 0.1, "baselines": {"copy-last": {"val_mrr": 0.3}}}
    history = tmp_path / "history.json"
    history.write_text(json.dumps([row]))
    assert "copying the last vector reaches 0.300" in triage(read_run(history)).symptoms[0]
    history.write_text(json.dumps([{**row, "val_mrr": 0.4}]))
    assert triage(read_run(history)).symptoms == ()


@pytest.mark.slow
@pytest.mark.parametrize("made", MADE)
def test_every_command_trains(runs, made):
    printed = CliRunner().invoke(app, ["triage", str(runs[made])])
    assert printed.exit_code == 0, printed.output
    commands = [line.strip() for line in printed.output.splitlines() if line.startswith("    lvmfast ")]
    assert len(commands) == sum(not step.done for step in triage(read_run(runs[made])).steps) > 4
    for command in commands:
        # 132 sequences are fewer than the batch of 512 that one of them asks for
        words = ["48" if word == "512" else word for word in shlex.split(command)[1:]]
        trained = CliRunner().invoke(app, words)
        assert trained.exit_code == 0, (command, trained.output)
        assert "Best epoch" in trained.output
