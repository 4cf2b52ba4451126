"""After an error nothing is there that was not, what was is to the byte, and the corrected command works."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import lvmfast
from lvmfast.cli import app
from tests.support import data, walks

pytestmark = pytest.mark.heavy

#: Takes the place of an input, under its suffix.
BAD = {
    "gone": None,
    "empty": b"",
    "torn": b"\x00\xff\x93PK not what its name says\n" * 40,
    "binary": bytes(range(256)) * 20,
}


@dataclass(frozen=True)
class Command:
    """`@name` is an input, `OUT` what is written; `wrong` are options with values that are none."""

    words: str
    wrong: tuple[str, ...] = ()
    ends: tuple[int, ...] = (0,)  #: exit codes of the command as it is
    folder: bool = True  #: writes a folder


COMMANDS = {
    "leakscan": Command(
        "leakscan --train @train.npz --eval @eval.npz --payload @texts.parquet --out OUT",
        (
            "--levels sound",
            "--column text=nothing",
            "--threshold 7",
            "--memory-limit 1KiB",
            "--shard 3/2",
            "--device tpu",
            "--normalize odd",
            "--allow text=2",
            "--engine none",
        ),
        ends=(1,),
    ),
    "shard": Command(
        "leakscan --train @train.npz --eval @eval.npz --shard 1/2 --out OUT", ("--nearest --levels text",)
    ),
    "merge": Command("merge @part-1/ @part-2/ --out OUT", ends=(1,)),
    "clean": Command(
        "clean --train @train.npz --eval @eval.npz --report @report/ --out OUT",
        ("--drop none", "--memory-limit 1KiB", "--engine none"),
    ),
    "split": Command(
        "split @docs.jsonl --eval-docs 3 --out OUT",
        ("--by nothing", "--val-docs 900", "--min-chunks-per-doc 900", "--threshold 7"),
    ),
    "fingerprint": Command(
        "fingerprint @train.npz --payload @texts.parquet --out OUT.lvfp",
        ("--normalize odd", "--column text=nothing", "--engine none"),
        folder=False,
    ),
    "texts": Command(
        "embed @docs.jsonl --encoder stand-in --out OUT.npz --quiet",
        ("--engine none", "--encoder gone", "--column text=nothing", "--column text=doc_id[*]"),
        folder=False,
    ),
    "threshold": Command(
        "threshold --train @other.npz --eval @vectors.npz --out OUT.svg --quiet",
        ("--column vector=nothing", "--memory-limit 1KiB", "--encoder gone"),
        folder=False,
    ),
    "wikipedia": Command(
        "ingest wikipedia @articles.jsonl --encoder stand-in --out OUT --quiet",
        (
            "--context 0",
            "--minimum 9000 --target 90",
            "--against nothing.npz",
            "--domains nothing.json",
            "--page-ids x",
            "--articles 5:2",
            "--engine none",
        ),
    ),
    "proven": Command(
        "ingest wikipedia @articles.jsonl --encoder stand-in --against @other.npz --out OUT --quiet",
        ("--against @articles.jsonl",),
    ),
    "articles": Command(
        "ingest articles @articles.jsonl --out OUT.parquet --quiet", ("--random -1",), folder=False
    ),
    "chunks": Command(
        "ingest chunks @articles.parquet --out OUT.parquet --quiet",
        ("--minimum 9000 --target 9000 --maximum 9000", "--unit tokens"),
        folder=False,
    ),
    "embed": Command(
        "ingest embed @chunks.parquet --encoder stand-in --out OUT.npz --quiet",
        ("--engine none", "--encoder gone"),
        folder=False,
    ),
    "sequences": Command(
        "ingest sequences @embeddings.npz --out OUT.npz", ("--context 900", "--context -1"), folder=False
    ),
    "prove": Command(
        "ingest prove @sequences.npz --chunks @chunks.parquet --against @other.npz --out OUT --quiet",
        ("--layout odd",),
    ),
    "train": Command(
        "train --train @walks.npz --out OUT --model amn --d-model 8 --batch 16 --epochs 1 --val-docs 3 "
        "--device cpu --threads 1 --quiet",
        ("--batch 100000", "--val-docs 900", "--tau -1", "--device tpu", "--column vector=no", "--gates no"),
    ),
    "eval": Command(
        "eval --checkpoint mean --eval-npz @walks.npz --train @other-walks.npz --out OUT --quiet",
        ("--pool none", "--checkpoint nothing", "--gates nothing", "--phase 3", "--column vector=no"),
        ends=(0, 1, 3),
    ),
    "plot": Command("plot @history.json --out OUT.svg", ("--epoch -1",), folder=False),
    "score": Command(
        "score @hits.jsonl --truth @walks.npz --out OUT.json", ("--payload @articles.jsonl",), folder=False
    ),
    "fit": Command("rerank fit @walks.npz --out OUT.st", ("--model odd", "--depth 0"), folder=False),
    "export": Command(
        "export @linear/ --payload @walks.npz --out OUT.npz",
        ("--faiss none", "--queries gone.npz"),
        folder=False,
    ),
    "claims": Command("claims @report/ --out OUT.md", folder=False),
    "impact": Command(
        "impact @report/ --scores @item-scores.jsonl --out OUT",
        ("--metric none", "--eval @docs.jsonl", "--resamples 1", "--control gone.csv"),
    ),
    "convert": Command("convert @old.npy OUT.parquet", folder=False),
    "report": Command("report @report/"),
    "quarantine": Command("quarantine @eval.npz --report @report/ --into OUT"),
}


class StandIn:
    """An encoder without a model."""

    dim, device, window, special_tokens = 8, "cpu", 40, 2

    def __init__(self, name: str, **options: Any) -> None:
        if name == "gone":
            raise lvmfast.DataError(f"{name}: no such encoder")
        self.name = name
        self.provenance = {"embedder_id": name, "dim": 8}

    def tokens(self, texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def encode(self, texts: list[str]) -> np.ndarray[Any, Any]:
        return np.stack(
            [
                np.random.default_rng(len(t) + 7 * i).standard_normal(8, np.float32)
                for i, t in enumerate(texts)
            ]
        )


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs of all commands."""
    root = tmp_path_factory.mktemp("good")
    files = data.leaky(root)
    shutil.copy(files["train_payload"], root / "texts.parquet")
    train, eval_ = files["train.npz"], files["eval.npz"]
    lvmfast.leakscan(train, eval_).save(root / "report")
    for share in (1, 2):
        part = root / f"part-{share}"
        lvmfast.leakscan(train, eval_, shard=(share, 2), out=part).save(part)
    walks.write(root / "walks.npz")
    walks.write(root / "other-walks.npz", first_doc=500, seed=5)
    shape = {"model": "linear", "batch": 16, "epochs": 1, "val_docs": 3, "device": "cpu", "threads": 1}
    lvmfast.train(root / "walks.npz", out=root / "linear", **shape)
    words = np.random.default_rng(3)
    lines = [
        {
            "id": i,
            "title": f"T{i}",
            "text": " ".join(f"{'word ' * 9}{words.integers(99)}." for _ in range(60)),
        }
        for i in range(4)
    ]
    (root / "articles.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    vectors = np.random.default_rng(8).standard_normal((20, 8)).astype(np.float32)
    np.savez(root / "other.npz", doc_id=900 + np.arange(20), chunk_id=np.arange(20), vector=vectors)
    np.savez(root / "vectors.npz", vector=np.random.default_rng(9).standard_normal((40, 8)))
    rows = [{"epoch": n, "val_loss": 1.0 / n, "val_cosine": 0.5} for n in (1, 2, 3)]
    (root / "history.json").write_text(json.dumps(rows))
    hits = [{"query_idx": n, "hit_indices": [n, (n + 1) % 168]} for n in range(168)]
    (root / "hits.jsonl").write_text("".join(json.dumps(hit) + "\n" for hit in hits))
    scores = [{"row": n, "score": n % 2} for n in range(60)]
    (root / "item-scores.jsonl").write_text("".join(json.dumps(score) + "\n" for score in scores))
    texts = [
        {"doc_id": i // 10, "text": " ".join(map(str, words.integers(9999, size=9)))} for i in range(200)
    ]
    (root / "docs.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    old = {(1, 2): {"doc_id": 1, "chunk_id": 2, "text": "a text", "vector": np.zeros(3, np.float32)}}
    np.save(root / "old.npy", np.array(old, object), allow_pickle=True)
    return root


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentencex")
    for module in (
        "lvmfast.ingest.pipeline",
        "lvmfast.cli.ingest",
        "lvmfast.encoding.embed",
        "lvmfast.calibration.threshold",
    ):
        monkeypatch.setattr(f"{module}.Encoder", StandIn)


@pytest.fixture(scope="module")
def stages(good: Path) -> Path:
    """What the stages of `ingest` give each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lvmfast.cli.ingest.Encoder", StandIn)
        for words in (
            "articles articles.jsonl --out articles.parquet",
            "chunks articles.parquet --out chunks.parquet",
            "embed chunks.parquet --encoder x --out embeddings.npz",
            "sequences embeddings.npz --out sequences.npz",
        ):
            argv = [str(good / w) if "." in w else w for w in words.split()]
            run = CliRunner().invoke(app, ["ingest", *argv])
            assert run.exit_code == 0, run.output
    return good


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def invoke(words: list[str], inputs: dict[str, Path], out: Path) -> Any:
    argv = [
        str(inputs[word[1:].rstrip("/")]) if word.startswith("@") else word.replace("OUT", str(out))
        for word in words
    ]
    return CliRunner().invoke(app, argv)


def cases(command: Command) -> list[tuple[str, str]]:
    """(what is wrong, the command line)"""
    bad = []
    for word in dict.fromkeys(command.words.split()):
        if word.startswith("@"):
            bad += [(f"{word} {kind}", command.words.replace(word, f"@{kind}")) for kind in BAD]
    return bad + [(wrong, f"{command.words} {wrong}") for wrong in command.wrong]


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_left(name: str, stages: Path, tmp_path: Path) -> None:
    command = COMMANDS[name]
    inputs = {path.name: path for path in stages.iterdir()}
    if name in ("report", "quarantine"):  # these change what they are given
        shutil.copytree(stages, tmp_path / "in")
        inputs = {path.name: path for path in (tmp_path / "in").iterdir()}
    place = tmp_path / "out"
    place.mkdir()
    kept = place / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    for nth, (what, words) in enumerate(cases(command)):
        bad = dict(inputs)
        for kind, content in BAD.items():
            suffix = Path(what.split()[0]).suffix
            bad[kind] = tmp_path / f"{kind}{suffix}"
            if content is not None:
                bad[kind].write_bytes(content)
        before = snapshot(tmp_path)
        out = [place / "new", place / "deep" / "new" if command.folder else place / "new", kept][nth % 3]
        run = invoke(words.split(), bad, out)
        assert run.exit_code in (2, 3), f"{what}: {run.output}"
        assert snapshot(tmp_path) == before, what
    if "OUT" in command.words:  # a file where there should be a folder
        run = invoke(command.words.split(), inputs, kept / "mine.txt" / "new")
        assert run.exit_code == 2, run.output
        assert "mine.txt" in run.stderr
        assert "a bug" not in run.stderr
        assert snapshot(tmp_path) == before
    run = invoke(command.words.split(), inputs, place / "new")
    assert run.exit_code in command.ends, run.output
    before = snapshot(tmp_path)
    what, words = cases(command)[0]
    assert invoke(words.split(), bad, place / "new").exit_code in (2, 3)
    assert snapshot(tmp_path) == before, f"{what}, where the command had written"
    assert not [path for path in tmp_path.rglob(".*") if path.suffix in (".lock", ".part")]


def test_every_command_that_writes_is_in_the_table() -> None:
    words = {command.words.split()[0] for command in COMMANDS.values()}
    #: They write nothing, or read nothing, or write what a person decides alone.
    silent = {"benchmarks", "verify", "gate", "monitor", "triage", "demo", "review"}
    assert words | silent == set(import_module("lvmfast.cli.app").COMMANDS)
