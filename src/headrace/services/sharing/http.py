"""The hub over HTTP: datasets, models, grants, lineage, audit log, resumable uploads. Thin: the rules are the service's."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from pydantic import Field
from starlette.types import Receive, Scope, Send

from headrace.access import Principal
from headrace.assets import AuditEntry, Dataset, Grant, Lineage, Model, Plain
from headrace.errors import HeadraceError
from headrace.services.apidocs import add_docs
from headrace.services.bounded import Bounded, roles
from headrace.services.documents import describe, service_app
from headrace.services.entrance import caller, known_still, only_acting
from headrace.services.sharing.contents import Opened
from headrace.services.sharing.downloads import Download
from headrace.services.sharing.fence import Page, of_kind
from headrace.services.sharing.intake import arrived
from headrace.services.sharing.internal import internal_router
from headrace.services.sharing.requests import FOREVER, UPLOAD, FromStream, NewDataset, NewGrant, NewModel, Revocation
from headrace.services.sharing.service import SharingService
from headrace.services.sharing.uploads import uploads_router
from headrace.settings import MIB

_log = logging.getLogger(__name__)


Who: TypeAlias = Annotated[Principal, Depends(caller)]
Id: TypeAlias = Annotated[str, Field(max_length=64)]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=1000)]
Most: TypeAlias = Annotated[
    int, Query(ge=1, le=1000, description="at most so many; of long records fewer, and then there is a `next`")
]
Word: TypeAlias = Annotated[str, Query(max_length=200)]


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


_BYTES: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {"description": "the content, every MiB checked before it is sent", **_BYTES},
    206: {"description": "the range asked for", **_BYTES},
    416: {"description": "the range lies outside"},
}


def _header(name: str, schema: dict[str, Any], description: str = "", required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": schema, "description": description}


_BYTES_COUNT = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
_VERSION = _header("Tus-Resumable", {"type": "string", "enum": ["1.0.0"]}, "version of the protocol", True)
_LENGTH = _header("Upload-Length", _BYTES_COUNT, "bytes of the whole; or Upload-Defer-Length")
_TUS: dict[str, list[dict[str, Any]]] = {
    "post": [_LENGTH, _header("Upload-Defer-Length", {"type": "string", "enum": ["1"]}, "its length is told later")],
    "patch": [_header("Upload-Offset", _BYTES_COUNT, "where it goes on", True), _LENGTH],
}
_PIECE = {"application/offset+octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_TUS_ANSWERS = {
    "412": {"description": "another version of the protocol"},
    "415": {"description": "another content-type than application/offset+octet-stream"},
    "460": {"description": "what came has another checksum"},
}
"""What the tus protocol adds to a document that does not know it."""
BODIES: dict[type[Plain], tuple[str, ...]] = {NewDataset: ("file",), NewModel: ("code", "file")}
"""Bodies that FastAPI does not read: their schemas, and the files of their forms, are added to the document."""


_UPLOADED = {"required": ["upload"], "properties": {"upload": {"type": "string", "pattern": "^up_[0-9a-f]{20}$"}}}


def _form(metadata: type[Plain]) -> dict[str, Any]:
    """The request body of a registration, for the document."""
    encoding = {"metadata": {"contentType": "application/json"}}
    form, upload = (
        {"$ref": f"#/components/schemas/{name}"}
        for name in (f"{metadata.__name__}Form", f"{metadata.__name__}OfUpload")
    )
    return {
        "requestBody": {
            "required": True,
            "description": "A form: `metadata` (JSON) first, then the file. Or JSON with `upload`: " + UPLOAD,
            "content": {
                "multipart/form-data": {"schema": form, "encoding": encoding},
                "application/json": {"schema": upload},
            },
        }
    }


def _schemas(metadata: type[Plain], parts: tuple[str, ...]) -> dict[str, Any]:
    """The schemas of such a body."""
    schema = metadata.model_json_schema(ref_template="#/components/schemas/{model}")
    itself, name = {"$ref": f"#/components/schemas/{metadata.__name__}"}, metadata.__name__
    form = {
        "type": "object",
        "description": "`metadata`, then the file.",
        "required": ["metadata", *(parts if len(parts) == 1 else ())],  # of several one; generators know no oneOf here
        "properties": {"metadata": itself, **{part: {"type": "string", "format": "binary"} for part in parts}},
        "additionalProperties": False,
    }
    upload = {"description": "It was uploaded before.", "allOf": [itself, _UPLOADED]}
    return {**schema.pop("$defs", {}), name: schema, f"{name}Form": form, f"{name}OfUpload": upload}


def create_app(service: SharingService, *, largest_upload: int = 0) -> FastAPI:
    """The app. Its life-cycle is not the service's: enter that before; and it expects the entrance in front of it.

    Args:
        largest_upload: bytes of the largest file that is sent, resumable or in a form; 0: no limit but the company's quota.
    """
    app = service_app(
        "sharing",
        title="Headrace sharing",
        summary="Companies' datasets and models",
        description="Datasets and models of any size, grants to other companies, lineage and the audit log.",
    )
    for routes in (_datasets(service, largest_upload), _models(service, largest_upload), _rights(service)):
        app.include_router(routes)
    app.include_router(uploads_router(service.artifacts, largest_upload))
    app.include_router(internal_router(service, lambda request, found: download(request, service, found), _DOWNLOAD))
    describe(app, _add)
    add_docs(app, "sharing")
    app.add_middleware(Bounded, limit=_limit, asks=_ask)
    return app


BODY = MIB
"""Bytes of a JSON body. The largest a door takes is far below 1 KiB."""
REPORT = 16 * MIB
"""The same, of what the platform's own services say of a job: it may name every file of an output."""
_REPORTS = re.compile(r"/internal/(?:jobs/(?:began|trained|evaluated)|models/[^/]+/judged|translations|snapshots)")
_STREAMED = re.compile(r"/(?:datasets|models)$|/uploads(?:/|$)|/internal/(?:jobs/[^/]+/output|contents/[^/]+)$")
"""Doors that read their bodies piece by piece, after they have asked who sends them."""
_roles = roles({("POST", "/grants"): "share", ("POST", "/datasets/from-stream"): "write"})


