"""How many registrations a company has a day."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.access import Principal
from headrace.errors import TooMany
from headrace.services.sharing.requests import NewDataset
from headrace.services.sharing.service import SharingService
from tests import hub as hubs

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
