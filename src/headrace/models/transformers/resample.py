"""Readings to a regular grid: event-time windows, late and absurd readings, and gaps.

**Windows** have a fixed length in UTC and are aligned to local midnight in the zone's *standard* time. For steps up to
an hour that is local midnight all year (in zones whose clocks change by whole hours); longer windows stay where they
are when the clocks change: a daily window then runs from 01:00 to 01:00 local summer time.

**Closing**: the window [s, s + every) closes when the watermark, the running maximum of event time minus `lateness`,
reaches s + every. Readings for closed windows are late: counted and dropped. The order of those in time does not
matter, to the last bit: they are put in order of time, then value, before they are added. The watermark is that of
`headrace.models.transformers.watermark`: no single reading with an absurd clock moves it.

**Gaps**: a gap is a run of windows without readings (or with too few, `minimum_coverage`). One of at most `up_to` is
filled by `fill`. With `interpolate` its rows wait for the reading that ends it; a longer gap is `beyond` from its first
window, and its rows leave as soon as it has become longer. The other fills do not wait: the first `up_to` of a longer
gap is filled, the rest is `beyond`.

Filled rows are ``masked``: not learnt from, not scored. There is one exception: where absence *means* zero (an inverter
asleep at night sends nothing), the rows of `beyond: zero` are as true as measured ones, so they are not masked unless
`beyond_masked` says so; except for what lies more than `outage` into a gap (no night is that long), and for gaps that
begin in full sun, if `asleep_below` says what that is.

An interpolated row is ``ahead`` as well: it was made with the reading that ended its gap, which nobody had when its
window closed. A forecast made right after such a row would know a part of what it foretells.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from headrace import plugins
from headrace.models.transformers import Context
from headrace.models.transformers.blocks import column, join, nothing
from headrace.models.transformers.gaps import Grid
from headrace.models.transformers.watermark import Block, Watermark
from headrace.records import DAY, HOUR, SECOND, Array, Rows
from headrace.spec import Duration

_LEAP = 10_000
"""Windows emitted at most for a jump of event time that had to be held: enough to flush a feature's memory of before,
and no 56 years of rows for a device that started in 1970 and then learnt the time. The one hole a grid may have."""
_REDUCE: dict[str, np.ufunc] = {"mean": np.add, "sum": np.add, "min": np.minimum, "max": np.maximum}


class Resample:
    """One row per grid window: the target and `columns`, ``masked``, ``ahead``, and ``coverage`` if `expect` is given."""

    class Params(plugins.Params):
        every: Duration | None = Field(default=None, gt=0)
        """Length of a window; the grid step of the model."""
        aggregate: Literal["mean", "sum", "min", "max", "last"] = "mean"
        """What a window makes of its readings."""
        columns: tuple[str, ...] = ()
        """Fields to keep beside the target."""
        lateness: Duration = Field(default=0, ge=0)
        """How long a window stays open for readings that come out of order."""
        fill: Literal["interpolate", "zero", "hold", "nan"] = "interpolate"
        """What a gap holds: a line between its ends (which waits for the next reading), zero, the last value, nothing."""
        up_to: Duration = Field(default=8 * HOUR, ge=0)
        """Longest gap that is filled."""
        beyond: Literal["zero", "nan", "hold"] = "nan"
        """What a longer gap holds. Zero is for the target; the other columns hold."""
        beyond_masked: bool = False
        """Mask the zeros of `beyond: zero`, too."""
        asleep_below: float | None = None
        """If given, those zeros are true only when the window before the gap was at most this: what falls silent at
        noon is not asleep."""
        outage: Duration = Field(default=DAY, ge=0)
        """From here on into a gap even those zeros are masked."""
        expect: Duration | None = Field(default=None, gt=0)
        """The sensor's interval, to tell how much of a window was seen."""
        minimum_coverage: float = Field(default=0, ge=0, le=1)
        """A window with a smaller share of its readings counts as empty."""
        max_jump: Duration = Field(default=7 * DAY, gt=0)
        """A reading further ahead of all before it (at least 3 windows) has to be confirmed by the two that follow."""

        @model_validator(mode="after")
        def _coverage_of_what(self) -> Resample.Params:
            if self.minimum_coverage and self.expect is None:
                raise ValueError("minimum_coverage needs `expect:`, the sensor's interval")
            return self

    order: ClassVar[int] = 1

    def __init__(self, params: Params, context: Context) -> None:
        self._params = params
        self._every = params.every or context.every
        if self._every != context.every:
            mine, grid = self._every / SECOND, context.every / SECOND
            raise ValueError(f"resample every {mine:g} s, but the model's grid step is {grid:g} s")
        self._columns = list(dict.fromkeys([context.target, *params.columns]))
        self._origin = -standard_offset(context.timezone)
        self._watermark = Watermark(max(params.max_jump, 3 * self._every))
        self._grid = Grid(params, self._every, len(self._columns))
        self._open: list[Block] = []
        self._oldest: int | None = None
        self._late = 0

    def apply(self, rows: Rows) -> Rows:
        """The rows of the windows that these readings close."""
        block = Block(rows.time, np.column_stack([column(rows, name) for name in self._columns]))
        left = []
        while len(block.time):
            steady = self._watermark.steady(block)
            if steady:
                self._accept(block.part(slice(steady)))
            elif agreed := self._watermark.hold(int(block.time[0]), block.values[0]):
                left.append(self._leap(agreed))
                self._accept(agreed)
            block = block.part(slice(max(steady, 1), None))
        left.append(self._release())
        return join(left)

    def tick(self, time: int) -> Rows:
        """The rows of the windows that close because it is `time`; nothing before the first reading."""
        if self._watermark.peak is not None:
            self._watermark.pass_by(np.array([time], np.int64))
        return self._release()

    def counts(self) -> dict[str, int]:
        """Readings dropped as late or absurd, and those held at the moment."""
        return {"late": self._late, "held": self._watermark.held, "absurd": self._watermark.absurd}

    def state(self) -> dict[str, Any]:
        """Watermark, open windows, and the gap that is not yet decided."""
        buffer = self._buffer()
        return {
            "watermark": self._watermark.state(),
            "grid": self._grid.state(),
            "time": buffer.time,
            "values": buffer.values,
            "late": self._late,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._watermark.load(state["watermark"])
        self._grid.load(state["grid"])
        self._late = state["late"]
        self._open = [Block(state["time"], state["values"])] if len(state["time"]) else []
        self._oldest = int(self._windows(state["time"]).min()) if len(state["time"]) else None

    def _windows(self, time: NDArray[np.int64]) -> NDArray[np.int64]:
        return (time - self._origin) // self._every

    def _closed(self) -> int | None:
        """The first window that is still open."""
        peak = self._watermark.peak
        return None if peak is None else (peak - self._params.lateness - self._origin) // self._every

    def _accept(self, block: Block) -> None:
        """Put ordinary readings into their windows; drop those that come too late."""
        peaks = self._watermark.pass_by(block.time)
        windows = self._windows(block.time)
        in_time = windows >= self._windows(peaks - self._params.lateness)
        kept = int(np.count_nonzero(in_time))
        self._late += len(windows) - kept
        if kept:
            self._open.append(Block(block.time[in_time], block.values[in_time]))
            oldest = int(windows[in_time].min())
            self._oldest = oldest if self._oldest is None else min(oldest, self._oldest)

    def _leap(self, agreed: Block) -> Rows:
        """Close everything before an agreed jump, and cut a very long one short."""
        target, closed = int(self._windows(agreed.time).min()), self._closed()
        if closed is None:
            return nothing()
        end = max((int(self._windows(block.time).max()) + 1 for block in self._open), default=closed)
        if target - end <= _LEAP:
            return nothing()
        rows = self._release(end)
        self._grid.skip(target - _LEAP)
        return rows

    def _release(self, closed: int | None = None) -> Rows:
        closed = self._closed() if closed is None else closed
        if closed is None or not self._due(closed):
            return nothing()
        buffer = self._buffer()
        windows = self._windows(buffer.time)
        done = windows < closed
        self._open = [] if done.all() else [buffer.part(~done)]
        self._oldest = None if done.all() else int(windows[~done].min())
        found = np.unique(windows[done])
        values, coverage = self._aggregate(buffer.part(done), windows[done], found)
        return self._rows(*self._grid.close(found, values, coverage, closed))

    def _due(self, closed: int) -> bool:
        return (self._oldest is not None and self._oldest < closed) or self._grid.behind(closed)

    def _buffer(self) -> Block:
        if len(self._open) > 1:
            times, values = zip(*self._open, strict=True)
            self._open = [Block(np.concatenate(times), np.concatenate(values))]
        return self._open[0] if self._open else Block(np.empty(0, np.int64), np.empty((0, len(self._columns))))

    def _aggregate(self, block: Block, windows: NDArray[np.int64], found: NDArray[np.int64]) -> tuple[Array, Array]:
        """(n, columns) aggregates and (n,) coverages of the windows `found`."""
        values, coverage = np.full((len(found), len(self._columns)), np.nan), np.zeros(len(found))
        for place in range(len(self._columns)):
            time, window, ordered = _in_order(block.time, windows, block.values[:, place])
            starts = np.flatnonzero(np.diff(window, prepend=window[:1] - 1))
            if not len(starts):
                continue
            row = np.searchsorted(found, window[starts])
            values[row, place] = _reduce(self._params.aggregate, ordered, starts)
            if place == 0:
                distinct = np.diff(time, prepend=time[:1] - 1) != 0
                coverage[row] = np.add.reduceat(distinct.astype(np.int64), starts) * self._share()
        return values, np.minimum(coverage, 1.0)

    def _share(self) -> float:
        """What one reading covers of its window."""
        return (self._params.expect or self._every) / self._every

    def _rows(
        self, first: int, values: Array, filled: NDArray[np.bool_], ahead: NDArray[np.bool_], coverage: Array
    ) -> Rows:
        time = self._origin + self._every * np.arange(first, first + len(values), dtype=np.int64)
        columns: dict[str, NDArray[Any]] = {name: values[:, place] for place, name in enumerate(self._columns)}
        columns["masked"], columns["ahead"] = filled, ahead
        if self._params.expect is not None:
            columns["coverage"] = coverage
        return Rows(time, columns)


def standard_offset(timezone: str) -> int:
    """Local standard time minus UTC, ns (of 2020, in zones that have changed theirs)."""
    zone = ZoneInfo(timezone)
    offsets = [datetime(2020, month, 1, tzinfo=UTC).astimezone(zone).utcoffset() for month in (1, 7)]
    return min(round(offset.total_seconds()) for offset in offsets if offset is not None) * SECOND


def _in_order(
    time: NDArray[np.int64], windows: NDArray[np.int64], values: Array
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """What is known, by time and then by value: an order that does not depend on the order of arrival."""
    known = np.isfinite(values)
    if not known.all():
        time, windows, values = time[known], windows[known], values[known]
    if (time[1:] > time[:-1]).all():
        return time, windows, np.ascontiguousarray(values)
    order = np.lexsort((values, time))
    return time[order], windows[order], values[order]


def _reduce(aggregate: str, values: Array, starts: NDArray[np.intp]) -> Array:
    """One value for each run that begins at `starts`."""
    ends = np.append(starts[1:], len(values))
    if aggregate == "last":
        last: Array = values[ends - 1]
        return last
    reduced: Array = _REDUCE[aggregate].reduceat(values, starts)
    return reduced / (ends - starts) if aggregate == "mean" else reduced
