"""Scaling with statistics of the first `learning.initial` of event time, and of nothing later."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from headrace import plugins
from headrace.models.transformers import Context
from headrace.models.transformers.blocks import column, join, masked, nothing
from headrace.records import Array, Rows


class Scale:
    """Rows are held back until the statistics are known, then all leave scaled: the first is scaled like the last.

    The statistics are taken of rows that were not filled in and whose grid window ends within `initial` of the first
    row's start. A constant series is only shifted (minmax, standard) or left alone (max of an all-zero series).
    """

    class Params(plugins.Params):
        method: Literal["minmax", "standard", "max", "none"] = "minmax"
        """(x - min)/(max - min), (x - mean)/std, x/max|x|, or x."""
        columns: tuple[str, ...] = ()
        """Further columns to scale, each by its own statistics; the target always is."""

    order: ClassVar[int] = 2

    def __init__(self, params: Params, context: Context) -> None:
        self._method = params.method
        self._columns = list(dict.fromkeys([context.target, *params.columns]))
        self._every, self._initial = context.every, context.initial
        self._first: int | None = None
        self._held: list[Rows] = []
        self._shift: Array | None = None
        self._span: Array | None = None
        if params.method == "none":
            self._shift, self._span = np.zeros(len(self._columns)), np.ones(len(self._columns))

    def apply(self, rows: Rows) -> Rows:
        """The rows scaled, once there has been enough to learn the scale from; none before."""
        if not len(rows):
            return nothing()
        if self._span is not None:
            return self._scaled(rows)
        if self._first is None:
            self._first = int(rows.time[0])
        before = sum(len(block) for block in self._held)
        self._held.append(Rows(rows.time.copy(), {name: values.copy() for name, values in rows.columns.items()}))
        last = np.flatnonzero(rows.time + 2 * self._every > self._first + self._initial)
        if not len(last):
            return nothing()
        released = join(self._held)
        self._held = []
        self._fit(released.take(slice(before + int(last[0]) + 1)))
        return self._scaled(released)

    def inverse(self, values: Array) -> Array:
        """Scaled target values in the target's own unit; unchanged while nothing is fitted."""
        if self._shift is None or self._span is None:
            return values
        restored: Array = values * self._span[0] + self._shift[0]
        return restored

    def state(self) -> dict[str, Any]:
        """The statistics, or the rows they will be taken of."""
        held = join(self._held)
        return {
            "first": self._first,
            "shift": self._shift,
            "span": self._span,
            "time": held.time,
            "columns": dict(held.columns),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._first, self._shift, self._span = state["first"], state["shift"], state["span"]
        held = Rows(state["time"], state["columns"])
        self._held = [held] if len(held) else []

    def _fit(self, rows: Rows) -> None:
        early = rows.time + self._every <= (self._first or 0) + self._initial
        use = early & ~masked(rows)
        pairs = [_statistics(self._method, column(rows, name)[use]) for name in self._columns]
        self._shift = np.array([shift for shift, _ in pairs])
        self._span = np.array([span for _, span in pairs])

    def _scaled(self, rows: Rows) -> Rows:
        assert self._shift is not None
        assert self._span is not None
        columns = dict(rows.columns)
        for name, shift, span in zip(self._columns, self._shift, self._span, strict=True):
            columns[name] = (column(rows, name) - shift) / span
        return Rows(rows.time, columns)


def _statistics(method: str, values: Array) -> tuple[float, float]:
    """What to subtract and what to divide by; (0, 1) when there is nothing to learn from."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    match method:
        case "minmax":
            shift, span = values.min(), values.max() - values.min()
        case "standard":
            shift, span = values.mean(), values.std()
        case _:
            shift, span = 0.0, np.abs(values).max()
    return float(shift), float(span) if span > 0 else 1.0
