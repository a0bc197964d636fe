"""A learner's state is a function of the log alone: not of block sizes, restarts, duplicates or who ran it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace import states
from headrace.errors import Fenced
from headrace.records import CONTROL, DAY, HOUR, MINUTE, Entry
from headrace.services.learning import decoded
from headrace.services.learning.decoded import DecodedLog
from headrace.services.learning.learner import Learner
from headrace.services.learning.registry import control
from headrace.services.learning.residuals import residuals
from headrace.services.learning.store import Store
from headrace.streams.logs.memory import MemoryLog
from tests import sun


def log_of(entries: list[Entry]) -> MemoryLog:
    log = MemoryLog(clock=lambda: sun.START + 10**18)
    log.submit(entries, lambda error: None)
    return log


def run(learner: Learner, log: MemoryLog) -> Learner:
    reader = DecodedLog(log)
    while learner.step(reader):
        pass
    assert not learner.failed, learner.failed
    return learner


def outcome(learner: Learner) -> dict[str, Any]:
    """Everything that must not differ."""
    store = learner.store
    return {
        "lanes": states.pack({key: lane.state() for key, lane in learner.lanes.items()}),
        "predictions": [(key, origin, body) for _, key, origin, body in store.predictions(0, 10**9)],
        "scores": store.scores(),
        "decisions": store.decisions(),
        "actuals": {key: store.actuals(key, 0) for key in store.lanes()},
        "coverage": {key: store.coverage(key) for key in store.lanes()},
        "filled": {key: store.filled(key, 0) for key in store.lanes()},
    }


@pytest.fixture(scope="module")
def sunny() -> MemoryLog:
    return log_of(sun.entries(14))


@pytest.mark.parametrize("text", [sun.spec(), sun.STREAM_SPEC], ids=["grid", "stream"])
@pytest.mark.parametrize("block", [1, 7, 500])
def test_block_sizes_do_not_matter(
    text: str, block: int, sunny: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = outcome(run(sun.learner(tmp_path / "a.db", text), sunny))
    original = DecodedLog.block
    monkeypatch.setattr(DecodedLog, "block", lambda self, after, decoder: original(self, after, decoder, block))
    cut = outcome(run(sun.learner(tmp_path / "b.db", text), sunny))
    assert whole == cut
    assert len(whole["predictions"]) > 5


@pytest.mark.parametrize("text", [sun.spec(), sun.STREAM_SPEC], ids=["grid", "stream"])
def test_restarts_anywhere_do_not_matter(text: str, sunny: MemoryLog, tmp_path: Path) -> None:
    """Killed after every few blocks, half of the time without a checkpoint since."""
    whole = outcome(run(sun.learner(tmp_path / "a.db", text), sunny))
    rng = np.random.default_rng(1)
    original = decoded.BLOCK
    learner = sun.learner(tmp_path / "b.db", text)
    lives = 0
    while learner.position < sunny.end():
        reader = DecodedLog(sunny)
        for _ in range(int(rng.integers(1, 4))):
            reader.block(learner.position, learner.plan.spec.input.decoder, int(rng.integers(1, 60)))
            learner.step(reader)
        if rng.random() < 0.5:
            learner.checkpoint(export=False)
        learner.store.close()
        learner = sun.learner(tmp_path / "b.db", text)
        lives += 1
        if lives > 60:
            run(learner, sunny)
    assert lives > 10 and original == decoded.BLOCK
    assert outcome(learner) == whole


def test_duplicates_and_late_messages_are_not_counted_twice(sunny: MemoryLog, tmp_path: Path) -> None:
    """A publisher that resends its last hundred messages after each lost acknowledgement changes nothing."""
    once = sun.entries(14)
    again: list[Entry] = []
    for start in range(0, len(once), 200):
        again += once[start : start + 200]
        again += once[start + 100 : start + 200]
    first = outcome(run(sun.learner(tmp_path / "a.db", sun.spec()), sunny))
    second = outcome(run(sun.learner(tmp_path / "b.db", sun.spec()), log_of(again)))
    assert first["predictions"] == second["predictions"]
    assert first["decisions"] == second["decisions"]
    assert first["scores"] == second["scores"]


def test_learns_and_beats_nothing_before_the_first_fit(sunny: MemoryLog, tmp_path: Path) -> None:
    learner = run(sun.learner(tmp_path / "a.db", sun.spec()), sunny)
    key = learner.store.lanes()[0]
    predictions = learner.store.predictions(0, 100)
    assert predictions[0][2] >= sun.START + 6 * 24 * HOUR, "a forecast was issued from training data"
    contenders = {row[2] for row in learner.store.scores(key)}
    assert contenders == {"live", "champion", "persistence", "hour-mean"}
    decisions = learner.store.decisions(key)
    assert decisions[0][2] == 1 and "first" in decisions[0][3]
    assert all(row[7].startswith("sha256:") for row in decisions if row[2])


def test_forecast_is_scored_on_exactly_its_own_hours(sunny: MemoryLog, tmp_path: Path) -> None:
    """The prequential score computed by hand from what was stored."""
    learner = run(sun.learner(tmp_path / "a.db", sun.spec()), sunny)
    store = learner.store
    key = store.lanes()[0]
    truth = dict(store.actuals(key, 0))
    body = states_of(store, key)[0]
    values = np.array([truth[body["origin_ms"] * 10**6 + i * HOUR] for i in range(24)], dtype=float)
    absolute = np.abs(np.array(body["values"]) - values).sum()
    (score,) = [row for row in store.scores(key) if row[1] == body["origin_ms"] * 10**6 and row[2] == "live"]
    assert score[3] == 24 and score[5] == pytest.approx(absolute)


@pytest.mark.parametrize("serve", ["live", "published"])
def test_bands_are_counted_as_they_were_issued(serve: str, sunny: MemoryLog, tmp_path: Path) -> None:
    """Coverage computed by hand from the served forecasts that were stored; a later forecast carries the sums."""
    text = sun.spec().replace("publish: {", f"publish: {{serve: {serve}, ")
    store = run(sun.learner(tmp_path / "a.db", text), sunny).store
    (key,) = store.lanes()
    truth = dict(store.actuals(key, 0))
    n, covered, widths, seen = 0, 0, 0.0, 0
    rows = {row[0]: row for row in store.coverage(key)}
    for body in states_of(store, key):
        assert (body["by"] == "live") == (serve == "live")
        if body["interval"] is not None:
            seen += 1
            about = body["interval"]
            assert (about["nominal"], about["days"], about["n"]) == (0.9, 30, n)
            assert about["coverage"] == pytest.approx(covered / n)
            assert about["width"] == pytest.approx(widths / n)
        origin = body["origin_ms"] * 10**6
        values = np.array([truth.get(origin + i * HOUR, np.nan) for i in range(24)], dtype=float)
        if body["low"] is None or np.isnan(values).any():
            assert origin not in rows
            continue
        low, high = np.array(body["low"]), np.array(body["high"])
        held = int(((low <= values) & (values <= high)).sum())
        assert rows[origin][1:3] == (24, held)
        assert rows[origin][3] == pytest.approx((high - low).sum())
        assert 0 < rows[origin][4] < 24 and rows[origin][5] <= rows[origin][4]
        n, covered, widths = n + 24, covered + held, widths + float((high - low).sum())
    assert seen > 3 and len(rows) > 3


def test_residuals_are_of_issued_forecasts_and_true_values(tmp_path: Path) -> None:
    """A gap of two hours is filled in: what was forecast for them is no error."""
    gap = range(sun.START + 10 * DAY + 9 * HOUR, sun.START + 10 * DAY + 11 * HOUR)
    entries = [Entry(sun.TOPIC, sun.payload(time, value)) for time, value in sun.readings(14) if time not in gap]
    store = run(sun.learner(tmp_path / "a.db", sun.spec()), log_of(entries)).store
    (key,) = store.lanes()
    assert store.filled(key, 0) == [gap.start, gap.start + HOUR]
    found = residuals(store, key, 30)
    forecast = {f["origin_ms"] * 10**6 + i * HOUR: v for f in states_of(store, key) for i, v in enumerate(f["values"])}
    truth = dict(store.actuals(key, 0))
    expected = [(t, truth[t] - v) for t, v in sorted(forecast.items()) if t in truth and t not in gap]
    assert found == expected and len(found) > 100
    assert len(residuals(store, key, 2)) < len(found)


def test_a_checkpoint_of_before_bands_were_counted_goes_on(sunny: MemoryLog, tmp_path: Path) -> None:
    """Its residuals were in scaled units: the band is learnt anew, everything else goes on."""
    learner = sun.learner(tmp_path / "a.db", sun.spec())
    reader = DecodedLog(sunny)
    while learner.position < 1500:
        reader.block(learner.position, learner.plan.spec.input.decoder, 100)
        learner.step(reader)
    assert learner.position < sunny.end()
    state = states.unpack(states.pack(learner._state()))
    for lane in state["lanes"].values():
        lane["interval"] = {"times": lane["band"]["residuals"]["times"], "residuals": np.empty(0)}
        lane["open"] = [example[:6] for example in lane["open"]]
        del lane["band"], lane["coverage"]
    with learner.store.writing():
        learner.store.save(learner.position, states.pack(state))
    learner.store.close()
    old = sqlite3.connect(tmp_path / "a.db")
    old.executescript("DROP TABLE coverage; DROP TABLE filled;")
    old.close()
    learner = run(sun.learner(tmp_path / "a.db", sun.spec()), sunny)
    whole = run(sun.learner(tmp_path / "b.db", sun.spec()), sunny)
    assert learner.store.scores() == whole.store.scores()
    (key,) = learner.store.lanes()
    assert learner.store.coverage(key)


def states_of(store: Store, key: str) -> list[dict[str, Any]]:
    import msgspec

    return [msgspec.json.decode(body) for body in store.forecasts(key, 0)]


def test_a_replaced_worker_cannot_write(sunny: MemoryLog, tmp_path: Path) -> None:
    old = sun.learner(tmp_path / "a.db", sun.spec())
    reader = DecodedLog(sunny)
    old.step(reader)
    new = run(sun.learner(tmp_path / "a.db", sun.spec()), sunny)
    new.checkpoint(export=False)
    before = outcome(new)
    with pytest.raises(Fenced):
        for _ in range(100):
            old.step(reader)
            old.checkpoint(export=True)
    assert outcome(new) == before
    assert Store(tmp_path / "a.db").position() == new.position


def test_learn_and_feedback_are_log_entries(tmp_path: Path) -> None:
    """They take effect at their place in the log, and a replay of the log repeats it to the byte."""
    entries = sun.entries(9)
    learner = run(sun.learner(tmp_path / "a.db", sun.spec()), log_of(entries))
    key = learner.store.lanes()[0]
    shape = learner.plan.contender().shape.input
    entry = {"kind": "learn", "model": "sun", "key": key, "x": [0.5] * (shape[0] * shape[1]), "y": [5.0] * 24}
    identity = states_of(learner.store, key)[-1]
    feedback = {
        "kind": "feedback",
        "model": "sun",
        "key": key,
        "origin": identity["origin_ms"] * 10**6,
        "outcome": [100.0] * 23 + [None],
    }
    taught = [*entries, control(entry), control(feedback), control({"kind": "learn", "model": "other", "key": key})]
    first = run(sun.learner(tmp_path / "b.db", sun.spec()), log_of(taught))
    second = run(sun.learner(tmp_path / "c.db", sun.spec()), log_of(taught))
    assert outcome(first) == outcome(second)
    assert outcome(first)["lanes"] != outcome(learner)["lanes"]
    scored = [row for row in first.store.scores(key) if row[1] == feedback["origin"] and row[2] == "live"]
    assert scored and scored[0][3] == 23


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "learn", "model": "sun", "key": "plant/one", "x": [1.0], "y": [2.0]},
        {"kind": "learn", "model": "sun", "key": "plant/one", "x": "no", "y": []},
        {"kind": "feedback", "model": "sun", "key": "plant/one", "origin": "x", "outcome": [1]},
        {"kind": "feedback", "model": "sun", "key": "nobody", "origin": 1, "outcome": [1]},
    ],
)
def test_bad_control_entries_change_nothing(bad: dict[str, Any], tmp_path: Path) -> None:
    entries = sun.entries(8)
    clean = outcome(run(sun.learner(tmp_path / "a.db", sun.spec()), log_of(entries)))
    dirty = outcome(run(sun.learner(tmp_path / "b.db", sun.spec()), log_of([*entries, control(bad)])))
    assert clean == dirty


def test_wall_clock_ticks_close_windows_of_a_sleeping_device(tmp_path: Path) -> None:
    """The midnight forecast does not wait for the morning's first reading."""
    text = sun.spec().replace("target: power", "target: power, clock: wall").replace("10m}", "10m, fill: zero}")
    asleep = sun.START + 10 * 24 * HOUR + 18 * HOUR
    entries = [e for e, (time, _) in zip(sun.entries(11), sun.readings(11), strict=True) if time < asleep]
    quiet = run(sun.learner(tmp_path / "a.db", text), log_of(entries))
    tick = control({"kind": "tick", "time": sun.START + 11 * 24 * HOUR + 11 * MINUTE})
    ticked = run(sun.learner(tmp_path / "b.db", text), log_of([*entries, tick]))
    midnight = sun.START + 11 * 24 * HOUR
    assert midnight not in [row[2] for row in quiet.store.predictions(0, 100)]
    assert midnight in [row[2] for row in ticked.store.predictions(0, 100)]


