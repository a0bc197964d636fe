"""A fast QoS 1 publisher that loses nothing: it sends again, after a reconnect, whatever was not acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from typing import cast

from headrace.services.gateway.mqtt import wire

_IDS = 65_535
_KEEPALIVE = 60
_BACKOFF, _LONGEST_BACKOFF = 0.05, 2.0
"""Seconds before the first and before a late attempt to reconnect."""
_WRITE = 256
"""Messages in one write: enough to make the call cheap, few enough to keep the window moving."""


class Refusal(ConnectionError):
    """The server said no in its CONNACK: trying again would not help."""


class Publisher(asyncio.Protocol):
    """Publishes messages in order with up to `window` unacknowledged; knows how many have been acknowledged.

    `acknowledged` counts from the first message ever, whatever the connection; after a loss, `run` goes on from there.
    """

    def __init__(
        self,
        messages: Iterable[tuple[str, bytes]],
        *,
        window: int = 1000,
        start: int = 0,
        on_ack: Callable[[int], None] | None = None,
        client_id: str = "",
        rate: float | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        if not 0 < window <= _IDS // 2:
            raise ValueError(f"a window is 1 to {_IDS // 2} messages")
        self.acknowledged = start
        """Messages acknowledged, counted from the first of `messages`, the `start` skipped ones included."""
        self._source: Iterator[tuple[str, bytes]] = islice(iter(messages), start, None)
        self._window, self._on_ack, self._rate = window, on_ack, rate or None
        self._hello = _connect(client_id, username, password)
        self._unacknowledged: deque[bytes] = deque()
        self._early: set[int] = set()
        self._sent = start
        self._heads: dict[str, bytes] = {}
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._open = self._exhausted = False
        self._writable = True
        self._refusal: Refusal | None = None
        self._finished: asyncio.Future[None]
        self._timers: list[asyncio.TimerHandle] = []
        self._started = 0.0
        self._paced = 0

    async def run(self, host: str, port: int) -> int:
        """Publish everything; returns how many of the messages are acknowledged: all of them.

        Raises Refusal. Every other failure of the connection is waited out.
        """
        loop = asyncio.get_running_loop()
        attempt = 0
        while not self._done():
            self._finished = loop.create_future()
            before = self.acknowledged
            try:
                await loop.create_connection(lambda: self, host, port)
                await self._finished
            except OSError:
                pass
            finally:
                self._drop()
            if self._refusal is not None:
                raise self._refusal
            attempt = 0 if self.acknowledged > before else attempt + 1
            if attempt or self._unacknowledged:
                pause = min(_LONGEST_BACKOFF, _BACKOFF * 2 ** min(attempt, 10))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        return self.acknowledged

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._rest, self._open, self._writable = b"", False, True
        self._early.clear()
        self._transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._open:
            if len(data) < 4:
                self._rest = data
                return
            if data[0] != wire.CONNACK or data[3]:
                self._refuse(data[3])
                return
            self._open, data = True, data[4:]
            self._resume()
        used = self._acks(data)
        self._rest = data[used:]
        self._fill()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._fill()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._finished.done():
            self._finished.set_result(None)

    # -- inside

    def _done(self) -> bool:
        return self._exhausted and not self._unacknowledged

    def _refuse(self, code: int) -> None:
        if code != 3:  # "server unavailable" may pass
            self._refusal = Refusal(f"the MQTT server refused the connection (code {code})")
        self._drop()

    def _drop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._transport is not None:
            (self._transport.close if self._done() else self._transport.abort)()

    def _resume(self) -> None:
        """Send again what was not acknowledged, then go on."""
        loop = asyncio.get_running_loop()
        self._started, self._paced = loop.time(), 0
        self._timers.append(loop.call_later(_KEEPALIVE / 2, self._ping))
        if self._unacknowledged:
            self._write(list(self._unacknowledged))

    def _acks(self, data: bytes) -> int:
        """Take whole packets; returns how many bytes they were."""
        count = min(len(data) // 4, len(self._unacknowledged))
        first = self.acknowledged % _IDS
        run = min(count, _IDS - first)
        if run and not self._early and data[: run * 4] == _all_acks()[first * 4 : (first + run) * 4]:
            self._advance(run)  # the usual case: acknowledgements in order, compared all at once
            return run * 4 + (self._acks(data[run * 4 :]) if len(data) > run * 4 else 0)
        position = 0
        while len(data) - position >= 2 and len(data) - position >= 2 + data[position + 1]:
            if data[position] == wire.PUBACK:
                self._one(int.from_bytes(data[position + 2 : position + 4], "big"))
            position += 2 + data[position + 1]
        return position

    def _one(self, packet_id: int) -> None:
        self._early.add(packet_id)
        while self._unacknowledged and (number := self.acknowledged % _IDS + 1) in self._early:
            self._early.discard(number)
            self._advance(1)

    def _advance(self, count: int) -> None:
        self.acknowledged += count
        if count == len(self._unacknowledged):
            self._unacknowledged.clear()
        else:
            for _ in range(count):
                self._unacknowledged.popleft()
        if self._on_ack is not None:
            self._on_ack(self.acknowledged)

    def _fill(self) -> None:
        """Send while the window, the socket and the rate allow."""
        while self._open and self._writable and self._transport is not None and not self._exhausted:
            room = min(_WRITE, self._window - len(self._unacknowledged), self._allowance())
            if room <= 0:
                break
            packets = [self._packet(topic, payload) for topic, payload in islice(self._source, room)]
            self._exhausted = len(packets) < room
            self._unacknowledged += packets
            self._paced += len(packets)
            self._write(packets)
        if self._done() and not self._finished.done():
            self._write([bytes((wire.DISCONNECT, 0))])
            self._finished.set_result(None)

    def _allowance(self) -> int:
        """How many more messages the rate allows now; asks to be called again when it will be more."""
        if self._rate is None:
            return _WRITE
        loop = asyncio.get_running_loop()
        allowed = int((loop.time() - self._started) * self._rate) + 1 - self._paced
        if allowed <= 0:
            due = self._started + self._paced / self._rate
            del self._timers[1:]  # the first one is the ping's
            self._timers.append(loop.call_at(due, self._fill))
        return allowed

    def _packet(self, topic: str, payload: bytes) -> bytes:
        head = self._heads.get(topic)
        if head is None:
            if len(self._heads) > 10_000:
                self._heads.clear()
            head = self._heads[topic] = wire.write_text(topic)
        self._sent += 1
        number = (self._sent - 1) % _IDS + 1
        length = len(head) + 2 + len(payload)
        size = bytes((length,)) if length < 128 else wire.write_varint(length)
        return b"2" + size + head + number.to_bytes(2, "big") + payload  # b"2" is 0x32: PUBLISH, QoS 1

    def _write(self, packets: list[bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(packets))

    def _ping(self) -> None:
        self._timers[0] = asyncio.get_running_loop().call_later(_KEEPALIVE / 2, self._ping)
        self._write([bytes((wire.PINGREQ, 0))])


async def publish_all(
    host: str,
    port: int,
    messages: Iterable[tuple[str, bytes]],
    *,
    window: int = 1000,
    start: int = 0,
    on_ack: Callable[[int], None] | None = None,
    client_id: str = "",
    rate: float | None = None,
    username: str | None = None,
    password: str | None = None,
) -> int:
    """Publish (topic, payload) pairs with QoS 1; reconnects and sends again until all of them are acknowledged.

    Args:
        window: most messages sent and not yet acknowledged.
        start: messages to skip, because an earlier run had them acknowledged.
        on_ack: told how many messages, counted from the first, are acknowledged; a place to `start` from after a crash.
        rate: messages a second; None: as fast as they are acknowledged.

    Returns how many are acknowledged, the skipped ones included. Raises Refusal if the server will not have us.
    """
    publisher = Publisher(
        messages,
        window=window,
        start=start,
        on_ack=on_ack,
        client_id=client_id,
        rate=rate,
        username=username,
        password=password,
    )
    return await publisher.run(host, port)


def _connect(client_id: str, username: str | None, password: str | None) -> bytes:
    """CONNECT with MQTT 3.1.1 and a clean session: what matters is remembered here, not there."""
    flags = 0x02 | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = b"\0\4MQTT\4" + bytes((flags,)) + _KEEPALIVE.to_bytes(2, "big") + wire.write_text(client_id)
    body += b"".join(wire.write_text(value) for value in (username, password) if value is not None)
    return wire.packet(wire.CONNECT, body)


@cache
def _all_acks() -> bytes:
    """The PUBACKs of all packet identifiers in order: a run of expected ones is a slice of it."""
    head = bytes((wire.PUBACK, 2))
    return b"".join(head + number.to_bytes(2, "big") for number in range(1, _IDS + 1))
