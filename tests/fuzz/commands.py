"""Whole commands over a folder of what lvmfast itself wrote, of which one file was spoiled.

A command runs in a process that is forked off one with the package loaded, so that it costs milliseconds.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from random import Random

import numpy as np

from tests.fuzz.readers import Wrong
from tests.fuzz.spoil import spoiled

#: Which modules the commands load, one a line: a worker loads them before it forks.
_MODULES = "modules.txt"
_LONGEST_ERROR = 4000
_LONGEST_SECONDS = 40.0


@dataclass(frozen=True)
class Command:
    """A command line, the files of the world that it reads, and the exit codes that it may have."""

    reads: tuple[str, ...]
    words: str
    codes: tuple[int, ...] = (0, 1, 2, 3)

    @property
    def arguments(self) -> list[str]:
        """As the shell would give them."""
        return self.words.split()


_SCAN = "leakscan --eval eval.jsonl --out o --train"
_RECORDS = ("run/*.json", "run/*.toml")
_HELD = ("held/_quarantine/*", "held/*/*.json")
COMMANDS = (
    Command(("train.jsonl", "eval.jsonl"), f"{_SCAN} train.jsonl", (1, 2)),
    Command(("train.csv",), f"{_SCAN} train.csv", (1, 2)),
    Command(("train.parquet",), f"{_SCAN} train.parquet"),
    Command(("train.npz", "payload.parquet"), "leakscan --train train.npz --payload payload.parquet --out o"),
    Command(("train.lvfp",), f"{_SCAN} train.lvfp"),
    Command(("train.jsonl",), "fingerprint train.jsonl --out o.lvfp", (0, 2)),
    Command(("report/*",), "report report", (0, 2)),
    Command(
        ("report/*", "train.*", "eval.jsonl"),
        "clean --train train.jsonl --eval eval.jsonl --report report --out o",
        (0, 1, 2),
    ),
    Command(("report/*",), "claims report", (0, 2)),
    Command(("train.jsonl",), "split train.jsonl --eval-docs 2 --min-chunks-per-doc 1 --out o", (0, 2)),
    Command(("cleaned/*",), "verify cleaned"),
    Command(("divided/*",), "verify divided"),
    Command(("part1/*", "part1/.partial/*", "part1/.partial/*/*"), "merge part1 part2 --out o"),
    Command(_HELD, "quarantine list held", (0, 2)),
    Command(_HELD, "leakscan --train train.jsonl --eval held/fresh.jsonl --out o"),
    Command(_RECORDS, "gate run"),
    Command(_RECORDS, "triage run", (0, 2)),
    Command(_RECORDS, "claims run", (0, 2)),
    Command(_RECORDS, "plot run --out o.svg", (0, 2)),
    Command(_RECORDS, "monitor run --every 0.1 --stall-after 1"),
    Command(("hits.jsonl",), "score hits.jsonl --resamples 20", (0, 2)),
    Command(("gates.toml",), "gate run --gates gates.toml"),
    Command(("old.npy",), "convert old.npy o.parquet", (0, 2)),
)


def build(world: Path) -> None:
    """Makes the folder that trials are copies of, by the commands themselves."""
    rng = np.random.default_rng(0)
    world.mkdir(parents=True)
    words = [f"word{number}" for number in range(60)]
    texts = [" ".join(rng.choice(words, 9)) for _ in range(60)]
    rows = [{"doc_id": row // 4, "chunk_id": row % 4, "text": texts[row]} for row in range(40)]
    fresh = [{"doc_id": 100 + row, "chunk_id": 0, "text": texts[40 + row]} for row in range(10)]
    leaked = [{**fresh[row], "text": rows[row]["text"]} for row in range(3)] + fresh[3:]

    def lines(name: str, objects: Sequence[object]) -> None:
        (world / name).write_text("".join(json.dumps(found) + "\n" for found in objects))

    lines("train.jsonl", rows)
    lines("eval.jsonl", leaked)
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), world / "train.parquet")
    pq.write_table(pa.Table.from_pylist(rows), world / "payload.parquet")
    pa_csv.write_csv(pa.Table.from_pylist(rows), str(world / "train.csv"))
    chunks = rng.normal(size=(10, 7, 8)).astype(np.float32)  # (documents, chunks, d)
    windows = np.lib.stride_tricks.sliding_window_view(chunks[:, :6], 3, axis=1).transpose(0, 1, 3, 2)
    keys = np.array([[row["doc_id"], row["chunk_id"]] for row in rows])
    targets = chunks[:, 3:].reshape(40, 8)
    np.savez(world / "train.npz", truth_keys=keys, targets=targets, contexts=windows.reshape(40, 3, 8))
    payload = {row: {**found, "embedding": targets[row]} for row, found in enumerate(rows)}
    np.save(world / "old.npy", np.array(payload, dtype=object), allow_pickle=True)
    lines("hits.jsonl", [{"query_idx": q, "truth_idx": q, "hit_indices": [q, q + 1, 7]} for q in range(5)])
    (world / "gates.toml").write_text('[[gate]]\nname = "g"\nmetric = "val_cosine"\nat_least = 0.5\n')
    (world / "held").mkdir()
    for name, objects in (("bad.jsonl", leaked), ("fresh.jsonl", fresh)):
        lines(f"held/{name}", objects)
    for words_, codes in (
        ("leakscan --train train.jsonl --eval eval.jsonl --out report", {1}),
        ("clean --train train.jsonl --eval eval.jsonl --report report --out cleaned", {0}),
        ("split train.jsonl --eval-docs 2 --min-chunks-per-doc 1 --out divided", {0}),
        ("fingerprint train.jsonl --out train.lvfp", {0}),
        ("leakscan --train train.jsonl --eval eval.jsonl --shard 1/2 --out part1", {0, 1, 3}),
        ("leakscan --train train.jsonl --eval eval.jsonl --shard 2/2 --out part2", {0, 1, 3}),
        ("leakscan --train train.jsonl --eval held/bad.jsonl --out scan", {1}),
        ("quarantine held/bad.jsonl --report scan", {0}),
        (
            "train --train train.npz --out run --recipe bank --model mlp --d-model 8 --epochs 2 --val-docs 2 "
            "--bank 8 --batch 4 --threads 1 --quiet",
            {0},
        ),
    ):
        command = [sys.executable, "-m", "lvmfast", *words_.split()]
        done = subprocess.run(command, cwd=world, capture_output=True, text=True, check=False)
        if done.returncode not in codes:
            raise RuntimeError(f"{words_}: {done.returncode}: {done.stderr}")
    with tempfile.TemporaryDirectory() as scratch:
        loaded = set()
        for command in COMMANDS:
            work = Path(scratch, "work")
            shutil.copytree(world, work)
            listing = [sys.executable, "-c", _LOADED, *command.arguments]
            done = subprocess.run(listing, cwd=work, capture_output=True, text=True, check=False)
            loaded.update(done.stderr.split("modules: ")[-1].split())
            shutil.rmtree(work)
    (world / _MODULES).write_text("\n".join(sorted(loaded)))


_LOADED = """
import sys
from lvmfast.cli import app
try:
    app()
