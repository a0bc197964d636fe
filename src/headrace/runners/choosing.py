"""Which runner runs what: a recipe that names an image in a container, everything else on this machine's own Python."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.assets import Environment, Limits
from headrace.runners import Ended, Runner, Task


class ChoosingRunner:
    """Two runners as one.

    Args:
        local: for environments without an image: also archive checks and statistics, which are the platform's own programs.
        container: for those with one.
    """

    def __init__(self, local: Runner, container: Runner) -> None:
        self._local, self._container = local, container

    def check(self, environment: Environment) -> None:
        """See the Protocol."""
        self.of(environment).check(environment)

    def describe(self, environment: Environment, limits: Limits) -> dict[str, Any]:
        """See the Protocol."""
        return self.of(environment).describe(environment, limits)

    async def run(self, task: Task, cancel: asyncio.Event) -> Ended:
        """See the Protocol."""
        return await self.of(task.environment).run(task, cancel)

    def of(self, environment: Environment) -> Runner:
        """The one that runs something in this environment."""
        return self._container if environment.image else self._local


def name_of(runner: Runner, environment: Environment) -> str:
    """What a job's record calls the runner it ran in."""
    chosen = runner.of(environment) if isinstance(runner, ChoosingRunner) else runner
    return type(chosen).__name__.removesuffix("Runner").lower()
