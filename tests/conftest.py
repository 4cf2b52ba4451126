"""What the tests share."""

import pytest


@pytest.fixture(scope="module")
def monkeypatch_module():
    """A monkeypatch that hypothesis may use: it lives as long as the module."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch
