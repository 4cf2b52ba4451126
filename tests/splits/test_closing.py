"""The scan that certifies a split is asked what the command was asked: no option stays behind."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lvmfast import DataError
from lvmfast.encoding import encoded
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import silent
from lvmfast.report.summary import options_of, summarized_options
from lvmfast.splits.closing import OVERRIDDEN, closing_scan
from tests.support.letter_encoder import LetterEncoder


def unusual(folder: Path, overlap: dict[str, Any]) -> ScanOptions:
    """Options none of which is the default, but for those of overlap that do not go together."""
    return ScanOptions(
        levels=("doc", "text", "overlap", "vector"),
        threshold=0.25,
        normalize="strict",
        min_chars=3,
        max_df=7,
        **overlap,
        join_chunks=True,
        encoder="letters",
        allow={"doc": 0.5},
        nearest=True,
        max_pairs=17,
        threads=1,
        device="cuda:77",
        memory_limit=900 << 20,
        scratch=str(folder),
        most_seconds=1e6,
    )


OVERLAP: list[dict[str, Any]] = [{"overlap_short": "leak"}, {"overlap_rule": "palm"}]


@pytest.mark.parametrize("overlap", OVERLAP)
def test_every_option_arrives_at_the_closing_scan(
    tmp_path: Path, overlap: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded, "Encoder", LetterEncoder)
    monkeypatch.setenv("LVMFAST_VECTORS", str(tmp_path / "cache"))
    options, plain = unusual(tmp_path, overlap), ScanOptions()
    left = {name for other in OVERLAP for name in other if name not in overlap}
    named = [field.name for field in fields(options) if field.name not in left]
    assert all(getattr(options, name) != getattr(plain, name) for name in named)
    assert set(OVERRIDDEN) == {"allow", "nearest"}
    sides = []
    for name in ("train", "eval"):
        path = tmp_path / f"{name}.npz"
        ids, texts = np.arange(3) + 10 * len(name), np.array([f"{name} " * 9 + str(n) for n in range(3)])
        np.savez(path, doc_id=ids, chunk_id=ids, text=texts)
        sides.append([str(path)])
    scan = lambda asked: closing_scan(tuple(sides), (None, None), asked, {}, progress=silent)  # noqa: E731
    with pytest.raises(DataError, match="cuda:77"):
        scan(options)
    report = scan(replace(options, device="cpu"))
    assert report.options == replace(options, device="cpu", allow={}, nearest=False)


@pytest.mark.parametrize("overlap", OVERLAP)
def test_options_are_read_back_from_a_summary(tmp_path: Path, overlap: dict[str, Any]) -> None:
    options = unusual(tmp_path, overlap)
    here = {"threads": 0, "device": "cpu", "memory_limit": None, "scratch": None, "most_seconds": None}
    assert options_of(summarized_options(options, {"text": "body"})) == replace(options, **here)
    assert options_of(summarized_options(ScanOptions(), {})) == ScanOptions()
