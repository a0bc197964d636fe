"""A lane without a grid: every reading is an example, predicted before it is learnt (horizon 1, the next reading)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from headrace.errors import LearningError
from headrace.events import Score
from headrace.models.transformers.blocks import column
from headrace.records import Array, Rows
from headrace.services.learning.alerts import AlertBook
from headrace.services.learning.lane import LIVE, Effects, span
from headrace.services.learning.plan import Plan

BUCKET = 1000
"""Predictions per stored score."""


class StreamLane:
    """Test-then-train on every reading: `predict` after each, `learn` when the next one arrives."""

    def __init__(self, plan: Plan, key: str) -> None:
        self.plan, self.key, self.effects = plan, key, Effects()
        self._pipeline = plan.pipeline()
        self._live = plan.contender()
        self._last: Array | None = None
        """Inputs of the newest reading: its target is the next one."""
        self._origin: int | None = None
        """Its time."""
        self._ordinal = 0
        self._errors = np.empty(0)
        self._absolute = np.empty(0)
        self._bucket = self._refused = 0
        self._span: tuple[int, int] | None = None
        self._alerts = AlertBook.of(plan, key)

    def process(self, rows: Rows) -> None:
        if not len(rows):
            return
        self._span = span(self._span, rows)
        if self._alerts is not None:
            self.effects.alerts += self._alerts.read(rows)
        rows = self._pipeline.apply(rows)
        target = column(rows, self.plan.context.target)
        keep = np.isfinite(target)
        rows, target = (rows.take(keep), target[keep]) if not keep.all() else (rows, target)
        if len(rows):
            self._block(rows, self._live.inputs(rows), target)

    def tick(self, time: int) -> None:
        """Readings alone move this lane."""

    def _one(self, rows: Rows, last: Array, x: Array, target: Array) -> None:
        """`_block` of one row that is not the first: a quiet stream comes row by row, and small arrays cost most there."""
        if np.isfinite(last).all():
            made = self._run(last[None], target)
            self._score(rows, made, target)
            if self._alerts is not None:
                self.effects.alerts += self._alerts.errors(rows.time, made, target)
        self._last, self._origin = x[0].copy(), int(rows.time[0])
        self._emit(rows, np.array([self._predict(self._last)]))

    def _block(self, rows: Rows, x: Array, target: Array) -> None:
        if len(x) == 1 and self._last is not None:
            self._one(rows, self._last, x, target)
            return
        before = x[:0] if self._last is None else self._last[None]
        inputs = np.concatenate([before, x[:-1]])
        truths = target if self._last is not None else target[1:]
        ready = np.isfinite(_flat(inputs)).all(axis=1)
        made = np.full(len(inputs), np.nan)
        made[ready] = self._run(inputs[ready], truths[ready])
        self._last, self._origin = x[-1].copy(), int(rows.time[-1])
        self._score(rows, made[ready], truths[ready])
        if self._alerts is not None:
            self.effects.alerts += self._alerts.errors(rows.time[-len(truths) :][ready], made[ready], truths[ready])
        newest = self._predict(self._last)
        values = np.concatenate([made[len(before) :], [newest]])
        self._emit(rows, values)

    def _run(self, x: Array, y: Array) -> Array:
        """Predictions for x[i] made before learning (x[i], y[i]), one after the other."""
        run: Callable[[Array, Array], Array] | None = getattr(self._live.backend, "run", None)
        if run is not None:
            with contextlib.suppress(LearningError):  # nothing of the block was learnt: find the bad one below
                return run(_flat(x), y)
        nothing = x[:0], np.empty((0, 1))
        made = np.empty(len(x))
        for index in range(len(x)):
            one = slice(index, index + 1)
            try:
                made[index] = self._live.backend.predict(x[one])[0, 0]
                self._live.backend.learn(x[one], y[one, None], *nothing)
            except LearningError:  # one absurd value must not end the model, nor those of other keys
                made[index] = np.nan if not np.isfinite(made[index]) else made[index]
                self._refused += 1
        return made

    def _predict(self, x: Array) -> float:
        return float(self._live.backend.predict(x[None])[0, 0]) if np.isfinite(x).all() else float("nan")

    def _emit(self, rows: Rows, values: Array) -> None:
        ready = np.isfinite(values)
        count = int(ready.sum())
        if not count:
            return
        unscaled = self._pipeline.inverse(values[ready])
        self.effects.stream.append((self._ordinal, rows.time[ready], unscaled))
        self._ordinal += count

    def _score(self, rows: Rows, made: Array, truth: Array) -> None:
        self._errors = np.concatenate([self._errors, (made - truth) ** 2])
        off = self._pipeline.inverse(made) - self._pipeline.inverse(truth)
        self._absolute = np.concatenate([self._absolute, np.abs(off)])
        while len(self._errors) >= BUCKET:
            self.effects.scores.append(
                Score(
                    model=self.plan.spec.name,
                    key=self.key,
                    origin=self._bucket * BUCKET,
                    contender=LIVE,
                    n=BUCKET,
                    squared=float(self._errors[:BUCKET].sum()),
                    absolute=float(self._absolute[:BUCKET].sum()),
                    daylight=0,
                    daylight_squared=0.0,
                    own=float((self._absolute[:BUCKET] ** 2).sum()),
                )
            )
            self._bucket += 1
            self._errors, self._absolute = self._errors[BUCKET:].copy(), self._absolute[BUCKET:].copy()

    def learn(self, x: Array, y: Array) -> None:
        if len(x):
            self._live.backend.learn(x, y, x[:0], y[:0])

    def feedback(self, origin: int, y: Array) -> bool:
        """The next reading is the outcome; there is nothing to add."""
        return False

    def scaled(self, values: Array) -> Array:
        """Target values in the unit the model works in."""
        low, high = self._pipeline.inverse(np.array([0.0, 1.0]))
        scaled: Array = (values - low) / (high - low)
        return scaled

    def state(self) -> dict[str, Any]:
        return {
            "pipeline": self._pipeline.state(),
            "steps": self._live.steps.state(),
            "live": self._live.backend.dump(),
            "last": self._last,
            "origin": self._origin,
            "ordinal": self._ordinal,
            "errors": self._errors,
            "absolute": self._absolute,
            "bucket": self._bucket,
            "refused": self._refused,
            "span": self._span,
            "alerts": None if self._alerts is None else self._alerts.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self._pipeline.load(state["pipeline"])
        self._live.steps.load(state["steps"])
        self._live.backend.load(state["live"])
        self._last, self._ordinal = state["last"], state["ordinal"]
        self._origin = state.get("origin")
        self._errors, self._absolute, self._bucket = state["errors"], state["absolute"], state["bucket"]
        self._refused = state.get("refused", 0)
        if self._alerts is not None:
            self._alerts.load(state.get("alerts") or {})
        self._span = None if state["span"] is None else (state["span"][0], state["span"][1])

    def unscaled(self, values: Array) -> Array:
        """Model values in the target's unit."""
        return self._pipeline.inverse(values)

    def evidence(self) -> dict[str, Any]:
        """What explanations need beside the weights; there is no time of day whose mean would say anything."""
        known = self._last is not None and np.isfinite(self._last).all()
        return {"origin": self._origin if known else None, "x": self._last if known else None, "profile": None}

    def weights(self, role: str) -> bytes:
        """The weights."""
        return self._live.backend.weights()

    @property
    def servables(self) -> dict[str, Callable[[], Any]]:
        """What can be exported now."""
        return {LIVE: self._live.backend.export} if self._last is not None else {}

    @property
    def book(self) -> AlertBook | None:
        """Its rules."""
        return self._alerts

    @property
    def trouble(self) -> str:
        """There is nothing to wait for."""
        return ""

    @property
    def progress(self) -> float:
        """There is nothing to wait for."""
        return 1.0

    def counts(self) -> dict[str, int]:
        """Readings that did not make it, by reason, and examples the backend could not learn from."""
        return {**self._pipeline.counts(), "unlearnable": self._refused}


def _flat(x: Array) -> Array:
    """(n, d) of (n, a, b)."""
    return x.reshape(len(x), x.shape[1] * x.shape[2])
