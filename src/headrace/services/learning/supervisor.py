"""Starts the worker processes, restarts those that die or fall silent, and tells them when the log has grown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headrace.distrust import JOURNAL
from headrace.services.learning.cell import Cell, Over
from headrace.services.learning.isolation import TRUSTED, Isolation
from headrace.services.learning.pace import FREE, Pace, Paces
from headrace.services.learning.said import ending
from headrace.services.learning.saying import Frames
from headrace.services.learning.worker import Config, Event, ModelConfig

logger = logging.getLogger("headrace.learning")
SILENCE = 30.0
"""Seconds without a sign of life after which a worker is killed and replaced."""
STOPPING = 20.0
"""Seconds a worker may take to save and leave."""
SUPERSEDED = 1.0
"""Seconds a worker may take to leave whose model was deleted or applied anew."""
BACKOFF = (0.2, 10.0)
"""First and longest pause before a restart, seconds."""

SAID = {1, 10, 100, 1000}
"""Which of a worker's deaths in a row, each soon after its start, the operator is told of."""
SEND = 2**20
"""Bytes a worker may have said that are not read yet (if the system allows): it goes on while the platform is busy."""

Report = Callable[[str, Event], None]
Died = Callable[[str, str, bool], None]
"""A worker's name, how it ended, and whether the platform ended it for a bound it went over."""


class Worker:
    """One worker process, kept alive until `stop`.

    Args:
        report: called with every event the process sends.
        died: called when it has ended without being told to.
        silence: seconds without a sign of life after which it is killed and replaced.
        isolation: what its code can reach.
        pace: how much each life of it may say.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        report: Report,
        died: Died,
        silence: float = SILENCE,
        isolation: Isolation = TRUSTED,
        pace: Callable[[int], Pace] = lambda _: FREE,
    ) -> None:
        self._isolation, self._pace = isolation, pace
        self.name, self.config, self._report, self._died, self._silence = name, config, report, died, silence
        self.process: asyncio.subprocess.Process | None = None
        self._cell: Cell | None = None
        self._link: socket.socket | None = None
        """To the worker, once it has its configuration."""
        self.restarts = 0
        self._seen = 0.0
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._keep_alive(), name=f"worker-{self.name}")

    def nudge(self) -> None:
        """The log has grown. Written at once, not when the loop comes to it; a pipe full of nudges needs no more."""
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._link.send(b"\n")

    def end(self, why: str) -> None:
        """Kill it, for a reason that its models' people are told; it is started again."""
        if self._cell is not None and self.process is not None and self.process.returncode is None:
            self._cell.end(self.process, why)

    async def stop(self, patience: float = STOPPING) -> None:
        """Let it save and leave; kill it if it does not within `patience` seconds."""
        self._stopping = True
        if self._task is None:
            return
        process = self.process
        if process is not None and process.returncode is None:
            link, self._link = self._link, None
            if link is None:  # it has not even been told what to do
                process.kill()
            else:
                with contextlib.suppress(OSError):
                    link.shutdown(socket.SHUT_WR)
            try:
                await asyncio.wait_for(process.wait(), patience)
            except TimeoutError:
                process.kill()
        else:
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _keep_alive(self) -> None:
        pause, short = BACKOFF[0], 0
        while True:
            started = time.monotonic()
            try:
                how, over = await self._run()
            except Over as error:
                how, over = str(error), True
            except Exception as error:  # no memory, no file handle, dead before its first line was written: try again
                how, over = f"it cannot be started: {error}", False
            if self._stopping:
                return
            self.restarts += 1
            lasted = time.monotonic() - started > 30
            short = 0 if lasted else short + 1
            if short in SAID:
                self._say(how, short)
            self._died(self.name, how, over)
            pause = BACKOFF[0] if lasted and not over else min(pause * 2, BACKOFF[1])
            await asyncio.sleep(pause)

    def _say(self, how: str, times: int) -> None:
        """To the operator: a company's own page says it, too."""
        what = f"the worker of {self.name!r}" if self.name else "a worker"
        more = f", {times} times in a row" if times > 1 else ""
        place = "" if self._isolation.trusted else f" in {self.config.data}"
        print(f"headrace: {what}{place} stopped{more} ({how}); it is started again", file=sys.stderr)

    async def _run(self) -> tuple[str, bool]:
        """One life of the process; returns how it ended, and whether it was ended for a bound."""
        self._cell = cell = Cell(self._isolation, self.name or "models")
        code = 0
        try:
            code = await self._live(cell)
        finally:
            why = await cell.close()
        last = "" if self._stopping else await asyncio.to_thread(cell.last)
        return why or ending(code, last), bool(why)

    async def _live(self, cell: Cell) -> int:
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND)
        try:
            line = [sys.executable, "-m", "headrace.services.learning.worker"]
            process = await cell.start(line, stdin=theirs.fileno(), stdout=theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        frames = Frames(ours, self._heard, self._pace(len(self.config.models)))
        self.process, self._seen = process, time.monotonic()
        watch = asyncio.create_task(self._watch(process))
        try:
            with contextlib.suppress(OSError):  # it is dead already
                await asyncio.get_running_loop().sock_sendall(ours, msgspec.json.encode(self.config) + b"\n")
                self._link = ours
            await frames.done.wait()
            if frames.wrong:
                cell.end(process, frames.wrong)
            await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        finally:
            self._link = None
            if not frames.done.is_set():
                frames.close()
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        return process.returncode or 0

    def _heard(self, event: Event) -> None:
        self._seen = time.monotonic()
        self._report(self.name, event)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        while True:
            await asyncio.sleep(self._silence / 10)
            if time.monotonic() - self._seen > self._silence and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()


class Supervisor:
    """The set of workers that the applied models need: one for all light models and the observer, one per heavy model."""

    def __init__(
        self,
        data: Path,
        report: Report,
        died: Died,
        checkpoint_seconds: float = 5.0,
        silence: float = SILENCE,
        isolation: Isolation = TRUSTED,
    ) -> None:
        self._isolation = isolation
        self._data, self._report, self._died, self._silence = data, report, died, silence
        self._checkpoint = checkpoint_seconds
        self._paces = None if isolation.trusted else Paces()
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
                pace = self._paces.pace if self._paces is not None else lambda _: FREE
                self.workers[name] = Worker(
                    name, config, self._report, self._died, self._silence, self._isolation, pace
                )
                self.workers[name].start()

    def _config(self, models: list[ModelConfig], pinned: list[tuple[str, dict[str, Any]]], *, observer: bool) -> Config:
        return Config(
            data=str(self._data),
            parent=self._isolation.parent(os.getpid()),
            models=models,
            observer=observer,
            pinned=pinned,
            checkpoint_seconds=self._checkpoint,
            journal="WAL" if self._isolation.trusted else JOURNAL,
        )

    def nudge(self) -> None:
        """The log has grown."""
        for worker in self.workers.values():
            worker.nudge()

    def end(self, why: str) -> None:
        """Kill all workers, for a reason; they are started again."""
        for worker in self.workers.values():
            worker.end(why)

    async def close(self) -> None:
        """Stop every worker; they save first."""
        await asyncio.gather(*(worker.stop() for worker in self.workers.values()))
        self.workers.clear()
