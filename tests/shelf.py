"""A small hub over a folder, for tests of the training service: everything is a file, so that processes can share it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from headrace.access import Principal
from headrace.assets import (
    Dataset,
    Environment,
    Job,
    Limits,
    Model,
    OutputFile,
    Recipe,
    Right,
    Scalar,
    Stored,
    Verdict,
    new_id,
)
from headrace.errors import Forbidden, UnknownAsset
from headrace.services.training.service import TrainingService
from headrace.settings import MIB, TrainingSettings
from headrace.stores.database import open_database, sqlite_url

ANN = Principal("acme", "ann", "user", frozenset({"developer"}))
BOB = Principal("borg", "bob", "user", frozenset({"developer"}))
VIEWER = Principal("acme", "vic", "user", frozenset({"viewer"}))
SMALL = Limits(memory_bytes=512 * MIB, seconds=60, processes=32, output_bytes=64 * MIB, output_files=50, log_bytes=MIB)
QUICK = TrainingSettings(look=0.05, pause=0.05)
WRITES = "import os, pathlib\npathlib.Path(os.environ['HEADRACE_OUTPUT'], 'w.bin').write_bytes(b'weights')\n"
"""The least that is a training."""


def stored(data: bytes) -> Stored:
    """What some content is known by (the root is not looked at here)."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return Stored(size=len(data), sha256=digest, root=digest)


