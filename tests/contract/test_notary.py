"""One suite for both embodiments of `Notary`: in process, and the client over HTTP to a real server with its entrance."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from headrace.access import Principal
from headrace.assets import Dataset, Model, Snapshot
from headrace.errors import Conflict, Tampered, Temporary, UnknownContract
from headrace.listening import listen, served
from headrace.services.entrance import Entrance
from headrace.services.sharing import Notary
from headrace.services.verification.client import VerificationClient
from headrace.services.verification.http import create_app
from headrace.trust.identities.local import LocalIdentities
from headrace.trust.ledgers import Deploy, Record, Revoke
from tests.hub import ACME, BOLT, Trainer, dataset, grant, recipe, train, uploaded
from tests.notary import House, house

pytestmark = pytest.mark.xdist_group("notary-contract")


@dataclass
class Asked:
    """A house, and its notary as the hub sees it."""

    here: House
    notary: Notary
    identities: LocalIdentities | None = None
    url: str = ""

    async def get(self, who: Principal, *paths: str) -> list[httpx.Response]:
        """What a person gets."""
        assert self.identities is not None
        headers = {"authorization": f"Bearer {self.identities.on_behalf(who, 'sharing')}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False) as http:
            return [await http.get(path) for path in paths]


@pytest.fixture(params=["here", "over HTTP"])
async def asked(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Asked]:
    async with contextlib.AsyncExitStack() as stack:
        here = await stack.enter_async_context(house(tmp_path, trainer=Trainer(), anchors=False))
        if request.param == "here":
            yield Asked(here, here.notary)
            return
        ids = await stack.enter_async_context(LocalIdentities(tmp_path / "identity"))
        listener = listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await stack.enter_async_context(served(Entrance(create_app(here.notary), ids, ids.sessions), listener))
        client = VerificationClient(url, lambda who: ids.on_behalf(who, "sharing"))
        yield Asked(here, await stack.enter_async_context(client), ids, url)


async def test_a_record_twice_is_one_contract(asked: Asked) -> None:
    made = await dataset(asked.here.hub, ACME)
    first = await asked.notary.record(made, [])
    assert first.startswith("0x") and await asked.notary.record(made, []) == first
    assert [type(act) for act in asked.here.weather.acts] == [Deploy]
    assert await asked.notary.recorded(made) == made.stored.sha256


async def test_what_is_not_recorded_is_unknown(asked: Asked) -> None:
    made = await uploaded(asked.here.hub, ACME)
    with pytest.raises(UnknownContract):
        await asked.notary.recorded(made)
    await asked.notary.revoke(made, "nothing to revoke")
    assert not asked.here.weather.acts


async def test_another_record_is_tampered_with(asked: Asked) -> None:
    made = await dataset(asked.here.hub, ACME)
    await asked.notary.record(made, [])
    with pytest.raises(Tampered, match="name"):
        await asked.notary.recorded(made.model_copy(update={"name": "another"}))
    with pytest.raises(Tampered):
        await asked.notary.recorded(made.model_copy(update={"contract": "0x" + "1" * 40}))


async def test_a_result_is_written_once(asked: Asked, tmp_path: Path) -> None:
    here = asked.here
    data = await dataset(here.hub, ACME)
    model = await recipe(here.hub, ACME, datasets=[data.id])
    trainer = here.hub.register._trainer
    assert isinstance(trainer, Trainer)
    address = await asked.notary.record(model, [data])
    made = await train(here.hub, trainer, model.id, tmp_path / "out")
    assert await asked.notary.record(made, [data]) == address
    assert await asked.notary.record(made, [data]) == address
    with pytest.raises(Conflict, match="written once"):
        await asked.notary.record(made.model_copy(update={"digest": "sha256:0"}), [data])
    assert [type(act) for act in here.weather.acts] == [Deploy, Record]
    assert await asked.notary.recorded(made) == made.digest


async def test_revoking_twice_is_one_revocation(asked: Asked) -> None:
    made = await dataset(asked.here.hub, ACME)
    await asked.notary.record(made, [])
    for _ in range(2):
        await asked.notary.revoke(made, "because")
    assert [type(act) for act in asked.here.weather.acts] == [Deploy, Revoke]


async def test_a_snapshot_is_in_a_batch(asked: Asked) -> None:
    said = Snapshot(
        model="pv", generation="g", spec="s", published_ms=1, first_position=0, last_position=9, records=9, root="r",
        environment="e",
    )  # fmt: skip
    made = await asked.here.hub.snapshot("acme", said, "pv", b"w", {})
    address = await asked.notary.record(made, [])
    assert await asked.notary.record(made, []) == address
    assert await asked.notary.recorded(made) == made.digest


async def test_a_ledger_that_is_gone_is_temporary(asked: Asked) -> None:
    asked.here.weather.gone = True
    made: Dataset | Model = await dataset(asked.here.hub, ACME)
    with pytest.raises(Temporary):
        await asked.notary.record(made, [])
    asked.here.weather.gone = False
    await asked.notary.record(made, [])
    asked.here.weather.gone = True
    with pytest.raises(Temporary):
        await asked.notary.recorded(made)
    with pytest.raises(Temporary):
        await asked.notary.revoke(made, "because")


async def test_what_he_may_not_know_of_is_not_there(asked: Asked) -> None:
    if asked.identities is None:
        return
    made = await dataset(asked.here.hub, ACME)
    address = await asked.notary.record(made, [])
    paths = (f"/contracts/{address}", f"/contracts?asset={made.id}", "/keys/acme", f"/keys/acme?asset={made.id}")
    assert [one.status_code for one in await asked.get(ACME, *paths)] == [200] * 4
    hidden = await asked.get(BOLT, *paths, nowhere := "/contracts/0x" + "1" * 40)
    assert [one.status_code for one in hidden] == [404] * 5
    assert hidden[4].text == hidden[0].text.replace(address, nowhere.rpartition("/")[2])
    await grant(asked.here.hub, ACME, made.id, "bolt", "read")
    seen = await asked.get(BOLT, *paths, f"/keys/coda?asset={made.id}")
    assert [one.status_code for one in seen] == [200, 200, 404, 200, 404]
    assert seen[3].json()["account"] == await asked.here.weather.account("acme")
