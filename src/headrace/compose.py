"""The only module that knows every part: settings in, a running platform out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from prometheus_client import REGISTRY, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from headrace import console
from headrace.console.api import ConsoleApi
from headrace.console.reports import Reports
from headrace.errors import DirectoryInUse, HeadraceError, NotFound, PortInUse, UnusableDirectory
from headrace.services.gateway.http import IngestDoor
from headrace.services.gateway.mqtt import MqttDoor
from headrace.services.gateway.service import GatewayService
from headrace.services.http import App, Receive, Scope, Send, answer, answer_json, header, refuse
from headrace.services.learning.explanations import Explanations
from headrace.services.learning.http import InferenceDoor
from headrace.services.learning.service import LearningService, Publish
from headrace.services.learning.webhooks import Webhooks
from headrace.settings import PlatformSettings
from headrace.streams import brokers
from headrace.streams.logs.sqlite import SqliteLog

PREDICT, EXPLAIN = "headrace/predict/", "headrace/explain/"
MESSAGES = Gauge("headrace_log_position", "Messages in the log")
RESTARTS = Gauge("headrace_worker_restarts", "Worker processes that died and were started again")
REBUILT = Gauge("headrace_rebuilt", "Damaged state files that were set aside and rebuilt from the log")
PUBLISHED = Gauge("headrace_forecasts_published", "Forecasts sent to output topics since the start")
ALERTS = Gauge("headrace_alerts_active", "Alerts that are raised and not cleared", ["model", "severity"])
WEBHOOKS = Gauge("headrace_webhooks", "Alerts for webhooks: waiting, taken, given up (of those remembered)", ["status"])
DOOR = Gauge("headrace_mqtt", "The MQTT door's counters", ["what"])


class Platform:
    """Everything in one process (and its workers), as `headrace up` runs it. Enter it in a running event loop."""

    def __init__(self, settings: PlatformSettings) -> None:
        self.settings = settings
        self.addresses: dict[str, str] = {}
        self.ready_seconds = 0.0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Platform:
        started = time.monotonic()
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        self.ready_seconds = time.monotonic() - started
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        settings, stack = self.settings, self._stack
        stack.enter_context(locked(settings.data))
        log = SqliteLog(settings.data, settings.partitions)
        stack.push_async_callback(log.aclose)
        self.log = log
        outputs: list[Publish] = []

        def fan_out(topic: str, payloads: Sequence[bytes]) -> None:
            for output in outputs:
                output(topic, payloads)

        secret = os.environ.get(settings.webhook_key_variable, "").encode()
        hooks = Webhooks(settings.data, secret=secret, private=settings.webhook_private)
        await stack.enter_async_context(hooks)
        learning = LearningService(
            log, settings.data, fan_out, checkpoint_seconds=settings.checkpoint_seconds, hooks=hooks
        )
        self.explanations = explanations = Explanations(learning)
        inference = InferenceDoor(learning, explanations, settings.body_limit)
        door = MqttDoor(settings.mqtt, log, _requests(inference))
        outputs.append(door.publish_forecasts)
        log.on_commit = learning.nudge
        self.learning = await stack.enter_async_context(learning)
        await stack.enter_async_context(explanations)
        self.gateway = await stack.enter_async_context(
            GatewayService(
                log,
                settings.data,
                self._slowest,
                age=settings.retention_age,
                size=settings.retention_size,
                every=settings.retention_seconds,
                pinned=learning.pinned,
            )
        )
        learning.republish()
        with _port(settings.mqtt.host, settings.mqtt.port, "--mqtt-port"):
            await stack.enter_async_context(door)
        self.door = door
        if settings.broker:
            await self._external(settings.broker, outputs)
        learning.clean()
        await self._serve(inference, door)

    async def _external(self, url: str, outputs: list[Publish]) -> None:
        broker = await self._stack.enter_async_context(brokers.open(url))
        forward = Forwarder(broker.publish)
        await self._stack.enter_async_context(forward)
        outputs.append(forward)
        bridge = self.gateway.bridge(broker, list(self.settings.broker_topics), self.learning.publishes)
        task = asyncio.create_task(_said(bridge), name="bridge")  # a broker that is down must not keep us from starting

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(stop)

    async def _serve(self, inference: InferenceDoor, door: MqttDoor) -> None:
        settings = self.settings
        with _port(settings.http_host, settings.http_port, "--http-port"):
            listener = _listen(settings.http_host, settings.http_port)
        port = listener.getsockname()[1]
        self.addresses |= {
            "http": f"http://{settings.http_host}:{port}",
            "mqtt": f"{settings.mqtt.host}:{door.port}",
        }
        self.api = api = ConsoleApi(self.log, self.gateway, self.learning, self.explanations, self.addresses)
        routes = [*api.routes(), *Reports(settings.data / "reports").routes(), *console.routes()]
        pages = Starlette(routes=routes, exception_handlers={404: _no_page, 405: _no_page})
        ingest = IngestDoor(self.log, settings.body_limit)
        front = Front(self, inference, ingest, door.handle_websocket, pages, _hosts(settings, port))
        server = _Server(
            uvicorn.Config(
                front, log_level="warning", access_log=False, lifespan="off", ws="websockets-sansio",
                timeout_keep_alive=75, timeout_graceful_shutdown=3, server_header=False, proxy_headers=False, date_header=False,
            )
        )  # fmt: skip
        task = asyncio.create_task(server.serve([listener]), name="http")

        async def stop() -> None:
            api.closing.set()
            server.should_exit = True
            await task

        self._stack.push_async_callback(stop)
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.01)

    def _slowest(self) -> int:
        """The log position that every learner and the observer have saved."""
        places = [
            view.store.position() if view.store else 0 for view in self.learning.views.values() if not view.failed
        ]
        return min([self.gateway.understood.position(), *places])

    def overview(self) -> dict[str, Any]:
        """Everything at a glance, as the page shows it."""
        return self.api.overview()

    def metrics(self) -> bytes:
        """The Prometheus page."""
        MESSAGES.set(self.log.end())
        RESTARTS.set(self.learning.restarts)
        REBUILT.set(self.learning.rebuilt)
        PUBLISHED.set(self.learning.published)
        ALERTS.clear()
        for (model, severity), value in self.learning.alerting.active(self.learning.views.values()).items():
            ALERTS.labels(model=model, severity=severity).set(value)
        deliveries = self.learning.alerting.deliveries()
        for status in ("pending", "sent", "failed"):
            WEBHOOKS.labels(status=status).set(deliveries[status])
        for what, value in self.door.stats().items():
            DOOR.labels(what=what).set(value)
        return generate_latest(REGISTRY)


async def _no_page(request: Request, error: Exception) -> JSONResponse:
    """404 and 405 as every other door says them."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    message = f"there is nothing at {request.method} {request.url.path}."
    return JSONResponse({"error": message}, status, error.headers if isinstance(error, HTTPException) else None)


