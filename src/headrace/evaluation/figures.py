"""The figures of a report: the same bytes for the same report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.evaluation.explained import Explained
from headrace.evaluation.parts import Part
from headrace.evaluation.rolling import Run
from headrace.models.transformers.resample import standard_offset
from headrace.pages import drawing
from headrace.records import Array

ORANGE, BLUE, GREEN, YELLOW, RED, GREY = "#d9600a", "#1763a6", "#1a7f37", "#d9a400", "#c62828", "#6b7280"
LINES = (BLUE, ORANGE, GREEN, "#7b3fa0", "#b08900", "#0e8a8a", "#a8326e", GREY)
_MARKS = "osD^vPX*"
WIDE, HIGH = 5.2, 3.6
"""Inches: as wide as a phone shows without shrinking the letters."""
_STYLE = {
    "font.size": 12,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e4e8",
    "axes.edgecolor": "#9aa0a8",
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Figure:
    """One drawing."""

    title: str
    caption: str
    svg: str


@contextmanager
def _axes(name: str, alt: str, high: float = HIGH) -> Iterator[tuple[Any, list[str]]]:
    """Axes to draw on; afterwards the list holds the SVG."""
    with drawing(name, alt, WIDE, high, _STYLE) as (figure, made):
        yield figure.add_subplot(), made


def forecast(
    name: str, part: Part, run: Run, due: NDArray[np.intp], unit: str, timezone: str, nominal: float
) -> Figure:
    """Figure 4.9 of the chapter: what was measured, what had been forecast at each day's origin, and the interval."""
    factor, unit = _readable(part, unit)
    clock = (part.rows.time + standard_offset(timezone)).astype("datetime64[ns]")
    first = int(np.searchsorted(part.validation(), due[0]))
    alt = (
        f"Four validation days of the period from {part.label}: measured values as an orange line, forecasts of {name} made a "
        f"day ahead as blue points inside the blue {nominal:.0%} interval"
    )
    with _axes("forecast", alt) as (axes, made):
        axes.plot(
            clock[part.split :], part.truth[part.split :] / factor, color=ORANGE, lw=2, label="measured", zorder=3
        )
        for index, origin in enumerate(due.tolist()):
            row, times = first + origin - due[0], clock[origin : origin + part.horizon]
            once = index == 0
            if np.isfinite(run.low[row]).all():
                axes.fill_between(
                    times, run.low[row] / factor, run.high[row] / factor, color=BLUE, alpha=0.22, lw=0,
                    label=f"{nominal:.0%} interval" if once else None,
                )  # fmt: skip
            points = run.forecasts.predictions[0, row] / factor
            axes.plot(times, points, "o", color=BLUE, ms=3.6, label=f"forecast ({name})" if once else None, zorder=4)
        _days(axes, clock[part.split :])
        axes.set_ylabel(f"{part.target} ({unit})" if unit else part.target)
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=11, handlelength=1.4, columnspacing=1
        )
    caption = (
        f"The chapter's Figure 4.9 for {name}: the validation days of the period from {part.label}, each forecast when its "
        "day began. This is the period in the middle by error, neither the best nor the worst."
    )
    return Figure("Forecast and interval", caption, made[0])


def _days(axes: Any, clock: NDArray[Any]) -> None:
    """Ticks at local midnights, named by the day."""
    days = np.unique(clock.astype("datetime64[D]"))
    axes.set_xticks(days.astype("datetime64[ns]"), [str(day)[5:] for day in days])
    axes.set_xlim(clock[0], clock[-1])


def _readable(part: Part, unit: str) -> tuple[float, str]:
    """(divisor, unit) so that axes have no six-digit numbers."""
    if unit in {"W", "Wh", "VA"} and part.span >= 5000:
        return 1000.0, f"k{unit}"
    return 1.0, unit


def contributions(found: Explained) -> Figure:
    """Figure 4.10 of the chapter: how much each input pushed the forecast up (green), down (red) or not (yellow)."""
    values, most = found.contributions, float(np.abs(found.contributions).max(initial=0)) or 1.0
    colours = [YELLOW if abs(value) < 0.02 * most else GREEN if value > 0 else RED for value in values]
    alt = (
        f"Contribution of each of {len(values)} inputs to a forecast of {found.model}: green points raise it, red points lower "
        "it, yellow ones do neither"
    )
    with _axes("contributions", alt) as (axes, made):
        axes.axhline(0, color=GREY, lw=1)
        place = np.arange(len(values)) if found.places is None else found.places
        axes.vlines(place, 0, values, colors=colours, lw=1.2)
        axes.scatter(place, values, c=colours, s=26, zorder=3, edgecolors="white", linewidths=0.4)
        axes.set_ylabel(f"contribution ({found.unit})" if found.unit else "contribution")
        if found.places is None:
            axes.set_xticks(place, [str(label) for label in found.labels], rotation=60, ha="right", fontsize=9.5)
        else:
            axes.set_xlabel(found.axis)
        for colour, text in ((GREEN, "raises"), (YELLOW, "no effect"), (RED, "lowers")):
            axes.scatter([], [], c=colour, s=26, label=text)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=11)
    return Figure("What the forecast was made of", found.caption, made[0])


