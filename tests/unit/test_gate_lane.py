"""The gate inside a lane: what is worse for a week is never published, what is better is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.events import Decision
from headrace.records import Array, Rows
from headrace.services.learning.lane import CHAMPION, LIVE, GridLane
from headrace.services.learning.plan import Plan
from headrace.spec import parse
from tests import sun

DAYS, FIRST = 20, 10


class Off:
    """A backend whose forecasts are wrong by a constant; all else is the real one's."""

    def __init__(self, inner: Any, by: float) -> None:
        self._inner, self._by = inner, by

    def predict(self, x: Array) -> Array:
        result: Array = self._inner.predict(x) + self._by
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def decisions(worse: str, by: float) -> tuple[list[Decision], list[float], list[float]]:
    """(decisions after the first model, scores of the challenger, of the champion); one of the two is made worse.

    The lane gets the readings of twenty days, one day at a time, as from a log.
    """
    (document,) = parse(sun.spec())
    lane = GridLane(Plan(document.spec), "plant/one")
    readings = list(sun.readings(DAYS))
    time, power = np.array([moment for moment, _ in readings]), np.array([value for _, value in readings])
    made, scores = [], []
    for day, block in enumerate(np.array_split(np.arange(len(time)), DAYS)):
        if day == FIRST:
            assert lane._champion is not None
            if worse == LIVE:
                lane._live.backend = Off(lane._live.backend, by)
            else:
                lane._champion = Off(lane._champion, by)
        lane.process(Rows(time[block], {"power": power[block]}))
        made += lane.effects.decisions
        scores += [score for score in lane.effects.scores if day > FIRST]
        lane.effects = type(lane.effects)()
    squared = {name: [one.squared / one.n for one in scores if one.contender == name] for name in (LIVE, CHAMPION)}
    assert made[0].publish and "first" in made[0].reason
    return [one for one in made[1:] if one.time > time[FIRST * len(time) // DAYS]], squared[LIVE], squared[CHAMPION]


@pytest.mark.parametrize("by", [0.3, 0.6])
def test_a_challenger_that_is_worse_for_seven_days_is_never_published(by: float) -> None:
    after, challenger, champion = decisions(LIVE, by)
    worse = [mine > theirs for mine, theirs in zip(challenger, champion, strict=True)]
    assert sum(worse) >= 7 and len(after) >= 7, "it must have been worse, and judged, for a week"
    assert [one for one in after if one.publish] == []


def test_a_challenger_that_is_better_is_published() -> None:
    after, _, _ = decisions(CHAMPION, 0.3)
    assert any(one.publish and "better" in one.reason for one in after)
