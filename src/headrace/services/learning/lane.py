"""A lane: everything one model knows about one key. Pure: rows in, effects out, no I/O, no clock.

Its state after a row is a function of the rows before it alone: however they were cut into blocks, wherever the process
was killed and started again from `state`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from headrace.errors import LearningError
from headrace.events import Alert, Covered, Decision, Prediction, Score
from headrace.models.transformers.blocks import ahead, masked
from headrace.records import DAY, SECOND, Array, Rows
from headrace.services.learning.alerts import AlertBook
from headrace.services.learning.coverage import Coverage, count
from headrace.services.learning.gate import Gate, Verdict
from headrace.services.learning.plan import Contender, Plan
from headrace.services.learning.profile import Profile
from headrace.states import digest

LIVE, CHAMPION = "live", "champion"
TICKS = DAY
"""Ticks move a lane at most this far beyond its last reading, ns."""
REASON = 300
"""Characters kept of why a backend refused examples."""
ACTIVE = 0.02
"""A target counts as active (daylight, for PV) above this fraction of the scale."""


@dataclass
class Effects:
    """What a block of rows led to, for the store. The same effect may be produced again after a crash."""

    predictions: list[tuple[int, Prediction]] = field(default_factory=list)
    """With their ordinal within the lane."""
    scores: list[Score] = field(default_factory=list)
    covered: list[Covered] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    snapshots: dict[str, bytes] = field(default_factory=dict)
    """Published weights by digest."""
    actuals: list[tuple[int, float]] = field(default_factory=list)
    """Grid series in the target's unit."""
    filled: list[int] = field(default_factory=list)
    """Times of those that were filled in: no truth to hold a forecast against."""
    published: bool = False
    stream: list[tuple[int, NDArray[np.int64], Array]] = field(default_factory=list)
    """Record-wise predictions: (ordinal of the first, event times they were made at, values in the target's unit)."""
    alerts: list[Alert] = field(default_factory=list)
    """Raised, or raised before and cleared now."""


class Lane(Protocol):
    """One key's learner."""

    effects: Effects
    plan: Plan

    def process(self, rows: Rows) -> None:
        """Readings, deduplicated, in log order."""
        ...

    def tick(self, time: int) -> None:
        """Wall-clock time has come this far."""
        ...

    def learn(self, x: Array, y: Array) -> None:
        """Train on demand; both empty: rehearse what is remembered."""
        ...

    def feedback(self, origin: int, y: Array) -> bool:
        """The outcome of an issued forecast, from outside; whether it was awaited."""
        ...

    def evidence(self) -> dict[str, Any]:
        """What explanations need beside the weights: origin and inputs of the newest forecast, the mean profile."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        ...


def identity(plan_digest: str, key: str, origin: int) -> str:
    """A prediction's id: the same for the same spec, key and origin, wherever it is computed."""
    return hashlib.blake2b(f"{plan_digest}\0{key}\0{origin}".encode(), digest_size=9).hexdigest()


