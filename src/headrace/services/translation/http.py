"""The translation service's HTTP door. It knows the service by its Protocol, and adds nothing to it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import Field

from headrace.access import Principal
from headrace.assets import Model
from headrace.errors import Temporary
from headrace.services.apidocs import add_docs
from headrace.services.bounded import Bounded
from headrace.services.documents import describe, service_app
from headrace.services.entrance import caller
from headrace.services.http import Receive
from headrace.services.translation import Translating, Wish

BODY = 2**16
"""Bytes of a wish."""
Who: TypeAlias = Annotated[Principal, Depends(caller)]
Id: TypeAlias = Annotated[str, Field(max_length=64)]


def create_app(service: Translating) -> FastAPI:
    """The service over HTTP. Its life-cycle is not the app's: enter the service before."""
    app = service_app(
        "translation",
        title="Headrace translation",
        description="A registered model -> ONNX, from which other runtimes read, under a new id, with a certificate of how "
        "near its answers are.",
    )
    app.include_router(_routes(service))
    describe(app)
    add_docs(app, "translation")
    app.add_middleware(Bounded, limit=BODY)
    return app


def _routes(service: Translating) -> APIRouter:
    routes = APIRouter(tags=["translation"])

    @routes.post("/translate/{id}", status_code=201, operation_id="translate_model")
    async def translate(who: Who, request: Request, id: Id, wish: Wish | None = None) -> Model:
        """Translate a model to ONNX. Answers when it is done; asked again for the same, it answers with the same model. 409
        until its training has completed."""
        return await _unless_gone(request.receive, service.translate(who, id, wish or Wish()))  # type: ignore[call-arg]

    return routes


async def _unless_gone(receive: Receive, asked: Coroutine[Any, Any, Model]) -> Model:
    """What was asked for, while whoever asked is there to wait for it."""
    work, gone = asyncio.create_task(asked), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, work):
            task.cancel()
        await asyncio.gather(gone, work, return_exceptions=True)
    if work.cancelled():
        raise Temporary(detail="whoever asked for the translation has gone")
    return work.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
