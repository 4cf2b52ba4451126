"""Which of the processes that torchrun started speaks to the user; known before torch is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lvmfast.errors import DataError


class FollowedError(DataError):
    """This process ends because of what another one says: nobody is to say it a second time."""

    told = True


class FollowedInterrupt(KeyboardInterrupt):
    """As `FollowedError`, of an interrupt."""

    told = True


def process_count() -> int:
    """The processes of the run.

    Raises:
        DataError: WORLD_SIZE is no number.
    """
    return _number("WORLD_SIZE", 1)


def is_first_process() -> bool:
    """Whether this is the process that prints, or the only one."""
    return process_count() == 1 or _number("RANK", 0) == 0


@contextmanager
def one_voice_a_machine() -> Iterator[None]:
    """Before the processes know each other, what is wrong is said by the first of each machine.

    Raises:
        FollowedError: in the others, in place of a DataError.
    """
    try:
        yield
    except DataError as error:
        if process_count() > 1 and _number("LOCAL_RANK", 0) > 0:
            raise FollowedError(str(error)) from error
        raise


def _number(name: str, default: int) -> int:
    found = os.environ.get(name, "")
    if found and not found.isdecimal():
        raise DataError(f"{name}: expected a number, as torchrun sets it, got {found!r}")
    return int(found or default)
