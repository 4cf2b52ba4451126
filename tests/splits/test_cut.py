"""`clean --cut`: training texts without the evaluation texts in them, against the naive twin of the rule."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus.rewriters.rows import InPieces
from lvmfast.errors import DataError
from lvmfast.splits import cut as rule
from lvmfast.splits.rewrite import rewrite
from tests.support import overlap as naive
from tests.support.command import killed_before_its_closing_scan, refused, run

LIMITS = (30, 3, 4)


def words(lots: random.Random, count: int) -> str:
    """Invented ones, of which no five ever stand together twice."""
    return " ".join("".join(lots.choices("bdfgklmnprstvz", k=6)) for _ in range(count))


def cleaned(folder: Path, train: Path, held_out: Path, margin: int, **options: Any) -> Any:
    """The result of `clean` after a scan at overlap alone, and the rows of the ledger by row."""
    report = lvmfast.leakscan(train, held_out, levels=options.pop("levels", ["overlap"]))
    report.save(folder / "report")
    result = lvmfast.clean(
        train, held_out, folder / "report", drop="train", cut=margin, out=folder / "out", **options
    )
    assert result.passed
    return result, {row["row"]: row for row in pq.read_table(folder / "out" / "_dropped.parquet").to_pylist()}


def stretches(told: list[dict[str, int]] | None) -> list[tuple[int, int]] | None:
    return told and [(stretch["start"], stretch["end"]) for stretch in told]


@st.composite
def corpora(draw):
    """Documents of whole, halved and merged items between stretches of other words."""
    lots = random.Random(draw(st.integers(0, 1000)))
    items = [words(lots, n) for n in draw(st.lists(st.integers(4, 24), min_size=1, max_size=3))]
    halves = [" ".join(item.split()[: 1 + 2 * len(item.split()) // 3]) for item in items]
    filler = st.integers(0, 14).map(lambda count: words(lots, count))
    part = st.one_of(filler, filler, st.sampled_from(items), st.sampled_from(halves))
    document = st.lists(part, min_size=1, max_size=7).map("\n".join)
    return items, draw(st.lists(document, min_size=1, max_size=4)), draw(st.integers(0, 40))


@settings(max_examples=40, deadline=None)
@given(corpora())
def test_what_is_left_is_what_the_twin_leaves(tmp_path_factory, corpus):
    items, documents, margin = corpus
    folder = tmp_path_factory.mktemp("cut")
    documents = [*documents, "a row of its own\nthat stays"]
    pq.write_table(
        pa.table({"doc_id": range(len(documents)), "chunk_id": [7] * len(documents), "text": documents}),
        folder / "train.parquet",
    )
    pq.write_table(pa.table({"text": items}), folder / "eval.parquet")
    if not any(len(naive.tokens(item)) >= 5 for item in items):
        return
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in zip(("LEAST_CHARACTERS", "MOST_PIECES", "MOST_LOOKS"), LIMITS, strict=True):
            patch.setattr(rule, name, limit)
        result, ledger = cleaned(folder, folder / "train.parquet", folder / "eval.parquet", margin)
    expected: list[dict[str, Any]] = []
    for row, text in enumerate(documents):
        fate, removed, pieces = naive.cut(text, items, margin, LIMITS)
        if not removed:
            assert row not in ledger
            expected.append({"doc_id": row, "chunk_id": 7, "text": text})
            continue
        assert ledger[row]["fate"] == fate
        assert stretches(ledger[row]["removed"]) == removed
        assert stretches(ledger[row]["pieces"]) == pieces
        expected += [{"doc_id": row, "chunk_id": None, "text": text[a:b]} for a, b in pieces]
    found = pq.read_table(folder / "out" / "train.parquet").to_pylist()
    assert found == expected
    assert not [pair for pair in naive.pairs(items, [r["text"] for r in found]) if pair["strength"] == 2]
    kept = [told for told in ledger.values() if told["fate"] == "cut"]
    stated = result.certificate["cut"]
    assert (stated["rows"], stated["pieces"]) == (len(kept), sum(len(told["pieces"]) for told in kept))
    assert stated["characters"] == sum(
        len(documents[told["row"]]) - sum(b - a for a, b in stretches(told["pieces"])) for told in kept
    )
    assert sum(stated["dropped"].values()) == result.certificate["dropped"]["rows"] == len(ledger) - len(kept)


# -- formats

LOTS = random.Random(3)
ITEM = "¿" + words(LOTS, 18) + "?"
BEFORE = f'He said: "{words(LOTS, 40)}",\n\ttab \U0001f600 e\u0301 \\ {words(LOTS, 5)}'
BEHIND = f"{words(LOTS, 41)} \u2028 'x' \x01 <b> {words(LOTS, 3)}\n"
WHOLE = f"{BEFORE}{ITEM}{BEHIND}"
ROWS = [
    {"doc_id": 1, "chunk_id": 1, "text": 'a text, "that" stays\nas it is', "n": 1.5},
    {"doc_id": 2, "chunk_id": 1, "text": WHOLE, "n": 2.25},
    {"doc_id": 3, "chunk_id": 1, "text": ITEM, "n": 0.0},
    {"doc_id": 4, "chunk_id": 1, "text": "the last one", "n": -1.0},
]
#: The item begins and ends with a mark that is no token.
PIECES = [BEFORE + "¿", "?" + BEHIND]
EXPECTED = [
    ROWS[0],
    *({"doc_id": 2, "chunk_id": None, "text": piece, "n": 2.25} for piece in PIECES),
    ROWS[3],
]


def jsonl(rows: list[dict[str, Any]], *, ascii: bool = False) -> str:
    lines = [json.dumps(row, ensure_ascii=ascii) for row in rows]
    return "".join(f"{line}\n" for line in lines).replace(
        ' "n": ', ' "nested": {"text": [1.10, 1e400]},  "n" :'
    )


def cells(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(ROWS[0]), delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def as_list(rows: list[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


TEXT_FILES: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "t.jsonl": jsonl,
    "ascii.jsonl": lambda rows: jsonl(rows, ascii=True),
    "t.jsonl.gz": jsonl,
    "t.json": as_list,
    "t.csv": cells,
    "t.csv.gz": cells,
    "t.tsv": lambda rows: cells(rows, "\t"),
}


def parsed_csv(text: str, delimiter: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


@pytest.mark.parametrize("name", TEXT_FILES)
def test_lines_and_records_keep_every_other_byte(tmp_path, name):
    written = TEXT_FILES[name]
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "wb") as out:
        out.write(written(ROWS).encode())
    (tmp_path / "eval.jsonl").write_text(json.dumps({"text": ITEM}))
    _, ledger = cleaned(tmp_path, tmp_path / name, tmp_path / "eval.jsonl", 0)
    with opened(tmp_path / "out" / name, "rb") as out:
        found = out.read().decode()
    if ".csv" in name or ".tsv" in name:
        delimiter = "\t" if ".tsv" in name else ","
        assert parsed_csv(found, delimiter) == parsed_csv(written(EXPECTED), delimiter)
        assert found.startswith(written(ROWS[:1]))
        assert found.endswith(written(ROWS[3:]).split("\r\n", 1)[1])
    else:
        assert found == written(EXPECTED)
    assert [(row, told["fate"]) for row, told in ledger.items()] == [(1, "cut"), (2, "too_short")]


TABLE = pa.table({name: [row[name] for row in ROWS] for name in ROWS[0]}).replace_schema_metadata({"a": "b"})


def write_arrow(table: pa.Table, path: Path) -> None:
    create = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    with create(path, table.schema) as out:
        for batch in table.to_batches(max_chunksize=3):
            out.write_batch(batch)


def write_table(table: pa.Table, path: Path) -> None:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=2)
    else:
        write_arrow(table, path)


def read_table(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path)
    opened = pa.ipc.open_stream if path.suffix == ".arrows" else pa.ipc.open_file
    with pa.OSFile(str(path)) as file:
        return opened(file).read_all()


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.arrows"])
@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.string_view(), pa.binary()])
@pytest.mark.parametrize("chunk_id", [pa.int64(), pa.int32(), pa.dictionary(pa.int8(), pa.string())])
def test_tables_keep_their_schema_and_other_values(tmp_path, name, text, chunk_id):
    types = {"text": text, "chunk_id": chunk_id}

    def typed(rows):
        columns = {}
        for column in ROWS[0]:
            values = [row[column] for row in rows]
            if column == "text" and text == pa.binary():
                values = [value.encode() for value in values]
            if column == "chunk_id" and pa.types.is_dictionary(chunk_id):
                values = [value and str(value) for value in values]
            columns[column] = pa.array(values, types.get(column))
        return pa.table(columns, metadata={"a": "b"})

    write_table(typed(ROWS), tmp_path / name)
    (tmp_path / "eval.jsonl").write_text(json.dumps({"text": ITEM}))
    cleaned(tmp_path, tmp_path / name, tmp_path / "eval.jsonl", 0)
    found = read_table(tmp_path / "out" / name)
    assert found.schema == read_table(tmp_path / name).schema
    assert found.schema.metadata == read_table(tmp_path / name).schema.metadata
    assert found.to_pylist() == typed(EXPECTED).to_pylist()


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.arrows"])
def test_a_table_of_texts_alone_is_cut(tmp_path, name):
    write_table(pa.table({"text": [row["text"] for row in ROWS]}), tmp_path / name)
    (tmp_path / "eval.jsonl").write_text(json.dumps({"text": ITEM}))
    cleaned(tmp_path, tmp_path / name, tmp_path / "eval.jsonl", 0)
    assert read_table(tmp_path / "out" / name).to_pydict() == {"text": [row["text"] for row in EXPECTED]}


@st.composite
def rows_and_pieces(draw):
    """Rows, and of some where their pieces stand."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    texts = draw(st.lists(st.one_of(text, st.text('ab",\r\n\t\\'), st.text("é😀")), min_size=1, max_size=6))
    ends = [draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted)) for text in texts]
    pieces = {row: list(zip(at[::2], at[1::2], strict=False)) for row, at in enumerate(ends) if len(at) > 1}
    return texts, pieces


