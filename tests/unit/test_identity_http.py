"""Identity over HTTP, behind the entrance: who may do what to whom, a browser's way in, and what is never told."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from headrace.errors import StorageUnavailable
from headrace.services.entrance import Entrance
from headrace.services.identity.http import create_app
from headrace.services.identity.service import IdentityService
from headrace.trust.identities.local import LocalIdentities

TOKEN = "/realms/headrace/protocol/openid-connect/token"
BASE = "http://127.0.0.1:8080"


class House:
    """The issuer, its app behind the entrance, and whoever asks."""

    def __init__(self, ids: LocalIdentities) -> None:
        self.ids, self.service = ids, IdentityService(ids)
        self.app = Entrance(create_app(self.service), ids, ids.sessions)
        self.install = ids.install_token

    def client(self, **options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app, client=("10.0.0.1", 1))
        return httpx.AsyncClient(transport=transport, base_url=BASE, **options)

    async def ask(self, token: str, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with self.client() as client:
            return await client.request(
                method, path, json=body, headers=headers | options.pop("headers", {}), **options
            )

    async def token(self, name: str, password: str) -> str:
        form = {"grant_type": "password", "username": name, "password": password}
        async with self.client() as client:
            answer = await client.post(TOKEN, data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def company(self, name: str) -> str:
        """A new company; its admin's token."""
        made = await self.ask(self.install, "POST", "/companies", {"name": name})
        return await self.token(f"{name}/admin", made.json()["admin"]["password"])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with LocalIdentities(tmp_path / "identity") as ids:
        yield House(ids)


async def test_the_realm_tells_where_its_doors_are(house: House) -> None:
    found = (await house.ask("", "GET", "/realms/headrace/.well-known/openid-configuration")).json()
    assert found["issuer"] == f"{BASE}/realms/headrace" and found["token_endpoint"] == BASE + TOKEN
    keys = (await house.ask("", "GET", found["jwks_uri"].removeprefix(BASE))).json()
    token = await house.company("acme")
    public = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, public, algorithms=["ES256"], audience="headrace", issuer=found["issuer"])
    assert claims["company"] == "acme" and "d" not in keys["keys"][0]


async def test_an_operator_adds_a_company_and_opens_nobodys_data(house: House) -> None:
    admin = await house.company("acme")
    people = (await house.ask(house.install, "GET", "/people")).json()
    assert people == []  # his own company's
    assert [one["name"] for one in (await house.ask(admin, "GET", "/people")).json()] == ["admin"]
    assert (await house.ask(house.install, "DELETE", "/people/admin")).status_code == 404
    listed = (await house.ask(house.install, "GET", "/companies")).json()
    assert [(one["name"], one["people"]) for one in listed] == [("acme", 1), ("local", 0)]


async def test_an_admin_rules_his_own_company_only(house: House) -> None:
    acme, umbra = await house.company("acme"), await house.company("umbra")
    made = await house.ask(acme, "POST", "/people", {"name": "anna"})
    assert made.status_code == 201 and made.json()["company"] == "acme" and made.headers["cache-control"] == "no-store"
    assert [one["name"] for one in (await house.ask(umbra, "GET", "/people")).json()] == ["admin"]
    assert (await house.ask(umbra, "DELETE", "/people/anna")).status_code == 404
    assert (await house.ask(umbra, "POST", "/people/anna/password")).status_code == 404
    assert (await house.ask(umbra, "POST", "/people", {"name": "anna"})).status_code == 201  # another anna
    assert [one["name"] for one in (await house.ask(acme, "GET", "/companies")).json()] == ["acme"]
    for method, path, body in (
        ("POST", "/companies", {"name": "evil"}),
        ("DELETE", "/companies/umbra", None),
        ("POST", "/keys/rotate", None),
    ):
        assert (await house.ask(acme, method, path, body)).status_code == 403


@pytest.mark.parametrize("path", ["/people", "/password"])
async def test_company_taken_from_a_body_instead_of_the_token(house: House, path: str) -> None:
    admin = await house.company("acme")
    for body in (
        {"name": "x", "company": "local"},
        {"name": "x", "company": "acme"},
        {"old": "a", "new": "b", "company": "local"},
    ):
        answer = await house.ask(admin, "POST", path, body)
        assert answer.status_code == 400 and "company" in answer.json()["error"], answer.text
    answer = await house.ask(admin, "POST", "/people?company=local", {"name": "y"}, headers={"x-company": "local"})
    assert answer.json()["company"] == "acme"


