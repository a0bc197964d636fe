"""The MQTT door: listeners, life-cycle, and what the rest of the platform sees of it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from headrace.errors import BadInput
from headrace.services.gateway.mqtt import websocket
from headrace.services.gateway.mqtt.connection import Connection
from headrace.services.gateway.mqtt.core import Core, LogWriter
from headrace.services.gateway.mqtt.requests import RequestHandler
from headrace.services.gateway.mqtt.session import Message
from headrace.services.gateway.mqtt.users import Users
from headrace.services.gateway.mqtt.wire import Property, Reason
from headrace.settings import MqttSettings
from headrace.topics import valid_topic

_SWEEP = 0.5
"""Seconds between looks at what has timed out: keep alives are whole seconds."""
_DRAIN = 5.0
"""Seconds a closing door waits for the log, and then for its clients."""


class MqttDoor:
    """An MQTT 3.1.1 and 5 server whose PUBACK means: fsynced in the log. Enter it in a running event loop.

    Args:
        settings: where to listen, and every limit.
        log: where readings go; the door calls nothing but `submit`.
        requests: answers what is published to ``headrace/predict/{model}`` and ``headrace/explain/{model}``.
        users: who may do what; None: as `settings.users` says.
        clock: monotonic seconds, for keep alives and expiries.
    """

    def __init__(
        self,
        settings: MqttSettings,
        log: LogWriter,
        requests: RequestHandler | None = None,
        users: Users | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._requests = settings, requests
        self._core = Core(settings, log, users, clock)
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self.port = 0
        """TCP port, once open."""
        self.tls_port = 0
        """TLS port, once open; 0: no TLS."""

    async def __aenter__(self) -> Self:
        settings, core = self._settings, self._core
        if core.users is None and settings.users is not None:
            core.users = Users.load(settings.users)
        try:
            self.port = await self._listen(settings.port)
            if settings.tls_certificate is not None:
                self.tls_port = await self._listen(settings.tls_port, _tls(settings))
        except BaseException:
            self._stop_listening()
            raise
        self._sweep()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        core = self._core
        self._stop_listening()
        core.closing = True
        for peer in list(core.peers):
            peer.quiet()
        await _until(lambda: not core.pending)  # so that what is committed is acknowledged too
        await core.cancel()
        for peer in list(core.peers):
            peer.end(Reason.SHUTTING_DOWN, "the server is shutting down")
        if not await _until(lambda: not core.peers):
            for peer in list(core.peers):
                peer.abort()
            await _until(lambda: not core.peers)
        if self._timer is not None:
            self._timer.cancel()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        qos: int = 1,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Send platform output to subscribers; it is not stored in the log. Call from the event loop's thread.

        Args:
            properties: user properties for v5 subscribers; ``content-type`` becomes MQTT's own content type.
        """
        core = self._core
        if not valid_topic(topic) or len(topic) > 16_000:
            raise BadInput(detail=f"{topic!r} is not a topic to publish to")
        core.counters.published += 1
        given = _properties(properties) if properties else {}
        message = Message(topic, payload, 1 if qos else 0, retain, properties=given)
        if retain:
            core.retained.keep(message)
        core.router.route(message)

    def publish_forecasts(self, topic: str, payloads: Sequence[bytes]) -> None:
        """`publish` of several payloads for one topic, retained: in order, and the last one stays."""
        core = self._core
        if not valid_topic(topic) or len(topic) > 16_000:
            raise BadInput(detail=f"{topic!r} is not a topic to publish to")
        core.counters.published += len(payloads)
        core.retained.keep(Message(topic, payloads[-1], 1, True))
        core.router.route_many(topic, payloads)

    def stats(self) -> dict[str, int]:
        """Totals since the door was opened, and how much it holds now."""
        core = self._core
        return asdict(core.counters) | {
            "connections": core.online,
            "half_open": len(core.peers) - core.online,
            "sessions": len(core.sessions),
            "retained": len(core.retained),
            "backlog_bytes": core.backlog.used,
            "backlog_dropped": core.backlog.dropped,
            "uncommitted_batches": core.pending,
        }

    async def handle_websocket(self, scope: websocket.Scope, receive: websocket.Receive, send: websocket.Send) -> None:
        """ASGI endpoint for MQTT over WebSockets; mount it at ``/mqtt``."""
        await websocket.serve(scope, receive, send, Connection(self._core, self._requests), self._settings.origins)

    def sweep(self) -> None:
        """Notice everything that has timed out; runs by itself twice a second."""
        self._core.sweep()

    def _sweep(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)
        self.sweep()

    async def _listen(self, port: int, tls: ssl.SSLContext | None = None) -> int:
        loop = asyncio.get_running_loop()
        extra: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": self._settings.connect_timeout} if tls else {}
        server = await loop.create_server(self._connection, self._settings.host, port, backlog=1024, **extra)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _connection(self) -> Connection:
        return Connection(self._core, self._requests)

    def _stop_listening(self) -> None:
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


def _properties(given: Mapping[str, str]) -> dict[int, Any]:
    user = [(name, value) for name, value in given.items() if name != "content-type"]
    found: dict[int, Any] = {Property.USER: user} if user else {}
    if "content-type" in given:
        found[Property.CONTENT_TYPE] = given["content-type"]
    return found


async def _until(condition: Callable[[], bool]) -> bool:
    """Wait for something that ends by itself, but not for ever; returns whether it did."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN):
            while not condition():
                await asyncio.sleep(0.001)
    return condition()
