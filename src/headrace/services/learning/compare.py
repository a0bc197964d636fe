"""Whether a candidate is better than the model in service, and whether that is more than luck.

Both are scored on the same forecasts' outcomes, so the days are compared in pairs: only the differences of their daily
errors count, not the weather that both had. One bad week makes neighbouring days alike; a test that took them for
independent would find too much. The days are therefore cut into consecutive blocks, and the signs of whole blocks are
flipped: were the two equally good, each block could as well have favoured the other one. That is the randomization test
of Canay, Romano and Shaikh (Econometrica 85, 2017, section 3), done exactly: every combination of signs is looked at, no
random number is drawn. `tests/unit/test_compare.py` measures how often it finds what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from headrace.records import Array

Scores: TypeAlias = Mapping[int, tuple[int, float]]
"""Origin -> (targets, sum of squared errors in the target's unit)."""
LEVEL = 0.05
"""Chance of a false "more than luck", over all comparisons made together."""
BLOCK = (4, 7)
"""Days of a block: shorter ones are too alike, more than a week needs more days than anybody waits for."""
BLOCKS = (6, 12)
"""Fewer blocks cannot reach the level (2 in 64); more would only take longer (4,096 combinations)."""
NEEDED = BLOCK[0] * BLOCKS[0]
"""Scored days below which nothing is said."""
ALIKE = 0.5
"""Correlation of neighbouring days from which on people are told: the test then finds too much (docs/operating.md)."""
APART = 0.001
"""Fraction of windows with different values from which on people are told."""
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Pair:
    """One local day on which both were scored: mean squared errors in the square of the target's unit."""

    day: int
    candidate: float
    served: float


def pairs(candidate: Scores, served: Scores, day_of: Callable[[int], int]) -> list[Pair]:
    """The days with forecasts that both made and had scored on equally many targets.

    Args:
        day_of: local day number of an origin.
    """
    days: dict[int, list[float]] = {}
    for origin in sorted(candidate.keys() & served.keys()):
        (n, mine), (same, theirs) = candidate[origin], served[origin]
        if n and n == same:
            sums = days.setdefault(day_of(origin), [0.0, 0.0, 0.0])
            sums[0] += n
            sums[1] += mine
            sums[2] += theirs
    return [Pair(day, mine / n, theirs / n) for day, (n, mine, theirs) in sorted(days.items())]


def chance(differences: Array) -> float | None:
    """How often a mean difference at least this large arises by luck (two-sided p); None if there are too few days.

    Args:
        differences: (days,) candidate minus served, in the order of the days.
    """
    count = len(differences)
    if count < NEEDED:
        return None
    length = min(max(count // 8, BLOCK[0]), BLOCK[1])
    blocks = min(count // length, BLOCKS[1])
    edges = np.round(np.linspace(0, count, blocks + 1)).astype(int)
    sums: Array = np.add.reduceat(np.asarray(differences, dtype=np.float64), edges[:-1])
    scale = float(np.abs(sums).max())
    if scale == 0:
        return 1.0
    flipped = np.abs(_signs(blocks) @ (sums / scale))
    return float(np.mean(flipped >= flipped[0] * (1 - 1e-9)))  # rounding must not part what is equal


@cache
def _signs(blocks: int) -> Array:
    """(2 ** (blocks - 1), blocks) signs, the unflipped first. The first block keeps its own: all flipped is none flipped."""
    flips = np.arange(2 ** (blocks - 1))[:, None] >> np.arange(blocks) & 1
    signs: Array = np.where(flips[:, ::-1], -1.0, 1.0)
    return signs


def apart(mine: Sequence[tuple[int, float | None]], theirs: Sequence[tuple[int, float | None]]) -> float:
    """Fraction of the grid windows both have whose values are not the same but for rounding."""
    first, second = dict(mine), dict(theirs)
    times = sorted(first.keys() & second.keys())
    a, b = (np.array([one[time] for time in times], dtype=np.float64) for one in (first, second))
    if not times:
        return 0.0
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    same = (np.abs(a - b) <= 1e-6 * scale) | (np.isnan(a) & np.isnan(b))
    return float(1 - same.mean())


def alike(days: Sequence[Pair]) -> float:
    """Lag-1 autocorrelation of the daily differences, over neighbouring days only; 0 if there is nothing to tell from."""
    differences = np.array([one.candidate - one.served for one in days])
    next_day = np.diff([one.day for one in days]) == 1
    off = differences - differences.mean() if len(days) else differences
    spread = float(off @ off)
    return float((off[1:] * off[:-1])[next_day].sum()) / spread if spread > 0 else 0.0


@dataclass(frozen=True)
class Comparison:
    """Candidate against served over the days both were scored on."""

    candidate: str
    served: str
    key: str
    unit: str
    days: list[Pair]
    apart: float = 0.0
    """Fraction of the grid windows in which the two saw different values: other cleaning, filling or valid ranges."""
    failed: str = ""
    """Why the candidate stopped, if it did."""

    @property
    def mse(self) -> tuple[float, float]:
        """(candidate's, served's): means over the days."""
        count = len(self.days)
        return sum(one.candidate for one in self.days) / count, sum(one.served for one in self.days) / count

    @property
    def change(self) -> float | None:
        """How much larger the candidate's error is, as a fraction of the served's; None if that has none."""
        mine, theirs = self.mse if self.days else (0.0, 0.0)
        return mine / theirs - 1 if theirs > 0 else None

    @property
    def p(self) -> float | None:
        """See `chance`."""
        return chance(np.array([one.candidate - one.served for one in self.days]))

    def _says(self, p: float | None, comparisons: int) -> str:
        says = verdict(len(self.days), self.change, p, comparisons) + self._alike(p) + self._careful()
        if not self.failed:
            return says
        return f"stopped by an error: {self.failed}" + (f". Until then: {says}" if self.days else "")

    def _alike(self, p: float | None) -> str:
        found = alike(self.days)
        return (
            "" if p is None or found <= ALIKE else f"; neighbouring days are alike ({found:.1f}): take this with care"
        )

    def _careful(self) -> str:
        if self.apart <= APART:
            return ""
        share = f"{self.apart * 100:.0f} %" if self.apart >= 0.01 else "some"
        return (
            f". Careful: in {share} of the grid windows the two saw different values, so not all scores are of the same"
        )

    def plain(self, comparisons: int = 1) -> dict[str, Any]:
        """As the doors answer it.

        Args:
            comparisons: how many were made of which this is one: the more, the more often luck finds one.
        """
        p = self.p
        mine, theirs = self.mse if self.days else (None, None)
        return {
            "candidate": self.candidate,
            "served": self.served,
            "key": self.key,
            "unit": self.unit,
            "days": len(self.days),
            "mse_candidate": mine,
            "mse_served": theirs,
            "change": self.change,
            "p": p,
            "comparisons": comparisons,
            "verdict": self._says(p, comparisons),
            "failed": self.failed,
            "apart": self.apart,
            "more_than_luck": lucky(p, comparisons) is False and not self.failed,
            "daily": [
                {"day": str(EPOCH + timedelta(days=one.day)), "candidate": one.candidate, "served": one.served}
                for one in self.days
            ],
        }


def lucky(p: float | None, comparisons: int) -> bool | None:
    """Whether it may be luck, when the best of `comparisons` is looked for (Bonferroni); None: nobody can tell."""
    return None if p is None else p * max(1, comparisons) > LEVEL


def verdict(days: int, change: float | None, p: float | None, comparisons: int = 1) -> str:
    """One plain sentence.

    >>> verdict(41, -0.123, 0.005)
    'candidate is 12.3 % better over 41 days; a difference this large arises by luck in 1 of 200 comparisons: more than luck'
    >>> verdict(5, -0.4, None)
    'too few days (5) to tell; at least 24 are needed'
    """
    if not days:
        return f"nothing to compare yet: no forecast of both has been scored; at least {NEEDED} days are needed"
    if p is None:
        return f"too few days ({days}) to tell; at least {NEEDED} are needed"
    if change is None or change == 0:
        return f"no difference over {days} days"
    says = f"candidate is {abs(change) * 100:.1f} % {'better' if change < 0 else 'worse'} over {days} days"
    says += f"; a difference this large arises by luck in {_odds(p)}: "
    says += "it may be luck" if lucky(p, comparisons) else "more than luck"
    if comparisons > 1:
        says += f" ({comparisons} comparisons were made, so no more than 1 of {comparisons / LEVEL:.0f} was asked for)"
    return says


def _odds(p: float) -> str:
    return f"1 of {1 / p:.0f} comparisons" if p <= 0.1 else f"{p * 100:.0f} of 100 comparisons"
