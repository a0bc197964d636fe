"""Earlier values as features of each target: ``x.lags``.

A row at grid position r forecasts positions r+1 … r+horizon. Target r+h may use what is known at r, so "24 steps before
the target" is position r+h-24, which exists at r only while h <= 24.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headrace import plugins
from headrace.models.transformers import Context
from headrace.models.transformers.blocks import Tail, column, period
from headrace.records import DAY, HOUR, Array, Rows

_UNKNOWN = -1
_OF = {"mean": "mean", "max": "largest", "min": "smallest"}


class Mean(plugins.Params):
    """The mean over the same slot of the last known days."""

    days: int = Field(ge=1, le=400)


class Lags:
    """Adds ``x.lags``, (n, horizon, features), in the order steps, means, yesterday.

    A day is `season` grid steps: a lag of 24 hours stays 24 hours across a change of the clocks.
    """

    class Params(plugins.Params):
        steps: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = ()
        """One feature each: the value this many grid steps before the target."""
        means: tuple[Mean, ...] = ()
        """One feature each: the mean of the same slot in the last `days` days in which it is known; missing if any of
        those is."""
        yesterday: tuple[Literal["mean", "max", "min"], ...] = ()
        """One feature each, the same for all targets: over the last season up to the row."""
        season: int | None = Field(default=None, ge=1)
        """Grid steps of a day; default 1 day / grid step."""
        ahead: Literal["nan", "season", "last"] = "nan"
        """What a lag is that reaches beyond the row (24 hours before a target 30 hours ahead): missing, the same slot
        one season earlier (or two…), or the row's own value."""
        column: str | None = None
        """Default: the target."""

    order: ClassVar[int] = 3

    def __init__(self, params: Params, context: Context) -> None:
        if not (params.steps or params.means or params.yesterday):
            raise ValueError("expected at least one of steps, means, yesterday")
        self._params = params
        self._column = params.column or context.target
        self._horizon, self._every = context.horizon, context.every
        self._season = params.season or max(1, DAY // context.every)
        self._back = self._lags()
        self._means = [self._seasons(mean.days) for mean in params.means]
        deepest = max([0, *(int(back.max()) for back in [self._back, *self._means] if back.size)])
        self._tail = Tail(max(deepest, self._season - 1 if params.yesterday else 0))

    def shape(self) -> tuple[int, int]:
        """(horizon, features)."""
        return self._horizon, len(self._params.steps) + len(self._params.means) + len(self._params.yesterday)

    def apply(self, rows: Rows) -> Rows:
        """Every row, with its lags."""
        series = self._tail.extend(column(rows, self._column)[:, None])[:, 0]
        if not len(rows):
            return rows
        features = np.full((len(rows), *self.shape()), np.nan)
        place = len(self._params.steps)
        features[:, :, :place] = self._take(series, len(rows), self._back)
        for back in self._means:
            features[:, :, place] = _mean(self._take(series, len(rows), back))
            place += 1
        for name in self._params.yesterday:
            features[:, :, place] = self._season_of(series, len(rows), name)[:, None]
            place += 1
        return Rows(rows.time, {**rows.columns, "x.lags": features})

    def labels(self) -> list[str]:
        """What each feature is, seen from its target."""
        same = "same hour" if self._every == HOUR else "same time"
        steps = [self._label(lag, same) for lag in self._params.steps]
        means = [f"mean of {mean.days} days, {same}" for mean in self._params.means]
        return steps + means + [f"{_OF[name]} of the last day" for name in self._params.yesterday]

    def _label(self, lag: int, same: str) -> str:
        days, rest = divmod(lag, self._season)
        if rest:
            return f"{self._column} {period(lag * self._every)} before"
        return f"yesterday, {same}" if days == 1 else f"{days} days before, {same}"

    def state(self) -> dict[str, Any]:
        """The rows that later lags will reach back to."""
        return {"tail": self._tail.values}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._tail.load(state["tail"])

    def _lags(self) -> NDArray[np.int64]:
        """(horizon, steps): how many rows before the row each lag stands."""
        targets = np.arange(1, self._horizon + 1)[:, None]
        back = np.array(self._params.steps, np.int64)[None, :] - targets
        match self._params.ahead:
            case "nan":
                known = np.where(back < 0, _UNKNOWN, back)
            case "last":
                known = np.maximum(back, 0)
            case _:
                known = np.where(back < 0, back % self._season, back)
        return known

    def _seasons(self, days: int) -> NDArray[np.int64]:
        """(horizon, days): the same slot in each of the last known days."""
        nearest = -np.arange(1, self._horizon + 1) % self._season
        return nearest[:, None] + self._season * np.arange(days)[None, :]

    def _take(self, series: Array, n: int, back: NDArray[np.int64]) -> Array:
        newest = len(series) - n + np.arange(n)
        taken: Array = series[newest[:, None, None] - np.maximum(back, 0)[None]]
        if (back == _UNKNOWN).any():
            taken[:, back == _UNKNOWN] = np.nan
        return taken

    def _season_of(self, series: Array, n: int, name: str) -> Array:
        recent = series[len(series) - n - self._season + 1 :]
        days = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(recent, self._season))
        values: Array = days.mean(axis=1) if name == "mean" else days.max(axis=1) if name == "max" else days.min(axis=1)
        return values


def _mean(values: Array) -> Array:
    """Mean over the last axis, added in a fixed order whatever the number of rows."""
    total = values[..., 0].copy()
    for day in range(1, values.shape[-1]):
        total += values[..., day]
    total /= values.shape[-1]
    return total