class Front:
    """The ASGI entrance: guards the loopback door, sends each path to its service."""

    def __init__(
        self, platform: Platform, inference: App, ingest: App, websocket: App, pages: App, hosts: set[bytes]
    ) -> None:
        self._platform, self._hosts = platform, hosts
        self._websocket, self._pages = websocket, pages
        self._inference, self._ingest = inference, ingest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if self._foreign(scope):
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            elif scope["path"] == "/mqtt":
                await self._websocket(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1000})
            return
        if self._foreign(scope):
            message = "this address is served to pages and names of this machine only (foreign Host or Origin header)"
            await answer_json(send, {"error": message}, 403)
            return
        await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith(("/v2/", "/v1/")) or path in {"/v2", "/v1"}:
            await self._inference(scope, receive, send)
        elif path.startswith("/ingest/") or path in {"/api/v2/write", "/write"}:
            await self._ingest(scope, receive, send)
        elif path == "/metrics" and scope["method"] in {"GET", "HEAD"}:
            await answer(send, 200, self._platform.metrics(), [(b"content-type", b"text/plain; version=0.0.4")])
        elif path == "/" and scope["method"] in {"GET", "HEAD"} and b"text/html" not in header(scope, b"accept"):
            await answer_json(send, {"status": "alive"})
        elif path == "/" or path.startswith(("/api/", "/console/", "/favicon")):
            await self._pages(scope, receive, send)
        else:
            await refuse(send, NotFound(detail=f"there is nothing at {scope['method']} {path}"))

    def _foreign(self, scope: Scope) -> bool:
        """A page of another site, or a name that was made to point here (DNS rebinding)."""
        host = header(scope, b"host").lower()
        if self._hosts and host not in self._hosts:
            return True
        origin = header(scope, b"origin").lower()
        return bool(origin) and origin.partition(b"://")[2] != host


