"""Checks over HTTP: a line for each as it ends, or the report alone. Who goes away ends what is being made for him."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

from fastapi import Response

from headrace.claims import Check, Report
from headrace.errors import HeadraceError
from headrace.services.entrance import lasting
from headrace.services.http import Receive, Scope, Send

Climb: TypeAlias = AsyncGenerator[Check | Report, None]
LINES = "application/x-ndjson"
SHOWN: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "with `Accept: application/json` the report; otherwise a line (JSON) for every check as it ends, while "
        "a long one runs, and last the report",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Report"}},
            LINES: {"schema": {"type": "string"}},
        },
    }
}
_log = logging.getLogger(__name__)


class Climbed(Response):
    """Gives what comes of a verification.

    Args:
        first: its first word, awaited before there is a status to send.
        whole: only the report.
    """

    def __init__(self, first: Check | Report, rest: Climb, *, whole: bool) -> None:
        super().__init__(media_type="application/json" if whole else LINES)
        del self.headers["content-length"]
        self._first, self._rest, self._whole, self._said = first, rest, whole, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.create_task(self._give(scope, send))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, work):
                task.cancel()
            await asyncio.gather(gone, work, return_exceptions=True)
        if not work.cancelled():
            work.result()

    async def _give(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with aclosing(self._lines()) as lines:
                async for line in lasting(scope, lines):
                    await send({"type": "http.response.body", "body": line, "more_body": True})
        except HeadraceError as error:  # the status has been sent: no report is said
            _log.warning("a verification was broken off: %s", error)
            return
        if self._said:  # otherwise the caller's token has ended: a clean end would look like an answer
            await send({"type": "http.response.body", "body": b""})

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._rest):
            async for one in _all(self._first, self._rest):
                if not self._whole or isinstance(one, Report):
                    yield one.model_dump_json().encode() + (b"" if self._whole else b"\n")
                self._said = isinstance(one, Report)


async def _all(first: Check | Report, rest: Climb) -> AsyncIterator[Check | Report]:
    yield first
    async for one in rest:
        yield one


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
