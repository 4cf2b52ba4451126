"""In which format the answer of a command is printed."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from lvmfast.errors import DataError
from lvmfast.shown import say, say_json, say_text, tell

if TYPE_CHECKING:
    from lvmfast.report.checks import Checked


class Format(str, Enum):
    """What is printed on stdout."""

    text = "text"
    json = "json"
    github = "github"
    sarif = "sarif"
    junit = "junit"

    @property
    def of_tools(self) -> bool:
        """Whether it is read by tools that know nothing of lvmfast."""
        return self not in (Format.text, Format.json)


FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        help="What is printed: text, json, annotations for GitHub Actions, SARIF 2.1.0, or JUnit XML "
        "(docs/ci.md).",
    ),
]


def chosen_format(asked: Format, as_json: bool) -> Format:
    """The format that was asked for, ``--json`` being short for ``--format json``.

    Raises:
        DataError: two formats were asked for.
    """
    if as_json and asked.of_tools:
        raise DataError(f"--json and --format {asked.value}: an answer has one format; leave one of them out")
    return Format.json if as_json else asked


def say_checked(asked: Format, checked: Callable[[], Checked]) -> bool:
    """Prints what was checked in a format of other tools, if that is asked for; its line goes to stderr, too.

    Returns: whether it was printed.
    """
    if not asked.of_tools:
        return False
    found = checked()
    if asked is Format.github:
        from lvmfast.report.formats.github import github

        say(*github(found))
    elif asked is Format.sarif:
        from lvmfast.report.formats.sarif import sarif

        say_json(sarif(found))
    else:
        from lvmfast.report.formats.junit import junit

        say_text(junit(found))
    tell(found.line)
    return True
