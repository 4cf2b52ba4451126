"""One registration makes a model: whatever names models knows it, and nothing else stands in for it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lvmfast
from lvmfast import DataError
from lvmfast.models.config import ModelConfig
from lvmfast.models.registry import MODELS, Architecture, register

torch = pytest.importorskip("torch")

from lvmfast.models.build import build  # noqa: E402
from lvmfast.models.checkpoint import load_model  # noqa: E402

pytestmark = pytest.mark.heavy

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


class Sum(torch.nn.Module):
    """(batch, length, dim) -> (batch, d_model): the sum of the rows, projected."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.project = torch.nn.Linear(config.dim, config.d_model)

    def forward(self, context):
        return self.project(context.sum(1))


@pytest.fixture
def toy():
    register(Architecture("toy", f"{__name__}:Sum", layers=3, meaning="a sum"))
    yield "toy"
    MODELS.pop("toy", None)


def sequences(path: Path, docs: range) -> str:
    rng = np.random.default_rng(docs.start)
    keys = np.array([(doc, chunk) for doc in docs for chunk in range(3, 9)])
    rows = rng.standard_normal((len(keys), 4, 8)).astype(np.float32)
    np.savez(path, truth_keys=keys, contexts=rows[:, :3], targets=rows[:, 3])
    return str(path)


def test_a_registered_model_is_built_trained_saved_loaded_and_evaluated(toy, tmp_path):
    train = sequences(tmp_path / "train.npz", range(10))
    unseen = sequences(tmp_path / "eval.npz", range(100, 110))
    figures = {
        "recipe": "bank",
        "model": toy,
        "d_model": 4,
        "batch": 8,
        "epochs": 1,
        "device": "cpu",
        "threads": 1,
    }
    done = lvmfast.train(train, out=tmp_path / "run", **figures)
    assert (done.run["model"]["model"], done.run["model"]["n_layers"], done.run["form"]) == (toy, 3, None)
    model, info = load_model(tmp_path / "run")
    assert type(model.body) is Sum
    assert info.config.model == toy
    torch.manual_seed(0)
    untrained = build(info.config)
    assert not torch.equal(untrained.body.project.weight, model.body.project.weight)
    found = lvmfast.evaluate(tmp_path / "run", unseen, train=train, resamples=20)
    assert found.details["models"]["run"]["model"] == toy
    del MODELS[toy]
    with pytest.raises(DataError, match=r"model config: model: expected mamba_s or .* got 'toy'"):
        load_model(tmp_path / "run")


def test_a_name_without_a_model_is_an_error(tmp_path):
    known = ", ".join(MODELS)
    with pytest.raises(DataError, match=f"model: expected one of {known}, got 'toy'"):
        lvmfast.train("train.npz", out=tmp_path / "run", model="toy")
    with pytest.raises(DataError, match=f"model: expected {' or '.join(MODELS)}, got 'toy'"):
        ModelConfig("toy", 8, 3)
    with pytest.raises(ValueError, match="'gru' is registered already"):
        register(MODELS["gru"])


def test_only_models_of_blocks_have_forms(toy):
    with pytest.raises(DataError, match="form: toy has one form only, got 'reference'"):
        ModelConfig(toy, 8, 3, form="reference")
    assert ModelConfig(toy, 8, 3, headdim=7).n_layers == 3
    blocks = ModelConfig("mamba_s", 8, 3, d_model=16, d_state=4, headdim=8, n_layers=1)
    made = build(blocks)
    assert (made.form, made.config.form) == ("reference", "auto")


def test_the_table_in_the_docs_is_the_registry():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \| [\d,]", DOCS.read_text("utf-8"), re.MULTILINE))
    assert rows == {model.name: model.meaning for model in MODELS.values()}
    assert list(rows) == list(MODELS)


def test_names_load_no_torch():
    code = (
        "import json, sys, lvmfast; from lvmfast.training.config import TrainConfig;"
        "from lvmfast.models.registry import MODELS; TrainConfig(model='gru');"
        "print(json.dumps([list(MODELS), 'torch' in sys.modules]))"
    )
    found = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
    assert found == [list(MODELS), False]
