"""One client's connection: an asyncio Protocol from bytes to committed messages and back."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple, cast

from headrace.errors import HeadraceError
from headrace.records import Entry
from headrace.services.gateway.mqtt import wire
from headrace.services.gateway.mqtt.core import Core, headers
from headrace.services.gateway.mqtt.logins import Logins
from headrace.services.gateway.mqtt.requests import (
    OURS,
    PREFIXES,
    answer,
    default_response,
    failure,
    is_request,
)
from headrace.services.gateway.mqtt.session import Message, Session
from headrace.services.gateway.mqtt.topics import split_shared
from headrace.services.gateway.mqtt.users import ANYTHING, Access, Users
from headrace.services.gateway.mqtt.wire import V5, V311, Connect, Filter, Property, Reader, Reason, Refused
from headrace.topics import valid_filter, valid_topic

logger = logging.getLogger("headrace.mqtt")

_NEW, _LOGIN, _OPEN, _CLOSED = range(4)
_KNOWN = 1024
"""Topics a connection remembers to have checked."""
_KNOWN_SHARED = 65_536
_LINGER = 5.0
"""Seconds a closing connection may take to write its last bytes."""
_FOREVER = 0xFFFFFFFF

_entry: Callable[[type[Entry], tuple[str, bytes, str, bytes, int]], Entry] = tuple.__new__
"""Half the time of `Entry(...)`, and there is one for every message."""

_PLAIN, _PLAIN_AGAIN, _PLAIN_0 = wire.PUBLISH | 2, wire.PUBLISH | 2 | 8, wire.PUBLISH
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux only."""
_PUBACK_HEAD, _PUBREC_HEAD = bytes((wire.PUBACK, 2)), bytes((wire.PUBREC, 2))

HEAD = 64
"""Bytes of an answer's packet that are neither topic, correlation data nor payload, at most."""


class _Extra(NamedTuple):
    """What is special about one message of a batch; plain QoS 1 messages have none."""

    qos: int
    retain: bool
    packet_id: int
    properties: wire.Properties


_ORDINARY = _Extra(1, False, 0, {})
_QOS_0 = _Extra(0, False, 0, {})


class _Batch:
    """The messages of one read from the socket, and the replies that wait for their commit."""

    __slots__ = ("connection", "entries", "extras", "replies", "size", "special")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.entries: list[Entry] = []
        self.replies: list[bytes] = []
        self.extras: dict[int, _Extra] = {}
        self.size = 0
        self.special = False
        """Some message is retained or QoS 2."""

    def done(self, error: Exception | None) -> None:
        self.connection.committed(self, error)


