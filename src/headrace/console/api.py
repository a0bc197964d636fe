"""The JSON behind the page and the command line: what runs, what arrives, what was forecast. Times are ms since the epoch."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from headrace import __version__, distrust
from headrace.access import Principal
from headrace.console.aside import Aside
from headrace.errors import BadInput, FixedLimit, HeadraceError, Unsupported
from headrace.records import DAY, Record
from headrace.services.entrance import PRINCIPAL, still
from headrace.services.gateway.service import GatewayService
from headrace.services.http import DAMAGED, Scope, code
from headrace.services.learning.catalogue import Catalogue
from headrace.services.learning.deployed import doors
from headrace.services.learning.explanations import Ask, Explanations
from headrace.services.learning.patiently import patiently
from headrace.services.learning.registry import Entered
from headrace.services.learning.residuals import residuals
from headrace.services.learning.service import LearningService
from headrace.services.learning.store import SAID, Store
from headrace.services.learning.view import View
from headrace.spec import parse_all
from headrace.streams.logs import Log

MS = 1_000_000
LIMIT = 4 * 2**20
"""Bytes of a spec with its files."""
WHOLE = 8 * 2**20
"""Bytes of payload in an answer that gives messages whole."""
PULSE = 1.0
"""Seconds between pushed overviews."""
REMEMBERED = 1000
"""Topics whose rate is followed."""
LISTENERS = 100
"""Pages that are pushed to at one time."""
NEWS = 500
"""Events of a stranger's model that a page is sent a second."""
DROPPED = 2**16
"""Bytes of a worker's counts of what it dropped."""
SHOWN_TOPICS = 50
SHOWN_DEVICES = 20
"""Devices of a topic in the overview; `inspect` lists more."""


