"""What a type checker says of a user's calls: all that a scan takes passes, and what it refuses does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = '''
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

import lvmfast


class Frame:
    """As a frame of pandas, or a relation of duckdb."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return None


class Rows:
    """As a Dataset of torch."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, row: int) -> dict[str, object]:
        return {"text": f"row {row}"}


def batches() -> Iterator[dict[str, list[str]]]:
    yield {"text": ["a text", "another"]}


frame = pl.DataFrame({"text": ["one text", "another text"]})
report = lvmfast.leakscan(frame, frame.lazy())
lvmfast.leakscan(Frame(), ["a text", "another text"])
lvmfast.leakscan(Rows(), batches(), payload=frame)
lvmfast.leakscan({"vector": np.zeros((3, 4))}, np.zeros((3, 4)), near="same")
lvmfast.leakscan([Path("a.jsonl"), Path("b.jsonl")], "b.jsonl", train_payload="p.parquet")
lvmfast.leakscan(lvmfast.load_split("a.jsonl"), [{"text": "a"}])
passed: bool = lvmfast.clean("a.jsonl", ["b.jsonl"], "report", out=Path("clean")).passed
lvmfast.split(["a.jsonl"], out="split", eval_docs=3, near="paraphrase")
verdict: str = report.verdict
rate: float | None = report.summary["levels"]["text"]["eval_rate"]
frame = report.to_polars()
asked = lvmfast.LeakscanOptions(levels=["text"], min_chars=8)
lvmfast.leakscan("a.jsonl", "b.jsonl", asked, progress=True)
lvmfast.leakscan("a.jsonl", options=asked, out=Path("report"), ignore=["*.bak"])
lvmfast.leakscan(3)  # refused
lvmfast.leakscan(frame, 0.5)  # refused
lvmfast.leakscan("a.jsonl", near="alike")  # refused
lvmfast.leakscan("a.jsonl", treshold=0.9)  # refused
lvmfast.leakscan("a.jsonl", min_chars="8")  # refused
report.summary["levels"]["text"]["eval_rat"]  # refused
lvmfast.LeakscanOptions(near="alike")  # refused
lvmfast.clean(frame, "b.jsonl", "report", out="clean")  # refused
lvmfast.split(Rows(), out="split")  # refused
'''


@pytest.mark.slow
def test_calls_of_a_user_are_typed(tmp_path):
    pytest.importorskip("mypy")
    root = Path(__file__).parents[1]
    (tmp_path / "user.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(root / "pyproject.toml")]
    found = subprocess.run(
        [*command, str(tmp_path / "user.py")], cwd=root, capture_output=True, text=True, check=False
    )
    told = [line for line in found.stdout.splitlines() if "error:" in line]
    refused = [number for number, line in enumerate(SCRIPT.splitlines(), 1) if line.endswith("# refused")]
    assert [int(line.split(":")[1]) for line in told] == refused, found.stdout + found.stderr
