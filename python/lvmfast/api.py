"""`leakscan`: read, check and report in one call."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from lvmfast._core import __version__
from lvmfast.corpus import Dataset, load_payload, load_split
from lvmfast.corpus.beside import IN_ONE_FILE, Beside, attach, open_beside
from lvmfast.corpus.budget import limited
from lvmfast.corpus.codecs import is_fingerprint
from lvmfast.corpus.columns import CUSTOMARY, ColumnsOfSides, check_mapping, columns_of
from lvmfast.corpus.dead_ends import NOTHING
from lvmfast.corpus.load import Given, as_fingerprint
from lvmfast.corpus.looks import begins_again
from lvmfast.corpus.paths import expanded, given_paths
from lvmfast.corpus.payload import Payload
from lvmfast.corpus.sides import Side
from lvmfast.engines.cluster import on_ray
from lvmfast.errors import DataError
from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.cuts import SPAN_BYTES, Cut, share_of, spans_of
from lvmfast.leaks.findings import Findings, LevelFinding, SideInfo
from lvmfast.leaks.journal import HERE, Journal
from lvmfast.leaks.options import (
    DEFAULT_MAX_PAIRS,
    DEFAULT_MIN_CHARS,
    DEFAULT_THRESHOLD,
    Normalization,
    ScanOptions,
    Short,
)
from lvmfast.leaks.progress import Clock, Progress, silent
from lvmfast.leaks.rules import OWN
from lvmfast.levels import LEVELS, check_allowed, parse_levels
from lvmfast.report.documents import matched_documents
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.overlaps import overlaps
from lvmfast.report.record import Inputs, OpenSplit, environment
from lvmfast.report.summary import RunRecord, summarize, summarized_options
from lvmfast.report.tables import matches, no_matches
from lvmfast.report.write import PART, PARTIAL, write_summary
from lvmfast.scan.context import ScanContext
from lvmfast.scan.executors import LOCAL
from lvmfast.scan.run import scan
from lvmfast.stores import folder, holds

#: A shard of large files is made of about so many pieces, so that shards are even.
SPANS_PER_SHARD = 4


def _looks_through(asked: Mapping[str, Any]) -> bool:
    """Whether a scan goes on with another, is part of one, or has workers: all see one set of columns."""
    resumed, shard, engine = asked.get("resume"), asked.get("shard"), asked.get("engine", "local")
    return bool(resumed) or shard is not None or engine != "local"


@holds("out")
@begins_again(unless=_looks_through)
@limited
def leakscan(
    train: Given,
    eval: Given | None = None,
    *,
    benchmarks: Sequence[str] = (),
    payload: Given | Payload | None = None,
    train_payload: Given | Payload | None = None,
    eval_payload: Given | Payload | None = None,
    levels: Iterable[str] | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    near: Literal["same", "paraphrase"] | None = None,
    normalize: Normalization = "default",
    min_chars: int = DEFAULT_MIN_CHARS,
    max_df: int | None = None,
    overlap_rule: str = OWN,
    overlap_short: Short = "count",
    join_chunks: bool = False,
    encoder: str | None = None,
    allow: Mapping[Any, float] | None = None,
    nearest: bool = False,
    max_pairs: int = DEFAULT_MAX_PAIRS,
    columns: ColumnsOfSides | None = None,
    ids: Mapping[Side, str] | None = None,
    texts: Mapping[Side, str] | None = None,
    allow_leaked: bool = False,
    ignore: Sequence[str] = (),
    threads: int = 0,
    memory_limit: int | None = None,
    device: str = "cpu",
    scratch: str | None = None,
    most_seconds: float | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    shard: tuple[int, int] | None = None,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    progress: Progress = silent,
    announce: Announce = say_nothing,
) -> LeakReport:
    """Finds every row of `eval` that was seen in `train`, or every duplicate inside `train` alone.

    Every row of both sides is checked or counted as unchecked with a reason. Nothing is sampled or printed,
    and nothing written unless `out` is given.

    Args:
        train: a path, a quoted glob, a folder, a list of these; a dict of numpy arrays or torch tensors; a
            pyarrow table; or an HF dataset. Its columns are doc_id, chunk_id, text, vector (n, d) and
            context (n, length, d), each optional and found by its customary names. Or one fingerprint
            (``.lvfp``): see `fingerprint`.
        eval: the same; None scans `train` for duplicates (levels text and vector).
        benchmarks: names of benchmarks, whose data in the caches of the Hugging Face hub stand behind `eval`
            or in its place; `named_benchmarks` knows those of a table of one's own, too.
        payload: texts by (doc_id, chunk_id) for both sides: parquet, Arrow, jsonl or csv.
        train_payload: texts for `train` alone.
        eval_payload: texts for `eval` alone.
        levels: some of doc, chunk, text, vector, context, oracle. A level named here must be checkable; by
            default all those run whose columns are there.
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
        progress: called as (phase, rows done, rows in all or None).
        announce: told in a line what a large scan is about to do, and what it will take.

    Raises:
        DataError: bad input; the message names the file, the key, what was expected and what was found.
    """
    check_allowed(allow or {})
    options = ScanOptions(
        levels=parse_levels(levels) if levels is not None else None,
        threshold=threshold,
        normalize=normalize,
        min_chars=min_chars,
        max_df=max_df,
        overlap_rule=overlap_rule,
        overlap_short=overlap_short,
        join_chunks=join_chunks,
        encoder=encoder,
        allow=dict(allow or {}),
        nearest=nearest,
        max_pairs=max_pairs,
        threads=threads,
        memory_limit=memory_limit,
        device=device,
        scratch=scratch,
        most_seconds=most_seconds,
    )
    if near is not None:
        from lvmfast.encoding.measured import check_near

        check_near(near, threshold)
    if shard is not None:
        check_shard(*shard)
        if out is None:
            raise DataError("a shard needs a folder for what `lvmfast merge` reads")
    machine = {**environment(options), "engine": engine}
    clock = Clock()
    train, eval, payload, train_payload, eval_payload = (
        _ignoring(source, ignore) for source in (train, eval, payload, train_payload, eval_payload)
    )
    if benchmarks:
        from lvmfast.corpus.benchmarks import named_benchmarks

        eval = named_benchmarks(benchmarks, beside=eval)
    given: dict[Side, list[tuple[Beside, str]]] = {"train": [], "eval": []}
    named: tuple[tuple[Beside, Mapping[Side, str]], ...] = (("ids", ids or {}), ("texts", texts or {}))
    for what, of_sides in named:
        for side, path in of_sides.items():
            if side not in given or (side == "eval" and eval is None):
                raise DataError(f"{what}: {side}: there is no such side")
            if engine != "local":
                raise DataError(
                    f"{what}: {path}: the engine {engine} reads no columns by position; use --shard, or "
                    f"{IN_ONE_FILE}"
                )
            given[side].append((what, path))
    with clock.phase("open"):
        common = None
        if payload is not None:
            common = load_payload(payload, columns=columns_of(columns, None), allow_leaked=allow_leaked)
        splits: dict[Side, OpenSplit] = {
            "train": _open("train", train, train_payload, common, columns, allow_leaked, given["train"])
        }
        if eval is not None:
            splits["eval"] = _open("eval", eval, eval_payload, common, columns, allow_leaked, given["eval"])
    for side, dataset in ((side, split.dataset) for side, split in splits.items()):
        if dataset.coverage is not None or as_fingerprint(dataset) is not None:
            continue  # texts of a payload, or hashes
        of_texts = dict.fromkeys(file.fields["text"] for file in dataset.files if "text" in file.fields)
        if of_texts.keys() - CUSTOMARY:
            announce(f"{side}: the text of a row is {', '.join(of_texts)}")
        for note in dataset.notes:
            if NOTHING in note:
                announce(f"{side}: {note}")
    inputs = Inputs(splits, threads, _others(splits["train"].dataset, shard))
    if encoder is not None:
        _check_embeds(options, "pieces" if shard else f"the engine {engine}" if engine != "local" else "")
        with clock.phase("embed"):
            inputs.splits = _embedded(splits, encoder, progress, announce)
    datasets = {side: split.dataset for side, split in inputs.splits.items()}
    if near is not None:
        from lvmfast.encoding.measured import measured_threshold

        options = replace(options, threshold=measured_threshold(near, datasets.values(), announce))

    def record() -> RunRecord:
        return RunRecord(
            inputs.described(), dict(columns or {}), machine, clock.seconds, tuple(inputs.leaked)
        )

    journal = None if out is None else _journal(inputs, options, record, out, resume, shard, columns or {})
    context = ScanContext(options, LOCAL, progress, clock, announce, journal)
    if on_ray(engine, ray_address):
        findings = _on_ray(datasets, context, ray_address)
    else:
        findings = _findings(datasets, context)
    records = "" if journal is None else journal.run
    if findings.part is not None:
        inputs.check_unchanged()
        return LeakReport(findings, options, record(), no_matches())
    with clock.phase("evidence"):
        stretches = overlaps(findings, datasets)
        evidence = matches(findings, datasets, stretches)
        judged: Side = "eval" if "eval" in datasets else "train"
        documents = matched_documents(findings, judged, datasets[judged])
    with clock.phase("hash"):  # what is left of it
        inputs.check_unchanged()
    return LeakReport(findings, options, replace(record(), records=records), evidence, stretches, documents)


def _check_embeds(options: ScanOptions, way: str) -> None:
    """Refuses to make vectors that nothing compares, or once more for each part of a scan.

    Raises:
        DataError: so it would be.
    """
    if options.levels is not None and not any(LEVELS[level].cosine for level in options.levels):
        wanted = " or ".join(name for name, level in LEVELS.items() if level.cosine)
        raise DataError(f"encoder: no level of {', '.join(options.levels)} compares vectors; add {wanted}")
    if way:
        raise DataError(f"encoder: a scan by {way} reads vectors from files; write them with `lvmfast embed`")


def _embedded(
    splits: Mapping[Side, OpenSplit], encoder: str, progress: Progress, announce: Announce
) -> dict[Side, OpenSplit]:
    from lvmfast.encoding.encoded import encoded_sides

    opened = {side: split.dataset for side, split in splits.items()}
    datasets = encoded_sides(opened, encoder, progress, announce)
    return {side: replace(split, dataset=datasets[side]) for side, split in splits.items()}


def _on_ray(datasets: Mapping[Side, Dataset], context: ScanContext, address: str | None) -> Findings:
    """As `_findings`, on a cluster, whose cuts come back into a journal: if need be, one for this scan."""
    if as_fingerprint(datasets["train"]) is not None:
        raise DataError("the engine ray reads files; a fingerprint is scanned locally")
    from lvmfast.engines.ray import OnRay

    context = replace(context, executor=OnRay(address))
    if context.journal is not None:
        return _findings(datasets, context)
    with TemporaryDirectory(prefix="lvmfast-cuts-") as scratch:
        return _findings(datasets, replace(context, journal=Journal(folder(scratch))))


def _journal(
    inputs: Inputs,
    options: ScanOptions,
    record: Callable[[], RunRecord],
    out: str | PathLike[str],
    resume: bool,
    shard: tuple[int, int] | None,
    columns: ColumnsOfSides,
) -> Journal:
    """Where the scan keeps what it has done: what makes it the scan it is, and who is told."""
    splits = inputs.splits
    identity: Cut = {
        "version": __version__,
        "options": summarized_options(options, columns),
        "train": inputs.named("train"),
        "eval": inputs.named("eval") if "eval" in splits else None,
        "columns": {side: sorted(split.dataset.columns) for side, split in splits.items()},
        "leaked": inputs.leaked,
        "names": {side: [file.name for file in split.dataset.files] for side, split in splits.items()},
    }
    place = folder(out)
    if shard is not None:
        identity |= {"share": shard[0], "shards": shard[1]}
        size = shard_span_bytes(splits["train"].dataset, shard[1])
        return Journal(place, PART, identity=identity, resume=resume, share=shard, span_bytes=size)

    def told(how_far: str) -> None:
        reason = f"{how_far}; the same command with --resume goes on"
        write_summary(out, summarize(_unfinished(splits, reason), options, record(), None))

    identity["stamps"] = inputs.stamps
    if inputs.in_memory:
        identity[HERE] = secrets.token_hex(8)
    return Journal(place, PARTIAL, identity=identity, resume=resume, told=told)


def shard_span_bytes(train: Dataset, shards: int) -> int:
    """Bytes of the pieces that shards are made of: so small that shards come out even."""
    return max(1, min(SPAN_BYTES, train.nbytes // (SPANS_PER_SHARD * shards)))


def _others(train: Dataset, shard: tuple[int, int] | None) -> frozenset[str]:
    """The files that a shard does not read."""
    if shard is None:
        return frozenset()
    spans = spans_of(train, shard_span_bytes(train, shard[1]))
    mine = {span.file for span in share_of(spans, train, *shard)}
    return frozenset(file.name for place, file in enumerate(train.files) if place not in mine)


def _unfinished(splits: Mapping[Side, OpenSplit], reason: str) -> Findings:
    sides = {
        side: SideInfo(
            tuple(file.name for file in split.dataset.files), np.zeros(len(split.dataset.files), np.int64)
        )
        for side, split in splits.items()
    }
    columns = [split.dataset.columns for split in splits.values()]
    levels = [
        name for name, level in LEVELS.items() if all(set(level.needs) <= of_side for of_side in columns)
    ]
    return Findings({level: LevelFinding(level, "incomplete", reason=reason) for level in levels}, sides)


def check_shard(share: int, shares: int) -> None:
    """Holds a shard to its domain.

    Raises:
        DataError: there is no such shard.
    """
    if not 1 <= share <= shares:
        raise DataError(f"shard: expected i/n with i from 1 to n, got {share}/{shares}")


def _findings(datasets: Mapping[Side, Dataset], context: ScanContext) -> Findings:
    train, eval = datasets["train"], datasets.get("eval")
    if context.journal is not None and context.journal.part:
        if eval is None:
            raise DataError("a shard is scanned against an evaluation set; none was given")
        train.require_rows("a fingerprint is scanned in one piece; leave out the shard")
    if eval is not None:
        eval.require_rows("a fingerprint can only be the training side: it has no rows to check")
    if (fingerprint := as_fingerprint(train)) is None:
        return scan(train, eval, context)
    if eval is None:
        raise DataError(
            f"{fingerprint.path}: a fingerprint is scanned against an evaluation set; none was given"
        )
    if context.options.nearest:
        raise DataError(
            f"{fingerprint.path}: a fingerprint holds no vectors, so no nearest cosines can be told"
        )
    if context.options.join_chunks:
        raise DataError(f"{fingerprint.path}: a fingerprint holds no texts that could be joined: join_chunks")
    if (rule := context.options.overlap_rule) != OWN:
        raise DataError(
            f"{fingerprint.path}: overlap_rule: a fingerprint has no n-grams of the length that {rule} asks "
            f"for; what it has proves rows clean by the rule {OWN} alone"
        )
    if context.options.device != "cpu":
        raise DataError(
            f"{fingerprint.path}: a fingerprint is compared on the cpu, not on {context.options.device}"
        )
    from lvmfast.scan.fingerprinted import scan_fingerprint

    return scan_fingerprint(fingerprint, eval, context)


def _ignoring(source: Any, ignore: Sequence[str]) -> Any:
    if not ignore or any(map(is_fingerprint, given_paths(source))):
        return source
    return expanded(source, ignore) or source


def _open(
    side: Side,
    split: Any,
    own: Any,
    common: Payload | None,
    columns: ColumnsOfSides | None,
    allow_leaked: bool,
    beside: Sequence[tuple[Beside, str]],
) -> OpenSplit:
    fingerprint = as_fingerprint(split)
    if (
        fingerprint is not None and not beside
    ):  # a payload for both sides is not meant for it, one of its own is refused
        return OpenSplit(load_split(fingerprint, payload=own), None)
    named = columns_of(columns, side)
    payload = common if own is None else load_payload(own, columns=named, allow_leaked=allow_leaked)
    dataset = load_split(
        split, columns=named, payload=payload, allow_leaked=allow_leaked, lenient=True, items=side == "eval"
    )
    if not beside:
        return OpenSplit(dataset, payload)
    mapping = check_mapping(named)
    opened = [(what, open_beside(what, path, mapping, allow_leaked=allow_leaked)) for what, path in beside]
    files = tuple(file for _, found in opened for file in found.files)
    return OpenSplit(attach(dataset, opened), payload, files)
