"""Giving out content: whole or a range, checked leaf by leaf, and broken off where it is not what was stored."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote

from starlette.responses import Response

from headrace.assets import Stored
from headrace.errors import HeadraceError
from headrace.services.http import Receive, Scope, Send, header

_RANGE = re.compile(rb"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)
logger = logging.getLogger("headrace.sharing")


def byte_range(asked: bytes, size: int) -> tuple[int, int] | None:
    """What a ``Range`` header asks for (RFC 9110, section 14): (start, stop), or None for the whole.

    A header that is damaged or has several ranges may be ignored, and is. A range that lies outside is (size, size).

    >>> byte_range(b"bytes=0-99", 1000), byte_range(b"bytes=990-", 1000), byte_range(b"bytes=-10", 1000)
    ((0, 100), (990, 1000), (990, 1000))
    >>> byte_range(b"bytes=1000-", 1000), byte_range(b"bytes=5-1", 1000), byte_range(b"bytes=0-1,5-6", 1000)
    ((1000, 1000), None, None)
    """
    found = _RANGE.fullmatch(asked)
    if found is None or not (found[1] or found[2]) or max(len(found[1]), len(found[2])) > 20:
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    start, last = int(found[1]), int(found[2]) if found[2] else size
    if found[2] and last < start:
        return None
    return min(start, size), max(min(start, size), min(last + 1, size))


class Download(Response):
    """A content as an HTTP response: ETag, ranges, ``Repr-Digest`` (RFC 9530) of the whole.

    The first leaf is read before the answer begins. What goes wrong later (a leaf that was changed, a grant that was revoked)
    breaks the connection: the client has fewer bytes than were announced, and never a clean end. (The server does that when an
    application returns before the end of its answer; what stands between the two has to be plain ASGI.)

    Args:
        read: gives the bytes from start up to stop; see `Artifacts.read`.
        still: called before each piece after the first; raises when the caller may have no more.
    """

    def __init__(
        self,
        stored: Stored,
        read: Callable[[int, int], AsyncIterator[bytes]],
        filename: str,
        media_type: str = "application/octet-stream",
        still: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(media_type=media_type)
        self._stored, self._read, self._still = stored, read, still
        digest = bytes.fromhex(stored.sha256.removeprefix("sha256:"))
        self._tag = f'"{digest.hex()}"'
        self.headers["etag"] = self._tag
        self.headers["accept-ranges"] = "bytes"
        self.headers["repr-digest"] = f"sha-256=:{base64.b64encode(digest).decode()}:"
        self.headers["headrace-merkle-root"] = stored.root
        self.headers["content-disposition"] = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        self.headers["x-content-type-options"] = "nosniff"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, stop = self._prepare(scope)
        if scope["method"] == "HEAD" or self.status_code in {304, 416}:
            await self._begin(send)
            await send({"type": "http.response.body", "body": b""})
            return
        pieces = aiter(self._read(start, stop))
        first = await anext(pieces, b"")  # raises what is wrong while there is a status to say it with
        await self._begin(send)
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await self._give(first, pieces, send, gone)
        except HeadraceError as error:
            logger.warning("the download of %s was broken off: %s", self._stored.sha256, error)
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
            if hasattr(pieces, "aclose"):
                await pieces.aclose()

    async def _give(self, first: bytes, pieces: AsyncIterator[bytes], send: Send, gone: asyncio.Future[None]) -> None:
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for piece in pieces:
            if gone.done():
                return
            if self._still is not None:
                await self._still()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _prepare(self, scope: Scope) -> tuple[int, int]:
        """Status and headers for this request; the range to give."""
        size = self._stored.size
        wanted = byte_range(header(scope, b"range"), size)
        if (only := header(scope, b"if-range")) and only.decode("latin-1") != self._tag:
            wanted = None
        if _names(header(scope, b"if-none-match").decode("latin-1"), self._tag):
            self.status_code = 304
            del self.headers["content-length"]
            return 0, 0
        start, stop = wanted or (0, size)
        if wanted and start == stop:
            self.status_code = 416
            self.headers["content-range"] = f"bytes */{size}"
        elif wanted:
            self.status_code = 206
            self.headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        self.headers["content-length"] = str(stop - start)
        return start, stop

    async def _begin(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


def _names(condition: str, tag: str) -> bool:
    """Whether an ``If-None-Match`` holds the tag (RFC 9110, section 13.1.2)."""
    tags = [each.strip().removeprefix("W/") for each in condition.split(",")]
    return "*" in tags or tag in tags


async def _gone(receive: Receive) -> None:
    """Returns when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
