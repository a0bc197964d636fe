"""Training: registered recipe + datasets -> files, metrics and a log, in a sandbox, one job after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from headrace.access import Principal
from headrace.assets import Job, JobState, Recipe


class Training(Protocol):
    """The job queue. The table is the truth: it survives restarts, and what ran when the platform was killed runs again."""

    async def validate(self, who: Principal, recipe: Recipe, code: Path) -> None:
        """Whether a job of this recipe could start: environment, archive, entry point, parameters, datasets, parent.

        Args:
            code: the code archive.

        Raises BadInput (all problems at once), NotFound, Forbidden, NoIsolation, WrongEnvironment.
        """
        ...

    async def submit(self, who: Principal, model: str, recipe: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        """Queue the training of a registered model."""
        ...

    async def job(self, who: Principal, id: str) -> Job:
        """One job. Raises NotFound."""
        ...

    async def jobs(self, who: Principal, state: JobState | None = None, model: str = "", limit: int = 100) -> list[Job]:
        """The newest jobs of his company first."""
        ...

    async def cancel(self, who: Principal, id: str) -> Job:
        """Stop a job that is queued or runs. Raises Conflict if it has ended."""
        ...

    async def retry(self, who: Principal, id: str) -> Job:
        """Queue a job that failed or was cancelled once more. Raises Conflict."""
        ...

    def log(self, who: Principal, id: str, offset: int = 0, follow: bool = False) -> AsyncIterator[bytes]:
        """What it printed from byte `offset` on; with `follow` until it ends. Raises NotFound; Forbidden while held."""
        ...
