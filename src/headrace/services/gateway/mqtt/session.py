"""What is known of a client beyond one connection: messages on their way to it, and QoS 2 identifiers it used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from headrace.services.gateway.mqtt.wire import (
    PUBLISH,
    V5,
    Property,
    Will,
    packet,
    write_properties,
    write_publishes,
    write_text,
)
from headrace.settings import MqttSettings

_NO_PROPERTIES: Mapping[int, Any] = {}
_PIECE = 128
"""Messages written before the next look at whether the client keeps up."""


class Message:
    """One application message on its way to subscribers; plain encodings are made once for all of them."""

    __slots__ = ("_cache", "expires", "payload", "properties", "qos", "retain", "size", "topic")

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        *,
        properties: Mapping[int, Any] = _NO_PROPERTIES,
        now: float = 0.0,
    ) -> None:
        self.topic, self.payload, self.qos, self.retain = topic, payload, qos, retain
        self.properties = properties
        self.size = len(payload) + len(topic) + (_size(properties) if properties else 0)
        """Bytes, for the bounds."""
        expiry = properties.get(Property.MESSAGE_EXPIRY)
        self.expires: float | None = None if expiry is None else now + expiry
        """When it is of no use any more, by the door's clock."""
        self._cache: dict[int, tuple[bytes, bytes]] = {}

    def encode(
        self, version: int, qos: int, flags: int, packet_id: int, *, identifiers: tuple[int, ...], now: float
    ) -> bytes:
        """A PUBLISH; `flags` are DUP (8) and RETAIN (1)."""
        if identifiers or self.expires is not None:
            head, tail = write_text(self.topic), self._tail(version, identifiers, now)
        else:
            head, tail = self._cache.get(version) or self._plain(version)
        number = packet_id.to_bytes(2, "big") if qos else b""
        return packet(PUBLISH | flags | qos << 1, head + number + tail)

    def _plain(self, version: int) -> tuple[bytes, bytes]:
        self._cache[version] = parts = write_text(self.topic), self._tail(version, (), 0.0)
        return parts

    def _tail(self, version: int, identifiers: tuple[int, ...], now: float) -> bytes:
        if version != V5:
            return self.payload
        properties = self.properties
        if self.expires is not None:
            properties = {**properties, Property.MESSAGE_EXPIRY: max(0, round(self.expires - now))}
        return write_properties(properties, identifiers) + self.payload


def _size(properties: Mapping[int, Any]) -> int:
    pairs = properties.get(Property.USER, ())
    plain = sum(len(value) for value in properties.values() if isinstance(value, str | bytes))
    return plain + sum(len(name) + len(value) + 100 for name, value in pairs)


class Outgoing(NamedTuple):
    """A message for one client."""

    message: Message
    qos: int
    retain: bool
    identifiers: tuple[int, ...]


class Link(Protocol):
    """What a session needs of the connection it is on."""

    version: int
    window: int
    """QoS 1 messages the client takes before it acknowledges one."""
    writable: bool
    outgoing_limit: int
    """Bytes of the largest packet the client takes."""

    def send(self, data: bytes) -> None:
        """Write with what else this turn of the loop brings."""

    def too_slow(self) -> None:
        """The client does not read what is sent to it: disconnect it."""


