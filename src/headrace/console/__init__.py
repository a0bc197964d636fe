"""The web page a newcomer opens: readings arriving, models learning, forecasts beside what happened.

Static files only. The page is a client like any other: it reads ``GET /api/overview``, ``GET /api/models/{name}`` and
the server-sent events of ``GET /api/events``, which whoever mounts these routes has to serve. What else it can show is
asked for when it is wanted, and left out where it is not served: ``/api/models/{name}/explanation`` and ``/shadows``,
``/api/alerts``, ``/api/reports``.

Its two other views, the library and the jobs, are modules that are loaded when they are first opened. They are clients of
sharing, training and identity at the same address: ``/datasets``, ``/models``, ``/grants``, ``/lineage``, ``/uploads``
(tus), ``/jobs``, ``/whoami``, ``/logout``. Which buttons are shown follows the roles; what is allowed, the server decides.

The charts are drawn by the page itself: plotly.min.js (4.8 MB) kept a phone-speed processor busy for 5.8 s before the
first line and cannot style itself under the Content-Security-Policy below.
"""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from importlib import resources

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

POLICY = "; ".join(
    [
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
"""Nothing from elsewhere, nothing inline; where trusted types are known, the browser itself refuses ``innerHTML``."""

_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",  # kept by the browser, asked about each time: a 304 unless Headrace was upgraded
}
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    etag: str
    media: str


def routes() -> list[Route]:
    """The page at ``/`` and its files under ``/console/``; every file is read once, here."""
    folder = resources.files(__package__) / "static"
    pages = {item.name: _read(item.name, item.read_bytes()) for item in folder.iterdir() if item.is_file()}

    async def index(request: Request) -> Response:
        return _answer(request, pages["index.html"])

    async def file(request: Request) -> Response:
        page = pages.get(request.path_params["name"])
        if page is None:
            raise HTTPException(404, "no such file of the console")
        return _answer(request, page)

    return [Route("/", index, name="console"), Route("/console/{name}", file, name="console-file")]


def _read(name: str, body: bytes) -> _Page:
    suffix = "." + name.rpartition(".")[2]
    media = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _Page(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', media)


def _answer(request: Request, page: _Page) -> Response:
    headers = {**_HEADERS, "etag": page.etag}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if page.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(page.body, media_type=page.media, headers=headers)
