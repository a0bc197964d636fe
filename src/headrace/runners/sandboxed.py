"""One run in bubblewrap, from its first process to its last: watched, ended at a limit, its output taken out."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator

from headrace.assets import Limits
from headrace.errors import NoIsolation, size_of
from headrace.runners import Ended, Ending, Task
from headrace.runners.bubblewrap import FIX, STARTER, Plan
from headrace.runners.cgroups import Group
from headrace.runners.collect import gather, raised, said
from headrace.runners.logs import CappedLog
from headrace.runners.watch import usage

TICK = 0.05
"""Seconds between two looks at what is used."""
STARTING = 10
"""Seconds a sandbox may take to come up before it is given up."""
PAGE = 4096
FOLDERS = 64
PIPE = 2**20
"""Bytes the log's pipe holds where the kernel lets us."""


class Sandboxed:
    """One run.

    Args:
        made: the plan; its channel is set here.
        group: its control groups; None: watch the processes.
    """

    def __init__(self, task: Task, made: Plan, group: Group | None) -> None:
        self._task, self._made, self._group = task, made, group
        self._began = time.monotonic()
        self._folders: list[int] = []
        self._started = False
        self._failure = ""
        self._first = -1
        """Handle (pidfd) of the sandbox's first process."""
        self._first_pid = 0
        self._peak = 0

    async def run(self, cancel: asyncio.Event) -> Ended:
        """To its end. Raises NoIsolation when the sandbox did not come up, StorageUnavailable."""
        with CappedLog(self._task.log, self._task.limits.log_bytes) as log, contextlib.ExitStack() as stack:
            try:
                how, code = await self._process(cancel, log, stack)
                if not self._started and how == "exit":
                    reason = self._failure.removeprefix("failed: ") or log.last(300).strip() or f"exit code {code}"
                    raise NoIsolation(reason=reason, fix=FIX)
                return await self._ended(how, code)
            finally:
                for handle in (*self._folders, *([self._first] if self._first >= 0 else [])):
                    os.close(handle)

    async def _process(self, cancel: asyncio.Event, log: CappedLog, stack: contextlib.ExitStack) -> tuple[Ending, int]:
        reader, writer = _pipe(stack)
        try:
            process = await self._start(writer, stack)
        finally:
            os.close(writer)
        self._began = time.monotonic()  # making a container is not the program's time
        with _read_into(reader, log, self._task) as drained:
            how = await self._watch(process, cancel)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(drained.wait(), STARTING)
        self._hear()
        return how, _code(process.returncode)

    async def _start(self, writer: int, stack: contextlib.ExitStack) -> Process:
        """The process whose end is the run's; what is printed goes to `writer`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = stack.enter_context(ours)
        self._channel.setblocking(False)
        self._info, info = _pipe(stack)
        self._made.channel = theirs.fileno()
        self._made.before = ["--info-fd", str(info), *self._made.before]
        limits = self._task.limits
        command = [sys.executable if word == "python" and not i else word for i, word in enumerate(self._task.command)]
        line = self._made.line(
            [sys.executable, "-I", "-S", STARTER, str(theirs.fileno()), str(limits.processes + 1), *command]
        )
        try:
            return await asyncio.create_subprocess_exec(
                *line,
                stdin=DEVNULL,
                stdout=writer,
                stderr=writer,
                pass_fds=(theirs.fileno(), info),
                start_new_session=True,
            )
        finally:
            theirs.close()
            os.close(info)

    async def _watch(self, process: Process, cancel: asyncio.Event) -> Ending:
        """Wait; whatever ends this wait ends all of its processes."""
        ended = asyncio.create_task(process.wait())
        how: Ending = "exit"
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=TICK)
                self._hear()
                how = "exit" if ended.done() else self._over(cancel)
                if how != "exit":
                    break
        finally:
            if not ended.done():
                await asyncio.shield(self._kill(process))
            await asyncio.shield(ended)
        return how

    def _over(self, cancel: asyncio.Event) -> Ending:
        """The limit that is passed; "exit": none."""
        limits = self._task.limits
        if cancel.is_set():
            return "cancelled"
        if time.monotonic() - self._began > limits.seconds:
            return "time"
        if self._group is not None and self._group.over_memory():
            return "memory"
        if self._group is None and self._first_pid and self._memory() > limits.memory_bytes:
            return "memory"
        return self._full()

    def _memory(self) -> int:
        """Bytes of the tree and of its folders in memory."""
        folders = [os.fstatvfs(handle) for handle in self._folders]
        kept = sum((facts.f_blocks - facts.f_bfree) * facts.f_frsize for facts in folders)
        resident, _ = usage(self._first_pid, self._task.limits.memory_bytes - kept)
        self._peak = max(self._peak, resident + kept)
        return resident + kept

    def _full(self) -> Ending:
        """Whether its output is full."""
        if not self._folders:
            return "exit"
        facts, limits = os.fstatvfs(self._folders[0]), self._task.limits
        if facts.f_ffree == 0 or facts.f_files - facts.f_ffree > limits.output_files + spare(limits):
            return "files"
        return "output" if facts.f_bfree == 0 else "exit"

    def _hear(self) -> None:
        """What the launcher and the first program have said, and which process is the sandbox's first."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                data, handles, _, _ = socket.recv_fds(self._channel, 4096, 4)
                self._folders += handles
                if not data:
                    break
                self._started = self._started or data == b"started"
                self._failure = data.decode(errors="replace") if data.startswith(b"failed") else self._failure
        if self._first < 0:
            with contextlib.suppress(BlockingIOError, ValueError, ProcessLookupError):
                self._first_pid = int(json.loads(os.read(self._info, 4096))["child-pid"])
                self._first = os.pidfd_open(self._first_pid)

    async def _kill(self, process: Process) -> None:
        """End it: the first process of a process namespace takes all others with it."""
        deadline = time.monotonic() + STARTING
        while self._first < 0 and process.returncode is None and time.monotonic() < deadline:
            self._hear()
            await asyncio.sleep(TICK / 10)
        with contextlib.suppress(ProcessLookupError):
            if self._first >= 0:
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            else:
                process.kill()

    async def _ended(self, how: Ending, code: int) -> Ended:
        seconds = time.monotonic() - self._began
        peak = self._group.peak() if self._group is not None else self._peak or None
        if how == "exit" and self._group is not None and self._group.over_memory():
            how = "memory"
        if how == "exit":
            how = self._full()
        left_out: tuple[str, ...] = ()
        if how == "exit":
            found = await asyncio.to_thread(gather, self._folders[0], self._task.limits, self._task.output)
            left_out = tuple(found.left_out)
            how = found.over or how
        return Ended(how, code, seconds, peak, _sentence(how, self._task), left_out)


