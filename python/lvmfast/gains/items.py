"""The items of a scanned set: which leaked, how much of each stands in training, what goes together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from os import PathLike, fspath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lvmfast.corpus.columns import columns_of
from lvmfast.corpus.dataset import Column, Dataset
from lvmfast.corpus.expressions import Expression, made_of
from lvmfast.corpus.load import load_split
from lvmfast.corpus.looks import LackingError
from lvmfast.corpus.paths import expand
from lvmfast.corpus.sides import Side
from lvmfast.errors import DataError
from lvmfast.gains.figures import Mask, Numbers, Values
from lvmfast.gains.readers import IDS
from lvmfast.report.decisions import Decisions
from lvmfast.report.reviewed import SavedReview, groups_in, review_saved
from lvmfast.report.saved import SavedScan, ScannedFile
from lvmfast.report.sentences import no_match_sentence
from lvmfast.report.summary import options_of
from lvmfast.splits.components import Components
from lvmfast.stores import Identity

#: What of `items.parquet` is a coverage.
COVERAGES = ("coverage", "coverage_anywhere")


@dataclass(frozen=True)
class Items:
    """Every row of the evaluation side of a scan, in order; n in all.

    Attributes:
        files: the evaluation files.
        starts: (files + 1,) the item at which each begins, and n.
        levels: which items matched at each level that found any.
        undecided: items that a fingerprint leaves undecided.
        coverage: the columns of `COVERAGES`, NaN where null; without them where overlap was not scanned.
        texts: the text of each item, None where it is not known.
        ids: the ids of each item by what they were read from; None where it has none.
        clusters: (n,) the number of each item's cluster.
        expressions: what texts were read from, by its words.
        notes: what is not known, and why.
        review: what decisions changed, where they were given.
    """

    files: tuple[str, ...]
    starts: Numbers
    levels: Mapping[str, Mask]
    undecided: Mask
    coverage: Mapping[str, Values]
    texts: Sequence[str | None]
    ids: Mapping[str, Sequence[str | None]]
    clusters: Numbers
    expressions: Mapping[str, Expression]
    notes: tuple[str, ...]
    review: SavedReview | None = None

    def __len__(self) -> int:
        """How many there are."""
        return int(self.starts[-1])

    @property
    def leaked(self) -> Mask:
        """Which items matched at any level."""
        return _any(self.levels, len(self))

    @property
    def set_aside(self) -> Mask:
        """Which items matched, and are clean because a review set aside all that they matched by."""
        found = np.zeros(len(self), np.bool_)
        for rows in () if self.review is None else self.review.aside.values():
            found[rows] = True
        return found & ~self.leaked

    @property
    def file(self) -> Numbers:
        """(n,) the number of each item's file."""
        return np.repeat(np.arange(len(self.files)), np.diff(self.starts))

    @property
    def row(self) -> Numbers:
        """(n,) the row of each item in its file."""
        return np.arange(len(self)) - self.starts[self.file]

    def name(self, item: int) -> str:
        """An item for messages."""
        file = int(self.file[item])
        return f"{self.files[file]}: row {item - int(self.starts[file])}"


@dataclass
class _Read:
    """What was read of the evaluation files themselves."""

    texts: list[str | None]
    ids: dict[str, list[str | None]] = field(default_factory=dict)
    expressions: dict[str, Expression] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)  #: of the files that are at hand, in order


