"""A published rule that decides at overlap, through everything that carries a scan, against plain Python."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.rules import OWN, RULES
from tests.support import overlap as naive
from tests.support.command import refused, run
from tests.support.published import LENGTHS, all_grams, anywhere, contaminated

TABLES = ("matches.parquet", "matched_rows.parquet", "overlaps.parquet", "items.parquet")


def sides() -> tuple[list[str], list[str]]:
    """Documents and items; parts of one item stand in several documents, far from each other."""
    lots = random.Random(7)
    words = [f"word{i}" for i in range(600)]
    items = [" ".join(lots.choices(words, k=lots.randrange(5, 40))) for _ in range(60)]
    items += [items[3], "too short an item", " ".join(words[:9])]
    documents = [" ".join(lots.choices(words, k=60)) for _ in range(80)]
    for item in items[:50]:
        tokens, start, shared = item.split(), lots.randrange(4), lots.choice([0, 7])
        while start < len(tokens):
            end = start + lots.choice([8, 11, 13, 40])
            at = lots.randrange(len(documents))
            documents[at] = f"{documents[at]} {' '.join(tokens[start:end])} {lots.choice(words)}"
            start = end - shared if end < len(tokens) else end
    return documents, items


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    documents, items = sides()
    (folder / "train").mkdir()
    for part, rows in enumerate((documents[:30], documents[30:])):
        table = pa.table({"doc_id": [f"d{i}" for i in range(len(rows))], "text": rows})
        pq.write_table(table, folder / "train" / f"{part}.parquet", row_group_size=5)
    rows = pa.table({"doc_id": [f"e{i // 2}" for i in range(len(items))], "text": items})
    pq.write_table(rows, folder / "eval.parquet")
    return folder


@pytest.fixture(scope="module")
def expected() -> dict[str, list[int]]:
    """By published rule, the rows that plain Python calls leaked."""
    documents, items = sides()
    seen = all_grams(documents)
    said = [contaminated(item, seen) for item in items]
    return {rule: [row for row, of_row in enumerate(said) if rule in of_row] for rule in LENGTHS}


def asked(corpus: Path, out: Path, rule: str, *more: str) -> tuple[str, ...]:
    files = ("--train", str(corpus / "train"), "--eval", str(corpus / "eval.parquet"))
    return ("leakscan", *files, "--levels", "overlap", "--overlap-rule", rule, "--out", str(out), *more)


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of each rule."""
    folder = tmp_path_factory.mktemp("whole")
    for rule in RULES:
        assert run(*asked(corpus, folder / rule, rule)).returncode == 1
    return folder


