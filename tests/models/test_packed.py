"""Packed documents: every place of every document says what the model says of the window that ends there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.models.config import ModelConfig
from lvmfast.models.registry import MODELS
from tests.support.packaged_mamba import import_packaged, on_references

torch = pytest.importorskip("torch")

from lvmfast.models import forms, mamba2, packed  # noqa: E402
from lvmfast.models.build import build  # noqa: E402

pytestmark = pytest.mark.heavy

DIM, LONGEST = 6, 12
SHAPE = {"d_model": 16, "n_layers": 2, "d_state": 4, "headdim": 8, "dropout": 0.0}
KINDS = [("mamba_s", "mamba2"), ("mamba_s", "mamba"), ("gru", "mamba2"), ("amn", "mamba2")]
LAYOUTS = st.lists(st.lists(st.integers(1, LONGEST), min_size=1, max_size=4), min_size=1, max_size=3)


def model(name, block, residual=None, seed=0):
    torch.manual_seed(seed)
    made = build(ModelConfig(name, DIM, LONGEST, block=block, residual=residual, **SHAPE)).double()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1 or parameter.eq(0).all():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


def pack(layout, seed=0):
    """Documents of these lengths, row by row: (batch, length, dim), since; (row, first, length) of each."""
    generator = np.random.default_rng(seed)
    width = max(map(sum, layout)) + int(generator.integers(0, 3))
    rows = generator.standard_normal((len(layout), width, DIM))
    since, spans = np.zeros((len(layout), width), np.int64), []
    for row, lengths in enumerate(layout):
        start = 0
        for length in lengths:
            since[row, start : start + length] = np.arange(length)
            spans.append((row, start, length))
            start += length
    return torch.from_numpy(rows), torch.from_numpy(since), spans


def gradients(made, out, weight, rows):
    made.zero_grad()
    rows.grad = None
    (out * weight).sum().backward()
    found = {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in made.named_parameters()}
    return {**found, "rows": rows.grad.clone()}


def alone(made, rows, spans):
    """(batch, length, dim): each place by a window of its own, zeros where no document is."""
    out = torch.zeros_like(rows)
    for row, start, length in spans:
        for last in range(start, start + length):
            out[row, last] = made(rows[row : row + 1, start : last + 1])[0]
    return out


@pytest.mark.parametrize(("name", "block"), KINDS)
@pytest.mark.parametrize("residual", [None, "lag-mix", "mean"])
@settings(max_examples=12, deadline=None)
@given(layout=LAYOUTS, seed=st.integers(0, 99), chunk=st.sampled_from([3, 64]))
def test_a_packed_place_is_a_window_of_its_document(name, block, residual, layout, seed, chunk):
    made = model(name, block, residual, seed)
    rows, since, spans = pack(layout, seed)
    rows.requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mamba2, "CHUNK", chunk)
        found = made.every(rows, since)
        separate = alone(made, rows, spans)
        real = torch.zeros(since.shape, dtype=torch.bool)
        for row, start, length in spans:
            real[row, start : start + length] = True
        torch.testing.assert_close(found[real], separate[real], rtol=1e-9, atol=1e-9)
        if residual == "mean":
            return
        weight = torch.randn(rows.shape, dtype=rows.dtype) * real[..., None]
        ours = gradients(made, found, weight, rows)
        theirs = gradients(made, separate, weight, rows)
    for key, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[key], rtol=1e-7, atol=1e-8, msg=key)


@pytest.mark.parametrize(("name", "block"), KINDS)
def test_no_place_sees_what_comes_later_or_another_document(name, block):
    made = model(name, block, "lag-mix")
    rows, since, spans = pack([[5, 1, 7], [12, 2]])
    before = made.every(rows, since)
    for row, start, length in spans:
        for place in range(start, start + length):
            other = rows.clone()
            kept = torch.zeros(since.shape, dtype=torch.bool)
            kept[row, start : place + 1] = True
            other[~kept] = torch.randn_like(other[~kept])
            after = made.every(other, since)
            torch.testing.assert_close(after[kept], before[kept], rtol=0, atol=1e-12)
            nudged = rows.clone()  # and what it may see, it sees
            nudged[row, place] += 1.0
            assert not torch.allclose(made.every(nudged, since)[row, place], before[row, place])


def test_kernels_get_every_document_in_a_row_of_its_own():
    """What has no mask, such as a kernel, gives the same from rows apart."""
    made = model("mamba_s", "mamba2")
    rows, since, _ = pack([[4, 3, 1], [9]])
    masked = made.every(rows, since)
    made.body.form = "kernels"  # the blocks are the reference still, and get no mask
    torch.testing.assert_close(made.every(rows, since), masked, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", ["mamba2", "mamba"])
def test_packed_blocks_are_the_packages_on_separate_documents(block, monkeypatch):
    packaged = import_packaged()
    on_references(packaged, monkeypatch)
    monkeypatch.setattr(mamba2, "CHUNK", 16)
    shape = {"d_state": 16, "d_conv": 4, "expand": 2}
    if block == "mamba2":
        theirs = packaged.mamba2.Mamba2(32, headdim=8, use_mem_eff_path=False, **shape)
    else:
        theirs = packaged.mamba.Mamba(32, **shape)
    config = ModelConfig("mamba_s", DIM, LONGEST, block=block, d_model=32, headdim=8, **shape)
    ours = forms.make_block(config, "reference")
    ours.load_state_dict(theirs.state_dict(), strict=True)
    _, since, spans = pack([[40, 1, 3, 20], [17, 33]])
    rows = torch.randn(*since.shape, 32)
    found = ours(rows, since)
    for row, start, length in spans:
        span = slice(start, start + length)
        torch.testing.assert_close(
            found[row, span], theirs(rows[row : row + 1, span])[0], rtol=2e-5, atol=2e-6
        )


@given(layout=LAYOUTS)
@settings(max_examples=30, deadline=None)
def test_apart_and_back(layout):
    rows, since, spans = pack(layout)
    alone, places = packed.apart(rows, since)
    assert torch.equal(alone[places], rows)
    for row, start, length in spans:
        document = int(places[0][row, start])
        assert torch.equal(alone[document, :length], rows[row, start : start + length])
        assert not alone[document, length:].any()


def test_models_say_whether_they_can():
    assert {name for name, model in MODELS.items() if model.documents} == {"mamba_s", "amn", "gru"}
