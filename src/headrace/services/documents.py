"""What the FastAPI apps share: an OpenAPI document that says what the doors do, and errors in our one form.

FastAPI says of every operation that it answers 422 to what it cannot read; here that is a 400, ``{"error": "..."}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from headrace.assets import Plain
from headrace.errors import HeadraceError, Unauthenticated
from headrace.services.entrance import OPEN, Opened
from headrace.services.http import code, hints

Change = Callable[[dict[str, Any]], None]
MOST = 20
"""Findings that are told."""


class Failure(Plain):
    """Why a request was refused, and what to do."""

    error: str


REFUSALS: dict[int, str] = {
    400: "what was sent is wrong",
    401: "nobody we know",
    403: "known, but not allowed",
    404: "there is no such thing that the caller may know of",
    409: "not possible while something else is as it is",
    413: "too large",
    429: "too many",
    501: "not offered here",
    503: "try again later",
    507: "nothing was stored: the disk is full",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": text} for status, text in REFUSALS.items()
}
"""Every operation may answer them."""
_TOKEN = {"type": "http", "scheme": "bearer", "description": "a browser with a session needs none"}


def service_app(name: str, title: str, description: str, **more: Any) -> FastAPI:
    """The app of a service, documented at ``/openapi/NAME.json``. `describe` it when its routes are there.

    Args:
        more: for FastAPI.
    """
    return FastAPI(
        title=title,
        description=description,
        version="1",
        openapi_url=f"/openapi/{name}.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        responses=RESPONSES,
        **more,
    )


def describe(app: FastAPI, change: Change | None = None) -> None:
    """Give an app its document, which `change` may add to, and our answers to errors, to what cannot be read, and to paths
    and methods that are not there."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = _document(app)
            if change is not None:
                change(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    app.add_exception_handler(HTTPException, _nothing_here)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HeadraceError, _refused)


def sentence(problems: Sequence[Mapping[str, Any]], part: str = "") -> str:
    """Pydantic's findings for people: of each the field, if there is one, and what is wrong with it. What was sent in it is not
    repeated: it may be a password.

    Args:
        part: of the request, in which the fields are.

    >>> sentence([{"loc": ("body", "limits", "cpus"), "msg": "Value error, too many"}, {"loc": (), "msg": "no JSON"}])
    'limits.cpus: too many; no JSON'
    """
    said = []
    for problem in problems[:MOST]:
        place = ".".join(str(word) for word in (part, *problem["loc"]) if word not in {"", "body", "query", "path"})
        message = str(problem["msg"]).removeprefix("Value error, ")
        said.append(f"{place[:100]}: {message}" if place else message)
    return "; ".join(said)


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        separate_input_output_schemas=app.separate_input_output_schemas,
    )
    document["components"]["securitySchemes"] = {"token": _TOKEN}
    document["security"] = [{"token": []}]
    opened = Opened(OPEN)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _headed(operation)
            if opened(method.upper(), path):
                operation["security"] = []
            if operation["responses"].get("422", {}).get("description") == "Validation Error":
                del operation["responses"]["422"]
    _binary(document)
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    return document


def _headed(operation: dict[str, Any]) -> None:
    """The first sentence of what an operation says of itself stands in its line; FastAPI puts the name of its function there."""
    said = " ".join(operation.get("description", "").split())
    if not said:
        return
    head, _, rest = said.partition(". ")
    operation["summary"] = head.removesuffix(".")
    if not rest:
        del operation["description"]


def _binary(part: Any) -> None:
    """Files as ``format: binary``: OpenAPI 3.1's own word for them is known to few generators."""
    if isinstance(part, dict):
        if part.get("type") == "string" and part.pop("contentMediaType", None):
            part["format"] = "binary"
        for inner in part.values():
            _binary(inner)
    elif isinstance(part, list):
        for inner in part:
            _binary(inner)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HeadraceError)
    headers = hints(error)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="headrace"'
    return JSONResponse({"error": str(error)}, code(error), headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    said = sentence(problems)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if any(tuple(one["loc"]) == ("body",) for one in problems) and not kind.endswith("json"):  # curl -d without more
        said += f"; the body was sent as {clean(kind)}: say that it is JSON, curl -H 'Content-Type: application/json'"
    return JSONResponse({"error": said}, 400)


def clean(kind: str) -> str:
    """A content type somebody sent, for a message."""
    return kind[:60] if kind.isascii() and kind.isprintable() and kind else "nothing known"


async def _nothing_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    message = str(error.detail)
    if error.status_code in {404, 405}:
        message = f"there is nothing at {request.method} {request.url.path}; see {_docs(request.app)}"
    if error.status_code == 405:  # Starlette names the methods of the first route of that path only
        headers["allow"] = ", ".join(methods(request.app.openapi(), request.url.path))
    return JSONResponse({"error": message}, error.status_code, headers)


def _docs(app: FastAPI) -> str:
    return str(app.openapi_url).removesuffix(".json").replace("/openapi/", "/docs/")


def methods(document: dict[str, Any], path: str) -> list[str]:
    """What a document says may be done at a path."""
    if path in document["paths"]:
        return sorted(method.upper() for method in document["paths"][path])
    found: set[str] = set()
    for template, operations in document["paths"].items():
        parts = re.split(r"\{(\w+)\}", template)
        literal = [re.escape(part) for part in parts[::2]]
        parts[::2] = literal
        parts[1::2] = [".+" if name == "path" else "[^/]+" for name in parts[1::2]]
        if re.fullmatch("".join(parts), path):
            found.update(method.upper() for method in operations)
    return sorted(found)
