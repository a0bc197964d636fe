"""The gateway as a whole: its doors, what it understood, quarantine, retention."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.errors import Undecodable, UnknownTopic
from headrace.records import Entry, Reading, Record
from headrace.streams.decoders import DECODERS
from headrace.streams.logs import Log

if TYPE_CHECKING:
    from headrace.streams.brokers import Broker

RECENT = 500
"""Messages `inspect` looks at."""
REPLAY = 500
"""Quarantined messages replayed per commit."""


class Understood:
    """Reads what the observer (in its worker process) wrote down about topics."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._db: sqlite3.Connection | None = None

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Rows of the observer's file; none before it exists."""
        if self._db is None:
            if not self._file.exists():
                return []
            self._db = sqlite3.connect(self._file, isolation_level=None, timeout=5)
        try:
            return self._db.execute(query, arguments).fetchall()
        except sqlite3.OperationalError:
            return []

    def position(self) -> int:
        """How far the observer has read."""
        rows = self.rows("SELECT position FROM progress")
        return int(rows[0][0]) if rows else 0

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()


class GatewayService:
    """What people ask of the gateway.

    Args:
        slowest: the log position below which nobody needs records any more.
        age, size: retention, seconds and bytes; 0: unlimited.
    """

    def __init__(
        self, log: Log, data: Path, slowest: Callable[[], int], *, age: float = 0, size: int = 0, every: float = 60
    ) -> None:
        self._log, self._slowest, self._age, self._size, self._every = log, slowest, age, size, every
        self.understood = Understood(data / "state" / "observer.db")
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

    async def bridge(self, broker: Broker, filters: list[str]) -> None:
        """Take messages from an external broker; each is acknowledged after its commit."""
        await broker.subscribe(filters, self._log.append)

    # -- what was understood

    def topics(self) -> list[dict[str, Any]]:
        """Every topic with its counts and devices."""
        devices: dict[str, list[dict[str, Any]]] = {}
        query = "SELECT topic, device, readings, first, time, fields, units FROM devices ORDER BY topic, device"
        for topic, device, readings, first, last, fields, units in self.understood.rows(query):
            devices.setdefault(topic, []).append(
                {
                    "device": device,
                    "readings": readings,
                    "first_ms": first // 1_000_000,
                    "time_ms": last // 1_000_000,
                    "fields": msgspec.json.decode(fields),
                    "units": msgspec.json.decode(units),
                }
            )
        return [
            {
                "topic": topic,
                "messages": messages,
                "quarantined": quarantined,
                "last_received_ms": received // 1_000_000,
                "devices": devices.get(topic, []),
            }
            for topic, messages, quarantined, received in self.understood.rows("SELECT * FROM topics ORDER BY topic")
        ]

    def inspect(self, topic: str) -> dict[str, Any]:
        """One topic: which decoder, which devices, which fields, how often, what was rejected. Raises UnknownTopic."""
        records = self._log.last(topic, RECENT)
        if not records:
            raise UnknownTopic(topic=topic)
        known = next((one for one in self.topics() if one["topic"] == topic), None)
        return {
            "topic": topic,
            "messages": known["messages"] if known else len(records),
            "quarantined": known["quarantined"] if known else 0,
            "decoders": _decoders(records),
            "devices": _devices(records),
            "rejected": [row for row in self.quarantine(50) if row["topic"] == topic][:5],
        }

    def quarantine(self, limit: int) -> list[dict[str, Any]]:
        """The newest undecodable messages."""
        query = (
            "SELECT position, topic, reason, received, substr(payload, 1, 200), replayed FROM quarantine "
            "ORDER BY position DESC LIMIT ?"
        )
        return [
            {
                "position": position,
                "topic": topic,
                "reason": reason,
                "received_ms": received // 1_000_000,
                "preview": bytes(payload).decode("utf-8", "replace"),
                "replayed": bool(replayed),
            }
            for position, topic, reason, received, payload, replayed in self.understood.rows(query, limit)
        ]

    def quarantined(self) -> int:
        """Messages nobody could decode, ever."""
        rows = self.understood.rows("SELECT COALESCE(SUM(quarantined), 0) FROM topics")
        return int(rows[0][0]) if rows else 0

    async def replay(self, topic: str | None = None) -> int:
        """Append the quarantined messages again, under their old receive time, after what made them fail was mended."""
        count, end = 0, self._log.end()  # what fails again comes to stand after `end`: it is not replayed for ever
        query = (
            "SELECT position, topic, received, payload FROM quarantine "
            "WHERE replayed = 0 AND position <= ? AND (topic = ? OR ? IS NULL) ORDER BY position LIMIT ?"
        )
        while rows := self.understood.rows(query, end, topic, topic, REPLAY):
            entries = [
                Entry(name, bytes(payload), headers=msgspec.json.encode({"replay_of": position}), time=received)
                for position, name, received, payload in rows
            ]
            await self._log.append(entries)
            self.understood.rows("UPDATE quarantine SET replayed = 1 WHERE position <= ? AND (topic = ? OR ? IS NULL)",
                                 rows[-1][0], topic, topic)  # fmt: skip
            count += len(rows)
        return count

    # -- retention

    async def _retaining(self) -> None:
        while True:
            await self.retain(time.time_ns())
            await asyncio.sleep(self._every)

    async def retain(self, now: int) -> int:
        """Delete records that are too old or too many, and that every learner has passed; returns how many."""
        before = 0
        if self._age:
            before = self._older_than(now - round(self._age * 1e9))
        size, start, end = self._log.size(), self._log.start(), self._log.end()
        if self._size and size > self._size:
            before = max(before, start + round((end - start) * (1 - self._size / size)))
        return await self._log.trim(min(before, self._slowest())) if before > start else 0

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


def _decoders(records: list[Record]) -> dict[str, int]:
    """How many of the records each decoder understands."""
    counts: dict[str, int] = {}
    for record in records:
        name = decoder_of(record)
        counts[name] = counts.get(name, 0) + 1
    return counts


def decoder_of(record: Record) -> str:
    """The decoder that understands a record, in the order detection asks them."""
    auto = DECODERS.find("auto")(DECODERS.params("auto", {}))
    try:
        auto.decode(record.stream, record.payload, record.time or record.received)
    except Undecodable:
        return "(quarantined)"
    return str(auto.which(record.stream, record.payload))


def _devices(records: list[Record]) -> list[dict[str, Any]]:
    decode = DECODERS.find("auto")(DECODERS.params("auto", {})).decode
    seen: dict[str, list[Reading]] = {}
    for record in records:
        try:
            for reading in decode(record.stream, record.payload, record.time or record.received):
                seen.setdefault(reading.device, []).append(reading)
        except Undecodable:
            continue
    return [_device(name, readings) for name, readings in sorted(seen.items())]


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