def summary(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def assert_same(out: Path, whole: Path) -> None:
    for name in TABLES:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = summary(out), summary(whole)
    for part in ("timings", "environment", "inputs"):
        del ours[part], theirs[part]
    assert ours == theirs


@pytest.mark.parametrize("rule", LENGTHS)
def test_rows_counts_and_verdict_are_those_of_the_rule(whole, expected, rule) -> None:
    told, own = summary(whole / rule), summary(whole / OWN)
    _, items = sides()
    found = told["levels"]["overlap"]
    fewer = sum(len(naive.tokens(item)) < LENGTHS[rule] for item in items)
    assert (told["verdict"], found["rule"], found["status"]) == ("leak", rule, "leak")
    assert found["eval_rows_matched"] == len(expected[rule]) > 0
    assert found["unchecked"] == {"train": {}, "eval": {"short_text": fewer}}
    assert found["eval_rate"] == len(expected[rule]) / (len(items) - fewer)
    assert (found["train_rows_matched"], found["train_rate"], found["train_rows_checked"]) == (None, None, 80)
    matched = pq.read_table(whole / rule / "matched_rows.parquet").to_pylist()
    assert [(row["side"], row["row"]) for row in matched] == [("eval", row) for row in expected[rule]]
    assert {rule: found["rules"][rule] for rule in LENGTHS} == {r: len(rows) for r, rows in expected.items()}
    assert found["rules"] == own["levels"]["overlap"]["rules"]
    assert found["rules"][OWN] == own["levels"]["overlap"]["eval_rows_matched"]
    assert "rule" not in own["levels"]["overlap"]
    assert told["documents"]["rows"] == len(expected[rule])
    for name in ("matches.parquet", "overlaps.parquet"):  # what was found stays what it was
        assert (whole / rule / name).read_bytes() == (whole / OWN / name).read_bytes()
    assert f"overlap by {rule} (" in told["sentence"]


def test_some_rows_leak_by_the_documents_of_several_files_together(expected) -> None:
    """So what follows would tell whether parts were judged by themselves."""
    documents, items = sides()
    parts = [all_grams(documents[:30]), all_grams(documents[30:])]
    by_a_part = {
        row for seen in parts for row, item in enumerate(items) if "palm" in contaminated(item, seen)
    }
    assert by_a_part < set(expected["palm"])


@pytest.mark.parametrize("rule", LENGTHS)
def test_shards_merge_to_the_bytes_of_one_scan(corpus, whole, tmp_path, rule) -> None:
    """A row may hold nothing in any shard that its rule asks for, and hold it in all of them together."""
    parts = [tmp_path / str(share) for share in (1, 2, 3)]
    for share, part in enumerate(parts, 1):
        assert run(*asked(corpus, part, rule, "--shard", f"{share}/3")).returncode == 0
    assert run("merge", *map(str, parts), "--out", str(tmp_path / "merged")).returncode == 1
    assert_same(tmp_path / "merged", whole / rule)


@pytest.mark.parametrize("rule", ["gpt3", "llama3"])
def test_a_scan_that_was_stopped_goes_on_to_the_same_bytes(
    corpus, whole, tmp_path, monkeypatch, rule
) -> None:
    monkeypatch.setattr("lvmfast.leaks.journal.SECONDS", 0.0)
    monkeypatch.setitem(Journal.__init__.__kwdefaults__, "span_bytes", 400)

    def stopped(phase: str, done: int, total: int | None) -> None:
        if len(list((tmp_path / ".partial").glob("*.cut"))) > limit:
            raise KeyboardInterrupt

    options = {"levels": ["overlap"], "overlap_rule": rule, "out": tmp_path}
    for limit in (2, 6):
        options["resume"] = limit > 2
        with pytest.raises(KeyboardInterrupt, match="--resume continues"):
            lvmfast.leakscan(corpus / "train", corpus / "eval.parquet", **options, progress=stopped)
    options["resume"] = True
    other = {**options, "overlap_rule": "palm"}
    with pytest.raises(lvmfast.DataError, match=f'overlap_rule was "{rule}", now it is "palm"'):
        lvmfast.leakscan(corpus / "train", corpus / "eval.parquet", **other)
    lvmfast.leakscan(corpus / "train", corpus / "eval.parquet", **options).save(tmp_path)
    assert_same(tmp_path, whole / rule)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_cluster_finds_what_one_machine_finds(corpus, whole, tmp_path) -> None:
    done = run(*asked(corpus, tmp_path / "out", "palm", "--engine", "ray"))
    assert done.returncode == 1, done.stderr
    assert summary(tmp_path / "out")["environment"]["engine"] == "ray"
    assert_same(tmp_path / "out", whole / "palm")


def test_clean_drops_the_rows_of_the_rule_and_its_closing_scan_goes_by_it(
    corpus, whole, expected, tmp_path
) -> None:
    files = ("--train", str(corpus / "train"), "--eval", str(corpus / "eval.parquet"))
    report = ("--report", str(whole / "palm"), "--out", str(tmp_path / "out"))
    answer = run("clean", *files, *report, "--drop", "eval")
    assert answer.returncode == 0, answer.stderr
    certificate = json.loads((tmp_path / "out" / "clean.json").read_text())
    assert certificate["options"]["overlap_rule"] == "palm"
    assert certificate["dropped"]["rows"] == len(expected["palm"])
    assert certificate["scans"][0]["levels"]["overlap"]["status"] == "clean"
    left = run(*asked(corpus, tmp_path / "again", OWN)[:3], "--eval", str(tmp_path / "out" / "eval.parquet"))
    assert left.returncode == 1  # the rule of lvmfast finds more
    assert run("verify", str(tmp_path / "out")).returncode == 0


def test_what_cannot_be_done_under_a_published_rule_is_refused_by_name(
    corpus, whole, expected, tmp_path
) -> None:
    files = ("--train", str(corpus / "train"), "--eval", str(corpus / "eval.parquet"))
    dropped = run(
        "clean", *files, "--report", str(whole / "gpt3"), "--drop", "train", "--out", str(tmp_path / "no")
    )
    rows = f"{len(expected['gpt3'])} eval rows leak at overlap by the rule gpt3, which names no training rows"
    refused(dropped, "--drop train", rows, "--drop eval", "--overlap-rule lvmfast")
    made = run("fingerprint", str(corpus / "train"), "--overlap", "--out", str(tmp_path / "train.lvfp"))
    assert made.returncode == 0, made.stderr
    of_prints = ("leakscan", "--train", str(tmp_path / "train.lvfp"), *files[2:], "--overlap-rule", "palm")
    refused(run(*of_prints), "overlap_rule", "palm")
    refused(
        run("leakscan", *files, "--levels", "text", "--overlap-rule", "palm"), "overlap, which is not scanned"
    )
    refused(run("leakscan", *files[:2], "--overlap-rule", "palm"), "overlap_rule")
    refused(run("leakscan", *files, "--overlap-rule", "gpt4"), "expected lvmfast, gpt3, palm, llama2, llama3")
    with pytest.raises(lvmfast.DataError, match="overlap_short: a choice of the rule lvmfast, not of palm"):
        ScanOptions(overlap_rule="palm", overlap_short="leak")


def test_items_that_all_have_too_few_tokens_for_a_rule_cannot_be_checked(corpus, tmp_path) -> None:
    """They are not clean."""
    (tmp_path / "eval.jsonl").write_text('{"text": "what is the name of this small town"}\n')
    files = ("--train", str(corpus / "train"), "--eval", str(tmp_path / "eval.jsonl"), "--levels", "overlap")
    assert run("leakscan", *files).returncode == 0
    refused(run("leakscan", *files, "--overlap-rule", "gpt3"), "no row of eval can be checked (1 short_text)")


def test_train_rows_can_go_where_no_item_leaks_by_the_rule(tmp_path) -> None:
    """What goes at another level takes n-grams away and brings none."""
    short, other = "a text of twelve words that stands on both sides as is", "nobody else has seen this one"
    long = "and one more of some words which stands in no training text that was ever written anywhere"
    for name, rows in (("train", [short, other]), ("eval", [short, long])):
        lines = (json.dumps({"text": row}) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    files = ("--train", str(tmp_path / "train.jsonl"), "--eval", str(tmp_path / "eval.jsonl"))
    scan = run("leakscan", *files, "--overlap-rule", "gpt3", "--out", str(tmp_path / "report"))
    assert "text=1/2 overlap=0/1" in scan.stdout
    report = ("--report", str(tmp_path / "report"), "--drop", "train", "--out", str(tmp_path / "out"))
    assert run("clean", *files, *report).returncode == 0


def test_items_and_files_say_how_much_stands_anywhere_in_training(whole, expected) -> None:
    documents, items = sides()
    seen = all_grams(documents)
    table = pq.read_table(whole / "palm" / "items.parquet").to_pylist()
    best = {}
    for row in pq.read_table(whole / "palm" / "overlaps.parquet").to_pylist():
        held = (row["strength"], row["coverage"], row["train_rows"])
        best[row["eval_row"]] = max(best.get(row["eval_row"], held), held)
    assert [row["eval_row"] for row in table] == list(range(len(items)))
    lengths = [len(naive.tokens(item)) for item in items]
    for place, (row, item, tokens) in enumerate(zip(table, items, lengths, strict=True)):
        covered, longest = anywhere(item, seen)
        assert row["tokens"] == tokens
        told = (row["coverage_anywhere"], row["longest_anywhere"])
        assert told == ((covered / tokens, longest) if tokens >= 8 else (None, None))
        rules = [rule for rule in LENGTHS if place in expected[rule]]
        found = best.get(3 if place == 60 else place, (None, None, 0))  # the same text once more
        assert row["rules"] == [OWN] * (found[0] == "match") + rules
        assert (row["strength"], row["coverage"], row["train_rows"]) == found
    assert len({row["strength"] for row in table}) == 3
    told = summary(whole / "palm")["files"][-1]["levels"]["overlap"]
    tenths = [min(9, 10 * anywhere(i, seen)[0] // n) for i, n in zip(items, lengths, strict=True) if n > 7]
    assert told["coverage_anywhere"] == [tenths.count(tenth) for tenth in range(10)]
    assert len(set(tenths)) > 3
    assert told["longest_anywhere"] == max(anywhere(item, seen)[1] for item in items)
    assert told["short"] == sum(row["strength"] == "short" for row in table)
    assert told["unchecked"] == {"short_text": sum(n < 8 for n in lengths)}


def test_files_are_told_apart_and_the_page_and_the_terminal_show_each(corpus, tmp_path) -> None:
    """An empty file between two others, as well."""
    _, items = sides()
    parts = {"a": items[:20], "b": [], "c": items[20:]}
    for name, rows in parts.items():
        pq.write_table(pa.table({"text": pa.array(rows, pa.string())}), tmp_path / f"{name}.parquet")
    files = [argument for name in parts for argument in ("--eval", f"{name}.parquet")]
    train = ("--train", str(corpus / "train"), "--levels", "overlap")
    scan = run("leakscan", *train, *files, "--out", "all", cwd=tmp_path)
    assert scan.returncode == 1, scan.stderr
    title = "eval rows that each rule calls leaked at overlap, by file"
    assert title in " ".join(scan.stdout.split())
    told = [
        file["levels"]["overlap"] for file in summary(tmp_path / "all")["files"] if file["side"] == "eval"
    ]
    assert (told[1]["checked"], told[1]["longest_anywhere"], sum(told[1]["coverage_anywhere"])) == (0, 0, 0)
    for place, name in ((0, "a"), (2, "c")):
        alone = run("leakscan", *train, "--eval", f"{name}.parquet", "--out", name, cwd=tmp_path)
        assert alone.returncode == 1
        assert summary(tmp_path / name)["files"][-1]["levels"]["overlap"] == told[place]
        counts = " +".join(map(str, told[place]["rules"].values()))
        assert re.search(rf"{name}\.parquet +{counts} *$", scan.stdout, re.MULTILINE)
    page = (tmp_path / "all" / "report.html").read_text()
    for place, of_file in enumerate(told, 2):
        for rule, count in of_file["rules"].items():
            assert f'value="{count}" data-number="files.{place}.levels.overlap.rules.{rule}"' in page
    assert f"rows by tenths: {', '.join(map(str, told[0]['coverage_anywhere']))}" in page
