"""The gateway as a whole: its doors, what it understood, quarantine, retention."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from headrace.errors import StorageUnavailable, Undecodable, UnknownTopic
from headrace.records import INTERNAL, Entry, Reading, Record
from headrace.streams import decoders
from headrace.streams.logs import Log
from headrace.topics import matches

if TYPE_CHECKING:
    from headrace.streams.brokers import Broker

RECENT = 500
"""Messages `inspect` looks at."""
TOPICS = 1000
DEVICES = 200
"""Devices listed per topic."""
FIELDS = 100
"""Fields listed per device."""
KEPT = 65_536
"""Bytes of a payload that the quarantine keeps itself."""
REST = 5.0
"""Seconds for which a stranger's file that could not be read is left alone."""
REPLAY = 500
"""Quarantined messages replayed per commit."""


Reader: TypeAlias = Callable[[Path], sqlite3.Connection]
"""Opens a file that a stranger's code may have written."""


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

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Rows of the observer's file; none before it exists, or while it is damaged."""
        if time.monotonic() < self._again:
            return []
        try:
            return self._file_open().execute(query, arguments).fetchall()
        except sqlite3.DatabaseError:
            if self._reader is not None:
                self._again = time.monotonic() + REST
            self.close()
            return []

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
    ) -> None:
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
                "fields": dict(itertools.islice(msgspec.json.decode(fields).items(), FIELDS)),
                "units": msgspec.json.decode(units),
            }
            for device, readings, first, last, fields, units in self.understood.rows(query, topic, limit)
        ]

    def messages(self) -> int:
        """Messages of devices, ever."""
        rows = self.understood.rows("SELECT COALESCE(SUM(messages), 0) FROM topics")
        return int(rows[0][0]) if rows else 0

    def known(self) -> dict[str, int]:
        """How many topics and devices there are."""
        rows = self.understood.rows("SELECT (SELECT COUNT(*) FROM topics), (SELECT COUNT(*) FROM devices)")
        topics, devices = rows[0] if rows else (0, 0)
        return {"topics": topics, "devices": devices}

    def inspect(self, topic: str) -> dict[str, Any]:
        """One topic: which decoder, which devices, which fields, how often, what was rejected. Raises UnknownTopic."""
        records = self._log.last(topic, RECENT)
        if not records:
            raise UnknownTopic(topic=topic)
        known = self.understood.rows("SELECT messages, quarantined FROM topics WHERE topic = ?", topic)
        messages, quarantined = known[0] if known else (len(records), 0)
        pin = next((Pin(**plug) for pattern, plug in self._pinned() if matches(pattern, topic)), None)
        seen = [_understood(record, pin) for record in records]
        return {
            "topic": topic,
            "messages": messages,
            "quarantined": quarantined,
            "looked_at": len(records),
            "decoders": dict(Counter(name for name, _ in seen)),
            "devices": _devices([reading for _, readings in seen for reading in readings]),
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
        rows = self.understood.rows("SELECT COALESCE(SUM(quarantined), 0) FROM topics")
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


class Pin(NamedTuple):
    """A decoder a spec names."""

    name: str
    params: dict[str, Any]


def _understood(record: Record, pin: Pin | None) -> tuple[str, list[Reading]]:
    """The decoder that understands a record, and what it reads; told by the spec, the door, or in the order of detection."""
    decoder: Any = decoders.build(*(pin or ("auto", {})))
    try:
        readings = decoders.decode(decoder, record)
    except Undecodable:
        return "(quarantined)", []
    if pin is not None:
        return pin.name, readings
    return str(decoder.which(record.stream, record.payload)), readings


def _devices(readings: list[Reading]) -> list[dict[str, Any]]:
    seen: dict[str, list[Reading]] = {}
    for reading in readings:
        seen.setdefault(reading.device, []).append(reading)
    return [_device(name, several) for name, several in sorted(seen.items())[:DEVICES]]


def _device(name: str, readings: list[Reading]) -> dict[str, Any]:
    times = sorted({reading.time for reading in readings})
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    fields: dict[str, dict[str, Any]] = {}
    for reading in readings:
        for field, value in reading.fields.items():
            known = fields.setdefault(field, {"type": type(value).__name__, "unit": reading.units.get(field, "")})
            known["last"] = value
            if isinstance(value, float):
                known["low"], known["high"] = min(known.get("low", value), value), max(known.get("high", value), value)
    return {
        "device": name,
        "readings": len(readings),
        "every_seconds": statistics.median(steps) / 1e9 if steps else None,
        "last_time_ms": times[-1] // 1_000_000,
        "fields": fields,
    }
