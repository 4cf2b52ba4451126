"""What other tools read of a scan: annotations, SARIF and JUnit, held to what those tools take."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import jsonschema
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

import lvmfast
from lvmfast.report.checks import Check, Checked, Place, checks_of_scan
from lvmfast.report.decisions import match_ids
from lvmfast.report.formats import places
from lvmfast.report.formats.github import MOST_SHOWN, command, github
from lvmfast.report.formats.junit import junit
from lvmfast.report.formats.sarif import sarif
from lvmfast.report.saved import SavedScan
from tests.support.command import refused, run
from tests.support.places import ROOT

SARIF = json.loads((ROOT / "tests" / "support" / "sarif.schema.json").read_text())
JUNIT = etree.XMLSchema(etree.parse(ROOT / "tests" / "support" / "junit.xsd"))
WORDS = "river stone quiet lamp engine market silver harbor window garden paper violin copper meadow".split()
FOLDER = "sets, 100%: é"


def text(number: int) -> str:
    return " ".join(WORDS[(number * step + step) % len(WORDS)] for step in range(1, 10)) + f" {number}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """24 of 30 rows of one file leak, the first twice; none of another does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / FOLDER).mkdir()
    train = [text(number) for number in range(100, 200)]
    leaky = [*(train[3 * row].upper() for row in range(23)), train[0], *map(text, range(900, 906))]
    for name, texts in (
        ("train", train),
        (f"{FOLDER}/a", leaky),
        (f"{FOLDER}/b", map(text, range(950, 960))),
    ):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": each}) + "\n" for each in texts))
    return tmp_path


def scan(*more: str):
    return run("leakscan", "--train", "train.jsonl", "--eval", FOLDER, "--levels", "text", *more)


def read_commands(printed: str) -> list[tuple[str, dict[str, str], str]]:
    """Workflow commands as the runner reads them: the kind, the properties and the message."""
    found = []
    for line in printed.splitlines():
        kind, properties, message = re.fullmatch(r"::(\w+) ?(.*?)::(.*)", line).groups()
        pairs = [each.split("=", 1) for each in properties.split(",") if each]
        where = {name: unescaped(value, property=True) for name, value in pairs}
        found.append((kind, where, unescaped(message)))
    return found


def unescaped(text: str, *, property: bool = False) -> str:
    pairs = [("%0D", "\r"), ("%0A", "\n"), *([("%3A", ":"), ("%2C", ",")] if property else []), ("%25", "%")]
    for code, character in pairs:
        text = text.replace(code, character)
    return text


def test_annotations_name_rows_and_say_what_is_left_out(folder):
    done = scan("--format", "github")
    assert done.returncode == 1, done.stderr
    verdict, *rows = read_commands(done.stdout)
    assert len(rows) == MOST_SHOWN - 1
    assert verdict[0] == "error"
    assert "file" not in verdict[1]
    assert verdict[2].startswith("LEAK: This evaluation set was seen in training")
    # 23 texts leak, one of them in two rows, of which evidence names the first.
    assert "The worst 9 are annotated; 14 more are not" in verdict[2]
    for place, (kind, where, message) in enumerate(rows):
        assert (kind, where["file"], where["line"]) == ("error", f"{FOLDER}/a.jsonl", str(place + 1))
        assert f"train.jsonl, line {3 * place + 1} (row {3 * place}) at level text" in message
    assert "So does one more." in rows[0][2]
    assert done.stderr.startswith("LEAK: ")


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_workflow_commands_can_be_read_back(message, file):
    written = command("error", message, file=file, line=None)
    assert written.count("\n") == written.count("\r") == 0
    body = written.removeprefix("::error file=")
    place, _, rest = body.partition("::")
    assert unescaped(place, property=True) == file
    assert unescaped(rest) == message


def identities(report):
    saved = SavedScan.open(report)
    return match_ids(saved.matches, saved.summary["inputs"], "default").to_pylist()


