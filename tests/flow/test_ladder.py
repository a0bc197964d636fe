"""Climbing the ladder: what is reached, what is said, who may, and that stored weights are not needed to make them again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from headrace.access import Principal
from headrace.claims import Rederived, Report
from headrace.errors import Forbidden, NotFound, TooMany
from headrace.services.verification import ladder
from tests.hub import ACME, BOLT, dataset, grant, uploaded
from tests.ladders import RUNNER, SNAPSHOT, TRAINS, Standing, standing
from tests.notary import impatient, until

RESTLESS = TRAINS + "(out / 'r').write_bytes(os.urandom(8))\n"


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with impatient():
        yield


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Standing]:
    async with standing(tmp_path / "house") as found:
        yield found


def states(report: Report) -> dict[str, str]:
    return {one.name: one.state for one in report.checks}


async def test_a_dataset_and_a_model_up_to_each_level(on: Standing) -> None:
    data, model = await on.trained()
    for id, level in ((data.id, "L0"), (data.id, "L1"), (model.id, "L0"), (model.id, "L1"), (model.id, "L2")):
        report, said = await on.verify(id, level)  # type: ignore[arg-type]
        assert (report.level, report.passed, report.id) == (level, True, id), report
        assert "single-operator chain" in report.says and "single-operator chain" in report.chain
        assert all(one.state == "passed" and one.detail for one in report.checks)
        assert any("later" in left for left in report.not_checked) and any(
            "operator" in left for left in report.not_checked
        )
    names = [one.name for one in report.checks]
    assert names == [
        "contract", "account", "claim", "evidence", "not revoked", "result",
        "files", "digest", "signing key", "what it was made of", "inputs", "code", "training again",
    ]  # fmt: skip
    assert model.digest in report.checks[-1].detail and "the same environment" in report.checks[-1].detail
    assert any(one.state == "running" and one.name == "training again" for one in said)
    assert (await on.here.hub.model(ACME, model.id)).reproducible == "reproduced"


async def test_the_stored_weights_are_not_needed(on: Standing) -> None:
    _, model = await on.trained()
    for file in model.files:
        on.content(file.stored.sha256).unlink()
    report, _ = await on.verify(model.id, "L2")
    assert states(report)["files"] == states(report)["digest"] == "failed"
    assert states(report)["training again"] == "passed" and model.digest in report.checks[-1].detail
    assert (report.level, report.passed) == ("L0", False) and "made again it has the recorded digest" in report.says


async def test_a_restless_recipe_never_gets_l2(on: Standing) -> None:
    _, model = await on.trained(RESTLESS)
    report, _ = await on.verify(model.id, "L2")
    assert (report.level, report.passed, states(report)["training again"]) == ("L1", False, "failed")
    report, _ = await on.verify(model.id, "L2")
    assert (report.level, report.passed, report.checks[-1].state) == ("L1", True, "skipped")
    assert "never gets L2" in report.checks[-1].detail
    _, declared = await on.trained(deterministic=False)
    report, _ = await on.verify(declared.id, "L2")
    assert (report.level, report.checks[-1].detail) == (
        "L1",
        "it never gets L2: declared non-deterministic",
    )


@pytest.mark.parametrize(("noise", "close"), [(1e-9, True), (1.0, False)])
async def test_another_environment_gives_close_weights_or_says_nothing(
    on: Standing, monkeypatch: pytest.MonkeyPatch, noise: float, close: bool
) -> None:
    code = f"""import os, pathlib
