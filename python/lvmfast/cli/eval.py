"""`lvmfast eval`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.evaluated import show_evaluation
from lvmfast.cli.options import Ignore, Quiet, Threads
from lvmfast.cli.values import assignments, behind
from lvmfast.errors import DataError, LeakError
from lvmfast.exits import Answer
from lvmfast.report.progress import progress_display
from lvmfast.shown import tell
from lvmfast.stores import holds


class Form(str, Enum):
    """How a Mamba block is computed."""

    kernels = "kernels"
    reference = "reference"


@app.command(name="eval")
@exit_codes
@holds("out")
def evaluate(
    eval_npz: Annotated[
        str, typer.Option(metavar="PATH", help="The evaluation set: doc_id, vector and context.")
    ],
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Further runs of --compare.", show_default=False),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="A run's folder, a checkpoint, or a baseline: copy-last, mean, lag-mix, lag-mix-density.",
        ),
    ] = None,
    payload: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Vectors by (doc_id, chunk_id): the candidates of the pool corpus."
        ),
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POOL", help="Candidates: eval (the default), corpus or same-doc. Repeat for many."
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN...", help="Compare with these runs; paired differences are shown."),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Training set or fingerprint, if the run has none of its own."),
    ] = None,
    domains: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Parquet with doc_id and domain, to see whether the set has other domains than training.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where models and searches run: cpu, cuda, cuda:N.")
    ] = "cpu",
    form: Annotated[
        Form | None,
        typer.Option(help="How Mamba blocks are computed. Default: as the checkpoint says."),
    ] = None,
    density: Annotated[
        float | None,
        typer.Option(
            metavar="W", help="Also rerank by cosine - W * density of the candidate; W is 1, for example."
        ),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(metavar="RERANKER", help="Also rerank with the file that `lvmfast rerank fit` wrote."),
    ] = None,
    gate_domains: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Also limit candidates to the query's domain: K clusters of --train (clusters:K), or "
            "a parquet table of domains.",
        ),
    ] = None,
    approximate: Annotated[
        str | None,
        typer.Option(
            metavar="FACTORY", help="Also retrieve through this FAISS index, such as IVF256,Flat or HNSW32."
        ),
    ] = None,
    gates: Annotated[
        str | None,
        typer.Option(
            metavar="SET", help="Gates that decide: minimum, target, production, stretch, honest, or a file."
        ),
    ] = None,
    max_p95: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            help="With --gates, also require that 95% of queries take at most so many milliseconds.",
        ),
    ] = None,
    phase: Annotated[
        int | None,
        typer.Option(
            help="1: judge only the difference of two runs (--compare AR CONTRASTIVE); 2: accept only a "
            "clean set."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write: new, or empty.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FIELD", help="Read column NAME (doc_id, vector, ...) from FIELD."),
    ] = None,
    allow_leaked: Annotated[
        bool, typer.Option("--allow-leaked", help="Score on a set that leaked, and stamp it LEAKED.")
    ] = False,
    ignore: Ignore = None,
    threads: Threads = 0,
    quiet: Quiet = False,
) -> Answer:
    """Score models on unseen chunks. Exit 0: passed, 1: failed or a leak, 2: bad input, 3: undecided."""
    from lvmfast.evals.evaluate import evaluate as run_evaluate
    from lvmfast.evals.write import check_place, write_evaluation

    if more and not compare:
        raise DataError(f"unexpected {more[0]!r}: runs to compare come behind --compare")
    if out is not None:
        check_place(out)
    try:
        with progress_display(quiet) as progress:
            evaluation = run_evaluate(
                checkpoint,
                behind(eval_npz, ignore),
                payload=behind(payload, ignore),
                pools=pool or ["eval"],
                compare=[*(compare or ()), *(more or ())],
                train=behind(train, ignore),
                domains=domains,
                density=density,
                rerank=rerank,
                gate_domains=gate_domains,
                approximate=approximate,
                gates=gates,
                max_p95=max_p95,
                phase=phase,
                device=device,
                form=None if form is None else form.value,
                columns=dict(assignments("--column", column, str)),
                allow_leaked=allow_leaked,
                threads=threads,
                progress=progress,
            )
    except LeakError as error:
        tell(f"lvmfast: {error}")
        return Answer.NO
    if out is not None:
        write_evaluation(out, evaluation)
    show_evaluation(evaluation, out, quiet=quiet)
    return Answer(evaluation.exit_code)
