"""A Hugging Face hub on the loopback, as far as ``huggingface_hub`` asks for the files of a data set."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """Data sets by name: files by path, at one commit each."""

    def __init__(self, datasets: Mapping[str, tuple[str, Mapping[str, bytes]]]) -> None:
        hub = self
        self.log: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer(*hub.found(self.path))

            do_HEAD = do_GET

            def answer(self, status: int, content: bytes, commit: str = "") -> None:
                hub.log.append(f"{self.command} {self.path}")
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Type", "application/json")
                if commit:
                    self.send_header("X-Repo-Commit", commit)
                    self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.datasets = datasets
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def found(self, path: str) -> tuple[Any, ...]:
        path = path.partition("?")[0]
        for name, (commit, files) in self.datasets.items():
            if path == f"/api/datasets/{name}/tree/{commit}":
                entries = [
                    {
                        "type": "file",
                        "path": file,
                        "size": len(content),
                        "oid": hashlib.sha1(content).hexdigest(),
                    }
                    for file, content in files.items()
                ]
                return 200, json.dumps(entries).encode(), commit
            head = f"/datasets/{name}/resolve/{commit}/"
            if path.startswith(head) and path.removeprefix(head) in files:
                return 200, files[path.removeprefix(head)], commit
        return 404, b"{}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
