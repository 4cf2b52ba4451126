"""The planted leaks of benches/overlap.py: made by seed, each kind what its name says, and the truth true."""

from __future__ import annotations

import difflib
import itertools
import json
import random
import re
import sys
import unicodedata

import pytest

from tests.support.places import ROOT

sys.path.append(str(ROOT / "benches"))
import overlap_rules
import overlap_templates
from kinds import KINDS, LEAK, NEGATIVE
from peers import RULES, Rules, decon_pair
from planting import Given, Plant, Size, make, read_truth
from scoring import report, score
from words import SCRIPTS, split, written
from worlds import World

SMALL = Size(per_kind=1, documents=24, spare_items=16)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    return folder, make(folder, "3", SMALL)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.jsonl"))}


def test_a_set_is_a_function_of_its_seed(planted, tmp_path):
    folder, truth = planted
    assert make(tmp_path / "same", "3", SMALL) == truth == read_truth(folder)
    assert contents(tmp_path / "same") == contents(folder)
    make(tmp_path / "other", "4", SMALL)
    assert contents(tmp_path / "other")["eval.jsonl"] != contents(folder)["eval.jsonl"]


def test_each_item_is_planted_once_where_the_truth_says(planted):
    folder, truth = planted
    documents = {
        (path.name, row): document["text"]
        for path in (folder / "train").iterdir()
        for row, document in enumerate(lines(path))
    }
    items = [item["text"] for item in lines(folder / "eval.jsonl")]
    assert len({plant.eval_row for plant in truth}) == len(truth)
    assert len({(plant.file, plant.row) for plant in truth}) == len(truth) == len(documents) - SMALL.documents
    whole = [plant for plant in truth if plant.kind == "verbatim" or plant.kind.startswith("short")]
    assert len(whole) == 3 * len(SCRIPTS)
    for plant in whole:
        item = items[plant.eval_row]
        assert [place for place, text in documents.items() if item in text] == [(plant.file, plant.row)]
        assert len(documents[plant.file, plant.row]) > len(item)
    for plant in truth:
        if plant.verdict == NEGATIVE:
            assert items[plant.eval_row] not in documents[plant.file, plant.row], plant


def test_texts_of_the_machine_are_background_and_items(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.md").write_text("# Heading\n\nNobody planted this line.\n\nNor that one.\n")
    (tmp_path / "texts" / "b.bin").write_text("no text")
    questions = [
        f"Which of {n} lamps near gate {n * 7} did the guard put out before walk {n}?" for n in range(99)
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps({"question": q}) + "\n" for q in questions * 2))
    given = Given(tmp_path / "texts", items=tmp_path / "items.jsonl")
    truth = make(tmp_path / "set", "3", Size(1, 8, 8), given)
    texts = [row["text"] for path in (tmp_path / "set" / "train").iterdir() for row in lines(path)]
    assert sum("Nobody planted this line." in text for text in texts) > 20
    assert not any("no text" in text for text in texts)
    written_items = [row["text"] for row in lines(tmp_path / "set" / "eval.jsonl")]
    assert sorted(text for text in written_items if text.startswith("Which of")) == sorted(questions)
    assert {plant.kind for plant in truth if plant.script == "given"} > {"verbatim", "gap", "words shuffled"}


def test_a_text_is_the_words_that_it_is_split_into():
    for text in ("", "a b", "  lead, 12% (x)…", "日本語のtext，ไทย กา", "e\u0301t हिन्दी"):
        assert written(split(text)) == text
    assert [word.core for word in split("日本go 1")] == ["日", "本", "go", "1"]


def plain(text):
    """Its words in small letters, by the regular expressions of Python, for a text in Latin letters."""
    return re.findall(r"\w+", text.lower())


def is_subsequence(short, long):
    rest = iter(long)
    return all(word in rest for word in short)


def changed(text, item):
    before, after = re.findall(r"\w+", item), re.findall(r"\w+", text)
    assert len(before) == len(after)
    return [(old, new) for old, new in zip(before, after, strict=True) if old != new]


def letters(text):
    return "".join(c for c in unicodedata.normalize("NFKC", text) if c.isalnum())


def part(text, item):
    return len(plain(text)) / len(plain(item.text))


def count(share, item):
    return max(1, round(share * len(item.words)))


def same_words_elsewhere(text, item):
    return sorted(plain(text)) == sorted(plain(item.text)) and plain(text) != plain(item.text)


def without(pattern, text):
    return re.sub(pattern, "", text, flags=re.MULTILINE)


def letterless(text):
    return without(r"\w", text).rstrip()


