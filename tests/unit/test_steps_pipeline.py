"""The pipeline, a user's own step, and what is said of a wrong list of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.checks import check_transformer
from headrace.errors import BadInput, CorruptState
from headrace.models.transformers import TRANSFORMERS, Context
from headrace.models.transformers.blocks import join
from headrace.models.transformers.pipeline import Pipeline, build, check, grid_step
from headrace.models.transformers.python import PythonStep
from headrace.records import DAY, HOUR, MINUTE, SECOND, Rows
from headrace.spec import Plug, parse
from headrace.states import pack, unpack

START = 1_541_664_000 * SECOND
STEPS: list[Any] = [
    "three_phase_power",
    {"resample": {"every": "1h", "beyond": "zero", "up_to": "8h"}},
    {"scale": {"method": "minmax"}},
    {"window": {"history": 12}},
    {"lags": {"steps": [24], "yesterday": ["max"]}},
    "calendar",
]
CONTEXT = Context(target="power", initial=4 * DAY, horizon=6, timezone="America/Los_Angeles")


def plugs(steps: list[Any] = STEPS) -> list[Plug]:
    return [Plug.model_validate(step) for step in steps]


def messages(days: int = 6, every: int = 10 * MINUTE) -> Rows:
    time = START + np.arange(0, days * DAY, every, dtype=np.int64)
    random = np.random.default_rng(3)
    sun = np.maximum(0, np.sin((time - START) / DAY * 2 * np.pi)) * random.uniform(0.5, 1, len(time))
    columns = {f"v{phase}": np.full(len(time), 230.0) for phase in (1, 2, 3)}
    columns |= {f"i{phase}": 10 * sun for phase in (1, 2, 3)}
    columns["pf"] = np.full(len(time), 0.99)
    return Rows(time, columns).take(random.random(len(time)) < 0.9)


def test_from_messages_to_model_inputs() -> None:
    pipeline, rows = build(plugs(), CONTEXT), messages()
    made = pipeline.apply(rows)
    assert len(made) == 6 * 24 - 1
    assert pipeline.shapes() == {"x.window": (12, 1), "x.lags": (6, 2), "x.calendar": (6, 3)}
    assert {name: made.columns[name].shape[1:] for name in pipeline.shapes()} == pipeline.shapes()
    power = 3 * 230 * 0.99 * rows.columns["i1"]
    hours = (rows.time - START) // HOUR
    expected = [power[hours == hour].mean() for hour in range(len(made))]
    np.testing.assert_allclose(pipeline.inverse(made.columns["power"]), expected, rtol=1e-12, atol=1e-9)
    assert made.columns["power"][:96].max() == 1
    assert pipeline.counts() == {"late": 0, "held": 0, "absurd": 0}


def test_a_pipeline_stops_anywhere() -> None:
    rows, whole, found = messages(), build(plugs(), CONTEXT), []
    step = build(plugs(), CONTEXT)
    for start in range(0, len(rows), 37):
        found.append(step.apply(rows.take(slice(start, start + 37))))
        saved = pack(step.state())
        step = build(plugs(), CONTEXT)
        step.load(unpack(saved))
    made = whole.apply(rows)
    assert pack([made.time, made.columns]) == pack([join(found).time, join(found).columns])
    assert pack(whole.state()) == pack(step.state())


def test_ticks_run_through_all_steps() -> None:
    pipeline, rows = build(plugs(), CONTEXT), messages(5)
    before = pipeline.apply(rows)
    made = pipeline.tick(START + 5 * DAY + 12 * HOUR)
    assert made.time[0] == before.time[-1] + HOUR
    assert len(made) == 13
    assert made.columns["x.window"].shape == (13, 12, 1)
    assert len(build(plugs(), CONTEXT).tick(START)) == 0


def test_a_state_of_other_steps_is_refused() -> None:
    with pytest.raises(CorruptState, match="resample"):
        Pipeline([]).load(build(plugs(), CONTEXT).state())


def test_the_grid_step_is_resamples() -> None:
    assert grid_step(plugs()) == HOUR
    assert grid_step(plugs([{"resample": {"every": "5m"}}])) == 5 * MINUTE
    assert grid_step([]) == HOUR


@pytest.mark.parametrize(
    ("steps", "path", "message"),
    [
        (["resmaple"], (0, "resmaple"), "did you mean 'resample'"),
        (["resample", {"window": {"history": 0}}], (1, "window", "history"), "greater than or equal to 1"),
        (["resample", {"scale": {"methd": "max"}}], (1, "scale", "methd"), "no such field"),
        ([{"resample": {"lateness": "soon"}}], (0, "resample", "lateness"), "expected a duration"),
        ([{"three_phase_power": {"pf": None}}], (0, "three_phase_power"), "apparent power"),
        ([{"resample": {"every": "5m"}}], (0, "resample"), "grid step"),
        (["resample", "lags"], (1, "lags"), "at least one of"),
        (["scale"], (0, "scale"), "put `resample` before it"),
        (["resample", "window", "scale"], (2, "scale"), "the order is"),
        (["resample", "three_phase_power"], (1, "three_phase_power"), "the order is"),
        (["resample", "calendar", "calendar"], (2, "calendar"), "appears twice"),
        ([{"python": {"file": "absent.py"}}], (0, "python"), "there is no file"),
    ],
)
def test_what_is_wrong_and_where(steps: list[Any], path: tuple[Any, ...], message: str, tmp_path: Path) -> None:
    found = check(plugs(steps), Context(folder=str(tmp_path)))
    assert [where for where, _ in found] == [path]
    assert message in found[0][1]


def test_nothing_wrong() -> None:
    assert check(plugs(), CONTEXT) == []


def test_a_problem_has_the_line_of_its_field() -> None:
    text = """kind: OnlineModel
