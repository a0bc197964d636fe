"""Evaluation reports that `headrace evaluate --push` sends: kept as JSON files, read by the page.

A report is data and nothing else: what is stored is written anew from what was understood, so no field that is not named
here, and no markup that anybody would show as such, gets in.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.routing import Route

from headrace.console.api import safe
from headrace.disk import write_whole
from headrace.errors import BadInput, FixedLimit, Forbidden, NotFound, StorageUnavailable
from headrace.services.http import DAMAGED

LIMIT = 4 * 2**20
"""Bytes of a report."""
KEPT = 200
"""Reports; a new one beyond these is refused, an old one can always be replaced."""
_ROOM = (
    "DELETE /api/reports/NAME makes room (GET /api/reports lists them; `headrace token` prints the token to send), or send "
    "this one under an old name"
)
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")

Short = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=4000)]
Name = Annotated[str, Meta(max_length=200, pattern=r"\S")]
"""Not empty, not only spaces."""
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Cell = float | Whole | bool | Text | None


class Column(Struct, omit_defaults=True):
    """A column of the table."""

    name: Name
    label: Short
    unit: Short = ""
    help: Text = ""


class Series(Struct):
    """One line of a figure."""

    name: Short
    values: Annotated[list[float | None], Meta(max_length=20_000)]


class Figure(Struct, omit_defaults=True):
    """A figure as data."""

    name: Short
    title: Text = ""
    x: Annotated[list[float | Whole | Short], Meta(max_length=20_000)] = []
    series: Annotated[list[Series], Meta(max_length=100)] = []


class Report(Struct):
    """What is kept of a report."""

    title: Name
    kind: Literal["rolling", "drift", "replay"]
    columns: Annotated[list[Column], Meta(max_length=100)]
    rows: Annotated[list[dict[Short, Cell]], Meta(max_length=10_000)]
    notes: Annotated[list[Text], Meta(max_length=200)] = []
    figures: Annotated[list[Figure], Meta(max_length=20)] = []


class Kept(Report, kw_only=True):
    """A report in its file."""

    name: str
    received_ms: int


class Reports:
    """The reports of one platform, a file each.

    Args:
        folder: made with the first report.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, body: bytes, now_ms: int) -> None:
        """Keep a report, in place of one of the same name.

        Raises:
            BadInput: a name or body that is no report's.
            FixedLimit, Forbidden: over the limits.
            StorageUnavailable: the disk does not take it.
        """
        path = self._path(name)
        if len(body) > LIMIT:
            raise FixedLimit(what="the report", size=len(body), limit=LIMIT)
        try:
            found = msgspec.json.decode(body, type=Report)
        except DAMAGED as error:
            raise BadInput(detail=f"this is no report: {error}") from error
        names = [column.name for column in found.columns]
        if twice := next((one for one in names if names.count(one) > 1), ""):
            raise BadInput(detail=f"this is no report: two of its columns are called {twice[:80]!r}")
        kept = Kept(**msgspec.structs.asdict(found), name=name, received_ms=now_ms)
        try:
            if not path.exists() and len(self._files()) >= KEPT:
                raise Forbidden(detail=f"{KEPT} reports are kept already: {_ROOM}")
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(path, msgspec.json.encode(kept))
        except OSError as error:
            raise StorageUnavailable(detail=error.strerror or str(error)) from error

    def get(self, name: str) -> Kept:
        """One report. Raises NotFound, BadInput."""
        try:
            return msgspec.json.decode(self._path(name).read_bytes(), type=Kept)
        except FileNotFoundError as error:
            raise NotFound(detail=f"there is no report {name!r}; `headrace evaluate --push` sends one") from error
        except (*DAMAGED, OSError) as error:
            raise NotFound(detail=f"the report {name!r} cannot be read: {error}") from error

    def delete(self, name: str) -> None:
        """Keep a report no longer. Raises NotFound, BadInput, StorageUnavailable."""
        try:
            self._path(name).unlink()
        except FileNotFoundError as error:
            raise NotFound(detail=f"there is no report {name!r}; GET /api/reports lists those there are") from error
        except OSError as error:
            raise StorageUnavailable(detail=error.strerror or str(error)) from error

    def all(self) -> list[dict[str, Any]]:
        """Name, title, kind and time of each, newest first; damaged files are left out."""
        found = []
        for path in self._files():
            with contextlib.suppress(*DAMAGED, OSError):
                head = msgspec.json.decode(path.read_bytes(), type=Head)
                found.append(msgspec.structs.asdict(head))
        return sorted(found, key=lambda one: (-one["received_ms"], one["name"]))

    def routes(self) -> list[Route]:
        """Starlette routes."""
        return [
            Route("/api/reports", safe(self._list), methods=["GET"]),
            Route("/api/reports/{name}", safe(self._get), methods=["GET"]),
            Route("/api/reports/{name}", safe(self._put), methods=["PUT"]),
            Route("/api/reports/{name}", safe(self._delete), methods=["DELETE"]),
        ]

    async def _list(self, request: Request) -> Any:
        return await asyncio.to_thread(self.all)

    async def _get(self, request: Request) -> Any:
        return await asyncio.to_thread(self.get, request.path_params["name"])

    async def _put(self, request: Request) -> Any:
        name, body = request.path_params["name"], b""
        self._path(name)
        async for chunk in request.stream():
            body += chunk
            if len(body) > LIMIT:
                raise FixedLimit(what="the report", size=len(body), limit=LIMIT)
        await asyncio.to_thread(self.put, name, body, time.time_ns() // 1_000_000)
        return {"stored": name}

    async def _delete(self, request: Request) -> Any:
        name = request.path_params["name"]
        await asyncio.to_thread(self.delete, name)
        return {"deleted": name}

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))

    def _path(self, name: str) -> Path:
        if NAME.fullmatch(name) is None:
            wanted = "lower-case letters, digits, dots and dashes, at most 63, a letter or digit at both ends"
            raise BadInput(detail=f"no report can be called {name[:80]!r}: expected {wanted}")
        return self._folder / f"{name}.json"


class Head(Struct):
    """What the list says of a report."""

    name: str
    title: str
    kind: str
    received_ms: int
