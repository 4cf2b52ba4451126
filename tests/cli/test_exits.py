"""Exit codes under every misfortune: 0 and 1 are answers that were printed, and nothing else is."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lvmfast
from lvmfast.errors import CoreError, DataError, IncompleteError, LeakError, OutputError
from lvmfast.exits import Answer, exit_code
from lvmfast.shown import LONGEST, line, visible

LVMFAST = [sys.executable, "-m", "lvmfast"]
PACKAGE = Path(lvmfast.__file__).parent


@pytest.fixture(scope="module")
def sides(tmp_path_factory) -> dict[str, str]:
    """A training set, an eval set that leaked, and a clean one."""
    folder = tmp_path_factory.mktemp("sides")
    for name, first in (("train", 0), ("leaky", 25), ("clean", 1000)):
        rows = [
            {"doc_id": n, "text": f"row {n} is long enough to be compared"} for n in range(first, first + 50)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: str(folder / f"{name}.jsonl") for name in ("train", "leaky", "clean")}


def scan(sides: dict[str, str], eval_side: str) -> list[str]:
    return [
        *LVMFAST,
        "leakscan",
        "--train",
        sides["train"],
        "--eval",
        sides.get(eval_side, eval_side),
        "--quiet",
    ]


class Panic(BaseException):
    """As the panics of the core are: no Exception."""


def raising(error: BaseException):
    def command() -> Answer:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("a: bad"), 2, "lvmfast: a: bad"),
        (IncompleteError("half"), 3, "lvmfast: half"),
        (LeakError("a leak that no command reports"), 2, "lvmfast: a leak that no command reports"),
        (CoreError("the core failed: index out of bounds"), 2, "lvmfast: a bug, not a verdict"),
        (Panic("index out of bounds"), 2, "lvmfast: a bug, not a verdict"),
        (OutputError("stdout"), 2, "lvmfast: stdout"),
        (KeyboardInterrupt(), 130, "lvmfast: interrupted; nothing was written"),
        (KeyboardInterrupt("it goes on"), 130, "lvmfast: interrupted; it goes on"),
        (MemoryError("Unable to allocate 5 GiB"), 2, "lvmfast: out of memory: Unable to allocate 5 GiB"),
        (RuntimeError("can't start new thread"), 2, "lvmfast: the system gives no more threads"),
        (OSError(28, "No space left on device", "x"), 2, "lvmfast: x: No space left on device"),
        (ImportError("libarrow.so: cannot map"), 2, "lvmfast: a library cannot be loaded: libarrow.so"),
        (SystemExit(0), 2, "lvmfast: a bug"),
        (SystemExit(1), 2, "lvmfast: a bug"),
        (SystemExit("text"), 2, "lvmfast: a bug"),
        (GeneratorExit(), 2, "lvmfast: a bug"),
        (RecursionError(), 2, "lvmfast: a bug"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_is_raised_is_no_answer(error, code, said, capsys):
    assert exit_code(raising(error)) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith(said)


@pytest.mark.parametrize("returned", [None, 0, 1, True, "clean", 3.0])
def test_what_is_no_answer_is_none(returned):
    assert exit_code(lambda: returned) == 2


def test_answers_are_codes():
    assert [exit_code(lambda given=given: given) for given in Answer] == [0, 1, 3]


def test_a_panic_of_the_core_is_no_leak(sides):
    script = (
        "import sys; from lvmfast import _core\n"
        "class Panic(BaseException): pass\n"
        "def panic(*args): raise Panic('index out of bounds')\n"
        "_core.text_keys = _core.string_keys = _core.KeyTable = _core.TextIndex = panic\n"
        "from lvmfast.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *scan(sides, "leaky")[3:]], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("lvmfast: a bug, not a verdict; please report the lines above\n")


def test_an_exit_of_a_library_is_no_answer():
    script = (
        "import ctypes; from lvmfast import __main__ as command\n"
        "command._command = lambda: ctypes.CDLL(None).exit(1)\n"
        "command.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lvmfast: a library ended the process")


STARTING = "threading.Thread._set_ident"  # what a thread does before it says that it started
WORKING = "concurrent.futures.thread._WorkItem.run"


@pytest.mark.parametrize("place", [STARTING, "threading.Thread.run", WORKING])
def test_a_thread_that_gets_no_memory_is_not_waited_for(sides, place):
    script = (
        "import concurrent.futures.thread, threading; from unittest import mock\n"
        "from lvmfast.__main__ import main\n"
        f"mock.patch({place!r}, side_effect=MemoryError).start(); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *scan(sides, "leaky")[3:]], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lvmfast: out of memory in a thread; no verdict\n"


@pytest.mark.parametrize("eval_side", ["leaky", "clean", "no such file.jsonl"])
@pytest.mark.parametrize(
    "redirected", ["> /dev/full", ">&-", "2> /dev/full", "2>&-", "2>&- > /dev/full", "<&- 2>&-"]
)
def test_closed_and_full_streams(sides, eval_side, redirected):
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", *scan(sides, eval_side)], capture_output=True, text=True
    )
    printed = "> /dev/full" not in redirected.replace("2> /dev/full", "") and not redirected.startswith(">&-")
    expected = {"leaky": 1, "clean": 0}.get(eval_side, 2) if printed else 2
    assert done.returncode == expected, done.stderr
    if "2>" not in redirected:
        assert done.stderr.startswith("lvmfast: ")
        assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith({0: "CLEAN: ", 1: "LEAK: ", 2: ""}[expected])


def test_a_reader_that_went_away_saw_no_verdict(sides):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(scan(sides, "leaky"), stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 2
    assert done.stderr.startswith("lvmfast: stdout: cannot be written: Broken pipe")
    assert len(done.stderr.splitlines()) == 1


def test_any_character_can_be_printed_in_ascii(sides):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [word for word in scan(sides, "leaky") if word != "--quiet"]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (1, b"")
    done.stdout.decode("ascii")
    done = subprocess.run([*command, "--json"], capture_output=True, env=environment)
    assert json.loads(done.stdout.decode("ascii"))["verdict"] == "leak"


def interrupted_after(seconds: float, command: list[str]) -> tuple[int, str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def check_interrupts(moments: list[float], sides: dict[str, str]) -> None:
    found = [interrupted_after(moment, scan(sides, "clean")) for moment in moments]
    for moment, (code, errors) in zip(moments, found, strict=True):
        # In the interpreter's own first and last moments nothing of ours runs but what installs the handler.
        if code in (0, -signal.SIGINT):
            shown = set(re.findall(r"lvmfast/(\w+)\.py", errors))
            assert shown <= {"__init__", "__main__", "interrupts"}, (moment, code, errors)
        else:
            assert code == 130, (moment, code, errors)
            assert errors.startswith("lvmfast: interrupted"), (moment, code, errors)
            assert len(errors.splitlines()) == 1, (moment, code, errors)


def test_interrupts_while_libraries_load(sides):
    check_interrupts([0.3, 0.5, 0.8, 1.1], sides)


@pytest.mark.slow
def test_interrupts_at_any_moment(sides):
    start = time.monotonic()
    subprocess.run(scan(sides, "clean"), check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - start
    chance = random.Random(7)
    check_interrupts([chance.uniform(0.15, 1.1 * whole) for _ in range(120)], sides)


LIMITS = [50, 100, 200, 300, 500, 800, 1200, 2000]


@pytest.mark.parametrize("mebibytes", [300, pytest.param(LIMITS, marks=pytest.mark.slow)])
def test_little_address_space_is_no_leak(sides, mebibytes):
    for limit in mebibytes if isinstance(mebibytes, list) else [mebibytes]:
        size = limit << 20
        done = subprocess.run(
            scan(sides, "leaky"),
            capture_output=True,
            text=True,
            preexec_fn=lambda size=size: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
            timeout=120,
        )
        assert done.returncode == 1 if done.stdout else done.returncode != 1, (limit, done.stderr)
        assert done.returncode != 0, (limit, done.stderr)


HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202e\u2066\nlvmfast: CLEAN\r\x9b\x7f\u200b\ufeff\U000e0041"


@given(st.text() | st.just(HOSTILE))
def test_a_line_is_one_line_of_what_one_sees(text):
    shown = line(text)
    assert all(unicodedata.category(c)[0] != "C" or c in "\u200c\u200d" for c in shown)
    assert not any(c in shown for c in "\n\r\u2028\u2029\x85\x1b")
    shown.encode()
    assert str(DataError(text)) == shown
    if text.isascii() and text.isprintable():
        assert visible(text) == text


def test_a_long_line_keeps_its_ends():
    shown = line("begin" + "\x1b" * 70_000 + "end")
    assert len(shown) <= LONGEST + 100
    assert shown.startswith("begin⟨U+001B⟩")
    assert shown.endswith("end")


def test_names_from_outside_move_no_terminal(sides, tmp_path):
    train = tmp_path / f"{HOSTILE}.jsonl"
    train.write_bytes(Path(sides["train"]).read_bytes())
    (tmp_path / "eval").mkdir()
    for name in (HOSTILE, "b" + HOSTILE):
        (tmp_path / "eval" / f"{name}.jsonl").write_bytes(Path(sides["leaky"]).read_bytes())
    for arguments in (
        ["leakscan", "--train", str(train), "--eval", str(tmp_path / "eval")],
        ["leakscan", "--train", str(train), "--eval", str(tmp_path / HOSTILE)],
        ["leakscan", "--train", str(train), "--eval", str(train), "--column", f"text={HOSTILE}"],
        ["leakscan", f"--{HOSTILE}"],
        [HOSTILE],
    ):
        done = subprocess.run([*LVMFAST, *arguments], capture_output=True)
        for printed in (done.stdout.decode(), done.stderr.decode()):
            assert all(unicodedata.category(c)[0] != "C" for c in printed if c != "\n"), printed
            assert "\nlvmfast: CLEAN" not in printed
        assert done.returncode == (1 if arguments[-1] == str(tmp_path / "eval") else 2)


def test_one_module_prints():
    """Whatever else prints would print names from outside as they are."""
    allowed = {"shown.py": {"print"}, "report/terminal.py": {"Console"}, "report/bars.py": {"Console"}}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text("utf-8"))
        called = {
            n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        assert called & {"print", "Console"} <= allowed.get(name, set()), name
        attributes = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        assert not attributes & {"sys.stdout.write", "sys.stderr.write", "typer.echo", "typer.secho"}, name
