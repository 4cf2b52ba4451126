"""The application that every command hangs on when its module is imported, and what exit codes mean."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable
from functools import wraps
from importlib import import_module
from typing import Annotated, Any, TypeVar, cast

import typer
from typer.core import TyperGroup

from lvmfast import __version__, _core
from lvmfast.errors import DataError, IncompleteError, LvmfastError

#: The commands in the order of `lvmfast --help`, each in the module of its name.
COMMANDS = (
    "leakscan",
    "merge",
    "report",
    "quarantine",
    "clean",
    "split",
    "verify",
    "fingerprint",
    "ingest",
    "train",
    "eval",
    "claims",
    "gate",
    "monitor",
    "triage",
    "plot",
    "score",
    "rerank",
    "demo",
    "convert",
)

EXIT_BAD_INPUT = 2
EXIT_INCOMPLETE = 3
EXIT_INTERRUPTED = 130

Command = TypeVar("Command", bound=Callable[..., None])


def exit_codes(command: Command) -> Command:
    """Turns what `command` raises into one line on stderr and an exit code."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            _check_kernel()
            command(*args, **options)
        except typer.Exit:
            raise
        except IncompleteError as error:
            print(f"lvmfast: {error}", file=sys.stderr)
            raise typer.Exit(EXIT_INCOMPLETE) from error
        except LvmfastError as error:
            print(f"lvmfast: {error}", file=sys.stderr)
            raise typer.Exit(EXIT_BAD_INPUT) from error
        except KeyboardInterrupt as interrupt:  # with what is left to say, where something was written
            print(f"lvmfast: interrupted; {str(interrupt) or 'nothing was written'}", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except Exception as error:
            # Python's own exit code for a crash is 1, which would read as a leak.
            traceback.print_exc()
            print("lvmfast: a bug, not a verdict; please report the lines above", file=sys.stderr)
            raise typer.Exit(EXIT_BAD_INPUT) from error

    return cast(Command, run)


def _check_kernel() -> None:
    try:
        _core.kernel_name()
    except ValueError as error:  # the environment asks for one that this processor does not run
        raise DataError(str(error)) from error


class Commands(TyperGroup):
    """Imports the module of a command when it is asked for: one command does not wait for the others."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All commands, in order."""
        self._load(COMMANDS)
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command; where there is none of that name all are loaded, to suggest one that is like it."""
        self._load([cmd_name] if cmd_name in COMMANDS else COMMANDS)
        return super().get_command(ctx, cmd_name)

    def _load(self, names: Iterable[str]) -> None:
        new = [name for name in names if name not in self.commands]
        for name in new:
            import_module(f"lvmfast.cli.{name}")
        if new:
            loaded = cast(TyperGroup, typer.main.get_command(app))
            self.commands = {name: loaded.commands[name] for name in COMMANDS if name in loaded.commands}


app = typer.Typer(
    name="lvmfast",
    cls=Commands,
    help="Was my evaluation set seen in training? Exact leak scans over ids, texts and vectors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"lvmfast {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
