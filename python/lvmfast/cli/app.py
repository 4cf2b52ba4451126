"""The application that every command hangs on, and what exit codes mean."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, TypeVar, cast

import typer

from lvmfast import __version__
from lvmfast.errors import LvmfastError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

Command = TypeVar("Command", bound=Callable[..., None])


def exit_codes(command: Command) -> Command:
    """Turns what `command` raises into one line on stderr and an exit code."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except typer.Exit:
            raise
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


app = typer.Typer(
    name="lvmfast",
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
