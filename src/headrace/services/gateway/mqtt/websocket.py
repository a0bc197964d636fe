"""MQTT over WebSockets (section 6): an ASGI connection that looks like a socket's transport."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SUBPROTOCOL = "mqtt"


class _Transport(asyncio.Transport):
    """Collects what the protocol writes; `pump` sends it."""

    def __init__(self, send: Send, protocol: asyncio.Protocol, peer: object) -> None:
        super().__init__({"peername": peer})
        self._send, self._protocol = send, protocol
        self._buffer: list[bytes] = []
        self._size = 0
        self._high = 1 << 16
        self._full = False
        self._closing = False
        self._wake = asyncio.Event()
        self.readable = asyncio.Event()
        self.readable.set()
        self.closed = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        self._buffer.append(bytes(data))
        self._size += len(data)
        self._wake.set()
        if self._size > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        self.readable.set()

    def abort(self) -> None:
        self._buffer.clear()
        self.close()
        self.closed.set()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.readable.clear()

    def resume_reading(self) -> None:
        self.readable.set()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or self._high

    def get_write_buffer_size(self) -> int:
        return self._size

    async def pump(self) -> None:
        """Send until closed."""
        try:
            while not self._closing or self._buffer:
                await self._wake.wait()
                self._wake.clear()
                await self._drain()
        except Exception:  # noqa: S110 - servers differ in what they raise when the client is gone
            pass
        finally:
            self._closing = True
            self.closed.set()

    async def _drain(self) -> None:
        while self._buffer:
            data, self._buffer = b"".join(self._buffer), []
            await self._send({"type": "websocket.send", "bytes": data})
            self._size = sum(map(len, self._buffer))
            if self._full and self._size <= self._high // 4:
                self._full = False
                self._protocol.resume_writing()


async def serve(
    scope: Scope, receive: Receive, send: Send, protocol: asyncio.Protocol, origins: Collection[str] = ()
) -> None:
    """Run `protocol` on an ASGI WebSocket until either side closes it."""
    if (await receive())["type"] != "websocket.connect":
        return
    if _SUBPROTOCOL not in scope.get("subprotocols", ()) or not _same_origin(scope, origins):
        await send({"type": "websocket.close", "code": 1002})
        return
    await send({"type": "websocket.accept", "subprotocol": _SUBPROTOCOL})
    transport = _Transport(send, protocol, scope.get("client"))
    protocol.connection_made(transport)
    jobs: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(job) for job in (transport.pump(), _read(receive, transport, protocol))
    ]
    try:
        closed = asyncio.ensure_future(transport.closed.wait())
        jobs.append(closed)
        await asyncio.wait(jobs[1:], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        protocol.connection_lost(None)
    with suppress(Exception):  # it may be closed already
        await send({"type": "websocket.close", "code": 1000})


async def _read(receive: Receive, transport: _Transport, protocol: asyncio.Protocol) -> None:
    """Feed binary messages to the protocol; a text message ends the connection (section 6)."""
    while True:
        await transport.readable.wait()
        event = await receive()
        data = event.get("bytes")
        if event["type"] == "websocket.disconnect" or data is None:
            return
        if data and not transport.is_closing():  # while it closes, its last bytes are still going out
            protocol.data_received(data)


def _same_origin(scope: Scope, origins: Collection[str]) -> bool:
    """Whether a browser may connect: its page is the door's own or a listed one. Other clients send no Origin."""
    sent = {name: value.decode("latin-1") for name, value in scope.get("headers", ()) if name in (b"origin", b"host")}
    origin = sent.get(b"origin")
    return origin is None or origin in origins or urlsplit(origin).netloc == sent.get(b"host")
