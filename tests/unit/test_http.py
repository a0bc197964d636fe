"""Reading a request's body: limits hold before and after decompression, whatever the client does."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import BadInput, HeadraceError, TooLarge, TooMany, TooManyGuesses
from headrace.services import http

LIMIT = 1000


async def read(chunks: Iterable[bytes], *headers: tuple[bytes, bytes], gone: bool = False) -> bytes:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request", "body": b""})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return await http.read_body({"headers": list(headers)}, receive, LIMIT, "the option")


async def test_chunks_are_joined() -> None:
    assert await read([b"a", b"", b"bc"]) == b"abc"


async def test_over_the_limit() -> None:
    with pytest.raises(TooLarge, match="the option"):
        await read([b"x" * 600, b"x" * 600])
    with pytest.raises(TooLarge):
        await read([], (b"content-length", b"1001"))
    assert len(await read([b"x" * LIMIT])) == LIMIT


@pytest.mark.parametrize(
    ("headers", "taken"),
    [([(b"content-length", b"5000")], 5), ([], 5), ([(b"content-length", b"5000"), (b"expect", b"100-continue")], 0)],
)
async def test_what_still_comes_of_a_refused_body_is_taken(headers: list[tuple[bytes, bytes]], taken: int) -> None:
    left = [{"type": "http.request", "body": bytes(1000), "more_body": index < 4} for index in range(5)]

    async def receive() -> dict[str, Any]:
        return left.pop(0)  # fails when asked for more than there is

    with pytest.raises(TooLarge):
        await http.read_body({"headers": headers}, receive, LIMIT, "")
    assert 5 - len(left) == taken


async def test_a_refused_body_is_not_taken_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SPILL_SECONDS", 0.05)

    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    async def endless() -> dict[str, Any]:
        return {"type": "http.request", "body": bytes(2**20), "more_body": True}

    for receive in (never, endless):
        with pytest.raises(TooLarge):
            await asyncio.wait_for(http.read_body({"headers": [(b"content-length", b"5000")]}, receive, LIMIT, ""), 5)


async def test_a_client_that_goes_away() -> None:
    with pytest.raises(BadInput, match="went away"):
        await read([b"x"], gone=True)
    with pytest.raises(BadInput, match="went away"):
        await read([], gone=True)


async def test_a_client_that_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(BadInput, match="did not come within"):
        await http.read_body({"headers": []}, receive, LIMIT, "")


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_bombs_are_stopped_at_the_limit(pack: Any) -> None:
    coding = b"gzip" if pack is gzip.compress else b"deflate"
    assert len(await read([pack(bytes(LIMIT))], (b"content-encoding", coding))) == LIMIT
    for bomb in (pack(bytes(LIMIT + 1)), pack(bytes(900_000))):
        with pytest.raises(TooLarge, match="decompressed"):
            await read([bomb], (b"content-encoding", coding))
    with pytest.raises(TooLarge):
        await read([gzip.compress(bytes(600)) * 2], (b"content-encoding", b"gzip"))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=80), st.sampled_from([b"gzip", b"deflate", b"br", b"\xff"]))
def test_any_bytes_are_decompressed_or_refused(body: bytes, coding: bytes) -> None:
    for data in (body, gzip.compress(body), gzip.compress(body) + body, gzip.compress(body)[:-3]):
        try:
            asyncio.run(read([data], (b"content-encoding", coding)))
        except HeadraceError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(TooMany(count=3, what="uploads"), b"5"), (TooManyGuesses(seconds=17.2), b"17"), (BadInput(detail="no"), None)],
)
async def test_who_is_one_too_many_is_told_when_to_come_again(error: HeadraceError, seconds: bytes | None) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await http.refuse(send, error)
    assert dict(said[0]["headers"]).get(b"retry-after") == seconds
