"""Jobs from the queue through the real sandbox: what comes out, and everything that can go wrong with one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from headrace.access import Principal
from headrace.assets import Environment
from headrace.errors import BadInput, Conflict, Forbidden, HeadraceError, NotFound, TooMany, UnknownAsset
from headrace.runners.local import LocalRunner
from headrace.services.training.service import TrainingService
from headrace.settings import TrainingSettings
from tests.shelf import (
    ANN,
    BOB,
    QUICK,
    SMALL,
    VIEWER,
    WRITES,
    Shelf,
    archive,
    ended,
    leftovers,
    recipe,
    text,
    training,
    until,
)

RUNNER = LocalRunner()
"""One for all: it asks its sandbox about the environment once."""


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


async def submit(service: TrainingService, shelf: Shelf, model: str, **more: Any) -> str:
    return (await service.submit(ANN, model, shelf.at(model).recipe, **more)).id


async def run(service: TrainingService, shelf: Shelf, code: str, **more: Any) -> Any:
    """A model trained by a file, and its ended job."""
    return await ended(service, await submit(service, shelf, shelf.add_model(archive(train__py=code), **more)))


async def test_a_recipe_sees_its_inputs_and_its_result_is_taken_in(tmp_path: Path, shelf: Shelf) -> None:
    code = """
