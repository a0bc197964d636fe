"""Resumable uploads: the tus protocol, version 1.0 (tus.io/protocols/resumable-upload).

Core, creation (also with a length that is told later), termination, checksum. What an upload is for is said afterwards, when
a dataset or model is registered with its id (`completed`). Ids are random, and of no use to another company: there they do
not exist.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from headrace.access import Principal
from headrace.assets import new_id
from headrace.errors import BadInput, Conflict, FixedLimit, HeadraceError, NotFound, TooLarge
from headrace.services.entrance import caller
from headrace.services.http import Body, code, hints
from headrace.services.sharing.multipart import plain_name
from headrace.stores.artifacts import Artifacts, Incoming

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-defer-length,termination,checksum"
ALGORITHMS = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}
CHECKED = 16 * 2**20
"""Bytes of a PATCH with a checksum: it is kept in memory until that has been compared."""
SPOKEN = 4096
"""Bytes of ``Upload-Metadata``."""
_STATUS, _BODY = "headrace.status", "headrace.body"


class _Route(APIRoute):
    """Every answer says which protocol it speaks; errors are ours."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def spoken(request: Request) -> Response:
            body = request.scope[_BODY] = Body(request.receive)
            try:
                response = await handle(request)
            except HeadraceError as error:
                await body.spill()
                status = request.scope.get(_STATUS, code(error))
                response = JSONResponse({"error": str(error)}, status, hints(error))
            response.headers["Tus-Resumable"] = VERSION
            response.headers["Cache-Control"] = "no-store"
            return response

        return spoken


@dataclass(frozen=True)
class Completed:
    """An upload that came whole: `incoming.finish()` makes it a content; then it can be discarded."""

    id: str
    incoming: Incoming
    filename: str
    metadata: Mapping[str, str]


async def completed(artifacts: Artifacts, who: Principal, id: str) -> Completed:
    """The upload a dataset or model is registered with. Its caller ends `incoming`: `finish`, or `pause`.

    Raises:
        NotFound: his company has no such upload.
        Conflict: not all of it came, or it is being written.
    """
    offset, about = await _known(artifacts, who, id)
    if str(offset) != about["length"]:
        of = f" of {about['length']}" if about["length"] else ""
        raise Conflict(detail=f"only {offset}{of} bytes of upload {id!r} came; send the rest first")
    metadata = _metadata(about["metadata"])
    incoming = await artifacts.receive(who.company, id)
    if incoming.offset != offset:
        await incoming.pause()
        raise Conflict(detail=f"upload {id!r} changed just now")
    return Completed(id, incoming, plain_name(metadata.get("filename", "")), metadata)


def uploads_router(artifacts: Artifacts, largest: int = 0) -> APIRouter:
    """Routes under ``/uploads``; the caller is in ``scope["headrace.principal"]``.

    Args:
        largest: bytes of the largest upload; 0: no limit but the company's quota.
    """
    router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=_Route)
    tus = _Tus(artifacts, largest)
    for path, method, handle, status, name in (
        ("", "OPTIONS", tus.options, 204, "upload_options"),
        ("", "POST", tus.create, 201, "create_upload"),
        ("/{id}", "HEAD", tus.head, 200, "get_upload"),
        ("/{id}", "PATCH", tus.patch, 204, "append_upload"),
        ("/{id}", "DELETE", tus.delete, 204, "delete_upload"),
    ):
        router.add_api_route(
            path, handle, methods=[method], status_code=status, response_class=Response, operation_id=name
        )
    return router


