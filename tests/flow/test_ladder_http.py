"""The ladder over HTTP and on the command line: lines as they come, the report alone, strangers, and who goes away."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from headrace.cli import app
from headrace.commands import climbing
from headrace.listening import listen, served
from headrace.services import entrance
from headrace.services.verification import running
from headrace.services.verification.http import create_app
from tests.hub import ACME, BOLT, dataset
from tests.ladders import TRAINS, Standing, flip, standing
from tests.notary import impatient, until


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with impatient():
        yield


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Standing]:
    async with standing(tmp_path / "house") as found:
        yield found


@contextlib.asynccontextmanager
async def door(on: Standing, whom: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    """The service over HTTP, with the records that the command asks for first."""
    inner = create_app(on.here.notary)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        scope["headrace.principal"] = whom["who"]
        if scope["path"].startswith(("/datasets/", "/models/")):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
            return
        await inner(scope, receive, send)

    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with served(outer, listener), httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        yield http


async def test_lines_and_the_report_alone(on: Standing) -> None:
    data = await dataset(on.here.hub, ACME)
    await on.here.settled()
    whom = {"who": ACME}
    async with door(on, whom) as http:
        answer = await http.post(f"/verify/{data.id}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
        *checks, report = [json.loads(line) for line in answer.text.splitlines()]
        assert report["level"] == "L1" and [one for one in checks if one["state"] != "running"] == report["checks"]
        answer = await http.post(f"/verify/{data.id}?level=L0", headers={"accept": "application/json"})
        assert answer.headers["content-type"] == "application/json" and answer.json()["level"] == "L0"
        for path, status in ((f"/verify/{data.id}?level=L9", 400), ("/verify/ds_0", 404), ("/verify/x", 404)):
            assert (await http.post(path)).status_code == status, path
        assert (await http.get(f"/verify/{data.id}")).status_code == 405
        whom["who"] = BOLT
        for level in ("L0", "L1", "L2"):
            answer = await http.post(f"/verify/{data.id}?level={level}")
            assert answer.status_code == 404 and data.id in answer.json()["error"]


async def test_who_closes_the_connection_ends_the_training(on: Standing) -> None:
    _, model = await on.trained(TRAINS + "import time; time.sleep(1.5)\n")

    async def jobs() -> list[Any]:
        return [job for job in await on.queue.jobs(ACME) if job.kind == "reproduce"]

    for count, accept in enumerate(("application/json", "application/x-ndjson"), 1):
        async with door(on, {"who": ACME}) as http:
            asked = asyncio.create_task(http.post(f"/verify/{model.id}?level=L2", headers={"accept": accept}))

            async def queued(count: int = count) -> bool:
                return len(await jobs()) == count

            await until(queued)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

            async def ended() -> bool:
                return all(job.state == "cancelled" for job in await jobs())

            await until(ended)


async def test_a_token_that_ends_in_the_middle(on: Standing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The verification goes on, the command asks again and says each check once; nobody else gets it; it ends when nobody comes."""
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(entrance, "AGAIN", 0.05)
    monkeypatch.setattr(climbing, "SOON", 0.0)
    _, model = await on.trained(TRAINS + "import time; time.sleep(3)\n")

    async def jobs() -> list[Any]:
        return [job for job in await on.queue.jobs(ACME) if job.kind == "reproduce"]

    async with door(on, {"who": ACME}) as http:
        asked: list[str] = []

        async def once(_: Any) -> bool:
            """The first answer's token ends as soon as the training runs."""
            return asked.count("verify") > 1 or not await jobs()

        real = climbing._lines

        def lines(*about: Any) -> Iterator[str]:
            asked.append("verify")
            yield from real(*about)

        monkeypatch.setattr(entrance, "still", once)
        monkeypatch.setattr(climbing, "_lines", lines)
        words = ["verify", model.id, "--level", "L2", "--url", str(http.base_url)]
        done = await asyncio.to_thread(CliRunner().invoke, app, words)
        assert done.exit_code == 0, (done.output, done.exception)
        assert len(asked) == 2 and len(await jobs()) == 1 and "re-derived" in done.output
        assert done.output.count("✓ L0 contract") == done.output.count("✓ L2 training again") == 1

        monkeypatch.setattr(running, "LINGERS", 0.2)
        asked.clear()
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(f"/verify/{model.id}?level=L2")
        await until(lambda: _none_parked(on))


async def _none_parked(on: Standing) -> bool:
    known = on.here.notary.verifications
    jobs = [job for job in await on.queue.jobs(ACME) if job.state not in {"done", "cancelled"}]
    return not (known._parked or known._ending or jobs)


async def test_too_many_are_told_so(on: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    data = await dataset(on.here.hub, ACME)
    await on.here.settled()
    monkeypatch.setattr(on.here.notary._ladder._others, "_most", 0)
    async with door(on, {"who": ACME}) as http:
        assert (await http.post(f"/verify/{data.id}")).status_code in {429, 503}


async def test_the_command(on: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    data, model = await on.trained()

    async with door(on, {"who": ACME}) as http:

        async def run(*arguments: str, code: int = 0) -> str:
            words = ["verify", *arguments, "--url", str(http.base_url)]
            done = await asyncio.to_thread(CliRunner().invoke, app, words)
            assert done.exit_code == code, (done.output, done.exception)
            return done.output

        said = await run(model.id, "--level", "L2")
        assert f"{model.id} verified, level L2, re-derived" in said and "✓ L2 training again" in said
        assert "not checked:" in said and "single-operator chain" in said
        said = await run(data.id, "--level", "L2", code=1)
        assert "- L2 re-derivation: there is none: a dataset is not derived" in said and "level L1" in said
        report = json.loads(await run(data.id, "--json"))
        assert (report["level"], report["passed"]) == ("L1", True)
        flip(on.content(data.stored.sha256))
        said = await run(data.id, code=3)
        assert "✗ L1 files" in said and "a check failed; it reaches level L0" in said and " verified, " not in said
        assert "for a bundle" in await run(data.id, "--offline", code=1)
        assert "No such file" in await run("missing.bundle", code=1)
        assert "a bundle reaches L1" in await run("missing.bundle", "--level", "L2", code=1)