except SystemExit:
    pass
print("modules:", *sys.modules, file=sys.stderr)
"""


class CommandTrials:
    """Trials of commands, each in a fresh copy of `world`."""

    def __init__(self, world: Path, seed: int, folder: Path) -> None:
        """Loads the package, so that no command has to."""
        self._world, self._seed, self._folder = world, seed, folder
        self._names = sorted(str(path.relative_to(world)) for path in world.rglob("*") if path.is_file())
        for module in (world / _MODULES).read_text().split():
            with suppress(ImportError):
                import_module(module)

    def trial(self, number: int) -> None:
        """Spoils one file of the world and runs a command that reads it.

        Raises:
            BaseException: what must not be.
        """
        rng = Random(f"{self._seed}/{number}")
        command = rng.choice(COMMANDS)
        names = [name for name in self._names if any(fnmatch(name, pattern) for pattern in command.reads)]
        if not names:
            raise Wrong(f"nothing in the world is {command.reads}")
        name = rng.choice(names)
        work = self._folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self._world, work)
        path = work / name
        before = path.read_bytes()
        suffix = ".json" if path.suffix in (".toml", ".lvfp", ".html") else path.suffix
        after = spoiled(rng, suffix, before)
        path.write_bytes(after)
        (self._folder / "command.txt").write_text(f"{name}: {command.words}\n")
        self._check(command, work, changed=name if after != before else None)

    def _check(self, command: Command, work: Path, changed: str | None) -> None:
        code, _, error = run(command.arguments, work, self._folder)
        said = f"exit {code} of {command.words} after {changed}: {error[-600:]}"
        if code not in command.codes and not (code == 0 and command.codes == (1, 2) and _may_be_clean(work)):
            raise Wrong(said)
        if "Traceback" in error or "a bug" in error or len(error) > _LONGEST_ERROR:
            raise Wrong(said)
        if code == 2:
            if len(error.strip().splitlines()) != 1:
                raise Wrong(f"not one line: {said}")
            if any(path.name.split(".")[0] in ("o", "") for path in work.iterdir()):
                raise Wrong(f"something is left behind: {said}")
        certified = changed is not None and not changed.endswith("clean.json")
        if code == 0 and command.words.startswith("verify") and certified:
            raise Wrong(f"verified, though it was changed: {said}")


def _may_be_clean(work: Path) -> bool:
    """Whether no text of eval stands in train, by Python's own reading of both."""

    def texts(path: Path) -> set[str]:
        if path.suffix == ".csv":
            import csv

            with open(path, newline="", encoding="utf-8-sig") as file:
                return {row.get("text") or "" for row in csv.DictReader(file)}
        found = set()
        for line in path.read_bytes().split(b"\n"):
            if line.strip():
                value = json.loads(line)
                found.add(value.get("text") if isinstance(value, dict) else None)
        return found

    command = (work.parent / "command.txt").read_text()
    train = "train.csv" if "train.csv" in command else "train.jsonl"
    try:
        shared = texts(work / train) & texts(work / "eval.jsonl")
    except (ValueError, TypeError):
        return False
    return not any(isinstance(text, str) and len(text) >= 16 for text in shared)


def run(arguments: Sequence[str], work: Path, folder: Path) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command run in a fork of this process, in `work`.

    Raises:
        Wrong: it hangs, or died of a signal.
    """
    out, error = folder / "stdout", folder / "stderr"
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.chdir(work)
            for handle, path in ((1, out), (2, error)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
            sys.argv = ["lvmfast", *arguments]
            atexit._clear()  # what the fuzzer registered is not the command's to do
            from lvmfast.__main__ import main

            try:
                main()
                code = 0
            except SystemExit as leaving:
                code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 98
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    end = time.monotonic() + _LONGEST_SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise Wrong(f"over {_LONGEST_SECONDS:.0f} s: {' '.join(arguments)}: {error.read_text()[-300:]}")
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status)
    told = [path.read_text(errors="backslashreplace") if path.exists() else "" for path in (out, error)]
    if code < 0:
        raise Wrong(f"killed by signal {-code}: {' '.join(arguments)}: {told[1][-300:]}")
    return code, told[0], told[1]