class _Tus:
    """The verbs of the protocol."""

    def __init__(self, artifacts: Artifacts, largest: int) -> None:
        self._artifacts, self._largest = artifacts, largest

    async def options(self) -> Response:
        """What the server speaks."""
        headers = {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS, "Tus-Checksum-Algorithm": ",".join(ALGORITHMS)}
        if self._largest:
            headers["Tus-Max-Size"] = str(self._largest)
        return Response(status_code=204, headers=headers)

    async def create(self, request: Request) -> Response:
        """Begin an upload: ``Upload-Length``, or ``Upload-Defer-Length: 1``; ``Upload-Metadata`` may name the ``filename``."""
        who = await _caller(request)
        length = self._length(request)
        deferred = request.headers.get("upload-defer-length")
        if deferred not in {None, "1"} or (length is None and deferred is None):
            raise BadInput(detail="say Upload-Length, or Upload-Defer-Length: 1")
        said = request.headers.get("upload-metadata", "")
        if len(said) > SPOKEN:
            raise FixedLimit(what="Upload-Metadata", size=len(said), limit=SPOKEN)
        _metadata(said)
        about = {"owner": who.subject, "length": "" if length is None else str(length), "metadata": said}
        id = new_id("up")
        await (await self._artifacts.receive(who.company, id, about)).pause()
        return Response(
            status_code=201, headers={"Location": f"{request.url.path.rstrip('/')}/{id}", "Upload-Offset": "0"}
        )

    async def head(self, request: Request, id: str) -> Response:
        """How far an upload has come: ``Upload-Offset``, all on stable storage."""
        offset, about = await _known(self._artifacts, await _caller(request), id)
        headers = {"Upload-Offset": str(offset)}
        headers |= {"Upload-Length": about["length"]} if about["length"] else {"Upload-Defer-Length": "1"}
        if about["metadata"]:
            headers["Upload-Metadata"] = about["metadata"]
        return Response(status_code=200, headers=headers)

    async def patch(self, request: Request, id: str) -> Response:
        """Go on with an upload at ``Upload-Offset``. What came before a broken connection is kept."""
        who = await _caller(request)
        offset, about = await _known(self._artifacts, who, id)
        if request.headers.get("content-type") != "application/offset+octet-stream":
            request.scope[_STATUS] = 415
            raise BadInput(detail="the content-type has to be application/offset+octet-stream")
        wanted = _number(request, "upload-offset")
        about = self._told(request, about, offset)
        incoming = await self._artifacts.receive(who.company, id, about)
        try:
            if wanted != incoming.offset:
                raise Conflict(detail=f"upload {id!r} goes on at byte {incoming.offset}, not at {wanted}")
            await _take(request, incoming, int(about["length"]) if about["length"] else None, self._largest)
        finally:
            offset = await incoming.pause()
        return Response(status_code=204, headers={"Upload-Offset": str(offset)})

    async def delete(self, request: Request, id: str) -> Response:
        """Forget an upload."""
        who = await _caller(request)
        await _known(self._artifacts, who, id)
        await self._artifacts.discard(who.company, id)
        return Response(status_code=204)

    def _told(self, request: Request, about: Mapping[str, str], offset: int) -> dict[str, str]:
        """What is known of an upload, with a length that is told only now. Raises Conflict."""
        length = self._length(request)
        if length is None:
            return dict(about)
        if length < offset:
            raise Conflict(detail=f"{offset} bytes of the upload came; its length cannot be {length}")
        if about["length"] and about["length"] != str(length):
            raise Conflict(detail=f"the upload's length is {about['length']}; it cannot become {length}")
        return {**about, "length": str(length)}

    def _length(self, request: Request) -> int | None:
        if "upload-length" not in request.headers:
            return None
        length = _number(request, "upload-length")
        if self._largest and length > self._largest:
            raise TooLarge(what="the upload", size=length, limit=self._largest, setting="--upload-limit")
        return length


async def _take(request: Request, incoming: Incoming, length: int | None, largest: int) -> None:
    """The body of a PATCH. Raises BadInput: it is longer than it may be, or not what its checksum says; TooLarge."""
    body = request.scope[_BODY].pieces()
    if "upload-checksum" in request.headers:
        body = _compared(request, body)
    async for piece in body:
        if length is not None and incoming.offset + len(piece) > length:
            raise BadInput(detail=f"more than the upload's {length} bytes were sent")
        if largest and incoming.offset + len(piece) > largest:  # one that did not say how long it is
            raise TooLarge(what="the upload", size=f"over {largest}", limit=largest, setting="--upload-limit")
        await incoming.write(piece)


async def _compared(request: Request, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body, once its checksum has been found right."""
    name, _, text = request.headers["upload-checksum"].partition(" ")
    if name not in ALGORITHMS:
        raise BadInput(detail=f"Upload-Checksum is one of {', '.join(ALGORITHMS)}, not {name[:20]!r}")
    whole = bytearray()
    async for piece in body:
        whole += piece
        if len(whole) > CHECKED:
            raise FixedLimit(what="a PATCH with a checksum", size=f"over {CHECKED}", limit=CHECKED)
    if base64.b64encode(ALGORITHMS[name](whole).digest()).decode() != text.strip():
        request.scope[_STATUS] = 460  # the protocol's own
        raise BadInput(detail="what came has another checksum than Upload-Checksum says; nothing of it was taken")
    yield bytes(whole)


async def _caller(request: Request) -> Principal:
    """Who asks, if he may write here and speaks this version."""
    who = await caller(request)
    if request.headers.get("tus-resumable") != VERSION:
        request.scope[_STATUS] = 412
        raise BadInput(detail=f"this door speaks tus {VERSION}: say Tus-Resumable: {VERSION}")
    who.require("write")
    return who


async def _known(artifacts: Artifacts, who: Principal, id: str) -> tuple[int, Mapping[str, str]]:
    try:
        offset, about = await artifacts.upload(who.company, id)
    except NotFound as error:
        raise NotFound(detail=f"there is no upload {id[:80]!r}, or it was registered or has expired") from error
    if not {"length", "metadata", "owner"} <= about.keys():
        raise NotFound(detail=f"there is no upload {id[:80]!r}, or it was registered or has expired")
    return offset, about


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadInput(detail=f"{name} has to be a number of bytes")
    return int(text)


def _metadata(said: str) -> dict[str, str]:
    """``Upload-Metadata``: names and values in base64. Raises BadInput.

    >>> _metadata("filename YS5jc3Y=,confidential")
    {'filename': 'a.csv', 'confidential': ''}
    """
    found = {}
    for pair in filter(None, (each.strip() for each in said.split(","))):
        name, _, value = pair.partition(" ")
        try:
            found[name] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise BadInput(detail=f"Upload-Metadata: the value of {name[:40]!r} is not base64 of text") from error
    return found
