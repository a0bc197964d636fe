"""One suite for both embodiments of `Training`: in process, and the client over HTTP to a real server with its entrance."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.access import Principal
from headrace.assets import Job
from headrace.errors import BadInput, Conflict, Forbidden, NotFound
from headrace.listening import listen, served
from headrace.runners.local import LocalRunner
from headrace.services.entrance import Entrance
from headrace.services.training import Training
from headrace.services.training.client import TrainingClient
from headrace.services.training.http import create_app
from headrace.trust.identities.local import LocalIdentities
from tests.shelf import ANN, BOB, VIEWER, WRITES, Shelf, archive, training

pytestmark = pytest.mark.xdist_group("training-contract")
RUNNER = LocalRunner()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


@pytest.fixture(params=["here", "over HTTP"])
async def doors(request: pytest.FixtureRequest, tmp_path: Path, shelf: Shelf) -> AsyncIterator[Training]:
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(training(tmp_path, RUNNER, sharing=shelf))
        if request.param == "here":
            yield service
            return
        ids = await stack.enter_async_context(LocalIdentities(tmp_path / "identity"))
        listener = listen("127.0.0.1", 0)
        await stack.enter_async_context(served(Entrance(create_app(service), ids, ids.sessions), listener))

        def token_for(who: Principal) -> str:
            return ids.on_behalf(who, "sharing")

        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield await stack.enter_async_context(TrainingClient(url, token_for))


async def text(doors: Training, id: str, follow: bool = False) -> str:
    return b"".join([piece async for piece in doors.log(ANN, id, follow=follow)]).decode()


async def test_a_job_from_its_recipe_to_its_end(doors: Training, shelf: Shelf) -> None:
    model = shelf.add_model(archive(train__py=WRITES + "print('well')"), parameters={"rate": 1.0, "deep": True})
    recipe = shelf.at(model).recipe
    code = shelf.folder / "contents" / model / "code"
    await doors.validate(ANN, recipe, code)
    job = await doors.submit(ANN, model, recipe, priority=3)
    assert (job.model, job.created_by, job.company, job.priority) == (model, "ann", "acme", 3)
    assert (await doors.submit(ANN, model, recipe)).id == job.id
    assert await text(doors, job.id, follow=True) == "well\n"
    ended = await _ended(doors, job.id)
    assert ended.state == "done" and await doors.jobs(ANN, "done", model) == [ended]
    assert await doors.jobs(ANN, "failed") == [] == await doors.jobs(BOB)
    events = await doors.events(ANN, job.id)
    assert [event["what"] for event in events][:2] == ["queued", "started"] and set(events[0]) == {
        "time_ms",
        "what",
        "detail",
    }
    for what in (doors.cancel, doors.retry):
        with pytest.raises(Conflict):
            await what(ANN, job.id)
    again = await doors.reproduce(ANN, model)
    assert again.kind == "reproduce" and (await _ended(doors, again.id)).state == "done"


async def test_what_is_refused_is_refused_alike(doors: Training, shelf: Shelf) -> None:
    model = shelf.add_model(archive(other__py=WRITES))
    recipe = shelf.at(model).recipe
    code = shelf.folder / "contents" / model / "code"
    with pytest.raises(BadInput, match=r"train\.py"):
        await doors.validate(ANN, recipe, code)
    with pytest.raises(Forbidden):
        await doors.validate(VIEWER, recipe, code)
    with pytest.raises(NotFound):
        await doors.submit(BOB, model, recipe)
    with pytest.raises(BadInput):
        await doors.evaluate(ANN, model, shelf.add_dataset(b"x"))
    for ask in (doors.job, doors.events, doors.cancel, doors.retry):
        with pytest.raises(NotFound):
            await ask(ANN, "jb_0")  # type: ignore[operator]
    with pytest.raises(NotFound):
        await text(doors, "jb_0")


async def _ended(doors: Training, id: str) -> Job:
    async for _ in doors.log(ANN, id, follow=True):
        pass
    while (job := await doors.job(ANN, id)).state in {"queued", "running"}:
        async for _ in doors.log(ANN, id, follow=True):
            pass
    return job
