"""Members of an `.npz` that numpy did not write: of other programs, and by other compressions."""

import io
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.corpus import load_split
from lvmfast.corpus.inflate import bounded
from lvmfast.errors import DataError
from tests.support.corpus_reading import read
from tests.support.peaks import MIB

VECTORS = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "foreign",
    [
        {"__MACOSX/": b"", "__MACOSX/._targets.npy": b"\0\5\x16\7\0\2\0\0Mac OS X        "},
        {"._targets.npy": b"\0\5\x16\7"},
        {"README": b"no array", "empty": b"", "folder/": b""},
    ],
)
def test_members_of_other_programs_are_no_arrays(tmp_path, method, foreign):
    archive(tmp_path / "a.npz", {**foreign, "targets.npy": npy(VECTORS)}, method)
    assert np.array_equal(read(tmp_path / "a.npz")["vector"], VECTORS)


@pytest.mark.parametrize("method", METHODS)
def test_arrays_need_no_suffix(tmp_path, method):
    archive(tmp_path / "a.npz", {"targets": npy(VECTORS), "doc_id": npy(np.arange(50))}, method)
    with np.load(tmp_path / "a.npz") as naive:
        assert np.array_equal(read(tmp_path / "a.npz")["vector"], naive["targets"])
    assert read(tmp_path / "a.npz")["doc_id"] == list(range(50))


def test_a_broken_array_under_its_own_name_is_refused(tmp_path):
    archive(tmp_path / "a.npz", {"targets.npy": b"\0\5\x16\7\0\2\0\0Mac OS X        "})
    with pytest.raises(DataError, match=r"a\.npz: targets: expected the \.npy format, got other bytes"):
        load_split(tmp_path / "a.npz")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
@pytest.mark.parametrize("rows", [7, 8192])
def test_every_compression_and_order(tmp_path, method, order, dtype, rows):
    values = np.asarray(VECTORS.astype(dtype), order=order)
    archive(tmp_path / "a.npz", {"targets.npy": npy(values)}, method)
    assert np.array_equal(read(tmp_path / "a.npz", rows)["vector"], VECTORS)


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=300),
    st.integers(1, 3000),
    st.sampled_from([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.lists(st.integers(1, 5000), min_size=1),
)
def test_bounded_reads_are_what_zipfile_reads(piece, times, method, sizes):
    stored = io.BytesIO()
    archive(stored, {"a": piece * times}, method)
    with zipfile.ZipFile(stored) as file:
        info = file.infolist()[0]
        stream = bounded(stored, 30 + len("a"), info, "x")
        got = [stream.read(size) for size in sizes]
        with file.open(info) as naive:
            assert got == [naive.read(size) for size in sizes]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_are_cut_or_changed_are_refused(tmp_path, method):
    path = archive(tmp_path / "a.npz", {"targets.npy": npy(VECTORS)}, method)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        info = file.infolist()[0]
    begin = 30 + len("targets.npy")
    for place in range(begin, begin + info.compress_size, 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                got = read(path)["vector"]
            except DataError:
                continue
            assert np.array_equal(got, VECTORS)


def test_a_dictionary_that_is_too_large_is_refused(tmp_path):
    path = archive(tmp_path / "a.npz", {"targets.npy": npy(VECTORS)}, zipfile.ZIP_LZMA)
    content = bytearray(path.read_bytes())
    begin = 30 + len("targets.npy")
    content[begin + 5 : begin + 9] = struct.pack("<I", 0xFFFF_FFFF)
    path.write_bytes(content)
    assert np.array_equal(read(path)["vector"], VECTORS)  # none needs to be larger than what is in it
    directory = content.rindex(b"PK\1\2")
    content[directory + 24 : directory + 28] = struct.pack("<I", 0xF000_0000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz: targets: expected an lzma dictionary of at most 67108864"):
        load_split(path)


def test_other_compressions_are_refused_by_their_number(tmp_path):
    path = archive(tmp_path / "a.npz", {"targets.npy": npy(VECTORS)}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    for place in (8, content.rindex(b"PK\1\2") + 10):
        content[place : place + 2] = struct.pack("<H", 93)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"targets: expected a stored member or .*got compression method 93"):
        load_split(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_block_is_all_that_is_decompressed(tmp_path, method):
    rows = 250_000
    archive(tmp_path / "a.npz", {"targets.npy": npy(np.zeros((rows, 32), np.float32))}, method)
    assert (tmp_path / "a.npz").stat().st_size < 16 << 10
    tracemalloc.start()
    first = next(load_split(tmp_path / "a.npz").files[0].batches(["vector"], 1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first.rows == 1000
    assert peak < 12 * MIB  # 8 of them are the dictionary of lzma
