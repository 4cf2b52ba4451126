"""The server of `lvmfast review`: for this machine, for who has its address, and for no other page.

It listens on the loopback alone. Every request has to name it as its host, so that no other name can be made
to lead here; to come from its own page, if it says from where; and to know a secret that the printed address
has. What it sends is never cached, and its page may load nothing but the script it came with.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from html import unescape
from typing import TYPE_CHECKING, Any

from lvmfast.errors import DataError
from lvmfast.parse import Fields, parse_json
from lvmfast.review.evidence import NAMES, Asked, Evidence

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LOOPBACK = "127.0.0.1"
#: The header that has the secret.
TOKEN = "X-Lvmfast-Token"
#: Bytes of what is posted.
MOST_BYTES = 1 << 16
_SAFE = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')


def bound(port: int) -> socket.socket:
    """A socket on the loopback at a port, or at any that is free for 0.

    Raises:
        DataError: the port is taken, or may not be used.
    """
    if not 0 <= port < 1 << 16:
        raise DataError(f"--port: expected 0 to 65535, got {port}")
    found = socket.socket()
    try:
        found.bind((LOOPBACK, port))
        found.listen()
    except OSError as error:
        found.close()
        raise DataError(
            f"--port: {port} on {LOOPBACK} cannot be had ({(error.strerror or str(error)).lower()}); give "
            "another port, or leave it out for one that is free"
        ) from error
    return found


def application(
    evidence: Evidence, page: Callable[[Mapping[str, str]], str], port: int, token: str, reviewer: str | None
) -> Starlette:
    """What answers on `port`.

    Args:
        evidence: of the report.
        page: draws its page, given the headers by which it has to ask.
        port: that it listens on.
        token: the secret.
        reviewer: whose decisions are kept, if that is known.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response
    from starlette.routing import Route

    hosts = {f"{LOOPBACK}:{port}", f"localhost:{port}"}

    def answer(content: Any, status: int = 200) -> Response:
        text = json.dumps(content, ensure_ascii=True, allow_nan=False)
        headers = {**_SAFE, "Content-Security-Policy": _NOTHING}
        return Response(text, status, headers, "application/json")

    def refusal(request: Request) -> Response | None:
        """Why a request gets no answer, if it gets none."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if host not in hosts:
            return answer({"error": "this is not the host that was asked for"}, 421)
        if origin is not None and origin != f"http://{host}":
            return answer({"error": "another page asks"}, 403)
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return answer({"error": "another page asks"}, 403)
        given = request.headers.get(TOKEN) or ""
        if request.url.path == "/":
            given = request.query_params.get("token", "")
        if not secrets.compare_digest(given.encode(), token.encode()):
            said = "the address is not whole: open the one that `lvmfast review` printed"
            return answer({"error": said}, 403)
        return None

    def guarded(work: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def answered(request: Request) -> Response:
            if (refused := refusal(request)) is not None:
                return refused
            try:
                found = await work(request)
            except DataError as error:
                return answer({"error": str(error)}, 400)
            return found if isinstance(found, Response) else answer(found)

        return answered

    async def start(request: Request) -> Response:
        html = await run_in_threadpool(page, {TOKEN: token})
        policy = _POLICY.search(html)
        told = f"{unescape(policy[1])}; frame-ancestors 'none'" if policy else _NOTHING
        return Response(html, headers={**_SAFE, "Content-Security-Policy": told}, media_type="text/html")

    async def matches(request: Request) -> Any:
        return await run_in_threadpool(evidence.query, asked_by(request.query_params))

    async def texts(request: Request) -> Any:
        return await run_in_threadpool(evidence.texts, request.path_params["match"])

    async def decisions(request: Request) -> Any:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise DataError("expected JSON")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return answer({"error": f"expected at most {MOST_BYTES:,} bytes"}, 413)
        said = Fields("decision", parse_json("decision", body, nan=False))
        if "decision" not in said.values:
            raise DataError("decision: expected one, or null to take it back, got nothing")
        match, decision, note = (_text(said, name) for name in ("id", "decision", "note"))
        await run_in_threadpool(evidence.decide, match, decision, note, reviewer)
        return {"id": match, "decision": decision}

    def lost(request: Request, error: Exception) -> Response:
        return answer({"error": "there is nothing here"}, getattr(error, "status_code", 404))

    return Starlette(
        routes=[
            Route("/", guarded(start), methods=["GET"]),
            Route("/api/matches", guarded(matches), methods=["GET"]),
            Route("/api/texts/{match}", guarded(texts), methods=["GET"]),
            Route("/api/decisions", guarded(decisions), methods=["POST"]),
        ],
        exception_handlers={404: lost, 405: lost},
    )


def _text(said: Fields, name: str) -> str | None:
    """A text, or null.

    Raises:
        DataError: it is something else.
    """
    return None if said.values.get(name) is None else said.text(name)


def asked_by(given: Mapping[str, str]) -> Asked:
    """What the parameters of an address ask for.

    Raises:
        DataError: one of them is not known, or is no number where one is expected.
    """
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in NAMES:
            raise DataError(f"{name:.60}: expected {', '.join(NAMES)}")
        if value == "":
            continue
        try:
            if name in ("offset", "limit"):
                values[name] = int(value)
            elif name in ("min", "max"):
                values[name] = float(value)
            elif name == "descending":
                values[name] = {"true": True, "false": False}[value]
            else:
                values[name] = value
        except (ValueError, KeyError) as error:
            raise DataError(f"{name}: cannot be {value!r:.60}") from error
    return Asked(**values)