def close(old, new):
    return difflib.SequenceMatcher(None, old, new).ratio() > 0.5


#: What is true of a text planted as a kind; `i` is the item, in Latin letters or code.
TRUE_OF = {
    "verbatim": lambda t, i: t == i.text,
    "case": lambda t, i: t != i.text and t.lower() == i.text.lower(),
    "punctuation": lambda t, i: t != i.text and plain(t) == plain(i.text),
    "rewrapped": lambda t, i: t.rstrip() != i.text and plain(t) == plain(i.text),
    "hyphenated": lambda t, i: "-\n" in t and without("-\n", t).rstrip() == i.text,
    "cut": lambda t, i: t.rstrip() in i.text and 0.55 < part(t, i) < 0.85,
    "replaced one": lambda t, i: len(changed(t, i.text)) == 1,
    "replaced 1 in 10": lambda t, i: len(changed(t, i.text)) == count(0.1, i),
    "replaced 1 in 5": lambda t, i: len(changed(t, i.text)) == count(0.2, i),
    "inserted 1 in 10": lambda t, i: is_subsequence(plain(i.text), plain(t)) and len(t) > len(i.text),
    "inserted 1 in 5": lambda t, i: len(plain(t)) >= len(plain(i.text)) + 0.15 * len(i.words),
    "deleted 1 in 10": lambda t, i: is_subsequence(plain(t), plain(i.text)) and len(t) < len(i.text),
    "deleted 1 in 5": lambda t, i: len(plain(t)) == len(plain(i.text)) - count(0.2, i),
    "swapped": same_words_elsewhere,
    "misspelt": lambda t, i: all(close(*pair) for pair in changed(t, i.text)),
    "synonyms": lambda t, i: 1 < len(changed(t, i.text)) <= count(0.25, i),
    "gap": lambda t, i: is_subsequence(plain(i.text), plain(t)) and len(plain(t)) >= len(plain(i.text)) + 12,
    "reordered": same_words_elsewhere,
    "options shuffled": same_words_elsewhere,
    "full width": lambda t, i: not re.search("[a-z]", t) and letters(t) == letters(i.text),
    "no break spaces": lambda t, i: " " not in t and t.split() == i.text.split(),
    "zero width": lambda t, i: t != i.text and without("[\u200b\u2060\ufeff\u00ad]", t) == i.text,
    "decomposed": lambda t, i: t != i.text and unicodedata.normalize("NFC", t) == i.text,
    "numbers changed": lambda t, i: t != i.text and without(r"\d", t).rstrip() == without(r"\d", i.text),
    "html": lambda t, i: without("<[^>]*>", t).rstrip() == i.text and "<" in t[3:-4],
    "markdown": lambda t, i: without(r"\(http[^)]*\)|[\[\]*`_]", t).rstrip() == i.text.replace("_", ""),
    "several at once": lambda t, i: len(plain(t)) == len(plain(i.text)) and "\n" in t,
    "variables renamed": lambda t, i: t != i.text and letterless(t) == letterless(i.text),
    "lines numbered": lambda t, i: without(r"^ *\d+  ", t) == i.text != t,
    "short, 8 to 12 words": lambda t, i: t == i.text and 8 <= len(t.split()) <= 12,
    "short, 5 to 7 words": lambda t, i: t == i.text and 5 <= len(t.split()) <= 7,
    "half": lambda t, i: t.rstrip() in i.text and 0.4 < part(t, i) < 0.6,
    "lookalike letters": lambda t, i: len(t.rstrip()) == len(i.text) and not t.isascii(),
    "escaped": lambda t, i: json.loads(json.loads(t))["q"] == i.text,
    "quotation": lambda t, i: t[1:-1] in i.text and part(t, i) < 0.45,
    "template": lambda t, i: i.text.startswith(t) and len(t.split()) == i.template,
    "stock phrase": lambda t, i: t in i.text and t == written(i.words[slice(*i.stock)]),
    "sibling": lambda t, i: 2 * len(changed(t, i.text)) >= len(i.words) - i.template,
    "words shuffled": same_words_elsewhere,
    "answer alone": lambda t, i: t == i.answer,
}  # fmt: skip


@pytest.fixture(scope="module")
def worlds():
    """The world of a script, and 150 of its items."""
    made = {script: World(script, "3") for script in ("Latin", "code")}
    return {
        script: (world, list(itertools.islice(world.questions(random.Random(5)), 150)))
        for script, world in made.items()
    }


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_what_its_name_says(name, worlds):
    checked, rng = 0, random.Random(5)
    for script, (world, items) in worlds.items():
        for item in items:
            if (len(item.words) < 13) == name.startswith("short"):
                made = KINDS[name].plant(item, world.language, rng)
                if made and not (script == "code" and name in ("sibling", "words shuffled")):
                    checked += 1
                    assert TRUE_OF[name](made[0], item), (made, item.text)
    assert checked > 10


