"""An external MQTT broker (Mosquitto, EMQX, HiveMQ, NATS ...) through gmqtt: PUBACK after the commit, never before.

A `_Link` is one connection and one gmqtt client. gmqtt can reconnect by itself, but then a PUBACK for a message of the
old connection goes out on the new one, where its packet id may belong to a message nobody has stored; with one client
per connection it goes nowhere and the broker delivers again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from gmqtt import Client, Subscription
from gmqtt.mqtt.handler import MQTTConnectError
from gmqtt.storage import PersistentStorage
from pydantic import ConfigDict, Field, SecretStr, field_validator

from headrace.errors import Forbidden, Unsupported
from headrace.plugins import Params
from headrace.records import Entry, transport_headers
from headrace.streams.brokers import Handler
from headrace.streams.brokers.topics import check_filters, check_topic

_FIRST_PAUSE = 0.1
_STEADY = 10.0
"""A connection that lasted so many seconds was a good one: the next pause is short again."""
_HANDSHAKE = 10.0
_FAREWELL = 2.0
_BREATH = 0.01
_MAX_UNACKNOWLEDGED = 1000
_MAX_QOS0 = 10_000
_REFUSED = 0x80
_LOGIN_REFUSED = frozenset({2, 4, 5, 133, 134, 135, 138, 140})
_log = logging.getLogger(__name__)


class MqttParams(Params):
    """How to reach the broker."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: SecretStr
    """``mqtt://user:password@host:1883`` or ``mqtts://...``; ``?client_id=...`` names the session. Special
    characters of a password are percent-encoded."""
    cafile: str | None = None
    """PEM file of the authorities to trust for mqtts; the system's if not given."""
    session: int = Field(default=7 * 86_400, ge=0, le=0xFFFF_FFFE)
    """Seconds for which an MQTT 5 broker shall keep messages for us while we are away."""
    longest_pause: float = Field(default=30.0, gt=0)
    """Seconds between attempts to connect, at most."""

    @field_validator("url")
    @classmethod
    def _parses(cls, url: SecretStr) -> SecretStr:
        _address(url)
        return url


@dataclass(frozen=True)
class _Address:
    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None = field(repr=False)
    client_id: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.tls else ''}://{host}:{self.port}"


def _address(url: SecretStr) -> _Address:
    try:
        parts = urlsplit(url.get_secret_value())
        host, port = parts.hostname, parts.port
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        given = parse_qs(parts.query).get("client_id", [""])[0]
    except ValueError:  # its text may quote the password
        host = None
    if not host or parts.scheme not in ("mqtt", "mqtts"):
        raise ValueError("expected mqtt://user:password@host:port, special characters of the password percent-encoded")
    tls = parts.scheme == "mqtts"
    port = port or (8883 if tls else 1883)
    if not given.isascii() or len(given) > 256:  # gmqtt counts characters where MQTT counts bytes
        raise ValueError("expected a client_id of up to 256 ASCII characters")
    origin = blake2b(f"{socket.gethostname()} {user} {host}:{port}".encode(), digest_size=6).hexdigest()
    return _Address(host, port, tls, user, password, given or f"headrace-{origin}")


