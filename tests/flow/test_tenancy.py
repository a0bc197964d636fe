"""Two companies on one platform, with the same names for everything: neither knows that the other is there."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.access import Principal
from headrace.services.gateway.mqtt import wire
from headrace.services.gateway.mqtt.wire import Reason
from tests.mqtt_support import Client, Received, connect, publish, subscribe
from tests.running import Up

pytestmark = pytest.mark.xdist_group("tenancy")  # one platform for all of them
TOPIC = "room/a/reading"
SPEC = """
kind: OnlineModel
metadata: {name: room}
input: {topics: [room/+/reading], target: temp}
transform: [{window: {history: 3}}]
forecast: {horizon: 1}
backend: rls
alerts: [{name: hot, on: reading, field: temp, above: 500}]
"""
SECRET = SPEC.replace("name: room", "name: secret")
START_MS = 1_700_000_000_000
REPORT = {
    "title": "ours alone",
    "kind": "rolling",
    "columns": [{"name": "a", "label": "a"}],
    "rows": [{"a": 1}],
}
ROLES = {"dora": "developer", "vic": "viewer", "sam": "service", "pump": "device"}
OPERATED = "headrace_companies"


class Company:
    """A company with somebody of every role, and how they reach the platform."""

    def __init__(self, up: Up, name: str) -> None:
        self.up, self.name = up, name
        made = up.call("POST", "/companies", json={"name": name, "admin": "root"}).raise_for_status().json()
        self.passwords = {"root": made["admin"]["password"]}
        self.tokens = {"root": self.token("root")}
        for person, role in ROLES.items():
            kind = role if role in {"service", "device"} else "user"
            asked: dict[str, Any] = {"name": person, "kind": kind, "roles": [role]}
            self.passwords[person] = self.call("POST", "/people", "root", json=asked).json()["password"]
            self.tokens[person] = self.token(person)

    def token(self, person: str) -> str:
        form = {"grant_type": "password", "username": f"{self.name}/{person}", "password": self.passwords[person]}
        path = "/realms/headrace/protocol/openid-connect/token"
        found: str = self.up.call("POST", path, data=form).raise_for_status().json()["access_token"]
        return found

    def call(self, method: str, path: str, person: str = "root", **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.tokens[person]}"} | dict(more.pop("headers", None) or {})
        return self.up.call(method, path, headers=headers, **more)

    def get(self, path: str) -> Any:
        return self.call("GET", path).raise_for_status().json()

    @asynccontextmanager
    async def mqtt(self, person: str = "pump", name: str = "c", **more: Any) -> AsyncIterator[Client]:
        hello = connect(name, 5, username=f"{self.name}/{person}", password=self.passwords[person], **more)
        client = await Client.open(self.up.mqtt[1], hello, 5)
        assert client.connack is not None and client.connack.body[1] == 0, client.connack
        async with client:
            yield client


def reading(minute: int, temp: float) -> bytes:
    return json.dumps({"ts": START_MS + minute * 60_000, "temp": temp}).encode()


def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("tenancy") / "data") as up:
        yield up
        assert "Traceback" not in up.errors()
        assert up.stop() == 0


@pytest.fixture(scope="module")
def companies(up: Up) -> tuple[Company, Company]:
    """Acme's room is at 1000 degrees and alarmed, Bolt's at 10; both call everything the same."""
    acme, bolt = Company(up, "acme"), Company(up, "bolt")
    for one, base in ((acme, 1000.0), (bolt, 10.0)):
        assert one.call("PUT", "/api/specs", "dora", json={"text": SPEC}).status_code == 200
        for minute in range(20):
            sent = one.call("POST", f"/ingest/{TOPIC}", "pump", content=reading(minute, base + minute % 3))
            assert sent.status_code == 200, sent.text
    for one in (acme, bolt):
        until(lambda one=one: one.call("POST", "/v2/models/room/infer", json={}).is_success, "a forecast")
        until(lambda one=one: one.get("/api/overview")["ingest"]["messages"] == 20, "the observer")
    until(lambda: acme.get("/api/alerts"), "an alert")
    return acme, bolt


def forecast(one: Company) -> float:
    found = one.call("POST", "/v2/models/room/infer", "pump", json={}).raise_for_status().json()
    return float(found["outputs"][0]["data"][0])


def test_each_has_its_own_readings_and_forecasts_under_the_same_names(companies: tuple[Company, Company]) -> None:
    acme, bolt = companies
    assert forecast(acme) > 500 > forecast(bolt)
    for one in companies:
        (topic,) = one.get("/api/topics")
        assert (topic["topic"], topic["messages"]) == (TOPIC, 20)
        bases = {json.loads(record["payload"])["temp"] > 500 for record in one.get(f"/api/records/{TOPIC}?limit=1000")}
        assert bases == {one is acme}
        assert [spec["name"] for spec in one.get("/api/specs")] == ["room"]
        assert one.get("/v2/models") == {"models": ["room"]}
    assert {alert["rule"] for alert in acme.get("/api/alerts")} == {"hot"} and bolt.get("/api/alerts") == []
    for one in companies:
        until(lambda one=one: one.call("GET", "/api/models/room/explanation").status_code != 503, "a saved model")
    prediction = [one.get("/api/models/room/explanation")["prediction"][0] for one in companies]
    assert prediction[0] > 500 > prediction[1]


def test_the_first_company_and_its_operator_see_none_of_it(up: Up, companies: tuple[Company, Company]) -> None:
    assert up.call("GET", "/api/specs").json() == up.call("GET", "/api/topics").json() == []
    assert up.call("GET", f"/api/topics/{TOPIC}").status_code == 404
    assert up.call("POST", "/v2/models/room/infer", json={}).status_code == 404
    page = up.call("GET", "/metrics").text
    made = up.call("POST", "/people", json={"name": "prometheus", "kind": "service"}).json()
    form = {"grant_type": "client_credentials", "client_id": "local/prometheus", "client_secret": made["password"]}
    given = up.call("POST", "/realms/headrace/protocol/openid-connect/token", data=form, headers={"authorization": ""})
    assert status(up, "GET", "/metrics", given.json()["access_token"]) == 200
    assert f"{OPERATED} 3.0" in page and 'model="room"' not in page
    assert 'headrace_alerts_active{company="acme",model="",severity="warning"} 1.0' in page


def test_what_is_anothers_is_like_what_nobody_has(companies: tuple[Company, Company]) -> None:
    """The answers about a name that the other company has, and about one that nobody has, differ in nothing but the name."""
    acme, bolt = companies
    assert acme.call("PUT", "/api/specs", json={"text": SECRET}).is_success
    acme.call("POST", "/ingest/secret/topic", content=b"1").raise_for_status()
    assert acme.call("PUT", "/api/reports/secret", json=REPORT).is_success
    acme.call("POST", "/ingest/secret/odd", content=b'{"power": NaN}').raise_for_status()
    until(lambda: acme.get("/api/quarantine"), "the quarantine")
    asked = [
        ("GET", "/api/models/NAME"), ("GET", "/api/models/NAME/explanation"), ("GET", "/api/models/NAME/shadows"),
        ("POST", "/api/models/NAME/promote"), ("GET", "/api/models/NAME/residuals"), ("GET", "/api/alerts?model=NAME"),
        ("DELETE", "/api/specs/NAME"), ("GET", "/api/topics/NAME/topic"), ("GET", "/api/records/NAME/topic"),
        ("GET", "/api/reports/NAME"), ("DELETE", "/api/reports/NAME"), ("GET", "/v2/models/NAME"),
        ("GET", "/v2/models/NAME/ready"), ("POST", "/v2/models/NAME/infer"), ("POST", "/v2/models/NAME/explain"),
        ("POST", "/v2/models/NAME/learn"), ("POST", "/v2/models/NAME/feedback"), ("GET", "/v1/models/NAME"),
        ("POST", "/v1/models/NAME:predict"), ("POST", "/v1/models/NAME:explain"), ("POST", "/api/quarantine/replay?topic=NAME/odd"),
    ]  # fmt: skip
    for method, path in asked:
        body = (
            {"json": {"instances": []} if "/v1" in path else {"id": "x", "outcome": [1.0]}} if method == "POST" else {}
        )
        theirs = bolt.call(method, path.replace("NAME", "secret"), **body)
        nobodys = bolt.call(method, path.replace("NAME", "nobody"), **body)
        assert theirs.status_code == nobodys.status_code, path
        assert theirs.text.replace("secret", "nobody") == nobodys.text, path
        assert theirs.status_code == 404 or theirs.json() in ([], {"replayed": 0}), (path, theirs.text)
    assert bolt.get("/api/quarantine") == [] == bolt.get("/api/reports")
    assert len(acme.get("/api/quarantine")) == 1 == len(acme.get("/api/reports"))
    assert acme.call("DELETE", "/api/specs/secret").is_success


def test_events_are_of_ones_own_company(up: Up, companies: tuple[Company, Company]) -> None:
    acme, bolt = companies
    headers = {"authorization": f"Bearer {bolt.tokens['vic']}"}
    with httpx.stream("GET", f"{up.http}/api/events", timeout=20, trust_env=False, headers=headers) as answer:
        acme.call("POST", f"/ingest/{TOPIC}", content=reading(30, 1003)).raise_for_status()
        seen, deadline = "", time.monotonic() + 3
        for piece in answer.iter_text():
            seen += piece
            if time.monotonic() > deadline:
                break
    told = [json.loads(line.removeprefix("data: ")) for line in seen.splitlines() if line.startswith("data: ")]
    overviews = [one for one in told if "ingest" in one]
    assert len(overviews) >= 2 and all(one["ingest"]["messages"] == 20 for one in overviews)
    assert all(one["topics"][0]["devices"][0]["fields"]["temp"] < 500 for one in overviews)
    assert all(one["forecast"]["values"][0] < 500 for one in told if "forecast" in one)


ROUTES: list[tuple[str, str, str]] = [
    ("POST", f"/ingest/{TOPIC}", "ingest"),
    ("POST", "/api/v2/write?bucket=b", "ingest"),
    ("POST", "/write?db=b", "ingest"),
    ("POST", "/v2/models/room/infer", "predict"),
    ("POST", "/v2/models/room/explain", "predict"),
    ("POST", "/v1/models/room:predict", "predict"),
    ("GET", "/v2", "predict"),
    ("GET", "/v2/models", "predict"),
    ("POST", "/v2/repository/index", "predict"),
    ("POST", "/v2/models/room/learn", "teach"),
    ("POST", "/v2/models/room/feedback", "teach"),
    ("GET", "/api/overview", "read"),
    ("GET", "/api/models/room", "read"),
    ("GET", "/api/models/room/explanation", "read"),
    ("GET", "/api/events", "read"),
    ("GET", "/api/specs", "read"),
    ("GET", "/api/alerts", "read"),
    ("GET", "/api/topics", "read"),
    ("GET", f"/api/topics/{TOPIC}", "read"),
    ("GET", f"/api/records/{TOPIC}", "read"),
    ("GET", "/api/quarantine", "read"),
    ("GET", "/api/reports", "read"),
    ("PUT", "/api/specs", "write"),
    ("DELETE", "/api/specs/other", "write"),
    ("POST", "/api/models/room/promote", "write"),
    ("POST", "/api/quarantine/replay", "write"),
    ("PUT", "/api/reports/mine", "write"),
    ("DELETE", "/api/reports/mine", "write"),
    ("POST", "/v2/repository/models/room/unload", "write"),
    ("GET", "/metrics", "operate"),
]


def status(up: Up, method: str, path: str, token: str | None) -> int:
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    with httpx.stream(method, up.http + path, headers=headers, timeout=30, trust_env=False) as answer:
        return answer.status_code


@pytest.mark.parametrize(("method", "path", "action"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
def test_every_route_asks_who_and_may_he(
    up: Up, companies: tuple[Company, Company], method: str, path: str, action: Any
) -> None:
    acme, _ = companies
    assert status(up, method, path, None) == status(up, method, path, "eyJhbGciOiJub25lIn0.e30.") == 401
    for person, role in {**ROLES, "root": "admin"}.items():
        may = Principal("acme", person, "user", frozenset({role})).may(action)
        found = status(up, method, path, acme.tokens[person])
        assert (found == 403) == (not may) and found != 401, (person, found)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/console/main.js",
        "/v2/health/live",
        "/v2/health/ready",
        "/login",
        "/docs",
        "/docs/identity",
        "/docs/sharing/swagger-ui.css",
        "/docs/training/start.js",
        "/openapi/identity.json",
    ],
)
def test_open_without_a_token(up: Up, path: str) -> None:
    assert status(up, "GET", path, None) == 200


def test_the_company_is_the_tokens_whatever_a_body_or_header_says(companies: tuple[Company, Company]) -> None:
    acme, bolt = companies
    headers = {"x-company": "acme", "headrace-company": "acme"}
    before = acme.get("/api/topics")[0]["messages"]
    sent = bolt.call("POST", "/ingest/odd/topic?company=acme", json={"company": "acme", "temp": 1}, headers=headers)
    assert sent.status_code == 200
    until(lambda: "odd/topic" in [one["topic"] for one in bolt.get("/api/topics")], "bolt's own topic")
    assert acme.get("/api/topics")[0]["messages"] == before
    assert "odd/topic" not in [one["topic"] for one in acme.get("/api/topics")]


async def heard(client: Client, topic: str) -> list[tuple[str, bytes]]:
    """What comes until a message on `topic` does."""
    found: list[tuple[str, bytes]] = []
    while not found or found[-1][0] != topic:
        packet = await client.next(10)
        if packet.kind == wire.PUBLISH:
            found.append((packet.topic, packet.payload))
    return found


async def test_over_mqtt_nothing_crosses(up: Up, companies: tuple[Company, Company]) -> None:
    """The same client id, subscriptions to everything, a retained message, a will, a shared subscription."""
    acme, bolt = companies
    will = wire.Will("last/words", b"acme is gone", 1, True, {}, 0)
    async with bolt.mqtt("root") as ear, acme.mqtt("root") as own:
        for client in (ear, own):
            assert (await client.ask(subscribe("#", "$share/g/room/#", version=5))).kind == wire.SUBACK
            await heard(client, "headrace/forecast/room/room_a")
        async with acme.mqtt("pump", "d", will=will) as device:
            assert (await device.ask(publish("kept", b"ours", version=5, retain=True))).kind == wire.PUBACK
            assert (await device.ask(publish(TOPIC, reading(40, 1001), version=5))).kind == wire.PUBACK
            device.writer.transport.abort()
        mine = await heard(own, "last/words")
        assert ("kept", b"ours") in mine and mine[-1] == ("last/words", b"acme is gone")
        assert (await ear.ask(publish("end", b"bolt", version=5))).kind == wire.PUBACK
        assert await heard(ear, "end") == [("end", b"bolt")]
        async with bolt.mqtt("vic", "late") as late:
            await late.ask(subscribe("#", version=5))
            topics = [topic for topic, _ in await heard(late, "headrace/forecast/room/room_a")]
            assert not {"kept", "last/words"} & set(topics) and await late.silent()


async def test_questions_over_mqtt_are_answered_by_ones_own_model(companies: tuple[Company, Company]) -> None:
    acme, bolt = companies
    for one in (acme, bolt):
        async with one.mqtt("pump", "asker") as client:
            for kind in ("predict", "explain"):
                topic = f"headrace/{kind}/room"
                await client.ask(subscribe(f"{topic}/response/asker", version=5))
                client.send(publish(topic, b"", version=5))
                answer = json.loads((await heard(client, f"{topic}/response/asker"))[-1][1])
                made = answer["values"] if kind == "predict" else answer["explanations"][0]["prediction"]
                assert (made[0] > 500) == (one is acme), answer
            client.send(publish("headrace/predict/secret", b"", version=5))
            await client.ask(subscribe("headrace/predict/secret/response/asker", version=5))


HELLOS: list[tuple[str, dict[str, Any]]] = [
    ("nobody", {}),
    ("a wrong password", {"username": "acme/pump", "password": "wrong"}),
    ("the other company's password", {"username": "bolt/pump", "password": "ACME"}),
    ("no such company", {"username": "cyan/pump", "password": "ACME"}),
    ("a name without a company", {"username": "pump", "password": "ACME"}),
    ("a token that is none", {"username": "acme/pump", "password": "eyJhbGciOiJub25lIn0.e30."}),
    ("another's token", {"username": "bolt/pump", "password": "TOKEN"}),
]


@pytest.mark.parametrize(("what", "hello"), HELLOS, ids=[what for what, _ in HELLOS])
async def test_who_is_not_let_in_over_mqtt(
    up: Up, companies: tuple[Company, Company], what: str, hello: dict[str, Any]
) -> None:
    acme, _ = companies
    given = {"ACME": acme.passwords["pump"], "TOKEN": acme.tokens["pump"]}
    hello = {key: given.get(value, value) for key, value in hello.items()}
    client = await Client.open(up.mqtt[1], connect("x", 5, **hello), 5)
    assert client.connack is not None and client.connack.body[1] in {Reason.NOT_AUTHORISED, Reason.BAD_LOGIN}
    assert await client.closed()
    await client.close()


async def test_a_token_is_a_login_and_its_topics_are_a_fence(up: Up, companies: tuple[Company, Company]) -> None:
    acme, _ = companies
    asked = {"name": "fenced", "kind": "device", "topics": ["room/b/#"]}
    acme.passwords["fenced"] = acme.call("POST", "/people", json=asked).json()["password"]
    token = acme.token("fenced")
    hello = connect("t", 5, username="acme/fenced", password=token)
    client = await Client.open(up.mqtt[1], hello, 5)
    async with client:
        assert client.connack is not None and client.connack.body[1] == 0
        assert ack(await client.ask(publish("room/b/x", b"1", version=5))) == 0
        for topic in ("room/a/x", "headrace/forecast/room/x", "headrace/alert/room"):
            assert ack(await client.ask(publish(topic, b"1", packet_id=2, version=5))) == Reason.NOT_AUTHORISED
        answer = await client.ask(subscribe("#", "room/#", "room/b/c", "$share/g/room/a", version=5))
        assert list(answer.body[3:]) == [Reason.NOT_AUTHORISED, Reason.NOT_AUTHORISED, 1, Reason.NOT_AUTHORISED]
        client.send(
            publish("headrace/predict/room", b"", version=5, properties={wire.Property.RESPONSE_TOPIC: "room/a/z"})
        )
        assert ack(await client.next()) == Reason.NOT_AUTHORISED


def ack(packet: Received) -> int:
    """The reason code of a PUBACK."""
    assert packet.kind == wire.PUBACK, packet
    return packet.body[2] if len(packet.body) > 2 else 0


async def test_whoever_is_deleted_is_disconnected(up: Up, companies: tuple[Company, Company]) -> None:
    acme, _ = companies
    made = acme.call("POST", "/people", json={"name": "old", "kind": "device"}).json()
    acme.passwords["old"] = made["password"]
    async with acme.mqtt("old", "old-1") as old, acme.mqtt("pump", "stays") as stays:
        assert acme.call("DELETE", "/people/old").is_success
        farewell = await old.next(20)
        assert farewell.kind == wire.DISCONNECT and farewell.body[0] == Reason.NOT_AUTHORISED
        assert await stays.silent()
    client = await Client.open(up.mqtt[1], connect("o", 5, username="acme/old", password=made["password"]), 5)
    assert client.connack is not None and client.connack.body[1] == Reason.BAD_LOGIN
    await client.close()


async def test_a_deleted_company_is_gone_and_its_name_starts_anew(up: Up) -> None:
    first = Company(up, "gone")
    first.call("POST", f"/ingest/{TOPIC}", content=reading(0, 1)).raise_for_status()
    until(lambda: first.get("/api/topics"), "the topic")
    async with first.mqtt("pump") as client:
        assert up.call("DELETE", "/companies/gone").is_success
        assert await client.closed(20)
    assert first.call("GET", "/api/topics").status_code == 401
    second = Company(up, "gone")
    assert second.get("/api/topics") == [] and second.get("/api/overview")["ingest"]["messages"] == 0
    assert first.call("GET", "/api/topics").status_code == 401
    assert up.call("DELETE", "/companies/gone").is_success
    kept = [one.name for one in (up.data / "companies").iterdir() if one.name.startswith("gone")]
    assert len(kept) == 2 and all(".deleted-" in name or name == "gone" for name in kept)


def test_after_a_restart_everybody_has_his_own_again(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        acme = Company(up, "acme")
        assert acme.call("PUT", "/api/specs", json={"text": SPEC}).is_success
        for minute in range(10):
            acme.call("POST", f"/ingest/{TOPIC}", content=reading(minute, 700.0 + minute % 2)).raise_for_status()
        until(lambda: acme.call("POST", "/v2/models/room/infer", json={}).is_success, "a forecast")
        assert up.stop() == 0
    with Up(tmp_path / "data") as again:
        acme.up = again
        acme.tokens["root"] = acme.token("root")
        until(lambda: acme.call("POST", "/v2/models/room/infer", json={}).is_success, "the forecast")
        assert again.call("GET", "/api/specs").json() == []
        assert again.stop() == 0
