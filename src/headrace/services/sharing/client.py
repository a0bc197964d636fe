"""The hub over HTTP: `Sharing` for services that run in another process. Thin around the generated client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from headrace.access import LOCAL, Principal
from headrace.assets import Dataset, Job, Model, OutputFile, Right, Scalar, Snapshot, Translation, Verdict, new_id
from headrace.clients.sharing import Client
from headrace.clients.sharing.api.datasets import get_dataset
from headrace.clients.sharing.api.internal import (
    check_right,
    get_file,
    job_began,
    job_evaluated,
    job_trained,
    list_files,
    model_judged,
    model_translated,
    put_content,
    put_output,
    put_snapshot,
    put_translation,
)
from headrace.clients.sharing.api.models import get_model
from headrace.clients.sharing.models import Evaluated, Judged, Published, Trained, Translated
from headrace.clients.sharing.models import Job as SentJob
from headrace.clients.sharing.types import File
from headrace.errors import CorruptState
from headrace.services.remote import Remote, TokenFor
from headrace.services.sharing import Sharing
from headrace.services.sharing.contents import safe_path
from headrace.services.sharing.internal import Files, Role
from headrace.services.sharing.results import open_plain

CHUNK = 2**20
PLATFORM = Principal(LOCAL, "platform", "service", frozenset({"service"}))
"""Who says what is said for no company."""


class SharingClient(Remote):
    """See `Sharing`; and `Remote` for what it raises besides.

    Args:
        url: where the sharing service answers.
        token_for: makes the token that says on whose behalf a request is.
        scratch: a folder for contents that were downloaded; None: the system's.
    """

    def __init__(self, url: str, token_for: TokenFor, scratch: Path | None = None) -> None:
        super().__init__("sharing", url, token_for)
        self._client = self.over(Client(base_url=url))
        self._scratch = scratch

    async def dataset(self, who: Principal, id: str) -> Dataset:
        """See `Sharing.dataset`."""
        found = await self.ask(who, lambda: get_dataset.asyncio_detailed(id, client=self._client))
        return Dataset.model_validate_json(found)

    async def model(self, who: Principal, id: str) -> Model:
        """See `Sharing.model`."""
        found = await self.ask(who, lambda: get_model.asyncio_detailed(id, client=self._client))
        return Model.model_validate_json(found)

    async def check(self, who: Principal, id: str, right: Right) -> None:
        """See `Sharing.check`."""
        await self.ask(who, lambda: check_right.asyncio_detailed(id, right, client=self._client))

    def content(self, who: Principal, id: str, right: Right) -> AbstractAsyncContextManager[Path]:
        """See `Sharing.content`."""
        return self._local(who, id, right, "content")

    def code(self, who: Principal, model: str) -> AbstractAsyncContextManager[Path]:
        """See `Sharing.code`."""
        return self._local(who, model, "read", "code")

    @contextlib.asynccontextmanager
    async def _local(self, who: Principal, id: str, right: Right, role: Role) -> AsyncIterator[Path]:
        found = await self.ask(
            who, lambda: list_files.asyncio_detailed(id, client=self._client, right=right, role=role)
        )
        kept = Files.model_validate_json(found).items
        folder = await asyncio.to_thread(_folder, self._scratch)
        try:
            for file in kept:
                await self._fetch(who, id, right, role, file, folder / safe_path(file.path))
            yield folder / safe_path(kept[0].path) if len(kept) == 1 else folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _fetch(self, who: Principal, id: str, right: Right, role: Role, file: OutputFile, target: Path) -> None:
        """One file into its place. Raises CorruptState for other bytes than were registered."""
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        request = get_file._get_kwargs(id, path=file.path, right=right, role=role)
        with target.open("wb") as into:
            async with self.stream(who, request) as answer:
                async for piece in answer.aiter_bytes(CHUNK):
                    await asyncio.to_thread(_take, into, digest, piece)
        if f"sha256:{digest.hexdigest()}" != file.stored.sha256:
            raise CorruptState(detail=f"{id}: the file {file.path!r} is not what was registered")

    async def began(self, job: Job) -> None:
        """See `Sharing.began`."""
        await self.ask(_author(job), lambda: job_began.asyncio_detailed(client=self._client, body=_sent(job)))

    async def trained(self, job: Job, output: Path, paths: Sequence[str], found: dict[str, Any]) -> Model:
        """See `Sharing.trained`. Temporary: the service has lost what was sent; send it again."""
        for path in paths:
            await self._put(job, output, path)
        sent = Trained.from_dict({"job": job.model_dump(mode="json"), "paths": list(paths), "found": found})
        made = await self.ask(_author(job), lambda: job_trained.asyncio_detailed(client=self._client, body=sent))
        return Model.model_validate_json(made)

    async def _put(self, job: Job, output: Path, path: str) -> None:
        request = put_output._get_kwargs(job.id, body=File(payload=BytesIO()), path=path)
        with os.fdopen(open_plain(output, path), "rb") as file:
            async with self.stream(_author(job), {**request, "content": _pieces(file)}):
                pass

    async def evaluated(self, job: Job, metrics: dict[str, Scalar]) -> Model:
        """See `Sharing.evaluated`."""
        sent = Evaluated.from_dict({"job": job.model_dump(mode="json"), "metrics": metrics})
        made = await self.ask(_author(job), lambda: job_evaluated.asyncio_detailed(client=self._client, body=sent))
        return Model.model_validate_json(made)

    async def judged(self, model: str, verdict: Verdict, note: str) -> Model:
        """See `Sharing.judged`."""
        sent = Judged(verdict=verdict, note=note)
        made = await self.ask(PLATFORM, lambda: model_judged.asyncio_detailed(model, client=self._client, body=sent))
        return Model.model_validate_json(made)

    async def translated(
        self, who: Principal, of: str, translation: Translation, onnx: Path, found: dict[str, Any], name: str = ""
    ) -> Model:
        """See `Sharing.translated`. Temporary: the service has lost what was sent; send it again."""
        file = new_id("up")
        request = put_translation._get_kwargs(file, body=File(payload=BytesIO()))
        with onnx.open("rb") as source:
            async with self.stream(who, {**request, "content": _pieces(source)}):
                pass
        told = {"translation": translation.model_dump(mode="json"), "file": file, "found": found, "name": name}
        sent = Translated.from_dict(told)
        made = await self.ask(who, lambda: model_translated.asyncio_detailed(of, client=self._client, body=sent))
        return Model.model_validate_json(made)

    async def snapshot(
        self, company: str, snapshot: Snapshot, name: str, weights: bytes, found: dict[str, Any]
    ) -> Model:
        """See `Sharing.snapshot`. Temporary: the service has lost what was sent; send it again."""
        who = Principal(company, "learning", "service", frozenset({"service"}))
        content = await self._content(who, BytesIO(weights))
        told = {"snapshot": snapshot.model_dump(mode="json"), "name": name, "content": content, "found": found}
        sent = Published.from_dict(told)
        made = await self.ask(who, lambda: put_snapshot.asyncio_detailed(client=self._client, body=sent))
        return Model.model_validate_json(made)

    async def _content(self, who: Principal, file: BinaryIO) -> str:
        """Send a file ahead of what is said of it; returns the name it waits under."""
        name = new_id("up")
        request = put_content._get_kwargs(name, body=File(payload=BytesIO()))
        async with self.stream(who, {**request, "content": _pieces(file)}):
            return name


if TYPE_CHECKING:

    def _fits(client: SharingClient) -> Sharing:
        return client


def _sent(job: Job) -> SentJob:
    return SentJob.from_dict(job.model_dump(mode="json"))


def _author(job: Job) -> Principal:
    return Principal(job.company, job.created_by, "service", frozenset({"service"}))


def _folder(scratch: Path | None) -> Path:
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(dir=scratch, prefix="content-"))


def _take(into: BinaryIO, digest: Any, piece: bytes) -> None:
    into.write(piece)
    digest.update(piece)


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, CHUNK):
        yield piece
