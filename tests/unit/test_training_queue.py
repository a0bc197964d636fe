"""The queue's table: whose a job is, which is next, what a dead worker leaves; and what is checked without a sandbox."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from headrace.assets import Job, new_id
from headrace.errors import BadInput, Conflict
from headrace.services.training.logs import Logs, size_of
from headrace.services.training.outputs import METRICS, read_flat, read_small
from headrace.services.training.parameters import Parameter, settle
from headrace.services.training.progress import Progress
from headrace.services.training.queue import Queue
from headrace.services.training.tables import METADATA
from headrace.services.training.verdicts import Verdicts
from headrace.services.training.workers import Worker, remove
from headrace.stores.database import open_database, sqlite_url
from tests.shelf import recipe

PLAN = recipe(b"code")


class Clock:
    """Seconds, set by the test."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(sqlite_url(tmp_path / "training.db"), "headrace.services.training")
    yield made
    made.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def job(**more: Any) -> Job:
    return Job(
        **{"id": new_id("jb"), "company": "acme", "model": new_id("md"), "created_ms": 0, "created_by": "ann", **more}
    )


def queues(engine: Engine, clock: Clock) -> tuple[Queue, Queue]:
    return Queue(engine, "one", 30, clock), Queue(engine, "two", 30, clock)


def test_the_tables_are_what_the_migrations_make(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "training_version"})
        assert compare_metadata(context, METADATA) == []


def test_the_highest_priority_then_the_oldest_is_next(engine: Engine, clock: Clock) -> None:
    queue, _ = queues(engine, clock)
    given = [queue.add(job(priority=priority), PLAN).id for priority in (0, 5, 0, -1, 5)]
    claimed = [entry.job.id for entry in iter(queue.claim, None)]
    assert claimed == [given[index] for index in (1, 4, 0, 2, 3)]


def test_companies_take_turns_whatever_priority_they_say(engine: Engine, clock: Clock) -> None:
    """By jobs that run, then by time they had; priority counts within a company."""
    queue, _ = queues(engine, clock)
    for number in range(5):
        queue.add(job(company="evil", priority=1000 + number), PLAN)
    queue.add(job(company="small", priority=-5), PLAN)
    queue.add(job(company="small", priority=5), PLAN)
    first = queue.claim()
    assert first is not None and first.job.company == "evil" and first.job.priority == 1004
    clock.now += 100
    second = queue.claim()
    assert second is not None and second.job.company == "small" and second.job.priority == 5  # evil has one running
    queue.end(first, "done", "exit", "")
    clock.now += 10
    queue.end(second, "done", "exit", "")
    third = queue.claim()
    assert third is not None and third.job.company == "small"  # 10 s against 100 s
    queue.end(third, "done", "exit", "")
    assert [entry.job.company for entry in iter(queue.claim, None)] == ["evil"] * 4  # nobody else waits


def test_time_of_long_ago_counts_no_more(engine: Engine, clock: Clock) -> None:
    queue, _ = queues(engine, clock)
    for company in ("one", "one", "two", "two"):
        queue.add(job(company=company), PLAN)
    for wanted, seconds in (("one", 5000), ("two", 10)):
        entry = queue.claim()
        assert entry is not None and entry.job.company == wanted
        clock.now += seconds
        queue.end(entry, "done", "exit", "")
    clock.now += 86_400 + 100
    entry = queue.claim()
    assert entry is not None and entry.job.company == "one"


def test_of_many_workers_one_gets_a_job(engine: Engine, clock: Clock) -> None:
    workers = [Queue(engine, f"w{number}", 30, clock) for number in range(8)]
    ids = [workers[0].add(job(), PLAN).id for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda queue: [entry.job.id for entry in iter(queue.claim, None)], workers)
    claimed = [id for one in found for id in one]
    assert sorted(claimed) == sorted(ids)


def test_a_worker_that_lost_its_job_writes_nothing_any_more(engine: Engine, clock: Clock) -> None:
    one, two = queues(engine, clock)
    one.add(job(), PLAN)
    entry = one.claim()
    assert entry is not None and one.beat() == {entry.job.id: ""}
    (lost,) = two.foreign()
    assert two.take_over(lost, "killed", 5)
    assert one.beat() == {} and not one.note(entry.job.id, progress=0.5) and not one.end(entry, "done", "exit", "")
    again = two.claim()
    assert again is not None and again.job.attempt == 2 and again.job.reason == "killed" and again.failures == 1
    assert two.end(again, "done", "exit", "")
    assert [event["what"] for event in two.events(entry.job.id)] == ["queued", "started", "queued", "started", "done"]


