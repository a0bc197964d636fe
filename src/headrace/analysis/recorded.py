"""Recorded messages of a topic: from a running platform over HTTP, or from its data directory without one."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from headrace.analysis.tables import Progress, Table, choose, silent, which
from headrace.credentials import headers
from headrace.errors import BadInput, Temporary, Unauthenticated, Undecodable, UnknownTopic
from headrace.records import DAY, INTERNAL, Array, Reading, Record
from headrace.streams import decoders
from headrace.streams.logs import LogReader, open_reader
from headrace.topics import matches, valid_filter

PAGE = 1000
"""Messages asked for at a time."""
READINGS = 2_000_000
"""Readings looked at: the newest."""
TOPICS = 200
"""Topics a filter may cover."""


class Messages(Protocol):
    """Where recorded messages can be had."""

    def topics(self, pattern: str) -> list[str]:
        """The topics a filter covers."""
        ...

    def newest(self, topic: str) -> list[Record]:
        """A few of the newest messages; only their places count."""
        ...

    def page(self, topic: str, partition: int, offset: int, limit: int) -> list[Record]:
        """Up to `limit` messages of a partition from `offset` on."""
        ...


class OverHttp:
    """``/api/records`` of a running platform."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def topics(self, pattern: str) -> list[str]:
        found = self._get("/api/topics")
        return sorted(one["topic"] for one in found if matches(pattern, one["topic"]))

    def newest(self, topic: str) -> list[Record]:
        found = self._get(f"/api/records/{quote(topic, safe='')}?limit={PAGE // 10}")  # their places are all we need
        return [Record(one["position"], topic, one["partition"], one["offset"], "", 0, 0, b"", b"") for one in found]

    def page(self, topic: str, partition: int, offset: int, limit: int) -> list[Record]:
        query = f"whole=1&partition={partition}&offset={offset}&limit={limit}"
        found = self._get(f"/api/records/{quote(topic, safe='')}?{query}")
        if found and "payload_base64" not in found[0]:
            raise BadInput(detail=f"{self._url} runs an older Headrace, which does not give whole messages; use --data")
        return [_record(one) for one in found]

    def _get(self, path: str) -> Any:
        import httpx

        try:
            answer = httpx.get(self._url + path, headers=headers(self._url), timeout=60, trust_env=False)
            if answer.status_code == 401:
                raise Unauthenticated(detail=f"{self._url} does not let you in")
            if answer.is_error:
                raise BadInput(detail=f"{self._url} answered {answer.status_code}: {answer.text[:200]}")
            return answer.json()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            detail = (
                f"no answer from {self._url} ({str(error) or type(error).__name__}); is it up? --url says where it is"
            )
            raise Temporary(detail=f"{detail}, --data reads a data directory instead, a FILE needs neither") from error
        except ValueError as error:
            raise BadInput(detail=f"{self._url} answered with something that is not Headrace's") from error


def _record(one: dict[str, Any]) -> Record:
    payload = base64.b64decode(one["payload_base64"])
    place = one["position"], one["topic"], one["partition"], one["offset"]
    return Record(*place, "", one["received_ns"], one["time_ns"], one["headers"].encode(), payload)


