"""Runners: a program of somebody else, run where it can reach nothing but its inputs and one output directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from headrace.assets import Environment, Limits
from headrace.plugins import Family

Ending: TypeAlias = Literal["exit", "memory", "time", "output", "files", "cancelled"]


@dataclass(frozen=True, slots=True)
class Task:
    """One run. Inside, the inputs are read-only under their targets, ``/work/output`` and a private ``/tmp`` can be
    written, and there is nothing else: no network, no other process, no home."""

    command: Sequence[str]
    """Program and arguments; ``python`` is the environment's Python."""
    inputs: Mapping[str, Path]
    """absolute path inside -> file or folder outside."""
    output: Path
    """Empty folder outside for what the program leaves in ``/work/output``: filled after a run that ended by itself. Its content
    is hostile, and some runners leave links in it: take files out with `headrace.runners.collect.collect` only."""
    log: Path
    """File that gets what the program prints, at most `limits.log_bytes` of it."""
    limits: Limits
    environment: Environment
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/work"
    """Working directory inside."""
    heard: Callable[[bytes], None] | None = None
    """Called with all that is printed, piece by piece, also with what the log has no room for. Must be quick."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    how: Ending
    """"exit": by itself, with `code`; otherwise the limit that was passed, or "cancelled"."""
    code: int
    """Exit code; 128 + signal when it was killed."""
    seconds: float
    peak_memory: int | None
    """Bytes of the whole process tree, where the system tells."""
    detail: str = ""
    """A sentence for people when `how` is not "exit"."""
    left_out: tuple[str, ...] = ()
    """What was in the output and is not in `Task.output`: links, pipes, devices, names nobody can store; a sentence each."""


class Runner(Protocol):
    """Runs tasks."""

    def check(self, environment: Environment) -> None:
        """Whether it can run something in exactly this environment, isolated.

        Raises:
            NoIsolation: this machine cannot isolate; the message says what to install or set.
            WrongEnvironment: it cannot provide this environment; the message says what differs.
        """
        ...

    def describe(self, environment: Environment, limits: Limits) -> dict[str, Any]:
        """The environment as a fingerprint: library versions, Python, CPU capability, threads... JSON, sorted, no times."""
        ...

    async def run(self, task: Task, cancel: asyncio.Event) -> Ended:
        """Run to the end, to a limit, or until `cancel` is set; nothing of it is alive afterwards.

        Raises NoIsolation, WrongEnvironment, StorageUnavailable.
        """
        ...


RUNNERS = Family(
    "runners",
    {"local": "headrace.runners.local:LocalRunner", "container": "headrace.runners.container:ContainerRunner"},
)