def test_a_sign_of_life_in_the_last_moment_keeps_a_job(engine: Engine, clock: Clock) -> None:
    one, two = queues(engine, clock)
    one.add(job(), PLAN)
    one.claim()
    (seen,) = two.foreign()
    clock.now += 29
    one.beat()
    assert not two.take_over(seen, "killed", 5)


def test_a_job_over_which_workers_die_again_and_again_fails(engine: Engine, clock: Clock) -> None:
    one, two = queues(engine, clock)
    id = one.add(job(), PLAN).id
    for _ in range(3):
        assert one.claim() is not None
        assert two.take_over(two.foreign()[0], "killed", 3)
    found = one.find(id)
    assert found is not None and (found.job.state, found.job.attempt, one.claim()) == ("failed", 3, None)


def test_a_job_to_be_cancelled_whose_worker_dies_is_cancelled(engine: Engine, clock: Clock) -> None:
    one, two = queues(engine, clock)
    id = one.add(job(), PLAN).id
    one.claim()
    one.cancel(id, "ann")
    assert one.beat() == {id: "ann"}
    two.take_over(two.foreign()[0], "killed", 5)
    found = one.find(id)
    assert found is not None and (found.job.state, found.job.reason) == ("cancelled", "cancelled by ann")
    one.retry(id, "bob")
    with pytest.raises(Conflict):
        one.retry(id, "bob")
    assert one.claim() is not None


def test_a_pause_is_kept(engine: Engine, clock: Clock) -> None:
    one, _ = queues(engine, clock)
    one.add(job(), PLAN)
    entry = one.claim()
    assert entry is not None and one.again(entry, "platform", "disk full", 10, failures=1)
    assert one.claim() is None
    clock.now += 10
    assert one.claim() is not None


def test_the_hub_is_told_each_state_once_and_the_newest_only(engine: Engine, clock: Clock) -> None:
    one, _ = queues(engine, clock)
    one.add(job(), PLAN)
    one.add(job(kind="evaluate"), PLAN)
    (queued,) = one.untold()
    one.claim()
    one.told(queued)  # too late: it runs already
    (running,) = one.untold()
    assert running.state == "running"
    one.told(running)
    assert one.untold() == []


def test_a_recipe_found_to_differ_stays_so_for_its_company(engine: Engine) -> None:
    verdicts = Verdicts(engine)
    assert verdicts.never("acme", PLAN) == ""
    verdicts.mark("acme", PLAN, "first")
    verdicts.mark("acme", PLAN, "second")
    assert verdicts.never("acme", PLAN) == "first"
    assert (
        verdicts.never("borg", PLAN) == ""
        and verdicts.never("acme", PLAN.model_copy(update={"seeds": {"SEED": 1}})) == ""
    )


# -- workers and folders


def test_a_worker_is_alive_until_it_is_gone(tmp_path: Path) -> None:
    one, two = Worker(tmp_path), Worker(tmp_path)
    with one, two:
        assert one.others() == [two.name]
        with one.dead(two.name) as state:
            assert state == "alive"
        with one.dead("w0") as state:
            assert state == "elsewhere"
        os.close(two._handle)  # what the kernel does when it dies
        (two.folder / "jb_1-1").mkdir()
        with one.dead(two.name) as state:
            assert state == "dead" and two.folder.exists()
        assert one.others() == []
        two._handle = os.open(os.devnull, os.O_RDONLY)


def test_remove_opens_what_was_shut_and_follows_no_link(tmp_path: Path) -> None:
    shut = tmp_path / "run" / "a" / "b"
    shut.mkdir(parents=True)
    (shut / "file").write_text("x")
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (tmp_path / "run" / "link").symlink_to(outside)
    shut.chmod(0)
    shut.parent.chmod(0)
    remove(tmp_path / "run")
    assert not (tmp_path / "run").exists() and outside.stat().st_mode & 0o777 == 0o755


