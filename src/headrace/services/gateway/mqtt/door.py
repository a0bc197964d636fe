"""The MQTT door: listeners, life-cycle, and who is let in to which company."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from types import TracebackType
from typing import Self, cast

from headrace.services.gateway.mqtt import websocket
from headrace.services.gateway.mqtt.connection import Connection
from headrace.services.gateway.mqtt.core import Core, Peer
from headrace.services.gateway.mqtt.handshake import TlsListener
from headrace.services.gateway.mqtt.logins import Logins
from headrace.services.gateway.mqtt.users import Users
from headrace.services.gateway.mqtt.wire import Reason
from headrace.settings import MqttSettings

logger = logging.getLogger("headrace.mqtt")
_SWEEP = 0.5
"""Seconds between looks at what has timed out: keep alives are whole seconds."""
RECHECK = 5.0
"""Seconds between looks at whether those who are connected are still who they were: a deleted device is gone in that time."""


class MqttDoor:
    """An MQTT 3.1.1 and 5 server whose PUBACK means: fsynced in the log. Enter it in a running event loop.

    Args:
        core: the first company's: clients without a company, of the users file or with a certificate are let in there.
        logins: finds the company of all others; None: there is only the first.
        recheck: seconds between two looks at whether those who are connected may still be.
    """

    def __init__(self, core: Core, logins: Logins | None = None, *, recheck: float = RECHECK) -> None:
        self.core = core
        """The first company's."""
        self._settings, self._logins, self._recheck = core.settings, logins, recheck
        self.cores = {core}
        self._servers: list[asyncio.Server] = []
        self._tls: TlsListener | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self.port = 0
        """TCP port, once open."""
        self.tls_port = 0
        """TLS port, once open; 0: no TLS."""

    async def __aenter__(self) -> Self:
        settings, core = self._settings, self.core
        if core.users is None and settings.users is not None:
            core.users = Users.load(settings.users)
        try:
            self.port = await self._listen(settings.port)
            if settings.tls_certificate is not None:
                self.tls_port = await self._listen(settings.tls_port, _tls(settings))
        except BaseException:
            await self._stop_listening()
            raise
        self._sweep()
        if self._logins is not None:
            self._watch = asyncio.create_task(self._rechecking(self._logins), name="mqtt-recheck")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_listening()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await asyncio.gather(*(core.close() for core in self.cores))
        if self._timer is not None:
            self._timer.cancel()

    def admit(self, core: Core) -> None:
        """Another company's clients are let in from now on."""
        self.cores.add(core)

    def part(self, core: Core) -> None:
        """A company is not served any more; its connections end with its core."""
        self.cores.discard(core)

    async def handle_websocket(self, scope: websocket.Scope, receive: websocket.Receive, send: websocket.Send) -> None:
        """ASGI endpoint for MQTT over WebSockets; mount it at ``/mqtt``."""
        await websocket.serve(scope, receive, send, self._connection(), self._settings.origins)

    def sweep(self) -> None:
        """Notice everything that has timed out; runs by itself twice a second."""
        for core in self.cores:
            core.sweep()

    def _sweep(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)
        self.sweep()

    async def _rechecking(self, logins: Logins) -> None:
        while True:
            await asyncio.sleep(self._recheck)
            try:
                await self.recheck(logins)
            except Exception:  # a full disk, a busy database: the next time will do
                logger.exception("connected MQTT clients could not be looked up")

    async def recheck(self, logins: Logins) -> None:
        """Disconnect those whose token or login has expired, or was taken back."""
        for core in list(self.cores):
            links = [cast(Peer, session.link) for session in core.sessions.values() if session.link is not None]
            for number, peer in enumerate(links):
                if number % 500 == 499:
                    await asyncio.sleep(0)  # thousands of devices may not hold up everybody's messages
                if not await logins.still(peer.access, time.time()):
                    peer.end(Reason.NOT_AUTHORISED, "the login has expired or was taken back; log in again")

    async def _listen(self, port: int, tls: ssl.SSLContext | None = None) -> int:
        host, patience, loop = self._settings.host, self._settings.connect_timeout, asyncio.get_running_loop()
        if tls is not None:
            self._tls = TlsListener(self._connection, tls, patience, self.core.strangers)
            return await self._tls.start(host, port)
        server = await loop.create_server(self._connection, host, port, backlog=1024)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _connection(self) -> Connection:
        return Connection(self.core, self._logins)

    async def _stop_listening(self) -> None:
        if self._tls is not None:
            await self._tls.close()
        for server in self._servers:
            server.close()
        self._servers.clear()


def _tls(settings: MqttSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    assert settings.tls_certificate is not None
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    if settings.tls_client_ca is not None:
        context.load_verify_locations(settings.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if settings.tls_client_required else ssl.CERT_OPTIONAL
    return context