async def test_an_admin_cannot_hand_out_operator(house: House) -> None:
    admin = await house.company("acme")
    answer = await house.ask(admin, "POST", "/people", {"name": "x", "roles": ["operator"]})
    assert answer.status_code == 403
    assert (await house.ask(house.install, "POST", "/people", {"name": "op", "roles": ["operator"]})).status_code == 201
    made = await house.ask(house.install, "POST", "/people", {"name": "boss", "roles": ["admin"]})
    boss = await house.token("boss", made.json()["password"])
    for method, path in (("DELETE", "/people/op"), ("POST", "/people/op/password")):
        assert (await house.ask(boss, method, path)).status_code == 403


@pytest.mark.parametrize("role", ["developer", "viewer"])
async def test_who_may_not_manage(house: House, role: str) -> None:
    admin = await house.company("acme")
    made = await house.ask(admin, "POST", "/people", {"name": "x", "roles": [role]})
    token = await house.token("acme/x", made.json()["password"])
    for method, path, body in (
        ("GET", "/people", None),
        ("POST", "/people", {"name": "y"}),
        ("DELETE", "/people/admin", None),
    ):
        answer = await house.ask(token, method, path, body)
        assert answer.status_code == 403 and "admin" in answer.json()["error"]
    assert (await house.ask(token, "GET", "/whoami")).json()["roles"] == [role]


async def test_a_device_logs_in_with_its_secret(house: House) -> None:
    admin = await house.company("acme")
    made = (
        await house.ask(admin, "POST", "/people", {"name": "pump-7", "kind": "device", "topics": ["plant/#"]})
    ).json()
    basic = base64.b64encode(f"acme%2Fpump-7:{made['password']}".encode()).decode()
    async with house.client() as client:
        answer = await client.post(
            TOKEN, data={"grant_type": "client_credentials"}, headers={"authorization": f"Basic {basic}"}
        )
    who = (await house.ask(answer.json()["access_token"], "GET", "/whoami")).json()
    assert (who["company"], who["subject"], who["kind"], who["topics"]) == ("acme", "pump-7", "device", ["plant/#"])


async def test_deleting_ends_tokens_although_the_entrance_remembers_them(house: House) -> None:
    admin = await house.company("acme")
    made = await house.ask(admin, "POST", "/people", {"name": "anna"})
    anna = await house.token("acme/anna", made.json()["password"])
    assert (await house.ask(anna, "GET", "/whoami")).status_code == 200
    assert (await house.ask(admin, "DELETE", "/people/anna")).json() == {"deleted": "anna"}
    assert (await house.ask(anna, "GET", "/whoami")).status_code == 401
    assert (await house.ask(house.install, "DELETE", "/companies/acme")).status_code == 200
    assert (await house.ask(admin, "GET", "/whoami")).status_code == 401
    assert (await house.ask(house.install, "DELETE", "/companies/acme")).status_code == 404


async def test_rotating_at_once_ends_tokens_although_the_entrance_remembers_them(house: House) -> None:
    admin = await house.company("acme")
    assert (await house.ask(house.install, "POST", "/keys/rotate")).status_code == 200
    assert (await house.ask(admin, "GET", "/whoami")).status_code == 200
    assert (await house.ask(house.install, "POST", "/keys/rotate?at_once=true")).status_code == 200
    assert (await house.ask(admin, "GET", "/whoami")).status_code == 401


async def test_ones_own_password(house: House) -> None:
    made = await house.ask(house.install, "POST", "/people", {"name": "anna", "password": "long enough"})
    assert made.json()["password"] is None
    token = await house.token("anna", "long enough")
    assert (await house.ask(token, "POST", "/password", {"old": "wrong", "new": "another one"})).status_code == 400
    assert (await house.ask(token, "POST", "/password", {"old": "long enough", "new": "short"})).status_code == 400
    assert (
        await house.ask(token, "POST", "/password", {"old": "long enough", "new": "another one"})
    ).status_code == 204
    assert (await house.ask(token, "GET", "/whoami")).status_code == 401  # also a thief is logged out
    await house.token("anna", "another one")


async def test_a_browsers_way_in_and_out(house: House) -> None:
    url = (await house.ask(house.install, "POST", "/session")).json()["url"]
    async with house.client() as browser:
        entered = await browser.get(url)
        assert entered.status_code == 303 and entered.headers["location"] == "/"
        cookie = entered.headers["set-cookie"].lower()
        assert (
            "httponly" in cookie and "samesite=strict" in cookie and "secure" not in cookie and "domain" not in cookie
        )
        assert (await browser.get("/whoami")).json()["kind"] == "install"
        again = await browser.get(url)
        assert again.status_code == 401 and "headrace open" in again.text and "set-cookie" not in again.headers
        foreign = await browser.get("/whoami", headers={"sec-fetch-site": "cross-site"})
        assert foreign.status_code == 401
        kept = dict(browser.cookies)
        assert (await browser.post("/logout")).status_code == 204
    async with house.client(cookies=kept) as thief:
        assert (await thief.get("/whoami")).status_code == 401


