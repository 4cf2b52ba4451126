"""`clean`: the split without the rows that a scan matched, and the proof that this was enough."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from os import PathLike
from typing import Any, Literal

import numpy as np

from lvmfast.corpus import Dataset, load_split
from lvmfast.corpus.beside import IN_ONE_FILE
from lvmfast.corpus.budget import limited
from lvmfast.corpus.columns import ColumnsOfSides, columns_of
from lvmfast.corpus.leftovers import CERTIFICATE, DECISIONS_KEPT, LEDGER
from lvmfast.corpus.paths import Expansion, Paths, expanded, given_paths
from lvmfast.corpus.sides import SIDES, Side, other_side
from lvmfast.engines.cluster import on_ray
from lvmfast.errors import DataError, reason
from lvmfast.leaks.progress import Clock, Progress
from lvmfast.leaks.rules import OWN
from lvmfast.levels import LEVELS
from lvmfast.report.decisions import Decisions
from lvmfast.report.progress import shows_progress
from lvmfast.report.record import Inputs, OpenSplit
from lvmfast.report.reviewed import SavedReview, groups_in, review_saved
from lvmfast.report.saved import SavedScan
from lvmfast.report.summary import options_of
from lvmfast.splits.certificate import ClosingScan, certificate_of, told_of, write_certificate
from lvmfast.splits.closing import closing_scan
from lvmfast.splits.cut import Cut, Cutter
from lvmfast.splits.cut_rows import check_cut, cut_rows, in_pieces, stated_cuts, without
from lvmfast.splits.layout import check_destination, names_below, stored_files, write_saved_datasets
from lvmfast.splits.ledger import Leaked, leaked_rows, ledger, without_set_aside, write_ledger
from lvmfast.splits.result import CleanSplit, place_of
from lvmfast.splits.rewrite import rewrite_each
from lvmfast.stores import Identity, holds, is_uri, staging


@shows_progress
@holds("out")
@limited
def clean(
    train: Paths,
    eval: Paths,
    report: str | PathLike[str],
    *,
    out: str | PathLike[str],
    drop: Side = "eval",
    cut: int | None = None,
    decisions: str | PathLike[str] | None = None,
    payload: Paths | None = None,
    train_payload: Paths | None = None,
    eval_payload: Paths | None = None,
    threads: int = 0,
    memory_limit: int | None = None,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    progress: Progress | bool = False,
) -> CleanSplit:
    """Writes one side of a scan without the rows that any of its levels matched, and scans the result.

    The closing scan has the levels, threshold and options of the report, but tolerates nothing. Only when it
    is clean does `out` come to be: the files under their own names, `_dropped.parquet` and `clean.json`.
    Rows that the scan could not check stay, and the certificate counts them. `train`, `eval`, `report` and
    `out` may each be in a store; what goes into one is prepared on this machine.

    Args:
        train: the training files of the scan: a path, a quoted glob, a folder or a list of these.
        eval: its evaluation files.
        report: the folder that `leakscan --out` wrote.
        out: the folder to write to, or its URI; it must be empty or not there.
        drop: the side to drop rows from.
        cut: characters. Of train, a row that matched by a stretch of its text alone is not dropped: the
            stretch goes, with so many characters on either side, and what is left becomes rows of its own
            (docs/overlap.md). None drops it.
        decisions: of `lvmfast review`: rows that match by boilerplate alone stay, the closing scan does not
            count them, and the certificate says that it was reviewed. A copy is kept as `_decisions.jsonl`.
            Without it, rows that `report` set aside are dropped like all others that matched, and
            `review_not_applied` in the certificate counts them.
        payload: texts for both sides, where they were moved since the scan.
        train_payload: texts for `train` alone, likewise.
        eval_payload: texts for `eval` alone, likewise.
        threads: 0 for one per available core.
        memory_limit: bytes; a closing scan that would need more is refused.
        engine: where the closing scan reads the larger side: in this process, or on the workers of a Ray
            cluster, who must see its files by the same paths, `out` and what stands beside it included.
            Files are hashed and written here. The result is the same.
        ray_address: of the cluster, as ``ray.init`` takes it (``auto``, ``host:port``); None for one of this
            machine that ends with the scan.
        progress: True shows how far it is; or what is called as (phase, rows done, rows in all or None).

    Raises:
        DataError: bad input; the report is of other files; nothing would be left; a folder that cannot be
            written.

    Examples:
        >>> import lvmfast
        >>> from pathlib import Path
        >>> line = '{"text": "a text of the training set"}\\n'
        >>> _ = Path("train.jsonl").write_text(line)
        >>> _ = Path("eval.jsonl").write_text(line + '{"text": "a question that nobody has seen"}\\n')
        >>> lvmfast.leakscan("train.jsonl", "eval.jsonl", levels=["text"]).save("report")

        >>> made = lvmfast.clean("train.jsonl", "eval.jsonl", "report", out="clean")
        >>> Path("clean/eval.jsonl").read_text()
        '{"text": "a question that nobody has seen"}\\n'
    """
    assert callable(progress)
    if drop not in SIDES:
        raise DataError(f"--drop: expected eval or train, got {drop!r}")
    if cut is not None and (cut < 0 or drop != "train"):
        raise DataError(f"--cut: expected 0 or more characters and --drop train, got {cut} and {drop}")
    _check_shared(out, ray_address)
    on_cluster = on_ray(engine, ray_address)
    clock = Clock()
    with clock.phase("open"):
        decided = None if decisions is None else Decisions.read(decisions)
        saved = SavedScan.open(report)
        saved.require_complete()
        if saved.sides != SIDES:
            raise DataError(f"{saved.name}: a scan inside one split; clean needs one of --train and --eval")
        options = saved.summary["options"]
        columns: ColumnsOfSides = options["columns"]
        if cut is not None and options_of(options).join_chunks:
            why = "is a scan with --join-chunks, whose matches lie across rows"
            raise DataError(f"--cut: {saved.name} {why}")
        given: Mapping[Side, Paths] = {"train": train, "eval": eval}
        _check_not_named(given[drop])
        try:
            splits = {
                side: load_split(
                    source, columns=columns_of(columns, side), lenient=True, items=side == "eval"
                )
                for side, source in given.items()
            }
        except DataError:  # which blames columns where the report is of other files
            for side, source in given.items():
                _check_files(side, source, saved, threads)
            raise
        if on_cluster:
            _check_payload(splits, saved)
        files_of = {side: stored_files(split.files) for side, split in splits.items()}
        sources = files_of[drop]
        place = check_destination(os.fspath(out), splits[drop].files, given_paths(given[drop]))
        names = names_below(sources)
    with clock.phase("hash"):
        inputs = Inputs({side: OpenSplit(split, None) for side, split in splits.items()}, threads)
        described = inputs.described()
        for side in SIDES:
            _check_same(side, [Identity.stated(file) for file in described[side]["files"]], saved)
            _check_columns(described[side], saved.summary["inputs"][side])
        own: Mapping[Side, Paths | None] = {"train": train_payload, "eval": eval_payload}
        payloads = {side: _payload(side, moved, payload, saved, threads) for side, moved in own.items()}
    files = saved.files(drop)
    leaked = leaked_rows(
        saved.matched_rows,
        drop,
        tuple(file.name for file in files),
        np.array([file.rows for file in files], np.int64),
        saved.name,
    )
    _check_side(leaked, saved)
    ignored = {
        level: rows
        for level in LEVELS
        if (rows := sum(f.levels.get(level, {}).get("set_aside", 0) for f in files))
    }
    closing_options = replace(options_of(options), threads=threads, memory_limit=memory_limit)
    review: SavedReview | None = None
    if decided is not None:
        with clock.phase("review"):
            read_again = {
                side: partial(
                    load_split,
                    _again(given[side], files_of[side]),
                    columns=columns_of(columns, side),
                    payload=payloads[side],
                    lenient=True,
                    items=side == "eval",
                )
                for side in SIDES
            }
            review = review_saved(saved, decided, drop, groups_in(read_again, closing_options))
            leaked = without_set_aside(leaked, review.aside)
    cuts: Mapping[int, Cut] = {}
    if cut is not None and len(leaked.by_excerpts):
        with clock.phase("cut"):
            check_cut(leaked, splits["train"], saved)
            items = load_split(
                _again(given["eval"], files_of["eval"]),
                columns=columns_of(columns, "eval"),
                payload=payloads["eval"],
                lenient=True,
                items=True,
            )
            cuts = cut_rows(Cutter(items, cut, closing_options, progress), leaked, splits["train"], progress)
    dropped = without(leaked, cuts)
    _check_left(dropped)
    pieces = in_pieces(cuts, leaked, splits[drop])
    bounds = np.append(leaked.starts, len(leaked.at))
    parts = [np.where(dropped.at[low:high] > 0, -1, 0).astype(np.int8) for low, high in pairwise(bounds)]
    kept = [bool((part == 0).any()) for part in parts]
    try:
        with staging(place, CERTIFICATE, lambda done, total: progress("put", done, total)) as stage:
            with clock.phase("write"):
                going = [at for at, left in enumerate(kept) if left]
                targets = [stage.folder / names[at] for at in going]
                for target in targets:
                    target.parent.mkdir(parents=True, exist_ok=True)
                rewritten = rewrite_each(
                    [sources[at] for at in going],
                    [parts[at] for at in going],
                    targets,
                    [pieces[at] for at in going],
                )
                rows = sum(len(parts[at]) for at in going)
                done = 0
                progress("write", done, rows)
                for at, _ in zip(going, rewritten, strict=True):
                    done += len(parts[at])
                    progress("write", done, rows)
                written = {s: n if left else "" for s, n, left in zip(sources, names, kept, strict=True)}
                beside = write_saved_datasets(stage.folder, written)
                write_ledger(stage.folder / LEDGER, ledger(leaked, splits[drop], saved.matches, cuts))
                if decided is not None:
                    decided.copy_to(stage.folder / DECISIONS_KEPT)
                    beside = [*beside, DECISIONS_KEPT]
                inputs.check_unchanged()
                stage.flush()
            with clock.phase("scan"):
                sides: dict[Side, Paths] = {
                    drop: [str(stage.folder / name) for name in written.values() if name],
                    other_side(drop): _again(given[other_side(drop)], files_of[other_side(drop)]),
                }
                closing = closing_scan(
                    (sides["train"], sides["eval"]),
                    (payloads["train"], payloads["eval"]),
                    closing_options,
                    columns,
                    decisions=None if decided is None else str(stage.folder / DECISIONS_KEPT),
                    progress=progress,
                    engine=engine,
                    ray_address=ray_address,
                )
            scans = (ClosingScan({"train": "train", "eval": "eval"}, closing),)
            if closing.findings.outcome != "clean":
                return CleanSplit(place_of(out), told_of(scans, stage.folder, out), None, clock.seconds)
            details = {
                "dropped": {
                    "side": drop,
                    "rows": len(dropped.rows),
                    "levels": dict(dropped.by_level),
                    "empty_files": [s for s, left in zip(sources, kept, strict=True) if not left],
                    "from": described[drop]["files"],
                },
                "cut": None if cut is None else stated_cuts(cuts, cut),
                **({} if review is None else {"review": review.to_dict()}),
                **({"review_not_applied": ignored} if review is None and ignored else {}),
            }
            certificate = certificate_of("clean", scans, stage.folder, [LEDGER, *beside], details, threads)
            write_certificate(stage.folder, certificate)
            with clock.phase("publish"):
                stage.publish()
    except OSError as error:
        raise DataError(f"{out}: cannot write there: {reason(error)}") from error
    return CleanSplit(place_of(out), told_of(scans, stage.folder, out), certificate, clock.seconds)


def _check_shared(out: str | PathLike[str], ray_address: str | None) -> None:
    """Refuses a closing scan of files that the workers of a cluster cannot see."""
    if is_uri(out) and ray_address is not None:
        raise DataError(
            f"{out}: the closing scan reads what is prepared on this machine, which the workers at "
            f"{ray_address} do not see; give a folder that they share, or leave out --ray-address"
        )


def _check_columns(here: Mapping[str, Any], scanned: Mapping[str, Any]) -> None:
    """Refuses a side that had ids or texts by position, without which the closing scan would prove less.

    Raises:
        DataError: it had.
    """
    own = ("doc_id", "chunk_id", *(() if scanned["payload"] else ("text",)))
    for file, before in zip(here["files"], scanned["files"], strict=True):
        for column in own:
            if column in before["fields"] and column not in file["fields"]:
                raise DataError(
                    f"{file['path']}: its {column} was read by position, from another file, which clean does "
                    f"not write anew; {IN_ONE_FILE} and scan again"
                )


def _check_not_named(source: Paths) -> None:
    """Refuses to write benchmarks of a cache: in a folder nobody would know how to read them."""
    if isinstance(source, Expansion) and source.named:
        name = next(iter(source.named.values())).name
        raise DataError(
            f"--drop eval: {name} is a benchmark by name, which is read and not written; use --drop train"
        )


def _again(source: Paths, files: list[str]) -> Paths:
    """The side whose files were opened, to be opened once more: by name where they have one."""
    return source if isinstance(source, Expansion) else files


def _check_payload(splits: Mapping[Side, Dataset], saved: SavedScan) -> None:
    """Refuses, before anything is read, a scan that the engine ray cannot run again."""
    larger: Side = max(SIDES, key=lambda side: splits[side].estimated_rows())
    if saved.summary["inputs"][larger]["payload"] is not None:
        raise DataError(
            f"{saved.name}: a scan with a payload for {larger}: the engine ray joins no texts to the side "
            "that its workers read"
        )


def _check_same(side: Side, found: Sequence[Identity], saved: SavedScan) -> None:
    """Holds all files of a side to those of the report, by content; they may have moved since."""
    scanned = saved.files(side)
    if len(found) != len(scanned):
        raise DataError(f"--{side}: {len(found)} files, but {saved.name} is a scan of {len(scanned)}")
    for here, there in zip(found, scanned, strict=True):
        _check_content(here, there.identity, saved)


def _check_files(side: Side, source: Paths, saved: SavedScan, threads: int) -> None:
    """As `_check_same`, of files that need not open."""
    expansion = expanded(source)
    if expansion is not None and all(is_uri(path) or os.path.isfile(path) for path in expansion.files):
        _check_same(side, [Identity.of(path, threads) for path in expansion.files], saved)


def _check_content(found: Identity, stated: Identity, saved: SavedScan) -> None:
    same = found.same_as(stated)
    if same is None and stated.blake3 is stated.etag is None:
        raise DataError(
            f"{saved.name}: {stated.path} was neither a local file nor an object with an ETag, so it is not "
            "known what it contained"
        )
    if same is None:
        raise DataError(
            f"{found.path}: {saved.name} knows {stated.path} by its {stated.told}, and of this one there is "
            f"{found.told}; name what was scanned, or scan this one"
        )
    if not same:
        raise DataError(
            f"{found.path}: not what {saved.name} is a scan of: expected {stated.told} ({stated.path}), "
            f"found {found.told}"
        )


def _payload(
    side: Side, own: Paths | None, common: Paths | None, saved: SavedScan, threads: int
) -> list[str] | None:
    """The payload of a side, where the report or the user says it is; None where the scan had none."""
    stated = saved.summary["inputs"][side]["payload"]
    if stated is None:
        others = [saved.summary["inputs"][s]["payload"] for s in SIDES]
        if own is not None or (common is not None and not any(others)):
            option = "--payload" if own is None else f"--{side}-payload"
            raise DataError(f"{option}: {saved.name} is a scan without a payload for {side}")
        return None
    moved = common if own is None else own
    paths = [str(file["path"]) for file in stated["files"]]
    if moved is not None:
        found = expanded(moved)
        if found is None:
            raise DataError(f"--{side}-payload: expected paths, got {type(moved).__name__}")
        paths = found.files
    if len(paths) != len(stated["files"]):
        raise DataError(
            f"--{side}-payload: {len(paths)} files, but {saved.name} is a scan with {len(stated['files'])}"
        )
    for path, file in zip(paths, stated["files"], strict=True):
        if not is_uri(path) and not os.path.isfile(path):
            raise DataError(f"{path}: no such file: the payload of {side}; --{side}-payload says where it is")
        _check_content(Identity.of(path, threads), Identity.stated(file), saved)
    return paths


def _check_left(dropped: Leaked) -> None:
    """Refuses to leave nothing."""
    total = len(dropped.at)
    if len(dropped.rows) == total:
        by_level = ", ".join(f"{level} {rows}" for level, rows in dropped.by_level.items())
        raise DataError(
            f"{dropped.files[0]}: all {total} {dropped.side} rows leak ({by_level}): 0 rows would be left, "
            "so nothing was written"
        )


def _check_side(leaked: Leaked, saved: SavedScan) -> None:
    """Refuses what dropping rows of this side cannot mend, or what names none of them."""
    for name, found in saved.summary["levels"].items():
        if leaked.side == "train" and "rule" in found and (matched := found["eval_rows_matched"]):
            raise DataError(
                f"--drop train: {matched} eval rows leak at {name} by the rule {found['rule']}, which names "
                f"no training rows: use --drop eval, or scan with --overlap-rule {OWN}, which does"
            )
    for name in [name for name, level in LEVELS.items() if leaked.side not in level.sides]:
        matched = saved.summary["levels"].get(name, {}).get("eval_rows_matched")
        if matched:
            raise DataError(
                f"--drop train: {matched} eval rows hold their own answer ({name}), which "
                "only --drop eval can mend"
            )
