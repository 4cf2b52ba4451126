"""An S3 server on the loopback, and a proxy before it that does what networks and stores do to clients."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lvmfast.stores.filesystems import filesystem

#: (method, path, headers) -> a fault, or None: an HTTP status, "reset", "truncate", "slow", or a callable to
#: call before the request goes on.
Faults = Callable[[str, str, Any], Any]
_CODES = {500: "InternalError", 503: "SlowDown", 403: "AccessDenied", 507: "InsufficientStorage"}


class Proxy:
    """Passes requests on to `upstream`, unless `faults` says otherwise; keeps a log of them."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.faults: Faults = lambda method, path, headers: None
        self.log: list[tuple[str, str, str | None]] = []  # method, path, range
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.log.append((self.command, self.path, self.headers.get("Range")))
                fault = proxy.faults(self.command, self.path, self.headers)
                if callable(fault):
                    fault = fault()
                if isinstance(fault, int):
                    code = _CODES[fault]
                    content = (
                        f"<Error><Code>{code}</Code><Message>{code} on purpose</Message></Error>".encode()
                    )
                    self.answer(fault, [("Content-Type", "application/xml")], content, len(content))
                    return
                if fault == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True  # with what SO_LINGER says, a reset
                    return
                if fault == "slow":
                    time.sleep(0.2)
                connection = http.client.HTTPConnection(*upstream)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers.items()))
                    response = connection.getresponse()
                    content = response.read()
                finally:
                    connection.close()
                size = (
                    len(content) if self.command != "HEAD" else int(response.getheader("Content-Length") or 0)
                )
                if fault == "truncate":
                    content = content[: len(content) // 2]
                kept = [
                    (name, value)
                    for name, value in response.getheaders()
                    if name.lower() not in ("content-length", "transfer-encoding", "connection")
                ]
                self.answer(response.status, kept, content, size)

            def answer(self, status: int, headers: list[tuple[str, str]], content: bytes, size: int) -> None:
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(size))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
                if len(content) < size and self.command != "HEAD":
                    self.close_connection = True

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients hang up

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def failing(times: int, fault: Any, *, method: str = "GET", part: str = "") -> Faults:
    """The first `times` requests of `method` whose path holds `part` meet with `fault`."""
    left = [times]
    lock = threading.Lock()

    def faults(asked: str, path: str, headers: Any) -> Any:
        if asked != method or part not in path:
            return None
        with lock:
            left[0] -= 1
            return fault if left[0] >= 0 else None

    return faults


def put(uri: str, content: bytes) -> None:
    """Makes an object."""
    fs, inner = filesystem(uri)
    fs.pipe_file(inner, content)
