"""The evaluation: published figures on the committed periods, no leakage, the same bytes twice."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from headrace import states
from headrace.cli import app
from headrace.evaluation import contenders, data, measures, parts, periods, plans
from headrace.evaluation.contenders import Trained
from headrace.evaluation.parts import Part
from headrace.records import DAY, HOUR, Rows
from headrace.services.learning.lane import GridLane
from headrace.services.learning.plan import Plan
from headrace.spec import Plug

FIGURES = {"persistence": 0.0247, "hour-mean": 0.0190, "ridge": 0.0166}
"""Scaled MSE over the eleven periods, as published in the design notes."""


def ask(*arguments: str) -> str:
    """What `headrace evaluate` prints."""
    found = CliRunner().invoke(app, ["evaluate", "--jobs", "1", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture(scope="module")
def trio() -> tuple[list[Part], list[Trained]]:
    when, chosen = periods.shipped(), plans.of_record()
    cut = parts.cut(chosen.plan, data.trio(when), when, [])
    return cut, contenders.standard(chosen.plan, when, chosen.floor)


def test_published_figures_and_the_same_bytes_twice(tmp_path: Path) -> None:
    asked = ("--only", "persistence,ridge", "--json", "--csv")
    first, second = (ask(*asked, str(tmp_path / name)) for name in ("a.csv", "b.csv"))
    assert first == second, "two runs differ"
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    report = json.loads(first)
    found = {row["model"]: row for row in report["rows"]}
    assert {name: round(row["mse"], 4) for name, row in found.items()} == FIGURES
    assert all(row["periods"] == 11 and row["n"] == 11 * 73 * 24 for row in found.values())
    assert found["ridge"]["skill"] == pytest.approx(1 - found["ridge"]["mse"] / found["hour-mean"]["mse"], abs=1e-5)
    assert 0.4 < found["ridge"]["active_share"] < 0.5 and 0 < found["ridge"]["active_coverage"] < 1
    assert "seconds" not in first and len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 3 * 11


def test_the_network_is_what_was_published(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--full"):
        pytest.skip("a minute or two: --full")
    report = json.loads(ask("--only", "gru", "--json"))
    (row,) = [row for row in report["rows"] if row["model"] == "gru"]
    assert row["mse"] == pytest.approx(0.0177, rel=0.05)


def test_the_committed_periods_are_the_published_ones(trio: tuple[list[Part], list[Trained]]) -> None:
    cut, _ = trio
    assert [part.label for part in cut][:2] == ["2018-11-08", "2018-11-28"] and len(cut) == 11
    for part in cut:
        assert len(part.rows) == 1 + 20 * 24 and part.split == 1 + 16 * 24
        assert part.rows.columns["masked"][0] and not part.rows.columns["masked"][1:].any()
        train = part.truth[1 : part.split]
        assert (part.low, part.low + part.span) == (train.min(), train.max())


def shaken(part: Part, first: int, seed: int = 0) -> Part:
    """The part with other values from a row on."""
    columns = {name: values.copy() for name, values in part.rows.columns.items()}
    columns[part.target][first:] = np.random.default_rng(seed).uniform(0, 90_000, len(part.rows) - first)
    return replace(part, rows=Rows(part.rows.time, columns))


@pytest.mark.parametrize("name", ["persistence", "hour-mean", "ridge", "rls"])
def test_nothing_leaks_from_the_future(trio: tuple[list[Part], list[Trained]], name: str) -> None:
    """Forecasts and bounds at an origin do not change with what happens from there on, whatever it is."""
    cut, people = trio
    one = next(person for person in people if person.name == name)
    part, middle = cut[3], 30
    origin = int(part.validation()[middle])
    made, other = one.forecasts(part), one.forecasts(shaken(part, origin))
    assert not made.failed, made.failed
    assert (made.predictions[:, : middle + 1] == other.predictions[:, : middle + 1]).all()
    assert np.array_equal(made.rehearsals, other.rehearsals, equal_nan=True)
    due = contenders.scheduled(one.plan, len(part.rows))
    bound = [
        measures.bands(each, found, one.plan.interval(), due)
        for each, found in ((part, made), (shaken(part, origin), other))
    ]
    for mine, theirs in zip(*bound, strict=True):
        assert np.array_equal(mine[: middle + 1], theirs[: middle + 1], equal_nan=True)
        assert np.isfinite(mine[[0, 24]]).all() and np.isnan(mine[1:24]).all(), "bands are drawn at midnight"
    late = one.forecasts(shaken(part, part.split))
    assert (made.predictions[:, 0] == late.predictions[:, 0]).all(), "the fit knows validation days"


def test_rehearsals_know_nothing_of_their_own_days(trio: tuple[list[Part], list[Trained]]) -> None:
    """Other values (of the same range) in the last block change no forecast that was made before it."""
    cut, people = trio
    ridge = next(person for person in people if person.name == "ridge")
    part = cut[0]
    edges = contenders.blocks(part)
    assert edges == [(1 + 96 * index, 97 + 96 * index) for index in range(4)]
    first, stop = edges[-1]
    columns = {name: values.copy() for name, values in part.rows.columns.items()}
    columns[part.target][first:stop] = columns[part.target][first:stop][::-1]
    turned = replace(part, rows=Rows(part.rows.time, columns))
    made, other = ridge.forecasts(part), ridge.forecasts(turned)
    place = made.rehearsed.tolist().index(first)
    assert (made.rehearsals[place] == other.rehearsals[place]).all()
    assert not (made.rehearsals[place + 14] == other.rehearsals[place + 14]).all()
    for block in edges:
        targets = contenders.examples(ridge.plan, part, block)[:, None] + np.arange(part.horizon)
        assert not ((targets >= block[0]) & (targets < block[1])).any() and len(targets) > 200


def test_every_target_of_an_example_is_before_the_split(trio: tuple[list[Part], list[Trained]]) -> None:
    cut, people = trio
    for one in people:
        origins = contenders.examples(one.plan, cut[0])
        assert len(origins) and origins.min() >= 1 and origins.max() + cut[0].horizon <= cut[0].split
    tiles = contenders.examples(people[0].plan, cut[0])
    assert np.diff(tiles).tolist() == [24] * 15, "a baseline learns each training hour once"


def test_the_page_stands_alone_and_is_the_same_twice(tmp_path: Path) -> None:
    pages = []
    for name in ("a.html", "b.html"):
        ask("--only", "ridge", "--periods", "2", "--html", str(tmp_path / name))
        pages.append((tmp_path / name).read_text())
    assert pages[0] == pages[1]
    page = pages[0]
    assert page.count("<svg") == page.count('role="img"') >= 4
    assert all(len(text) > 40 for text in re.findall(r'aria-label="([^"]*)"', page))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "two elements share an id"
    assert set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page)) and not re.findall(r'(?:src|href)="(?!#)', page)
    assert "<script" not in page and "width=device-width" in page


def test_a_users_spec_stands_beside_the_standard_ones(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text(
        "kind: OnlineModel\nmetadata: {name: mine}\n"
        "input: {topics: [plant/+], target: power, unit: W, timezone: Etc/GMT+8}\n"
        "transform: [resample: {every: 1h}, scale, window: {history: 24}]\n"
        "backend: {ridge: {alpha: 3, floor: 0}}\n"
    )
    report = json.loads(ask("-f", str(spec), "--only", "mine,ridge", "--periods", "3", "--json"))
    found = {row["model"]: row["mse"] for row in report["rows"]}
    assert set(found) == {"hour-mean", "ridge", "mine"} and report["name"] == "rolling-mine-trio"
    assert found["mine"] != found["ridge"] and found["mine"] < 0.05


MINE = "kind: OnlineModel\nmetadata: {name: mine}\ninput: {topics: [a], target: power}\n"


def test_one_contender_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text(MINE + "transform: [resample: {every: 1h}, scale, lags: {steps: [400]}]\nbackend: rls\n")
    report = json.loads(ask("-f", str(spec), "--only", "mine,persistence", "--periods", "2", "--json"))
    found = {row["model"]: row["mse"] for row in report["rows"]}
    assert found["mine"] is None and found["persistence"] > 0
    assert any("mine has no forecast in 2 of 2 periods" in note and "too far" in note for note in report["notes"])


def test_a_users_step_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    step = "class Step:\n    def __init__(self, params, context): pass\n    def state(self): return {}\n    def load(self, state): pass\n"
    (tmp_path / "step.py").write_text(step + "    def apply(self, rows): raise OSError('no luck')\n")
    spec = tmp_path / "mine.yaml"
    spec.write_text(MINE + "transform: [python: {file: step.py}, resample: {every: 1h}, scale]\nbackend: rls\n")
    found = CliRunner().invoke(app, ["evaluate", "--jobs", "1", "-f", str(spec)])
    assert (
        found.exit_code == 1
        and "step.py:5" in found.stderr
        and "no luck" in found.stderr
        and len(found.stderr.splitlines()) == 1
    ), found.output


STEP = "class Step:\n    def __init__(self, params, context): print('not', 'json')\n    def state(self): return {}\n    def load(self, state): pass\n"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_users_code_prints_beside_the_report_and_cannot_end_it(tmp_path: Path, jobs: str) -> None:
    (tmp_path / "says.py").write_text(
        STEP + "    def apply(self, rows):\n        print('hello')\n        return rows\n"
    )
    (tmp_path / "ends.py").write_text(STEP + "    def apply(self, rows): raise SystemExit(0)\n")
    for file, able in (("says.py", True), ("ends.py", False)):
        spec = tmp_path / "mine.yaml"
        spec.write_text(MINE + f"transform: [resample: {{every: 1h}}, scale, python: {{file: {file}}}]\nbackend: rls\n")
        asked = ["-m", "headrace.cli", "evaluate", "--jobs", jobs, "-f", str(spec), "--only", "mine", "--periods", "1"]
        done = subprocess.run([sys.executable, *asked, "--json"], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "not json" in done.stderr, done.stderr
        report = json.loads(done.stdout)
        assert (report["rows"][-1]["mse"] is not None) == able
        assert able or any("SystemExit" in note for note in report["notes"])


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("transform: [resample: {every: 1h}, scale]\nbackend: rlz\n", "no backend 'rlz'"),
        ("transform: [resample: {every: 1h}]\nforecast: {horizon: six}\nbackend: rls\n", "forecast.horizon"),
        ("transform: [scale]\nbackend: rls\n", "put `resample` before it"),
        ("transform: [resample: {every: 1h}, python: {file: bare.py}]\nbackend: rls\n", "has no state, load"),
    ],
)
def test_what_is_wrong_with_a_spec_is_told_line_by_line(tmp_path: Path, rest: str, words: str) -> None:
    bare = "class Step:\n    def __init__(self, params, context): pass\n    def apply(self, rows): return rows\n"
    (tmp_path / "bare.py").write_text(bare)
    spec = tmp_path / "mine.yaml"
    spec.write_text(MINE + rest)
    found = CliRunner().invoke(app, ["evaluate", "--jobs", "1", "-f", str(spec)])
    assert found.exit_code == 1 and isinstance(found.exception, SystemExit), found.output
    *told, last = found.stderr.splitlines()
    assert words in "\n".join(told) and all("mine.yaml:" in line for line in told), told
    assert last == "headrace: nothing was evaluated"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "rigde"], "no contender 'rigde'"),
        (["--train", "4d", "--validate", "3d"], "at least twice as much --train"),
        (["--train", "soon"], "expected a duration"),
        (["--train", "90m", "--validate", "30m"], "no multiple of the grid step"),
        (["--validate", "6h"], "shorter than the horizon"),
        (["--periods", "0"], "expected 1 or more"),
        (["--data", "."], "is a directory"),
        (["--periods", "none.yaml"], "none.yaml cannot be read"),
        (["-f", "none.yaml"], "none.yaml cannot be read"),
        (["--periods", "1", "--only", "persistence", "--csv", "/nowhere/a.csv"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], words: str) -> None:
    found = CliRunner().invoke(app, ["evaluate", "--jobs", "1", *arguments])
    assert found.exit_code == 1 and isinstance(found.exception, SystemExit)
    (line,) = found.stderr.splitlines()
    assert line.startswith("headrace: ") and words in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: 4d\nvalidation: 3d", "twice as much training"),
        ("first: soon", "first: "),
        ("periods: 3", "periods: no such field here"),
        ("- 1", "expected a mapping"),
        ("{", "is no YAML"),
    ],
)
def test_a_wrong_periods_file_says_where(text: str, words: str) -> None:
    from headrace.errors import BadInput

    with pytest.raises(BadInput, match=re.escape(words)):
        periods.parse(text, "mine.yaml")


def test_periods_begin_at_local_midnight_and_never_overlap_the_end() -> None:
    time = 1_700_000_000_000_000_000 + HOUR * np.arange(24 * 50, dtype=np.int64)
    source = data.Source("s", {"a": Rows(time, {"value": np.arange(len(time)) % 24.0})})
    when = periods.Periods(train=4 * DAY, validation=2 * DAY, every=3 * DAY)
    chosen = plans.of_data(source, "", when)
    found = parts.cut(chosen.plan, source, when, [])
    assert len(found) > 10 and all((part.rows.time[1] % DAY) == 0 for part in found)
    assert all(part.rows.time[-1] <= time[-1] for part in found)
    starts = [int(part.rows.time[1]) for part in found]
    assert set(np.diff(starts).tolist()) == {3 * DAY}


def test_a_gap_in_the_inputs_costs_origins_and_all_are_scored_alike() -> None:
    """Where one contender cannot forecast, none is scored."""
    time = 1_700_006_400_000_000_000 + HOUR * np.arange(24 * 20, dtype=np.int64)
    value = np.where(np.arange(480) % 24 > 6, 100.0 + np.arange(480) % 24 + np.arange(480) % 7, 1.0)
    keep = ~((np.arange(480) >= 24 * 17) & (np.arange(480) < 24 * 17 + 12))
    source = data.Source("s", {"a": Rows(time[keep], {"value": value[keep]})})
    when = periods.Periods()
    chosen = plans.of_data(source, "", when)
    cut = parts.cut(chosen.plan, source, when, [])
    from headrace.evaluation import rolling

    people = [one for one in contenders.standard(chosen.plan, when, None) if one.name in {"hour-mean", "ridge"}]
    results = rolling.evaluate(people, cut, chosen.plan, 1)
    sizes: list[Any] = [one.measured[0].n for one in results]
    assert sizes[0] == sizes[1] and 0 < sizes[0] < 73 * 24


HOURS = 24 * 30


def walk(step: int = 2) -> tuple[Rows, np.ndarray[Any, Any]]:
    """Thirty days of a random walk sampled each second hour, and the hours of its readings."""
    hours = np.arange(0, HOURS, step)
    values = 100 + np.cumsum(np.random.default_rng(5).normal(0, 1, len(hours)))
    return Rows(1_700_006_400_000_000_000 + HOUR * hours.astype(np.int64), {"value": values}), hours


def walked(readings: Rows, horizon: int = 1) -> tuple[list[Part], plans.Chosen, list[str]]:
    """Its one period, forecast at each hour by what ridge makes of the last twelve."""
    when = periods.Periods(count=1)
    source = data.Source("walk", {"a": readings})
    plan = plans.of_data(source, "", when).plan
    changed = {
        "transform": [*plan.spec.transform, Plug(name="window", params={"history": 12})],
        "forecast": plan.spec.forecast.model_copy(update={"horizon": horizon, "every": HOUR}),
        "learning": plan.spec.learning.model_copy(update={"examples": "steps"}),
        "backend": Plug(name="ridge", params={"alpha": 1e-6}),
    }
    mine, notes = Plan(plan.spec.model_copy(update=changed)), []
    chosen = plans.Chosen(mine, [mine], None)
    return parts.cut(mine, source, when, notes), chosen, notes


def test_a_line_to_the_next_reading_foretells_nothing() -> None:
    """Half of the grid is interpolated: a forecast made right after such a row would know what comes."""
    cut, chosen, notes = walked(walk()[0], 2)
    one = contenders.own(chosen.plan, periods.Periods())
    (part,) = cut
    made = one.forecasts(part)
    assert not made.failed, made.failed
    asked = np.isfinite(made.predictions[0]).all(axis=1)
    assert (asked == part.fair[part.validation() - 1]).all() and 0.4 < asked.mean() < 0.6
    assert any("left out: 48 of 95 origins" in note or "left out: 47 of 95 origins" in note for note in notes), notes
    truth = part.targets(part.validation()[asked])
    known = np.isfinite(truth)
    assert known[:, 1].all() and not known[:, 0].any()
    error = float(((made.predictions[0][asked] - truth)[known] ** 2).mean())
    assert error > 0.7, "nothing foretells the steps of a walk, whose variance is 1"
    from headrace.evaluation import rolling

    names = {"hour-mean", "persistence"}
    people = [person for person in contenders.standard(chosen.plan, periods.Periods(), None) if person.name in names]
    found = {each.name: each.measured[0] for each in rolling.evaluate([*people, one], cut, chosen.plan, 1)}
    assert {each.n for each in found.values()} == {int(asked.sum())}
    assert found[one.name].mse[0] * part.span**2 > 0.7


def test_nothing_leaks_through_a_gap_across_the_origin() -> None:
    """Other raw readings after an origin, with gaps of every length across it, change no forecast made before them."""
    readings, hours = walk(1)
    random = np.random.default_rng(3)
    keep = np.ones(HOURS, np.bool_)
    for start in random.choice(HOURS - 12, 30, replace=False).tolist():
        keep[start : start + int(random.integers(1, 12))] = False
    keep[:2] = True
    readings, hours = readings.take(keep), hours[keep]
    (part,), chosen, _ = walked(readings)
    one = contenders.own(chosen.plan, periods.Periods())
    made = one.forecasts(part)
    assert np.isfinite(made.predictions).mean() > 0.3
    zero = int((part.rows.time[0] - readings.time[0]) // HOUR) + int(hours[0])
    for middle in range(0, len(part.validation()) - 1, 3):
        origin = int(part.validation()[middle])
        values = readings.columns["value"].copy()
        after = hours >= zero + origin
        values[after] = random.uniform(0, 1000, int(after.sum()))
        (shook,), _, _ = walked(Rows(readings.time, {"value": values}))
        other = one.forecasts(shook)
        mine, theirs = (found.predictions[0, : middle + 1] for found in (made, other))
        assert np.array_equal(mine, theirs, equal_nan=True), f"origin {middle}"


def test_a_lane_learns_and_scores_nothing_inside_a_bridged_gap() -> None:
    """The same walk through a lane: forecasts are made, those of a bridged gap are marked and never scored."""
    readings, hours = walk(1)
    keep = (hours % 24 != 9) & (hours % 24 != 10)
    chosen = walked(readings)[1]
    lane = GridLane(chosen.plan, "a")
    first, learnt = lane, set()
    for index, rows in enumerate(np.array_split(np.flatnonzero(keep), 40)):
        if index == 30:  # and it goes on from its state
            lane = GridLane(chosen.plan, "a")
            lane.load(states.unpack(states.pack(first.state())))
            lane.effects = first.effects
        lane.process(readings.take(rows))
        learnt |= {origin for origin, _, _ in lane._memory.examples}
    whole = GridLane(chosen.plan, "a")
    whole.process(readings.take(keep))
    assert states.pack(whole.state()) == states.pack(lane.state())
    issued = {p.origin: p.late for _, p in lane.effects.predictions}
    late = {origin for origin, is_late in issued.items() if is_late}
    assert len(issued) > 250 and {(origin // HOUR) % 24 for origin in late} == {
        (int(readings.time[0]) // HOUR + hour) % 24 for hour in (10, 11)
    }
    scored = {score.origin for score in lane.effects.scores}
    assert scored and not scored & late and not {one.origin for one in lane.effects.covered} & late
    assert len(learnt) > 150 and not learnt & late


def test_a_lane_whose_every_origin_is_bridged_says_so() -> None:
    chosen = walked(walk()[0])[1]
    spec = chosen.plan.spec.model_copy(
        update={
            "forecast": chosen.plan.spec.forecast.model_copy(update={"every": DAY}),
            "learning": chosen.plan.spec.learning.model_copy(update={"examples": "forecasts"}),
        }
    )
    lane = GridLane(Plan(spec), "a")
    lane.process(walk()[0])
    assert not lane.effects.scores and "origins left out" in lane.trouble, lane.trouble


def test_a_lane_says_why_its_backend_refused() -> None:
    readings, _ = walk(1)
    chosen = walked(readings)[1]
    spec = chosen.plan.spec.model_copy(
        update={"transform": [p for p in chosen.plan.spec.transform if p.name != "scale"]}
    )
    lane = GridLane(Plan(spec), "a")
    lane.process(Rows(readings.time, {"value": readings.columns["value"] * 1e200}))
    assert "examples were refused by the backend: " in lane.trouble and len(lane.trouble) > 60, lane.trouble
