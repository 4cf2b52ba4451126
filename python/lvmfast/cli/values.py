"""Values of options that typer does not parse itself, and the one file that an option may name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from lvmfast.corpus.codecs import is_fingerprint
from lvmfast.corpus.paths import Expansion, expand
from lvmfast.corpus.sides import Side
from lvmfast.durable import write_text
from lvmfast.errors import DataError, naming
from lvmfast.shown import tell

T = TypeVar("T")
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def behind(paths: str | Iterable[str] | None, ignore: Iterable[str] | None) -> Any:
    """The files behind paths, as a source to read, once it is told what was passed over; None for no path.

    Raises:
        DataError: as `expand`.
    """
    given = [paths] if isinstance(paths, str) else list(paths or ())
    if not given or any(map(is_fingerprint, given)):
        return paths or None
    expansion = expand(given, list(ignore or ()))
    tell(*expansion.notes)
    return expansion


def evaluation_side(
    paths: Iterable[str] | None,
    ignore: Iterable[str] | None,
    benchmarks: Iterable[str] | None,
    table: str | None,
) -> Any:
    """As `behind`, with benchmarks by name behind it.

    Raises:
        DataError: as `expand`, `listed` and `named_benchmarks`, or there is a table and no name.
    """
    side, names = behind(paths, ignore), listed("--benchmark", benchmarks)
    if names:
        from lvmfast.corpus.benchmarks import named_benchmarks

        told = len(side.notes) if isinstance(side, Expansion) else 0
        side = named_benchmarks(names, beside=side, table=table)
        tell(*side.notes[told:])
    elif table is not None:
        raise DataError(f"{table}: --benchmark says which of its benchmarks to read; none is given")
    return side


def listed(option: str, values: Iterable[str] | None) -> list[str]:
    """The names of an option that takes several, with commas between them, and can be repeated.

    Raises:
        DataError: one is empty, as a variable of the shell may be that is not set.
    """
    names = [name.strip() for value in values or () for name in value.split(",")]
    if not all(names):
        raise DataError(f"{option}: expected names, with commas between them, got an empty one")
    return names


def assignments(option: str, values: Iterable[str] | None, parse: Callable[[str], T]) -> list[tuple[str, T]]:
    """The pairs of a repeated `NAME=VALUE` option.

    Raises:
        DataError: one has no name or no value.
    """
    pairs = []
    for value in values or ():
        name, equals, right = value.partition("=")
        if not (name and equals and right):
            raise DataError(f"{option}: expected NAME=VALUE, got {value!r}")
        pairs.append((name, parse(right)))
    return pairs


def columns_of_sides(
    both: Iterable[str] | None, train: Iterable[str] | None, eval: Iterable[str] | None
) -> dict[str, str | dict[str, str]]:
    """The columns of `--column`, `--train-column` and `--eval-column`, as `leakscan` takes them."""
    columns: dict[str, str | dict[str, str]] = dict(assignments("--column", both, str))
    if train:
        columns["train"] = dict(assignments("--train-column", train, str))
    if eval:
        columns["eval"] = dict(assignments("--eval-column", eval, str))
    return columns


def of_sides(train: str | None, eval: str | None) -> dict[Side, str]:
    """What was given of each side that something was given of."""
    given: dict[Side, str | None] = {"train": train, "eval": eval}
    return {side: path for side, path in given.items() if path is not None}


def rate(text: str) -> float:
    """A fraction of `--allow`."""
    try:
        return float(text)
    except ValueError:
        raise DataError(f"--allow: expected a fraction such as 0.01, got {text!r}") from None


def size(text: str) -> int:
    """The bytes of a size such as 4GiB or 500MB."""
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise DataError(f"--memory-limit: expected a size such as 4GiB or 500MB, got {text!r}")
    number, prefix, binary = match.groups()
    power = " kmgt".index(prefix.lower()) if prefix else 0
    found = float(number) * (1024 if binary else 1000) ** power
    if found >= 2**63:
        raise DataError(f"--memory-limit: expected fewer than 2^63 bytes, got {text!r:.60}")
    return int(found)


def piece(text: str) -> tuple[int, int]:
    """The numbers of a shard such as 3/64."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
    if match is None:
        raise DataError(f"--shard: expected I/N such as 3/64, got {text!r}")
    return int(match[1]), int(match[2])


def write_result(path: Path, text: str) -> None:
    """Writes what a command also prints.

    Raises:
        DataError: it cannot be written; what stood there still does.
    """
    with naming(path, "cannot be written"):
        write_text(path, text)
