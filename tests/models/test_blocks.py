"""The Mamba blocks against mamba-ssm's own modules and references, and against a recurrence in float64."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast import DataError
from lvmfast.models.config import ModelConfig
from tests.support.packaged_mamba import has_extension, import_packaged, on_references

torch = pytest.importorskip("torch")

from lvmfast.models import forms, mamba2  # noqa: E402
from lvmfast.models.build import build  # noqa: E402

pytestmark = pytest.mark.heavy

BLOCKS = ["mamba2", "mamba"]
#: Largest difference allowed in outputs and in gradients, as a share of a tensor's largest magnitude. What
#: docs/models.md states.
TOLERANCES = {torch.float64: (1e-11, 1e-11), torch.float32: (5e-6, 2e-5), torch.bfloat16: (2e-2, 8e-2)}
LENGTHS = [1, 3, 5, 17, 64, 65, 150]
SHAPE = {"d_model": 32, "d_state": 16, "d_conv": 4, "expand": 2, "headdim": 8}

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


def config(block, **changes):
    return ModelConfig("mamba_s", 24, 5, block=block, n_layers=2, **(SHAPE | changes))


def reference(block, seed=0, **changes):
    torch.manual_seed(seed)
    made = forms.make_block(config(block, **changes), "reference")
    with torch.no_grad():  # steps of all sizes, and a D and norm that are not just ones
        for name, parameter in made.named_parameters():
            if name in ("dt_bias", "dt_proj.bias"):
                parameter.uniform_(-4, 1)
            elif parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def packaged_block(packaged, block):
    shape = {name: SHAPE[name] for name in ("d_state", "d_conv", "expand")}
    if block == "mamba2":
        return packaged.mamba2.Mamba2(
            SHAPE["d_model"], headdim=SHAPE["headdim"], use_mem_eff_path=False, **shape
        )
    return packaged.mamba.Mamba(SHAPE["d_model"], **shape)


def run(block, u, forward=None):
    """Output, of `forward` if given, and the gradients of a fixed functional of it, by name."""
    u = u.clone().requires_grad_()
    block.zero_grad()
    y = (forward or block)(u)
    weight = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).reshape(y.shape).to(y)
    (y * weight).sum().backward()
    gradients = {"input": u.grad}
    for name, parameter in block.named_parameters():  # one row has nothing to decay, and A_log no gradient
        gradients[name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
    return y.detach(), gradients


def same(ours, theirs, dtype):
    (y, gradients), (their_y, their_gradients) = ours, theirs
    for_outputs, for_gradients = TOLERANCES[dtype]
    close(y, their_y, for_outputs, "output")
    assert gradients.keys() == their_gradients.keys()
    for name, gradient in gradients.items():
        close(gradient, their_gradients[name], for_gradients, name)


def close(a, b, tolerance, name):
    a, b = a.double(), b.double()
    assert a.shape == b.shape, name
    assert torch.isfinite(b).all(), name
    scale = float(b.abs().max())
    assert float((a - b).abs().max()) <= tolerance * scale, (
        f"{name}: {float((a - b).abs().max()) / scale:.1e}"
    )


def as_dtype(block, dtype):
    """The block in `dtype`; A_log and D stay float32 at half precision, as the package keeps them."""
    made = block.to(dtype)
    if dtype == torch.bfloat16:
        made.A_log.data, made.D.data = made.A_log.data.float(), made.D.data.float()
    return made


@pytest.mark.parametrize("block", BLOCKS)
def test_names_and_shapes_are_the_packages(block):
    packaged = import_packaged()
    theirs, ours = packaged_block(packaged, block), reference(block)
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {
        k: v.shape for k, v in ours.state_dict().items()
    }
    theirs.load_state_dict(ours.state_dict(), strict=True)
    other = reference(block, seed=1)
    other.load_state_dict(theirs.state_dict(), strict=True)
    for name, value in ours.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    exempt = {n for n, p in theirs.named_parameters() if getattr(p, "_no_weight_decay", False)}
    assert exempt == {n for n, p in ours.named_parameters() if getattr(p, "_no_weight_decay", False)}


@pytest.mark.parametrize(("block", "count"), [("mamba2", 3_764_552), ("mamba", 4_286_976)])
def test_parameters_at_full_width(block, count):
    with torch.device("meta"):
        made = forms.make_block(ModelConfig("mamba_s", 768, 5, block=block), "reference")
    assert sum(p.numel() for p in made.parameters()) == count


@pytest.mark.parametrize("block", BLOCKS)
def test_a_new_block_starts_as_the_package_does(block):
    """Initial values are drawn from the same distributions: means and spreads of large tensors agree."""
    packaged = import_packaged()
    shape = {"d_state": 128, "d_conv": 4, "expand": 2}
    torch.manual_seed(3)
    if block == "mamba2":
        theirs = packaged.mamba2.Mamba2(512, headdim=2, **shape)
    else:
        theirs = packaged.mamba.Mamba(512, **shape)
    ours = forms.make_block(ModelConfig("mamba_s", 8, 5, block=block, d_model=512, headdim=2), "reference")
    for name, value in ours.state_dict().items():
        expected = theirs.state_dict()[name]
        assert abs(value.mean() - expected.mean()) <= 0.25 * expected.std() + 1e-6, name
        assert value.std() == pytest.approx(float(expected.std()), rel=0.15, abs=1e-7), name


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("block", BLOCKS)
def test_outputs_and_gradients_are_the_packages(block, dtype, length, monkeypatch):
    packaged = import_packaged()
    on_references(packaged, monkeypatch)
    ours, theirs = reference(block), packaged_block(packaged, block)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    u = torch.randn(3, length, SHAPE["d_model"], generator=torch.Generator().manual_seed(1)).to(dtype)
    same(run(as_dtype(ours, dtype), u), run(as_dtype(theirs, dtype), u), dtype)


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 200), seed=st.integers(0, 2**31), spread=st.sampled_from([0.1, 1.0, 5.0]))
def test_state_space_dual_is_the_packages_minimal_form(length, seed, spread):
    """`ssd_minimal_discrete`, listing 1 of the paper, in float64 and with one chunk over the whole length."""
    packaged = import_packaged()
    generator = torch.Generator().manual_seed(seed)
    heads, headdim, d_state = 3, 4, 5

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, b, c = normal(2, length, heads, headdim), normal(2, length, d_state), normal(2, length, d_state)
    step = torch.nn.functional.softplus(spread * normal(2, length, heads))
    log_decay = -step * torch.rand(heads, generator=generator, dtype=torch.float64) * 4
    expected, _ = packaged.minimal.ssd_minimal_discrete(
        x * step[..., None],
        log_decay,
        b[:, :, None].expand(-1, -1, heads, -1),
        c[:, :, None].expand(-1, -1, heads, -1),
        length,
    )
    skip = normal(heads)
    found = mamba2.state_space_dual(x, step, log_decay, b, c, skip)
    close(found, expected + skip[:, None] * x, 1e-12, "y")


def recurrence(block, u, made):
    """The whole block, row by row and channel group by channel group, as the papers write it."""
    p = dict(made.named_parameters())
    silu, softplus = torch.nn.functional.silu, torch.nn.functional.softplus
    inner, n = SHAPE["expand"] * SHAPE["d_model"], SHAPE["d_state"]
    taps, past, outputs, state = SHAPE["d_conv"], [], [], None
    for t in range(u.shape[1]):
        projected = u[:, t] @ p["in_proj.weight"].T
        if block == "mamba2":
            z, xbc, dt = (
                projected[:, :inner],
                projected[:, inner : 2 * inner + 2 * n],
                projected[:, 2 * inner + 2 * n :],
            )
        else:
            xbc, z = projected[:, :inner], projected[:, inner:]
        past.append(xbc)
        convolved = p["conv1d.bias"].expand_as(xbc)
        for back in range(min(taps, t + 1)):
            convolved = convolved + p["conv1d.weight"][:, 0, taps - 1 - back] * past[t - back]
        convolved = silu(convolved)
        if block == "mamba2":
            x, b, c = convolved[:, :inner], convolved[:, inner : inner + n], convolved[:, inner + n :]
            step = softplus(dt + p["dt_bias"]).repeat_interleave(SHAPE["headdim"], 1)
            rate = -p["A_log"].exp().repeat_interleave(SHAPE["headdim"])[:, None]
            skip = p["D"].repeat_interleave(SHAPE["headdim"])
        else:
            x, rank = convolved, math.ceil(SHAPE["d_model"] / 16)
            low, b, c = (convolved @ p["x_proj.weight"].T).split([rank, n, n], 1)
            step = softplus(low @ p["dt_proj.weight"].T + p["dt_proj.bias"])
            rate, skip = -p["A_log"].exp(), p["D"]
        new = (step * x)[:, :, None] * b[:, None, :]
        state = new if state is None else torch.exp(step[:, :, None] * rate) * state + new
        y = (state * c[:, None, :]).sum(-1) + skip * x
        y = y * silu(z)
        if block == "mamba2":
            y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * p["norm.weight"]
        outputs.append(y @ p["out_proj.weight"].T)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("block", BLOCKS)
def test_outputs_and_gradients_are_the_recurrences(block, length, dtype):
    made = reference(block).double()
    u = torch.randn(
        2, length, SHAPE["d_model"], generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    if (
        dtype == torch.bfloat16
    ):  # what the rounding of the input and the weights does is not the block's doing
        made, u = made.bfloat16().double(), u.bfloat16().double()

    expected = run(made, u, lambda u: recurrence(block, u, made))
    made.zero_grad(set_to_none=True)
    same(run(made.to(dtype), u.to(dtype)), expected, dtype)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_later_row_changes_nothing_before_it(block):
    made = reference(block).double()
    u = torch.randn(2, 80, SHAPE["d_model"], dtype=torch.float64)
    changed = u.clone()
    changed[:, 70:] += 1
    with torch.no_grad():
        torch.testing.assert_close(made(u)[:, :70], made(changed)[:, :70], rtol=0, atol=1e-12)
        assert (made(u)[:, 70:] - made(changed)[:, 70:]).abs().max() > 1e-3


def test_extreme_steps_stay_finite():
    made = reference("mamba2")
    with torch.no_grad():
        made.dt_bias.fill_(60.0)
        made.A_log.fill_(math.log(16))
    y, gradients = run(made, 100 * torch.randn(2, 70, SHAPE["d_model"]))
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(g).all() for g in gradients.values())


@pytest.mark.parametrize("block", BLOCKS)
def test_kernels_are_never_replaced_in_silence(block):
    with pytest.raises(DataError, match=r"form: the kernels of mamba-ssm cannot run: .*CUDA device.*cpu"):
        build(config(block, form="kernels"))
    assert build(config(block)).form == "reference"
    assert build(config(block, form="reference")).form == "reference"


@pytest.mark.parametrize("block", BLOCKS)
def test_the_form_follows_what_can_be_imported(block, monkeypatch):
    device = torch.device("cuda")
    monkeypatch.setitem(forms.PACKAGED, block, ("lvmfast_has_no_such_module", "Mamba"))
    assert forms.choose_form(config(block), device) == "reference"
    with pytest.raises(DataError, match=r"cannot be imported .*lvmfast_has_no_such_module.*lvmfast\[mamba\]"):
        forms.choose_form(config(block, form="kernels"), device)
    monkeypatch.setitem(forms.PACKAGED, block, ("lvmfast.models.mamba2", "Mamba2"))
    assert forms.choose_form(config(block), device) == "kernels"
    assert forms.choose_form(config(block, form="reference"), device) == "reference"


@pytest.mark.parametrize("block", BLOCKS)
def test_weights_of_a_whole_model_cross_the_forms(block, monkeypatch):
    """A model whose blocks are the package's own, on its references, and one of ours with its weights."""
    packaged = import_packaged()
    on_references(packaged, monkeypatch)
    monkeypatch.setattr(forms, "choose_form", lambda config, device: "kernels")
    theirs = build(config(block)).eval()
    monkeypatch.undo()
    on_references(packaged, monkeypatch)
    ours = build(config(block)).eval()
    assert (theirs.form, ours.form) == ("kernels", "reference")
    ours.load_state_dict(theirs.state_dict(), strict=True)
    windows = torch.randn(4, 5, 24)
    windows[1, :2] = 0
    with torch.no_grad():
        close(ours(windows), theirs(windows), 2e-5, "prediction")
    theirs.load_state_dict(build(config(block)).state_dict(), strict=True)


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [5, 64, 150])
@pytest.mark.parametrize("block", BLOCKS)
def test_the_forms_agree_on_a_gpu(block, length, dtype):
    """The kernels themselves, at the widths they are built for."""
    packaged = import_packaged()
    if block == "mamba" and not has_extension():
        pytest.skip("mamba-ssm is installed without its CUDA extension, which Mamba needs")
    shape = {"d_model": 256, "d_state": 128, "headdim": 64}
    torch.manual_seed(0)
    ours = reference(block, **shape).cuda()
    theirs = forms.make_block(config(block, **shape), "kernels").cuda()
    assert type(theirs).__module__ == getattr(packaged, block).__name__
    theirs.load_state_dict(ours.state_dict(), strict=True)
    u = torch.randn(8, length, 256, device="cuda")
    if dtype == torch.float32:
        torch.backends.cuda.matmul.allow_tf32 = False
        tolerance = (2e-2, 5e-2)  # Triton multiplies float32 in TF32
        found, expected = run(ours, u), run(theirs, u)
    else:
        tolerance = (3e-2, 8e-2)
        with torch.autocast("cuda", torch.bfloat16):
            found, expected = run(ours, u), run(theirs, u)
    close(found[0], expected[0], tolerance[0], "output")
    for name, gradient in found[1].items():
        close(gradient, expected[1][name], tolerance[1], name)
