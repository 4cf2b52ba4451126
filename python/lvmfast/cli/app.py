"""The application that every command hangs on when its module is imported, and what exit codes mean."""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer
from typer.core import TyperGroup

from lvmfast import __version__, _core
from lvmfast.cli.configuration import CONFIGURATION
from lvmfast.cli.conversion import converting_at_once
from lvmfast.cli.help import App
from lvmfast.errors import DataError
from lvmfast.exits import Answer, exit_code
from lvmfast.interrupts import INTERRUPTS
from lvmfast.shown import Display, say, show_progress, tell

#: The commands in the order of `lvmfast --help`, by group, each in the module of its name, with the first
#: sentence of its help: none of these modules is imported to list them.
GROUPS = {
    "Leaks": {
        "leakscan": "Find eval rows that were seen in training.",
        "benchmarks": "List the benchmarks that are known by name, and which are on this machine.",
        "merge": "Make one report of all parts of a scan.",
        "report": "Draw report.html again from a saved scan's summary.json and matches.parquet.",
        "review": "Decide in a browser which matches are real, boilerplate or unsure.",
        "impact": "Say what a leak was worth: scores on all, clean and leaked items.",
        "demo": "Build two splits from Python's own documentation and scan them.",
    },
    "Clean data": {
        "clean": "Write a side without the rows that leaked, and prove it.",
        "split": "Divide one dataset into train and eval that share nothing.",
        "verify": "Check a clean split again: files and scans.",
        "quarantine": "Move leaked evaluation files to where no one uses them by accident, "
        "and lvmfast refuses them.",
        "fingerprint": "Write what `leakscan --train FILE` needs, without the texts and vectors themselves.",
        "convert": "Turn pickled arrays and payloads into parquet.",
    },
    "Vectors of texts": {
        "embed": "Write a vector for the text of every row.",
        "threshold": "Measure which cosine means that two texts are the same, or say the same, "
        "for these sets and encoder.",
    },
    "Next-vector models": {
        "ingest": "Make fresh evaluation data from a Wikipedia dump: articles, chunks, embeddings and "
        "sequences.",
        "train": "Train a next-vector model on splits proven clean.",
        "eval": "Score models on unseen chunks.",
        "score": "Score hits that were made elsewhere: recall, MRR and nDCG with intervals over articles.",
        "export": "Write a run and a payload as vectors for any index of inner products or cosines.",
        "rerank": "Fit and use rerankers of retrieved candidates.",
        "claims": "Say which claims the evidence supports, which it refutes, and which are open.",
        "gate": "Judge an epoch of a run.",
        "monitor": "Follow a run until its gates are decided, and act once.",
        "triage": "Say what to try next after a failed gate: commands, with the evidence for each.",
        "plot": "Draw the curves of runs side by side, with their baselines and the gate.",
    },
}
COMMANDS = {name: about for group in GROUPS.values() for name, about in group.items()}

Command = TypeVar("Command", bound=Callable[..., Answer])


def exit_codes(command: Command) -> Command:
    """Runs `command` as one that can be interrupted, and that gives an answer."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> Answer:
        with INTERRUPTS.working():
            if INTERRUPTS.loading:  # until here, without the collector (`__main__`), which passes over it now
                gc.freeze()
                gc.enable()
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


class Commands(TyperGroup):
    """Imports the module of a command when it is asked for: one command does not wait for the others."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As of typer; values that need no library to be converted load none."""
        return converting_at_once(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        """All commands, in order."""
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes what each command is for, by group; none is loaded."""
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()), col_max=max(map(len, COMMANDS)))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The commands that begin so, with what each is for; none is loaded."""
        item = import_module(f"{_CLICK}.shell_completion").CompletionItem
        named = [name for name in COMMANDS if name.startswith(incomplete)]
        options = super(TyperGroup, self).shell_complete(ctx, incomplete)
        return [*(item(name, help=COMMANDS[name]) for name in named), *options]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command; where there is none of that name all are loaded, to suggest one that is like it."""
        self._load([cmd_name] if cmd_name in COMMANDS else COMMANDS)
        return super().get_command(ctx, cmd_name)

    def main(
        self, args: Sequence[str] | None = None, *_: Any, standalone_mode: bool = True, **__: Any
    ) -> Any:
        """What `app()` calls: runs the command, and ends as the process would, or returns the exit code."""
        code = exit_code(lambda: _answer(self, sys.argv[1:] if args is None else args))
        if standalone_mode:
            sys.exit(code)
        return code

    def _load(self, names: Iterable[str]) -> None:
        new = [name for name in names if name not in self.commands]
        for name in new:
            import_module(f"lvmfast.cli.{name}")
        if new:
            loaded = cast(TyperGroup, typer.main.get_command(app))
            self.commands = {name: loaded.commands[name] for name in COMMANDS if name in loaded.commands}


app = App(
    name="lvmfast",
    cls=Commands,
    help="Was my evaluation set seen in training? Exact leak scans over ids, texts and vectors.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def run() -> Answer:
    """The answer to `sys.argv`.

    Raises:
        BaseException: whatever keeps it from being given.
    """
    command: Any = typer.main.get_command(app)
    try:
        command._main_shell_completion({}, "lvmfast")  # for a shell that asks how a command line may go on
        return _answer(command, sys.argv[1:])
    except SystemExit as end:  # what typer does once it has said, or installed, what completes
        if end.code:
            raise
        return Answer.YES


#: ClickException, which typer brings with it or takes from click, and where it is from.
_ClickError: Any = typer.BadParameter.__mro__[2]
_CLICK = _ClickError.__module__.rpartition(".")[0]


def _answer(command: Any, arguments: Sequence[str]) -> Answer:
    for argument in arguments:
        if not argument.isascii() and any("\ud800" <= character <= "\udfff" for character in argument):
            raise DataError(f"{argument}: expected an argument in UTF-8; rename the file, or link to it")
    try:
        with command.make_context("lvmfast", list(arguments)) as context:
            answer: Answer = command.invoke(context)
            return answer
    except typer.Exit as end:
        if end.exit_code:
            raise
        return Answer.YES  # --help and --version
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except _ClickError as error:
        raise DataError(_usage(error)) from error


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    path = "lvmfast" if context is None else context.command_path
    if context is not None and error.message == context.get_help():  # no arguments at all
        tell(*error.message.split("\n"))
        return f"which command? `{path} COMMAND`, one of those above"
    found = " ".join(error.format_message().split()).rstrip(".")
    if getattr(error, "option_name", "") == "--config":
        found += "; a file of options goes before the command: `lvmfast --config FILE ...`"
    return f"{found}{CONFIGURATION.blamed(found)}; `{path} --help` lists the options"


def _version(asked: bool) -> None:
    if asked:
        say(f"lvmfast {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="LVMFAST_CONFIG",
            help="Options of commands, a table for each (docs/configuration.md). Default: lvmfast.toml, "
            "if it is there. The command line goes above it.",
        ),
    ] = None,
    progress: Annotated[
        Display,
        typer.Option(
            envvar="LVMFAST_PROGRESS",
            metavar="auto|rich|plain|none",
            help="How progress is shown on stderr: as bars (rich), as plain lines, or not at all (none); "
            "auto: bars on a terminal, lines elsewhere.",
        ),
    ] = Display.auto,
    version: Annotated[
        bool, typer.Option("--version", "-v", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    show_progress(progress)
    asked = context.invoked_subcommand
    command = None if asked is None else cast(TyperGroup, context.command).get_command(context, asked)
    if command is not None:
        context.default_map = CONFIGURATION.options(config, list(COMMANDS), asked, command)
