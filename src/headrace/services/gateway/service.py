"""The gateway as a whole: its doors, what it understood, quarantine, retention."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from headrace.distrust import Later
from headrace.errors import StorageUnavailable, UnknownTopic
from headrace.records import INTERNAL, Entry, Record
from headrace.streams.decoders.looking import DEVICES, Pin, look
from headrace.streams.logs import Log
from headrace.topics import matches

if TYPE_CHECKING:
    from headrace.streams.brokers import Broker

RECENT = 500
"""Messages `inspect` looks at..."""
RECENT_BYTES = 2**23
"""...and bytes of them; of longer messages it looks at fewer."""
TOPICS = 1000
FIELDS = 100
"""Fields listed per device."""
KEPT = 65_536
"""Bytes of a payload that the quarantine keeps itself."""
REST = 5.0
"""Seconds for which a stranger's file that could not be read is left alone."""
KNOWN, KNOWN_BYTES = 200, 2**16
"""Answers out of a stranger's file that are kept for when it cannot be read, and bytes of one."""
COUNTED = 100_000
"""Topics and devices that are counted in a stranger's file."""
FIELDS_BYTES = 2**16
"""Bytes of what it says of one device's fields; more are not looked at."""
REPLAY = 500
"""Quarantined messages replayed per commit."""


Reader: TypeAlias = Callable[[Path], sqlite3.Connection]
"""Opens a file that a stranger's code may have written."""
Look: TypeAlias = Callable[[Sequence[Record], Pin | None], Awaitable[dict[str, Any]]]
"""`headrace.streams.decoders.looking.look`, somewhere else."""


def _writable(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{file}?mode=rw", uri=True, isolation_level=None, timeout=5)


SOON = 2.0
"""Seconds between looks at what may be deleted while somebody still needs it."""


class Understood:
    """Reads what the observer (in its worker process) wrote down about topics."""

    def __init__(self, file: Path, reader: Reader | None = None) -> None:
        self._file, self._reader = file, reader
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._again = 0.0
        self._known: dict[tuple[object, ...], list[tuple[Any, ...]]] = {}

    @property
    def strange(self) -> bool:
        """Whether a stranger's code may have written it."""
        return self._reader is not None

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Rows of the observer's file; none before it exists, or while it is damaged. Of one that is not read now, the last."""
        if time.monotonic() < self._again:
            return []
        try:
            found = self._file_open().execute(query, arguments).fetchall()
            if self._reader is not None:
                self._remember((query, *arguments), found)
            return found
        except Later:
            return self._known.get((query, *arguments), [])
        except sqlite3.DatabaseError:
            if self._reader is not None:
                self._again = time.monotonic() + REST
            self.close()
            return []

    def _remember(self, asked: tuple[object, ...], found: list[tuple[Any, ...]]) -> None:
        self._known.pop(asked, None)
        if sum(len(one) for row in found for one in row if isinstance(one, str | bytes)) <= KNOWN_BYTES:
            self._known[asked] = found
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]

    def write(self, query: str, *arguments: object) -> None:
        """Change the observer's file; a stranger's is only read, its observer does the same. Raises StorageUnavailable."""
        if self._reader is not None:
            return
        try:
            self._file_open().execute(query, arguments)
        except sqlite3.DatabaseError as error:
            self.close()
            raise StorageUnavailable(detail=str(error)) from error

    def _file_open(self) -> sqlite3.Connection:
        """The file that is there now: its owner may have put a new one in the place of a damaged one."""
        try:
            inode = self._file.stat().st_ino
        except FileNotFoundError as error:
            raise sqlite3.OperationalError("the observer has written nothing yet") from error
        if self._db is None or inode != self._inode:
            self.close()
            self._db = (self._reader or _writable)(self._file)
            self._inode = inode
        return self._db

    def position(self) -> int:
        """How far the observer has read."""
        rows = self.rows("SELECT position FROM progress")
        return int(rows[0][0]) if rows else 0

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
            self._db = None


