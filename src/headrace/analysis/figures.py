"""The figures of an analysis as SVG: the same bytes for the same readings."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.analysis import correlation, seasons
from headrace.analysis.fields import Analysis, Field
from headrace.analysis.words import YEAR, period, span
from headrace.records import DAY, HOUR, MINUTE, Array

INK, SOFT, RULE, ACCENT, SECOND_INK, BAD = "#17212b", "#566472", "#e3e8ec", "#0b6aa2", "#b0560a", "#a92a22"
PALE = "#86b7d6"
BUCKETS = 500
"""Points of a long series: the lowest and the highest of each of so many stretches."""
PROFILE = 30 * MINUTE
"""Shortest slot of a daily profile."""
SHADED = 60
"""Gaps shown, the longest."""
Draw = Callable[[Any], None]
"""Draws on a matplotlib Figure."""
_STYLE: Any = {
    "svg.hashsalt": "headrace",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "lines.linewidth": 1.1,
    "path.simplify": True,
}


def svg(draw: Draw, width: float, height: float, name: str) -> str:
    """One figure of `width` x `height` inches; `name` keeps its ids apart from those of others on the page."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = re.sub(r"(?s)^.*?(?=<svg)|<metadata>.*?</metadata>", "", out.getvalue())
    text = re.sub(r'\sid="([^"]*)"', rf' id="{name}-\1"', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    return re.sub(r'(<svg[^>]*?) width="[^"]*pt"', r"\1", re.sub(r' height="[^"]*pt"', "", text, count=1), count=1)


def of(field: Field, zone: str) -> Iterator[tuple[str, str, float, Draw]]:
    """(title, what to look for, height in inches, drawing) of each figure that this field has."""
    yield "Series", _series_caption(field), 2.3, lambda figure: _series(figure, field, zone)
    if field.quality.constant:
        return
    if field.seasons.spectrum is not None:
        yield "Periodogram", _spectrum_caption(field), 2.2, lambda figure: _spectrum(figure, field)
    if _has_day(field):
        caption = f"Mean and the range that holds 80 % of the windows, by time of day ({zone})."
        yield "Daily profile", caption, 2.2, lambda figure: _daily(figure, field)
    if field.parts is not None:
        caption = "Trend, season and remainder add up to the series. The season and the remainder are shown for the last cycles."
        yield "Trend, season, remainder (STL)", caption, 4.2, lambda figure: _stl(figure, field, zone)
    if len(field.grid.values) >= seasons.WINDOWS and field.grid.empty <= 0.5:
        caption = "How alike the series is to itself so much earlier. White noise stays within the grey band 95 % of the time."
        yield "Autocorrelation", caption, 2.0, lambda figure: _own(figure, field)


def _series_caption(field: Field) -> str:
    parts = []
    if len(field.values) > 2 * BUCKETS:
        parts.append(f"Lowest and highest value of each of {BUCKETS} stretches.")
    if field.sampling.gaps:
        shown = min(SHADED, field.sampling.gaps)
        parts.append(
            f"Shaded: the {shown} longest of {field.sampling.gaps:,} gaps." if shown > 1 else "Shaded: the gap."
        )
    if field.outliers.n:
        parts.append(f"Red: {min(field.outliers.n, 500):,} of {field.outliers.n:,} outliers.")
    return " ".join(parts) or "Every reading."


def _spectrum_caption(field: Field) -> str:
    marked = ", ".join(period(one.period) for one in field.seasons.found)
    end = f"Marked: {marked}." if marked else "Nothing stands out that holds in both halves."
    return f"Power of each period. Orange: what red noise reaches anywhere in one of 100 series. {end}"


def _series(figure: Any, field: Field, zone: str) -> None:
    axes = figure.subplots()
    for start, stop in sorted(field.sampling.holes, key=lambda one: one[0] - one[1])[:SHADED]:
        axes.axvspan(*_dates(np.array([start, stop]), zone), color=SECOND_INK, alpha=0.25, linewidth=0.8)
    time, values = _thinned(field.time, field.values)
    time, values = _broken(time, values, field)
    axes.plot(_dates(time, zone), values, color=ACCENT, linewidth=0.8, marker="." if len(values) < 60 else "")
    far = np.isin(field.time, np.array(field.outliers.times, np.int64))
    axes.plot(_dates(field.time[far], zone), field.values[far], "o", color=BAD, markersize=3)
    _time_axis(axes)
    axes.set_ylabel(field.unit or field.name)


def _spectrum(figure: Any, field: Field) -> None:
    axes, found = figure.subplots(), field.seasons.spectrum
    assert found is not None
    length = 1 / found.frequency
    limit = found.noise * -np.log(1 - (1 - seasons.LEVEL) ** (1 / len(found.power)))
    axes.loglog(length / HOUR, found.power, color=PALE, linewidth=0.7)
    axes.loglog(length / HOUR, limit, color=SECOND_INK)
    for one in field.seasons.found:
        axes.axvline(one.period / HOUR, color=ACCENT, linewidth=1, linestyle=":")
        place = (one.period / HOUR, 0.97)
        style = {"color": ACCENT, "ha": "right", "va": "top", "rotation": 90}
        axes.annotate(period(one.period), place, xycoords=("data", "axes fraction"), **style)
    axes.set_ylim(np.quantile(found.power, 0.02), found.power.max() * 3)
    _period_axis(axes, float(length.min() / HOUR), float(length.max() / HOUR))
    axes.set_ylabel("power")
    axes.set_xlabel("period")


def _daily(figure: Any, field: Field) -> None:
    axes, grid = figure.subplots(), field.grid
    slot = max(grid.every, PROFILE)
    clock = grid.clock[grid.known] % DAY // slot
    values = grid.values[grid.known]
    hours = np.unique(clock)
    bands = np.array([np.quantile(values[clock == hour], [0.1, 0.9]) for hour in hours])
    means = np.array([values[clock == hour].mean() for hour in hours])
    x = hours * slot / HOUR
    axes.fill_between(x, bands[:, 0], bands[:, 1], color=ACCENT, alpha=0.2, linewidth=0, step="post")
    axes.step(x, means, color=ACCENT, where="post")
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 6), [f"{hour:02d}:00" for hour in range(0, 25, 6)])
    axes.set_ylabel(field.unit or field.name)