def test_sarif_has_a_result_for_each_row_of_the_evidence(folder):
    done = scan("--format", "sarif", "--out", "report")
    log = json.loads(done.stdout)
    jsonschema.Draft202012Validator(SARIF).validate(log)
    (sarif_run,) = log["runs"]
    assert sarif_run["invocations"][0]["executionSuccessful"]
    evidence = pq.read_table(folder / "report" / "matches.parquet").to_pylist()
    expected = {(match["eval_file"], match["eval_row"] + 1) for match in evidence}
    found = set()
    for result in sarif_run["results"]:
        assert (result["kind"], result["level"], result["ruleId"]) == ("fail", "error", "leakscan/text")
        assert sarif_run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        if "region" in place:
            found.add((unquote(place["artifactLocation"]["uri"]), place["region"]["startLine"]))
        else:  # of the row that evidence does not name
            assert result["message"]["text"].startswith("24 of 30 checked rows matched.")
    assert found == expected
    assert len(found) == 23
    told = [
        result["partialFingerprints"] for result in sarif_run["results"] if "partialFingerprints" in result
    ]
    assert sorted(each["lvmfast/match/v1"] for each in told) == sorted(identities(folder / "report"))
    # The same texts in other files and another order: every match is known again.
    lines = [
        line for file in sorted((folder / FOLDER).iterdir()) for line in file.read_text().splitlines(True)
    ]
    (folder / "other.jsonl").write_text("".join(reversed(lines)))
    later = run(
        "leakscan", "--train", "train.jsonl", "--eval", "other.jsonl", "--levels", "text", "--format", "sarif"
    )
    moved = [result.get("partialFingerprints") for result in json.loads(later.stdout)["runs"][0]["results"]]
    assert {each["lvmfast/match/v1"] for each in moved if each} == set(identities(folder / "report"))
    again = run("report", "report", "--format", "sarif")
    assert (again.returncode, again.stdout) == (0, done.stdout)


def test_junit_has_a_test_for_each_level_and_file(folder):
    done = run("leakscan", "--train", "train.jsonl", "--eval", FOLDER, "--format", "junit")
    root = etree.fromstring(done.stdout.encode())
    JUNIT.assertValid(root)
    (suite,) = root
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases["doc"] == ["skipped"]
    assert cases[f"text: {FOLDER}/a.jsonl"] == ["failure"]
    assert cases[f"text: {FOLDER}/b.jsonl"] == []
    counted = [tag for tags in cases.values() for tag in tags]
    assert int(suite.get("tests")) == len(cases)
    assert int(suite.get("failures")) == counted.count("failure")
    assert int(suite.get("skipped")) == counted.count("skipped") == 5
    assert int(suite.get("errors")) == 0


def test_a_clean_scan_passes_everywhere(folder):
    (folder / FOLDER / "a.jsonl").unlink()
    annotated = scan("--format", "github")
    (verdict,) = read_commands(annotated.stdout)
    assert annotated.returncode == 0
    assert verdict[0] == "notice"
    assert json.loads(scan("--format", "sarif").stdout)["runs"][0]["results"] == []
    suite = etree.fromstring(scan("--format", "junit").stdout.encode())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "0", "0")


def test_what_is_not_decided_passes_nowhere():
    checked = Checked(
        "leakscan",
        "INCOMPLETE: not decided",
        "undecided",
        (Check("vector", "undecided", "3 rows may match.", "vectors", "eval.npz"),),
    )
    (log,) = sarif(checked)["runs"]
    assert not log["invocations"][0]["executionSuccessful"]
    assert [kind for kind, *_ in read_commands("\n".join(github(checked)))] == ["error", "error"]
    root = etree.fromstring(junit(checked).encode())
    JUNIT.assertValid(root)
    assert root[0].get("errors") == "1"


#: What a file can be called here: a name that is not UTF-8 is refused before.
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(names, names, st.integers(0, 2**62))
def test_hostile_names_break_no_format(file, says, row):
    place = Place(file, row, row + 1, says, 1.0)
    checked = Checked(
        "leakscan", says, "failed", (Check("text", "failed", says, "texts", file, (place,), 3),)
    )
    jsonschema.Draft202012Validator(SARIF).validate(json.loads(json.dumps(sarif(checked))))
    JUNIT.assertValid(etree.fromstring(junit(checked).encode()))
    for line in github(checked):
        assert "\n" not in line


