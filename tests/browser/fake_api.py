"""A stand-in for the platform's JSON API with believable moving data, for the console's tests and for working on it.

``python tests/browser/fake_api.py --scenario running`` serves the console with it on port 8899. A photovoltaic plant's
hours pass at `speed` per second; two models forecast each day at local midnight, one well, one not so well.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from headrace import console

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script
from tests.browser import fake_hub, fake_trust

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_557_388_800_000  # 2019-05-09T08:00Z, local midnight at UTC-8
PEAK = 27_600.0
HOSTILE = '"><img src=x onerror="window.pwned=1"><script>window.pwned=1</script>/' + "long" * 40
SCENARIOS = ("running", "empty", "collecting", "hostile", "many", "odd", "older", "quiet", "warm", "failing", "same")
SCENARIOS += ("viewer", "locked", "published")
"""`failing`: the candidate stopped by an error; `same`: it forecasts as what is served; `older`: a platform without
intervals, alerts, shadows, reports; `quiet`: nothing to alarm about; `warm`: degrees; `viewer`: one who may only look;
`locked`: no session yet."""
NOMINAL = 0.9

Points = list[list[float | None]]
Series = Callable[[int], float]


def power(hour: int) -> float:
    """Mean W of the plant in the hour-th local hour since START: sun, times the day's clouds, times gusts."""
    day, of_day = divmod(hour, 24)
    sun = max(0.0, math.sin(math.pi * (of_day + 0.5 - 5) / 15)) ** 1.25 if 5 <= of_day < 20 else 0.0
    clouds: float = 1 - 0.8 * random.Random(day * 7919 + 3).random() ** 1.6
    gust: float = 1 - (1 - clouds) * 0.9 * random.Random(hour * 104729 + 11).random()
    return round(PEAK * 0.97 * sun * clouds * gust, 1)


def temperature(hour: int) -> float:
    """Mean °C of a store room in the hour-th local hour since START: nowhere near zero."""
    day, of_day = divmod(hour, 24)
    swing = 1.6 * math.sin(math.pi * (of_day - 9) / 12)
    return round(20.5 + 0.9 * math.sin(day / 3) + swing + random.Random(hour).gauss(0, 0.25), 2)


PARENT = {"id": "md_0123456789abcdef0123", "digest": "sha256:" + "5" * 64}
"""What the network started from."""


@dataclass
class Learner:
    """One fake model: how much of the coming day it guesses right, and what it has published."""

    name: str
    backend: str
    insight: float
    first_day: int
    shadow_of: str = ""
    coverage: list[dict[str, Any]] = field(default_factory=list)
    residuals: list[list[float]] = field(default_factory=list)
    forecasts: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)

    def foresee(self, series: Series, day: int, luck: float = 1.0) -> list[float]:
        hours = range(day * 24, day * 24 + 24)
        rough = [sum(series(hour - 24 * back) for back in range(1, 8)) / 7 for hour in hours]
        skill = luck * self.insight * random.Random(day * 31 + len(self.backend)).uniform(0, 1.6)
        return [round(skill * series(hour) + (1 - skill) * guess, 1) for hour, guess in zip(hours, rough, strict=True)]

    def band(self, values: list[float], low: float, high: float) -> tuple[list[float], list[float]] | None:
        """Around each value, quantiles of what was missed at hours nearby that hold about 90 %."""
        if len(self.residuals) < 4:
            return None
        lows, highs = [], []
        for step, value in enumerate(values):
            near = sorted(day[at] for day in self.residuals[-30:] for at in (step - 1, step, step + 1) if 0 <= at < 24)
            cut = round(0.08 * (len(near) - 1))
            lows.append(round(max(low, value + min(0.0, near[cut])), 1))
            highs.append(round(min(high, value + max(0.0, near[-1 - cut])), 1))
        return lows, highs

    def interval(self) -> dict[str, Any] | None:
        """Measured coverage and width over the last 30 scored days."""
        last = self.coverage[-30:]
        n, active = sum(one["n"] for one in last), sum(one["active"] for one in last)
        if not n or not active:
            return None
        return {
            "nominal": NOMINAL,
            "days": 30,
            "n": n,
            "coverage": sum(one["covered"] for one in last) / n,
            "width": sum(one["width"] * one["n"] for one in last) / n,
            "active": {
                "n": active,
                "coverage": sum(one["active_covered"] for one in last) / active,
                "width": sum((one["active_width"] or 0) * one["active"] for one in last) / active,
            },
        }