def scanned_items(
    scan: SavedScan, eval: Sequence[str | PathLike[str]] = (), decisions: Decisions | None = None
) -> Items:
    """The items of a saved scan.

    Args:
        scan: with an evaluation side.
        decisions: an item that matches by boilerplate alone is none that leaked.
        eval: the evaluation files, where they lie elsewhere than when they were scanned.

    Raises:
        DataError: the scan has one side, or is not whole; a table of it is broken; or files of `eval` are not
            what it scanned.
    """
    files = scan.files("eval")
    if not files:
        raise DataError(f"{scan.name}: a scan inside one set: there are no items that a model is scored on")
    if scan.summary["verdict"] == "incomplete" and scan.undecided is None:
        scan.require_complete()
    starts: Numbers = np.cumsum([0, *(file.rows for file in files)]).astype(np.int64)
    places = {file.name: int(start) for file, start in zip(files, starts[:-1], strict=True)}
    read = _read(scan, files, starts, eval)
    of_levels = scan.matched_rows.filter(pc.equal(scan.matched_rows["side"], "eval"))
    levels = {}
    for level in scan.summary["levels"]:
        rows = of_levels.filter(pc.equal(of_levels["level"], level))
        if len(rows):
            levels[level] = _marked(scan, rows["file"], rows["row"], places, int(starts[-1]))
    review = None
    if decisions is not None:
        opened: dict[Side, Callable[[], Dataset]] = {}
        if len(read.paths) == len(files):
            opened["eval"] = partial(_all_opened, scan, read.paths)
        groups = groups_in(opened, options_of(scan.summary["options"]))
        review = review_saved(scan, decisions, "eval", groups)
        for level, rows in review.aside.items():
            levels[level][rows] = False
        levels = {level: mask for level, mask in levels.items() if mask.any()}
        read.notes += review_notes(scan, review)
    elif scan.summary.get("review") is not None:
        read.notes.append(
            f"{scan.name}: people decided on matches of this scan; without --decisions all matches count"
        )
    undecided = np.zeros(starts[-1], np.bool_)
    if scan.undecided is not None:
        found = scan.undecided
        undecided = _marked(scan, found["file"], found["row"], places, int(starts[-1]))
        undecided &= ~_any(levels, int(starts[-1]))
    coverage = {}
    if scan.items is None:
        read.notes.append(
            f"{scan.name}: no items.parquet, as overlap was not scanned there or by an older version: "
            "nothing is said by strength of the match, and no threshold is swept"
        )
    else:
        order = _numbers(scan, scan.items["eval_file"], scan.items["eval_row"], places, int(starts[-1]))
        for name in COVERAGES:
            coverage[name] = np.full(starts[-1], np.nan)
            coverage[name][order] = scan.items[name].to_numpy()
    clusters = _clusters(scan, read, places, int(starts[-1]))
    for level, found in scan.summary["levels"].items():
        kept, matches = found["evidence"]["kept"], found["evidence"]["found"]
        if kept < matches:
            read.notes.append(
                f"{level}: the scan kept {kept:,} of {matches:,} matches: items that share a training "
                "document through the others alone count as apart"
            )
        unchecked = found.get("eval_rows_unchecked")
        if unchecked:
            read.notes.append(
                f"{level}: {unchecked:,} items were unchecked there, and are clean as far as it goes"
            )
    return Items(
        tuple(file.name for file in files),
        starts,
        levels,
        undecided,
        coverage,
        read.texts,
        read.ids,
        clusters,
        read.expressions,
        tuple(read.notes),
        review,
    )


def review_notes(scan: SavedScan, review: SavedReview) -> Iterator[str]:
    """What decisions changed of the items of a scan, and what they did not."""
    for level, rows in review.aside.items():
        yield f"{level}: {len(rows):,} items that match there were set aside by review, and count as clean"
    for level, why in review.stays.items():
        yield f"{level}: matches that are boilerplate set no item aside: {why}"
    if review.strange:
        yield f"{scan.name}: {no_match_sentence(review.strange)}"


def _numbers(
    scan: SavedScan, files: pa.ChunkedArray, rows: pa.ChunkedArray, places: Mapping[str, int], items: int
) -> Numbers:
    """The items that rows of files are."""
    encoded = files.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    try:
        starts = np.array([places[name] for name in encoded.dictionary.to_pylist()], np.int64)
    except KeyError as error:
        raise DataError(f"{scan.name}: a table names {error}, which is no file of the summary") from error
    numbers: Numbers = starts[encoded.indices.to_numpy()] + rows.to_numpy()
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < items:
        raise DataError(f"{scan.name}: a table names a row that is past the end of its file")
    return numbers


def _any(masks: Mapping[str, Mask], items: int) -> Mask:
    """The items that any mask has."""
    found: Mask = np.any([np.zeros(items, np.bool_), *masks.values()], axis=0)
    return found


def _marked(
    scan: SavedScan, files: pa.ChunkedArray, rows: pa.ChunkedArray, places: Mapping[str, int], items: int
) -> Mask:
    mask = np.zeros(items, np.bool_)
    mask[_numbers(scan, files, rows, places, items)] = True
    return mask


def _clusters(scan: SavedScan, read: _Read, places: Mapping[str, int], items: int) -> Numbers:
    """Items that stand together: of one document, of one text, or matched by one training document.

    A document of the evaluation side is a doc_id in one file; a training document is a doc_id, or a row
    without one, in one file, as the kept evidence has it. Whatever stands together with the same item does.
    """
    components = Components(items)
    evidence = scan.matches.filter(pc.is_valid(scan.matches["train_row"]))
    order = _numbers(scan, evidence["eval_file"], evidence["eval_row"], places, items)
    together: dict[Any, list[int]] = {}
    keys = (evidence[name].to_pylist() for name in ("train_file", "train_doc_id", "train_row"))
    for item, file, document, row in zip(order.tolist(), *keys, strict=True):
        together.setdefault((file, row if document is None else document), []).append(item)
    ends = [*places.values(), items]
    for start, end in pairwise(ends):
        for item, id_ in enumerate(read.ids.get("doc_id", ())[start:end], start):
            if id_ is not None:
                together.setdefault((start, "doc_id", id_), []).append(item)
    for item, text in enumerate(read.texts):
        if text:
            together.setdefault(("text", text), []).append(item)
    groups = [group for group in together.values() if len(group) > 1]
    if groups:
        first = np.repeat([group[0] for group in groups], [len(group) for group in groups])
        components.join(
            first.astype(np.int64), np.concatenate([np.array(group, np.int64) for group in groups])
        )
    return components.roots()


