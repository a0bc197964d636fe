"""The only module that knows every part: settings in, a running platform out."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from headrace import console, metrics, original
from headrace.access import LOCAL, Principal
from headrace.assets import Model
from headrace.claims import Rederived
from headrace.confining import isolation
from headrace.errors import Conflict, HeadraceError, NotAlone, NotOpen, Temporary
from headrace.front import LOOPBACK, Front, Guard, hosts
from headrace.library import Keys, Library
from headrace.listening import listen, locked, port_errors, served
from headrace.logins import CompanyLogins
from headrace.runners.choosing import ChoosingRunner
from headrace.runners.container import ContainerRunner
from headrace.runners.local import LocalRunner
from headrace.runners.unsafe import UnsafeRunner
from headrace.services import apidocs, identity
from headrace.services.entrance import Entrance, OpenEntrance
from headrace.services.gateway.forward import Forwarder
from headrace.services.gateway.mqtt import MqttDoor
from headrace.services.http import App
from headrace.services.identity.http import create_app as identity_app
from headrace.services.identity.service import IdentityService
from headrace.services.unread import Unread
from headrace.settings import PlatformSettings
from headrace.streams import brokers
from headrace.streams.logs import LogReader, open_reader
from headrace.tenant import Tenant, pages
from headrace.tenants import Tenants
from headrace.trust.identities.local import LocalIdentities

logger = logging.getLogger("headrace")
ANYBODY = Principal(LOCAL, "anybody", "install", frozenset({"operator", "admin"}))
"""Who everybody is on an open platform."""
FOLLOW = 2.0
"""Seconds between looks at whether a company was deleted."""


class Platform:
    """Everything in one process (and its workers), as `headrace up` runs it. Enter it in a running event loop."""

    def __init__(self, settings: PlatformSettings) -> None:
        self.settings = settings = replace(settings, data=settings.data.resolve())  # sandboxes work elsewhere
        self.addresses: dict[str, str] = {}
        self.ready_seconds = 0.0
        self.apps: dict[str, App] = {}
        """Doors of other services, by the first part of their paths: ``{"/datasets": app}``."""
        self._library: Library | None = None
        self._followed = 0
        """Generation of the identities up to which deleted companies were closed."""
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
        self.identities = identities = LocalIdentities(settings.data / "identity")
        await stack.enter_async_context(identities)
        self._check_open()
        tenants = Tenants(
            settings,
            self.addresses,
            self._companies,
            partial(isolation, settings=settings.confined),
            self,
            lambda: self.library.sharing,
            self,
        )
        self.tenants = await stack.enter_async_context(tenants)
        logins = CompanyLogins(identities, self._tenant, loopback=self._loopback, open_=settings.open)
        self.door = door = MqttDoor(self.local.core, logins)
        tenants.opened.append(lambda tenant: door.admit(tenant.core))
        tenants.closed.append(lambda tenant: door.part(tenant.core))
        with port_errors(settings.mqtt.host, settings.mqtt.port, "--mqtt-port"):
            await stack.enter_async_context(door)
        if settings.broker:
            await self._external(settings.broker)
        self.local.learning.clean()
        await self._share()
        await self._serve()
        self._background(self._following(), "companies")

    async def _share(self) -> None:
        """Open the library and mount its doors."""
        data, settings = self.settings.data.resolve(), self.settings.library
        own = UnsafeRunner() if settings.unsafe else LocalRunner(private=[data])
        runner = ChoosingRunner(own, ContainerRunner())
        self._library = library = await self._stack.enter_async_context(
            Library(data / "library", runner, self._stream, settings, self._companies, self)
        )
        await library.follow(await asyncio.to_thread(self._companies))
        self.apps |= library.apps
        if self.settings.open:  # its clients know of no tokens
            self.apps |= original.doors(
                library.sharing, library.training, library.verification, settings.artifacts.upload_bytes
            )

    async def weights(self, who: Principal, id: str) -> tuple[str, bytes]:
        """See `headrace.services.learning.parents.Weights`: from the library, which is opened after the companies."""
        return await self.library.weights(who, id)

    async def onnx(self, who: Principal, id: str) -> tuple[str, bytes]:
        """See `headrace.services.learning.deployed.service.Source`."""
        return await self.library.onnx(who, id)

    async def replay(
        self, company: str, model: Model, weights: bytes | None, tell: Callable[[float], None]
    ) -> Rederived:
        """See `headrace.services.verification.Rederiver`."""
        return await (await self._tenant(company)).rederiving.replay(model, weights, tell)

    @property
    def library(self) -> Library:
        """Datasets, models and jobs. Raises Temporary while it is being opened, after the companies."""
        if self._library is None:
            raise Temporary(detail="the library of models is starting")
        return self._library

    def _stream(self, company: str) -> LogReader:
        return open_reader(self.tenants.folder(company))

    @property
    def _loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return {self.settings.http_host, self.settings.mqtt.host} <= LOOPBACK

    def _companies(self) -> dict[str, int]:
        """Every company, with the time of its creation."""
        return {name: created for name, created, _ in self.identities.people.companies()}

    def _check_open(self) -> None:
        """Raises NotOpen where `--open` would open what is not one person's."""
        if self.settings.open and not self._loopback:
            raise NotOpen(reason="others can reach this address (--host)")
        several = len(self._companies()) > 1
        if self.settings.open and several:
            raise NotOpen(reason="there are several companies here (`headrace company list`)")
        if self.settings.library.unsafe and (several or not self._loopback):
            raise NotAlone(
                reason="there are several companies here" if several else "others can reach this address (--host)"
            )

    async def _added(self, company: str) -> None:
        """A company was added. Raises Conflict where it may not be."""
        if self.settings.open:
            raise Conflict(detail="this platform asks nobody for a token (`--open`); start it without to add companies")
        if self.settings.library.unsafe:
            raise Conflict(
                detail="jobs run without a sandbox here (`--unsafe-no-sandbox`); start it without to add companies"
            )
        await self.library.opened(company)
        await self.tenants.get(company)

    async def _deleted(self, company: str) -> None:
        """One was deleted: nothing of it goes on."""
        await self.tenants.follow()
        await self.library.closed(company)

    async def _tenant(self, company: str) -> Tenant:
        """A company's part of the platform; what deleted companies left open is closed first."""
        if self._followed != self.identities.generation:
            generation = self.identities.generation
            await self.tenants.follow()
            self._followed = generation
        return await self.tenants.get(company)

    async def _following(self) -> None:
        """Companies with data go on after a restart; deleted ones are closed, though nobody calls."""
        await self.tenants.resume()
        while True:
            await asyncio.sleep(FOLLOW)
            try:
                await self._tenant(LOCAL)
            except Exception:  # a full disk, a busy database: the next time will do
                logger.exception("deleted companies could not be closed")

    def login(self) -> dict[str, str]:
        """How its owner gets in: ``login``, a link that lets one browser in, once, and ``token_file``. Nothing if it is open."""
        if self.settings.open:
            return {}
        code = self.identities.sessions.code(None)
        return {"token_file": str(self.token_file.resolve()), "login": f"{self.addresses['http']}/login?code={code}"}

    @property
    def token_file(self) -> Path:
        """The file with the token of this install, for its owner's eyes."""
        return self.settings.data / "identity" / "token"

    def _identity(self) -> None:
        """Mount the identity service's doors."""
        self.identities.base = self.addresses["http"]
        app = identity_app(IdentityService(self.identities, opened=self._added, closed=self._deleted))
        doors = [*identity.PATHS, *apidocs.paths("identity")]
        verification = self.apps["/keys"]
        self.apps |= {path.rstrip("/"): app for path in doors}
        self.apps["/keys"] = Keys(app, verification)

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
        self._identity()
        doors = Front(self._tenant, self.metrics, self.door.handle_websocket, self.apps, pages(console.routes()))
        front = Unread(doors)  # who reads no answers does not fill the memory with them
        entrance: App = Entrance(front, self.identities, self.identities.sessions)
        if settings.open:
            entrance = OpenEntrance(front, ANYBODY)
        guard = Guard(entrance, hosts(settings.http_host, port, settings.http_names))
        await self._stack.enter_async_context(served(guard, listener, settings.http))
        self._stack.callback(self._quiet)

    def _quiet(self) -> None:
        """Answers that go on and on end now: the server waits for them."""
        for tenant in self.tenants.open.values():
            tenant.api.closing.set()
        if self._library is not None:
            self._library.quiet()

    def overview(self) -> dict[str, Any]:
        """The first company at a glance, as its page shows it."""
        return self.local.api.overview()

    def metrics(self) -> bytes:
        """The Prometheus page."""
        return metrics.page(self.tenants.open.values())


async def _said(work: Awaitable[None]) -> None:
    """Await something in the background; our own errors become a line for people."""
    try:
        await work
    except HeadraceError as error:
        print(f"headrace: {error}", file=sys.stderr)
