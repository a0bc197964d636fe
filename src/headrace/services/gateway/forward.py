"""Outputs on their way to an external broker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from headrace.errors import HeadraceError


class Forwarder:
    """Sends outputs to an external broker in the background; when it is slow the oldest are dropped: it keeps the newest."""

    def __init__(self, publish: Callable[..., Awaitable[None]], limit: int = 10_000) -> None:
        self._publish = publish
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(limit)
        self.dropped = 0

    def __call__(self, topic: str, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            if self._queue.full():
                self._queue.get_nowait()
                self.dropped += 1
            self._queue.put_nowait((topic, payload))

    async def __aenter__(self) -> Forwarder:
        self._task = asyncio.create_task(self._run(), name="forwarder")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            topic, payload = await self._queue.get()
            try:
                await self._publish(topic, payload, retain=True, qos=1)
            except HeadraceError as error:
                self.dropped += 1
                print(f"headrace: a forecast was not forwarded: {error}", file=sys.stderr)