def by_period(figure: dict[str, Any]) -> Figure:
    """A line per contender over the periods."""
    names = [one["name"] for one in figure["series"]]
    alt = f"Scaled mean squared error of {', '.join(names)} in each of {len(figure['x'])} periods"
    with _axes("by-period", alt, HIGH + 0.5) as (axes, made):
        place = np.arange(len(figure["x"]))
        for index, one in enumerate(figure["series"]):
            own = names[index] not in {"persistence", "hour-mean"}
            axes.plot(
                place, np.array(one["values"], dtype=np.float64), marker=_MARKS[index % len(_MARKS)], ms=4.5,
                color=LINES[index % len(LINES)], lw=1.8 if own else 1, ls="-" if own else "--", label=one["name"],
            )  # fmt: skip
        shown = place[:: max(1, len(place) // 12)]
        axes.set_xticks(shown, [figure["x"][index] for index in shown], rotation=45, ha="right", fontsize=9.5)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("scaled MSE")
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=10.5, columnspacing=1, handlelength=1.6
        )
    return Figure("Error by period", "Scaled mean squared error of each period; lower is better.", made[0])


def skill(rows: Sequence[dict[str, Any]]) -> Figure | None:
    """A bar per contender, right of zero if it beats the hour-of-day mean."""
    known = [(str(row["model"]), float(row["skill"])) for row in rows if row.get("skill") is not None]
    if not known:
        return None
    alt = "Skill over the hour-of-day mean: " + ", ".join(f"{name} {value:+.2f}" for name, value in known)

    def draw(axes: Any) -> None:
        values = [value for _, value in known]
        axes.barh(np.arange(len(known)), values, color=[GREEN if value > 0 else RED for value in values], height=0.6)
        axes.axvline(0, color=GREY, lw=1)
        spread = max([*map(abs, values), 0.05])
        for index, value in enumerate(values):
            text = f"{value:+.1%}"
            axes.text(value + 0.03 * spread * (1 if value >= 0 else -1), index, text, va="center", fontsize=11,
                      ha="left" if value >= 0 else "right")  # fmt: skip
        room = 0.45 * spread
        axes.set_xlim(min(0, *values) - room * (min(values) < 0), max(0, *values) + room)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("1 - MSE / MSE of the hour-of-day mean")

    return Figure("Skill", "Right of zero is better than the mean of that hour.", _bars("skill", alt, known, draw))


def coverage(rows: Sequence[dict[str, Any]], nominal: float) -> Figure | None:
    """Two bars per contender: how often the interval held the truth, in all hours and in active ones."""
    known = [
        (str(row["model"]), float(row["coverage"]), _float(row["active_coverage"]))
        for row in rows
        if row.get("coverage") is not None
    ]
    if not known:
        return None
    alt = f"Coverage of the {nominal:.0%} interval, all hours and active hours: "
    alt += ", ".join(f"{name} {every:.0%} and {active:.0%}".replace("nan%", "unknown") for name, every, active in known)

    def draw(axes: Any) -> None:
        place = np.arange(len(known))
        axes.barh(place - 0.2, [every for _, every, _ in known], height=0.36, color="#a9c6e3", label="all hours")
        axes.barh(place + 0.2, [active for *_, active in known], height=0.36, color=BLUE, label="active")
        axes.axvline(nominal, color=ORANGE, lw=1.8, label="promised")
        shares = [share for _, *both in known for share in both if np.isfinite(share)]
        least = min(shares)
        axes.set_xlim(max(0.0, min(0.5, least - 0.1)), 1.0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("share of truths inside the interval")
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=10.5, columnspacing=1, handlelength=1.4
        )

    caption = "Nights are easy: judge an interval by its active hours."
    return Figure("Interval coverage", caption, _bars("coverage", alt, known, draw))


def _bars(name: str, alt: str, known: Sequence[tuple[Any, ...]], draw: Callable[[Any], None]) -> str:
    with _axes(name, alt, 1.4 + 0.4 * len(known)) as (axes, made):
        draw(axes)
        axes.set_yticks(np.arange(len(known)), [str(one[0]) for one in known])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
    return made[0]


def curves(
    title: str, caption: str, x_label: str, series: Sequence[tuple[str, Array]], marks: Sequence[float]
) -> Figure:
    """Ratios over days, a line per contender, with 1 (recovered) drawn in."""
    alt = f"{title} of {', '.join(name for name, _ in series)}, day by day"
    with _axes("curves", alt, HIGH + 0.4) as (axes, made):
        axes.axhline(1, color=GREY, lw=1)
        for mark in marks:
            axes.axvline(mark, color=GREY, lw=1, ls=":")
        for index, (name, values) in enumerate(series):
            days = np.arange(len(values))
            axes.plot(
                days,
                values,
                color=LINES[index % len(LINES)],
                lw=1.8,
                marker=_MARKS[index % len(_MARKS)],
                ms=3.5,
                label=name,
            )
        axes.set_ylim(bottom=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel("error / error of the undrifted twin")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=10.5, columnspacing=1)
    return Figure(title, caption, made[0])


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)
