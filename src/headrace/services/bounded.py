"""A bound on bodies, for apps whose framework reads a whole body before it asks what it is for."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from headrace.errors import FixedLimit
from headrace.services.http import App, Receive, Scope, Send, header, refuse


class Bounded:
    """Answers 413 to bodies that say they are larger than `limit` bytes, and breaks off reading those that do not say so."""

    def __init__(self, app: App, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = header(scope, b"content-length")
        if length.isdigit() and int(length) > self._limit:
            await refuse(send, self._too_large(int(length)))
            return
        seen = 0

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise self._too_large(seen)
            return message

        await self._app(scope, bounded, send)

    def _too_large(self, size: int) -> FixedLimit:
        return FixedLimit(what="the body", size=size, limit=self._limit)
