"""The paired comparison: what it must not depend on, how often it finds what is not there, and what it says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headrace.records import DAY, HOUR, Array
from headrace.services.learning.compare import (
    ALIKE,
    LEVEL,
    NEEDED,
    Comparison,
    Pair,
    alike,
    apart,
    chance,
    lucky,
    pairs,
    verdict,
)

VALUES = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-6)
DIFFERENCES = arrays(np.float64, st.integers(NEEDED, 60), elements=VALUES)
SCORES = st.dictionaries(
    st.integers(0, 40).map(lambda n: n * 6 * HOUR), st.tuples(st.integers(0, 24), st.floats(0, 1e9)), max_size=40
)


def by_day(origin: int) -> int:
    return origin // DAY


# -- what it does not depend on


@given(DIFFERENCES, st.floats(1e-3, 1e3))
def test_which_is_called_the_candidate_and_in_which_unit_does_not_matter(differences: Array, factor: float) -> None:
    p = chance(differences)
    assert p is not None and 0 < p <= 1
    assert chance(-differences) == p
    assert chance(differences * factor) == p


@given(DIFFERENCES, st.integers(0, 99))
def test_the_order_of_days_within_a_block_does_not_matter(differences: Array, seed: int) -> None:
    differences = np.round(differences)  # sums of whole numbers are exact in any order
    blocks = min(len(differences) // min(max(len(differences) // 8, 4), 7), 12)
    edges = np.round(np.linspace(0, len(differences), blocks + 1)).astype(int)
    shuffled = np.concatenate([np.random.default_rng(seed).permutation(differences[a:b]) for a, b in pairwise(edges)])
    assert chance(shuffled) == chance(differences)


@given(arrays(np.float64, 48, elements=VALUES), st.permutations(range(8)))
def test_the_order_of_blocks_does_not_matter(differences: Array, order: list[int]) -> None:
    differences = np.round(differences)
    blocks = differences.reshape(8, 6)
    assert chance(blocks[order].ravel()) == chance(differences)


@given(SCORES, SCORES)
def test_pairs_are_symmetric_and_of_common_origins_only(first: dict, second: dict) -> None:
    found = pairs(first, second, by_day)
    assert [(one.day, one.served, one.candidate) for one in found] == [
        (one.day, one.candidate, one.served) for one in pairs(second, first, by_day)
    ]
    both = {
        by_day(origin)
        for origin in first.keys() & second.keys()
        if first[origin][0] == second[origin][0] and first[origin][0]
    }
    assert [one.day for one in found] == sorted(both)
    backwards = pairs(dict(reversed(first.items())), dict(reversed(second.items())), by_day)
    assert backwards == found


def test_pairs_by_hand() -> None:
    mine = {0: (24, 48.0), 6 * HOUR: (12, 60.0), DAY: (24, 24.0), 2 * DAY: (0, 0.0), 3 * DAY: (24, 1.0)}
    theirs = {0: (24, 24.0), 6 * HOUR: (12, 12.0), DAY: (24, 48.0), 2 * DAY: (0, 0.0), 3 * DAY: (23, 1.0), 9: (1, 1.0)}
    assert pairs(mine, theirs, by_day) == [Pair(0, 3.0, 1.0), Pair(1, 1.0, 2.0)]


# -- whether its p is one


def test_p_by_hand() -> None:
    """24 days, 6 blocks of 4, all in favour of one: 2 of the 64 combinations of signs are as extreme."""
    assert chance(np.ones(24)) == 2 / 64
    assert chance(np.zeros(30)) == 1.0
    assert chance(np.ones(NEEDED - 1)) is None
    one_against = np.repeat([1.0, 1, 1, 1, 1, -1], 4)
    assert chance(one_against) == 2 * (1 + 6) / 64  # none or one block against the others


def drawn(rng: np.random.Generator, runs: int, days: int, phi: float, skewed: bool) -> Array:
    """(runs, days) of AR(1) differences with mean 0 and standard deviation 1."""
    shape = (runs, days + 50)
    noise = (rng.chisquare(3, shape) - 3) / np.sqrt(6) if skewed else rng.normal(size=shape)
    found = np.zeros(shape)
    for day in range(1, days + 50):
        found[:, day] = phi * found[:, day - 1] + noise[:, day]
    return found[:, 50:] * np.sqrt(1 - phi**2)


def found(differences: Array) -> float:
    """How often "more than luck" is said."""
    return float(np.mean([lucky(chance(row), 1) is False for row in differences]))


@pytest.mark.parametrize(("phi", "skewed"), [(0.0, False), (0.3, False), (0.3, True)])
@pytest.mark.parametrize("days", [30, 41, 90])
def test_it_rarely_finds_what_is_not_there(phi: float, skewed: bool, days: int) -> None:
    """1,000 pairs of equally good models each: at the level of 5 %, 5 % are found, a little more where days are alike."""
    share = found(drawn(np.random.default_rng(20181108), 1000, days, phi, skewed))
    print(f"phi {phi}, {'skewed' if skewed else 'normal'}, {days} days: {share:.1%}")
    assert 0.02 <= share <= 0.085


@pytest.mark.parametrize("phi", [0.6, 0.8])
@pytest.mark.parametrize("days", [30, 60, 180])
def test_it_finds_too_much_where_days_are_much_alike(phi: float, days: int) -> None:
    """What docs/operating.md says of it, and how often such days are told by the verdict's caution."""
    rows = drawn(np.random.default_rng(20181108), 1500, days, phi, False)
    told = np.mean([alike([Pair(n, one, 0.0) for n, one in enumerate(row)]) > ALIKE for row in rows])
    share = found(rows)
    print(f"phi {phi}, {days} days: {share:.1%}, cautioned {told:.0%}")
    assert LEVEL < share < 0.25 and (days < 180 or phi < 0.8 or told > 0.95)


