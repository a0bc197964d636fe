"""What every HTTP door shares: reading a body within its limit, answering JSON, and the codes of our errors."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

import msgspec

from headrace import errors

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_CODES: list[tuple[type[errors.HeadraceError], int]] = [
    (errors.StorageUnavailable, 507),
    (errors.BadInput, 400),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Tampered, 409),
    (errors.TooLarge, 413),
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.Unsupported, 501),
    (errors.Unexplained, 422),
    (errors.TooMany, 429),
    (errors.TooSlow, 504),
    (errors.Temporary, 503),
]
_HEADERS = "headrace.headers"
"""Where a scope keeps its headers by name once somebody has asked for one."""
_JSON = [(b"content-type", b"application/json")]
DAMAGED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on a body that is no JSON of the wanted form: wrong, not UTF-8, nested too deep."""
BODY_SECONDS = 60.0
"""Seconds in which a body must have come. 16 MiB in a minute is 2 Mbit/s; a client that trickles holds a connection."""
SPILLED = 64 * 2**20
"""Bytes of a refused body that are thrown away before the answer."""
SPILL_SECONDS = 5.0
AGAIN = 5
"""Seconds after which one of too many may come again."""
IDLE_SECONDS = 60.0
"""Seconds between two pieces of a streamed body: of any length as a whole, but never silent for longer."""
encode = msgspec.json.Encoder().encode


def code(error: errors.HeadraceError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in _CODES if isinstance(error, kind)), 500)


def hints(error: errors.HeadraceError) -> dict[str, str]:
    """Headers that go with an error: when to come again."""
    if not isinstance(error, errors.TooMany):
        return {}
    seconds = error.fields.get("seconds", AGAIN)
    return {"retry-after": f"{max(1, round(float(str(seconds))))}"}


async def answer(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = _JSON) -> None:
    """One whole response."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def answer_json(send: Send, value: object, status: int = 200) -> None:
    """One whole response in JSON."""
    await answer(send, status, encode(value))


async def refuse(send: Send, error: errors.HeadraceError) -> None:
    """An error as ``{"error": "..."}``."""
    more = [(name.encode(), value.encode()) for name, value in hints(error).items()]
    await answer(send, code(error), encode({"error": str(error)}), [*_JSON, *more])


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of that (lower-case) name, or b""."""
    found: dict[bytes, bytes] | None = scope.get(_HEADERS)
    if found is None:
        found = scope[_HEADERS] = dict(reversed(scope["headers"]))
    return found.get(name, b"")


async def read_body(scope: Scope, receive: Receive, limit: int, setting: str) -> bytes:
    """The request's body, gunzipped if it says so.

    Raises:
        TooLarge: over `limit` bytes, also after decompression. What still comes is thrown away for a while (`SPILLED` bytes,
            `SPILL_SECONDS`), so that a client that is still sending reads the answer instead of a broken connection.
        BadInput: damaged compression, or the client went away.
    """
    length = header(scope, b"content-length")
    if length.isdigit() and int(length) > limit:
        if b"100-continue" not in header(scope, b"expect").lower():  # who asks first has not sent it
            await _spill(receive)
        raise errors.TooLarge(what="the body", size=int(length), limit=limit, setting=setting)
    message = await receive()
    body = message.get("body", b"")
    if message.get("more_body"):
        body = await _in_time(_rest(body, receive, limit, setting))
    if message["type"] == "http.disconnect":
        raise errors.BadInput(detail="the client went away before its whole body came")
    if len(body) > limit:
        raise errors.TooLarge(what="the body", size=len(body), limit=limit, setting=setting)
    if coding := header(scope, b"content-encoding"):
        return _decompress(coding.lower(), body, limit, setting)
    return bytes(body)


class Body:
    """A body of any length, read piece by piece."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._over = receive, False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Raises BadInput: the client went away before its end, or fell silent."""
        while not self._over:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    message = await self._receive()
            except TimeoutError as error:
                raise errors.BadInput(detail=f"nothing more of the body came for {IDLE_SECONDS:g} seconds") from error
            self._over = not message.get("more_body", False)
            if message["type"] == "http.disconnect":
                raise errors.BadInput(detail="the client went away before its whole body came")
            if body := message.get("body", b""):
                yield body

    async def spill(self) -> None:
        """Take the rest of one that is refused, for a while: who is still sending then reads the answer."""
        if not self._over:
            await _spill(self._receive)


async def _in_time(reading: Awaitable[bytes]) -> bytes:
    try:
        return await asyncio.wait_for(reading, BODY_SECONDS)
    except TimeoutError as error:
        raise errors.BadInput(detail=f"the body did not come within {BODY_SECONDS:g} seconds") from error


async def _spill(receive: Receive) -> None:
    """Take the rest of a body that is refused."""
    left = SPILLED
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SPILL_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return


async def _rest(first: bytes, receive: Receive, limit: int, setting: str) -> bytes:
    body = bytearray(first)
    while True:
        if len(body) > limit:
            await _spill(receive)
            raise errors.TooLarge(what="the body", size=len(body), limit=limit, setting=setting)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise errors.BadInput(detail="the client went away before its whole body came")
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def _decompress(coding: bytes, body: bytes, limit: int, setting: str) -> bytes:
    if coding == b"identity":
        return bytes(body)
    name = coding.decode("latin-1")[:40]
    if coding not in {b"gzip", b"x-gzip", b"deflate"}:
        raise errors.BadInput(detail=f"content-encoding {name!r} is not known, only gzip and deflate are")
    try:
        return _inflate(body, limit, setting)
    except zlib.error as error:
        raise errors.BadInput(detail=f"the body says {name} but cannot be decompressed: {error}") from error


def _inflate(body: bytes, limit: int, setting: str) -> bytes:
    """Every member of a gzip file, or a zlib stream; never more than `limit` bytes are made."""
    plain, rest = bytearray(), bytes(body)
    while rest:
        engine = zlib.decompressobj(wbits=47)
        plain += engine.decompress(rest, limit + 1 - len(plain))
        if len(plain) > limit:
            over = f"more than {errors.size_of(limit)}"
            raise errors.TooLarge(what="the decompressed body", size=over, limit=limit, setting=setting)
        if not engine.eof:
            raise zlib.error("it ends too early")
        rest = engine.unused_data
    return bytes(plain)
