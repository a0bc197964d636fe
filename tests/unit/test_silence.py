"""Silence of a device: by the ticks of the log, or by the other devices; never by when somebody looked."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import states
from headrace.events import Alert
from headrace.records import DAY, HOUR, MINUTE
from headrace.services.learning.plan import Plan
from headrace.services.learning.silence import SilenceWatch
from headrace.spec import parse

START = 1_700_000_000 * 10**9
SPEC = """
kind: OnlineModel
metadata: {{name: m}}
input: {{topics: [t], target: power, clock: {clock}}}
transform: [{{resample: {{every: 1h}}}}]
backend: rls
alerts:
  - {{name: quiet, on: silence, for: 30m}}
  - {{name: lost, on: silence, for: 3h, severity: critical}}
"""
Step = tuple[str, int]
"""(device, or "" for a tick; minute)"""


@cache
def plan(clock: str) -> Plan:
    (document,) = parse(SPEC.format(clock=clock))
    return Plan(document.spec)


def watch(clock: str) -> SilenceWatch:
    made = SilenceWatch.of(plan(clock))
    assert made is not None
    return made


def play(one: SilenceWatch, steps: list[Step]) -> list[tuple[str, Alert]]:
    for device, minute in steps:
        if device:
            one.note(device, START + minute * MINUTE)
        elif one.wall:
            one.tick(START + minute * MINUTE)
    return one.take()


def story(found: list[tuple[str, Alert]]) -> list[tuple[str, str, str, float]]:
    return [
        (key, alert.rule, "raised", (alert.raised - START) / MINUTE)
        if alert.cleared is None
        else (key, alert.rule, "cleared", (alert.cleared - START) / MINUTE)
        for key, alert in found
    ]


def ticks(start: int, stop: int) -> list[Step]:
    return [("", minute) for minute in range(start, stop)]


def test_by_the_wall_clock() -> None:
    one = watch("wall")
    found = play(one, [*ticks(0, 5), ("a", 4), *ticks(5, 50), ("a", 50), *ticks(50, 60)])
    assert story(found) == [("a", "quiet", "raised", 34), ("a", "quiet", "cleared", 50)]
    assert found[0][1].id == found[1][1].id
    assert found[0][1].message == "no reading for 30m; the last is of 2023-11-14 22:17 UTC"
    assert found[0][1].value == found[0][1].threshold == 1800


def test_each_rule_has_its_own_patience() -> None:
    found = play(watch("wall"), [("a", 0), *ticks(0, 400)])
    assert story(found) == [("a", "quiet", "raised", 30), ("a", "lost", "raised", 180)]
    assert [alert.severity for _, alert in found] == ["warning", "critical"]


def test_nobody_is_silent_while_nobody_listens() -> None:
    """The platform was down for five hours: the ticks have a gap, and the devices get their time again."""
    one = watch("wall")
    assert play(one, [("a", 0), ("b", 0), *ticks(0, 10), *ticks(310, 335), ("a", 335), *ticks(335, 341)]) == []
    assert story(play(one, ticks(341, 345))) == [("b", "quiet", "raised", 340)]


def test_old_readings_of_a_device_that_catches_up_do_not_clear_it() -> None:
    one = watch("wall")
    play(one, [("a", 0), *ticks(0, 60)])
    assert play(one, [("a", 10), ("a", 20), ("a", 28)]) == []
    assert story(play(one, [("a", 29)])) == [("a", "quiet", "cleared", 30)], "not before it was raised"


def test_a_device_whose_clock_is_ahead_is_still_missed() -> None:
    found = play(watch("wall"), [*ticks(0, 2), ("a", 10_000), *ticks(2, 60)])
    assert story(found) == [("a", "quiet", "raised", 41)], "10 minutes of skew are allowed"


def test_by_the_other_devices() -> None:
    one = watch("event")
    assert play(one, [("a", 0), ("b", 0), ("b", 30)]) == []
    assert story(play(one, [("b", 31)])) == [("a", "quiet", "raised", 30)]
    assert story(play(one, [("a", 40), ("b", 41)])) == [("a", "quiet", "cleared", 40)]
    assert play(watch("event"), [("a", 0), ("", 500)]) == [], "ticks are not for it"


def test_a_gap_is_found_by_the_device_itself() -> None:
    assert story(play(watch("event"), [("a", 0), ("a", 100)])) == [
        ("a", "quiet", "raised", 30),
        ("a", "quiet", "cleared", 100),
    ]


def test_one_wrong_clock_makes_nobody_silent() -> None:
    one = watch("event")
    assert (
        play(one, [("a", 0), ("b", 0), ("b", 90_000), ("a", 1), ("b", 2), ("b", 90_001), ("b", 90_002), ("a", 3)]) == []
    )


def test_a_long_pause_of_all_is_believed_when_three_agree() -> None:
    one = watch("event")
    assert play(one, [("a", 0), ("b", 0), ("a", 3000), ("a", 3001)]) == []
    found = story(play(one, [("a", 3002)]))
    assert found == [
        ("a", "quiet", "raised", 30), ("b", "quiet", "raised", 30), ("a", "lost", "raised", 180), ("b", "lost", "raised", 180),
        ("a", "quiet", "cleared", 3000), ("a", "lost", "cleared", 3000),
    ]  # fmt: skip


def test_history_of_one_device_does_not_turn_the_clock_back() -> None:
    one = watch("event")
    play(one, [("a", 9000), ("b", 9000)])
    loaded: list[Step] = []
    for minute in range(40):
        loaded += [("c", minute), ("a", 9000 + minute // 2), ("b", 9000 + minute // 2)]
    found = play(one, loaded)
    assert {key for key, _ in found} == {"c"}, "its readings are days old: it is silent, the others are not"


STEPS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", ""]), st.integers(0, 300)), max_size=80)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans(), st.sampled_from(["wall", "event"]), st.integers(1, 7), st.integers(0, 20))
def test_cuts_and_restarts_do_not_matter(steps: list[Step], ordered: bool, clock: str, size: int, jump: int) -> None:
    if ordered:
        steps = sorted(steps, key=lambda step: step[1])
    steps = [
        (device, minute + (jump * 1440 if index % 11 == 10 else 0)) for index, (device, minute) in enumerate(steps)
    ]
    whole = watch(clock)
    expected = play(whole, steps)
    part, found = watch(clock), []
    for start in range(0, len(steps), size):
        found += play(part, steps[start : start + size])
        again = watch(clock)
        again.load(states.unpack(states.pack(part.state())))
        part = again
    assert found == expected
    assert states.pack(part.state()) == states.pack(whole.state())
    for key in "abc":
        for rule in ("quiet", "lost"):
            turns = [alert.cleared is None for name, alert in expected if (name, alert.rule) == (key, rule)]
            assert turns == [index % 2 == 0 for index in range(len(turns))], "raised once, cleared once, in turn"


def test_many_devices_cost_little() -> None:
    import time

    one, begin = watch("event"), time.perf_counter()
    for index in range(20_000):
        one.note(f"d{index % 1000}", START + index * 10**9)
    assert time.perf_counter() - begin < 5 and one.take() == []
    one.note("d0", START + 20 * HOUR)
    assert len(one.take()) == 2 * 1000 + 2 and DAY > 20 * HOUR
