"""A bound on bodies, for apps whose framework reads a whole body before it asks who sent it, and what for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from fastapi import HTTPException

from headrace.access import Principal
from headrace.errors import FixedLimit, HeadraceError, Unauthenticated
from headrace.services.http import App, Receive, Scope, Send, code, header, refuse

Limit: TypeAlias = int | Callable[[Scope], int | None]
"""Bytes of a body, or who says it for a request; None: the door reads it piece by piece, within bounds of its own."""
Ask: TypeAlias = Callable[[Scope], None]
"""Raises Unauthenticated or Forbidden before anything of the body is read."""


class Bounded:
    """Answers 413 to bodies that say they are larger than their limit, and breaks off reading those that do not say so.

    Args:
        asks: may he send a body there at all?
    """

    def __init__(self, app: App, limit: Limit, asks: Ask = lambda scope: None) -> None:
        self._app, self._asks = app, asks
        self._limit: Callable[[Scope], int | None] = (lambda scope: limit) if isinstance(limit, int) else limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._limit(scope) if scope["type"] == "http" else None
        if limit is None:
            await self._app(scope, receive, send)
            return
        try:
            self._asks(scope)
            length = header(scope, b"content-length")
            if length.isdigit() and int(length) > limit:
                raise _too_large(int(length), limit)
        except HeadraceError as error:
            await refuse(send, error)
            return
        await self._app(scope, _bounded(receive, limit), send)


def roles(needed: Mapping[tuple[str, str], str]) -> Ask:
    """Asks for the role that (method, path) needs."""

    def ask(scope: Scope) -> None:
        action = needed.get((scope["method"], scope["path"]))
        if action is None:
            return
        who = scope.get("headrace.principal")
        if not isinstance(who, Principal):
            raise Unauthenticated(detail="nobody's credentials were checked here")
        who.require(action)  # type: ignore[arg-type]

    return ask


def _bounded(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            error = _too_large(seen, limit)
            raise HTTPException(
                code(error), str(error)
            )  # the only kind that FastAPI lets through while it reads a body
        return message

    return bounded


def _too_large(size: int, limit: int) -> FixedLimit:
    return FixedLimit(what="the body", size=size, limit=limit)
