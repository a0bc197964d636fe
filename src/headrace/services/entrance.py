"""The one entrance of every ASGI door: finds the caller's credential, has it checked, and writes down who he is.

Behind it ``scope["headrace.principal"]`` is a `Principal`; FastAPI routes take it with ``Depends(caller)``. A credential is
an ``Authorization: Bearer`` (or InfluxDB's ``Token``) header or, for a browser, the session cookie. Never a part of the
URL: those stand in logs and histories. Only paths named open are served to strangers, and their principal is None.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Protocol
from urllib.parse import unquote_to_bytes

from starlette.requests import HTTPConnection

from headrace.access import Principal
from headrace.errors import BadInput, Forbidden, HeadraceError, Unauthenticated
from headrace.services.http import App, Receive, Scope, Send, answer, code, encode, header
from headrace.trust.identities import Identities

PRINCIPAL = "headrace.principal"
"""Where a scope keeps its caller."""
_AGAIN = "headrace.again"
OPEN = (
    "GET /", "GET /favicon.ico", "GET /favicon.svg", "GET /console/", "GET /v2/health/", "GET /login", "POST /login",
    "GET /realms/", "POST /realms/", "GET /docs", "GET /docs/", "GET /openapi/",
    "WEBSOCKET /mqtt",
)  # fmt: skip
"""What a stranger may ask for: a method (GET is HEAD, too) and a path; one that ends with "/" is everything below it.
MQTT over WebSocket has its own login, in its CONNECT."""
REMEMBERED = 10_000
"""Credentials remembered as checked; the one that was checked longest ago makes room."""
KEPT = 30.0
"""Seconds until a credential is checked again. What revokes one in this process is seen at once (`Identities.generation`);
this bounds how long another process's word takes."""
AGAIN = 1.0
"""Seconds between looks at whether the caller of an answer that goes on may still be given more of it."""
LONGEST = 8192
"""Bytes of the longest credential that is looked at."""
_SECRET = re.compile(
    rb"(?:^|[&;])(?:access_?token|refresh_?token|id_?token|token|bearer|authorization|api_?key|jwt|session|"
    rb"client_secret|password|secret)="
    rb"|=(?:eyJ[\w-]{8,}\.[\w-]{8,}\.|hr[a-z]_[\w-]{16,})",
    re.IGNORECASE,
)
_CLIMBS = re.compile(r"//|/\.\.?(?:/|$)")
"""In a path: what a door further in might take for another path than the one that is open."""
_SAME = {b"", b"same-origin", b"none"}
"""``Sec-Fetch-Site`` of requests that may use the cookie: SameSite takes every port of a host for the same site."""


class Sessions(Identities, Protocol):
    """Checks what a browser's session cookie says."""

    cookie: str
    """Name of the cookie."""


