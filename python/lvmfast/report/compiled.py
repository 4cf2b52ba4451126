"""Compiled templates, kept where Python keeps its bytecode: to compile one takes as long as a small scan."""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
from contextlib import suppress
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

from jinja2 import __version__
from jinja2.bccache import Bucket, BytecodeCache

from lvmfast.durable import write_bytes

FOLDER = Path(__file__).parent
#: What a template becomes depends on the interpreter, on jinja and on how it is set up.
_MADE_BY = MAGIC_NUMBER + __version__.encode() + (FOLDER / "template.py").read_bytes()


class CompiledTemplates(BytecodeCache):
    """Beside the modules, in ``__pycache__``; where that cannot be written, they are compiled each time."""

    def load_bytecode(self, bucket: Bucket) -> None:
        """The code of a template, if it was compiled from the same source by the same versions."""
        with suppress(OSError, ValueError, EOFError, TypeError):
            kept = _place(bucket).read_bytes()
            made_of = _made_of(bucket)
            if kept.startswith(made_of):
                bucket.code = marshal.loads(kept[len(made_of) :])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keeps the code of a template, unless Python is told to write none."""
        if sys.dont_write_bytecode:
            return
        with suppress(OSError):
            place = _place(bucket)
            os.makedirs(place.parent, exist_ok=True)
            write_bytes(place, _made_of(bucket) + marshal.dumps(bucket.code))


def _made_of(bucket: Bucket) -> bytes:
    return hashlib.sha256(_MADE_BY + bucket.checksum.encode()).digest()


def _place(bucket: Bucket) -> Path:
    return Path(cache_from_source(FOLDER / f"{bucket.key}.py"))
