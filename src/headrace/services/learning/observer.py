"""What the platform understood of each topic: devices, fields, last values, and the messages nobody could decode."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace.disk import open_file, transaction
from headrace.errors import Fenced
from headrace.records import INTERNAL, Reading, Record
from headrace.services.learning.decoded import Decoded, DecodedLog
from headrace.spec import Plug
from headrace.streams.decoders import replay_of
from headrace.streams.decoders.columnar import Columns
from headrace.streams.logs import Messages
from headrace.topics import matches

FILE = "observer.db"
DEVICES = 200
"""Devices remembered per topic."""
TOPICS = 20_000
"""Topics remembered; messages on others are counted together, as those of `OTHERS`."""
ALL_DEVICES = 50_000
"""Devices remembered on all topics together."""
OTHERS = INTERNAL + "other topics"
QUARANTINE = 10_000
"""Undecodable messages kept; older ones are only counted."""
REST = 0.2
"""Seconds between writes at the least."""
PREVIEW = 65_536
"""Bytes of a quarantined payload that are kept: larger ones cannot be replayed from here."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER, epoch INTEGER);
CREATE TABLE IF NOT EXISTS topics (topic TEXT PRIMARY KEY, messages INTEGER, quarantined INTEGER, received INTEGER);
CREATE INDEX IF NOT EXISTS heard ON topics (received);
CREATE TABLE IF NOT EXISTS devices (
    topic TEXT, device TEXT, readings INTEGER, first INTEGER, time INTEGER, fields TEXT, units TEXT,
    PRIMARY KEY (topic, device));
CREATE TABLE IF NOT EXISTS quarantine (
    position INTEGER PRIMARY KEY, topic TEXT, reason TEXT, received INTEGER, payload BLOB, headers BLOB,
    replayed INTEGER NOT NULL DEFAULT 0);