import numpy as np
out = pathlib.Path(os.environ["HEADRACE_OUTPUT"])
np.savez(out / "w.npz", w=np.array([1.0, 2.0 + {noise} * (1 + int.from_bytes(os.urandom(4)) / 2**32)]))
"""
    _, model = await on.trained(code)
    monkeypatch.setattr(type(RUNNER), "describe", lambda *_: {"digest": "sha256:elsewhere"})
    report, _ = await on.verify(model.id, "L2")
    assert (report.level, report.passed, report.checks[-1].state) == ("L1", True, "skipped"), report
    assert ("re-derived within tolerance" in report.says) is close
    assert (await on.here.hub.model(ACME, model.id)).reproducible == "unknown"
    for file in model.files:
        on.content(file.stored.sha256).unlink()
    assert "within tolerance" not in (await on.verify(model.id, "L2"))[0].says


async def test_what_was_trained_elsewhere_never_gets_l2(on: Standing) -> None:
    model = await uploaded(on.here.hub, ACME)
    data = await dataset(on.here.hub, ACME, confidential=True)
    await on.here.settled()
    report, _ = await on.verify(model.id, "L2")
    assert (report.level, report.passed) == ("L1", True) and "trained elsewhere" in report.checks[-1].detail
    report, _ = await on.verify(data.id, "L2")
    assert report.level == "L1" and "sealed on the chain" in report.checks[2].detail


async def test_a_snapshot_by_whoever_replays_its_log(on: Standing) -> None:
    model = await on.here.hub.snapshot("acme", SNAPSHOT, "pv", b"weights", {"framework": "rls"})
    await on.here.settled()
    right = model.files[0].stored.sha256
    cases: list[tuple[str, str, str, str, bool]] = [
        ("re-derived", right, SNAPSHOT.root, "L2", True),
        ("re-derived", "sha256:" + "0" * 64, SNAPSHOT.root, "L1", False),
        ("re-derived", right, "sha256:" + "0" * 64, "L1", False),
        ("within tolerance", "", SNAPSHOT.root, "L1", True),
        ("impossible", "", "", "L1", True),
        ("failed", "", "", "L1", False),
    ]
    for verdict, made, root, level, passed in cases:
        on.replays.found = Rederived.model_validate(
            {"verdict": verdict, "says": f"{verdict}!", "digest": made, "root": root, "records": 9}
        )
        report, _ = await on.verify(model.id, "L2")
        assert (report.level, report.passed) == (level, passed), (verdict, report)
        assert ("within tolerance" in report.says) == (verdict == "within tolerance")
        assert on.replays.weights == b"weights"
    assert "leaf 0 of 1" in report.checks[0].detail
    await grant(on.here.hub, ACME, model.id, "bolt", "read")
    report, _ = await on.verify(model.id, "L2", BOLT)
    assert (report.level, report.checks[-1].state) == ("L1", "skipped") and "its log is theirs" in report.checks[
        -1
    ].detail


async def test_without_a_ledger_nothing_is_reached_and_why(tmp_path: Path) -> None:
    async with standing(tmp_path / "house", anchors=False) as on:
        data = await dataset(on.here.hub, ACME)
        report, _ = await on.verify(data.id, "L2")
        assert (report.level, report.passed) == ("none", True) and states(report)["contract"] == "skipped"
        assert "there is no ledger here" in report.checks[0].detail
        assert any(left.startswith("L1: what is recorded") for left in report.not_checked)


async def test_a_ledger_that_is_gone_is_no_accusation(on: Standing) -> None:
    data, _ = await on.trained()
    on.here.weather.gone = True
    report, _ = await on.verify(data.id)
    assert (report.level, report.passed, report.checks[0].state) == ("none", True, "skipped")


async def test_what_was_revoked_and_what_was_made_of_it(on: Standing) -> None:
    data, model = await on.trained()
    await on.here.hub.anchoring.revoke(ACME, data.id, "the meter was broken")
    await on.here.settled()
    report, _ = await on.verify(data.id)
    assert (report.level, report.passed, states(report)["not revoked"]) == ("none", False, "failed")
    assert any("the meter was broken" in one.detail for one in report.checks)
    report, _ = await on.verify(model.id, "L2")
    found = states(report)
    assert (report.level, found["what it was made of"], found["inputs"]) == ("L0", "failed", "failed")


async def test_who_may(on: Standing) -> None:
    data, model = await on.trained()
    for level in ("L0", "L1", "L2"):
        with pytest.raises(NotFound):
            await on.verify(model.id, level, BOLT)  # type: ignore[arg-type]
    await grant(on.here.hub, ACME, model.id, "bolt", "read")
    report, _ = await on.verify(model.id, "L1", BOLT)
    assert report.level == "L1" and any(data.id in left for left in report.not_checked)
    report, _ = await on.verify(model.id, "L2", BOLT)
    assert (report.level, report.passed, report.checks[-1].state) == ("L1", True, "skipped")
    assert f"the right to train on {data.id}" in report.checks[-1].detail
    await on.here.notary.card(BOLT, model.id)
    refused = [(one.action, one.asset) for one in await on.here.hub.audit(ACME) if not one.allowed]
    assert set(refused) == {("look", model.id)}, "what he looked for before it was granted to him"
    await grant(on.here.hub, ACME, data.id, "bolt", "train")
    report, _ = await on.verify(model.id, "L2", BOLT)
    assert report.level == "L2", report
    viewer = Principal("acme", "vic", "user", frozenset({"viewer"}))
    assert (await on.verify(model.id, "L1", viewer))[0].level == "L1"
    with pytest.raises(Forbidden):
        await on.verify(model.id, "L2", viewer)


async def test_who_goes_away_ends_the_training(on: Standing) -> None:
    _, model = await on.trained(TRAINS + "import time; time.sleep(1.5)\n")
    climb = on.here.notary.verify(ACME, model.id, "L2")

    async def climbing() -> None:
        async for _ in climb:
            pass

    task = asyncio.create_task(climbing())

    async def queued() -> list[str]:
        return [job.id for job in await on.queue.jobs(ACME) if job.kind == "reproduce"]

    (id,) = await until(queued)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    job = await on.queue.job(ACME, id)
    assert job.state == "cancelled"


async def test_many_wait_for_each_other(on: Standing) -> None:
    _, model = await on.trained()
    reports = await asyncio.gather(*(on.verify(model.id) for _ in range(10)))
    assert all(report.level == "L1" for report, _ in reports)
    assert sum(said[0].name == "turn" for _, said in reports) == 10 - ladder.AT_ONCE
    trainings = on.here.notary._ladder._trainings
    with contextlib.ExitStack() as held:
        for _ in range(ladder.TRAINING_PLACES):
            held.enter_context(trainings.place("acme"))
        with pytest.raises(TooMany, match="4 verifications are waiting"):
            await on.verify(model.id, "L2")
        assert (await on.verify(model.id))[0].passed, "those that run nothing again have places of their own"
