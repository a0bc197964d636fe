"""The training service's HTTP door. It knows the service by its Protocol, and adds nothing to it."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, File, Form, Query, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import Field, ValidationError

from headrace.access import Principal
from headrace.assets import Job, JobState, Plain, Recipe
from headrace.errors import BadInput, HeadraceError
from headrace.services.apidocs import add_docs
from headrace.services.bounded import Bounded, roles
from headrace.services.documents import describe, sentence, service_app
from headrace.services.entrance import caller, lasting
from headrace.services.training import Training
from headrace.settings import MIB, TrainingSettings

TAG = "training"
_log = logging.getLogger("headrace.training")


Who: TypeAlias = Annotated[Principal, Depends(caller)]
Id: TypeAlias = Annotated[str, Field(max_length=40)]


class NewJob(Plain):
    """What the hub sends to have a registered model trained."""

    model: Id
    recipe: Recipe
    priority: int = Field(0, ge=-1000, le=1000, description="higher goes first")
    attempts: int = Field(
        1, ge=1, description="how often the code may fail before the job counts as failed; a retry counts anew"
    )


class NewEvaluation(Plain):
    """A trained model, and the held-out dataset it is to be measured on."""

    model: Id
    dataset: Id
    entry_point: str = Field("", max_length=1000, description="Python file of the code archive; empty: the recipe's")
    priority: int = Field(0, ge=-1000, le=1000)


class Jobs(Plain):
    """A page of jobs, the newest first."""

    items: list[Job]


class Event(Plain):
    """Something that happened to a job."""

    time_ms: int
    what: str
    detail: str


class Events(Plain):
    """A job's history, oldest first."""

    items: list[Event]


class Valid(Plain):
    """Nothing was found that would keep a job of this recipe from starting."""

    valid: bool


class PlainTextStream(StreamingResponse):
    """Text as it comes."""

    media_type = "text/plain; charset=utf-8"


_LOG: dict[int | str, dict[str, Any]] = {
    200: {"description": "what it printed, as it comes", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


BODY = MIB
"""Bytes of a JSON body, and of a recipe: what surrounds the archive in `/jobs/validate`. A recipe has a few KiB."""
VALIDATE = "/jobs/validate"
_roles = roles({("POST", "/jobs"): "write", ("POST", "/jobs/evaluate"): "write", ("POST", VALIDATE): "write"})


def create_app(service: Training, code_bytes: int = TrainingSettings().code_bytes) -> FastAPI:
    """The service over HTTP. Its life-cycle is not the app's: enter the service before.

    Args:
        code_bytes: bytes of the largest code archive that is looked at.
    """
    app = service_app(
        "training",
        title="Headrace training",
        description="Registered recipe + datasets -> files, metrics and a log, in a sandbox.",
    )
    app.include_router(_routes(service))
    describe(app)
    add_docs(app, "training")
    archive = code_bytes + BODY
    app.add_middleware(Bounded, limit=lambda scope: archive if scope["path"] == VALIDATE else BODY, asks=_roles)
    return app


def _routes(service: Training) -> APIRouter:
    routes = APIRouter(tags=[TAG])

    @routes.post("/jobs", status_code=201, operation_id="submit_job")
    async def submit(who: Who, new: NewJob) -> Job:
        """Queue the training of a registered model, by the recipe it was registered with. A second call gives the same job."""
        return await service.submit(who, new.model, new.recipe, new.priority, new.attempts)

    @routes.post("/jobs/evaluate", status_code=201, operation_id="evaluate_model")
    async def evaluate(who: Who, new: NewEvaluation) -> Job:
        """Queue the measuring of a trained model on a held-out dataset."""
        return await service.evaluate(who, new.model, new.dataset, new.entry_point, new.priority)

    @routes.post("/models/{id}/reproduce", status_code=201, operation_id="reproduce_model")
    async def reproduce(who: Who, id: Id, priority: Annotated[int, Query(ge=-1000, le=1000)] = 0) -> Job:
        """Queue a second training of a trained model, to compare its files digest by digest."""
        return await service.reproduce(who, id, priority)

    @routes.get("/jobs", operation_id="list_jobs")
    async def jobs(
        who: Who,
        state: JobState | None = None,
        model: Annotated[str, Query(max_length=40)] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Jobs:
        """The newest jobs of your company, and those held for it, first."""
        return Jobs(items=await service.jobs(who, state, model, limit))

    @routes.get("/jobs/{id}", operation_id="get_job")
    async def job(who: Who, id: Id) -> Job:
        """One job."""
        return await service.job(who, id)

    @routes.post("/jobs/{id}/cancel", operation_id="cancel_job")
    async def cancel(who: Who, id: Id) -> Job:
        """Stop a job that is queued or runs."""
        return await service.cancel(who, id)

    @routes.post("/jobs/{id}/retry", operation_id="retry_job")
    async def retry(who: Who, id: Id) -> Job:
        """Queue a job that failed or was cancelled once more."""
        return await service.retry(who, id)

    _more(routes, service)
    return routes


def _more(routes: APIRouter, service: Training) -> None:
    @routes.get("/jobs/{id}/events", operation_id="list_job_events")
    async def events(who: Who, id: Id) -> Events:
        """What happened to a job: queued, started, tried again and why."""
        return Events(items=[Event(**event) for event in await service.events(who, id)])

    @routes.get("/jobs/{id}/log", operation_id="read_job_log", response_class=Response, responses=_LOG)
    async def log(
        request: Request, who: Who, id: Id, offset: Annotated[int, Query(ge=0, le=2**62)] = 0, follow: bool = False
    ) -> StreamingResponse:
        """What it printed, from byte `offset` on, with a line `--- attempt 2 ---` where it began again; with `follow=1` until it
        ends, or the caller's token does."""
        pieces = service.log(who, id, offset, follow)
        first = await anext(pieces, b"")  # after all checks: from here on the answer is 200
        return PlainTextStream(lasting(request.scope, _joined(id, first, pieces)))

    @routes.post("/jobs/validate", operation_id="validate_recipe", responses={200: {"model": Valid}})
    async def validate(
        who: Who,
        recipe: Annotated[str, Form(max_length=2**20, description="the recipe, as JSON")],
        code: Annotated[UploadFile, File(description="the code archive")],
    ) -> Valid:
        """Whether a job of this recipe could start: 400 with all that is wrong, or {"valid": true}."""
        try:
            asked = Recipe.model_validate_json(recipe)
        except ValidationError as error:
            raise BadInput(detail=sentence(error.errors(), "recipe")) from error
        with tempfile.NamedTemporaryFile(prefix="headrace-code-") as file:
            while piece := await code.read(2**20):
                await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(file.flush)
            await service.validate(who, asked, Path(file.name))
        return Valid(valid=True)


async def _joined(id: str, first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    try:
        async for piece in rest:
            yield piece
    except HeadraceError as error:  # held, or deleted, in the middle: the status has been sent
        _log.info("the log of %s ends for a reader: %s", id, error)
