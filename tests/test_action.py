"""The GitHub Action and the hooks of pre-commit, run here as those services run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from lxml import etree

import lvmfast
from tests.support.places import ROOT

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
TEXTS = [f"the lamp of harbor number {number} is lit by keeper {number * 7} at night" for number in range(40)]


def write(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": each}) + "\n" for each in texts))
    return str(path)


def step(name: str, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Runs a step of the action in `folder`, with the defaults and the environment of `action.yml`."""
    assert inputs.keys() <= ACTION["inputs"].keys()
    (found,) = [each for each in ACTION["runs"]["steps"] if each["name"] == name]
    given = {key: inputs.get(key, told.get("default", "")) for key, told in ACTION["inputs"].items()}
    environment = {}
    for variable, expression in found["env"].items():
        key = expression.removeprefix("${{ inputs.").removesuffix(" }}")
        environment[variable] = given[key]
    runner = folder / "runner"
    runner.mkdir(exist_ok=True)
    for place in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        (runner / place).write_text("")
        environment[place] = str(runner / place)
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment |= {"GITHUB_ACTION_PATH": str(ROOT), "RUNNER_TEMP": str(runner), "PATH": path}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", found["run"]],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def outputs(folder: Path) -> dict[str, str]:
    lines = (folder / "runner" / "GITHUB_OUTPUT").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_a_leak_fails_the_step_and_is_annotated(tmp_path):
    write(tmp_path / "train a.jsonl", TEXTS[:30])
    write(tmp_path / "train b.jsonl", TEXTS[30:])
    write(tmp_path / "eval.jsonl", [*TEXTS[38:], "a text that no training set has, of some words"])
    done = step(
        "Scan",
        tmp_path,
        train="train a.jsonl\n\ntrain b.jsonl\n",
        eval="eval.jsonl",
        levels="text",
        arguments="--min-chars\n8\n",
        sarif="leaks.sarif",
        junit="leaks.xml",
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("::error ") == 3
    assert "file=eval.jsonl,line=2::Row 1 matches train b.jsonl, line 10 (row 9)" in done.stdout
    assert outputs(tmp_path) == {"verdict": "leak", "report": "lvmfast-report"}
    summary = json.loads((tmp_path / "lvmfast-report" / "summary.json").read_text())
    assert summary["options"]["min_chars"] == 8
    assert [Path(file["path"]).name for file in summary["inputs"]["train"]["files"]] == [
        "train a.jsonl",
        "train b.jsonl",
    ]
    assert "LEAK: " in (tmp_path / "runner" / "GITHUB_STEP_SUMMARY").read_text()
    schema = json.loads((ROOT / "tests" / "support" / "sarif.schema.json").read_text())
    log = json.loads((tmp_path / "leaks.sarif").read_text())
    jsonschema.validate(log, schema)
    assert len(log["runs"][0]["results"]) == 2
    assert etree.parse(tmp_path / "leaks.xml").getroot()[0].get("failures") == "1"


def test_a_clean_set_passes_and_bad_input_is_no_verdict(tmp_path):
    write(tmp_path / "train.jsonl", TEXTS[:30])
    write(tmp_path / "eval.jsonl", TEXTS[30:])
    clean = step("Scan", tmp_path, train="train.jsonl", eval="eval.jsonl", levels="text")
    assert clean.returncode == 0, clean.stderr
    assert clean.stdout.startswith("::notice ")
    assert outputs(tmp_path)["verdict"] == "clean"
    # The report of the scan before is still there, and must not stand for this one.
    bad = step("Scan", tmp_path, train="nowhere.jsonl", eval="eval.jsonl")
    assert bad.returncode == 2
    assert "nowhere.jsonl" in bad.stderr
    assert bad.stdout.startswith("::error ")
    assert outputs(tmp_path) == {}


@pytest.mark.parametrize(("asked", "installed"), [("", lvmfast.__version__), ("0.0.7", "0.0.7")])
def test_the_version_of_the_action_is_installed(tmp_path, asked, installed):
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    done = step("Install lvmfast", tmp_path, version=asked)
    assert done.stdout == f"-m pip install --quiet lvmfast=={installed}\n", done.stderr


def test_every_input_reaches_a_step():
    used = {value for each in ACTION["runs"]["steps"] for value in each["env"].values()}
    assert used == {f"${{{{ inputs.{name} }}}}" for name in ACTION["inputs"]}
    assert all(told["description"].endswith(".") for told in ACTION["inputs"].values())


@pytest.mark.parametrize(("row", "code"), [(39, 1), (0, 0)])
def test_a_hook_refuses_a_commit_that_leaks(tmp_path, row, code):
    pre_commit = pytest.importorskip("pre_commit")
    assert pre_commit
    hooks = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    write(tmp_path / "train.jsonl", TEXTS[30:])
    write(tmp_path / "eval.jsonl", [*TEXTS[1:5], TEXTS[row]])
    # As a user names it in a repository, but with the lvmfast that is here and not one that is built for it.
    hook = hooks["lvmfast-leakscan"] | {
        "language": "system",
        "args": ["--train", "train.jsonl", "--eval", "eval.jsonl", "--levels", "text"],
    }
    config = {"repos": [{"repo": "local", "hooks": [hook]}]}
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PRE_COMMIT_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("LEAK: text=1/5" in done.stdout) == bool(code)


def test_the_manifest_of_the_hooks_is_in_order():
    pytest.importorskip("pre_commit")
    manifest = [sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")]
    done = subprocess.run(manifest, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
