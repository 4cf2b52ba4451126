"""`split`: one dataset becomes train, eval and, if asked for, val, disjoint at every level of a scan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import combinations
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus import Dataset, load_payload, load_split
from lvmfast.corpus.budget import limited
from lvmfast.corpus.formats import suffix_of
from lvmfast.corpus.leftovers import CERTIFICATE
from lvmfast.corpus.looks import LackingError, begins_again
from lvmfast.corpus.paths import Paths, given_paths
from lvmfast.corpus.sides import Side
from lvmfast.encoding.encoded import encoded_sides
from lvmfast.encoding.measured import Near, check_near, measured_threshold
from lvmfast.errors import DataError, reason
from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.options import DEFAULT_MIN_CHARS, DEFAULT_THRESHOLD, Normalization, ScanOptions
from lvmfast.leaks.progress import Clock, Progress
from lvmfast.leaks.tally import Rows
from lvmfast.report.progress import shows_progress
from lvmfast.report.record import Inputs, OpenSplit
from lvmfast.scan.checkable import check_readable
from lvmfast.splits.certificate import ClosingScan, certificate_of, told_of, write_certificate
from lvmfast.splits.closing import closing_scan
from lvmfast.splits.components import Components, relate_documents
from lvmfast.splits.divide import DEFAULT_MIN_CHUNKS, PARTS, Division, Part, Shares, divide
from lvmfast.splits.documents import Documents, draw_lots, has_documents, read_documents, rows_as_documents
from lvmfast.splits.layout import check_destination, stored_files
from lvmfast.splits.overlaps import join_overlaps
from lvmfast.splits.result import CleanSplit, place_of
from lvmfast.splits.rewrite import common_format, rewrite
from lvmfast.stores import Identity, holds, staging

DOC_ID = "doc_id"
#: Components that are named in the certificate; their number is always said.
NAMED = 20


@shows_progress
@holds("out")
@begins_again()
@limited
def split(
    data: Paths,
    *,
    out: str | PathLike[str],
    by: str = DOC_ID,
    eval_docs: int | None = None,
    eval_fraction: float | None = None,
    val_docs: int | None = None,
    val_fraction: float | None = None,
    min_chunks_per_doc: int | None = None,
    seed: int = 0,
    payload: Paths | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    near: Near | None = None,
    normalize: Normalization = "default",
    min_chars: int = DEFAULT_MIN_CHARS,
    encoder: str | None = None,
    columns: Mapping[str, str] | None = None,
    threads: int = 0,
    memory_limit: int | None = None,
    progress: Progress | bool = False,
    announce: Announce = say_nothing,
) -> CleanSplit:
    """Divides `data` by document, so that no side was seen by another, and proves it by scanning the result.

    Documents joined by a shared text, by near-duplicate vectors, or by a vector inside a context window stay
    together, and so do documents of which one has a text that stands inside one of the other (level overlap).
    A document in which a row holds its own answer (level oracle), one with too few rows, and what
    is joined to such a document, is trained on. The result is the same for the same data, seed and options;
    by fraction a document's side hangs on its id and the seed alone, unless it is joined to others or is
    larger than the side.

    Args:
        data: a path, a quoted glob, a folder or a list of these; all files of one format.
        out: the folder, or its URI, to write `train.*`, `eval.*`, perhaps `val.*`, and `clean.json` to; it
            must be empty or not there.
        by: the column or field that says which rows belong together. Where there is no `doc_id` and nothing
            else was named, each row is a document of its own.
        eval_docs: documents to hold out.
        eval_fraction: or the fraction of them.
        val_docs: documents of a third side.
        val_fraction: or the fraction of them.
        min_chunks_per_doc: documents with fewer rows are not held out; None: 10, and 1 where rows are
            documents.
        seed: of the lots.
        payload: texts by (doc_id, chunk_id).
        threshold: cosine from which two vectors match.
        near: instead of `threshold`: what was measured for the encoder of the vectors, for the ``same`` text
            or for a ``paraphrase``.
        normalize: how texts are made comparable: default, none or strict.
        min_chars: texts with fewer characters after normalisation are not compared.
        encoder: makes vectors of texts that have none, as for a scan; of what is written, once more.
        columns: column -> field, where a field has an unusual name.
        threads: 0 for one per available core.
        memory_limit: bytes; what would need more is refused.
        progress: True shows how far it is; or what is called as (phase, rows done, rows in all or None).
        announce: told in a line which vectors were made, and which threshold was measured.

    Raises:
        DataError: bad input, a side that would be empty, or a folder that cannot be written.

    Examples:
        >>> import lvmfast
        >>> from pathlib import Path
        >>> lines = "".join(f'{{"text": "the text of row {n} and no other"}}\\n' for n in range(40))
        >>> _ = Path("data.jsonl").write_text(lines)
        >>> made = lvmfast.split("data.jsonl", out="divided", eval_docs=8)
        >>> {name: side["rows"] for name, side in made.certificate["sides"].items()}
        {'train': 32, 'eval': 8}
    """
    assert callable(progress)
    least = DEFAULT_MIN_CHUNKS if min_chunks_per_doc is None else min_chunks_per_doc
    shares = Shares(eval_docs, eval_fraction, val_docs, val_fraction, least, seed)
    options = ScanOptions(
        threshold=threshold,
        normalize=normalize,
        min_chars=min_chars,
        encoder=encoder,
        threads=threads,
        memory_limit=memory_limit,
    )
    if near is not None:
        check_near(near, threshold)
    fields = dict(columns or {})
    if by != DOC_ID:
        fields[DOC_ID] = by
    clock = Clock()
    with clock.phase("open"):
        texts = None if payload is None else load_payload(payload, columns=fields)
        dataset = load_split(data, columns=fields, payload=texts, lenient=True)
        check_readable(dataset)
        by_row = DOC_ID not in fields and not has_documents(dataset)
        if by_row:
            shares = _of_rows(shares, min_chunks_per_doc, dataset)
        sources = stored_files(dataset.files)
        common_format(sources)
        payload_files = None if texts is None else stored_files(texts.files)
        place = check_destination(os.fspath(out), dataset.files, given_paths(data), together=True)
        names = [f"{part}{suffix_of(sources[0])}" for part in ("train", *shares.held_out)]
    inputs = Inputs({"train": OpenSplit(dataset, texts)}, threads)
    if encoder is not None:
        with clock.phase("embed"):
            dataset = encoded_sides({"train": dataset}, encoder, progress, announce)["train"]
    if near is not None:
        options = replace(options, threshold=measured_threshold(near, [dataset], announce))
    with clock.phase("join"):
        documents = (rows_as_documents if by_row else read_documents)(dataset, options, progress)
        found = relate_documents(dataset, documents.of_row, len(documents.rows), options, progress)
        answers = np.unique(documents.of_row[found.with_answer])
        division, parted = _division(dataset, documents, found.components, answers, shares, options, progress)
    try:
        with staging(place, CERTIFICATE, lambda done, total: progress("put", done, total)) as stage:
            with clock.phase("write"):
                parts = np.split(parted, documents.file_starts[1:])
                progress("write", 0, len(parted))
                rewrite(sources, parts, [stage.folder / name for name in names])
                progress("write", len(parted), len(parted))
                inputs.check_unchanged()
                stage.flush()
            scans = []
            with clock.phase("scan"):
                for train, held_out in combinations(("train", *shares.held_out), 2):
                    report = closing_scan(
                        (
                            [str(stage.folder / names[PARTS.index(train)])],
                            [str(stage.folder / names[PARTS.index(held_out)])],
                        ),
                        (payload_files, payload_files),
                        options,
                        fields,
                        progress=progress,
                    )
                    sides: dict[Side, str] = {"train": train, "eval": held_out}
                    scans.append(ClosingScan(sides, report))
            if any(scan.report.findings.verdict != "clean" for scan in scans):
                return CleanSplit(place_of(out), told_of(scans, stage.folder, out), None, clock.seconds)
            source = [
                {"path": file["path"], **Identity.stated(file).fields()}
                for file in inputs.described()["train"]["files"]
            ]
            details = {
                "source": source,
                "split": _stated(None if by_row else by, shares, documents, division),
            }
            certificate = certificate_of("split", scans, stage.folder, (), details, threads)
            write_certificate(stage.folder, certificate)
            with clock.phase("publish"):
                stage.publish()
    except OSError as error:
        raise DataError(f"{out}: cannot write there: {reason(error)}") from error
    return CleanSplit(place_of(out), told_of(scans, stage.folder, out), certificate, clock.seconds)


def _division(
    dataset: Dataset,
    documents: Documents,
    components: Components,
    answers: Rows,
    shares: Shares,
    options: ScanOptions,
    progress: Progress,
) -> tuple[Division, npt.NDArray[np.int8]]:
    """A division across which no held-out text stands in one that is trained on, and the part of each row.

    Each round joins documents, so that there are fewer components than before, and an end.
    """
    lots = draw_lots(documents.ids, shares.seed)
    while True:
        division = divide(documents, components.roots(), answers, lots, shares)
        part = division.part[documents.of_row]
        of_parts = [part == PARTS.index(name) for name in ("train", *shares.held_out)]
        joined = [
            join_overlaps(components, dataset, documents.of_row, *pair, options, progress)
            for pair in combinations(of_parts, 2)
        ]
        if not any(joined):
            return division, part


def _of_rows(shares: Shares, least: int | None, dataset: Dataset) -> Shares:
    """The shares of rows that are documents of their own.

    Raises:
        DataError: documents of several rows were asked for.
    """
    if least not in (None, 1):
        raise LackingError(
            f"--min-chunks-per-doc: {dataset.files[0].name} has no doc_id, so each row is a document of its "
            "own; --by FIELD names what rows belong together by"
        )
    return replace(shares, min_chunks_per_doc=1)


def _stated(by: str | None, shares: Shares, documents: Documents, division: Division) -> dict[str, Any]:
    """The part `split` of the certificate."""
    asked = {name: value for name, value in asdict(shares).items() if value is not None}
    return {
        "by": by,
        **asked,
        "documents": dict[Part, int](division.documents),
        "rows_without_id": documents.unnamed,
        "joined_components": division.joined,
        "documents_too_small": division.too_small,
        "documents_with_answer": division.with_answer,
        "components_too_large": len(division.too_large),
        "too_large": [
            {**asdict(component), "examples": list(component.examples)}
            for component in division.too_large[:NAMED]
        ],
    }
