"""What the platform understood of each topic: devices, fields, last values, and the messages nobody could decode."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import msgspec

from headrace.records import INTERNAL, Reading
from headrace.services.learning.decoded import Decoded, DecodedLog
from headrace.spec import Plug
from headrace.topics import matches

FILE = "observer.db"
DEVICES = 200
"""Devices remembered per topic."""
TOPICS = 20_000
QUARANTINE = 10_000
"""Undecodable messages kept; older ones are only counted."""
PREVIEW = 65_536
"""Bytes of a quarantined payload that are kept: larger ones cannot be replayed from here."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER, epoch INTEGER);
CREATE TABLE IF NOT EXISTS topics (topic TEXT PRIMARY KEY, messages INTEGER, quarantined INTEGER, received INTEGER);
CREATE TABLE IF NOT EXISTS devices (
    topic TEXT, device TEXT, readings INTEGER, first INTEGER, time INTEGER, fields TEXT, units TEXT,
    PRIMARY KEY (topic, device));
CREATE TABLE IF NOT EXISTS quarantine (
    position INTEGER PRIMARY KEY, topic TEXT, reason TEXT, received INTEGER, payload BLOB, headers BLOB,
    replayed INTEGER NOT NULL DEFAULT 0);
"""


class Observer:
    """Tails the log; its counts and its place in the log are one transaction."""

    def __init__(self, data: Path, pinned: list[tuple[str, Plug]]) -> None:
        self._db = sqlite3.connect(data / "state" / FILE, isolation_level=None, timeout=30)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)
        self._db.execute("INSERT INTO progress VALUES (1, 0, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1")
        self.position, self._epoch = self._db.execute("SELECT position, epoch FROM progress").fetchone()
        self._stored = self.position
        self._pinned = pinned
        self._pins: dict[str, Plug | None] = {}
        self._topics: dict[str, list[int]] = {}
        self._devices: dict[tuple[str, str], list[Any]] = {}
        self._per_topic: dict[str, int] = dict(
            self._db.execute("SELECT topic, COUNT(*) FROM devices GROUP BY topic").fetchall()
        )
        self._known = {(t, d) for t, d in self._db.execute("SELECT topic, device FROM devices")}
        self._rejected: list[tuple[int, str, str, int, bytes, bytes]] = []
        self._written = 0.0
        self._auto = Plug(name="auto")

    def step(self, log: DecodedLog) -> bool:
        """Take in one block; whether there was one."""
        block = log.block(self.position, self._auto)
        if not block:
            self.write()
            return False
        for item in block:
            if not item.record.stream.startswith(INTERNAL):
                self._see(item, log)
        self.position = block[-1].record.position
        if time.monotonic() - self._written > 1:
            self.write()
        return True

    def _see(self, item: Decoded, log: DecodedLog) -> None:
        record, readings, error = item
        if self._pinned:
            readings, error = self._again(item, log)
        topic = record.stream
        counts = self._topics.get(topic)
        if counts is None:
            counts = self._topics[topic] = [0, 0, 0]
        counts[0] += 1
        counts[2] = record.received
        if readings is None:
            counts[1] += 1
            self._rejected.append(
                (record.position, topic, error, record.received, record.payload[:PREVIEW], record.headers)
            )
            return
        for reading in readings:
            self._device(topic, reading)

    def _device(self, topic: str, reading: Reading) -> None:
        place = (topic, reading.device)
        known = self._devices.get(place)
        if known is not None:
            known[0] += 1
            known[2] = reading
            return
        if place not in self._known:
            if self._per_topic.get(topic, 0) >= DEVICES:
                return
            self._known.add(place)
            self._per_topic[topic] = self._per_topic.get(topic, 0) + 1
        self._devices[place] = [1, reading.time, reading]

    def _again(self, item: Decoded, log: DecodedLog) -> tuple[list[Reading] | None, str]:
        """Topics a model reads with a decoder of its own are judged by that one."""
        topic = item.record.stream
        if topic not in self._pins:
            found = [plug for pattern, plug in self._pinned if matches(pattern, topic)]
            self._pins[topic] = found[0] if found else None
        plug = self._pins[topic]
        if plug is None:
            return item.readings, item.error
        return log.decode(item.record, plug)

    def write(self) -> None:
        """Store what was seen since the last write."""
        self._written = time.monotonic()
        if self.position == self._stored:
            return
        self._db.execute("BEGIN IMMEDIATE")
        (epoch,) = self._db.execute("SELECT epoch FROM progress").fetchone()
        if epoch != self._epoch:
            self._db.execute("ROLLBACK")
            raise SystemExit(3)
        self._rows()
        self._db.execute("UPDATE progress SET position = ?", (self.position,))
        self._db.execute("COMMIT")
        self._stored = self.position
        self._topics, self._devices, self._rejected = {}, {}, []

    def _rows(self) -> None:
        self._db.executemany(
            "INSERT INTO topics VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET messages = messages + excluded.messages,"
            " quarantined = quarantined + excluded.quarantined, received = excluded.received",
            [(topic, *counts) for topic, counts in self._topics.items()],
        )
        encode = msgspec.json.encode
        self._db.executemany(
            "INSERT INTO devices VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET readings = readings + excluded.readings,"
            " time = excluded.time, fields = excluded.fields, units = excluded.units",
            [
                (
                    topic,
                    device,
                    count,
                    first,
                    last.time,
                    encode(dict(last.fields)).decode(),
                    encode(dict(last.units)).decode(),
                )
                for (topic, device), (count, first, last) in self._devices.items()
            ],
        )
        if self._rejected:
            self._db.executemany(
                "INSERT OR IGNORE INTO quarantine (position, topic, reason, received, payload, headers) VALUES (?,?,?,?,?,?)",
                self._rejected,
            )
            self._db.execute(
                "DELETE FROM quarantine WHERE position <="
                " (SELECT position FROM quarantine ORDER BY position DESC LIMIT 1 OFFSET ?)",
                (QUARANTINE,),
            )

    def close(self) -> None:
        """Store what is left and let go of the file."""
        self.write()
        self._db.close()
