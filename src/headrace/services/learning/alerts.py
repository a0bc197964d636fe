"""The alerts of one key: what its readings, forecasts and scores raise and clear. Pure: no clock, no I/O.

An episode is raised once and cleared once. What is raised, when, and under which id follows from the log alone; silence,
which needs the clock and the other keys, is in `silence.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.events import Alert, Prediction
from headrace.models.drift import DETECTORS, Detector
from headrace.records import DAY, SECOND, Array, Rows
from headrace.spec import (
    BreachRule,
    CoverageRule,
    DriftRule,
    ForecastRule,
    OnlineModel,
    ReadingRule,
    SilenceRule,
    written,
)

if TYPE_CHECKING:
    from headrace.services.learning.plan import Plan

LATE = DAY
"""A reading up to this much older than the newest is late and judged no more; one that is older still shows that the
newest had a wrong clock (or that history is being loaded), and time goes on from it."""
BATCH = 100
"""Record-wise predictions that a drift detector sees as one forecast."""
SHOWN = 20
"""Fields named when a rule's own is not among them."""
_TWIN = 1_000_000
"""Episodes of one rule that begin within this many ns of each other are told apart."""


class Episodes:
    """The episodes of one rule and key, one after the other."""

    def __init__(self, spec: OnlineModel, rule: Any, key: str, basis: str) -> None:
        self.rule, self._key = rule, key
        self.open: Alert | None = None
        self._last: int | None = None
        # What cannot change a reading's verdict is not in its id: a receiver knows an alert again when the spec is mended.
        seed = basis if not isinstance(rule, ReadingRule | SilenceRule) else spec.input.model_dump_json()
        self._seed = f"{spec.name}\0{seed}\0{key}\0{rule.model_dump_json(exclude={'severity'})}"

    def start(self, time: int, value: float, threshold: float, message: str) -> Alert:
        """Raise."""
        raised = time if self._last is None or not 0 <= self._last - time < _TWIN else self._last + 1
        self._last = raised
        self.open = self._made(raised, None, value, threshold, message)
        return self.open

    def end(self, time: int) -> Alert:
        """Clear what is open."""
        alert, self.open = self.open, None
        assert alert is not None
        return self._made(alert.raised, max(time, alert.raised), alert.value, alert.threshold, alert.message)

    def _made(self, raised: int, cleared: int | None, value: float, threshold: float, message: str) -> Alert:
        name = hashlib.blake2b(f"{self._seed}\0{raised}".encode(), digest_size=12).hexdigest()
        rule = self.rule
        return Alert(
            name, self._key, rule.name, rule.on, rule.severity, raised, cleared, float(value), float(threshold), message
        )

    @property
    def raised(self) -> bool:
        """Whether there was ever one."""
        return self._last is not None

    def state(self) -> list[Any]:
        """The open episode and when the last began."""
        alert = self.open
        return [
            self._last,
            None if alert is None else [alert.raised, alert.value, alert.threshold, alert.message],
        ]

    def load(self, state: list[Any]) -> None:
        """Go on from a `state`."""
        self._last = state[0]
        self.open = None if state[1] is None else self._made(state[1][0], None, *state[1][1:])