class Opened:
    """Says which requests need no credential.

    Args:
        paths: as in `OPEN`.

    >>> opened = Opened(OPEN)
    >>> opened("HEAD", "/docs/sharing"), opened("GET", "/datasets"), opened("GET", "/docs/../datasets")
    (True, False, False)
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._exact: set[tuple[str, str]] = set()
        self._below: dict[str, tuple[str, ...]] = {}
        for entry in paths:
            method, _, path = entry.partition(" ")
            if path.endswith("/") and path != "/":
                self._below[method] = (*self._below.get(method, ()), path)
            else:
                self._exact.add((method, path))

    def __call__(self, method: str, path: str) -> bool:
        method = "GET" if method == "HEAD" else method
        if (method, path) in self._exact:
            return True
        below = self._below.get(method)
        return below is not None and path.startswith(below) and not _CLIMBS.search(path)


class Entrance:
    """Lets requests of known callers through to `app`; answers 401 to others, and closes their WebSockets with 1008.

    Args:
        sessions: who checks the session cookie; None: cookies are not looked at.
        open_paths: what is served without a credential, as in `OPEN`.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        app: App,
        identities: Identities,
        sessions: Sessions | None = None,
        open_paths: Iterable[str] = OPEN,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app, self._clock = app, clock
        self._identities, self._sessions = identities, sessions
        self._cookie = f"{sessions.cookie}=".encode() if sessions else b""
        self._open = Opened(open_paths)
        self._bearers, self._visits = _Checked(identities, clock), _Checked(sessions or identities, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        method = "WEBSOCKET" if kind == "websocket" else scope["method"]
        try:
            if query := scope["query_string"]:
                _no_secret(query)
            if self._open(method, scope["path"]):
                scope[PRINCIPAL] = None
            else:
                scope[PRINCIPAL] = await self._who(scope)
                scope[_AGAIN] = self._who
        except HeadraceError as error:
            await (_close(receive, send) if kind == "websocket" else _refuse(scope, send, error))
            return
        await self._app(scope, receive, send)

    async def _who(self, scope: Scope) -> Principal:
        if value := header(scope, b"authorization"):
            return self._bearers.get(value) or await self._bearers.check(value, _token(value))
        if self._cookie and (value := _cookie(header(scope, b"cookie"), self._cookie)):
            if header(scope, b"sec-fetch-site") not in _SAME:
                raise Unauthenticated(detail="another site's page may not use this browser's session")
            return self._visits.get(value) or await self._visits.check(value, value.decode("latin-1"))
        raise Unauthenticated(detail="who are you? Send `Authorization: Bearer TOKEN`")


class OpenEntrance:
    """Asks nobody: everybody is `principal`, whatever he sends. For one company on loopback (`headrace up --open`)."""

    def __init__(self, app: App, principal: Principal) -> None:
        self._app, self._principal = app, principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[PRINCIPAL] = self._principal
        await self._app(scope, receive, send)


async def caller(request: HTTPConnection) -> Principal:
    """FastAPI dependency: who asks. Raises Unauthenticated on a door without an entrance, and on an open path."""
    found = request.scope.get(PRINCIPAL)
    if not isinstance(found, Principal):
        raise Unauthenticated(detail="nobody's credentials were checked here")
    return found


async def acting(request: HTTPConnection) -> Principal:
    """FastAPI dependency: on whose behalf a service of this platform asks. Raises Unauthenticated, Forbidden."""
    who = await caller(request)
    only_acting(who)
    return who


def only_acting(who: Principal) -> None:
    """Raises Forbidden but for a service of this platform that acts for somebody."""
    if not who.acting:
        raise Forbidden(detail="this door is for the platform's own services")


async def still(scope: Scope) -> bool:
    """Whether the caller of an answer that goes on and on (events, a log that is followed) may still be given more of it:
    his token may have expired meanwhile, or he was deleted. Cheap; ask it every few seconds."""
    again = scope.get(_AGAIN)
    try:
        return again is None or bool(await again(scope))
    except HeadraceError:
        return False


async def known_still(scope: Scope) -> None:
    """Raises Unauthenticated once `still` is no longer so: for an answer that must not seem whole."""
    if not await still(scope):
        raise Unauthenticated(detail="your token has expired or was revoked in the middle of the answer")


async def lasting(scope: Scope, pieces: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """An answer that goes on and on, as long as its caller may have it: asked every `AGAIN` seconds, also while nothing comes."""
    coming: asyncio.Task[bytes | None] | None = None
    looked = time.monotonic()
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(pieces))
            await asyncio.wait([coming], timeout=AGAIN)
            if time.monotonic() - looked >= AGAIN:
                if not await still(scope):
                    return
                looked = time.monotonic()
            if coming.done():
                piece, coming = coming.result(), None
                if piece is None:
                    return
                yield piece
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await pieces.aclose()


async def _next(pieces: AsyncGenerator[bytes]) -> bytes | None:
    return await anext(pieces, None)


class _Checked:
    """Credentials that were checked, until they expire, something is revoked, or `KEPT` seconds have passed."""

    def __init__(self, identities: Identities, clock: Callable[[], float]) -> None:
        self._identities, self._clock = identities, clock
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._generation = identities.generation

    def get(self, value: bytes) -> Principal | None:
        """Who was found to be behind this header, if that still holds."""
        if self._generation != self._identities.generation:
            self._known.clear()
            self._generation = self._identities.generation
        found = self._known.get(value)
        return found[0] if found and self._clock() < found[1] else None

    async def check(self, value: bytes, token: str) -> Principal:
        """Ask, and remember. Raises what `Identities.verify` raises."""
        if len(value) > LONGEST:
            raise Unauthenticated(detail=f"the credential is longer than {LONGEST} bytes")
        generation = self._identities.generation
        found = await self._identities.verify(token)
        self._known.pop(value, None)
        if generation == self._identities.generation:  # else it was perhaps revoked while we asked
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[value] = found, min(found.expires, self._clock() + KEPT)
        return found


def _token(value: bytes) -> str:
    scheme, _, token = value.partition(b" ")
    if scheme.lower() not in {b"bearer", b"token"} or not token.strip():
        raise Unauthenticated(detail="the Authorization header is not `Bearer TOKEN`")
    return token.strip().decode("latin-1")


def _cookie(given: bytes, wanted: bytes) -> bytes:
    """The value of the cookie `wanted` (with its "=") in a Cookie header, or b""."""
    for part in given.split(b";"):
        if part.strip().startswith(wanted):
            return part.strip()[len(wanted) :]
    return b""


def _no_secret(query: bytes) -> None:
    if _SECRET.search(query) or (b"%" in query and _SECRET.search(unquote_to_bytes(query))):
        detail = "the URL carries a token or password; URLs stand in logs: send `Authorization: Bearer TOKEN`, and end this one"
        raise BadInput(detail=detail)


async def _close(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1008})


async def _refuse(scope: Scope, send: Send, error: HeadraceError) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if isinstance(error, Unauthenticated):
        given = b', error="invalid_token"' if header(scope, b"authorization") else b""  # RFC 6750, section 3
        headers.append((b"www-authenticate", b'Bearer realm="headrace"' + given))
    await answer(send, code(error), encode({"error": str(error)}), headers)
