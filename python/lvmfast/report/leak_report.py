"""`LeakReport`: the answer of a scan, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lvmfast.errors import DataError, LeakError
from lvmfast.leaks.findings import Findings, LevelFinding, Verdict, judge
from lvmfast.leaks.journal import forget
from lvmfast.leaks.options import LevelName, ScanOptions
from lvmfast.levels import LEVELS
from lvmfast.report.documents import MatchedDocuments
from lvmfast.report.files import items_table
from lvmfast.report.sentences import closing_line, leaked_sentence, verdict_sentence
from lvmfast.report.summary import RunRecord, summarize
from lvmfast.report.summary_types import Summary
from lvmfast.report.tables import matched_row_groups, matched_rows, nearest_rows, undecided_rows
from lvmfast.report.write import (
    DECIDED,
    ITEMS,
    NEAREST,
    OVERLAPS,
    PARTIAL,
    SET_ASIDE,
    UNDECIDED,
    write_scan,
    write_summary,
)
from lvmfast.stores import folder, holding

if TYPE_CHECKING:
    import pandas
    import polars


@dataclass(frozen=True, repr=False)
class LeakReport:
    """What a scan found.

    `matches` is the evidence (pyarrow table, one row per match; its columns are those of `matches.parquet`).

    Examples:
        >>> import lvmfast
        >>> text = "The cat sat on the mat."
        >>> report = lvmfast.leakscan([text], [text.upper()], levels=["text"])
        >>> report
        <LeakReport LEAK: text=1/1>
        >>> report.passed, report.summary["levels"]["text"]["eval_rate"]
        (False, 1.0)
        >>> report.raise_if_leaky()
        Traceback (most recent call last):
        lvmfast.errors.LeakError: LEAK: text=1/1
    """

    findings: Findings
    options: ScanOptions
    run: RunRecord
    matches: pa.Table
    overlaps: pa.Table | None = None  #: as `overlaps.parquet`; None where that level was not scanned
    documents: MatchedDocuments | None = None  #: None where the judged side has no document ids
    decided: pa.Table | None = None  #: the matches that people decided on; None where no decisions were given

    def __repr__(self) -> str:
        """The closing line: the verdict, and for each level the matched of the checked rows."""
        return f"<LeakReport {closing_line(self.findings)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, the levels and the worst matches."""
        from lvmfast.report.notebook import report_html

        return report_html(self.summary, self.findings, self.matches, self.overlaps)

    @property
    def verdict(self) -> Verdict:
        """``clean``, ``allowed``, ``leak``, ``incomplete``, or ``part`` where it is one of several."""
        return self.findings.verdict

    @property
    def passed(self) -> bool:
        """Whether no level leaks (or only as much as `allow` tolerates, or as a review set aside)."""
        return self.findings.outcome in ("clean", "allowed")

    @property
    def levels(self) -> Mapping[LevelName, LevelFinding]:
        """The finding of each level."""
        return self.findings.levels

    @property
    def summary(self) -> Summary:
        """What `summary.json` says: a dict whose keys type checkers know."""
        return summarize(self.findings, self.options, self.run, self.documents)

    def to_arrow(self) -> pa.Table:
        """The matches as a table of pyarrow: what `matches` is."""
        return self.matches

    def to_pandas(self) -> pandas.DataFrame:
        """The matches as a frame of pandas, in which what is not there is null and no NaN.

        Raises:
            DataError: pandas is not installed.
        """
        if find_spec("pandas") is None:
            raise DataError("to_pandas needs pandas: pip install pandas")
        import pandas

        return self.matches.to_pandas(types_mapper=pandas.ArrowDtype)

    def to_polars(self) -> polars.DataFrame:
        """The matches as a frame of polars.

        Raises:
            DataError: polars is not installed.
        """
        if find_spec("polars") is None:
            raise DataError("to_polars needs polars: pip install polars")
        import polars

        frame = polars.from_arrow(self.matches)
        assert isinstance(frame, polars.DataFrame)
        return frame

    @property
    def matched_rows(self) -> pa.Table:
        """Every matched row of both sides, set aside or not: level, side, file, row. Never cut."""
        return matched_rows(self.findings)

    @property
    def set_aside(self) -> pa.Table | None:
        """The matched rows that a review set aside: level, side, file, row. None without decisions."""
        if self.decided is None:
            return None
        from lvmfast.report.reviewed import set_aside_table

        return set_aside_table(self.findings)

    @property
    def nearest(self) -> pa.Table | None:
        """The nearest training row of every eval row (eval_file, eval_row, cosine, train_file, train_row).

        None unless the scan was asked for it.
        """
        return nearest_rows(self.findings)

    @property
    def undecided(self) -> pa.Table | None:
        """The eval rows that a fingerprint leaves undecided: level, file, row, bound. None without one."""
        return undecided_rows(self.findings)

    @cached_property
    def items(self) -> pa.Table | None:
        """What stands of each evaluation row in training, as `items.parquet`; None without such a level."""
        return items_table(self.findings)

    def __str__(self) -> str:
        """The closing line, the sentence of the verdict, and the stamp if there is one."""
        lines = [closing_line(self.findings), verdict_sentence(self.findings)]
        if self.run.leaked:
            lines.append(leaked_sentence(self.run.leaked))
        return "\n".join(lines)

    def raise_if_leaky(self) -> None:
        """Does nothing when the scan passed.

        Raises:
            LeakError: it did not; the message is the closing line of the CLI.
        """
        if not self.passed:
            raise LeakError(closing_line(self.findings))

    def save(self, directory: str | PathLike[str]) -> None:
        """Writes the files of a scan (docs/output.md), each whole or not at all; of a part the summary alone.

        Raises:
            DataError: the directory cannot be written, or another process writes there.
        """
        with holding(directory):
            if self.findings.part is not None:
                write_summary(directory, self.summary)
                return
            extra = {
                NEAREST: self.nearest,
                UNDECIDED: self.undecided,
                OVERLAPS: self.overlaps,
                ITEMS: self.items,
                SET_ASIDE: self.set_aside,
                DECIDED: self.decided,
            }
            tables = {name: table for name, table in extra.items() if table is not None}
            write_scan(directory, self.summary, matched_row_groups(self.findings), self.matches, tables)
            forget(folder(directory), PARTIAL, self.run.records)

    def rethreshold(self, threshold: float) -> LeakReport:
        """The report of the same scan at a higher cosine threshold, without scanning again.

        Raises:
            DataError: `threshold` is below that of the scan, above 1, or in the part of the evidence that
                `max_pairs` cut off.
        """
        if not self.options.threshold <= threshold <= 1.0:
            raise DataError(
                f"rethreshold: expected a cosine from {self.options.threshold} to 1, got {threshold}; "
                "lower needs a new scan"
            )
        import pyarrow.compute as pc

        options = replace(self.options, threshold=threshold)
        levels = {
            level: judge(self._raised(finding, threshold), options.allow)
            if LEVELS[level].cosine and finding.status != "not_checkable"
            else finding
            for level, finding in self.levels.items()
        }
        by_cosine = [name for name, level in LEVELS.items() if level.cosine]

        def raised(table: pa.Table) -> pa.Table:
            cosine = pc.is_in(table["level"], pa.array(by_cosine))
            return table.filter(pc.or_(pc.invert(cosine), pc.greater_equal(table["score"], threshold)))

        findings, decided = replace(self.findings, levels=levels), self.decided
        if decided is not None and findings.strange is not None:
            before, decided = decided, raised(decided)
            gone = len(pc.unique(before["match"])) - len(pc.unique(decided["match"]))
            findings = replace(findings, strange=findings.strange + gone)
        matches = raised(self.matches)
        return replace(self, findings=findings, options=options, matches=matches, decided=decided)

    def _raised(self, finding: LevelFinding, threshold: float) -> LevelFinding:
        if finding.cut and (len(finding.matches) == 0 or finding.matches.score.min() >= threshold):
            raise DataError(
                f"rethreshold: {finding.level}: the evidence was cut at {len(finding.matches)} matches, "
                f"all of them at or above {threshold}; scan again with a higher threshold or max_pairs"
            )
        kept = np.flatnonzero(finding.matches.score >= threshold)
        matches, pairs, review = finding.matches.take(kept), int(finding.matches.pairs[kept].sum()), None
        if finding.review is not None:
            review = replace(finding.review, decided=finding.review.decided[kept])
            review = replace(review, pairs=int(matches.pairs[review.boilerplate].sum()))
            pairs -= review.pairs
        return replace(
            finding,
            threshold=threshold,
            pairs=pairs,
            review=review,
            pairs_at={edge: n for edge, n in finding.pairs_at.items() if edge >= threshold},
            matches=matches,
            match_count=len(matches),
            undecided=finding.undecided and finding.undecided.at_least(threshold),
            sides={side: count.at_least(threshold) for side, count in finding.sides.items()},
        )
