"""The job queue over HTTP: `Training` for services that run in another process. Thin around the generated client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.access import Principal
from headrace.assets import Job, JobState, Recipe
from headrace.clients.training import Client
from headrace.clients.training.api.training import (
    cancel_job,
    evaluate_model,
    get_job,
    list_job_events,
    list_jobs,
    read_job_log,
    reproduce_model,
    retry_job,
    submit_job,
    validate_recipe,
)
from headrace.clients.training.models import BodyValidateRecipe, NewEvaluation, NewJob
from headrace.clients.training.types import UNSET, File
from headrace.services.remote import Remote, TokenFor
from headrace.services.training import Training
from headrace.services.training.http import Events, Jobs


class TrainingClient(Remote):
    """See `Training`, and `Trainer`, which is the part of it that the hub asks; and `Remote` for what it raises besides.

    Args:
        url: where the training service answers.
        token_for: makes the token that says on whose behalf a request is.
    """

    def __init__(self, url: str, token_for: TokenFor) -> None:
        super().__init__("training", url, token_for)
        self._client = self.over(Client(base_url=url))

    async def validate(self, who: Principal, recipe: Recipe, code: Path) -> None:
        """See `Training.validate`. The archive is sent as it is read."""
        with code.open("rb") as archive:
            sent = BodyValidateRecipe(recipe=recipe.model_dump_json(), code=File(payload=archive, file_name="code"))
            await self.ask(who, lambda: validate_recipe.asyncio_detailed(client=self._client, body=sent))

    async def submit(self, who: Principal, model: str, recipe: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        """See `Training.submit`."""
        told = {"model": model, "recipe": recipe.model_dump(mode="json"), "priority": priority, "attempts": attempts}
        sent = NewJob.from_dict(told)
        return await self._job(who, lambda: submit_job.asyncio_detailed(client=self._client, body=sent))

    async def job(self, who: Principal, id: str) -> Job:
        """See `Training.job`."""
        return await self._job(who, lambda: get_job.asyncio_detailed(id, client=self._client))

    async def jobs(self, who: Principal, state: JobState | None = None, model: str = "", limit: int = 100) -> list[Job]:
        """See `Training.jobs`."""
        wanted: Any = state or UNSET
        found = await self.ask(
            who, lambda: list_jobs.asyncio_detailed(client=self._client, state=wanted, model=model, limit=limit)
        )
        return Jobs.model_validate_json(found).items

    async def events(self, who: Principal, id: str) -> list[dict[str, Any]]:
        """See `Training.events`."""
        found = await self.ask(who, lambda: list_job_events.asyncio_detailed(id, client=self._client))
        return [event.model_dump() for event in Events.model_validate_json(found).items]

    async def cancel(self, who: Principal, id: str) -> Job:
        """See `Training.cancel`."""
        return await self._job(who, lambda: cancel_job.asyncio_detailed(id, client=self._client))

    async def retry(self, who: Principal, id: str) -> Job:
        """See `Training.retry`."""
        return await self._job(who, lambda: retry_job.asyncio_detailed(id, client=self._client))

    async def evaluate(self, who: Principal, model: str, dataset: str, entry_point: str = "", priority: int = 0) -> Job:
        """See `Training.evaluate`."""
        sent = NewEvaluation(model=model, dataset=dataset, entry_point=entry_point, priority=priority)
        return await self._job(who, lambda: evaluate_model.asyncio_detailed(client=self._client, body=sent))

    async def reproduce(self, who: Principal, model: str, priority: int = 0) -> Job:
        """See `Training.reproduce`."""
        return await self._job(
            who, lambda: reproduce_model.asyncio_detailed(model, client=self._client, priority=priority)
        )

    async def log(self, who: Principal, id: str, offset: int = 0, follow: bool = False) -> AsyncIterator[bytes]:
        """See `Training.log`."""
        request = read_job_log._get_kwargs(id, offset=offset, follow=follow)
        async with self.stream(who, {**request, "timeout": None if follow else self.http.timeout}) as answer:
            yield b""
            async for piece in answer.aiter_bytes():
                yield piece

    async def _job(self, who: Principal, asked: Callable[[], Awaitable[Any]]) -> Job:
        return Job.model_validate_json(await self.ask(who, asked))


if TYPE_CHECKING:

    def _fits(client: TrainingClient) -> Training:
        return client
