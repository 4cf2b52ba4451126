"""Where each side has its own names of columns, a scan gives what it gives under the customary names."""

import json

import pytest
from typer.testing import CliRunner

import lvmfast
from lvmfast.cli.app import app
from lvmfast.corpus import load_split
from lvmfast.engines.spans import opened_span, span_items
from lvmfast.errors import DataError
from lvmfast.leaks.cuts import spans_of

QUESTION = "Which of the nine rivers of this province flows to the north for most of its way, and why?"
TRAIN = [
    {
        "id": f"d{i}",
        "text": f"{QUESTION if i == 3 else ''} Page {i} of a book on rivers, with {i} more words.",
    }
    for i in range(8)
]
EVAL = [
    {"id": "d3", "text": QUESTION},
    {"id": "z", "text": "How many boats could pass the old lock in a day?"},
]
NAMED = {"doc_id": "id", "train": {"text": "body"}, "eval": {"question": "prompt"}}
OPTIONS = [
    *("--column", "doc_id=id"),
    *("--train-column", "text=body"),
    *("--eval-column", "question=prompt"),
]


def write(path, rows, field):
    path.write_text("".join(json.dumps({"id": r["id"], field: r["text"]}) + "\n" for r in rows))
    return str(path)


@pytest.fixture
def sides(tmp_path):
    return write(tmp_path / "corpus.jsonl", TRAIN, "body"), write(tmp_path / "items.jsonl", EVAL, "prompt")


def invoke(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_answer_is_that_of_the_customary_names(sides, tmp_path):
    train = write(tmp_path / "t.jsonl", TRAIN, "text")
    eval_ = write(tmp_path / "e.jsonl", EVAL, "text")
    expected = lvmfast.leakscan(train, eval_, columns={"doc_id": "id"})
    found = lvmfast.leakscan(*sides, columns=NAMED)
    assert expected.levels["overlap"].sides["eval"].matched == 1
    for level in ("doc", "text", "overlap"):
        assert found.levels[level].pairs == expected.levels[level].pairs
    assert found.summary["options"]["columns"] == NAMED


def test_clean_and_verify_go_on_with_the_names_of_the_scan(sides, tmp_path):
    train, eval_ = sides
    report, out = tmp_path / "report", tmp_path / "clean"
    assert invoke("leakscan", "--train", train, "--eval", eval_, *OPTIONS, "--out", report).exit_code == 1
    of_both = ("--train", train, "--eval", eval_)
    cleaned = invoke("clean", *of_both, "--report", report, "--drop", "train", "--cut", "0", "--out", out)
    assert cleaned.exit_code == 0, cleaned.output
    assert all(
        QUESTION not in json.loads(line)["body"] for line in (out / "corpus.jsonl").read_text().splitlines()
    )
    verified = invoke("verify", out)
    assert verified.exit_code == 0, verified.output


def test_shards_merge_to_the_report_of_one_scan(sides, tmp_path):
    of_both = ["--train", sides[0], "--eval", sides[1], *OPTIONS]
    invoke("leakscan", *of_both, "--out", tmp_path / "whole")
    parts = [tmp_path / f"part-{i}" for i in (1, 2)]
    for number, part in enumerate(parts, 1):
        assert invoke("leakscan", *of_both, "--shard", f"{number}/2", "--out", part).exit_code == 0
    assert invoke("merge", *parts, "--out", tmp_path / "merged").exit_code == 1
    for name in ("matches.parquet", "overlaps.parquet", "matched_rows.parquet"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_worker_of_a_cluster_reads_the_fields_that_the_driver_found(sides):
    split = load_split(sides[1], columns={"doc_id": "id", "question": "prompt"}, items=True)
    (item,) = span_items(split, spans_of(split))
    _, dataset = opened_span(item.to_pylist()[0])
    assert dataset.files[0].fields == {"doc_id": "id", "text": "prompt"}


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            {"train": "body"},
            "columns: train: expected a mapping of columns to fields, as it is a side, got 'body'",
        ),
        ({"text": {"train": "body"}}, "columns: text: expected the name of a field, got {'train': 'body'}"),
        ({"text": "id", "eval": {"prompt": "id"}}, "column prompt: expected one of doc_id"),
        ({"text": "body"}, "items.jsonl: text: no field 'body'; .* by --train-column and --eval-column"),
    ],
)
def test_what_is_no_mapping_of_sides_is_refused(sides, columns, told):
    with pytest.raises(DataError, match=told):
        lvmfast.leakscan(*sides, columns=columns)
