"""What the training service says of a job: it began, it ended, this is what it made."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from headrace.access import Principal
from headrace.assets import Job, Model, ModelState, OutputFile, Scalar, Stored, Verdict
from headrace.claims import digest_of
from headrace.errors import BadInput, UnknownAsset
from headrace.services.sharing import auditing, lineage
from headrace.services.sharing.anchoring import to_anchor
from headrace.services.sharing.book import to_its_end
from headrace.services.sharing.contents import needs, safe_path
from headrace.services.sharing.fence import Asset, Fence, put, unfenced
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.promises import promise
from headrace.services.sharing.tables import files, holds

STATES: dict[str, ModelState] = {
    "queued": "registered",
    "running": "training",
    "failed": "failed",
    "cancelled": "cancelled",
}
FOUND = (
    "metrics", "fingerprint", "environment", "framework", "input_shape", "output_shape", "parameters", "metadata",
    "reproducible", "reproducible_note",
)  # fmt: skip
"""What a job may say of its model."""
CHUNK = 2**20
OURS = frozenset({"job", "held_for"})
"""What the platform writes beside the figures of an evaluation; the code's may not be called so."""


class Results:
    """Takes in what jobs made. Everything here may be said twice."""

    def __init__(self, hub: Hub, inspects: bool) -> None:
        self._hub, self._inspects = hub, inspects

    async def began(self, job: Job) -> None:
        """See `Sharing.began`."""

        def write(connection: Connection) -> None:
            model = unfenced(connection, job.model)
            state = STATES.get(job.state)
            if not isinstance(model, Model) or model.deleted_ms is not None or state is None or _over(model, job):
                return
            if state == "training":
                self._hold(connection, model, job)
            put(connection, model.model_copy(update={"state": state, "job": job.id}))
            lineage.job(connection, model, job)

        if job.kind == "train":
            await self._hub.book.write(write)

    def _hold(self, connection: Connection, model: Model, job: Job) -> None:
        """Rights may have changed since the registration: those count under which the data are read."""
        assert model.recipe is not None
        fence = Fence(connection, _principal(job), self._hub.clock())
        ids = [*model.recipe.datasets, *model.recipe.evaluation, model.recipe.parent]
        inputs = [found for id in ids if id and (found := unfenced(connection, id)) is not None]
        there = select(holds.c.company).where(holds.c.model == model.id, holds.c.kind == "result")
        known = set(connection.execute(there).scalars())
        late = sorted({*holders(fence, inputs), *job.held_for} - known)
        if late:
            rows_ = [{"model": model.id, "company": company, "kind": "result"} for company in late]
            connection.execute(insert(holds), rows_)

    async def trained(self, job: Job, output: Path, paths: Sequence[str], found: dict[str, Any]) -> Model:
        """See `Sharing.trained`. Raises UnknownAsset (the model was deleted), BadInput, StorageUnavailable."""
        model = await self._hub.book.read(lambda connection: _trainee(connection, job))
        if model.state == "trained" and model.job == job.id:
            return model
        if not paths:
            raise BadInput(detail=f"job {job.id} left no file: there is nothing to keep")
        told = {name: value for name, value in found.items() if name in FOUND}
        async with self._hub.arriving(job.company):
            made = [
                OutputFile(path=path, stored=await self._take(job, index, output, path))
                for index, path in enumerate(sorted(set(paths)))
            ]
            model = await self._hub.book.write(lambda connection: self._record(connection, job, made, told))
        self._hub.nudge()
        return model

    def _record(self, connection: Connection, job: Job, made: list[OutputFile], told: dict[str, Any]) -> Model:
        now, model = self._hub.clock(), _trainee(connection, job)
        fields = {**model.model_dump(), **told, "files": [file.model_dump() for file in made]}
        fields |= {"state": "trained", "job": job.id, "digest": digest_of(made)}
        if self._hub.anchors:
            fields |= {"anchoring": "waiting", "anchoring_note": ""}
        if model.reproducible == "never":
            fields |= {"reproducible": "never", "reproducible_note": model.reproducible_note}
        try:
            changed = Model.model_validate(fields)
            put(connection, changed)
        except ValueError as error:  # no such record, or one that is no JSON
            raise BadInput(detail=f"what job {job.id} says of its model cannot be kept: {error}") from error
        connection.execute(delete(files).where(files.c.asset == model.id, files.c.role == "output"))
        needs(connection, model.id, model.company, "output", made)
        lineage.job(connection, changed, job.model_copy(update={"state": "done"}))
        if self._inspects:
            promise(connection, "inspect", model.id, model.company)
        to_anchor(connection, changed)
        auditing.note(connection, now, _principal(job), "trained", model.id, model.company, detail=job.id)
        return changed

    async def _take(self, job: Job, index: int, output: Path, path: str) -> Stored:
        """One file into the store; opened without following links."""
        name = f"up_{hashlib.sha256(f'{job.id}/{index}'.encode()).hexdigest()[:20]}"
        file = await asyncio.to_thread(open_plain, output, path)
        try:
            await self._hub.artifacts.discard(job.company, name)  # of an attempt that was killed
            incoming = await self._hub.artifacts.receive(job.company, name)
            try:
                while chunk := await asyncio.to_thread(os.read, file, CHUNK):
                    await incoming.write(chunk)
                return await to_its_end(incoming.finish())
            except BaseException:
                await incoming.pause()
                await self._hub.artifacts.discard(job.company, name)
                raise
        finally:
            os.close(file)

    async def evaluated(self, job: Job, metrics: dict[str, Scalar]) -> Model:
        """See `Sharing.evaluated`. On data the company may only train on, the figures are held for their owner.

        Raises BadInput for figures with a name of the platform's own.
        """
        if taken := sorted(OURS.intersection(metrics)):
            raise BadInput(
                detail=f"metrics.json: {', '.join(taken)} is what the platform calls its own; name it otherwise"
            )

        def write(connection: Connection) -> Model:
            model = _trainee(connection, job)
            now = self._hub.clock()
            fence = Fence(connection, _principal(job), now)
            known = model.metrics.get(job.dataset)
            if isinstance(known, dict) and known.get("job") == job.id:
                return model
            data = unfenced(connection, job.dataset)
            held = sorted({*job.held_for, *([] if data is None else holders(fence, [data]))})
            entry = {**metrics, "job": job.id, **({"held_for": held} if held else {})}
            changed = model.model_copy(update={"metrics": {**model.metrics, job.dataset: entry}})
            put(connection, changed)
            for company in held:
                figures = holds.c.model == model.id, holds.c.company == company, holds.c.kind == "figures"
                connection.execute(delete(holds).where(*figures))  # of an earlier evaluation, perhaps released
                connection.execute(insert(holds).values(model=model.id, company=company, kind="figures"))
            auditing.note(connection, now, _principal(job), "evaluated", model.id, model.company, detail=job.dataset)
            if data is not None and data.company != job.company:
                auditing.note(connection, now, _principal(job), "evaluate", data.id, data.company, detail=model.id)
            return changed

        return await self._hub.book.write(write)

    async def judged(self, id: str, verdict: Verdict, note: str) -> Model:
        """See `Sharing.judged`."""

        def write(connection: Connection) -> Model:
            model = unfenced(connection, id)
            if not isinstance(model, Model):
                raise UnknownAsset(kind="model", id=id)
            if model.reproducible != "never":
                model = model.model_copy(update={"reproducible": verdict, "reproducible_note": note[:1000]})
                put(connection, model)
            return model

        return await self._hub.book.write(write)


