"""Whole runs on a GPU: `make test-gpu`, skipped where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

import lvmfast  # noqa: E402
from lvmfast.models.checkpoint import load_model  # noqa: E402
from tests.support import walks  # noqa: E402
from tests.support.walks import QUICK  # noqa: E402

pytestmark = pytest.mark.heavy

SMALL = {**QUICK, "device": "cuda", "d_model": 64, "n_layers": 2, "d_state": 16, "headdim": 16}
GPUS = torch.cuda.device_count() if torch.cuda.is_available() else 0
SCRIPT = """
import sys, lvmfast
from tests.training.test_gpu import SMALL
alike = {"dropout": 0.0, "max_per_document": 0, "precision": "float32", "compile": "off"}
lvmfast.train(sys.argv[1], out=sys.argv[2], **{**SMALL, **alike})
"""


@pytest.mark.gpu
@pytest.mark.skipif(GPUS < 1, reason="torch sees no GPU")
@pytest.mark.parametrize("model", ["mamba_s", "amn", "gru", "mlp"])
def test_a_run_in_bfloat16_compiled(tmp_path, model):
    done = lvmfast.train(
        walks.write(tmp_path / "walks.npz"), out=tmp_path / "run", **{**SMALL, "model": model}
    )
    assert (done.run["precision"], done.run["compiled"]) == ("bf16", True)
    assert done.run["device"].startswith("cuda:0 (")
    assert done.history[-1]["train_loss"] < done.history[0]["train_loss"]
    loaded, _ = load_model(done.path, "cpu", form="reference")
    assert loaded.form == ("reference" if model == "mamba_s" else None)


@pytest.mark.gpu
@pytest.mark.skipif(GPUS < 1, reason="torch sees no GPU")
@pytest.mark.parametrize("model", ["mamba_s", "amn", "gru"])
def test_a_run_on_documents_in_bfloat16(tmp_path, model):
    """The kernels where they can run; the reference, on the processor, predicts the same from the weights."""
    figures = {**SMALL, "model": model, "layout": "documents", "context": 10}
    done = lvmfast.train(walks.write(tmp_path / "walks.npz"), out=tmp_path / "run", **figures)
    assert (done.run["precision"], done.run["compiled"]) == ("bf16", False)
    assert done.history[-1]["train_loss"] < done.history[0]["train_loss"]
    rows, since = torch.randn(2, 10, walks.DIM), torch.arange(10).expand(2, 10).contiguous()
    on_gpu, on_cpu = (
        load_model(done.path, device, form)[0] for device, form in (("cuda", None), ("cpu", "reference"))
    )
    with torch.inference_mode():
        found = on_gpu.every(rows.cuda(), since.cuda()).cpu()
        torch.testing.assert_close(found, on_cpu.every(rows, since), rtol=3e-2, atol=3e-2)


@pytest.mark.gpu
@pytest.mark.skipif(GPUS < 2, reason=f"torch sees {GPUS} GPUs, and NCCL takes two")
def test_two_gpus_give_the_loss_of_one(tmp_path):
    data, histories = walks.write(tmp_path / "walks.npz"), []
    for count in (1, 2):
        out = tmp_path / f"run-{count}"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        (tmp_path / "script.py").write_text(SCRIPT)
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        subprocess.run(
            [*command, str(tmp_path / "script.py"), str(data), str(out)], env=environment, check=True
        )
        histories.append(json.loads((out / "history.json").read_text()))
    for one, two in zip(*histories, strict=True):
        for key in ("train_loss", "train_infonce", "val_loss", "val_cosine"):
            assert one[key] == pytest.approx(two[key], rel=1e-3), key
