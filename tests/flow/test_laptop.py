"""Laptop mode: one person, one machine, one token that only he can read, and a link for his browser."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from headrace.services.gateway.mqtt import wire
from headrace.services.gateway.mqtt.wire import Reason
from tests.mqtt_support import Client, connect, publish
from tests.running import Up, scrubbed

pytestmark = pytest.mark.xdist_group("laptop")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("laptop") / "data") as up:
        yield up
        assert up.stop() == 0


def get(up: Up, path: str, **headers: str) -> httpx.Response:
    return httpx.get(up.http + path, headers=headers, timeout=20, trust_env=False)


def headrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "headrace.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=scrubbed(), timeout=60, check=False)


async def code(port: int, **hello: str) -> int:
    """What CONNACK says."""
    client = await Client.open(port, connect("x", 5, **hello), 5)
    async with client:
        assert client.connack is not None
        return client.connack.body[1]


def test_the_token_is_its_owners_alone_and_never_printed(up: Up) -> None:
    file = Path(up.addresses["token_file"])
    assert file.stat().st_mode & 0o777 == 0o600 and len(up.token) > 40
    assert up.token not in json.dumps(up.addresses) and up.token not in up.errors()
    assert headrace("token", "--url", up.http).stdout.strip() == up.token
    assert get(up, "/api/overview").status_code == 401
    assert get(up, "/api/overview", authorization=f"Bearer {up.token}").status_code == 200
    assert get(up, f"/api/overview?token={up.token}").status_code == 400
    elsewhere = headrace("token", "--url", "http://127.0.0.1:9")
    assert elsewhere.returncode == 1 and "headrace login" in elsewhere.stderr


def test_a_data_directory_that_was_open_to_all_gets_files_for_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    with Up(tmp_path / "data") as up:
        assert httpx.post(f"{up.http}/ingest/a/b", content=b'{"x": 1}', headers=up.headers, trust_env=False).is_success
        form = [("metadata", (None, '{"name": "n"}')), ("file", ("a.csv", b"a\n1\n"))]
        sent = httpx.post(f"{up.http}/datasets", files=form, headers=up.headers, trust_env=False, timeout=20)  # type: ignore[arg-type]
        assert sent.status_code == 201
        assert up.stop() == 0
    found = list((tmp_path / "data").rglob("*"))
    shut = {path for path in found if not path.stat().st_mode & 0o077}
    assert len(found) > 10 and [path for path in found if not shut.intersection([path, *path.parents])] == []


def test_the_link_lets_one_browser_in_once(up: Up) -> None:
    entered = httpx.get(up.addresses["login"], timeout=20, trust_env=False)
    cookie = entered.headers["set-cookie"].lower()
    assert entered.status_code == 303 and entered.headers["location"] == "/"
    assert "httponly" in cookie and "samesite=strict" in cookie and up.token.lower() not in cookie
    mine = cookie.partition(";")[0]
    pair = entered.headers["set-cookie"].partition(";")[0]
    assert get(up, "/api/overview", cookie=pair).status_code == 200 and mine
    assert get(up, "/api/overview", cookie=pair, **{"sec-fetch-site": "same-site"}).status_code == 401
    assert httpx.get(up.addresses["login"], timeout=20, trust_env=False).status_code == 401
    assert get(up, up.login().removeprefix(up.http)).status_code == 303


@pytest.mark.parametrize("path", ["/", "/login", "/login?code=x", "/console/main.js", "/realms/headrace/protocol/openid-connect/certs", "/api/overview"])  # fmt: skip
@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "null"}, {"origin": "http://evil.example"}])
def test_foreign_pages_and_names_do_not_even_reach_the_sign_in(up: Up, path: str, headers: dict[str, str]) -> None:
    assert get(up, path, **headers).status_code == 403
    form = {"name": "local/x", "password": "y"}
    posted = httpx.post(up.http + "/login", data=form, headers=headers, timeout=20, trust_env=False)
    assert posted.status_code == 403


async def test_mqtt_asks_for_a_login_as_soon_as_there_is_another_company(up: Up) -> None:
    port = up.mqtt[1]
    assert await code(port) == await code(port, username="anything", password="at all") == 0
    assert await code(port, username="local/nobody", password="x") == Reason.BAD_LOGIN
    async with await Client.open(port, connect("stays", 5), 5) as before:
        assert up.call("POST", "/companies", json={"name": "acme"}).status_code == 201
        farewell = await before.next(20)
        assert farewell.kind == wire.DISCONNECT and farewell.body[0] == Reason.NOT_AUTHORISED
    assert await code(port) == Reason.NOT_AUTHORISED
    assert await code(port, username="anything", password="at all") == Reason.BAD_LOGIN
    async with await Client.open(port, connect("i", 5, username="local/install", password=up.token), 5) as mine:
        assert (await mine.ask(publish("a/b", b"1", version=5))).kind == wire.PUBACK
    assert up.call("DELETE", "/companies/acme").is_success


async def test_on_another_address_mqtt_asks_for_a_login_from_the_start(tmp_path: Path) -> None:
    with Up(tmp_path / "data", "--host", "0.0.0.0") as up:
        port = up.mqtt[1]
        assert await code(port) == Reason.NOT_AUTHORISED
        assert await code(port, username="local/install", password=up.token) == 0
        assert up.stop() == 0


async def test_open_asks_nobody_and_only_there_where_nobody_else_is(tmp_path: Path) -> None:
    with Up(tmp_path / "data", "--open") as up:
        assert not {"login", "token_file"} & set(up.addresses)
        assert get(up, "/api/overview").status_code == get(up, "/metrics").status_code == 200
        assert await code(up.mqtt[1]) == 0
        assert get(up, "/api/overview", host="evil.example").status_code == 403
        added = httpx.post(up.http + "/companies", json={"name": "acme"}, timeout=20, trust_env=False)
        assert added.status_code == 409 and "--open" in added.json()["error"]
        assert up.stop() == 0
    refused = headrace("up", "--data", str(tmp_path / "other"), "--open", "--host", "0.0.0.0")
    assert refused.returncode == 1 and "others can reach this address" in refused.stderr
    with Up(tmp_path / "data") as up:
        assert up.call("POST", "/companies", json={"name": "acme"}).status_code == 201
        assert up.stop() == 0
    refused = headrace("up", "--data", str(tmp_path / "data"), "--open")
    assert refused.returncode == 1 and "several companies" in refused.stderr