def test_logs_go_by_age_and_size_but_of_those_that_are_named(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    for number, age in enumerate((0, 50, 100, 200)):
        path = logs.begin(f"jb_{number}", 1)
        path.write_bytes(b"x" * 10)
        os.utime(path, (1000 - age, 1000 - age))
    logs.clean(1000, 150, 1000, ["jb_0", "jb_1", "jb_2", "jb_9"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jb_0", "jb_1", "jb_2", "jb_3"]
    logs.clean(1000, 150, 20, ["jb_0", "jb_1", "jb_2", "jb_3"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jb_0", "jb_1"]
    assert logs.there("jb_0") and not logs.there("jb_3")


async def test_a_log_is_that_of_all_attempts(tmp_path: Path) -> None:
    logs, going = Logs(tmp_path), [True, True, False]

    async def growing() -> bool:
        return going.pop(0)

    async def whole(offset: int = 0) -> bytes:
        going[:] = [False]
        return b"".join([piece async for piece in logs.read("jb", offset, growing)])

    logs.begin("jb", 1).write_bytes(b"first")
    assert await whole() == b"first"
    logs.begin("jb", 2).write_bytes(b"second\n")
    both = b"first\n--- attempt 2 ---\nsecond\n"
    assert await whole() == both and size_of(tmp_path / "jb") == len(both)
    for offset in range(len(both) + 2):
        assert await whole(offset) == both[offset:]
    for attempt in range(3, 13):
        logs.begin("jb", attempt).write_bytes(b"x\n")
    kept = (await whole()).decode()
    assert kept.startswith("--- attempt 8 ---\nx\n\n--- attempt 9 ---\n") and kept.count("attempt") == 5
    assert len(kept) == size_of(tmp_path / "jb")


# -- what the code says and leaves


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "no JSON object"),
        ("{", "no JSON"),
        ('{"a": {}}', "'a' is neither"),
        ('{"a": null}', "'a' is neither"),
        ('{"a": 1e400}', None),
        (json.dumps({"a": "x" * 1001}), "'a' is neither"),
        (json.dumps({str(number): 0 for number in range(1001)}), "more than 1000"),
        ("[" * 20_000, "no JSON"),
        ("9" * 60_000, "no JSON"),
        ("x" * 70_000, "over 65536 bytes"),
        ('{"": 1}', "a name that is empty"),
        ('{"a": "\\ud800"}', "half a surrogate pair"),
        ('{"\\udfff": 1}', "half a surrogate pair"),
    ],
)
def test_metrics_are_flat_and_bounded(tmp_path: Path, text: str, said: str | None) -> None:
    (tmp_path / "metrics.json").write_text(text)
    if said is None:
        assert read_flat(tmp_path, METRICS) == {"a": "inf"}
        return
    with pytest.raises(BadInput, match=said):
        read_flat(tmp_path, METRICS)


def test_metrics_through_a_link_or_pipe_are_refused(tmp_path: Path) -> None:
    assert read_flat(tmp_path, METRICS) == {}
    (tmp_path / "metrics.json").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="no regular file"):
        read_flat(tmp_path, METRICS)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="no regular file"):
        read_small(tmp_path / "pipe", 10)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.binary(max_size=30) | st.sampled_from([b"::progress 0.5 half\n", b"::progress .25\n", b"::progress x\n"])
    )
)
def test_progress_is_the_same_however_the_log_is_cut(pieces: list[bytes]) -> None:
    whole, cut = Progress(), Progress()
    text = b"".join(pieces)
    whole.hear(text)
    for start in range(0, len(text), 7):
        cut.hear(text[start : start + 7])
    assert cut.said == whole.said and cut.size == whole.size == len(text)


scalars = st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from(["", "x"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from("abcd"), scalars), st.sampled_from(["int", "float", "bool", "str"]))
def test_settled_parameters_have_their_declared_type_or_a_problem_names_them(given: dict[str, Any], kind: Any) -> None:
    declared = {
        "a": Parameter(type=kind),
        "b": Parameter(type=kind, default={"int": 1, "float": 1, "bool": True, "str": ""}[kind]),
    }
    settled, problems = settle(given, declared)
    for name in ("c", "d"):
        assert (name in given) == any(f"no {name!r}" in problem for problem in problems)
    for name, value in settled.items():
        assert type(value).__name__ == kind or any(repr(name) in problem for problem in problems)
    assert ("a" in given) or any("'a' has no default" in problem for problem in problems)
