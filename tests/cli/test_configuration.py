"""`lvmfast.toml`: options from a file, the command line above it, and what is wrong with either."""

from __future__ import annotations

import json
import os

import pytest

from lvmfast.cli.app import COMMANDS
from tests.support.command import refused, run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two files with a text in common, in the working folder."""
    monkeypatch.chdir(tmp_path)
    texts = ["a text that is long enough to be one", "short text"]
    for name in ("train.jsonl", "eval.jsonl", "other.jsonl"):
        own = [f"what stands in {name} and nowhere else"]
        rows = own if name == "other.jsonl" else [*texts, *own]
        (tmp_path / name).write_text("\n".join(json.dumps({"text": text}) for text in rows))
    return tmp_path


def test_options_come_from_the_file_and_the_command_line_goes_above_it(folder):
    (folder / "lvmfast.toml").write_text(
        '[leakscan]\ntrain = ["train.jsonl"]\neval = "eval.jsonl"\nmin-chars = 4\n'
        'levels = "text"\njson = true\n'
    )
    found = run("leakscan")
    assert found.returncode == 1
    assert found.stderr == "options from lvmfast.toml: --train, --eval, --levels, --min-chars, --json\n"
    summary = json.loads(found.stdout)
    assert summary["options"]["min_chars"] == 4
    assert summary["levels"]["text"]["eval_rows_matched"] == 2
    above = run("leakscan", "--eval", "other.jsonl", "--min-chars", "20")
    assert above.returncode == 0
    assert above.stderr == "options from lvmfast.toml: --train, --levels, --json\n"
    assert json.loads(above.stdout)["options"]["min_chars"] == 20
    (folder / "other.toml").write_text('[leakscan]\ntrain = ["train.jsonl", "other.jsonl"]\nmin_chars = 20\n')
    named = run("--config", "other.toml", "leakscan", "--eval", "eval.jsonl")
    assert named.stderr.splitlines()[0] == "options from other.toml: --train, --min-chars"
    assert run("leakscan", "--help").stderr == ""
    assert run("demo", "--help").returncode == 0  # a command of which the file says nothing
    assert run("report", "nowhere").stderr.startswith("lvmfast: nowhere: no such folder")


def test_arguments_and_commands_of_commands(folder):
    (folder / "lvmfast.toml").write_text(
        '[split]\ndata = ["train.jsonl"]\neval-docs = 1\nmin-chars = 4\nout = "split"\n'
        '[quarantine.add]\nreport = "report"\n[monitor]\nevery = 0.5\n'
    )
    assert run("split").returncode == 0
    assert (folder / "split" / "eval.jsonl").is_file()
    assert (
        run("leakscan", "--train", "train.jsonl", "--eval", "eval.jsonl", "--out", "report").returncode == 1
    )
    moved = run("quarantine", "eval.jsonl")
    assert (moved.returncode, moved.stderr) == (0, "options from lvmfast.toml: --report\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[leakscan]\nmin-char = 3\n", "a.toml: leakscan: min-char: `lvmfast leakscan` has no such option"),
        ("[leakscan]\nmin_char = 3\n", "did you mean min-chars?"),
        ("[leakscna]\nmin-chars = 3\n", "did you mean leakscan?"),
        ("train = 'x'\n", "a.toml: train: expected a table of a command"),
        ("[leakscan]\nthreads = 'x'\n", "(in a.toml)"),
        ("[leakscan]\nthreads = [1]\n", "a.toml: leakscan: threads: expected a value, got [1]"),
        ("[leakscan]\nquiet = 'yes'\n", "a.toml: leakscan: quiet: expected true or false, got 'yes'"),
        ("[leakscan]\nthreads = true\n", "a.toml: leakscan: threads: expected a value, got True"),
        ("[leakscan]\nhelp = true\n", "a.toml: leakscan: help: `lvmfast leakscan` has no such option"),
        ("[leakscan\n", "a.toml: expected TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(folder, content, words):
    (folder / "a.toml").write_text(content)
    result = run("--config", "a.toml", "leakscan", "--train", "train.jsonl")
    told = result.stderr.splitlines()
    result.stderr = "\n".join(line for line in told if not line.startswith("options from"))
    refused(result, words)


def test_where_the_file_is_named(folder):
    refused(run("--config", "none.toml", "leakscan"), "none.toml: cannot be read")
    refused(run("leakscan", "--config", "a.toml"), "goes before the command: `lvmfast --config FILE ...`")
    (folder / "a.toml").write_text("[quarantine]\nreport = 'x'\n")
    refused(
        run("--config", "a.toml", "quarantine", "eval.jsonl"), "expected one of the tables [quarantine.add]"
    )
    (folder / "a.toml").write_text("".join(f"[{name}]\n" for name in COMMANDS))
    assert run("--config", os.path.join(".", "a.toml"), "leakscan", "--train", "other.jsonl").returncode == 0
