"""The command as a user meets it: exit codes, what is printed, what is written, what is refused."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support import data
from tests.support.command import LVMFAST, refused, run
from tests.support.places import SCHEMA

SCAN_FILES = [
    "items.parquet",
    "matched_rows.parquet",
    "matches.parquet",
    "overlaps.parquet",
    "report.html",
    "summary.json",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return data.leaky(tmp_path_factory.mktemp("leaky"))


def test_a_leak_is_exit_1_with_evidence_on_disk(files, tmp_path):
    result = run(*data.arguments(files, "--out", str(tmp_path / "report")))
    assert result.returncode == 1, result.stderr
    last = result.stdout.strip().splitlines()[-1]
    assert (
        last == "LEAK: doc=20/60 chunk=20/60 text=20/60 overlap=20/60 vector=20/60 context=20/60 oracle=0/60"
    )
    assert "was seen in training" in result.stdout
    assert sorted(os.listdir(tmp_path / "report")) == SCAN_FILES
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    jsonschema.validate(summary, SCHEMA)
    assert summary["verdict"] == "leak"
    matches = pq.read_table(tmp_path / "report" / "matches.parquet").to_pylist()
    text = [m for m in matches if m["level"] == "text"]
    assert len(text) == 20
    assert text[0]["train_text"].upper() == text[0]["eval_text"].strip()
    assert (text[0]["train_file"], text[0]["train_row"]) == (files["train.npz"], 30)
    assert (text[0]["eval_doc_id"], text[0]["eval_chunk_id"]) == ("3", "0")


def test_clean_is_exit_0_and_says_what_it_covers(tmp_path):
    rng = np.random.default_rng(1)
    for name, first in (("a", 0), ("b", 50)):
        np.savez(tmp_path / f"{name}.npz", **data.sequences(rng, 40, first_doc=first))
    result = run("leakscan", "--train", str(tmp_path / "a.npz"), "--eval", str(tmp_path / "b.npz"))
    assert result.returncode == 0, result.stderr
    assert "No leak found at levels doc, chunk, vector, context, oracle (5 of 7)" in result.stdout
    assert "Not looked for: equal texts, texts that stand inside others (no texts)" in result.stdout
    assert "cannot see" in result.stdout
    assert "\nNot checked: text, overlap: no texts\n" in result.stdout
    assert result.stdout.endswith(" oracle=0/40; not checked: text, overlap (no texts)\n")


def test_json_alone_is_on_stdout(files, tmp_path):
    result = run(*data.arguments(files, "--json"))
    assert result.returncode == 1
    summary = json.loads(result.stdout)
    jsonschema.validate(summary, SCHEMA)
    assert result.stderr == ""
    level = summary["levels"]["vector"]
    assert (level["eval_rows_matched"], level["eval_rows_checked"]) == (20, 60)
    assert level["eval_rate"] == pytest.approx(1 / 3)
    assert summary["inputs"]["train"]["payload"]["covered"] == 200


def test_quiet_prints_the_closing_line_alone(files):
    result = run(*data.arguments(files, "--quiet"))
    assert result.stdout.startswith("LEAK: doc=20/60")
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_the_same_bytes_for_any_thread_count_block_size_and_kernel(files, tmp_path):
    script = (
        "import sys; from lvmfast.leaks import options; options.BLOCK_BYTES = int(sys.argv.pop(1));"
        "from lvmfast.__main__ import main; main()"
    )
    written = []
    for threads, block, kernel in (("1", "900", "scalar"), ("2", "20000", ""), ("3", "67108864", "")):
        out = tmp_path / f"{threads}-{block}"
        arguments = data.arguments(files, "--threads", threads, "--out", str(out), "--threshold", "0.3")
        environment = os.environ | {"LVMFAST_KERNEL": kernel}
        done = subprocess.run(
            [sys.executable, "-c", script, block, *arguments],
            capture_output=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        tables = [(out / name).read_bytes() for name in SCAN_FILES[1:3]]
        summary = json.loads((out / "summary.json").read_text())
        environment_said = summary.pop("environment")
        assert environment_said["threads"] == int(threads)
        for changing in ("timings", "inputs"):
            del summary[changing]
        written.append((tables, summary))
    assert written[0] == written[1] == written[2]


def test_a_kernel_that_this_processor_does_not_run_is_one_line(files):
    command = [sys.executable, "-m", "lvmfast", *data.arguments(files)]
    environment = os.environ | {"LVMFAST_KERNEL": "abacus"}
    done = subprocess.run(command, capture_output=True, env=environment, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("lvmfast: LVMFAST_KERNEL: expected one of ")
    assert done.stderr.endswith(' as this processor runs them, got "abacus"\n')
    assert len(done.stderr.splitlines()) == 1


def test_several_eval_files_get_a_table_by_file(files, tmp_path):
    clean = data.sequences(np.random.default_rng(9), 30, first_doc=500)
    np.savez(tmp_path / "clean.npz", **clean)
    result = run(
        *("leakscan", "--train", files["train.npz"], "--eval", files["eval.npz"]),
        *("--eval", str(tmp_path / "clean.npz"), "--json"),
    )
    by_file = {f["file"]: f for f in json.loads(result.stdout)["files"] if f["side"] == "eval"}
    assert by_file[files["eval.npz"]]["levels"]["doc"] == {"checked": 60, "matched": 20, "unchecked": {}}
    assert by_file[str(tmp_path / "clean.npz")]["levels"]["doc"] == {
        "checked": 30,
        "matched": 0,
        "unchecked": {},
    }


def test_allowed_rates(files):
    arguments = data.arguments(files, "--quiet", "--levels", "doc,chunk")
    assert run(*arguments, "--allow", "doc=0.34", "--allow", "chunk=0.34").returncode == 0
    result = run(*arguments, "--allow", "doc=0.34", "--allow", "chunk=0.33")
    assert result.returncode == 1
    assert result.stdout.startswith("LEAK:")


def test_help_and_version_load_nothing_heavy():
    for option in ("--help", "--version"):
        assert run(option).returncode == 0
    script = (
        "import sys, lvmfast.cli; heavy = {'torch', 'ray', 'sentence_transformers', 'datasets', 'pandas',"
        "'jinja2', 'markupsafe', 'drawsvg', 'matplotlib'};"
        "print(heavy & set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train.npz"], ["train.npz", "--train"]),
        ([], ["--train"]),
        (["--train", "absent.npz"], ["absent.npz"]),
        (["--train", "no*match.npz"], ["no*match.npz"]),
        (["--train", "{train}", "--eval", "{train}", "--levels", "doc,words"], ["words", "oracle"]),
        (["--train", "{train}", "--eval", "{eval}", "--levels", "text"], ["text", "train.npz"]),
        (["--train", "{train}", "--levels", "doc"], ["doc", "text and vector"]),
        (["--train", "{train}", "--eval", "{eval}", "--threshold", "1.5"], ["threshold", "1.5"]),
        (["--train", "{train}", "--eval", "{eval}", "--threshold", "nan"], ["threshold", "nan"]),
        (["--train", "{train}", "--eval", "{eval}", "--allow", "doc"], ["--allow", "doc"]),
        (["--train", "{train}", "--eval", "{eval}", "--allow", "doc=5%"], ["--allow", "5%"]),
        (["--train", "{train}", "--eval", "{eval}", "--allow", "docs=0.1"], ["docs"]),
        (["--train", "{train}", "--eval", "{eval}", "--memory-limit", "lots"], ["lots", "4GiB"]),
        (["--train", "{train}", "--eval", "{eval}", "--memory-limit", "1MiB"], ["GiB", "--memory-limit"]),
        (["--train", "{train}", "--eval", "{eval}", "--column", "vectors=x"], ["vectors"]),
        (["--train", "{train}", "--eval", "{eval}", "--column", "vector=x"], ["x", "targets"]),
        (["--train", "{train}", "--eval", "{eval}", "--normalize", "loud"], ["normalize", "loud"]),
        (["--train", "{train}", "--eval", "{eval}", "--max-pairs", "0"], ["max_pairs", "0"]),
        (["--train", "{train}", "--eval", "{eval}", "--threads", "-1"], ["threads", "-1"]),
        (["--train", "{train}", "--eval", "{eval}", "--threads", "99999"], ["threads", "99999"]),
        (["--train", "{train}", "--eval", "{nothing}"], ["nothing.jsonl", "no rows"]),
        (["--train", "{train}", "--eval", "{narrow}"], ["16", "8", "narrow.npz"]),
        (["--train", "{train}", "--eval", "{empty}"], ["empty.npz", "no rows"]),
        (["--train", "{train}", "--eval", "{eval}", "--payload", "{unrelated}"], ["unrelated", "0"]),
        (["--train", "{train}", "--eval", "{eval}", "--max-df", "3", "--levels", "text"], ["text"]),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(files, tmp_path, arguments, words):
    rng = np.random.default_rng(2)
    np.savez(tmp_path / "narrow.npz", **data.sequences(rng, 5, dim=8))
    np.savez(tmp_path / "empty.npz", **data.sequences(rng, 0))
    data.write_payload(tmp_path / "unrelated.parquet", np.array([[9999, 9999]]), ["nothing to do with it"])
    names = {
        "{train}": files["train.npz"],
        "{eval}": files["eval.npz"],
        "{narrow}": str(tmp_path / "narrow.npz"),
        "{empty}": str(tmp_path / "empty.npz"),
        "{unrelated}": str(tmp_path / "unrelated.parquet"),
        "{nothing}": str(tmp_path / "nothing.jsonl"),
    }
    (tmp_path / "nothing.jsonl").write_text("")
    out = tmp_path / "report"
    result = run("leakscan", *(names.get(a, a) for a in arguments), "--out", str(out))
    refused(result, *words)
    assert not out.exists() or os.listdir(out) == []


def test_an_earlier_report_survives_a_refused_scan(files, tmp_path):
    out = tmp_path / "report"
    run(*data.arguments(files, "--out", str(out)))
    before = {name: (out / name).read_bytes() for name in SCAN_FILES}
    refused(run("leakscan", "--train", "absent.npz", "--out", str(out)))
    assert {name: (out / name).read_bytes() for name in SCAN_FILES} == before


def test_an_unwritable_output_folder_is_refused_before_the_scan(files, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(run(*data.arguments(files, "--out", str(tmp_path / "file"))), "file")
    refused(run(*data.arguments(files, "--out", "/proc/lvmfast")), "/proc/lvmfast")


def test_a_full_disk_leaves_no_half_written_report(files, tmp_path):
    out = tmp_path / "report"
    out.mkdir()

    def little_room():
        # A file-size limit stands in for the full disk: writes past it fail in the same place.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))

    result = run(
        "leakscan", "--train", files["train.npz"], "--eval", files["eval.npz"], "--out", str(out),
        preexec_fn=little_room,
    )  # fmt: skip
    refused(result, str(out))
    assert os.listdir(out) == []


def test_ctrl_c_is_exit_130_within_a_second_and_leaves_nothing(tmp_path):
    rng = np.random.default_rng(3)
    for name, rows in (("train", 60_000), ("eval", 30_000)):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(rows, 512)).astype(np.float32))
    out = tmp_path / "report"
    command = ["leakscan", "--train", f"{tmp_path}/train.npy", "--eval", f"{tmp_path}/eval.npy"]
    process = subprocess.Popen(
        [*LVMFAST, *command, "--threshold", "0.5", "--threads", "1", "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / ".report.lock").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(2)
    assert process.poll() is None, "the scan ended before it could be interrupted"
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - sent < 5  # a second on an idle machine
    assert errors.strip() == "lvmfast: interrupted; nothing was written"
    assert sorted(os.listdir(tmp_path)) == ["eval.npy", "train.npy"]


def test_a_file_that_changes_while_it_is_read_is_an_error(files, tmp_path):
    script = f"""
