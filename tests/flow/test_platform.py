"""What happens to the platform itself: two on one directory, damaged files, dying workers, signals, closed pipes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from headrace.services.learning import supervisor
from headrace.services.learning.supervisor import Supervisor, Worker
from tests import sun
from tests.flow.test_bad_input import publish, wait_for
from tests.flow.test_crash import result
from tests.running import Up, scrubbed

SPECS = sun.spec() + "---" + sun.STREAM_SPEC
SLOW = """
import time

class Slow:
    def __init__(self, params, context):
        pass
    def apply(self, rows):
        print("a user's step talks", flush=True)
        time.sleep(60)
        return rows
    def state(self):
        return {}
    def load(self, state):
        pass
"""
SLOW_SPEC = sun.spec("slow").replace("  - resample", "  - python: {file: slow.py, class: Slow}\n  - resample")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with two models that have learnt something, cleanly stopped."""
    data = tmp_path_factory.mktemp("grown") / "data"
    with Up(data) as up:
        assert up.apply(SPECS).is_success
        publish(up, [*sun.messages(11), ("odd", b"{")])
        up.caught_up()
        assert up.stop() == 0
    return data


@pytest.fixture
def data(grown: Path, tmp_path: Path) -> Path:
    shutil.copytree(grown, tmp_path / "data")
    return tmp_path / "data"


def refused(data: Path, *more: str) -> str:
    """The sentence with which `headrace up` says no."""
    with pytest.raises(RuntimeError) as caught:
        Up(data, *more, stderr=data.parents[1] / "stderr")
    text = str(caught.value)
    assert "ended with 1" in text and "Traceback" not in text, text
    return text


# -- the directory


def test_a_second_platform_refuses_and_the_first_goes_on(data: Path) -> None:
    with Up(data) as up:
        assert f"in use by another Headrace (pid {up.process.pid})" in refused(data)
        assert up.call("GET", "/api/overview").is_success
        up.kill()
    with Up(data) as up:  # the lock of a killed platform is no lock
        assert up.stop() == 0


