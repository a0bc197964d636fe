"""What companies share, composed: the hub and the training queue over one folder, with their doors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Container
from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy import Engine

from headrace.access import Principal
from headrace.assets import Job, Recipe
from headrace.errors import Conflict, Temporary
from headrace.runners import Runner
from headrace.services.http import App, Receive, Scope, Send
from headrace.services.sharing import Trainer
from headrace.services.sharing import http as sharing_http
from headrace.services.sharing.sandboxed import SandboxInspector
from headrace.services.sharing.service import SharingService
from headrace.services.sharing.streams import Streams
from headrace.services.training import http as training_http
from headrace.services.training.service import TrainingService
from headrace.settings import LibrarySettings
from headrace.stores.artifacts.files import FileArtifacts
from headrace.stores.database import open_database, sqlite_url

SHARING = (
    "/datasets",
    "/models",
    "/lineage",
    "/grants",
    "/audit",
    "/uploads",
    "/openapi/sharing.json",
    "/docs/sharing",
)
TRAINING = ("/jobs", "/openapi/training.json", "/docs/training")
"""How the paths of the two services begin."""
_REPRODUCE = re.compile(r"/models/[^/]+/reproduce")


class Library:
    """Datasets, models and jobs of all companies. Enter it in a running event loop.

    Args:
        folder: databases, artifacts and runs; ours alone.
        runner: where other people's code runs.
        streams: opens a company's log.
        companies: names of those there are; blocks. None: not known, and grants to anybody are taken.
    """

    def __init__(
        self,
        folder: Path,
        runner: Runner,
        streams: Streams,
        settings: LibrarySettings,
        companies: Callable[[], Container[str]] | None = None,
    ) -> None:
        self._companies = companies
        self._folder, self._runner, self._streams, self._settings = folder, runner, streams, settings
        self._stack = AsyncExitStack()
        self.apps: dict[str, App] = {}
        """Doors by the first part of their paths."""

    async def __aenter__(self) -> Library:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        folder, settings, runner = self._folder, self._settings, self._runner
        trainer = Later()
        hub = SharingService(
            await self._database("sharing"),
            FileArtifacts(folder / "artifacts", settings.artifacts),
            SandboxInspector(runner, folder / "looks", settings.inspection),
            trainer,
            streams=self._streams,
            scratch=folder / "scratch",
            companies=self._companies,
        )
        self.sharing = await self._stack.enter_async_context(hub)
        queue = TrainingService(await self._database("training"), hub, runner, folder / "training", settings.training)
        self.training = trainer.trainer = await self._stack.enter_async_context(queue)
        sharing, training = sharing_http.create_app(hub), training_http.create_app(queue)
        self.apps |= dict.fromkeys(SHARING, sharing) | dict.fromkeys(TRAINING, training)
        self.apps["/models"] = split(sharing, training)

    async def opened(self, company: str) -> None:
        """A company was added. Raises Conflict where another one of that name has left something: it would be the new one's."""
        if await self.sharing.leaving.known(company) or await self.training.known(company):
            raise Conflict(
                detail=f"a company {company!r} was deleted, and records are left that name it (tombstones, grants, jobs, "
                "the audit log): a new one would be taken for it; choose another name"
            )
        self.sharing.leaving.opened(company)

    async def closed(self, company: str) -> None:
        """A company was deleted: its jobs end, its uploads and contents go, its grants end."""
        await self.training.close(company)
        await self.sharing.leaving.close(company)

    async def follow(self, companies: Container[str]) -> None:
        """Close those that were deleted when nobody could do so: the platform was killed in between."""
        for company in sorted(await self.sharing.leaving.companies() | await self.training.companies()):
            if company not in companies:
                await self.closed(company)

    async def _database(self, service: str) -> Engine:
        url = sqlite_url(self._folder / f"{service}.db")
        engine = await asyncio.to_thread(open_database, url, f"headrace.services.{service}")
        self._stack.callback(engine.dispose)
        return engine


def split(sharing: App, training: App) -> App:
    """The doors of registered models: their jobs are the training service's."""

    async def models(scope: Scope, receive: Receive, send: Send) -> None:
        app = training if scope["type"] == "http" and _REPRODUCE.fullmatch(scope["path"]) else sharing
        await app(scope, receive, send)

    return models


class Later:
    """A trainer that is made after whoever needs it: the hub and the queue need each other."""

    trainer: Trainer | None = None

    async def validate(self, who: Principal, recipe: Recipe, code: Path) -> None:
        """See `Trainer`."""
        await self._ready().validate(who, recipe, code)

    async def submit(self, who: Principal, model: str, recipe: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        """See `Trainer`."""
        return await self._ready().submit(who, model, recipe, priority, attempts)

    def _ready(self) -> Trainer:
        if self.trainer is None:
            raise Temporary(detail="the training service is starting")
        return self.trainer
