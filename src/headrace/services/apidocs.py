"""A page for people over a service's OpenAPI document, at ``/docs/NAME``; nothing of it comes from elsewhere.

FastAPI's own page loads Swagger UI from a CDN. When the wheel ``fastapi-offline`` is installed, which carries Swagger UI
(2.7 MB, Apache-2.0), it is served from there; otherwise a plain page lists the operations.
"""

from __future__ import annotations

import html
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response

ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}code,pre{font-size:13px}"
    "summary{cursor:pointer;padding:.3rem 0}pre{overflow:auto;background:#8881;padding:.6rem}b{display:inline-block;"
    "width:4.5rem}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}a{color:#8bf}}"
)


def add_docs(app: FastAPI, name: str) -> None:
    """Serve the page of an app whose document is at ``/openapi/NAME.json``."""
    found = _swagger()

    @app.get(f"/docs/{name}", include_in_schema=False)
    async def page() -> Response:
        text = _swagger_page(app, name) if found else _own_page(app, name)
        return HTMLResponse(text, headers=_HEADERS)

    for file, media in ASSETS.items() if found else ():
        assert found is not None
        _serve(app, f"/docs/{name}/{file}", found / file, media)


def _serve(app: FastAPI, path: str, file: Path, media: str) -> None:
    @app.get(path, include_in_schema=False)
    async def asset() -> Response:
        return FileResponse(file, media_type=media, headers={**_HEADERS, "cache-control": "max-age=86400"})


def _swagger() -> Path | None:
    """The folder with Swagger UI's files, if the wheel is there. It is not imported."""
    found = find_spec("fastapi_offline")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "static"
    return folder if all((folder / name).is_file() for name in ASSETS) else None


def _swagger_page(app: FastAPI, name: str) -> str:
    options = json.dumps({"url": f"/openapi/{name}.json", "dom_id": "#ui", "deepLinking": True})
    return (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(app.title)}</title>"
        f'<link rel=stylesheet href="/docs/{name}/swagger-ui.css"><div id=ui></div>'
        f'<script src="/docs/{name}/swagger-ui-bundle.js"></script><script>SwaggerUIBundle({options})</script>'
    )


def _own_page(app: FastAPI, name: str) -> str:
    document = app.openapi()
    operations = [
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [
        f"<details><summary><code>{html.escape(title)}</code></summary>{_json(schema)}</details>"
        for title, schema in document.get("components", {}).get("schemas", {}).items()
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{html.escape(app.title)}</title><style>{_STYLE}</style><h1>{html.escape(app.title)}</h1>"
        f"<p>{html.escape(app.description)}</p><p><a href='/openapi/{name}.json'>OpenAPI document</a></p>"
        f"<h2>Operations</h2>{''.join(operations)}<h2>Schemas</h2>{''.join(schemas)}"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = {key: operation[key] for key in ("parameters", "requestBody", "responses") if key in operation}
    return (
        f"<details><summary><b>{method.upper()}</b><code>{html.escape(path)}</code> "
        f"{html.escape(operation.get('operationId', ''))}</summary><p>{html.escape(operation.get('description', ''))}</p>"
        f"{_json(parts)}</details>"
    )


def _json(value: Any) -> str:
    return f"<pre>{html.escape(json.dumps(value, indent=1))}</pre>"
