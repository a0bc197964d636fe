"""TLS connections until they are some: strangers like the others, so that silent ones cannot hold the handles of the platform."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from headrace.services.gateway.mqtt.connection import Connection
from headrace.services.gateway.mqtt.strangers import Strangers

AGAIN = 0.1
"""Seconds until it is tried again to accept where there is no handle left."""


class TlsListener:
    """Listens, agrees on keys, and hands the connections on. Enter nothing: `start`, then `close`.

    Args:
        made: makes the protocol of a connection.
        patience: seconds a handshake may take.
    """

    def __init__(
        self, made: Callable[[], Connection], tls: ssl.SSLContext, patience: float, strangers: Strangers
    ) -> None:
        self._made, self._tls, self._patience, self._strangers = made, tls, patience, strangers
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen on every address of a host, on the same port; 0: a free one. Returns it. Raises OSError."""
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, *_, address in dict.fromkeys(infos):
            listener = socket.create_server((address[0], port), family=family, backlog=1024)
            listener.setblocking(False)
            port = listener.getsockname()[1]
            self._sockets.append(listener)
        for listener in self._sockets:
            self._spawn(self._accept(listener))
        return port

    async def close(self) -> None:
        """Listen no more, and drop what is no TLS connection yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._sockets:
            listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(AGAIN)
                continue
            connection = self._made()
            connection.knocks(str(address[0]), self._spawn(self._shake(connection, accepted)))

    async def _shake(self, connection: Connection, accepted: socket.socket) -> None:
        loop, done = asyncio.get_running_loop(), False
        try:
            await loop.connect_accepted_socket(
                lambda: connection, accepted, ssl=self._tls, ssl_handshake_timeout=self._patience
            )
            done = True
        except OSError:  # ssl.SSLError, TimeoutError and ConnectionError are: there is nobody to tell
            pass
        finally:
            if not done:
                self._strangers.left(connection)
                accepted.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name="mqtt-tls")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
