"""What other trainers write, as rows of epochs: which file it is, and what is in it.

- transformers: ``trainer_state.json``, of a run or of a checkpoint in it;
- Lightning: ``metrics.csv`` of its CSVLogger, and the csv files of others (Keras' CSVLogger);
- TensorBoard: event files, through its own package (extra ``tensorboard``);
- a list of epochs in JSON, or a line of JSON for each; a list for each figure, as Keras has it.
"""

from __future__ import annotations

import csv
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmfast.errors import DataError, missing_extra, naming
from lvmfast.parse import parse_json, read_json

TRAINER_STATE, METRICS, EVENTS = "trainer_state.json", "metrics.csv", "events.out.tfevents."
LINES = (".jsonl", ".ndjson")
#: A trainer that leaves out a last, smaller step ends an epoch a little before it is whole.
_NEARLY = 0.05

Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """Rows as a file has them, with what was made of them in words."""

    rows: list[Any]
    notes: tuple[str, ...] = ()


def find_history(folder: Path) -> tuple[Path, tuple[str, ...]] | None:
    """What another trainer left in `folder`, and what else is there; None where there is nothing.

    Raises:
        DataError: several runs lie there.
    """
    state = folder / TRAINER_STATE
    found = [state] if state.is_file() else _latest_checkpoint(folder)
    found += [folder / METRICS] if (folder / METRICS).is_file() else []
    found += [folder] if any(folder.glob(f"{EVENTS}*")) else []
    if found:
        others = [path.name if path != folder else f"{EVENTS}*" for path in found[1:]]
        notes = (f"read from {found[0]}; {' and '.join(others)} beside it was not read",) if others else ()
        return found[0], notes
    below = sorted(
        {path.parent for pattern in (METRICS, f"{EVENTS}*") for path in folder.glob(f"**/{pattern}")}
    )
    if len(below) > 1:
        names = ", ".join(str(path) for path in below[:5]) + (" and more" if below[5:] else "")
        raise DataError(f"{folder}: several runs lie there: name one of {names}")
    return find_history(below[0]) if below else None


def _latest_checkpoint(folder: Path) -> list[Path]:
    """The state of the last checkpoint that transformers kept; a run that goes on has none of its own."""
    states = [
        path for path in folder.glob(f"checkpoint-*/{TRAINER_STATE}") if path.parent.name[11:].isdigit()
    ]
    return [max(states, key=lambda path: int(path.parent.name[11:]))] if states else []


def read_rows(path: Path) -> Rows:
    """The rows of a history, by what its name and its beginning say.

    Raises:
        DataError: it cannot be read, or is none of what this module names.
    """
    if path.is_dir() or path.name.startswith(EVENTS):
        return _event_rows(path)
    if path.suffix.lower() == ".csv":
        return _csv_rows(path)
    if path.suffix.lower() in LINES:
        with naming(path, "cannot be read"):
            lines = path.read_text("utf-8", "surrogateescape").splitlines()
        return Rows(
            [parse_json(f"{path}: line {n}", line) for n, line in enumerate(lines, 1) if line.strip()]
        )
    content = read_json(path)
    if isinstance(content, list):
        return Rows(content)
    if isinstance(content, dict) and isinstance(content.get("log_history"), list):
        return _state_rows(path, content)
    if isinstance(content, dict) and content and all(isinstance(each, list) for each in content.values()):
        return _columns(path, content)
    found = (
        f"an object of {', '.join(map(str, list(content)[:6]))}" if isinstance(content, dict) else "no list"
    )
    raise DataError(
        f"{path}: expected a list of epochs, what transformers or Keras write of a run, or one object a line "
        f"(.jsonl), got {found or 'an empty object'}"
    )


def _columns(path: Path, columns: Mapping[str, list[Any]]) -> Rows:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{name} {len(values)}" for name, values in columns.items())
        raise DataError(f"{path}: expected as many values of each figure, got {told}")
    return Rows([dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)])