import json, os, pathlib, helper
import sys
seen = {name: os.environ[name] for name in os.environ if name.startswith(("HEADRACE_", "OMP_", "MKL_", "PYTHONHASH", "KERAS_", "MY_"))}
seen["data"] = [pathlib.Path(path).read_text() for path in os.environ["HEADRACE_DATA"].split(":")]
seen["parameters"] = json.loads(pathlib.Path(os.environ["HEADRACE_PARAMETERS"]).read_text())
seen["cwd"], seen["parent"] = os.getcwd(), sorted(p.name for p in pathlib.Path(os.environ["HEADRACE_PARENT"]).iterdir())
out = pathlib.Path(os.environ["HEADRACE_OUTPUT"])
(out / "deep").mkdir()
(out / "deep" / "seen.json").write_text(json.dumps(seen))
(out / "metrics.json").write_text(json.dumps({"loss": 0.25, "best": "b", "worst": float("nan")}))
print("::progress 0.5 half way", flush=True)
print("trained", helper.NAME)
"""
    files = {"train__py": code, "helper__py": "NAME = 'well'\n"}
    files["headrace-recipe__yaml"] = (
        "parameters:\n  epochs: {type: int, default: 3}\n  rate: {type: float, default: 1}\n"
    )
    parent = shelf.add_model(None, files={"w.bin": b"p"})
    data = [shelf.add_dataset(b"one", "a:b.csv"), shelf.add_dataset(b"two")]
    more: dict[str, Any] = {"datasets": data, "evaluation": [shelf.add_dataset(b"three")], "parent": parent}
    model = shelf.add_model(archive(**files), **more, parameters={"rate": 2}, seeds={"MY_SEED": 7})
    async with training(tmp_path, RUNNER) as service:
        await service.validate(ANN, shelf.at(model).recipe, shelf.folder / "contents" / model / "code")
        job = await ended(service, await submit(service, shelf, model))
        assert (job.state, job.exit_code, job.attempt, job.reason) == ("done", 0, 1, "")
        assert job.metrics == {"loss": 0.25, "best": "b", "worst": "nan"}
        assert (job.progress, job.message, job.runner) == (1.0, "half way", "local")
        assert (await text(service, job.id)).endswith("trained well\n") and job.log_bytes > 0
    found = shelf.at(model)
    assert (found.state, found.job, found.metrics) == ("trained", job.id, job.metrics)
    assert [file.path for file in found.files] == ["deep/seen.json", "metrics.json"]
    assert found.fingerprint.startswith("sha256:") and found.environment["threads"] == 1
    seen = json.loads((shelf.folder / "contents" / model / "out" / "deep" / "seen.json").read_text())
    assert seen["data"] == ["one", "two"] and seen["cwd"] == "/work/code" and seen["parent"] == ["w.bin"]
    assert seen["parameters"] == {"epochs": 3, "rate": 2.0} and seen["MY_SEED"] == "7"
    assert seen["HEADRACE_DATA"] == "/work/data/0/a_b.csv:/work/data/1/data.csv"
    assert seen["HEADRACE_EVALUATION"] == "/work/evaluation/0/data.csv" and seen["HEADRACE_MODE"] == "train"
    assert {seen[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"} and seen["KERAS_BACKEND"] == "torch"
    assert leftovers(tmp_path) == []


async def test_exit_code_other_than_0_keeps_the_log(tmp_path: Path, shelf: Shelf) -> None:
    async with training(tmp_path, RUNNER) as service:
        job = await run(service, shelf, WRITES + "print('so far'); raise SystemExit(3)")
        assert (job.state, job.exit_code, job.attempt) == ("failed", 3, 1)
        assert job.reason == f"the code ended with exit code 3; `headrace job log {job.id}` shows why"
        assert await text(service, job.id) == "so far\n"
        assert await text(service, job.id, offset=3) == "far\n" and await text(service, job.id, offset=99) == ""
        await until(service, job.id, lambda _: shelf.at(job.model).state == "failed")
    assert shelf.at(job.model).files == []


async def test_output_and_log_keep_to_what_is_left_of_the_quota(tmp_path: Path, shelf: Shelf) -> None:
    """Not to what the recipe says: a company at its quota may not fill the disk for the time of a job, nor with its logs."""
    big = "import os; open(os.environ['HEADRACE_OUTPUT'] + '/w', 'wb').write(bytes(2**22))"
    talks = WRITES + "print('x' * 2**21)"
    async with training(tmp_path, RUNNER, sharing=shelf) as service:
        shelf.left = 2**20
        job = await run(service, shelf, big)
        assert job.state == "failed" and "left of the quota of acme when it started: 1 MiB" in job.reason
        loud = await run(service, shelf, talks)
        assert loud.state == "done" and loud.log_bytes <= 2**20
        louder = await run(service, shelf, talks)
        assert len(await text(service, louder.id)) == louder.log_bytes
        await until(service, loud.id, lambda _: not (tmp_path / "training/logs" / loud.id).exists())
        with pytest.raises(NotFound, match=f"the log of {loud.id} was deleted: logs are kept for 30 days"):
            await text(service, loud.id)
        shelf.left = 0
        job = await run(service, shelf, big)
        assert job.state == "failed" and "nothing; delete datasets or models" in job.reason
        shelf.left = None
        assert (await run(service, shelf, big)).state == "done"


async def test_exit_0_without_output_fails_and_says_where_to_write(tmp_path: Path, shelf: Shelf) -> None:
    metrics_only = "import os; open(os.environ['HEADRACE_OUTPUT'] + '/metrics.json', 'w').write('{}')"
    async with training(tmp_path, RUNNER) as service:
        for code in ("print('done')", metrics_only):
            job = await run(service, shelf, code)
            assert job.state == "failed" and "HEADRACE_OUTPUT (/work/output)" in job.reason


async def test_metrics_that_are_not_flat_cost_a_sentence_not_the_model(tmp_path: Path, shelf: Shelf) -> None:
    code = WRITES + "open(os.environ['HEADRACE_OUTPUT'] + '/metrics.json', 'w').write('{\"a\": [1]}')"
    async with training(tmp_path, RUNNER) as service:
        job = await run(service, shelf, code)
    assert job.state == "done" and job.metrics == {} and "'a' is neither a number nor a text" in job.reason
    assert shelf.at(job.model).state == "trained"


async def test_links_in_the_output_are_left_out_and_told(tmp_path: Path, shelf: Shelf) -> None:
    code = WRITES + "here = os.environ['HEADRACE_OUTPUT']\nos.symlink('/etc/passwd', here + '/p')\n"
    code += "os.mkfifo(here + '/fifo')\nos.makedirs(here + '/none/at all')\nos.mkdir(here + '/hard')\n"
    code += "open(here + '/hard/a', 'w').close()\nos.link(here + '/hard/a', here + '/hard/b')\nprint('end', end='')"
    async with training(tmp_path, RUNNER) as service:
        job = await run(service, shelf, code)
        said = await text(service, job.id)
        happened = await service.events(ANN, job.id)
    assert job.state == "done" and "5 things in the output left out" in job.reason and "'p'" in job.reason
    assert happened[-1]["what"] == "done" and happened[-1]["detail"] == job.reason
    lines = said.splitlines()
    assert lines[0] == "end" and job.log_bytes == len(said.encode()) and len(lines) == 6
    assert "left out of the output: 'fifo': a named pipe" in lines
    assert "left out of the output: 'none/at all': an empty folder" in lines
    assert [file.path for file in shelf.at(job.model).files] == ["w.bin"]


async def test_timeout_of_the_recipe(tmp_path: Path, shelf: Shelf) -> None:
    limits = SMALL.model_copy(update={"seconds": 1})
    async with training(tmp_path, RUNNER) as service:
        job = await run(service, shelf, "print('on', flush=True)\nwhile True: pass", limits=limits)
        assert job.state == "failed" and "longer than 1 s" in job.reason
        assert await text(service, job.id) == "on\n"


async def test_cancel_a_queued_and_a_running_job(tmp_path: Path, shelf: Shelf) -> None:
    slow = archive(train__py="print('on', flush=True)\nimport time; time.sleep(60)")
    async with training(tmp_path, RUNNER) as service:
        running = await submit(service, shelf, shelf.add_model(slow))
        queued = await submit(service, shelf, shelf.add_model(slow))
        await until(service, running, lambda job: job.log_bytes > 0)
        for id in (queued, running):
            job = await service.cancel(ANN, id)
            assert (job.state, job.reason) == ("cancelled", "cancelled by ann")
            with pytest.raises(Conflict, match="nothing to cancel"):
                await service.cancel(ANN, id)
        assert (await service.job(ANN, queued)).attempt == 0
        assert await text(service, running) == "on\n"
    assert leftovers(tmp_path) == []


async def test_retry_after_the_cause_is_gone(tmp_path: Path, shelf: Shelf) -> None:
    data = shelf.add_dataset(b"", company="borg")
    shelf.grant("acme", data, "derive")
    async with training(tmp_path, RUNNER) as service:
        model = shelf.add_model(archive(train__py=WRITES), datasets=[data])
        shelf.grant("acme", data, None)
        with pytest.raises(UnknownAsset):
            await submit(service, shelf, model)
        shelf.grant("acme", data, "derive")
        id = await submit(service, shelf, model)
        assert (await ended(service, id)).state == "done"
        with pytest.raises(Conflict, match="has not failed"):
            await service.retry(ANN, id)


async def test_a_grant_revoked_between_submit_and_start(tmp_path: Path, shelf: Shelf) -> None:
    data = shelf.add_dataset(b"x", company="borg")
    shelf.grant("acme", data, "derive")
    async with training(tmp_path, RUNNER) as service:
        first = await submit(service, shelf, shelf.add_model(archive(train__py="import time; time.sleep(60)")))
        second = await submit(service, shelf, shelf.add_model(archive(train__py=WRITES), datasets=[data]))
        shelf.grant("acme", data, None)
        await service.cancel(ANN, first)
        job = await ended(service, second)
        assert job.state == "failed" and "There is no dataset" in job.reason and job.attempt == 1
        shelf.grant("acme", data, "derive")
        await service.retry(ANN, second)
        assert (await ended(service, second)).state == "done"


async def test_attempts_of_code_that_fails_and_then_works(tmp_path: Path, shelf: Shelf) -> None:
    """The code cannot remember; what it is told by the hub can: the second time the dataset is another."""
    data = shelf.add_dataset(b"bad")
    code = archive(train__py=WRITES + "assert open(os.environ['HEADRACE_DATA']).read() == 'good'")
    async with training(tmp_path, RUNNER, TrainingSettings(look=0.05, pause=0.3)) as service:
        id = await submit(service, shelf, shelf.add_model(code, datasets=[data]), attempts=2)
        job = await until(service, id, lambda job: job.state == "queued" and job.attempt == 1)
        assert "exit code 1" in job.reason
        shelf.keep(data, "data", b"good")
        job = await ended(service, id)
        assert (job.state, job.attempt) == ("done", 2)
        said = await text(service, id)
        assert "AssertionError" in said.partition("--- attempt 2 ---\n")[0]
        assert said.endswith("--- attempt 2 ---\n") and job.log_bytes == len(said.encode())
        shelf.keep(data, "data", b"bad")
        id = await submit(service, shelf, shelf.add_model(code, datasets=[data]))
        assert ((await ended(service, id)).attempt, (await ended(service, id)).state) == (1, "failed")


async def test_the_platforms_own_failures_are_tried_again_with_growing_pauses(tmp_path: Path, shelf: Shelf) -> None:
    class Moody:
        failures = 2
        check, describe = RUNNER.check, RUNNER.describe

        async def run(self, *given: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError(5, "I/O error")
            return await RUNNER.run(*given)

    runner = Moody()
    async with training(tmp_path, runner) as service:
        job = await run(service, shelf, WRITES)
        assert (job.state, job.attempt, job.attempts) == ("done", 3, 1)
        what = [event["what"] for event in await service.events(ANN, job.id)]
        assert what == ["queued", "started", "queued", "started", "queued", "started", "done"]
        runner.failures = 99
        job = await run(service, shelf, WRITES)
        assert (job.state, job.attempt) == ("failed", QUICK.failures) and "the platform failed (OSError)" in job.reason


async def test_priorities_then_age(tmp_path: Path, shelf: Shelf) -> None:
    code = archive(train__py=WRITES)
    async with training(tmp_path, RUNNER) as service:
        first = await submit(service, shelf, shelf.add_model(archive(train__py="import time; time.sleep(60)")))
        await until(service, first, lambda job: job.state == "running")
        wanted = [await submit(service, shelf, shelf.add_model(code), priority=value) for value in (0, 5, 0, -1, 5)]
        await service.cancel(ANN, first)
        jobs = [await ended(service, id) for id in wanted]
    order = sorted(range(5), key=lambda one: jobs[one].started_ms or 0)
    assert order == [1, 4, 0, 2, 3]


async def test_parallel_2_runs_two_at_a_time(tmp_path: Path, shelf: Shelf) -> None:
    code = archive(train__py=WRITES + "import time; time.sleep(0.4)")
    async with training(tmp_path, RUNNER, TrainingSettings(look=0.05, parallel=2)) as service:
        ids = [await submit(service, shelf, shelf.add_model(code)) for _ in range(4)]
        jobs = [await ended(service, id) for id in ids]
    spans = [(job.started_ms or 0, job.ended_ms or 0) for job in jobs]
    at_once = max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)
    assert at_once == 2 and {job.state for job in jobs} == {"done"}


async def test_two_services_on_one_database_run_nothing_twice(tmp_path: Path, shelf: Shelf) -> None:
    code = archive(train__py=WRITES)
    async with training(tmp_path, RUNNER) as one, training(tmp_path, RUNNER) as two:
        ids = [await submit(one, shelf, shelf.add_model(code)) for _ in range(6)]
        jobs = [await ended(two, id) for id in ids]
    assert {(job.state, job.attempt) for job in jobs} == {("done", 1)}
    assert sorted((shelf.folder / "trained").read_text().split()) == sorted(ids)


async def test_a_stop_queues_what_ran_again(tmp_path: Path, shelf: Shelf) -> None:
    model = shelf.add_model(archive(train__py=WRITES + "import time; time.sleep(2)"))
    async with training(tmp_path, RUNNER) as service:
        id = await submit(service, shelf, model)
        await until(service, id, lambda job: job.state == "running" and job.runner != "")
    assert leftovers(tmp_path) == []
    async with training(tmp_path, RUNNER) as service:
        job = await ended(service, id)
    assert (job.state, job.attempt) == ("done", 2)


async def test_a_result_taken_in_before_the_platform_died_is_not_made_again(tmp_path: Path, shelf: Shelf) -> None:
    model = shelf.add_model(archive(train__py="raise SystemExit('runs again')"))
    async with training(tmp_path, RUNNER, TrainingSettings(parallel=0)) as service:
        id = await submit(service, shelf, model)
    output = tmp_path / "output"
    output.mkdir()
    (output / "w").write_bytes(b"made by the attempt that was interrupted")
    async with training(tmp_path, RUNNER) as service:
        await shelf.trained((await service.job(ANN, id)), output, ["w"], {})
        job = await ended(service, id)
    assert job.state == "done" and "taken in before" in job.reason


async def test_follow_gives_the_log_while_it_grows(tmp_path: Path, shelf: Shelf) -> None:
    code = WRITES + "import time\nfor n in range(5): print(n, flush=True); time.sleep(0.2)"
    async with training(tmp_path, RUNNER) as service:
        id = await submit(service, shelf, shelf.add_model(archive(train__py=code)))
        pieces = []
        async for piece in service.log(ANN, id, follow=True):
            pieces.append((piece, (await service.job(ANN, id)).state))
    assert b"".join(piece for piece, _ in pieces) == b"0\n1\n2\n3\n4\n"
    assert pieces[0][0] == b"" and next(state for piece, state in pieces if piece) == "running"


async def test_progress_is_seen_while_it_runs(tmp_path: Path, shelf: Shelf) -> None:
    code = archive(train__py="print('::progress 0.35 epoch 7 of 20', flush=True)\nimport time; time.sleep(60)")
    async with training(tmp_path, RUNNER) as service:
        id = await submit(service, shelf, shelf.add_model(code))
        job = await until(service, id, lambda job: job.progress is not None)
        assert (job.state, job.progress, job.message) == ("running", 0.35, "epoch 7 of 20")
        assert shelf.at(job.model).state == "training"
        await service.cancel(ANN, id)


async def test_cancelled_through_another_process_on_the_same_table(tmp_path: Path, shelf: Shelf) -> None:
    slow = archive(train__py="import time; time.sleep(60)")
    async with training(tmp_path, RUNNER) as one, training(tmp_path, RUNNER, TrainingSettings(parallel=0)) as two:
        id = await submit(one, shelf, shelf.add_model(slow))
        await until(two, id, lambda job: job.runner != "")
        await two.cancel(ANN, id)
        job = await ended(two, id)
    assert (job.state, job.reason, job.attempt) == ("cancelled", "cancelled by ann", 1)


async def test_only_so_many_jobs_of_a_company_wait(tmp_path: Path, shelf: Shelf) -> None:
    code = archive(train__py=WRITES)
    async with training(tmp_path, RUNNER, TrainingSettings(parallel=0, queued=2)) as service:
        for _ in range(2):
            await submit(service, shelf, shelf.add_model(code))
        with pytest.raises(TooMany, match="2 jobs of this company are waiting"):
            await submit(service, shelf, shelf.add_model(code))


# -- whose it is


async def test_jobs_of_other_companies_do_not_exist(tmp_path: Path, shelf: Shelf) -> None:
    async with training(tmp_path, RUNNER) as service:
        job = await run(service, shelf, WRITES)
        for ask in (service.job, service.cancel, service.retry, service.events):
            with pytest.raises(UnknownAsset, match="There is no job"):
                await ask(BOB, job.id)
        with pytest.raises(UnknownAsset):
            await anext(service.log(BOB, job.id))
        assert await service.jobs(BOB) == []
        shelf.grant("borg", job.model, "derive")
        for what in (service.reproduce(BOB, job.model), service.submit(BOB, job.model, shelf.at(job.model).recipe)):
            with pytest.raises(UnknownAsset):
                await what
        with pytest.raises(Forbidden, match="developer"):
            await service.cancel(VIEWER, job.id)
        assert (await service.jobs(VIEWER))[0].id == job.id


async def test_a_job_of_foreign_data_is_held_until_they_release(tmp_path: Path, shelf: Shelf) -> None:
    data = shelf.add_dataset(b"secret", company="borg")
    shelf.grant("acme", data, "train")
    tells = (
        WRITES
        + """
