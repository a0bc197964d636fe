"""Test doubles for the MQTT door: two small logs, and a raw client that says exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from headrace.records import Entry
from headrace.services.gateway.mqtt import Core, MqttDoor, Users, wire
from headrace.settings import MqttSettings
from headrace.streams.logs import Done


class ListLog:
    """Keeps entries in a list; commits at the end of the loop turn, or when told to if `manual`."""

    def __init__(self, manual: bool = False) -> None:
        self.entries: list[Entry] = []
        self.calls: list[int] = []
        self.error: Exception | None = None
        self.manual = manual
        self._waiting: list[tuple[Sequence[Entry], Done]] = []

    def submit(self, entries: Sequence[Entry], done: Done) -> None:
        if not self._waiting and not self.manual:
            asyncio.get_running_loop().call_soon(self.commit)
        self._waiting.append((entries, done))
        self.calls.append(len(entries))

    def commit(self) -> None:
        """End the group commit now forming."""
        batch, self._waiting = self._waiting, []
        for entries, done in batch:
            if self.error is None:
                self.entries += entries
            done(self.error)

    @property
    def payloads(self) -> list[bytes]:
        return [entry.payload for entry in self.entries]


class SqliteDouble:
    """The smallest log that keeps the promise: one commit a loop turn, WAL, synchronous=FULL."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(path / "double.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("CREATE TABLE IF NOT EXISTS records (position INTEGER PRIMARY KEY, stream TEXT, payload BLOB)")
        self._waiting: list[tuple[Sequence[Entry], Done]] = []

    def submit(self, entries: Sequence[Entry], done: Done) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._commit)
        self._waiting.append((entries, done))

    def _commit(self) -> None:
        batch, self._waiting = self._waiting, []
        rows = [(entry[0], entry[1]) for entries, _ in batch for entry in entries]
        error: Exception | None = None
        try:
            self.db.execute("BEGIN")
            self.db.executemany("INSERT INTO records (stream, payload) VALUES (?, ?)", rows)
            self.db.execute("COMMIT")
        except sqlite3.Error as caught:
            error = caught
        for _, done in batch:
            done(error)

    def close(self) -> None:
        self.db.close()


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def connect(
    client_id: str = "c",
    version: int = 4,
    *,
    clean: bool = True,
    keepalive: int = 0,
    properties: dict[int, Any] | None = None,
    will: wire.Will | None = None,
    username: str | None = None,
    password: str | None = None,
) -> bytes:
    """A CONNECT packet."""
    flags = 2 * clean | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = wire.write_text(client_id)
    if will is not None:
        flags |= 4 | will.qos << 3 | will.retain << 5
        given = {**will.properties, wire.Property.WILL_DELAY: will.delay} if will.delay else will.properties
        body = body + (wire.write_properties(given) if version == 5 else b"")
        body += wire.write_text(will.topic) + wire.write_binary(will.payload)
    body += b"".join(wire.write_text(text) for text in (username, password) if text is not None)
    head = b"\0\4MQTT" + bytes((version, flags)) + keepalive.to_bytes(2, "big")
    return wire.packet(wire.CONNECT, head + (wire.write_properties(properties or {}) if version == 5 else b"") + body)


def publish(
    topic: str,
    payload: bytes = b"",
    qos: int = 1,
    packet_id: int = 1,
    version: int = 4,
    *,
    retain: bool = False,
    dup: bool = False,
    properties: dict[int, Any] | None = None,
) -> bytes:
    """A PUBLISH packet."""
    number = packet_id.to_bytes(2, "big") if qos else b""
    extra = wire.write_properties(properties or {}) if version == 5 else b""
    first = wire.PUBLISH | dup << 3 | qos << 1 | retain
    return wire.packet(first, wire.write_text(topic) + number + extra + payload)


def subscribe(
    *filters: str, options: int = 1, packet_id: int = 1, version: int = 4, properties: dict[int, Any] | None = None
) -> bytes:
    """A SUBSCRIBE packet."""
    extra = wire.write_properties(properties or {}) if version == 5 else b""
    lines = b"".join(wire.write_text(text) + bytes((options,)) for text in filters)
    return wire.packet(wire.SUBSCRIBE | 2, packet_id.to_bytes(2, "big") + extra + lines)


