"""One company on the platform: its own log, gateway, models, explanations, page and MQTT state.

Two companies share a process, its two ports, and nothing else: what one has can be named by the other, and is then not
there. Nothing here knows of other companies, nor asks who calls: that is the front's.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from headrace.access import LOCAL
from headrace.console.api import ConsoleApi
from headrace.console.reports import Reports
from headrace.distrust import reading
from headrace.services.gateway.http import IngestDoor
from headrace.services.gateway.mqtt import Core
from headrace.services.gateway.service import GatewayService
from headrace.services.learning.catalogue import Catalogue
from headrace.services.learning.deployed.service import Deployments, Source
from headrace.services.learning.explanations import Explanations
from headrace.services.learning.http import InferenceDoor
from headrace.services.learning.isolation import TRUSTED, Isolation
from headrace.services.learning.observer import SCHEMA as OBSERVED
from headrace.services.learning.parents import Weights
from headrace.services.learning.patiently import patiently
from headrace.services.learning.rederiving import Rederiving
from headrace.services.learning.registrar import Registrar
from headrace.services.learning.service import LearningService, Publish
from headrace.services.learning.webhooks import Webhooks
from headrace.services.sharing import Sharing
from headrace.settings import PlatformSettings
from headrace.streams.logs import open_reader
from headrace.streams.logs.sqlite import SqliteLog

PREDICT, EXPLAIN = "headrace/predict/", "headrace/explain/"


class Tenant:
    """One company's part of the platform. Enter it in a running event loop.

    Args:
        settings: the platform's; its limits hold for each company.
        company: its name.
        folder: its data directory.
        addresses: where the platform's doors are, for people to copy.
        isolation: how processes that run the company's own code are kept from everything else.
        weights: gives registered models to those that start from them.
        several: whether there are other companies; asked where code would run as the platform itself. Blocks.
        hub: where what its models publish is registered. Raises Temporary while there is none; None: nowhere.
        models: gives registered models that are to be deployed; None: nobody does.
    """

    def __init__(
        self,
        settings: PlatformSettings,
        company: str,
        folder: Path,
        addresses: dict[str, str],
        isolation: Isolation = TRUSTED,
        weights: Weights | None = None,
        several: Callable[[], bool] = bool,
        hub: Callable[[], Sharing] | None = None,
        models: Source | None = None,
    ) -> None:
        self._models = models
        self.company, self.folder = company, folder
        self._settings, self._addresses, self._isolation, self._weights = settings, addresses, isolation, weights
        self._several, self._hub = several, hub
        self.rederiving = Rederiving(folder, isolation)
        self._stack = AsyncExitStack()
        self.outputs: list[Publish] = []
        """Where forecasts and alerts go."""

    async def __aenter__(self) -> Tenant:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        settings, stack = self._settings, self._stack
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log = log = SqliteLog(self.folder, settings.partitions)
        stack.push_async_callback(log.aclose)
        hooks = Webhooks(self.folder, secret=self._secret(), private=settings.webhook_private and self.company == LOCAL)
        await stack.enter_async_context(hooks)
        self.registrar = registrar = self._registrar()
        learning = LearningService(
            log, self.folder, self._publish, checkpoint_seconds=settings.checkpoint_seconds, hooks=hooks,
            isolation=self._isolation, weights=self._weights, several=self._several, watcher=registrar,
        )  # fmt: skip
        self.explanations = Explanations(learning, isolation=self._isolation)
        deployments = Deployments(self.folder, self._models, self._isolation, settings.library.deployed)
        self.inference = InferenceDoor(
            learning, self.explanations, settings.body_limit, company=self.company, deployments=deployments
        )
        self.core = Core(settings.mqtt, log, self._answer)
        self.outputs.append(self.core.publish_forecasts)
        log.on_commit = learning.nudge
        self.learning = await stack.enter_async_context(learning)
        await stack.enter_async_context(deployments)
        if registrar is not None:
            registrar.start(learning.generations)
            stack.push_async_callback(registrar.stop)
        await stack.enter_async_context(self.explanations)
        self.gateway = await stack.enter_async_context(self._gateway())
        learning.republish()
        self.ingest = IngestDoor(log, settings.body_limit)
        catalogue = Catalogue(learning, deployments)
        self.api = ConsoleApi(log, self.gateway, learning, self.explanations, self._addresses, catalogue)
        stack.push_async_callback(self.core.close)
        stack.callback(self.api.close)
        routes = [*self.api.routes(), *Reports(self.folder / "reports").routes()]
        self.pages = pages(routes)

    def _registrar(self) -> Registrar | None:
        """What registers snapshots, open; closed after the learning service."""
        if self._hub is None or not self._settings.library.snapshots_kept:
            return None
        made = Registrar(self.company, self.folder, partial(open_reader, self.folder), self._hub, self._isolation)
        made.open()
        self._stack.callback(made.close)
        return made

    def _gateway(self) -> GatewayService:
        settings = self._settings
        return GatewayService(
            self.log,
            self.folder,
            self._slowest,
            age=settings.retention_age,
            size=settings.retention_size,
            every=settings.retention_seconds,
            pinned=self.learning.pinned,
            reader=None if self._isolation.trusted else partial(reading, schema=OBSERVED),
            look=None if self._isolation.trusted else self.learning.answers.look,
        )

    def _secret(self) -> bytes:
        """Key of webhook signatures. Each company's is another: what one may have signed must not pass for another's."""
        key = os.environ.get(self._settings.webhook_key_variable, "").encode()
        return key if self.company == LOCAL or not key else hmac.digest(key, self.company.encode(), "sha256")

    def _publish(self, topic: str, payloads: Sequence[bytes]) -> None:
        for output in self.outputs:
            output(topic, payloads)

    async def _answer(self, topic: str, payload: bytes) -> bytes:
        """A request that came over MQTT."""
        if topic.startswith(EXPLAIN):
            made = await patiently(lambda: self.inference.explain_over_mqtt(topic.removeprefix(EXPLAIN), payload))
            return await asyncio.to_thread(msgspec.json.encode, made)
        answer = await patiently(lambda: self.inference.over_mqtt(topic.removeprefix(PREDICT), payload))
        return msgspec.json.encode(answer)

    def _slowest(self) -> int:
        """The log position that every learner and the observer have saved, and that is hashed for snapshots."""
        places = [
            view.store.position() if view.store else 0 for view in self.learning.views.values() if not view.failed
        ]
        hashed = [] if self.registrar is None else [self.registrar.reached()]
        return min([self.gateway.understood.position(), *places, *hashed])


def pages(routes: list[Route]) -> Starlette:
    """Routes that say 404 and 405 as every other door does."""
    return Starlette(routes=routes, exception_handlers={404: _no_page, 405: _no_page})


async def _no_page(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 404
    message = f"there is nothing at {request.method} {request.url.path}."
    return JSONResponse({"error": message}, status, error.headers if isinstance(error, HTTPException) else None)
