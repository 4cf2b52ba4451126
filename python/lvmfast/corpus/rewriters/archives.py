"""Rows of tar files: members go as they are, with their names, times and modes."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lvmfast.corpus.codecs import codec_of
from lvmfast.corpus.rewriters.rows import InPieces, Parts, check_rows, writing
from lvmfast.corpus.streams import decompressed
from lvmfast.corpus.webdataset import members, telling


def rewrite_webdataset(
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
    pieces: Sequence[InPieces],
) -> None:
    """As `rewrite`; members without a key are no part of a row and are left out."""
    with ExitStack() as stack:
        outs = []
        for target in targets:
            with writing(target):
                out = stack.enter_context(open(target, "xb"))
                packed = stack.enter_context(codec.writer(out)) if (codec := codec_of(target.name)) else out
                outs.append(stack.enter_context(tarfile.open(fileobj=packed, mode="w|")))
        for source, part in zip(sources, parts, strict=True):
            row, last = -1, ""
            with decompressed(source) as stream:
                for archive, member, key, _ in members(source, stream):
                    if key != last:
                        row, last = row + 1, key
                    place = part[row] if row < len(part) else -1
                    if place >= 0:
                        content = archive.extractfile(member)
                        with telling(source), writing(targets[place]):
                            outs[place].addfile(member, content)
                            outs[place].members.clear()  # type: ignore[attr-defined]  # it would keep all of them
            check_rows(source, part, row + 1)