secret = open(os.environ['HEADRACE_DATA']).read()
print('::progress 0.123', secret, flush=True)
print(secret)
open(os.environ['HEADRACE_OUTPUT'] + '/metrics.json', 'w').write('{"said": "%s"}' % secret)
os.symlink('/', os.environ['HEADRACE_OUTPUT'] + '/' + secret)
"""
    )
    async with training(tmp_path, RUNNER) as service:
        for code, state in ((tells, "done"), (tells + "raise SystemExit(77)", "failed")):
            job = await run(service, shelf, code, datasets=[data])
            assert job.state == state and job.held_for == ["borg"]
            assert (job.progress, job.message, job.exit_code, job.metrics) == (None, "", None, {})
            assert (job.log_bytes, job.peak_memory_bytes) == (0, None)
            why = "it failed; why is not shown while what it read is not released by borg" if state == "failed" else ""
            assert job.reason == why  # also of what was left out of its output not a word
            assert [job] == [one for one in await service.jobs(ANN) if one.id == job.id]
            events = await service.events(ANN, job.id)
            assert [(one["what"], one["detail"]) for one in events] == [
                ("queued", ""),
                ("started", "attempt 1"),
                (state, ""),
            ]
            with pytest.raises(Forbidden, match="borg, who have not released"):
                await anext(service.log(ANN, job.id))
            with pytest.raises(Forbidden, match="held for borg"):
                await service.reproduce(ANN, job.model)
            seen = await service.job(BOB, job.id)  # whose data it read sees all of it before letting it go
            assert (seen.held_for, seen.message, seen.progress) == (
                ["borg"],
                "secret",
                1.0 if state == "done" else 0.123,
            )
            assert seen.metrics == ({"said": "secret"} if state == "done" else {}) and seen.log_bytes > 0
            assert await service.jobs(BOB) == [seen] and "secret" in await text(service, job.id, BOB)
            assert seen.reason and seen.reason in {one["detail"] for one in await service.events(BOB, job.id)}
            for ask in (service.cancel, service.retry):
                with pytest.raises(Forbidden, match="a job of 'acme'"):
                    await ask(BOB, job.id)
            eve = Principal("coda", "eve", "user", frozenset({"admin"}))
            with pytest.raises(UnknownAsset):
                await service.job(eve, job.id)
            assert await service.jobs(eve) == []
            shelf.put(shelf.at(job.model).model_copy(update={"held_for": []}))
            with pytest.raises(UnknownAsset):  # it is none of his business any more
                await service.job(BOB, job.id)
            assert await service.jobs(BOB) == []
            job = await service.job(ANN, job.id)
            assert job.held_for == [] and "secret" in await text(service, job.id)
            assert job.metrics == ({"said": "secret"} if state == "done" else {}) and job.message == "secret"


# -- again


async def test_a_second_run_that_differs_marks_the_recipe_for_ever(tmp_path: Path, shelf: Shelf) -> None:
    code = archive(train__py=WRITES + "open(os.environ['HEADRACE_OUTPUT'] + '/r', 'wb').write(os.urandom(8))")
    async with training(tmp_path, RUNNER) as service:
        first = shelf.add_model(code)
        await ended(service, await submit(service, shelf, first))
        assert shelf.at(first).reproducible == "unknown"
        job = await ended(service, (await service.reproduce(ANN, first)).id)
        assert (job.state, job.kind, job.message) == ("done", "reproduce", "differs") and "'r'" in job.reason
        assert shelf.at(first).reproducible == "never" and "1 of 2 files" in shelf.at(first).reproducible_note
        again = shelf.add_model(code)
        await ended(service, await submit(service, shelf, again))
        assert shelf.at(again).reproducible == "never" and job.id in shelf.at(again).reproducible_note


async def test_a_second_run_that_is_equal_and_one_that_was_declared_not_to_be(tmp_path: Path, shelf: Shelf) -> None:
    async with training(tmp_path, RUNNER) as service:
        for deterministic, verdict in ((True, "reproduced"), (False, "never")):
            job = await run(service, shelf, WRITES, deterministic=deterministic)
            again = await ended(service, (await service.reproduce(ANN, job.model)).id)
            assert again.message == "reproduced" and shelf.at(job.model).reproducible == verdict
            assert (shelf.folder / "trained").read_text().count(again.id) == 0


async def test_another_environment_says_nothing_about_a_recipe(tmp_path: Path, shelf: Shelf) -> None:
    code = archive(train__py=WRITES + "open(os.environ['HEADRACE_OUTPUT'] + '/r', 'wb').write(os.urandom(8))")
    async with training(tmp_path, RUNNER) as service:
        model = shelf.add_model(code)
        await ended(service, await submit(service, shelf, model))
        shelf.put(shelf.at(model).model_copy(update={"fingerprint": "sha256:elsewhere"}))
        job = await ended(service, (await service.reproduce(ANN, model)).id)
    assert job.message == "undecided" and shelf.at(model).reproducible == "unknown"


async def test_evaluation_later_is_recorded_with_its_dataset_and_job(tmp_path: Path, shelf: Shelf) -> None:
    code = """
