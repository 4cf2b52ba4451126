"""Where vectors are compared: the core's own kernels, or a GPU. The pairs and the scores are the same."""

from __future__ import annotations

import re

from lvmfast import _core
from lvmfast.errors import DataError
from lvmfast.leaks.near_index import NearIndex
from lvmfast.leaks.options import ScanOptions


def near_index(dim: int, options: ScanOptions) -> NearIndex:
    """An empty index over (n, dim) rows on the device that `options` names.

    Raises:
        DataError: as `device_name`, or the rows are too wide for the device's bound.
    """
    if options.device == "cpu":
        return _core.NearIndex(dim, options.threshold, options.threads)
    from lvmfast.leaks.torch_near import TorchNearIndex, open_device

    return TorchNearIndex(dim, options.threshold, options.threads, open_device(options.device))


def device_name(device: str) -> str:
    """What `device` is, for the record of a run: ``cpu``, or ``cuda:0 (...)`` with the name of the GPU.

    Raises:
        DataError: it is neither cpu nor cuda, torch is missing or too old, or it sees no such GPU.
    """
    if device == "cpu":
        return device
    if re.fullmatch(r"cuda(:\d{1,4})?", device) is None:
        raise DataError(f"device: expected cpu, cuda or cuda:N, got {device!r}")
    from lvmfast.leaks.torch_near import describe_device, open_device

    return describe_device(open_device(device))