def test_the_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    with Up(tmp_path / "a" / "b", stderr=tmp_path / "stderr") as up:
        assert up.stop() == 0
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_directories_that_cannot_be_used(tmp_path: Path, data: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "cannot be used (File exists)" in refused(tmp_path / "file")
    assert "cannot be used (Not a directory)" in refused(tmp_path / "file" / "below")
    for suffix in ("-wal", "-shm"):
        (data / f"log.db{suffix}").unlink(missing_ok=True)
    (data / "log.db").write_bytes(b"garbage" * 1000)
    assert "is damaged" in refused(data)


def test_a_read_only_directory(tmp_path: Path) -> None:
    place = tmp_path / "ro"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode:
        pytest.skip("a file system cannot be mounted here: run as root, with CAP_SYS_ADMIN")
    try:
        assert "Read-only file system" in refused(place / "data")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_port_that_is_taken(data: Path) -> None:
    with Up(data) as up:
        text = refused(data.with_name("other"), "--http-port", up.http.rpartition(":")[2])
        assert "--http-port" in text


# -- damaged and lost files


def damage_all(data: Path) -> None:
    shutil.rmtree(data / "state")


def damage_head(data: Path) -> None:
    """Garbage instead of every database that can be derived from the log."""
    for file in [*(data / "state").glob("*.db"), data / "registry.db"]:
        file.write_bytes(b"this is no database" * 500)


def damage_middle(data: Path) -> None:
    """Files whose beginning looks right."""
    for file in (data / "state").glob("*.db"):
        content = bytearray(file.read_bytes())
        content[4096:] = b"\xaa" * (len(content) - 4096)
        file.write_bytes(content)


def damage_checkpoint(data: Path) -> None:
    """A database, but a state that is none."""
    import sqlite3

    for file in (data / "state").glob("*@*.db"):
        with sqlite3.connect(file) as db:
            db.execute("UPDATE checkpoint SET state = x'ffff'")
        db.close()


@pytest.mark.parametrize("damage", [damage_all, damage_head, damage_middle, damage_checkpoint])
def test_lost_and_damaged_files_are_rebuilt_from_the_log(grown: Path, data: Path, damage: Any) -> None:
    expected = result(grown)
    damage(data)
    with Up(data) as up:
        overview = up.caught_up()
        assert {model["name"]: model["state"] for model in overview["models"]} == {"sun": "live", "next": "live"}
        assert overview["ingest"]["quarantined"] == 1 and overview["topics"][-1]["messages"] == len(sun.messages(11))
        assert up.call("POST", "/v2/models/sun/infer", json={}).is_success
        wait_for(lambda: damage is damage_all or "rebuilding from the log" in up.errors())
        assert "Traceback" not in up.errors()
        assert b"headrace_worker_restarts 0.0" in up.call("GET", "/metrics").content
        assert up.stop() == 0
    assert result(data) == expected
    assert damage is damage_all or list((data / "state").glob("*.damaged"))


def test_a_file_damaged_while_it_is_used(data: Path) -> None:
    with Up(data) as up:
        up.caught_up()
        (worker,) = up.workers()
        (file,) = (data / "state").glob("sun@*.db")
        for suffix in ("", "-wal"):  # what is not in one is in the other
            damaged = file.with_name(file.name + suffix)
            damaged.write_bytes(b"\0" * damaged.stat().st_size)
        worker.kill()
        wait_for(lambda: "rebuilding from the log" in up.errors())
        wait_for(lambda: up.call("POST", "/v2/models/sun/infer", json={}).is_success)
        assert {model["state"] for model in up.caught_up()["models"]} == {"live"}
        assert up.stop() == 0


# -- workers


def test_killed_workers_come_back_later_and_later(data: Path) -> None:
    with Up(data) as up:
        states, pids = set(), set()
        for _ in range(4):
            worker = wait_for(up.workers)[0]
            pids.add(worker.pid)
            worker.kill()
            worker.wait(10)
            states.add(wait_for(lambda: up.overview()["models"][0]["state"]))
        assert "restarting" in states and len(pids) == 4
        wait_for(lambda: {model["state"] for model in up.overview()["models"]} == {"live"})
        assert b"headrace_worker_restarts 4.0" in up.call("GET", "/metrics").content
        assert up.stop() == 0


async def test_a_worker_that_dies_while_it_is_started_is_started_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop raises RuntimeError when the pipe of a process that was just killed is written to."""
    run, attempts = Worker._run, []

    async def fragile(worker: Worker) -> None:
        attempts.append(worker.name)
        if len(attempts) == 1:
            raise RuntimeError("unable to perform operation on a closed transport")
        await run(worker)

    monkeypatch.setattr(Worker, "_run", fragile)
    ready: list[str] = []
    workers = Supervisor(
        data, lambda name, event: ready.append(name) if event.ready else None, lambda name, how, over: None
    )
    await workers.assign([], {}, [])
    try:
        await started(workers, ready)
        assert len(attempts) == 2
    finally:
        await workers.close()


async def test_a_silent_worker_is_replaced(data: Path) -> None:
    ready: list[str] = []
    died: list[str] = []
    workers = Supervisor(
        data,
        lambda name, event: ready.append(name) if event.ready else None,
        lambda name, how, over: died.append(name),
        silence=1.5,
    )
    await workers.assign([], {}, [])
    try:
        first = await started(workers, ready)
        os.kill(first, signal.SIGSTOP)
        async with asyncio.timeout(10):
            while not died:
                await asyncio.sleep(0.05)
        ready.clear()
        assert await started(workers, ready) != first
    finally:
        await workers.close()


async def started(workers: Supervisor, ready: list[str]) -> int:
    """Process id of the worker once it is ready."""
    async with asyncio.timeout(20):
        while not ready:
            await asyncio.sleep(0.02)
    process = workers.workers[""].process
    assert process is not None
    return process.pid


@pytest.mark.parametrize("size", [10, 5_000_000], ids=["small", "larger than its pipe"])
async def test_a_worker_that_cannot_start_does_not_spin(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it could take its configuration or not, and whatever the log does meanwhile."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", f"{broken}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(supervisor, "BACKOFF", (0.2, 10.0))
    deaths: list[float] = []
    workers = Supervisor(tmp_path, lambda name, event: None, lambda name, how, over: deaths.append(time.monotonic()))
    await workers.assign([], {}, [("x" * size, {"name": "auto"})])
    for _ in range(60):
        await asyncio.sleep(0.05)
        workers.nudge()
    await workers.close()
    pauses = [later - earlier for earlier, later in pairwise(deaths)]
    assert 2 <= len(deaths) <= 4 and pauses == sorted(pauses) and pauses[0] > 0.3


def test_a_users_print_does_not_disturb_and_a_long_step_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Up(tmp_path / "data") as up:
        answer = up.apply(SLOW_SPEC + "---" + sun.spec(), {"slow.py": SLOW})
        assert answer.is_success, answer.text
        publish(up, sun.messages(11))
        wait_for(lambda: "a user's step talks" in up.errors())
        wait_for(lambda: up.call("POST", "/v2/models/sun/infer", json={}).is_success)
        workers = up.workers()
        assert len(workers) == 2
        began = time.monotonic()
        assert up.stop() == 0
        assert time.monotonic() - began < 25
        assert not any(worker.is_running() for worker in workers)


# -- the terminal


@pytest.fixture
def foreground(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`headrace up` as a shell runs it: in a process group of its own, its output in a pipe."""
    command = [
        sys.executable,
        "-m",
        "headrace.cli",
        "up",
        "--data",
        str(tmp_path / "data"),
        "--http-port",
        "0",
        "--mqtt-port",
        "0",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=scrubbed(), start_new_session=True
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def test_ctrl_c_reaches_all_and_ends_cleanly(foreground: subprocess.Popen[bytes]) -> None:
    assert foreground.stdout is not None and b"ready" in foreground.stdout.readline()
    workers = psutil.Process(foreground.pid).children()
    os.killpg(foreground.pid, signal.SIGINT)
    _, errors = foreground.communicate(timeout=25)
    assert foreground.returncode == 0 and errors == b""
    assert workers and not any(worker.is_running() for worker in workers)


def test_nobody_reads_its_output(foreground: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert foreground.stdout is not None and foreground.stderr is not None
    line = foreground.stdout.readline().decode()
    foreground.stdout.close()
    url = next(word for word in line.split() if word.startswith("http")).partition("/login")[0]
    time.sleep(0.5)
    assert httpx.get(url + "/v2/health/live", trust_env=False).is_success
    foreground.send_signal(signal.SIGTERM)
    assert foreground.wait(25) == 0
    assert foreground.stderr.read() == b""


# -- pushed events


def test_pushed_events(data: Path) -> None:
    with Up(data) as up:
        with httpx.stream("GET", f"{up.http}/api/events", timeout=5, trust_env=False, headers=up.headers) as answer:
            began, lines = time.monotonic(), answer.iter_lines()
            assert next(lines) == "event: overview"
            assert time.monotonic() - began < 0.5
            assert json.loads(next(lines).removeprefix("data: "))["models"]
        with httpx.Client(
            base_url=up.http, headers=up.headers, timeout=5, trust_env=False, limits=httpx.Limits(max_connections=200)
        ) as client:
            streams = [client.send(client.build_request("GET", "/api/events"), stream=True) for _ in range(100)]
            assert all(one.status_code == 200 for one in streams)
            assert client.get("/api/events").status_code == 503
            assert client.get("/api/overview").is_success
            for one in streams:
                one.close()
        wait_for(lambda: listens(up), 5)
        held = [
            httpx.stream("GET", f"{up.http}/api/events", timeout=5, trust_env=False, headers=up.headers)
            for _ in range(3)
        ]
        for one in held:
            one.__enter__()
        began = time.monotonic()
        assert up.stop() == 0  # open pages do not hold up the end
        assert time.monotonic() - began < 10
        for one in held:
            one.__exit__(None, None, None)


def listens(up: Up) -> bool:
    """Whether one more page may listen."""
    with httpx.stream("GET", f"{up.http}/api/events", timeout=5, trust_env=False, headers=up.headers) as answer:
        return answer.status_code == 200
