"""How many registrations a company has a day."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.access import LOCAL, Principal
from headrace.errors import TooMany
from headrace.services.sharing.requests import NewDataset
from headrace.services.sharing.service import SharingService
from tests import hub as hubs
from tests.snapshots import snapshot

ANN, BEA = hubs.ACME, hubs.BOLT
HOUR = 3_600_000


async def register(hub: SharingService, who: Principal, name: str) -> str:
    new = NewDataset(name=name)
    return (await hub.register.dataset(who, new, "a.csv", hubs.taking(hub, who.company, name.encode()))).id


async def test_a_company_registers_so_many_a_day_across_starts_and_deletions(tmp_path: Path) -> None:
    now = [100 * HOUR]
    async with hubs.opened(tmp_path / "hub", clock=lambda: now[0], registrations=2) as hub:
        await hub.removing.delete(ANN, await register(hub, ANN, "one"))
        now[0] += HOUR
        await register(hub, ANN, "two")
        with pytest.raises(TooMany, match="registered 2 datasets and models within 24 hours"):
            await register(hub, ANN, "three")
        await register(hub, BEA, "another company's")
    async with hubs.opened(tmp_path / "hub", clock=lambda: now[0], registrations=2) as hub:
        with pytest.raises(TooMany):
            await register(hub, ANN, "three")
        now[0] += 23 * HOUR
        await register(hub, ANN, "three")
        with pytest.raises(TooMany):
            await register(hub, ANN, "four")
    async with hubs.opened(tmp_path / "hub", clock=lambda: now[0]) as hub:
        await register(hub, ANN, "no limit")


async def test_of_what_a_companys_own_code_publishes_so_much_is_registered_a_day(tmp_path: Path) -> None:
    now = [100 * HOUR]

    async def publish(hub: SharingService, company: str, number: int) -> str:
        return (await hub.snapshot(company, snapshot(number), "pv", b"w%d" % number, {})).id

    async with hubs.opened(tmp_path / "hub", clock=lambda: now[0], registrations=2) as hub:
        for number in range(2):
            await publish(hub, ANN.company, number)
        with pytest.raises(TooMany, match="registered 2"):
            await publish(hub, ANN.company, 2)
        await register(hub, ANN, "what people register is counted apart")
        for number in range(3):
            await publish(hub, LOCAL, number)  # the platform's own code
    async with hubs.opened(tmp_path / "hub", clock=lambda: now[0], registrations=2) as hub:
        with pytest.raises(TooMany):
            await publish(hub, ANN.company, 2)
        now[0] += 25 * HOUR
        await publish(hub, ANN.company, 2)