def test_places_are_bounded_and_the_rest_is_counted(folder):
    report = lvmfast.leakscan("train.jsonl", FOLDER, levels=["text"])
    checked = checks_of_scan(report.summary, report.matches)
    (leaky,) = [check for check in checked.checks if check.outcome == "failed"]
    assert (leaky.found, len(leaky.places)) == (24, 23)
    assert {place.row for place in leaky.places} == set(range(23))


def test_one_answer_has_one_format(folder):
    refused(scan("--json", "--format", "sarif"), "--json and --format sarif")
    refused(scan("--format", "junit", "--shard", "1/2", "--out", "part"), "lvmfast merge")
    assert json.loads(scan("--format", "json").stdout)["verdict"] == "leak"


def test_duplicates_inside_one_set_are_places_of_it(folder):
    done = run("leakscan", "--train", f"{FOLDER}/a.jsonl", "--levels", "text", "--format", "github")
    assert done.returncode == 1
    _, (_, where, message) = read_commands(done.stdout)
    assert (where["file"], where["line"]) == (f"{FOLDER}/a.jsonl", "24")
    assert "a.jsonl, line 1 (row 0)" in message


def test_gates_and_certificates_are_checks_too(folder):
    rows = [{"epoch": 2, "val_cosine": 0.41, "baselines": {"copy-last": {"val_cosine": 0.3}}}]
    (folder / "history.json").write_text(json.dumps(rows))
    gates = '[[gate]]\nname = "mine"\nmetric = "val_cosine"\nat_least = 0.5\nepoch = 2\n'
    (folder / "gates.toml").write_text(gates)
    judged = run("gate", "history.json", "--gates", "gates.toml", "--format", "junit")
    root = etree.fromstring(judged.stdout.encode())
    JUNIT.assertValid(root)
    assert (judged.returncode, root[0].get("failures")) == (1, "1")
    assert "Found 0.41, asked val_cosine >= 0.5: failed." in root[0][0][0].get("message")

    (folder / FOLDER / "a.jsonl").unlink()
    assert scan("--out", "report").returncode == 0
    made = run(
        "clean", "--report", "report", "--train", "train.jsonl", "--eval", f"{FOLDER}/b.jsonl", "--out", "out"
    )
    assert made.returncode == 0, made.stderr
    verdict, *_ = read_commands(run("verify", "out", "--format", "github").stdout)
    assert (verdict[0], verdict[2][:9]) == ("notice", "VERIFIED:")
    with open(folder / "out" / "b.jsonl", "a") as file:
        file.write(json.dumps({"text": text(100)}) + "\n")
    changed = run("verify", "out", "--format", "github")
    _, (kind, where, message) = read_commands(changed.stdout)
    assert (changed.returncode, kind, where["file"]) == (1, "error", "out/clean.json")
    assert "not the bytes that were certified" in message
    jsonschema.validate(json.loads(run("verify", "out", "--format", "sarif").stdout), SARIF)


def test_a_file_outside_the_working_folder_is_named_in_the_message(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    given = ["--train", str(folder / "train.jsonl"), "--eval", str(folder / FOLDER), "--levels", "text"]
    _, first, *_ = read_commands(run("leakscan", *given, "--format", "github").stdout)
    assert first[1] == {"title": "lvmfast leakscan"}
    assert first[2].startswith(f"{folder / FOLDER / 'a.jsonl'}: Row 0 matches")


def test_a_file_beside_the_working_folder_is_not_told_as_one_in_it(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert places.relative("../there/a.jsonl") is None
    assert places.uri("../there/a b.jsonl") == f"{tmp_path.as_uri()}/there/a%20b.jsonl"
    assert (places.relative("x/../a b.jsonl"), places.uri("x/../a b.jsonl")) == ("a b.jsonl", "a%20b.jsonl")
