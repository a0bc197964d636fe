"""What the calendar says of each target: ``x.calendar``, in local time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headrace import plugins
from headrace.models.transformers import Context
from headrace.records import DAY, HOUR, MINUTE, SECOND, Array, Rows

Feature = Literal["hour_sin", "hour_cos", "hour", "slot", "day_of_year_sin", "day_of_year_cos", "weekday", "constant"]
_WIDTHS = {"hour": 24, "weekday": 7}
_LABELS = {
    "hour_sin": ["sine of the hour"],
    "hour_cos": ["cosine of the hour"],
    "hour": [f"hour {hour:02}" for hour in range(24)],
    "slot": ["time of day"],
    "day_of_year_sin": ["sine of the day of the year"],
    "day_of_year_cos": ["cosine of the day of the year"],
    "weekday": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "constant": ["constant"],
}
_YEAR = 365.25
_CHANGE = 30 * MINUTE
"""Offsets from UTC change only at multiples of this."""
_THURSDAY = 3
"""Weekday of 1970-01-01, Monday = 0."""


class Calendar:
    """Adds ``x.calendar``, (n, horizon, features): of the start of each target's window, in the model's time zone."""

    class Params(plugins.Params):
        features: list[Feature] = Field(default=["hour_sin", "hour_cos", "constant"], min_length=1)
        """hour_sin, hour_cos: of the time of day as an angle; hour: one-hot of 24; slot: number of the grid step in the
        local day; day_of_year_sin, day_of_year_cos; weekday: one-hot of 7 from Monday; constant: 1."""

    order: ClassVar[int] = 3

    def __init__(self, params: Params, context: Context) -> None:
        self._features = params.features
        self._ahead = context.every * np.arange(1, context.horizon + 1)
        self._every = context.every
        self._zone = ZoneInfo(context.timezone)
        self._width = sum(_WIDTHS.get(name, 1) for name in params.features)

    def shape(self) -> tuple[int, int]:
        """(horizon, features)."""
        return len(self._ahead), self._width

    def apply(self, rows: Rows) -> Rows:
        """Every row, with the calendar of its targets."""
        if not len(rows):
            return rows
        targets = rows.time[:, None] + self._ahead[None, :]
        times, place = np.unique(targets, return_inverse=True)
        features = self._of(times)[place.reshape(targets.shape)]
        return Rows(rows.time, {**rows.columns, "x.calendar": features})

    def labels(self) -> list[str]:
        """What each feature says of its target's time."""
        return [label for name in self._features for label in _LABELS[name]]

    def state(self) -> dict[str, Any]:
        """Nothing: the calendar is the same every time."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing to load."""

    def _of(self, times: NDArray[np.int64]) -> Array:
        """(n, features) of some times."""
        local = times + offsets(times, self._zone)
        day, clock = np.divmod(local, DAY)
        return np.column_stack([self._feature(name, day, clock) for name in self._features])

    def _feature(self, name: str, day: NDArray[np.int64], clock: NDArray[np.int64]) -> Array:
        match name:
            case "hour_sin" | "hour_cos":
                return _wave(name, clock / DAY)
            case "day_of_year_sin" | "day_of_year_cos":
                return _wave(name, _day_of_year(day) / _YEAR)
            case "hour":
                return np.eye(24)[clock // HOUR]
            case "weekday":
                return np.eye(7)[(day + _THURSDAY) % 7]
            case "slot":
                return (clock // self._every).astype(np.float64)
            case _:
                return np.ones(len(day))


def offsets(times: NDArray[np.int64], zone: ZoneInfo) -> NDArray[np.int64]:
    """Local time minus UTC at each time, ns."""
    changes, place = np.unique(times // _CHANGE, return_inverse=True)
    known = np.array([_offset(int(change) * _CHANGE, zone) for change in changes], np.int64)
    return known[place]


def _offset(time: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(time // SECOND, UTC).astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds()) * SECOND


def _wave(name: str, turns: Array) -> Array:
    """Sine or cosine, by `math` and not by numpy, whose last bit depends on the processor and the array's length."""
    function = math.sin if name.endswith("sin") else math.cos
    return np.array([function(2 * math.pi * turn) for turn in turns.tolist()])


def _day_of_year(day: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 on 1 January."""
    dates = day.astype("datetime64[D]")
    since: NDArray[np.int64] = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    return since
