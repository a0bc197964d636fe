"""The rules of one key: raised once, held, cleared once; the same however the readings were cut into blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import states
from headrace.events import Alert, Prediction
from headrace.records import DAY, HOUR, MINUTE, Rows
from headrace.services.learning.alerts import AlertBook, told, unheard
from headrace.services.learning.plan import Plan, check
from headrace.spec import parse, written

START = 1_700_000_000 * 10**9
SPEC = """
kind: OnlineModel
metadata: {{name: m}}
input: {{topics: [t], target: power, unit: W}}
transform: [{{resample: {{every: 1h}}}}]
forecast: {{horizon: 4, every: 4h}}
backend: rls
alerts:
  - {{name: a, {rule}}}
"""


@cache
def plan(rule: str) -> Plan:
    (document,) = parse(SPEC.format(rule=rule))
    return Plan(document.spec)


def book(rule: str, key: str = "k") -> AlertBook:
    made = AlertBook.of(plan(rule), key)
    assert made is not None
    return made


def rows(values: list[float | None], step: int = MINUTE, start: int = START, field: str = "temp") -> Rows:
    array = np.array([np.nan if value is None else value for value in values])
    return Rows(start + step * np.arange(len(values), dtype=np.int64), {field: array})


def story(alerts: Iterable[Alert], unit: int = MINUTE) -> list[tuple[str, float]]:
    """("raised" | "cleared", when)."""
    return [
        ("raised", (alert.raised - START) / unit)
        if alert.cleared is None
        else ("cleared", (alert.cleared - START) / unit)
        for alert in alerts
    ]


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ("on: reading, field: temp, above: 80", [79, 80, 81, 82, 80, 81], [("raised", 2), ("cleared", 4), ("raised", 5)]),
        ("on: reading, field: temp, below: 5", [5, 4, 3, 5], [("raised", 1), ("cleared", 3)]),
        ("on: reading, field: temp, above: 80, clear: 75", [81, 79, 76, 82, 75, 79], [("raised", 0), ("cleared", 4)]),
        ("on: reading, field: temp, below: 5, clear: 7", [4, 6, 6.9, 7], [("raised", 0), ("cleared", 3)]),
        ("on: reading, field: temp, above: 80, for: 3m", [81, 82, 83, 84, 85], [("raised", 3)]),
        ("on: reading, field: temp, above: 80, for: 3m", [81, 82, 83, 80, 84, 85, 86, 87], [("raised", 7)]),
        ("on: reading, field: temp, above: 80, for: 3m, clear: 70", [81, 75, 82, 83, 84, 85, 75, 70], [("raised", 5), ("cleared", 7)]),
        ("on: reading, field: temp, above: 80", [81, None, None, 80], [("raised", 0), ("cleared", 3)]),
        ("on: reading, field: temp, above: 80, for: 2m", [81, None, 81], [("raised", 2)]),
        ("on: reading, field: temp, above: 80", [None, None], []),
        ("on: reading, field: other, above: 80", [99, 99], []),
    ],
)  # fmt: skip
def test_a_reading_rule(rule: str, values: list[float | None], expected: list[tuple[str, float]]) -> None:
    found = book(rule).read(rows(values))
    assert story(found) == expected
    assert len({alert.id for alert in found}) == sum(what == "raised" for what, _ in expected)


def test_an_episode_keeps_its_id_and_what_it_was_raised_for() -> None:
    raised, cleared = book("on: reading, field: temp, above: 80, severity: critical").read(rows([81.5, 20]))
    assert raised.id == cleared.id and (raised.cleared, cleared.raised) == (None, raised.raised)
    assert (cleared.value, cleared.threshold, cleared.severity) == (81.5, 80, "critical")
    assert cleared.message == "temp is 81.5, above 80"


def test_ids_tell_keys_and_rules_apart_and_survive_other_severities() -> None:
    def identity(rule: str, key: str = "k") -> str:
        return book(rule, key).read(rows([99]))[0].id

    rule = "on: reading, field: temp, above: 80"
    assert identity(rule) == identity(rule) == identity(rule + ", severity: info")
    assert len({identity(rule), identity(rule, "l"), identity(rule + ", for: 0s, clear: 3"), identity(rule[:-1])}) == 4


def test_late_readings_are_not_judged_and_a_wrong_clock_does_not_last() -> None:
    one = book("on: reading, field: temp, above: 80")
    assert one.read(rows([20, 20])) == []
    assert one.read(rows([99], start=START - HOUR)) == [], "an hour late"
    assert one.read(rows([20], start=START + 900 * DAY)) == []
    assert story(one.read(rows([99, 20], start=START + 3 * MINUTE))) == [("raised", 3), ("cleared", 4)]


def test_two_episodes_at_one_time_have_two_ids() -> None:
    time = np.full(4, START)
    found = book("on: reading, field: temp, above: 80").read(Rows(time, {"temp": np.array([90.0, 70, 91, 71])}))
    assert [alert.cleared is None for alert in found] == [True, False, True, False]
    assert found[0].id == found[1].id != found[2].id == found[3].id


VALUES = st.lists(st.one_of(st.none(), st.floats(0, 10)), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(
    VALUES,
    st.lists(st.integers(-3, 5), min_size=60, max_size=60),
    st.sampled_from(["above: 6", "above: 6, clear: 4", "below: 4, for: 2m", "above: 5, for: 3m, clear: 2"]),
    st.lists(st.integers(0, 60), max_size=8),
)
def test_cuts_and_restarts_do_not_matter(
    values: list[float | None], steps: list[int], rule: str, cuts: list[int]
) -> None:
    """Any series, times going back now and then; cut anywhere, saved and loaded at each cut; and as one reading at a time."""
    whole = rows(values)
    whole.time = START + MINUTE * np.cumsum(np.array(steps[: len(values)], dtype=np.int64))
    rule = f"on: reading, field: temp, {rule}"
    one = book(rule)
    expected = one.read(whole)
    for edges in ([0, *sorted(cut for cut in cuts if cut < len(values)), len(values)], list(range(len(values) + 1))):
        found: list[Alert] = []
        part = book(rule)
        for low, high in itertools.pairwise(edges):
            found += part.read(whole.take(slice(low, high)))
            again = book(rule)
            again.load(states.unpack(states.pack(part.state())))
            part = again
        assert found == expected
        assert states.pack(part.state()) == states.pack(one.state())
    opened = [alert.cleared is None for alert in expected]
    assert opened == [index % 2 == 0 for index in range(len(opened))], "raised once, cleared once, in turn"


def forecast(values: list[float], hour: int = 0) -> Prediction:
    return Prediction("p", "m", "k", START + hour * HOUR, HOUR, values, None, None, "live")


def test_a_forecast_rule_looks_as_far_ahead_as_it_says() -> None:
    one = book("on: forecast, below: 500, within: 2h, clear: 600")
    assert one.forecast(forecast([700, 600, 100, 100])) == []
    (raised,) = one.forecast(forecast([700, 450.25, 100, 100], 4))
    assert raised.raised == START + 4 * HOUR and (raised.value, raised.threshold) == (450.25, 500)
    assert raised.message == "the forecast is 450.25 W for 2023-11-15 03:13 UTC, below 500"
    assert one.forecast(forecast([550, 800, 0, 0], 8)) == [], "between the threshold and `clear` it stays"
    (cleared,) = one.forecast(forecast([600, 800, 0, 0], 12))
    assert (cleared.id, cleared.cleared) == (raised.id, START + 12 * HOUR)
    assert book("on: forecast, above: 5").forecast(forecast([np.nan] * 4)) == []


def scored(one: AlertBook, hour: int, outside: int, n: int = 4, band: bool = True, level: float = 0.5) -> list[Alert]:
    truth = np.full(4, level)
    truth[:outside] = level + 5
    truth[n:] = np.nan
    bounds = [np.full(4, level - 1), np.full(4, level + 1)] if band else []
    return one.scored(START + hour * HOUR, np.full(4, level), truth, bounds, truth > 0.02)


def test_a_breach_rule_counts_outcomes_outside_their_band() -> None:
    one = book("on: breach, share: 0.5, over: 12h, minimum: 8, clear: 0.25")
    assert scored(one, 0, 4) == [], "too few outcomes"
    assert scored(one, 4, 4, band=False) == [], "no band, no breach"
    (raised,) = scored(one, 8, 1)
    assert raised.value == 0.625 and raised.message.startswith("62% of 8 outcomes of the last 12h")
    assert story(scored(one, 12, 0), HOUR) == [("cleared", 12)], "1 of 8: the first has left the window"


def test_a_breach_rule_clears_once() -> None:
    one = book("on: breach, share: 0.5, over: 8h, minimum: 4")
    assert story(scored(one, 4, 2), HOUR) == [("raised", 4)]
    assert scored(one, 8, 0) == [], "a quarter is not below half of `share`"
    assert story(scored(one, 12, 0), HOUR) == [("cleared", 12)]
    assert scored(one, 16, 0) == []


def test_a_coverage_rule_judges_active_outcomes_if_there_are_any() -> None:
    one = book("on: coverage, below: 0.7, over: 8h, minimum: 4, clear: 0.9")
    assert story(scored(one, 4, 2), HOUR) == [("raised", 4)]
    assert scored(one, 8, 0) == [], "75 % is not yet 90 %"
    assert story(scored(one, 12, 0), HOUR) == [("cleared", 12)]
    night = book("on: coverage, below: 0.7, over: 8h, minimum: 4")
    assert scored(night, 4, 0, level=0.0) == []
    truth = np.array([0.5, 0.5, 0.5, 0.0])
    low, high = np.array([1.0, 1.0, 0, 0]), np.array([2.0, 2.0, 1, 1])
    assert night.scored(START + 8 * HOUR, truth, truth, [low, high], truth > 0.02) == [], (
        "3 active outcomes are too few"
    )
    (raised,) = night.scored(START + 9 * HOUR, truth, truth, [low, high], truth > 0.02)
    assert raised.message == "the band held 33% of 6 active outcomes of the last 8h, below 70%"


def test_a_drift_rule_follows_its_detector_and_sees_each_outcome_once() -> None:
    one = book("on: drift, detector: {peak: {recent: 2, reference: 6, minimum: 3, threshold: 0.3, clear: 0.2}}")
    found: list[Alert] = []
    for index in range(40):
        level = 0.5 if 20 <= index < 32 else 1.0
        truth = level * np.array([0.0, 1.0, 0.5, 0.0])
        found += one.scored(START + (index * 4) * HOUR, truth, truth, [], truth > 0.02)
        overlapping = one.scored(START + (index * 4 + 1) * HOUR, truth * 9, truth * 9, [], truth > 0.02)
        assert overlapping == [], "an overlapping forecast is not shown again"
    assert story(found, 4 * HOUR)[0] == ("raised", 21) and found[0].value == -0.5
    assert found[0].message == "drift down: peak is -0.5, beyond 0.3"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(1, 400), min_size=1, max_size=6))
def test_record_wise_drift_does_not_depend_on_cuts(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    n = 2000
    time, truth = START + MINUTE * np.arange(n), rng.normal(0, 1, n) + (np.arange(n) > 1200) * 3
    rule = "on: drift, detector: {bias: {recent: 2, reference: 8, minimum: 5}}"
    whole = book(rule)
    expected = whole.errors(time, np.zeros(n), truth)
    part, found, place = book(rule), [], 0
    for index in range(n):
        size = sizes[index % len(sizes)]
        chosen = slice(place, place + size)
        found += part.errors(time[chosen], np.zeros(len(time[chosen])), truth[chosen])
        place += size
        if place >= n:
            break
    else:
        raise AssertionError("not all was shown")
    assert found == expected and any(one.raised <= START + 1500 * MINUTE for one in expected)
    assert states.pack(part.state()) == states.pack(whole.state())


def test_a_model_without_rules_has_no_book() -> None:
    assert AlertBook.of(plan("on: silence, for: 5m"), "k") is None


def test_a_state_of_before_the_rules_begins_anew() -> None:
    one = book("on: reading, field: temp, above: 80")
    empty: dict[str, Any] = {}
    one.load(empty)
    assert story(one.read(rows([81]))) == [("raised", 0)]


def test_durations_are_said_as_a_spec_writes_them() -> None:
    assert [written(one) for one in (90 * 10**9, 10**9 // 2, DAY, 25 * HOUR)] == ["90s", "0.5s", "1d", "25h"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((80.5, 80.0), ("80.5", "80")), ((80.0000004, 80.0), ("80.0000004", "80")), ((-0.1, 0.0), ("-0.1", "0")),
        ((0.7985, 0.8, ".{}%", 0), ("79.8%", "80.0%")), ((1 / 3, 0.7, ".{}%", 0), ("33%", "70%")),
        ((0.5, 0.795, ".{}%", 0), ("50.0%", "79.5%")), ((1234567.0, 1234566.0, ",.{}g"), ("1,234,567", "1,234,566")),
    ],
)  # fmt: skip
def test_digits_enough_for_the_sentence_to_be_true(arguments: Any, expected: tuple[str, str]) -> None:
    assert told(*arguments) == expected


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_what_is_told_is_never_untrue(value: float, threshold: float) -> None:
    shown, limit = map(float, told(value, threshold))
    assert (shown < limit, shown > limit) == (value < threshold, value > threshold)


def test_a_rule_on_a_field_that_nobody_sends_is_named() -> None:
    one, other = (book("on: reading, field: nope, above: 80", key) for key in ("k", "l"))
    spec = plan("on: reading, field: nope, above: 80").spec
    assert unheard(spec, [one, other]) == "", "nothing came yet"
    assert one.read(rows([1.0, 2.0])) == []
    says = "rule 'a': no field 'nope' so far; fields seen: temp"
    assert unheard(spec, [one, other]) == says
    again = book("on: reading, field: nope, above: 80")
    again.load(states.unpack(states.pack(one.state())))
    assert unheard(spec, [again]) == says
    other.read(rows([None, 3.0], field="nope"))
    assert unheard(spec, [one, other]) == "", "one device that sends it is enough"
    old = {name: value for name, value in one.state().items() if name not in {"missing", "seen"}}
    again = book("on: reading, field: nope, above: 80")
    again.load(old)
    assert unheard(spec, [again]) == ""
    again.read(rows([1.0]))
    assert unheard(spec, [again]) == says


def test_a_rule_that_looks_less_than_a_step_ahead_is_refused() -> None:
    def problems(rule: str) -> list[str]:
        (document,) = parse(SPEC.format(rule=rule), "my.yaml")
        return [str(one) for one in check(document)]

    assert problems("on: forecast, above: 1, within: 1h") == []
    (said,) = problems("on: forecast, above: 1, within: 1s")
    assert said.startswith("my.yaml:9: alerts.0.within: 1s is less than one step of the grid (1h)")
