"""Paths, globs, folders and column names: which files are read, and which of their fields."""

import io
import os

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.corpus import load_payload, load_split
from lvmfast.corpus.columns import ALIASES, NAMED
from lvmfast.corpus.formats import FORMATS, NPY, format_of
from lvmfast.corpus.paths import expand
from lvmfast.errors import DataError
from tests.support.corpus_reading import read


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.npy", "a.npy", "sub/e.npy", "sub/deep/f.npy"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.eye(2, dtype=np.float32))
    (tmp_path / "data" / "README.md").write_text("about")
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "files"),
    [
        (["data/b.npy", "data/a.npy"], ["data/b.npy", "data/a.npy"]),
        (["data/*.npy"], ["data/a.npy", "data/b.npy"]),
        (["data"], ["data/a.npy", "data/b.npy", "data/sub/deep/f.npy", "data/sub/e.npy"]),
        (["data/"], ["data/a.npy", "data/b.npy", "data/sub/deep/f.npy", "data/sub/e.npy"]),
        (["data/sub/**/*.npy"], ["data/sub/deep/f.npy", "data/sub/e.npy"]),
        (["data/s*"], ["data/sub/deep/f.npy", "data/sub/e.npy"]),
        (["data/**"], ["data/a.npy", "data/b.npy", "data/sub/deep/f.npy", "data/sub/e.npy"]),
        (["data/**/deep"], ["data/sub/deep/f.npy"]),
        (["data/sub", "data/a.npy"], ["data/sub/deep/f.npy", "data/sub/e.npy", "data/a.npy"]),
    ],
)
def test_files_globs_and_folders(folder, paths, files):
    assert expand(paths).files == files
    assert [file.name for file in load_split(paths).files] == files


def test_what_is_passed_over_is_noted(folder):
    assert load_split("data").notes == ("data: passed over as no data: README.md",)
    assert load_split("data/[aR]*").notes == ("data/[aR]*: passed over as no data: data/README.md",)


#: Files of a folder beside a.npy: whether they are read, passed over, or refused.
BESIDE = {
    "b.NPY": "read",
    "sub/deep/c.npy": "read",
    "x.parquet/c.npy": "read",
    **dict.fromkeys(
        (
            "README",
            "Readme.txt",
            "LICENSE",
            "card.md",
            "_SUCCESS",
            ".a.npy.crc",
            ".gitattributes",
            ".DS_Store",
        ),
        "passed over",
    ),
    **dict.fromkeys(
        ("dataset_info.json", "_dropped.parquet", "._b.npy", "a.lock", "SHA256SUMS"), "passed over"
    ),
    **dict.fromkeys(
        (".git/x", ".cache/huggingface/c.npy", ".ipynb_checkpoints/c.npy", ".idea/y"), "passed over"
    ),
    **dict.fromkeys((".d.123.part/c.npy", "lvmfast-scratch-a/c.npy", "_delta_log/0.json"), "passed over"),
    **dict.fromkeys(("_c.npy", ".c.npy", "_sub/c.npy", ".sub/deep/c.npy", "_c.JSON.gz"), "refused"),
    **dict.fromkeys(("b.txt", "b.npy.bak", "b.npy~", "b", "c.parquet.gz", "c.pkl", "sub/b.txt"), "refused"),
}


@pytest.mark.parametrize(("name", "what"), BESIDE.items())
@pytest.mark.parametrize("place", ["disk", "store"])
def test_nothing_in_a_folder_is_passed_over_without_a_word(tmp_path, name, what, place):
    root = str(tmp_path / "data") if place == "disk" else f"memory://{tmp_path.name}{len(name)}/data"
    array = io.BytesIO()
    np.save(array, np.eye(2, dtype=np.float32))
    for file in ("a.npy", name):
        with fsspec.open(f"{root}/{file}", "wb", auto_mkdir=True) as out:
            out.write(array.getvalue())
    given = [f"{root}/{file}" for file in sorted(["a.npy", name])]
    if what == "read":
        split = load_split(root)
        assert ([file.name for file in split.files], split.notes) == (given, ())
    elif what == "passed over":
        split = load_split(root)
        assert [file.name for file in split.files] == [f"{root}/a.npy"]
        (note,) = split.notes
        assert name.split("/")[0] in note
        assert note.startswith(root)
        assert ("/" in name and format_of(name) is not None) == ("with what may be data in it: " in note)
    else:
        with pytest.raises(DataError) as caught:
            load_split(root)
        assert str(caught.value).startswith(f"{root}: ")
        assert f": {name}; --ignore GLOB" in str(caught.value)
        for pattern in (os.path.basename(name), name, name.split("/")[0], "*" + name[-5:]):
            if pattern == "*" + name[-5:] and pattern == "*c.npy":
                continue
            split = load_split(root, ignore=["nothing", pattern])
            assert [file.name for file in split.files] == [f"{root}/a.npy"]
            assert any(note.startswith(f"{root}: ignored as asked: ") for note in split.notes)
        if format_of(name) is NPY:
            both = load_split([root, f"{root}/{name}"], ignore=[os.path.basename(name)])
            assert [file.name for file in both.files] == [f"{root}/a.npy", f"{root}/{name}"]
    if place == "store":
        fsspec.filesystem("memory").rm(root, recursive=True)


