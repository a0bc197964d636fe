"""Artifacts: content of any size, per company, taken in piece by piece and given out leaf by leaf.

A content is named by its digest (``sha256:…`` of the whole) inside one company. Beside it stand its Merkle leaves, so that
a reader of the 900th megabyte need not hash the 899 before it, and never gets a byte that was not checked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from headrace.assets import Stored
from headrace.plugins import Family


class Upload(NamedTuple):
    """What is known of an upload that began and was not forgotten."""

    offset: int
    """Bytes of it on stable storage."""
    about: Mapping[str, str]
    """What was said of it."""


class Incoming(Protocol):
    """One content on its way in. It has one writer, who ends with `finish` or `pause`; later another may go on."""

    @property
    def offset(self) -> int:
        """Bytes taken in so far; after `pause`, or an error, those that are on stable storage."""
        ...

    async def write(self, data: bytes) -> None:
        """Take in the next bytes; hashed while they are written.

        Raises StorageUnavailable (what is durable stays, and the upload can go on later), TooLarge (the company's quota).
        """
        ...

    async def pause(self) -> int:
        """Make durable what came so far, let go of files; returns the offset. Fine after an error, and twice."""
        ...

    async def finish(self) -> Stored:
        """Make the whole durable and put it in its place: from now on it can be read. Raises StorageUnavailable.

        Of an upload that began with `about` the answer is kept until `discard`: finishing it again gives the same.
        """
        ...


class Artifacts(Protocol):
    """A store of large contents. Company names are plain words (letters, digits, ``-``), uploads also have ``_``; anything
    else is NotFound. Nothing of one company is ever shared with another, nor told from another's.
    """

    async def receive(self, company: str, upload: str, about: Mapping[str, str] | None = None) -> Incoming:
        """Begin the upload of that id, or go on with it where it stopped. Raises Conflict: it has a writer.

        Args:
            about: kept with the upload, instead of what was said before, and on stable storage when this returns.
        """
        ...

    async def upload(self, company: str, upload: str) -> Upload:
        """How far an upload has come, while it is written too. Raises UnknownObject."""
        ...

    async def discard(self, company: str, upload: str) -> None:
        """Forget an upload, not what it was finished to; unknown ones are fine. Raises Conflict: it has a writer."""
        ...

    def read(self, company: str, stored: Stored, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, each leaf checked before its first byte is given.

        Raises UnknownObject; CorruptState at the first leaf that is not what was stored.
        """
        ...

    def local(self, company: str, stored: Stored) -> AbstractAsyncContextManager[Path]:
        """A read-only file with the whole, checked content, for as long as the context lasts."""
        ...

    async def delete(self, company: str, sha256: str) -> None:
        """Forget a content; unknown ones are fine."""
        ...

    async def list(self, company: str) -> list[str]:
        """Digests of every content of a company."""
        ...

    async def room(self, company: str) -> int | None:
        """Bytes a company may still keep; None: no quota."""
        ...

    async def forget(self, company: str) -> None:
        """Forget all contents and uploads of a company, also those that are being written: they come to nothing."""
        ...


ARTIFACTS = Family(
    "artifacts",
    {
        "files": "headrace.stores.artifacts.files:FileArtifacts",
        "memory": "headrace.stores.artifacts.memory:MemoryArtifacts",
    },
)
