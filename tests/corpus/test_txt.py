"""Plain text: a document per file, or per line, against Python's own reading."""

import bz2
import gzip
import lzma

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lvmfast
import lvmfast.corpus.txt
from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support import data

TEXT = st.text(st.sampled_from("abé\U0001f600 \t\r\n\ufeff"), max_size=30)
OPENERS = {"": open, ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def texts(path, columns=None, rows=3):
    batches = load_split(path, columns=columns).batches(("text",), rows)
    return [text for batch in batches for text in batch.text.to_pylist()]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT, bom=st.booleans(), block=st.integers(1, 40), codec=st.sampled_from(sorted(OPENERS)))
def test_a_file_is_a_document_or_each_of_its_lines_is(text, bom, block, codec, tmp_path):
    path = tmp_path / f"a.txt{codec}"
    with OPENERS[codec](path, "wb") as out:
        out.write(b"\xef\xbb\xbf" * bom + text.encode())
    text = text.removeprefix("" if bom else "\ufeff")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lvmfast.corpus.txt, "_BLOCK_BYTES", max(block, 4))
        assert texts(path) == [text] * bool(text)
        lines = text.split("\n")
        lines = lines[: -1 if lines[-1] == "" else None]
        assert texts(path, {"text": "line"}) == [line.removesuffix("\r") for line in lines]


def test_text_is_scanned_by_line_against_a_document_per_file(tmp_path):
    words = data.texts(np.random.default_rng(3), 12)
    (tmp_path / "books").mkdir()
    for n, text in enumerate(words[:8]):
        (tmp_path / "books" / f"{n}.txt").write_text(text)
    (tmp_path / "books" / "README.txt").write_text("what this is")
    (tmp_path / "items.txt").write_text("\n".join(["", *words[6:]]) + "\n")
    report = lvmfast.leakscan(
        str(tmp_path / "books"), str(tmp_path / "items.txt"), columns={"eval": {"text": "line"}}
    )
    found = report.matched_rows.to_pylist()
    eval_rows = [row["row"] for row in found if (row["level"], row["side"]) == ("text", "eval")]
    assert eval_rows == [1, 2]  # the third and the second line, counted from 0
    assert report.summary["levels"]["text"]["unchecked"]["eval"] == {"empty_text": 1}
    assert report.summary["levels"]["text"]["train_rows_checked"] == 8


def test_what_matched_is_cleaned_out_of_lines_and_of_files(tmp_path):
    words = data.texts(np.random.default_rng(4), 12)
    books, items = tmp_path / "books", tmp_path / "items.txt"
    books.mkdir()
    for n, text in enumerate(words[:8]):
        (books / f"{n}.txt").write_text(text)
    items.write_text("\n".join(words[6:]))
    columns = {"eval": {"text": "line"}}
    lvmfast.leakscan(str(books), str(items), columns=columns).save(tmp_path / "report")
    done = lvmfast.clean(str(books), str(items), tmp_path / "report", out=tmp_path / "out")
    assert done.certificate is not None
    assert (tmp_path / "out" / "items.txt").read_text().splitlines() == words[8:]


def test_text_beside_data_in_another_format_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "b"}\n')
    (tmp_path / "ids.txt").write_text("1\n2\n")
    with pytest.raises(DataError, match=r"text, which need not be part of it, .*: ids\.txt; --ignore"):
        load_split(tmp_path)
    assert [file.name for file in load_split(tmp_path, ignore=["*.txt"]).files] == [str(tmp_path / "a.jsonl")]


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"good\nb\xe9d\n")
    with pytest.raises(DataError, match=r"a\.txt: text: row 0: .*not UTF-8"):
        texts(path)
    with pytest.raises(DataError, match=r"a\.txt: line: row 1: .*not UTF-8"):
        texts(path, {"text": "line"})