def _read(scan: SavedScan, files: Sequence[ScannedFile], starts: Numbers, eval: Sequence[Any]) -> _Read:
    """Texts and ids of the items, as far as the files that were scanned are at hand."""
    read = _Read([None] * int(starts[-1]))
    at_hand: dict[int, str] = {}
    if eval:
        paths = expand([fspath(path) for path in eval]).files
        for path, file in zip(paths, scan.check_inputs("eval", paths), strict=True):
            at_hand[files.index(file)] = path
    stated = scan.summary["inputs"]["eval"]["files"]
    for place, file in enumerate(files):
        try:
            path = at_hand.get(place) or _unchanged(file)
            columns = {
                column: path_
                for column, path_ in dict(stated[place]["fields"]).items()
                if column in ("doc_id", "chunk_id", "text")
            }
            _add(read, path, columns, slice(int(starts[place]), int(starts[place + 1])))
            read.paths.append(path)
        except DataError as error:
            read.notes.append(
                f"{error}; its texts and ids are not known, and scores join by row alone "
                "(--eval says where it is)"
            )
    return read


def _unchanged(file: ScannedFile) -> str:
    """The path of a scanned file that still has what was scanned.

    Raises:
        DataError: it has not, or was in memory.
    """
    if file.identity.same_as(Identity.of(file.name)) is False:
        raise DataError(f"{file.name}: not what was scanned: it changed since")
    return file.name


def _add(read: _Read, path: str, columns: Mapping[str, str], rows: slice) -> None:
    """Reads one file into its rows."""
    split = _opened(path, columns)
    wanted: list[Column] = [column for column in ("text", "doc_id", "chunk_id") if column in split.columns]
    found = {column: list(_values(split, column)) for column in wanted}
    if any(len(values) != rows.stop - rows.start for values in found.values()):
        raise DataError(f"{path}: not what was scanned: it has another number of rows")
    if "text" in found:
        read.texts[rows] = [plain(text) for text in found["text"]]
        words = str(columns.get("text", "text"))
        read.expressions[words] = made_of(words)
    if "doc_id" in found:
        _place(read, "doc_id", rows, found["doc_id"])
        if "chunk_id" in found:
            ids = zip(found["doc_id"], found["chunk_id"], strict=True)
            pairs = [f"{doc}\n{chunk}" if doc and chunk else None for doc, chunk in ids]
            _place(read, "doc_id and chunk_id", rows, pairs)
    for name in IDS:
        if name != columns.get("doc_id"):
            try:
                other = load_split(path, columns={"doc_id": name}, allow_leaked=True, lenient=True)
            except LackingError:
                continue
            _place(read, name, rows, list(_values(other, "doc_id")))


def _all_opened(scan: SavedScan, paths: Sequence[str]) -> Dataset:
    """The evaluation side as the scan read it."""
    columns = columns_of(scan.summary["options"]["columns"], "eval")
    return load_split(paths, columns=columns, allow_leaked=True, lenient=True, items=True)


def _opened(path: str, columns: Mapping[str, str]) -> Dataset:
    mapping = {column: field for column, field in columns.items() if not field.startswith("truth_keys")}
    # What leaked is what this is about: it is read, and nothing is scored on it.
    return load_split(path, columns=mapping, allow_leaked=True, lenient=True, items=True)


def _values(split: Dataset, column: Column) -> Iterator[str | None]:
    for batch in split.batches([column]):
        values = getattr(batch, column)
        yield from [None] * batch.rows if values is None else values.cast(pa.large_string()).to_pylist()


def _place(read: _Read, name: str, rows: slice, values: list[str | None]) -> None:
    if name not in read.ids:
        read.ids[name] = [None] * len(read.texts)
    read.ids[name][rows] = values


def plain(text: str | None) -> str | None:
    """A text as the level text compares it: ``re.sub(r"\\s+", " ", text.lower()).strip()``."""
    return None if text is None else " ".join(text.lower().split())
