"""`leakscan`: read, check and report in one call."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lvmfast._core import __version__
from lvmfast.corpus import Dataset, load_payload, load_split
from lvmfast.corpus.beside import IN_ONE_FILE, Beside, attach, open_beside
from lvmfast.corpus.budget import reading_within
from lvmfast.corpus.codecs import is_fingerprint
from lvmfast.corpus.columns import CUSTOMARY, check_mapping, columns_of
from lvmfast.corpus.dead_ends import NOTHING
from lvmfast.corpus.load import Given, as_fingerprint
from lvmfast.corpus.looks import begins_again
from lvmfast.corpus.paths import Expansion, expanded, given_paths
from lvmfast.corpus.payload import Payload
from lvmfast.corpus.sides import Side
from lvmfast.engines.cluster import on_ray
from lvmfast.errors import DataError
from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.cuts import SPAN_BYTES, Cut, share_of, spans_of
from lvmfast.leaks.findings import Findings, LevelFinding, SideInfo
from lvmfast.leaks.journal import HERE, Journal
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Clock, Progress
from lvmfast.leaks.rules import OWN
from lvmfast.levels import LEVELS
from lvmfast.options import LeakscanOptions, OptionKeywords, asked
from lvmfast.report.documents import matched_documents
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.overlaps import overlaps
from lvmfast.report.progress import shown
from lvmfast.report.record import Inputs, OpenSplit, environment
from lvmfast.report.summary import RunRecord, summarize, summarized_options
from lvmfast.report.tables import matches, no_matches
from lvmfast.report.write import PART, PARTIAL, write_summary
from lvmfast.scan.context import ScanContext
from lvmfast.scan.executors import LOCAL
from lvmfast.scan.run import scan
from lvmfast.stores import folder, holding

if TYPE_CHECKING:
    from typing_extensions import Unpack

Source = TypeVar("Source", bound="Given | Payload | None")
#: A shard of large files is made of about so many pieces, so that shards are even.
SPANS_PER_SHARD = 4


def leakscan(
    train: Given,
    eval: Given | None = None,
    options: ScanOptions | None = None,
    *,
    progress: Progress | bool = False,
    announce: Announce = say_nothing,
    **keywords: Unpack[OptionKeywords],
) -> LeakReport:
    """Finds every row of `eval` that was seen in `train`, or every duplicate inside `train` alone.

    Every row of both sides is checked or counted as unchecked with a reason. Nothing is sampled, and nothing
    printed or written unless `progress` or `out` is given.

    Args:
        train: a path, a quoted glob, a folder, a list of these; a list of texts; a dict of numpy arrays or
            torch tensors; a table of pyarrow, pandas or polars; or an HF dataset. Its columns are doc_id,
            chunk_id, text, vector (n, d) and context (n, length, d), each optional and found by its customary
            names. Or one fingerprint (``.lvfp``): see `fingerprint`.
        eval: the same; None scans `train` for duplicates (levels text and vector).
        options: what is asked, as one object: `LeakscanOptions`, which documents all options.
        progress: True shows how far the scan is, in a notebook, on a terminal or in a log; or what is called
            as (phase, rows done, rows in all or None).
        announce: told in a line what a large scan is about to do, and what it will take.
        keywords: options by their names, which go above `options`: ``levels=["text"], threshold=0.9``.

    Raises:
        DataError: bad input; the message names the file, the key, what was expected and what was found.

    Examples:
        >>> import lvmfast
        >>> train = ["The cat sat on the mat.", "It was a bright cold day in April."]
        >>> report = lvmfast.leakscan(train, ["the cat  sat on the MAT."], levels=["text"])
        >>> report.verdict
        'leak'
        >>> report.matches.select(["train_row", "eval_row"]).to_pylist()
        [{'train_row': 0, 'eval_row': 0}]
    """
    wanted = asked(options, keywords)
    limits = reading_within(wanted.memory_limit, wanted.scan.threads or None)
    with holding(wanted.out), limits, shown(progress) as told:
        return _scanned(train, eval, wanted=wanted, progress=told, announce=announce)


def _looks_through(asked: Mapping[str, Any]) -> bool:
    """Whether a scan goes on with another, is part of one, or has workers: all see one set of columns."""
    wanted: LeakscanOptions = asked["wanted"]
    return wanted.resume or wanted.shard is not None or wanted.engine != "local"


@begins_again(unless=_looks_through)
def _scanned(
    train: Given, eval: Given | None, *, wanted: LeakscanOptions, progress: Progress, announce: Announce
) -> LeakReport:
    options, shard = wanted.scan, wanted.shard
    if wanted.near is not None:
        from lvmfast.encoding.measured import check_near

        check_near(wanted.near, options.threshold)
    if shard is not None:
        check_shard(*shard)
        if wanted.out is None:
            raise DataError("a shard needs a folder for what `lvmfast merge` reads")
    if shard is not None and wanted.decisions is not None:
        raise DataError("decisions: a shard has no verdict that they could change; give them to a whole scan")
    decisions = None
    if wanted.decisions is not None:
        from lvmfast.report.decisions import Decisions

        decisions = Decisions.read(wanted.decisions)
    machine = {**environment(options), "engine": wanted.engine}
    clock = Clock()
    with clock.phase("open"):
        splits = _opened(train, eval, wanted)
    _say_what_is_read(splits, announce)
    inputs = Inputs(splits, options.threads, _others(splits["train"].dataset, shard))
    if options.encoder is not None:
        by_engine = f"the engine {wanted.engine}" if wanted.engine != "local" else ""
        _check_embeds(options, "pieces" if shard else by_engine)
        with clock.phase("embed"):
            inputs.splits = _embedded(splits, options.encoder, progress, announce)
    datasets = {side: split.dataset for side, split in inputs.splits.items()}
    if wanted.near is not None:
        from lvmfast.encoding.measured import measured_threshold

        options = replace(options, threshold=measured_threshold(wanted.near, datasets.values(), announce))

    def record() -> RunRecord:
        columns = dict(wanted.columns or {})
        return RunRecord(inputs.described(), columns, machine, clock.seconds, tuple(inputs.leaked))

    journal = None if wanted.out is None else _journal(inputs, options, record, wanted.out, wanted)
    context = ScanContext(options, LOCAL, progress, clock, announce, journal)
    if on_ray(wanted.engine, wanted.ray_address):
        findings = _on_ray(datasets, context, wanted.ray_address)
    else:
        findings = _findings(datasets, context)
    records = "" if journal is None else journal.run
    if findings.part is not None:
        inputs.check_unchanged()
        return LeakReport(findings, options, record(), no_matches())
    with clock.phase("evidence"), context.resumable():
        stretches = overlaps(findings, datasets)
        evidence = matches(findings, datasets, stretches)
        judged: Side = "eval" if "eval" in datasets else "train"
        documents = matched_documents(findings, judged, datasets[judged])
    with clock.phase("hash"):  # what is left of it
        inputs.check_unchanged()
    decided = None
    if decisions is not None:
        from lvmfast.report.decisions import match_ids
        from lvmfast.report.reviewed import decided_table, groups_in, reviewed

        with clock.phase("review"):
            opened = {side: partial(datasets.__getitem__, side) for side in datasets}
            known = match_ids(evidence, inputs.described(), options.normalize).to_pylist()
            findings = reviewed(findings, known, decisions, options, groups_in(opened, options))
            decided = decided_table(evidence, known, decisions)
    run = replace(record(), records=records)
    return LeakReport(findings, options, run, evidence, stretches, documents, decided)


def _opened(train: Given, eval: Given | None, wanted: LeakscanOptions) -> dict[Side, OpenSplit]:
    """The sides, with the texts and ids that stand beside them."""
    train, eval = _ignoring(train, wanted.ignore), _ignoring(eval, wanted.ignore)
    payload, train_payload, eval_payload = (
        _ignoring(source, wanted.ignore)
        for source in (wanted.payload, wanted.train_payload, wanted.eval_payload)
    )
    if wanted.benchmarks:
        from lvmfast.corpus.benchmarks import named_benchmarks

        eval = named_benchmarks(wanted.benchmarks, beside=eval)
    beside = _beside(wanted, eval is not None)
    common = None
    if payload is not None:
        named = columns_of(wanted.columns, None)
        common = load_payload(payload, columns=named, allow_leaked=wanted.allow_leaked)
    splits: dict[Side, OpenSplit] = {
        "train": _open("train", train, train_payload, common, wanted, beside["train"])
    }
    if eval is not None:
        splits["eval"] = _open("eval", eval, eval_payload, common, wanted, beside["eval"])
    return splits


def _beside(wanted: LeakscanOptions, two_sided: bool) -> dict[Side, list[tuple[Beside, str]]]:
    """The files of ids and texts by position, by side."""
    given: dict[Side, list[tuple[Beside, str]]] = {"train": [], "eval": []}
    named: tuple[tuple[Beside, Mapping[Side, str]], ...] = (
        ("ids", wanted.ids or {}),
        ("texts", wanted.texts or {}),
    )
    for what, of_sides in named:
        for side, path in of_sides.items():
            if side not in given or (side == "eval" and not two_sided):
                raise DataError(f"{what}: {side}: there is no such side")
            if wanted.engine != "local":
                raise DataError(
                    f"{what}: {path}: the engine {wanted.engine} reads no columns by position; use --shard, "
                    f"or {IN_ONE_FILE}"
                )
            given[side].append((what, path))
    return given


def _say_what_is_read(splits: Mapping[Side, OpenSplit], announce: Announce) -> None:
    """Tells which fields are taken for text, where they are not the customary ones."""
    for side, dataset in ((side, split.dataset) for side, split in splits.items()):
        if dataset.coverage is not None or as_fingerprint(dataset) is not None:
            continue  # texts of a payload, or hashes
        of_texts = dict.fromkeys(file.fields["text"] for file in dataset.files if "text" in file.fields)
        if of_texts.keys() - CUSTOMARY:
            announce(f"{side}: the text of a row is {', '.join(of_texts)}")
        for note in dataset.notes:
            if NOTHING in note:
                announce(f"{side}: {note}")


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
        return _findings(datasets, replace(context, journal=Journal(folder(scratch), recorded=False)))


def _journal(
    inputs: Inputs,
    options: ScanOptions,
    record: Callable[[], RunRecord],
    out: str | PathLike[str],
    wanted: LeakscanOptions,
) -> Journal:
    """Where the scan keeps what it has done: what makes it the scan it is, and who is told."""
    splits, shard, resume = inputs.splits, wanted.shard, wanted.resume
    identity: Cut = {
        "version": __version__,
        "options": summarized_options(options, wanted.columns or {}),
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
        reason = f"{how_far}; the same command with --resume continues"
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
            f"{fingerprint.path}: a fingerprint holds no vectors, so the nearest cosines cannot be computed"
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


def _ignoring(source: Source, ignore: Sequence[str]) -> Source | Expansion:
    if not ignore or any(map(is_fingerprint, given_paths(source))):
        return source
    return expanded(source, ignore) or source


def _open(
    side: Side,
    split: Given,
    own: Given | Payload | None,
    common: Payload | None,
    wanted: LeakscanOptions,
    beside: Sequence[tuple[Beside, str]],
) -> OpenSplit:
    fingerprint = as_fingerprint(split)
    if (
        fingerprint is not None and not beside
    ):  # a payload for both sides is not meant for it, one of its own is refused
        return OpenSplit(load_split(fingerprint, payload=own), None)
    named, allow_leaked = columns_of(wanted.columns, side), wanted.allow_leaked
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
