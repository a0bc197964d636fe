"""Bundles as the verification service makes them: from the hub's records, on a real chain, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from headrace.access import Principal
from headrace.assets import Snapshot
from headrace.claims import Report, digest
from headrace.errors import Conflict, NotFound, Revoked, TooMany, Unsupported
from headrace.listening import listen, served
from headrace.services.verification import bundling, lending
from headrace.services.verification.bundles import ARTIFACT
from headrace.services.verification.http import create_app
from headrace.services.verification.knowing import Pins
from headrace.services.verification.offline import examine
from headrace.trust.ledgers.embedded import EmbeddedLedger
from tests.hub import ACME, BOLT, Trainer, dataset, grant, recipe, train, uploaded
from tests.notary import House, Weather, house, impatient, until
from tests.tampering import parts_of

SNAPSHOT = Snapshot(
    model="pv", generation="g1", spec=digest(b"spec"), published_ms=5, first_position=1, last_position=9, records=9,
    root=digest(b"root"), environment=digest(b"environment"),
)  # fmt: skip


@pytest.fixture
def trainer() -> Trainer:
    return Trainer()


@pytest.fixture
async def here(tmp_path: Path, trainer: Trainer) -> AsyncIterator[House]:
    """A house on a real chain."""
    with impatient():
        async with (
            EmbeddedLedger(tmp_path / "ledger", tmp_path / "chain keys", tmp_path / "master") as chain,
            house(tmp_path / "house", Weather(chain), trainer=trainer) as found,
        ):
            await chain.status()  # its process is the fixture's, not the test's
            yield found


async def checked(here: House, id: str, who: Principal = ACME, owner: str = "acme") -> tuple[Report, dict[str, bytes]]:
    """A bundle, and what somebody finds who knows its owner's key and the operator's."""
    keys = await here.notary.keys(who, owner, id)
    async with here.notary.bundle(who, id) as path:
        pins = Pins({keys.signer: owner}, {keys.operator: "hub"})
        report = await asyncio.to_thread(examine, path, pins)
        return report, parts_of(path)


async def test_what_the_hub_has(here: House, trainer: Trainer, tmp_path: Path) -> None:
    data = await dataset(here.hub, ACME)
    model = await recipe(here.hub, ACME, datasets=[data.id])
    await train(here.hub, trainer, model.id, tmp_path / "out", **{"a.bin": b"a" * 9, "b.txt": b"b"})
    other = await uploaded(here.hub, ACME)
    learned = await here.hub.snapshot("acme", SNAPSHOT, "pv", b"weights", {"framework": "rls"})
    secret = await dataset(here.hub, ACME, b"x\n1\n", confidential=True)
    await here.settled()
    for id in (data.id, model.id, other.id, learned.id, secret.id):
        report, _ = await checked(here, id)
        assert (report.id, report.level) == (id, "L1")
        assert report.says.endswith("signed by 'acme', on the ledger of 'hub'")
    parts = (await checked(here, model.id))[1]
    assert [path for path in parts if path.startswith(ARTIFACT)] == [f"{ARTIFACT}a.bin", f"{ARTIFACT}b.txt"]
    sealed = (await checked(here, secret.id))[1]
    assert b'"signer"' in sealed["claim/sealed.json"] and b"plant" not in sealed["claim/sealed.json"]
    assert "claim/inclusion.json" in (await checked(here, learned.id))[1]
    assert not list((tmp_path / "house").glob("bundle-*"))


async def test_what_was_revoked_is_shown_as_such(here: House) -> None:
    data = await dataset(here.hub, ACME)
    learned = await here.hub.snapshot("acme", SNAPSHOT, "pv", b"weights", {})
    await here.settled()
    for id in (data.id, learned.id):
        await here.hub.anchoring.revoke(ACME, id, "the meter was broken")
    await here.settled()
    for id in (data.id, learned.id):
        with pytest.raises(Revoked, match="the meter was broken"):
            await checked(here, id)


async def test_who_may_have_one(here: House) -> None:
    data = await dataset(here.hub, ACME)
    await here.settled()
    with pytest.raises(NotFound):
        async with here.notary.bundle(BOLT, data.id):
            pass
    await grant(here.hub, ACME, data.id, "bolt", "read")
    report, _ = await checked(here, data.id, BOLT)
    assert report.passed


async def test_what_cannot_be_bundled(here: House, trainer: Trainer, tmp_path: Path) -> None:
    here.weather.gone = True
    data = await dataset(here.hub, ACME)
    model = await recipe(here.hub, ACME)
    await asyncio.sleep(0.2)

    async def refused(id: str) -> str:
        with pytest.raises(Conflict) as caught:
            async with here.notary.bundle(ACME, id):
                pass
        return str(caught.value)

    async def recorded() -> bool:
        return (await here.hub.model(ACME, model.id)).anchoring == "anchored"

    assert "is not recorded on the ledger (waiting" in await refused(data.id)
    assert "has no files (yet)" in await refused(model.id)
    here.weather.gone = False
    await until(recorded)
    here.weather.gone = True
    await train(here.hub, trainer, model.id, tmp_path / "out")
    assert "the result of" in await refused(model.id)
    here.weather.gone = False
    await until(recorded)
    assert (await checked(here, model.id))[0].passed


async def test_a_ledger_in_memory_leaves_no_evidence(tmp_path: Path) -> None:
    async with house(tmp_path / "house") as here:
        data = await dataset(here.hub, ACME)
        await here.settled()
        with pytest.raises(Unsupported, match="no evidence"):
            async with here.notary.bundle(ACME, data.id):
                pass


async def test_slow_readers_keep_nobody_from_his_bundle(here: House) -> None:
    data = await dataset(here.hub, ACME)
    await here.settled()
    await grant(here.hub, ACME, data.id, "bolt", "read")
    async with contextlib.AsyncExitStack() as held:
        for _ in range(bundling.PLACES):  # more than are made at one time
            await held.enter_async_context(here.notary.bundle(ACME, data.id))
        with pytest.raises(TooMany, match="4 bundles are waiting"):
            await held.enter_async_context(here.notary.bundle(ACME, data.id))
        assert (await asyncio.wait_for(checked(here, data.id, BOLT), 10))[0].passed
        assert len(here.notary.bundles._copies._copies) == 1, "they share a file"
        read = [one for one in await here.hub.audit(ACME) if one.asset == data.id and one.company == "bolt"]
        assert [one.action for one in read if one.allowed] == ["download"], "and it is written down who got it"
        await here.hub.anchoring.revoke(ACME, data.id, "the meter was broken")
        await here.settled()
        with pytest.raises(Revoked):  # not the file that was made before
            await checked(here, data.id, BOLT)
    with pytest.raises(Revoked):
        await checked(here, data.id)


async def test_over_http(here: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = await dataset(here.hub, ACME, b"a,b\n" + b"1,2\n" * 800_000)
    await here.settled()
    app = create_app(here.notary)
    whom = {"who": ACME}

    async def door(scope: dict[str, object], receive: object, send: object) -> None:
        scope["headrace.principal"] = whom["who"]
        await app(scope, receive, send)  # type: ignore[arg-type]

    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with served(door, listener), httpx.AsyncClient(base_url=url, trust_env=False) as http:  # type: ignore[arg-type]
        answer = await http.get(f"/bundles/{data.id}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
        assert int(answer.headers["content-length"]) == len(answer.content) > 3_000_000
        path = tmp_path / "came.bundle"
        path.write_bytes(answer.content)
        keys = (await http.get("/keys/acme")).json()
        assert examine(path, Pins({keys["signer"]: "acme"})).passed
        assert f"{ARTIFACT}plant.csv" in parts_of(path)
        whom["who"] = BOLT
        assert (await http.get(f"/bundles/{data.id}")).status_code == 404
        whom["who"] = ACME

        async def no_more(who: Principal, id: str) -> None:
            raise NotFound(detail="the grant ended")

        monkeypatch.setattr(lending, "AGAIN", -1.0)
        monkeypatch.setattr(here.notary.bundles, "still", no_more)
        with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
            await http.get(f"/bundles/{data.id}")
    assert not list((tmp_path / "house").glob("bundle-*"))
