"""Training: registered recipe + datasets -> files, metrics and a log, in a sandbox, one job after the other.

`Trainer` (validate, submit) is what the hub asks; `Training` is the whole door, for people and the page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from headrace.access import Principal
from headrace.assets import Job, JobState
from headrace.services.sharing import Trainer


class Training(Trainer, Protocol):
    """The job queue. The table is the truth: it survives restarts, and what ran when the platform was killed runs again.

    `submit` is idempotent: a model has one training job, which `retry` runs again. Jobs of other companies are NotFound,
    but for those that are held for his: these he may look at, with all that their own company does not see yet.
    """

    async def job(self, who: Principal, id: str) -> Job:
        """One job. Raises NotFound."""
        ...

    async def jobs(self, who: Principal, state: JobState | None = None, model: str = "", limit: int = 100) -> list[Job]:
        """The newest jobs of his company, and those held for it, first."""
        ...

    async def events(self, who: Principal, id: str) -> list[dict[str, Any]]:
        """What happened to a job, oldest first: ``{time_ms, what, detail}``. Raises NotFound."""
        ...

    async def cancel(self, who: Principal, id: str) -> Job:
        """Stop a job that is queued or runs. Raises Conflict if it has ended."""
        ...

    async def retry(self, who: Principal, id: str) -> Job:
        """Queue a job that failed or was cancelled once more. Raises Conflict."""
        ...

    async def evaluate(self, who: Principal, model: str, dataset: str, entry_point: str = "", priority: int = 0) -> Job:
        """Queue the measuring of a trained model on a held-out dataset, by its recipe's code.

        Args:
            entry_point: Python file of the archive; "": the recipe's.

        Raises NotFound, Forbidden, BadInput (no recipe, not trained, or trained on that very dataset).
        """
        ...

    async def reproduce(self, who: Principal, model: str, priority: int = 0) -> Job:
        """Queue a second training of a trained model, to compare its files digest by digest. Raises NotFound, BadInput.

        The job's metrics are then the ``digest`` over the files it made (`Model.digest`), its ``fingerprint``, and if that is
        another one and files differ, how far their arrays are apart, ``worst`` (`headrace.inside.closeness`)."""
        ...

    def log(self, who: Principal, id: str, offset: int = 0, follow: bool = False) -> AsyncIterator[bytes]:
        """What it printed in all its attempts, from byte `offset` on; with `follow` until it ends.

        The first piece comes at once, after all checks, and may be empty. Raises NotFound; Forbidden while held for others.
        """
        ...
