"""Bodies of the hub and the queue: who may not send one is told before it is read, and none is read without end."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.services.http import App
from headrace.services.sharing.http import create_app as sharing_app
from headrace.services.training.http import create_app as training_app
from tests.hub import opened, person
from tests.unit.test_training_http import CODE, Scripted, entered

MIB = 2**20
SIZE = 50 * MIB
HUB = ["/grants", "/datasets/from-stream", "/internal/jobs/began", "/internal/jobs/trained"]
QUEUE = ["/jobs", "/jobs/evaluate", "/jobs/validate"]


class Sent:
    """A body of 50 MiB that counts what of it was asked for."""

    def __init__(self) -> None:
        self.size = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        piece = b" " * 65_536
        while self.size < SIZE:
            self.size += len(piece)
            yield piece


async def post(
    app: App, path: str, role: str, kind: str = "application/json", **more: str
) -> tuple[httpx.Response, int]:
    """The answer, and how many bytes of the body were asked for; within 2 s and 8 MiB of memory."""
    sent, transport = Sent(), httpx.ASGITransport(entered(app, person("acme", role)))  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            begun = time.monotonic()
            answer = await client.post(path, content=sent.pieces(), headers={"content-type": kind, **more})
        assert time.monotonic() - begun < 2
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
    assert list(answer.json()) == ["error"]
    return answer, sent.size


@pytest.mark.parametrize("path", [*HUB, *QUEUE])
async def test_a_device_that_posts_50_mb_is_refused_before_they_are_read(tmp_path: Path, path: str) -> None:
    async with opened(tmp_path) as hub:
        app: Any = sharing_app(hub) if path in HUB else training_app(Scripted())
        answer, read = await post(app, path, "device")
        assert (answer.status_code, read) == (403, 0)


@pytest.mark.parametrize("path", [path for path in [*HUB, *QUEUE] if not path.startswith("/internal")])
async def test_who_may_send_a_body_may_send_no_endless_one(tmp_path: Path, path: str) -> None:
    async with opened(tmp_path) as hub:
        app: Any = sharing_app(hub) if path in HUB else training_app(Scripted(), code_bytes=MIB)
        form = "multipart/form-data; boundary=x" if path == "/jobs/validate" else "application/json"
        answer, read = await post(app, path, "admin", form)
        assert answer.status_code == (400 if path == "/jobs/validate" else 413)  # 400: what came is no form
        assert read <= 3 * MIB
        answer, read = await post(app, path, "admin", form, **{"content-length": str(SIZE)})
        assert (answer.status_code, read) == (413, 0) and "over the limit of" in answer.json()["error"]


async def test_an_archive_to_validate_is_as_large_as_one_of_a_recipe_at_most() -> None:
    service = Scripted()
    transport = httpx.ASGITransport(entered(training_app(service, code_bytes=MIB), person("acme", "developer")))  # type: ignore[arg-type]

    async def form(size: int) -> AsyncIterator[bytes]:
        part = '--x\r\ncontent-disposition: form-data; name="{}"{}\r\n\r\n'
        yield part.format("recipe", "").encode() + CODE.model_dump_json().encode() + b"\r\n"
        yield part.format("code", '; filename="c.zip"').encode()
        for _ in range(size // 65_536):
            yield b"z" * 65_536
        yield b"\r\n--x--\r\n"

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        kind = {"content-type": "multipart/form-data; boundary=x"}
        assert (await client.post("/jobs/validate", content=form(MIB), headers=kind)).status_code == 200
        answer = await client.post("/jobs/validate", content=form(SIZE), headers=kind)
        assert answer.status_code == 413 and "over the limit of" in answer.json()["error"]
    assert len(service.asked) == 1
