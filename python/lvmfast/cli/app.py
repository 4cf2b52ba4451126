"""The application that every command hangs on when its module is imported, and what exit codes mean."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import click

from lvmfast import __version__, _core
from lvmfast.cli import typed
from lvmfast.cli.configuration import CONFIGURATION
from lvmfast.errors import DataError
from lvmfast.exits import Answer, exit_code
from lvmfast.interrupts import INTERRUPTS
from lvmfast.shown import say, tell

#: The commands in the order of `lvmfast --help`, each in the module of its name, with the first sentence of
#: its help: none of these modules is imported to list them.
COMMANDS = {
    "leakscan": "Find eval rows that were seen in training.",
    "merge": "Make one report of all parts of a scan.",
    "report": "Draw report.html again from a saved scan's summary.json and matches.parquet.",
    "quarantine": "Move leaked evaluation files to where no one uses them by accident, "
    "and lvmfast refuses them.",
    "clean": "Write a side without the rows that leaked, and prove it.",
    "split": "Divide one dataset into train and eval that share nothing.",
    "verify": "Check a clean split again: files and scans.",
    "fingerprint": "Write what `leakscan --train FILE` needs, without the texts and vectors themselves.",
    "embed": "Write a vector for the text of every row.",
    "threshold": "Measure from which cosine on texts are the same, or say the same, "
    "for these sets and their encoder.",
    "ingest": "Fresh evaluation data: a Wikipedia dump becomes articles, chunks, embeddings and sequences.",
    "train": "Train a next-vector model on splits proven clean.",
    "eval": "Score models on unseen chunks.",
    "claims": "Say what the evidence supports, what it forbids, and what waits.",
    "gate": "Judge an epoch of a run.",
    "monitor": "Follow a run until its gates are decided, and act once.",
    "triage": "What to try next after a failed gate: commands, with the evidence for each.",
    "plot": "Draw the curves of runs side by side, with their baselines and the gate.",
    "score": "Score hits that were made elsewhere: recall, MRR and nDCG with intervals over articles.",
    "rerank": "Rerankers of retrieved candidates.",
    "demo": "Build two splits from Python's own documentation and scan them.",
    "convert": "Turn pickled arrays and payloads into parquet.",
}

Command = TypeVar("Command", bound=Callable[..., Answer])


def exit_codes(command: Command) -> Command:
    """Runs `command` as one that can be interrupted, and that gives an answer."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> Answer:
        with INTERRUPTS.working():
            CONFIGURATION.tell()
            _check_kernel()
            _check_numbers(options)
            return command(*args, **options)

    return cast(Command, run)


def _check_numbers(options: Mapping[str, object]) -> None:
    """Numbers that no figure can be, and that what they are given to would overflow on."""
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise DataError(
                f"{option}: expected a whole number that 64 bits hold, got {len(str(abs(value)))} digits"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise DataError(f"{option}: expected a finite number, got {value}")


def _check_kernel() -> None:
    try:
        _core.kernel_name()
    except ValueError as error:  # the environment asks for one that this processor does not run
        raise DataError(str(error)) from error


class Commands(typed.Group):
    """Imports the module of a command when it is asked for: one command does not wait for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command; where there is none of that name all are loaded, to suggest one that is like it."""
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            import_module(f"lvmfast.cli.{name}")
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what all commands are for, of which none is imported."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(
        self, args: Sequence[str] | None = None, *_: Any, standalone_mode: bool = True, **__: Any
    ) -> Any:
        """What `app()` calls: runs the command, and ends as the process would, or returns the exit code."""
        code = exit_code(lambda: _answer(sys.argv[1:] if args is None else args))
        if standalone_mode:
            sys.exit(code)
        return code


def _version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        say(f"lvmfast {__version__}")
        raise click.exceptions.Exit


def _common(
    config: Annotated[
        Path | None,
        typed.Option(
            metavar="FILE",
            help="Options of commands, a table for each (docs/configuration.md). Default: lvmfast.toml, "
            "if it is there. The command line goes above it.",
        ),
    ] = None,
    version: Annotated[
        bool, typed.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context = click.get_current_context()
    asked = context.invoked_subcommand
    command = None if asked is None else app.get_command(context, asked)
    if command is not None:
        context.default_map = CONFIGURATION.options(config, list(COMMANDS), asked, command)


app = Commands(
    "lvmfast",
    callback=_common,
    params=typed.parameters(_common),
    help="Was my evaluation set seen in training? Exact leak scans over ids, texts and vectors.",
)


def run() -> Answer:
    """The answer to `sys.argv`.

    Raises:
        BaseException: whatever keeps it from being given.
    """
    return _answer(sys.argv[1:])


def _answer(arguments: Sequence[str]) -> Answer:
    for argument in arguments:
        if not argument.isascii() and any("\ud800" <= character <= "\udfff" for character in argument):
            raise DataError(f"{argument}: expected an argument in UTF-8; rename the file, or link to it")
    try:
        with app.make_context("lvmfast", list(arguments)) as context:
            answer: Answer = app.invoke(context)
            return answer
    except click.exceptions.Exit as end:
        if end.exit_code:
            raise
        return Answer.YES  # --help and --version
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        raise DataError(_usage(error)) from error


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = "lvmfast" if context is None else context.command_path
    if context is not None and error.message == context.get_help():  # no arguments at all
        tell(*error.message.split("\n"))
        return f"which command? `{path} COMMAND`, one of those above"
    found = " ".join(error.format_message().split()).rstrip(".")
    if getattr(error, "option_name", "") == "--config":
        found += "; a file of options goes before the command: `lvmfast --config FILE ...`"
    return f"{found}{CONFIGURATION.blamed(found)}; `{path} --help` says what there is"
