"""`lvmfast quarantine`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.help import App
from lvmfast.cli.options import Ignore
from lvmfast.corpus.quarantined import QUARANTINE, QuarantinedFile, Quarantines, leak_sentence
from lvmfast.errors import DataError
from lvmfast.exits import Answer
from lvmfast.shown import say
from lvmfast.splits.quarantine import quarantine as put_away
from lvmfast.splits.quarantine import quarantined, resume
from lvmfast.splits.quarantine import restore as put_back
from lvmfast.splits.stored_quarantine import QuarantinedObject, place_of_object
from lvmfast.stores import is_uri


class AddByDefault(TyperGroup):
    """`lvmfast quarantine EVAL ...` is `lvmfast quarantine add EVAL ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Names the command where none is named."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["add", *args]
        return super().parse_args(ctx, args)


commands = App(
    cls=AddByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    subcommand_metavar="EVAL... --report DIR | COMMAND ...",
    help="Move leaked evaluation files to where no one uses them by accident, and lvmfast refuses them.",
)
app.add_typer(commands, name="quarantine")


@contextmanager
def _moving() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("`lvmfast quarantine list` says what was moved") from None


@commands.command()
@exit_codes
def add(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EVAL", help="Evaluation file, folder, quoted glob or URI.", show_default=False
        ),
    ] = None,
    report: Annotated[
        str | None, typer.Option(metavar="DIR", help="The scan that found the leak (leakscan --out DIR).")
    ] = None,
    into: Annotated[
        str, typer.Option(metavar="DIR", help="The quarantine. A relative one lies beside each file.")
    ] = QUARANTINE,
    force: Annotated[bool, typer.Option("--force", help="Also files that the scan found clean.")] = False,
    ignore: Ignore = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish moves that a crash cut off, near EVAL or near here.")
    ] = False,
) -> Answer:
    """Move leaked files into quarantine. The default: `lvmfast quarantine EVAL... --report DIR`."""
    if resume:
        _resume(files or ["."], into)
        return Answer.YES
    if not files:
        raise DataError("nothing to quarantine: EVAL is missing")
    if report is None:
        raise DataError("--report DIR is missing: the scan that found the leak (leakscan --out DIR)")
    with _moving():
        done = put_away(files, report, into=into, force=force, ignore=ignore or ())
    for entry in done.moved:
        say(f"{entry.original} -> {entry.path}: {leak_sentence(entry)}")
    for path in done.clean:
        say(f"{path}: clean, stays")
    return Answer.YES


def _resume(near: Iterable[str], into: str) -> None:
    folders: dict[str, Path | str] = {into: into} if is_uri(into) else {}
    quarantines = Quarantines()
    for path in near:
        if is_uri(path):
            place = place_of_object(path, into)
            folders[place] = place
            continue
        beside = Path(path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path)))
        for folder in (beside / into, *quarantines.near(beside)):
            if folder.is_dir():
                folders.setdefault(os.path.realpath(folder), folder)
    with _moving():
        finished = [entry for folder in folders.values() for entry in resume(folder)]
    for entry in finished:
        here, there = entry.original, entry.path
        if entry.pending == "restore":
            here, there = there, here
        say(f"{here} -> {there}: {entry.pending} finished")
    if not finished:
        say("nothing to resume")


@commands.command()
@exit_codes
def restore(file: Annotated[str, typer.Argument(help="The quarantined file.")]) -> Answer:
    """Move a quarantined file back to its former place."""
    with _moving():
        place = put_back(file)
    say(f"{file} -> {place}")
    return Answer.YES


@commands.command(name="list")
@exit_codes
def list_files(
    folder: Annotated[str, typer.Argument(help="Whose quarantines: its own, and those above it.")] = ".",
) -> Answer:
    """List the quarantined files of a folder. lvmfast refuses them there, also under another name."""
    entries = quarantined(folder)
    for entry in entries:
        say(_line(entry))
    if not entries:
        say(f"nothing is quarantined for {folder}")
    return Answer.YES


def _line(entry: QuarantinedFile | QuarantinedObject) -> str:
    when = f"quarantined {entry.entry['quarantined_at']}, from {entry.original}"
    line = f"{entry.path}: {leak_sentence(entry)}; {when}"
    return f"{line}; its {entry.pending} was cut off: --resume" if entry.pending else line