def _hosts(settings: PlatformSettings, port: int) -> set[bytes]:
    """Host headers that are ours; with a wildcard or public address any is accepted, and the Origin still has to match."""
    if settings.http_host not in {"127.0.0.1", "localhost", "::1"}:
        return set()
    names = ("127.0.0.1", "localhost", "[::1]", *settings.http_names)
    return {f"{name}{suffix}".lower().encode() for name in names for suffix in (f":{port}", "")} | {b""}


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process that composes decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class Forwarder:
    """Sends outputs to an external broker in the background; when it is slow the oldest are dropped: it keeps the newest."""

    def __init__(self, publish: Callable[..., Awaitable[None]], limit: int = 10_000) -> None:
        self._publish = publish
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(limit)
        self.dropped = 0

    def __call__(self, topic: str, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            if self._queue.full():
                self._queue.get_nowait()
                self.dropped += 1
            self._queue.put_nowait((topic, payload))

    async def __aenter__(self) -> Forwarder:
        self._task = asyncio.create_task(self._run(), name="forwarder")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            topic, payload = await self._queue.get()
            try:
                await self._publish(topic, payload, retain=True, qos=1)
            except HeadraceError as error:
                self.dropped += 1
                print(f"headrace: a forecast was not forwarded: {error}", file=sys.stderr)


async def _said(work: Awaitable[None]) -> None:
    """Await something in the background; our own errors become a line for people."""
    try:
        await work
    except HeadraceError as error:
        print(f"headrace: {error}", file=sys.stderr)


def _requests(inference: InferenceDoor) -> Callable[[str, bytes], Awaitable[bytes]]:
    async def answer_request(topic: str, payload: bytes) -> bytes:
        if topic.startswith(EXPLAIN):
            made = await inference.explain_over_mqtt(topic.removeprefix(EXPLAIN), payload)
            return await asyncio.to_thread(msgspec.json.encode, made)
        return msgspec.json.encode(inference.over_mqtt(topic.removeprefix(PREDICT), payload))

    return answer_request


@contextlib.contextmanager
def _port(host: str, port: int, option: str) -> Iterator[None]:
    """Raises PortInUse for what the system says about an address."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}:
            raise
        raise PortInUse(host=host, port=port, reason=os.strerror(error.errno).lower(), option=option) from error


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.listen(2048)
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def locked(data: Path) -> Any:
    """One platform per data directory. The lock ends with the process, however that ends.

    Raises:
        DirectoryInUse: another platform runs on it.
        UnusableDirectory: it cannot be made or written.
    """
    with _lock_file(data) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise DirectoryInUse(path=data, pid=file.read().strip() or "?") from error
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def _lock_file(data: Path) -> Any:
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)  # what devices send is nobody else's business
        return (data / "lock").open("a+")
    except OSError as error:
        raise UnusableDirectory(path=data, reason=error.strerror) from error
