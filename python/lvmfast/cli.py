"""The command line: parse, call, render, exit code. No arithmetic."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer
from rich.console import Console

from lvmfast import __version__
from lvmfast.api import leakscan as run_leakscan
from lvmfast.corpus.convert import convert_payload
from lvmfast.demo import build_demo
from lvmfast.errors import DataError, LvmfastError
from lvmfast.leaks.levels import LEVELS
from lvmfast.leaks.options import DEFAULT_MAX_PAIRS, DEFAULT_MIN_CHARS, DEFAULT_THRESHOLD
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.progress import progress_display
from lvmfast.report.sentences import closing_line, verdict_sentence
from lvmfast.report.summary import EXIT_CODES
from lvmfast.report.terminal import show
from lvmfast.report.write import prepare_directory

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

T = TypeVar("T")
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
        except KeyboardInterrupt:
            print("lvmfast: interrupted; nothing was written", file=sys.stderr)
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

Paths = list[str]
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


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


@app.command(context_settings={"allow_extra_args": True})  # a stray path is answered below, with a hint
@exit_codes
def leakscan(
    context: typer.Context,
    train: Annotated[
        Paths | None,
        typer.Option(metavar="PATH", help="Training file, folder or quoted glob. Repeat for many."),
    ] = None,
    eval: Annotated[
        Paths | None,
        typer.Option(
            metavar="PATH",
            help="Evaluation file, folder or quoted glob. Without it, duplicates inside --train.",
        ),
    ] = None,
    payload: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Texts by (doc_id, chunk_id), for both sides: parquet or jsonl."),
    ] = None,
    train_payload: Annotated[
        str | None, typer.Option(metavar="PATH", help="Texts for --train alone.")
    ] = None,
    eval_payload: Annotated[str | None, typer.Option(metavar="PATH", help="Texts for --eval alone.")] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="LEVELS", help=f"Some of {','.join(LEVELS)}. Default: all whose columns are there."
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Cosine from which two vectors match.")
    ] = DEFAULT_THRESHOLD,
    normalize: Annotated[
        str, typer.Option(help="How texts are made comparable: default, none, strict.")
    ] = "default",
    min_chars: Annotated[
        int, typer.Option(help="Shorter texts are unchecked, counted after normalisation.")
    ] = DEFAULT_MIN_CHARS,
    max_df: Annotated[
        int | None, typer.Option(help="Set texts apart that stand in more documents than this.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="LEVEL=RATE", help="Tolerated fraction of matched rows. Repeat for many."),
    ] = None,
    max_pairs: Annotated[
        int, typer.Option(help="Matches kept as evidence per level; counts are never cut.")
    ] = DEFAULT_MAX_PAIRS,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the summary and the tables.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary on stdout alone.")] = False,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FIELD", help="Read column NAME (doc_id, text, ...) from FIELD."),
    ] = None,
    threads: Annotated[int, typer.Option(help="0: one per available core.")] = 0,
    memory_limit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Refuse scans that need more, such as 4GiB.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress and no tables; the closing line stays.")] = False,
) -> None:
    """Find every evaluation row that was seen in training. Exit 0: clean, 1: leak, 2: bad input."""
    if context.args:
        raise DataError(
            f"unexpected {context.args[0]!r}: name its side with --train or --eval, once per path"
        )
    if not train:
        raise DataError("nothing to scan: --train PATH [--eval PATH] is missing")
    if out is not None:
        prepare_directory(out)
    with progress_display(quiet or as_json) as progress:
        report = run_leakscan(
            train,
            eval or None,
            payload=payload,
            train_payload=train_payload,
            eval_payload=eval_payload,
            levels=levels.split(",") if levels is not None else None,
            threshold=threshold,
            normalize=normalize,  # type: ignore[arg-type]
            min_chars=min_chars,
            max_df=max_df,
            allow=dict(_assignments("--allow", allow, _rate)),
            max_pairs=max_pairs,
            columns=dict(_assignments("--column", column, str)),
            threads=threads,
            memory_limit=None if memory_limit is None else _size(memory_limit),
            progress=progress,
        )
    if out is not None:
        report.save(out)
    _render(report, out, as_json=as_json, quiet=quiet)
    raise typer.Exit(EXIT_CODES[report.findings.verdict])


def _render(report: LeakReport, out: Path | None, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(report.summary, indent=2, ensure_ascii=False))
        return
    if not quiet:
        console = Console()
        show(report.findings, console)
        console.print(verdict_sentence(report.findings), highlight=False, markup=False, soft_wrap=True)
        if out is not None:
            files = f"Report: {out}/ summary.json, matches.parquet, matched_rows.parquet"
            console.print(files, highlight=False, markup=False, soft_wrap=True)
    print(closing_line(report.findings))


def _assignments(option: str, values: Iterable[str] | None, parse: Callable[[str], T]) -> list[tuple[str, T]]:
    pairs = []
    for value in values or ():
        name, equals, right = value.partition("=")
        if not (name and equals and right):
            raise DataError(f"{option}: expected NAME=VALUE, got {value!r}")
        pairs.append((name, parse(right)))
    return pairs


def _rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"--allow: expected a fraction such as 0.01, got {text!r}") from None


def _size(text: str) -> int:
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise DataError(f"--memory-limit: expected a size such as 4GiB or 500MB, got {text!r}")
    number, prefix, binary = match.groups()
    power = " kmgt".index(prefix.lower()) if prefix else 0
    return int(float(number) * (1024 if binary else 1000) ** power)


@app.command()
@exit_codes
def convert(
    old: Annotated[Path, typer.Argument(help="The .npy file with a pickled payload.")],
    new: Annotated[Path, typer.Argument(help="The parquet file to write.")],
) -> None:
    """Turn an old pickled payload into parquet. Only numpy arrays and plain containers are unpickled."""
    rows = convert_payload(old, new)
    print(f"{new}: {rows:,} rows")


@app.command()
@exit_codes
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the splits and the report.")] = Path(
        "lvmfast-demo"
    ),
) -> None:
    """Build two splits from Python's own documentation and scan them. Ends with exit code 1: they leak."""
    splits = build_demo(out)
    console = Console()
    console.print(splits.description, highlight=False, markup=False, soft_wrap=True)
    console.print(f"\n$ {splits.command}\n", highlight=False, markup=False, soft_wrap=True)
    with progress_display(quiet=False) as progress:
        report = run_leakscan(
            splits.train,
            splits.eval,
            train_payload=splits.train_payload,
            eval_payload=splits.eval_payload,
            progress=progress,
        )
    report.save(splits.report)
    _render(report, splits.report, as_json=False, quiet=False)
    console.print(splits.next_steps, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(EXIT_CODES[report.findings.verdict])


def main() -> None:
    """The entry point of the `lvmfast` command."""
    app()
