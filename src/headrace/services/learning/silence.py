"""Which devices have fallen silent: the one kind of alert that needs a clock, and the other keys of the model.

The clock is the log's. With ``clock: wall`` it is the ticks that the platform appends each minute; a gap between them means
that the platform was not there to listen, and is no silence of the devices. With ``clock: event`` it is the newest event
time of all keys of the model. An episode begins when the device's newest reading is `for` old, whenever that was found out:
so it does not depend on when somebody looked.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from headrace.events import Alert
from headrace.records import DAY, MINUTE, SECOND
from headrace.services.learning.alerts import Episodes, clock
from headrace.spec import SilenceRule, written

if TYPE_CHECKING:
    from headrace.services.learning.plan import Plan

OUTAGE = 5 * MINUTE
"""Ticks further apart than this: nobody listened in between."""
SKEW = 10 * MINUTE
"""A device's clock may be this far ahead of the ticks; beyond, its reading counts as of now."""
JUMP = DAY
"""Event time that is further away than this from the newest is believed when `AHEAD` readings in a row agree..."""
AHEAD = 3
BEHIND = 20
"""...or this many, if it lies behind: a device that sends its history must not turn back the clock of the others."""


class SilenceWatch:
    """All keys of one model, and its rules `silence`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rules = [rule for rule in plan.spec.alerts if isinstance(rule, SilenceRule)]
        self.wall = plan.spec.input.clock == "wall"
        self._now: int | None = None
        self._since = 0
        """Somebody has listened without a break since then."""
        self._last: dict[str, int] = {}
        """Event time of each key's newest reading."""
        self._held: list[tuple[str, int]] = []
        """(key, time) of the last readings, in a row, whose time is too far away to be believed alone."""
        self._episodes: dict[tuple[int, str], Episodes] = {}
        self._due: list[tuple[int, str, int]] = []
        """Heap of (not before this time, key, rule): at least one for each key and rule that is not raised."""
        self._found: list[tuple[str, Alert]] = []

    @classmethod
    def of(cls, plan: Plan) -> SilenceWatch | None:
        """The watch of a model; None if it has no such rule."""
        return cls(plan) if any(isinstance(rule, SilenceRule) for rule in plan.spec.alerts) else None

    def take(self) -> list[tuple[str, Alert]]:
        """(key, alert) of what was raised and cleared since the last call."""
        found, self._found = self._found, []
        return found

    def tick(self, time: int) -> None:
        """Wall-clock time has come this far."""
        if self._now is None or time - self._now > OUTAGE:
            self._since = time
        self._now = time if self._now is None else max(time, self._now)
        self._expire()

    def note(self, key: str, time: int) -> None:
        """A reading, in log order."""
        if self.wall:
            self._hear(key, time if self._now is None else min(time, self._now + SKEW))
        elif self._now is None or abs(time - self._now) <= JUMP:
            self._held.clear()
            self._move(time if self._now is None else max(time, self._now))
            self._hear(key, time)
        else:
            self._doubt(key, time)

    def _doubt(self, key: str, time: int) -> None:
        """A reading far from the newest event time: a wrong clock, or a pause of everybody."""
        assert self._now is not None
        self._held.append((key, time))
        del self._held[:-BEHIND]
        agreed = [one for one in self._held if abs(one[1] - time) <= JUMP]
        if len(agreed) >= (AHEAD if time > self._now else BEHIND):
            self._held.clear()
            self._move(max(moment for _, moment in agreed))
            for name, moment in agreed:
                self._hear(name, moment)
        else:
            self._hear(key, min(time, self._now))

    def _move(self, time: int) -> None:
        self._now = time
        self._expire()

    def _hear(self, key: str, time: int) -> None:
        last = self._last.get(key)
        if last is not None and last - JUMP <= time <= last:
            return  # a late reading; one that is later still shows that the newest had a wrong clock
        self._last[key] = time
        for index, rule in enumerate(self._rules):
            episodes = self._episodes.get((index, key))
            if episodes is None or episodes.open is None:
                if last is None or time < last:
                    self._await(index, key)
            elif self._now is None or self._now - time <= rule.for_:
                self._found.append((key, episodes.end(time)))
                self._await(index, key)

    def _await(self, index: int, key: str) -> None:
        heapq.heappush(self._due, (self._deadline(index, key), key, index))

    def _deadline(self, index: int, key: str) -> int:
        return max(self._last[key], self._since) + self._rules[index].for_

    def _expire(self) -> None:
        """Raise for every key whose time is up."""
        assert self._now is not None
        while self._due and self._due[0][0] < self._now:
            due, key, index = heapq.heappop(self._due)
            episodes = self._episodes_of(index, key)
            if episodes.open is not None:
                continue
            deadline = self._deadline(index, key)
            if deadline > due:
                self._await(index, key)
            else:
                self._raise(index, key, deadline)

    def _raise(self, index: int, key: str, time: int) -> None:
        rule, last = self._rules[index], self._last[key]
        says = f"no reading for {written(rule.for_)}; the last is of {clock(last)}"
        silent, most = (time - last) / SECOND, rule.for_ / SECOND
        self._found.append((key, self._episodes_of(index, key).start(time, silent, most, says)))

    def _episodes_of(self, index: int, key: str) -> Episodes:
        found = self._episodes.get((index, key))
        if found is None:
            found = Episodes(self._plan.spec, self._rules[index], key, "")
            self._episodes[index, key] = found
        return found

    def state(self) -> dict[str, Any]:
        """Everything."""
        episodes = [
            [self._rules[index].name, key, one.state()]
            for (index, key), one in sorted(self._episodes.items(), key=lambda item: item[0])
            if one.raised
        ]
        return {
            "now": self._now,
            "since": self._since,
            "last": dict(self._last),
            "held": [list(one) for one in self._held],
            "episodes": episodes,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._now, self._since, self._last = state["now"], state["since"], dict(state["last"])
        self._held = [(key, time) for key, time in state["held"]]
        places = {rule.name: index for index, rule in enumerate(self._rules)}
        for name, key, one in state["episodes"]:
            self._episodes_of(places[name], key).load(one)
        for key in self._last:
            for index in range(len(self._rules)):
                episodes = self._episodes.get((index, key))
                if episodes is None or episodes.open is None:
                    self._await(index, key)
