"""The one entrance: who is let in, who is not, and what is remembered of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from headrace.access import Principal
from headrace.errors import BadInput, StorageUnavailable, Unauthenticated
from headrace.services import entrance
from headrace.services.entrance import PRINCIPAL, Entrance, OpenEntrance, caller, known_still, lasting, still
from headrace.services.http import Receive, Scope, Send, answer_json

ANNA = Principal("acme", "anna", "user", frozenset({"developer"}))


class Book:
    """Identities written down in a dictionary; counts how often it was asked."""

    cookie = "headrace-1234"

    def __init__(self, **known: Principal) -> None:
        self.known, self.generation, self.asked = known, 0, 0
        self.full = False

    async def verify(self, token: str) -> Principal:
        self.asked += 1
        if self.full:
            raise StorageUnavailable(detail="the disk is full")
        if token not in self.known:
            raise Unauthenticated(detail="this token is not one of ours")
        return self.known[token]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    who = scope[PRINCIPAL]
    await answer_json(send, {"company": who.company if who else None, "path": scope["path"]})


async def ask(app: Any, method: str = "GET", path: str = "/api/x", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.request(method, path, headers={name.replace("_", "-"): v for name, v in headers.items()})


async def visit(app: Any, path: str, *headers: tuple[bytes, bytes]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app({"type": "websocket", "path": path, "query_string": b"", "headers": list(headers)}, receive, send)
    return sent


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"])
async def test_a_stranger_is_asked_who_he_is_whatever_the_method(method: str) -> None:
    answer = await ask(Entrance(echo, Book()), method)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="headrace"'
    if method != "HEAD":
        assert "headrace login" in answer.json()["error"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token"])
async def test_a_known_token_names_its_company(scheme: str) -> None:
    answer = await ask(Entrance(echo, Book(good=ANNA)), authorization=f"{scheme} good")
    assert answer.json()["company"] == "acme"


@pytest.mark.parametrize("value", ["Bearer bad", "Bearer", "Bearer ", "Basic Z29vZA==", "good", "Bearer " + "x" * 9000])
async def test_any_other_header_is_refused_and_not_repeated(value: str) -> None:
    answer = await ask(Entrance(echo, Book(good=ANNA)), authorization=value)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "bad" not in answer.text and "Z29v" not in answer.text


async def test_a_bad_token_is_not_mended_by_a_good_cookie() -> None:
    book = Book(good=ANNA)
    answer = await ask(Entrance(echo, book, book), authorization="Bearer bad", cookie="headrace-1234=good")
    assert answer.status_code == 401


async def test_the_cookie_of_this_install_counts() -> None:
    sessions = Book(visit=ANNA)
    app = Entrance(echo, Book(), sessions)
    assert (await ask(app, cookie="a=b; headrace-1234=visit; c=d")).json()["company"] == "acme"
    assert (await ask(app, cookie="headrace-9999=visit")).status_code == 401
    assert (await ask(app, authorization="Bearer visit")).status_code == 401  # a cookie's value is no token
    assert (await ask(Entrance(echo, sessions), cookie="headrace-1234=visit")).status_code == 401


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("same-site", 401), ("cross-site", 401)]
)
async def test_another_sites_page_may_not_use_the_cookie(site: str, status: int) -> None:
    sessions = Book(visit=ANNA)
    answer = await ask(Entrance(echo, Book(), sessions), cookie="headrace-1234=visit", sec_fetch_site=site)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("HEAD", "/"), ("GET", "/v2/health/live"), ("GET", "/login?code=abc"), ("GET", "/console/app.js"),
     ("POST", "/realms/headrace/protocol/openid-connect/token"), ("GET", "/docs/sharing"), ("GET", "/realms/headrace/.well-known/openid-configuration")],
)  # fmt: skip
async def test_what_strangers_may_see(method: str, path: str) -> None:
    answer = await ask(Entrance(echo, Book()), method, path, authorization="Basic aWQ6c2VjcmV0")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/"), ("DELETE", "/console/app.js"), ("GET", "/console"), ("GET", "/console/%2e%2e/api/specs"),
     ("GET", "/v2/health//models"), ("GET", "/realmsx"), ("GET", "/v2/models"), ("GET", "/metrics"), ("GET", "/loginx")],
)  # fmt: skip
async def test_what_they_may_not(method: str, path: str) -> None:
    assert (await ask(Entrance(echo, Book()), method, path)).status_code == 401


@pytest.mark.parametrize(
    "query",
    ["token=x", "a=1&access_token=x", "access%5Ftoken=x", "a=1&%61ccess_token=x", "access_token%3Dx", "a%26token=x", "ACCESS_TOKEN=x", "password=x", "x=eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.sig",
     "q=hri_0123456789abcdef0123"],
)  # fmt: skip
async def test_a_secret_in_the_url_is_refused_even_with_a_good_header(query: str) -> None:
    for path in ("/api/x", "/login", "/realms/headrace/protocol/openid-connect/token"):
        answer = await ask(Entrance(echo, Book(good=ANNA)), "GET", f"{path}?{query}", authorization="Bearer good")
        assert answer.status_code == 400
        assert "Authorization" in answer.json()["error"]


async def test_other_queries_pass() -> None:
    answer = await ask(Entrance(echo, Book(good=ANNA)), "GET", "/api/x?topic=token&days=3", authorization="Bearer good")
    assert answer.status_code == 200


async def test_a_checked_token_is_remembered_for_a_while() -> None:
    now, book = [1000.0], Book(good=ANNA)
    app = Entrance(echo, book, clock=lambda: now[0])
    for _ in range(5):
        assert (await ask(app, authorization="Bearer good")).status_code == 200
    assert book.asked == 1
    now[0] += entrance.KEPT + 1
    assert (await ask(app, authorization="Bearer good")).status_code == 200
    assert book.asked == 2


async def test_it_is_forgotten_when_it_expires() -> None:
    now = [1000.0]
    book = Book(good=Principal("acme", "anna", "user", frozenset(), expires=1005.0))
    app = Entrance(echo, book, clock=lambda: now[0])
    assert (await ask(app, authorization="Bearer good")).status_code == 200
    now[0] = 1005.0
    book.known.clear()
    assert (await ask(app, authorization="Bearer good")).status_code == 401


async def test_a_revocation_forgets_at_once() -> None:
    book = Book(good=ANNA)
    app = Entrance(echo, book)
    assert (await ask(app, authorization="Bearer good")).status_code == 200
    book.known.clear()
    book.generation += 1
    assert (await ask(app, authorization="Bearer good")).status_code == 401


async def test_a_revocation_while_asking_is_not_overwritten() -> None:
    class Slow(Book):
        async def verify(self, token: str) -> Principal:
            found = await super().verify(token)
            self.generation += 1
            return found

    book = Slow(good=ANNA)
    app = Entrance(echo, book)
    for _ in range(3):
        await ask(app, authorization="Bearer good")
    assert book.asked == 3


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "REMEMBERED", 3)
    book = Book(**{f"t{n}": ANNA for n in range(10)})
    app = Entrance(echo, book)
    for n in range(10):
        await ask(app, authorization=f"Bearer t{n}")
        await ask(app, authorization="Bearer unknown")
    assert len(app._bearers._known) == 3


async def test_a_full_disk_is_not_a_wrong_token() -> None:
    book = Book()
    book.full = True
    answer = await ask(Entrance(echo, book), authorization="Bearer good")
    assert answer.status_code == 507 and "www-authenticate" not in answer.headers


async def test_websockets() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope[PRINCIPAL])

    guarded = Entrance(app, Book(good=ANNA))
    assert await visit(guarded, "/events") == [{"type": "websocket.close", "code": 1008}]
    assert await visit(guarded, "/events", (b"authorization", b"Bearer bad")) == [
        {"type": "websocket.close", "code": 1008}
    ]
    assert not seen
    await visit(guarded, "/events", (b"authorization", b"Bearer good"))
    await visit(guarded, "/mqtt")  # has its own login
    assert seen == [ANNA, None]


async def test_lifespan_passes() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await Entrance(app, Book())({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


async def test_the_open_entrance_asks_nobody() -> None:
    app = OpenEntrance(echo, ANNA)
    assert (await ask(app)).json()["company"] == "acme"
    assert (await ask(app, authorization="Bearer stale")).json()["company"] == "acme"


async def test_fastapi_routes_are_given_the_caller() -> None:
    app = FastAPI()

    @app.get("/who")
    async def who(principal: Principal = Depends(caller)) -> str:  # noqa: B008
        return principal.subject

    assert (await ask(Entrance(app, Book(good=ANNA)), path="/who", authorization="Bearer good")).json() == "anna"
    with pytest.raises(Unauthenticated):
        await ask(app, path="/who")


async def test_a_long_answer_can_ask_whether_its_caller_still_counts() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await answer_json(send, {})

    book = Book(good=ANNA)
    await ask(Entrance(app, book), authorization="Bearer good")
    await ask(Entrance(app, book), path="/")
    assert await still(scopes[0]) and await still(scopes[1])
    book.known.clear()
    book.generation += 1
    assert not await still(scopes[0])


async def test_it_costs_little() -> None:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        return

    app = Entrance(nothing, Book(good=ANNA))
    headers = [(b"host", b"x"), (b"content-type", b"a"), (b"accept", b"*/*"), (b"authorization", b"Bearer good")]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/v2/models/m/infer",
        "query_string": b"",
        "headers": headers,
    }
    started = time.perf_counter()
    for _ in range(2000):
        await app(dict(scope), None, None)  # type: ignore[arg-type]
    assert (time.perf_counter() - started) / 2000 < 100e-6  # some 2 us; the bound is for a busy machine


async def test_an_error_is_said_as_everywhere() -> None:
    answer = await ask(Entrance(echo, Book()), "GET", "/x?token=1")
    assert answer.json() == {"error": str(BadInput(detail=answer.json()["error"].removesuffix(".")))}


@pytest.mark.parametrize("talks", [True, False])
async def test_an_answer_that_goes_on_ends_with_the_right_to_it(talks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while nothing comes; and what makes it is told to stop."""
    monkeypatch.setattr(entrance, "AGAIN", 0.02)
    book, closed = Book(good=ANNA), asyncio.Event()

    async def source() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"more"
                await asyncio.sleep(0.005 if talks else 3600)
        finally:
            closed.set()

    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        got = 0
        async for piece in lasting(scope, source()):
            got += len(piece)
            if got == 4:
                del book.known["good"]
                book.generation += 1
        with pytest.raises(Unauthenticated, match="in the middle"):
            await known_still(scope)
        await answer_json(send, {"got": got})

    async with asyncio.timeout(5):
        answer = await ask(Entrance(streaming, book), authorization="Bearer good")
    assert answer.json()["got"] >= 4 and closed.is_set()


async def test_an_answer_whose_caller_may_have_it_comes_whole() -> None:
    async def source() -> AsyncGenerator[bytes]:
        for number in range(3):
            yield b"%d" % number

    assert [piece async for piece in lasting({}, source())] == [b"0", b"1", b"2"]
