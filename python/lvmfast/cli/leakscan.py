"""`lvmfast leakscan`."""

from __future__ import annotations

from typing import Annotated

import typer

from lvmfast.api import leakscan as run_leakscan
from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.formats import Format, FormatOption, chosen_format
from lvmfast.cli.options import (
    BenchmarkNames,
    BenchmarkTable,
    DecisionsFile,
    EncoderName,
    EvalColumns,
    Ignore,
    Json,
    MemoryLimit,
    MinChars,
    NearName,
    Normalize,
    Quiet,
    RayAddress,
    Threads,
    Threshold,
    TrainColumns,
)
from lvmfast.cli.render import render
from lvmfast.cli.values import (
    assignments,
    behind,
    columns_of_sides,
    evaluation_side,
    of_sides,
    piece,
    rate,
    size,
)
from lvmfast.errors import DataError
from lvmfast.exits import Answer
from lvmfast.leaks.options import DEFAULT_MAX_PAIRS, DEFAULT_MIN_CHARS, DEFAULT_THRESHOLD
from lvmfast.leaks.rules import OWN, RULES
from lvmfast.levels import LEVELS
from lvmfast.report.progress import announcer, progress_display
from lvmfast.report.summary import EXIT_CODES
from lvmfast.report.write import prepare_directory
from lvmfast.stores import holds

Paths = list[str]
#: A comparison of vectors that takes longer than this is asked for twice.
LONG_SECONDS = 3600.0


