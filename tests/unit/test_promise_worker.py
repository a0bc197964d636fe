"""The worker that keeps promises: order per asset, several at a time, back-off together, numbers that are never given again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from headrace.errors import Temporary
from headrace.services.sharing import promises
from headrace.services.sharing.book import Book
from headrace.services.sharing.promises import Promise, Waits, Worker, kept, promise
from headrace.stores.database import open_database, sqlite_url


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    before, promises.PAUSE = promises.PAUSE, 0.02
    yield
    promises.PAUSE = before


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    engine = await asyncio.to_thread(open_database, sqlite_url(tmp_path / "hub.db"), "headrace.services.sharing")
    book = Book(engine)
    yield book
    await book.close()
    engine.dispose()


class Deeds:
    """What was done, and how it goes."""

    def __init__(self, book: Book) -> None:
        self.book, self.done, self.tried = book, list[str](), list[str]()
        self.away: set[str] = set()
        self.waits: dict[str, str] = {}
        self.now, self.most = 0, 0

    async def do(self, found: Promise) -> None:
        self.tried.append(found.asset)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.02)
            if found.asset in self.away:
                raise Temporary(detail="away")
            if (other := self.waits.get(found.asset)) and other not in self.done:
                raise Waits(detail=other)
            await self.book.write(lambda connection: kept(connection, found.id))
            self.done.append(found.asset)
        finally:
            self.now -= 1


async def put(book: Book, *wanted: tuple[str, str], company: str = "acme") -> None:
    def write(connection: Connection) -> None:
        for kind, asset in wanted:
            promise(connection, kind, asset, company)

    await book.write(write)


@contextlib.asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_several_at_a_time_and_never_two_of_one_asset(book: Book) -> None:
    deeds = Deeds(book)
    await put(book, *[("anchor", f"a{number % 4}") for number in range(12)])
    worker = Worker(book, {"anchor": deeds.do}, parallel=8, after=["anchor"])
    async with working(worker):
        await asyncio.wait_for(worker.idle(), 10)
    assert sorted(deeds.done) == sorted(f"a{number % 4}" for number in range(12)) and deeds.most == 4


@pytest.mark.parametrize("parallel", [1, 2])
async def test_companies_take_turns(book: Book, parallel: int) -> None:
    deeds = Deeds(book)
    await put(book, *[("anchor", f"a{number}") for number in range(6)])
    await put(book, *[("anchor", f"b{number}") for number in range(2)], company="bolt")
    worker = Worker(book, {"anchor": deeds.do}, parallel)
    async with working(worker):
        await asyncio.wait_for(worker.idle(), 10)
    assert deeds.tried == ["a0", "b0", "a1", "b1", "a2", "a3", "a4", "a5"]


async def test_another_kind_of_the_same_asset_comes_first(book: Book) -> None:
    deeds = Deeds(book)
    await put(book, ("inspect", "a"), ("anchor", "a"), ("anchor", "b"))
    worker = Worker(book, {"anchor": deeds.do}, parallel=4, after=["inspect", "anchor"])
    async with working(worker):
        await asyncio.wait_for(worker.idle(), 10)
        assert deeds.done == ["b"]
        await book.write(lambda connection: promises.drop(connection, "a", "inspect"))
        worker.wake()
        await asyncio.wait_for(worker.idle(), 10)
    assert deeds.done == ["b", "a"]


async def test_what_waits_goes_on_when_the_other_is_there(book: Book) -> None:
    promises.PAUSE = 60.0
    deeds = Deeds(book)
    deeds.waits = {"model": "data"}
    await put(book, ("anchor", "model"), ("anchor", "data"))
    worker = Worker(book, {"anchor": deeds.do}, parallel=2)
    async with working(worker):
        await asyncio.wait_for(_until(lambda: deeds.done == ["data", "model"]), 5)


async def test_what_is_away_for_one_is_away_for_all(book: Book) -> None:
    deeds = Deeds(book)
    deeds.away = {f"a{number}" for number in range(20)}
    await put(book, *[("anchor", one) for one in sorted(deeds.away)])
    worker = Worker(book, {"anchor": deeds.do}, parallel=5, together=True)
    async with working(worker):
        await asyncio.sleep(1)
        assert len(deeds.tried) <= 14 and len(set(deeds.tried)) == len(deeds.tried)  # one at a time, each has its turn
        deeds.away = {"a0"}
        worker.wake()
        await asyncio.wait_for(_until(lambda: len(deeds.done) == 19), 10)  # one that never goes keeps nobody else


async def test_a_number_is_never_given_again(book: Book) -> None:
    found = []
    for _ in range(3):
        number = await book.write(lambda connection: promise(connection, "anchor", "a", "acme"))
        found.append(number)
        await book.write(lambda connection, number=number: kept(connection, number))  # type: ignore[misc]
    assert len(set(found)) == 3


async def _until(wanted: object) -> None:
    assert callable(wanted)
    while not wanted():
        await asyncio.sleep(0.01)
