"""Companies opened, closed, bounded; logins of theirs; and what is kept from their code."""

from __future__ import annotations

import asyncio
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.access import LOCAL, Principal
from headrace.confining import isolation
from headrace.errors import Conflict, Forbidden, NoIsolation, NotFound
from headrace.front import action_of
from headrace.services.gateway.mqtt import wire
from headrace.services.gateway.mqtt.core import Core
from headrace.services.gateway.mqtt.logins import access_of
from headrace.services.gateway.mqtt.users import ANYTHING, Access
from headrace.services.gateway.mqtt.wire import Reason
from headrace.services.learning.isolation import Isolation
from headrace.settings import MqttSettings, PlatformSettings
from headrace.spec import parse
from headrace.tenants import Tenants
from tests.mqtt_support import Client, ListLog, connect, opened, publish, subscribe


def tenants(data: Path, known: dict[str, int], **settings: Any) -> Tenants:
    made = PlatformSettings(data=data, **settings)
    return Tenants(made, {}, lambda: known, lambda folder: Isolation(reason="not in this test"))


async def test_companies_are_opened_by_use_and_bounded_and_closed_when_deleted(tmp_path: Path) -> None:
    known = {LOCAL: 1, "acme": 2, "bolt": 3}
    told: list[str] = []
    async with tenants(tmp_path, known, companies=2) as house:
        house.opened.append(lambda tenant: told.append(f"+{tenant.company}"))
        house.closed.append(lambda tenant: told.append(f"-{tenant.company}"))
        acme = await house.get("acme")
        assert await house.get("acme") is acme and acme.folder == tmp_path / "companies" / "acme"
        assert house.local.folder == tmp_path and acme.log is not house.local.log
        with pytest.raises(Conflict, match="2 companies are open and 2 may be"):
            await house.get("bolt")
        del known["acme"]
        await house.follow()
        assert list(house.open) == [LOCAL] and told == ["+acme", "-acme"]
        known |= {"../acme": 9, ".": 9, "": 9}  # whatever the identities let through, it is no folder
        for name in ("../acme", ".", "", "nobody"):
            with pytest.raises(NotFound):
                await house.get(name)


async def test_a_name_that_is_given_again_is_another_company(tmp_path: Path) -> None:
    known = {LOCAL: 1, "acme": 2}
    async with tenants(tmp_path, known) as house:
        first = await house.get("acme")
        (first.folder / "mine").write_text("x")
        known["acme"] = 5
        await house.follow()
        second = await house.get("acme")
        assert second is not first and not (second.folder / "mine").exists()
        (kept,) = (tmp_path / "companies").glob("acme.deleted-*")
        assert (kept / "mine").read_text() == "x"
    async with tenants(tmp_path, known) as house:
        await house.resume()
        assert sorted(house.open) == ["acme", LOCAL]
        assert len(list((tmp_path / "companies").iterdir())) == 2


def test_links_and_pipes_in_a_companys_folder_keep_it_closed(tmp_path: Path) -> None:
    if not isolation(tmp_path).may_run:
        pytest.skip("no sandbox here")
    assert isolation(tmp_path).command(["python"])[-1] == "python"
    (tmp_path / "state" / "a.db").symlink_to(tmp_path / "b.db")
    with pytest.raises(NoIsolation, match="is a link or a pipe"):
        isolation(tmp_path)
    (tmp_path / "state" / "a.db").unlink()
    os.mkfifo(tmp_path / "state" / "pipe")
    with pytest.raises(NoIsolation, match="is a link or a pipe"):
        isolation(tmp_path)


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("POST", "/v2/models/m/versions/3/learn/", "teach"), ("POST", "/v2/models/m/versions/3/infer", "predict"),
        ("POST", "/v2/models/m/reward", "teach"), ("POST", "/v2/repository/models/m/load", "write"),
        ("GET", "/v2/health/ready", None), ("GET", "/v2/health/../models/m", "predict"), ("HEAD", "/api/specs", "read"),
        ("PATCH", "/api/whatever/comes", "write"), ("GET", "/api/v2/write", "ingest"),
    ],
)  # fmt: skip
def test_actions(method: str, path: str, action: str | None) -> None:
    assert action_of(method, path) == action


class Book:
    """Logins of one company, whose core is `core`; who is struck out is gone."""

    def __init__(self, core: Core) -> None:
        self.core, self.gone, self.alone = core, set[str](), False
        self.who = Principal("acme", "pump", "device", frozenset({"device"}), topics=("plant/#",))

    def anonymous(self) -> bool:
        return self.alone

    async def login(self, name: str, password: bytes, address: str) -> tuple[Core, Access] | None:
        return (self.core, access_of(self.who)) if (name, password) == ("acme/pump", b"right") else None

    async def still(self, access: Access, now: float) -> bool:
        if access.who is None:
            return access is not ANYTHING or self.alone
        return now < access.who.expires and access.who.subject not in self.gone


HELLO = connect("c", 5, username="acme/pump", password="right")


