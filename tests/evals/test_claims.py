"""lvmfast claims: what stands, what does not, and a sentence that no leaked figure can enter."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lvmfast.cli import app
from lvmfast.errors import DataError
from lvmfast.evals.claims import claims

STATUSES = ("clean", "LEAKED", "undecided", "unscanned")


def record(model: str, status: str, r5: float, *, level: str = "cross-document", queries: int = 500) -> dict:
    return {
        "model": model,
        "pool": "eval",
        "context": "out",
        "kind": "baseline" if model == "copy-last" else "run",
        "n_queries": queries,
        "n_documents": queries // 10,
        "pool_size": queries * 2,
        "R@5": r5,
        "interval": {"R@5": [r5 - 0.5, r5 + 0.5]},
        "split_status": status,
        "level": level,
        "equals_oracle": [],
    }


def write(
    folder: Path,
    records: list[dict],
    *,
    stamp: str | None = None,
    differences: list[dict] = (),
    gates: str | None = None,
    verdict: str = "passed",
    levels: dict | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    models = {
        r["model"]: {
            "kind": r["kind"],
            "model": "amn" if r["model"] == "amn" else "gru",
            "train_hash": "00",
            "split": {"reasons": ["seen in training at doc (91.5%)"], "levels": levels or {}},
        }
        for r in records
    }
    chief = records[0]["model"]
    details = {
        "stamp": stamp,
        "chief": chief,
        "gates_asked": gates,
        "gates": {chief: {gates: {"verdict": verdict}}},
        "judged_on": {"pool": "eval", "context": "out"},
        "eval": {"files": [{"path": "eval.npz"}]},
        "models": models,
        "differences": differences,
    }
    (folder / "metrics.json").write_text(json.dumps(records))
    (folder / "evaluation.json").write_text(json.dumps(details))
    return folder


def difference(model: str, against: str, value: float, low: float, high: float) -> dict:
    metrics = {"R@5": {"difference": value, "interval": [low, high]}}
    return {"model": model, "against": against, "pool": "eval", "context": "out", "metrics": metrics}


figures = st.integers(100, 9990).map(lambda tenths: tenths / 100)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(STATUSES), figures, figures, st.integers(10, 99_999), st.booleans()),
        min_size=1,
        max_size=4,
    )
)
def test_no_leaked_figure_gets_outside(cases):
    """Whatever is on disk: every number of the sentence for the outside is that of a clean record."""
    with TemporaryDirectory() as folder:
        places, allowed = [], {"5"}  # the 5 of "the first 5"
        for number, (status, own, base, queries, mixed) in enumerate(cases):
            name = f"run-{own:.1f}%"  # a name that holds its own figure
            base_status = "LEAKED" if mixed else status
            found = [record(name, status, own, queries=queries), record("copy-last", base_status, base)]
            stamp = "LEAKED" if "LEAKED" in (status, base_status) else None
            places.append(
                write(
                    Path(folder) / str(number),
                    found,
                    stamp=stamp,
                    differences=[difference(name, "copy-last", own - base, own - base - 1, own - base + 1)],
                )
            )
            if status == base_status == "clean":
                for value in (own, base, own - 0.5, own + 0.5):
                    allowed.add(f"{value:.1f}")
                allowed |= {f"{n:,}" for n in (queries, queries // 10, queries * 2)}
        said = claims(places)
        assert set(re.findall(r"\d[\d,]*(?:\.\d+)?", said.for_outside)) <= allowed
        for claim in said.claims:
            if claim.outside:
                assert claim.standing == "valid"
                place = int(Path(claim.files[0]).parent.name)
                assert cases[place][0] == "clean"
        if any(case[0] == "LEAKED" for case in cases):
            assert "leaked" in said.for_colleagues


def standing(said, text: str) -> list[str]:
    return [claim.standing for claim in said.claims if text in claim.text]


def test_what_a_leak_leaves(tmp_path):
    found = [record(name, "LEAKED", 60.0, level="within-document") for name in ("con", "ar", "copy-last")]
    differences = [difference("ar", "con", -5, -7, -3), difference("con", "copy-last", 20, 18, 22)]
    counts = {name: {"matched": 0} for name in ("chunk", "text", "vector")}
    said = claims([write(tmp_path / "e", found, stamp="LEAKED", differences=differences, levels=counts)])
    assert standing(said, "con: R@5 60.0%") == ["invalid"]
    assert standing(said, "con finds the next chunk in new documents") == ["invalid"]
    assert standing(said, "con is ready for production") == ["invalid"]
    assert standing(said, "con is better than copy-last") == ["invalid"]
    assert standing(said, "ar is worse than con") == ["valid"]
    assert standing(said, "con generalises within documents") == ["valid"]
    assert said.of("pending") == (), "nobody asked about other models or gates"
    assert "91.5%" in said.for_colleagues
    assert "no figure to quote" in said.for_outside.lower()
    found[1]["model"] = "amn"
    said = claims([write(tmp_path / "e", found, stamp="LEAKED", levels=counts, gates="production")])
    assert standing(said, "attention mixture") == ["pending"]
    assert standing(said, "the production gates") == ["pending"]
    assert standing(said, "deployment") == ["pending"]
    alone = [found[1], found[2] | {"kind": "baseline"}]
    said = claims([write(tmp_path / "alone", alone, stamp="LEAKED", levels=counts)])
    assert standing(said, "attention mixture") == [], "the only model is one"
    found[1]["model"] = "ar"
    said = claims([write(tmp_path / "e", found, stamp="LEAKED", levels=counts, gates="stretch")])
    assert standing(said, "attention mixture") == ["pending"]
    assert standing(said, "deployment") == []
    counts["text"] = {"matched": 3}
    said = claims([write(tmp_path / "e", found, stamp="LEAKED", levels=counts)])
    assert standing(said, "con generalises within documents") == ["invalid"]


def test_what_clean_data_says(tmp_path):
    found = [record("con", "clean", 61.0), record("amn", "clean", 55.0), record("copy-last", "clean", 53.0)]
    differences = [
        difference("con", "copy-last", 8, 6, 10),
        difference("amn", "copy-last", 2, -1, 5),
        difference("amn", "con", -6, -8, -4),
    ]
    place = write(tmp_path / "e", found, differences=differences, gates="production")
    said = claims([place])
    assert standing(said, "con: R@5 61.0%") == ["valid"]
    assert standing(said, "con is better than copy-last") == ["valid"]
    assert standing(said, "amn and copy-last differ") == ["pending"]
    assert standing(said, "amn is worse than con") == ["valid"]
    assert standing(said, "con passes the gates production") == ["valid"]
    assert standing(said, "deployment") == []
    assert "61.0%" in said.for_outside
    assert "53.0%" in said.for_outside
    of_con, of_amn = said.for_outside.split(". On ")
    assert "not shown" not in of_con
    assert "it is not shown to be better than repeating the last chunk" in of_amn
    for claim in said.claims:
        assert all(Path(file).is_file() for file in claim.files)
        assert claim.files or claim.standing == "pending"


def untrained(place: Path, model: str) -> Path:
    file = place / "evaluation.json"
    details = json.loads(file.read_text())
    details["models"][model] |= {"epoch": 0, "residual": "last"}
    file.write_text(json.dumps(details))
    return place


def test_an_untrained_model_is_not_sold(tmp_path):
    """The best epoch is 0: what is scored copies the last vector."""
    found = [record("con", "clean", 58.9), record("copy-last", "clean", 58.9)]
    same = [difference("con", "copy-last", 0.0, 0.0, 0.0)]
    place = untrained(write(tmp_path / "e", found, differences=same, gates="honest"), "con")
    said = claims([place])
    assert standing(said, "con learned something from its training") == ["invalid"]
    (absolute,) = [claim for claim in said.claims if claim.text.startswith("con: R@5 58.9%")]
    assert "of the model before any training, which repeats its baseline (last)" in absolute.text
    assert not absolute.outside
    assert "58.9" not in said.for_outside
    assert "a model before any training" in said.for_outside


@pytest.mark.parametrize(
    ("low", "high", "worse", "named"),
    [(0.5, 4, "", ["copy-last"]), (-1, 2, "", ["copy-last", "lag-mix"]), (-4, -1, "lag-mix", ["copy-last"])],
)
def test_what_is_said_follows_from_every_baseline(tmp_path, low, high, worse, named):
    found = [record(name, "clean", 58.0) for name in ("con", "copy-last", "lag-mix")]
    for baseline in found[1:]:
        baseline["kind"] = "baseline"
    differences = [difference("con", "lag-mix", 1, low, high)]  # that to copy-last is unknown: not shown
    said = claims([write(tmp_path / "e", found, differences=differences)])
    (absolute,) = [claim for claim in said.claims if claim.text.startswith("con: R@5 58.0%")]
    assert f"not shown to be better than {', '.join(named)}, on documents" in absolute.text
    words = {"copy-last": "repeating the last chunk", "lag-mix": "a fixed mix of the window"}
    end = f"it is not shown to be better than {' or '.join(words[name] for name in named)}."
    assert said.for_outside.endswith(end)
    assert (f"; it is worse than {words.get(worse)}" in said.for_outside) == bool(worse)
    assert (", worse than lag-mix" in absolute.text) == bool(worse)
    assert standing(said, "con is better than lag-mix") == (["valid"] if low > 0 else [])
    assert standing(said, "con is worse than lag-mix") == (["valid"] if high < 0 else [])
    alone = claims([write(tmp_path / "alone", found[:1])])
    assert alone.for_outside.endswith("no baseline was scored beside it.")


def test_a_run_whose_best_epoch_is_before_training(tmp_path):
    rows = [{"epoch": epoch, "val_cosine": cosine} for epoch, cosine in ((1, 0.4), (2, 0.5))]
    (tmp_path / "history.json").write_text(json.dumps(rows))
    (tmp_path / "best.json").write_text(json.dumps({"epoch": 0, "by": "val_mrr"}))
    said = claims([tmp_path])
    assert standing(said, "learned something from its training") == ["invalid"]
    assert standing(said, "training improves by epoch 2") == ["invalid"]
    assert "no epoch is shown to have a better val_mrr" in said.of("invalid")[0].why


def test_scans_and_histories(tmp_path):
    scan, run = tmp_path / "scan", tmp_path / "run"
    scan.mkdir()
    run.mkdir()
    (scan / "summary.json").write_text(json.dumps({"verdict": "leak", "sentence": "Seen at doc (91.5%)."}))
    (run / "history.json").write_text(
        json.dumps([{"epoch": 1, "val_cosine": 0.412}, {"epoch": 2, "val_cosine": 0.472}])
    )
    (run / "run.json").write_text(json.dumps({"leak_status": "LEAKED"}))
    said = claims([scan, run])
    assert standing(said, "was not seen in training") == ["invalid"]
    assert standing(said, "training improves by epoch 2") == ["valid"]
    assert "91.5%" in said.for_colleagues
    assert re.findall(r"\d", said.for_outside) == []
    (run / "history.json").write_text(json.dumps([{"epoch": 1, "val_cosine": 0.412}]))
    assert standing(claims([run]), "training improves by epoch 2") == ["pending"]


def test_the_command(tmp_path):
    place = write(tmp_path / "e", [record("con", "clean", 61.0), record("copy-last", "clean", 53.0)])
    done = CliRunner().invoke(app, ["claims", str(place), "--out", str(tmp_path / "claims.md")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "claims.md").read_text() == done.output
    for heading in ("What can be said", "What cannot be said", "What cannot be said yet", "For the public"):
        assert f"## {heading}" in done.output
    as_json = CliRunner().invoke(app, ["claims", str(place), "--json"])
    assert {"valid", "invalid", "pending", "for_outside"} <= json.loads(as_json.output).keys()


def impact(folder: Path, verdict: str, against: str | None = None, *, control: bool = False) -> Path:
    """What `impact` writes of a model, as far as it is read."""

    def difference(value: float) -> dict:
        return {"difference": value, "interval": [value - 0.01, value + 0.01]}

    groups = {"all": (300, 0.6), "clean": (200, 0.5), "leaked": (100, 0.8)}
    model = {
        "name": "ours",
        "control": control,
        "metric": "acc",
        "percent": True,
        "overall": {
            **{
                name: {"items": n, "mean": m, "interval": [m - 0.05, m + 0.05]}
                for name, (n, m) in groups.items()
            },
            "gain": difference(0.1),
            "verdict": verdict,
        },
        "against_control": against
        and {"control": "before", "verdict": against, "leaked_minus_clean": difference(0.3)},
    }
    folder.mkdir()
    (folder / "impact.json").write_text(json.dumps({"models": [model]}))
    return folder


@pytest.mark.parametrize(
    ("verdict", "against", "better", "by_memory"),
    [
        ("advantage", None, "valid", ["pending"]),
        ("advantage", "advantage", "valid", []),
        ("advantage", "none shown", "valid", ["pending"]),
        ("none shown", "none shown", "pending", []),
        ("disadvantage", None, "pending", []),
        ("too few", None, "pending", []),
    ],
)
def test_what_may_be_said_of_a_score_once_the_leak_is_known(tmp_path, verdict, against, better, by_memory):
    found = claims([impact(tmp_path / "impact", verdict, against)])
    assert standing(found, "60.0% [55.0, 65.0], on all 300 items, as a figure of unseen data") == ["invalid"]
    assert standing(found, "50.0% [45.0, 55.0], on the 200 items that the scan found nothing of") == ["valid"]
    (claim,) = (c for c in found.claims if c.text.startswith("ours does better") and "because" not in c.text)
    assert claim.standing == better
    assert standing(found, "because it saw it") == by_memory
    alone = ["valid"] if against == verdict == "advantage" else []
    assert standing(found, "easier items alone do not explain") == alone


def test_nothing_is_said_of_a_control_and_a_broken_file_is_refused(tmp_path):
    found = claims([impact(tmp_path / "impact", "none shown", control=True)])
    assert not [claim for claim in found.claims if "ours" in claim.text]
    (tmp_path / "impact" / "impact.json").write_text('{"models": [{"name": "ours"}]}')
    with pytest.raises(DataError, match=r"impact\.json: is not as docs/output\.md has it"):
        claims([tmp_path / "impact"])


def test_bad_input(tmp_path):
    with pytest.raises(DataError, match="found none of them"):
        claims([tmp_path])
    (tmp_path / "metrics.json").write_text('[{"model": 1}]')
    with pytest.raises(DataError, match=r"evaluation\.json"):
        claims([tmp_path])
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(DataError, match=r"not as docs/output\.md has it"):
        claims([tmp_path])
    assert CliRunner().invoke(app, ["claims", str(tmp_path)]).exit_code == 2