def _state_rows(path: Path, state: Mapping[str, Any]) -> Rows:
    entries = state["log_history"]
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not _is_number(entry.get("epoch")):
            raise DataError(
                f"{path}: log_history: {place}: expected an object with its epoch, got {entry!r:.60}"
            )
    # Before the first epoch nothing was learned; and the last entry has the loss of all epochs as one.
    entries = [entry for entry in entries if entry["epoch"] > 0 and "train_runtime" not in entry]
    reached = max([_whole(entry["epoch"]) for entry in entries], default=0.0)
    ended = _is_number(state.get("max_steps")) and state.get("global_step") == state["max_steps"]
    return _gathered(
        ((math.ceil(_whole(entry["epoch"])), entry) for entry in entries),
        last=math.ceil(reached) if ended else math.floor(reached),
    )


def _whole(epoch: float) -> float:
    return float(round(epoch)) if 0 < round(epoch) - epoch <= _NEARLY else float(epoch)


def _csv_rows(path: Path) -> Rows:
    with naming(path, "cannot be read"), open(path, encoding="utf-8-sig", newline="") as file:
        try:
            lines = list(csv.reader(file, strict=True))
        except (csv.Error, UnicodeError) as error:
            raise DataError(f"{path}: expected csv: {error}") from error
    if not lines or "epoch" not in lines[0]:
        found = ", ".join(lines[0][:8]) if lines else "nothing"
        raise DataError(f"{path}: expected a header with `epoch`, got {found}")
    header, rows = lines[0], list[tuple[int, Row]]()
    for number, cells in enumerate(lines[1:], 2):
        if not cells:
            continue
        if len(cells) != len(header):
            raise DataError(f"{path}: line {number}: expected {len(header)} cells, got {len(cells)}")
        row = {name: _value(cell) for name, cell in zip(header, cells, strict=True) if cell.strip()}
        epoch = row.get("epoch")
        if not isinstance(epoch, float) or not epoch.is_integer():
            raise DataError(f"{path}: line {number}: epoch: expected a whole number, got {epoch!r:.40}")
        rows.append((int(epoch), row))
    return _gathered(rows, last=_last_validated(rows))


def _last_validated(rows: Sequence[tuple[int, Row]]) -> int:
    """The last epoch that is over: one that was validated, where any was; else the last."""
    validated = [epoch for epoch, row in rows if any(_side(name)[0] == "val" for name in row)]
    last = max((epoch for epoch, _ in rows), default=0)
    return max(max(validated), last - 1) if validated else last


def _event_rows(path: Path) -> Rows:
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError as error:
        raise missing_extra(f"{path}: reading event files of TensorBoard", "tensorboard", error) from error
    read = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    try:
        read.Reload()
    except Exception as error:  # whatever its protocol makes of bytes that are none
        raise DataError(f"{path}: cannot be read by tensorboard: {' '.join(str(error).split())}") from error
    found: dict[str, dict[int, float]] = {}
    for tag in read.Tags()["scalars"]:
        found[tag] = {event.step: float(event.value) for event in read.Scalars(tag)}
    for tag in read.Tags()["tensors"]:  # TensorFlow's way to write a scalar
        values = {event.step: make_ndarray(event.tensor_proto) for event in read.Tensors(tag)}
        if all(value.size == 1 and value.dtype.kind in "fiu" for value in values.values()):
            found[tag] = {step: float(value.item()) for step, value in values.items()}
    if not found:
        raise DataError(f"{path}: no scalar in its event files")
    return _by_steps(path, found)


