"""A bound on answers that were made and are not read: a client that asks and reads nothing keeps each in memory until its
connection is given up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from typing import Any

from headrace.access import Principal
from headrace.errors import TooMany
from headrace.services.http import App, Receive, Scope, Send, refuse

SMALL = 2**16
"""Bytes an answer may always have: what a connection's buffer takes, and how much of a larger one is given to it at a time."""
MOST = 32 * 2**20
"""Bytes of larger answers under way to one company. A single one may be larger."""
WHAT = "answers to your company that it has asked for and not read"


class Unread:
    """Gives large answers to connections piece by piece as they are read, and refuses more of them (429) to a company that does
    not read those it has. Answers that are made while they are sent (downloads) pass untouched: of each only a piece is there.

    Args:
        most: bytes of large answers under way to one company.
    """

    def __init__(self, app: App, most: int = MOST) -> None:
        self._app, self._most = app, most
        self._held: Counter[str] = Counter()
        self._count: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        who = scope.get("headrace.principal")
        await self._app(scope, receive, _Answer(self, who.company if isinstance(who, Principal) else "", send))

    async def give(self, company: str, start: MutableMapping[str, Any], body: bytes, send: Send) -> None:
        """Send a large answer, or refuse it."""
        if self._held[company] and self._held[company] + len(body) > self._most:
            await refuse(send, TooMany(count=self._count[company], what=WHAT))
            return
        self._held[company] += len(body)
        self._count[company] += 1
        try:
            await send(start)
            view = memoryview(body)
            for place in range(0, len(body), SMALL):  # each waits until what came before it was taken
                await send(
                    {"type": "http.response.body", "body": bytes(view[place : place + SMALL]), "more_body": True}
                )
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._held[company] -= len(body)
            self._count[company] -= 1
            if not self._count[company]:
                del self._held[company], self._count[company]


class _Answer:
    """What an app sends for one request. The head of one that says it is large waits for its body, with which it comes."""

    __slots__ = ("_company", "_send", "_start", "_unread")

    def __init__(self, unread: Unread, company: str, send: Send) -> None:
        self._unread, self._company, self._send = unread, company, send
        self._start: MutableMapping[str, Any] | None = None

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and _length(message) > SMALL:
            self._start = message
            return
        start, self._start = self._start, None
        if start is None:
            await self._send(message)
        elif message.get("more_body") or len(message.get("body", b"")) <= SMALL:
            await self._send(start)
            await self._send(message)
        else:
            await self._unread.give(self._company, start, message["body"], self._send)


def _length(start: MutableMapping[str, Any]) -> int:
    for name, value in start.get("headers", ()):
        if name == b"content-length":
            return int(value)
    return 0
