"""The platform killed in mid-job, for real: kill -9, then another start on the same folder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from headrace.runners.local import LocalRunner
from headrace.settings import TrainingSettings
from tests.running import scrubbed
from tests.shelf import ANN, WRITES, Shelf, archive, ended, leftovers, text, training

PLATFORM = """
import asyncio, sys
from pathlib import Path
from headrace.runners.local import LocalRunner
from tests.shelf import training

async def main():
    async with training(Path(sys.argv[1]), LocalRunner()):
        print("up", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""
ROOT = Path(__file__).parent.parent.parent
MARK = "sleeps-in-the-sandbox"


def start(folder: Path) -> subprocess.Popen[bytes]:
    env = scrubbed() | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", PLATFORM, str(folder)], stdout=subprocess.PIPE, env=env)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    return process


def sleepers() -> list[int]:
    """Processes of the job that are alive."""
    return [
        process.pid for process in psutil.process_iter(["cmdline"]) if (process.info["cmdline"] or [""])[-1] == MARK
    ]


async def test_kill_9_in_mid_job_then_a_restart_runs_it_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    data = shelf.add_dataset(b"sleep")
    code = f"""
import os, subprocess, sys
print(open(os.environ["HEADRACE_DATA"]).read(), flush=True)
if open(os.environ["HEADRACE_DATA"]).read() == "sleep":
    subprocess.run([sys.executable, "-c", "import time; time.sleep(300)", "{MARK}"])
{WRITES}"""
    model = shelf.add_model(archive(train__py=code), datasets=[data])
    platform = await asyncio.to_thread(start, tmp_path)
    try:
        async with training(tmp_path, LocalRunner(), TrainingSettings(parallel=0, look=0.05)) as service:
            job = await service.submit(ANN, model, shelf.at(model).recipe)
            while not (log := await text(service, job.id)) or not sleepers():
                await asyncio.sleep(0.05)
            assert log == "sleep\n" and len(leftovers(tmp_path)) == 1
    finally:
        os.kill(platform.pid, signal.SIGKILL)
        platform.wait()
        assert platform.stdout is not None
        platform.stdout.close()
    killed = time.monotonic()
    while sleepers():
        assert time.monotonic() - killed < 10, "the job outlives the platform"
        await asyncio.sleep(0.02)
    assert len(leftovers(tmp_path)) == 1
    shelf.keep(data, "data", b"write")
    async with training(tmp_path, LocalRunner()) as service:
        found = await ended(service, job.id)
        assert (found.state, found.attempt) == ("done", 2), found
        events = [(event["what"], event["detail"]) for event in await service.events(ANN, job.id)]
        assert ("queued", "the platform was killed while attempt 1 ran") in events
        assert (await text(service, job.id)).endswith("--- attempt 2 ---\nwrite\n")
    assert leftovers(tmp_path) == []
    assert (shelf.folder / "trained").read_text().split() == [job.id]