def _limit(scope: Scope) -> int | None:
    path: str = scope["path"]
    if _STREAMED.match(path):
        return None
    return REPORT if path.startswith("/internal/") else BODY


def _ask(scope: Scope) -> None:
    who = scope.get("headrace.principal")
    if scope["method"] == "POST" and _REPORTS.fullmatch(scope["path"]) and isinstance(who, Principal):
        only_acting(who)
    _roles(scope)


def _page(
    company: Annotated[str, Query(max_length=64, description="of this owner only")] = "",
    name: Annotated[str, Query(max_length=200, description="a part of the name, whatever its case")] = "",
    granted: Annotated[bool | None, Query(description="true: others' only; false: one's own only")] = None,
    deleted: Annotated[bool, Query(description="tombstones, too")] = False,
    after: Annotated[str, Query(max_length=64, description="`next` of the page before")] = "",
    limit: Most = 100,
) -> Page:
    return Page(company, granted, name, deleted, after, limit)


Wanted: TypeAlias = Annotated[Page, Depends(_page)]


def _models_page(
    page: Wanted,
    snapshots: Annotated[bool, Query(description="what online models published, too")] = False,
    online: Annotated[str, Query(max_length=200, description="what this online model published, alone")] = "",
) -> Page:
    return replace(page, snapshots=snapshots, online=online)


WantedModels: TypeAlias = Annotated[Page, Depends(_models_page)]


def _datasets(service: SharingService, largest: int) -> APIRouter:
    routes = APIRouter(prefix="/datasets", tags=["datasets"])

    @routes.post("", status_code=201, operation_id="register_dataset", openapi_extra=_form(NewDataset))
    async def register(who: Who, request: Request) -> Dataset:
        """Register a dataset. Its statistics are made afterwards: see `statistics_state`."""
        who.require("write")
        async with arrived(request, who, service.artifacts, NewDataset, service.registering, largest) as came:
            return await service.register.dataset(who, came.new, came.filename, came.take)

    @routes.post("/from-stream", status_code=201, operation_id="register_dataset_from_stream")
    async def from_stream(who: Who, new: FromStream) -> Dataset:
        """Make a dataset of a part of a stream: a CSV of its readings, and the raw records beside it."""
        return await service.streams.make(who, new)

    @routes.get("", operation_id="list_datasets")
    async def listed(who: Who, page: Wanted) -> Datasets:
        """Datasets of one's own, and those others granted; the newest first."""
        found, after = await service.listed(who, "dataset", page)
        return Datasets.model_construct(items=found, next=after)

    @routes.get("/{id}", operation_id="get_dataset")
    async def one(who: Who, id: Id) -> Dataset:
        """One dataset."""
        return await service.dataset(who, id)

    @routes.head("/{id}/content", include_in_schema=False)
    @routes.get("/{id}/content", operation_id="download_dataset", responses=_DOWNLOAD, response_class=Response)
    async def content(request: Request, who: Who, id: Id) -> Response:
        """The file; `Range` is understood. It breaks off when a grant ends meanwhile, or a piece is not what was stored."""
        return download(request, service, await service.contents.open(who, of_kind("dataset", id)))

    @routes.head("/{id}/raw", include_in_schema=False)
    @routes.get("/{id}/raw", operation_id="download_dataset_records", responses=_DOWNLOAD, response_class=Response)
    async def raw(request: Request, who: Who, id: Id) -> Response:
        """The raw records a dataset was made of: JSON lines, each one a leaf of `stream.root`."""
        return download(request, service, await service.contents.open(who, of_kind("dataset", id), role="raw"))

    @routes.post("/{id}/revoke", operation_id="revoke_dataset")
    async def revoke(who: Who, id: Id, given: Revocation) -> Dataset:
        """Have the ledger say, for ever, that a dataset is not to be relied upon any more."""
        return await service.anchoring.revoke(who, of_kind("dataset", id), given.reason)  # type: ignore[return-value]

    @routes.delete("/{id}", operation_id="delete_dataset")
    async def delete(who: Who, id: Id) -> Deleted:
        """Delete a dataset. Its content goes; its record stays when something depends on it."""
        return Deleted(deleted=id, tombstone=await service.removing.delete(who, of_kind("dataset", id)))

    return routes