class Clock:
    """The newest event time of a key."""

    def __init__(self) -> None:
        self.newest: int | None = None

    def keep(self, time: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which readings are not late; None: all."""
        newest = self.newest
        if (newest is None or time[0] >= newest) and (time[1:] >= time[:-1]).all():
            self.newest = int(time[-1])
            return None
        keep = np.zeros(len(time), np.bool_)
        for index, moment in enumerate(time.tolist()):
            if newest is None or moment >= newest or moment < newest - LATE:
                newest, keep[index] = moment, True
        self.newest = newest
        return keep


class ReadingJudge:
    """A threshold on a field, for how long, and where it clears."""

    def __init__(self, episodes: Episodes) -> None:
        self.episodes, self.rule = episodes, episodes.rule
        self._since: int | None = None
        """Event time since which every reading was bad, while nothing is raised."""

    def read(self, time: NDArray[np.int64], values: Array) -> Iterable[Alert]:
        """Finite values in the order in which they came."""
        rule: ReadingRule = self.rule
        signed = values * rule.side
        bad = signed > rule.threshold * rule.side
        good, calm = signed <= rule.back * rule.side, ~bad
        place = 0
        while place < len(time):
            if self.episodes.open is not None:
                place = _first(good, place)
                if place < len(time):
                    yield self.episodes.end(int(time[place]))
            else:
                place, alert = self._wait(time, values, (bad, calm), place)
                if alert is not None:
                    yield alert
            place += 1

    def _wait(
        self, time: NDArray[np.int64], values: Array, masks: tuple[NDArray[np.bool_], NDArray[np.bool_]], place: int
    ) -> tuple[int, Alert | None]:
        """Where a run of bad readings has lasted long enough, or else the end of this run."""
        bad, calm = masks
        if self._since is None or not bad[place]:
            self._since = None
            place = _first(bad, place)
            if place == len(time):
                return place, None
            self._since = int(time[place])
        stop = _first(calm, place)
        found = place + _first(time[place:stop] - self._since >= self.rule.for_, 0)
        if found == stop:
            self._since = None if stop < len(time) else self._since
            return stop, None
        self._since = None
        return found, self.episodes.start(
            int(time[found]), float(values[found]), self.rule.threshold, self._says(float(values[found]))
        )

    def _says(self, value: float) -> str:
        rule: ReadingRule = self.rule
        side, lasting = ("above" if rule.side > 0 else "below"), (f" for {written(rule.for_)}" if rule.for_ else "")
        shown, threshold = told(value, rule.threshold)
        return f"{rule.field} is {shown}, {side} {threshold}{lasting}"

    def state(self) -> list[Any]:
        """The episodes and the run under way."""
        return [self.episodes.state(), self._since]

    def load(self, state: list[Any]) -> None:
        """Go on from a `state`."""
        self.episodes.load(state[0])
        self._since = state[1]


class ForecastJudge:
    """A threshold on the values of each served forecast."""

    def __init__(self, episodes: Episodes, unit: str) -> None:
        self.episodes, self.rule, self._unit = episodes, episodes.rule, f" {unit}" if unit else ""

    def forecast(self, prediction: Prediction) -> Iterable[Alert]:
        """A forecast that was issued."""
        rule: ForecastRule = self.rule
        ahead = len(prediction.values) if rule.within is None else max(1, rule.within // prediction.step)
        signed = np.asarray(prediction.values[:ahead]) * rule.side
        if not np.isfinite(signed).any():
            return
        worst = int(np.nanargmax(signed))
        value = prediction.values[worst]
        if self.episodes.open is None and signed[worst] > rule.threshold * rule.side:
            when, side = clock(prediction.origin + worst * prediction.step), "above" if rule.side > 0 else "below"
            shown, threshold = told(value, rule.threshold, ",.{}g")
            says = f"the forecast is {shown}{self._unit} for {when}, {side} {threshold}"
            yield self.episodes.start(prediction.origin, value, rule.threshold, says)
        elif self.episodes.open is not None and signed[worst] <= rule.back * rule.side:
            yield self.episodes.end(prediction.origin)

    def state(self) -> list[Any]:
        """The episodes."""
        return self.episodes.state()

    def load(self, state: list[Any]) -> None:
        """Go on from a `state`."""
        self.episodes.load(state)


class BandJudge:
    """How many outcomes of a trailing time lay outside the bands of their forecasts: rules `breach` and `coverage`."""

    def __init__(self, episodes: Episodes) -> None:
        self.episodes, self.rule = episodes, episodes.rule
        self._scored: deque[list[int]] = deque()
        """[time, outcomes, of these outside, active outcomes, of these outside] of each scored forecast."""

    def scored(self, time: int, truth: Array, band: Sequence[Array], active: NDArray[np.bool_]) -> Iterable[Alert]:
        """A scored forecast."""
        low, high = band
        known = np.isfinite(truth)
        outside = known & ((truth < low) | (truth > high))
        counts = [int(np.count_nonzero(one)) for one in (known, outside, known & active, outside & active)]
        self._scored.append([time, *counts])
        while self._scored[0][0] <= time - self.rule.over:
            self._scored.popleft()
        sums = [sum(row[index] for row in self._scored) for index in range(1, 5)]
        yield from self._breach(time, sums) if isinstance(self.rule, BreachRule) else self._coverage(time, sums)

    def _breach(self, time: int, sums: Sequence[int]) -> Iterable[Alert]:
        rule: BreachRule = self.rule
        n, outside = sums[0], sums[1]
        if n < rule.minimum:
            return
        share = outside / n
        if self.episodes.open is None and share >= rule.share:
            says = (
                f"{share:.0%} of {n} outcomes of the last {written(rule.over)} lay outside the band of their forecast"
            )
            yield self.episodes.start(time, share, rule.share, says)
        elif self.episodes.open is not None and share < (rule.share / 2 if rule.clear is None else rule.clear):
            yield self.episodes.end(time)

    def _coverage(self, time: int, sums: Sequence[int]) -> Iterable[Alert]:
        rule: CoverageRule = self.rule
        n, outside = (sums[2], sums[3]) if sums[2] else (sums[0], sums[1])
        if n < rule.minimum:
            return
        held = 1 - outside / n
        if self.episodes.open is None and held < rule.below:
            which = "active outcomes" if sums[2] else "outcomes"
            shown, least = told(held, rule.below, ".{}%", 0)
            says = f"the band held {shown} of {n} {which} of the last {written(rule.over)}, below {least}"
            yield self.episodes.start(time, held, rule.below, says)
        elif self.episodes.open is not None and held >= (rule.below if rule.clear is None else rule.clear):
            yield self.episodes.end(time)

    def state(self) -> list[Any]:
        """The episodes and the forecasts counted."""
        return [self.episodes.state(), [list(one) for one in self._scored]]

    def load(self, state: list[Any]) -> None:
        """Go on from a `state`."""
        self.episodes.load(state[0])
        self._scored = deque(list(one) for one in state[1])


class DriftJudge:
    """What a drift detector says of the scored forecasts; each outcome is shown to it once."""

    def __init__(self, episodes: Episodes, reach: int) -> None:
        self.episodes, self.rule, self._reach = episodes, episodes.rule, reach
        plug = self.rule.detector
        self._detector: Detector = DETECTORS.find(plug.name)(DETECTORS.params(plug.name, plug.params))
        self._seen: int | None = None
        self._waiting = np.empty((0, 2))
        """Record-wise (prediction, truth) that make no batch yet."""

    def scored(self, time: int, prediction: Array, truth: Array) -> Iterable[Alert]:
        """A scored forecast; one that overlaps the last that was shown is left out."""
        if self._seen is None or time - self._reach >= self._seen:
            self._seen = time
            yield from self._update(prediction, truth, time)

    def errors(self, time: NDArray[np.int64], prediction: Array, truth: Array) -> Iterable[Alert]:
        """Record-wise predictions with their outcomes."""
        first = len(self._waiting)
        pairs = np.concatenate([self._waiting, np.stack([prediction, truth], axis=1)])
        done = len(pairs) - len(pairs) % BATCH
        for start in range(0, done, BATCH):
            batch = pairs[start : start + BATCH]
            yield from self._update(batch[:, 0], batch[:, 1], int(time[start + BATCH - 1 - first]))
        self._waiting = pairs[done:].copy()

    def _update(self, prediction: Array, truth: Array, time: int) -> Iterable[Alert]:
        signal = self._detector.update(prediction, truth, time)
        if signal.drifted and self.episodes.open is None:
            name, side = self.rule.detector.name, "up" if signal.statistic > 0 else "down"
            shown, limit = told(abs(signal.statistic), signal.threshold, ".{}g", 3)
            sign = "-" if signal.statistic < 0 else "+"
            says = f"drift {side}: {name} is {sign}{shown}, beyond {limit}"
            yield self.episodes.start(time, signal.statistic, signal.threshold, says)
        elif not signal.drifted and self.episodes.open is not None:
            yield self.episodes.end(time)

    def state(self) -> list[Any]:
        """The episodes, the detector, and what it has not seen yet."""
        return [self.episodes.state(), self._detector.state(), self._seen, self._waiting]

    def load(self, state: list[Any]) -> None:
        """Go on from a `state`."""
        self.episodes.load(state[0])
        self._detector.load(state[1])
        self._seen, self._waiting = state[2], state[3]


class AlertBook:
    """Every rule of a model for one key, but for silence. Each verb returns what was raised and cleared."""

    def __init__(self, plan: Plan, key: str) -> None:
        spec = plan.spec
        made = {rule.name: Episodes(spec, rule, key, plan.digest) for rule in spec.alerts}
        of = [(rule, made[rule.name]) for rule in spec.alerts]
        reach = plan.context.horizon * plan.context.every
        self._readings = {r.name: ReadingJudge(one) for r, one in of if isinstance(r, ReadingRule)}
        self._forecasts = {r.name: ForecastJudge(one, spec.input.unit) for r, one in of if isinstance(r, ForecastRule)}
        self._bands = {r.name: BandJudge(one) for r, one in of if isinstance(r, BreachRule | CoverageRule)}
        self._drifts = {r.name: DriftJudge(one, reach) for r, one in of if isinstance(r, DriftRule)}
        self._clock = Clock()
        self._missing = {judge.rule.field for judge in self._readings.values()}
        """Fields of rules that no reading has had yet..."""
        self._seen: list[str] = []
        """...and the first few, by name, that readings have had meanwhile."""

    @classmethod
    def of(cls, plan: Plan, key: str) -> AlertBook | None:
        """The book of a key; None for a model without such rules, which then pays nothing."""
        return cls(plan, key) if any(not isinstance(rule, SilenceRule) for rule in plan.spec.alerts) else None

    def read(self, rows: Rows) -> list[Alert]:
        """Readings as they were sent, deduplicated, in log order."""
        found: list[Alert] = []
        if not self._readings or not len(rows):
            return found
        if self._missing:
            self._look(rows)
        keep = self._clock.keep(rows.time)
        for judge in self._readings.values():
            values = rows.columns.get(judge.rule.field)
            if values is not None:
                told = np.isfinite(values) if keep is None else np.isfinite(values) & keep
                found += judge.read(rows.time[told], values[told])
        return found

    def _look(self, rows: Rows) -> None:
        """Which fields came. The smallest names are kept, and all while any is missing: no block's edge shows in them."""
        came = {name for name, values in rows.columns.items() if np.isfinite(values).any()}
        self._missing -= came
        self._seen = sorted({*self._seen, *came})[:SHOWN] if self._missing else []

    @property
    def started(self) -> bool:
        """Whether there was a reading."""
        return self._clock.newest is not None

    @property
    def unheard(self) -> dict[str, list[str]]:
        """Rule -> the fields there are instead, for each rule whose field no reading has had, if readings came."""
        rules = [judge.rule for judge in self._readings.values()]
        return {rule.name: self._seen for rule in rules if self._seen and rule.field in self._missing}

    def forecast(self, prediction: Prediction) -> list[Alert]:
        """The served forecast was issued."""
        return [alert for judge in self._forecasts.values() for alert in judge.forecast(prediction)]

    def scored(
        self, time: int, prediction: Array, truth: Array, band: Sequence[Array], active: NDArray[np.bool_]
    ) -> list[Alert]:
        """The outcomes of a served forecast are known.

        Args:
            time: event time at which the last outcome was known, ns.
            prediction, truth: (horizon,), in one unit, whichever; truth is NaN where unknown.
            band: lower and upper bound as they were issued, in the same unit; empty if there was none.
            active: which targets count as active (daylight, for PV).
        """
        found: list[Alert] = []
        if band:
            found += [alert for judge in self._bands.values() for alert in judge.scored(time, truth, band, active)]
        return found + [alert for judge in self._drifts.values() for alert in judge.scored(time, prediction, truth)]

    def errors(self, time: NDArray[np.int64], prediction: Array, truth: Array) -> list[Alert]:
        """Record-wise predictions whose outcomes are known, (n,) each, with the times of these outcomes."""
        return [alert for judge in self._drifts.values() for alert in judge.errors(time, prediction, truth)]

    def _judges(self) -> dict[str, Any]:
        return {**self._readings, **self._forecasts, **self._bands, **self._drifts}

    def state(self) -> dict[str, Any]:
        """Everything."""
        rules = {name: judge.state() for name, judge in self._judges().items()}
        return {"newest": self._clock.newest, "rules": rules, "missing": sorted(self._missing), "seen": self._seen}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`; rules it does not know begin anew."""
        self._clock.newest = state.get("newest")
        self._missing &= set(state.get("missing", self._missing))
        self._seen = list(state.get("seen", []))
        for name, judge in self._judges().items():
            if name in state.get("rules", {}):
                judge.load(state["rules"][name])


def unheard(spec: OnlineModel, books: Iterable[AlertBook]) -> str:
    """The rules whose field no device has sent, though all that were heard have sent others; "" if there are none."""
    found = [book.unheard for book in books if book.started]
    says = []
    for rule in spec.alerts:
        if isinstance(rule, ReadingRule) and found and all(rule.name in one for one in found):
            fields = sorted({name for one in found for name in one[rule.name]})
            seen = ", ".join(fields[:SHOWN]) + (", ..." if len(fields) > SHOWN else "")
            says.append(f"rule {rule.name!r}: no field {rule.field!r} so far; fields seen: {seen}")
    return "; ".join(says)


def told(value: float, threshold: float, form: str = ".{}g", digits: int = 6) -> tuple[str, str]:
    """Both as people read them, with digits enough to see which is larger.

    Args:
        form: how they are written, with a place for the number of digits.

    >>> told(80.5, 80.0), told(80.0000004, 80.0), told(0.7985, 0.8, ".{}%", 0)
    (('80.5', '80'), ('80.0000004', '80'), ('79.8%', '80.0%'))
    """
    for count in range(digits, 18):
        shown, limit = (format(one, form.format(count)) for one in (value, threshold))
        read = float(limit.replace(",", "").rstrip("%")) / (100 if limit.endswith("%") else 1)
        if math.isclose(read, threshold, rel_tol=1e-9) and (shown != limit or value == threshold):
            break
    return shown, limit


def clock(time: int) -> str:
    """A moment for people."""
    return datetime.fromtimestamp(time / SECOND, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _first(mask: NDArray[np.bool_], start: int) -> int:
    """Index of the first True at or after `start`; the length if there is none."""
    if start >= len(mask):
        return len(mask)
    found = start + int(mask[start:].argmax())
    return found if mask[found] else len(mask)
