"""Checks over HTTP: a line for each as it ends, or the report alone. Who goes away ends what is being made for him; whose token
ends may come back for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from fastapi import Response

from headrace.claims import Report
from headrace.errors import HeadraceError
from headrace.services.entrance import lasting
from headrace.services.http import Receive, Scope, Send
from headrace.services.verification.running import Running

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
        park: keeps it for a while, for the caller to come back.
        whole: only the report.
    """

    def __init__(self, running: Running, park: Callable[[Running], Awaitable[None]], *, whole: bool) -> None:
        super().__init__(media_type="application/json" if whole else LINES)
        del self.headers["content-length"]
        self._running, self._park, self._whole, self._said = running, park, whole, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.create_task(self._give(scope, send))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, work):
                task.cancel()
            await asyncio.gather(gone, work, return_exceptions=True)
            if work.cancelled() or work.exception() or not work.result():
                await self._running.end()
        if not work.cancelled():
            work.result()

    async def _give(self, scope: Scope, send: Send) -> bool:
        """Whether it is kept: its caller's token has ended, and not the verification."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with aclosing(self._lines()) as lines:
                async for line in lasting(scope, lines):
                    await send({"type": "http.response.body", "body": line, "more_body": True})
        except HeadraceError as error:  # the status has been sent: no report is said
            _log.warning("a verification was broken off: %s", error)
            return False
        except Exception:
            _log.exception("a verification was broken off")
            return False
        if self._said:
            await send({"type": "http.response.body", "body": b""})
            return False
        await self._park(self._running)
        return True  # and the answer does not end as one does: that would look whole

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._running.words()) as words:
            async for one in words:
                if not self._whole or isinstance(one, Report):
                    yield one.model_dump_json().encode() + (b"" if self._whole else b"\n")
                self._said = isinstance(one, Report)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
