"""The drift experiment: what a twin is, what recovery means, and that going on from a state is going on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from headrace.cli import app
from headrace.errors import BadInput
from headrace.evaluation import data, drift, periods, plans
from headrace.evaluation.drift import Course, Field, Outcome
from headrace.records import DAY
from headrace.services.learning.plan import Plan


@pytest.fixture(scope="module")
def short() -> tuple[Field, Plan]:
    """Forty days of warm-up and sixty more of the shipped record, two starts."""
    when, chosen = periods.shipped(), plans.of_record()
    when = when.model_copy(
        update={"days": 100, "drift": when.drift.model_copy(update={"first": 45, "count": 2, "lasting": 14})}
    )
    ground, warm = drift.field_of(data.trio(when).series["trio"], chosen.plan, when)
    assert (ground.days, ground.starts, warm) == (100, (45, 60), 40)
    learning = chosen.plan.spec.learning.model_copy(update={"initial": 40 * DAY})
    return ground, Plan(chosen.plan.spec.model_copy(update={"learning": learning}))


def test_going_on_from_a_state_is_a_run_from_the_beginning(short: tuple[Field, Plan]) -> None:
    ground, plan = short
    twin = drift._twin(plan, ground)
    course = drift._course(drift.Runner("rls", plan), ground, 60, twin)
    whole = Field(drifted(ground, 60), ground.columns, ground.origin, ground.days, (), 1.0, ground.lasting)
    beginning = drift._twin(plan, whole).errors
    assert np.array_equal(course.drifted, beginning[60 : 60 + len(course.drifted)])
    assert np.isfinite(beginning[40:]).all() and np.isnan(beginning[:40]).all()


def drifted(ground: Field, start: int) -> data.Rows:
    """The record with the drift in it."""
    day = (ground.rows.time - ground.origin) // DAY
    factor = np.where((day >= start) & (day < ground.end(start)), ground.factor, 1.0)
    return data.Rows(ground.rows.time, {"power": ground.rows.columns["power"] * factor})


def test_a_twin_is_the_same_days_at_the_same_size(short: tuple[Field, Plan]) -> None:
    """No drift at all gives a ratio of 1; the first day of a drift is forecast by a model that knows nothing of it."""
    ground, plan = short
    (none,) = drift.run([drift.Runner("rls", plan)], replace(ground, factor=1.0), 40, 1)
    assert none.curve() == pytest.approx(np.ones(len(none.curve()))) and none.recovered == 0
    (real,) = drift.run([drift.Runner("rls", plan)], ground, 40, 1)
    assert real.mse == none.mse and real.early > 1.05
    frozen = drift.Runner("still", plan, frozen=True, like="rls")
    learning, same = drift.run([drift.Runner("rls", plan), frozen], ground, 40, 1)
    assert same.curve() == pytest.approx(learning.curve()), "a frozen runner goes on from the one it is like"


def outcome(*ratios: float, lasting: int = 14) -> Outcome:
    twin = np.ones(len(ratios))
    return Outcome("any", 0.1, [Course(50, np.array(ratios), twin)], 0.0, lasting)


def test_days_to_recover() -> None:
    assert outcome(*[1.0] * 14).recovered == 0
    assert outcome(5, 3, 2, *[1.0] * 11).recovered == 5, "day 4 still averages 1.33 with day 2"
    assert outcome(5, 1, 1, 1, 1, *[2.0] * 3, *[1.0] * 6).recovered == 10, "a relapse counts"
    assert outcome(*[2.0] * 14).recovered is None
    assert outcome(5, 3, 2, *[1.0] * 10, 9).recovered is None


def test_ratios_sum_over_the_starts_that_reach_far_enough() -> None:
    long, short_ = np.full(20, 2.0), np.full(9, 8.0)
    found = Outcome("any", 0.1, [Course(1, long, np.ones(20)), Course(2, short_, np.full(9, 3.0))], 0.0, 14)
    assert found.ratio(0, 3) == pytest.approx((2 + 8) / (1 + 3))
    assert found.ratio(10, 12) == 2.0 and np.isnan(found.ratio(15, 25))


def test_a_record_that_is_too_short_is_refused() -> None:
    when, chosen = periods.shipped().model_copy(update={"days": 80}), plans.of_record()
    with pytest.raises(BadInput, match=r"at least 84 whole days .* the record has 80"):
        drift.field_of(data.trio(when).series["trio"], chosen.plan, when)


def test_published_figures_and_the_same_bytes_twice() -> None:
    """Least squares over 184 days, nine drifts; and what it says does not depend on the number of processes."""
    texts = []
    for jobs in ("1", "2"):
        found = CliRunner().invoke(app, ["evaluate", "--drift", "--only", "rls", "--json", "--jobs", jobs])
        assert found.exit_code == 0, found.output
        texts.append(found.stdout)
    assert texts[0] == texts[1]
    (row,) = json.loads(texts[0])["rows"]
    assert row["mse"] == pytest.approx(0.0271, rel=0.05)
    assert row["days_2_3"] == pytest.approx(1.35, abs=0.02) and row["days_7_13"] == pytest.approx(0.99, abs=0.02)
    assert 3 <= row["days_to_recover"] <= 10 and row["after_7_13"] < 1.1