def test_devices_are_independent_and_bounded(tmp_path: Path) -> None:
    text = sun.spec().replace("target: power", "target: power, max_keys: 2")
    entries = []
    for entry in sun.entries(8):
        for name in ("one", "two", "three"):
            entries.append(Entry(f"plant/{name}/reading", entry.payload))
    learner = run(sun.learner(tmp_path / "a.db", text), log_of(entries))
    assert sorted(learner.lanes) == ["plant/one", "plant/two"]
    one, two = (states.pack(learner.lanes[key].state()) for key in sorted(learner.lanes))
    assert one == two


@pytest.mark.parametrize("value", [1e200, 1e29], ids=["impossible", "wild"])
@pytest.mark.parametrize("text", [sun.spec(), sun.STREAM_SPEC], ids=["grid", "stream"])
def test_an_absurd_value_costs_no_other_device_anything(text: str, value: float, tmp_path: Path) -> None:
    """The model goes on, and the other device's forecasts are what they would be; `valid` keeps it out altogether."""
    clean = [Entry(f"plant/{name}/reading", entry.payload) for entry in sun.entries(14) for name in ("one", "two")]
    time = sun.START + 10 * 24 * HOUR + 12 * HOUR + MINUTE
    wild = Entry("plant/one/reading", sun.payload(time, value))
    place = next(n for n, (moment, _) in enumerate(sun.readings(14)) if moment > time) * 2
    dirty = log_of([*clean[:place], wild, *clean[place:]])
    first = run(sun.learner(tmp_path / "a.db", text), log_of(clean))
    second = run(sun.learner(tmp_path / "b.db", text), dirty)
    two = [[row[1:] for row in one.store.predictions(0, 10**9) if row[1] == "plant/two"] for one in (first, second)]
    assert two[0] == two[1] and len(two[0]) > 5
    assert second.dropped().get("implausible", 0) == (value > 1e30)
    bounded = text.replace("target: power", "valid: {power: [0, 1000000]}, target: power")
    third = run(sun.learner(tmp_path / "c.db", bounded), dirty)
    assert third.dropped()["implausible"] == 1
    one = [[row[1:3] for row in x.store.predictions(0, 10**9) if row[1] == "plant/one"] for x in (first, third)]
    assert one[0] == one[1]


