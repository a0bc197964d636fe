"""Promises are kept one at a time, and the companies take turns."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from headrace.services.sharing.book import Book
from headrace.services.sharing.promises import Promise, Worker, kept, promise
from headrace.stores.database import open_database, sqlite_url


async def test_one_companys_many_promises_do_not_keep_the_others_waiting(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "sharing.db"), "headrace.services.sharing")
    book, order = Book(engine), []

    async def keep(found: Promise) -> None:
        order.append((found.company, found.asset))
        await book.write(lambda connection: kept(connection, found.id))

    for number in range(4):
        await book.write(lambda connection, n=number: promise(connection, "inspect", f"e{n}", "evil"))
    for company in ("one", "two"):
        await book.write(lambda connection, c=company: promise(connection, "inspect", f"{c[0]}0", c))
    worker = Worker(book, {"inspect": keep})
    task = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await worker.idle()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await book.close()
    engine.dispose()
    assert order == [("evil", "e0"), ("one", "o0"), ("two", "t0"), ("evil", "e1"), ("evil", "e2"), ("evil", "e3")]