class MqttBroker:
    """A client of an external broker; a context manager that stays connected while it is open."""

    Params = MqttParams

    def __init__(self, params: MqttParams) -> None:
        self.params = params
        self._address = _address(params.url)
        self._filters: list[str] = []
        self._handler: Handler | None = None
        self._link: _Link | None = None
        self._version = 5
        self._pause = _FIRST_PAUSE
        self._closing = asyncio.Event()
        self._spoken = False
        self._up = asyncio.Event()
        self._sending = asyncio.Lock()
        self._run: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"MqttBroker({self._address})"

    async def __aenter__(self) -> Self:
        """Connect. A broker out of reach is tried again and again; one that refuses the login raises Forbidden."""
        library = logging.getLogger("gmqtt")
        if library.level == logging.NOTSET:  # it reports each lost connection with a traceback; we report it in a line
            library.setLevel(logging.CRITICAL)
        self._closing.clear()
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._run = asyncio.create_task(self._stay_connected(first))
        try:
            await first
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let a commit under way finish and acknowledge it, then disconnect; the rest comes again next time."""
        self._closing.set()
        if self._run is None:
            return
        if self._link is not None:
            self._link.finish()
            await asyncio.wait({self._run}, timeout=_FAREWELL)
        self._run.cancel()
        await asyncio.gather(self._run, return_exceptions=True)
        self._run = None

    async def subscribe(self, filters: list[str], handler: Handler) -> None:
        check_filters(filters)
        if self._handler is not None:
            raise Unsupported(detail="this broker has its subscription already; open another client for a second one")
        self._filters, self._handler = list(filters), handler
        while True:
            link = await self._connected()
            with suppress(ConnectionError):
                link.handle(handler)
                await link.subscribed(self._filters)
                return

    async def publish(self, topic: str, payload: bytes, retain: bool = False, qos: int = 1) -> None:
        check_topic(topic)
        if qos not in (0, 1):
            raise Unsupported(detail=f"QoS {qos} is not offered to external brokers; publish with QoS 0 or 1")
        while True:
            with suppress(ConnectionError):
                async with self._sending:  # keeps the order of calls
                    link = await self._connected()
                    acknowledged = await link.send(topic, payload, retain, qos)
                await acknowledged
                return

    async def _connected(self) -> _Link:
        while True:
            await self._up.wait()
            if self._link is not None and not self._link.lost.is_set():
                return self._link
            self._up.clear()

    async def _stay_connected(self, first: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            began = loop.time()
            try:
                await self._once(first)
            except MQTTConnectError as error:
                refusal = Forbidden(detail=f"{self._address} refuses the login of {self._address.client_id!r}: {error}")
                if not first.done() and error._code in _LOGIN_REFUSED:
                    first.set_exception(refusal)
                    return
                _log.error("%s; trying again in %.1f s", refusal, self._pause)
            except Exception as error:  # whatever it was, the next attempt may succeed
                _log.warning(
                    "no connection to %s (%s); trying again in %.1f s", self._address, _reason(error), self._pause
                )
            if not first.done():
                first.set_result(None)
            if self._closing.is_set():
                break
            if loop.time() - began > _STEADY:
                self._pause = _FIRST_PAUSE
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311
            self._pause = min(2 * self._pause, self.params.longest_pause)

    async def _once(self, first: asyncio.Future[None]) -> None:
        """One connection, from its making to its end."""
        link = _Link(self._address, self._version, self.params)
        try:
            await self._dial(link)
            self._link = link
            self._up.set()
            if not first.done():
                first.set_result(None)
            if self._handler is not None:
                link.handle(self._handler)
            await self._serve(link)
        finally:
            self._link = None
            self._up.clear()
            await link.close()

    async def _dial(self, link: _Link) -> None:
        try:
            async with asyncio.timeout(_HANDSHAKE):
                await link.dial()
        except ConnectionResetError:
            if not self._spoken:  # an old broker hangs up on a CONNECT it does not know: try the other version
                self._version = 9 - self._version
            raise
        self._spoken = True

    async def _serve(self, link: _Link) -> None:
        forgotten = self._handler is not None and not link.remembered
        renewing = asyncio.create_task(self._renew(link)) if forgotten else None
        try:
            await link.deliver()
            if not self._closing.is_set():
                _log.warning("lost the connection to %s", self._address)
        except Exception as error:  # the handler's: whatever it is, nothing was stored
            _log.warning(
                "storing messages of %s failed (%s); they will come again", self._address, type(error).__name__
            )
            return
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
        if link.committed:
            self._pause = _FIRST_PAUSE

    async def _renew(self, link: _Link) -> None:
        """Subscribe again on a connection to a broker that lost the session."""
        with suppress(ConnectionError):
            try:
                await link.subscribed(self._filters)
            except Forbidden as error:
                _log.error("%s", error)


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, OSError) and str(error) else type(error).__name__


@dataclass
class _Batch:
    """Messages that came while the one before was being stored, and what their PUBACKs wait for."""

    stored: asyncio.Future[None]
    entries: list[Entry] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)


class _Outbox(PersistentStorage):  # type: ignore[misc]
    """What gmqtt calls its storage of unacknowledged messages: here, a future for each."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[int, asyncio.Future[None]] = {}
        self.newest: asyncio.Future[None] | None = None

    def push_message(self, mid: int, raw_package: bytes) -> None:
        self.newest = self.waiting[mid] = asyncio.get_running_loop().create_future()

    def remove_message_by_mid(self, mid: int) -> None:
        future = self.waiting.pop(mid, None)
        if future is not None and not future.done():
            future.set_result(None)

    def fail(self) -> None:
        """The connection is gone: whoever waits has to send again."""
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the connection was lost"))
                future.exception()  # seen, even if nobody waits any more
        self.waiting.clear()