def test_what_is_refused_is_named_and_counted(folder):
    for n in range(8):
        (folder / "data" / f"{n}.doc").write_text("a corpus?")
    (folder / "data" / "_part.npy").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        load_split("data")
    assert str(caught.value) == (
        "data: in no format that is read, and not known to be no data: 0.doc, 1.doc, 2.doc, 3.doc, 4.doc "
        "and 3 more; data under a name that hidden or unfinished files have: _part.npy; --ignore GLOB (in "
        "Python ignore=[...]) passes over what is not part of it"
    )
    assert load_split("data", ignore=["?.doc", "_*"]).notes[1] == (
        "data: ignored as asked: 0.doc, 1.doc, 2.doc, 3.doc, 4.doc and 4 more"
    )
    with pytest.raises(DataError, match=r"data: no data file in this folder .*; data: ignored as asked: 0"):
        load_split("data", ignore=["*"])


def test_a_pattern_means_hidden_names_that_it_matches(folder):
    np.save("data/_c.npy", np.eye(2, dtype=np.float32))
    assert expand(["data/*.npy"]).files == ["data/_c.npy", "data/a.npy", "data/b.npy"]
    (folder / "data" / "x.txt").write_text("x")
    with pytest.raises(
        DataError, match=r"data/\*: text, which .* beside data in another format: data/x.txt; --ignore"
    ):
        expand(["data/*"])
    assert expand(["data/*"], ["*.txt"]).files[0] == "data/_c.npy"


@pytest.mark.parametrize("make", [lambda path: os.symlink("nowhere", path), os.mkfifo])
def test_what_cannot_be_read_in_a_folder_is_refused(folder, make):
    make("data/c.npy")
    with pytest.raises(
        DataError, match=r"^data: (links that lead nowhere|neither files nor folders): c.npy; --"
    ):
        load_split("data")
    assert len(load_split("data", ignore=["c.npy"]).files) == 4


def test_a_report_of_a_scan_is_passed_over_and_somebodys_summary_is_not(folder):
    np.savez("eval.npz", vector=np.eye(2, dtype=np.float32))
    lvmfast.leakscan("data", "eval.npz").save("data/report")
    assert load_split("data").notes[0] == "data/report: a report of lvmfast, passed over"
    os.unlink("data/report/matches.parquet")
    with pytest.raises(DataError, match=r"^data: .*: report/report.html; "):
        load_split("data")


def test_a_clean_json_of_somebody_else_is_data(folder):
    os.mkdir("texts")
    with open("texts/clean.json", "w") as file:
        file.write('{"text": "a text that is long enough"}\n')
    assert expand(["texts"]).files == ["texts/clean.json"]


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
        (
            {"vector": "v"},
            "<arrays>: vector: no field 'v'; there is b, targets; "
            "a scan takes names of one side by --train-column and --eval-column",
        ),
        ({"vectors": "targets"}, f"column vectors: expected one of {', '.join(NAMED)}"),
    ],
)
def test_mappings_that_do_not_hold_are_refused(columns, message):
    with pytest.raises(DataError) as caught:
        load_split({"targets": np.eye(2), "b": [1, 2]}, columns=columns)
    assert str(caught.value) == message


SUFFIXES = [suffix for format in FORMATS for suffix in format.suffixes]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 146946961\n" % (b"ab" * 32)


@pytest.mark.parametrize(("content", "says"), [(LFS, "Git LFS"), (b"/annex/objects/MD5-s9--a", "annex")])
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".jsonl.gz", ".csv.zst", ".json.xz", ".tsv.bz2", ".lvfp"])
def test_a_pointer_is_named_as_such_in_every_format(tmp_path, suffix, content, says):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a{suffix}: a .*{says} pointer, not the data"):
        load_split(path)


def test_a_mapped_field_that_a_payload_and_its_split_lack_is_named(tmp_path):
    pq.write_table(pa.table({"title": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match=r"no field 'body' \(text\), as mapped, .* there is title; map one of them: --col"
    ):
        load_payload(tmp_path / "a.parquet", columns={"text": "body"})
