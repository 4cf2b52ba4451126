"""Files that the tool reads back, its own and those of others: whatever stands in them, one line says so."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus.load import load_split
from lvmfast.corpus.quarantined import MANIFEST, MOST_MANIFEST, read_manifest
from lvmfast.errors import DataError, LvmfastError
from lvmfast.evals.claims import claims
from lvmfast.evals.hits import load_hits, score_hits
from lvmfast.gates import read_gates
from lvmfast.ingest.run import begin
from lvmfast.parse import MOST_DEPTH, Fields, parse_json, read_json
from lvmfast.report.redraw import redraw_page
from lvmfast.report.saved import SavedScan
from lvmfast.splits.certificate import read_certificate, sealed
from lvmfast.splits.quarantine import quarantined
from lvmfast.stores import folder
from lvmfast.training.heartbeat import state
from lvmfast.training.history import read_run

DEEP: object = 0
for _ in range(3 * MOST_DEPTH):
    DEEP = [DEEP]
HOSTILE = [
    *(
        None,
        True,
        -1,
        0,
        1.5,
        10**30,
        -(10**400),
        math.nan,
        math.inf,
        "",
        "x",
        "../x",
        "\ud800",
        "a\x1b[31m\n",
    ),
    *([], {}, [[]], [None], {"a": {}}, DEEP),
]
TEXTS = [b"", b"{", b"null", b"[]", b"{}", b"7", b"\xff\xfe", b"[" * 100_000, b"9" * 5_000, b'{"a": "', b"\0"]
RULES = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def places(value: object, here: tuple = ()) -> list[tuple]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, inner in inside for place in places(inner, (*here, key)))]


@st.composite
def broken(draw, document: object) -> bytes:
    """`document` with one value replaced, one key removed, or cut; or something else altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(TEXTS))
    place = draw(st.sampled_from(places(document)))
    new = draw(st.sampled_from(HOSTILE))
    if not place:
        return json.dumps(new).encode()
    changed = copy.deepcopy(document)
    outer = changed
    for key in place[:-1]:
        outer = outer[key]
    if draw(st.integers(0, 4)) == 0:
        del outer[place[-1]]
    else:
        outer[place[-1]] = new
    text = json.dumps(changed).encode()
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


