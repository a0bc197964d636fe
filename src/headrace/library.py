"""What companies share, composed: the hub and the training queue over one folder, with their doors."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy import Engine

from headrace.access import Principal
from headrace.assets import Job, Recipe
from headrace.errors import Temporary
from headrace.runners import Runner
from headrace.services.http import App, Receive, Scope, Send
from headrace.services.sharing import Sharing, Trainer
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
    "/internal",
    "/openapi/sharing.json",
    "/docs/sharing",
)
TRAINING = ("/jobs", "/openapi/training.json", "/docs/training")
"""How the paths of the two services begin."""
REPRODUCE = re.compile(r"/models/[^/]+/reproduce")


class Library:
    """Datasets, models and jobs of all companies. Enter it in a running event loop.

    Args:
        folder: databases, artifacts and runs; ours alone.
        runner: where other people's code runs.
        streams: opens a company's log.
    """

    def __init__(self, folder: Path, runner: Runner, streams: Streams, settings: LibrarySettings) -> None:
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
        folder, settings, runner, stack = self._folder, self._settings, self._runner, self._stack
        trainer = Later()
        self.sharing = hub = await open_hub(stack, folder, runner, self._streams, settings, trainer)
        self.training = trainer.trainer = queue = await open_queue(stack, folder, hub, runner, settings)
        self.apps |= dict.fromkeys(SHARING, sharing_http.create_app(hub))
        self.apps |= dict.fromkeys(TRAINING, training_http.create_app(queue))
        self.apps["/models"] = Models(self.apps["/models"], self.apps["/jobs"])


async def open_hub(
    stack: AsyncExitStack,
    folder: Path,
    runner: Runner,
    streams: Streams,
    settings: LibrarySettings,
    trainer: Trainer | None,
) -> SharingService:
    """The hub over a library's folder, until the stack is closed."""
    hub = SharingService(
        await _database(stack, folder, "sharing"),
        FileArtifacts(folder / "artifacts", settings.artifacts),
        SandboxInspector(runner, folder / "looks", settings.inspection),
        trainer,
        streams=streams,
        scratch=folder / "scratch",
    )
    return await stack.enter_async_context(hub)


async def open_queue(
    stack: AsyncExitStack, folder: Path, sharing: Sharing, runner: Runner, settings: LibrarySettings
) -> TrainingService:
    """The queue over a library's folder, until the stack is closed."""
    engine = await _database(stack, folder, "training")
    queue = TrainingService(engine, sharing, runner, folder / "training", settings.training)
    return await stack.enter_async_context(queue)


async def _database(stack: AsyncExitStack, folder: Path, service: str) -> Engine:
    url = sqlite_url(folder / f"{service}.db")
    engine = await asyncio.to_thread(open_database, url, f"headrace.services.{service}")
    stack.callback(engine.dispose)
    return engine


class Models:
    """``/models`` is the hub's, but for ``/models/ID/reproduce``: that asks the queue for a job."""

    def __init__(self, hub: App, queue: App) -> None:
        self._hub, self._queue = hub, queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self._queue if REPRODUCE.fullmatch(scope["path"]) else self._hub
        await door(scope, receive, send)


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