def holders(fence: Fence, inputs: Iterable[Asset]) -> list[str]:
    """Companies that a result of these inputs is held for: owners who only granted to train on theirs, and whoever a
    model among them is held for."""
    found: set[str] = set()
    for one in inputs:
        if one.company != fence.who.company and "derive" not in fence.rights(one.id):
            found.add(one.company)
        if isinstance(one, Model):
            found.update(one.held_for)
    return sorted(found - {fence.who.company})


def _trainee(connection: Connection, job: Job) -> Model:
    model = unfenced(connection, job.model)
    if not isinstance(model, Model) or model.deleted_ms is not None or model.company != job.company:
        raise UnknownAsset(kind="model", id=job.model)
    return model


def _over(model: Model, job: Job) -> bool:
    return model.state in {"trained", "uploaded"} or model.recipe is None or model.company != job.company


def _principal(job: Job) -> Principal:
    return Principal(job.company, job.created_by, "service", frozenset({"service"}))


def open_plain(output: Path, path: str) -> int:
    """A regular file under a folder, no step of the way a link. Raises BadInput."""
    folder = os.open(output, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *way, last = safe_path(path).parts
        for step in way:
            inner = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        raise BadInput(detail=f"the output {path[:80]!r} is no file that can be taken: {error.strerror}") from error
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise BadInput(detail=f"the output {path[:80]!r} is no regular file")
    return file
