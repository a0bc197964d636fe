"""Bodies of the registering routes: a form with one file, or JSON that names a resumable upload that came whole."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from fastapi import Request
from pydantic import ValidationError

from headrace.access import Principal
from headrace.assets import Stored
from headrace.errors import BadInput, Conflict, TooLarge
from headrace.services.documents import sentence
from headrace.services.http import header, read_body
from headrace.services.sharing.multipart import METADATA, take_in
from headrace.services.sharing.requests import NewDataset, NewModel, Take
from headrace.services.sharing.uploads import completed
from headrace.stores.artifacts import Artifacts, Incoming

New = TypeVar("New", NewDataset, NewModel)


@dataclass(frozen=True)
class Arrived(Generic[New]):
    """What came, all of it; `take` makes it a content."""

    new: New
    filename: str
    take: Take


@contextlib.asynccontextmanager
async def arrived(
    request: Request,
    who: Principal,
    artifacts: Artifacts,
    kind: type[New],
    busy: set[tuple[str, str]],
    largest: int = 0,
) -> AsyncIterator[Arrived[New]]:
    """The body of a registration, for as long as it takes; if that fails a form's file is forgotten, and a resumable
    upload that was not taken can be used again.

    Args:
        busy: uploads that are being registered; each makes one asset.
        largest: bytes of the largest file of a form; 0: any.

    Raises BadInput, NotFound, Conflict, StorageUnavailable, TooLarge.
    """
    if header(request.scope, b"content-type").partition(b";")[0].strip().lower() == b"application/json":
        body = await read_body(request.scope, request.receive, METADATA, "nothing")
        new = checked(kind, body)
        if not new.upload:
            raise BadInput(
                detail="in JSON `upload` names a finished upload; a file itself comes as multipart/form-data"
            )
        async with _claimed(busy, (who.company, new.upload)):
            done = await completed(artifacts, who, new.upload)
            taking = _Taking(done.incoming)
            try:
                about = (await artifacts.upload(who.company, done.id)).about
                if str(done.incoming.offset) != about["length"]:
                    raise Conflict(
                        detail=f"upload {done.id!r} was lost with a registration that was cut off; send it again"
                    )
                yield Arrived(new, done.filename, taking.take)
            finally:
                await done.incoming.pause()
                if taking.taken:
                    await artifacts.discard(who.company, done.id)
        return
    deferred = _Deferred(artifacts, largest)
    found = await take_in(
        request.scope,
        request.receive,
        cast(Artifacts, deferred),
        who.company,
        lambda metadata, part: _fitting(checked(kind, metadata), part),
        ("file",) if kind is NewDataset else ("file", "code"),
    )
    try:
        yield Arrived(found.metadata, found.filename, deferred.take)
    except BaseException:
        await deferred.drop()
        raise


@dataclass(frozen=True)
class Sent:
    """A form of a program that is not ours."""

    metadata: bytes
    """As it came; ``{}`` if it did not."""
    filename: str
    take: Take


@contextlib.asynccontextmanager
async def sent(
    request: Request, who: Principal, artifacts: Artifacts, parts: tuple[str, ...], largest: int = 0
) -> AsyncIterator[Sent]:
    """A form with one file, and `metadata` before it, after it, or not at all. Raises as `arrived`."""
    deferred = _Deferred(artifacts, largest)
    found = await take_in(
        request.scope,
        request.receive,
        cast(Artifacts, deferred),
        who.company,
        lambda metadata, _: metadata,
        parts,
        otherwise=b"{}",
    )
    try:
        yield Sent(found.metadata, found.filename, deferred.take)
    except BaseException:
        await deferred.drop()
        raise


@contextlib.asynccontextmanager
async def _claimed(busy: set[tuple[str, str]], upload: tuple[str, str]) -> AsyncIterator[None]:
    if upload in busy:
        raise Conflict(detail=f"upload {upload[1][:80]!r} is being registered already")
    busy.add(upload)
    try:
        yield
    finally:
        busy.discard(upload)


def checked(kind: type[New], body: bytes) -> New:
    """Metadata. Raises BadInput, with all that is wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise BadInput(detail=sentence(error.errors())) from error


def _fitting(new: New, part: str) -> New:
    """Said before the file comes: a recipe comes with its code, everything else with a file."""
    wanted = "code" if isinstance(new, NewModel) and new.recipe is not None else "file"
    if part != wanted:
        raise BadInput(detail=f"a model with{'' if wanted == 'code' else 'out'} a recipe comes with a part {wanted!r}")
    if new.upload:
        raise BadInput(detail="the file is in the form: `upload` is for JSON without one")
    return new


class _Taking:
    """Remembers whether an upload became a content."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming, self.taken = incoming, False

    async def take(self) -> Stored:
        stored = await self._incoming.finish()
        self.taken = True
        return stored


class _Deferred:
    """A store for `take_in` that leaves the last step, which makes a content of an upload, to the hub: it takes that step
    when no content can be removed meanwhile."""

    def __init__(self, artifacts: Artifacts, largest: int) -> None:
        self._artifacts, self._largest, self._size = artifacts, largest, 0
        self._place = ("", "")
        self._incoming: Incoming | None = None

    async def receive(self, company: str, upload: str) -> _Deferred:
        self._incoming, self._place = await self._artifacts.receive(company, upload), (company, upload)
        return self

    async def write(self, data: bytes) -> None:
        assert self._incoming is not None
        self._size += len(data)
        if self._largest and self._size > self._largest:
            raise TooLarge(what="the file", size=f"over {self._largest}", limit=self._largest, setting="--upload-limit")
        await self._incoming.write(data)

    async def pause(self) -> int:
        return await self._incoming.pause() if self._incoming is not None else 0

    async def finish(self) -> None:
        """Not yet."""

    async def discard(self, company: str, upload: str) -> None:
        await self._artifacts.discard(company, upload)

    async def take(self) -> Stored:
        assert self._incoming is not None
        return await self._incoming.finish()

    async def drop(self) -> None:
        await self.pause()
        await self.discard(*self._place)