import json, os, pathlib
out = pathlib.Path(os.environ["HEADRACE_OUTPUT"])
if os.environ["HEADRACE_MODE"] == "evaluate":
    weights = pathlib.Path(os.environ["HEADRACE_MODEL"], "w.bin").read_bytes()
    held_out = pathlib.Path(os.environ["HEADRACE_EVALUATION"]).read_bytes()
    assert os.environ["HEADRACE_DATA"] == "" and "HEADRACE_PARENT" not in os.environ
    (out / "metrics.json").write_text(json.dumps({"length": len(weights + held_out)}))
else:
    (out / "w.bin").write_bytes(b"123")
"""
    seen, held_out = shelf.add_dataset(b"seen"), shelf.add_dataset(b"4567")
    foreign = shelf.add_dataset(b"89", company="borg")
    shelf.grant("acme", foreign, "train")
    async with training(tmp_path, RUNNER) as service:
        job = await run(service, shelf, code, datasets=[seen])
        later = await ended(service, (await service.evaluate(ANN, job.model, held_out)).id)
        assert (later.state, later.kind, later.dataset) == ("done", "evaluate", held_out)
        assert later.metrics == {"length": 7}
        assert shelf.at(job.model).metrics == {held_out: {"job": later.id, "length": 7}}
        with pytest.raises(BadInput, match="was trained on"):
            await service.evaluate(ANN, job.model, seen)
        with pytest.raises(BadInput, match=f"has the same bytes as '{seen}', which is trained on"):
            await service.evaluate(ANN, job.model, shelf.add_dataset(b"seen"))
        held = await ended(service, (await service.evaluate(ANN, job.model, foreign)).id)
        assert held.state == "done" and held.held_for == ["borg"] and held.metrics == {}
        wrong = await ended(service, (await service.evaluate(ANN, job.model, held_out, "other.py")).id)
        assert wrong.state == "failed" and "no 'other.py'" in wrong.reason
        uploaded = shelf.add_model(None, files={"w": b""})
        with pytest.raises(BadInput, match="uploaded as it is"):
            await service.evaluate(ANN, uploaded, held_out)


async def test_hyperparameters_are_recorded_defaults_and_all(tmp_path: Path, shelf: Shelf) -> None:
    """Those of the recipe, its declared defaults, and what the code says it took besides."""
    code = """
