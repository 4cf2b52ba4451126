"""What other readers make of a file: Python's json, csv, gzip, bz2, lzma, numpy, pyarrow on whole files."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROLES = {
    "doc_id": ("doc_id", "article_id", "article_index"),
    "chunk_id": ("chunk_id", "chunk_index"),
    "text": ("text",),
    "vector": ("vector", "embedding", "embeddings", "targets", "target_vectors"),
}
_CONTEXT = ("context", "contexts", "context_sequences", "sequences")


class Fault(Exception):
    """The file is broken: it must be refused."""


class Unsure(Exception):
    """The reference has no opinion."""


@dataclass(frozen=True)
class Reading:
    """Columns by role. `exact`: the file is good beyond doubt, and refusing it is a fault."""

    columns: Mapping[str, list[Any]]
    exact: bool = False


def reference(suffixes: list[str], data: bytes) -> Reading:
    """What the file holds.

    Raises:
        Fault: it must be refused.
        Unsure: nothing can be said of it.
    """
    exact = True
    if suffixes[-1] in _DECOMPRESS:
        padded = data.endswith(b"\x00")  # zeros behind the data are passed over, which not every tool does
        try:
            data = _DECOMPRESS[suffixes[-1]](data)
        except Exception as error:
            raise (Unsure if padded else Fault)(f"{suffixes[-1]}: {error}") from error
        suffixes, exact = suffixes[:-1], False  # bz2 and lzma pass over what stands behind the data
    reading = _READ[suffixes[-1]](data)
    return reading if exact else Reading(reading.columns)


def _unzstd(data: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        return stream.read()


_DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": _unzstd,
}


def _role_fields(names: set[str]) -> dict[str, str]:
    fields = {}
    for role, aliases in ROLES.items():
        there = [alias for alias in aliases if alias in names]
        if len(there) > 1:
            raise Fault(f"{role}: {there}")
        if there:
            fields[role] = there[0]
    if names.intersection(_CONTEXT):
        raise Unsure("windows")
    known = {alias for aliases in (*ROLES.values(), _CONTEXT) for alias in aliases}
    if any(name.strip().casefold() in known for name in names - known):
        raise Unsure("a name that is nearly one of ours")
    if not fields:
        raise Fault("no known field")
    return fields


def _id(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise Fault(f"id {value!r:.50}")
    try:
        return _utf8(str(value))
    except ValueError as error:  # an integer of thousands of digits
        raise Unsure("a long integer") from error


def _utf8(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Fault("a lone surrogate, or bytes that are not UTF-8") from error
    return value


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Fault(f"text {value!r:.50}")
    return None if value is None else _utf8(value)


def _vector(value: Any) -> list[float] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise Fault(f"vector {value!r:.50}")
    for item in value:
        if item is not None and (isinstance(item, bool) or not isinstance(item, (int, float))):
            raise Fault(f"vector {value!r:.50}")
    try:
        return [float("nan") if item is None else float(item) for item in value]
    except OverflowError as error:
        raise Unsure("a large integer") from error


_VALUES: dict[str, Callable[[Any], Any]] = {"doc_id": _id, "chunk_id": _id, "text": _text, "vector": _vector}


def _of_objects(objects: list[dict[str, Any]]) -> Reading:
    names = {name for found in objects for name in found}
    fields = _role_fields(names)
    columns = {role: [_VALUES[role](found.get(field)) for found in objects] for role, field in fields.items()}
    vectors = columns.get("vector")
    if vectors is not None:
        lengths = {len(vector) for vector in vectors if vector is not None}
        if lengths - {0} != lengths or len(lengths) > 1:
            raise Fault(f"vectors of lengths {lengths}")
        if not lengths:
            del columns["vector"]
        else:
            (length,) = lengths
            columns["vector"] = [v if v is not None else [float("nan")] * length for v in vectors]
    if not columns:
        raise Unsure("no column has a value")
    return Reading(columns, exact=True)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unsure("a name stands twice")
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_pairs)
    except RecursionError as error:
        raise Unsure("deep") from error
    except json.JSONDecodeError as error:
        raise Fault(str(error)) from error
    except ValueError as error:  # an integer of thousands of digits
        raise Unsure(str(error)) from error


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Fault("not UTF-8") from error


def _objects(values: list[Any]) -> Reading:
    if not all(isinstance(value, dict) for value in values):
        raise Fault("a value that is no object")
    if not values:
        raise Unsure("no row")
    if any("\ud800" <= character <= "\udfff" for value in values for name in value for character in name):
        raise Unsure("a name with a lone surrogate")
    return _of_objects(values)


def _jsonl(data: bytes) -> Reading:
    """One object a line, or one list of objects, whatever the file is called."""
    text = data.removeprefix(b"\xef\xbb\xbf")
    if text.lstrip(b" \t\r\n").startswith(b"["):
        return _objects(_json(_decoded(text)))
    return _objects([_json(_decoded(line)) for line in text.split(b"\n") if line and not line.isspace()])


def _json_file(data: bytes) -> Reading:
    if data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(b"["):
        return _jsonl(data)
    try:
        return Reading(_jsonl(data).columns)
    except Fault as error:  # objects over several lines may be read or refused
        raise Unsure("lines") from error


def _csv(delimiter: str) -> Callable[[bytes], Reading]:
    def read(data: bytes) -> Reading:
        text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
        try:
            records = [
                r for r in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if r
            ]
        except csv.Error as error:
            raise Fault(str(error)) from error
        if not records:
            raise Unsure("empty")
        names, rows = records[0], records[1:]
        if len(set(names)) < len(names) or "\x00" in text:
            raise Unsure("names")
        fields = _role_fields(set(names))
        if any(len(row) != len(names) for row in rows):
            raise Fault("a row of another length")
        if not rows or "vector" in fields:
            raise Unsure("vectors in cells")
        columns: dict[str, list[Any]] = {}
        for role, field in fields.items():
            cells = [_utf8(row[names.index(field)]) for row in rows]
            columns[role] = cells if role == "text" else [cell or None for cell in cells]
            if role != "text" and any(set(cell.lower()) & set(".en \t\r\n\v\f") for cell in cells):
                raise Unsure("ids that may be numbers in another writing")
        return Reading(columns, exact=_valid(data))

    return read


def _valid(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _array(data: bytes) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:
        raise Unsure(f"numpy: {error}") from error


def _vectors(array: Any) -> list[Any]:
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiu":
        raise Unsure("no vectors")
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32).tolist()


def _npy(data: bytes) -> Reading:
    return Reading({"vector": _vectors(_array(data))})


def _npz(data: bytes) -> Reading:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise Unsure("names")
            held = {name.removesuffix(".npy"): archive.read(name) for name in names}
            held = {name: data for name, data in held.items() if data.startswith(b"\x93NUMPY")}
    except Unsure:
        raise
    except Exception as error:
        raise Unsure(str(error)) from error
    if "truth_keys" in held:
        held["doc_id"] = b""
    fields = _role_fields(set(held))
    if "vector" not in fields:
        raise Unsure("no vectors")
    return Reading({"vector": _vectors(_array(held[fields["vector"]]))})


def _of_table(read: Callable[[], pa.Table]) -> Reading:
    try:
        table = read()
        table.validate(full=True)
        names = set(table.column_names)
    except Exception as error:
        raise Unsure(str(error)) from error
    if len(names) < len(table.column_names):
        raise Unsure("names")
    fields = _role_fields(names)
    try:
        objects = table.select(list(fields.values())).to_pylist()
    except Exception as error:
        raise Unsure(str(error)) from error
    if any(isinstance(value, (bytes, float)) for found in objects for value in found.values()):
        raise Unsure("types")
    return Reading(_objects(objects).columns)


def _parquet(data: bytes) -> Reading:
    return _of_table(lambda: pq.ParquetFile(io.BytesIO(data)).read())


def _arrow(data: bytes) -> Reading:
    file = data.startswith(b"ARROW1\0\0")
    opened = pa.ipc.open_file if file else pa.ipc.open_stream
    return _of_table(lambda: opened(pa.BufferReader(data)).read_all())


def _tar(data: bytes) -> Reading:
    """Rows as `tarfile` lists them, which takes a broken header for the end: no file is good beyond doubt."""
    rows: list[tuple[str, dict[str, Any]]] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                key, _, extension = member.name.removeprefix("./").partition(".")
                if not rows or rows[-1][0] != key:
                    rows.append((key, {"doc_id": key}))
                content = archive.extractfile(member)
                if content is None:
                    raise Unsure("no file")
                if extension == "json":
                    rows[-1][1].update(_json(_decoded(content.read())))
                elif extension == "txt":
                    rows[-1][1]["text"] = _decoded(content.read()).removeprefix("\ufeff")
                elif extension == "npy":
                    rows[-1][1]["vector"] = np.load(io.BytesIO(content.read())).tolist()
                elif extension != "jpg":
                    raise Unsure("another extension")
    except (tarfile.TarError, ValueError, TypeError, EOFError, OSError) as error:
        raise Unsure(str(error)) from error
    except Fault as error:
        raise Unsure(str(error)) from error
    return Reading(_objects([row for _, row in rows]).columns)


_READ: dict[str, Callable[[bytes], Reading]] = {
    ".jsonl": _jsonl,
    ".json": _json_file,
    ".csv": _csv(","),
    ".tsv": _csv("\t"),
    ".npy": _npy,
    ".npz": _npz,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".tar": _tar,
}