class ConsoleApi:
    """Routes under ``/api``.

    Args:
        addresses: where the doors are, for people to copy.
        catalogue: applies and deletes.
        received: how many messages the doors have taken in since the start.
    """

    def __init__(
        self,
        log: Log,
        gateway: GatewayService,
        learning: LearningService,
        explanations: Explanations,
        addresses: dict[str, str],
        catalogue: Catalogue,
        more: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._log, self._gateway, self._learning, self._addresses, self._more = log, gateway, learning, addresses, more
        self._explanations = explanations
        self._catalogue = catalogue
        self._started = time.time_ns() // MS
        self._rates = Rates()
        self._listeners = 0
        self._pulsed = -PULSE, b""
        self.closing = asyncio.Event()
        self._aside = Aside(self._look)

    def close(self) -> None:
        """Push nothing more, look at nothing more."""
        self.closing.set()
        self._aside.close()

    def routes(self) -> list[Route]:
        """Starlette routes."""
        return [
            Route("/api/overview", safe(self._overview)),
            Route("/api/models/{name}", safe(self._model)),
            Route("/api/models/{name}/explanation", safe(self._explanation)),
            Route("/api/models/{name}/shadows", safe(self._shadows)),
            Route("/api/models/{name}/promote", safe(self._promote), methods=["POST"]),
            Route("/api/models/{name}/residuals", safe(self._residuals)),
            Route("/api/events", self._events),
            Route("/api/specs", safe(self._specs), methods=["GET"]),
            Route("/api/specs", safe(self._apply), methods=["PUT"]),
            Route("/api/specs/{name}", safe(self._delete), methods=["DELETE"]),
            Route("/api/deployments", safe(self._deployments)),
            Route("/api/deployments/providers", safe(self._providers)),
            Route("/api/alerts", safe(self._alerts)),
            Route("/api/topics", safe(self._topics)),
            Route("/api/topics/{topic:path}", safe(self._inspect)),
            Route("/api/quarantine", safe(self._quarantine), methods=["GET"]),
            Route("/api/quarantine/replay", safe(self._replay), methods=["POST"]),
            Route("/api/records/{topic:path}", safe(self._records)),
        ]

    # -- what runs

    async def refresh(self) -> None:
        """Look at the files a stranger may have written, where it is time for it."""
        await self._aside.refresh(self._learning.views.values())

    def overview(self) -> dict[str, Any]:
        """Everything at a glance; of very many topics, the newest. Of strangers' models, what `refresh` saw."""
        topics = self._gateway.topics(SHOWN_TOPICS, SHOWN_DEVICES)
        for topic in topics:
            topic["rate"] = self._rates.of(topic["topic"], topic["messages"])
        return {
            "version": __version__,
            "started_ms": self._started,
            "addresses": self._addresses,
            "ingest": {
                "messages": self._gateway.messages(),
                "rate": self._rates.of("", self._gateway.messages()),
                "quarantined": self._gateway.quarantined(),
                "log_bytes": self._log.size(),
                "behind": max(0, self._log.end() - self._gateway.understood.position()),
            },
            "topics": topics,
            "known": self._gateway.known(),
            "models": [self.summary(entered) for entered in self._learning.entered()],
            "alerts": self._alerts_overview(),
            "quarantine": {"count": self._gateway.quarantined(), "recent": self._gateway.quarantine(20)},
            **self._more(),
        }

    def _alerts_overview(self) -> dict[str, Any]:
        views, alerting = list(self._learning.views.values()), self._learning.alerting
        if all(view.trusted for view in views):
            return alerting.overview(views)
        return {**self._aside.alerts(views), "webhooks": alerting.deliveries()}

    def summary(self, entered: Entered) -> dict[str, Any]:
        """One model in a few words, also while its file cannot be read."""
        view = self._learning.view(entered.name)
        if not view.trusted:
            return self._strange(entered, view)
        try:
            return self._summary(entered, view)
        except sqlite3.Error as error:
            view.close()
            detail = f"its state cannot be read: {error}"
            return {**self._summary(entered, view, without=True), "state": "restarting", "detail": detail}

    def _strange(self, entered: Entered, view: View) -> dict[str, Any]:
        """What was last seen of a model whose file a stranger may have written, and what is known without a look."""
        seen = self._aside.seen(view)
        found = self._summary(entered, view, without=True) if seen is None else seen.summary
        if (trouble := self._learning.trouble_of(view)) is None and seen is None:
            shut = distrust.locked_for(view.path) > PULSE
            detail = "its worker keeps it locked" if shut else "its state is being read"
            trouble = "restarting" if shut else "waiting", detail
        about = {} if trouble is None else {"state": trouble[0], "detail": trouble[1]}
        return {**found, "lag": self._lag(view), **about}

    def _look(self, view: View) -> tuple[dict[str, Any], dict[str, Any]]:
        """(summary, alerts) of a stranger's model, in a thread of its own."""
        alerting = self._learning.alerting
        alerts = {"active": sum(alerting.active([view]).values()), "recent": alerting.found([view], limit=20)}
        return self._summary(view.entered, view), alerts

    def _lag(self, view: View) -> int:
        return max(0, self._log.end() - view.position) if not view.failed else 0

    def _summary(self, entered: Entered, view: View, *, without: bool = False) -> dict[str, Any]:
        store, spec = None if without else view.store, entered.plan.spec
        state, detail = ("", "") if without else self._learning.state_of(view)
        published = [row for row in store.decisions() if row[2]] if store is not None else []
        progress = float(store.get("progress") or 0.0) if store is not None else 0.0
        if state == "collecting":
            days = spec.learning.initial / DAY
            detail = f"needs {days:g} days of readings before the first fit, has {progress * days:.1f}"
            if store is not None and store.get("trouble"):
                detail = str(store.get("trouble"))[:SAID]
        if store is not None and state != "failed" and store.get("unheard"):
            detail = "; ".join(filter(None, [detail, str(store.get("unheard"))[:SAID]]))
        return {
            "name": entered.name,
            "backend": spec.backend.name,
            "parent": _parent(entered),
            "state": state,
            "detail": detail,
            "progress": progress,
            "serve": spec.publish.serve,
            "shadow_of": spec.shadow,
            "keys": store.lanes() if store is not None else [],
            "topics": list(spec.input.topics),
            "target": spec.input.target,
            "lag": self._lag(view),
            "dropped": _dropped(store.get("dropped")) if store is not None else {},
            "published": len(published),
            "snapshot": published[-1][7] if published else "",
            "skill": skills(view) if store is not None else {},
        }

    async def _overview(self, request: Request) -> Any:
        await self.refresh()
        return self.overview()

    async def _model(self, request: Request) -> Any:
        view = self._learning.view(request.path_params["name"])
        days, key = _number(request, "days", 7, 0.1, 400), request.query_params.get("key")
        return await self._aside.read(view, lambda seen: model(seen, key or seen.default_key(), days))

    async def _explanation(self, request: Request) -> Any:
        """Contributions of the inputs of an issued forecast, by default the last."""
        if request.path_params["name"] in self._catalogue.deployments.known:
            doors.refuse(request.path_params["name"], "explain")
        query = request.query_params
        targets = (int(_number(request, "target", 1, 1, 10_000)),) if "target" in query else ()
        ask = Ask(query.get("key", ""), query.get("method", ""), query.get("baseline", ""), targets)
        origin = int(_number(request, "origin_ms", 0, 0, 2**53)) if "origin_ms" in query else None
        return await self._explanations.issued(request.path_params["name"], ask, origin)

    async def _shadows(self, request: Request) -> Any:
        return await self._learning.shadows(request.path_params["name"])

    async def _promote(self, request: Request) -> Any:
        name = request.path_params["name"]
        return {"promoted": name, "model": await self._learning.promote(name)}

    async def _alerts(self, request: Request) -> Any:
        query = request.query_params
        active = query.get("active", "") not in {"", "0", "false"}
        limit = int(_number(request, "limit", 100, 1, 1000))
        return self._learning.alerts(query.get("model", ""), query.get("key", ""), active=active, limit=limit)

    async def _residuals(self, request: Request) -> Any:
        view = self._learning.view(request.path_params["name"])
        key, days = request.query_params.get("key") or view.default_key(), _number(request, "days", 30, 0.1, 400)
        if not view.plan.grid:
            raise Unsupported(detail=f"model {view.name!r} predicts record by record; its residuals are not kept")
        view.last(key)  # says what is wrong if there is no forecast
        if view.trusted:
            found = await asyncio.to_thread(residuals_of, view, key, days)
        else:
            found = await self._aside.read(view, lambda seen: residuals_of(seen, key, days))
        return {"name": view.name, "key": key, "unit": view.plan.spec.input.unit, "days": days, "residuals": found}

    # -- specs

    async def _specs(self, request: Request) -> Any:
        await self.refresh()
        return [
            {"name": e.name, "generation": e.generation, "spec": e.applied.plain, **_brief(self.summary(e))}
            for e in self._learning.entered()
        ]

    async def _apply(self, request: Request) -> Any:
        body = await _body(request)
        try:
            wanted = msgspec.json.decode(body, type=SpecFile)
        except DAMAGED as error:
            raise BadInput(detail=f'expected {{"text": "...", "file": "...", "files": {{}}}}: {error}') from error
        documents = await asyncio.to_thread(parse_all, wanted.text, wanted.file)
        who: Principal | None = request.scope.get(PRINCIPAL)
        if "dry_run" in request.query_params:
            return {"changes": await self._catalogue.diff(documents, wanted.files, who)}
        changes = await self._catalogue.apply(documents, wanted.files, who)
        parents = {e.name: _parent(e) for e in self._learning.entered() if e.name in changes and e.applied.parent}
        return {"changes": changes, "parents": parents} if parents else {"changes": changes}

    async def _delete(self, request: Request) -> Any:
        await self._catalogue.delete(request.path_params["name"])
        return {"deleted": request.path_params["name"]}

    async def _deployments(self, request: Request) -> Any:
        return self._catalogue.deployments.listed()

    async def _providers(self, request: Request) -> Any:
        """Execution providers there are; asks the process that runs the models."""
        return await self._catalogue.deployments.here()

    # -- streams

    async def _topics(self, request: Request) -> Any:
        return self._gateway.topics()

    async def _inspect(self, request: Request) -> Any:
        return await self._gateway.inspect(request.path_params["topic"])

    async def _quarantine(self, request: Request) -> Any:
        return self._gateway.quarantine(int(_number(request, "limit", 50, 1, 1000)))

    async def _replay(self, request: Request) -> Any:
        return {"replayed": await self._gateway.replay(request.query_params.get("topic"))}

    async def _records(self, request: Request) -> Any:
        """Raw messages of a topic, from an offset on; without one, the newest. With ``whole``: to decode elsewhere."""
        topic, limit = request.path_params["topic"], int(_number(request, "limit", 20, 1, 1000))
        if "offset" in request.query_params:
            partition = int(_number(request, "partition", 0, 0, 2**31))
            found = self._log.at(topic, partition, int(_number(request, "offset", 0, 0, 2**62)), limit)
        else:
            found = self._log.last(topic, limit)
        return _whole(found) if "whole" in request.query_params else [_plain(record) for record in found]

    # -- pushed

    async def _events(self, request: Request) -> Response:
        if self._listeners >= LISTENERS:
            return Response("too many open pages; close some", 503)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._pushed(request.scope), media_type="text/event-stream", headers=headers)

    async def _pushed(self, scope: Scope) -> AsyncIterator[bytes]:
        self._listeners += 1
        feed = Feed()
        try:
            while not self.closing.is_set() and await still(scope):
                await self.refresh()
                yield self._pulse()
                for event, data in await self._news(feed):
                    yield _event(event, data)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.closing.wait(), PULSE)
        finally:
            self._listeners -= 1

    async def _news(self, feed: Feed) -> list[tuple[str, dict[str, Any]]]:
        found: list[tuple[str, dict[str, Any]]] = []
        for view in [self._learning.view(name) for name in self._learning.names()]:
            with contextlib.suppress(sqlite3.Error):  # its worker is putting a new file there
                news = await self._aside.read(view, feed.news)
                found += news if view.trusted else news[-NEWS:]
        return found

    def _pulse(self) -> bytes:
        """The overview as an event, made once for all pages that want it now."""
        now = time.monotonic()
        if now - self._pulsed[0] > PULSE / 2:
            self._pulsed = now, _event("overview", self.overview())
        return self._pulsed[1]


