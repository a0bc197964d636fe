"""Alerts are a function of the log: every kind of rule, in one model, whatever the blocks and wherever it was killed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from headrace import states
from headrace.records import DAY, HOUR, MINUTE, Entry
from headrace.services.learning.decoded import DecodedLog
from headrace.services.learning.learner import Learner
from headrace.services.learning.registry import control
from headrace.services.learning.store import Store
from headrace.streams.logs.memory import MemoryLog
from tests import sun
from tests.flow.test_learner import run

RULES = """
alerts:
  - {name: strong, on: reading, field: power, above: 15000, for: 30m, clear: 10000}
  - {name: low, on: forecast, below: 1, within: 24h, severity: info}
  - {name: dim, on: forecast, above: 9000}
  - {name: breach, on: breach, share: 0.1, over: 1d, clear: 0.05}
  - {name: coverage, on: coverage, below: 0.95, over: 3d, minimum: 20}
  - {name: drift, on: drift, detector: {peak: {recent: 2, reference: 4, minimum: 2, threshold: 0.1, clear: 0.05}}}
  - {name: silent, on: silence, for: 2h}
"""
STREAM_RULES = """
alerts:
  - {name: strong, on: reading, field: power, above: 15000, for: 30m, clear: 10000}
  - {name: drift, on: drift, detector: {bias: {recent: 2, reference: 6, minimum: 5, threshold: 2}}}
  - {name: silent, on: silence, for: 2h}
"""
GRID = sun.spec() + RULES
WALL = GRID.replace("unit: W}", "unit: W, clock: wall}")
STREAM = sun.STREAM_SPEC + STREAM_RULES


def entries() -> list[Entry]:
    """Two plants; the second stops for half a day, and sends a few readings twice and late; ticks every minute or so."""
    found: list[tuple[int, Entry]] = []
    for index, (time, value) in enumerate(sun.readings(16)):
        found.append((time, Entry("plant/one/reading", sun.payload(time, value))))
        if not 9 * DAY < time - sun.START < 9.5 * DAY:
            late = HOUR if index % 37 == 0 else 0
            found.append(
                (time + late, Entry("plant/two/reading", sun.payload(time, value * (0.6 if index > 1500 else 1))))
            )
            if index % 53 == 0:
                found.append((time + late, Entry("plant/two/reading", sun.payload(time, value))))
        found += [(time + m * MINUTE, control({"kind": "tick", "time": time + m * MINUTE})) for m in (3, 6, 9)]
    return [entry for _, entry in sorted(found, key=lambda one: one[0])]


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    made = MemoryLog(clock=lambda: sun.START + 10**18)
    made.submit(entries(), lambda error: None)
    return made


def outcome(learner: Learner) -> dict[str, Any]:
    store = learner.store
    return {
        "lanes": states.pack(learner._state()),
        "alerts": states.pack([msgspec.to_builtins(one) for one in store.alerts()]),
        "changes": sorted((identity, cleared) for _, identity, cleared, _ in store.changes(0, 10**6)),
    }


def by_rule(store: Store) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for alert in reversed(store.alerts()):
        found.setdefault(alert.rule, []).append(alert)
    return found


def test_every_kind_of_rule_is_raised_and_cleared(log: MemoryLog, tmp_path: Path) -> None:
    store = run(sun.learner(tmp_path / "a.db", GRID), log).store
    found = by_rule(store)
    assert set(found) == {"strong", "low", "dim", "breach", "coverage", "drift", "silent"}
    for rule, alerts in found.items():
        for key in {alert.key for alert in alerts}:
            mine = [alert for alert in alerts if alert.key == key]
            assert all(alert.cleared is not None for alert in mine[:-1]), f"{rule} was raised while it was raised"
            assert all(a.cleared <= b.raised for a, b in itertools.pairwise(mine)), rule
    (silent,) = found["silent"]
    assert (silent.key, silent.raised) == ("plant/two", sun.START + 9 * DAY + 2 * HOUR)
    assert silent.cleared == sun.START + 9 * DAY + 12 * HOUR
    assert {alert.key for alert in found["strong"]} == {"plant/one", "plant/two"}
    changes = store.changes(0, 10**6)
    assert len({change[1:3] for change in changes}) == len(changes) > 20


@pytest.mark.parametrize("text", [GRID, WALL, STREAM], ids=["grid", "wall", "stream"])
@pytest.mark.parametrize("block", [7, 500])
def test_block_sizes_do_not_matter(
    text: str, block: int, log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = outcome(run(sun.learner(tmp_path / "a.db", text), log))
    original = DecodedLog.block
    monkeypatch.setattr(DecodedLog, "block", lambda self, after, decoder: original(self, after, decoder, block))
    assert outcome(run(sun.learner(tmp_path / "b.db", text), log)) == whole
    assert len(whole["changes"]) > 5


@pytest.mark.parametrize("text", [WALL, STREAM], ids=["wall", "stream"])
def test_restarts_anywhere_do_not_matter(text: str, log: MemoryLog, tmp_path: Path) -> None:
    whole = outcome(run(sun.learner(tmp_path / "a.db", text), log))
    rng, learner, lives = np.random.default_rng(2), sun.learner(tmp_path / "b.db", text), 0
    while learner.position < log.end():
        reader = DecodedLog(log)
        for _ in range(int(rng.integers(1, 4))):
            reader.block(learner.position, learner.plan.spec.input.decoder, int(rng.integers(1, 300)))
            learner.step(reader)
        if rng.random() < 0.6:
            learner.checkpoint(export=False)
        learner.store.close()
        learner = sun.learner(tmp_path / "b.db", text)
        lives += 1
    assert lives > 10
    assert outcome(learner) == whole


def test_rules_change_no_forecast_and_no_id(log: MemoryLog, tmp_path: Path) -> None:
    plain, ruled = (
        run(sun.learner(tmp_path / f"{n}.db", text), log).store for n, text in (("a", sun.spec()), ("b", GRID))
    )
    assert [row[1:] for row in plain.predictions(0, 1000)] == [row[1:] for row in ruled.predictions(0, 1000)]
    assert plain.alerts() == []


def test_a_checkpoint_of_before_the_rules_can_be_gone_on_from(log: MemoryLog, tmp_path: Path) -> None:
    """A state as an older Headrace wrote it."""
    learner = run(sun.learner(tmp_path / "a.db", sun.spec()), log)
    state = learner._state()
    del state["silence"]
    for lane in state["lanes"].values():
        del lane["alerts"]
        lane["open"] = [one[:6] for one in lane["open"]]
    again = sun.learner(tmp_path / "b.db", GRID)
    again._load(states.unpack(states.pack(state)))
    assert states.pack(again.lanes["plant/one"].state()["memory"]) == states.pack(state["lanes"]["plant/one"]["memory"])


def test_old_alerts_make_room(tmp_path: Path, log: MemoryLog) -> None:
    learner = run(sun.learner(tmp_path / "a.db", GRID), log)
    store = learner.store
    everything = store.alerts()
    cleared = [alert for alert in everything if alert.cleared is not None]
    with store.writing():
        store.keep_alerts(5)
    kept = store.alerts()
    assert [alert for alert in kept if alert.cleared is not None] == cleared[:5]
    assert [alert for alert in kept if alert.cleared is None] == [one for one in everything if one.cleared is None]
