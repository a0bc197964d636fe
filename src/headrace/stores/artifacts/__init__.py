"""Artifacts: content of any size, per company, taken in piece by piece and given out leaf by leaf.

A content is named by its digest (``sha256:…`` of the whole) inside one company. Beside it stand its Merkle leaves, so that
a reader of the 900th megabyte need not hash the 899 before it, and never gets a byte that was not checked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from headrace.assets import Stored
from headrace.plugins import Family


class Incoming(Protocol):
    """One content on its way in. It can be left and opened again later: what `offset` says is on stable storage."""

    @property
    def offset(self) -> int:
        """Bytes taken in so far."""
        ...

    async def write(self, data: bytes) -> None:
        """Take in the next bytes; hashed while they are written. Raises StorageUnavailable."""
        ...

    async def pause(self) -> int:
        """Make durable what came so far, let go of files; returns the offset."""
        ...

    async def finish(self) -> Stored:
        """Make the whole durable and put it in its place: from now on it can be read. Raises StorageUnavailable."""
        ...


class Artifacts(Protocol):
    """A store of large contents. Company names are plain words (letters, digits, ``-``); everything else is NotFound."""

    async def receive(self, company: str, upload: str) -> Incoming:
        """Begin the upload of that id, or go on with it where it stopped."""
        ...

    async def discard(self, company: str, upload: str) -> None:
        """Forget an upload that was not finished; unknown ones are fine."""
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


ARTIFACTS = Family("artifacts", {"files": "headrace.stores.artifacts.files:FileArtifacts"})
