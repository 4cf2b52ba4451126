"""`lvmfast split`."""

from __future__ import annotations

from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.certified import show_split
from lvmfast.cli.options import (
    Columns,
    EncoderName,
    Ignore,
    Json,
    MemoryLimit,
    NearName,
    NewFolder,
    Normalize,
    Quiet,
    Texts,
    Threads,
    Threshold,
)
from lvmfast.cli.values import assignments, behind, size
from lvmfast.exits import Answer
from lvmfast.leaks.options import DEFAULT_MIN_CHARS, DEFAULT_THRESHOLD
from lvmfast.report.progress import announcer, progress_display
from lvmfast.splits.divide import DEFAULT_MIN_CHUNKS
from lvmfast.splits.split import DOC_ID
from lvmfast.splits.split import split as run_split
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out")
def split(
    data: Annotated[list[str], typer.Argument(help="File, folder or quoted glob; all of one format.")],
    out: NewFolder,
    by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Column or field that says which rows belong together. Without it and without "
            "doc_id, each row is a document.",
        ),
    ] = DOC_ID,
    eval_docs: Annotated[int | None, typer.Option(help="Documents to hold out for evaluation.")] = None,
    eval_fraction: Annotated[
        float | None, typer.Option(help="Or the fraction of documents to hold out.")
    ] = None,
    val_docs: Annotated[
        int | None, typer.Option(help="Documents to hold out for validation, a third side.")
    ] = None,
    val_fraction: Annotated[
        float | None, typer.Option(help="Or the fraction of documents for validation.")
    ] = None,
    min_chunks_per_doc: Annotated[
        int | None,
        typer.Option(
            help="Documents with fewer rows are not held out. "
            f"Default: {DEFAULT_MIN_CHUNKS}, or 1 where rows are documents."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the random division: another seed gives another split.")
    ] = 0,
    payload: Texts = None,
    threshold: Threshold = DEFAULT_THRESHOLD,
    near: NearName = None,
    normalize: Normalize = "default",
    min_chars: Annotated[
        int, typer.Option(help="Texts with fewer characters after normalisation are not compared.")
    ] = DEFAULT_MIN_CHARS,
    encoder: EncoderName = None,
    column: Columns = None,
    ignore: Ignore = None,
    threads: Threads = 0,
    memory_limit: MemoryLimit = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> Answer:
    """Divide one dataset into train and eval that share nothing. Exit 0: proven clean, 2: bad input."""
    with progress_display(quiet or as_json) as progress:
        result = run_split(
            behind(data, ignore),
            out=out,
            by=by,
            eval_docs=eval_docs,
            eval_fraction=eval_fraction,
            val_docs=val_docs,
            val_fraction=val_fraction,
            min_chunks_per_doc=min_chunks_per_doc,
            seed=seed,
            payload=behind(payload, ignore),
            threshold=threshold,
            near=near,  # type: ignore[arg-type]
            normalize=normalize,  # type: ignore[arg-type]
            min_chars=min_chars,
            encoder=encoder,
            columns=dict(assignments("--column", column, str)),
            threads=threads,
            memory_limit=None if memory_limit is None else size(memory_limit),
            progress=progress,
            announce=announcer(quiet or as_json),
        )
    show_split(result, as_json=as_json, quiet=quiet)
    return Answer.YES if result.passed else Answer.NO
