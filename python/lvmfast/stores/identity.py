"""What tells the content of a file or an object from any other, wherever it lies now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lvmfast import _core
from lvmfast.stores.objects import file_info
from lvmfast.stores.staging import local_copy


@dataclass(frozen=True)
class Identity:
    """Size, and the BLAKE3 of a file or the ETag that a store gave an object; one without either has none."""

    path: str
    nbytes: int
    blake3: str | None = None
    etag: str | None = None

    @staticmethod
    def of(path: str, threads: int = 0) -> Identity:
        """That of a file or an object as it is now; an object is asked for its ETag, and not read.

        A folder has neither.

        Raises:
            DataError: there is none, or the store cannot be asked.
        """
        info = file_info(path)
        blake3 = _core.blake3_file(path, threads) if os.path.isfile(path) else None
        return Identity(path, info.size, blake3, info.etag)

    @staticmethod
    def read(path: str, threads: int = 0) -> Identity:
        """As `of`, but with the BLAKE3 of an object too, which is read for it.

        Raises:
            DataError: as `of`.
        """
        info = file_info(path)
        with local_copy(path) as copy:
            return Identity(path, info.size, _core.blake3_file(copy, threads), info.etag)

    @staticmethod
    def stated(file: Mapping[str, Any]) -> Identity:
        """That which a summary or a certificate states: `path`, `bytes`, `blake3`, and `etag` of objects."""
        return Identity(str(file["path"]), int(file["bytes"]), file["blake3"], file.get("etag"))

    @property
    def told(self) -> str:
        """What the content is known by, in words."""
        if self.blake3 is not None:
            return f"BLAKE3 {self.blake3[:16]}..."
        return "no ETag" if self.etag is None else f"ETag {self.etag}"

    def fields(self) -> dict[str, Any]:
        """What a certificate says of it, but for its name; an ETag only where there is one."""
        etag = {} if self.etag is None else {"etag": self.etag}
        return {"bytes": self.nbytes, "blake3": self.blake3, **etag}

    def same_as(self, other: Identity) -> bool | None:
        """Whether both have one content; None where nothing is known of both that would tell."""
        for mine, theirs in ((self.blake3, other.blake3), (self.etag, other.etag)):
            if mine is not None and theirs is not None:
                return (self.nbytes, mine) == (other.nbytes, theirs)
        return None