def _models(service: SharingService, largest: int) -> APIRouter:
    routes = APIRouter(prefix="/models", tags=["models"])

    @routes.post("", status_code=201, operation_id="register_model", openapi_extra=_form(NewModel))
    async def register(who: Who, request: Request) -> Model:
        """Register a model: with a `recipe` and its `code` it is trained here; with a `file` it is taken as it is."""
        who.require("write")
        async with arrived(request, who, service.artifacts, NewModel, service.registering, largest) as came:
            if came.new.recipe is not None:
                return await service.register.recipe(who, came.new, came.new.recipe, came.take)
            return await service.register.model(who, came.new, came.filename, came.take)

    @routes.get("", operation_id="list_models")
    async def listed(who: Who, page: WantedModels) -> Models:
        """Models of one's own, those others granted, and those trained on one's data and held; the newest first. Without
        snapshots of online models, which are many, unless they are asked for."""
        found, after = await service.listed(who, "model", page)
        return Models.model_construct(items=found, next=after)

    @routes.get("/{id}", operation_id="get_model")
    async def one(who: Who, id: Id) -> Model:
        """One model. While `held_for` others its files, digest, metrics and shapes are left out."""
        return await service.model(who, id)

    @routes.head("/{id}/content", include_in_schema=False)
    @routes.get("/{id}/content", operation_id="download_model", responses=_DOWNLOAD, response_class=Response)
    async def content(request: Request, who: Who, id: Id) -> Response:
        """Its file (`Range` is understood), or of several a zip."""
        return download(request, service, await service.contents.open(who, of_kind("model", id)))

    @routes.head("/{id}/files/{path:path}", include_in_schema=False)
    @routes.get(
        "/{id}/files/{path:path}", operation_id="download_model_file", responses=_DOWNLOAD, response_class=Response
    )
    async def file(request: Request, who: Who, id: Id, path: Annotated[str, Field(max_length=1024)]) -> Response:
        """One of its files."""
        return download(request, service, await service.contents.open(who, of_kind("model", id), path or "/"))

    @routes.head("/{id}/code", include_in_schema=False)
    @routes.get("/{id}/code", operation_id="download_model_code", responses=_DOWNLOAD, response_class=Response)
    async def code(request: Request, who: Who, id: Id) -> Response:
        """The code archive of its recipe."""
        return download(request, service, await service.contents.open(who, of_kind("model", id), role="code"))

    @routes.post("/{id}/release", operation_id="release_model")
    async def release(who: Who, id: Id) -> Model:
        """Let go of a result that is held for one's company."""
        return await service.granting.release(who, of_kind("model", id))

    @routes.post("/{id}/revoke", operation_id="revoke_model")
    async def revoke(who: Who, id: Id, given: Revocation) -> Model:
        """Have the ledger say, for ever, that a model is not to be relied upon any more."""
        return await service.anchoring.revoke(who, of_kind("model", id), given.reason)  # type: ignore[return-value]

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


def download(request: Request, service: SharingService, found: Opened) -> Response:
    """The answer that sends a content: a file with ranges, or of several a zip."""
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


def _add(document: dict[str, Any]) -> None:
    """Say what FastAPI does not know: the tus protocol, and the bodies it does not read itself."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/uploads") and method != "options":
                operation.setdefault("parameters", []).extend([_VERSION, *_TUS.get(method, [])])
                operation["responses"] |= _TUS_ANSWERS
            if path.startswith("/uploads") and method == "patch":
                operation["requestBody"] = {"required": True, "content": _PIECE}
    schemas = document["components"]["schemas"]
    for body, parts in BODIES.items():
        schemas |= {**_schemas(body, parts), **schemas}