def test_every_script_has_its_kinds(planted):
    _, truth = planted
    by_script = {script: {p.kind for p in truth if p.script == script} for script in SCRIPTS}
    for script, kinds in by_script.items():
        assert {"verbatim", "cut", "replaced 1 in 5", "gap", "quotation", "words shuffled"} <= kinds, script
    assert set.union(*by_script.values()) == set(KINDS)


def test_pairs_are_scored_by_what_stands_in_their_document():
    found, missed = (Plant("a", row, row, "cut", "", LEAK, "Latin", 20) for row in (0, 1))
    decoy = Plant("b", 0, 2, "template", "", NEGATIVE, "Latin", 20)
    one = score([found, missed, decoy], [("a", 0, 0), ("a", 1, 9), ("b", 0, 2), ("b", 7, 1), ("a", 0, 0)])
    assert one.found == {found: True, missed: False, decoy: True}
    assert one.strays == [("a", 1, 9)]
    assert one.false_pairs == [("b", 7, 1)]
    told = report([found, missed, decoy], {"tool": one})
    assert "| cut | 2 | 50.0 |" in told
    assert "| template | 1 | 100.0 |" in told
    assert "| in documents without a plant | 1 |" in told


def test_the_published_rules_find_what_they_say():
    words = [f"word{n}" for n in range(40)]
    rules = Rules()
    rules.add(" ".join(words), random.Random(1))
    rules.add("short", random.Random(1))

    def by(text):
        return {name for name, items in rules.found(text).items() if 0 in items}

    assert by("x " + " ".join(words).upper() + " y") == set(RULES)
    assert by(" ".join(words[:12])) <= {"50 characters"}
    assert by(" ".join(words[:13])) - {"50 characters"} == {"any 13-gram"}
    assert by(" ".join(words[:20])) - {"50 characters"} == {"any 13-gram", "half of tokens in 8-grams"}
    assert "70% of 8-grams" in by(" ".join(words[:31]))
    assert "70% of 8-grams" not in by(" ".join(words[:30]))
    assert rules.found("a short text")["any 13-gram"] == set()


def test_the_bench_compares_each_rule_over_all_documents_with_a_scan(tmp_path):
    words = [f"word{n}" for n in range(40)]
    items = [" ".join(words), " ".join(words[:12]), "too few words"]
    documents = [" ".join(words[start : start + 14]) for start in (0, 7, 14)] + [f"x {words[30]} y"]
    plain = overlap_rules.plainly(items, documents)
    # 28 of 40 tokens are there in a row, 21 of its 33 8-grams, and all of the second item.
    assert plain == {
        "gpt3": [True, False, False],
        "palm": [False, True, False],
        "llama2": [False, True, False],
        "llama3": [True, True, False],
    }
    (tmp_path / "train").mkdir()
    for place, rows in (("train/a.jsonl", documents), ("eval.jsonl", items)):
        told = (json.dumps({"text": row, "script": "Latin"}) + "\n" for row in rows)
        (tmp_path / place).write_text("".join(told))
    assert overlap_rules.scanned(tmp_path) == plain
    assert "| palm | 1 | 1 | 0 |" in overlap_rules.compare(tmp_path)


def test_items_of_templates_stand_where_the_bench_says_and_other_fillings_nowhere():
    items: list[str] = []
    documents = overlap_templates.made("Latin", "3", items)
    assert len(set(items)) == len(items) == overlap_templates.TEMPLATES * overlap_templates.ITEMS
    for document in documents:
        there = [row for row, item in enumerate(items) if item.strip() in document.text]
        assert there == ([document.item] if document.kind == "verbatim" else []) or document.kind == "case"
    kinds = {document.kind for document in documents}
    assert kinds == {*overlap_templates.KINDS_PLANTED, overlap_templates.OTHER}
    rows = overlap_templates.table("3").splitlines()
    (verbatim,) = (row for row in rows if row.startswith("| verbatim "))
    assert verbatim.count("100.0 of") == len(overlap_templates.LANGUAGES)


def test_a_line_of_decons_report_is_a_pair():
    line = {"training_file": "part-00.jsonl", "training_line": 4, "eval_instance_index": 7, "eval_line": 1}
    assert decon_pair(line) == ("part-00.jsonl", 4, 7)
