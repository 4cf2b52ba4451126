"""Configs, baselines, residuals and padding of the next-vector models."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast import DataError
from lvmfast.models.baselines import fit_lag_mix, predict_baseline
from lvmfast.models.config import MIXES, RESIDUALS, ModelConfig
from lvmfast.models.registry import MODELS

torch = pytest.importorskip("torch")

from lvmfast.models.build import build  # noqa: E402

pytestmark = pytest.mark.heavy

WIDTHS = {"d_model": 32, "d_state": 8, "headdim": 8}
ALL = [
    (model, block)
    for model in MODELS
    if not MODELS[model].whole
    for block in (("mamba2", "mamba") if MODELS[model].forms else ("mamba2",))
]
MIX = [0.1, -0.2, 0.3, 0.4, 0.8]


def small(model, block="mamba2", **changes):
    return ModelConfig(model, 24, 5, block=block, n_layers=2, **(WIDTHS | changes))


def windows(n=6, length=5, dim=24, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, length, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=2, keepdims=True)


def test_config_comes_back_from_its_dict():
    for model in MODELS:
        config = ModelConfig(model, 768, 5, residual=None if MODELS[model].whole else "lag-mix")
        assert ModelConfig.from_dict(config.to_dict()) == config
        assert config.n_layers == MODELS[model].layers
    public = ModelConfig("mamba_s", 768, 5)
    assert (public.n_layers, public.d_model, public.d_state, public.d_conv, public.expand) == (
        8,
        768,
        128,
        4,
        2,
    )
    assert (public.dropout, public.block, public.form) == (0.1, "mamba2", "auto")


@pytest.mark.parametrize(
    ("dim", "headdim", "width"), [(384, 64, 384), (100, 64, 128), (1, 64, 64), (100, 8, 104)]
)
def test_a_model_is_as_wide_as_the_vectors_unless_a_width_is_given(dim, headdim, width):
    for model in MODELS:
        assert ModelConfig(model, dim, 5, headdim=headdim).d_model == width
        assert ModelConfig(model, dim, 5, headdim=headdim, d_model=256).d_model == 256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "lstm"}, r"model: expected mamba_s or .*, got 'lstm'"),
        ({"d_model": -1}, r"d_model: expected a whole number above 0, got -1"),
        ({"d_model": False}, r"d_model: expected a whole number above 0, got False"),
        ({"d_model": True}, r"d_model: expected a whole number above 0, got True"),
        ({"n_layers": -1}, r"n_layers: expected a whole number above 0, got -1"),
        ({"length": 2.5}, r"length: expected a whole number above 0, got 2.5"),
        ({"dropout": 1.0}, r"dropout: expected a number in \[0, 1\), got 1.0"),
        ({"dropout": "much"}, r"dropout: expected a number in \[0, 1\), got 'much'"),
        ({"block": "mamba3"}, r"block: expected mamba2 or mamba, got 'mamba3'"),
        ({"form": "fast"}, r"form: expected auto or kernels or reference, got 'fast'"),
        ({"residual": "copy-last"}, r"residual: expected last or mean or lag-mix or linear, got 'copy-last'"),
        ({"model": "linear", "residual": "mean"}, r"residual: linear corrects no baseline, got 'mean'"),
        ({"headdim": 60}, r"headdim: expected a divisor of expand \* d_model = 1536, got 60"),
        ({"model": "gru", "form": "kernels"}, r"form: gru has one form only, got 'kernels'"),
        ({"width": 3}, r"width: unknown key, expected some of .*d_model"),
    ],
)
def test_bad_configs_are_named(changes, message):
    good = ModelConfig("mamba_s", 768, 5).to_dict()
    with pytest.raises(DataError, match=f"^model config: {message}"):
        ModelConfig.from_dict(good | changes)
    good.pop("dim")
    with pytest.raises(DataError, match="dim is missing"):
        ModelConfig.from_dict(good)


def test_configs_and_baselines_load_no_torch():
    code = "import sys, lvmfast.models.config, lvmfast.models.baselines; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.parametrize(("model", "block"), ALL)
@pytest.mark.parametrize("residual", [None, *RESIDUALS])
def test_predictions_are_unit_rows_and_every_parameter_learns(model, block, residual):
    torch.manual_seed(0)
    made = build(small(model, block, residual=residual), mix=MIX if residual == "lag-mix" else None)
    with torch.no_grad():
        made.head.weight.normal_()  # a zero head passes no gradient back
    predicted = made(torch.from_numpy(windows()))
    assert predicted.shape == (6, 24)
    assert predicted.dtype == torch.float32
    torch.testing.assert_close(predicted.norm(dim=1), torch.ones(6))
    (predicted * torch.randn(6, 24)).sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name
    assert made.form == ("reference" if model == "mamba_s" else None)


@pytest.mark.parametrize(("model", "block"), ALL)
@pytest.mark.parametrize("residual", list(RESIDUALS))
def test_an_untrained_residual_is_its_baseline(model, block, residual):
    """Epoch 0: the same vectors but for the last bit of a float32 norm, and so the same ranks."""
    torch.manual_seed(0)
    made = build(small(model, block, residual=residual), mix=MIX if residual == "lag-mix" else None).train()
    rows = windows(200)
    rows[:40, :2] = 0
    with torch.no_grad():
        found = made(torch.from_numpy(rows)).numpy()
    expected = predict_baseline(RESIDUALS[residual], rows, MIX)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1.2e-7)
    pool = windows(300, seed=5)[:, 0]
    np.testing.assert_array_equal(np.argsort(-found @ pool.T)[:, :20], np.argsort(-expected @ pool.T)[:, :20])


@pytest.mark.parametrize(("model", "block"), ALL)
def test_a_step_leaves_the_baseline(model, block):
    made = build(small(model, block, residual="mean"))
    before = made(torch.from_numpy(windows()))
    optimizer = torch.optim.AdamW(made.parameters(), 1e-2)
    (1 - (before * torch.from_numpy(windows(seed=9)[:, 0])).sum(1)).mean().backward()
    optimizer.step()
    assert float((made(torch.from_numpy(windows())) - before).detach().abs().max()) > 1e-3


@pytest.mark.parametrize(("model", "block"), ALL)
@pytest.mark.parametrize("residual", [None, "mean", "lag-mix"])
@pytest.mark.parametrize("padding", [1, 3, 4])
def test_padding_in_front_changes_nothing(model, block, residual, padding):
    """A window of `length - padding` rows gives what it gives behind zeros, and whatever stands beside it."""
    torch.manual_seed(0)
    made = (
        build(small(model, block, residual=residual), mix=MIX if residual == "lag-mix" else None)
        .double()
        .eval()
    )
    with torch.no_grad():
        made.head.weight.normal_()
    rows = torch.from_numpy(windows()).double()
    padded = rows.clone()
    padded[::2, :padding] = 0
    with torch.no_grad():
        found = made(padded)
        torch.testing.assert_close(found[1::2], made(rows)[1::2], rtol=0, atol=1e-7)
        if model == "mlp" or residual is not None:  # these read as many places as they were made for
            alone = made(padded[::2])
        elif model == "amn":
            made.body.lag = torch.nn.Parameter(made.body.lag[padding:])
            alone = made(rows[::2, padding:])
        else:
            alone = made(rows[::2, padding:])
    torch.testing.assert_close(found[::2], alone, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("model", "block"), ALL)
def test_a_window_of_padding_alone_gives_finite_figures(model, block):
    made = build(small(model, block)).eval()
    rows = torch.zeros(3, 5, 24, requires_grad=True)
    predicted = made(rows)
    predicted.sum().backward()
    assert torch.isfinite(predicted).all()
    assert all(torch.isfinite(p.grad).all() for p in made.parameters() if p.grad is not None)


def test_zeros_behind_a_real_row_are_data():
    """Corruption in training zeroes late rows; that is not padding, and the model may learn from it."""
    made = build(small("gru")).eval()
    rows = torch.from_numpy(windows())
    zeroed = rows.clone()
    zeroed[:, 3:] = 0
    with torch.no_grad():
        assert float((made(zeroed) - made(rows[:, :3])).abs().max()) > 1e-4


@pytest.mark.parametrize("name", MIXES)
def test_baselines_are_plain_sums(name):
    rows = windows(50)
    rows[:10, :3] = 0
    found = predict_baseline(name, rows, MIX)
    assert found.dtype == np.float32
    for window, row in zip(rows.astype(np.float64), found, strict=True):
        real = [v for v in window if v.any()]
        if name == "copy-last":
            expected = window[-1]
        elif name == "mean":
            expected = sum(real) / len(real)
        else:
            expected = sum(w * v for w, v in zip(MIX, window, strict=True))
        np.testing.assert_allclose(row, expected / np.sqrt(expected @ expected), atol=2e-7)


def test_bad_baselines_are_named():
    with pytest.raises(DataError, match="expected copy-last or mean or lag-mix, got 'last'"):
        predict_baseline("last", windows())
    with pytest.raises(DataError, match="expected the weights that fit_lag_mix gives, got none"):
        predict_baseline("lag-mix", windows())
    with pytest.raises(DataError, match=r"expected \(5,\) finite weights, got \[1.0, nan\]"):
        predict_baseline("lag-mix", windows(), [1, np.nan])
    with pytest.raises(DataError, match=r"expected \(n, length, dim\), got \(6, 24\)"):
        predict_baseline("mean", windows()[:, 0])
    with pytest.raises(DataError, match="at least 2 windows to fit on, got 1"):
        fit_lag_mix(windows(1), windows(1)[:, 0])
    with pytest.raises(DataError, match=r"got \(6, 5, 24\) and \(5, 24\)"):
        fit_lag_mix(windows(6), windows(5)[:, 0])
    assert not predict_baseline("mean", np.zeros((2, 5, 24), np.float32)).any()


def drifting(seed, n=300, dim=16, truth=(0.0, 0.1, 0.2, 0.3, 0.6), noise=0.8):
    """Windows, and targets that are a known mix of them with noise."""
    rng = np.random.default_rng(seed)
    contexts = windows(n, len(truth), dim, seed)
    mixed = np.einsum("l,nld->nd", truth, contexts) + noise * rng.standard_normal((n, dim)) / np.sqrt(dim)
    return contexts, (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


def log_loss(weights, contexts, targets):
    """Mean -log p(truth) of the conditional logit, in float64."""
    scores = np.einsum("l,nld->nd", weights, contexts.astype(np.float64)) @ targets.astype(np.float64).T
    return float(np.log(np.exp(scores - np.diag(scores)[:, None]).sum(axis=1)).mean())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_the_lag_mix_is_the_most_likely_one(seed):
    """Along the fitted direction some scale gives a loss that no nearby direction undercuts."""
    contexts, targets = drifting(seed)
    fitted = fit_lag_mix(contexts, targets)
    assert np.abs(fitted).sum() == pytest.approx(1)

    def best(direction):
        return min(log_loss(scale * direction, contexts, targets) for scale in np.geomspace(1, 30, 60))

    least = best(fitted)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        other = fitted + 0.2 * rng.standard_normal(5)
        assert best(other / np.abs(other).sum()) > least - 2e-3
    for name in ("copy-last", "mean"):
        plain = np.eye(5)[-1] if name == "copy-last" else np.full(5, 0.2)
        assert best(plain) > least - 1e-6


def test_the_lag_mix_finds_a_known_mix():
    contexts, targets = drifting(1, n=1000, noise=0.4)
    fitted = fit_lag_mix(contexts, targets)
    np.testing.assert_allclose(fitted / fitted.sum(), np.array([0, 0.1, 0.2, 0.3, 0.6]) / 1.2, atol=0.03)
    assert np.array_equal(fitted, fit_lag_mix(contexts, targets))


def test_the_lag_mix_is_not_fooled_by_the_window_in_the_pool():
    """In a document each target is in the windows that follow: left in, copying would seem to be punished."""
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((400, 32))
    chain = [steps[0]]
    for step in steps[1:]:
        chain.append(0.9 * chain[-1] + 0.5 * step)
    chain = (np.array(chain) / np.linalg.norm(chain, axis=1, keepdims=True)).astype(np.float32)
    contexts = np.stack([chain[i : i + 395] for i in range(5)], 1)
    fitted = fit_lag_mix(contexts, chain[5:])
    assert np.abs(fitted).argmax() == fitted.argmax() == 4


def test_a_checkpoint_of_the_kernels_needs_another_form_to_be_asked_for(tmp_path):
    """Weights do not depend on the form, and no form is put in another's place unasked."""
    from dataclasses import replace

    from lvmfast.models.checkpoint import CheckpointInfo, load_model, save_checkpoint

    small = ModelConfig("mamba_s", 8, 3, d_model=16, d_state=4, headdim=8, n_layers=1, form="reference")
    made = build(small).eval()
    info = CheckpointInfo(replace(small, form="kernels"), 1, {}, "clean", "", "")
    path = tmp_path / "epoch-0001.safetensors"
    save_checkpoint(path, made.state_dict(), info)
    with pytest.raises(DataError, match=r"epoch-0001\.safetensors: .*cannot run.*form reference"):
        load_model(path)
    loaded, stated = load_model(path, form="reference")
    assert loaded.form == "reference"
    assert stated.config.form == "kernels"
    window = torch.randn(2, 3, 8)
    assert torch.equal(loaded(window), made(window))
