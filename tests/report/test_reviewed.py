"""Decisions applied: what counts, what is set aside, and what every verdict says of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.report.decisions import Decision, DecisionLog, decisions_on, match_ids, scan_digest
from lvmfast.report.reviewed import without_boilerplate
from lvmfast.report.saved import SavedScan
from tests.support import data
from tests.support.command import refused, run
from tests.support.places import SCHEMA

BOILERPLATE = [
    "all rights of this page are reserved by those who wrote it, and nobody else may copy it without asking",
    "this question was automatically generated and nobody has looked at it, so please report any mistakes",
]
REAL = [
    "seven sailors sang seven songs about seven silver ships that sailed away on a cold sunday morning",
    "the second law says that entropy never falls in a closed system, however long anybody waits for it",
    "a baker sells forty loaves a day at three coins each and pays ten coins for flour, so what is left",
]


def known(report: lvmfast.LeakReport | SavedScan) -> list[str | None]:
    summary = report.summary
    return match_ids(report.matches, summary["inputs"], summary["options"]["normalize"]).to_pylist()


def decide(path: Path, report: lvmfast.LeakReport | SavedScan, decision: str, part: str = "") -> str:
    """A file of decisions on the matches whose texts have `part`."""
    scan = scan_digest(report.summary["inputs"], report.summary["options"])
    rows = zip(report.matches.to_pylist(), known(report), strict=True)
    found = {
        match: row["level"]
        for row, match in rows
        if match is not None and part in f"{row['train_text']} {row['eval_text']}".lower()
    }
    log = DecisionLog(path)
    log.append([Decision.now(match, level, decision, scan=scan) for match, level in found.items()])
    return str(path)


def aside(report: lvmfast.LeakReport, level: str, side: str = "eval") -> list[int]:
    return report.levels[level].sides[side].set_aside.tolist()


POOL = st.sampled_from([*BOILERPLATE, *REAL])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(POOL, min_size=1, max_size=8),
    st.lists(POOL, min_size=1, max_size=6),
    st.sets(POOL),
    st.integers(0, 1000),
)
def test_at_text_a_row_is_set_aside_where_its_text_is_boilerplate(tmp_path_factory, train, eval_, bad, seed):
    """The oracle knows texts alone, and rows that repeat one are set aside with the first of them."""
    order = random.Random(seed)
    spelt = [order.choice([text, text.upper(), f" {text}\n"]) for text in eval_]
    sides = {"text": train}, {"text": spelt}
    plain = lvmfast.leakscan(*sides, levels=["text"])
    path = tmp_path_factory.mktemp("decided") / "decisions.jsonl"
    path.touch()
    for text in bad:
        decide(path, plain, "boilerplate", text)
    report = lvmfast.leakscan(*sides, levels=["text"], decisions=path)
    for side, texts, others in (("train", train, eval_), ("eval", eval_, train)):
        matched = [row for row, text in enumerate(texts) if text in others]
        expected = [row for row in matched if texts[row] in bad]
        assert aside(report, "text", side) == expected
        assert report.levels["text"].sides[side].matched == len(matched) - len(expected)
    counted = {text for text in eval_ if text in train} - bad
    decided = {text for text in eval_ if text in train} & bad
    assert report.passed is (not counted)
    assert report.levels["text"].pairs == sum(train.count(text) * eval_.count(text) for text in counted)
    outcome = "leak" if counted else "clean"
    assert report.findings.verdict == (f"{outcome}, reviewed" if decided else outcome)
    jsonschema.validate(json.loads(json.dumps(report.summary)), SCHEMA)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_at_overlap_every_match_of_a_row_has_to_be_boilerplate(tmp_path_factory, data):
    """The oracle scans each training row against each evaluation row by itself."""
    pages = [" ".join(data.draw(st.lists(POOL, min_size=1, max_size=2))) for _ in range(4)]
    items = data.draw(st.lists(POOL, min_size=1, max_size=4))
    alone = {
        (t, e): set(known(lvmfast.leakscan({"text": [page]}, {"text": [item]}, levels=["overlap"])))
        for t, page in enumerate(pages)
        for e, item in enumerate(items)
    }
    everything = sorted({match for found in alone.values() for match in found if match})
    bad = set(data.draw(st.lists(st.sampled_from(everything)))) if everything else set()
    path = tmp_path_factory.mktemp("decided") / "decisions.jsonl"
    path.touch()
    DecisionLog(path).append([Decision.now(match, "overlap", "boilerplate", scan="0" * 32) for match in bad])
    report = lvmfast.leakscan({"text": pages}, {"text": items}, levels=["overlap"], decisions=path)
    for side, number in (("train", 0), ("eval", 1)):
        matches: dict[int, set[str | None]] = {}
        for pair, found in alone.items():
            if found:
                matches.setdefault(pair[number], set()).update(found)
        assert aside(report, "overlap", side) == sorted(row for row, found in matches.items() if found <= bad)
        assert report.levels["overlap"].sides[side].matched_rows.tolist() == sorted(matches)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Two sides whose matches are boilerplate in evaluation rows 0, 1 and 2, and real in 3 and 4."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(4)
    train = [*BOILERPLATE * 3, *REAL[:2], *data.texts(rng, 30)]
    eval_ = [BOILERPLATE[0], BOILERPLATE[0].upper(), BOILERPLATE[1], *REAL[:2], *data.texts(rng, 35)]
    for name, texts in (("train", train), ("eval", eval_)):
        rows = [{"id": n, "text": f"{text}"} for n, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture
def given_files(world, tmp_path) -> tuple[list[str], Path]:
    paths = ["--train", str(world / "train.jsonl"), "--eval", str(world / "eval.jsonl")]
    done = run("leakscan", *paths, "--levels", "text,overlap", "--out", str(tmp_path / "report"))
    assert done.returncode == 1, done.stderr
    return paths, tmp_path


def test_a_scan_by_decisions_end_to_end(given_files):
    paths, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), "boilerplate", "reserved")
    asked = ["leakscan", *paths, "--levels", "text,overlap", "--decisions", decisions]
    done = run(*asked, "--out", str(folder / "again"))
    assert done.returncode == 1, done.stderr
    assert "LEAK, REVIEWED: text=3/40 overlap=3/40" in done.stdout
    assert "set aside by review: text 2, overlap 2" in done.stdout
    assert "2 rows" in done.stdout, "the table says so, too"
    summary = json.loads((folder / "again" / "summary.json").read_text())
    jsonschema.validate(summary, SCHEMA)
    assert summary["verdict"] == "leak, reviewed"
    assert summary["levels"]["text"]["eval_rows_matched"] == 3
    assert summary["levels"]["text"]["review"] == {
        "real": 0,
        "boilerplate": 1,
        "unsure": 0,
        "set_aside": {"pairs": 6, "train_rows": 3, "eval_rows": 2},
        "stays": None,
    }
    of_file = [file["levels"]["text"] for file in summary["files"] if file["side"] == "eval"]
    assert of_file == [{"checked": 40, "matched": 3, "unchecked": {}, "set_aside": 2}]
    saved = SavedScan.open(folder / "again")
    assert saved.complete
    whole = SavedScan.open(folder / "report").matched_rows
    assert saved.matched_rows.equals(whole), "what matched stays whole"
    rows = pq.read_table(folder / "again" / "set_aside.parquet").to_pylist()
    assert {(row["level"], row["row"]) for row in rows if row["side"] == "eval"} == {
        (level, row) for level in ("text", "overlap") for row in (0, 1)
    }
    decided = pq.read_table(folder / "again" / "decided.parquet").to_pylist()
    assert {row["decision"] for row in decided} == {"boilerplate"}
    page = (folder / "again" / "report.html").read_text()
    assert "Leak found, reviewed" in page
    assert "set aside and not counted" in page

    decide(folder / "d.jsonl", saved, "boilerplate")  # everything that is left
    done = run(*asked, "--out", str(folder / "again"))
    assert done.returncode == 0, done.stderr
    assert "CLEAN, REVIEWED: text=0/40 overlap=0/40" in done.stdout
    assert "No leak found at levels text (reviewed), overlap (reviewed)" in done.stdout
    summary = json.loads((folder / "again" / "summary.json").read_text())
    jsonschema.validate(summary, SCHEMA)
    assert {level["status"] for level in summary["levels"].values() if "lacks" not in level} == {"reviewed"}
    redrawn = run("report", str(folder / "again"))
    assert redrawn.returncode == 0, redrawn.stderr
    assert "No leak found" in (folder / "again" / "report.html").read_text()
    claims = run("claims", str(folder / "again"))
    assert "as people reviewed what the scan found" in claims.stdout

    notes = run("report", str(folder / "again"), "--format", "github")
    assert "CLEAN, REVIEWED" in notes.stdout
    assert 'failures="0"' in run("report", str(folder / "again"), "--format", "junit").stdout

    left = run("leakscan", *paths, "--levels", "text,overlap", "--out", str(folder / "again"))
    assert left.returncode == 1
    assert not (folder / "again" / "set_aside.parquet").exists(), "an earlier scan's"


def test_what_is_left_may_be_allowed_and_the_sentence_says_both(given_files):
    paths, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), "boilerplate", "reserved")
    report = lvmfast.leakscan(paths[1], paths[3], levels=["text"], allow={"text": 0.1}, decisions=decisions)
    assert (report.verdict, report.passed) == ("allowed, reviewed", True)
    assert "at text (7.5%). People decided on 1 of 4 matches: 1 boilerplate." in report.summary["sentence"]
    assert not report.summary["sentence"].endswith(" ")


@pytest.mark.parametrize("decision", ["real", "unsure"])
def test_what_is_real_or_unsure_counts(given_files, decision):
    paths, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), decision)
    done = run("leakscan", *paths, "--levels", "text,overlap", "--decisions", decisions)
    assert done.returncode == 1
    assert "LEAK, REVIEWED: text=5/40 overlap=5/40" in done.stdout
    assert f"{decision}." in done.stdout


def test_decisions_of_another_scan_are_told_and_change_nothing(given_files):
    paths, folder = given_files
    DecisionLog(folder / "other.jsonl").append(
        [Decision.now("ab" * 16, "text", "boilerplate", scan="0" * 32)]
    )
    done = run("leakscan", *paths, "--levels", "text", "--decisions", str(folder / "other.jsonl"))
    assert done.returncode == 1
    assert "LEAK: text=5/40" in done.stdout
    assert "no decision is of a match here" in done.stdout
    assert "1 decision is of no match in the evidence of this scan." in done.stdout
    assert "Is the file that of another scan?" in done.stdout
    refused(run("leakscan", *paths, "--decisions", str(folder / "gone.jsonl")), "gone.jsonl", "no such file")
    (folder / "bad.jsonl").write_text("{}\n")
    refused(run("leakscan", *paths, "--decisions", str(folder / "bad.jsonl")), "bad.jsonl: line 1: match")
    shard = ["--decisions", str(folder / "other.jsonl"), "--shard", "1/2", "--out", str(folder / "part")]
    refused(run("leakscan", *paths, *shard), "a shard has no verdict")


def test_a_new_scan_of_shuffled_files_by_other_names_keeps_the_decisions(given_files, world):
    _, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), "boilerplate", "reserved")
    order = random.Random(5)
    parts = folder / "parts"
    parts.mkdir()
    for side in ("train", "eval"):
        lines = (world / f"{side}.jsonl").read_text().splitlines(keepends=True)
        order.shuffle(lines)
        for n in range(3):
            place = parts / side / f"{n}-{side}.jsonl"
            place.parent.mkdir(exist_ok=True)
            place.write_text("".join(lines[n::3]))
    report = lvmfast.leakscan(
        str(parts / "train"), str(parts / "eval"), levels=["text", "overlap"], decisions=decisions
    )
    assert report.findings.verdict == "leak, reviewed"
    for level in ("text", "overlap"):
        assert (report.levels[level].sides["eval"].matched, report.levels[level].set_aside("eval")) == (3, 2)
    assert report.findings.strange == 0


def test_clean_keeps_what_was_set_aside_and_its_certificate_says_reviewed(given_files):
    paths, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), "boilerplate", "reserved")
    for drop, left in (("eval", 37), ("train", 33)):
        out = folder / drop
        done = run(
            "clean", *paths, "--report", str(folder / "report"), "--drop", drop,
            "--decisions", decisions, "--out", str(out),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "CLEAN, REVIEWED" in done.stdout
        certificate = json.loads((out / "clean.json").read_text())
        assert certificate["scans"][0]["verdict"] == "clean, reviewed"
        assert certificate["scans"][0]["levels"]["text"]["set_aside"]["eval_rows"] == 2
        assert certificate["sides"][drop]["rows"] == left
        assert certificate["review"]["set_aside"]["text"] == {"eval": 2, "train": 3}[drop]
        verified = run("verify", str(out))
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert f"VERIFIED: {out}: clean, reviewed, at text, overlap" in verified.stdout
        again = run("leakscan", *paths[:2], "--eval", str(out)) if drop == "eval" else None
        assert again is None or again.returncode == 1, "without the decisions it is a leak"
    kept = folder / "eval" / "_decisions.jsonl"
    kept.write_bytes(b"")
    assert run("verify", str(folder / "eval")).returncode == 1, "the decisions belong to what is certified"
    plain = run("clean", *paths, "--report", str(folder / "report"), "--out", str(folder / "plain"))
    assert plain.returncode == 0
    certificate = json.loads((folder / "plain" / "clean.json").read_text())
    assert certificate["sides"]["eval"]["rows"] == 35
    assert "review_not_applied" not in certificate, "that report was not reviewed"


@pytest.mark.parametrize(("drop", "dropped"), [("eval", 2), ("train", 3)])
def test_clean_of_a_reviewed_report_without_decisions_says_what_it_drops(given_files, drop, dropped):
    paths, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), "boilerplate", "reserved")
    report = str(folder / "reviewed")
    scanned = run("leakscan", *paths, "--levels", "text,overlap", "--decisions", decisions, "--out", report)
    assert "LEAK, REVIEWED" in scanned.stdout
    out = folder / "out"
    done = run("clean", *paths, "--report", report, "--drop", drop, "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    told = (
        f"{drop}: rows that a review had set aside in the report were dropped, too (text {dropped}, overlap"
    )
    assert told in done.stdout
    assert "--decisions FILE keeps them" in done.stdout
    ignored = json.loads((out / "clean.json").read_text())["review_not_applied"]
    assert ignored == {"text": dropped, "overlap": dropped}
    assert run("verify", str(out)).returncode == 0
    with_them = run(
        "clean", *paths, "--report", report, "--drop", drop, "--decisions", decisions, "--out", f"{out}-2"
    )
    assert "were dropped, too" not in with_them.stdout


def test_rules_count_no_row_that_was_set_aside(given_files):
    paths, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), "boilerplate", "reserved")
    before, after = (
        lvmfast.leakscan(paths[1], paths[3], levels=["overlap"], **given)
        for given in ({}, {"decisions": decisions})
    )
    own, reviewed_own = (report.summary["levels"]["overlap"]["rules"] for report in (before, after))
    assert reviewed_own == own | {"lvmfast": own["lvmfast"] - 2}
    assert [
        file.get("rules", {}).get("lvmfast") for file in after.summary["files"][1]["levels"].values()
    ] == [3]
    done = run("leakscan", *paths, "--levels", "overlap", "--decisions", decisions)
    assert "evaluation rows by each rule: lvmfast 3," in done.stdout
    assert "(rule lvmfast: without the 2 that review set aside)" in done.stdout


def test_impact_counts_what_was_set_aside_as_clean(given_files):
    paths, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), "boilerplate", "reserved")
    scores = [{"id": n, "score": float(n % 2)} for n in range(40)]
    (folder / "scores.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in scores))
    without = lvmfast.impact(folder / "report", folder / "scores.jsonl").content
    content = lvmfast.impact(folder / "report", folder / "scores.jsonl", decisions=decisions).content
    assert without["review"] is None
    assert (without["items"]["leaked"], content["items"]["leaked"], content["items"]["set_aside"]) == (
        5,
        3,
        2,
    )
    assert content["review"]["set_aside"] == {"text": 2, "overlap": 2}
    assert content["models"][0]["overall"]["clean"]["items"] == 37
    done = run(
        "impact", str(folder / "report"), "--scores", str(folder / "scores.jsonl"),
        "--decisions", decisions, "--out", str(folder / "impact"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Reviewed: 3 items leaked; 2 more matched and were set aside" in done.stdout
    assert "reviewed: 2 more matched and were set aside" in (folder / "impact" / "impact.html").read_text()
    again = str(folder / "again")
    run("leakscan", *paths, "--levels", "text,overlap", "--decisions", decisions, "--out", again)
    (note,) = (n for n in lvmfast.impact(again, folder / "scores.jsonl").content["notes"] if "decided" in n)
    assert note == f"{again}: people decided on matches of this scan; without --decisions all matches count"


def test_a_file_whose_matches_were_all_set_aside_is_not_quarantined(given_files):
    paths, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), "boilerplate")
    done = run(
        "leakscan", *paths, "--levels", "text", "--decisions", decisions, "--out", str(folder / "again")
    )
    assert done.returncode == 0
    moved = run("quarantine", paths[3], "--report", str(folder / "again"))
    refused(moved, "clean, reviewed (rows set aside at text)")


def test_where_evidence_was_cut_rows_stay_and_the_scan_says_so(given_files):
    paths, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), "boilerplate")
    report = lvmfast.leakscan(
        paths[1], paths[3], levels=["text", "overlap"], max_pairs=2, decisions=decisions
    )
    assert aside(report, "overlap") == []
    assert report.levels["overlap"].sides["eval"].matched == 5
    review = report.summary["levels"]["overlap"]["review"]
    assert "evidence was cut to 2 of" in review["stays"]
    assert "overlap: matches that are boilerplate set no row aside: evidence was cut" in str(report)
    # At a level of equal keys a row has one match: what is kept tells all of it.
    assert len(report.levels["text"].matches) == 2
    assert 2 <= len(aside(report, "text")) < 5
    assert report.findings.verdict == "leak, reviewed"
    assert report.findings.strange
    assert "Evidence was cut (--max-pairs): they may be of matches that were left out." in str(report)
    assert "Is the file that of another scan" not in str(report)
    report.save(folder / "cut")
    assert SavedScan.open(folder / "cut").matched_rows.num_rows == report.matched_rows.num_rows


def test_a_published_rule_is_not_overruled(given_files):
    paths, folder = given_files
    decisions = decide(folder / "d.jsonl", SavedScan.open(folder / "report"), "boilerplate")
    report = lvmfast.leakscan(
        paths[1], paths[3], levels=["overlap"], overlap_rule="gpt3", decisions=decisions
    )
    assert aside(report, "overlap") == []
    assert not report.passed
    assert "no match says why a row leaks" in str(report)


def test_levels_of_vectors(tmp_path):
    """Rows of equal vectors are set aside together; at context all matches must be decided."""
    files = data.leaky(tmp_path)
    with np.load(files["eval.npz"]) as arrays:
        twice = {
            name: np.concatenate([arrays[name][:3], arrays[name]]) for name in arrays if name != "provenance"
        }
        twice["truth_keys"][:3] += 5000
        np.savez(tmp_path / "eval.npz", provenance=arrays["provenance"], **twice)
    sides = files["train.npz"], files["eval.npz"]
    plain = lvmfast.leakscan(*sides, levels=["vector", "context"])
    assert plain.levels["vector"].sides["eval"].matched == 23
    rows = list(zip(plain.matches.to_pylist(), known(plain), strict=True))
    chosen = {match for row, match in rows if row["level"] == "vector" and row["eval_row"] in (0, 1, 10)}
    log = DecisionLog(tmp_path / "d.jsonl")
    log.append([Decision.now(match, "vector", "boilerplate", scan="0" * 32) for match in chosen])
    report = lvmfast.leakscan(*sides, levels=["vector", "context"], decisions=tmp_path / "d.jsonl")
    assert aside(report, "vector") == [0, 1, 3, 4, 10]
    assert report.levels["vector"].pairs == 23 - 5
    some = [match for row, match in rows if row["level"] == "context"][:5]
    log.append([Decision.now(match, "context", "boilerplate", scan="0" * 32) for match in some])
    report = lvmfast.leakscan(*sides, levels=["vector", "context"], decisions=tmp_path / "d.jsonl")
    assert aside(report, "context") == []
    assert "has many matches" in report.summary["levels"]["context"]["review"]["stays"]
    decide(tmp_path / "d.jsonl", plain, "boilerplate")
    report = lvmfast.leakscan(*sides, levels=["vector", "context"], decisions=tmp_path / "d.jsonl")
    assert report.findings.verdict == "clean, reviewed"
    assert report.passed
    assert {finding.status for finding in report.levels.values()} == {"reviewed"}
    raised = report.rethreshold(0.999)
    assert raised.findings.verdict == "clean, reviewed"
    assert raised.decided.num_rows == report.decided.num_rows


def test_at_context_a_match_at_another_place_of_the_same_rows_is_not_decided(tmp_path):
    rng = np.random.default_rng(6)
    train, eval_ = (
        {
            "vector": rng.normal(size=(3, 16)).astype(np.float32),
            "context": rng.normal(size=(3, 4, 16)).astype(np.float32),
            "doc_id": [f"{side}{n}" for n in range(3)],
            "chunk_id": [0, 1, 2],
        }
        for side in ("t", "e")
    )
    eval_["context"][0, 1] = train["vector"][0]
    eval_["context"][0, 3] = train["vector"][0] + np.float32(1e-3)
    plain = lvmfast.leakscan(train, eval_, levels=["context"])
    first, second = known(plain)
    assert first != second
    decided = Decision.now(first, "context", "boilerplate", scan="0" * 32)
    DecisionLog(tmp_path / "d.jsonl").append([decided])
    report = lvmfast.leakscan(train, eval_, levels=["context"], decisions=tmp_path / "d.jsonl")
    assert decisions_on(report.matches, report.decided) == ["boilerplate", None]
    left = without_boilerplate(report.matches, report.decided)
    assert left["eval_position"].to_pylist() == [3], "it is told of"


def test_inside_one_split_a_row_stays_while_another_match_of_it_counts(tmp_path):
    rng = np.random.default_rng(8)
    base = rng.normal(size=(2, 16)).astype(np.float32)
    near = np.stack([base[0], base[0] * 1.0, base[0] + 1e-3, base[1], base[1] + 1e-3]).astype(np.float32)
    split = {"vector": near, "doc_id": list("abcde"), "chunk_id": list("01234")}
    plain = lvmfast.leakscan(split, threshold=0.999)
    pairs = {
        match: (row["train_row"], row["eval_row"])
        for row, match in zip(plain.matches.to_pylist(), known(plain), strict=True)
        if row["level"] == "vector"
    }
    assert set(pairs.values()) == {(0, 1), (0, 2), (3, 4)}
    log = DecisionLog(tmp_path / "d.jsonl")
    for wanted, expected in (((3, 4), [3, 4]), ((0, 1), [3, 4]), ((0, 2), [0, 1, 2, 3, 4])):
        chosen = [match for match, rows in pairs.items() if rows == wanted]
        log.append([Decision.now(match, "vector", "boilerplate", scan="0" * 32) for match in chosen])
        report = lvmfast.leakscan(split, threshold=0.999, decisions=tmp_path / "d.jsonl")
        assert aside(report, "vector", "train") == expected
    assert report.findings.verdict == "clean, reviewed"


def test_a_chunk_that_holds_a_part_of_a_match_that_counts_is_not_set_aside(tmp_path):
    """The middle chunk begins one item, which is boilerplate, and ends another, undecided one."""
    boilerplate, leaked = (" ".join(f"{name}{n}" for n in range(40)) for name in "ab")
    texts = [
        f"before {' '.join(leaked.split()[:20])}",
        " ".join([*leaked.split()[20:], *boilerplate.split()[:20]]),
        f"{' '.join(boilerplate.split()[20:])} behind",
    ]
    rows = [{"doc_id": "d", "chunk_id": n, "text": text} for n, text in enumerate(texts)]
    items = [{"text": boilerplate}, {"text": leaked}, {"text": "nothing that any of the chunks would hold"}]
    paths = []
    for name, of_side in (("train", rows), ("eval", items)):
        paths.append(str(tmp_path / f"{name}.jsonl"))
        Path(paths[-1]).write_text("".join(f"{json.dumps(row)}\n" for row in of_side))
    asked = {"levels": ["overlap"], "join_chunks": True}
    plain = lvmfast.leakscan(*paths, **asked)
    plain.save(tmp_path / "report")
    decisions = decide(tmp_path / "d.jsonl", plain, "boilerplate", "a7 a8 a9")
    report = lvmfast.leakscan(*paths, **asked, decisions=decisions)
    assert report.levels["overlap"].sides["train"].matched_rows.tolist() == [0, 1, 2]
    assert (aside(report, "overlap"), aside(report, "overlap", "train")) == ([0], [])
    with pytest.raises(lvmfast.DataError, match="all 3 train rows leak"):
        lvmfast.clean(*paths, tmp_path / "report", out=tmp_path / "left", drop="train", decisions=decisions)
    made = lvmfast.clean(*paths, tmp_path / "report", out=tmp_path / "clean", decisions=decisions)
    assert made.certificate["scans"][0]["verdict"] == "clean, reviewed"
    decide(tmp_path / "d.jsonl", plain, "boilerplate")
    report = lvmfast.leakscan(*paths, **asked, decisions=decisions)
    assert aside(report, "overlap", "train") == [0, 1, 2]
    assert report.findings.verdict == "clean, reviewed"
