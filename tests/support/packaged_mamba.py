"""The mamba-ssm package as an oracle where no GPU is: its own modules, on its own reference functions.

The package is installed without its CUDA extension, which its `__init__` insists on: so its folder is made a
package by hand, and the extension's name is taken by an empty module. What calls a kernel here calls the
reference function that the package tests that kernel with.
"""

import importlib
import importlib.util
import os
import sys
import types

import pytest

EXTENSION = "selective_scan_cuda"


def import_packaged() -> types.SimpleNamespace:
    """The modules of mamba-ssm with its blocks and references; skips the test, or fails it in CI, without."""
    pytest.importorskip("torch")
    spec = importlib.util.find_spec("mamba_ssm") if "mamba_ssm" not in sys.modules else True
    if spec is None or importlib.util.find_spec("triton") is None:
        reason = "mamba-ssm or triton is missing: make test-heavy installs them where they can be had"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    if spec is not True:
        package = types.ModuleType("mamba_ssm")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["mamba_ssm"] = package
    if EXTENSION not in sys.modules and importlib.util.find_spec(EXTENSION) is None:
        sys.modules[EXTENSION] = types.ModuleType(EXTENSION)
    names = {
        "mamba": "modules.mamba_simple",
        "mamba2": "modules.mamba2",
        "minimal": "modules.ssd_minimal",
        "scan": "ops.selective_scan_interface",
        "combined": "ops.triton.ssd_combined",
        "gated": "ops.triton.layernorm_gated",
    }
    return types.SimpleNamespace(
        **{name: importlib.import_module(f"mamba_ssm.{path}") for name, path in names.items()}
    )


def has_extension() -> bool:
    """Whether the CUDA extension that Mamba (and not Mamba2) needs is really there."""
    import_packaged()
    return hasattr(sys.modules.get(EXTENSION) or importlib.import_module(EXTENSION), "fwd")


def on_references(packaged: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the package's reference functions where its modules call kernels."""

    def chunk_scan(x, dt, A, B, C, chunk_size, **options):
        kept = {name: options[name] for name in ("D", "z", "dt_bias", "dt_softplus")}
        return packaged.combined.ssd_selective_scan(x, dt, A, B, C, **kept)

    def gated_norm(self, x, z=None):
        return packaged.gated.rms_norm_ref(
            x, self.weight, self.bias, z, self.eps, self.group_size, self.norm_before_gate
        )

    monkeypatch.setattr(packaged.scan, "selective_scan_fn", packaged.scan.selective_scan_ref)
    monkeypatch.setattr(packaged.mamba, "selective_scan_fn", packaged.scan.selective_scan_ref)
    monkeypatch.setattr(packaged.mamba2, "mamba_chunk_scan_combined", chunk_scan)
    monkeypatch.setattr(packaged.gated.RMSNorm, "forward", gated_norm)
    for module in (packaged.mamba, packaged.mamba2):
        monkeypatch.setattr(module, "causal_conv1d_fn", None)
