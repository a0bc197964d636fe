"""The training service's HTTP door: each route, each refusal with its code and sentence, and the document they are described by."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.access import Principal
from headrace.assets import Job, JobState, Recipe
from headrace.errors import BadInput, Conflict, Forbidden, UnknownAsset
from headrace.services.http import App
from headrace.services.training.http import create_app
from tests.shelf import ANN, recipe

CODE = recipe(b"code")
JOB = Job(id="jb_1", company="acme", model="md_1", created_ms=1, created_by="ann")


class Scripted:
    """`Training` that remembers what it was asked and answers with one job."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.refuse: Exception | None = None

    def _answer(self, *asked: Any) -> Job:
        self.asked.append(asked)
        if self.refuse:
            raise self.refuse
        return JOB

    async def validate(self, who: Principal, given: Recipe, code: Path) -> None:
        self._answer("validate", who, given, code.read_bytes())

    async def submit(self, who: Principal, model: str, given: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        return self._answer("submit", who, model, given, priority, attempts)

    async def evaluate(self, who: Principal, model: str, dataset: str, entry_point: str = "", priority: int = 0) -> Job:
        return self._answer("evaluate", who, model, dataset, entry_point, priority)

    async def reproduce(self, who: Principal, model: str, priority: int = 0) -> Job:
        return self._answer("reproduce", who, model, priority)

    async def job(self, who: Principal, id: str) -> Job:
        return self._answer("job", who, id)

    async def jobs(self, who: Principal, state: JobState | None = None, model: str = "", limit: int = 100) -> list[Job]:
        return [self._answer("jobs", who, state, model, limit)]

    async def events(self, who: Principal, id: str) -> list[dict[str, Any]]:
        self._answer("events", who, id)
        return [{"time_ms": 1, "what": "queued", "detail": "by ann"}]

    async def cancel(self, who: Principal, id: str) -> Job:
        return self._answer("cancel", who, id)

    async def retry(self, who: Principal, id: str) -> Job:
        return self._answer("retry", who, id)

    async def log(self, who: Principal, id: str, offset: int = 0, follow: bool = False) -> AsyncIterator[bytes]:
        self._answer("log", who, id, offset, follow)
        yield b""
        for piece in (b"one\n", b"two\n"):
            await asyncio.sleep(0)
            yield piece


def entered(app: App, who: Principal | None) -> App:
    """The app behind an entrance that knows everybody."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "headrace.principal": who}, receive, send)

    return wrapped


@pytest.fixture
def service() -> Scripted:
    return Scripted()


@pytest.fixture
async def http(service: Scripted) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(entered(create_app(service), ANN))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_every_route_asks_its_verb(service: Scripted, http: httpx.AsyncClient) -> None:
    body = {"model": "md_1", "recipe": CODE.model_dump(mode="json"), "priority": 3, "attempts": 2}
    calls = [
        (await http.post("/jobs", json=body), 201, ("submit", ANN, "md_1", CODE, 3, 2)),
        (await http.get("/jobs/jb_1"), 200, ("job", ANN, "jb_1")),
        (await http.post("/jobs/jb_1/cancel"), 200, ("cancel", ANN, "jb_1")),
        (await http.post("/jobs/jb_1/retry"), 200, ("retry", ANN, "jb_1")),
        (await http.post("/models/md_1/reproduce?priority=1"), 201, ("reproduce", ANN, "md_1", 1)),
        (
            await http.post("/jobs/evaluate", json={"model": "md_1", "dataset": "ds_1"}),
            201,
            ("evaluate", ANN, "md_1", "ds_1", "", 0),
        ),
    ]
    for (answer, status, asked), got in zip(calls, service.asked, strict=True):
        assert (answer.status_code, got) == (status, asked) and Job(**answer.json()) == JOB
    listed = (await http.get("/jobs?state=failed&model=md_1&limit=5")).json()
    assert service.asked[-1] == ("jobs", ANN, "failed", "md_1", 5) and [Job(**one) for one in listed["items"]] == [JOB]
    assert (await http.get("/jobs/jb_1/events")).json()["items"] == [
        {"time_ms": 1, "what": "queued", "detail": "by ann"}
    ]


async def test_the_log_is_text_from_an_offset(service: Scripted, http: httpx.AsyncClient) -> None:
    answer = await http.get("/jobs/jb_1/log?offset=7&follow=1")
    assert answer.text == "one\ntwo\n" and answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert service.asked == [("log", ANN, "jb_1", 7, True)]


async def test_validate_takes_the_recipe_and_the_archive(service: Scripted, http: httpx.AsyncClient) -> None:
    answer = await http.post("/jobs/validate", data={"recipe": CODE.model_dump_json()}, files={"code": b"zip"})
    assert (answer.status_code, answer.json()) == (200, {"valid": True})
    assert service.asked == [("validate", ANN, CODE, b"zip")]
    answer = await http.post("/jobs/validate", data={"recipe": "{}"}, files={"code": b"zip"})
    assert (answer.status_code, answer.json()) == (400, {"error": "recipe.code: Field required."})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownAsset(kind="job", id="jb_1"), 404),
        (Forbidden(detail="held"), 403),
        (Conflict(detail="has ended"), 409),
        (BadInput(detail="a\nb"), 400),
    ],
)
async def test_refusals_have_their_code_before_a_log_begins(
    service: Scripted, http: httpx.AsyncClient, error: Exception, status: int
) -> None:
    service.refuse = error
    for answer in (
        await http.get("/jobs/jb_1/log"),
        await http.get("/jobs/jb_1"),
        await http.post("/jobs/jb_1/cancel"),
    ):
        assert (answer.status_code, answer.json()) == (status, {"error": str(error)})


async def test_wrong_requests_are_400_with_every_field(service: Scripted, http: httpx.AsyncClient) -> None:
    for answer in (
        await http.get("/jobs?state=odd&limit=0"),
        await http.post("/jobs", json={"model": "m", "recipe": {}, "odd": 1}),
        await http.post("/jobs", content=b"{"),
        await http.get("/jobs/jb_1/log?offset=-1"),
        await http.get(f"/jobs/{'x' * 41}"),
    ):
        assert answer.status_code == 400 and set(answer.json()) == {"error"}, answer.text
    found = (await http.get("/jobs?state=odd&limit=0")).json()["error"]
    assert "state: " in found and "limit: " in found
    assert service.asked == []


async def test_nobody_gets_401_and_unknown_paths_are_json(service: Scripted) -> None:
    transport = httpx.ASGITransport(entered(create_app(service), None))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/jobs")).status_code == 401
        for answer, status in ((await client.get("/odd"), 404), (await client.delete("/jobs"), 405)):
            assert answer.status_code == status and set(answer.json()) == {"error"}
    assert service.asked == []


async def test_the_document_names_every_operation(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi/training.json")).json()
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(names) == len(set(names)) == 10
    assert "422" not in json.dumps(document)
    assert "/docs/training/swagger-ui-bundle.js" in (await http.get("/docs/training")).text