def spare(limits: Limits) -> int:
    """Folders an output may have beside its files."""
    return max(FOLDERS, limits.output_files)


def room(limits: Limits) -> int:
    """Bytes of the output's tmpfs: every file's last page may be begun only."""
    return limits.output_bytes + PAGE * (min(limits.output_files, 2**20) + 1)


def _sentence(how: Ending, task: Task) -> str:
    limits = task.limits
    if how in ("output", "files"):
        return said(how, limits)
    return {
        "memory": f"it used more than {size_of(limits.memory_bytes)} of memory, including what it had written to "
        f"/work/output; {raised('memory_bytes', '--memory-mb')}",
        "time": f"it ran longer than {limits.seconds:g} s; {raised('seconds', '--minutes')}",
        "cancelled": "it was cancelled",
    }.get(how, "")


def _code(returned: int | None) -> int:
    """128 + signal for what was killed."""
    return 128 - returned if returned is not None and returned < 0 else returned or 0


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    """(reader, writer); the reader never blocks and is closed with the stack."""
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    os.set_blocking(reader, False)
    with contextlib.suppress(OSError):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
    return reader, writer


@contextlib.contextmanager
def _read_into(reader: int, log: CappedLog, task: Task) -> Iterator[asyncio.Event]:
    """Keep reading what is printed; the event: nobody is left who could print."""
    drained, loop = asyncio.Event(), asyncio.get_running_loop()

    def more() -> None:
        try:
            data = os.read(reader, 2**16)
        except BlockingIOError:
            return
        if not data:
            loop.remove_reader(reader)
            drained.set()
            return
        log.add(data)
        if task.heard is not None:
            task.heard(data)

    loop.add_reader(reader, more)
    try:
        yield drained
    finally:
        loop.remove_reader(reader)