import os, sys, lvmfast
path = {str(tmp_path / "train.npz")!r}
def touch(phase, done, total):
    os.utime(path, ns=(1, 1))
try:
    lvmfast.leakscan(path, {files["eval.npz"]!r}, progress=touch)
except lvmfast.DataError as error:
    print(error)
"""
    (tmp_path / "train.npz").write_bytes(Path(files["train.npz"]).read_bytes())
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "train.npz: changed while it was read" in done.stdout


def test_a_crash_is_not_a_verdict(files):
    script = (
        "import lvmfast.cli.leakscan as cli\n"
        "def crash(*args, **options): raise RuntimeError('boom')\n"
        "cli.run_leakscan = crash\n"
        "cli.app()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *data.arguments(files)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "boom" in done.stderr
    assert "not a verdict" in done.stderr


def test_demo_finds_the_natural_leak(tmp_path):
    result = run("demo", "--out", str(tmp_path / "demo"))
    assert result.returncode == 1, result.stderr
    assert "share no document" in result.stdout
    summary = json.loads((tmp_path / "demo" / "report" / "summary.json").read_text())
    jsonschema.validate(summary, SCHEMA)
    levels = summary["levels"]
    assert levels["doc"]["status"] == levels["chunk"]["status"] == "clean"
    assert levels["text"]["status"] == levels["vector"]["status"] == "leak"
    command = next(line[2:] for line in result.stdout.splitlines() if line.startswith("$ "))
    again = run(*command.split()[1:])
    assert again.returncode == 1
    assert again.stdout.strip().splitlines()[-1] in result.stdout
