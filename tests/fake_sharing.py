"""A small platform that shares and trains, as far as the command line is concerned: its requests are checked against the
records of `headrace.assets`. It can be told to fail."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from headrace.assets import (
    AuditEntry,
    Dataset,
    Grant,
    Job,
    Lineage,
    LineageNode,
    Model,
    Recipe,
    Stored,
    StreamRange,
    new_id,
)

TOKEN = "token-of-a-test"
OWN = {"company": "acme", "created_ms": 1_700_000_000_000, "created_by": "ann"}


def stored(data: bytes) -> Stored:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Stored(size=len(data), sha256=digest, root=digest)


class Fake:
    """Its state, and its routes."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}
        self.contents: dict[str, dict[str, bytes]] = {}
        self.uploads: dict[str, tuple[int, bytearray]] = {}
        self.patched: list[tuple[int, int]] = []
        """(offset, bytes) of every piece."""
        self.jobs: list[list[Job]] = []
        """States that the job of the next model goes through, one at each look."""
        self.script: dict[str, list[Job]] = {}
        self.log = b""
        self.held = False
        self.breaks = 0
        """Contents and logs break off, or end, after so many bytes, as when a token ends. 0: they do not."""
        self.break_at = -1
        """Uploads break off at this byte. -1: they do not."""
        self.damaged = False
        self.lying = False
        """Contents are sent with one byte changed."""
        self.asked: list[dict[str, Any]] = []
        """Bodies of requests for registration."""

    def app(self) -> Starlette:
        route = [
            Route("/datasets", self.add, methods=["POST"]), Route("/models", self.add, methods=["POST"]),
            Route("/datasets/{id}/raw", self.raw),
            Route("/datasets/from-stream", self.from_stream, methods=["POST"]),
            Route("/datasets", self.all), Route("/models", self.all),
            Route("/{kind:str}/{id}/content", self.content), Route("/models/{id}/code", self.content), Route("/models/{id}/files/{path:path}", self.content),
            Route("/models/{id}/release", self.one, methods=["POST"]),
            Route("/grants", self.grant, methods=["POST"]), Route("/grants", self.grants),
            Route("/grants/{id}", self.revoke, methods=["DELETE"]),
            Route("/audit", self.audit), Route("/lineage/{id}", self.lineage),
            Route("/uploads", self.begin, methods=["POST"]),
            Route("/uploads/{id}", self.piece, methods=["PATCH", "HEAD"]),
            Route("/jobs/evaluate", self.evaluate, methods=["POST"]), Route("/models/{id}/reproduce", self.reproduce, methods=["POST"]),
            Route("/jobs/{id}/events", self.events),
            Route("/jobs", self.all_jobs), Route("/jobs/{id}", self.job), Route("/jobs/{id}/log", self.read_log),
            Route("/jobs/{id}/{what}", self.act, methods=["POST"]),
            Route("/datasets/{id}", self.one, methods=["GET", "DELETE"]), Route("/models/{id}", self.one, methods=["GET", "DELETE"]),
        ]  # fmt: skip
        app = Starlette(routes=route)

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            headers = dict(scope.get("headers", []))
            if scope["type"] == "http" and headers.get(b"authorization") != f"Bearer {TOKEN}".encode():
                await JSONResponse({"error": "no token"}, 401)(scope, receive, send)
            else:
                await app(scope, receive, send)

        return guarded  # type: ignore[return-value]

    async def add(self, request: Request) -> Response:
        """A dataset, or a model with or without a recipe."""
        content, filename, metadata = b"", "", {}
        if request.headers["content-type"].startswith("multipart/"):
            async with request.form() as form:
                items = form.multi_items()
                assert items[0][0] == "metadata" and len(items) == 2, "metadata come first"
                metadata, (part, file) = json.loads(str(items[0][1])), items[1]
                content, filename = await file.read(), file.filename  # type: ignore[union-attr]
        else:
            metadata = await request.json()
            size, body = self.uploads.pop(metadata.pop("upload"))
            assert size == len(body), "only whole uploads are registered"
            content, filename, part = bytes(body), metadata.pop("filename"), "file"
        self.asked.append(metadata)
        if request.url.path == "/datasets":
            return self._dataset(metadata, content, filename)
        return self._model(metadata, content, filename, part)

    def _dataset(self, metadata: dict[str, Any], content: bytes, filename: str) -> Response:
        about = {"media": "other", **metadata, "filename": filename, "stored": stored(content)}
        return self._made(Dataset(id=new_id("ds"), **OWN, **about), {filename: content})

    def _model(self, metadata: dict[str, Any], content: bytes, filename: str, part: str) -> Response:
        recipe = metadata.pop("recipe", None)
        about: dict[str, Any] = {"id": new_id("md"), **OWN, **metadata}
        if recipe is None:
            assert part == "file"
            files = [{"path": filename, "stored": stored(content)}]
            return self._made(Model(**about, state="uploaded", files=files), {filename: content})
        assert part == "code" and zipfile.ZipFile(io.BytesIO(content)).testzip() is None
        for name in ("priority", "attempts"):
            assert isinstance(recipe.pop(name), int)
        job = new_id("jb")
        self.script[job] = [one.model_copy(update={"id": job, "model": about["id"]}) for one in self.jobs.pop(0)]
        checked = Recipe(**recipe, code=stored(content))
        return self._made(Model(**about, state="training", recipe=checked, job=job), {"code": content})

    def _made(self, record: Any, contents: dict[str, bytes]) -> Response:
        self.records[record.id], self.contents[record.id] = record, contents
        return JSONResponse(record.model_dump(), 201)

    async def from_stream(self, request: Request) -> Response:
        asked = await request.json()
        self.asked.append(asked)
        span = StreamRange(
            topic=asked["topic"],
            from_ms=asked["from_ms"],
            to_ms=asked["to_ms"],
            first_position=1,
            last_position=9,
            records=9,
            root="sha256:0",
            raw=stored(b"{}\n"),
        )
        about = {"media": "parquet", "filename": "s.parquet", "stored": stored(b"x"), "stream": span}
        return self._made(Dataset(id=new_id("ds"), **OWN, **about, name=asked["name"]), {"s.parquet": b"x"})

    async def all(self, request: Request) -> Response:
        """A page of at most two, so that there are several."""
        kind = Dataset if request.url.path == "/datasets" else Model
        found = [one.model_dump() for one in reversed(self.records.values()) if isinstance(one, kind)]
        start = next(
            (place + 1 for place, one in enumerate(found) if one["id"] == request.query_params.get("after")), 0
        )
        stop = start + min(2, int(request.query_params["limit"]))
        page = found[start:stop]
        return JSONResponse({"items": page, "next": page[-1]["id"] if stop < len(found) else None})

    async def one(self, request: Request) -> Response:
        record = self.records.get(request.path_params["id"])
        if record is None:
            return JSONResponse({"error": "there is no such thing"}, 404)
        if request.method == "DELETE":
            self.records[record.id] = record.model_copy(update={"deleted_ms": 1_700_000_001_000})
            return JSONResponse({"deleted": record.id, "tombstone": True})
        return JSONResponse(record.model_dump())

    async def raw(self, request: Request) -> Response:
        return Response(b"{}\n")

    async def content(self, request: Request) -> Response:
        files = self.contents[request.path_params["id"]]
        data = files[request.path_params["path"]] if "path" in request.path_params else next(iter(files.values()))
        if self.damaged and "range" in request.headers:
            return JSONResponse({"error": "the stored content is damaged at leaf 0"}, 500)
        if self.damaged:

            async def broken() -> AsyncIterator[bytes]:
                yield data[:2]
                raise RuntimeError("broken off")

            return StreamingResponse(broken(), headers={"content-length": str(len(data))})
        data = (b"?" + data[1:]) if self.lying else data
        if not self.breaks:
            return Response(data)
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        headers = {"content-length": str(len(data) - start)}

        async def pieces() -> AsyncIterator[bytes]:
            yield data[start : start + self.breaks]
            if start + self.breaks < len(data):
                raise ConnectionResetError

        return StreamingResponse(pieces(), 206 if start else 200, headers)

    async def grant(self, request: Request) -> Response:
        asked = await request.json()
        self.asked.append(asked)
        return self._made(Grant(id=new_id("gr"), **OWN, **asked), {})

    async def grants(self, _: Request) -> Response:
        return JSONResponse({"items": [one.model_dump() for one in self.records.values() if isinstance(one, Grant)]})

    async def revoke(self, request: Request) -> Response:
        one = self.records[request.path_params["id"]].model_copy(update={"revoked_ms": 1})
        return JSONResponse(one.model_dump())

    async def audit(self, request: Request) -> Response:
        entry = AuditEntry(
            id=7,
            time_ms=0,
            company="acme",
            subject="eve",
            action="read",
            asset="ds_1",
            allowed=False,
            detail="not granted",
        )
        return JSONResponse([entry.model_dump()][: int(request.query_params["limit"])])

    async def lineage(self, request: Request) -> Response:
        if (id := request.path_params["id"]).startswith("jb_"):
            return JSONResponse({"error": f"There is no job {id!r} that you may know of"}, 404)
        nodes = [
            LineageNode(id="ds_1", kind="dataset", name="meters"),
            LineageNode(id="md_1", kind="model", state="trained"),
        ]
        return JSONResponse(Lineage(nodes=nodes, edges=[("ds_1", "md_1")]).model_dump())

    async def begin(self, request: Request) -> Response:
        assert request.headers["tus-resumable"] == "1.0.0"
        place = new_id("up")
        self.uploads[place] = (int(request.headers["upload-length"]), bytearray())
        return Response(status_code=201, headers={"Location": f"/uploads/{place}", "Tus-Resumable": "1.0.0"})

    async def piece(self, request: Request) -> Response:
        if request.path_params["id"] not in self.uploads:
            return Response(status_code=404)
        size, body = self.uploads[request.path_params["id"]]
        if request.method == "PATCH":
            assert request.headers["content-type"] == "application/offset+octet-stream"
            if int(request.headers["upload-offset"]) != len(body):
                return Response(status_code=409)
            start = len(body)
            async for data in request.stream():
                body += data
                if 0 <= self.break_at < len(body):
                    del body[self.break_at :]
                    self.patched.append((start, len(body) - start))
                    return Response(status_code=503)
            self.patched.append((start, len(body) - start))
            assert len(body) <= size
        return Response(
            status_code=204 if request.method == "PATCH" else 200,
            headers={"Upload-Offset": str(len(body)), "Upload-Length": str(size), "Tus-Resumable": "1.0.0"},
        )

    async def all_jobs(self, request: Request) -> Response:
        wanted = request.query_params.get("state")
        found = [script[0] for script in self.script.values()]
        return JSONResponse({"items": [one.model_dump() for one in found if wanted in {None, one.state}]})

    async def job(self, request: Request) -> Response:
        if (script := self.script.get(request.path_params["id"])) is None:
            return JSONResponse({"error": "There is no such job"}, 404)
        one = script.pop(0) if len(script) > 1 else script[0]
        return JSONResponse(one.model_dump())

    async def act(self, request: Request) -> Response:
        one = self.script[request.path_params["id"]][0]
        if request.path_params["what"] == "cancel" and one.state in {"done", "failed"}:
            return JSONResponse({"error": f"job {one.id} has ended: {one.state}"}, 409)
        state = {"cancel": "cancelled", "retry": "queued"}[request.path_params["what"]]
        return JSONResponse(one.model_copy(update={"state": state}).model_dump())

    async def evaluate(self, request: Request) -> Response:
        self.asked.append(await request.json())
        return JSONResponse(self.script["jb_2"][0].model_dump(), 201)

    async def reproduce(self, request: Request) -> Response:
        self.asked.append({"model": request.path_params["id"], **request.query_params})
        return JSONResponse(self.script["jb_2"][0].model_dump(), 201)

    async def events(self, request: Request) -> Response:
        return JSONResponse({"items": [{"time_ms": 1_700_000_000_000, "what": "queued", "detail": "by eva"}]})

    async def read_log(self, request: Request) -> Response:
        if self.held:
            return JSONResponse({"error": "held for solar until it is released"}, 403)
        offset = int(request.query_params.get("offset", 0))
        data = self.log[offset : self.breaks + offset if self.breaks else None]

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 7):
                yield data[start : start + 7]

        return StreamingResponse(pieces(), media_type="text/plain")


def job(state: str, **more: Any) -> Job:
    """A job in one of its states."""
    started = {} if state == "queued" else {"started_ms": 1_700_000_000_000}
    ended = {"ended_ms": 1_700_000_004_200} if state in {"done", "failed", "cancelled"} else {}
    return Job(**{"id": "", "model": "", "state": state, "attempt": 1, **OWN, **started, **ended, **more})


@contextlib.contextmanager
def serving(fake: Fake) -> Iterator[str]:
    """Its address, while it answers."""
    server = uvicorn.Server(uvicorn.Config(fake.app(), log_level="error", lifespan="off"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
