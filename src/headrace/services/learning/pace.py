"""How much a worker that may run a stranger's code may say: it is read no faster, and ended when it goes on.

Two bounds. Reports a second: an honest worker makes at most one for each model and block of the log, and one sign of life.
And the event loop's time: all workers of a company together get a share of it, whatever they say. Over either nothing more
is read for a moment; a worker that writes faster waits, as one does at a pipe that is full.
"""

from __future__ import annotations

import time
from collections.abc import Callable

RATE = 2000.0
"""Reports a second for each model of a worker, in the mean, and as many in one go."""
IDLE = 20.0
"""A sign of life counts as so many: there is one a second."""
REST = 0.1
"""Seconds for which a worker is not read that said more than it may."""
TURN = 0.005
"""Seconds of the event loop in one go; one report may take more."""
SHARE = 0.1
"""Of the event loop's time, for all workers of a company together."""
SLACK = 0.05
"""Seconds by which they may be ahead of it: what is said now and then is heard at once."""
PATIENCE = 10.0
"""Seconds one may say more than it may, until it is ended."""


class Pace:
    """No bound at all: for the platform's own workers."""

    def pause(self) -> float:
        """Seconds until something more may be heard."""
        return 0.0

    def enough(self) -> bool:
        """Whether others should have their turn first."""
        return False

    def heard(self, seconds: float, *, idle: bool) -> None:
        """One report, which took so long; an idle one is but a sign of life. Raises ValueError when it was one too many."""


FREE = Pace()


class Paces:
    """Of the workers of one company.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.free = 0.0
        """When the company has a share of the event loop again."""

    def pace(self, models: int) -> Bounded:
        """Of one life of one worker."""
        return Bounded(self, RATE * max(1, models), self._clock)


class Bounded(Pace):
    """What one worker may say."""

    def __init__(self, company: Paces, rate: float, clock: Callable[[], float]) -> None:
        self._company, self._rate, self._clock = company, rate, clock
        self._left, self._at = rate, clock()
        self._turn = 0.0
        self._over: float | None = None
        """Since when it has said more than it may."""

    def pause(self) -> float:
        now = self._clock()
        self._left, self._at = min(self._rate, self._left + (now - self._at) * self._rate), now
        if self._left > self._rate / 2:
            self._over = None
        self._turn = 0.0
        return max(0.0 if self._left >= 1 else REST, self._company.free - now - SLACK)

    def enough(self) -> bool:
        return self._turn >= TURN or self._left < 1

    def heard(self, seconds: float, *, idle: bool) -> None:
        now = self._clock()
        self._left -= IDLE if idle else 1
        self._turn += seconds
        self._company.free = max(now, self._company.free) + seconds / SHARE
        if self._left < 1:
            self._over = now if self._over is None else self._over
            if now - self._over > PATIENCE:
                raise ValueError(f"more than {self._rate:,.0f} reports a second, for {PATIENCE:g} s")
