"""`lvmfast train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.figures import figure_options, given
from lvmfast.cli.triage import show_triage
from lvmfast.cli.verdicts import show_verdicts, verdict_line
from lvmfast.exits import Answer
from lvmfast.report.progress import progress_display
from lvmfast.shown import counted, say
from lvmfast.training.config import TrainConfig
from lvmfast.training.history import read_run
from lvmfast.training.processes import FollowedInterrupt, is_first_process
from lvmfast.training.recipes import RECIPES
from lvmfast.training.run_folder import TrainedRun
from lvmfast.training.train import UNITS
from lvmfast.training.train import train as run_train


@app.command()
@exit_codes
@figure_options(TrainConfig, recipes=set().union(*RECIPES.values()))
def train(
    out: Annotated[
        Path, typer.Option(metavar="RUN", help="The run's folder: new or empty, or the one to resume.")
    ],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings from a TOML file, such as RUN/config.toml.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue where the run in --out stopped.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress and no line per epoch.")] = False,
    **figures: Any,
) -> Answer:
    """Train a next-vector model on splits proven clean. Exit 0: trained, 1: a leak, 2: bad input."""
    speaks = is_first_process()
    quiet = quiet or not speaks
    saw: list[Mapping[str, Any]] = []

    failed: set[str] = set()

    def started(run: Mapping[str, Any]) -> None:
        saw.append(run)
        if not quiet:
            _show_run(run)
            _show_failed_logs(run, failed)

    shown: list[int] = []

    def epoch_done(row: Mapping[str, Any]) -> None:
        if not quiet:
            _show_epoch(row, baselines=not shown)
            _show_failed_logs(saw[0], failed)
        shown.append(row["epoch"])

    try:
        with progress_display(quiet, UNITS) as progress:
            done = run_train(
                out=out,
                config=config,
                resume=resume,
                progress=progress,
                started=started,
                epoch_done=epoch_done,
                **given(figures),
            )
    except KeyboardInterrupt as stop:
        if not speaks:
            raise FollowedInterrupt from stop
        where = str(stop) if str(stop) else "before the first step" if not saw else "at once"
        raise KeyboardInterrupt(f"{where}; the same command with --resume continues") from None
    if not speaks:
        return Answer.YES if done.trained else Answer.NO
    _show_end(done)
    _show_missing_logs(done)
    stopped_by_gates = _show_gates(done, quiet)
    return Answer.YES if done.trained and not stopped_by_gates else Answer.NO


def _show_run(run: Mapping[str, Any]) -> None:
    form = f", {run['form']}" if run["form"] else ""
    say(
        f"{run['model']['model']}{form}, {run['parameters']:,} parameters, "
        f"on {run['device']}{_threads(run)} in {run['precision']}; "
        f"{counted(run['n_train'], 'sequence')} of {counted(run['train_documents'], 'document')}, "
        f"validated on {run['n_val']:,} of {counted(run['val_documents'], 'other')}"
    )
    scanned = ", ".join(level for level, status in run["scan"]["levels"].items() if status != "not_checkable")
    say(f"train against validation: {run['scan']['verdict']} ({scanned})")
    for note in run["notes"]:
        say(f"note: {note}")
    for name, log in run.get("logs", {}).items():
        if log["where"]:
            say(f"logged to {name}: {log['where']}")


def _threads(run: Mapping[str, Any]) -> str:
    return f" with {counted(run['threads'], 'thread')}" if run["device"] == "cpu" else ""


def _show_epoch(row: Mapping[str, Any], *, baselines: bool) -> None:
    if baselines:
        for name, found in row["baselines"].items():
            say(f"{name:>10}: {_figures(found)}")
    say(f"{'epoch ' + str(row['epoch']):>10}: {_figures(row)}, {_losses(row)}, {row['time']:.1f} s")


def _figures(row: Mapping[str, Any]) -> str:
    training = f" (training {row['train_r5']:.1f}%)" if "train_r5" in row else ""
    return f"R@5 {row['val_r5']:.1f}%{training}, MRR {row['val_mrr']:.3f}, cosine {row['val_cosine']:.3f}"


def _losses(row: Mapping[str, Any]) -> str:
    """Losses over different numbers of candidates are no pair: how far each is below chance is one."""
    if row["val_below_chance"] is None:
        return f"loss {row['val_loss']:.3f} (training {row['train_loss']:.3f})"
    val, training = (row[f"{side}_below_chance"] for side in ("val", "train"))
    side, other = ("below" if nats >= 0 else "above" for nats in (val, training))
    of_training = f"{abs(training):.2f}" if side == other else f"{abs(training):.2f} {other}"
    return f"{abs(val):.2f} nats {side} chance (training {of_training})"


def _beside_baselines(done: TrainedRun) -> str | None:
    """What a run says that did not begin as a baseline, where one is as good as its best epoch."""
    best = next((row for row in done.history if row["epoch"] == done.best_epoch), None)
    if best is None:
        return None
    as_good = {
        name: figures["val_mrr"]
        for name, figures in best.get("baselines", {}).items()
        if figures["val_mrr"] >= best["val_mrr"]
    }
    if not as_good:
        return None
    named = ", ".join(f"{mrr:.3f} of {name}" for name, mrr in as_good.items())
    mrr = f"{best['val_mrr']:.3f}"
    return f"The best epoch is no better than what needs no training: validation MRR {mrr}, {named}."


def _show_failed_logs(run: Mapping[str, Any], told: set[str]) -> None:
    """Says once of each logger that it failed."""
    for name, log in run.get("logs", {}).items():
        if log["failed"] and name not in told:
            told.add(name)
            say(f"note: {name} failed, and is tried again at the end of training: {log['failed']}")


def _show_missing_logs(done: TrainedRun) -> None:
    for name, log in done.run.get("logs", {}).items():
        if log["failed"]:
            missing = ", ".join(map(str, log["missing"]))
            epochs = f"lacks epochs {missing}" if missing else "does not know that the run ended"
            say(f"{name} {epochs}: {log['failed']}. --resume tries again; {done.path}/history.json is whole.")


def _show_gates(done: TrainedRun, quiet: bool) -> bool:
    """Prints what came of the gates, and the next commands where asked for; whether they ended the run."""
    if done.verdicts is None:
        return False
    run = read_run(done.path)
    if not quiet:
        show_verdicts(done.verdicts)
    say(verdict_line(done.verdicts, run))
    failed = done.verdicts.verdict == "failed"
    if failed and run.config["on_fail"] == "triage":
        show_triage(run)
    return failed and run.config["on_fail"] == "stop"


def _show_end(done: TrainedRun) -> None:
    if done.leak is not None:
        say(done.leak)
        say(
            f"Nothing was trained: validation was seen in training (see {done.path}/split/leakscan). "
            "--allow-leaked trains in spite of this and stamps the run."
        )
        return
    if said := done.conclusion or _beside_baselines(done):
        say(said)
    stopped = f" Stopped early: {done.stopped}." if done.stopped else ""
    say(f"Best epoch: {done.best_epoch}.{stopped} Run: {done.path}/")
    if done.leak_status != "clean":
        say("LEAKED: validation was seen in training, or quarantined files were read; no score counts.")
