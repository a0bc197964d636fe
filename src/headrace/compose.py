"""The only module that knows every part: settings in, a running platform out."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from headrace import console, metrics
from headrace.access import LOCAL, Principal
from headrace.errors import HeadraceError
from headrace.front import Front, Guard, hosts
from headrace.listening import listen, locked, port_errors, served
from headrace.services.entrance import OpenEntrance
from headrace.services.gateway.forward import Forwarder
from headrace.services.gateway.mqtt import MqttDoor
from headrace.services.http import App
from headrace.services.learning.isolation import Isolation
from headrace.settings import PlatformSettings
from headrace.streams import brokers
from headrace.tenant import Tenant, pages
from headrace.tenants import Tenants

ANYBODY = Principal(LOCAL, "anybody", "install", frozenset({"operator", "admin"}))
"""Who everybody is on an open platform."""


class Platform:
    """Everything in one process (and its workers), as `headrace up` runs it. Enter it in a running event loop."""

    def __init__(self, settings: PlatformSettings) -> None:
        self.settings = settings
        self.addresses: dict[str, str] = {}
        self.ready_seconds = 0.0
        self.apps: dict[str, App] = {}
        """Doors of other services, by the first part of their paths: ``{"/datasets": app}``."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Platform:
        started = time.monotonic()
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        self.ready_seconds = time.monotonic() - started
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def local(self) -> Tenant:
        """The platform's first company."""
        return self.tenants.local

    async def _open(self) -> None:
        settings, stack = self.settings, self._stack
        stack.enter_context(locked(settings.data))
        self.tenants = await stack.enter_async_context(Tenants(settings, self.addresses, isolation))
        self.door = door = MqttDoor(self.local.core)
        with port_errors(settings.mqtt.host, settings.mqtt.port, "--mqtt-port"):
            await stack.enter_async_context(door)
        self.tenants.opened.append(lambda tenant: door.admit(tenant.core))
        if settings.broker:
            await self._external(settings.broker)
        self.local.learning.clean()
        await self._serve()

    async def _external(self, url: str) -> None:
        """Bridge an external broker to the first company."""
        local = self.local
        broker = await self._stack.enter_async_context(brokers.open(url))
        local.outputs.append(await self._stack.enter_async_context(Forwarder(broker.publish)))
        bridge = local.gateway.bridge(broker, list(self.settings.broker_topics), local.learning.publishes)
        self._background(_said(bridge), "bridge")  # a broker that is down must not keep us from starting

    def _background(self, work: Awaitable[None], name: str) -> None:
        task = asyncio.ensure_future(work)

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(stop)

    async def _serve(self) -> None:
        settings = self.settings
        with port_errors(settings.http_host, settings.http_port, "--http-port"):
            listener = listen(settings.http_host, settings.http_port)
        port = listener.getsockname()[1]
        self.addresses |= {
            "http": f"http://{settings.http_host}:{port}",
            "mqtt": f"{settings.mqtt.host}:{self.door.port}",
        }
        front = Front(self.tenants.get, self.metrics, self.door.handle_websocket, self.apps, pages(console.routes()))
        guard = Guard(OpenEntrance(front, ANYBODY), hosts(settings.http_host, port, settings.http_names))
        await self._stack.enter_async_context(served(guard, listener))
        self._stack.callback(self._quiet)

    def _quiet(self) -> None:
        """Answers that go on and on end now: the server waits for them."""
        for tenant in self.tenants.open.values():
            tenant.api.closing.set()

    def overview(self) -> dict[str, Any]:
        """The first company at a glance, as its page shows it."""
        return self.local.api.overview()

    def metrics(self) -> bytes:
        """The Prometheus page."""
        return metrics.page(self.tenants.open.values())


def isolation(folder: Path) -> Isolation:
    """How the code of a company other than the first is kept in its folder."""
    return Isolation(reason="this platform has no sandbox yet")


async def _said(work: Awaitable[None]) -> None:
    """Await something in the background; our own errors become a line for people."""
    try:
        await work
    except HeadraceError as error:
        print(f"headrace: {error}", file=sys.stderr)
