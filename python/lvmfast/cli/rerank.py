"""`lvmfast rerank`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.help import App
from lvmfast.cli.options import Ignore, Threads
from lvmfast.cli.values import behind
from lvmfast.exits import Answer
from lvmfast.shown import say
from lvmfast.stores import holds

commands = App(help="Fit and use rerankers of retrieved candidates.", no_args_is_help=True)
app.add_typer(commands, name="rerank")


@commands.command("fit")
@exit_codes
@holds("out", parents=False)
def fit(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the reranker goes.")],
    train: Annotated[
        str | None,
        typer.Argument(metavar="TRAIN", help="Training sequences, in any layout; else those of the run."),
    ] = None,
    payload: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Vectors by (doc_id, chunk_id) to retrieve from."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Who predicts: a run's folder, copy-last, mean, lag-mix or lag-mix-density.")
    ] = "copy-last",
    depth: Annotated[int, typer.Option(help="Candidates that are put in order.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the fit.")] = 0,
    threads: Threads = 0,
    ignore: Ignore = None,
    allow_leaked: Annotated[bool, typer.Option("--allow-leaked", help="Read a quarantined file.")] = False,
) -> Answer:
    """Fit a listwise reranker to training documents: similarities with the window, and density."""
    from lvmfast.evals.fit import fit_on
    from lvmfast.evals.rerank import save_reranker

    fitted = fit_on(
        behind(train, ignore),
        payload=behind(payload, ignore),
        model=model,
        depth=depth,
        seed=seed,
        threads=threads,
        allow_leaked=allow_leaked,
    )
    save_reranker(out, fitted.reranker)
    say(
        f"{out}: {fitted.reranker.parameters} parameters, fitted to {fitted.queries:,} windows of "
        f"{fitted.documents:,} documents"
    )
    say(
        f"On these documents R@5 goes from {fitted.before['R@5']:.1f}% to {fitted.after['R@5']:.1f}%, where "
        f"lag-mix-density has {fitted.beside['R@5']:.1f}%; what it is worth only unseen documents can show."
    )
    return Answer.YES
