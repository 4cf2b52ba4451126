"""BLAKE3 of files against the published test vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvmfast import _core

# From the BLAKE3 team's test_vectors.json: the input is the bytes 0, 1, ..., 250, 0, 1, ... of each length.
VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}


@pytest.mark.parametrize("size", VECTORS)
def test_published_vectors(size: int, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(i % 251 for i in range(size)))
    assert _core.blake3_file(path, 2) == VECTORS[size]


@pytest.mark.parametrize("size", [4 << 20, (4 << 20) + 1, 40_000_003])
def test_any_thread_count_and_the_reference_agree(size: int, tmp_path: Path) -> None:
    blake3 = pytest.importorskip("blake3")
    data = bytes(range(256)) * (size // 256 + 1)
    path = tmp_path / "data"
    path.write_bytes(data[:size])
    expected = blake3.blake3(data[:size]).hexdigest()
    assert [_core.blake3_file(str(path), threads) for threads in (1, 2, 4)] == [expected] * 3


def test_an_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.npz"):
        _core.blake3_file(tmp_path / "missing.npz", 1)
    with pytest.raises(OSError, match=tmp_path.name):
        _core.blake3_file(tmp_path, 1)


def test_files_are_hashed_beside_other_work_and_an_unreadable_one_is_named(tmp_path):
    paths = [tmp_path / str(i) for i in range(3)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * (5_000_000 * i + 1))
    expected = [_core.blake3_file(path, 1) for path in paths]
    for threads in (1, 2):
        hashes = _core.FileHashes(paths, threads)
        assert _core.blake3_bytes(b"meanwhile", threads) == _core.blake3_bytes(b"meanwhile", 0)
        assert hashes.wait() == expected
    with pytest.raises(OSError, match="absent"):
        _core.FileHashes([*paths, tmp_path / "absent"], 2).wait()
