"""Stage 5: fresh sequences without the rows that training has seen, and the certificate that says so."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from lvmfast.api import leakscan
from lvmfast.corpus import load_split
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.durable import staged_folder
from lvmfast.encoding.encoder import Encoder
from lvmfast.errors import DataError, naming
from lvmfast.ingest.sequences import Layout, read_sequences, store_sequences
from lvmfast.leaks.progress import Progress, silent
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
    report: Path | None = None,
    layout: Layout = "chunks",
    progress: Progress = silent,
) -> Proven:
    """Writes the sequences that share nothing with `training`, scans them again and certifies them.

    Args:
        sequences: what stage 4 wrote, in the layout ``chunks``.
        chunks: what stage 2 wrote: their texts.
        out: the folder to write, with `sequences.npz` and `clean.json`; it appears when both are there.
        training: the files to scan against.
        report: a folder for the scan that says what was dropped and why.
        layout: of the sequences in `out`.
        progress: told how far the scans are.

    Raises:
        DataError: the sides cannot be compared, nothing is left, or `out` is there and not empty.
    """
    kept = read_sequences(sequences)
    found = _scan(training, sequences, chunks, progress)
    if report is not None:
        found.save(report)
    levels = found.summary["levels"]
    done = Proven(
        scanned=len(kept.windows),
        levels={name: n for name, level in levels.items() if (n := level["eval_rows_matched"])},
        unseen=[f"{name}: {level['reason']}" for name, level in levels.items() if level["reason"]],
        articles=len(np.unique(kept.keys[:, 0])),
    )
    table = found.matched_rows
    fresh = np.ones(len(kept.windows), bool)
    fresh[table.filter(pc.equal(table["side"], "eval"))["row"].to_numpy()] = False
    done.dropped, done.sequences = int((~fresh).sum()), int(fresh.sum())
    if not done.sequences:
        raise DataError(f"{sequences}: all {done.scanned:,} sequences were seen in training: none is left")
    with naming(out, "cannot be written"), staged_folder(out) as stage:
        written = stage.folder / "sequences.npz"
        store_sequences(written, kept.chosen(fresh), layout)
        closing = _scan(training, written, chunks, progress)
        if closing.findings.verdict != "clean":
            raise DataError(f"{out}: the closing scan still finds a leak: {closing_line(closing.findings)}")
        scans = (ClosingScan({"train": "training", "eval": "fresh"}, closing),)
        details = {"dropped": {"rows": done.dropped, "levels": done.levels}}
        write_certificate(stage.folder, certificate_of("ingest", scans, stage.folder, [], details, 0))
        stage.publish()
    return done


def _scan(training: Training, sequences: Path, chunks: Path, progress: Progress) -> LeakReport:
    return leakscan(
        list(training.paths),
        str(sequences),
        train_payload=training.payload,
        eval_payload=str(chunks),
        progress=progress,
    )
