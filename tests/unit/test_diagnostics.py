"""Normality tests against SciPy and statsmodels, and what is said when they cannot be made."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest

from headrace.errors import MissingExtra
from headrace.models import diagnostics
from headrace.models.diagnostics import normality, passed


def sample(kind: str, n: int) -> Any:
    return getattr(np.random.default_rng(7), kind)(size=n)


def test_the_three_statistics_are_those_of_the_libraries() -> None:
    from scipy import stats
    from statsmodels.stats.diagnostic import normal_ad

    errors = 1000 * sample("laplace", 60) + 50
    found = normality([*errors, float("nan"), float("inf")])
    assert found.n == 60
    expected = [stats.shapiro(errors), normal_ad(errors), stats.normaltest(errors)]
    for one, (statistic, p) in zip(found.tests, expected, strict=True):
        assert (one.statistic, one.p) == (pytest.approx(statistic), pytest.approx(p))
        assert one.normal == (p >= 0.05)
    assert found.skewness == pytest.approx(stats.skew(errors))
    assert found.excess == pytest.approx(stats.kurtosis(errors))


@pytest.mark.parametrize("level", [0.01, 0.2])
def test_the_level_decides(level: float) -> None:
    found = normality(sample("laplace", 40), level)
    assert found.level == level
    assert [one.normal for one in found.tests] == [one.p >= level for one in found.tests if one.p is not None]


def test_false_alarms_are_as_frequent_as_the_level_says() -> None:
    random = np.random.default_rng(0)
    rejected = [
        one.normal is False for _ in range(200) for one in diagnostics_of(random.normal(size=30)) if one.p is not None
    ]
    assert len(rejected) == 600
    assert 0.03 < np.mean(rejected) < 0.09


def diagnostics_of(errors: Any) -> Any:
    scaled = (errors - errors.mean()) / errors.std()
    return [diagnostics._test(name, make, span, scaled, 0.05) for name, make, span in diagnostics._TESTS]


def test_small_samples_pass_what_large_ones_reject() -> None:
    """The trap of the chapter: 20 to 30 residuals look normal two times of three although they are not."""
    assert 0.6 < passed(25, 0.05) < 0.75
    assert passed(400, 0.05) < 0.01
    few, many = normality(sample("normal", 25)), normality(sample("laplace", 400))
    assert f"{passed(25, 0.05):.0%} pass" in few.sentence and "shows very little" in few.sentence
    assert [one.normal for one in many.tests] == [False] * 3
    assert "not by how much" in many.sentence and "even small departures" in many.sentence
    two = normality(sample("laplace", 25))
    assert "only 32% of the time" in two.sentence and "5.0% false alarms" in two.sentence


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ([], "0 errors are too few"),
        ([1.0], "1 error is too few"),
        ([float("nan")] * 50, "0 errors are too few"),
        ([3.0] * 50, "all 50 errors are the same"),
        ([0.1 + 0.2, 0.3, 0.3], "all 3 errors are the same"),
        ([1e308, -1e308, 1.0, 2.0], "too large"),
    ],
)
def test_what_cannot_be_tested_is_said(errors: list[float], words: str) -> None:
    found = normality(errors)
    assert words in found.sentence
    assert all(one.normal is None and words in one.note for one in found.tests)
    assert [row[3] for row in found.rows()] == [one.note for one in found.tests]


def test_each_test_has_its_range() -> None:
    few = normality([1, 2, 4, 3, 7])
    assert [one.normal for one in few.tests] == [True, None, None]
    assert few.rows()[1][1:] == ["", "", "needs 8 errors, there are 5"]
    many = normality(sample("normal", 5001))
    assert [one.normal for one in many.tests] == [None, True, True]
    assert "5,000" in many.tests[0].note


def test_as_plain_json_and_as_rows() -> None:
    found = normality(sample("laplace", 300))
    plain = json.loads(json.dumps(found.plain()))
    assert plain["n"] == 300 and plain["sentence"] == found.sentence
    assert [one["name"] for one in plain["tests"]] == ["Shapiro-Wilk", "Anderson-Darling", "D'Agostino-Pearson"]
    assert [row[3] for row in found.rows()] == ["not normal"] * 3
    assert found.rows()[0][2] == "< 0.0001"
    assert normality(sample("laplace", 300)) == found, "the simulation is seeded"


@pytest.mark.parametrize("library", ["scipy", "statsmodels.stats.diagnostic"])
def test_without_the_libraries_the_extra_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"headrace\[evaluate\]"):
        normality(sample("normal", 20))


def test_a_level_that_is_none() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        normality([1, 2, 3], 1.0)
