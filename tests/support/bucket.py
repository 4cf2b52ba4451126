"""An S3 server for tests, as fixtures that `tests/conftest.py` imports."""

from __future__ import annotations

import uuid

import pytest

from lvmfast.stores import failures
from lvmfast.stores.filesystems import filesystem
from tests.support.store import Proxy


@pytest.fixture(scope="session")
def proxy():
    """One address for all tests: s3fs keeps a file system for as long as the process lives."""
    moto = pytest.importorskip("moto.server")
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = Proxy(server.get_host_and_port())
    yield proxy
    proxy.stop()
    server.stop()


@pytest.fixture
def bucket(proxy, monkeypatch):
    """The URI of a new bucket, behind a proxy without faults."""
    for name, value in {
        "AWS_ENDPOINT_URL": proxy.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr(failures, "FIRST_PAUSE", 0.001)
    proxy.faults = lambda method, path, headers: None
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    filesystem(f"s3://{name}")[0].mkdir(name)
    proxy.log.clear()
    yield f"s3://{name}"
    proxy.faults = lambda method, path, headers: None
