"""`lvmfast leakscan` over an S3 store of a stated rate: which share of the rate does the scan keep?

The store is a small server on the loopback, a process of its own, that reads files and sends at most `--rate`
bytes a second over all connections together, after `--latency` for each request. The share is the bytes of
column chunks that it sent, by the time of the phase `scan`, over the rate: footers count as nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common import machine

FOLDER = Path(".bench/stores")
DIM = 384
SLICE = 64 << 10


def write_shards(rows: int, shards: int) -> None:
    """Ids, texts and vectors in `shards` parquet files, and an eval file with some rows of theirs."""
    done = FOLDER / f"{rows}-{shards}.done"
    if done.exists():
        return
    (FOLDER / "train").mkdir(parents=True, exist_ok=True)
    for old in (FOLDER / "train").iterdir():
        old.unlink()
    rng = np.random.default_rng(0)
    words = np.array([f"{rng.integers(1 << 40):x}" for _ in range(20_000)])
    each = rows // shards
    for shard in range(shards):
        first = shard * each
        table = pa.table(
            {
                "doc_id": np.arange(first, first + each) // 20,
                "chunk_id": np.arange(first, first + each) % 20,
                "text": [" ".join(words[rng.integers(0, len(words), 40)]) for _ in range(each)],
                "vector": pa.FixedSizeListArray.from_arrays(
                    pa.array(rng.standard_normal(each * DIM, dtype=np.float32)), DIM
                ),
                "unread": [rng.bytes(400) for _ in range(each)],
            }
        )
        pq.write_table(table, FOLDER / "train" / f"part-{shard:05}.parquet", row_group_size=4096)
        if shard == 0:
            pq.write_table(table.slice(0, 500), FOLDER / "eval.parquet")
    done.touch()


class Throttle:
    """At most `rate` bytes a second, over all connections."""

    def __init__(self, rate: float) -> None:
        self._rate, self._free = rate, time.monotonic()
        self._lock = threading.Lock()

    def wait(self, size: int) -> None:
        with self._lock:
            self._free = max(self._free, time.monotonic() - 0.05) + size / self._rate
            until = self._free
        time.sleep(max(0.0, until - time.monotonic()))


def serve(rate: float, latency: float, port: Any, sent: Any) -> None:
    """The store: buckets are folders of FOLDER; `sent` gets bytes, first and last time of training data."""
    throttle, lock = Throttle(rate), threading.Lock()
    infos = {
        path.relative_to(FOLDER).as_posix(): (
            path.stat().st_size,
            hashlib.md5(path.name.encode()).hexdigest(),
        )
        for path in FOLDER.rglob("*.parquet")
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(latency)
            url = urlsplit(self.path)
            key = unquote(url.path).removeprefix("/bucket").strip("/")
            query = parse_qs(url.query)
            if not key:
                self.listing(query.get("prefix", [""])[0], query.get("delimiter", [""])[0])
                return
            if key not in infos:
                self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
                return
            size, etag = infos[key]
            start, stop, whole = 0, size, False
            if span := self.headers.get("Range"):
                low, _, high = span.removeprefix("bytes=").partition("-")
                start, stop = int(low), min(int(high) + 1, size)
                whole = key.startswith("train/") and stop < size  # what reaches the end is a footer
            self.send_response(206 if span else 200)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("Content-Length", str(stop - start))
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            self.end_headers()
            if self.command == "HEAD":
                return
            with open(FOLDER / key, "rb") as file:
                file.seek(start)
                while start < stop:
                    block = file.read(min(SLICE, stop - start))
                    throttle.wait(len(block))
                    self.wfile.write(block)
                    start += len(block)
                    with lock:
                        if whole:
                            sent.value += len(block)

        do_HEAD = do_GET

        def listing(self, prefix: str, delimiter: str) -> None:
            names = [name for name in sorted(infos) if name.startswith(prefix)]
            folders = set()
            if delimiter:
                inside = [name for name in names if "/" in name[len(prefix) :]]
                folders = {prefix + name[len(prefix) :].split("/")[0] + "/" for name in inside}
                names = [name for name in names if name not in inside]
            items = "".join(
                f"<Contents><Key>{name}</Key><Size>{infos[name][0]}</Size><ETag>{infos[name][1]}</ETag>"
                "<LastModified>2024-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
                for name in names
            ) + "".join(
                f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in sorted(folders)
            )
            self.reply(
                200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode()
            )

        def reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    port.value = server.server_port
    server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--rate", type=float, default=50.0, help="MB (1e6 bytes) a second")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds before each answer")
    parser.add_argument("--levels", default="doc,chunk,text")
    options = parser.parse_args()
    write_shards(options.rows, options.shards)
    port, sent = multiprocessing.Value("i", 0), multiprocessing.Value("d", 0.0)
    store = multiprocessing.Process(
        target=serve, args=(options.rate * 1e6, options.latency, port, sent), daemon=True
    )
    store.start()
    while not port.value:
        time.sleep(0.05)
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port.value}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    print(machine())
    print(f"{options.rows:,} rows in {options.shards} shards, {options.latency * 1000:.0f} ms per request")
    for where in ("disk", "store"):
        base = "s3://bucket" if where == "store" else str(FOLDER)
        out = FOLDER / f"out-{where}"
        command = [
            sys.executable, "-m", "lvmfast", "leakscan", "--train", f"{base}/train", "--eval",
            f"{base}/eval.parquet", "--levels", options.levels, "--out", str(out), "--quiet",
        ]  # fmt: skip
        started = time.time()
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        seconds = time.time() - started
        if finished.returncode != 1:
            raise SystemExit(finished.stderr)
        timings = json.loads((out / "summary.json").read_text())["timings"]
        line = f"{where}: {seconds:.1f} s in all, phases {timings}"
        if where == "store":
            scan = next(value for name, value in timings.items() if name.startswith("scan"))
            rate = sent.value / scan / 1e6
            line += (
                f"\nsent {sent.value / 1e6:.0f} MB of column chunks in {scan:.1f} s, {rate:.1f} MB/s: "
                f"{rate / options.rate:.0%} of {options.rate:.0f} MB/s"
            )
        print(line)
    store.terminate()


if __name__ == "__main__":
    main()