def read_or_refused(read: Callable[[Path], object], file: Path) -> None:
    said = ""
    try:
        read(file)
    except LvmfastError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A report, a quarantine, a certificate and a run."""
    root = tmp_path_factory.mktemp("world")
    for name, first in (("train", 0), ("eval", 5), ("other", 500)):
        rows = [{"doc_id": n // 2, "text": f"row {n} is long enough"} for n in range(first, first + 40)]
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = lvmfast.leakscan(str(root / "train.jsonl"), str(root / "eval.jsonl"))
    report.save(root / "report")
    (root / "q").mkdir()
    leaked = root / "q" / "eval.jsonl"
    leaked.write_bytes((root / "eval.jsonl").read_bytes())
    lvmfast.quarantine([str(leaked)], root / "report")
    lvmfast.clean(
        [str(root / "train.jsonl")], [str(root / "eval.jsonl")], str(root / "report"), out=root / "clean"
    )
    run = root / "run"
    run.mkdir()
    epochs = [
        {"epoch": n, "val_cosine": 0.5 + n / 9, "train_loss": 1.0, "baselines": {"mean": {"val_r5": 1.0}}}
        for n in (1, 2, 3)
    ]
    (run / "history.json").write_text(json.dumps(epochs))
    (run / "run.json").write_text(json.dumps({"leak_status": "clean", "files": {"train": [{"path": "x"}]}}))
    beat = {
        "pid": 77777,
        "pid_started": "b:1",
        "host": "h",
        "time": 1.0,
        "epoch": 1,
        "step": 2,
        "phase": "train",
    }
    (run / "heartbeat.json").write_text(json.dumps(beat))
    return root


def scan_again(file: Path) -> None:
    saved = SavedScan.open(file.parent)
    _ = saved.matches, saved.matched_rows, saved.sides, saved.complete
    redraw_page(file.parent)
    claims([file.parent])


def judge_again(file: Path) -> None:
    run = read_run(file.parent)
    lvmfast.gates.judge(lvmfast.gates.TRAINING, run.evidence)
    claims([file.parent])


def certificate_again(file: Path) -> None:
    read_certificate(folder(file.parent))
    lvmfast.verify(file.parent)


FILES = {
    "report/summary.json": scan_again,
    f"q/LEAKED_EVAL_SETS/{MANIFEST}": lambda file: (
        read_manifest(file.parent),
        quarantined(file.parent.parent),
    ),
    "clean/clean.json": certificate_again,
    "run/history.json": judge_again,
    "run/run.json": judge_again,
    "run/heartbeat.json": lambda file: state(file.parent),
}


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@RULES
def test_what_stands_in_a_file_is_read_or_refused(world, name, data):
    file = world / name
    kept = file.read_bytes()
    try:
        file.write_bytes(data.draw(broken(json.loads(kept))))
        read_or_refused(FILES[name], file)
    finally:
        file.write_bytes(kept)


@given(data=st.data())
@RULES
def test_a_sealed_certificate_is_read_or_refused(world, data):
    """Its hash is right, and what it says is not."""
    file = world / "clean" / "clean.json"
    kept = file.read_bytes()
    try:
        try:
            seal = sealed(json.loads(data.draw(broken(json.loads(kept)))))
            file.write_text(json.dumps(seal))
        except (ValueError, AttributeError, RecursionError):
            return  # it cannot be sealed
        read_or_refused(certificate_again, file)
    finally:
        file.write_bytes(kept)


GATES = {"gate": [{"name": "a", "metric": "val_cosine", "at_least": 0.5, "epoch": 2, "required": True}]}
HITS = {"query_idx": 0, "hit_indices": [3, 1], "hit_scores": [0.5, 0.2], "truth_idx": 1}
DATASET = {"_data_files": [{"filename": "data.arrow"}], "_fingerprint": "x"}


@given(data=st.data())
@RULES
def test_gates_hits_and_saved_datasets(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("given")
    for name, document, again in (
        ("gates.json", GATES, read_gates),
        ("hits.jsonl", HITS, lambda file: score_hits(load_hits(file), None, resamples=10)),
        ("state.json", DATASET, lambda file: load_split(str(file.parent))),
        ("dataset_dict.json", {"splits": ["train"]}, lambda file: load_split(str(file.parent))),
        (
            "clean.json",
            {"sides": {"a": {"files": [{"file": "x"}]}}},
            lambda file: load_split(str(file.parent)),
        ),
    ):
        place = folder / name.partition(".")[0]
        place.mkdir(exist_ok=True)
        (place / "dataset_info.json").write_text("{}")
        (place / "rows.jsonl").write_text('{"text": "a row"}\n')
        (place / name).write_bytes(data.draw(broken(document)))
        read_or_refused(again, place / name)


@pytest.mark.parametrize(
    "stated", HOSTILE, ids=lambda value: f"{value!r:.20}".encode("ascii", "replace").decode()
)
@pytest.mark.parametrize("kind", ["npz", "memory"])
def test_any_provenance_can_be_reported(tmp_path, kind, stated):
    rng = np.random.default_rng(0)
    sides = []
    for side in ("train", "eval"):
        arrays = {"targets": rng.normal(size=(4, 3)).astype(np.float32)}
        provenance = {"embedder_id": "model", "score": stated}
        if kind == "npz":
            np.savez(tmp_path / f"{side}.npz", **arrays, provenance=np.array(json.dumps(provenance)))
            sides.append(str(tmp_path / f"{side}.npz"))
        else:
            sides.append({**arrays, "provenance": provenance})
    lvmfast.leakscan(*sides).save(tmp_path / "report")
    json.loads((tmp_path / "report" / "summary.json").read_text("utf-8"), parse_constant=pytest.fail)


def test_a_large_manifest_of_another_program_is_not_parsed(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a row that is long enough"}\n')
    with open(tmp_path / MANIFEST, "wb") as file:
        file.write(b'{"a": [')
        file.truncate(MOST_MANIFEST + 1)  # a hole: it would take no time to write, and minutes to parse
    assert read_manifest(tmp_path) is None
    assert load_split(str(tmp_path / "rows.jsonl")).files
    (tmp_path / "LEAKED_EVAL_SETS").mkdir()
    (tmp_path / MANIFEST).rename(tmp_path / "LEAKED_EVAL_SETS" / MANIFEST)
    with pytest.raises(DataError, match=r"manifest\.json: expected a file of at most"):
        load_split(str(tmp_path / "rows.jsonl"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.booleans())
def test_json_is_that_of_python(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json("x", text.encode("utf-8", "surrogatepass")) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1', "x: expected JSON, cut off after 7 characters"),
        ("[1,]", "x: expected JSON: "),
        ("[" * 200 + "]" * 200, "x: expected JSON, nested too deeply"),
        ("[" * 100_000, "x: expected JSON, nested too deeply"),
        ("1" * 5_000, "x: expected JSON: a whole number of 5,000 digits"),
        (f"[{2**64}]", "x: expected JSON: a whole number of 20 digits, beyond 64 bits"),
        (f"[{-(2**63) - 1}]", "x: expected JSON: a whole number of 19 digits, beyond 64 bits"),
        ('["\\ud800"]', "x: expected text, got half of a surrogate pair"),
        ("[NaN]", "x: expected JSON: NaN, which is no number"),
        (b"\xff", "x: expected UTF-8 text, found byte 0 outside it"),
    ],
)
def test_what_is_no_json_is_named(text, said):
    with pytest.raises(DataError, match="^" + said.replace("(", r"\(")):
        parse_json("x", text, nan=False)


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "[]", "{}", '{"version": "1", "asked": [], "stages": {}}', '{"version": "1"}'],
)
def test_a_record_of_an_ingest_that_is_none_is_named(tmp_path, content):
    (tmp_path / "ingest.json").write_text(content)
    with pytest.raises(DataError, match=r"^\S+/ingest\.json: .*expected"):
        begin(tmp_path, {}, resume=True)


def test_values_have_types(tmp_path):
    (tmp_path / "f.json").write_text(
        '{"t": "a", "i": 3, "n": 0.5, "b": true, "l": [1], "o": {"t": 1}, "z": null}'
    )
    fields = Fields("f.json", read_json(tmp_path / "f.json"))
    assert (fields.text("t"), fields.integer("i"), fields.number("n"), fields.number("i")) == (
        "a",
        3,
        0.5,
        3.0,
    )
    assert (fields.boolean("b"), fields.list("l"), fields.integer("z", 7), fields.text("q", "d")) == (
        True,
        [1],
        7,
        "d",
    )
    for had, said in (
        (lambda: fields.fields("o").text("t"), "f.json: o: t: expected text, got 1"),
        (lambda: fields.integer("b"), "f.json: b: expected a whole number from 0, got true or false"),
        (lambda: fields.integer("n"), "f.json: n: expected a whole number from 0, got 0.5"),
        (lambda: fields.integer("i", least=4), "f.json: i: expected a whole number from 4, got 3"),
        (lambda: fields.number("t"), "f.json: t: expected a finite number, got 'a'"),
        (lambda: fields.boolean("i"), "f.json: i: expected true or false, got 3"),
        (lambda: fields.list("o"), "f.json: o: expected a list, got an object"),
        (lambda: fields.fields("l"), "f.json: l: expected an object, got a list"),
        (lambda: fields.text("q"), "f.json: q: expected text, got nothing"),
    ):
        with pytest.raises(DataError) as error:
            had()
        assert str(error.value) == said
