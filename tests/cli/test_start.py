"""What a process waits for before it starts."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import lvmfast
from lvmfast.cli.app import COMMANDS, GROUPS, app
from lvmfast.corpus.plain import (
    arrow_large_texts,
    arrow_numbers,
    arrow_scalar,
    arrow_texts,
    distinct_numbers,
    null_rows,
    numpy_numbers,
    of_type,
    without_nulls,
)

INT64 = st.integers(-(2**63), 2**63 - 1)


def modules_of(script, *arguments):
    """The modules that a process has loaded after `script`."""
    script += "; print(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines())


def test_the_package_loads_what_is_used():
    assert "lvmfast.training" not in modules_of("import sys, lvmfast; lvmfast.leakscan")
    for name in lvmfast.__all__:
        assert getattr(lvmfast, name).__class__.__name__ != "module"
    assert set(lvmfast.__all__) <= set(dir(lvmfast))
    with pytest.raises(AttributeError, match="'lvmfast' has no attribute 'leakscam'"):
        lvmfast.leakscam  # noqa: B018


def test_a_command_does_not_load_the_others():
    loaded = modules_of(
        "import sys; from lvmfast.cli import app; app(standalone_mode=False)", "leakscan", "--help"
    )
    assert {name for name in COMMANDS if f"lvmfast.cli.{name}" in loaded} == {"leakscan"}


def test_help_lists_every_command_and_a_typo_gets_a_suggestion():
    listed = subprocess.run(
        [sys.executable, "-m", "lvmfast", "--help"], capture_output=True, text=True, check=True
    )
    shown = " ".join(listed.stdout.partition("Leaks:\n")[2].split())
    groups = [" ".join(f"{name} {about}" for name, about in group.items()) for group in GROUPS.values()]
    titles = list(GROUPS)[1:]
    assert shown == " ".join(
        [groups[0], *(f"{title}: {of}" for title, of in zip(titles, groups[1:], strict=True))]
    )
    done = subprocess.run([sys.executable, "-m", "lvmfast", "leakscn"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "leakscan" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_has_the_first_sentence_of_each_help(name):
    shown = CliRunner().invoke(app, [name, "--help"]).stdout.partition("\n\n")[2]
    assert f"{COMMANDS[name]} " in " ".join(shown.split()).partition(" Options: ")[0] + " "


def test_help_imports_no_command():
    loaded = modules_of("import sys; from lvmfast.cli import app; app(['--help'], standalone_mode=False)")
    assert not {f"lvmfast.cli.{name}" for name in COMMANDS} & loaded
    assert not {"numpy", "pyarrow", "pydantic", "lvmfast.api"} & loaded


def test_a_scan_of_vectors_loads_neither_pandas_nor_the_compute_functions(tmp_path):
    pytest.importorskip("pandas")
    rows = np.random.default_rng(0).normal(size=(40, 8))
    np.save(tmp_path / "train.npy", rows)
    np.save(tmp_path / "eval.npy", rows[:5])
    loaded = modules_of(
        "import sys; from lvmfast.cli import app; app(standalone_mode=False)",
        *("leakscan", "--train", str(tmp_path / "train.npy"), "--eval", str(tmp_path / "eval.npy")),
        *("--levels", "vector", "--json"),
    )
    assert "lvmfast.report.leak_report" in loaded
    assert not loaded & {"pandas", "pyarrow.compute", "pyarrow.parquet"}


#: What a scan of texts has no need of, whatever it finds, and what is for those that match.
IDLE = {
    *("pandas", "drawsvg", "xml.sax", "http.client", "numpy.ma", "tomllib", "lvmfast.corpus.fingerprint"),
    *("pydantic", "tarfile", "lvmfast.corpus.npz", "lvmfast.corpus.parquet", "lvmfast.corpus.webdataset"),
    *("lvmfast.corpus.frames", "lvmfast.corpus.rewriters.rows", "lvmfast.corpus.csv", "lvmfast.corpus.arrow"),
    *("lvmfast.report.checks", "lvmfast.report.reviewed"),
    *("lvmfast.corpus.guises", "lvmfast.leaks.near", "lvmfast.leaks.cells", "lvmfast.leaks.vectors"),
    *("lvmfast.scan.beyond_memory", "lvmfast.scan.fingerprinted", "lvmfast.engines.ray"),
}
OF_MATCHES = {
    *("pyarrow.compute", "lvmfast.report.decisions", "lvmfast.report.differences", "lvmfast.report.marked")
}


@pytest.mark.parametrize("levels", [(), ("--levels", "text")])
@pytest.mark.parametrize(("matched", "unloaded"), [(0, IDLE | OF_MATCHES), (3, IDLE)])
def test_a_scan_of_texts_loads_what_it_uses_and_starts_no_process(tmp_path, matched, unloaded, levels):
    pytest.importorskip("pandas")
    train = [f"a text of the training side that is long enough, number {row}" for row in range(50)]
    asked = train[:matched] + [
        f"nothing that is written over there is said here, item {row}" for row in range(9)
    ]
    for name, texts in (("train", train), ("eval", asked)):
        lines = [json.dumps({"doc_id": f"{name}-{row % 7}", "text": text}) for row, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    loaded = modules_of(
        "import sys; told = {'subprocess.Popen', 'os.fork', 'os.posix_spawn'};"
        "sys.addaudithook(lambda event, _: event in told and print('process', file=sys.stderr));"
        "from lvmfast.cli import app; app(standalone_mode=False)",
        *("leakscan", "--train", str(tmp_path / "train.jsonl"), "--eval", str(tmp_path / "eval.jsonl")),
        *(*levels, "--out", str(tmp_path / "report")),
    )
    assert "lvmfast.report.page" in loaded
    assert sorted(loaded & (unloaded | {"process"})) == []
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["levels"]["text"]["eval_rows_matched"] == matched


def test_garbage_is_collected_once_a_command_works(tmp_path):
    (tmp_path / "few.jsonl").write_text('{"text": "a text of more than sixteen characters"}')
    script = (
        "import gc, os, sys, lvmfast.exits\n"
        "def leave(code):\n"
        "    print(gc.isenabled(), gc.get_freeze_count() > 10_000, file=sys.stderr, flush=True)\n"
        "    os._exit(code)\n"
        "lvmfast.exits.leave = leave\n"
        "from lvmfast.__main__ import main\n"
        "main()"
    )

    def told(*arguments):
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        return done.returncode, done.stderr.splitlines()[-1]

    assert told("leakscan", "--train", "few.jsonl", "--levels", "text") == (0, "True True")
    assert told("leakscan", "--train", "none.jsonl") == (2, "True True")
    assert told("--version") == (0, "False False")


def test_pages_are_compiled_once(tmp_path):
    script = (
        "import sys, jinja2; from jinja2 import Environment; compiled = []\n"
        "def compile(self, *of, real=Environment.compile, **more):\n"
        "    compiled.append(of[1])\n"
        "    return real(self, *of, **more)\n"
        "Environment.compile = compile\n"
        "from lvmfast.report.template import template\n"
        "print(template('page.html.j2', bytes=str).name, *compiled)"
    )
    kept = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PATH": os.environ["PATH"]}
    kept["PYTHONPATH"] = os.pathsep.join(sys.path)

    def drawn(**environment):
        command = [sys.executable, "-c", script]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**kept, **environment}
        )
        return done.stdout.split()

    assert drawn(PYTHONDONTWRITEBYTECODE="1") == ["page.html.j2"] * 2
    assert not list(tmp_path.iterdir())
    assert drawn() == ["page.html.j2"] * 2
    assert drawn() == ["page.html.j2"]
    (place,) = [path for path in tmp_path.rglob("report/*.pyc") if len(path.name.split(".")[0]) == 40]
    good = place.read_bytes()
    for bad in (b"", good[:40], good[:-1], b"\0" + good[1:]):
        place.write_bytes(bad)
        assert drawn() == ["page.html.j2"] * 2
        assert place.read_bytes() == good


@settings(deadline=None)  # pyarrow loads pandas for its first array, and more for the first `is_null`
@given(st.lists(st.one_of(st.none(), st.text("aé\0", max_size=3))), st.integers(0, 9))
def test_nulls_are_those_of_pyarrow(values, start):
    texts = pa.array(values, pa.large_string())
    for array in (texts.slice(start), pa.array(values, pa.string()).slice(start), pa.nulls(len(values))):
        assert null_rows(array).tolist() == array.is_null().to_pylist()
    assert without_nulls(texts.slice(start)).to_pylist() == [value or "" for value in values[start:]]
    assert (without_nulls(texts) is texts) == (None not in values)
    assert arrow_large_texts(values).equals(texts)
    assert of_type(texts, texts.type) is texts
    assert of_type(pa.array(values, pa.string()), texts.type).equals(texts)
    assert all(arrow_scalar(value) == pa.scalar(value) for value in values if value is not None)


@given(st.lists(st.one_of(st.none(), INT64)), st.integers(1, 3))
def test_numbers_are_those_of_pyarrow(values, step):
    absent = np.array([value is None for value in values], dtype=bool)
    numbers = np.array([value or 0 for value in values], dtype=np.int64)
    assert arrow_numbers(numbers[::step], absent[::step]).equals(pa.array(values[::step], pa.int64()))
    made = arrow_numbers(numbers)
    assert made.equals(pa.array(numbers))
    assert np.array_equal(numpy_numbers(made), numbers)
    halves = numbers / 2
    assert arrow_numbers(halves).equals(pa.array(halves))


@given(st.lists(st.lists(INT64 | st.integers(0, 3))))
def test_distinct_numbers_are_those_of_numpy(parts):
    arrays = [np.array(part, np.int64) for part in parts]
    assert distinct_numbers(arrays).tolist() == sorted({value for part in parts for value in part})


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1)


@given(TEXTS, st.lists(st.tuples(st.integers(0, 99), st.booleans())))
def test_texts_are_those_that_pyarrow_takes(values, rows):
    places = np.array([place % len(values) for place, _ in rows], np.int64)
    absent = np.array([null for _, null in rows], bool)
    for nulls in (absent, None):
        made = arrow_texts(values, places, nulls)
        made.validate(full=True)
        assert made.equals(pa.array(values, pa.string()).take(pa.array(places, mask=nulls)))


def test_texts_beyond_two_gigabytes_are_refused():
    with pytest.raises(lvmfast.DataError, match="3000000000 bytes"):
        arrow_texts(["x" * 1000], np.zeros(3_000_000, np.int64))
