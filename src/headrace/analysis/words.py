"""Numbers and times as people read them, the same everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from headrace.records import DAY, HOUR, MINUTE, SECOND

WEEK = 7 * DAY
YEAR = round(365.25 * DAY)
_NAMES = {MINUTE: "a minute", HOUR: "an hour", 12 * HOUR: "12 h", DAY: "a day", WEEK: "a week", YEAR: "a year"}
_UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (1_000_000, "ms"))


@dataclass(frozen=True)
class Finding:
    """One thing found, as a sentence with its numbers."""

    about: str
    sentence: str
    weight: int = 1
    """3: decides the spec; 2: worth knowing; 1: for the record."""
    flag: bool = False
    """Something a person should look at."""


def span(ns: float) -> str:
    """A length of time in its two largest units.

    >>> [span(x * 10**9) for x in (0.25, 5, 300, 11100, 86400, 90000, 19353600)]
    ['250 ms', '5 s', '5 min', '3 h 05', '24 h', '25 h', '224 days']
    """
    seconds = ns / SECOND
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{seconds / 60:.3g} min"
    if seconds < 48 * 3600:
        minutes = round(seconds / 60)
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest:02d}" if rest else f"{hours} h"
    days = seconds / 86400
    return f"{days:.1f} days" if days < 10 and abs(days - round(days)) > 0.05 else f"{days:,.0f} days"


def period(ns: float) -> str:
    """A length of time that repeats, by its name if it has one."""
    return _NAMES.get(round(ns), span(ns))


def yaml_duration(ns: int) -> str:
    """As a spec writes it, exactly.

    >>> yaml_duration(86400 * 10**9), yaml_duration(36 * 3600 * 10**9), yaml_duration(90 * 10**9)
    ('1d', '36h', '90s')
    """
    for unit, name in _UNITS:
        if ns % unit == 0:
            return f"{ns // unit}{name}"
    return f"{max(1, round(ns / 1e6))}ms"


def num(value: float) -> str:
    """Four digits.

    >>> num(28696.4), num(0.012345), num(-3.0), num(0)
    ('28,700', '0.01235', '-3', '0')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "unknown"
    return f"{value:.4g}" if abs(value) < 1e4 or abs(value) >= 1e9 else f"{float(f'{value:.4g}'):,.0f}"


def share(part: float) -> str:
    """A fraction as a percentage that is 0 or 100 only if it is exactly that.

    >>> share(0.5), share(0.00001), share(0.9999), share(1)
    ('50 %', 'under 0.1 %', '99.9 %', '100 %')
    """
    if 0 < part < 0.001:
        return "under 0.1 %"
    percent = 100 * part if part >= 1 else min(100 * part, 99.9)
    return f"{percent:.1f} %" if 0 < percent < 10 or 99 < percent < 100 else f"{percent:.0f} %"


def chance(p: float) -> str:
    """A p-value.

    >>> chance(0.0312), chance(1e-9)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 gap``, ``158 gaps``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def clock(ns: int, zone: str = "UTC", pattern: str = "%Y-%m-%d %H:%M") -> str:
    """A moment on the clock of a zone."""
    return datetime.fromtimestamp(ns / SECOND, UTC).astimezone(ZoneInfo(zone)).strftime(pattern)


def time_of_day(ns: float) -> str:
    """``08:05`` of nanoseconds since midnight."""
    hours, rest = divmod(round(ns % DAY / MINUTE), 60)
    return f"{hours % 24:02d}:{rest:02d}"
