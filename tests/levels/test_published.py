"""Published rules of contamination by the words of their papers, in plain Python."""

import json
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lvmfast import _core
from lvmfast.cli.app import app
from lvmfast.corpus.keys import text_bytes
from lvmfast.leaks import published
from lvmfast.leaks.rules import OWN, RULES
from tests.support.published import all_grams, contaminated

PUBLISHED = [rule for rule in RULES if rule != OWN]


def indexed(items):
    index = _core.OverlapIndex()
    index.add(*text_bytes(pa.array(items, pa.large_string())), 1)
    index.close(1)
    index.watch_grams()
    return index


def rows(index, seen):
    return {
        rule: of_rule.tolist()
        for rule, of_rule in published.Grams.of(index, 1).leaked(seen, index.same_as()).items()
    }


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_rules_are_those_of_plain_python_however_documents_are_divided(data):
    kinds = data.draw(st.integers(1, 12))
    text = st.lists(st.sampled_from([f"w{i}" for i in range(kinds)]), max_size=40).map(" ".join)
    items = data.draw(st.lists(text, min_size=1, max_size=30))
    if data.draw(st.booleans()):  # what stands in more than ten is frequent
        frame = " ".join(f"of{i}" for i in range(14))
        items += [f"{frame} {word}" for word in "abcdefghijklmn"]
    stretch = st.sampled_from(items).flatmap(
        lambda item: st.tuples(st.integers(0, 40), st.integers(0, 40)).map(
            lambda ends: " ".join(item.split()[min(ends) : max(ends)])
        )
    )
    documents = data.draw(st.lists(st.lists(st.one_of(stretch, text), max_size=3).map(" ".join), max_size=5))
    seen = all_grams(documents)
    said = [contaminated(item, seen) for item in items]
    expected = {rule: [row for row, of in enumerate(said) if rule in of] for rule in PUBLISHED}
    at_once = indexed(items)
    if documents:
        at_once.scan(*text_bytes(pa.array(documents, pa.large_string())), 2)
    assert rows(at_once, published.taken(at_once)) == expected
    one_by_one = indexed(items)
    parts = []
    for document in reversed(documents):
        one_by_one.scan(*text_bytes(pa.array([document], pa.large_string())), 1)
        parts.append(published.taken(one_by_one))
    assert rows(one_by_one, published.union([*parts, *parts])) == expected


@pytest.mark.parametrize(
    ("tokens", "there", "rules"),
    [
        (13, range(13), {"gpt3", "palm", "llama2", "llama3"}),
        (12, range(12), {"palm", "llama2", "llama3"}),
        (10, range(10), {"palm", "llama3"}),  # no run of more than 10 tokens
        (7, range(7), set()),
        (40, range(13), {"gpt3"}),
        (16, range(8), {"llama3"}),
        (17, range(8), set()),
        (20, range(16), {"gpt3", "llama2", "llama3"}),  # 9 of 13 8-grams
        (17, range(14), {"gpt3", "palm", "llama2", "llama3"}),  # 7 of 10
    ],
)
def test_shares_that_papers_name(tokens, there, rules):
    item = [f"w{i}" for i in range(tokens)]
    document = " ".join(["before", *(item[i] for i in there), "behind"])
    index = indexed([" ".join(item)])
    index.scan(*text_bytes(pa.array([document], pa.large_string())), 1)
    assert {rule for rule, of_rule in rows(index, published.taken(index)).items() if of_rule} == rules
    assert contaminated(" ".join(item), all_grams([document])) == rules


def test_a_summary_counts_them_by_file_and_so_do_shards_merged(tmp_path):
    rng = random.Random(5)
    words = [f"word{i}" for i in range(400)]
    items = {name: [" ".join(rng.choices(words, k=rng.randrange(5, 30))) for _ in range(20)] for name in "ab"}
    documents = []
    for item in items["a"] + items["b"][:5]:
        cut = item.split()[rng.randrange(4) : rng.randrange(10, 30)]
        documents.append(" ".join([*rng.choices(words, k=20), *cut, *rng.choices(words, k=20)]))
    documents.append(items["a"][0])
    for name, texts in [("train", documents), *items.items()]:
        lines = (json.dumps({"text": text}) for text in texts)
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    files = [str(tmp_path / f"{name}.jsonl") for name in "ab"]
    base = ["--train", str(tmp_path / "train.jsonl"), "--eval", files[0], "--eval", files[1]]

    def summary(*args):
        done = CliRunner().invoke(app, [str(arg) for arg in args])
        assert done.exit_code in (0, 1), done.output
        return json.loads((args[-1] / "summary.json").read_text()), done.output

    whole, said = summary("leakscan", *base, "--out", tmp_path / "whole")
    seen = all_grams(documents)
    by_file = {
        name: {rule: sum(rule in contaminated(item, seen) for item in texts) for rule in PUBLISHED}
        for name, texts in items.items()
    }
    assert len(set(by_file["a"].values())) > 2
    found = [f["levels"]["overlap"]["rules"] for f in whole["files"] if f["side"] == "eval"]
    matched = [f["levels"]["overlap"]["matched"] for f in whole["files"] if f["side"] == "eval"]
    assert found == [{OWN: matched[i], **by_file[name]} for i, name in enumerate("ab")]
    total = {rule: by_file["a"][rule] + by_file["b"][rule] for rule in PUBLISHED}
    total[OWN] = whole["levels"]["overlap"]["eval_rows_matched"]
    assert whole["levels"]["overlap"]["rules"] == total
    assert f"GPT-3 {total['gpt3']}" in " ".join(said.split())
    parts = [tmp_path / f"part{i}" for i in range(2)]
    for i, part in enumerate(parts):
        summary("leakscan", *base, "--shard", f"{i + 1}/2", "--out", part)
    merged, _ = summary("merge", *parts, "--out", tmp_path / "merged")
    assert merged["levels"] == whole["levels"]
    assert merged["files"] == whole["files"]


def test_grams_are_known_by_their_tokens():
    """First places, of an item whose tokens repeat and of one that begins as it does."""
    items = ["a b c d e f g h a b c d e f g h", "a b c d e f g h x"]
    places, first = indexed(items).repeated_grams(0, 1)
    assert places.tolist() == [8, 16]
    assert first.tolist() == [0, 0]
    assert not len(indexed(items).repeated_grams(2, 1)[0])
