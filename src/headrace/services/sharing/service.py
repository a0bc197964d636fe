"""The hub in process: one object with what others ask of it (`Sharing`), and a part for each thing people do with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Container, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine

from headrace.access import Principal
from headrace.assets import (
    AuditEntry,
    Dataset,
    Job,
    Lineage,
    Model,
    OutputFile,
    Right,
    Scalar,
    Snapshot,
    Translation,
    Verdict,
)
from headrace.errors import StorageUnavailable
from headrace.services.sharing import Inspector, Notary, Role, Store, Trainer, auditing, lineage
from headrace.services.sharing.anchoring import Anchoring
from headrace.services.sharing.book import Book
from headrace.services.sharing.comparing import Comparing
from headrace.services.sharing.contents import Contents
from headrace.services.sharing.derived import KEPT, Derived
from headrace.services.sharing.fence import Asset, Fence, Kind, Page, of_kind
from headrace.services.sharing.granting import Granting
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.inspecting import Inspecting
from headrace.services.sharing.leaving import Leaving
from headrace.services.sharing.promises import Doing, Worker
from headrace.services.sharing.registering import Registering
from headrace.services.sharing.removing import Removing
from headrace.services.sharing.results import Results
from headrace.services.sharing.streams import FromStreams, Streams
from headrace.stores.artifacts import Artifacts

RECORDED = 256
"""Assets that are being recorded at one time: those of one batch wait for each other."""
_log = logging.getLogger(__name__)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class SharingService:
    """Companies' datasets and models. `async with` it: promises left by an earlier run are kept while it is open.

    Args:
        engine: its tables, from ``open_database(url, "headrace.services.sharing")``.
        artifacts: where contents are; nobody else may use it.
        inspect: looks into files; None: nobody does.
        trainer: trains recipes; None: they are refused.
        clock: ms since the epoch; decides which grants are in force.
        streams: opens a company's log; None: no datasets of streams.
        scratch: a folder of its own for files that are being made; None: the system's.
        companies: names of those that may be granted something; blocks. None: not known, anybody.
        notary: has what is registered recorded on a ledger; None: there is none.
        anew: that ledger is empty at each start.
        snapshots_kept: snapshots of one online model whose weights are kept.
        registrations: datasets and models one company may register within 24 hours; of snapshots, which its own code publishes,
            as many besides. 0: no limit.
    """

    def __init__(
        self,
        engine: Engine,
        artifacts: Artifacts,
        inspect: Inspector | None = None,
        trainer: Trainer | None = None,
        clock: Callable[[], int] = now_ms,
        *,
        streams: Streams | None = None,
        scratch: Path | None = None,
        companies: Callable[[], Container[str]] | None = None,
        notary: Notary | None = None,
        anew: bool = False,
        snapshots_kept: int = KEPT,
        registrations: int = 0,
    ) -> None:
        self.artifacts = artifacts
        self.scratch = scratch
        self.registering: set[tuple[str, str]] = set()
        """(company, upload) of resumable uploads that are being registered."""
        self._hub = Hub(Book(engine), artifacts, clock, scratch, self.nudge, anchors=notary is not None)
        self._hub.pace.most = self._hub.published.most = registrations
        self.anchoring, self._anew = Anchoring(self._hub, notary), anew
        self.contents = Contents(self._hub, Comparing(self._hub, notary))
        self.granting = Granting(self._hub, companies)
        self.removing = Removing(self._hub)
        self.leaving = Leaving(self._hub)
        self.register = Registering(self._hub, trainer, inspect)
        self.streams = FromStreams(self._hub, self.register, streams)
        self.results = Results(self._hub, inspect is not None)
        self.derived = Derived(self._hub, self.contents, snapshots_kept)
        doings: list[dict[str, Doing]] = [{"submit": self.register.again}] if trainer is not None else []
        if inspect is not None:
            doings.append({"inspect": Inspecting(self._hub, self.contents, inspect).inspect})
        self._workers = [Worker(self._hub.book, doing) for doing in doings]
        if notary is not None:
            after = ["anchor", "revoke", *(["inspect"] if inspect is not None else [])]
            anchors: dict[str, Doing] = {"anchor": self.anchoring.anchor, "revoke": self.anchoring.kept_revoke}
            self._workers.append(Worker(self._hub.book, anchors, RECORDED, after, together=True))
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> SharingService:
        if self._hub.scratch is not None:
            await asyncio.to_thread(_emptied, self._hub.scratch)
        try:
            await self.removing.sweep()
            await self.anchoring.start(self._anew)
        except StorageUnavailable as error:
            _log.warning("contents nobody needs, and what was not recorded, are left until the next start: %s", error)
        self._tasks = [asyncio.create_task(worker.run(), name="hub-promises") for worker in self._workers]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._hub.noted()
        await self._hub.book.close()

    async def settled(self) -> None:
        """Until every promise that can be kept now has been, and every refusal is written down."""
        await self._hub.noted()
        for worker in self._workers:
            await worker.idle()

    def nudge(self) -> None:
        """Something was promised: look now, not at the next start."""
        for worker in self._workers:
            worker.wake()

    # -- Sharing

    async def dataset(self, who: Principal, id: str) -> Dataset:
        found = await self._record(who, id, "dataset")
        assert isinstance(found, Dataset)
        return found

    async def model(self, who: Principal, id: str) -> Model:
        found = await self._record(who, id, "model")
        assert isinstance(found, Model)
        return found

    async def check(self, who: Principal, id: str, right: Right) -> None:
        def read(connection: Connection) -> None:
            self._fence(connection, who).allowed(id, right)

        if right == "derive":  # a question about what may be kept, no attempt at anything
            await self._hub.book.read(read)
            return
        async with self._hub.refusing(who, right, id):
            await self._hub.book.read(read)

    def content(self, who: Principal, id: str, right: Right) -> AbstractAsyncContextManager[Path]:
        return self.contents.local(who, id, right)

    def code(self, who: Principal, model: str) -> AbstractAsyncContextManager[Path]:
        return self.contents.local(who, model, "read", "code")

    async def files(self, who: Principal, id: str, right: Right, role: Role = "content") -> list[OutputFile]:
        return list((await self.contents.kept(who, id, right, role)).files)

    async def pieces(
        self, who: Principal, id: str, right: Right, path: str, role: Role = "content"
    ) -> AsyncIterator[bytes]:
        async for piece in self.contents.piece(who, id, right, role, path):
            yield piece

    async def began(self, job: Job) -> None:
        await self.results.began(job)

    async def trained(self, job: Job, output: Path, paths: Sequence[str], found: dict[str, Any]) -> Model:
        return await self.results.trained(job, output, paths, found)

    async def evaluated(self, job: Job, metrics: dict[str, Scalar]) -> Model:
        return await self.results.evaluated(job, metrics)

    async def judged(self, model: str, verdict: Verdict, note: str) -> Model:
        return await self.results.judged(model, verdict, note)

    async def room(self, company: str) -> int | None:
        return await self._hub.artifacts.room(company)

    async def translated(
        self, who: Principal, of: str, translation: Translation, onnx: Path, found: dict[str, Any], name: str = ""
    ) -> Model:
        return await self.derived.translated(who, of, translation, onnx, found, name)

    async def snapshot(
        self, company: str, snapshot: Snapshot, name: str, weights: bytes, found: dict[str, Any]
    ) -> Model:
        return await self.derived.snapshot(company, snapshot, name, weights, found)

    # -- what people ask

    async def page(self, who: Principal, kind: Kind, page: Page) -> list[Asset]:
        """Datasets or models he may know of, the newest first."""
        return (await self.listed(who, kind, page))[0]

    async def listed(self, who: Principal, kind: Kind, page: Page) -> tuple[list[Asset], str | None]:
        """The same, and the id after which the next page begins; None: this is the last."""
        who.require("read")

        def read(connection: Connection) -> tuple[list[Asset], str | None]:
            fence = self._fence(connection, who)
            found, more = fence.page(kind, page)
            return [fence.shown(one) for one in found], found[-1].id if more else None

        return await self._hub.book.read(read)

    async def lineage(self, who: Principal, id: str) -> Lineage:
        """What an asset was made of, and what was made of it. Raises UnknownAsset."""
        async with self._hub.refusing(who, "lineage", id):
            who.require("read")
            return await self._hub.book.read(lambda connection: lineage.graph(self._fence(connection, who), id))

    async def audit(self, who: Principal, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """What his company's people did, and what others did with its assets. Raises Forbidden but for admins."""
        who.require("manage")
        await self._hub.noted()
        return await self._hub.book.read(lambda connection: auditing.entries(connection, who.company, limit, before))

    async def _record(self, who: Principal, id: str, kind: Kind) -> Asset:
        def read(connection: Connection) -> Asset:
            fence = self._fence(connection, who)
            return fence.shown(fence.find(id))

        async with self._hub.refusing(who, "look", id):
            of_kind(kind, id)
            found = await self._hub.book.read(read)
            who.require("read")
            return found

    def _fence(self, connection: Connection, who: Principal) -> Fence:
        return Fence(connection, who, self._hub.clock())


if TYPE_CHECKING:

    def _fits(service: SharingService) -> Store:
        return service


def _emptied(folder: Path) -> None:
    """What a killed run left there is of no use to anybody."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in folder.iterdir():
        with contextlib.suppress(OSError):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