metadata: {name: pv}
input: {topics: [plant/+/reading], target: power}
transform:
  - three_phase_power
  - resample: {every: 1h}
  - window:
      history: 0
backend: rls
"""
    (document,) = parse(text)
    ((path, message),) = check(document.spec.transform, Context())
    problem = document.problem(("transform", *path), message)
    assert str(problem).startswith("headrace.yaml:8: transform.2.window.history: expected greater than")


# ── a user's own step ─────────────────────────────────────────────────────────────────────────────────────────────────

GOOD = """
class Step:
    def __init__(self, params, context):
        self.factor, self.target = params.get("factor", 1), context.target
    def apply(self, rows):
        columns = dict(rows.columns)
        if self.target in columns:
            columns[self.target] = columns[self.target] * self.factor
        return type(rows)(rows.time, columns)
    def state(self): return {}
    def load(self, state): pass
"""


def user(folder: Path, text: str, **params: Any) -> PythonStep:
    (folder / "step.py").write_text(text)
    return PythonStep(PythonStep.Params.model_validate({"file": "step.py", **params}), Context(folder=str(folder)))


def test_a_users_step(tmp_path: Path) -> None:
    step = user(tmp_path, GOOD, params={"factor": 2})
    assert step.apply(Rows(np.array([1]), {"value": np.array([21.0])})).columns["value"].tolist() == [42]
    assert step.counts() == {}
    check_transformer("python", lambda: user(tmp_path, GOOD, params={"factor": 2}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Step(:", r"step.py:1: not valid Python"),
        ("x = 1\nclass Other: pass\n", r"step.py:1: expected a class 'Step' in this file; there are: Other"),
        ("\n\nclass Step:\n    def apply(self, rows): ...\n", r"step.py:3: class 'Step' has no __init__, state, load"),
        ("import absent_module\n" + GOOD, r"step.py:1: ModuleNotFoundError: No module named 'absent_module'"),
        ("x = 1\ny = x / 0\n" + GOOD, r"step.py:2: ZeroDivisionError"),
        ("Step = 3\n", r"step.py:1: expected a class 'Step'"),
        ("class Base: pass\nclass Step(Base): pass\n", r"class 'Step' has no apply, state, load"),
    ],
)
def test_what_is_wrong_with_a_users_step(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        user(tmp_path, text)


@pytest.mark.parametrize("file", ["../outside.py", "/etc/hostname", "link.py"])
def test_a_file_outside_the_folder_is_refused(file: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "outside.py").write_text(GOOD)
    (home / "link.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(BadInput, match="outside the spec's folder"):
        PythonStep(PythonStep.Params(file=file), Context(folder=str(home)))


def test_what_a_users_step_returns_is_looked_at(tmp_path: Path) -> None:
    rows = Rows(np.array([1, 2]), {"value": np.array([1.0, 2.0])})
    with pytest.raises(BadInput, match="got list"):
        user(tmp_path, GOOD.replace("return type(rows)(rows.time, columns)", "return []")).apply(rows)
    wrong = GOOD.replace("return type(rows)(rows.time, columns)", "return type(rows)(rows.time[:1], columns)")
    with pytest.raises(BadInput, match="2 values of 'value' for 1 rows"):
        user(tmp_path, wrong).apply(rows)


def test_checking_a_spec_does_not_run_a_users_step(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text("raise SystemExit\n" + GOOD)
    assert check(plugs([{"python": {"file": "step.py"}}]), Context(folder=str(tmp_path))) == []


# ── the suite itself ──────────────────────────────────────────────────────────────────────────────────────────────────


class Wrong:
    """Adds the mean of the block: depends on where blocks are cut."""

    Params = TRANSFORMERS.find("calendar").Params

    def apply(self, rows: Rows) -> Rows:
        values = rows.columns.get("value", np.zeros(len(rows)))
        return Rows(rows.time, {"value": values, "mean": np.full(len(rows), values[:1].sum())})

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None: ...


class Forgetful(Wrong):
    """Forgets to save its count."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, rows: Rows) -> Rows:
        place = self.count + np.arange(len(rows))
        self.count += len(rows)
        return Rows(rows.time, {"place": place})


class Greedy(Wrong):
    """Changes its input."""

    def apply(self, rows: Rows) -> Rows:
        rows.columns["value"] += 1
        return rows


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(Wrong, "cut elsewhere"), (Forgetful, "after a stop"), (Greedy, "may not be changed")],
)
def test_the_suite_finds_what_is_wrong(wrong: type[Wrong], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_transformer("wrong", wrong)