class Connection(asyncio.Protocol):
    """The server's side of one connection.

    `data_received` takes every whole packet of a read, stores its messages with one call of the log, and writes their
    acknowledgements when that call is done.
    """

    def __init__(self, core: Core, logins: Logins | None = None) -> None:
        self.version = V311
        self.window = core.settings.outbound_window
        self.writable = True
        self.outgoing_limit = wire.LONGEST
        self._core, self._logins = core, logins
        """The first company's core; that of the client's company once it is logged in."""
        self._settings, self._counters, self._strangers = core.settings, core.counters, core.strangers
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._handshake: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._state = _NEW
        self._session: Session
        self.access: Access = ANYTHING
        self._client_id = ""
        self._will: wire.Will | None = None
        self._keepalive = 0.0
        self._explain = True
        """The client takes reason strings wherever they may stand."""
        self._rest, self._need = bytearray(), 0
        self._known: dict[bytes, str] = {}
        self._aliases: dict[int, bytes] = {}
        self._batch = _Batch(self)
        self._uncommitted = self._inflight = 0
        self._paused = False
        self._out: list[bytes] = []
        self._out_size = 0
        self._since = self._last = core.clock()
        self._heard = False

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._handshake = cast(asyncio.Transport, transport), None
        self._core.peers.add(self)
        self._strangers.came(self, self._address())
        if self._transport.is_closing():
            return
        self._transport.set_write_buffer_limits(high=self._settings.write_buffer)
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._socket = sock

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._rest or self._state == _LOGIN:
            self._rest += data
            if self._state == _LOGIN or len(self._rest) < self._need:
                return
            data, self._rest, self._need = bytes(self._rest), bytearray(), 0
        self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._detach(self._will)
        self._core.peers.discard(self)
        self._strangers.left(self)

    def pause_writing(self) -> None:
        self.writable = False
        self._gate()

    def resume_writing(self) -> None:
        self.writable = True
        if self._state == _OPEN:
            self._session.drain()
        self._gate()

    # -- the door and the session

    def send(self, data: bytes) -> None:
        if self._state == _CLOSED:
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size > self._settings.write_buffer:
            self._flush()  # now the transport knows, and pauses us

    def knocks(self, host: str, handshake: asyncio.Task[None]) -> None:
        """Its keys are being agreed on: it is a stranger already."""
        self._handshake = handshake
        self._strangers.came(self, host)

    def make_room(self) -> None:
        """Go, for others want to come in, and it is not known who this is."""
        self._counters.rejected += 1
        if self._handshake is not None:
            self._handshake.cancel()
        else:
            self.abort()

    def too_slow(self) -> None:
        if self._state != _CLOSED:
            self._counters.slow_readers += 1
            self.abort()

    def tick(self, now: float) -> None:
        if self._heard or self._uncommitted:  # while we make it wait, its silence means nothing
            self._heard, self._last = False, now
        if self._state == _CLOSED:
            if now - self._since > _LINGER:
                self._transport.abort()
        elif self._state != _OPEN:
            if now - self._since > self._settings.connect_timeout:
                self._counters.rejected += 1
                self.abort()
        elif self._keepalive and now - self._last > 1.5 * self._keepalive:
            self.end(Reason.KEEPALIVE, "nothing heard for one and a half times the keep alive")

    def end(self, reason: Reason, text: str) -> None:
        if self._state == _CLOSED:
            return
        if self._state == _OPEN and self.version == V5:
            self._out.append(wire.disconnect(reason, text))
        self._close(self._will)

    def abort(self) -> None:
        self._detach(self._will)
        self._transport.abort()

    def quiet(self) -> None:
        """Take no more packets, because `Core.closing` says so; what is under way goes on."""
        self._gate()

    # -- bytes to packets

    def _feed(self, data: bytes) -> None:
        used = 0
        try:
            if self._state == _NEW:
                used = self._first(data)
            if self._state == _OPEN:
                used = self._packets(data, used)
        except Refused as refusal:
            self._refuse(refusal)
        except Exception:  # a bug may cost one connection, not the door
            logger.exception("an MQTT connection ended by an internal error")
            self._counters.internal_errors += 1
            self.abort()
        if self._state != _CLOSED and used < len(data):
            self._rest += data[used:] if used else data

    def _first(self, data: bytes) -> int:
        """CONNECT must come first; returns where it ends, 0 while it is incomplete."""
        if data[0] != wire.CONNECT:
            raise Refused(Reason.PROTOCOL_ERROR, "the first packet is not CONNECT")
        span = self._span(data, 0)
        if span is None:
            return 0
        start, stop = span
        if data[start : start + 6] == b"\0\4MQTT" and data[start + 6 : start + 7] >= b"\5":
            self.version = V5
        self._login(wire.read_connect(Reader(data, start, stop)))
        return stop

    def _span(self, data: bytes, position: int) -> tuple[int, int] | None:
        """Where the body of the packet at `position` starts and stops; None while some of it is missing."""
        header = wire.remaining_length(data, position + 1)
        if header is None:
            self._need = 0
            return None
        length, start = header
        stop = start + length
        if stop - position > self._settings.packet_limit:
            raise Refused(
                Reason.TOO_LARGE, f"a packet of {stop - position} bytes; {self._settings.packet_limit} allowed"
            )
        whole = stop <= len(data)
        self._need = 0 if whole else stop - position
        return (start, stop) if whole else None

    def _packets(self, data: bytes, position: int) -> int:
        """Take every whole packet; returns where the first incomplete one starts. The hot path of the door."""
        begin, end, head = position, len(data), 3 if self.version == V5 else 2
        batch = self._batch = _Batch(self)
        known, entries, replies = self._known, batch.entries, batch.replies
        try:
            while end - position > 1 and self._state == _OPEN:
                first, length, start = data[position], data[position + 1], position + 2
                stop = start + length
                if length > 127 or stop > end:
                    span = self._span(data, position)
                    if span is None:
                        break
                    start, stop = span
                if (first == _PLAIN or first == _PLAIN_AGAIN) and stop - start > 4:  # noqa: PLR1714, SIM109 - faster than `in`
                    cut = start + 2 + (data[start] << 8 | data[start + 1])
                    topic = known.get(data[start + 2 : cut])
                    body, packet_id = cut + head, data[cut : cut + 2]
                    # a v5 message without properties has a 0 where the payload of 3.1.1 starts
                    if topic and body <= stop and packet_id != b"\0\0" and (head == 2 or not data[cut + 2]):
                        entries.append(_entry(Entry, (topic, data[body:stop], "", b"", 0)))
                        replies.append(_PUBACK_HEAD + packet_id)
                        position = stop
                        continue
                elif first == _PLAIN_0 and stop - start > 2:
                    cut = start + 2 + (data[start] << 8 | data[start + 1])
                    topic, body = known.get(data[start + 2 : cut]), cut + head - 2
                    if topic and body <= stop and (head == 2 or not data[cut]):
                        batch.extras[len(entries)] = _QOS_0
                        entries.append(_entry(Entry, (topic, data[body:stop], "", b"", 0)))
                        position = stop
                        continue
                self._packet(first, Reader(data, start, stop))
                position = stop
        finally:
            self._submit(batch, position - begin)
        if not replies and not self._out:
            self._quick()
        return position

    def _quick(self) -> None:
        """No reply will carry TCP's acknowledgement; a client without TCP_NODELAY (paho, aiomqtt) waits 40 ms for it."""
        if self._socket is not None and self._state == _OPEN and _QUICKACK is not None:
            with suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _packet(self, first: int, reader: Reader) -> None:
        kind = first & 0xF0
        if kind == wire.PUBLISH:
            self._publish(first, reader)
            return
        if first & 0x0F != (2 if kind in (wire.PUBREL, wire.SUBSCRIBE, wire.UNSUBSCRIBE) else 0):
            raise Refused(Reason.MALFORMED, "reserved flags of a packet are set")
        if kind not in _HANDLERS:
            raise Refused(Reason.PROTOCOL_ERROR, f"a client may not send packet type {kind >> 4} here")
        _HANDLERS[kind](self, reader)

    # -- CONNECT

    def _login(self, connect: Connect) -> None:
        """Find out who it is: at once, or after a password or token has been checked."""
        self.version = connect.version
        users, name, password = self._core.users, connect.username, connect.password or b""
        certified = self._common_name()
        if certified is not None:
            self._enter(connect, users.certified(certified) if users else Access(certified, ["#"], ["#"]))
        elif self._logins is not None and self._elsewhere(self._logins, connect):
            self._wait(self._choose(self._logins, connect))
        elif users is None:
            self._enter(connect, ANYTHING)
        elif name is None:
            self._enter(connect, users.anonymous)
        elif access := users.remembered(name, password):
            self._enter(connect, access)
        else:
            self._wait(self._check(users, connect, name, password))

    def _elsewhere(self, logins: Logins, connect: Connect) -> bool:
        """Whether not the first company's own list of users is to be asked."""
        users, name = self._core.users, connect.username
        named = bool(connect.password) if name is None else "/" in name and not (users and users.knows(name))
        return named or (users is None and not logins.anonymous())

    def _wait(self, check: Coroutine[Any, Any, None]) -> None:
        self._state = _LOGIN
        self._gate()
        self._core.spawn(check)

    def _common_name(self) -> str | None:
        """The subject of a verified TLS client certificate."""
        certificate: dict[str, Any] = self._transport.get_extra_info("peercert") or {}
        subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
        return subject.get("commonName")

    async def _check(self, users: Users, connect: Connect, name: str, password: bytes) -> None:
        async with self._core.logins:
            access = await self._loop.run_in_executor(None, users.login, name, password)
        self._checked(connect, access)

    def _address(self) -> str:
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple | list) else ""

    async def _choose(self, logins: Logins, connect: Connect) -> None:
        """Find the client's company, and go there."""
        try:
            found = await logins.login(connect.username or "", connect.password or b"", self._address())
        except HeadraceError as error:  # the company cannot be opened now
            self._refuse(Refused(Reason.UNAVAILABLE, str(error)))
            return
        if self._state != _LOGIN:
            return
        core, access = found or (self._core, None)
        if core is not self._core:
            self._core.peers.discard(self)
            self._core, self._counters = core, core.counters
            core.peers.add(self)
        self._checked(connect, access)

    def _checked(self, connect: Connect, access: Access | None) -> None:
        """Go on with what came while the login was checked."""
        if self._state != _LOGIN:
            return
        data, self._rest = bytes(self._rest), bytearray()
        try:
            self._enter(connect, access)
        except Refused as refusal:
            self._refuse(refusal)
            return
        self._gate()
        self._feed(data)

    def _enter(self, connect: Connect, access: Access | None) -> None:
        """Let the client in and say so, or raise Refused."""
        if access is None:
            reason = Reason.NOT_AUTHORISED if connect.username is None else Reason.BAD_LOGIN
            raise Refused(reason, "this server needs a user name and password it knows")
        if Property.AUTH_METHOD in connect.properties:
            raise Refused(Reason.BAD_AUTH_METHOD, "extended authentication is not offered")
        self.access, self._client_id = access, connect.client_id or self._assigned(connect)
        self._check_will(connect.will)
        properties = connect.properties
        asked = properties.get(Property.SESSION_EXPIRY, 0) if self.version == V5 else (0 if connect.clean else _FOREVER)
        expiry = min(asked, self._settings.session_expiry)
        key = (access.name, self._client_id)
        self._session, present = self._core.enter(key, self, connect.clean, expiry)
        self._state, self._will, self._keepalive = _OPEN, connect.will, connect.keepalive
        self.window = min(self.window, properties.get(Property.RECEIVE_MAXIMUM, 65_535))
        self._explain = properties.get(Property.REQUEST_PROBLEM, 1) == 1
        self.outgoing_limit = properties.get(Property.PACKET_LIMIT, wire.LONGEST)
        self._known = self._core.known if access is ANYTHING else {}
        self._counters.accepted += 1
        self._strangers.known(self)
        self.send(wire.connack(self.version, Reason.SUCCESS, present, self._offer(connect, asked, expiry)))
        if present:
            self._session.resume()

    def _assigned(self, connect: Connect) -> str:
        if self.version == V311 and not connect.clean:
            raise Refused(Reason.BAD_CLIENT_ID, "a session to be kept needs a client id")
        return "headrace-" + secrets.token_hex(12)

    def _check_will(self, will: wire.Will | None) -> None:
        if will is None:
            return
        if not valid_topic(will.topic):
            raise Refused(Reason.BAD_TOPIC, "the will's topic is not one to publish to")
        if will.topic.startswith(("$", OURS)) or not self.access.may_publish(will.topic, self._client_id):
            raise Refused(Reason.NOT_AUTHORISED, "the will's topic is not allowed")

    def _offer(self, connect: Connect, asked: int, expiry: int) -> wire.Properties:
        """What CONNACK tells a v5 client about limits."""
        offer: wire.Properties = {
            Property.RECEIVE_MAXIMUM: min(self._settings.in_flight, 65_535),
            Property.PACKET_LIMIT: self._settings.packet_limit,
            Property.TOPIC_ALIAS_MAXIMUM: min(self._settings.topic_aliases, 65_535),
        }
        if expiry != asked:
            offer[Property.SESSION_EXPIRY] = expiry
        if not connect.client_id:
            offer[Property.ASSIGNED_CLIENT_ID] = self._client_id
        return offer

    # -- PUBLISH

    def _publish(self, first: int, reader: Reader) -> None:
        """Any PUBLISH that the hot path does not know."""
        qos, again = first >> 1 & 3, first & 8
        if qos == 3 or (again and not qos):
            raise Refused(Reason.MALFORMED, "PUBLISH flags contradict each other")
        raw = reader.binary()
        packet_id = reader.packet_id() if qos else 0
        properties = reader.properties(wire.IN_PUBLISH) if self.version == V5 else {}
        if Property.TOPIC_ALIAS in properties:
            raw = self._aliased(properties.pop(Property.TOPIC_ALIAS), raw)
        topic = self._known.get(raw) or self._admit(raw)
        if topic is None:
            self._forbid(qos, packet_id)
            return
        response = properties.get(Property.RESPONSE_TOPIC)
        if response is not None and not valid_topic(response):
            raise Refused(Reason.PROTOCOL_ERROR, "the response topic is not one to publish to")
        if qos == 2 and self._seen(packet_id):
            return
        extra = _Extra(qos, bool(first & 1), packet_id, properties)
        if topic.startswith(PREFIXES):
            self._request(topic, reader.rest(), extra)
        else:
            self._store(topic, reader.rest(), extra)

    def _aliased(self, alias: int, raw: bytes) -> bytes:
        """The topic meant by an alias, or the alias set to a topic (section 3.3.2.3.4)."""
        if not 0 < alias <= self._settings.topic_aliases:
            raise Refused(Reason.BAD_ALIAS, f"topic alias {alias}; 1 to {self._settings.topic_aliases} allowed")
        if raw:
            self._aliases[alias] = raw
        elif alias not in self._aliases:
            raise Refused(Reason.PROTOCOL_ERROR, f"topic alias {alias} has not been set")
        return self._aliases[alias]

    def _admit(self, raw: bytes) -> str | None:
        """Check a topic not seen before; None if it is forbidden."""
        topic = wire.decode_text(raw)
        if not valid_topic(topic):
            raise Refused(Reason.BAD_TOPIC, "not a topic to publish to")
        if topic.startswith("$") or not self.access.may_publish(topic, self._client_id):
            return None
        if topic.startswith(PREFIXES):  # the rest of this branch is where answers are: nobody may forge one
            return topic if is_request(topic) else None
        if topic.startswith(OURS):  # where forecasts are: nobody may forge one
            return None
        if len(self._known) >= (_KNOWN_SHARED if self.access is ANYTHING else _KNOWN):
            self._known.clear()
        self._known[raw] = topic
        return topic

    def _forbid(self, qos: int, packet_id: int) -> None:
        """3.1.1 cannot say no, so it is disconnected rather than lied to."""
        if self.version != V5:
            raise Refused(Reason.NOT_AUTHORISED, "topic not allowed")
        self._counters.refused += 1
        self._decline(qos, packet_id, Reason.NOT_AUTHORISED, "you may not publish to this topic")

    def _decline(self, qos: int, packet_id: int, reason: Reason, text: str) -> None:
        if qos:
            kind = wire.PUBACK if qos == 1 else wire.PUBREC
            self._batch.replies.append(wire.ack(kind, packet_id, self.version, reason, text if self._explain else ""))

    def _seen(self, packet_id: int) -> bool:
        """Whether a QoS 2 message came before. If its commit is still under way, that will send the PUBREC."""
        committed = self._session.received.get(packet_id)
        if committed:
            self._batch.replies.append(wire.ack(wire.PUBREC, packet_id))
        return committed is not None

    def _store(self, topic: str, payload: bytes, extra: _Extra) -> None:
        batch, packet_id = self._batch, extra.packet_id
        if extra != _ORDINARY._replace(packet_id=packet_id):
            batch.extras[len(batch.entries)] = extra
            batch.special = batch.special or extra.retain or extra.qos == 2
        batch.entries.append(Entry(topic, payload, "", headers(extra.properties)))
        if extra.qos == 1:
            batch.replies.append(wire.ack(wire.PUBACK, packet_id))
        elif extra.qos == 2:
            self._session.received[packet_id] = False
            batch.replies.append(wire.ack(wire.PUBREC, packet_id))

    def _submit(self, batch: _Batch, size: int) -> None:
        """Hand a read's messages to the log; refusals that wait for no commit are written now."""
        if not batch.entries:
            for reply in batch.replies:
                self.send(reply)
            return
        batch.size = size
        self._counters.received += len(batch.entries)
        self._uncommitted += size
        self._inflight += len(batch.replies)
        over = self.version == V5 and self._inflight > self._settings.in_flight
        self._core.submit(batch.entries, batch.done)
        if over:
            raise Refused(Reason.RECEIVE_MAXIMUM, f"more than {self._settings.in_flight} messages under way")
        if self._uncommitted > self._settings.in_flight_bytes:
            self._gate()

    def committed(self, batch: _Batch, error: Exception | None) -> None:
        """The log is done with a batch: acknowledge and distribute it, or disconnect."""
        self._core.pending -= 1
        self._uncommitted -= batch.size
        self._inflight -= len(batch.replies)
        if error is not None:
            self._not_stored(batch, error)
            return
        if self._state == _OPEN and batch.replies:
            self._out += batch.replies
            self._flush()
            self._counters.acknowledged += len(batch.replies)
        if batch.special:
            self._mark_received(batch)
        if batch.special or not self._core.router.quiet:
            self._distribute(batch)
        if self._paused:
            self._gate()

    def _not_stored(self, batch: _Batch, error: Exception) -> None:
        self._counters.failed += len(batch.entries)
        self._core.complain(error)
        for extra in batch.extras.values():
            if extra.qos == 2:
                self._session.received.pop(extra.packet_id, None)
                if self._session.link is not None and self._session.link is not self:
                    cast(Connection, self._session.link).end(
                        Reason.NOT_STORED, "a message was not stored; send it again"
                    )
        self.end(Reason.NOT_STORED, "the messages could not be stored; send them again later")

    def _mark_received(self, batch: _Batch) -> None:
        link = self._session.link
        for extra in batch.extras.values():
            if extra.qos == 2 and extra.packet_id in self._session.received:
                self._session.received[extra.packet_id] = True
                if link is not None and link is not self:  # the client came back while the commit was under way
                    link.send(wire.ack(wire.PUBREC, extra.packet_id))

    def _distribute(self, batch: _Batch) -> None:
        core, wanted, extras = self._core, self._core.router.wanted, batch.extras
        if not batch.special and not any(map(wanted, {entry.stream for entry in batch.entries})):
            return
        for index, entry in enumerate(batch.entries):
            extra = extras.get(index, _ORDINARY)
            if extra.retain or wanted(entry.stream):
                core.distribute(entry, extra.qos, extra.retain, extra.properties, self._session)

    # -- requests

    def _request(self, topic: str, payload: bytes, extra: _Extra) -> None:
        """Hand a request to the models; it is acknowledged when it is answered."""
        self._counters.received += 1
        properties, default = extra.properties, default_response(topic, self._client_id)
        response = properties.get(Property.RESPONSE_TOPIC, default)
        # whoever may not publish there may not have the platform do it either
        if response is None or (response != default and not self._may_answer(response)):
            self._forbid(extra.qos, extra.packet_id)
            return
        if extra.qos == 2:
            self._session.received[extra.packet_id] = False
        self._inflight += 1
        self._core.asking += 1
        self._counters.requests += 1
        if self._core.asking > self._settings.concurrent_requests:
            self._answered(response, failure("too many requests; try again later"), extra)
        else:
            self._core.spawn(self._ask(topic, payload, response, extra))

    def _may_answer(self, topic: str) -> bool:
        return not topic.startswith(("$", OURS)) and self.access.may_publish(topic, self._client_id)

    async def _ask(self, topic: str, payload: bytes, response: str, extra: _Extra) -> None:
        head = len(response.encode()) + len(extra.properties.get(Property.CORRELATION) or b"") + HEAD
        room = min(self._settings.packet_limit, self.outgoing_limit) - head
        self._answered(response, await answer(self._core.requests, topic, payload, room), extra)

    def _answered(self, response: str, payload: bytes, extra: _Extra) -> None:
        self._core.asking -= 1
        self._inflight -= 1
        correlation = extra.properties.get(Property.CORRELATION)
        properties: wire.Properties = {} if correlation is None else {Property.CORRELATION: correlation}
        self._core.router.route(Message(response, payload, 1, False, properties=properties))
        if extra.qos == 2 and extra.packet_id in self._session.received:
            self._session.received[extra.packet_id] = True
        if extra.qos:
            self.send((_PUBACK_HEAD if extra.qos == 1 else _PUBREC_HEAD) + extra.packet_id.to_bytes(2, "big"))

    # -- the other packets

    def _again(self, reader: Reader) -> None:
        raise Refused(Reason.PROTOCOL_ERROR, "a second CONNECT")

    def _puback(self, reader: Reader) -> None:
        self._session.acknowledged(wire.read_ack(reader, self.version))

    def _pubrel(self, reader: Reader) -> None:
        packet_id = wire.read_ack(reader, self.version)
        known = self._session.received.pop(packet_id, None) is not None
        self.send(wire.ack(wire.PUBCOMP, packet_id, self.version, 0 if known else Reason.UNKNOWN_PACKET_ID))

    def _ignored(self, reader: Reader) -> None:
        """PUBREC or PUBCOMP: the door never sends QoS 2, so this is left over from another server."""
        wire.read_ack(reader, self.version)

    def _subscribe(self, reader: Reader) -> None:
        packet_id, identifier, filters = wire.read_subscribe(reader, self.version)
        codes, wanted = [], []
        for asked in filters:
            code = self._check_filter(asked)
            codes.append(code)
            if code < 0x80:
                new = self._core.subscribe(self._session, asked, identifier)
                if not asked.text.startswith("$share/") and (
                    asked.retain_handling == 0 or (new and asked.retain_handling == 1)
                ):
                    wanted.append(asked)
        self.send(wire.suback(self.version, packet_id, codes))
        for asked in wanted:
            self._core.send_retained(self._session, asked, identifier)

    def _check_filter(self, asked: Filter) -> int:
        """The SUBACK code: granted QoS, or why not."""
        shared = split_shared(asked.text)
        if shared is None or not valid_filter(shared[1]):
            return Reason.BAD_FILTER
        group, text = shared
        if group and asked.no_local:
            raise Refused(Reason.PROTOCOL_ERROR, "a shared subscription cannot be no-local")
        if not self.access.may_subscribe(text, self._client_id):
            self._counters.refused += 1
            return Reason.NOT_AUTHORISED
        if (
            asked.text not in self._session.subscriptions
            and len(self._session.subscriptions) >= self._settings.subscriptions
        ):
            return Reason.QUOTA
        return min(asked.qos, 1)

    def _unsubscribe(self, reader: Reader) -> None:
        packet_id, filters = wire.read_unsubscribe(reader, self.version)
        codes = [0 if self._core.unsubscribe(self._session, text) else Reason.NO_SUBSCRIPTION for text in filters]
        self.send(wire.unsuback(self.version, packet_id, codes))

    def _ping(self, reader: Reader) -> None:
        reader.done()
        self.send(wire.PINGRESP_PACKET)

    def _goodbye(self, reader: Reader) -> None:
        reason, properties = wire.read_disconnect(reader, self.version)
        expiry = properties.get(Property.SESSION_EXPIRY)
        if expiry is not None:
            if expiry and not self._session.expiry:
                raise Refused(Reason.PROTOCOL_ERROR, "a session that was not to be kept cannot be kept after all")
            self._session.expiry = min(expiry, self._settings.session_expiry)
        if not reason:
            self._will = None
        self._close(self._will)

    # -- the end

    def _refuse(self, refusal: Refused) -> None:
        if self._state == _CLOSED:
            return
        self._counters.refused += 1
        if self._state == _OPEN:
            self.end(refusal.reason, refusal.text)
            return
        self._counters.rejected += 1
        properties: wire.Properties = {Property.REASON_STRING: refusal.text}
        self._out.append(wire.connack(self.version, refusal.reason, False, properties))
        self._close(None)

    def _close(self, will: wire.Will | None) -> None:
        self._flush()
        self._detach(will)
        self._transport.close()

    def _detach(self, will: wire.Will | None) -> None:
        """Part from the session, once."""
        if self._state == _CLOSED:
            return
        was_open = self._state == _OPEN
        self._state, self._since = _CLOSED, self._core.clock()
        self._rest, self._out, self._will = bytearray(), [], None
        if was_open:
            self._core.leave(self._session, will)

    def _flush(self) -> None:
        if self._out:
            data, self._out, self._out_size = b"".join(self._out), [], 0
            if not self._transport.is_closing():
                self._transport.write(data)

    def _gate(self) -> None:
        """Read from the socket only while what it brings can be taken, and its answers are read."""
        pause = not self.writable or self._state == _LOGIN or self._core.closing
        pause = pause or self._uncommitted > self._settings.in_flight_bytes
        if pause == self._paused or self._transport.is_closing():
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


_HANDLERS: dict[int, Callable[[Connection, Reader], None]] = {
    wire.CONNECT: Connection._again,
    wire.PUBACK: Connection._puback,
    wire.PUBREC: Connection._ignored,
    wire.PUBREL: Connection._pubrel,
    wire.PUBCOMP: Connection._ignored,
    wire.SUBSCRIBE: Connection._subscribe,
    wire.UNSUBSCRIBE: Connection._unsubscribe,
    wire.PINGREQ: Connection._ping,
    wire.DISCONNECT: Connection._goodbye,
}
