"""The hub over HTTP: datasets, models, grants, lineage, audit log, resumable uploads. Thin: the rules are the service's."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from headrace.access import Principal
from headrace.assets import AuditEntry, Dataset, Grant, Lineage, Model, Plain
from headrace.errors import HeadraceError
from headrace.services.apidocs import add_docs
from headrace.services.entrance import caller, known_still
from headrace.services.http import code
from headrace.services.sharing.contents import Opened
from headrace.services.sharing.downloads import Download
from headrace.services.sharing.fence import Page, of_kind
from headrace.services.sharing.intake import arrived, sentence
from headrace.services.sharing.requests import FOREVER, UPLOAD, FromStream, NewDataset, NewGrant, NewModel
from headrace.services.sharing.service import SharingService
from headrace.services.sharing.uploads import uploads_router

_log = logging.getLogger(__name__)


Who: TypeAlias = Annotated[Principal, Depends(caller)]
Id: TypeAlias = Annotated[str, Field(max_length=64)]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=1000)]
Word: TypeAlias = Annotated[str, Query(max_length=200)]


class Failure(Plain):
    """Why a request was refused, and what to do."""

    error: str


class Datasets(Plain):
    """A page of datasets, the newest first."""

    items: list[Dataset]
    next: str | None = Field(description="`after` of the next page; null: this is the last")


class Models(Plain):
    """A page of models, the newest first."""

    items: list[Model]
    next: str | None = Field(description="`after` of the next page; null: this is the last")


class Grants(Plain):
    """Grants given and got, the newest first; also those that have ended."""

    items: list[Grant]


class Deleted(Plain):
    """What was deleted."""

    deleted: str
    tombstone: bool = Field(description="true: its record is left, because something depends on it")


REFUSALS: dict[int, str] = {
    400: "what was sent is wrong",
    401: "nobody we know",
    403: "known, but not allowed",
    404: "there is no such thing that the caller may know of",
    409: "not possible while something else is as it is",
    413: "too large",
    501: "not offered here",
    503: "try again later",
    507: "nothing was stored: the disk is full",
}
_BYTES: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {"description": "the content, every MiB checked before it is sent", **_BYTES},
    206: {"description": "the range asked for", **_BYTES},
    416: {"description": "the range lies outside"},
}
_UPLOADED = {"required": ["upload"], "properties": {"upload": {"type": "string", "minLength": 1}}}
_TUS = {"name": "Tus-Resumable", "in": "header", "required": True, "schema": {"type": "string", "enum": ["1.0.0"]}}
_TUS_ANSWERS = {
    "412": {"description": "another version of the protocol"},
    "415": {"description": "another content-type than application/offset+octet-stream"},
    "460": {"description": "what came has another checksum"},
}
"""What the tus protocol adds to a document that does not know it."""
BODIES = (NewDataset, NewModel)
"""Their schemas are in the document although FastAPI does not read these bodies."""


def _form(metadata: type[Plain], *parts: str) -> dict[str, Any]:
    """The request body of a registration, for the document."""
    schema = {"$ref": f"#/components/schemas/{metadata.__name__}"}
    files = {part: {"type": "string", "format": "binary"} for part in parts}
    form: dict[str, Any] = {"type": "object", "required": ["metadata"], "properties": {"metadata": schema, **files}}
    form["oneOf"] = [{"required": [part]} for part in parts]
    encoding = {"metadata": {"contentType": "application/json"}}
    return {
        "requestBody": {
            "required": True,
            "description": "A form: `metadata` (JSON) first, then the file. Or JSON with `upload`: " + UPLOAD,
            "content": {
                "multipart/form-data": {"schema": form, "encoding": encoding},
                "application/json": {"schema": {"allOf": [schema, _UPLOADED]}},
            },
        }
    }


def create_app(service: SharingService, *, largest_upload: int = 0) -> FastAPI:
    """The app. Its life-cycle is not the service's: enter that before; and it expects the entrance in front of it.

    Args:
        largest_upload: bytes of the largest resumable upload; 0: no limit but the company's quota.
    """
    app = FastAPI(
        title="Headrace sharing",
        summary="Companies' datasets and models",
        description="Datasets and models of any size, grants to other companies, lineage and the audit log.",
        version="1",
        openapi_url="/openapi/sharing.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={status: {"model": Failure, "description": text} for status, text in REFUSALS.items()},
    )
    app.add_exception_handler(HeadraceError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _nothing_here)
    for routes in (_datasets(service), _models(service), _rights(service)):
        app.include_router(routes)
    app.include_router(uploads_router(service.artifacts, largest_upload))
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    add_docs(app, "sharing")
    return app


def _page(
    company: Annotated[str, Query(max_length=64, description="of this owner only")] = "",
    name: Annotated[str, Query(max_length=200, description="a part of the name, whatever its case")] = "",
    granted: Annotated[bool | None, Query(description="true: others' only; false: one's own only")] = None,
    deleted: Annotated[bool, Query(description="tombstones, too")] = False,
    after: Annotated[str, Query(max_length=64, description="`next` of the page before")] = "",
    limit: Limit = 100,
) -> Page:
    return Page(company, granted, name, deleted, after, limit + 1)


Wanted: TypeAlias = Annotated[Page, Depends(_page)]


def _datasets(service: SharingService) -> APIRouter:
    routes = APIRouter(prefix="/datasets", tags=["datasets"])

    @routes.post("", status_code=201, operation_id="register_dataset", openapi_extra=_form(NewDataset, "file"))
    async def register(who: Who, request: Request) -> Dataset:
        """Register a dataset. Its statistics are made afterwards: see `statistics_state`."""
        who.require("write")
        async with arrived(request, who, service.artifacts, NewDataset, service.registering) as came:
            return await service.register.dataset(who, came.new, came.filename, came.take)

    @routes.post("/from-stream", status_code=201, operation_id="register_dataset_from_stream")
    async def from_stream(who: Who, new: FromStream) -> Dataset:
        """Make a dataset of a part of a stream: a CSV of its readings, and the raw records beside it."""
        return await service.streams.make(who, new)

    @routes.get("", operation_id="list_datasets")
    async def listed(who: Who, page: Wanted) -> Datasets:
        """Datasets of one's own, and those others granted; the newest first."""
        found = await service.page(who, "dataset", page)
        return Datasets.model_construct(items=found[: page.limit - 1], next=_next(found, page))

    @routes.get("/{id}", operation_id="get_dataset")
    async def one(who: Who, id: Id) -> Dataset:
        """One dataset."""
        return await service.dataset(who, id)

    @routes.get("/{id}/content", operation_id="download_dataset", responses=_DOWNLOAD, response_class=Response)
    async def content(request: Request, who: Who, id: Id) -> Response:
        """The file; `Range` is understood. It breaks off when a grant ends meanwhile, or a piece is not what was stored."""
        return _download(request, service, await service.contents.open(who, of_kind("dataset", id)))

    @routes.get("/{id}/raw", operation_id="download_dataset_records", responses=_DOWNLOAD, response_class=Response)
    async def raw(request: Request, who: Who, id: Id) -> Response:
        """The raw records a dataset was made of: JSON lines, each one a leaf of `stream.root`."""
        return _download(request, service, await service.contents.open(who, of_kind("dataset", id), role="raw"))

    @routes.delete("/{id}", operation_id="delete_dataset")
    async def delete(who: Who, id: Id) -> Deleted:
        """Delete a dataset. Its content goes; its record stays when something depends on it."""
        return Deleted(deleted=id, tombstone=await service.removing.delete(who, of_kind("dataset", id)))

    return routes


