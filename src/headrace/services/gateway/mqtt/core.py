"""What all connections share: sessions, routing, the log, counters, and the clock that ends things."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

from headrace.crowd import places
from headrace.errors import BadInput
from headrace.records import Entry, transport_headers
from headrace.services.gateway.mqtt.requests import RequestHandler
from headrace.services.gateway.mqtt.routing import Retained, Router
from headrace.services.gateway.mqtt.session import Backlog, Link, Message, Outgoing, Session
from headrace.services.gateway.mqtt.strangers import Strangers
from headrace.services.gateway.mqtt.topics import split_shared
from headrace.services.gateway.mqtt.users import Access, Users
from headrace.services.gateway.mqtt.wire import Filter, Properties, Property, Reason, Refused, Will
from headrace.settings import MqttSettings
from headrace.streams.logs import Done
from headrace.topics import valid_topic

logger = logging.getLogger("headrace.mqtt")

_QUIET = 30.0
"""Seconds between sentences about messages that are not stored."""
_DRAIN = 5.0
"""Seconds a closing core waits for the log, and then for its clients."""


@dataclass(slots=True)
class Counters:
    """Totals since the door was opened."""

    accepted: int = 0
    """CONNECTs that succeeded."""
    rejected: int = 0
    """Connections refused before or in their CONNACK."""
    received: int = 0
    """PUBLISH packets taken in, any QoS."""
    acknowledged: int = 0
    """PUBACKs and PUBRECs sent for messages that the log has committed."""
    refused: int = 0
    """Packets refused: malformed, forbidden, over a limit."""
    failed: int = 0
    """Messages whose commit failed; none of them was acknowledged."""
    requests: int = 0
    published: int = 0
    """Messages of the platform."""
    slow_readers: int = 0
    """Clients disconnected because they did not read."""
    internal_errors: int = 0
    """Bugs: an exception that should not have happened ended one connection."""


class Peer(Link, Protocol):
    """What the door asks of a connection."""

    access: Access
    """Who it is, once it is logged in."""

    def tick(self, now: float) -> None:
        """Notice what did not happen in time."""

    def quiet(self) -> None:
        """Look at `Core.closing`."""

    def end(self, reason: Reason, text: str) -> None:
        """Disconnect and say why."""

    def abort(self) -> None:
        """Disconnect at once."""


class Core:
    """The state behind the door: the sessions, subscriptions, retained messages and log of one company.

    It does no I/O of its own. Companies share a door and nothing else: what is in one core cannot be seen from another.

    Args:
        settings: every limit.
        log: where readings go; nothing but its `submit` is called.
        requests: answers what is published to ``headrace/predict/{model}`` and ``headrace/explain/{model}``.
        users: who may do what; None: as `settings.users` says.
        clock: monotonic seconds, for keep alives and expiries.
    """

    def __init__(
        self,
        settings: MqttSettings,
        log: LogWriter,
        requests: RequestHandler | None = None,
        users: Users | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.log, self.users, self.clock = settings, log, users, clock
        self.requests = requests
        self.counters = Counters()
        self.router = Router()
        self.retained = Retained(settings.retained, settings.retained_bytes)
        self.backlog = Backlog(settings.offline_bytes)
        self.sessions: dict[tuple[str | None, str], Session] = {}
        self.away: dict[Session, None] = {}
        """Those without a connection, the longest absent first."""
        self.strangers = Strangers(settings)
        """Those of the first company's are everybody's: it is not known yet whose they are."""
        self.peers: set[Peer] = set()
        self._most = min(settings.connections, places() * 3 // 4)
        """One company's devices may not have all the handles there are."""
        self.online = 0
        """Connections that are logged in."""
        self.pending = 0
        """Calls of `log.submit` that are not done."""
        self.asking = 0
        """Requests to models that are not answered."""
        self.closing = False
        """The door is being closed: connections read no more."""
        self.known: dict[bytes, str] = {}
        """Topics anyone may publish readings to, when there are no users: encoded -> decoded."""
        self.logins = asyncio.Semaphore(2)
        """scrypt takes 16 MiB and a core; a storm of logins may not take them all."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._complained = -_QUIET

    # -- the log

    def submit(self, entries: Sequence[Entry], done: Done) -> None:
        """`log.submit`, which must not raise."""
        self.pending += 1
        try:
            self.log.submit(entries, done)
        except Exception as error:
            logger.exception("the log refused a batch")
            done(error)

    def complain(self, error: Exception) -> None:
        """Say that messages are not stored; while a disk is full, every device tries again and again: not each time."""
        now = self.clock()
        if now - self._complained > _QUIET:
            self._complained = now
            logger.error("messages are not stored, nor acknowledged (%d so far): %s", self.counters.failed, error)

    def distribute(self, entry: Entry, qos: int, retain: bool, properties: Properties, origin: Session | None) -> None:
        """Route a committed message like a broker."""
        message = Message(entry.stream, entry.payload, qos, retain, properties=properties, now=self.clock())
        if retain:
            self.retained.keep(message)
        self.router.route(message, origin)

    # -- what the platform has to say

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        qos: int = 1,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Send platform output to subscribers; it is not stored in the log. Call from the event loop's thread.

        Args:
            properties: user properties for v5 subscribers; ``content-type`` becomes MQTT's own content type.
        """
        _check(topic)
        self.counters.published += 1
        given = _properties(properties) if properties else {}
        message = Message(topic, payload, 1 if qos else 0, retain, properties=given)
        if retain:
            self.retained.keep(message)
        self.router.route(message)

    def publish_forecasts(self, topic: str, payloads: Sequence[bytes]) -> None:
        """`publish` of several payloads for one topic, retained: in order, and the last one stays."""
        _check(topic)
        self.counters.published += len(payloads)
        self.retained.keep(Message(topic, payloads[-1], 1, True))
        self.router.route_many(topic, payloads)

    def stats(self) -> dict[str, int]:
        """Totals since it was made, and how much it holds now."""
        return asdict(self.counters) | {
            "connections": self.online,
            "half_open": len(self.peers) - self.online,
            "sessions": len(self.sessions),
            "retained": len(self.retained),
            "backlog_bytes": self.backlog.used,
            "backlog_dropped": self.backlog.dropped,
            "uncommitted_batches": self.pending,
        }

    # -- sessions

    def enter(self, key: tuple[str | None, str], link: Link, clean: bool, expiry: float) -> tuple[Session, bool]:
        """The client's session, now on this link, and whether it existed before (section 3.1.2.4)."""
        session = self.sessions.get(key)
        if self.online >= self._most and (session is None or session.link is None):
            raise Refused(Reason.QUOTA, "too many connections")
        if session is not None and session.link is not None:
            cast(Peer, session.link).end(Reason.TAKEN_OVER, "another connection uses this client id")
            session = self.sessions.get(key)
        if session is not None and (clean or session.expires <= self.clock()):
            self._end(session)
            session = None
        present = session is not None
        if session is None:
            if len(self.sessions) >= self.settings.sessions:
                self._make_room()
            session = self.sessions[key] = Session(key, self.settings, self.backlog, self.clock)
        self.away.pop(session, None)
        session.link, session.expiry, session.will = link, expiry, None
        self.online += 1
        return session, present

    def leave(self, session: Session, will: Will | None) -> None:
        """The session's connection is gone; `will` if it went without a goodbye."""
        now = self.clock()
        session.away()
        self.online -= 1
        self.away[session] = None
        session.expires = now + session.expiry
        if will is not None:
            session.will = (will, now + min(will.delay, session.expiry))
        self._age(session, now)

    def sweep(self) -> None:
        """Let go of what has waited too long."""
        now = self.clock()
        for peer in list(self.peers):
            peer.tick(now)
        for session in list(self.away):
            self._age(session, now)

    def subscribe(self, session: Session, asked: Filter, identifier: int) -> bool:
        """Add a checked subscription; returns whether it is new."""
        group, text = split_shared(asked.text) or ("", asked.text)
        session.subscriptions[asked.text] = group
        return self.router.subscribe(session, group, asked, text, identifier)

    def unsubscribe(self, session: Session, text: str) -> bool:
        """Remove a subscription; returns whether it was there."""
        group = session.subscriptions.pop(text, None)
        if group is None:
            return False
        self.router.unsubscribe(session, group, text[len(f"$share/{group}/") :] if group else text)
        return True

    def send_retained(self, session: Session, asked: Filter, identifier: int) -> None:
        """What a new subscription gets first (section 3.3.1.3)."""
        identifiers = (identifier,) if identifier else ()
        found = self.retained.matching(asked.text, self.clock())
        session.deliver_first([Outgoing(message, min(asked.qos, message.qos), True, identifiers) for message in found])

    def _make_room(self) -> None:
        """End the session that has been without its client for longest."""
        if not self.away:
            raise Refused(Reason.QUOTA, "too many sessions")
        self._end(next(iter(self.away)))

    def _age(self, session: Session, now: float) -> None:
        """Publish a will that is due; end a session that has expired."""
        if session.will is not None and session.will[1] <= now:
            will, session.will = session.will[0], None
            self._bequeath(session, will)
        if session.link is None and session.expires <= now:
            self._end(session)

    def _end(self, session: Session) -> None:
        if session.will is not None:
            will, session.will = session.will[0], None
            self._bequeath(session, will)
        for text in list(session.subscriptions):
            self.unsubscribe(session, text)
        session.end()
        self.away.pop(session, None)
        if self.sessions.get(session.key) is session:
            del self.sessions[session.key]

    def _bequeath(self, session: Session, will: Will) -> None:
        """A will takes the same way as any message: committed, then routed."""
        entry = Entry(will.topic, will.payload, "", headers(will.properties))

        def done(error: Exception | None) -> None:
            self.pending -= 1
            if error is None:
                self.distribute(entry, will.qos, will.retain, will.properties, session)
            else:
                self.counters.failed += 1

        self.submit([entry], done)

    # -- tasks

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run in the background until done, or until the door closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every connection: what is under way is committed and acknowledged first."""
        self.closing = True
        for peer in list(self.peers):
            peer.quiet()
        await _until(lambda: not self.pending)  # so that what is committed is acknowledged too
        await self._cancel()
        for peer in list(self.peers):
            peer.end(Reason.SHUTTING_DOWN, "the server is shutting down")
        if not await _until(lambda: not self.peers):
            for peer in list(self.peers):
                peer.abort()
            await _until(lambda: not self.peers)

    async def _cancel(self) -> None:
        """End everything spawned."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class LogWriter(Protocol):
    """The one verb of a Log that the door uses."""

    def submit(self, entries: Sequence[Entry], done: Done) -> None:
        """See `headrace.streams.logs.Log.submit`."""


async def _until(condition: Callable[[], bool]) -> bool:
    """Wait for something that ends by itself, but not for ever; returns whether it did."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN):
            while not condition():
                await asyncio.sleep(0.001)
    return condition()


def _check(topic: str) -> None:
    if not valid_topic(topic) or len(topic) > 16_000:
        raise BadInput(detail=f"{topic!r} is not a topic to publish to")


def _properties(given: Mapping[str, str]) -> dict[int, Any]:
    user = [(name, value) for name, value in given.items() if name != "content-type"]
    found: dict[int, Any] = {Property.USER: user} if user else {}
    if "content-type" in given:
        found[Property.CONTENT_TYPE] = given["content-type"]
    return found


def headers(properties: Properties) -> bytes:
    """An entry's headers: ``id``, ``content-type`` and ``properties`` (user properties), where given; else empty.

    >>> headers({Property.USER: [("id", "7")], Property.CONTENT_TYPE: "application/json"})
    b'{"content-type":"application/json","properties":{"id":"7"},"id":"7"}'
    """
    if not properties:
        return b""
    return transport_headers(properties.get(Property.CONTENT_TYPE, ""), dict(properties.get(Property.USER, ())))
