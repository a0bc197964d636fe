"""The first signal stops a platform, one that comes with it says no more, and one that comes later ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

SLOW = """
import asyncio
from headrace.running import start, stop_signals

async def work():
    async with stop_signals() as stop:
        print("ready", flush=True)
        await stop.wait()
        print("stopping", flush=True)
        await asyncio.sleep(60)

start(work())
"""


def test_who_insists_does_not_wait() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGTERM)  # make sends both
        time.sleep(1.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 1
        assert "stopped at once" in process.stderr.read()