def _models(service: SharingService) -> APIRouter:
    routes = APIRouter(prefix="/models", tags=["models"])

    @routes.post("", status_code=201, operation_id="register_model", openapi_extra=_form(NewModel, "code", "file"))
    async def register(who: Who, request: Request) -> Model:
        """Register a model: with a `recipe` and its `code` it is trained here; with a `file` it is taken as it is."""
        who.require("write")
        async with arrived(request, who, service.artifacts, NewModel, service.registering) as came:
            if came.new.recipe is not None:
                return await service.register.recipe(who, came.new, came.new.recipe, came.take)
            return await service.register.model(who, came.new, came.filename, came.take)

    @routes.get("", operation_id="list_models")
    async def listed(who: Who, page: Wanted) -> Models:
        """Models of one's own, those others granted, and those trained on one's data and held; the newest first."""
        found = await service.page(who, "model", page)
        return Models.model_construct(items=found[: page.limit - 1], next=_next(found, page))

    @routes.get("/{id}", operation_id="get_model")
    async def one(who: Who, id: Id) -> Model:
        """One model. While `held_for` others its files, digest, metrics and shapes are left out."""
        return await service.model(who, id)

    @routes.get("/{id}/content", operation_id="download_model", responses=_DOWNLOAD, response_class=Response)
    async def content(request: Request, who: Who, id: Id) -> Response:
        """Its file (`Range` is understood), or of several a zip."""
        return _download(request, service, await service.contents.open(who, of_kind("model", id)))

    @routes.get(
        "/{id}/files/{path:path}", operation_id="download_model_file", responses=_DOWNLOAD, response_class=Response
    )
    async def file(request: Request, who: Who, id: Id, path: Annotated[str, Field(max_length=1024)]) -> Response:
        """One of its files."""
        return _download(request, service, await service.contents.open(who, of_kind("model", id), path or "/"))

    @routes.get("/{id}/code", operation_id="download_model_code", responses=_DOWNLOAD, response_class=Response)
    async def code(request: Request, who: Who, id: Id) -> Response:
        """The code archive of its recipe."""
        return _download(request, service, await service.contents.open(who, of_kind("model", id), role="code"))

    @routes.post("/{id}/release", operation_id="release_model")
    async def release(who: Who, id: Id) -> Model:
        """Let go of a result that is held for one's company."""
        return await service.granting.release(who, of_kind("model", id))

    @routes.delete("/{id}", operation_id="delete_model")
    async def delete(who: Who, id: Id) -> Deleted:
        """Delete a model. Its content goes; its record stays when something depends on it."""
        return Deleted(deleted=id, tombstone=await service.removing.delete(who, of_kind("model", id)))

    return routes