class FromLog:
    """The log of a data directory, read-only; a platform may be writing it."""

    def __init__(self, data: Path) -> None:
        if not (data / "log.db").is_file():
            raise BadInput(detail=f"{data} is no data directory of Headrace: there is no log.db in it")
        self._log: LogReader = open_reader(data)

    def topics(self, pattern: str) -> list[str]:
        seen: set[str] = set()
        after = 0
        while records := self._log.read(after, 10 * PAGE):
            seen.update(record.stream for record in records if not record.stream.startswith(INTERNAL))
            after = records[-1].position
        return sorted(topic for topic in seen if matches(pattern, topic))

    def newest(self, topic: str) -> list[Record]:
        return self._log.last(topic, PAGE // 10)

    def page(self, topic: str, partition: int, offset: int, limit: int) -> list[Record]:
        return self._log.at(topic, partition, offset, limit)

    def close(self) -> None:
        """Let go of the file."""
        self._log.close()


def read_topic(
    messages: Messages, pattern: str, device: str | None = None, last: int = 30 * DAY, progress: Progress = silent
) -> Table:
    """The readings of a topic (or filter) within `last` ns before the newest, at most `READINGS`.

    Pages backwards, and stops at the first page in which everything is older; messages that cannot be decoded are counted.

    Raises:
        UnknownTopic: nothing was recorded there.
        BadInput: no reading holds a number, the device is unknown, or `pattern` is no topic.
        Temporary: no platform answers.
    """
    if not valid_filter(pattern):
        raise BadInput(detail=f"{pattern[:80]!r} is neither a file here nor a topic")
    topics = messages.topics(pattern) if "+" in pattern or "#" in pattern else [pattern]
    if not topics:
        raise UnknownTopic(topic=pattern)
    if len(topics) > TOPICS:
        raise BadInput(detail=f"{pattern!r} covers {len(topics):,} topics; name one, or a filter for at most {TOPICS}")
    read = _Reader(messages, last, progress)
    for topic in topics:
        read.topic(topic)
    if not read.seen:
        raise UnknownTopic(topic=pattern)
    return _table(pattern, read, device)


class Block(NamedTuple):
    """Readings of one device out of one page, as columns; NaN where a reading has no such field."""

    time: NDArray[np.int64]
    columns: dict[str, Array]


class _Reader:
    """Collects decoded readings by device, the newest page first, until there are enough."""

    def __init__(self, messages: Messages, last: int, progress: Progress) -> None:
        self._messages, self.last, self._progress = messages, last, progress
        self._decoder = decoders.build("auto")
        self._ids: set[tuple[str, str]] = set()
        self.blocks: dict[str, list[Block]] = {}
        self.units: dict[str, str] = {}
        self.seen = self.failed = self.readings = self.newest = 0
        self.reason = ""

    def topic(self, topic: str) -> None:
        """Everything of one topic that is young enough."""
        ends: dict[int, int] = {}
        for record in self._messages.newest(topic):
            ends[record.partition] = max(record.offset + 1, ends.get(record.partition, 0))
        for partition, end in sorted(ends.items()):
            for records in self._pages(topic, partition, end):
                found = [reading for record in records for reading in self._decode(record)]
                self.seen += len(records)
                peak = max((reading.time for reading in found), default=self.newest)
                self.newest = max(self.newest, peak)
                self._keep(found)
                if self.readings >= READINGS or peak < self.newest - self.last:
                    break

    def table(self, device: str) -> tuple[NDArray[np.int64], dict[str, Array]]:
        """The readings of a device, in the order in which they came."""
        blocks = self.blocks[device][::-1]
        time = np.concatenate([block.time for block in blocks])
        young = time >= self.newest - self.last
        names = dict.fromkeys(name for block in blocks for name in block.columns)
        columns = {}
        for name in names:
            parts = [block.columns.get(name, np.full(len(block.time), np.nan)) for block in blocks]
            columns[name] = np.concatenate(parts)[young]
        return time[young], columns

    def _pages(self, topic: str, partition: int, end: int) -> Iterator[list[Record]]:
        """Pages of a partition, the last one first."""
        total = end
        while end > 0:
            start = max(0, end - PAGE)
            records = self._between(topic, partition, start, end)
            if not records:
                return
            yield records
            self._progress(f"reading {topic}", 1 - start / total)
            end = start

    def _between(self, topic: str, partition: int, start: int, end: int) -> list[Record]:
        """Messages [start, end), in as many answers as it takes: an answer may be cut short by its size."""
        found: list[Record] = []
        while start < end and (page := self._messages.page(topic, partition, start, end - start)):
            found += [record for record in page if record.offset < end]
            start = page[-1].offset + 1
        return found

    def _decode(self, record: Record) -> list[Reading]:
        try:
            return decoders.decode(self._decoder, record)
        except Undecodable as error:
            self.failed, self.reason = self.failed + 1, self.reason or str(error)
            return []

    def _keep(self, readings: list[Reading]) -> None:
        """Readings that were not there before, as blocks: dictionaries of two million would not fit."""
        by_device: dict[str, list[Reading]] = {}
        for reading in readings:
            identity = (reading.device, reading.id)
            if reading.id and identity in self._ids:
                continue
            if reading.id:
                self._ids.add(identity)
            by_device.setdefault(reading.device, []).append(reading)
            self.units.update(reading.units)
        for device, several in by_device.items():
            time = np.array([reading.time for reading in several], np.int64)
            self.blocks.setdefault(device, []).append(Block(time, _columns(several)))
            self.readings += len(several)


def _columns(readings: list[Reading]) -> dict[str, Array]:
    columns: dict[str, Array] = {}
    for index, reading in enumerate(readings):
        for name, value in reading.fields.items():
            if isinstance(value, str):
                continue
            if name not in columns:
                columns[name] = np.full(len(readings), np.nan)
            columns[name][index] = value
    return columns


def _table(pattern: str, read: _Reader, device: str | None) -> Table:
    source = f"topic {pattern}"
    if not read.blocks:
        raise BadInput(detail=f"{source}: none of {read.seen:,} messages could be read; the first: {read.reason}")
    devices = {name: sum(len(block.time) for block in blocks) for name, blocks in sorted(read.blocks.items())}
    chosen = choose(devices, device, source)
    notes = []
    if len(devices) > 1:
        notes.append(f"{len(devices):,} devices; this is {which(devices, chosen)}, --device chooses")
    if read.failed:
        notes.append(f"{read.failed:,} of {read.seen:,} messages could not be read: {read.reason}")
    if read.readings >= READINGS:
        notes.append(f"only the newest {read.readings:,} readings were looked at")
    time, columns = read.table(chosen)
    if not columns or not len(time):
        raise BadInput(detail=f"{source}: {chosen!r} sent no numbers in this time; --last looks further back")
    units = {name: read.units[name] for name in columns if name in read.units}
    return Table(source, pattern, chosen, devices, time, columns, units, recorded=True, notes=tuple(notes))


def open_topic(pattern: str, data: Path | None, url: str, device: str | None, last: int, progress: Progress) -> Table:
    """`read_topic` from a data directory if one is given, else over HTTP."""
    if data is None:
        return read_topic(OverHttp(url), pattern, device, last, progress)
    try:
        log = FromLog(data)
        try:
            return read_topic(log, pattern, device, last, progress)
        finally:
            log.close()
    except sqlite3.Error as error:
        raise BadInput(detail=f"the log in {data} cannot be read: {error}") from error
