"""What the values themselves say: missing ones, zeros, a sensor that stands still, a counter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.analysis.words import Finding, count, num, share, span
from headrace.records import HOUR, Array

STUCK = 20
"""Equal readings in a row, over at least an hour, that are worth a word."""


@dataclass(frozen=True)
class Quality:
    """The values of a field."""

    n: int
    """Readings with a value."""
    missing: int
    """Readings without one."""
    low: float
    high: float
    mean: float
    deviation: float
    zeros: float
    """Share."""
    negative: float
    """Share."""
    run: int
    """Readings in the longest row of equal values other than zero and the extremes."""
    run_span: int
    run_value: float
    counter: bool
    """It hardly ever falls, and rises all the time: a meter's total."""

    @property
    def constant(self) -> bool:
        """Whether there is nothing to forecast."""
        return self.low == self.high

    def findings(self, unit: str) -> list[Finding]:
        """In sentences."""
        found, of = [], f" {unit}" if unit else ""
        if self.constant:
            every = f"all {self.n:,} values are" if self.n > 1 else "its only value is"
            return [Finding("values", f"constant: {every} {num(self.low)}{of}; nothing to forecast", 3, True)]
        sentence = (
            f"{num(self.low)} to {num(self.high)}{of}, mean {num(self.mean)}, standard deviation {num(self.deviation)}"
        )
        shares = [(self.zeros, "zero"), (self.negative, "negative")]
        told = ", ".join(f"{share(part)} {name}" for part, name in shares if part)
        found.append(Finding("values", f"{sentence}{'; ' if told else ''}{told}", 1))
        if self.missing:
            part = self.missing / (self.n + self.missing)
            found.append(
                Finding("missing", f"{count(self.missing, 'reading')} without a value ({share(part)})", 2, part > 0.05)
            )
        if self.run >= STUCK and self.run_span >= HOUR:
            found.append(
                Finding(
                    "stuck",
                    f"{self.run:,} readings in a row over {span(self.run_span)} are {num(self.run_value)}{of}",
                    2,
                    True,
                )
            )
        if self.counter:
            found.append(
                Finding("counter", "it only rises: a meter's total; forecast its differences instead", 3, True)
            )
        return found


def measure(time: NDArray[np.int64], values: Array) -> Quality:
    """Values in time order; at least one is finite."""
    known = np.isfinite(values)
    clean, when = values[known], time[known]
    run, place = _longest_run(clean)
    rises = np.diff(clean)
    counter = len(clean) > 30 and bool(np.mean(rises >= 0) > 0.995) and bool(np.mean(rises > 0) > 0.2)
    return Quality(
        n=len(clean),
        missing=int(len(values) - len(clean)),
        low=float(clean.min()),
        high=float(clean.max()),
        mean=float(clean.mean()),
        deviation=float(clean.std()),
        zeros=float(np.mean(clean == 0)),
        negative=float(np.mean(clean < 0)),
        run=run,
        run_span=int(when[place + run - 1] - when[place]) if run else 0,
        run_value=float(clean[place]) if run else 0.0,
        counter=counter,
    )


def _longest_run(values: Array) -> tuple[int, int]:
    """(length, start) of the longest row of equal values; zero and the extremes are where a signal may well rest."""
    starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    lengths = np.diff(starts, append=len(values))
    heads = values[starts]
    odd = (heads != 0) & (heads != values.min()) & (heads != values.max())
    if not odd.any():
        return 0, 0
    best = int(np.argmax(np.where(odd, lengths, 0)))
    return int(lengths[best]), int(starts[best])