def _rights(service: SharingService) -> APIRouter:
    routes = APIRouter()

    @routes.post("/grants", status_code=201, operation_id="grant", tags=["grants"])
    async def grant(who: Who, new: NewGrant) -> Grant:
        """Open a dataset or model of one's own to another company."""
        return await service.granting.grant(who, new)

    @routes.get("/grants", operation_id="list_grants", tags=["grants"])
    async def listed(who: Who, asset: Annotated[str, Query(max_length=64)] = "") -> Grants:
        """Grants one's company gave or got."""
        return Grants(items=await service.granting.list(who, asset))

    @routes.delete("/grants/{id}", operation_id="revoke_grant", tags=["grants"])
    async def revoke(who: Who, id: Id) -> Grant:
        """End a grant now; downloads under way stop."""
        return await service.granting.revoke(who, id)

    @routes.get("/lineage/{id}", operation_id="lineage", tags=["lineage"])
    async def lineage(who: Who, id: Id) -> Lineage:
        """What an asset was made of, and what was made of it."""
        return await service.lineage(who, id)

    @routes.get("/audit", operation_id="audit", tags=["audit"])
    async def audit(
        who: Who, limit: Limit = 100, before: Annotated[int | None, Query(ge=0, lt=FOREVER)] = None
    ) -> list[AuditEntry]:
        """What one's company's people did, and what others did with its assets; the newest first. For admins."""
        return await service.audit(who, limit, before)

    return routes


def _next(found: list[Any], page: Page) -> str | None:
    """One more than asked for was looked up: there is a next page."""
    return found[page.limit - 2].id if len(found) == page.limit else None


def _download(request: Request, service: SharingService, found: Opened) -> Response:
    still = partial(known_still, request.scope)
    if len(found.files) > 1:
        return Archive(found.filename, service.contents.zipped(found), still)
    return Download(
        found.files[0].stored,
        lambda start, stop: service.contents.read(found, start, stop),
        found.filename,
        still=still,
    )


class Archive(Response):
    """A zip that is made while it is sent; broken off without a clean end when something goes wrong."""

    def __init__(self, filename: str, pieces: AsyncIterator[bytes], still: Callable[[], Awaitable[None]]) -> None:
        super().__init__(media_type="application/zip")
        del self.headers["content-length"]
        self.headers["content-disposition"] = f'attachment; filename="{filename}"'
        self._pieces, self._still = pieces, still

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = await anext(self._pieces)  # raises while there is a status to say it with
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        gone = asyncio.ensure_future(_gone(receive))
        try:
            async for piece in self._pieces:
                if gone.done():
                    return
                await self._still()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except HeadraceError as error:
            _log.warning("a download was broken off: %s", error)
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    """Returns when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HeadraceError)
    return JSONResponse({"error": str(error)}, code(error))


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"error": sentence(error.errors())}, 400)


async def _nothing_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 405:  # Starlette names the methods of the first route of that path only
        headers["allow"] = ", ".join(_methods(request.app.openapi(), request.url.path))
    return JSONResponse({"error": f"{error.detail}; see /docs/sharing"}, error.status_code, headers)


def _methods(document: dict[str, Any], path: str) -> list[str]:
    """What the document says of a path."""
    if path in document["paths"]:
        return sorted(method.upper() for method in document["paths"][path])
    found: set[str] = set()
    for template, operations in document["paths"].items():
        parts = re.split(r"\{(\w+)\}", template)
        parts[1::2] = [".+" if name == "path" else "[^/]+" for name in parts[1::2]]
        if re.fullmatch("".join(parts), path):
            found.update(method.upper() for method in operations)
    return sorted(found)


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: without FastAPI's 422, which is a 400 here, and with the bodies it does not read itself."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
        )
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                operation["responses"].pop("422", None)
                if path.startswith("/uploads") and method != "options":
                    operation.setdefault("parameters", []).append(_TUS)
                    operation["responses"] |= _TUS_ANSWERS
        schemas = document["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for body in BODIES:
            schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= {**schema.pop("$defs", {}), **schemas, body.__name__: schema}
        app.openapi_schema = document
    return app.openapi_schema