class SpecFile(msgspec.Struct):
    """Body of an apply."""

    text: str
    file: str = "headrace.yaml"
    files: dict[str, str] = {}


class Rates:
    """Messages per second over the last few seconds, from running counts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, list[tuple[float, int]]] = {}

    def of(self, name: str, count: int) -> float:
        """The rate of a counter that now stands at `count`."""
        now = self._clock()
        if len(self._seen) > REMEMBERED:
            self._seen.clear()
        seen = self._seen.setdefault(name, [])
        if not seen or now - seen[-1][0] > 0.4:
            seen.append((now, count))
        while len(seen) > 2 and now - seen[0][0] > 5:
            seen.pop(0)
        elapsed = now - seen[0][0]
        return round((count - seen[0][1]) / elapsed, 1) if elapsed > 0.2 else 0.0


class Feed:
    """What one page has been told already."""

    def __init__(self) -> None:
        self._actual: dict[tuple[str, str], int] = {}
        self._counts: dict[tuple[str, str, str], int] = {}

    def news(self, view: View) -> list[tuple[str, dict[str, Any]]]:
        """Events since the last call; none on the first: the page has just loaded the whole."""
        store = view.store
        if store is None:
            return []
        found: list[tuple[str, dict[str, Any]]] = []
        for key in store.lanes():
            place = (f"{view.name}@{view.entered.generation}", key)
            since = self._actual.get(place)
            newest = store.newest_actual(key)
            self._actual[place] = newest
            head = {"model": view.name, "key": key}
            if since is not None and newest > since:
                points = [[t // MS, v] for t, v in store.actuals(key, since)]
                found.append(("actual", {**head, "points": points}))
                found += [("score", {**head, "score": one}) for one in self._new(place, "score", scores(view, key))]
                found += [
                    ("coverage", {**head, "coverage": c}) for c in self._new(place, "coverage", coverage(view, key))
                ]
                found += [
                    ("decision", {**head, "decision": d}) for d in self._new(place, "decision", decisions(view, key))
                ]
            found += [("forecast", {**head, "forecast": f}) for f in self._forecast(place, view, key)]
        return found

    def _new(self, place: tuple[str, str], kind: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        known = self._counts.get((*place, kind), len(items) if not self._counts else 0)
        self._counts[*place, kind] = len(items)
        return items[known:]

    def _forecast(self, place: tuple[str, str], view: View, key: str) -> list[Any]:
        assert view.store is not None
        latest = view.store.latest(key)
        if latest is None:
            return []
        forecast = msgspec.json.decode(latest[1])
        stamp = hash(forecast["id"])
        if self._counts.get((*place, "forecast")) == stamp:
            return []
        self._counts[*place, "forecast"] = stamp
        return [forecast]


def _parent(entered: Entered) -> dict[str, str] | None:
    """What a model started from."""
    found = entered.applied.parent
    return None if found is None else {"id": found.id, "digest": found.digest}


def model(view: View, key: str, days: float) -> dict[str, Any]:
    """One model and key: the series, the forecasts, the scores, the decisions."""
    spec, store = view.plan.spec, view.store
    grid: dict[str, Any] = {"actual": [], "forecasts": [], "scores": [], "coverage": [], "summary": {}, "decisions": []}
    if store is not None:
        newest = store.newest_actual(key)
        since = newest - round(days * DAY)
        bodies = store.forecasts(key, since if view.plan.grid else 0)[-400:]
        grid = {
            "actual": [[t // MS, v] for t, v in store.actuals(key, since)],
            "forecasts": [msgspec.json.decode(body) for body in _few(bodies)],
            "scores": scores(view, key),
            "coverage": coverage(view, key),
            "summary": summary(view, key),
            "decisions": decisions(view, key),
        }
    return {
        "name": view.name,
        "key": key,
        "target": spec.input.target,
        "unit": spec.input.unit,
        "step_ms": view.plan.context.every // MS,
        "timezone": spec.input.timezone,
        "horizon": spec.forecast.horizon,
        **grid,
    }


def _few(bodies: list[bytes]) -> list[bytes]:
    """The newest forecasts, as many as a page can be sent."""
    total = itertools.accumulate(len(body) for body in reversed(bodies))
    return bodies[len(bodies) - sum(size <= WHOLE for size in total) :]


def _dropped(stored: bytes | None) -> Any:
    """Counts by reason, as a worker stored them."""
    return msgspec.json.decode(stored) if stored and len(stored) <= DROPPED else {}


def residuals_of(view: View, key: str, days: float) -> list[list[float]]:
    """[target time, truth - forecast] of the served forecasts of one key, through a connection of this thread's own."""
    store = Store(view.path, blame=None if view.trusted else view.distrust, aside=True)
    try:
        return [[time_ // MS, value] for time_, value in residuals(store, key, days)]
    finally:
        store.close()


def coverage(view: View, key: str) -> list[dict[str, Any]]:
    """What the bands of scored forecasts held, oldest first; widths are means, in the target's unit."""
    rows = view.store.coverage(key) if view.store is not None else []
    return [
        {
            "origin_ms": origin // MS,
            "n": n,
            "covered": covered,
            "active": active,
            "active_covered": active_covered,
            "width": width / n,
            "active_width": active_width / active if active else None,
        }
        for origin, n, covered, width, active, active_covered, active_width in rows
    ]


def scores(view: View, key: str) -> list[dict[str, Any]]:
    """Scored forecasts, oldest first, with each contender's numbers."""
    found: dict[int, dict[str, Any]] = {}
    for _, origin, contender, n, squared, absolute, daylight, daylight_squared in _score_rows(view, key):
        if n:
            found.setdefault(origin, {})[contender] = {
                "mse": squared / n,
                "mae": absolute / n,
                "n": n,
                "daylight_mse": daylight_squared / daylight if daylight else None,
            }
    return [{"origin_ms": origin // MS, "contenders": contenders} for origin, contenders in sorted(found.items())]


def summary(view: View, key: str) -> dict[str, Any]:
    """Each contender over all scored forecasts of a key, with its skill over the hour-of-day mean."""
    sums: dict[str, list[float]] = {}
    days: dict[str, set[int]] = {}
    for _, origin, contender, n, squared, absolute, daylight, daylight_squared in _score_rows(view, key):
        row = sums.setdefault(contender, [0.0] * 5)
        for index, value in enumerate((n, squared, absolute, daylight, daylight_squared)):
            row[index] += value
        days.setdefault(contender, set()).add(origin // DAY)
    reference = _mean(sums.get("hour-mean"), 1, 0)
    return {
        contender: {
            "mse": _mean(row, 1, 0),
            "mae": _mean(row, 2, 0),
            "daylight_mse": _mean(row, 4, 3),
            "skill": 1 - (_mean(row, 1, 0) or 0.0) / reference if reference else None,
            "days": len(days[contender]),
        }
        for contender, row in sums.items()
    }


def skills(view: View) -> dict[str, dict[str, float | None]]:
    """Skill of each contender, by key."""
    keys = view.store.lanes() if view.store is not None else []
    return {key: {name: one["skill"] for name, one in summary(view, key).items()} for key in keys[:20]}


def decisions(view: View, key: str) -> list[dict[str, Any]]:
    """What the gate decided, oldest first."""
    rows = view.store.decisions(key) if view.store is not None else []
    return [
        {
            "origin_ms": time_ // MS,
            "publish": bool(publish),
            "reason": reason,
            "champion": champion,
            "challenger": challenger,
            "days": days,
            "snapshot": snapshot,
        }
        for _, time_, publish, reason, champion, challenger, days, snapshot in rows
    ]


def _score_rows(view: View, key: str) -> list[tuple[Any, ...]]:
    return view.store.scores(key) if view.store is not None else []


def _mean(row: list[float] | None, total: int, count: int) -> float | None:
    return row[total] / row[count] if row and row[count] else None


def _brief(summary_: dict[str, Any]) -> dict[str, Any]:
    return {name: summary_[name] for name in ("backend", "state", "detail", "keys", "lag", "published", "shadow_of")}


def _number(request: Request, name: str, default: float, low: float, high: float) -> float:
    try:
        number = float(request.query_params.get(name, default))
        if math.isnan(number):
            raise ValueError(name)
        return min(high, max(low, number))
    except ValueError as error:
        raise BadInput(detail=f"{name} is not a number") from error


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LIMIT:
            raise FixedLimit(what="the spec with its files", size=len(body), limit=LIMIT)
    return body


def _event(name: str, data: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


def _plain(record: Record) -> dict[str, Any]:
    return {
        "position": record.position,
        "topic": record.stream,
        "partition": record.partition,
        "offset": record.offset,
        "received_ms": record.received // MS,
        "headers": record.headers.decode("utf-8", "replace"),
        "bytes": len(record.payload),
        "payload": record.payload[:4096].decode("utf-8", "replace"),
    }


def _whole(records: list[Record]) -> list[dict[str, Any]]:
    """Messages as they were stored, at least one and then up to `WHOLE` bytes of payload in all."""
    found: list[dict[str, Any]] = []
    size = 0
    for record in records:
        size += len(record.payload)
        if found and size > WHOLE:
            break
        payload = base64.b64encode(record.payload).decode()
        exact = {"received_ns": record.received, "time_ns": record.time, "payload_base64": payload}
        found.append({**_plain(record), **exact, "payload": ""})
    return found


def safe(handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """The handler's value as JSON, our errors as ``{"error": ...}``."""

    async def endpoint(request: Request) -> Response:
        try:
            once = request.method != "GET"
            value, status = await (handler(request) if once else patiently(lambda: handler(request))), 200
        except HeadraceError as error:
            value, status = {"error": str(error)}, code(error)
        except sqlite3.Error as error:
            value, status = {"error": f"the state of a model cannot be read now ({error}); try again"}, 503
        return Response(msgspec.json.encode(value), status, media_type="application/json")

    return endpoint