async def test_the_form_signs_in(house: House) -> None:
    await house.ask(house.install, "POST", "/people", {"name": "anna", "password": "long enough"})
    async with house.client() as browser:
        page = await browser.get("/login")
        assert (
            page.status_code == 200
            and "<form" in page.text
            and "form-action 'self'" in page.headers["content-security-policy"]
        )
        wrong = await browser.post("/login", data={"company": "local", "name": "<b>", "password": "wrong-wrong"})
        assert wrong.status_code == 401 and "<b>" not in wrong.text
        right = await browser.post("/login", data={"company": "local", "name": "anna", "password": "long enough"})
        assert right.status_code == 303
        assert (await browser.get("/whoami")).json()["subject"] == "anna"


async def test_no_page_signs_a_visitor_in_as_somebody_else(house: House) -> None:
    url = (await house.ask(house.install, "POST", "/session")).json()["url"]
    async with house.client() as browser:
        answer = await browser.get(url, headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403 and "set-cookie" not in answer.headers
        posted = await browser.post("/login", data={"name": "x"}, headers={"sec-fetch-site": "cross-site"})
        assert posted.status_code == 403


async def test_an_https_cookie_is_secure(house: House) -> None:
    url = (await house.ask(house.install, "POST", "/session")).json()["url"].replace("http://", "https://")
    async with house.client() as browser:
        assert "secure" in (await browser.get(url)).headers["set-cookie"].lower()


async def test_logging_out_ends_the_access_token(house: House) -> None:
    admin = await house.company("acme")
    assert (await house.ask(admin, "POST", "/logout")).status_code == 204
    assert (await house.ask(admin, "GET", "/whoami")).status_code == 401


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "password", "username": "nobody", "password": "wrong-wrong"}, 400, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant"),
        ({"grant_type": "implicit"}, 400, "unsupported_grant_type"),
        ({"username": "x"}, 400, "invalid_request"),
        ({"grant_type": "password", "username": "x", "password": "p" * 20_000}, 413, "server_error"),
    ],
)
async def test_the_token_endpoints_errors_are_rfc_6749s(
    house: House, form: dict[str, str], status: int, error: str
) -> None:
    async with house.client() as client:
        answer = await client.post(TOKEN, data=form)
    assert answer.status_code == status
    assert answer.headers["cache-control"] == "no-store"
    if status == 400:
        assert answer.json()["error"] == error and "wrong-wrong" not in answer.text