async def test_an_expired_or_deleted_login_is_disconnected_and_others_are_not() -> None:
    core = Core(MqttSettings(), ListLog())
    book = Book(core)
    async with opened(logins=book) as door:
        door.admit(core)
        async with await Client.open(door.port, HELLO, 5) as stays:
            await door.recheck(book)
            assert await stays.silent()
            book.who = replace(book.who, expires=time.time() + 3600)
            async with await Client.open(
                door.port, connect("d", 5, username="acme/pump", password="right"), 5
            ) as other:
                book.gone.add("pump")
                await door.recheck(book)
                for client in (stays, other):
                    farewell = await client.next()
                    assert (farewell.kind, farewell.body[0]) == (wire.DISCONNECT, Reason.NOT_AUTHORISED)
        book.gone.clear()
        book.who = replace(book.who, expires=time.time() - 1)
        async with await Client.open(door.port, HELLO, 5) as late:
            await door.recheck(book)
            assert (await late.next()).kind == wire.DISCONNECT
        book.alone, book.who = True, replace(book.who, expires=math.inf)
        async with await Client.open(door.port, connect("a", 5), 5) as anybody:
            await door.recheck(book)
            assert await anybody.silent()
            book.alone = False
            await door.recheck(book)
            assert (await anybody.next()).kind == wire.DISCONNECT
        await core.close()


async def test_a_connection_moves_to_its_companys_core_and_leaves_nothing_behind() -> None:
    theirs = ListLog()
    core = Core(MqttSettings(), theirs)
    mine = ListLog()
    async with opened(mine, logins=Book(core)) as door:
        door.admit(core)
        hello, early = HELLO, publish("plant/a", b"early", version=5)
        client = await Client.open(door.port, None, 5)
        async with client:
            client.send(hello, early)  # before the login is checked
            assert (await client.next()).kind == wire.CONNACK
            assert (await client.next()).kind == wire.PUBACK
            assert theirs.payloads == [b"early"] and mine.payloads == []
            assert door.core.stats()["connections"] == door.core.stats()["half_open"] == 0
            assert core.stats()["connections"] == 1
            assert (await client.ask(subscribe("plant/#", version=5))).kind == wire.SUBACK
            door.core.publish("plant/x", b"another company's", retain=True)
            core.publish("plant/y", b"ours")
            assert (await client.next()).payload == b"ours"
        await core.close()


async def test_a_company_deleted_while_it_is_being_opened_does_not_stay(tmp_path: Path) -> None:
    known = {LOCAL: 1, "acme": 2}
    async with tenants(tmp_path, known) as house:
        opening = asyncio.create_task(house.get("acme"))
        while not (tmp_path / "companies" / "acme" / "created").exists():
            await asyncio.sleep(0.001)
        known["acme"] = 7
        await house.follow()
        old = await opening
        assert "acme" not in house.open
        assert await house.get("acme") is not old
        late = asyncio.create_task(house.get("bolt"))  # it is nobody's: it may fail, but leaves nothing open
        await asyncio.sleep(0)
    with pytest.raises((NotFound, Conflict)):
        await late


OWN = """
kind: OnlineModel
metadata: {name: room}
input: {topics: [room/+/reading], target: temp}
transform: [{python: {file: mine.py}}, {window: {history: 3}}]
forecast: {horizon: 1}
backend: rls
"""
STEP = "class Step:\n    def __init__(self, params, context): ...\n    def state(self): return {}\n    def load(self, state): ...\n    def apply(self, rows): return rows\n"


WHY = "class Explainer:\n    def explain(self, model, x, baseline): return x\n"


def somebody(*roles: str) -> Principal:
    return Principal(LOCAL, "dora", "user", frozenset(roles))


async def test_code_of_the_first_company_needs_an_operator_once_there_are_others(tmp_path: Path) -> None:
    known, files = {LOCAL: 1}, {"mine.py": STEP}
    explained = OWN.replace("{python: {file: mine.py}}, ", "") + "explain: {python: {file: mine.py}}\n"
    async with tenants(tmp_path, known) as house:
        apply = house.local.learning.apply
        assert await apply(parse(OWN, "a.yaml"), files, somebody("developer")) == {"room": "created"}
        known["acme"] = 2
        assert await apply(parse(OWN, "a.yaml"), files, somebody("developer")) == {"room": "unchanged"}
        newer = parse(OWN.replace("history: 3", "history: 4"), "a.yaml")
        for roles in (["developer"], ["admin"], ["service"]):
            for documents, own in ((newer, files), (parse(explained, "a.yaml"), {"mine.py": WHY})):
                with pytest.raises(Forbidden, match="needs the role operator"):
                    await apply(documents, own, somebody(*roles))
                with pytest.raises(Forbidden, match="would run as the platform itself"):
                    await house.local.learning.diff(documents, own, somebody(*roles))
        assert await apply(newer, files, somebody("operator", "admin")) == {"room": "changed"}
        plain = parse(OWN.replace("{python: {file: mine.py}}, ", "").replace("room}", "other}"), "a.yaml")
        assert await apply(plain, {}, somebody("developer")) == {"other": "created"}
