"""What is concluded from the beginning of a file, and what becomes of it when the rest says otherwise.

Which fields the objects of a file have can only be known from all of them. Inside a call that can begin again
(`begins_again`) a reader may go by the beginning of a file, holds every row to it, and raises
`SampleContradicted` at the first that says otherwise; the call then runs once more, and files are looked
through before anything is concluded. Everywhere else they are looked through from the start.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from lvmfast.errors import DataError

P = ParamSpec("P")
R = TypeVar("R")


class LackingError(DataError):
    """A field or column that is not there, as far as anyone looked."""


class SampleContradicted(LackingError):
    """A row has what the beginning of its file had not."""


class _Samples:
    """Whether samples will do, and whether any file was opened by one."""

    def __init__(self, *, allowed: bool) -> None:
        self.allowed, self.any = allowed, False


_samples: ContextVar[_Samples | None] = ContextVar("samples", default=None)


def by_sample() -> bool:
    """Whether the file that is being opened may be judged by its beginning; if so, that is noted."""
    samples = _samples.get()
    if samples is None or not samples.allowed:
        return False
    samples.any = True
    return True


def begins_again(
    *, unless: Callable[[dict[str, Any]], object] = lambda asked: False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A call that goes by samples, and runs once more without them when one is contradicted.

    Args:
        unless: given the keyword arguments of the call: whether it looks through files from the start,
            because others go on with what it leaves behind or read the same files elsewhere.
    """

    def wrapper(call: Callable[P, R]) -> Callable[P, R]:
        @wraps(call)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            if _samples.get() is not None or unless(kwargs):
                return call(*args, **kwargs)
            samples = _Samples(allowed=True)
            token = _samples.set(samples)
            try:
                return call(*args, **kwargs)
            except LackingError as error:
                if not samples.any:
                    raise
                samples.allowed = False
                if isinstance(error, SampleContradicted):
                    tell = cast(Callable[[str], None], kwargs.get("announce", _say_nothing))
                    tell(f"{error}; read again from the start")
            finally:
                _samples.reset(token)
            token = _samples.set(samples)
            try:
                return call(*args, **kwargs)
            finally:
                _samples.reset(token)

        return called

    return wrapper


def _say_nothing(line: str) -> None:
    pass