class GatewayService:
    """What people ask of the gateway.

    Args:
        slowest: the log position below which nobody needs records any more.
        age, size: retention, seconds and bytes; 0: unlimited.
        every: seconds between looks at what may go.
        pinned: (topic filter, decoder with its parameters) of the models that read with a decoder of their own.
        reader: opens the observer's file where a stranger's code may have written it; None: it is the platform's own.
        look: decodes for `inspect` where a stranger's messages may take long; None: here.
    """

    def __init__(
        self,
        log: Log,
        data: Path,
        slowest: Callable[[], int],
        *,
        age: float = 0,
        size: int = 0,
        every: float = 60,
        pinned: Callable[[], list[tuple[str, dict[str, Any]]]] = list,
        reader: Reader | None = None,
        look: Look | None = None,
    ) -> None:
        self._look = look
        self._held = False
        """Records that may go wait for somebody who still needs them."""
        self._log, self._slowest, self._age, self._size, self._every = log, slowest, age, size, every
        self._pinned = pinned
        self.dropped = 0
        """Messages of an external broker that were not taken in: our own forecasts, and the platform's own topics."""
        self.understood = Understood(data / "state" / "observer.db", reader)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> GatewayService:
        if self._age or self._size:
            self._tasks.append(asyncio.create_task(self._retaining(), name="retention"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.understood.close()

    async def bridge(self, broker: Broker, filters: list[str], own: Callable[[str], bool] = lambda _: False) -> None:
        """Take messages from an external broker; each is acknowledged after its commit.

        Args:
            own: whether a topic is one we publish forecasts on: these come back to us, and are no readings.
        """

        async def store(entries: list[Entry]) -> None:
            wanted = [one for one in entries if not one.stream.startswith(INTERNAL) and not own(one.stream)]
            self.dropped += len(entries) - len(wanted)
            if wanted:
                await self._log.append(wanted)

        await broker.subscribe(filters, store)

    # -- what was understood

    def topics(self, limit: int = TOPICS, devices: int = DEVICES) -> list[dict[str, Any]]:
        """The topics heard of last, by name, each with its counts and its devices (at most so many of either)."""
        query = "SELECT topic, messages, quarantined, received FROM topics ORDER BY received DESC, topic LIMIT ?"
        return [
            {
                "topic": topic,
                "messages": messages,
                "quarantined": quarantined,
                "last_received_ms": received // 1_000_000,
                "devices": self._known_devices(topic, devices),
            }
            for topic, messages, quarantined, received in sorted(self.understood.rows(query, limit))
        ]

    def _known_devices(self, topic: str, limit: int) -> list[dict[str, Any]]:
        query = (
            "SELECT device, readings, first, time, fields, units FROM devices WHERE topic = ? ORDER BY device LIMIT ?"
        )
        return [
            {
                "device": device,
                "readings": readings,
                "first_ms": first // 1_000_000,
                "time_ms": last // 1_000_000,
                "fields": dict(itertools.islice(self._plain(fields).items(), FIELDS)),
                "units": self._plain(units),
            }
            for device, readings, first, last, fields, units in self.understood.rows(query, topic, limit)
        ]

    def _few(self, table: str, column: str) -> str:
        """What is summed up: of a stranger's table not all, however long it is."""
        return f"(SELECT {column} FROM {table} LIMIT {COUNTED})" if self.understood.strange else table

    def _plain(self, stored: str | bytes) -> dict[str, Any]:
        if self.understood.strange and len(stored) > FIELDS_BYTES:
            return {}
        found: dict[str, Any] = msgspec.json.decode(stored)
        return found

    def messages(self) -> int:
        """Messages of devices, ever."""
        rows = self.understood.rows(f"SELECT COALESCE(SUM(messages), 0) FROM {self._few('topics', 'messages')}")
        return int(rows[0][0]) if rows else 0

    def known(self) -> dict[str, int]:
        """How many topics and devices there are."""
        counts = ", ".join(f"(SELECT COUNT(*) FROM {self._few(table, '1')})" for table in ("topics", "devices"))
        rows = self.understood.rows(f"SELECT {counts}")
        topics, devices = rows[0] if rows else (0, 0)
        return {"topics": topics, "devices": devices}

    async def inspect(self, topic: str) -> dict[str, Any]:
        """One topic: which decoder, which devices, which fields, how often, what was rejected. Raises UnknownTopic."""
        records = self._log.last(topic, RECENT, RECENT_BYTES)
        if not records:
            raise UnknownTopic(topic=topic)
        known = self.understood.rows("SELECT messages, quarantined FROM topics WHERE topic = ?", topic)
        messages, quarantined = known[0] if known else (len(records), 0)
        pin = next((Pin(**plug) for pattern, plug in self._pinned() if matches(pattern, topic)), None)
        found = look(records, pin) if self._look is None else await self._look(records, pin)
        return {
            "topic": topic,
            "messages": messages,
            "quarantined": quarantined,
            "looked_at": len(records),
            **found,
            "rejected": self.quarantine(5, topic),
        }

    def quarantine(self, limit: int, topic: str | None = None) -> list[dict[str, Any]]:
        """The newest undecodable messages."""
        query = (
            "SELECT position, topic, reason, received, substr(payload, 1, 200), replayed FROM quarantine "
            "WHERE topic = ?1 OR ?1 IS NULL ORDER BY position DESC LIMIT ?2"
        )
        return [
            {
                "position": position,
                "topic": topic,
                "reason": reason,
                "received_ms": received // 1_000_000,
                "preview": bytes(payload or b"").decode("utf-8", "replace"),  # SQLite cuts an empty blob to NULL
                "replayed": bool(replayed),
            }
            for position, topic, reason, received, payload, replayed in self.understood.rows(query, topic, limit)
        ]

    def quarantined(self) -> int:
        """Messages nobody could decode, ever."""
        rows = self.understood.rows(f"SELECT COALESCE(SUM(quarantined), 0) FROM {self._few('topics', 'quarantined')}")
        return int(rows[0][0]) if rows else 0

    async def replay(self, topic: str | None = None) -> int:
        """Append the quarantined messages again, under their old receive time, after what made them fail was mended.

        A message that is long and no longer in the log stays where it is: only its beginning was kept. What fails again
        comes back into quarantine, to be replayed another time. Raises StorageUnavailable.
        """
        count, after, newest = 0, 0, self._log.end()
        query = (
            "SELECT position, topic, received, payload, headers FROM quarantine WHERE replayed = 0 "
            "AND position > ?1 AND position <= ?2 AND (topic = ?3 OR ?3 IS NULL) ORDER BY position LIMIT ?4"
        )
        while rows := self.understood.rows(query, after, newest, topic, REPLAY):
            again = {row[0]: entry for row in rows if (entry := self._again(*row)) is not None}
            if again:
                await self._log.append(list(again.values()))
                done = msgspec.json.encode(list(again)).decode()
                mark = "UPDATE quarantine SET replayed = 1 WHERE position IN (SELECT value FROM json_each(?))"
                self.understood.write(mark, done)
            after, count = rows[-1][0], count + len(again)
        return count

    def _again(self, position: int, topic: str, received: int, payload: bytes, headers: bytes) -> Entry | None:
        if self.understood.strange and (
            max(len(payload), len(headers or b"")) > KEPT or topic.startswith(INTERNAL) or position > self._log.end()
        ):
            return None
        found = self._log.read(position - 1, 1)
        if found and found[0].position == position:
            payload = found[0].payload
        elif len(payload) >= KEPT:
            return None
        told = {**(msgspec.json.decode(headers) if headers else {}), "replay_of": position}
        time = found[0].time if found and found[0].position == position and found[0].time else received
        return Entry(topic, bytes(payload), headers=msgspec.json.encode(told), time=time)

    # -- retention

    async def _retaining(self) -> None:
        while True:
            with contextlib.suppress(StorageUnavailable, sqlite3.Error):  # a full disk: later
                await self.retain(time.time_ns())
            await asyncio.sleep(min(self._every, SOON) if self._held else self._every)

    async def retain(self, now: int) -> int:
        """Delete records that are too old or too many, and that every learner has passed; returns how many."""
        before = 0
        if self._age:
            before = self._older_than(now - round(self._age * 1e9))
        size, start, end = self._log.size(), self._log.start(), self._log.end()
        if self._size and size > self._size:
            before = max(before, start + round((end - start) * (1 - self._size / size)))
        if before <= start:
            self._held = False
            return 0
        slowest = self._slowest()
        self._held = slowest < before
        return await self._log.trim(min(before, slowest))

    def _older_than(self, moment: int) -> int:
        """Position of the first record received after `moment`, by bisection: receive times grow with positions."""
        low, high = self._log.start(), self._log.end() + 1
        while low < high:
            middle = (low + high) // 2
            found = self._log.read(middle - 1, 1)
            if not found or found[0].received > moment:
                high = middle
            else:
                low = middle + 1
        return low