class LocalTime:
    """Local days and schedules of one time zone."""

    def __init__(self, name: str) -> None:
        self._zone = ZoneInfo(name)

    def local(self, time: int) -> int:
        """`time` moved by the zone's offset: its local wall-clock as ns."""
        offset = datetime.fromtimestamp(time // SECOND, UTC).astimezone(self._zone).utcoffset()
        assert offset is not None
        return time + int(offset.total_seconds()) * SECOND

    def day(self, time: int) -> int:
        """Number of the local day."""
        return self.local(time) // DAY

    def due(self, time: int, step: int, every: int, at: int = 0) -> bool:
        """Whether the schedule "each `every`, counted from local midnight + `at`" has come due in the step before `time`.

        Where grid windows do not end at local midnight (steps of more than an hour, in summer), the first that ends after
        it counts.
        """
        now, before = self.local(time) - at, self.local(time - step) - at
        return now % every == 0 or now // every > before // every


@dataclass
class Example:
    """Inputs at an origin, and the targets as they become known."""

    origin: int
    x: Array
    y: Array
    known: int = 0
    forecasts: dict[str, Array] = field(default_factory=dict)
    """What each contender predicted, if a forecast was issued at this origin."""
    yard: dict[str, Array] = field(default_factory=dict)
    """The baselines' inputs, if they are to learn from this example."""
    served: str = ""
    """Which of `forecasts` was issued."""
    band: list[Array] = field(default_factory=list)
    """Lower and upper bound it was issued with, in the target's unit; empty if with none."""


class Memory:
    """Completed examples: those new since the last learning, and older ones to rehearse."""

    def __init__(self, keep: int | None) -> None:
        self._keep = keep
        """ns of origins to rehearse; None: all."""
        self.examples: list[tuple[int, Array, Array]] = []
        self.fresh = 0
        """How many at the end are new."""

    def add(self, example: Example) -> None:
        """A completed example."""
        self.examples.append((example.origin, example.x, example.y))
        self.fresh += 1

    def forget(self) -> None:
        """After learning: drop what is too old to rehearse."""
        self.fresh = 0
        if self._keep is not None and self.examples:
            oldest = self.examples[-1][0] - self._keep
            self.examples = [item for item in self.examples if item[0] > oldest]

    def arrays(self, start: int, stop: int, shape: tuple[int, ...], horizon: int) -> tuple[Array, Array]:
        """(x, y) of a range of examples."""
        chosen = self.examples[start:stop]
        if not chosen:
            return np.empty((0, *shape)), np.empty((0, horizon))
        return np.stack([x for _, x, _ in chosen]), np.stack([y for _, _, y in chosen])


class GridLane:
    """Forecasts of several grid steps ahead, issued on a schedule, scored when the outcome is complete."""

    def __init__(self, plan: Plan, key: str) -> None:
        self.plan, self.key, self.effects = plan, key, Effects()
        spec = plan.spec
        self._digest = plan.digest
        self._time = LocalTime(spec.input.timezone)
        self._every, self._horizon = plan.context.every, plan.context.horizon
        self._pipeline = plan.pipeline()
        self._live = plan.contender()
        self._champion: Any = None
        self._champion_digest = ""
        self._yardsticks = plan.yardsticks()
        self._interval = plan.interval()
        self._coverage = Coverage(plan.nominal)
        self._gate = Gate(spec.publish, self._time.day)
        self._alerts = AlertBook.of(plan, key)
        self._profile = Profile(spec.forecast.every, self._live.shape.input)
        self._issued: tuple[int, Array] | None = None
        policy = spec.learning
        replay = policy.replay if getattr(self._live.backend, "rehearses", True) else "none"
        self._memory = Memory({"none": 0, "ring": policy.ring, "all": None}[replay])
        self._open: deque[Example] = deque()
        self._first: int | None = None
        self._span: tuple[int, int] | None = None
        self._fitted = False
        self._ordinal = self._refused = self._ahead = 0
        self._refusal = ""
        self._targets = 0
        self._fields: list[str] = []

    # -- rows

    def process(self, rows: Rows) -> None:
        if len(rows):
            self._span = span(self._span, rows)
            self._fields = self._fields or list(rows.columns)[:12]
            if self._alerts is not None:
                self.effects.alerts += self._alerts.read(rows)
            self._grid(self._pipeline.apply(rows))

    def tick(self, time: int) -> None:
        # While old readings are still being loaded, the wall clock is far ahead of them and must not make them late.
        if self._span is not None and time - self._span[1] <= TICKS:
            self._grid(self._pipeline.tick(time))

    def _grid(self, rows: Rows) -> None:
        if not len(rows):
            return
        target = np.asarray(rows.columns[self.plan.context.target], dtype=np.float64)
        filled, late = masked(rows), ahead(rows).tolist()
        truth = np.where(filled, np.nan, target)
        self._targets += int(np.isfinite(truth).sum())
        inputs = self._live.inputs(rows)
        yard = {name: contender.inputs(rows) for name, contender in self._yardsticks.items()}
        self._actuals(rows, target, filled)
        for index, time in enumerate(rows.time.tolist()):
            self._outcome(time, truth[index])
            self._step(time + self._every, inputs[index], {name: x[index] for name, x in yard.items()}, late[index])

    def _actuals(self, rows: Rows, target: Array, filled: NDArray[np.bool_]) -> None:
        values = self._pipeline.inverse(target)
        self.effects.actuals += zip(rows.time.tolist(), values.tolist(), strict=True)
        self.effects.filled += rows.time[filled].tolist()

    def _outcome(self, time: int, value: float) -> None:
        """A grid window closed: it is a target of every open example."""
        for example in self._open:
            place = (time - example.origin) // self._every
            if 0 <= place < self._horizon:
                example.y[place] = value
                example.known = place + 1
        while self._open and self._open[0].known >= self._horizon:
            self._complete(self._open.popleft())

    def _step(self, origin: int, x: Array, yard: dict[str, Array], late: bool) -> None:
        """Everything that happens at the end of a grid window: learn, then forecast, then wait for the outcome.

        Args:
            late: the inputs were made with a reading after the origin. Who wants a forecast gets one, but it proves nothing:
                its outcome is not awaited, so nothing is scored, covered, judged or learnt.
        """
        policy, schedule = self.plan.spec.learning, self.plan.spec.forecast
        if self._first is None:
            self._first = origin - self._every
        if not self._fitted:
            if origin - self._first >= policy.initial:
                self._fit(origin)
        elif self._time.due(origin, self._every, policy.every, schedule.at):
            self._learn()
        wanted = self._time.due(origin, self._every, schedule.every, schedule.at)
        example = Example(origin, x, np.full(self._horizon, np.nan))
        if wanted:
            self._profile.add(self._time.local(origin), x)
        if wanted and self._fitted:
            self._forecast(example, yard, late)
        if late:
            self._ahead += 1
            return
        if wanted:  # baselines see the same examples whatever the model learns from: they are one yardstick for all
            example.yard = yard
        if wanted or policy.examples == "steps":
            self._open.append(example)

    # -- learning

    def _fit(self, origin: int) -> None:
        x, y = self._memory.arrays(0, len(self._memory.examples), self._live.shape.input, self._horizon)
        if not len(x):
            return
        try:
            self._live.backend.fit(x, y)
        except LearningError as error:  # values no model can be fitted to: begin anew with what comes
            self._refused, self._refusal = self._refused + len(x), str(error)[:REASON]
            self._memory.examples, self._memory.fresh, self._first = [], 0, None
            return
        self._fitted = True
        self._memory.forget()
        self._decide(origin, self._gate.first())

    def _learn(self) -> None:
        fresh, total = self._memory.fresh, len(self._memory.examples)
        if not fresh:
            return
        x, y = self._memory.arrays(total - fresh, total, self._live.shape.input, self._horizon)
        rehearse = 0 if self.plan.spec.learning.replay == "none" else total - fresh
        old_x, old_y = self._memory.arrays(0, rehearse, self._live.shape.input, self._horizon)
        try:
            self._live.backend.learn(x, y, old_x, old_y)
        except LearningError as error:  # one absurd value must not end the model, nor those of other keys
            self._refused, self._refusal = self._refused + fresh, str(error)[:REASON]
            self._memory.examples = self._memory.examples[: total - fresh]
        self._memory.forget()

    def learn(self, x: Array, y: Array) -> None:
        if len(x):
            empty = np.empty((0, *self._live.shape.input)), np.empty((0, self._horizon))
            self._live.backend.learn(x, self.scaled(y), *empty)
        elif self._fitted:
            total = len(self._memory.examples)
            x, y = self._memory.arrays(0, total, self._live.shape.input, self._horizon)
            self._live.backend.learn(x[:0], y[:0], x, y)

    # -- forecasts, scores, the gate

    def _forecast(self, example: Example, yard: dict[str, Array], late: bool) -> None:
        if not np.isfinite(example.x).all():
            return
        made = {LIVE: self._live.backend.predict(example.x[None])[0]}
        if self._champion is not None:
            made[CHAMPION] = self._champion.predict(example.x[None])[0]
        for name, x in yard.items():
            guess = self._yardsticks[name].backend.predict(x[None])[0]
            if np.isfinite(guess).all():
                made[name] = guess
        example.forecasts.update(made)
        self._issued = example.origin, example.x
        self._issue(example, made, late)

    def _served(self) -> str:
        return CHAMPION if self.plan.spec.publish.serve == "published" and self._champion is not None else LIVE

    def _issue(self, example: Example, made: dict[str, Array], late: bool) -> None:
        served = example.served = self._served()
        values = self._pipeline.inverse(made[served])
        band = self._interval.cover(values, self._times(example.origin))
        example.band = [] if band is None else list(band)
        prediction = Prediction(
            id=identity(self._digest, self.key, example.origin),
            model=self.plan.spec.name,
            key=self.key,
            origin=example.origin,
            step=self._every,
            values=values.tolist(),
            low=None if band is None else band[0].tolist(),
            high=None if band is None else band[1].tolist(),
            by=LIVE if served == LIVE else self._champion_digest,
            interval=self._coverage.measured(example.origin),
            late=late,
        )
        self.effects.predictions.append((self._ordinal, prediction))
        self._ordinal += 1
        if self._alerts is not None and not late:
            self.effects.alerts += self._alerts.forecast(prediction)

    def _complete(self, example: Example) -> None:
        if example.forecasts:
            self._score(example, example.forecasts)
        for name, x in example.yard.items():
            contender = self._yardsticks[name]
            nothing = np.empty((0, *contender.shape.input)), np.empty((0, self._horizon))
            contender.backend.learn(x[None], example.y[None], *nothing)
        if np.isfinite(example.x).all():
            self._memory.add(example)

    def _score(self, example: Example, made: dict[str, Array]) -> None:
        known = np.isfinite(example.y)
        active = known & (example.y > ACTIVE)
        squares = {name: (guess - example.y) ** 2 for name, guess in made.items()}
        for name, guess in made.items():
            off = self._pipeline.inverse(guess) - self._pipeline.inverse(example.y)
            self.effects.scores.append(
                Score(
                    model=self.plan.spec.name,
                    key=self.key,
                    origin=example.origin,
                    contender=name,
                    n=int(known.sum()),
                    squared=float(squares[name][known].sum()),
                    absolute=float(np.abs(off[known]).sum()),
                    daylight=int(active.sum()),
                    daylight_squared=float(squares[name][active].sum()),
                    own=float((off[known] ** 2).sum()),
                )
            )
        self._cover(example, made)
        if CHAMPION in made and known.any():
            champion, live = (float(squares[name][known].sum()) for name in (CHAMPION, LIVE))
            decided = example.origin + self._horizon * self._every
            self._decide(decided, self._gate.judge(example.origin, int(known.sum()), champion, live))

    def _times(self, origin: int) -> NDArray[np.int64]:
        """Of the targets of a forecast."""
        return origin + self._every * np.arange(self._horizon, dtype=np.int64)

    def _cover(self, example: Example, made: dict[str, Array]) -> None:
        """Count what the issued band was worth, and let the next one learn from it."""
        truth = self._pipeline.inverse(example.y)
        if example.band:
            low, high = example.band
            name, active = self.plan.spec.name, example.y > ACTIVE
            scored = count(name, self.key, example.origin, (low, high), truth, active)
            if scored is not None:
                self._coverage.add(scored)
                self.effects.covered.append(scored)
        served = self._pipeline.inverse(made[example.served or LIVE])
        self._interval.update(served, truth, self._times(example.origin))
        if self._alerts is not None:
            known = example.origin + self._horizon * self._every
            self.effects.alerts += self._alerts.scored(known, served, truth, example.band, example.y > ACTIVE)

    def _decide(self, time: int, verdict: Verdict) -> None:
        snapshot = self._publish() if verdict.publish else ""
        self.effects.decisions.append(
            Decision(
                model=self.plan.spec.name,
                key=self.key,
                time=time,
                publish=verdict.publish,
                reason=verdict.reason,
                champion=verdict.champion,
                challenger=verdict.challenger,
                days=verdict.days,
                snapshot=snapshot,
            )
        )

    def _publish(self) -> str:
        weights = self._live.backend.weights()
        name = digest(weights)
        self.effects.snapshots[name] = weights
        self.effects.published = True
        self._champion = self.plan.contender().backend
        self._champion.load(self._live.backend.dump())
        self._champion_digest = name
        return name

    def scaled(self, values: Array) -> Array:
        """Target values in the unit the model works in."""
        low, high = self._pipeline.inverse(np.array([0.0, 1.0]))
        scaled: Array = (values - low) / (high - low)
        return scaled

    def feedback(self, origin: int, y: Array) -> bool:
        for index, example in enumerate(self._open):
            if example.origin == origin:
                example.y[:] = self.scaled(y)
                del self._open[index]
                self._complete(example)
                return True
        return False

    # -- state

    def state(self) -> dict[str, Any]:
        return {
            "pipeline": self._pipeline.state(),
            "live": _contender_state(self._live),
            "yardsticks": {name: _contender_state(one) for name, one in self._yardsticks.items()},
            "champion": None if self._champion is None else self._champion.dump(),
            "champion_digest": self._champion_digest,
            "band": self._interval.state(),
            "coverage": self._coverage.state(),
            "gate": self._gate.state(),
            "memory": [[origin, x, y] for origin, x, y in self._memory.examples],
            "fresh": self._memory.fresh,
            "open": [
                [one.origin, one.x, one.y, one.known, one.forecasts, one.yard, one.served, one.band]
                for one in self._open
            ],
            "first": self._first,
            "span": self._span,
            "fitted": self._fitted,
            "refused": self._refused,
            "refusal": self._refusal,
            "ahead": self._ahead,
            "targets": self._targets,
            "fields": self._fields,
            "ordinal": self._ordinal,
            "alerts": None if self._alerts is None else self._alerts.state(),
            "profile": self._profile.state(),
            "issued": self._issued,
        }

    def load(self, state: dict[str, Any]) -> None:
        self._pipeline.load(state["pipeline"])
        _load_contender(self._live, state["live"])
        for name, one in self._yardsticks.items():
            _load_contender(one, state["yardsticks"][name])
        if state["champion"] is not None:
            self._champion = self.plan.contender().backend
            self._champion.load(state["champion"])
        self._champion_digest = state["champion_digest"]
        if "band" in state:  # states of before hold residuals in scaled units: such a band is learnt anew
            self._interval.load(state["band"])
            self._coverage.load(state["coverage"])
        self._gate.load(state["gate"])
        self._memory.examples = [tuple(item) for item in state["memory"]]
        self._memory.fresh = state["fresh"]
        self._open = deque(Example(*item) for item in state["open"])
        self._first, self._fitted, self._ordinal = state["first"], state["fitted"], state["ordinal"]
        self._refused, self._refusal = state.get("refused", 0), state.get("refusal", "")
        self._ahead = state.get("ahead", 0)
        self._profile.load(state.get("profile"))
        issued = state.get("issued")
        self._issued = None if issued is None else (issued[0], issued[1])
        self._targets, self._fields = state.get("targets", 0), state.get("fields", [])
        if self._alerts is not None:
            self._alerts.load(state.get("alerts") or {})
        self._span = None if state["span"] is None else (state["span"][0], state["span"][1])

    # -- for the serving process

    def unscaled(self, values: Array) -> Array:
        """Model values in the target's unit."""
        return self._pipeline.inverse(values)

    def evidence(self) -> dict[str, Any]:
        """What explanations need beside the weights."""
        origin, x = (None, None) if self._issued is None else self._issued
        return {"origin": origin, "x": x, "profile": self._profile.state()}

    def weights(self, role: str) -> bytes:
        """The weights of what plays a role."""
        backend = self._live.backend if role == LIVE else self._champion
        return bytes(backend.weights())

    @property
    def servables(self) -> dict[str, Callable[[], Any]]:
        """What can be exported now: role -> a function that does it."""
        roles: dict[str, Callable[[], Any]] = {LIVE: self._live.backend.export} if self._fitted else {}
        if self._champion is not None:
            roles[CHAMPION] = self._champion.export
        return roles

    @property
    def book(self) -> AlertBook | None:
        """Its rules."""
        return self._alerts

    @property
    def trouble(self) -> str:
        """Why there is no model yet although the initial readings have been seen, for people."""
        if self._fitted or self.progress < 1:
            return ""
        target = self.plan.context.target
        if not self._targets:
            return (
                f"no reading so far has led to a value of {target!r}; fields seen: {', '.join(self._fields) or 'none'}"
            )
        if self._refused:
            return f"{self._refused:,} examples were refused by the backend: {self._refusal}"
        if late := self._pipeline.counts().get("resample.late", self._pipeline.counts().get("late", 0)):
            return f"{late:,} readings came too late for their window; send history oldest first, before live readings"
        if self._ahead:
            return (
                f"no complete example yet, and {self._ahead:,} origins left out that lie in a gap which was interpolated: "
                "what ends it comes after them; with `resample: {fill: hold}` or a longer `every:` they count"
            )
        return "no complete example yet: the features look back further than the readings reach"

    @property
    def progress(self) -> float:
        """How much of the initial readings has been seen, 0..1."""
        if self._fitted or self._span is None:
            return float(self._fitted)
        return min(1.0, (self._span[1] - self._span[0]) / max(1, self.plan.spec.learning.initial))

    def counts(self) -> dict[str, int]:
        """Readings that did not make it, by reason, and examples the backend could not learn from."""
        return {**self._pipeline.counts(), "unlearnable": self._refused}


def span(known: tuple[int, int] | None, rows: Rows) -> tuple[int, int]:
    """First and last event time seen so far."""
    low, high = int(rows.time.min()), int(rows.time.max())
    return (low, high) if known is None else (min(known[0], low), max(known[1], high))


def _contender_state(contender: Contender) -> dict[str, Any]:
    return {"steps": contender.steps.state(), "backend": contender.backend.dump()}


def _load_contender(contender: Contender, state: dict[str, Any]) -> None:
    contender.steps.load(state["steps"])
    contender.backend.load(state["backend"])
