"""A house on a ledger with a queue that trains in the sandbox, and what climbing the ladder there finds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.access import Principal
from headrace.assets import Dataset, Job, Model, Recipe, Snapshot
from headrace.claims import Check, Level, Rederived, Report, digest
from headrace.runners.local import LocalRunner
from headrace.services.training.service import TrainingService
from headrace.services.translation.service import TranslationService
from headrace.stores.database import open_database, sqlite_url
from tests.hub import ACME, dataset, recipe
from tests.notary import House, Weather, house
from tests.shelf import QUICK, archive, ended
from tests.translating import translating

RUNNER = LocalRunner()
TRAINS = """import hashlib, os, pathlib
data = b"".join(pathlib.Path(path).read_bytes() for path in os.environ["HEADRACE_DATA"].split(":") if path)
out = pathlib.Path(os.environ["HEADRACE_OUTPUT"])
print("::progress 0.5 half way", flush=True)
(out / "w.bin").write_bytes(hashlib.sha256(data + os.environ["SEED"].encode()).digest() * 8)
(out / "metrics.json").write_text('{"loss": 0.5}')
"""
"""A recipe that costs nothing."""
SNAPSHOT = Snapshot(
    model="pv", generation="1", spec=digest(b"spec"), published_ms=5, first_position=1, last_position=9, records=9,
    root=digest(b"root"), environment=digest(b"environment"),
)  # fmt: skip


class Later:
    """The trainer, which is made after the hub."""

    service: TrainingService

    async def validate(self, who: Principal, recipe: Recipe, code: Path) -> None:
        await self.service.validate(who, recipe, code)

    async def submit(self, who: Principal, model: str, recipe: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        return await self.service.submit(who, model, recipe, priority, attempts)


class Replays:
    """Answers for whoever replays a log."""

    def __init__(self) -> None:
        self.found: Rederived | None = None
        self.weights: bytes | None = b""

    async def replay(
        self, company: str, model: Model, weights: bytes | None, tell: Callable[[float], None]
    ) -> Rederived:
        self.weights = weights
        tell(0.5)
        assert self.found is not None
        return self.found


@dataclass
class Standing:
    """All of it, running."""

    here: House
    queue: TrainingService
    replays: Replays
    translations: TranslationService

    async def trained(self, code: str = TRAINS, **given: Any) -> tuple[Dataset, Model]:
        """A dataset, and a model trained on it, both recorded."""
        data = await dataset(self.here.hub, ACME)
        model = await recipe(self.here.hub, ACME, archive(train__py=code), datasets=[data.id], **given)
        job = await ended(self.queue, model.job, ACME)
        assert job.state == "done", job
        await self.here.settled()
        return data, await self.here.hub.model(ACME, model.id)

    async def verify(self, id: str, level: Level = "L1", who: Principal = ACME) -> tuple[Report, list[Check]]:
        """The report, and every word before it."""
        words = [one async for one in self.here.notary.verify(who, id, level)]
        report = words[-1]
        assert isinstance(report, Report)
        said = [one for one in words[:-1] if isinstance(one, Check)]
        assert [one for one in said if one.state != "running"] == report.checks
        return report, said

    async def failing(self, id: str, level: Level = "L1") -> dict[str, str]:
        """Name -> detail of the checks that failed; nothing may have passed a level above them."""
        report, _ = await self.verify(id, level)
        failed = {one.name: one.detail for one in report.checks if one.state == "failed"}
        assert report.passed is not bool(failed)
        return failed

    def hub(self, sql: str, *values: Any) -> None:
        """Change the hub's database, as somebody could who has the file."""
        changed(self.here.folder / "hub.db", sql, *values)

    def index(self, sql: str, *values: Any) -> None:
        """Likewise that of the verification service."""
        changed(self.here.folder / "verification.db", sql, *values)

    def databases(self) -> list[Path]:
        """Files of the hub's and of the verification service's."""
        return [self.here.folder / "hub.db", self.here.folder / "verification.db"]

    def column(self, sql: str, *values: Any) -> Any:
        """One value of the verification service's database."""
        with contextlib.closing(sqlite3.connect(self.here.folder / "verification.db")) as db:
            return db.execute(sql, values).fetchone()[0]

    def record(self, id: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change a record in the hub's database."""
        table, path = "datasets" if id.startswith("ds") else "models", self.here.folder / "hub.db"
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            found = json.loads(db.execute(f"SELECT record FROM {table} WHERE id = ?", (id,)).fetchone()[0])
            change(found)
            db.execute(f"UPDATE {table} SET record = ? WHERE id = ?", (json.dumps(found), id))

    def content(self, sha256: str, company: str = "acme") -> Path:
        """A content's file in the store."""
        name = sha256.removeprefix("sha256:")
        found = [path for path in (self.here.folder / "artifacts").rglob(f"*{name[2:]}*") if path.is_file()]
        return min(found, key=lambda path: len(path.name))


def changed(path: Path, sql: str, *values: Any) -> None:
    """Change rows; at least one."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        assert db.execute(sql, values).rowcount > 0, sql


def flip(path: Path, place: int = 0) -> None:
    """Change a bit of a file, however it is protected."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(place)
        old = file.read(1)
        file.seek(place)
        file.write(bytes([old[0] ^ 1]))


@contextlib.asynccontextmanager
async def standing(folder: Path, weather: Weather | None = None, **parts: Any) -> AsyncIterator[Standing]:
    """It, over the data in a folder."""
    trainer, replays = Later(), Replays()
    folder.mkdir(exist_ok=True)
    engine = await asyncio.to_thread(open_database, sqlite_url(folder / "training.db"), "headrace.services.training")
    held: list[TranslationService] = []
    makers = (lambda: trainer.service, lambda: replays, lambda: held[0])
    try:
        async with contextlib.AsyncExitStack() as stack:
            opened = house(folder, weather, makers=makers, trainer=trainer, **parts)
            here = await stack.enter_async_context(opened)
            trainer.service = TrainingService(engine, here.hub, RUNNER, folder / "training", QUICK)
            held.append(await stack.enter_async_context(translating(here.hub, folder, RUNNER)))
            yield Standing(here, await stack.enter_async_context(trainer.service), replays, held[0])
    finally:
        engine.dispose()
