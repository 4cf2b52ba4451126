"""What somebody meets who asks how: help, completion, and options from the environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lvmfast.cli.app import COMMANDS, GROUPS, app
from lvmfast.report import progress
from lvmfast.shown import Display, progress_shown, show_progress
from tests.support.command import refused, run


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_values_by_what_they_are(name):
    shown = CliRunner().invoke(app, [name, "-h"]).stdout
    assert shown.startswith(f"Usage: lvmfast {name} ")
    assert shown == CliRunner().invoke(app, [name, "--help"]).stdout
    assert re.findall(r"<[^>]*>|\{|\}|--no-quiet|INTEGER|\bint\b", shown) == []
    assert "-h, --help" in shown


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("merge", "merge [OPTIONS] PART..."),
        ("report", "report [OPTIONS] DIR"),
        ("fingerprint", "fingerprint [OPTIONS] TRAIN..."),
        ("split", "split [OPTIONS] DATA..."),
        ("eval", "eval [OPTIONS] [RUN]..."),
        ("convert", "convert [OPTIONS] OLD NEW"),
    ],
)
def test_usage_says_which_arguments_there_are(name, usage):
    assert CliRunner().invoke(app, [name, "-h"]).stdout.splitlines()[0] == f"Usage: lvmfast {usage}"


def test_commands_stand_in_groups():
    shown = CliRunner().invoke(app, ["-h"]).stdout
    places = [shown.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)
    for sentence in COMMANDS.values():
        assert sentence.endswith(".")
        assert sentence[0].isupper()


def test_the_version():
    assert run("-v").stdout == run("--version").stdout


def completed(*words: str) -> tuple[list[str], set[str]]:
    """What bash offers for a command line, and which commands were loaded for it."""
    script = (
        "import sys; import lvmfast.ending as ending; from lvmfast.__main__ import main\n"
        "leave = ending.leave\n"
        "def told(code): print(*sys.modules, sep='\\n', file=sys.stderr); leave(code)\n"
        "ending.leave = told; main()"
    )
    environment = os.environ | {
        "_LVMFAST_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["lvmfast", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = {name for name in COMMANDS if f"lvmfast.cli.{name}" in done.stderr.splitlines()}
    return done.stdout.split(), loaded


def test_a_shell_is_told_how_a_command_line_may_go_on():
    assert completed("le") == (["leakscan"], set())
    assert completed("leakscan", "--train-p") == (["--train-payload"], {"leakscan"})
    assert completed("leakscan", "--format", "s") == (["sarif"], {"leakscan"})


def test_completion_is_installed(tmp_path):
    environment = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = run("--install-completion", "bash", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_LVMFAST_COMPLETE" in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    shown = run("--show-completion", "bash", env=environment)
    assert (shown.returncode, "_LVMFAST_COMPLETE" in shown.stdout) == (0, True)


def test_options_from_the_environment_stand_between_the_command_line_and_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"text": "a text that is long enough to be one"}\n')
    (tmp_path / "mine.toml").write_text('[leakscan]\nthreads = 1\ntrain = "a.jsonl"\njson = true\n')
    environment = os.environ | {"LVMFAST_CONFIG": "mine.toml", "LVMFAST_THREADS": "2"}

    def threads(*more: str, **changed: str) -> int:
        done = run("leakscan", *more, env=environment | changed)
        return json.loads(done.stdout)["environment"]["threads"]

    assert threads() == 2
    assert threads("--threads", "3") == 3
    del environment["LVMFAST_THREADS"]
    assert threads() == 1
    refused(run("leakscan", env=environment | {"LVMFAST_THREADS": "two"}), "(env var: 'LVMFAST_THREADS')")
    limited = run("leakscan", env=environment | {"LVMFAST_MEMORY_LIMIT": "1"})
    assert (limited.returncode, "of --memory-limit" in limited.stderr) == (2, True)


def test_an_address_of_ray_in_the_environment_is_of_no_account_where_ray_is_not_asked_for(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a text that is long enough to be one"}\n')
    call = ("leakscan", "--train", str(tmp_path / "a.jsonl"))
    environment = os.environ | {"LVMFAST_RAY_ADDRESS": "127.0.0.1:1"}
    assert run(*call, env=environment).returncode == 0
    refused(run(*call, "--engine", "ray", env=environment), "ray")
    refused(run(*call, "--ray-address", "127.0.0.1:1"), "ray_address: is for the engine ray")


@pytest.mark.parametrize(
    ("asked", "kind"),
    [("plain", progress.Lines), ("rich", "Bars"), ("none", progress.silent), ("auto", progress.Lines)],
)
def test_progress_is_shown_as_it_is_asked_for(asked, kind):
    before = progress_shown()
    show_progress(Display(asked))
    try:
        with progress.progress_display(quiet=False) as display:
            assert display is kind or type(display) is kind or type(display).__name__ == kind
    finally:
        show_progress(before)


def test_another_way_to_show_progress_is_refused():
    refused(run("--progress", "loud", "demo"), "--progress", "plain")