import json, os, pathlib
out = pathlib.Path(os.environ["HEADRACE_OUTPUT"])
(out / "w.bin").write_bytes(b"123")
(out / "hyperparameters.json").write_text(os.environ["TOLD"])
"""
    declared = "parameters:\n  epochs: {type: int, default: 3}\n  rate: {type: float}\n"
    recipes = [(text, {"headrace-recipe__yaml": declared}) for text in ('{"layers": 2}', '{"layers": [2]}')]
    async with training(tmp_path, RUNNER) as service:
        for (told, more), layers in zip(recipes, ({"layers": 2}, {}), strict=True):
            files = {"train__py": code.replace('os.environ["TOLD"]', repr(told)), **more}
            model = shelf.add_model(archive(**files), parameters={"rate": 0.5})
            job = await ended(service, (await service.submit(ANN, model, shelf.at(model).recipe)).id)
            assert job.state == "done", job.reason
            assert shelf.at(model).metadata == {"hyperparameters": {"epochs": 3, "rate": 0.5, **layers}}
            assert ("'layers' is neither a number nor a text" in job.reason) == (not layers)


async def test_a_model_whose_data_are_gone_is_not_trained_again(tmp_path: Path, shelf: Shelf) -> None:
    foreign = shelf.add_dataset(b"89", company="borg")
    shelf.grant("acme", foreign, "derive")
    async with training(tmp_path, RUNNER) as service:
        job = await run(service, shelf, WRITES, datasets=[foreign])
        assert job.state == "done", job.reason
        shelf.grant("acme", foreign, None)
        with pytest.raises(UnknownAsset, match=foreign):
            await service.reproduce(ANN, job.model)


# -- before anything is queued


async def test_a_copy_of_the_training_data_is_not_held_out(tmp_path: Path, shelf: Shelf) -> None:
    code, seen, copy = archive(train__py="print()"), shelf.add_dataset(b"seen"), shelf.add_dataset(b"seen")
    path = tmp_path / "code"
    path.write_bytes(code)
    async with training(tmp_path, RUNNER) as service:
        with pytest.raises(BadInput, match=f"evaluation: '{copy}' has the same bytes as '{seen}'"):
            await service.validate(ANN, recipe(code, datasets=[seen], evaluation=[copy]), path)
        await service.validate(ANN, recipe(code, datasets=[seen], evaluation=[shelf.add_dataset(b"other")]), path)


async def test_every_problem_of_a_recipe_is_told_at_once(tmp_path: Path, shelf: Shelf) -> None:
    declared = "parameters:\n  epochs: {type: int, default: 3, max: 10}\n  rate: {type: float}\n"
    code = archive(**{"train__py": "def (:", "headrace-recipe__yaml": declared})
    own, foreign = shelf.add_dataset(b""), shelf.add_dataset(b"", company="borg")
    wrong = recipe(
        code,
        datasets=["ds_none", foreign, own],
        evaluation=[own],
        parent=shelf.add_model(archive(train__py="")),
        seeds={"PYTHONPATH": 1, "1st": 2, "MY_SEED": 2},
        limits=SMALL.model_copy(update={"memory_bytes": 2**60}),
        environment=Environment(requires={"numpy": "0.0.1"}),
    )
    path = tmp_path / "code"
    path.write_bytes(code)
    async with training(tmp_path, RUNNER) as service:
        with pytest.raises(BadInput) as found:
            await service.validate(ANN, wrong, path)
        problems = str(found.value).splitlines()
        for part in (
            "train.py:1: not valid Python",
            "no dataset 'ds_none'",
            f"no dataset '{foreign}'",
            f"'{own}' is also trained on",
            "is registered; only a trained",
            "'PYTHONPATH' is the platform's",
            "'1st' is no name",
            "limits.memory_bytes",
            "numpy 0.0.1 is asked for",
        ):
            assert sum(part in problem for problem in problems) == 1, (part, problems)
        assert len(problems) == 9


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"parameters": {"epochs": "many", "rate": 1}}, "'epochs' is 'many', expected int"),
        ({"parameters": {"epochs": 11, "rate": 1}}, "'epochs' is 11, at most 10"),
        ({"parameters": {"rate": 1, "epohcs": 2}}, "no 'epohcs'; did you mean 'epochs'?"),
        ({"parameters": {}}, "'rate' has no default and has to be given"),
        (
            {"parameters": {"rate": 1}, "entry_point": "main.py"},
            "no 'main.py' in the code archive; Python files in it: train.py",
        ),
        ({"parameters": {"rate": 1}, "entry_point": "../train.py"}, "is not the path of a .py file"),
    ],
)
async def test_wrong_parameters_and_entry_points(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    declared = "parameters:\n  epochs: {type: int, default: 3, max: 10}\n  rate: {type: float}\n"
    code = archive(**{"train__py": WRITES, "headrace-recipe__yaml": declared})
    (tmp_path / "code").write_bytes(code)
    async with training(tmp_path, RUNNER) as service:
        with pytest.raises(BadInput) as found:
            await service.validate(ANN, recipe(code, **more), tmp_path / "code")
    assert said in str(found.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"no archive", "damaged, or of a kind that is not read"),
        (archive(**{"../train__py": ""}), "'../train.py' leads outside"),
        (archive(**{"train__py": "", "headrace-recipe__yaml": "parameters: 7"}), "expected `parameters:`"),
        (
            archive(**{"train__py": "", "headrace-recipe__yaml": "parameters: {a: {type: complex}}"}),
            "headrace-recipe.yaml: a",
        ),
        (archive(**{"train__py": "", "big": b"\0" * 300_000}), "293 KiB, over the limit of 195.3 KiB"),
    ],
)
async def test_archives_that_are_refused(tmp_path: Path, code: bytes, said: str) -> None:
    (tmp_path / "code").write_bytes(code)
    async with training(tmp_path, RUNNER, TrainingSettings(code_bytes=200_000)) as service:
        with pytest.raises(HeadraceError) as found:
            await service.validate(ANN, recipe(code), tmp_path / "code")
    assert said in str(found.value)


async def test_submit_takes_the_registered_recipe_only_and_once(tmp_path: Path, shelf: Shelf) -> None:
    model = shelf.add_model(archive(train__py=WRITES))
    async with training(tmp_path, RUNNER) as service:
        with pytest.raises(BadInput, match="another recipe"):
            await service.submit(ANN, model, shelf.at(model).recipe.model_copy(update={"parameters": {"a": 1}}))
        ids = await asyncio.gather(*(submit(service, shelf, model) for _ in range(5)))
        assert len(set(ids)) == 1
        await ended(service, ids[0])
        assert await submit(service, shelf, model) == ids[0]
