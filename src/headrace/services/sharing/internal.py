"""Doors for the platform's own services: what `Sharing` has beyond what people ask. Only tokens with an ``act`` open them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from headrace.access import Principal
from headrace.assets import Job, Model, OutputFile, Plain, Right, Scalar, Snapshot, Translation, Verdict
from headrace.disk import unavailable
from headrace.errors import StorageUnavailable, Temporary
from headrace.services.entrance import acting
from headrace.services.sharing.contents import Opened, safe_path
from headrace.services.sharing.service import SharingService

Id: TypeAlias = Annotated[str, Field(max_length=64)]
CONTENT = r"^up_[0-9a-f]{20}$"
ContentId: TypeAlias = Annotated[str, Field(pattern=CONTENT)]
UploadId: TypeAlias = ContentId
JobId: TypeAlias = Annotated[str, Field(pattern=r"^jb_[0-9a-f]{20}$")]
Role: TypeAlias = Literal["content", "code"]
Wanted: TypeAlias = Annotated[Right, Query(description="what it is wanted for")]
_OCTETS: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_BODY = {"requestBody": {"required": True, "content": _OCTETS}}


class Files(Plain):
    """What a content consists of."""

    items: list[OutputFile]


class Allowed(Plain):
    """He may, now."""

    allowed: bool


class Trained(Plain):
    """A job that ended well; its files were put before."""

    job: Job
    paths: list[str]
    found: dict[str, Any]


class Evaluated(Plain):
    """What a job measured."""

    job: Job
    metrics: dict[str, Scalar]


class Judged(Plain):
    """What running a recipe again has shown."""

    verdict: Verdict
    note: str


class Translated(Plain):
    """A model that was translated; the file was put before."""

    translation: Translation
    file: UploadId
    found: dict[str, Any]
    name: str = Field("", max_length=200, description="empty: the original's, with ` (ONNX)`")


class Published(Plain):
    """What an online model published; its weights were put before."""

    snapshot: Snapshot
    name: str = Field(max_length=200)
    content: str = Field(pattern=CONTENT)
    found: dict[str, Any]


Who: TypeAlias = Annotated[Principal, Depends(acting)]


def internal_router(
    service: SharingService, download: Callable[[Request, Opened], Response], answers: dict[int | str, dict[str, Any]]
) -> APIRouter:
    """Routes under ``/internal``.

    Args:
        download: makes an answer of one opened file; `answers` documents it.
    """
    routes = APIRouter(prefix="/internal", tags=["internal"])

    @routes.get("/assets/{id}/rights/{right}", operation_id="check_right")
    async def check(who: Who, id: Id, right: Right) -> Allowed:
        """Whether he may use an asset so, now."""
        await service.check(who, id, right)
        return Allowed(allowed=True)

    @routes.get("/assets/{id}/files", operation_id="list_files")
    async def listed(who: Who, id: Id, right: Wanted = "read", role: Role = "content") -> Files:
        """The files of a content, for `get_file`; or the code archive of a recipe."""
        own = role == "code"
        found = await service.contents.open(who, id, "", "code" if own else "", right, own=own, noted=not own)
        return Files(items=list(found.files))

    @routes.get("/assets/{id}/file", operation_id="get_file", responses=answers, response_class=Response)
    async def file(
        request: Request,
        who: Who,
        id: Id,
        path: Annotated[str, Query(max_length=1024)],
        right: Wanted = "read",
        role: Role = "content",
    ) -> Response:
        """One file of a content; `Range` is understood. It breaks off when the right ends meanwhile."""
        own = role == "code"
        kept = "code" if own else ""
        return download(request, await service.contents.open(who, id, path or "/", kept, right, own=own, noted=False))

    _reports(routes, service)
    _derivations(routes, service)
    return routes


def _derivations(routes: APIRouter, service: SharingService) -> None:
    @routes.put("/contents/{name}", operation_id="put_content", status_code=204, openapi_extra=_BODY)
    async def put(who: Who, name: ContentId, request: Request) -> None:
        """The content of a snapshot, before it is told of; the name is the caller's, and new."""
        await _keep(request.stream(), _content(service, who, name))

    @routes.post("/snapshots", operation_id="put_snapshot")
    async def published(who: Who, made: Published) -> Model:
        """An online model of the company it is said for published another. 503: put its weights again."""
        async with _taken(service, who, made.content) as path:
            weights = await asyncio.to_thread(path.read_bytes)
            return await service.snapshot(who.company, made.snapshot, made.name, weights, made.found)


