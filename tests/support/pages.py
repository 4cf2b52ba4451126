"""Command blocks of README and docs: what a page says that a command prints, and what it prints.

The rules, which CONTRIBUTING.md states for those who write pages:

- A block of the language ``console`` is run. A line that begins with ``$ `` is a command, and goes on where
  it ends in a backslash; what follows up to the next command is what it prints, on either stream. Blocks of
  any other language are not run: ``sh`` is for commands with names of the reader's own files.
- A block behind a line ``<!-- file: NAME -->`` is written to NAME, in its place among the commands.
- All blocks of a page are one session of bash, in a folder that looks like a fresh clone: ``make demo`` works
  in it. On pages other than README it was given already, and the environment is active.
- A line ``...`` stands for any lines that the page leaves out.
- Not compared (`masked`): blanks at the ends of lines and blank lines; points in time, seconds, rates,
  sizes on disk, digests and versions.
- The demo is made of the documentation that Python carries. Where that is not the one the pages were printed
  with (`PRINTED_WITH`), numbers are not compared either, nor the widths of tables.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from pydoc_data.topics import topics

from tests.support.places import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: The digest of the documentation topics that the pages' figures were printed with.
PRINTED_WITH = "853505944682f683"

_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\S*)[^\n]*\n(?P<body>.*?)^(?P=fence)\s*$", re.S | re.M)
_FILE = re.compile(r"<!-- file: (\S+) -->\s*\Z")
_MARK = "\x01 command "
_VARIABLE = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:Z|\+00:00)?"), "TIME"),
    (re.compile(r"\b\d[\d,.]* ?(?:s|ms|rows/s|[KMG]B|[KMG]iB)\b"), "MEASURE"),
    (re.compile(r"\bv?\d+\.\d+\.\d+\S*"), "VERSION"),
)


@dataclass(frozen=True)
class Step:
    """One command of a page and what the page says that it prints, or a file that the page shows."""

    line: int  #: of the page, from 1
    command: str
    printed: tuple[str, ...]
    file: str = ""  #: the file to write `command` to, instead of running it


def digest_of_topics() -> str:
    """What the figures of the demo depend on."""
    text = "\0".join(f"{name}\0{topics[name]}" for name in sorted(topics))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def steps_of(text: str) -> list[Step]:
    """The files and commands of a page, in order."""
    found = []
    for block in _FENCE.finditer(text):
        line = text.count("\n", 0, block.start()) + 2
        named = _FILE.search(text, 0, block.start())
        if named:
            found.append(Step(line, block["body"], (), named[1]))
        elif block["language"] == "console":
            found += _commands(block["body"].splitlines(), line)
    return found


def _commands(lines: list[str], first: int) -> Iterator[Step]:
    assert "\n".join(lines).startswith("$ "), f"line {first}: a console block begins with a command"
    place = 0
    while place < len(lines):
        start, command = place, [lines[place][2:]]
        while command[-1].endswith("\\"):
            place += 1
            command.append(lines[place])
        place += 1
        end = next((p for p in range(place, len(lines)) if lines[p].startswith("$ ")), len(lines))
        yield Step(first + start, "\n".join(command), tuple(lines[place:end]))
        place = end


def fresh_clone(folder: Path) -> Path:
    """A folder that looks like a clone in which lvmfast is built: it has the sources, and an environment."""
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name in {
            "Makefile",
            "rust",
            "Cargo.toml",
            "Cargo.lock",
            "pyproject.toml",
            "examples",
            "docs",
        }:
            (folder / path.name).symlink_to(path)
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, start in (("lvmfast", "-m lvmfast"), ("python", "")):
        command = binaries / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {start} "$@"\n')
        command.chmod(0o755)
    (binaries / "activate").write_text('PATH="$PWD/.venv/bin:$PATH"\n')
    for stamp in (".venv", ".built"):
        (folder / ".venv" / stamp).touch()
    return folder


def run_steps(steps: list[Step], folder: Path, *, active: bool) -> list[Step]:
    """The steps with what each of them printed, in one session of bash in `folder`."""
    script = ["exec 2>&1", "source .venv/bin/activate" if active else ":"]
    for number, step in enumerate(steps):
        kept = folder / f".step-{number}"  # a command by itself: one that bash cannot read spoils no other
        kept.write_text(step.command + "\n")
        script += [
            f"printf '\\n{_MARK}{number}\\n'",
            f"cp {kept.name} '{step.file}'" if step.file else f"source ./{kept.name}",
        ]
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("LVMFAST_", "MAKE"))
    }
    environment = {**inherited, "COLUMNS": "80", "LC_ALL": "C.UTF-8", "HOME": str(folder), "TERM": "dumb"}
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-c", "\n".join(script)], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True, timeout=240, check=False,
    )  # fmt: skip
    parts = re.split(rf"\n{_MARK}\d+\n", "\n" + done.stdout)[1:]
    assert len(parts) == len(steps), done.stdout[-2000:]
    return [
        replace(step, printed=tuple(_bare(part.replace(f"{folder}/", ""))))
        for step, part in zip(steps, parts, strict=True)
    ]


def _bare(text: str) -> list[str]:
    """The lines without blanks at their ends, and without blank lines before and after them."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n").splitlines()


def masked(lines: tuple[str, ...], *, numbers: bool) -> list[str]:
    """The lines as they are compared. With `numbers`, numbers are not."""
    found = []
    for line in lines:
        for pattern, name in _VARIABLE:
            line = pattern.sub(name, line)
        if numbers:
            line = re.sub(r"\d[\d,.]*", "N", line)
            line = re.sub(r"─+", "─", re.sub(r" +", " ", line)).strip()
        if line.strip():
            found.append(line.rstrip())
    return found


def agree(said: list[str], printed: list[str]) -> bool:
    """Whether the page's lines are those that were printed; ``...`` stands for any lines."""
    pattern = "".join("(?:.*\n)*?" if line.strip() == "..." else re.escape(line) + "\n" for line in said)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def rewritten(text: str, printed: list[Step]) -> str:
    """The page with what its commands printed, but for what is left out (``...``)."""
    lines = text.splitlines()
    for step in reversed(steps_of(text)):
        new = next(done for done in printed if done.line == step.line)
        if step.file or "..." in (line.strip() for line in step.printed):
            continue
        start = step.line - 1 + len(step.command.splitlines())
        lines[start : start + len(step.printed)] = new.printed
    return "\n".join(lines) + "\n"
