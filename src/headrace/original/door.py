"""The original's routes over HTTP. Bodies are read as they come: JSON, or a form with one large file."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from pydantic import Field

from headrace.access import Principal
from headrace.original.contracts import (
    CONTRACTS,
    DatasetContract,
    ModelContract,
    ModelContractUnverified,
    checked,
    contract_of,
    free,
)
from headrace.original.registering import Original
from headrace.services.apidocs import add_docs
from headrace.services.documents import describe, service_app
from headrace.services.entrance import caller
from headrace.services.http import App, Receive, Scope, Send, header, read_body
from headrace.services.sharing.fence import of_kind
from headrace.services.sharing.http import download
from headrace.services.sharing.intake import sent
from headrace.services.verification.declaring import Kind

BODY = 64 * 1024
"""Bytes of a JSON body."""
DATASET = ("model", "dataset", "file")
"""Names of a form's file: the chapter calls also a dataset's `model`."""
MODEL = ("model", "file")
Who: TypeAlias = Annotated[Principal, Depends(caller)]
Id: TypeAlias = Annotated[str, Field(max_length=64)]
Address: TypeAlias = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]


def create_app(original: Original, largest: int = 0) -> FastAPI:
    """The app.

    Args:
        largest: bytes of a file; 0: any.
    """
    app = service_app(
        "original",
        title="Headrace, as the original platform",
        description="The routes of the original MLaaS platform, for its own client. On an open platform only.",
    )
    for routes in (_datasets(original, largest), _models(original, largest), _ledger(original)):
        app.include_router(routes)
    describe(app)
    add_docs(app, "original")
    app.add_middleware(Plain)
    return app


class Plain:
    """Takes the slash off the end of a path: the chapter's calls have one, those of the client do not."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = scope["path"].rstrip("/") or "/"
        await self._app(scope, receive, send)


def _datasets(original: Original, largest: int) -> APIRouter:
    routes = APIRouter(tags=["original"])
    sharing = original.sharing

    @routes.post("/dataset", status_code=201)
    async def register(who: Who, request: Request) -> dict[str, str]:
        """Register a dataset: a form with its file, or in JSON its contract alone; then it waits for its content."""
        if _form(request):
            async with sent(request, who, sharing.artifacts, DATASET, largest) as came:
                return {"dataset_id": (await original.dataset(who, came)).id}
        return {"dataset_id": await original.declare(who, "dataset", checked(DatasetContract, await _body(request)))}

    @routes.get("/dataset/{id}", response_class=Response)
    async def content(who: Who, request: Request, id: Id) -> Response:
        """Its content, compared with what is recorded; 409 while it waits for it."""
        await original.present(who, "dataset", id)
        return download(request, sharing, await sharing.contents.open(who, of_kind("dataset", id)))

    @routes.get("/dataset/{id}/metadata")
    async def metadata(who: Who, id: Id) -> dict[str, Any]:
        """Its contract as it stands now."""
        return await original.metadata(who, "dataset", id)

    @routes.put("/dataset/{id}")
    async def fill(who: Who, request: Request, id: Id) -> dict[str, str]:
        """Give a dataset that was registered without its content that content: a form with a part `dataset`."""
        async with sent(request, who, sharing.artifacts, DATASET, largest) as came:
            return {"dataset_id": (await original.fill(who, "dataset", id, came)).id}

    return routes


def _models(original: Original, largest: int) -> APIRouter:
    routes = APIRouter(tags=["original"])
    sharing = original.sharing

    @routes.post("/model", status_code=201)
    async def register(who: Who, request: Request) -> dict[str, str]:
        """Register a model: a form with its code, which is trained at once, or in JSON its contract alone."""
        if _form(request):
            async with sent(request, who, sharing.artifacts, MODEL, largest) as came:
                return {"model_id": (await original.model(who, came)).id}
        return {"model_id": await original.declare(who, "model", checked(ModelContract, await _body(request)))}

    @routes.post("/model/unverified", status_code=201)
    async def unverified(who: Who, request: Request) -> dict[str, str]:
        """Register the contract of a model that was trained elsewhere."""
        terms = checked(ModelContractUnverified, await _body(request))
        return {"model_id": await original.declare(who, "model_unverified", terms)}

    @routes.get("/model/{id}", response_class=Response)
    async def content(who: Who, request: Request, id: Id) -> Response:
        """Its file, or of several a zip, compared with its contract; 409 while there is none."""
        await original.present(who, "model", id)
        return download(request, sharing, await sharing.contents.open(who, of_kind("model", id)))

    @routes.get("/metadata/{id}")
    @routes.get("/model/{id}/metadata")
    async def metadata(who: Who, id: Id) -> dict[str, Any]:
        """Its contract as it stands now."""
        return await original.metadata(who, "model", id)

    @routes.put("/model/{id}")
    async def fill(who: Who, request: Request, id: Id) -> dict[str, str]:
        """Give a model that was registered by its contract its weights: a form with a part `model`."""
        async with sent(request, who, sharing.artifacts, MODEL, largest) as came:
            return {"model_id": (await original.fill(who, "model", id, came)).id}

    @routes.post("/train/{id}", status_code=202)
    async def train(who: Who, request: Request, id: Id) -> dict[str, str]:
        """Have a model trained."""
        model = await original.train(who, id, free(await _body(request)))
        return {"model_id": model.id, "state": model.state, "job_id": model.job}

    return routes


def _ledger(original: Original) -> APIRouter:
    routes = APIRouter(tags=["original"])

    @routes.post("/contract/{kind}", status_code=201)
    async def deploy(who: Who, request: Request, kind: Kind) -> dict[str, str]:
        """Have terms recorded in a contract."""
        declaring = original.verification.declaring
        terms = checked(CONTRACTS[kind], await _body(request))
        noted = await declaring.note(who, kind, terms.model_dump(mode="json", exclude_none=True))
        return {"contract_address": await declaring.deploy(who, noted)}

    @routes.get("/contract/{kind}/{address}")
    async def read(who: Who, kind: Kind, address: Address) -> dict[str, Any]:
        """What a contract says, from chain data alone."""
        return contract_of(kind, await original.verification.contract(who, address))

    @routes.post("/contract/{address}/verify")
    async def verify(who: Who, address: Address, res_hash: Annotated[str, Query(max_length=200)]) -> dict[str, str]:
        """Compare a hash with what a contract says; 409: it says another, or none."""
        return {"contract_address": address, "level": await original.verify(who, address, res_hash)}

    return routes


def _form(request: Request) -> bool:
    return header(request.scope, b"content-type").lower().startswith(b"multipart/form-data")


async def _body(request: Request) -> bytes:
    return await read_body(request.scope, request.receive, BODY, "nothing")
