"""A worker that cannot start, or ends by itself: who asks is told how, and so is the operator."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from headrace.services.learning import supervisor
from headrace.services.learning.isolation import Isolation
from headrace.services.learning.supervisor import Supervisor


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import sys; print('noise', file=sys.stderr); sys.exit('no module named headrace')", "exit code 1: no module named headrace"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("import os; os._exit(7)", "exit code 7"),
    ],
)  # fmt: skip
async def test_why_a_worker_does_not_start(
    code: str, how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF", (0.01, 0.02))
    ended: list[tuple[str, str, bool]] = []
    locked = Isolation(wrap=lambda command: [sys.executable, "-c", code])
    workers = Supervisor(tmp_path, lambda name, event: None, lambda *died: ended.append(died), isolation=locked)
    await workers.assign([], {}, [])
    async with asyncio.timeout(20):
        while len(ended) < 11:
            await asyncio.sleep(0.02)
    await workers.close()
    assert set(ended) == {("", how, False)}
    said = capfd.readouterr().err
    assert f"headrace: a worker in {tmp_path} stopped ({how}); it is started again" in said
    assert said.count("headrace: ") == 2 and "10 times in a row" in said
    assert said.count("no module named headrace") - 2 == (11 if "module" in how else -2)  # what it writes is passed on


async def test_a_program_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ended: list[tuple[str, str, bool]] = []
    locked = Isolation(wrap=lambda command: [str(tmp_path / "bwrap")])
    workers = Supervisor(tmp_path, lambda name, event: None, lambda *died: ended.append(died), isolation=locked)
    await workers.assign([], {}, [])
    async with asyncio.timeout(20):
        while not ended:
            await asyncio.sleep(0.02)
    await workers.close()
    assert "cannot be started" in ended[0][1] and "bwrap" in capfd.readouterr().err
