"""A hub for tests: real tables, real file store, two or three companies; a trainer and an inspector that do as they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from headrace.access import Principal
from headrace.assets import Dataset, Job, Model, Recipe, Stored, new_id
from headrace.errors import HeadraceError
from headrace.services.sharing.requests import NewDataset, NewGrant, NewModel, NewRecipe, Take
from headrace.services.sharing.service import SharingService
from headrace.stores.artifacts import Artifacts
from headrace.stores.artifacts.files import FileArtifacts
from headrace.stores.database import open_database, sqlite_url

PACKAGE = "headrace.services.sharing"


def person(company: str, *roles: str, name: str = "ann") -> Principal:
    """An admin unless said otherwise."""
    return Principal(company, name, "user", frozenset(roles or {"admin"}))


ACME, BOLT, CODA = person("acme"), person("bolt", name="bob"), person("coda", name="cleo")


class Clock:
    """Milliseconds that go on only when told."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        self.now += 1
        return self.now


class Trainer:
    """Queues at once; refuses with what `refuse` holds."""

    def __init__(self) -> None:
        self.validated: list[bytes] = []
        self.jobs: dict[str, Job] = {}
        self.asked = 0
        self.refuse: HeadraceError | None = None
        self.refuse_validation: HeadraceError | None = None

    async def validate(self, who: Principal, recipe: Recipe, code: Path) -> None:
        if self.refuse_validation:
            raise self.refuse_validation
        self.validated.append(code.read_bytes())

    async def submit(self, who: Principal, model: str, recipe: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        self.asked += 1
        if self.refuse:
            raise self.refuse
        job = Job(
            id=new_id("jb"), company=who.company, model=model, created_ms=1, created_by=who.subject, priority=priority
        )  # type: ignore[call-arg]
        return self.jobs.setdefault(model, job)


class Inspector:
    """Answers with `found`, or raises `fails`."""

    def __init__(self, **found: Any) -> None:
        self.found, self.fails, self.seen = found, None, []  # type: ignore[var-annotated]
        self.gate: asyncio.Event | None = None

    async def inspect(self, path: Path, kind: str, media: str) -> dict[str, Any]:
        self.seen.append((kind, media, path.is_file()))
        if self.gate:
            await self.gate.wait()
        if self.fails:
            raise self.fails
        return dict(self.found)


@contextlib.asynccontextmanager
async def opened(
    folder: Path, *, artifacts: Artifacts | None = None, clock: Callable[[], int] | None = None, **parts: Any
) -> AsyncIterator[SharingService]:
    """A hub over the data in a folder; opened again it goes on."""
    folder.mkdir(exist_ok=True)
    engine = await asyncio.to_thread(open_database, sqlite_url(folder / "hub.db"), PACKAGE)
    store = artifacts or FileArtifacts(folder / "artifacts")
    service = SharingService(engine, store, clock=clock or Clock(), scratch=folder / "scratch", **parts)
    try:
        async with service:
            yield service
    finally:
        engine.dispose()


def taking(hub: SharingService, company: str, data: bytes) -> Take:
    """An upload that waits to be finished."""

    async def take() -> Stored:
        incoming = await hub.artifacts.receive(company, new_id("up"))
        try:
            await incoming.write(data)
            return await incoming.finish()
        finally:
            await incoming.pause()

    return take


async def dataset(hub: SharingService, who: Principal, data: bytes = b"a,b\n1,2\n", **about: Any) -> Dataset:
    """A registered dataset."""
    new = NewDataset(**{"name": "plant", **about})
    return await hub.register.dataset(who, new, "plant.csv", taking(hub, who.company, data))


async def uploaded(hub: SharingService, who: Principal, data: bytes = b"weights", **about: Any) -> Model:
    """A model trained elsewhere."""
    new = NewModel(**{"name": "net", **about})
    return await hub.register.model(who, new, "net.onnx", taking(hub, who.company, data))


async def recipe(hub: SharingService, who: Principal, code: bytes = b"PK code", **given: Any) -> Model:
    """A model with a recipe, its job queued."""
    new = NewModel(name="net", recipe=NewRecipe(**given))
    assert new.recipe is not None
    return await hub.register.recipe(who, new, new.recipe, taking(hub, who.company, code))


async def grant(hub: SharingService, who: Principal, asset: str, grantee: str, right: str, **more: Any) -> str:
    """The id of a new grant."""
    new = NewGrant.model_validate({"asset": asset, "grantee": grantee, "right": right, **more})
    return (await hub.granting.grant(who, new)).id


async def train(hub: SharingService, trainer: Trainer, model: str, folder: Path, **files: bytes) -> Model:
    """Let the job of a model run and end well; `files`: name -> content."""
    job = trainer.jobs[model].model_copy(update={"state": "running"})
    await hub.began(job)
    folder.mkdir(exist_ok=True, parents=True)
    for name, data in (files or {"weights": b"w" * 10}).items():
        (folder / name).write_bytes(data)
    names = list(files or {"weights": b""})
    return await hub.trained(job.model_copy(update={"state": "done"}), folder, names, {"metrics": {"loss": 0.5}})


async def read(hub: SharingService, who: Principal, id: str, path: str = "") -> bytes:
    """A download of one file."""
    found = await hub.contents.open(who, id, path)
    return b"".join([chunk async for chunk in hub.contents.read(found)])
