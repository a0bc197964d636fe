"""What a worker keeps for explanations: part of the checkpoint, and the same however the log was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headrace import states
from headrace.records import DAY
from headrace.services.learning.learner import EVIDENCE, Learner
from headrace.services.learning.profile import Profile
from headrace.streams.logs.memory import MemoryLog
from tests import sun
from tests.flow.test_learner import log_of, run

HOURLY = sun.spec().replace("horizon: 24, every: 1d", "horizon: 24, every: 1h")
STREAM = "\n".join(["", sun.STREAM_SPEC])


def learnt(path: Path, text: str, log: MemoryLog) -> Learner:
    learner = run(sun.learner(path, text), log)
    learner.checkpoint(export=True)
    return learner


def kept(learner: Learner, key: str = "plant/one") -> dict[str, Any]:
    found: dict[str, Any] = states.unpack(learner.store.get(EVIDENCE + key))
    return found


def test_the_newest_forecast_and_the_mean_of_all_inputs(tmp_path: Path) -> None:
    learner = learnt(tmp_path / "a.db", sun.spec(), log_of(sun.entries(9)))
    lane, found = learner.lanes["plant/one"], kept(learner)
    latest = learner.store.latest("plant/one")
    assert latest is not None and str(found["origin"] // 10**6).encode() in latest[1]
    assert found["x"].shape == (24, 10) and np.isfinite(found["x"]).all()
    profile = Profile(DAY, (24, 10))
    profile.load(found["profile"])
    mean = profile.mean(0)
    assert mean is not None and np.isfinite(mean).all()
    assert profile.mean(0).tobytes() == lane._profile.mean(0).tobytes()  # type: ignore[union-attr]
    assert found["profile"]["counts"] == [2]  # the 7-day mean is known on days 7 and 8


def test_forecasts_of_every_hour_have_a_profile_for_each(tmp_path: Path) -> None:
    learner = learnt(tmp_path / "a.db", HOURLY, log_of(sun.entries(10)))
    state = kept(learner)["profile"]
    assert len(state["slots"]) == 24
    assert state["sums"].nbytes <= 2**18
    nights = state["sums"][:, 0, 0] / np.array(state["counts"])
    assert nights.max() > 5 * max(nights.min(), 0.01)


def test_an_older_checkpoint_without_them_goes_on(tmp_path: Path) -> None:
    for name, text in (("grid", HOURLY), ("stream", STREAM)):
        log = log_of(sun.entries(9))
        lane = learnt(tmp_path / f"{name}.db", text, log).lanes["plant/one"]
        old = lane.state()
        for entry in ("profile", "issued", "origin"):
            old.pop(entry, None)
        fresh = type(lane)(lane.plan, "plant/one")
        fresh.load(states.unpack(states.pack(old)))
        assert fresh.evidence()["origin"] is None
        assert (fresh.evidence()["profile"] or {"counts": []})["counts"] == []


def test_a_stream_keeps_its_newest_inputs(tmp_path: Path) -> None:
    learner = learnt(tmp_path / "a.db", STREAM, log_of(sun.entries(1)))
    found = kept(learner)
    assert found["x"].shape == (6, 1) and found["profile"] is None
    assert found["origin"] == sun.START + DAY - 600 * 10**9


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    learner = learnt(tmp_path / "a.db", sun.spec(), log_of(sun.entries(9)))
    assert learner._evidence() == {}
