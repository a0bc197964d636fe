"""A file that is there for as long as it is sent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from fastapi import Response

from headrace.errors import HeadraceError
from headrace.services.http import Receive, Scope, Send

PIECE = 2**20
"""Bytes sent at a time."""
AGAIN = 1.0
"""Seconds after which an answer under way asks again whether its caller may still have it."""
BUNDLE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "a zip; `headrace verify` checks it",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}
logger = logging.getLogger(__name__)


class Lent(Response):
    """Sends what a context gives; broken off without a clean end when something goes wrong.

    Args:
        lend: the file; raises what is wrong while there is a status to say it with.
        still: raises when the caller may have no more.
    """

    def __init__(
        self,
        lend: Callable[[], AbstractAsyncContextManager[Path]],
        filename: str,
        still: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(media_type="application/zip")
        self.headers["content-disposition"] = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        self.headers["x-content-type-options"] = "nosniff"
        self._lend, self._still = lend, still

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._lend() as path:
            with path.open("rb") as file:
                self.headers["content-length"] = str(path.stat().st_size)
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                try:
                    await self._give(file, send)
                except HeadraceError as error:
                    logger.warning("the download of %s was broken off: %s", path.name, error)

    async def _give(self, file: BinaryIO, send: Send) -> None:
        looked = time.monotonic()
        while piece := await asyncio.to_thread(file.read, PIECE):
            if time.monotonic() - looked > AGAIN:
                await self._still()
                looked = time.monotonic()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
