"""The call behind `lvmfast review`: a saved scan, served on this machine until it is interrupted."""

from __future__ import annotations

import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from getpass import getuser
from os import PathLike, fspath
from pathlib import Path
from types import FrameType

from lvmfast.durable import scratch_folder
from lvmfast.errors import DataError, missing_extra
from lvmfast.report.decisions import MOST_NAME, DecisionLog
from lvmfast.report.page import draw_page
from lvmfast.report.saved import SavedScan
from lvmfast.report.tables import no_matches
from lvmfast.stores import is_uri
from lvmfast.threads import threads

#: The file of decisions in a report, where no other is named.
DECISIONS = "decisions.jsonl"
_SECONDS_TO_START = 30.0
_SECONDS_BETWEEN_LOOKS = 0.2


def review(
    report: str | PathLike[str],
    *,
    port: int = 0,
    decisions: str | PathLike[str] | None = None,
    announce: Callable[[str], None] = lambda said: None,
    reviewer: str | None = None,
) -> None:
    """Serves the matches of a report on the loopback of this machine, and keeps what people decide of them.

    Args:
        report: what ``lvmfast leakscan --out`` wrote, on this machine.
        port: to listen on; 0 for one that is free.
        decisions: the file to add decisions to; None for ``decisions.jsonl`` in the report.
        announce: told the address once it can be opened, and what there is to review.
        reviewer: whose decisions they are; None for the name of the user.

    Raises:
        DataError: the extra is missing, the report or the file of decisions is broken, or the port is taken.
        KeyboardInterrupt: the only way in which it ends; the message says what was kept.
    """
    try:
        import duckdb  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise missing_extra("review", "review", error) from error
    from lvmfast.review.evidence import Evidence
    from lvmfast.review.server import LOOPBACK, application, bound

    if decisions is not None and is_uri(fspath(decisions)):
        raise DataError(f"{fspath(decisions)}: decisions are kept in a file on this machine")
    saved = SavedScan.open(report)
    path = Path(fspath(report)) / DECISIONS if decisions is None else Path(decisions)
    if not path.absolute().parent.is_dir():
        raise DataError(f"{path}: no such folder: {path.parent}")
    with (
        _sigterm_as_interrupt(),
        bound(port) as listening,
        scratch_folder(Path(tempfile.gettempdir())) as scratch,
    ):
        address = f"{LOOPBACK}:{listening.getsockname()[1]}"
        evidence = Evidence(saved, DecisionLog(path), scratch)
        token = secrets.token_urlsafe(24)

        def page(headers: Mapping[str, str]) -> str:
            served = evidence.served
            served = replace(served, config={**served.config, "headers": dict(headers)})
            return draw_page(saved.summary, no_matches(), served=served)

        app = application(evidence, page, listening.getsockname()[1], token, reviewer or _user())
        config = uvicorn.Config(
            app, lifespan="off", ws="none", log_level="critical", access_log=False, proxy_headers=False,
            server_header=False, timeout_graceful_shutdown=2,
        )  # fmt: skip
        server = uvicorn.Server(config)
        with threads(1, "lvmfast-review") as pool:
            try:
                serving = pool.submit(server.run, sockets=[listening])
                started = time.monotonic()
                while not server.started and not serving.done():
                    if time.monotonic() - started > _SECONDS_TO_START:
                        raise DataError(f"{address}: the server did not start")
                    time.sleep(0.02)
                announce(f"{evidence.total:,} matches of {saved.name}; decisions are kept in {path}")
                announce(f"Open http://{address}/?token={token}")
                announce("Ctrl-C ends it.")
                while not serving.done():
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                serving.result()
                raise DataError(f"{address}: the server ended by itself")
            except KeyboardInterrupt:
                kept = evidence.decided_here
                said = f"{kept:,} {'decision was' if kept == 1 else 'decisions were'} kept in {path}"
                raise KeyboardInterrupt(said if kept else "no decision was made") from None
            finally:
                server.should_exit = True
                evidence.close()


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that nothing is left behind."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone can have handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _user() -> str | None:
    """The name of the user, where the system knows one."""
    try:
        return getuser()[:MOST_NAME]
    except (OSError, KeyError, ImportError):
        return None