def unsubscribe(*filters: str, packet_id: int = 1, version: int = 4) -> bytes:
    """An UNSUBSCRIBE packet."""
    lines = b"".join(map(wire.write_text, filters))
    return wire.packet(wire.UNSUBSCRIBE | 2, packet_id.to_bytes(2, "big") + (b"\0" if version == 5 else b"") + lines)


class Received:
    """One packet from the door, taken apart."""

    def __init__(self, first: int, body: bytes, version: int) -> None:
        self.first, self.kind, self.body = first, first & 0xF0, body
        self.properties: dict[int, Any] = {}
        self.topic, self.payload, self.packet_id = "", b"", 0
        reader = wire.Reader(body, 0, len(body))
        every = frozenset(wire.Property)
        if self.kind == wire.PUBLISH:
            self.topic = reader.text()
            self.packet_id = reader.u16() if self.qos else 0
            self.properties = reader.properties(every) if version == 5 else {}
            self.payload = reader.rest()
        elif self.kind == wire.CONNACK and version == 5:
            reader.take(2)
            self.properties = reader.properties(every)

    @property
    def qos(self) -> int:
        return self.first >> 1 & 3

    @property
    def retain(self) -> bool:
        return bool(self.first & 1)

    @property
    def dup(self) -> bool:
        return bool(self.first & 8)

    def __repr__(self) -> str:
        return f"<{self.first:#04x} {self.body!r}>"


class Client:
    """A raw MQTT connection. It acknowledges nothing by itself; `opened` closes those a test leaves open."""

    everyone: ClassVar[set[Client]] = set()

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int) -> None:
        self.reader, self.writer, self.version = reader, writer, version
        self.connack: Received | None = None
        self.everyone.add(self)

    @classmethod
    async def open(cls, port: int, hello: bytes | None = None, version: int = 4) -> Self:
        """Connect; with a CONNECT, wait for the CONNACK too."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = cls(reader, writer, version)
        if hello is not None:
            client.send(hello)
            client.connack = await client.next()
        return client

    def send(self, *packets: bytes) -> None:
        self.writer.write(b"".join(packets))

    async def next(self, timeout: float = 5.0) -> Received:
        """The next packet; EOFError or ConnectionError if the door has closed the connection."""
        async with asyncio.timeout(timeout):
            first = (await self.reader.readexactly(1))[0]
            length = shift = 0
            while True:
                byte = (await self.reader.readexactly(1))[0]
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            return Received(first, await self.reader.readexactly(length), self.version)

    async def ask(self, packet: bytes) -> Received:
        self.send(packet)
        return await self.next()

    async def silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes: checked by a ping, whose answer must come next."""
        await asyncio.sleep(seconds)
        return (await self.ask(b"\xc0\0")).kind == wire.PINGRESP

    async def closed(self, timeout: float = 5.0) -> bool:
        """Whether the door closes the connection, whatever it says before."""
        try:
            async with asyncio.timeout(timeout):
                while await self.reader.read(65_536):
                    pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        self.everyone.discard(self)
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@asynccontextmanager
async def opened(log: Any = None, **options: Any) -> AsyncIterator[MqttDoor]:
    """A door on a free port; options that are no settings go to its constructor. Leaves no task behind."""
    before = asyncio.all_tasks()
    given = {name: options.pop(name) for name in ("requests", "clock") if name in options}
    if isinstance(options.get("users"), Users):
        given["users"] = options.pop("users")
    logins = options.pop("logins", None)
    core = Core(MqttSettings(port=0, **options), ListLog() if log is None else log, **given)
    async with MqttDoor(core, logins) as door:
        yield door
        assert core.stats()["internal_errors"] == 0
    for client in list(Client.everyone):
        await client.close()
    assert asyncio.all_tasks() - {asyncio.current_task()} <= before
    assert core.stats()["connections"] == core.stats()["half_open"] == 0
