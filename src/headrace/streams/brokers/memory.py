"""A broker inside the process, with sessions, retained messages and redelivery like a real one; gone with its `Hub`."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from headrace.errors import Temporary, Unsupported
from headrace.plugins import Params
from headrace.records import Entry
from headrace.streams.brokers import Handler
from headrace.streams.brokers.topics import check_filters, check_topic
from headrace.topics import matches

_MAX_QUEUED = 100_000
_MAX_BATCH = 1000
_FIRST_PAUSE, _LAST_PAUSE = 0.01, 1.0
_log = logging.getLogger(__name__)


class MemoryParams(Params):
    """Where sessions are kept."""

    url: str = "memory://"
    """``?client_id=name`` names the session."""


@dataclass
class _Session:
    filters: list[str] = field(default_factory=list)
    queue: deque[Entry] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Hub:
    """What the clients of one memory broker share."""

    sessions: dict[str, _Session] = field(default_factory=dict)
    retained: dict[str, Entry] = field(default_factory=dict)


class MemoryBroker:
    """One client; clients of one `hub` see each other's messages."""

    Params = MemoryParams

    def __init__(self, params: MemoryParams, hub: Hub | None = None) -> None:
        self.params = params
        self._hub = hub or Hub()
        self._name = parse_qs(urlsplit(params.url).query).get("client_id", ["headrace"])[0]
        self._delivery: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._session = self._hub.sessions.setdefault(self._name, _Session())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._delivery is not None:
            self._delivery.cancel()
            await asyncio.gather(self._delivery, return_exceptions=True)
            self._delivery = None

    async def subscribe(self, filters: list[str], handler: Handler) -> None:
        check_filters(filters)
        if self._delivery is not None:
            raise Unsupported(detail="this broker has its subscription already; open another client for a second one")
        before, self._session.filters = self._session.filters, list(filters)
        for topic, entry in self._hub.retained.items():
            if _selects(filters, topic) and not _selects(before, topic):
                self._session.queue.append(entry)
        self._session.arrived.set()
        self._delivery = asyncio.create_task(_deliver(self._session, handler))

    async def publish(self, topic: str, payload: bytes, retain: bool = False, qos: int = 1) -> None:
        check_topic(topic)
        entry = Entry(topic, bytes(payload))
        takers = [one for one in self._hub.sessions.values() if _selects(one.filters, topic)]
        if any(len(session.queue) >= _MAX_QUEUED for session in takers):
            raise Temporary(detail=f"a session that reads {topic[:64]!r} has {_MAX_QUEUED} messages waiting")
        if retain and payload:
            self._hub.retained[topic] = entry
        elif retain:
            self._hub.retained.pop(topic, None)
        for session in takers:
            session.queue.append(entry)
            session.arrived.set()


def _selects(filters: list[str], topic: str) -> bool:
    return any(matches(pattern, topic) for pattern in filters)


async def _deliver(session: _Session, handler: Handler) -> None:
    pause = _FIRST_PAUSE
    while True:
        await session.arrived.wait()
        batch = [session.queue[index] for index in range(min(len(session.queue), _MAX_BATCH))]
        if not batch:
            session.arrived.clear()
            continue
        try:
            await handler(batch)
        except Exception as error:
            _log.warning(
                "storing %d messages failed (%s); trying again in %.2f s", len(batch), type(error).__name__, pause
            )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)
            continue
        pause = _FIRST_PAUSE
        for _ in batch:
            session.queue.popleft()
