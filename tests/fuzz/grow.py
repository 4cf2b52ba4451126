"""Valid inputs of every format: small, varied, and made by the libraries that users write with."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_WORDS = [
    "alpha",
    "beta",
    "Gamma",
    "d\u00e9j\u00e0",
    "\u6c34",
    "\u0645\u0627\u0621",
    "\U0001f600",
    "x\ty",
    "a\u2028b",
    "",
]


def _text(rng: Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(0, 8)))


def _rows(rng: Random) -> list[dict[str, Any]]:
    columns = rng.sample(["doc_id", "chunk_id", "text", "vector"], rng.randint(1, 4))
    made: dict[str, Callable[[int], Any]] = {
        "doc_id": rng.choice([lambda row: row // 3, lambda row: f"d{row // 3}", lambda row: 2**63 + row]),
        "chunk_id": lambda row: row % 3,
        "text": lambda row: _text(rng),
        "vector": lambda row: [rng.choice([0.0, -0.0, 1.5, -2e-40, 3e38, rng.random()]) for _ in range(4)],
    }
    rows = []
    for row in range(rng.randint(1, 12)):
        rows.append({name: made[name](row) for name in columns})
        if rng.random() < 0.1:
            rows[-1][rng.choice(columns)] = None
    return rows


def jsonl(rng: Random) -> bytes:
    """One object per line; fields may be absent from some, and others may stand beside them."""
    lines = []
    for row in _rows(rng):
        if rng.random() < 0.15:
            row.pop(rng.choice(list(row)))
        if rng.random() < 0.2:
            row["meta"] = rng.choice([1, None, {"text": "inner"}, [{"a": []}], "m", 1.5])
        lines.append(json.dumps(row, ensure_ascii=rng.random() < 0.5))
    end = rng.choice(["\n", "\n", "\r\n"])
    return (end.join(lines) + rng.choice(["", end])).encode()


def records(rng: Random) -> bytes:
    """A list of objects, on one line or indented."""
    return json.dumps(_rows(rng), indent=rng.choice([None, None, 1])).encode()


def table(rng: Random, delimiter: str) -> bytes:
    """CSV or TSV as Python writes it."""
    rows = _rows(rng)
    out = io.StringIO(newline="")
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(out, delimiter=delimiter, lineterminator=rng.choice(["\n", "\r\n"]), quoting=quoting)
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(
            "" if cell is None else json.dumps(cell) if isinstance(cell, list) else cell
            for cell in row.values()
        )
    return out.getvalue().encode()


def _array(rng: Random) -> np.ndarray:
    dtype = rng.choice(["<f4", "<f8", "<f2", ">f4", "<f4", "|i1"])
    array = np.array([[rng.uniform(-2, 2) for _ in range(4)] for _ in range(rng.randint(1, 9))]).astype(dtype)
    return np.asfortranarray(array) if rng.random() < 0.2 else array


def npy(rng: Random) -> bytes:
    """An array of vectors."""
    out = io.BytesIO()
    np.lib.format.write_array(out, _array(rng), version=rng.choice([(1, 0), (2, 0), (3, 0)]))
    return out.getvalue()


def npz(rng: Random) -> bytes:
    """Arrays in a zip file, by any of its methods."""
    vectors = _array(rng)
    members: dict[str, np.ndarray] = {"targets": vectors}
    if rng.random() < 0.5:
        members["truth_keys"] = np.array([[row // 3, row % 3] for row in range(len(vectors))])
    if rng.random() < 0.3:
        members["text"] = np.array([_text(rng) for _ in range(len(vectors))])
    if rng.random() < 0.2:
        members["provenance"] = np.array(json.dumps({"embedder_id": "e", "norm": "none", "metric": "cos"}))
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, array in members.items():
            held = io.BytesIO()
            np.save(held, array)
            archive.writestr(f"{name}.npy", held.getvalue())
    return out.getvalue()


def arrow_table(rng: Random) -> pa.Table:
    """A table of a few rows whose columns have any of the types that a split's columns can have."""
    rows = _rows(rng)
    names = [
        name for name in rows[0] if not any(isinstance(row[name], int) and row[name] >= 2**63 for row in rows)
    ]
    columns = {}
    for name in names or ["text"]:
        values = pa.array([row.get(name) for row in rows])
        if pa.types.is_string(values.type):
            kind = rng.choice([pa.string(), pa.large_string(), pa.string_view(), None])
            values = values.dictionary_encode() if kind is None else values.cast(kind)
        elif pa.types.is_list(values.type):
            kind = rng.choice(
                [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 4)]
            )
            values = pa.array(values.to_pylist(), kind)
        columns[name] = values
    return pa.table(columns)


def parquet(rng: Random) -> bytes:
    """A parquet file by any of its encodings."""
    out = io.BytesIO()
    pq.write_table(
        arrow_table(rng),
        out,
        compression=rng.choice(["none", "snappy", "zstd", "gzip"]),
        use_dictionary=rng.random() < 0.5,
        row_group_size=rng.choice([2, 100]),
        data_page_version=rng.choice(["1.0", "2.0"]),
    )
    return out.getvalue()


def arrow(rng: Random) -> bytes:
    """An Arrow file in one of its two formats."""
    made = arrow_table(rng).unify_dictionaries()
    out = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=rng.choice([None, None, "lz4", "zstd"]))
    with rng.choice([pa.ipc.new_file, pa.ipc.new_stream])(out, made.schema, options=options) as writer:
        writer.write_table(made, max_chunksize=rng.choice([2, 100]))
    return out.getvalue()


def tar(rng: Random) -> bytes:
    """WebDataset: an object for each row, and its vector, its text or an image beside it."""
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    ) as archive:
        for number, row in enumerate(_rows(rng)):
            members = {"jpg": b"\xff\xd8" * rng.randint(0, 400)} if rng.random() < 0.3 else {}
            if (vector := row.pop("vector", None)) is not None:
                saved = io.BytesIO()
                np.save(saved, np.array(vector, np.float32))
                members["npy"] = saved.getvalue()
            if (text := row.pop("text", None)) is not None:
                members["txt"] = text.encode()
            row.pop("doc_id", None)
            members["json"] = json.dumps(row).encode()
            for extension, content in members.items():
                member = tarfile.TarInfo(f"shard/{number:04}.{extension}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".zst": _zstd,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}

PLAIN: dict[str, Callable[[Random], bytes]] = {
    ".jsonl": jsonl,
    ".json": records,
    ".csv": lambda rng: table(rng, ","),
    ".tsv": lambda rng: table(rng, "\t"),
    ".npy": npy,
    ".npz": npz,
    ".parquet": parquet,
    ".arrow": arrow,
    ".tar": tar,
}
