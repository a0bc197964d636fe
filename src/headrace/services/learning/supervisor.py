"""Starts the worker processes, restarts those that die or fall silent, and tells them when the log has grown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headrace.services.learning.worker import Config, ModelConfig

SILENCE = 30.0
"""Seconds without a sign of life after which a worker is killed and replaced."""
STOPPING = 20.0
"""Seconds a worker may take to save and leave."""
BACKOFF = (0.2, 10.0)
"""First and longest pause before a restart, seconds."""

Report = Callable[[dict[str, Any]], None]


class Worker:
    """One worker process, kept alive until `stop`.

    Args:
        report: called with every event the process sends, and with {"died": code} when it does.
        silence: seconds without a sign of life after which it is killed and replaced.
    """

    def __init__(self, name: str, config: Config, report: Report, silence: float = SILENCE) -> None:
        self.name, self.config, self._report, self._silence = name, config, report, silence
        self.process: asyncio.subprocess.Process | None = None
        self.restarts = 0
        self._seen = 0.0
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._keep_alive(), name=f"worker-{self.name}")

    def nudge(self) -> None:
        """The log has grown. Never waits: a pipe that is full of nudges needs no more."""
        process = self.process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            transport = process.stdin.transport
            if transport.get_write_buffer_size() == 0:
                process.stdin.write(b"\n")

    async def stop(self) -> None:
        """Let it save and leave; kill it if it does not."""
        self._stopping = True
        if self._task is None:
            return
        process = self.process
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), STOPPING)
            except TimeoutError:
                process.kill()
        else:
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _keep_alive(self) -> None:
        pause = BACKOFF[0]
        while True:
            started = time.monotonic()
            try:
                code = await self._run()
            except OSError as error:  # no memory, no file handle: later perhaps
                print(f"headrace: a worker cannot be started ({error})", file=sys.stderr)
                code = -1
            if self._stopping:
                return
            self.restarts += 1
            self._report({"died": code, "worker": self.name})
            pause = BACKOFF[0] if time.monotonic() - started > 30 else min(pause * 2, BACKOFF[1])
            await asyncio.sleep(pause)

    async def _run(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "headrace.services.learning.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
            start_new_session=True,  # Ctrl-C in a terminal is for the platform, which lets its workers save
        )
        self.process, self._seen = process, time.monotonic()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(msgspec.json.encode(self.config) + b"\n")
        watch = asyncio.create_task(self._watch(process))
        try:
            while line := await process.stdout.readline():
                self._seen = time.monotonic()
                with contextlib.suppress(msgspec.DecodeError):
                    self._report({**msgspec.json.decode(line), "worker": self.name})
            return await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        while True:
            await asyncio.sleep(self._silence / 10)
            if time.monotonic() - self._seen > self._silence and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()


class Supervisor:
    """The set of workers that the applied models need: one for all light models and the observer, one per heavy model."""

    def __init__(
        self, data: Path, report: Report, checkpoint_seconds: float = 5.0, silence: float = SILENCE
    ) -> None:
        self._data, self._report, self._silence = data, report, silence
        self._checkpoint = checkpoint_seconds
        self.workers: dict[str, Worker] = {}

    async def assign(
        self, light: list[ModelConfig], heavy: dict[str, ModelConfig], pinned: list[tuple[str, dict[str, Any]]]
    ) -> None:
        """Run exactly these models. Workers whose task is unchanged go on undisturbed."""
        wanted = {name: self._config([model], [], observer=False) for name, model in heavy.items()}
        wanted[""] = self._config(light, pinned, observer=True)
        changed = [name for name, worker in self.workers.items() if wanted.get(name) != worker.config]
        await asyncio.gather(*(self.workers.pop(name).stop() for name in changed))
        for name, config in wanted.items():
            if name not in self.workers:
                self.workers[name] = Worker(name, config, self._report, self._silence)
                self.workers[name].start()

    def _config(self, models: list[ModelConfig], pinned: list[tuple[str, dict[str, Any]]], *, observer: bool) -> Config:
        return Config(
            data=str(self._data),
            parent=os.getpid(),
            models=models,
            observer=observer,
            pinned=pinned,
            checkpoint_seconds=self._checkpoint,
        )

    def nudge(self) -> None:
        """The log has grown."""
        for worker in self.workers.values():
            worker.nudge()

    async def close(self) -> None:
        """Stop every worker; they save first."""
        await asyncio.gather(*(worker.stop() for worker in self.workers.values()))
        self.workers.clear()
