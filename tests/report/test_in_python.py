"""A report in a script and in a notebook."""

from __future__ import annotations

import json
import sys
import time
import types
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pytest

import lvmfast
from lvmfast.report import notebook, progress, summary_types
from tests.support import walks
from tests.support.places import ROOT

HOSTILE = "<script>alert('in a notebook, it runs')</script> & \u202e reversed"


class Read(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def report():
    train = [HOSTILE, *(f"text number {number} of the training set" for number in range(20))]
    return lvmfast.leakscan(train, [*train[:9], "a text that is not there"], levels=["text"])


def test_a_report_is_one_line(report):
    assert repr(report) == "<LeakReport LEAK: text=9/10>"
    assert report.verdict == "leak"
    with pytest.raises(lvmfast.LeakError) as raised:
        report.raise_if_leaky()
    assert str(raised.value) == "LEAK: text=9/10"


def test_a_notebook_shows_the_verdict_the_levels_and_the_worst_matches(report):
    html = report._repr_html_()
    read = Read(html)
    assert "script" not in read.tags
    assert "<script>alert('in a notebook, it runs')</script> & \u27e8U+202E\u27e9 reversed" in read.text
    assert "LEAK This evaluation set was seen in training" in read.text
    assert "9 of 10" in read.text
    assert f"The worst {notebook.MOST_SHOWN} of 9 matches" in read.text
    assert read.tags.count("tr") == 1 + 1 + 1 + notebook.MOST_SHOWN


def test_a_notebook_shows_a_clean_report_and_long_texts():
    long = "word " * 500
    clean = lvmfast.leakscan([long], ["a short one, and another"])
    assert "No leak found" in Read(clean._repr_html_()).text
    assert "Not checked: doc, chunk (no ids)." in Read(clean._repr_html_()).text
    assert len(lvmfast.leakscan([long], [long])._repr_html_()) < 4000


def test_matches_as_frames(report):
    rows = report.matches.to_pylist()
    assert report.to_arrow().to_pylist() == rows
    assert pytest.importorskip("polars").DataFrame(rows)["eval_row"].to_list() == (
        report.to_polars()["eval_row"].to_list()
    )
    pytest.importorskip("pandas")
    frame = report.to_pandas()
    assert frame["train_text"].tolist() == [row["train_text"] for row in rows]
    assert frame["train_doc_id"].isna().all()
    assert frame["eval_row"].dtype.kind == "i"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_without_its_library_is_one_sentence(report, library, monkeypatch):
    monkeypatch.setattr("lvmfast.report.leak_report.find_spec", lambda name: None)
    with pytest.raises(lvmfast.DataError, match=f"^to_{library} needs {library}: pip install {library}$"):
        getattr(report, f"to_{library}")()


def test_the_summary_has_the_types_of_its_schema(report):
    schema = json.loads((ROOT / "docs" / "summary.schema.json").read_text())
    for typed, properties in (
        (summary_types.Summary, schema["properties"].keys() - {"tables"}),  # which stand in a folder alone
        (summary_types.LevelSummary, schema["$defs"]["level"]["properties"].keys()),
        (summary_types.FileSummary, schema["properties"]["files"]["items"]["properties"].keys()),
    ):
        assert typed.__annotations__.keys() == properties
    required = set(schema["$defs"]["level"]["required"])
    assert summary_types.LevelSummary.__required_keys__ == required
    assert report.summary.keys() == summary_types.Summary.__required_keys__


def in_a_notebook(monkeypatch):
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))


@pytest.mark.parametrize("library", ["tqdm", "rich"])
def test_progress_in_a_notebook(library, monkeypatch, capsys):
    if library == "tqdm":
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setattr(notebook, "find_spec", lambda name: None)
    in_a_notebook(monkeypatch)
    with progress.shown(True) as told:
        for done in (0, 5, 10):
            time.sleep(0.12)  # tqdm draws ten times a second
            told("scan train", done, 10)
    printed = capsys.readouterr()
    if library == "tqdm":
        assert "scan train" in printed.err
        assert "50%" in printed.err
    else:
        assert printed.err == ""  # rich draws below the cell, which only a notebook has


def test_progress_of_a_script_is_told_where_it_is_asked_for(monkeypatch, capsys):
    now = [0.0]

    def clock():
        now[0] += 11
        return now[0]

    monkeypatch.setattr(progress.time, "monotonic", clock)
    vectors = np.eye(8, dtype=np.float32)
    lvmfast.leakscan(vectors, vectors, progress=True)
    assert "rows/s" in capsys.readouterr().err
    lvmfast.leakscan(vectors, vectors)
    assert capsys.readouterr().err == ""
    phases = []
    lvmfast.leakscan(vectors, vectors, progress=lambda phase, done, total: phases.append(phase))
    assert phases


@pytest.mark.parametrize("given", ["x", 1, None])
def test_a_progress_that_is_none_is_one_sentence(given, tmp_path):
    calls = (
        partial(lvmfast.leakscan, ["a text"], ["another text"]),
        partial(lvmfast.evaluate, "copy-last", "eval.npz"),
        partial(lvmfast.split, "a.jsonl", out=tmp_path / "split", eval_docs=1),
    )
    for call in calls:
        with pytest.raises(lvmfast.DataError, match=rf"^progress: expected True, False or .* got {given!r}$"):
            call(progress=given)


def test_options_that_are_none_are_one_sentence():
    with pytest.raises(
        lvmfast.DataError, match=r"^options: expected a LeakscanOptions, got a dict; one option"
    ):
        lvmfast.leakscan(["a text"], ["another text"], {"levels": ["text"]})
    with pytest.raises(TypeError, match=r"^leakscan has no option treshold; did you mean threshold\?$"):
        lvmfast.leakscan(["a text"], ["another text"], treshold=0.9)
    with pytest.raises(TypeError, match=r"^leakscan has no option qqq \(LeakscanOptions documents"):
        lvmfast.leakscan(["a text"], ["another text"], qqq=0.9)


@pytest.mark.parametrize("name", ["levels", "benchmarks", "ignore"])
def test_one_string_is_no_list_of_its_characters(name):
    message = rf"^{name}: expected a list, got 'text': write \['text'\]$"
    with pytest.raises(lvmfast.DataError, match=message):
        lvmfast.leakscan(["a b"], ["a b"], **{name: "text"})
    with pytest.raises(lvmfast.DataError, match=message):
        lvmfast.leakscan(["a b"], ["a b"], lvmfast.LeakscanOptions(**{name: "text"}))


def test_training_and_evaluation_show_progress_where_it_is_asked_for(monkeypatch, tmp_path, capfd):
    pytest.importorskip("torch")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 1e-6)
    data = walks.write(tmp_path / "walks.npz")
    done = lvmfast.train(data, out=tmp_path / "run", **{**walks.QUICK, "epochs": 1}, progress=True)
    assert "sequences/s" in capfd.readouterr().err
    fresh = walks.write(tmp_path / "fresh.npz", seed=9, first_doc=100)
    lvmfast.evaluate(done.path, fresh, progress=True, allow_leaked=True, resamples=20)
    assert "rows/s" in capfd.readouterr().err
    lvmfast.evaluate(done.path, fresh, allow_leaked=True, resamples=20)
    assert capfd.readouterr().err == ""