async def test_the_token_endpoint_takes_forms_only(house: House) -> None:
    answer = await house.ask("", "POST", TOKEN, {"grant_type": "password"})
    assert answer.status_code == 400
    async with house.client() as client:
        twice = await client.post(
            TOKEN,
            content="grant_type=password&grant_type=password",
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        assert twice.status_code == 400
        assert (await client.post(f"{TOKEN}?password=x", data={"grant_type": "password"})).status_code == 400


async def test_guessing_is_answered_429(house: House) -> None:
    await house.ask(house.install, "POST", "/people", {"name": "anna", "password": "long enough"})
    async with house.client() as client:
        form = {"grant_type": "password", "username": "anna", "password": "hrs_guess"}
        answers = [(await client.post(TOKEN, data=form)).status_code for _ in range(8)]
        assert answers[:5] == [400] * 5 and answers[-1] == 429
        last = await client.post(TOKEN, data=form | {"password": "long enough"})
        assert last.status_code == 429 and int(last.headers["retry-after"]) >= 1


async def test_neither_tokens_nor_passwords_are_in_errors_or_logs(
    house: House, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    secret = "a-very-secret-word-1234"
    shown = ""
    for path, body in (
        ("/people", {"name": "x", "password": secret, "roles": "no list", "odd": secret}),
        ("/people", {"name": "x", "password": "short", "topics": []}),
        ("/password", {"old": secret, "new": secret}),
        ("/people", {"name": "x", "kind": secret}),
    ):
        answer = await house.ask(house.install, "POST", path, body)
        assert answer.status_code in {400, 409}
        shown += answer.text
    shown += (await house.ask(f"eyJ{secret}.{secret}.x", "GET", "/whoami")).text
    async with house.client() as client:
        shown += (await client.post(TOKEN, data={"grant_type": "password", "username": "x", "password": secret})).text
    out = capsys.readouterr()
    assert secret not in shown + caplog.text + out.out + out.err
    assert house.install not in caplog.text + out.out + out.err


async def test_a_company_that_cannot_be_opened_is_not_added(house: House) -> None:
    async def full(name: str) -> None:
        raise StorageUnavailable(detail=f"no room for {name}")

    house.service._opened = full
    assert (await house.ask(house.install, "POST", "/companies", {"name": "acme"})).status_code == 507
    assert [one["name"] for one in (await house.ask(house.install, "GET", "/companies")).json()] == ["local"]


async def test_companies_are_opened_and_closed(house: House) -> None:
    seen: list[str] = []

    async def opened(name: str) -> None:
        seen.append(f"+{name}")

    async def closed(name: str) -> None:
        seen.append(f"-{name}")

    house.service._opened, house.service._closed = opened, closed
    await house.company("acme")
    await house.ask(house.install, "DELETE", "/companies/acme")
    assert seen == ["+acme", "-acme"]


async def test_odd_requests_are_answered_as_everywhere(house: House) -> None:
    for method, path, status in (
        ("GET", "/people/x/y", 404),
        ("PATCH", "/people", 405),
        ("GET", "/realms/other/x", 404),
    ):
        answer = await house.ask(house.install, method, path)
        assert answer.status_code == status and "nothing at" in answer.json()["error"]
    answer = await house.ask(house.install, "POST", "/people", [1])
    assert answer.status_code == 400 and answer.json()["error"]


async def test_a_body_without_end_is_not_read_to_its_end(house: House) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 8192
            yield b'{"name":' if taken == 8192 else b" " * 8192

    headers = {"authorization": f"Bearer {house.install}", "content-type": "application/json"}
    async with house.client() as client:
        assert (await client.post("/people", content=endless(), headers=headers)).status_code in {400, 413}
        assert taken < 200_000
        assert (await client.post("/people", content=b" " * 100_000, headers=headers)).status_code == 413


async def test_a_device_may_send_its_secret_as_it_is(house: House) -> None:
    admin = await house.company("acme")
    made = (await house.ask(admin, "POST", "/people", {"name": "pump-7", "kind": "device"})).json()
    secret = made["password"]
    assert (await house.ask(secret, "GET", "/whoami")).json()["subject"] == "pump-7"
    assert (await house.ask("", "GET", "/whoami", headers={"authorization": f"Token {secret}"})).status_code == 200
    assert (await house.ask(secret[:-1] + "~", "GET", "/whoami")).status_code == 401
    assert (await house.ask("", "GET", f"/whoami?x={secret}")).status_code == 400
    await house.ask(admin, "POST", "/people/pump-7/password")
    assert (await house.ask(secret, "GET", "/whoami")).status_code == 401


async def test_a_new_secret_ends_the_tokens_got_with_the_old_one(house: House) -> None:
    admin = await house.company("acme")
    made = (await house.ask(admin, "POST", "/people", {"name": "pump-7", "kind": "device"})).json()
    form = {"grant_type": "client_credentials", "client_id": "acme/pump-7", "client_secret": made["password"]}
    async with house.client() as client:
        token = (await client.post(TOKEN, data=form)).json()["access_token"]
    assert (await house.ask(token, "GET", "/whoami")).status_code == 200
    assert (await house.ask(token, "POST", "/logout")).status_code == 400  # it has no login to end
    await house.ask(admin, "POST", "/people/pump-7/password")
    assert (await house.ask(token, "GET", "/whoami")).status_code == 401


async def test_a_persons_password_is_no_token(house: House) -> None:
    await house.ask(house.install, "POST", "/people", {"name": "anna", "password": "long enough"})
    assert (await house.ask("long enough", "GET", "/whoami")).status_code == 401


async def test_the_api_describes_itself(house: House) -> None:
    document = (await house.ask("", "GET", "/openapi/identity.json")).json()
    assert {"/companies", "/people", "/whoami", "/session", "/logout", TOKEN} <= set(document["paths"])
    assert "company" not in document["components"]["schemas"]["NewPerson"]["properties"]
    page = await house.ask("", "GET", "/docs/identity")
    assert page.status_code == 200 and "/docs/identity/start.js" in page.text
    open_ = {
        path
        for path, methods in document["paths"].items()
        if any(one.get("security") == [] for one in methods.values())
    }
    assert TOKEN in open_ and "/people" not in open_
