"""The ASGI front of the platform: refuses pages of other sites, then sends each caller to the doors of his own company.

Who calls is found out by `headrace.services.entrance.Entrance`, which stands between the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache

from headrace.access import LOCAL, Action, Principal
from headrace.errors import HeadraceError, NotFound, Unauthenticated
from headrace.services.apidocs import index
from headrace.services.entrance import PRINCIPAL
from headrace.services.http import App, Receive, Scope, Send, answer, answer_json, header, refuse
from headrace.tenant import Tenant

_TEACH = ("/learn", "/feedback", "/reward")


HEALTH = frozenset({"/v2/health/live", "/v2/health/ready"})


@lru_cache(1024)
def action_of(method: str, path: str) -> Action | None:
    """What a request to one of the company's own doors does there; None: anybody may.

    >>> action_of("POST", "/v2/models/pv/infer"), action_of("POST", "/v2/models/pv/learn")
    ('predict', 'teach')
    >>> action_of("GET", "/api/overview"), action_of("PUT", "/api/specs"), action_of("POST", "/ingest/plant/a")
    ('read', 'write', 'ingest')
    """
    if path in HEALTH:
        return None
    if path.startswith("/ingest/") or path in {"/api/v2/write", "/write"}:
        return "ingest"
    if path.startswith(("/v2", "/v1")):
        if path.startswith("/v2/repository/models/"):
            return "write"
        return "teach" if path.rstrip("/").endswith(_TEACH) else "predict"
    return "read" if method in {"GET", "HEAD"} else "write"


class Front:
    """Dispatches by the caller's company, and asks whether his role may.

    Args:
        tenant: opens a company's part of the platform.
        metrics: the Prometheus page.
        websocket: MQTT over WebSockets, which has its own login.
        pages: the page's own files.
        apps: other doors, by the first part of their paths or by a whole path, as in ``{"/datasets": app}``; they ask for
            rights themselves.
    """

    def __init__(
        self,
        tenant: Callable[[str], Awaitable[Tenant]],
        metrics: Callable[[], bytes],
        websocket: App,
        apps: Mapping[str, App],
        pages: App,
    ) -> None:
        self._tenant, self._metrics, self._websocket, self._apps, self._pages = tenant, metrics, websocket, apps, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if scope["path"] == "/mqtt":
                await self._websocket(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1000})
            return
        try:
            door = await self._door(scope)
        except HeadraceError as error:
            await refuse(send, error)
            return
        await door(scope, receive, send)

    async def _door(self, scope: Scope) -> App:
        """The door for a request. Raises Unauthenticated, Forbidden, NotFound, and what opening a company does."""
        path, method, who = scope["path"], scope["method"], scope.get(PRINCIPAL)
        if path.startswith(("/v2/", "/v1/", "/ingest/", "/api/")) or path in {"/v2", "/v1", "/write"}:
            return await self._own(method, path, who)
        if app := self._apps.get("/" + path[1:].partition("/")[0]) or self._apps.get(path):
            return app
        if path == "/metrics" and method in {"GET", "HEAD"}:
            who = known(who)
            if not (who.kind == "service" and who.company == LOCAL):  # whoever watches the platform need not operate it
                who.require("operate")
            return self._prometheus
        if path == "/" and method in {"GET", "HEAD"} and b"text/html" not in header(scope, b"accept"):
            return _alive
        if path == "/" or path.startswith(("/console/", "/favicon")):
            return self._pages
        if path in {"/docs", "/docs/"} and method in {"GET", "HEAD"}:
            return self._index
        raise NotFound(detail=f"there is nothing at {method} {path}")

    async def _index(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = {path.split("/")[2] for path in self._apps if path.startswith("/docs/") and path.count("/") == 2}
        await answer(send, 200, *index(names))

    async def _own(self, method: str, path: str, who: Principal | None) -> App:
        """A door of the caller's company."""
        action = action_of(method, path)
        if action is None:  # the platform's health is that of its first company
            return (await self._tenant(LOCAL)).inference
        who = known(who)
        who.require(action)
        tenant = await self._tenant(who.company)
        if action == "ingest":
            return tenant.ingest
        return tenant.pages if path.startswith("/api/") else tenant.inference

    async def _prometheus(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, self._metrics(), [(b"content-type", b"text/plain; version=0.0.4")])


def known(who: Principal | None) -> Principal:
    """Raises Unauthenticated for nobody."""
    if who is None:
        raise Unauthenticated(detail="who are you? Send `Authorization: Bearer TOKEN`")
    return who


async def _alive(scope: Scope, receive: Receive, send: Send) -> None:
    await answer_json(send, {"status": "alive"})


_ONE = frozenset({b"host", b"origin"})
_LOOKS = frozenset({"GET", "HEAD"})
"""What a link from another site may do."""


class Guard:
    """Lets no page of another site in, nor a name that was made to point here (DNS rebinding).

    Args:
        hosts: Host headers that are ours; empty: any, and the Origin still has to match.
    """

    def __init__(self, app: App, hosts: set[bytes]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._foreign(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            message = "this address is served to pages and names of this machine only (foreign Host or Origin header)"
            await answer_json(send, {"error": message}, 403)

    def _foreign(self, scope: Scope) -> bool:
        host = header(scope, b"host").lower()
        if self._hosts and host not in self._hosts:
            return True
        if max(Counter(name for name, _ in scope["headers"] if name in _ONE).values(), default=0) > 1:
            return True  # which of them would count?
        if header(scope, b"sec-fetch-site") == b"cross-site" and scope.get("method", "GET") not in _LOOKS:
            return True
        origin = header(scope, b"origin").lower()
        return bool(origin) and origin.partition(b"://")[2] != host


LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def hosts(host: str, port: int, names: tuple[str, ...]) -> set[bytes]:
    """Host headers of a platform that listens on `host`; with a wildcard or public address any is accepted: empty."""
    if host not in LOOPBACK:
        return set()
    every = ("127.0.0.1", "localhost", "[::1]", *names)
    return {f"{name}{suffix}".lower().encode() for name in every for suffix in (f":{port}", "")} | {b""}
