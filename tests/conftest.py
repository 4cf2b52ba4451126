"""What the tests share."""

import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it runs in the background deaf to Ctrl-C, and every process it starts inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def monkeypatch_module():
    """A monkeypatch that hypothesis may use: it lives as long as the module."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch
