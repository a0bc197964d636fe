"""Climbing the ladder: what is reached, what is said, who may, and that stored weights are not needed to make them again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.access import Principal
from headrace.claims import Rederived, Report
from headrace.errors import Forbidden, NotFound, StorageUnavailable, TooMany
from headrace.services.sharing import contents
from headrace.services.verification import ladder
from tests.hub import ACME, BOLT, dataset, grant, recipe, uploaded
from tests.ladders import RUNNER, SNAPSHOT, TRAINS, Standing, standing
from tests.notary import impatient, until
from tests.shelf import archive, ended

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
        "contract", "account", "claim", "evidence", "revocation", "result",
        "files", "digest", "signing key", "what it was made of", "inputs", "code", "training again",
    ]  # fmt: skip
    assert model.digest in report.checks[-1].detail and "the same environment" in report.checks[-1].detail
    assert any(one.state == "running" and one.name == "training again" for one in said)
    assert (await on.here.hub.model(ACME, model.id)).reproducible == "reproduced"


async def test_the_report_says_what_it_is_of(on: Standing) -> None:
    data, model = await on.trained()
    about = (await on.verify(model.id))[0].about
    assert about is not None
    assert (about.kind, about.name, about.company, about.digest) == ("model", model.name, "acme", model.digest)
    assert (about.created_ms, about.metrics, about.files) == (model.created_ms, model.metrics, len(model.files))
    assert [(one.role, one.id, one.digest) for one in about.inputs] == [("dataset", data.id, data.stored.sha256)]
    assert about.recorded_ms is None or about.recorded_ms > 0
    report, _ = await on.verify(data.id)
    assert report.about is not None
    assert (report.about.kind, report.about.size) == ("dataset", data.stored.size)
    assert "L2: there is none: a dataset is not derived from anything that could be run again" in report.not_checked
    upload = await uploaded(on.here.hub, ACME)
    await on.here.settled()
    report, _ = await on.verify(upload.id)
    assert report.about is not None and report.about.kind == "model_unverified" and "uploaded" in report.about.says
    assert any(left.startswith("L2: there is none: trained elsewhere") for left in report.not_checked)
    await on.here.hub.anchoring.revoke(ACME, upload.id, "wrong meter")
    await on.here.settled()
    report, _ = await on.verify(upload.id)
    assert report.about is not None and "revoked: wrong meter" in [one.detail for one in report.checks]


async def test_a_training_that_failed_waits_for_nothing(on: Standing) -> None:
    model = await recipe(on.here.hub, ACME, archive(train__py="raise SystemExit(3)"))
    assert (await ended(on.queue, model.job, ACME)).state == "failed"

    async def known() -> bool:
        return (await on.here.hub.model(ACME, model.id)).state == "failed"

    await until(known)
    await on.here.settled()
    report, _ = await on.verify(model.id)
    told = {one.name: one.detail for one in report.checks}
    assert told["evidence"] == "there is no result to look for: it is failed"
    assert told["result"].endswith("it is failed") and "waits" not in str(told.values())
    assert (report.level, report.passed) == ("none", True) and report.about is not None and not report.about.digest


async def test_the_stored_weights_are_not_needed(on: Standing) -> None:
    _, model = await on.trained()
    for file in model.files:
        on.content(file.stored.sha256).unlink()
    report, _ = await on.verify(model.id, "L2")
    assert states(report)["files"] == states(report)["digest"] == "failed"
    assert states(report)["training again"] == "passed" and model.digest in report.checks[-1].detail
    assert (report.level, report.passed) == ("L0", False) and "made again it has the recorded digest" in report.says
    assert not any("whether its recipe and inputs give" in left for left in report.not_checked)


async def test_a_second_run_that_is_held_is_not_told_by_its_digest(on: Standing) -> None:
    data = await dataset(on.here.hub, BOLT)
    await grant(on.here.hub, BOLT, data.id, "acme", "train")
    model = await recipe(on.here.hub, ACME, archive(train__py=RESTLESS), datasets=[data.id])
    await ended(on.queue, model.job, ACME)
    await on.here.hub.granting.release(BOLT, model.id)
    await on.here.settled()
    report, _ = await on.verify(model.id, "L2")
    [again] = [one for one in report.checks if one.name == "training again"]
    assert again.state == "failed" and "gave other files" in again.detail and "sha256" not in again.detail
    [job] = [job for job in await on.queue.jobs(ACME) if job.kind == "reproduce"]
    assert job.held_for == ["bolt"]


async def test_what_cannot_be_read_now_accuses_nobody(on: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    data = await dataset(on.here.hub, ACME)
    await on.here.settled()

    async def full(*_: object, **__: object) -> None:
        raise StorageUnavailable(detail="no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(on.here.hub, "files", full)
        report, _ = await on.verify(data.id)
        assert (report.level, report.passed) == ("L0", True), report
        assert (states(report)["files"], states(report)["digest"]) == ("skipped", "skipped")
    assert (await on.verify(data.id))[0].level == "L1"


async def test_a_model_of_many_files_is_looked_up_once(on: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    code = TRAINS + "for one in range(300):\n    (out / f'{one}.txt').write_text(str(one))\n"
    _, model = await on.trained(code)
    looked: list[str] = []
    real = contents.Contents.open

    async def counted(self: contents.Contents, who: Principal, id: str, *args: Any, **named: Any) -> Any:
        looked.append(id)
        return await real(self, who, id, *args, **named)

    monkeypatch.setattr(contents.Contents, "open", counted)
    report, _ = await on.verify(model.id)
    assert report.level == "L1" and len(model.files) == 302 and len(looked) < 20, len(looked)
    grants = on.here.hub._hub
    grants.changes += 1  # rights changed: looked up once more
    report, _ = await on.verify(model.id)
    assert report.level == "L1"


async def test_a_restless_recipe_never_gets_l2(on: Standing) -> None:
    _, model = await on.trained(RESTLESS)
    for _ in range(2):  # asked again, it has the same verdict
        report, _ = await on.verify(model.id, "L2")
        assert (report.level, report.passed, states(report)["training again"]) == ("L1", False, "failed")
        assert "its recipe is not deterministic, or did not give what is recorded" in report.says
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
    assert any("whether its recipe and inputs give" in left for left in report.not_checked), "byte by byte they did not"
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
        assert any(left.startswith("L1: not looked at, because L0") for left in report.not_checked)


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
    assert (report.level, report.passed, states(report)["revocation"]) == ("none", False, "failed")
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
    assert report.about is not None and [one.digest for one in report.about.inputs] == [""], "not his to know"
    report, _ = await on.verify(model.id, "L2", BOLT)
    assert (report.level, report.passed, report.checks[-1].state) == ("L1", True, "skipped")
    assert f"the right to train on {data.id}" in report.checks[-1].detail
    await on.here.notary.card(BOLT, model.id)
    refused = [(one.action, one.asset) for one in await on.here.hub.audit(ACME) if not one.allowed]
    assert set(refused) == {("look", model.id)}, "what he looked for before it was granted to him"
    await grant(on.here.hub, ACME, data.id, "bolt", "train")
    report, _ = await on.verify(model.id, "L2", BOLT)  # what runs again is a job of the owner's
    assert report.level == "L1" and f"the right to train on {model.id}" in report.checks[-1].detail
    await grant(on.here.hub, ACME, model.id, "bolt", "train")
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
    assert sum(said[0].name == "turn" for _, said in reports) == 10 - ladder.EACH
    trainings = on.here.notary._ladder._trainings
    with contextlib.ExitStack() as held:
        for _ in range(ladder.TRAINING_PLACES):
            held.enter_context(trainings.place("acme"))
        with pytest.raises(TooMany, match="4 verifications are waiting"):
            await on.verify(model.id, "L2")
        assert (await on.verify(model.id))[0].passed, "those that run nothing again have places of their own"
