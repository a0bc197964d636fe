"""The HTTP door with clients that mean harm: silent, endless, trickling, deaf, or simply too many."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from headrace import guests
from headrace.guests import Guest
from headrace.listening import listen, served
from headrace.services.http import Body, answer_json
from headrace.settings import HttpSettings

QUICK = HttpSettings(head_seconds=0.5, body_seconds=0.5, reading_seconds=0.5, head_bytes=4096, connections=8)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "LOOK", 0.05)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/endless":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(10_000):
            await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(1.2)
    size = sum([len(piece) async for piece in Body(receive).pieces()])
    await answer_json(send, {"size": size})


@contextlib.asynccontextmanager
async def door(settings: HttpSettings = QUICK) -> AsyncIterator[tuple[str, int]]:
    with listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        async with served(app, listener, settings):
            yield address


async def said(address: tuple[str, int], *pieces: bytes, pause: float = 0.0) -> bytes:
    """All that is answered until the door closes the connection."""
    reader, writer = await asyncio.open_connection(*address)
    found = bytearray()

    async def listening() -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                found.extend(piece)

    hearing = asyncio.create_task(listening())
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
    await asyncio.wait_for(hearing, 10)
    writer.close()
    return bytes(found)


POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((), b"408"),
        ((b"GET / HTTP/1.1\r\nHost: ",), b"408"),
        (
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HT"),
            b"408",
        ),  # the next request, on a connection that was good
        ((b"GET / HTTP/1.1\r\nx: ", *[b"y" * 4000] * 5), b"431"),
        ((b"GET /", *[b"y" * 4000] * 5), b"431"),
        ((POST.replace(b"Content-Length: 1000000", b"Transfer-Encoding: chunked"), b"1;", *[b"y" * 4000] * 5), b"431"),
        ((POST, *[b"x"] * 20), b"408"),
        ((POST,), b"408"),
    ],
)
async def test_who_says_too_little_or_too_much_is_turned_away(pieces: tuple[bytes, ...], status: bytes) -> None:
    async with door() as address:
        found = await said(address, *pieces, pause=0.05)
        assert b"HTTP/1.1 " + status in found, found


async def test_who_does_not_read_his_answer_is_cut_off() -> None:
    async with door() as address:
        reader, writer = await asyncio.open_connection(*address, limit=1024)
        writer.write(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(2)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(10**9), 10)
        writer.close()


async def test_who_is_served_is_not_disturbed() -> None:
    """A slow answer, a slow but steady body, a pause between requests, several requests at once."""
    async with (
        door() as address,
        httpx.AsyncClient(trust_env=False, base_url="http://{}:{}".format(*address)) as client,
    ):

        async def steady() -> AsyncIterator[bytes]:
            for _ in range(12):
                yield bytes(1000)
                await asyncio.sleep(0.1)

        slow = asyncio.create_task(client.get("/slow"))
        assert (await client.post("/", content=steady())).json() == {"size": 12_000}
        assert (await slow).json() == {"size": 0}
        await asyncio.sleep(0.8)
        assert (await client.post("/", content=bytes(10**6))).json() == {"size": 10**6}
        two = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert (await said(address, two)).count(b'{"size":0}') == 2


async def test_the_silent_make_room() -> None:
    async with door(HttpSettings(connections=8)) as address:
        held = [socket.create_connection(address) for _ in range(30)]
        async with httpx.AsyncClient(trust_env=False, base_url="http://{}:{}".format(*address)) as client:
            for _ in range(3):
                assert (await client.get("/")).status_code == 200
                held += [socket.create_connection(address) for _ in range(10)]
                await asyncio.sleep(0.05)
        for one in held:
            one.close()


async def test_one_address_has_its_places_unless_it_is_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Guest.connection_made

    def from_elsewhere(self: Guest, transport: Any) -> None:
        monkeypatch.setattr(
            "uvicorn.protocols.http.httptools_impl.get_remote_addr", lambda _: ("192.0.2.9", 1), raising=True
        )
        made(self, transport)

    monkeypatch.setattr(Guest, "connection_made", from_elsewhere)
    for proxies, open_ in (((), 2), (("192.0.2.0/24",), 5)):
        async with door(HttpSettings(address_connections=2, proxies=proxies)) as address:
            held = [await asyncio.open_connection(*address) for _ in range(5)]
            await asyncio.sleep(0.2)
            assert sum(not reader.at_eof() for reader, _ in held) == open_
            for _, writer in held:
                writer.close()
