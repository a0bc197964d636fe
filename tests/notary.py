"""A hub with a verification service over a folder, and a ledger whose weather tests make: gone, slow, or dying in the middle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.errors import Temporary
from headrace.services.sharing import promises
from headrace.services.sharing.service import SharingService
from headrace.services.verification.service import VerificationService
from headrace.settings import VerificationSettings
from headrace.stores.database import open_database, sqlite_url
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Act, Anchored, Contract, Ledger, Receipt, Status
from headrace.trust.ledgers.memory import MemoryLedger
from tests import hub as hubs

PACKAGE = "headrace.services.verification"
QUICK = VerificationSettings(ledger="memory", batch_leaves=8, batch_seconds=0.05)


class Weather:
    """A real ledger behind a bad line: every verb goes through, late, or not at all."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger: Ledger = ledger or MemoryLedger()
        self.gone = False
        self.dies = False
        """It does what is asked, and the answer is lost."""
        self.slow = 0.0
        self.acts: list[Act] = []
        self.reads = 0

    async def _pass(self) -> None:
        if self.slow:
            await asyncio.sleep(self.slow)
        if self.gone:
            raise Temporary(detail="the ledger does not answer")

    async def account(self, company: str) -> str:
        await self._pass()
        return await self.ledger.account(company)

    async def submit(self, company: str, acts: Sequence[Act]) -> list[Receipt]:
        await self._pass()
        self.acts += acts
        found = await self.ledger.submit(company, acts)
        if self.dies:
            raise Temporary(detail="the ledger went away")
        return found

    async def read(self, address: str) -> Contract:
        await self._pass()
        self.reads += 1
        return await self.ledger.read(address)

    async def anchored(self, transaction: str) -> Anchored:
        await self._pass()
        self.reads += 1
        return await self.ledger.anchored(transaction)

    async def evidence(self, transaction: str) -> dict[str, Any]:
        await self._pass()
        return await self.ledger.evidence(transaction)

    async def status(self) -> Status:
        await self._pass()
        return await self.ledger.status()


@dataclass
class House:
    """All of it, running."""

    hub: SharingService
    notary: VerificationService
    weather: Weather
    folder: Path

    async def settled(self) -> None:
        """Until everything that can be recorded now is."""
        await asyncio.wait_for(self.hub.settled(), 20)

    async def done(self) -> None:
        """Until nothing is promised any more, also what has to be tried again."""

        async def empty() -> bool:
            count = await self.hub._hub.book.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM pending").scalar())
            return not count

        await until(empty)


@contextlib.asynccontextmanager
async def house(
    folder: Path,
    weather: Weather | None = None,
    settings: VerificationSettings = QUICK,
    anchors: bool = True,
    makers: tuple[Any, ...] = (),
    **parts: Any,
) -> AsyncIterator[House]:
    """A hub over the data in a folder; opened again, with the same ledger, it goes on.

    Args:
        anchors: false: the hub itself has nothing recorded.
        makers: give who runs recipes again, who replays logs, who translates again.
    """
    folder.mkdir(exist_ok=True)
    engine = await asyncio.to_thread(open_database, sqlite_url(folder / "verification.db"), PACKAGE)
    ledger = weather or Weather()
    held: list[SharingService] = []
    notary = VerificationService(engine, ledger, lambda: held[0], Keyring(folder / "keys"), settings, None, *makers)
    try:
        async with notary, hubs.opened(folder, notary=notary if anchors else None, **parts) as hub:
            held.append(hub)
            yield House(hub, notary, ledger, folder)
    finally:
        engine.dispose()


@contextlib.contextmanager
def impatient() -> Any:
    """Promises are tried again at once."""
    before = promises.PAUSE
    promises.PAUSE = 0.05
    try:
        yield
    finally:
        promises.PAUSE = before


async def until(wanted: Any, seconds: float = 10) -> Any:
    """What an async function gives, as soon as it is true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (found := await wanted()):
        assert asyncio.get_running_loop().time() < deadline, "it did not come to that"
        await asyncio.sleep(0.01)
    return found