@app.command(context_settings={"allow_extra_args": True})  # a stray path is answered below, with a hint
@exit_codes
@holds("out")
def leakscan(
    context: typer.Context,
    train: Annotated[
        Paths | None,
        typer.Option(
            metavar="PATH",
            help="Training file, folder, quoted glob, URI of one (s3://...), or fingerprint. Repeatable.",
        ),
    ] = None,
    eval: Annotated[
        Paths | None,
        typer.Option(
            metavar="PATH",
            help="Evaluation file, folder or quoted glob. Without it, duplicates inside --train are found.",
        ),
    ] = None,
    benchmark: BenchmarkNames = None,
    benchmark_table: BenchmarkTable = None,
    payload: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Texts by (doc_id, chunk_id), for both sides: parquet or jsonl."),
    ] = None,
    train_payload: Annotated[
        str | None, typer.Option(metavar="PATH", help="Texts for --train alone.")
    ] = None,
    eval_payload: Annotated[str | None, typer.Option(metavar="PATH", help="Texts for --eval alone.")] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="LEVELS", help=f"Some of {','.join(LEVELS)}. Default: all whose columns the data have."
        ),
    ] = None,
    threshold: Threshold = DEFAULT_THRESHOLD,
    near: NearName = None,
    normalize: Normalize = "default",
    min_chars: MinChars = DEFAULT_MIN_CHARS,
    max_df: Annotated[
        int | None,
        typer.Option(help="Texts in more documents than this count as boilerplate and not as a leak."),
    ] = None,
    overlap_rule: Annotated[
        str,
        typer.Option(
            metavar="RULE", help=f"What makes an evaluation text a leak at overlap: {', '.join(RULES)}."
        ),
    ] = OWN,
    overlap_short: Annotated[
        str,
        typer.Option(
            metavar="count|leak", help="Evaluation texts of under 8 words, found whole: count, or leak."
        ),
    ] = "count",
    join_chunks: Annotated[
        bool,
        typer.Option(
            "--join-chunks",
            help="Look for evaluation texts across training rows that are consecutive chunks of a document.",
        ),
    ] = False,
    encoder: EncoderName = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="LEVEL=RATE", help="Tolerated fraction of matched rows. Repeat for many."),
    ] = None,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Also find the nearest training vector of every eval row.")
    ] = False,
    max_pairs: Annotated[
        int, typer.Option(help="Matches kept as evidence per level; counts are never cut.")
    ] = DEFAULT_MAX_PAIRS,
    decisions: DecisionsFile = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder, or URI of one, for the summary and the tables.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Scan the I-th of N pieces of --train alone, for `lvmfast merge`."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a scan that was stopped, from what it left in --out.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(metavar="local|ray", help="Where the larger side is read: local, or ray for a cluster."),
    ] = "local",
    ray_address: RayAddress = None,
    as_json: Json = False,
    format: FormatOption = Format.text,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FIELD",
            help="Read column NAME (doc_id, text, ...; of eval: question, answer, ...) from FIELD.",
        ),
    ] = None,
    train_column: TrainColumns = None,
    eval_column: EvalColumns = None,
    train_ids: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Ids of --train by position: npy, txt (one a line), parquet, ..."),
    ] = None,
    eval_ids: Annotated[str | None, typer.Option(metavar="FILE", help="Ids of --eval by position.")] = None,
    train_texts: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Texts of --train by position: txt, jsonl, parquet, ..."),
    ] = None,
    eval_texts: Annotated[
        str | None, typer.Option(metavar="FILE", help="Texts of --eval by position.")
    ] = None,
    allow_leaked: Annotated[
        bool, typer.Option("--allow-leaked", help="Read quarantined files, and stamp the report LEAKED.")
    ] = False,
    ignore: Ignore = None,
    threads: Threads = 0,
    memory_limit: MemoryLimit = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE", help="Where vectors are compared: cpu, cuda, cuda:N. The answer is the same."
        ),
    ] = "cpu",
    yes: Annotated[
        bool, typer.Option("--yes", help="Run even if comparing the vectors will take more than an hour.")
    ] = False,
    quiet: Quiet = False,
) -> Answer:
    """Find eval rows that were seen in training. Exit 0: clean, 1: leak, 2: bad input, 3: undecided."""
    asked = chosen_format(format, as_json)
    silent = quiet or asked is not Format.text
    if context.args:
        raise DataError(
            f"unexpected {context.args[0]!r}: name its side with --train or --eval, once per path"
        )
    if not train:
        raise DataError("nothing to scan: --train PATH [--eval PATH] is missing")
    if shard is not None and asked.of_tools:
        raise DataError(
            f"--format {asked.value}: one piece of a scan has no answer; `lvmfast merge` gives it"
        )
    if out is None and (shard is not None or resume):
        raise DataError(f"{'--shard' if shard is not None else '--resume'} needs --out DIR")
    if out is not None:
        prepare_directory(out)
    with progress_display(silent) as progress:
        report = run_leakscan(
            behind(train, ignore),
            evaluation_side(eval, ignore, benchmark, benchmark_table),
            payload=behind(payload, ignore),
            train_payload=behind(train_payload, ignore),
            eval_payload=behind(eval_payload, ignore),
            levels=levels.split(",") if levels is not None else None,
            threshold=threshold,
            near=near,  # type: ignore[arg-type]
            normalize=normalize,  # type: ignore[arg-type]
            min_chars=min_chars,
            max_df=max_df,
            overlap_rule=overlap_rule,
            overlap_short=overlap_short,  # type: ignore[arg-type]
            join_chunks=join_chunks,
            encoder=encoder,
            allow=dict(assignments("--allow", allow, rate)),
            nearest=nearest,
            max_pairs=max_pairs,
            decisions=decisions,
            columns=columns_of_sides(column, train_column, eval_column),
            ids=of_sides(train_ids, eval_ids),
            texts=of_sides(train_texts, eval_texts),
            allow_leaked=allow_leaked,
            threads=threads,
            memory_limit=None if memory_limit is None else size(memory_limit),
            device=device,
            scratch=None if out is None else str(out),
            most_seconds=None if yes else LONG_SECONDS,
            out=out,
            resume=resume,
            engine=engine,  # type: ignore[arg-type]
            ray_address=ray_address,
            shard=None if shard is None else piece(shard),
            progress=progress,
            announce=announcer(silent),
        )
    if out is not None:
        report.save(out)
    render(report, out, format=asked, quiet=quiet)
    return Answer(EXIT_CODES[report.findings.verdict])
