"""A format in one file: it is read, scanned, cleaned and split like the others, by one registration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lvmfast
from lvmfast.corpus import Column, load_split
from lvmfast.corpus import formats as registry
from lvmfast.corpus.codecs import CODECS, codec_of
from lvmfast.corpus.dataset import Rows
from lvmfast.corpus.formats import FORMATS, Format, format_of, suffix_of
from lvmfast.corpus.rewriters.rows import InPieces, Parts, check_rows
from lvmfast.corpus.streams import decompressed
from lvmfast.corpus.table_file import TableFile
from lvmfast.errors import DataError
from lvmfast.stores import Source
from tests.support.places import ROOT

# -- the toy: a row is `doc_id|text|numbers with spaces between them`


def toy_lines(path: str | Source) -> list[str]:
    with decompressed(path) as stream:
        return stream.read(1 << 20).decode().splitlines()


def write_toy(path: Path, lines: Sequence[str]) -> str:
    text, codec = "".join(f"{line}\n" for line in lines).encode(), codec_of(path.name)
    with open(path, "xb") as out, codec.writer(out) if codec else nullcontext(out) as packed:
        packed.write(text)
    return str(path)


def open_toy(path: Source, mapping: dict[Column, str], *, strict: bool) -> TableFile:
    rows = [line.split("|") for line in toy_lines(path)]
    table = pa.table(
        {
            "doc_id": pa.array([int(row[0]) for row in rows], pa.int64()),
            "text": pa.array([row[1] for row in rows], pa.large_string()),
            "vector": pa.array([[float(x) for x in row[2].split()] for row in rows], pa.list_(pa.float32())),
        }
    )

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        for start in range(0, len(table), step):
            yield start, table.slice(start, step).select(fields).combine_chunks().to_batches()[0]

    return TableFile.over(path, len(table), table.schema, scan, mapping, strict=strict)


def rewrite_toy(
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
    pieces: Sequence[InPieces],
) -> None:
    lines = [toy_lines(source) for source in sources]
    for source, part, of_source in zip(sources, parts, lines, strict=True):
        check_rows(source, part, len(of_source))
    for place, target in enumerate(targets):
        kept = [
            line
            for part, of_source in zip(parts, lines, strict=True)
            for to, line in zip(part, of_source, strict=True)
            if to == place
        ]
        write_toy(target, kept)


TOY = Format("toy", (".toy",), "plain text", open_toy, rewrite_toy, streamed=True)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(registry, "FORMATS", (*FORMATS, TOY))


# -- what it gets for that


def rows_of(docs: range, seed: int) -> list[str]:
    vectors = np.random.default_rng(seed).standard_normal((len(docs), 8)).round(4)
    return [
        f"{doc}|the text of document {doc}, written down|{' '.join(map(str, vector))}"
        for doc, vector in zip(docs, vectors, strict=True)
    ]


TRAIN = rows_of(range(20), 0)
EVAL = [*rows_of(range(100, 108), 1), TRAIN[3], TRAIN[7]]


@pytest.mark.parametrize("name", ["a.toy", "a.TOY", "a.toy.gz", "a.toy.xz"])
def test_it_is_read_from_a_file_and_from_a_folder(tmp_path, name):
    write_toy(tmp_path / name, TRAIN)
    for given in (tmp_path / name, tmp_path, f"{tmp_path}/*"):
        split = load_split(str(given))
        (batch,) = split.batches(("doc_id", "text", "vector"))
        assert batch.doc_id.to_pylist() == list(range(20))
        assert batch.text[3].as_py() == TRAIN[3].split("|")[1]
        assert batch.vector.shape == (20, 8)


def test_it_is_named_where_formats_are(tmp_path):
    (tmp_path / "a.xyz").write_text("x")
    with pytest.raises(
        DataError, match=r"unknown format \(known: \.npz, .*\.tsv, \.txt, \.tar, \.toy, plain or with \.gz"
    ):
        load_split(tmp_path / "a.xyz")
    (tmp_path / "b.toy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(DataError, match=r"b\.toy: .*; the file begins as an npy array, whatever its name"):
        load_split(tmp_path / "b.toy")


def test_it_is_scanned_and_cleaned(tmp_path):
    train, held_out = write_toy(tmp_path / "train.toy", TRAIN), write_toy(tmp_path / "eval.toy.gz", EVAL)
    report = lvmfast.leakscan(train, held_out)
    matched = {name: level["eval_rows_matched"] for name, level in report.summary["levels"].items()}
    assert [level for level, rows in matched.items() if rows == 2] == ["doc", "text", "vector"]
    report.save(tmp_path / "report")
    cleaned = lvmfast.clean(train, held_out, tmp_path / "report", out=tmp_path / "out")
    assert cleaned.certificate is not None
    assert toy_lines(str(tmp_path / "out" / "eval.toy.gz")) == EVAL[:8]


def test_it_is_split(tmp_path):
    shards = [write_toy(tmp_path / f"{n}.toy", TRAIN[n::2]) for n in range(2)]
    result = lvmfast.split(shards, out=tmp_path / "out", eval_docs=5, min_chunks_per_doc=1)
    assert result.certificate is not None
    sides = [toy_lines(str(tmp_path / "out" / f"{side}.toy")) for side in ("train", "eval")]
    assert len(sides[1]) == 5
    assert sorted(sides[0] + sides[1]) == sorted(TRAIN)
    (tmp_path / "b.jsonl").write_text('{"doc_id": 1, "text": "a"}\n')
    with pytest.raises(DataError, match=r"b\.jsonl: jsonl beside the toy of .*: one output has one format"):
        lvmfast.split([*shards, tmp_path / "b.jsonl"], out=tmp_path / "more", eval_docs=5)


# -- the registry itself


def test_no_two_formats_share_a_name_or_a_suffix():
    names = [format.name for format in FORMATS]
    suffixes = [suffix for format in FORMATS for suffix in format.suffixes]
    assert len(set(names)) == len(names)
    assert len({*suffixes, *CODECS}) == len(suffixes) + len(CODECS)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_a_name_says_the_format_and_what_it_is_compressed_with(format):
    for suffix in format.suffixes:
        for name in (f"dir.csv/a.b{suffix}", f"A{suffix.upper()}"):
            assert format_of(name) is format
            assert suffix_of(name) == suffix
        for codec in CODECS:
            assert format_of(f"a{suffix}{codec}") is (format if format.streamed else None)
            assert not format.streamed or suffix_of(f"x.y{suffix}{codec.upper()}") == suffix + codec
        assert format_of(suffix) is None
        assert format_of(f"a{suffix}.bak") is None
        assert format_of(f"a{suffix}.gz.gz") is None


def test_the_table_in_the_docs_is_what_is_registered():
    lines = (ROOT / "docs" / "formats.md").read_text("utf-8").split("\n# ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    stated = [(row[0], *(tuple(re.findall(r"`(.+?)`", cell)) for cell in row[1:3])) for row in rows[2:]]
    assert stated == [(f.name, f.suffixes, tuple(CODECS) if f.streamed else ()) for f in FORMATS]
