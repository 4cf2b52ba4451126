"""Text corpora as files: what reading and scanning them takes beside tools that read or decompress alone.

English paragraphs with ids and addresses are written to `.bench/corpora`: jsonl, jsonl.gz, jsonl.zst and
parquet, and as chats, a message a paragraph. The ways of a table are taken in turn, `--rounds` times, and
medians are printed. Processor time is that of all threads and processes together; wall time is on all cores.

    python benches/corpora.py                      # 400 MB
    python benches/corpora.py --megabytes 50 --rounds 2
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from zlib_ng import gzip_ng

from common import machine
from lvmfast import _core
from lvmfast.corpus import load_split
from lvmfast.corpus.budget import reading_within
from lvmfast.corpus.looks import begins_again
from text import english

FOLDER = Path(".bench/corpora")
Way = Callable[[], Any]


def documents(megabytes: int) -> Iterator[dict[str, str]]:
    """Some paragraphs each, with an id and an address."""
    rng, paragraphs = random.Random(1), english(megabytes)
    at = 0
    while at < len(paragraphs):
        count = rng.randint(3, 20)
        text = "\n\n".join(paragraphs[at : at + count])
        yield {"text": text, "id": f"doc-{at:09}", "url": f"https://example.org/{rng.random()}/page.html"}
        at += count


def chat(row: dict[str, str]) -> dict[str, Any]:
    """A document as a chat, whose messages are its paragraphs."""
    roles = ("user", "assistant")
    paragraphs = row["text"].split("\n\n")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(paragraphs)]
    return {"messages": messages, "id": row["id"], "url": row["url"]}


def write(megabytes: int) -> None:
    """The corpus in every format, and a thousand evaluation rows, some of them documents."""
    if (FOLDER / f"{megabytes}.done").exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.rglob("*.*"):
        old.unlink()
    rows = list(documents(megabytes))
    plain = FOLDER / "train.jsonl"
    with plain.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    with plain.with_name("chat.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(chat(row)) + "\n" for row in rows)
    for command in (["gzip", "-k", str(plain)], ["zstd", "-q", "-k", str(plain)]):
        subprocess.run(command, check=True)
    for codec in ("zstd", "snappy"):
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, FOLDER / f"{codec}.parquet", compression=codec, row_group_size=20_000)
    with (FOLDER / "eval.jsonl").open("w", encoding="utf-8") as out:
        for row in range(1000):
            text = rows[row * len(rows) // 1000]["text"] if row % 10 == 0 else f"question {row} of the set"
            out.write(json.dumps({"text": text, "id": row}) + "\n")
    for half, start in (("first", 0), ("second", len(rows) // 2)):
        (FOLDER / "halves").mkdir(exist_ok=True)
        with (FOLDER / "halves" / f"{half}.jsonl").open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows[start : start + len(rows) // 2])
    asked = [{"text": f"question {row} of the set", "id": row} for row in range(5)]
    for name, few in (("few", rows[:5]), ("unmatched", asked)):
        (FOLDER / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in few), "utf-8")
    (FOLDER / f"{megabytes}.done").touch()


def write_many(files: int = 16) -> Path:
    """The corpus in so many files of each format, a folder for each."""
    many = FOLDER / "many"
    if many.exists() and (many / "done").exists():
        return many
    with (FOLDER / "train.jsonl").open("rb") as stream:
        lines = stream.readlines()
    for part in range(files):
        data = lines[part * len(lines) // files : (part + 1) * len(lines) // files]
        table = pa.Table.from_pylist([json.loads(line) for line in data])
        for kind in ("jsonl", "jsonl.gz", "jsonl.zst", "parquet"):
            (many / kind).mkdir(parents=True, exist_ok=True)
        plain = many / "jsonl" / f"{part:02}.jsonl"
        plain.write_bytes(b"".join(data))
        for kind, command in (("jsonl.gz", "gzip"), ("jsonl.zst", "zstd")):
            with (many / kind / f"{part:02}.{kind}").open("wb") as out:
                subprocess.run([command, "-qc", str(plain)], check=True, stdout=out)
        pq.write_table(
            table, many / "parquet" / f"{part:02}.parquet", compression="zstd", row_group_size=20_000
        )
    (many / "done").touch()
    return many


def write_larger(folder: Path, times: int = 4) -> Path:
    """The files of a folder so many times over, as links, in two folders of one."""
    larger = folder.with_name(f"{folder.name} larger")
    for time_ in range(times):
        half = larger / str(2 * time_ // times)
        half.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            link = half / f"{time_}-{file.name}"
            if not link.exists():
                os.link(file, link)
    return larger


def write_short_streams(megabytes: int = 4) -> list[Path]:
    """The corpus in gzip members and zstd frames that hold so much each."""
    paths = [FOLDER / f"short.jsonl.{suffix}" for suffix in ("gz", "zst")]
    if not paths[-1].exists():
        for path, codec in zip(paths, ("gzip", "zstd"), strict=True):
            with (FOLDER / "train.jsonl").open("rb") as plain, path.open("wb") as out:
                while data := plain.read(megabytes << 20):
                    out.write(pa.compress(data, codec=codec, asbytes=True))
    return paths


def processor_seconds() -> float:
    """Of this process and of those that it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def in_turn(ways: dict[str, Way], rounds: int) -> dict[str, tuple[float, float]]:
    """(processor, wall) seconds of each way, medians of `rounds` after one round that does not count."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    answers: dict[str, Any] = {}
    for counted in range(rounds + 1):
        for name, way in ways.items():
            before = processor_seconds(), time.perf_counter()
            answers[name] = way()
            after = processor_seconds(), time.perf_counter()
            if counted:
                taken[name].append((after[0] - before[0], after[1] - before[1]))
    if len({answer for answer in answers.values() if answer is not None}) > 1:
        sys.exit(f"the answers differ: {answers}")
    return {
        name: (statistics.median(cpu for cpu, _ in times), statistics.median(wall for _, wall in times))
        for name, times in taken.items()
    }


def ours(path: Path) -> Way:
    """Bytes of text, read through the batches of a split, in one pass as in a scan."""

    @begins_again()
    def read() -> int:
        batches = load_split(path).batches(["text"], 8192)
        return sum(int(np.diff(_offsets(batch.text)[[0, -1]])[0]) for batch in batches)

    return read


def on_threads(path: Path, count: int) -> Way:
    """As `ours`, with so many threads."""

    def read() -> int:
        with reading_within(None, threads=count):
            return int(ours(path)())

    return read


def counted_alone(way: Way) -> Way:
    """A way whose answer is another one than that of the ways beside it."""

    def run() -> None:
        way()

    return run


def _offsets(array: pa.Array) -> Any:
    return np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]


def by_orjson(path: Path) -> None:
    with path.open("rb") as lines:
        for line in lines:
            orjson.loads(line)["text"]


def chats_by_orjson(path: Path) -> None:
    with path.open("rb") as lines:
        for line in lines:
            "\n".join(message["content"] for message in orjson.loads(line)["messages"])


def by_polars(path: Path) -> int:
    lazy = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_ndjson(path)
    return int(lazy.select(pl.col("text").str.len_bytes().sum()).collect(engine="streaming").item())


def by_duckdb(path: Path) -> int:
    source = (
        f"read_parquet('{path}')"
        if path.suffix == ".parquet"
        else f"read_json('{path}', format='newline_delimited', columns={{text: 'VARCHAR'}})"
    )
    return int(duckdb.sql(f"SELECT sum(strlen(text)) FROM {source}").fetchall()[0][0])


def by_zlib_ng(path: Path) -> None:
    with gzip_ng.open(path, "rb") as stream:
        while stream.read(1 << 20):
            pass


def command(*arguments: str) -> Way:
    def run() -> None:
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, env=_installed())

    return run


def _installed() -> dict[str, str]:
    """The environment of a process that keeps bytecode, as that of an installed package is kept."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def scan(
    path: Path, levels: str = "text", eval: Path = FOLDER / "eval.jsonl", cores: set[int] | None = None
) -> Way:
    """A whole `lvmfast leakscan`, start of the process and report included; on some of the cores alone."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as out:
            line = [sys.executable, "-m", "lvmfast", "leakscan", "--levels", levels, "--quiet", "--out", out]
            line += ["--train", str(path), "--eval", str(eval)]
            everywhere = os.sched_getaffinity(0)
            os.sched_setaffinity(0, cores or everywhere)  # which the process that starts inherits
            try:
                done = subprocess.run(line, capture_output=True, text=True, check=False, env=_installed())
            finally:
                os.sched_setaffinity(0, everywhere)
            if done.returncode not in (0, 1):
                sys.exit(done.stderr)

    return run


def side_by_side(*ways: Way) -> Way:
    """Ways at once, a thread each."""

    def run() -> None:
        with ThreadPoolExecutor(len(ways)) as pool:
            for done in [pool.submit(way) for way in ways]:
                done.result()

    return run


def copying(path: Path) -> Way:
    """The bytes of the texts in memory, copied to where something was copied before."""
    data = np.frombuffer(_texts(path).buffers()[2], np.uint8)
    copy = data.copy()

    def run() -> None:
        np.copyto(copy, data)

    return run


def _texts(path: Path) -> pa.Array:
    return pq.read_table(path, columns=["text"])["text"].cast(pa.large_string()).combine_chunks()


def hashing(path: Path) -> Way:
    """The texts in memory, hashed."""
    column = _texts(path)
    data, offsets = np.frombuffer(column.buffers()[2], np.uint8), _offsets(column)

    def run() -> None:
        _core.hash_texts_128(data, offsets, "default", 0)

    return run


def overlapping(path: Path, eval: Path, rows: int = 4096) -> Way:
    """The texts in memory, looked through for evaluation items."""
    column, items = _texts(path), [json.loads(line)["text"] for line in eval.open(encoding="utf-8")]
    data, offsets = np.frombuffer(column.buffers()[2], np.uint8), _offsets(column)
    given = pa.array(items, pa.large_string())
    index = _core.OverlapIndex()
    index.add(np.frombuffer(given.buffers()[2], np.uint8), _offsets(given), 0)
    index.end(0)
    index.watch_grams()
    index.turn(0, 1, 0)

    def run() -> None:
        for start in range(0, len(column), rows):
            index.scan(data, offsets[start : start + rows + 1], 0)

    return run


def show(title: str, size: int, ways: dict[str, Way], rounds: int) -> None:
    """A table of the ways, of which the first is ours; `size` is bytes of what is read, decompressed."""
    found = in_turn(ways, rounds)
    print(f"\n{title}, {size / 1e6:.0f} MB\n\n| | processor | MB/s | times | wall | times |")
    print("| --- | --- | --- | --- | --- | --- |")
    first = next(iter(found.values()))
    for name, (cpu, wall) in found.items():
        print(
            f"| {name} | {cpu:.2f} s | {size / 1e6 / cpu:.0f} | {cpu / first[0]:.2f} | {wall:.2f} s |"
            f" {wall / first[1]:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400, help="of text (default 400)")
    parser.add_argument("--rounds", type=int, default=5, help="of each way (default 5)")
    args = parser.parse_args()
    write(args.megabytes)
    plain = FOLDER / "train.jsonl"
    size = plain.stat().st_size
    print(f"{machine()}, {os.cpu_count()} processors; polars {pl.__version__}, duckdb {duckdb.__version__}")
    start = scan(FOLDER / "eval.jsonl")
    two = [FOLDER / f"{name}.jsonl" for name in ("few", "unmatched")]
    imports = command(sys.executable, "-c", "import numpy, pyarrow")
    small = {"scan of two small files": scan(two[0], eval=two[1]), "import numpy, pyarrow": imports}
    small["the scan at overlap, too"] = scan(two[0], "text,overlap", two[1])
    show("Start", sum(path.stat().st_size for path in two), small, args.rounds)
    reading = {"lvmfast": ours(plain), "orjson in a loop": lambda: by_orjson(plain)}
    reading |= {"polars": lambda: by_polars(plain), "duckdb": lambda: by_duckdb(plain)}
    show("Reading text out of jsonl", size, reading, args.rounds)
    chats = plain.with_name("chat.jsonl")
    reading = {"lvmfast": ours(chats), "orjson in a loop": lambda: chats_by_orjson(chats)}
    reading |= {"the same paragraphs as plain texts": counted_alone(ours(plain))}
    show("Reading messages out of jsonl", chats.stat().st_size, reading, args.rounds)
    hashed = hashing(FOLDER / "zstd.parquet")
    parts = {"reading alone": ours(plain), "hashing alone": hashed, "scan of the evaluation set alone": start}
    unmatched = scan(plain, eval=two[1])
    show(
        "Scan of jsonl", size, {"scan": scan(plain), "scan without a match": unmatched, **parts}, args.rounds
    )
    one = {min(os.sched_getaffinity(0))}
    halves = {"two files": scan(FOLDER / "halves"), "on one core": scan(FOLDER / "halves", cores=one)}
    show("Scan of two files of jsonl", size, halves, args.rounds)
    many = write_many()
    for name in ("jsonl", "jsonl.gz", "jsonl.zst", "parquet"):
        folder = many / name
        at_once = {"lvmfast": ours(folder), "one file after the other": on_threads(folder, 1)}
        show(f"Reading text out of many files, {name}", size, at_once, args.rounds)
        on_one = {"many files": scan(folder), "on one core": scan(folder, cores=one)}
        show(f"Scan of many files, {name}", size, on_one, args.rounds)
        larger = write_larger(folder)
        ways = {"many files": scan(larger), "on one core": scan(larger, cores=one)}
        ways["two processes, half of them each"] = side_by_side(*map(scan, sorted(larger.iterdir())))
        show(f"Scan of four times as many files, {name}", 4 * size, ways, 2)
    copied = copying(FOLDER / "zstd.parquet")
    show(
        "Text in memory",
        _texts(FOLDER / "zstd.parquet").buffers()[2].size,
        {"hashing": hashed, "copying": copied},
        args.rounds,
    )
    packed = plain.with_suffix(".jsonl.gz")
    peers = {"gzip -dc": command("gzip", "-dc", str(packed)), "zlib-ng": lambda: by_zlib_ng(packed)}
    show("Scan of jsonl.gz", size, {"scan": scan(packed), **peers}, args.rounds)
    packed = plain.with_suffix(".jsonl.zst")
    peers = {"zstd -dc": command("zstd", "-dc", str(packed)), "scan of plain jsonl": scan(plain)}
    show("Scan of jsonl.zst", size, {"scan": scan(packed), **peers}, args.rounds)
    for path in write_short_streams():
        at_once = {"four threads": on_threads(path, 4), "one thread": on_threads(path, 1)}
        show(f"Reading text out of {path.name}, in short streams", size, at_once, args.rounds)
    for codec in ("zstd", "snappy"):
        path = FOLDER / f"{codec}.parquet"
        peers = {"polars": lambda path=path: by_polars(path), "duckdb": lambda path=path: by_duckdb(path)}
        show(f"Reading text out of parquet, {codec}", size, {"lvmfast": ours(path), **peers}, args.rounds)
        peers["hashing alone"] = hashed
        show(f"Scan of parquet, {codec}", size, {"scan": scan(path), **peers}, args.rounds)
    few, kernel = scan(two[0], "overlap", two[1]), overlapping(FOLDER / "zstd.parquet", two[1])
    for name in ("train.jsonl", "train.jsonl.gz", "train.jsonl.zst", "zstd.parquet", "snappy.parquet"):
        path = FOLDER / name
        ways = {"scan": scan(path, "overlap", two[1]), "reading alone": counted_alone(ours(path))}
        ways |= {"kernel alone": kernel, "scan of few documents": few}
        show(f"Scan of {name} at overlap, without a match", size, ways, args.rounds)
    # The paragraphs of documents come again under other numbers, so that most documents are evidence.
    show("Scan of jsonl at overlap", size, {"scan": scan(plain, "overlap")}, args.rounds)


if __name__ == "__main__":
    main()
