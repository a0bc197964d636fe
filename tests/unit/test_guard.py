"""Pages of other sites, and names that were made to point here, are not let in."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.front import Guard, hosts

OURS = b"127.0.0.1:8080"


async def asked(method: str, *headers: tuple[bytes, bytes]) -> int:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/", "headers": list(headers)}
    await Guard(app, hosts("127.0.0.1", 8080, ()))(scope, None, send)  # type: ignore[arg-type]
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {b"host": OURS}, 200),
        ("POST", {b"host": OURS, b"origin": b"http://127.0.0.1:8080"}, 200),
        ("POST", {b"host": b"evil.example"}, 403),
        ("POST", {b"host": OURS, b"origin": b"http://evil.example"}, 403),
        ("POST", {b"host": OURS, b"origin": b"null"}, 403),
        ("POST", {b"host": OURS, b"sec-fetch-site": b"cross-site"}, 403),
        ("GET", {b"host": OURS, b"sec-fetch-site": b"cross-site"}, 200),
        ("POST", {b"host": OURS, b"sec-fetch-site": b"same-origin"}, 200),
    ],
)
async def test_who_gets_in(method: str, headers: dict[bytes, bytes], status: int) -> None:
    assert await asked(method, *headers.items()) == status


@pytest.mark.parametrize("twice", [b"host", b"origin"])
async def test_a_header_that_comes_twice(twice: bytes) -> None:
    ours = OURS if twice == b"host" else b"http://" + OURS
    assert await asked("POST", (b"host", OURS), (twice, ours), (twice, b"http://evil.example")) == 403
