"""The example's model over the whole record of the inverter: the figures of examples/01-pv-forecast/README.md."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from headrace.examples.pv import phases, publisher
from headrace.records import DAY, Entry
from headrace.services.learning.decoded import DecodedLog
from headrace.services.learning.learner import Learner, open_store
from headrace.services.learning.plan import Plan
from headrace.spec import parse
from headrace.stores.objects.memory import MemoryObjects
from headrace.streams.logs.memory import MemoryLog

DAYS = 224
PUBLISHED_FIGURES = {"live": 0.0257, "champion": 0.0255, "persistence": 0.0341, "hour-mean": 0.0352}


def test_rls_beats_the_baselines_over_207_days(tmp_path: Path) -> None:
    log = MemoryLog(clock=lambda: 2 * 10**18)
    start = publisher.midnight("2018-11-08")
    for day in range(DAYS):
        sent = phases.payloads(phases.history(start + day * DAY, start + (day + 1) * DAY))
        log.submit([Entry("plant/trio/reading", b"[" + b",".join(sent) + b"]")], lambda error: None)
    text = files("headrace.examples.pv").joinpath("headrace.yaml").read_text()
    spec = next(document.spec for document in parse(text) if document.spec.name == "pv-rls")
    learner = Learner(Plan(spec), 0, open_store(tmp_path / "a.db"), MemoryObjects())
    reader = DecodedLog(log)
    while learner.step(reader):
        pass
    assert not learner.failed
    sums: dict[str, list[float]] = {}
    for _, _, contender, n, squared, *_ in learner.store.scores():
        row = sums.setdefault(contender, [0.0, 0.0, 0.0])
        row[0] += squared
        row[1] += n
        row[2] += 1
    assert {name: row[2] for name, row in sums.items()} == dict.fromkeys(PUBLISHED_FIGURES, 207)
    for name, figure in PUBLISHED_FIGURES.items():
        assert sums[name][0] / sums[name][1] == pytest.approx(figure, abs=0.00006)
    assert sum(row[2] for row in learner.store.decisions()) == 10
