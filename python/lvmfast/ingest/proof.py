"""Stage 5: fresh sequences without the rows that training has seen, and the certificate that says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from lvmfast.api import leakscan
from lvmfast.corpus import load_split
from lvmfast.corpus.npz import open_npz
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.errors import DataError
from lvmfast.ingest.encoder import Encoder
from lvmfast.ingest.sequences import Layout, read_sequences, store_sequences
from lvmfast.leaks.engine import Progress, silent
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.sentences import closing_line
from lvmfast.splits.certificate import ClosingScan, certificate_of, write_certificate


@dataclass(frozen=True)
class Training:
    """The data that the fresh set must not share anything with."""

    paths: tuple[str, ...]
    payload: str | None = None  #: its texts, where they stand in a file of their own


@dataclass
class Proven:
    """What became of the sequences."""

    scanned: int = 0
    dropped: int = 0
    levels: dict[str, int] = field(default_factory=dict)  #: dropped sequences by the level that matched
    unseen: list[str] = field(default_factory=list)  #: levels that could not be checked, and why
    sequences: int = 0
    articles: int = 0  #: that the sequences come from

    def articles_missing(self, wanted: int) -> int:
        """How many more articles would give `wanted` sequences, at the yield seen so far."""
        return max(0, math.ceil((wanted - self.sequences) * self.articles / self.sequences))


def check_encoder(training: Training, encoder: Encoder) -> None:
    """Holds the encoder to what the training files state about theirs, before hours are spent.

    Raises:
        DataError: the dimension or the encoder differs.
    """
    split = load_split(list(training.paths))
    if split.dim is not None and split.dim != encoder.dim:
        raise DataError(
            f"{split.files[0].name}: expected vectors of {encoder.dim} values as {encoder.name} makes, "
            f"got {split.dim}"
        )
    check_same_encoder(split.provenance, {encoder.name: encoder.provenance})


def prove(
    sequences: Path,
    chunks: Path,
    out: Path,
    training: Training,
    *,
    layout: Layout = "chunks",
    beside: Sequence[Path] = (),
    progress: Progress = silent,
) -> Proven:
    """Writes the sequences that share nothing with `training` to `out`, scans them again, certifies them.

    `clean.json` and `report/`, the scan that says what was dropped and why, come to stand beside `out`.

    Args:
        sequences: what stage 4 wrote, in the layout ``chunks``.
        chunks: what stage 2 wrote: their texts.
        out: the npz file to write.
        training: the files to scan against.
        layout: of `out`.
        beside: files that the certificate is to hold the hash of.
        progress: told how far the scans are.

    Raises:
        DataError: the sides cannot be compared, or nothing is left.
    """
    folder = out.parent
    found = _scan(training, sequences, chunks, progress)
    found.save(folder / "report")
    table = found.matched_rows
    matched = table.filter(pc.equal(table["side"], "eval"))["row"].to_numpy()
    levels = found.summary["levels"]
    rows = open_npz(str(sequences), {}).rows or 0
    done = Proven(
        scanned=rows,
        levels={
            name: level["eval_rows_matched"] for name, level in levels.items() if level["eval_rows_matched"]
        },
        unseen=[f"{name}: {level['reason']}" for name, level in levels.items() if level["reason"]],
    )
    keep = np.ones(rows, bool)
    keep[matched] = False
    done.dropped = int((~keep).sum())
    if not keep.any():
        raise DataError(
            f"{sequences}: all {rows:,} sequences were seen in training: nothing is left to evaluate on"
        )
    kept = read_sequences(sequences)
    done.articles = len(np.unique(kept.keys[:, 0]))
    kept = kept.chosen(keep)
    done.sequences = len(kept.windows)
    store_sequences(out, kept, layout)
    closing = _scan(training, out, chunks, progress)
    if closing.findings.verdict != "clean":
        raise DataError(f"{out}: the closing scan still finds a leak: {closing_line(closing.findings)}")
    details = {"dropped": {"rows": done.dropped, "levels": done.levels}}
    scans = (ClosingScan({"train": "training", "eval": "fresh"}, closing),)
    names = [path.name for path in beside]
    write_certificate(folder, certificate_of("ingest", scans, folder, names, details, 0))
    return done


def _scan(training: Training, sequences: Path, chunks: Path, progress: Progress) -> LeakReport:
    return leakscan(
        list(training.paths),
        str(sequences),
        train_payload=training.payload,
        eval_payload=str(chunks),
        progress=progress,
    )
