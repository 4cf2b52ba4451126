"""A Hugging Face hub on the loopback, as far as ``huggingface_hub`` asks for the files of a data set."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Hub:
    """Data sets by name: files by path, at one commit each, which is that of the main branch."""

    def __init__(self, datasets: Mapping[str, tuple[str, Mapping[str, bytes]]]) -> None:
        hub = self
        self.log: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                paths = parse_qs(body.decode()).get("paths", [])
                if self.headers.get("Content-Type") == "application/json" and body:
                    paths = json.loads(body)["paths"]
                found = hub.found(unquote(asked.path), "recursive=true" in asked.query.lower(), paths)
                self.answer(*(found or (404, b"{}", "")))

            do_HEAD = do_POST = do_GET

            def answer(self, status: int, content: bytes, commit: str) -> None:
                hub.log.append(f"{self.command} {self.path}")
                etag, first = hashlib.sha1(content).hexdigest(), None
                if (
                    wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
                ) and content:
                    first, whole = int(wanted[1]), len(content)
                    content = content[first : int(wanted[2]) + 1]
                self.send_response(status if first is None else 206)
                if first is not None:
                    self.send_header("Content-Range", f"bytes {first}-{first + len(content) - 1}/{whole}")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Type", "application/json")
                self.send_header("ETag", f'"{etag}"')
                self.send_header("X-Repo-Commit", commit)
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

    def found(self, path: str, recursive: bool, paths: Sequence[str]) -> tuple[int, bytes, str] | None:
        """Status, content and commit that answer a request; None for what there is not."""
        for name, (commit, files) in self.datasets.items():
            about = f"/api/datasets/{name}"
            revisions = ("main", commit)
            if path in (about, *(f"{about}/revision/{revision}" for revision in revisions)):
                return 200, json.dumps({"id": name, "sha": commit, "siblings": []}).encode(), commit
            for revision in revisions:
                tree, resolved = f"{about}/tree/{revision}", f"/datasets/{name}/resolve/{revision}/"
                if path == tree or path.startswith(f"{tree}/"):
                    below = path.removeprefix(tree).strip("/")
                    return 200, json.dumps(_entries(files, below, recursive)).encode(), commit
                if path == f"{about}/paths-info/{revision}":
                    entries = [entry for entry in _entries(files, "", True) if entry["path"] in paths]
                    return 200, json.dumps(entries).encode(), commit
                if path.startswith(resolved) and path.removeprefix(resolved) in files:
                    return 200, files[path.removeprefix(resolved)], commit
        return None

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _entries(files: Mapping[str, bytes], below: str, recursive: bool) -> list[dict[str, Any]]:
    """The files and folders in a folder."""
    start = f"{below}/" if below else ""
    entries = []
    folders = set()
    for path, content in files.items():
        if not path.startswith(start):
            continue
        parts = path.removeprefix(start).split("/")[:-1]
        for depth in range(1, len(parts) + 1 if recursive else min(len(parts), 1) + 1):
            folders.add(start + "/".join(parts[:depth]))
        if recursive or not parts:
            oid = hashlib.sha1(content).hexdigest()
            entries.append({"type": "file", "path": path, "size": len(content), "oid": oid})
    return entries + [
        {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0} for folder in sorted(folders)
    ]
