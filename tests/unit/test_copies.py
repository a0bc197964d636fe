"""Bundles on the disk while they are sent: shared, counted by company, and never the last of the disk."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headrace.errors import Forbidden, StorageUnavailable, TooMany
from headrace.services.verification import copies as module
from headrace.services.verification.copies import Copies


class Maker:
    """Writes a file; says who asked for one that was there."""

    def __init__(self) -> None:
        self.made = self.shared = 0
        self.fails: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def make(self, target: Path) -> None:
        await self.gate.wait()
        if self.fails:
            raise self.fails
        self.made += 1
        target.write_bytes(b"bundle")

    async def share(self) -> None:
        if self.fails:
            raise self.fails
        self.shared += 1


class Desk:
    """Asks for copies."""

    def __init__(self, folder: Path) -> None:
        self.copies, self.maker, self.folder = Copies(folder), Maker(), folder

    def ask(self, company: str, what: str, size: int = 1) -> Any:
        return self.copies.copy(company, what, "a.bundle", size, self.maker.make, self.maker.share)

    async def read(self, company: str, what: str, size: int = 1) -> bytes:
        async with self.ask(company, what, size) as path:
            return Path(path).read_bytes()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_whoever_asks_for_the_same_has_the_same_file_until_the_last_has_read_it(desk: Desk) -> None:
    async with AsyncExitStack() as held:
        first = await held.enter_async_context(desk.ask("acme", "a"))
        for company in ("acme", "acme", "bolt"):
            assert await held.enter_async_context(desk.ask(company, "a")) == first
        other = await held.enter_async_context(desk.ask("acme", "b"))
        assert (desk.maker.made, desk.maker.shared, len(list(desk.folder.iterdir()))) == (2, 3, 2)
        assert other != first and first.read_bytes() == b"bundle"
        desk.maker.fails = Forbidden(detail="the grant ended")
        with pytest.raises(Forbidden):
            await desk.read("bolt", "a")
        desk.maker.fails = None
    assert not list(desk.folder.iterdir()) and not desk.copies._copies
    assert await desk.read("acme", "a") == b"bundle" and desk.maker.made == 3


async def test_when_its_maker_fails_or_goes_away_the_next_makes_it(desk: Desk) -> None:
    desk.maker.gate.clear()
    gone = asyncio.create_task(desk.read("acme", "a"))
    waiting = asyncio.create_task(desk.read("bolt", "a"))
    await asyncio.sleep(0.05)
    gone.cancel()
    await asyncio.wait({gone})
    desk.maker.gate.set()
    assert await waiting == b"bundle" and (desk.maker.made, desk.maker.shared) == (1, 0)
    desk.maker.fails = StorageUnavailable(detail="full")
    with pytest.raises(StorageUnavailable):
        await desk.read("acme", "a")
    assert not list(desk.folder.iterdir()) and not desk.copies._copies


async def test_a_company_has_one_large_one_at_a_time(desk: Desk) -> None:
    large = 2 * module.COMPANY_BYTES
    async with desk.ask("acme", "a", large):
        with pytest.raises(TooMany, match="1 bundles of large assets of your company"):
            await desk.read("acme", "b", large)
        with pytest.raises(TooMany):
            await desk.read("acme", "small")
        assert await desk.read("acme", "a", large) == await desk.read("bolt", "b", large) == b"bundle"
    async with desk.ask("acme", "a"), desk.ask("acme", "b"):
        pass


async def test_none_is_made_that_would_fill_the_disk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int
        used: int
        free: int

    disk = Usage(10**12, 0, module.SPARE + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    assert await desk.read("acme", "a", 1000) == b"bundle"
    with pytest.raises(StorageUnavailable, match="no room for a bundle of 1001 bytes"):
        await desk.read("acme", "a", 1001)
    desk.maker.gate.clear()
    making = asyncio.create_task(desk.read("acme", "a", 600))
    await asyncio.sleep(0.05)
    with pytest.raises(StorageUnavailable):  # what is being written is counted before it is there
        await desk.read("bolt", "b", 600)
    desk.maker.gate.set()
    assert await making == b"bundle"
    disk = Usage(20_000, 0, 2000)  # a small one
    assert await desk.read("acme", "a", 1000) == b"bundle"
    with pytest.raises(StorageUnavailable):
        await desk.read("acme", "a", 1001)
