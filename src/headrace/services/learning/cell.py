"""One process that may run a company's own code: started, held to its bounds, and its words passed on as its own.

For the platform's first company it is a plain child process. For others (`Isolation.guard`) it inherits nothing of the
platform's but the pipes it is given: what it prints comes through a pipe of its own, and is never taken for ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from typing import Any

from headrace.services.learning.isolation import Guard, Isolation
from headrace.services.learning.said import Said

LOOK = 0.5
"""Seconds between looks at what it uses."""
LINE = 500
"""Characters of one line that are passed on."""
LINES = 20
"""Lines a second that are passed on, and so many at once; more are counted."""
CHUNK, REST = 2**16, 0.05
"""Bytes read at a time, and seconds between: a process that prints without end waits, and the platform does not."""


class Over(Exception):
    """It may not run: the sentence says which bound is exceeded."""


class Cell:
    """One run of one process.

    Args:
        name: the model, or what else it is, for people.
    """

    def __init__(self, isolation: Isolation, name: str) -> None:
        self._isolation, self._name = isolation, name
        self._guard: Guard | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._said: Said | None = None
        self._last = ""
        self.why = ""
        """Why the platform ended it: which bound it went over."""

    async def start(self, command: Sequence[str], **streams: Any) -> Process:
        """The process, with none of our settings in its environment. Raises Over, OSError."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        make = self._isolation.guard
        if make is not None:
            self._guard = guard = await asyncio.to_thread(make)
            if why := await asyncio.to_thread(guard.over, 0):
                raise Over(why)
            command = guard.command(command)
            streams["stderr"] = PIPE
        else:
            command = self._isolation.command(command)
            self._said = Said()
            streams["stderr"] = self._said.into
        try:
            # its own session: Ctrl-C in a terminal is for the platform, which lets its workers save
            process = await asyncio.create_subprocess_exec(*command, **streams, env=environment, start_new_session=True)
        finally:
            if self._said is not None:
                self._said.begun()
        if self._guard is not None:
            assert process.stderr is not None
            told = relay(process.stderr, f"[{self._isolation.company}/{self._name}]", self._hear)
            self._tasks = [asyncio.create_task(told), asyncio.create_task(self._watch(process, self._guard))]
        return process

    def last(self) -> str:
        """The last line it wrote to its standard error, once it has ended. Blocks, at most a second."""
        return self._said.last() if self._said is not None else self._last

    def _hear(self, line: str) -> None:
        mark = f"[{self._isolation.company}/{self._name}]"
        self._last = line.removeprefix(mark).strip() or self._last
        _say(line)

    def end(self, process: Process, why: str) -> None:
        """Kill it, for a reason that is told to people."""
        self.why = self.why or why
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    async def _watch(self, process: Process, guard: Guard) -> None:
        while process.returncode is None:
            await asyncio.sleep(LOOK)
            if why := await asyncio.to_thread(guard.over, process.pid):
                self.end(process, why)
                return

    async def close(self) -> str:
        """After it has ended: why it was ended, by us or by the kernel; "" if by itself."""
        tasks, self._tasks = self._tasks, []
        if tasks:
            await asyncio.wait(tasks[:1], timeout=LOOK)  # its last words
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        guard, self._guard = self._guard, None
        if guard is not None:
            self.why = await asyncio.to_thread(guard.close) or self.why
        return self.why


async def relay(source: asyncio.StreamReader, whose: str, say: Callable[[str], None] | None = None) -> None:
    """Pass on what a process prints, a line at a time, until it has ended.

    No line of it can pass for one of the platform's: each begins with `whose`, and holds printable characters alone.
    """
    say = say or _say
    loop = asyncio.get_running_loop()
    rest, left, dropped, second = b"", float(LINES), 0, loop.time()
    while data := await source.read(CHUNK):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > 4 * LINE:
            lines, rest = [*lines, rest], b""
        now = loop.time()
        left, second = min(LINES, left + (now - second) * LINES), now
        for line in lines:
            if left < 1:
                dropped += 1
                continue
            if dropped:
                say(f"{whose} ... {dropped} lines more")
            say(f"{whose} {plain(line)}")
            left, dropped = left - 1, 0
        await asyncio.sleep(REST)
    if dropped:
        say(f"{whose} ... {dropped} lines more")
    if rest:
        say(f"{whose} {plain(rest)}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def plain(line: bytes) -> str:
    """One line of a stranger as people may see it.

    >>> plain(b"ok\\r\\x1b[2Jforged \\xe2\\x80\\xa8 line")
    'ok??[2Jforged ? line'
    """
    text = line[: 4 * LINE].decode("utf-8", "replace")
    text = "".join(one if one.isprintable() or one == "\t" else "?" for one in text.rstrip("\r"))
    return text if len(text) <= LINE else text[:LINE] + "..."
