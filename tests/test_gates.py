"""Gates and histories: statuses, exit codes, baselines, files of gates, and histories of other trainers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvmfast.cli.verdicts import show_verdicts
from lvmfast.errors import DataError
from lvmfast.gates import SETS, TRAINING, Gate, at_epoch, judge, latency_gate, read_gates
from lvmfast.training.history import read_history, read_run

PUBLIC = [0.412, 0.472, 0.494, 0.507, 0.512, 0.513, 0.515, 0.515, 0.515, 0.515]
BASELINES = {
    "copy-last": {"val_cosine": 0.539, "val_mrr": 0.397, "val_margin": 0.05},
    "mean": {"val_cosine": 0.45, "val_mrr": 0.218, "val_margin": 0.05},
    "lag-mix": {"val_cosine": 0.45, "val_mrr": 0.41, "val_margin": 0.05},
}
GOOD = {
    "epoch": 2,
    "val_cosine": 0.6,
    "val_mrr": 0.45,
    "val_margin": 0.3,
    "val_std": 0.9,
    "val_pairwise_cosine": 0.1,
    "negatives_same_document": 0,
    "baselines": BASELINES,
}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def statuses(evidence, gates=TRAINING, epoch=2):
    verdicts = judge(at_epoch(gates, epoch), evidence)
    return {judged.gate.name: judged.status for judged in verdicts.gates}, verdicts.exit_code


@pytest.mark.parametrize(("epoch", "code"), [(1, 1), (2, 1), (3, 1), (4, 0), (10, 0), (11, 3)])
def test_the_public_run_misses_epoch_2_and_passes_at_4(tmp_path, epoch, code):
    rows = [{"epoch": n, "val_cosine": value} for n, value in enumerate(PUBLIC, 1)]
    path = write(tmp_path / "history.json", rows)
    found, exit_code = statuses(read_run(path).evidence, epoch=epoch)
    assert exit_code == code
    assert set(found.values()) - {found["customary"]} <= {"not_checkable"}
    command = [sys.executable, "-m", "lvmfast", "gate", str(path), "--epoch", str(epoch), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == json.loads(done.stdout)["exit_code"] == code, done.stderr


def test_what_a_baseline_meets_proves_nothing():
    found, code = statuses({"epochs": {2: GOOD}, "same_document_masked": True})
    assert found["customary"] == "proves_nothing"  # copy-last has 0.539
    assert {found[name] for name in found if name != "customary"} == {"passed"}
    assert code == 0
    # above the mean, as copy-last is, and no better than that
    found, code = statuses({"epochs": {2: GOOD | {"val_mrr": 0.39}}})
    assert (found["above mean"], found["above copy-last"], code) == ("proves_nothing", "failed", 1)
    # lag-mix is above copy-last too; the run is not above it
    found, _ = statuses({"epochs": {2: GOOD | {"val_mrr": 0.412}}})
    assert found["above copy-last"] == "proves_nothing"


def test_a_run_that_shows_nothing_does_not_pass():
    row = {"epoch": 2, "val_cosine": 0.52, "baselines": {"copy-last": {"val_cosine": 0.539}}}
    found, code = statuses({"epochs": {2: row}})
    assert (found["customary"], code) == ("proves_nothing", 3)


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"val_pairwise_cosine": 0.93}, "no collapse"),
        ({"val_std": 0.2}, "spread"),
        ({"val_margin": 0.09}, "margin"),
        ({"negatives_same_document": 1}, "negatives of other documents"),
        ({"val_cosine": float("nan")}, "customary"),
    ],
)
def test_each_gate_can_fail(change, gate):
    found, code = statuses({"epochs": {2: GOOD | change}, "same_document_masked": True})
    assert (found[gate], code) == ("failed", 1)


def test_same_document_negatives_count_where_they_are_masked():
    for masked, status in ((True, "failed"), (False, "not_checkable")):
        evidence = {"epochs": {2: GOOD | {"negatives_same_document": 5}}, "same_document_masked": masked}
        assert statuses(evidence)[0]["negatives of other documents"] == status


def test_the_sets_of_an_evaluation():
    figures = {
        "R@5": 61.0,
        "Contain@50": 95.0,
        "Eff@5": 0.7,
        "P95": 1.2,
        "split_status": "clean",
        "MRR": 0.45,
    }
    differences = {
        name: {"R@5": {"low": 1.0, "high": 5.0}, "MRR": {"low": 0.01, "high": 0.03}}
        for name in ("copy-last", "lag-mix-density")
    }
    evidence = {
        **figures,
        "differences": differences,
        "baselines": {"copy-last": {"R@5": 54.1, "MRR": 0.397}},
    }
    assert judge(SETS["production"], evidence).verdict == "passed"
    assert judge(SETS["honest"], evidence).verdict == "passed"
    fast = (*SETS["production"], latency_gate(1.3))
    assert judge(fast, evidence).verdict == "passed"
    assert judge(fast, {**evidence, "P95": 1.5}).exit_code == 1
    assert judge(SETS["target"], {**evidence, "split_status": "LEAKED"}).exit_code == 1
    without = {key: value for key, value in evidence.items() if key != "P95"}
    assert judge(SETS["production"], without).verdict == "passed", "no set asks for a latency"
    assert judge(fast, without).exit_code == 3
    assert not any(gate.metric in ("P50", "P95", "P99") for gates in SETS.values() for gate in gates)
    assert judge(SETS["honest"], {**evidence, "model": "copy-last"}).exit_code == 3
    # as an evaluation has it: no difference of copy-last to itself is measured, and it is none
    itself = judge(SETS["honest"], {"split_status": "clean", "model": "copy-last", "differences": {}})
    assert itself.exit_code == 1
    assert [judged.reason for judged in itself.gates[1:3]] == ["copy-last is not above itself"] * 2
    for name in differences:
        for low, code in ((-0.1, 1), (1.0, 0)):
            differences[name]["R@5"]["low"] = low
            assert judge(SETS["honest"], evidence).exit_code == code, name
    del differences["lag-mix-density"]
    assert judge(SETS["honest"], evidence).exit_code == 3, "what cannot be checked is no pass"
    ar = {"rivals": {"ar": {"R@5": 8.0}}, "epochs": {2: {"val_cosine": 0.51}}}
    assert judge(SETS["minimum"], {**figures, **ar}).exit_code == 0
    assert judge(SETS["minimum"], figures).exit_code == 3


@given(st.floats(), st.floats(allow_nan=False, allow_infinity=False))
def test_thresholds_are_comparisons(value, limit):
    for key, expected in (
        ("at_least", value >= limit),
        ("above", value > limit),
        ("at_most", value <= limit),
    ):
        (judged,) = judge([Gate("g", "m", **{key: limit})], {"m": value}).gates
        assert (judged.status == "passed") == expected


def test_files_of_gates(tmp_path):
    toml = '[[gate]]\nname = "mine"\nmetric = "val_mrr"\nover = "copy-last"\nat_least = 0.05\nepoch = 3\n'
    path = write(tmp_path / "g.toml", toml)
    (gate,) = at_epoch(read_gates(path), 2)
    assert gate == Gate("mine", "val_mrr", at_least=0.05, over="copy-last", epoch=3, required=True)
    as_json = {
        "gate": [{"name": "mine", "metric": "val_mrr", "over": "copy-last", "at_least": 0.05, "epoch": 3}]
    }
    assert read_gates(write(tmp_path / "g.json", as_json)) == (gate,)


def test_a_gate_of_a_file_that_cannot_be_judged_is_no_pass(tmp_path):
    good = {"name": "good", "metric": "val_mrr", "at_least": 0.1}
    slip = {"name": "slip", "metric": "val_mmr", "at_least": 0.1}
    for more, code in (
        ({}, 3),
        ({"required": False}, 0),
        ({"when": "same_document_masked"}, 0),
        ({"over": "copi-last"}, 3),
    ):
        path = write(tmp_path / "g.json", {"gate": [good, slip | more]})
        assert judge(read_gates(path), {"val_mrr": 0.5}).exit_code == code, more


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({}, "gate"),
        ({"gate": []}, "list of gates"),
        ({"gate": [{"name": "a", "metric": "m", "at_least": 1}], "x": 1}, "nothing else"),
        ({"gate": [{"name": "a", "metric": "m", "min": 1}]}, "unknown key"),
        ({"gate": [{"name": "a", "metric": "m"}]}, "one of at_least"),
        ({"gate": [{"name": "a", "metric": "m", "at_least": 1, "at_most": 2}]}, "at_least, at_most"),
        ({"gate": [{"name": "a", "metric": "m", "at_least": True}]}, "a number"),
        ({"gate": [{"name": "a", "metric": "m", "at_least": float("nan")}]}, "a number"),
        ({"gate": [{"metric": "m", "at_least": 1}]}, "name"),
        ({"gate": [{"name": "a", "metric": "m", "at_least": 1}] * 2}, "2 times"),
        ({"gate": [{"name": "a", "metric": "m", "at_least": 1, "interval": True}]}, "over"),
        ('{"gate": [', "cut off"),
    ],
)
def test_broken_files_of_gates_are_refused(tmp_path, content, word):
    path = write(tmp_path / "g.json", content)
    with pytest.raises(DataError, match=word) as error:
        read_gates(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"epoch": 1, "val_cos', "cut off"),
        ("", "cut off"),
        ({"val_cosine": 0.1}, "a list of epochs, .* got an object of val_cosine"),
        ([1], "row 0: expected an object"),
        ([{"epoch": 1}, {"val_cosine": 0.4}], "row 1: epoch: .* none"),
        ([{"epoch": "2"}], "whole number"),
        ([{"epoch": True}], "whole number"),
        ([{"epoch": 1, "val_cosine": "0.4"}], "val_cosine: expected a number, got text"),
        ([{"epoch": 1, "val_cosine": 0.4}, {"epoch": 1, "val_cosine": 0.5}], "epoch 1: two rows that differ"),
        ([{"epoch": 1, "baselines": [1]}], "baselines"),
        ("[" * 100_000, "nested|cut off"),
    ],
)
def test_broken_histories_are_refused(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        read_history(write(tmp_path / "history.json", content))


def test_odd_histories_are_read_and_noted(tmp_path):
    rows = [
        {"epoch": 4, "val_cosine": None},
        {"epoch": 1},
        {"epoch": 2.0, "val_loss": float("nan")},
        {"epoch": 1},
    ]
    history = read_history(write(tmp_path / "history.json", rows))
    assert list(history.epochs) == [1, 2, 4]
    for word in ("twice", "out of order", "missing: 3", "val_loss: not finite"):
        assert any(word in note for note in history.notes), word
    unnamed = read_history(write(tmp_path / "history.json", [{"val_cosine": 0.4}, {"val_cosine": 0.5}]))
    assert unnamed.curve("val_cosine") == [(1, 0.4), (2, 0.5)]
    assert read_history(write(tmp_path / "history.json", [])).epochs == {}


def test_a_folder_that_is_no_run_is_refused_and_a_young_run_is_not(tmp_path):
    with pytest.raises(DataError, match="not the folder of a run"):
        read_run(tmp_path)
    write(tmp_path / "config.toml", "[objective]\nmask_same_document = true\n")
    run = read_run(tmp_path)
    assert (run.history.epochs, run.evidence["same_document_masked"]) == ({}, True)
    assert statuses(run.evidence)[1] == 3


def test_the_table_breaks_no_word_at_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    show_verdicts(judge(at_epoch(TRAINING, 2), {"epochs": {}}))
    printed = capsys.readouterr().out
    rows = printed.splitlines()
    assert max(map(len, rows[:-1])) <= 80
    for gate in at_epoch(TRAINING, 2):
        assert any(row.startswith(f"{gate.name}  ") for row in rows)
        assert set(gate.asks.split()) <= set(printed.split())
    assert rows[-1] == f"{', '.join(gate.name for gate in TRAINING)}: epoch 2 is not there"
