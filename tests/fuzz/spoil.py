"""Changes that a disk, a network, another program or an enemy makes to a file."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from random import Random

_NUMBERS = [0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
_JSON = [
    b"null", b"true", b"0", b"-0", b"-1", b"7.0", b"1e2", b"1e400", b"NaN", b"-Infinity", b"9" * 30,
    b'""', b'"x"', b'"\\ud800"', b'"\\u0000"', b'"\\ud83d\\ude00"', b"[]", b"{}", b"[1,2,3]", b"[1,2,3,4]",
    b"[[1]]", b"[null,1,2,3]", b'{"text":"t"}', b"[" * 3000, b'{"a":' * 3000, b"\xff", b'"\xc3"', b"\\",
    b'"text"', b'"doc_id"', b'"vector"', b'"embedding"', b'"chunk_id"', b"'", b"01", b"+1", b".5", b"1.",
    b"9" * 5000, b"\xed\xa0\x80",
]  # fmt: skip
_MARKS = [
    b"\n", b"\r", b"\r\n", b"\n\n", b'"', b'""', b",", b"\t", b"\xef\xbb\xbf", b" ", b"\x00", b"\x1a", b"{",
    b"}", b"[", b"]", b":", b"\xe2\x80\xa8", b"7.0", b"=1",
]  # fmt: skip
_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|-?[0-9][0-9.eE+-]*|null|true|false|[\[\]{}:,]')


def _place(rng: Random, data: bytes) -> int:
    return rng.randrange(len(data)) if data else 0


def flip(rng: Random, data: bytes) -> bytes:
    """One to four bytes take other values."""
    spoiled = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if spoiled:
            spoiled[_place(rng, data)] = rng.choice([rng.randrange(256), 0, 255])
    return bytes(spoiled)


def cut(rng: Random, data: bytes) -> bytes:
    """The file ends early."""
    return data[: _place(rng, data)]


def lose(rng: Random, data: bytes) -> bytes:
    """A piece is missing from the middle."""
    at = _place(rng, data)
    return data[:at] + data[at + rng.randint(1, 16) :]


def repeat(rng: Random, data: bytes) -> bytes:
    """A piece stands there twice, or the whole file."""
    if rng.random() < 0.2:
        return data + data
    at, stop = sorted((_place(rng, data), _place(rng, data)))
    return data[:stop] + data[at:stop] + data[stop:]


def number(rng: Random, data: bytes) -> bytes:
    """A field of the header takes a value at the border of its type."""
    size = rng.choice("BHIQ")
    value = rng.choice(_NUMBERS) % 2 ** (8 * struct.calcsize(size))
    at = _place(rng, data)
    return data[:at] + struct.pack(rng.choice("<>") + size, value) + data[at + struct.calcsize(size) :]


def mark(rng: Random, data: bytes) -> bytes:
    """A character that has a meaning appears where none stood."""
    at = _place(rng, data)
    return data[:at] + rng.choice(_MARKS) + data[at:]


def append(rng: Random, data: bytes) -> bytes:
    """Something stands behind the end."""
    zeros, noise = bytes(rng.randint(1, 600)), rng.randbytes(8)
    return data + rng.choice([zeros, noise, rng.choice(_JSON), rng.choice(_MARKS)])


def token(rng: Random, data: bytes) -> bytes:
    """A value or a name in a text format becomes another."""
    found = list(_TOKEN.finditer(data))
    if not found:
        return mark(rng, data)
    span = rng.choice(found)
    return data[: span.start()] + rng.choice(_JSON) + data[span.end() :]


def swap(rng: Random, data: bytes) -> bytes:
    """Two values, or two lines, change places."""
    found = [match.span() for match in _TOKEN.finditer(data)]
    if len(found) < 2:
        return flip(rng, data)
    (a, b), (c, d) = sorted(rng.sample(found, 2))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def members(rng: Random, data: bytes) -> bytes:
    """The members of a zip file get other names, contents or methods; the zip itself stays valid."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            held = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError):
        return flip(rng, data)
    except Exception:  # what a decompressor raises
        return flip(rng, data)
    if not held:
        return data
    at = rng.randrange(len(held))
    name, content = held[at]
    kind = rng.randrange(4)
    if kind == 0:
        held[at] = (name, rng.choice(BINARY)(rng, content))
    elif kind == 1:
        held[at] = (name, content.replace(*rng.choice(_HEADERS)))
    elif kind == 2:
        held.append((rng.choice([*_MEMBERS, name]), content))
    else:
        held.pop(at)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name
        with zipfile.ZipFile(out, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
            for name, content in held:
                archive.writestr(name, content)
    return out.getvalue()


_MEMBERS = ["x.npy", "__MACOSX/._targets.npy", "vector", "vector.npy", "../v.npy", "text.npy", "context.npy"]
_HEADERS = [
    (b"'<f4'", b"'|O' "),
    (b"'<f4'", b"'<i4'"),
    (b"'<f4'", b"'<c8'"),
    (b"False", b"True "),
    (b"(", b"(9"),
    (b", 4)", b", 0)"),
    (b", 4)", b",4L)"),
    (b"4)", b"4, 1)"),
    (b"'shape'", b"'shapf'"),
]


def header(rng: Random, data: bytes) -> bytes:
    """The text at the head of an array says something else."""
    return data.replace(*rng.choice(_HEADERS), 1)


Spoil = Callable[[Random, bytes], bytes]
BINARY: list[Spoil] = [flip, flip, cut, lose, repeat, number, number, append]
_TEXT: list[Spoil] = [*BINARY, mark, mark, token, token, token, token, swap]

SPOILS: dict[str, list[Spoil]] = {
    ".jsonl": _TEXT,
    ".json": _TEXT,
    ".csv": _TEXT,
    ".tsv": _TEXT,
    ".npy": [*BINARY, header, header],
    ".npz": [*BINARY, members, members, members],
    ".parquet": BINARY,
    ".arrow": BINARY,
}


def spoiled(rng: Random, suffix: str, data: bytes) -> bytes:
    """`data` after one to three changes of the kinds that a file of this suffix meets."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        data = rng.choice(SPOILS.get(suffix, BINARY))(rng, data)
    return data
