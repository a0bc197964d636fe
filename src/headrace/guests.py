"""Connections at an HTTP door: how many there may be, and how long one may take to say what it wants.

uvicorn waits for the head of a request for ever and keeps as much of it as comes; so a stranger could hold every file handle of
the platform with connections that say nothing. Here such a connection makes room for the next, and is told to go after a while;
so is one whose body trickles, and one that does not read its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headrace.crowd import Crowd, places
from headrace.settings import HttpSettings

LOOK = 0.5
"""Seconds between looks at who is too slow."""
_LATE = b"408 Request Timeout", b"what you want did not come in time"
_SLOW = b"408 Request Timeout", b"the body comes too slowly; a resumable upload (/uploads) goes on where it broke off"
_LONG = b"431 Request Header Fields Too Large", b"the request's head is too long"
_FULL = b"503 Service Unavailable", b"too many are connected; come again in a moment"


class House:
    """All connections of one door."""

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self._most = min(settings.connections, places())
        self._crowd: Crowd[Guest] = Crowd(settings.proxies)
        self._all: set[Guest] = set()

    def guest(self, *arguments: Any, **more: Any) -> Guest:
        """One more connection, for uvicorn to serve."""
        return Guest(self, *arguments, **more)

    def came(self, guest: Guest) -> None:
        """Room for it is made where silent ones take it up: last its own."""
        host = guest.client[0] if guest.client else ""
        self._all.add(guest)
        self._crowd.add(guest, host)
        if self._crowd.crowded(guest, self.settings.address_connections):
            leaves = self._crowd.oldest(guest)
        elif len(self._crowd) > self._most:
            leaves = self._crowd.oldest()
        else:
            return
        if leaves is guest:
            leaves.turn_away(*_FULL)
        elif leaves is not None:
            leaves.transport.abort()
            self.left(leaves)

    def silent(self, guest: Guest) -> None:
        """It has had its answer."""
        self._crowd.hush(guest)

    def heard(self, guest: Guest) -> None:
        """It has said what it wants."""
        self._crowd.heard(guest)

    def left(self, guest: Guest) -> None:
        """It is closed."""
        self._all.discard(guest)
        self._crowd.remove(guest)

    def look(self, now: float) -> None:
        """Turn away who is too slow."""
        for guest in list(self._all):
            if guest.transport.is_closing():
                self.left(guest)
            else:
                guest.look(now)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Look again and again."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def again() -> None:
            nonlocal timer
            timer = loop.call_later(LOOK, again)
            self.look(loop.time())

        timer = loop.call_later(LOOK, again)
        try:
            yield
        finally:
            timer.cancel()


class Guest(HttpToolsProtocol):
    """uvicorn's side of a connection, with a clock.

    It waits for a head (`_asked` is false), for a body, or answers. `_since` is when that began, or a look at how fast a body
    comes.
    """

    def __init__(self, house: House, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._house, self._most = house, house.settings
        self._asked = self._upgraded = False
        self._speaking = True
        """Some of a head came, or none was ever heard; between requests uvicorn waits."""
        self._since = self.loop.time()
        self._stuck = 0.0
        """Since when its client reads nothing; 0: it does."""
        self._came = self._void = 0
        """Bytes of the body since `_since`; bytes since anything was understood."""

    # -- what uvicorn hears

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._house.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._house.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._asked and not self._speaking:
            self._speaking, self._since = True, self.loop.time()
        self._void += len(data)
        super().data_received(data)
        if self._void > self._most.head_bytes + len(data) and not self.transport.is_closing():
            self.turn_away(*_LONG)

    def on_message_begin(self) -> None:
        self._void = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._void = self._came = 0
        if not self._asked:
            self._asked, self._since = True, self.loop.time()
            self._house.heard(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._void = 0
        self._came += len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        self._asked = self._speaking = False
        self._house.silent(self)
        super().on_response_complete()
        if self.cycle is not None and not self.cycle.response_complete:  # the next one was waiting
            self._asked, self._since, self._came = True, self.loop.time(), 0
            self._house.heard(self)

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True  # and whoever serves it has bounds of his own
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        self._stuck = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stuck = 0.0
        super().resume_writing()

    # -- the clock

    def look(self, now: float) -> None:
        """Turn it away if it is too slow."""
        if self._upgraded:
            return
        if not self._asked:
            if self._speaking and now - self._since > self._most.head_seconds:
                self.turn_away(*_LATE)
        elif self._stuck and now - self._stuck > self._most.reading_seconds:
            self.transport.abort()
        elif self.cycle.more_body and not self.cycle.response_complete:
            self._pace(now)

    def _pace(self, now: float) -> None:
        """A body has to come at some rate, while we want it to come."""
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._since, self._came = now, 0
        elif now - self._since > self._most.body_seconds:
            if self._came < self._most.body_rate * (now - self._since):
                self.turn_away(*_SLOW)
            self._since, self._came = now, 0

    def turn_away(self, status: bytes, why: bytes) -> None:
        """End it, with a sentence where no answer has begun."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = b'{"error":"' + why + b'"}'
            head = b"content-type: application/json\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: %d" % len(
                body
            )
            self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n\r\n" + body)
        self.transport.close()
