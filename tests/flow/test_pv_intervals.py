"""The bands over the whole record of the inverter, as measured by the lanes themselves (design: 40 days of warm-up)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from headrace.examples.pv import phases, publisher
from headrace.records import DAY, Entry
from headrace.services.learning.decoded import DecodedLog
from headrace.services.learning.learner import Learner, open_store
from headrace.services.learning.plan import Plan
from headrace.spec import parse
from headrace.stores.objects.memory import MemoryObjects
from headrace.streams.logs.memory import MemoryLog

DAYS, SCORED = 225, 184
RLS = 0.0271
"""Scaled mean squared error of the recipe."""


class Run(NamedTuple):
    mse: float
    n: int
    covered: float
    daylight: float
    width: float
    daylight_width: float
    forecasts: list[dict[str, object]]


@pytest.fixture(scope="module")
def record() -> MemoryLog:
    log = MemoryLog(clock=lambda: 2 * 10**18)
    start = publisher.midnight("2018-11-08")
    for day in range(DAYS):
        sent = phases.payloads(phases.history(start + day * DAY, start + (day + 1) * DAY))
        log.submit([Entry("plant/trio/reading", b"[" + b",".join(sent) + b"]")], lambda error: None)
    return log


def run(record: MemoryLog, file: Path, interval: str) -> Run:
    """RLS with its ten features, day-ahead at midnight, scaled by the maximum of the first 40 days."""
    text = files("headrace.examples.pv").joinpath("headrace.yaml").read_text()
    text = text.replace("method: minmax", "method: max").replace("initial: 16d", "initial: 40d")
    text = text.replace("interval: {adaptive:", f"interval: {{{interval}:")
    spec = next(document.spec for document in parse(text) if document.spec.name == "pv-rls")
    learner = Learner(Plan(spec), 0, open_store(file), MemoryObjects())
    reader = DecodedLog(record)
    while learner.step(reader):
        pass
    assert not learner.failed
    store = learner.store
    live = [row for row in store.scores() if row[2] == "live"]
    assert len(live) == SCORED
    n, covered, width, active, active_covered, active_width = (
        sum(column) for column in list(zip(*store.coverage("plant/trio"), strict=True))[1:]
    )
    return Run(
        mse=sum(row[4] for row in live) / sum(row[3] for row in live),
        n=n,
        covered=covered / n,
        daylight=active_covered / active,
        width=width / n,
        daylight_width=active_width / active,
        forecasts=[msgspec.json.decode(body) for *_, body in store.predictions(0, 1000)],
    )


@pytest.fixture(scope="module")
def runs(record: MemoryLog, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    found = {name: run(record, folder / f"{name}.db", name) for name in ("adaptive", "conformal", "gaussian")}
    for name, one in found.items():
        print(
            f"{name}: {one.n} targets, 90 % band holds {one.covered:.3f}, of daylight {one.daylight:.3f},"
            f" mean width {one.width:,.0f} W, by day {one.daylight_width:,.0f} W; MSE of RLS {one.mse:.5f}"
        )
    return found


def test_rls_is_as_good_as_the_recipe(runs: dict[str, Run]) -> None:
    assert runs["adaptive"].mse < 1.05 * RLS


def test_the_default_band_covers_daylight(runs: dict[str, Run]) -> None:
    assert 0.88 <= runs["adaptive"].daylight <= 0.92
    assert 0.88 <= runs["conformal"].daylight <= 0.92


def test_the_gaussian_band_does_not(runs: dict[str, Run]) -> None:
    assert runs["gaussian"].daylight < 0.81
    assert runs["gaussian"].covered > 0.86, "over all hours it looks fine"


def test_forecasts_carry_the_trailing_measure(runs: dict[str, Run]) -> None:
    forecasts = runs["adaptive"].forecasts
    measured = [one["interval"] for one in forecasts]
    assert measured[:2] == [None, None], "the first forecast has no band, and only the second's is scored"
    assert all(isinstance(one, dict) and one["nominal"] == 0.9 and one["days"] == 30 for one in measured[2:])
    last = measured[-1]
    assert isinstance(last, dict)
    assert last["n"] == 24 * 30
    assert 0.8 < last["active"]["coverage"] < last["coverage"] < 1
    assert 0 < last["width"] < last["active"]["width"]