"""


class Observer:
    """Tails the log; its counts and its place in the log are one transaction."""

    def __init__(self, data: Path, pinned: list[tuple[str, Plug]], journal: str = "WAL") -> None:
        self._db = open_file(data / "state" / FILE, SCHEMA, f"journal_mode={journal}", "synchronous=NORMAL")
        try:
            self._load()
        except BaseException:
            self._db.close()
            raise
        self._pinned = pinned
        self._pins: dict[str, Plug | None] = {}
        self._topics: dict[str, list[int]] = {}
        self._devices: dict[tuple[str, str], list[Any]] = {}
        self._rejected: list[tuple[int, str, str, int, bytes, bytes]] = []
        self._replayed: list[tuple[int]] = []
        self._written = 0.0
        self._auto = Plug(name="auto")

    def _load(self) -> None:
        self._db.execute("INSERT INTO progress VALUES (1, 0, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1")
        self.position, self._epoch = self._db.execute("SELECT position, epoch FROM progress").fetchone()
        self._stored = self.position
        self._named = {topic for (topic,) in self._db.execute("SELECT topic FROM topics")}
        self._known = {(topic, device) for topic, device in self._db.execute("SELECT topic, device FROM devices")}
        self._per_topic = Counter(topic for topic, _ in self._known)

    def step(self, log: DecodedLog) -> bool:
        """Take in one block; whether there was one. Raises sqlite3.Error, and has lost nothing, if it cannot be written."""
        if time.monotonic() - self._written > 1:
            self.write()
        block = log.block(self.position, self._auto)
        if block is None:
            if time.monotonic() - self._written > REST:
                self.write()
            return False
        if block.columns is None or any(map(self._pin, block.messages.distinct if self._pinned else ())):
            for item in block.items:
                self._see(item, log)
        else:
            self._see_all(block.messages, block.columns)
        self.position = block.last
        return True

    def _see_all(self, messages: Messages, columns: Columns) -> None:
        """`_see` of a block of messages of one shape, a topic and a device at a time."""
        names = {topic: self._name(topic) for topic in messages.distinct}
        topics = (
            [names[topic] for topic in messages.topics] if len(names) > 1 else [*names.values()] * len(messages.topics)
        )
        for topic, (count, _, last) in _spots(topics).items():
            counts = self._topics.setdefault(topic, [0, 0, 0])
            counts[0] += count
            counts[2] = messages.received[last]
        for (topic, device), (count, first, last) in _spots(topics, columns.devices).items():
            known = self._devices.get((topic, device)) or self._device(topic, columns.reading(first))
            if known is not None:
                known[0] += count
                known[2] = columns.reading(last)

    def _see(self, item: Decoded, log: DecodedLog) -> None:
        record, readings, error = item
        topic = record.stream
        if self._pinned:
            readings, error = self._again(item, log)
        counts = self._topics.get(topic)
        if counts is None:
            if topic.startswith(INTERNAL):
                return
            topic = self._name(topic)
            counts = self._topics.setdefault(topic, [0, 0, 0])
        again = b'"replay_of"' in record.headers and replay_of(record.headers) > 0
        if again:
            self._replayed.append((min(replay_of(record.headers), record.position),))
        counts[0] += not again
        counts[1] += (readings is None) - again
        counts[2] = record.received
        if readings is None:
            self._reject(record, error)
            return
        for reading in readings:
            known = self._devices.get((topic, reading.device)) or self._device(topic, reading)
            if known is not None:
                known[0] += 1
                known[2] = reading

    def _name(self, topic: str) -> str:
        """The topic, or `OTHERS` when too many are known."""
        if topic not in self._named:
            if len(self._named) >= TOPICS:
                return OTHERS
            self._named.add(topic)
        return topic

    def _reject(self, record: Record, error: str) -> None:
        self._rejected.append(
            (record.position, record.stream, error, record.received, record.payload[:PREVIEW], record.headers)
        )

    def _device(self, topic: str, reading: Reading) -> list[Any] | None:
        """A device's count, first time and last reading since the last write; None if there are too many devices."""
        place = (topic, reading.device)
        if place not in self._known:
            if self._per_topic[topic] >= DEVICES or len(self._known) >= ALL_DEVICES:
                return None
            self._known.add(place)
            self._per_topic[topic] += 1
        fresh = self._devices[place] = [0, reading.time, reading]
        return fresh

    @property
    def waiting(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._topics)

    def _again(self, item: Decoded, log: DecodedLog) -> tuple[list[Reading] | None, str]:
        """Topics a model reads with a decoder of its own are judged by that one."""
        plug = self._pin(item.record.stream)
        if plug is None:
            return item.readings, item.error
        return log.decode(item.record, plug)

    def _pin(self, topic: str) -> Plug | None:
        """The decoder a model reads a topic with, if it is one of its own."""
        if topic not in self._pins:
            if len(self._pins) > TOPICS:
                self._pins.clear()
            found = [plug for pattern, plug in self._pinned if matches(pattern, topic)]
            self._pins[topic] = found[0] if found else None
        return self._pins[topic]

    def write(self) -> None:
        """Store what was seen since the last write."""
        if self.position != self._stored:
            with transaction(self._db):
                (epoch,) = self._db.execute("SELECT epoch FROM progress").fetchone()
                if epoch != self._epoch:
                    raise Fenced(mine=self._epoch, current=epoch)
                self._rows()
                self._db.execute("UPDATE progress SET position = ?", (self.position,))
            self._stored = self.position
            self._topics, self._devices, self._rejected, self._replayed = {}, {}, [], []
        self._written = time.monotonic()

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
        self._db.executemany("UPDATE quarantine SET replayed = 1 WHERE position = ?", self._replayed)
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
        try:
            self.write()
        finally:
            self._db.close()


def _spots(*columns: Sequence[str]) -> dict[Any, tuple[int, int, int]]:
    """(how often, first place, last place) of what stands side by side in the columns, in order of first appearance."""
    places = range(len(columns[0]))
    if all(column.count(column[0]) == len(places) for column in columns):  # nearly always, and 20 times as quick
        only = [column[0] for column in columns]
        return {only[0] if len(only) == 1 else tuple(only): (len(places), 0, places[-1])}
    values = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    last = dict(zip(values, places, strict=True))
    first = dict(zip(reversed(values), reversed(places), strict=True))
    return {value: (count, first[value], last[value]) for value, count in Counter(values).items()}