@settings(max_examples=80, deadline=None)
@given(
    rows_and_pieces(),
    st.sampled_from(["jsonl", "json", "csv", "tsv", "parquet", "arrow"]),
    st.booleans(),
)
def test_every_text_is_cut_where_it_is_to_be(tmp_path_factory, both, suffix, text_last):
    """By writers and readers of others, whatever stands in a text."""
    texts, pieces = both
    folder = tmp_path_factory.mktemp("pieces")
    source, target = folder / f"in.{suffix}", folder / f"out.{suffix}"
    fields = ["a", "chunk_id", "text"] if text_last else ["text", "chunk_id", 'b "" ,']
    other = fields[0 if text_last else 2]
    rows = [{"text": text, "chunk_id": row, other: f'{row},"\n"'} for row, text in enumerate(texts)]
    rows = [{name: row[name] for name in fields} for row in rows]
    expected = []
    for number, row in enumerate(rows):
        if number in pieces:
            expected += [row | {"text": row["text"][a:b], "chunk_id": None} for a, b in pieces[number]]
        else:
            expected.append(row)
    delimiter = "\t" if suffix == "tsv" else ","
    if suffix in ("parquet", "arrow"):
        write_table(pa.Table.from_pylist(rows), source)
    elif suffix in ("csv", "tsv"):
        with open(source, "w", newline="") as out:
            writer = csv.DictWriter(out, fields, delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    else:
        lines = [json.dumps(row, ensure_ascii=text_last) for row in rows]
        source.write_text("\n".join(lines) if suffix == "jsonl" else f"[{','.join(lines)}]", newline="")
    cut = InPieces("text", "chunk_id", pieces)
    rewrite([str(source)], [np.zeros(len(rows), np.int8)], [target], [cut])
    if suffix in ("parquet", "arrow"):
        found = read_table(target).to_pylist()
    elif suffix in ("csv", "tsv"):
        with open(target, newline="") as out:
            found = list(csv.DictReader(out, delimiter=delimiter, strict=True))
        expected = [{k: "" if v is None else str(v) for k, v in row.items()} for row in expected]
    else:
        read = target.read_bytes().decode().rstrip("\n")
        found = json.loads(read if suffix == "json" else f"[{read.replace(chr(10), ',')}]")
    assert found == expected


def test_what_cannot_be_cut_is_named(tmp_path):
    (tmp_path / "eval.jsonl").write_text(json.dumps({"text": ITEM}))
    dictionary = TABLE.set_column(2, "text", TABLE["text"].dictionary_encode())
    strict = TABLE.cast(TABLE.schema.set(1, TABLE.schema.field(1).with_nullable(False)))
    for table, words_ in (
        (dictionary, r"t.parquet: text: texts of type dictionary<.*> cannot be cut into pieces"),
        (strict, r"t.parquet: chunk_id: a piece has none, and its schema says that all rows do"),
    ):
        pq.write_table(table, tmp_path / "t.parquet")
        with pytest.raises(DataError, match=words_):
            cleaned(tmp_path, tmp_path / "t.parquet", tmp_path / "eval.jsonl", 0)
    np.savez(tmp_path / "t.npz", doc_id=np.arange(4), text=np.array([row["text"] for row in ROWS]))
    with pytest.raises(DataError, match=r"t.npz: a row of npz cannot become pieces of its text"):
        cleaned(tmp_path, tmp_path / "t.npz", tmp_path / "eval.jsonl", 0)
    np.savez(tmp_path / "n.npz", doc_id=np.arange(1, 5), chunk_id=np.ones(4, np.int64))
    pq.write_table(TABLE, tmp_path / "payload.parquet")
    sides = (tmp_path / "n.npz", tmp_path / "eval.jsonl")
    lvmfast.leakscan(*sides, train_payload=tmp_path / "payload.parquet").save(tmp_path / "p")
    with pytest.raises(DataError, match="a scan with a payload for train, whose texts are not written"):
        lvmfast.clean(*sides, tmp_path / "p", drop="train", cut=0, out=tmp_path / "out")
    for drop, margin in (("eval", 5), ("train", -1)):
        with pytest.raises(DataError, match=r"--cut: expected 0 or more characters and --drop train"):
            lvmfast.clean(*sides, tmp_path / "p", drop=drop, cut=margin, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- limits, levels and the command


def test_pieces_too_short_too_many_and_items_side_by_side(tmp_path):
    lots = random.Random(8)
    items = [words(lots, 20) for _ in range(12)]
    sized = lambda size: words(lots, size // 7 + 2)[:size]  # noqa: E731
    documents = {
        "199": f"{sized(198)}\n{items[0]}\n{sized(198)}",
        "200": f"{sized(198)}\n{items[0]}\n{sized(199)}",
        "10": "".join(f"{sized(210)}\n{item}\n" for item in items[:10])[:-1],
        "11": "".join(f"{sized(210)}\n{item}\n" for item in items[:11])[:-1],
        "overlapping": f"{sized(300)} {items[3]} {' '.join(items[3].split()[5:])} {items[4]}\n{sized(300)}",
        "again and again": sized(500) + f" {items[5]}" * 200,
    }
    (tmp_path / "train.jsonl").write_text(
        "".join(json.dumps({"name": name, "text": text}) + "\n" for name, text in documents.items())
    )
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps({"text": item}) + "\n" for item in items))
    _, ledger = cleaned(tmp_path, tmp_path / "train.jsonl", tmp_path / "eval.jsonl", 0)
    told = [ledger[row] for row in range(len(documents))]
    assert [(row["fate"], len(row["pieces"])) for row in told] == [
        ("too_short", 0),
        ("cut", 1),
        ("cut", 10),
        ("too_many_pieces", 0),
        ("cut", 2),
        ("still_matches", 0),
    ]
    left = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    assert all(row["text"] in documents[row["name"]] for row in left)
    assert left[0]["text"] == documents["200"][-200:]


@pytest.fixture
def world(tmp_path):
    """A row to cut, one of another level as well, one that is nothing but an item, and one without."""
    lots = random.Random(1)
    items = [words(lots, 20) for _ in range(3)]
    rows = [
        {"doc_id": 1, "text": f"{words(lots, 90)}\n{items[0]}\n{words(lots, 90)}"},
        {"doc_id": 77, "text": f"{words(lots, 90)}\n{items[1]}\n{words(lots, 90)}"},
        {"doc_id": 3, "text": f"so: {items[2]}"},
        {"doc_id": 4, "text": words(lots, 50)},
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "eval.jsonl").write_text(
        "".join(json.dumps({"doc_id": 75 + n, "question": item}) + "\n" for n, item in enumerate(items))
    )
    asked = ("--train", str(tmp_path / "train.jsonl"), "--eval", str(tmp_path / "eval.jsonl"))
    assert run("leakscan", *asked, "--out", str(tmp_path / "report")).returncode == 1
    clean = ("clean", *asked, "--report", str(tmp_path / "report"), "--drop", "train")
    return rows, [*clean, "--cut", "50", "--out", str(tmp_path / "out")]


def test_the_command_says_what_was_cut_and_verify_proves_it(world, tmp_path):
    rows, command = world
    done = run(*command)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    left = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    gone = len(rows[0]["text"]) - sum(len(row["text"]) for row in left if row["doc_id"] == 1)
    assert "train: dropped 2 rows (doc 1, overlap 2), 3 are left" in said
    assert f"train: cut {gone} characters out of 1 rows, which became 2 pieces; 1 row was dropped" in said
    assert (tmp_path / "out" / "train.jsonl").read_text().endswith(json.dumps(rows[3]) + "\n")
    ledger = pq.read_table(tmp_path / "out" / "_dropped.parquet").to_pylist()
    assert [(row["fate"], row["doc_id"]) for row in ledger] == [
        ("cut", "1"),
        ("dropped", "77"),
        ("too_short", "3"),
    ]
    assert [row["removed"] is None for row in ledger] == [False, True, False]
    (told,) = [
        row
        for row in pq.read_table(tmp_path / "report" / "overlaps.parquet").to_pylist()
        if not row["train_row"]
    ]
    assert stretches(ledger[0]["removed"]) == [(told["train_start"] - 50, told["train_end"] + 50)]
    certificate = json.loads((tmp_path / "out" / "clean.json").read_text())
    assert certificate["cut"]["margin"] == 50
    assert certificate["cut"]["dropped"] == {"too_short": 1, "too_many_pieces": 0, "still_matches": 0}
    assert run("verify", str(tmp_path / "out")).returncode == 0
    whole = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "out" / "train.jsonl").write_text(whole)
    assert run("verify", str(tmp_path / "out")).returncode == 1


def test_a_report_that_says_less_than_is_there_or_more(world, tmp_path):
    """Rows that hold no item are not passed over, and evidence is not what is gone by."""
    sides = (tmp_path / "train.jsonl", tmp_path / "eval.jsonl")
    report = lvmfast.leakscan(*sides, levels=["overlap"], max_pairs=1)
    report.save(tmp_path / "few")
    result = lvmfast.clean(*sides, tmp_path / "few", drop="train", cut=50, out=tmp_path / "out")
    assert result.certificate["cut"]["rows"] == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule, "leaks", lambda pairs, options: np.zeros(len(pairs), np.bool_))
        with pytest.raises(DataError, match=r"train.jsonl: row 0: it matched in the report, and holds no"):
            lvmfast.clean(*sides, tmp_path / "few", drop="train", cut=50, out=tmp_path / "none")


def test_killed_while_it_cuts_it_leaves_nothing_and_runs_again(world, tmp_path):
    _, command = world
    killed_before_its_closing_scan(command)
    assert not (tmp_path / "out").exists()
    assert run(*command).returncode == 0
    refused(run(*command), "out: not empty")