def test_days_taken_for_independent_would_find_too_much() -> None:
    """The plain paired test (normal approximation) on the same draws: why blocks are needed."""
    rows = drawn(np.random.default_rng(20181108), 1000, 41, 0.3, False)
    z = rows.mean(axis=1) / rows.std(axis=1, ddof=1) * np.sqrt(rows.shape[1])
    share = float(np.mean(np.abs(z) > 1.96))
    print(f"single days, phi 0.3: {share:.1%}")
    assert share > 0.12


def test_it_finds_what_is_there() -> None:
    """A difference of 0.6 daily standard deviations."""
    for days, least in ((30, 0.45), (60, 0.75), (120, 0.95)):
        assert found(drawn(np.random.default_rng(1), 300, days, 0.3, False) - 0.6) > least


# -- what it says


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0, None, None), "nothing to compare yet: no forecast of both has been scored; at least 24 days are needed"),
        ((5, 0.1, None), "too few days (5) to tell; at least 24 are needed"),
        ((41, -0.123, 1 / 200), "candidate is 12.3 % better over 41 days; a difference this large arises by luck in "
         "1 of 200 comparisons: more than luck"),
        ((30, 0.05, 0.42), "candidate is 5.0 % worse over 30 days; a difference this large arises by luck in "
         "42 of 100 comparisons: it may be luck"),
        ((41, -0.1, 0.04, 3), "candidate is 10.0 % better over 41 days; a difference this large arises by luck in "
         "1 of 25 comparisons: it may be luck (3 comparisons were made, so no more than 1 of 60 was asked for)"),
        ((30, 0.0, 1.0), "no difference over 30 days"),
        ((30, None, 0.5), "no difference over 30 days"),
    ],
)  # fmt: skip
def test_verdicts(arguments: tuple, sentence: str) -> None:
    assert verdict(*arguments) == sentence


def test_the_answer_is_of_one_piece() -> None:
    days = [Pair(17_856 + n, 2.0, 4.0) for n in range(30)]
    plain = Comparison("b", "a", "k", "W", days).plain()
    assert (plain["change"], plain["mse_candidate"], plain["mse_served"], plain["days"]) == (-0.5, 2.0, 4.0, 30)
    assert plain["p"] == 2 / 2**7 < LEVEL and plain["more_than_luck"] is True
    assert plain["daily"][0] == {"day": "2018-11-21", "candidate": 2.0, "served": 4.0}
    four = Comparison("b", "a", "k", "W", days).plain(4)
    assert four["more_than_luck"] is False and "4 comparisons were made" in four["verdict"]
    empty = Comparison("b", "a", "", "", []).plain()
    assert empty["change"] is None and empty["p"] is None and empty["more_than_luck"] is False


def test_series_that_differ_are_told() -> None:
    times = [(n, float(n)) for n in range(100)]
    assert apart(times, [(n, n * (1 + 1e-12)) for n, _ in times]) == 0
    assert apart(times, [(n, v + (n < 7)) for n, v in times]) == pytest.approx(0.07)
    assert apart([(0, None), (1, None)], [(0, None), (1, 2.0)]) == 0.5
    assert apart([], times) == 0 and apart([(0, None)], [(0, None)]) == 0
    careful = Comparison("b", "a", "", "", [], apart=0.07).plain()["verdict"]
    assert careful.endswith(
        "Careful: in 7 % of the grid windows the two saw different values, so not all scores are of the same"
    )


def test_neighbouring_days_that_are_alike_are_told() -> None:
    waves = [Pair(n, 1 + np.sin(n / 4), 1.0) for n in range(40)]
    says = Comparison("b", "a", "", "", waves).plain()["verdict"]
    assert says.endswith("; neighbouring days are alike (1.0): take this with care")
    assert alike([Pair(2 * one.day, one.candidate, one.served) for one in waves]) == 0, "none are neighbours"
    assert alike([]) == alike(waves[:1]) == 0
    assert "alike" not in Comparison("b", "a", "", "", waves[:10]).plain()["verdict"], (
        "nothing is said of too few anyhow"
    )


def test_a_candidate_that_stopped_is_not_early_but_over() -> None:
    stopped = Comparison("b", "a", "", "", [], failed="KeyError: 'x'").plain()
    assert stopped["verdict"] == "stopped by an error: KeyError: 'x'" and stopped["failed"] == "KeyError: 'x'"
    days = [Pair(n, 2.0, 4.0) for n in range(30)]
    late = Comparison("b", "a", "", "", days, failed="it broke").plain()
    assert late["verdict"].startswith("stopped by an error: it broke. Until then: candidate is 50.0 % better")
    assert late["more_than_luck"] is False and Comparison("b", "a", "", "", days).plain()["failed"] == ""
