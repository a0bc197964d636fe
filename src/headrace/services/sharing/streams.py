"""A dataset of a part of a stream: its raw records as they came, and a table of what they say.

**Which records.** Those of the topic whose event time (as the platform decodes them, `headrace.streams.decoders`) is in
``[from, to)``, among the records that were in the log when it was asked. A record with several readings is taken whole if
one of them is in the range; one nobody can decode has no event time and is left out. The event time is what a person
means by "March", also when March was loaded into the platform yesterday; the log positions of the first and last record
and the Merkle root say which records these were, whatever arrives later.

**Raw file** (``raw``): JSON lines in log order, keys in the order of `Line`, no spaces, bytes in base64. Each line,
without its line feed, is one leaf of the root (RFC 6962). From this file everything else can be made again.

**Table** (the dataset's content): CSV, a row per reading in the range, in log order: ``time_ns`` (event time, ns since the
epoch, UTC), ``device``, then every field that occurs, by name. Booleans are 1 and 0, an absent field is empty; a reading sent
twice is there twice.
"""

from __future__ import annotations

import asyncio
import csv
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import msgspec

from headrace.access import Principal
from headrace.assets import Dataset, StreamRange, new_id
from headrace.errors import BadInput, Undecodable, UnknownTopic
from headrace.merkle import Root, leaf, named
from headrace.records import INTERNAL, Reading, Record
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.registering import Registering
from headrace.services.sharing.requests import FromStream, NewDataset, plain_name
from headrace.stores.artifacts import Incoming
from headrace.streams import decoders
from headrace.streams.logs import LogReader
from headrace.streams.logs.lines import Line, line

Streams: TypeAlias = Callable[[str], LogReader]
"""company -> a reader of its log, opened for this call and closed after it. Called in a thread."""
BLOCK = 1000
"""Records read at once."""
MOST_FIELDS = 4096
"""Different fields of one table."""
CHUNK = 2**20
MS = 1_000_000


@dataclass
class Taken:
    """What the first pass over the log found."""

    first: int = 0
    last: int = 0
    root: Root = field(default_factory=Root)
    fields: set[str] = field(default_factory=set)


class FromStreams:
    """Makes datasets of streams."""

    def __init__(self, hub: Hub, registering: Registering, streams: Streams | None) -> None:
        self._hub, self._registering, self._streams = hub, registering, streams

    async def make(self, who: Principal, new: FromStream) -> Dataset:
        """Register a part of one of his company's streams.

        Raises UnknownTopic; BadInput when nothing is in the range; StorageUnavailable.
        """
        who.require("write")
        if not {"#", "+"}.isdisjoint(new.topic):
            raise BadInput(detail=f"topic {new.topic!r}: wildcards are not supported, name one topic")
        if self._streams is None or new.topic.startswith(INTERNAL):
            raise UnknownTopic(topic=new.topic)
        if new.from_ms >= new.to_ms:
            raise BadInput(
                detail=f"the range ends (to_ms: {iso(new.to_ms)}) before it begins (from_ms: {iso(new.from_ms)})"
            )
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._hub.scratch, prefix="stream-"))
        stop = threading.Event()
        try:
            open_log = self._streams
            taken = await asyncio.to_thread(_write, lambda: open_log(who.company), new, folder, stop)
            return await self._register(who, new, folder, taken)
        finally:
            stop.set()  # a caller who went away is not worth the work
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _register(self, who: Principal, new: FromStream, folder: Path, taken: Taken) -> Dataset:
        found = StreamRange(
            topic=new.topic,
            from_ms=new.from_ms,
            to_ms=new.to_ms,
            first_position=taken.first,
            last_position=taken.last,
            records=taken.root.count,
            root=named(taken.root.value()),
            raw=None,
        )
        name = plain_name(new.topic.replace("/", "-") + ".csv", "stream.csv")
        told = NewDataset(
            name=new.name, description=new.description, media="csv", confidential=new.confidential, filename=name
        )
        uploads = {file: new_id("up") for file in ("table", "raw")}
        fed: list[Incoming] = []
        try:
            for file, upload in uploads.items():
                fed.append(await self._hub.artifacts.receive(who.company, upload))
                await _feed(fed[-1], folder / file)
            return await self._registering.stream(who, told, found, *(incoming.finish for incoming in fed))
        except BaseException:
            for incoming in fed:
                await incoming.pause()
            for upload in uploads.values():
                await self._hub.artifacts.discard(who.company, upload)
            raise


async def _feed(incoming: Incoming, path: Path) -> None:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            await incoming.write(chunk)


def _write(opened: Callable[[], LogReader], new: FromStream, folder: Path, stop: threading.Event) -> Taken:
    """Two passes, neither of which holds more than a block: the columns are known after the first."""
    reader = opened()
    try:
        with (folder / "raw").open("wb") as raw:
            taken = _take(reader, new, raw, stop)
    finally:
        reader.close()
    with (folder / "raw").open("rb") as raw, (folder / "table").open("w", encoding="utf-8", newline="") as table:
        _tabulate(raw, csv.writer(table, lineterminator="\n"), new, sorted(taken.fields), stop)
    return taken


def _take(reader: LogReader, new: FromStream, raw: BinaryIO, stop: threading.Event) -> Taken:
    taken, decoder, seen = Taken(), decoders.build("auto"), False
    for record in _records(reader, new.topic, stop):
        seen = True
        readings = _within(decoder, record, new)
        if not readings:
            continue
        text = line(record)
        raw.write(text + b"\n")
        taken.root.push(leaf(text))
        taken.first, taken.last = taken.first or record.position, record.position
        taken.fields.update(*(reading.fields for reading in readings))
        if len(taken.fields) > MOST_FIELDS:
            raise BadInput(detail=f"the readings have more than {MOST_FIELDS} different fields: take a shorter range")
    if not seen:
        raise UnknownTopic(topic=new.topic)
    if not taken.first:
        raise BadInput(
            detail=f"no reading of {new.topic!r} has an event time from {iso(new.from_ms)} to {iso(new.to_ms)}"
        )
    return taken


def _records(reader: LogReader, topic: str, stop: threading.Event) -> Iterator[Record]:
    """Those in the log now."""
    after, end = 0, reader.end()
    while not stop.is_set():
        block = reader.read(after, BLOCK, [topic])
        for record in block:
            if record.position > end:
                return
            yield record
        if len(block) < BLOCK:
            return
        after = block[-1].position


def _within(decoder: decoders.Decoder, record: Record, new: FromStream) -> list[Reading]:
    try:
        readings = decoders.decode(decoder, record)
    except Undecodable:
        return []
    return [reading for reading in readings if new.from_ms * MS <= reading.time < new.to_ms * MS]


def _tabulate(raw: BinaryIO, table: Any, new: FromStream, names: list[str], stop: threading.Event) -> None:
    decoder, line_of = decoders.build("auto"), msgspec.json.Decoder(Line)
    table.writerow(["time_ns", "device", *(f"{name}_" if name in {"time_ns", "device"} else name for name in names)])
    for text in raw:
        if stop.is_set():
            return
        record = Record(*msgspec.structs.astuple(line_of.decode(text)))
        for reading in _within(decoder, record, new):
            cells = (reading.fields.get(name, "") for name in names)
            table.writerow([reading.time, reading.device, *(int(c) if isinstance(c, bool) else c for c in cells)])


def iso(ms: int) -> str:
    """A time for people.

    >>> iso(1_700_000_000_250)
    '2023-11-14T22:13:20.250Z'
    """
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError):
        return f"{ms} ms"