def archive(**files: str | bytes) -> bytes:
    """A zip; names with `__` for the dot: ``train__py="..."``."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as file:
        for name, text in files.items():
            file.writestr(zipfile.ZipInfo(name.replace("__", ".")), text)
    return into.getvalue()


def recipe(code: bytes, **more: Any) -> Recipe:
    """A recipe with small limits."""
    return Recipe(**{"code": stored(code), "limits": SMALL, "environment": Environment(), **more})


class Shelf:
    """`Sharing` over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[tuple[str, str]] = []
        self.left: int | None = None
        """Of every company's quota."""
        for part in ("records", "contents", "grants"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    # -- what tests put there

    def put(self, record: Dataset | Model) -> None:
        """Write a record."""
        part = self.folder / "records" / f"{record.id}.new"
        part.write_text(record.model_dump_json())
        part.replace(part.with_suffix(".json"))

    def keep(self, id: str, name: str, data: bytes) -> None:
        """Write a file of an asset."""
        path = self.folder / "contents" / id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def add_dataset(self, data: bytes, filename: str = "data.csv", company: str = "acme") -> str:
        """A dataset's id."""
        id = new_id("ds")
        common = {"id": id, "company": company, "name": filename, "created_ms": 0, "created_by": "ann", "media": "csv"}
        self.put(Dataset(**common, filename=filename, stored=stored(data)))
        self.keep(id, "data", data)
        return id

    def add_model(self, code: bytes | None, company: str = "acme", **more: Any) -> str:
        """A model's id: registered with a recipe, or uploaded (`code` None, `files` name -> bytes)."""
        id = new_id("md")
        common = {"id": id, "company": company, "name": "m", "created_ms": 0, "created_by": "ann"}
        files = more.pop("files", {})
        for name, data in files.items():
            self.keep(id, f"out/{name}", data)
        outputs = [OutputFile(path=name, stored=stored(data)) for name, data in files.items()]
        if code is None:
            self.put(Model(**common, state="uploaded", files=outputs, **more))
        else:
            self.keep(id, "code", code)
            self.put(Model(**common, state="registered", recipe=recipe(code, **more)))
        return id

    def grant(self, company: str, id: str, right: Right | None) -> None:
        """Open an asset to a company, or (None) close it again."""
        path = self.folder / "grants" / f"{company}-{id}"
        path.write_text(right) if right else path.unlink(missing_ok=True)

    def at(self, id: str) -> Any:
        """A record as it is."""
        kind = Dataset if id.startswith("ds") else Model
        return kind.model_validate_json((self.folder / "records" / f"{id}.json").read_text())

    # -- Sharing

    async def dataset(self, who: Principal, id: str) -> Dataset:
        found: Dataset = self._find(who, id)
        return found

    async def model(self, who: Principal, id: str) -> Model:
        found: Model = self._find(who, id)
        return found

    async def check(self, who: Principal, id: str, right: Right) -> None:
        found = self._find(who, id)
        if found.company != who.company and right not in {"derive": ("train", "derive")}.get(
            self._right(who, id), (self._right(who, id),)
        ):
            raise Forbidden(detail=f"{found.company!r} has not granted {who.company!r} to {right} {id}")

    @contextlib.asynccontextmanager
    async def content(self, who: Principal, id: str, right: Right) -> AsyncIterator[Path]:
        await self.check(who, id, right)
        found, here = self._find(who, id), self.folder / "contents" / id
        if isinstance(found, Dataset):
            yield here / "data"
        else:
            yield here / "out" / found.files[0].path if len(found.files) == 1 else here / "out"

    @contextlib.asynccontextmanager
    async def code(self, who: Principal, model: str) -> AsyncIterator[Path]:
        self._find(who, model)
        yield self.folder / "contents" / model / "code"

    async def began(self, job: Job) -> None:
        self.told.append((job.id, job.state))
        model = self.at(job.model)
        if model.state != "trained":
            states = {"queued": "registered", "running": "training"}
            held = {"held_for": job.held_for} if job.state == "running" else {}
            self.put(model.model_copy(update={"state": states.get(job.state, job.state), "job": job.id, **held}))

    async def trained(self, job: Job, output: Path, paths: Sequence[str], found: dict[str, Any]) -> Model:
        model: Model = self.at(job.model)
        if model.state == "trained" and model.job == job.id:
            return model
        files = {path: (output / path).read_bytes() for path in paths}
        for path, data in files.items():
            self.keep(model.id, f"out/{path}", data)
        outputs = [OutputFile(path=path, stored=stored(data)) for path, data in files.items()]
        model = model.model_copy(
            update={"state": "trained", "job": job.id, "files": outputs, "held_for": job.held_for, **found}
        )
        self.put(model)
        with (self.folder / "trained").open("a") as file:
            file.write(f"{job.id}\n")
        return model

    async def evaluated(self, job: Job, metrics: dict[str, Scalar]) -> Model:
        model: Model = self.at(job.model)
        held = {"held_for": job.held_for} if job.held_for else {}
        model = model.model_copy(update={"metrics": {**model.metrics, job.dataset: {"job": job.id, **metrics, **held}}})
        self.put(model)
        return model

    async def room(self, company: str) -> int | None:
        return self.left

    async def judged(self, model: str, verdict: Verdict, note: str) -> Model:
        found: Model = self.at(model)
        if found.reproducible != "never":
            found = found.model_copy(update={"reproducible": verdict, "reproducible_note": note})
            self.put(found)
        return found

    def _right(self, who: Principal, id: str) -> str:
        path = self.folder / "grants" / f"{who.company}-{id}"
        return path.read_text() if path.exists() else ""

    def _find(self, who: Principal, id: str) -> Any:
        kind = "dataset" if id.startswith("ds") else "model"
        if not (self.folder / "records" / f"{id}.json").exists():
            raise UnknownAsset(kind=kind, id=id)
        found = self.at(id)
        if found.company != who.company and not self._right(who, id):
            raise UnknownAsset(kind=kind, id=id)
        return found


@contextlib.asynccontextmanager
async def training(
    folder: Path, runner: Any, settings: TrainingSettings = QUICK, **more: Any
) -> AsyncIterator[TrainingService]:
    """A training service over the shelf in `folder`."""
    engine = await asyncio.to_thread(open_database, sqlite_url(folder / "training.db"), "headrace.services.training")
    try:
        shelf = more.pop("sharing", None) or Shelf(folder / "shelf")
        async with TrainingService(engine, shelf, runner, folder / "training", settings, **more) as service:
            yield service
    finally:
        engine.dispose()


async def until(
    service: TrainingService, id: str, wanted: Callable[[Job], bool], who: Principal = ANN, seconds: float = 60
) -> Job:
    """The job, as soon as that holds of it."""
    deadline = time.monotonic() + seconds
    while not wanted(job := await service.job(who, id)):
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.02)
    return job


async def ended(service: TrainingService, id: str, who: Principal = ANN) -> Job:
    """The job, when it has ended."""
    return await until(service, id, lambda job: job.state in {"done", "failed", "cancelled"}, who)


async def text(service: TrainingService, id: str, who: Principal = ANN, **more: Any) -> str:
    """A job's log."""
    return b"".join([piece async for piece in service.log(who, id, **more)]).decode()


def leftovers(folder: Path) -> list[str]:
    """What jobs have left on the disk."""
    return sorted(path.name for path in (folder / "training" / "runs").glob("*/*") if path.name != "lock")
