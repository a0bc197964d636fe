"""Many independent pieces of work over a few processes, with a progress bar; Ctrl-C ends them all and leaves nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from headrace.errors import Permanent

Result = TypeVar("Result")
Task = tuple[Callable[..., Result], tuple[Any, ...]]


def run(tasks: Sequence[Task[Result]], title: str, jobs: int) -> list[Result]:
    """The results in the order of the tasks, whoever finished first. One job runs here, more in processes of their own.

    Raises:
        Permanent: a process died (most likely for want of memory).
    """
    with _bar() as bar:
        place = bar.add_task(title, total=len(tasks))
        if min(jobs, len(tasks)) <= 1:
            found = []
            for function, arguments in tasks:
                found.append(_called(function, *arguments))
                bar.advance(place)
            return found
        return _pooled(tasks, jobs, lambda: bar.advance(place))


def _pooled(tasks: Sequence[Task[Result]], jobs: int, done: Callable[[], None]) -> list[Result]:
    context = multiprocessing.get_context("spawn")  # a fork of a process that has loaded torch may hang
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_alone)
    try:
        with _nothing_to_rerun():
            futures: list[Future[Result]] = [
                pool.submit(_called, function, *arguments) for function, arguments in tasks
            ]
        for future in as_completed(futures):
            future.result()
            done()
        return [future.result() for future in futures]
    except BaseException as error:
        for child in multiprocessing.active_children():
            child.terminate()
        if isinstance(error, BrokenProcessPool):
            raise Permanent(detail="a working process died, perhaps for want of memory; try --jobs 1") from error
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _nothing_to_rerun() -> Iterator[None]:
    """Processes that are started meanwhile do not run the script of this one again, as multiprocessing would have them do.

    What they need they import by name, and not every script that calls `headrace` guards its last line.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _called(function: Callable[..., Result], *arguments: Any) -> Result:
    """What a task returns. Raises Permanent if a user's code in it would end the process."""
    try:
        return function(*arguments)
    except SystemExit as error:
        raise Permanent(detail=f"the spec's own code ended with SystemExit({error.code})") from error


@contextmanager
def ending() -> Iterator[None]:
    """SIGTERM ends what is done here as Ctrl-C does: with its processes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _alone() -> None:
    """In a new process: Ctrl-C is the parent's to handle, and one thread is enough."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout = sys.stderr  # the report has stdout to itself
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
