"""What `leakscan` can be asked, as one object and as keywords."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from lvmfast.corpus.columns import ColumnsOfSides
from lvmfast.corpus.sides import Side
from lvmfast.errors import DataError
from lvmfast.leaks.options import LevelName, Normalization, ScanOptions, Short
from lvmfast.levels import check_allowed, parse_levels

if TYPE_CHECKING:
    from lvmfast.corpus.load import Given
    from lvmfast.corpus.payload import Payload

Near = Literal["same", "paraphrase"]
Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class LeakscanOptions(ScanOptions):
    """What `leakscan` is asked, beside its two sides. Each option can be given by keyword, too.

    Attributes:
        levels: some of doc, chunk, text, overlap, vector, context, oracle. A level named here must be
            checkable; by default all those run whose columns are there.
        threshold: cosine in [-1, 1] from which two vectors match (vector, context, oracle).
        near: instead of `threshold`: what was measured for the encoder of the vectors, for the ``same`` text
            or for a ``paraphrase``.
        normalize: how texts are made comparable: default, none or strict.
        min_chars: texts with fewer characters after normalisation are unchecked.
        max_df: a text that stands in more documents than this is boilerplate: unchecked, no match.
        overlap_rule: what makes an evaluation text a leak at overlap: lvmfast, or the published rule of gpt3,
            palm, llama2 or llama3, which looks at all of `train` at once and so names none of its rows
            (docs/overlap.md).
        overlap_short: evaluation texts of under 8 words that stand whole in a training text: ``"leak"``, or
            ``"count"``: counted and listed alone.
        join_chunks: at overlap, look at rows of `train` that are consecutive chunks of one document (equal
            doc_id, chunk_id one higher) together: an evaluation text across their border is found, too.
        encoder: a sentence-transformers folder, or its name on the model hub: files that have texts and no
            vectors get those that it makes of them (docs/encoders.md), and vectors that are there have to be
            its own. What it made is kept for the next scan.
        allow: tolerated fraction of matched rows per level.
        nearest: also find the highest cosine of every eval row and its training row, whatever the threshold.
        max_pairs: matches kept as evidence per level, the highest scores; counts are never cut.
        decisions: what `lvmfast review` kept of people's decisions: a match that they call boilerplate does
            not count, and the verdict says that it was reviewed (docs/review.md).
        benchmarks: names of benchmarks, whose data in the caches of the Hugging Face hub stand behind `eval`
            or in its place; `named_benchmarks` knows those of a table of one's own, too.
        payload: texts by (doc_id, chunk_id) for both sides: parquet, Arrow, jsonl or csv.
        train_payload: texts for `train` alone.
        eval_payload: texts for `eval` alone.
        columns: column -> field, where a field has an unusual name. ``question``, ``passage``, ``choices``
            and ``answer`` are columns of `eval` alone; its question is its text. Under ``"train"`` and
            ``"eval"``, another such mapping for this side alone: ``{"eval": {"text": "prompt"}}``.
        ids: of a side (``"train"``, ``"eval"``), a file with its ids: row n there belongs to row n of the
            side, which has as many. ``.npy``, ``.txt`` (one a line), parquet, or any other format.
        texts: the same of texts.
        allow_leaked: read files whose content is quarantined; the report is then stamped LEAKED.
        ignore: globs of names, or of ends of paths, of what folders and globs hold that is not to be
            read. What else is neither data nor plainly none there is an error.
        threads: 0 for one per available core.
        memory_limit: bytes; what does not fit goes by partitions on disk and by blocks of vectors, and is
            refused where even that needs more.
        device: where vectors are compared: cpu, or cuda or cuda:N (needs torch). The answer is the same.
        scratch: folder for what does not fit in memory; None for that of temporary files.
        most_seconds: a comparison of vectors that would take longer, by an estimate, is refused.
        out: folder or URI where a scan that takes long keeps what it has done, in ``.partial``; meanwhile a
            ``summary.json`` there says ``incomplete``. `LeakReport.save` writes the report over it. A folder
            is held meanwhile: another call for it is refused.
        resume: go on from what an earlier call with the same arguments left in `out`.
        shard: (i, n): scan only the i-th of n pieces of `train`, and write to `out` what `merge` needs.
        engine: where the larger side is read: in this process, or by the workers of a Ray cluster, who must
            see its files by the same paths or URIs; what does not fit in memory is parted there. Inside one
            set these find repeated texts alone. The answer is the same.
        ray_address: of the cluster, as ``ray.init`` takes it (``auto``, ``host:port``); None for one of this
            machine that ends with the scan.

    Examples:
        >>> import lvmfast
        >>> strict = lvmfast.LeakscanOptions(levels=["text"], normalize="strict", min_chars=8)
        >>> lvmfast.leakscan(["The end, at last."], ["the end -- at last!"], strict)
        <LeakReport LEAK: text=1/1>
    """

    near: Near | None = None
    decisions: str | PathLike[str] | None = None
    benchmarks: Sequence[str] = ()
    payload: Given | Payload | None = None
    train_payload: Given | Payload | None = None
    eval_payload: Given | Payload | None = None
    columns: ColumnsOfSides | None = None
    ids: Mapping[Side, str] = field(default_factory=dict)
    texts: Mapping[Side, str] = field(default_factory=dict)
    allow_leaked: bool = False
    ignore: Sequence[str] = ()
    out: str | PathLike[str] | None = None
    resume: bool = False
    shard: tuple[int, int] | None = None
    engine: Engine = "local"
    ray_address: str | None = None

    @property
    def scan(self) -> ScanOptions:
        """Those that the scan itself goes by, once its sides are open.

        Raises:
            DataError: a level is named that there is not.
        """
        check_allowed(self.allow)
        given = {each.name: getattr(self, each.name) for each in fields(ScanOptions)}
        levels = None if self.levels is None else parse_levels(self.levels)
        return ScanOptions(**{**given, "levels": levels, "allow": dict(self.allow)})


class OptionKeywords(TypedDict, total=False):
    """`LeakscanOptions` by keyword, for type checkers; a test holds the two to the same names and types."""

    levels: Collection[LevelName] | None
    threshold: float
    normalize: Normalization
    min_chars: int
    max_df: int | None
    overlap_rule: str
    overlap_short: Short
    join_chunks: bool
    encoder: str | None
    allow: Mapping[LevelName, float]
    nearest: bool
    max_pairs: int
    threads: int
    device: str
    memory_limit: int | None
    scratch: str | None
    most_seconds: float | None
    near: Near | None
    decisions: str | PathLike[str] | None
    benchmarks: Sequence[str]
    payload: Given | Payload | None
    train_payload: Given | Payload | None
    eval_payload: Given | Payload | None
    columns: ColumnsOfSides | None
    ids: Mapping[Side, str]
    texts: Mapping[Side, str]
    allow_leaked: bool
    ignore: Sequence[str]
    out: str | PathLike[str] | None
    resume: bool
    shard: tuple[int, int] | None
    engine: Engine
    ray_address: str | None


def asked(options: ScanOptions | None, keywords: Mapping[str, Any]) -> LeakscanOptions:
    """One object of `options` and of keywords, which go above it.

    Raises:
        TypeError: there is no such option.
        DataError: `options` is something else, or a list of names is one string.
    """
    if options is not None and not isinstance(options, ScanOptions):
        raise DataError(
            f"options: expected a LeakscanOptions, got a {type(options).__name__}; one option is given by "
            'its name: leakscan(train, eval, levels=["text"])'
        )
    known = [each.name for each in fields(LeakscanOptions)]
    for name in keywords:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else " (LeakscanOptions documents all options)"
            raise TypeError(f"leakscan has no option {name}{hint}")
    if isinstance(options, LeakscanOptions):
        wanted = replace(options, **keywords)
    else:
        wanted = LeakscanOptions(**{**({} if options is None else vars(options)), **keywords})
    for name in ("levels", "benchmarks", "ignore"):
        if isinstance(given := getattr(wanted, name), str):  # its characters would be taken one by one
            raise DataError(f"{name}: expected a list, got {given!r}: write [{given!r}]")
    return wanted
