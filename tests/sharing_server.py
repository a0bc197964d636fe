"""Uploads, a form and downloads over an artifact store in a process of its own, as the sharing service puts them together.

    python -m tests.sharing_server FOLDER PORT CHECKPOINT_BYTES

The caller says in a header which company he is of: what checks him stands before these doors and is not under test here.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from headrace.access import Principal
from headrace.assets import Stored
from headrace.errors import BadInput, Forbidden, HeadraceError
from headrace.services.http import App, Receive, Scope, Send, code
from headrace.services.sharing.downloads import Download
from headrace.services.sharing.multipart import take_in
from headrace.services.sharing.uploads import completed, uploads_router
from headrace.settings import ArtifactSettings
from headrace.stores.artifacts.files import FileArtifacts
from tests.running import free_port, scrubbed


class Named:
    """The principal a header names."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (company := dict(scope["headers"]).get(b"x-company")):
            role = dict(scope["headers"]).get(b"x-role", b"developer").decode()
            scope["headrace.principal"] = Principal(company.decode(), "eva", "user", frozenset({role}))
        await self.app(scope, receive, send)


def metadata(raw: bytes, part: str) -> dict[str, Any]:
    """JSON, or BadInput."""
    try:
        return {**json.loads(raw), "part": part}
    except ValueError as error:
        raise BadInput(detail=f"the metadata are no JSON: {error}") from error


def make(artifacts: FileArtifacts) -> FastAPI:
    """The app."""
    app = FastAPI()
    app.add_middleware(Named)
    app.include_router(uploads_router(artifacts, largest=2**40))

    @app.exception_handler(HeadraceError)
    async def told(request: Request, error: HeadraceError) -> Response:
        return JSONResponse({"error": str(error)}, code(error))

    @app.post("/form")
    async def form(request: Request) -> Any:
        company = request.scope["headrace.principal"].company
        taken = await take_in(request.scope, request.receive, artifacts, company, metadata, ("file", "code"))
        return {"metadata": taken.metadata, "filename": taken.filename, "stored": taken.stored}

    @app.post("/register/{id}")
    async def register(request: Request, id: str) -> Any:
        who = request.scope["headrace.principal"]
        upload = await completed(artifacts, who, id)
        stored = await upload.incoming.finish()
        if request.query_params.get("forget"):
            await artifacts.discard(who.company, id)
        return {"filename": upload.filename, "metadata": upload.metadata, "stored": stored}

    async def given(request: Request) -> Response:
        company, query = request.scope["headrace.principal"].company, request.query_params
        stored = Stored(size=int(query["size"]), sha256=query["sha256"], root=query["root"])
        left = int(query.get("leaves", "1000000"))

        async def still() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise Forbidden(detail="the grant was revoked")

        def read(start: int, stop: int) -> AsyncIterator[bytes]:
            return artifacts.read(company, stored, start, stop)

        return Download(stored, read, "ä b.csv", "text/csv", still)

    app.add_api_route("/content", given, methods=["GET", "HEAD"], response_class=StreamingResponse)
    return app


def main() -> None:
    """Serve."""
    settings = ArtifactSettings(checkpoint_bytes=int(sys.argv[3]), upload_age=3600, quota=64 * 2**20)
    app = make(FileArtifacts(Path(sys.argv[1]), settings))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", loop="uvloop", http="httptools")


class Server:
    """It, running."""

    def __init__(self, folder: Path, port: int = 0, checkpoint: int = 2**20) -> None:
        self.folder, self.port = folder, port or free_port()
        self.errors = (folder.parent / f"{folder.name}.stderr").open("a+b")
        command = [sys.executable, "-m", "tests.sharing_server", str(folder), str(self.port), str(checkpoint)]
        root = Path(__file__).parent.parent
        self.process = subprocess.Popen(command, stderr=self.errors, env=scrubbed(), cwd=root)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                self.call("OPTIONS", "/uploads")
                break
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.close()
                raise RuntimeError("the server did not start")
            time.sleep(0.05)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, company: str = "acme", **more: Any) -> httpx.Response:
        """One request."""
        headers = {"X-Company": company, **more.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, timeout=30, trust_env=False, **more)

    def said(self) -> str:
        """What it wrote to stderr."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.close()

    def close(self) -> None:
        """Stop it."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        self.errors.close()


if __name__ == "__main__":
    main()
