"""Answers that are not read: how much of them one company may have under way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import MutableMapping
from typing import Any

import httpx

from headrace.listening import listen, served
from headrace.services.http import App, Receive, Scope, Send, answer
from headrace.services.unread import SMALL, Unread
from tests.hub import ACME, BOLT
from tests.unit.test_training_http import entered

MIB = 2**20


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with as many bytes as its path says."""
    await answer(send, 200, bytes(range(256)) * (int(scope["path"][1:]) // 256))


class Client:
    """Reads nothing until it is told."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.status, self.got, self.pieces, self.whole = 0, b"", 0, False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        assert not self.whole, "nothing comes after the end"
        self.got += message["body"]
        self.pieces += 1
        self.whole = not message.get("more_body", False)
        if not self.whole:
            await self.reads.wait()


async def ask(app: App, size: int, client: Client, path: str = "") -> asyncio.Task[None]:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": path or f"/{size}", "headers": []}
    task = asyncio.ensure_future(app(scope, receive, client))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_a_company_that_does_not_read_gets_no_more_and_others_do() -> None:
    unread = Unread(large, 3 * MIB)
    acme, bolt = entered(unread, ACME), entered(unread, BOLT)
    slow = [Client() for _ in range(4)]
    tasks = [await ask(acme, MIB, client) for client in slow]
    assert [one.status for one in slow] == [200, 200, 200, 429]
    assert max(len(one.got) for one in slow) == SMALL, "no more than a piece is given to who does not read"
    assert "3 answers to your company" in json.loads(slow[-1].got)["error"]
    for app, size, status in ((acme, SMALL, 200), (bolt, MIB, 200), (bolt, 4 * MIB, 429), (acme, MIB, 429)):
        tasks.append(await ask(app, size, client := Client()))
        assert client.status == status
        slow.append(client)
    for client in slow:
        client.reads.set()
    await asyncio.gather(*tasks)
    assert all(client.whole for client in slow)
    assert [len(one.got) for one in slow[:3]] == [MIB] * 3 and slow[0].got == bytes(range(256)) * (MIB // 256)
    alone = Client()
    alone.reads.set()
    await (await ask(acme, 4 * MIB, alone))
    assert (alone.status, len(alone.got)) == (200, 4 * MIB), "what was read is forgotten; a single one may be larger"


async def test_whoever_goes_away_leaves_room() -> None:
    app = entered(Unread(large, MIB), ACME)
    task = await ask(app, MIB, Client())
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    client = Client()
    client.reads.set()
    await (await ask(app, MIB, client))
    assert client.status == 200


async def test_what_is_made_while_it_is_sent_passes() -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        size = [(b"content-length", b"%d" % (2 * SMALL))] if scope["path"] == "/told" else []
        await send({"type": "http.response.start", "status": 200, "headers": size})
        for more in (True, True, False):
            await send({"type": "http.response.body", "body": b"x" * SMALL if more else b"", "more_body": more})

    for path in ("/told", "/untold"):
        client = Client()
        client.reads.set()
        await (await ask(entered(Unread(stream, 1), ACME), 0, client, path))
        assert (client.status, len(client.got), client.pieces) == (200, 2 * SMALL, 3)


async def test_over_a_connection_that_is_not_read() -> None:
    listener = listen("127.0.0.1", 0)
    place = listener.getsockname()
    with contextlib.closing(listener):
        async with served(entered(Unread(large, 8 * MIB), ACME), listener):
            deaf = socket.socket()
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with contextlib.closing(deaf):
                deaf.connect(place)
                deaf.sendall(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % (8 * MIB))
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{place[1]}", trust_env=False) as client:
                    await asyncio.sleep(0.2)
                    refused = await client.get(f"/{MIB}")
                    assert refused.status_code == 429 and refused.headers["retry-after"]
                    assert (await client.get(f"/{SMALL}")).status_code == 200
                    deaf.close()
                    await asyncio.sleep(0.2)
                    found = await client.get(f"/{8 * MIB}")
                    assert (found.status_code, len(found.content)) == (200, 8 * MIB)
