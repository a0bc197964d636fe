"""The contract of a Broker: nothing acknowledged before it is stored, everything else again, in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from uuid import uuid4

from headrace.errors import BadInput, Unsupported
from headrace.records import Entry
from headrace.streams.brokers import Broker

Make = Callable[[str], Broker]
_PATIENCE = 20.0


async def check_broker(make: Make, *, secret: str = "") -> None:
    """Run the whole suite.

    Args:
        make: returns a new client, not entered yet, of the session with the name given; all at one broker.
        secret: the password in the clients' settings, looked for where it must not be.

    Raises:
        AssertionError: the broker breaks its contract.
    """
    seen = _Listener()
    logging.getLogger().addHandler(seen)
    try:
        for check in (_order, _raising, _unfinished, _retained, _mistakes, _tidy):
            try:
                await check(make, uuid4().hex[:8])
            except AssertionError as error:
                raise AssertionError(f"{check.__name__[1:]}: {error}") from error
    finally:
        logging.getLogger().removeHandler(seen)
    _silent(make("secret"), seen, secret)


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record))


class _Taker:
    """A handler that keeps what it is given, unless told to fail or to hang."""

    def __init__(self, fail: int = 0, hang: bool = False) -> None:
        self.stored: list[Entry] = []
        self.given: list[Entry] = []
        self.fail, self.hang, self.busy = fail, hang, False

    async def __call__(self, entries: list[Entry]) -> None:
        assert not self.busy, "the handler was called again before it returned"
        assert entries, "the handler was given no entries"
        self.busy = True
        try:
            self.given += entries
            await asyncio.sleep(0.001)
            if self.hang:
                await asyncio.Event().wait()
            if self.fail:
                self.fail -= 1
                raise OSError("no space left")
            self.stored += entries
        finally:
            self.busy = False

    def payloads(self) -> list[bytes]:
        return [entry.payload for entry in self.stored]


async def _until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError as error:
        raise AssertionError(f"waited {_PATIENCE:.0f} s for {what}") from error


async def _send(make: Make, topic: str, payloads: list[bytes], retain: bool = False) -> None:
    async with make(f"writer-{uuid4().hex[:8]}") as writer:
        for payload in payloads:
            await writer.publish(topic, payload, retain=retain)


def _numbers(n: int) -> list[bytes]:
    return [b"%d" % index for index in range(n)]


async def _order(make: Make, name: str) -> None:
    """All messages, whole, in order, and only those the filters select."""
    taker = _Taker()
    async with make(name) as reader:
        await reader.subscribe([f"{name}/+/reading", f"{name}/other/#"], taker)
        await _send(make, f"{name}/a/status", [b"no"])
        await _send(make, f"{name}/a/reading", _numbers(300))
        await _send(make, f"{name}/other", [b"\x00\xff"])
        await _until(lambda: len(taker.stored) >= 301, "301 messages")
    assert taker.payloads() == [*_numbers(300), b"\x00\xff"], "messages came out of order or changed"
    assert taker.stored[0].stream == f"{name}/a/reading", f"the topic became {taker.stored[0].stream!r}"


async def _raising(make: Make, name: str) -> None:
    """What a failing handler was given comes again, in order; what was stored does not."""
    taker = _Taker(fail=2)
    async with make(name) as reader:
        await reader.subscribe([f"{name}/#"], taker)
        await _send(make, f"{name}/x", _numbers(50))
        await _until(lambda: len(set(taker.payloads())) >= 50, "50 messages after two failures")
        stored = list(dict.fromkeys(taker.payloads()))
        assert stored == _numbers(50), "messages were lost or out of order after a failure"
    again = _Taker()
    async with make(name) as reader:
        await reader.subscribe([f"{name}/#"], again)
        await _send(make, f"{name}/x", [b"last"])
        await _until(lambda: b"last" in again.payloads(), "a message after the session went on")
    assert again.payloads() == [b"last"], f"stored messages came again: {again.payloads()[:5]}"


async def _unfinished(make: Make, name: str) -> None:
    """What the handler never finished comes to the next client of the session, with what was sent meanwhile."""
    stuck = _Taker(hang=True)
    async with make(name) as reader:
        await reader.subscribe([f"{name}/#"], stuck)
        await _send(make, f"{name}/x", _numbers(5))
        await _until(lambda: bool(stuck.given), "a first message")
    await _send(make, f"{name}/x", [b"5", b"6"])
    taker = _Taker()
    async with make(name) as reader:
        await reader.subscribe([f"{name}/#"], taker)
        await _until(lambda: len(taker.stored) >= 7, "the messages that were not acknowledged")
    assert taker.payloads() == _numbers(7), "unacknowledged messages were lost or came out of order"


async def _retained(make: Make, name: str) -> None:
    """A retained message is there for who comes later."""
    await _send(make, f"{name}/x", [b"old", b"new"], retain=True)
    taker = _Taker()
    async with make(name) as reader:
        await reader.subscribe([f"{name}/#"], taker)
        await _until(lambda: bool(taker.stored), "the retained message")
    await _send(make, f"{name}/x", [b""], retain=True)
    assert taker.payloads() == [b"new"], f"expected the last retained message, got {taker.payloads()}"


async def _mistakes(make: Make, name: str) -> None:
    """A caller's mistakes are told, before anything is sent."""
    taker = _Taker()
    async with make(name) as reader:
        await _raises(BadInput, lambda: reader.publish(f"{name}/+", b""))
        await _raises(BadInput, lambda: reader.publish("", b""))
        await _raises(BadInput, lambda: reader.subscribe([f"{name}/#/x"], taker))
        await _raises(BadInput, lambda: reader.subscribe([], taker))
        await reader.subscribe([f"{name}/#"], taker)
        await _raises(Unsupported, lambda: reader.subscribe([f"{name}/#"], taker))


async def _raises(kind: type[Exception], call: Callable[[], Awaitable[None]]) -> None:
    try:
        await call()
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}")


async def _tidy(make: Make, name: str) -> None:
    """Leaving ends every task."""
    before = asyncio.all_tasks()
    async with make(name) as reader:
        await reader.subscribe([f"{name}/#"], _Taker())
        await _send(make, f"{name}/x", [b"1"])
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before
    assert not left, f"tasks were left behind: {left}"


def _silent(broker: Broker, seen: _Listener, secret: str) -> None:
    """No secret in a repr or a log line."""
    if secret:
        shown = [repr(broker), str(broker), repr(getattr(broker, "params", "")), repr(vars(broker)), *seen.lines]
        assert not any(secret in text for text in shown), "the password is shown"
