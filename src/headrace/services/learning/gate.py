"""The champion/challenger gate: publish a snapshot when the learning model has been better for days, and not before.

Only prequential scores count: both made their forecasts before the outcome was known. Once a snapshot is published the
comparison starts anew, so that a challenger is never judged on days its own champion was chosen by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headrace.spec import Publish


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, and from which numbers."""

    publish: bool
    reason: str
    champion: float | None = None
    challenger: float | None = None
    days: int = 0


class Gate:
    """One key's gate.

    Args:
        policy: improvement, trailing window, minimum of scored days.
        day_of: local day number of an origin, to count days.
    """

    def __init__(self, policy: Publish, day_of: Callable[[int], int]) -> None:
        self._policy = policy
        self._day_of = day_of
        self._scores: deque[tuple[int, int, float, float]] = deque()

    def first(self) -> Verdict:
        """There is no champion yet: the first fitted model becomes it."""
        return Verdict(True, "the first fitted model; there is nothing to compare it with yet")

    def judge(self, origin: int, n: int, champion: float, challenger: float) -> Verdict:
        """Take in one forecast scored on `n` targets (sums of squared errors) and decide."""
        self._scores.append((origin, n, champion, challenger))
        while self._scores[0][0] <= origin - self._policy.window:
            self._scores.popleft()
        days = len({self._day_of(score[0]) for score in self._scores})
        total = sum(score[1] for score in self._scores)
        mse = (sum(s[2] for s in self._scores) / total, sum(s[3] for s in self._scores) / total)
        verdict = self._verdict(*mse, days)
        if verdict.publish:
            self._scores.clear()
        return verdict

    def _verdict(self, champion: float, challenger: float, days: int) -> Verdict:
        change = (champion - challenger) / champion if champion > 0 else 0.0
        says = (
            f"{abs(change):.1%} {'better' if change >= 0 else 'worse'} over {days} scored day{'s' if days != 1 else ''}"
        )
        if days < self._policy.minimum:
            return Verdict(
                False, f"{says}; at least {self._policy.minimum} days are needed", champion, challenger, days
            )
        if change >= self._policy.improvement and change > 0:
            return Verdict(True, says, champion, challenger, days)
        need = f"{self._policy.improvement:.0%} better is needed"
        return Verdict(False, f"{says}; {need}", champion, challenger, days)

    def state(self) -> list[Any]:
        """The scores in the window."""
        return [list(score) for score in self._scores]

    def load(self, state: list[Any]) -> None:
        """Go on from a `state`."""
        self._scores = deque(tuple(score) for score in state)