def _by_steps(path: Path, found: Mapping[str, Mapping[int, float]]) -> Rows:
    """Rows of scalars by step: a scalar `epoch` says to which epoch a step belongs, or steps are epochs."""
    clock = next((tag for tag in found if tag.split("/")[-1] == "epoch"), None)
    figures = {tag: values for tag, values in found.items() if tag != clock}
    if clock is None:
        steps = sorted({step for values in figures.values() for step in values})
        if steps != list(range(steps[0], steps[0] + len(steps))) or steps[0] > 1:
            raise DataError(
                f"{path}: no scalar `epoch` beside {', '.join(list(figures)[:6])}, and their "
                f"steps, {steps[0]} to {steps[-1]}, are no epochs: write one with each, "
                "add_scalar('epoch', epoch, step), or a list of {epoch, val_loss} to a json file"
            )
        rows = [
            (step, {tag: values[step] for tag, values in figures.items() if step in values}) for step in steps
        ]
        return Rows([{"epoch": step, **row} for step, row in rows], ("its steps are taken as epochs",))
    known = sorted(found[clock].items())
    fractions = any(not epoch.is_integer() for _, epoch in known)
    rows = []
    for tag, values in figures.items():
        for step, value in sorted(values.items()):
            epoch = known[min(bisect_left(known, (step, -math.inf)), len(known) - 1)][1]
            rows.append((math.ceil(_whole(epoch)) if fractions else int(epoch), {tag: value}))
    last = math.floor(_whole(known[-1][1])) if fractions else _last_validated(rows)
    return _gathered(rows, last=last)


def _gathered(rows: Iterable[tuple[int, Row]], last: int) -> Rows:
    """One row for each epoch up to `last`: of each figure the last value within the epoch."""
    epochs: dict[int, Row] = {}
    several: set[str] = set()
    for epoch, row in rows:
        of_epoch = epochs.setdefault(epoch, {})
        several |= {name for name in row if name in of_epoch and _side(name)[0] == "val"}
        of_epoch.update(row)
    notes = []
    if several:
        notes.append(f"several values of {', '.join(sorted(several))} within an epoch: the last one counts")
    if left := sorted(epoch for epoch in epochs if epoch > last):
        notes.append(f"epoch {', '.join(map(str, left))} is not over, and left out")
    return Rows(
        [{**row, "epoch": epoch} for epoch, row in sorted(epochs.items()) if epoch <= last], tuple(notes)
    )


#: What trainers call the figures that gates and curves know, by their parts.
_SIDES = {
    **dict.fromkeys(("val", "valid", "validation", "eval", "dev"), "val"),
    **dict.fromkeys(("train", "training"), "train"),
}
_OTHER_NAMES = {"loss": "train_loss", "learning_rate": "lr"}


def _side(name: str) -> tuple[str | None, list[str]]:
    """The side that a name speaks of, and its other parts."""
    parts = [part for part in re.split(r"[/_.\-\s]+", name.lower()) if part]
    side = next((_SIDES[part] for part in parts if part in _SIDES), None)
    return side, [part for part in parts if part not in _SIDES]


def usual_name(name: str) -> str:
    """The name that gates and curves have for a figure: ``val_loss`` of ``eval_loss`` and of ``loss/val``."""
    if name.lower() in _OTHER_NAMES:
        return _OTHER_NAMES[name.lower()]
    side, parts = _side(name)
    if side is None:
        return name
    if parts[-1:] == ["epoch"] and len(parts) > 1:  # Lightning's, of what was logged by steps, too
        parts = parts[:-1]
    return "_".join([side, *parts])


def with_usual_names(rows: Sequence[Row]) -> tuple[list[Row], dict[str, tuple[str, ...]]]:
    """Rows with each figure under its usual name, too; and names that several figures would have.

    A figure that has the name itself is meant by it, whatever others are called.
    """
    names: dict[str, None] = {name: None for row in rows for name, value in row.items() if _is_number(value)}
    meant: dict[str, list[str]] = {}
    for name in names:
        usual = usual_name(name)
        if usual != name and usual not in names:
            meant.setdefault(usual, []).append(name)
    ambiguous = {usual: tuple(of) for usual, of in meant.items() if len(of) > 1 and _differ(rows, of)}
    given = {usual: of for usual, of in meant.items() if usual not in ambiguous}
    return [{**_first_of(row, given), **row} for row in rows], ambiguous


def _first_of(row: Row, given: Mapping[str, Sequence[str]]) -> Row:
    there = {usual: [name for name in of if name in row] for usual, of in given.items()}
    return {usual: row[of[0]] for usual, of in there.items() if of}


def _differ(rows: Sequence[Row], names: Sequence[str]) -> bool:
    return any(len({repr(row[name]) for name in names if name in row}) > 1 for row in rows)


def _value(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