def _content(service: SharingService, who: Principal, name: str) -> Path:
    """Where a content waits until it is told of; emptied when the hub starts."""
    return _scratch(service) / f"content-{who.company}" / name


@contextlib.asynccontextmanager
async def _taken(service: SharingService, who: Principal, name: str) -> AsyncIterator[Path]:
    """A content that was put, gone afterwards whatever comes of it. Raises Temporary."""
    path = _content(service, who, name)
    if not await asyncio.to_thread(path.is_file):
        raise Temporary(detail=f"the content {name} is not here (any more)")
    try:
        yield path
    finally:
        await asyncio.to_thread(_forget, path)


def _reports(routes: APIRouter, service: SharingService) -> None:
    @routes.post("/jobs/began", operation_id="job_began", status_code=204)
    async def began(who: Who, job: Job) -> None:
        """A job of a model was queued, has begun, failed or was cancelled."""
        await service.began(job)

    @routes.put("/jobs/{job}/output", operation_id="put_output", status_code=204, openapi_extra=_BODY)
    async def put(who: Who, job: JobId, path: Annotated[str, Query(max_length=1024)], request: Request) -> None:
        """One file a job made, before `job_trained`; a second one of that path takes the place of the first."""
        await _keep(request.stream(), _folder(service, job) / safe_path(path))

    @routes.post("/jobs/trained", operation_id="job_trained")
    async def trained(who: Who, ended: Trained) -> Model:
        """A job ended well: its files are taken in. 503: put them again."""
        folder = _folder(service, ended.job.id)
        for path in ended.paths:
            if not await asyncio.to_thread((folder / safe_path(path)).is_file):
                raise Temporary(detail=f"the file {path[:80]!r} of job {ended.job.id} is not here (any more)")
        model = await service.trained(ended.job, folder, ended.paths, ended.found)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return model

    @routes.post("/jobs/evaluated", operation_id="job_evaluated")
    async def evaluated(who: Who, ended: Evaluated) -> Model:
        """A trained model was measured."""
        return await service.evaluated(ended.job, ended.metrics)

    @routes.put("/translations/{file}", operation_id="put_translation", status_code=204, openapi_extra=_BODY)
    async def put_translation(who: Who, file: UploadId, request: Request) -> None:
        """The ONNX file of a translation, before `model_translated`; a second one of that id takes the place of the first."""
        await _keep(request.stream(), _folder(service, file) / "model.onnx")

    @routes.post("/models/{id}/translated", operation_id="model_translated")
    async def translated(who: Who, id: Id, said: Translated) -> Model:
        """A model was translated: the translation is registered. 503: put its file again."""
        folder = _folder(service, said.file)
        if not await asyncio.to_thread((folder / "model.onnx").is_file):
            raise Temporary(detail=f"the ONNX file of the translation of {id} is not here (any more)")
        try:
            return await service.translated(who, id, said.translation, folder / "model.onnx", said.found, said.name)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    @routes.post("/models/{id}/judged", operation_id="model_judged")
    async def judged(who: Who, id: Id, judged: Judged) -> Model:
        """A model's recipe was run again."""
        return await service.judged(id, judged.verdict, judged.note)


def _folder(service: SharingService, job: str) -> Path:
    """Where files wait until what made them is said to have ended well; emptied when the hub starts."""
    return _scratch(service) / f"output-{job}"


def _scratch(service: SharingService) -> Path:
    return service.scratch or Path(tempfile.gettempdir())


async def _keep(body: AsyncIterator[bytes], target: Path) -> None:
    """A body as a file: whole or not at all. Raises StorageUnavailable."""
    await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True, mode=0o700)
    handle, part = await asyncio.to_thread(tempfile.mkstemp, dir=target.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            async for piece in body:
                await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(Path(part).replace, target)
    except BaseException as error:
        _forget(Path(part))
        if unavailable(error):
            raise StorageUnavailable(detail=str(error)) from error
        raise


def _forget(part: Path) -> None:
    with contextlib.suppress(OSError):
        part.unlink()