class Backlog:
    """Payload bytes that wait for absent clients, over all sessions."""

    __slots__ = ("dropped", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit, self.used, self.dropped = limit, 0, 0


class Session:
    """One client's session; `link` is its connection while it has one."""

    def __init__(
        self, key: tuple[str | None, str], settings: MqttSettings, backlog: Backlog, clock: Callable[[], float]
    ) -> None:
        self.key = key
        """(user, client id): a user cannot take over, or listen to, the session of another."""
        self.link: Link | None = None
        self.expiry = 0.0
        """Seconds it outlives its connection."""
        self.expires = 0.0
        """When it ends, by the door's clock; while `link` is None."""
        self.will: tuple[Will, float] | None = None
        """A will that waits for its delay, and when that is over."""
        self.subscriptions: dict[str, str] = {}
        """Filter as the client wrote it -> share group or ""."""
        self.received: dict[int, bool] = {}
        """QoS 2 identifiers between PUBLISH and PUBREL -> whether the message is committed."""
        self._settings, self._backlog, self._clock = settings, backlog, clock
        self._inflight: dict[int, Outgoing] = {}
        self._inflight_size = 0
        self._first: deque[Outgoing] = deque()
        """Retained messages of new subscriptions; the store bounds them, so no client is too slow for its first."""
        self._queue: deque[Outgoing] = deque()
        self._queued = 0
        self._held = 0
        self._next = 0

    def deliver(self, out: Outgoing) -> None:
        """Send a message, or keep it until the client can take it."""
        link = self.link
        if link is None:
            self._keep(out)
        elif self._free(link):
            self._transmit(link, out)
        elif len(self._queue) >= self._settings.queue_messages or self._queued > self._settings.queue_bytes:
            link.too_slow()
        else:
            self._push(out)

    def deliver_many(self, topic: str, payloads: Sequence[bytes], *, retain: bool) -> None:
        """`deliver` of QoS 0 messages of one topic, with one write for as many as the client can take at a time."""
        sent, link = 0, self.link
        head = b"" if link is None else write_text(topic) + (b"\0" if link.version == V5 else b"")
        while link is not None and sent < len(payloads) and self._free(link):
            piece = payloads[sent : sent + _PIECE]
            link.send(write_publishes(PUBLISH | retain, head, piece, link.outgoing_limit))
            sent += len(piece)
        for payload in payloads[sent:]:
            self.deliver(Outgoing(Message(topic, payload, 0, retain), 0, retain, ()))

    def deliver_first(self, outs: list[Outgoing]) -> None:
        """Send what a new subscription starts with."""
        if self.link is None or len(self._first) > self._settings.retained:
            if self.link is not None:
                self.link.too_slow()
            return
        self._first += outs
        self.drain()

    def acknowledged(self, packet_id: int) -> None:
        """The client has a QoS 1 message."""
        if self._forget(packet_id) and (self._queue or self._first):
            self.drain()

    def resume(self) -> None:
        """After a reconnect: first what was sent and not acknowledged, then what was queued."""
        link = self.link
        assert link is not None
        self._release()
        for packet_id, out in list(self._inflight.items()):
            self._emit(link, out, packet_id, 8)
        self.drain()

    def drain(self) -> None:
        """Send from the queue what the client can take now."""
        link, now = self.link, self._clock()
        while link is not None and (self._first or self._queue) and self._room(link):
            out = self._first.popleft() if self._first else self._pop()
            if out.message.expires is None or out.message.expires > now:
                self._transmit(link, out)

    def away(self) -> None:
        """The connection is gone: QoS 0 messages are forgotten, the others count as backlog."""
        self.link = None
        kept = [out for out in (*self._first, *self._queue) if out.qos]
        self._first.clear()
        self._queue.clear()
        self._queued = 0
        if self._backlog.used + self._inflight_size > self._backlog.limit:
            self._backlog.dropped += len(self._inflight)
            self._inflight.clear()
            self._inflight_size = 0
        self._held += self._inflight_size
        self._backlog.used += self._inflight_size
        for out in kept:
            self._keep(out)

    def end(self) -> None:
        """Forget everything."""
        self._release()
        self._first.clear()
        self._queue.clear()
        self._inflight.clear()
        self._queued = self._inflight_size = 0
        self.received.clear()

    def waiting(self) -> int:
        """Messages sent and not acknowledged, or queued."""
        return len(self._first) + len(self._queue) + len(self._inflight)

    def _free(self, link: Link) -> bool:
        """Whether nothing waits, and the client can take one more."""
        return not self._queue and not self._first and self._room(link)

    def _room(self, link: Link) -> bool:
        """Whether the client can take one more; QoS 0 waits too, so that order is kept."""
        free = len(self._inflight) < link.window and self._inflight_size < self._settings.queue_bytes
        return free and link.writable

    def _forget(self, packet_id: int) -> bool:
        out = self._inflight.pop(packet_id, None)
        if out is not None:
            self._inflight_size -= out.message.size
        return out is not None

    def _transmit(self, link: Link, out: Outgoing) -> None:
        packet_id = 0
        if out.qos:
            packet_id = self._packet_id()
            self._inflight[packet_id] = out
            self._inflight_size += out.message.size
        self._emit(link, out, packet_id, 0)

    def _emit(self, link: Link, out: Outgoing, packet_id: int, flags: int) -> None:
        message, qos, retain, identifiers = out
        data = message.encode(link.version, qos, flags | retain, packet_id, identifiers=identifiers, now=self._clock())
        if len(data) > link.outgoing_limit:  # section 3.1.2.11.4: act as if it had been sent
            self._forget(packet_id)
        else:
            link.send(data)

    def _packet_id(self) -> int:
        number = self._next
        while True:
            number = number % 65_535 + 1
            if number not in self._inflight:
                self._next = number
                return number

    def _keep(self, out: Outgoing) -> None:
        size, backlog = out.message.size, self._backlog
        if not out.qos:
            return
        if backlog.used + size > backlog.limit:
            backlog.dropped += 1
            return
        backlog.used += size
        self._held += size
        self._push(out)
        while len(self._queue) > self._settings.queue_messages or self._queued > self._settings.queue_bytes:
            dropped = self._pop().message.size
            self._held -= dropped
            backlog.used -= dropped
            backlog.dropped += 1

    def _release(self) -> None:
        self._backlog.used -= self._held
        self._held = 0

    def _push(self, out: Outgoing) -> None:
        self._queue.append(out)
        self._queued += out.message.size

    def _pop(self) -> Outgoing:
        out = self._queue.popleft()
        self._queued -= out.message.size
        return out