class Fake:
    """The platform as the page sees it. `advance` moves its clock; every change is an event."""

    def __init__(self, scenario: str = "running", speed: float = 6.0, days: float = 34.4) -> None:
        self.scenario, self.speed = scenario, speed
        self.began, self.wall = time.time(), time.monotonic()
        self.hour = 0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.trust = scenario != "older"
        self.series: Series = temperature if scenario == "warm" else power
        self.unit, self.low, self.high = ("°C", -30.0, 60.0) if scenario == "warm" else ("W", 0.0, PEAK)
        self.learners = {
            "pv-rls": Learner("pv-rls", "rls", 0.3, 8),
            "pv-gru": Learner("pv-gru", "torch-gru", 0.14, 10),
            "pv-ridge": Learner("pv-ridge", "ridge", 0.36, 9, shadow_of="pv-rls"),
        }
        if scenario in {"older", "quiet"}:
            del self.learners["pv-ridge"]
        if scenario == "collecting":
            days = 3.2
        self.first = round(days * 24)
        while scenario != "empty" and self.hour < self.first:
            self._pass_hour()
        self.events.clear()

    def advance(self) -> None:
        """Bring the plant's clock to where the wall clock says it should be."""
        if self.scenario == "empty":
            return
        due = self.first + int((time.monotonic() - self.wall) * self.speed)
        while self.hour < due:
            self._pass_hour()

    def _pass_hour(self) -> None:
        if self.hour % 24 == 0 and self.scenario != "collecting":
            for learner in self.learners.values():
                self._midnight(learner, self.hour // 24)
        point = [START + self.hour * HOUR, self.series(self.hour)]
        self.hour += 1
        for name in self.learners:
            self._tell("actual", name, "points", [point])

    def _midnight(self, learner: Learner, day: int) -> None:
        origin = START + day * DAY
        if learner.forecasts:
            self._score(learner, day - 1, origin - DAY)
        if day < learner.first_day:
            return
        values = learner.foresee(self.series, day)
        low, high = learner.band(values, self.low, self.high) or (None, None)
        forecast = {
            "id": f"{learner.name}-{origin}",
            "origin_ms": origin,
            "step_ms": HOUR,
            "values": values,
            "low": low,
            "high": high,
            "by": "live",
        }
        if self.trust:
            forecast["interval"] = learner.interval()
        learner.forecasts.append(forecast)
        self._tell("forecast", learner.name, "forecast", forecast)

    def _score(self, learner: Learner, day: int, origin: int) -> None:
        series, last = self.series, learner.forecasts[-1]
        truth = [series(day * 24 + step) for step in range(24)]
        guesses = {
            "live": last["values"],
            "persistence": [series(day * 24 + step - 24) for step in range(24)],
            "hour-mean": [sum(series(day * 24 + s - 24 * b) for b in range(1, 8)) / 7 for s in range(24)],
        }
        if len(learner.scores) > 2:
            guesses["champion"] = learner.foresee(series, day, 0.7 + 0.5 * (len(learner.decisions) % 3 == 0))
        self._cover(learner, last, truth)
        contenders = {
            name: _errors(truth, guess, self.high if self.unit == "W" else 8.0) for name, guess in guesses.items()
        }
        score = {"origin_ms": origin, "contenders": contenders}
        learner.scores.append(score)
        self._tell("score", learner.name, "score", score)
        self._decide(learner, origin, contenders)

    def _cover(self, learner: Learner, forecast: dict[str, Any], truth: list[float]) -> None:
        learner.residuals.append([a - b for a, b in zip(truth, forecast["values"], strict=True)])
        if not forecast["low"] or not self.trust:
            return
        bands = list(zip(forecast["low"], forecast["high"], truth, strict=True))
        light = [band for band in bands if abs(band[2]) > 0.02 * self.high]
        covered = {
            "origin_ms": forecast["origin_ms"],
            "n": len(bands),
            "covered": sum(low <= value <= high for low, high, value in bands),
            "active": len(light),
            "active_covered": sum(low <= value <= high for low, high, value in light),
            "width": sum(high - low for low, high, _ in bands) / len(bands),
            "active_width": sum(high - low for low, high, _ in light) / len(light) if light else None,
        }
        learner.coverage.append(covered)
        self._tell("coverage", learner.name, "coverage", covered)

    def _decide(self, learner: Learner, origin: int, errors: dict[str, Any]) -> None:
        number = len(learner.scores)
        recent = [score["contenders"] for score in learner.scores[-7:]]
        challenger = sum(one["live"]["mse"] for one in recent) / len(recent)
        both = [one["champion"]["mse"] for one in recent if "champion" in one]
        champion = sum(both) / len(both) if both and "champion" in errors else None
        gain = 1 - challenger / champion if champion else 0.0
        publish = number >= 3 and (champion is None or gain >= 0.05)
        if number < 3:
            reason = f"needs 3 scored days, has {number}"
        elif champion is None:
            reason = "first snapshot with enough scored days"
        else:
            words = f"{abs(gain):.1%} {'better' if gain >= 0 else 'worse'}".replace("%", " %")
            reason = f"challenger {words} over {len(recent)} days, needs 5 % better"
        decision = {
            "origin_ms": origin + DAY,
            "publish": publish,
            "reason": reason,
            "champion": champion,
            "challenger": challenger,
            "days": min(7, number),
            "snapshot": "sha256:" + hashlib.sha256(f"{learner.name} {number}".encode()).hexdigest() if publish else "",
        }
        learner.decisions.append(decision)
        self._tell("decision", learner.name, "decision", decision)

    def _tell(self, event: str, model: str, name: str, value: object) -> None:
        self.events.append((event, {"model": model, "key": "trio", name: value}))

    def overview(self) -> dict[str, Any]:
        running = self.scenario != "empty"
        base = self.hour * 3600 if running else 0
        topics = [self._topic("plant/trio/reading", "trio", base)] if running else []
        rejected: list[dict[str, Any]] = []
        if running and self.scenario != "collecting":
            rejected = [_rejected("plant/gate/status", "not JSON: expected a value at byte 0", "\x00\x17ERR 7")]
        if self.scenario == "hostile":
            topics.append(self._topic(HOSTILE, HOSTILE, base))
            rejected.append(_rejected(HOSTILE, HOSTILE, HOSTILE))
        if self.scenario == "hostile":
            topics[0]["quarantined"] = 12
        if self.scenario == "many":
            topics += [self._topic(f"plant/roof-{index}/reading", f"roof-{index}", base) for index in range(9)]
        models = [self._model(learner) for learner in self.learners.values()] if running else []
        if self.scenario == "failing":
            models[-1] |= {"state": "failed", "detail": "steps.py: ZeroDivisionError in line 3"}
        if self.scenario == "odd":
            models = _odd_models(models[0])
            topics[0]["devices"][0] |= {"fields": {"volume": None, "open": False, "tiny": 1e-7, "note": "x" * 99}}
            topics.append(
                {"topic": "plant/silent", "messages": 3, "rate": 0.0, "last_received_ms": 0, "quarantined": 3}
            )
            topics[-1]["devices"] = []
        rate = sum(topic["rate"] for topic in topics)
        found = {} if not self.trust else {"alerts": self.alerts()}
        return {
            **found,
            "version": "0.1.0",
            "started_ms": int(self.began * 1000),
            "addresses": {"http": "http://127.0.0.1:8080", "mqtt": "127.0.0.1:1883"},
            "ingest": {"messages": base, "rate": rate, "quarantined": len(rejected), "log_bytes": base * 82},
            "topics": topics,
            "models": models,
            "quarantine": {"count": len(rejected), "recent": rejected},
        }

    def _topic(self, topic: str, device: str, messages: int) -> dict[str, Any]:
        watts = power(self.hour) * random.uniform(0.97, 1.03)
        volts = [round(277 + random.uniform(-1.5, 1.5), 1) for _ in range(3)]
        fields: dict[str, Any] = {f"v{phase}": volt for phase, volt in enumerate(volts, 1)}
        fields |= {f"i{phase}": round(watts / 3 / 0.99 / volt, 3) for phase, volt in enumerate(volts, 1)}
        fields |= {"pf": 0.99} if "<" not in topic else {HOSTILE: HOSTILE, "on": True}
        units = {name: "V" if name[0] == "v" else "A" for name in fields if name[0] in "vi"}
        return {
            "topic": topic,
            "messages": messages,
            "rate": max(0.0, 3600 * self.speed * random.uniform(0.94, 1.04)),
            "last_received_ms": int(time.time() * 1000),
            "quarantined": 0,
            "devices": [{"device": device, "time_ms": START + self.hour * HOUR, "fields": fields, "units": units}],
        }

    def _model(self, learner: Learner) -> dict[str, Any]:
        ready = bool(learner.forecasts)
        return {
            **({"shadow_of": learner.shadow_of} if self.trust else {}),
            "name": learner.name,
            "backend": learner.backend,
            "parent": PARENT if learner.backend == "torch-gru" else None,
            "state": "live" if ready else "collecting",
            "detail": "" if ready else f"needs 16 d of readings, has {self.hour / 24:.1f} d",
            "progress": 1.0 if ready else self.hour / 24 / 16,
            "serve": "live",
            "keys": ["trio"],
            "topics": ["plant/+/reading"],
            "target": "power",
            "lag": 0,
            "published": sum(decision["publish"] for decision in learner.decisions),
            "snapshot": next((one["snapshot"] for one in reversed(learner.decisions) if one["publish"]), ""),
            "skill": {"trio": {name: one["skill"] for name, one in self._summary(learner, 0).items()}},
        }

    def detail(self, name: str, days: float) -> dict[str, Any]:
        learner = self.learners.get(name, self.learners["pv-rls"])
        since = START + self.hour * HOUR - days * DAY
        hours = range(max(0, self.hour - round(days * 24)), self.hour)

        def recent(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [item for item in items if item["origin_ms"] >= since]

        bare = self.scenario == "odd"
        coverage = {"coverage": recent(learner.coverage)} if self.trust and not bare else {}
        return {
            **coverage,
            "name": name,
            "key": "" if bare else "trio",
            "target": "power",
            "unit": None if bare else "litres per square metre and hour" if self.scenario == "hostile" else self.unit,
            "step_ms": HOUR,
            "timezone": "Etc/GMT+8",
            "horizon": 24,
            "actual": [[START + hour * HOUR, None if hour % 211 == 59 else self.series(hour)] for hour in hours],
            "forecasts": recent(learner.forecasts)[-1 if bare else 0 :],
            "scores": [] if bare else recent(learner.scores),
            "summary": {} if bare else self._summary(learner, since),
            "decisions": recent(learner.decisions),
        }

    def alerts(self) -> dict[str, Any]:
        """The overview's part: how many are active, and the newest of all."""
        all_ = self.alert_list()
        return {
            "active": sum(one["state"] == "active" for one in all_),
            "recent": all_[:20],
            "webhooks": {"pending": 0, "sent": 9, "failed": 0, "error": ""}
            | ({"failed": 3, "error": "the host is not known", "model": "pv-rls"} if self.scenario == "many" else {}),
        }

    def alert_list(self) -> list[dict[str, Any]]:
        if self.scenario in {"empty", "collecting"}:
            return []
        found = fake_trust.alerts(START + self.first * HOUR)
        if self.scenario == "many":
            found = [
                {
                    **found[0],
                    "id": f"{index + 100:024x}",
                    "key": f"roof-{index}",
                    "raised_ms": found[0]["raised_ms"] - index,
                }
                for index in range(250)
            ] + found[1:]
        if self.scenario == "hostile":
            found[0] |= {"message": HOSTILE, "rule": HOSTILE, "key": HOSTILE}
        return [one for one in found if one["state"] == "cleared"] if self.scenario == "quiet" else found

    def explanation(self, name: str, origin: int, baseline: str) -> dict[str, Any] | None:
        """As `GET /api/models/{name}/explanation` answers; None for a forecast that is not there."""
        learner = self.learners[name]
        forecast = next((one for one in learner.forecasts if one["origin_ms"] == origin), None)
        if forecast is None:
            return None
        first = (origin - START) // HOUR
        network = learner.backend == "torch-gru"
        if network:
            inputs = [(START + hour * HOUR, self.series(hour)) for hour in range(first - 36, first)]
            usual = [sum(self.series(h - 24 * back) for back in range(7)) / 7 for h in range(first - 36, first)]
            parts = fake_trust.window_explanation(inputs, usual, forecast["values"], baseline)
        else:
            values = [self._ten(first + step) for step in range(24)]
            parts = fake_trust.labelled_explanation(values, forecast["values"], baseline)
        if origin != learner.forecasts[-1]["origin_ms"]:
            parts["note"] = (
                "the model has learnt since: this is what it would forecast now from the same inputs, and why"
            )
        return {
            **{"name": name, "key": "trio", "origin_ms": origin, "step_ms": HOUR, "by": "live", "baseline": baseline},
            **{"method": "deeplift" if network else "linear", "completeness": 2.9e-7 if network else 4.4e-16},
            **{"note": "", "as_issued": origin == learner.forecasts[-1]["origin_ms"], "targets": list(range(1, 25))},
            **{"tolerance": 1e-5, "unit": self.unit, "prediction": forecast["values"]},
            **parts,
        }

    def _ten(self, hour: int) -> list[float]:
        series = self.series
        yesterday = [series(hour - hour % 24 - back) for back in range(1, 25)]
        week = sum(series(hour - 24 * back) for back in range(1, 8)) / 7
        return [
            *(series(hour - 24), series(hour - 25), series(hour - 23), series(hour - 48), week),
            *(sum(yesterday) / 24, max(yesterday)),
            *(2000 * math.sin(hour * math.pi / 12), 2000 * math.cos(hour * math.pi / 12), 0.0),
        ]

    def shadows(self, name: str) -> list[dict[str, Any]]:
        """Candidates of a served model, day by day."""
        square = self.high**2  # the days are compared in the square of the target's unit
        served = {one["origin_ms"]: square * one["contenders"]["live"]["mse"] for one in self.learners[name].scores}
        found = []
        for learner in self.learners.values():
            if learner.shadow_of != name:
                continue
            daily = [
                {
                    "day": _day(one["origin_ms"]),
                    "candidate": served[one["origin_ms"]]
                    if self.scenario == "same"
                    else square * one["contenders"]["live"]["mse"],
                    "served": served[one["origin_ms"]],
                }
                for one in learner.scores
            ]
            found += [fake_trust.shadow(learner.name, name, daily)] if daily else []
        return found

    def _summary(self, learner: Learner, since: float) -> dict[str, Any]:
        result: dict[str, Any] = {}
        scores = [score["contenders"] for score in learner.scores if score["origin_ms"] >= since]
        for name in ("live", "champion", "persistence", "hour-mean"):
            own = [score for score in scores if name in score]
            if not own:
                continue
            means = {
                what: round(sum(score[name][what] for score in own) / len(own), 6)
                for what in ("mse", "mae", "daylight_mse")
            }
            yard = sum(score["hour-mean"]["mse"] for score in own) / len(own)
            result[name] = {**means, "skill": round(1 - means["mse"] / yard, 4), "days": len(own)}
        return result


def _odd_models(usual: dict[str, Any]) -> list[dict[str, Any]]:
    """One model over everything, one that failed, one that no device has fed yet."""
    failed = {"state": "failed", "detail": "checkpoint of another version: run `headrace rebuild pv-gru`", "skill": {}}
    waiting = {
        "state": "waiting",
        "detail": "no topic matches shop/+/door",
        "progress": 0.0,
        "snapshot": "",
        "skill": {},
    }
    return [
        {**usual, "name": "whole-site", "keys": [""], "skill": {}},
        {**usual, "name": "pv-gru", "keys": [], **failed},
        {**usual, "name": "door", "keys": [], "topics": ["shop/+/door"], "published": 0, **waiting},
    ]


def _day(ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(ms / 1000 - 8 * 3600))


def _errors(truth: list[float], guess: list[float], scale: float) -> dict[str, Any]:
    off = [(a - b) / scale for a, b in zip(truth, guess, strict=True)]
    light = [error for error, a in zip(off, truth, strict=True) if a > 0.02 * scale]
    return {
        "mse": sum(error**2 for error in off) / len(off),
        "mae": sum(abs(error) for error in off) / len(off) * scale,
        "n": len(off),
        "daylight_mse": sum(error**2 for error in light) / max(1, len(light)),
    }


def _rejected(topic: str, reason: str, preview: str) -> dict[str, Any]:
    now = int(time.time() * 1000)
    return {"position": 12_345, "topic": topic, "reason": reason, "preview": preview, "received_ms": now}


def create(fake: Fake) -> ASGIApp:
    """The console's own routes and the fake API behind them."""
    hub = fake_hub.Hub(fake.scenario, HOSTILE)

    async def overview(_: Request) -> Response:
        fake.advance()
        return JSONResponse(fake.overview())

    async def model(request: Request) -> Response:
        fake.advance()
        if request.path_params["name"] not in {*fake.learners, "whole-site"}:
            return JSONResponse({"error": "no such model"}, 404)
        return JSONResponse(fake.detail(request.path_params["name"], float(request.query_params.get("days", "7"))))

    async def events(_: Request) -> Response:
        return StreamingResponse(_stream(fake), media_type="text/event-stream", headers={"cache-control": "no-store"})

    api = [Route("/api/overview", overview), Route("/api/models/{name}", model), Route("/api/events", events)]
    app = Starlette(routes=[*api, *(_trust(fake) if fake.trust else []), *fake_hub.routes(hub), *console.routes()])
    return fake_hub.Door(app, hub)


def _trust(fake: Fake) -> list[Route]:
    """The routes an older platform does not have."""

    async def explanation(request: Request) -> Response:
        name, asked = request.path_params["name"], request.query_params
        if name not in fake.learners:
            return JSONResponse({"error": f"backend of {name} cannot be explained"}, 501)
        found = fake.explanation(name, int(asked["origin_ms"]), asked.get("baseline", "profile"))
        return JSONResponse(found) if found else JSONResponse({"error": "no forecast with this origin is kept"}, 404)

    async def shadows(request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(fake.shadows(name) if name in fake.learners else [])

    async def alerts(request: Request) -> Response:
        return JSONResponse(fake.alert_list())

    async def reports(_: Request) -> Response:
        kept = ("name", "title", "kind", "received_ms")
        return JSONResponse([{name: one[name] for name in kept} for one in _reports(fake)])

    async def report(request: Request) -> Response:
        found = [one for one in _reports(fake) if one["name"] == request.path_params["name"]]
        return JSONResponse(found[0]) if found else JSONResponse({"error": "no such report"}, 404)

    return [
        Route("/api/models/{name}/explanation", explanation),
        Route("/api/models/{name}/shadows", shadows),
        Route("/api/alerts", alerts),
        Route("/api/reports", reports),
        Route("/api/reports/{name}", report),
    ]


def _reports(fake: Fake) -> list[dict[str, Any]]:
    if fake.scenario in {"empty", "collecting", "quiet"}:
        return []
    found = fake_trust.reports(int(fake.began * 1000))
    if fake.scenario == "hostile":
        found[0] |= {"title": HOSTILE, "notes": [HOSTILE]}
        found[0]["rows"][0]["model"] = HOSTILE
        found[0]["rows"][1]["mse"] = found[0]["figures"][0]["series"][0]["values"][3] = 1e308
        found[0]["figures"][0]["series"][1]["values"][4] = -1e308
    return found


async def _stream(fake: Fake) -> AsyncIterator[str]:
    told, tick = len(fake.events), 0
    while True:
        fake.advance()
        if tick % 4 == 0:
            yield f"event: overview\ndata: {json.dumps(fake.overview())}\n\n"
        for event, data in fake.events[told:]:
            yield f"event: {event}\ndata: {json.dumps(data)}\n\n"
        told, tick = len(fake.events), tick + 1
        await asyncio.sleep(0.25)


if __name__ == "__main__":
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=SCENARIOS, default="running")
    parser.add_argument("--speed", type=float, default=6.0, help="hours of the plant per second")
    parser.add_argument("--port", type=int, default=8899)
    given = parser.parse_args()
    uvicorn.run(create(Fake(given.scenario, given.speed)), host="127.0.0.1", port=given.port)
