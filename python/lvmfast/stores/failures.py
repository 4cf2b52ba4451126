"""What stores raise: which of it passes when one waits, and how the rest is told in one line."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from lvmfast.errors import DataError

#: Tries of one request; the pauses between them double from the first on, up to about 13 s together.
ATTEMPTS = 7
FIRST_PAUSE = 0.2

_WAIT_STATUS = (408, 425, 429)
_FULL = 507
_WAIT_ERRNO = (
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH,
    errno.ENETUNREACH, errno.EPIPE, errno.ETIMEDOUT, getattr(errno, "EREMOTEIO", errno.EBUSY),
)  # fmt: skip
#: By name, because none of these libraries is imported here.
_WAIT_NAMES = (
    "ConnectionError",
    "ClientError",
    "HTTPClientError",
    "HttpProcessingError",
    "TransportError",
    "ServiceResponseError",
)
_WAIT_HOMES = ("aiohttp", "botocore", "httpx", "requests", "azure", "google")
_FINAL = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError)
_LONGEST = 240

Value = TypeVar("Value")


def with_retries(uri: str, call: Callable[[], Value], abandoned: threading.Event | None = None) -> Value:
    """What `call` returns; after a transient error it is called again, some pauses later, unless `abandoned`.

    The pauses grow by the factor 2 and are cut by up to half at random, so that clients which failed together
    do not come back together (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter).

    Raises:
        DataError: it failed for good, or as often as it was tried; the line names `uri` and the last cause.
    """
    waiting = abandoned or threading.Event()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except DataError:
            raise
        except Exception as error:
            if not is_transient(error):
                raise DataError(f"{uri}: {cause(error)}") from error
            if attempt == ATTEMPTS or waiting.is_set():
                raise DataError(f"{uri}: {cause(error)} (tried {attempt} times)") from error
        waiting.wait(FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    for each in _chain(error):
        status = _own_status(each)
        if status is not None:
            return status in _WAIT_STATUS or (status >= 500 and status not in (501, _FULL))
        if isinstance(each, _FINAL):
            return False
        if _is_broken_connection(each):
            return True
    return False


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error of a store's library; None where the connection failed."""
    for each in _chain(error):
        if (status := _own_status(each)) is not None:
            return status
        if _is_broken_connection(each):
            return None
    return None


def _own_status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        candidates = [response.get("ResponseMetadata", {}).get("HTTPStatusCode")]
    else:
        candidates = [getattr(response, "status_code", None)]
        candidates += [getattr(error, name, None) for name in ("status", "status_code", "code")]
    for value in candidates:
        if isinstance(value, int) and 100 <= value < 600:
            return value
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            return int(value)
    return None


def _is_broken_connection(error: BaseException) -> bool:
    if isinstance(error, (TimeoutError, ConnectionError, EOFError)):
        return True
    if isinstance(error, OSError) and error.errno in _WAIT_ERRNO:
        return _own_status(error.__cause__) is None if error.__cause__ is not None else True
    return any(
        kind.__module__.partition(".")[0] in _WAIT_HOMES and kind.__name__ in _WAIT_NAMES
        for kind in type(error).__mro__
    )


def cause(error: BaseException) -> str:
    """One line on what went wrong."""
    status = status_of(error)
    said = " ".join(str(error).split()) or type(error).__name__
    said = said if len(said) <= _LONGEST else said[:_LONGEST] + "..."
    name = type(error).__name__
    if name in ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"):
        return f"no credentials: {said}"
    if status == 412:
        return "changed while it was read: the object has another ETag now"
    if name == "LocalEntryNotFoundError":  # of huggingface_hub: the hub was not asked, or did not answer
        return said
    if isinstance(error, FileNotFoundError) or status == 404:
        return "no such bucket" if "bucket does not exist" in said else "no such object"
    if isinstance(error, PermissionError) or status in (401, 403):
        return f"access refused: {said}"
    if status == _FULL:
        return f"the store is full: {said}"
    return f"{said} (HTTP status {status})" if status is not None and str(status) not in said else said


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__