@pytest.mark.parametrize("grid", ["1h", "6h"])
def test_forecasts_go_on_through_a_change_of_the_clocks(grid: str, tmp_path: Path) -> None:
    """Europe/Berlin, 31 March 2024: one forecast for each local day, before and after."""
    start = 1_709_251_200 * 10**9  # 2024-03-01T00:00Z
    entries = [Entry(sun.TOPIC, sun.payload(start + n * HOUR, 100.0 + n % 24)) for n in range(45 * 24)]
    text = (
        sun.spec()
        .replace("target: power", "target: power, timezone: Europe/Berlin")
        .replace("every: 1h", f"every: {grid}")
    )
    text = text.replace("horizon: 24", "horizon: 4") if grid == "6h" else text
    learner = run(sun.learner(tmp_path / "a.db", text), log_of(entries))
    local = [learner.lanes["plant/one"]._time.local(row[2]) for row in learner.store.predictions(0, 1000)]
    days = [moment // DAY for moment in local]
    assert days == list(range(days[0], days[0] + len(days))) and len(days) > 30
    assert all(moment % DAY < (HOUR if grid == "1h" else 6 * HOUR) for moment in local)


def test_what_does_not_rehearse_remembers_nothing(sunny: MemoryLog, tmp_path: Path) -> None:
    learner = run(sun.learner(tmp_path / "a.db", sun.spec(examples="steps")), sunny)
    memory = learner.lanes["plant/one"]._memory
    assert len(memory.examples) == memory.fresh < 24


def test_why_there_is_no_model_yet_is_said(tmp_path: Path) -> None:
    wrong = sun.spec().replace("target: power", "target: powr")
    learner = run(sun.learner(tmp_path / "a.db", wrong), log_of(sun.entries(8)))
    learner.checkpoint(export=False)
    assert "'powr'" in learner.store.get("trouble") and "power" in learner.store.get("trouble")
    backwards = sun.entries(8)
    late = run(sun.learner(tmp_path / "b.db", sun.spec()), log_of([*backwards[-3:], *backwards]))
    late.checkpoint(export=False)
    assert late.dropped()["late"] > 1000


def test_a_failing_model_says_where_and_stops_alone(tmp_path: Path, sunny: MemoryLog) -> None:
    learner = sun.learner(tmp_path / "a.db", sun.spec())
    reader = DecodedLog(sunny)
    reader.block(0, learner.plan.spec.input.decoder, 100)
    learner.step(reader)
    for lane in learner.lanes.values():
        lane.process = lambda rows: 1 / 0
    position = learner.position
    assert learner.step(reader) is False
    assert "ZeroDivisionError" in learner.failed and str(position + 1) in learner.failed
    assert learner.store.get("failed") == learner.failed
    assert learner.position == position and not learner.step(reader)


def test_control_entries_before_the_apply_are_not_this_generations(tmp_path: Path) -> None:
    assert control({"kind": "tick"}).stream == CONTROL
