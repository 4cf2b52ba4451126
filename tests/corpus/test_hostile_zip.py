"""What a zip file can claim: every lie is a one-line DataError, and none of them is believed for long."""

import contextlib
import io
import struct
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support.corpus_reading import read, read_all


def npy_bytes(values=None, header=None):
    out = io.BytesIO()
    if header is None:
        np.save(out, np.eye(8, dtype=np.float32) if values is None else values)
    else:
        np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, **header})
        out.write(bytes(256))
    return out.getvalue()


def write_zip(path, members, method=zipfile.ZIP_STORED):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile frowns on duplicates
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return path


def refused(path, message):
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["/etc/v.npy", "../v.npy", "a/../../v.npy", "..\\v.npy", "\\v.npy", "C:/v.npy"]
)
def test_absolute_and_parent_paths_are_refused(tmp_path, name):
    path = write_zip(tmp_path / "a.npz", [("targets.npy", npy_bytes()), (name, npy_bytes())])
    refused(path, r"a\.npz: member .* got an absolute or parent path")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("shape", [(10**15, 8), (9, 8), (10**15, 10**15), (2**62, 4)])
def test_headers_that_promise_too_much_are_refused(tmp_path, method, shape):
    path = write_zip(tmp_path / "a.npz", [("vector.npy", npy_bytes(header={"shape": shape}))], method)
    refused(path, r"a\.npz: vector: the header promises .* but the file holds 256")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_rows_without_bytes_are_refused(tmp_path, method):
    header = {"shape": (10**15,), "descr": "<U0"}
    path = write_zip(tmp_path / "a.npz", [("doc_id.npy", npy_bytes(header=header))], method)
    refused(path, r"a\.npz: doc_id: the header promises .* 0 bytes, but 256 follow it")
    header = {"shape": (10**15, 0)}
    path = write_zip(tmp_path / "b.npz", [("vector.npy", npy_bytes(header=header))], method)
    refused(path, r"b\.npz: vector: the header promises .* 0 bytes, but 256 follow it")


def test_a_row_too_wide_for_any_embedding_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, vector=np.zeros((1, 20 << 20), np.float32))
    refused(path, r"a\.npz: vector: expected rows of at most 67108864 bytes")


@pytest.mark.parametrize(
    "header",
    [
        {"shape": (-1, 8)},
        {"shape": (8.0, 8)},
        {"shape": [8, 8]},
        {"shape": (True, 8)},
        {"shape": (8, 8), "descr": "O8x"},
        {"shape": (8, 8), "descr": 7},
        {"shape": (8, 8), "fortran_order": 1},
    ],
)
def test_broken_headers_are_refused(tmp_path, header):
    whole = {"descr": "<f4", "fortran_order": False, **header}
    text = repr(whole).encode().ljust(118) + b"\n"
    data = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(256)
    refused(write_zip(tmp_path / "a.npz", [("vector.npy", data)]), r"a\.npz: vector: broken \.npy header")


@pytest.mark.parametrize(
    "data", [b"", b"\x93NUMPY", b"\x93NUMPY\1\0\xff\xff{", b"PK\3\4" * 10, b"\x93NUMPY\7\0\2\0{}"]
)
def test_members_that_are_no_arrays_are_refused(tmp_path, data):
    refused(write_zip(tmp_path / "a.npz", [("vector.npy", data)]), r"a\.npz: vector: ")


def test_members_that_stand_twice_are_refused(tmp_path):
    path = write_zip(tmp_path / "a.npz", [("vector.npy", npy_bytes()), ("vector.npy", npy_bytes())])
    refused(path, r"a\.npz: member 'vector.npy' stands twice")


def test_members_that_overlap_are_refused(tmp_path):
    path = write_zip(tmp_path / "a.npz", [("vector.npy", npy_bytes()), ("targets.npy", npy_bytes())])
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\1\2")  # the central entry of the second member, made to point at the first
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    path.write_bytes(data)
    refused(path, r"a\.npz: member .* overlaps another")


def test_encrypted_members_are_refused(tmp_path):
    path = write_zip(tmp_path / "a.npz", [("vector.npy", npy_bytes())])
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    refused(path, r"a\.npz: member 'vector.npy' is encrypted")


@pytest.mark.parametrize("size", [10**6, 2**32 - 2])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_central_sizes_that_lie_are_refused(tmp_path, size, method):
    rows = size // 32
    path = write_zip(tmp_path / "a.npz", [("vector.npy", npy_bytes(header={"shape": (rows, 8)}))], method)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    for field in (20, 24) if method == zipfile.ZIP_STORED else (24,):
        data[entry + field : entry + field + 4] = struct.pack("<I", size)
    path.write_bytes(data)
    refused(path, r"a\.npz: .*promises")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_truncation_is_refused(tmp_path, save):
    save(tmp_path / "a.npz", vector=np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32))
    whole = (tmp_path / "a.npz").read_bytes()
    for size in range(0, len(whole), 37):
        (tmp_path / "b.npz").write_bytes(whole[:size])
        refused(tmp_path / "b.npz", r"b\.npz: ")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), compressed=st.booleans())
def test_flipped_bytes_never_end_in_anything_but_an_answer_or_a_refusal(tmp_path, data, compressed):
    out = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(
        out, vector=np.eye(4, dtype=np.float32), truth_keys=np.zeros((4, 2), int), text=np.array(list("abcd"))
    )
    changed = bytearray(out.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.npz").write_bytes(changed)
    with contextlib.suppress(DataError):
        split = load_split(tmp_path / "a.npz")
        if split.rows:
            read_all(split, 3)


def test_a_file_that_shrinks_after_it_was_opened_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, vector=np.ones((4096, 8), np.float32))
    split = load_split(path)
    with open(path, "r+b") as file:
        file.truncate(5000)
    with pytest.raises(DataError, match=r"a\.npz: vector: the header promises .* but the file holds"):
        read_all(split)


def test_an_npy_that_is_shorter_than_its_header_says_is_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy_bytes()[:-4])
    refused(
        tmp_path / "a.npy", r"a\.npy: the header promises \(8, 8\) float32, 256 bytes, but the file holds 252"
    )
