"""Swagger UI over a service's OpenAPI document, at ``/docs/NAME``; nothing of it comes from elsewhere.

FastAPI's own page loads Swagger UI from a CDN. Here its files are those that the wheel ``fastapi-offline`` carries; nothing of
that wheel is imported. The page is as narrow as it can be: no script or style stands in it, and what runs there can ask this
server only. Who has a session in this browser tries things out with it; others give a token under "Authorize".
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response

WHEEL = "fastapi_offline"
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
START = "start.js"
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_HIDING = (
    "() => ({statePlugins: {spec: {wrapSelectors: {taggedOperations: (before) => (...given) => "
    'before(...given).filter((_, tag) => tag !== "internal")}}}})'
)
"""Swagger UI without what services ask one another: the document has it, for programs."""
_KEPT = {**_HEADERS, "cache-control": "max-age=86400"}


def paths(name: str) -> list[str]:
    """Of a service's document and page: whole paths, for those who send requests to apps."""
    page = f"/docs/{name}"
    return [f"/openapi/{name}.json", page, *(f"{page}/{file}" for file in (START, *ASSETS))]


def add_docs(app: FastAPI, name: str) -> None:
    """Serve the page of an app whose document is at ``/openapi/NAME.json``."""
    page, start = _page(app.title, name), _start(name)

    @app.get(f"/docs/{name}", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    @app.get(f"/docs/{name}/{START}", include_in_schema=False)
    async def script() -> Response:
        return Response(start, media_type="text/javascript", headers=_KEPT)

    for file, media in ASSETS.items():
        _serve(app, f"/docs/{name}/{file}", _folder() / file, media)


def index(names: Iterable[str]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """A page with a link to each service's own, and its headers."""
    lines = "".join(f'<li><a href="/docs/{name}">{html.escape(name)}</a></li>' for name in sorted(names))
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>Headrace: the services</title><link rel="icon" href="data:,"><h1>The services</h1><ul>{lines}</ul></html>'
    )
    headers = {**_HEADERS, "content-type": "text/html; charset=utf-8"}
    return page.encode(), [(name.encode(), value.encode()) for name, value in headers.items()]


def _serve(app: FastAPI, path: str, file: Path, media: str) -> None:
    @app.get(path, include_in_schema=False)
    async def asset() -> Response:
        return FileResponse(file, media_type=media, headers=_KEPT)


def _folder() -> Path:
    """Where the wheel keeps Swagger UI's files."""
    found = find_spec(WHEEL)
    assert found is not None and found.origin is not None, "fastapi-offline is one of our dependencies"
    return Path(found.origin).parent / "static"


def _page(title: str, name: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{html.escape(title)}</title><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="/docs/{name}/swagger-ui.css"><body><div id="ui"></div>'
        f'<script src="/docs/{name}/swagger-ui-bundle.js"></script><script src="/docs/{name}/{START}"></script></html>'
    )


def _start(name: str) -> str:
    options = {
        "url": f"/openapi/{name}.json",
        "dom_id": "#ui",
        "deepLinking": True,
        "validatorUrl": None,  # or documents of a public address are shown to a validator elsewhere
    }
    given = json.dumps(options)
    return f"const internal = {_HIDING};SwaggerUIBundle({{...{given}, plugins: [internal]}});"