def _stl(figure: Any, field: Field, zone: str) -> None:
    parts, grid = field.parts, field.grid
    assert parts is not None
    longest = max(one.period for one in field.seasons.found)
    some = slice(-min(len(grid.values), max(10 * longest // grid.every, 100)), None)
    rows = [
        ("series", grid.filled, slice(None)),
        ("trend", parts.trend, slice(None)),
        ("season", parts.seasonal.sum(axis=1), some),
        ("remainder", parts.rest, some),
    ]
    for axes, (name, values, part) in zip(figure.subplots(len(rows)), rows, strict=True):
        time, shown = _thinned(grid.start[part], values[part])
        axes.plot(_dates(time, zone), shown, color=SECOND_INK if name == "trend" else ACCENT, linewidth=0.8)
        axes.set_title(name, loc="left", fontsize=8, color=SOFT, pad=2)
        axes.locator_params(axis="y", nbins=3)
        _time_axis(axes)


def _own(figure: Any, field: Field) -> None:
    axes, grid = figure.subplots(), field.grid
    most = min(len(grid.values) // 3, max(8 * DAY // grid.every, 48), 2000)
    r = correlation.curve(grid.filled - seasons.line(grid.filled), most)
    x = np.arange(most + 1) * grid.every / HOUR
    bound = 1.96 / np.sqrt(len(grid.values))
    axes.axhspan(-bound, bound, color=RULE)
    axes.axhline(0, color=SOFT, linewidth=0.5)
    axes.plot(x, r, color=ACCENT)
    axes.set_xlim(0, x[-1])
    _lag_axis(axes, float(x[-1]))
    axes.set_ylabel("r")


def together(analysis: Analysis) -> Draw:
    """The largest |r| of every two fields, without season and trend, as a map."""
    compared = {name for one in analysis.pairs for name in (one.first, one.second)}
    names = [one.name for one in analysis.fields if one.name in compared]
    values = np.full((len(names), len(names)), np.nan)
    for one in analysis.pairs:
        i, j = names.index(one.first), names.index(one.second)
        values[i, j] = values[j, i] = one.r_rest

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        edges = np.arange(len(names) + 1) - 0.5
        axes.pcolormesh(edges, edges, values, vmin=-1, vmax=1, cmap="RdBu", edgecolors="white", linewidth=1)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        short = [name if len(name) <= 14 else name[:13] + "…" for name in names]
        axes.set_xticks(range(len(names)), short, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), short)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0)
        for i, j in np.argwhere(np.isfinite(values)).tolist():
            dark = abs(values[i, j]) > 0.6
            axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=7, color="white" if dark else INK)

    return draw


def _has_day(field: Field) -> bool:
    """Whether a profile by time of day can be drawn: a few days, and steps that cut a day."""
    return (
        field.grid.every < DAY and field.sampling.covered >= 3 * DAY and int(field.grid.known.sum()) >= seasons.WINDOWS
    )


def _thinned(time: NDArray[np.int64], values: Array) -> tuple[NDArray[np.int64], Array]:
    """Where there are too many points, the lowest and the highest of each stretch of time, in order."""
    if len(values) <= 2 * BUCKETS:
        return time, values
    place = ((time - time[0]).astype(np.float64) / float(time[-1] - time[0] + 1) * BUCKETS).astype(np.int64)
    by_value = np.lexsort((values, place))
    edges = np.flatnonzero(np.diff(place[by_value], prepend=-1))
    ends = np.append(edges[1:], len(values)) - 1
    kept = np.unique(np.concatenate([by_value[edges], by_value[ends]]))
    return time[kept], values[kept]


def _broken(time: NDArray[np.int64], values: Array, field: Field) -> tuple[NDArray[np.int64], Array]:
    """No line across a gap that is wide enough to be seen."""
    wide = [start for start, stop in field.sampling.holes if stop - start > field.sampling.covered / 100]
    if not wide:
        return time, values
    places = np.searchsorted(time, wide, side="right")
    return np.insert(time, places, wide), np.insert(values, places, np.nan)


def _dates(time: NDArray[np.int64], zone: str) -> NDArray[Any]:
    from headrace.analysis.clocks import local

    return local(time, zone).astype("datetime64[ns]")


def _time_axis(axes: Any) -> None:
    from matplotlib import dates

    untyped: Any = dates
    locator = untyped.AutoDateLocator(minticks=3, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))
    axes.margins(x=0.01)


def _period_axis(axes: Any, low: float, high: float) -> None:
    natural = [1 / 60, 0.1, 1, 6, 24, 168, 720, YEAR / HOUR]
    ticks = [hours for hours in natural if low <= hours <= high]
    axes.set_xticks(ticks, [_short(hours) for hours in ticks])
    axes.minorticks_off()


def _lag_axis(axes: Any, high: float) -> None:
    step = next((hours for hours in (0.25, 1, 6, 24, 48, 168, 720) if high / hours <= 9), high)
    ticks = np.arange(0, high + step / 2, step)
    axes.set_xticks(ticks, [_short(hours) if hours else "0" for hours in ticks])


def _short(hours: float) -> str:
    if hours >= 24:
        return f"{hours / 24:.0f} d" if hours < 8760 else "1 y"
    return span(hours * HOUR)
