"""Starts the worker processes, restarts those that die or fall silent, and tells them when the log has grown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headrace.services.learning.worker import Config, ModelConfig

logger = logging.getLogger("headrace.learning")
SILENCE = 30.0
"""Seconds without a sign of life after which a worker is killed and replaced."""
STOPPING = 20.0
"""Seconds a worker may take to save and leave."""
SUPERSEDED = 1.0
"""Seconds a worker may take to leave whose model was deleted or applied anew."""
BACKOFF = (0.2, 10.0)
"""First and longest pause before a restart, seconds."""

Report = Callable[[dict[str, Any]], None]


class Worker:
    """One worker process, kept alive until `stop`.

    Args:
        report: called with every event the process sends, and with {"died": code} when it does.
    """

    def __init__(self, name: str, config: Config, report: Report) -> None:
        self.name, self.config, self._report = name, config, report
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

    async def stop(self, patience: float = STOPPING) -> None:
        """Let it save and leave; kill it if it does not within `patience` seconds."""
        self._stopping = True
        if self._task is None:
            return
        process = self.process
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), patience)
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
            code = await self._run()
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
        )
        self.process, self._seen = process, time.monotonic()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(msgspec.json.encode(self.config) + b"\n")
        watch = asyncio.create_task(self._watch(process))
        try:
            while line := await process.stdout.readline():
                self._seen = time.monotonic()
                self._hear(line)
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

    def _hear(self, line: bytes) -> None:
        try:
            event = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            logger.warning("worker %r said something that is no event: %.200r", self.name, line)
            return
        self._report({**event, "worker": self.name})

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        while True:
            await asyncio.sleep(SILENCE / 10)
            if time.monotonic() - self._seen > SILENCE and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()


class Supervisor:
    """The set of workers that the applied models need: one for all light models and the observer, one per heavy model."""

    def __init__(self, data: Path, report: Report, checkpoint_seconds: float = 5.0) -> None:
        self._data, self._report = data, report
        self._checkpoint = checkpoint_seconds
        self.workers: dict[str, Worker] = {}

    async def assign(
        self, light: list[ModelConfig], heavy: dict[str, ModelConfig], pinned: list[tuple[str, dict[str, Any]]]
    ) -> None:
        """Run exactly these models. Workers whose task is unchanged go on undisturbed."""
        wanted = {name: self._config([model], [], observer=False) for name, model in heavy.items()}
        wanted[""] = self._config(light, pinned, observer=True)
        changed = [name for name, worker in self.workers.items() if wanted.get(name) != worker.config]
        # What a heavy worker computed for a superseded generation is not needed: it may be in an endless loop.
        await asyncio.gather(*(self.workers.pop(name).stop(SUPERSEDED if name else STOPPING) for name in changed))
        for name, config in wanted.items():
            if name not in self.workers:
                self.workers[name] = Worker(name, config, self._report)
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