class _Link(Client):  # type: ignore[misc]
    """One connection."""

    def __init__(self, address: _Address, version: int, params: MqttParams) -> None:
        self.outbox = _Outbox()
        properties = {"session_expiry_interval": params.session, "receive_maximum": _MAX_UNACKNOWLEDGED}
        super().__init__(
            address.client_id,
            clean_session=False,
            optimistic_acknowledgement=False,
            persistent_storage=self.outbox,
            **(properties if version == 5 else {}),
        )
        self.address, self.version, self.cafile = address, version, params.cafile
        self.lost, self.arrived, self.handled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.ending = False
        self.handler: Handler | None = None
        self.batch: _Batch | None = None
        self.grants: dict[int, asyncio.Future[tuple[int, ...]]] = {}
        self.dropped = 0
        self.committed = False
        self.remembered = False
        """The broker knows the session, with its subscriptions."""
        self.on_connect = _accepted
        self.on_message = _receive
        self.on_subscribe = _granted
        self.on_disconnect = _disconnected
        if address.user is not None:
            self.set_auth_credentials(address.user, address.password)

    def __repr__(self) -> str:
        return f"_Link({self.address})"

    async def reconnect(self, delay: bool = False) -> None:
        """Not here: gmqtt calls this when the connection ended; the next one is another `_Link`."""
        self.stop()

    def _send_command_with_mid(self, cmd: int, mid: int, dup: bool, reason_code: int = 0) -> None:
        if not self.lost.is_set():  # what was not stored before the end is not acknowledged after it
            super()._send_command_with_mid(cmd, mid, dup, reason_code=reason_code)

    def finish(self) -> None:
        """No more deliveries after the one under way."""
        self.ending = True
        self.arrived.set()
        self.handled.set()

    def stop(self) -> None:
        """No more deliveries and, from now on, no acknowledgements."""
        self.lost.set()
        self.finish()

    async def dial(self) -> None:
        """Connect. Raises MQTTConnectError if refused, ConnectionResetError if hung up on, OSError if not reached."""
        context = ssl.create_default_context(cafile=self.cafile) if self.address.tls else False
        login = asyncio.create_task(
            self.connect(self.address.host, self.address.port, ssl=context, keepalive=30, version=self.version)
        )
        ended = asyncio.create_task(self.lost.wait())
        try:
            await asyncio.wait({login, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not login.done():
                raise ConnectionResetError("it hung up before it answered")
            login.result()
        finally:
            login.cancel()
            ended.cancel()
            await asyncio.gather(login, ended, return_exceptions=True)

    def handle(self, handler: Handler) -> None:
        """Who gets the messages; until then they wait, unacknowledged."""
        self.handler = handler
        self.handled.set()

    async def subscribed(self, filters: list[str]) -> None:
        """Returns when the broker agreed; raises Forbidden, or ConnectionResetError."""
        retained = 1 if self.version == 5 else 0  # only for a subscription the session does not have yet
        wanted = [Subscription(pattern, qos=1, retain_handling_options=retained) for pattern in filters]
        mid = self.subscribe(wanted)
        self.grants[mid] = asyncio.get_running_loop().create_future()
        if self.lost.is_set():
            raise ConnectionResetError("the connection was lost")
        granted = await self.grants[mid]
        refused = [pattern for pattern, code in zip(filters, granted, strict=False) if code >= _REFUSED]
        if refused:
            raise Forbidden(
                detail=f"{self.address} refuses the subscription to {', '.join(refused)}; check its access rules"
            )

    async def send(self, topic: str, payload: bytes, retain: bool, qos: int) -> asyncio.Future[None]:
        """Send, after waiting while the broker takes no more; the result is done when it has the message."""
        while True:
            try:
                self.publish(topic, payload, qos=qos, retain=retain)
                break
            except OverflowError:  # the broker's receive maximum: 20 for Mosquitto
                waiting = {*self.outbox.waiting.values()} or {asyncio.ensure_future(asyncio.sleep(_BREATH))}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if self.lost.is_set():
                    raise ConnectionResetError("the connection was lost") from None
        if qos and self.outbox.newest is not None:
            return self.outbox.newest
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def deliver(self) -> None:
        """Give batches to the handler, one at a time, until the connection ends. Raises what the handler raises."""
        await self.handled.wait()
        stored: list[asyncio.Task[Any]] = []
        while not self.ending and self.handler is not None:
            await self.arrived.wait()
            self.arrived.clear()
            if self.batch is None or self.ending:
                continue
            batch, self.batch = self.batch, None
            try:
                await self.handler(batch.entries)
            except BaseException:
                await _acknowledged(stored)
                self.stop()
                batch.stored.set_result(None)  # frees the waiting tasks; nothing is sent any more
                raise
            self.committed, stored = True, batch.tasks
            batch.stored.set_result(None)
        await _acknowledged(stored)

    async def close(self) -> None:
        """Disconnect and leave no task behind."""
        self.stop()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self.disconnect()
        if self._connection is not None:
            self._connection._transport.abort()
        self.outbox.fail()
        if self.batch is not None:
            self.batch.stored.set_result(None)
            if self.batch.tasks:
                await asyncio.wait(self.batch.tasks)


async def _receive(link: _Link, topic: str | bytes, payload: bytes, qos: int, properties: dict[str, Any]) -> int:
    """A message came: gmqtt sends its PUBACK when this returns."""
    if link.lost.is_set():
        return 0
    if link.batch is None:
        link.batch = _Batch(asyncio.get_running_loop().create_future())
        link.arrived.set()
    batch = link.batch
    if qos == 0 and len(batch.entries) >= _MAX_QOS0:
        link.dropped += 1
        if link.dropped & (link.dropped - 1) == 0:
            _log.warning(
                "%d QoS 0 messages of %s dropped: they come faster than they are stored", link.dropped, link.address
            )
        return 0
    name = topic if isinstance(topic, str) else topic.decode("utf-8", "replace")
    batch.entries.append(Entry(name, payload, "", _headers(properties)))
    if qos == 0:
        return 0
    task = asyncio.current_task()
    if task is not None:
        batch.tasks.append(task)
    await batch.stored
    return 0


def _headers(properties: dict[str, Any]) -> bytes:
    """As the MQTT door writes them."""
    content_type = properties.get("content_type") or [""]
    return transport_headers(content_type[0], dict(properties.get("user_property", ())))


async def _acknowledged(tasks: list[asyncio.Task[Any]]) -> None:
    """Returns once gmqtt has written the PUBACKs of messages that were stored: it does so when their tasks end."""
    if tasks:
        await asyncio.wait(tasks)
        await asyncio.sleep(0)


def _accepted(link: _Link, session_present: int, code: int, properties: object) -> None:
    link.remembered = bool(session_present)


def _granted(link: _Link, mid: int, qos: tuple[int, ...], properties: object) -> None:
    future = link.grants.pop(mid, None)
    if future is not None and not future.done():
        future.set_result(qos)


def _disconnected(link: _Link, packet: object, error: object = None) -> None:
    link.stop()
    link.outbox.fail()
    for future in link.grants.values():
        if not future.done():
            future.set_exception(ConnectionResetError("the connection was lost"))
            future.exception()
