"""Values of options are what typer makes of them, and most are made without pydantic."""

from __future__ import annotations

import os
import subprocess
import sys
from enum import Enum
from typing import Annotated, Any

import pytest
import typer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lvmfast.cli.conversion import converted
from lvmfast.cli.help import App


class Colour(str, Enum):
    """A choice."""

    red = "red"
    dark_blue = "dark-blue"


def taken(make: type[typer.Typer], *arguments: str) -> tuple[int, str, Any]:
    """What a command with an option of each type ends with, says and gets."""
    app, got = make(pretty_exceptions_enable=False, rich_markup_mode=None), []

    @app.command()
    def command(
        text: str | None = None,
        name: str = "x",
        count: int = 3,
        most: int | None = None,
        rate: float = 0.5,
        few: Annotated[int, typer.Option(min=2, max=8)] = 4,
        colour: Colour = Colour.red,
        colours: list[Colour] | None = None,
        names: list[str] | None = None,
        counts: list[int] | None = None,
        on: bool = False,
    ) -> None:
        got.append((text, name, count, most, rate, few, colour, colours, names, counts, on))

    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output, [[(type(each), each) for each in values] for values in got]


VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.text("0123456789+-._eE \u0663", max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["red", "RED", "dark-blue", "dark_blue", "true", "inf", "nan", "1_000", "1.0", "٣"]),
)
OPTIONS = ("text", "name", "count", "most", "rate", "few", "colour", "colours", "names", "counts")


@settings(deadline=None, max_examples=40)  # each starts two commands
@given(st.lists(st.tuples(st.sampled_from(OPTIONS), VALUES), max_size=4))
@example([])
@example([("counts", "1"), ("counts", "x")])
@example([("few", "9")])
def test_values_are_those_of_typer(given_options):
    arguments = [f"--{option}={value}" for option, value in given_options]
    assert taken(App, *arguments) == taken(typer.Typer, *arguments)


@pytest.mark.parametrize(
    ("value", "to"),
    [
        *[(value, int) for value in ("", "-1", "+1", "1_0", " 1", "1.0", "٣", "9" * 19, True)],
        *[(value, float) for value in ("inf", "nan", "1e5", ".5", "5.", 1)],
        *[("a", bool), ("red", object), ("Red", Colour), (["1", "x"], list[int]), ("1", list[int])],
    ],
)
def test_what_takes_more_than_a_look_is_left_to_typer(value, to):
    assert converted(value, to) is None


@pytest.mark.parametrize(
    "options",
    [
        *[["--threads", "1"], ["--threshold", "0.99"], ["--format", "json"], ["--levels", "text"]],
        *[["--config", "none.toml"], ["--allow", "text=0.1", "--allow", "doc=0.5"]],
    ],
)
def test_common_values_load_no_pydantic(options):
    before = options if options[0] == "--config" else []
    script = "import sys; from lvmfast.cli.app import run\ntry: run()\nexcept Exception as e: print(e)\n"
    script += "print('pydantic' in sys.modules)"
    arguments = [*before, "leakscan", *(options if not before else [])]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=dict(os.environ)
    )
    said, loaded = done.stdout.splitlines()[-2:]
    assert loaded == str(bool(before))  # a path is left to typer
    assert "is missing" in said or "none.toml" in said
