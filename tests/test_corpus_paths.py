"""Paths, globs, folders and column names: which files are read, and which of their fields."""

import os

import numpy as np
import pytest

from lvmfast.corpus import load_split
from lvmfast.corpus.columns import ALIASES
from lvmfast.corpus.paths import expand
from lvmfast.errors import DataError
from tests.corpus_reading import read


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.npy",
        "a.npy",
        "_c.npy",
        ".d.npy",
        "sub/e.npy",
        "sub/deep/f.npy",
        "_sub/g.npy",
        ".sub/h.npy",
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.eye(2, dtype=np.float32))
    (tmp_path / "data" / "README.md").write_text("about")
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "files"),
    [
        (["data/b.npy", "data/a.npy"], ["data/b.npy", "data/a.npy"]),
        (["data/*.npy"], ["data/_c.npy", "data/a.npy", "data/b.npy"]),
        (["data"], ["data/a.npy", "data/b.npy", "data/sub/deep/f.npy", "data/sub/e.npy"]),
        (["data/"], ["data/a.npy", "data/b.npy", "data/sub/deep/f.npy", "data/sub/e.npy"]),
        (["data/sub/**/*.npy"], ["data/sub/deep/f.npy", "data/sub/e.npy"]),
        (["data/s*"], ["data/sub/deep/f.npy", "data/sub/e.npy"]),
        (["data/_sub"], ["data/_sub/g.npy"]),
        (["data/sub", "data/a.npy"], ["data/sub/deep/f.npy", "data/sub/e.npy", "data/a.npy"]),
    ],
)
def test_files_globs_and_folders(folder, paths, files):
    assert expand(paths).files == files
    assert [file.name for file in load_split(paths).files] == files


def test_what_is_passed_over_is_noted(folder):
    assert load_split("data").notes == ("data: not data, skipped: README.md",)
    assert load_split("data/[aR]*").notes == ("data/[aR]*: not data, skipped: README.md",)


def test_a_name_that_looks_like_a_pattern_is_a_file_first(folder):
    os.rename("data/a.npy", "data/[a].npy")
    assert expand(["data/[a].npy"]).files == ["data/[a].npy"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["gone.npz"], "gone.npz: no such file"),
        (["memory://bucket/a.npz"], "memory://bucket/a.npz: no such object"),
        (["data/*.npz"], "data/*.npz: the pattern matches no data file"),
        (["data/README.*"], "data/README.*: the pattern matches no data file"),
        (["empty"], "empty: no data file in this folder"),
        (["data/README.md"], "data/README.md: unknown format (known: .npz"),
        (["data/a.npy", "data/a.npy"], "data/a.npy: given twice"),
        (["data/a.npy", "data/*.npy"], "data/a.npy: given twice"),
        (["data", "data/sub/e.npy"], "data/sub/e.npy: given twice"),
        (["data/a.npy", "link.npy"], "link.npy: given twice (also as data/a.npy)"),
        (["data/a.npy", "data/../data/a.npy"], "data/../data/a.npy: given twice (also as data/a.npy)"),
        (["dangling.npy"], "dangling.npy: no such file"),
        (["pipe.npy"], "pipe.npy: expected a file or a folder"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(folder, paths, message):
    os.mkdir("empty")
    os.symlink("data/a.npy", "link.npy")
    os.symlink("nowhere", "dangling.npy")
    os.mkfifo("pipe.npy")
    with pytest.raises(DataError) as caught:
        load_split(paths)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_links_to_folders_are_followed_once(folder):
    os.symlink("..", "data/sub/up")
    os.symlink("../data/sub", "data/also")
    with pytest.raises(
        DataError, match=r"data/sub/deep/f\.npy: given twice \(also as data/also/deep/f\.npy\)"
    ):
        expand(["data"])
    os.unlink("data/also")
    assert len(expand(["data"]).files) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files_are_refused(folder):
    os.chmod("data/a.npy", 0)
    with pytest.raises(DataError, match=r"data/a\.npy: Permission denied"):
        load_split("data/a.npy")


def test_every_alias_is_read(tmp_path):
    values = {
        "doc_id": ["a"],
        "chunk_id": [3],
        "text": ["t"],
        "vector": [[1.0, 2.0]],
        "context": [[[1.0, 2.0]]],
    }
    for column, aliases in ALIASES.items():
        for alias in aliases:
            assert load_split({alias: values[column]}).files[0].fields == {column: alias}


def test_explicit_mapping(tmp_path):
    arrays = {"v": np.eye(2, dtype=np.float32), "vector": np.zeros((2, 3)), "k": np.array([[1, 2], [3, 4]])}
    got = read(arrays, columns={"vector": "v", "doc_id": "k", "chunk_id": "k"})
    assert np.array_equal(got["vector"], np.eye(2))
    assert (got["doc_id"], got["chunk_id"]) == ([1, 3], [2, 4])


def test_mapping_settles_two_candidates():
    arrays = {"embedding": np.eye(2, dtype=np.float32), "targets": np.zeros((2, 2), np.float32)}
    assert np.array_equal(read(arrays, columns={"vector": "embedding"})["vector"], np.eye(2))


def test_a_mapped_field_is_no_alias_of_another_column():
    split = load_split({"sequences": ["ACGT"], "text_id": [1]}, columns={"text": "sequences"})
    assert split.columns == {"text"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"vector": "v"}, "<arrays>: vector: no field 'v'; there is b, targets"),
        ({"vectors": "targets"}, "column vectors: expected one of doc_id, chunk_id, text, vector, context"),
    ],
)
def test_mappings_that_do_not_hold_are_refused(columns, message):
    with pytest.raises(DataError) as caught:
        load_split({"targets": np.eye(2), "b": [1, 2]}, columns=columns)
    assert str(caught.value) == message
