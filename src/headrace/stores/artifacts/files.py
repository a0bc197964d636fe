"""Artifacts in folders, one per company; see `folder.py` for what is where.

Threads wait for the disk; the event loop never does. Identical content is kept once per company, and once more for another
company: whoever uploads something must not be able to find out that somebody else has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from headrace.assets import Stored
from headrace.settings import ArtifactSettings
from headrace.stores.artifacts import Incoming, Upload, names
from headrace.stores.artifacts.folder import Folder
from headrace.stores.artifacts.incoming import FileIncoming, Finished, Shared, rehashed
from headrace.stores.artifacts.reading import Leaves, given, whole

EVERY = 600.0
"""Seconds between looks for expired uploads of a company."""


class FileArtifacts:
    """Artifacts under `path`, written by one process."""

    def __init__(self, path: Path, settings: ArtifactSettings | None = None) -> None:
        self._path, self._settings = path, settings or ArtifactSettings()
        self._shared = Shared(self._settings)
        self._folders: dict[str, Folder] = {}
        self._looked: dict[str, float] = {}
        self._opening = asyncio.Lock()

    async def receive(self, company: str, upload: str, about: Mapping[str, str] | None = None) -> Incoming:
        folder = await self._folder(company)
        names.upload(upload)
        lanes = self._shared.lanes(company)
        incoming: Incoming | None = None
        try:
            opened = await asyncio.to_thread(folder.open, upload, about, self._settings.uploads)
            if opened.file is None:
                return Finished(opened.finished())
            self._shared.charge(company, -opened.cut)
            try:
                hashes = self._shared.hashes.pop((company, upload), None)
                if hashes is None or hashes.size != opened.offset:
                    hashes = await rehashed(opened.file, opened.offset)
                incoming = FileIncoming(self._shared, lanes, company, folder, opened, opened.file, hashes)
            except BaseException:
                opened.file.close()
                raise
            return incoming
        finally:
            if incoming is None:
                self._shared.back(company, lanes)

    async def upload(self, company: str, upload: str) -> Upload:
        folder = await self._folder(company)
        names.upload(upload)
        return await asyncio.to_thread(folder.known, upload)

    async def discard(self, company: str, upload: str) -> None:
        folder = await self._folder(company)
        freed = await asyncio.to_thread(folder.discard, names.upload(upload))
        self._shared.hashes.pop((company, upload), None)
        self._shared.charge(company, -freed)

    async def read(self, company: str, stored: Stored, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        folder, name = await self._folder(company), names.hexadecimal(stored.sha256)
        file = await asyncio.to_thread(folder.content, name)
        try:
            leaves = await asyncio.to_thread(lambda: Leaves(file, stored, folder.leaves(name)))
            end = stored.size if stop is None else min(stop, stored.size)
            pieces = given(leaves, max(0, start), end)
            try:
                async for piece in pieces:
                    yield piece
            finally:
                await pieces.aclose()
        finally:
            file.close()

    @asynccontextmanager
    async def local(self, company: str, stored: Stored) -> AsyncIterator[Path]:
        folder, name = await self._folder(company), names.hexadecimal(stored.sha256)
        link, file = await asyncio.to_thread(folder.lend, name)
        try:
            await asyncio.to_thread(whole, file, stored)
            yield link
        finally:
            await asyncio.to_thread(folder.back, link, file)

    async def delete(self, company: str, sha256: str) -> None:
        folder = await self._folder(company)
        self._shared.charge(company, -await asyncio.to_thread(folder.delete, names.hexadecimal(sha256)))

    async def list(self, company: str) -> list[str]:
        folder = await self._folder(company)
        return [f"sha256:{name}" for name in await asyncio.to_thread(folder.list)]

    async def room(self, company: str) -> int | None:
        await self._folder(company)
        quota = self._settings.quota
        return max(0, quota - self._shared.used.get(company, 0)) if quota else None

    async def forget(self, company: str) -> None:
        folder = await self._folder(company)
        await asyncio.to_thread(folder.empty)
        for key in [key for key in self._shared.hashes if key[0] == company]:
            del self._shared.hashes[key]
        self._shared.used[company] = 0

    async def _folder(self, company: str) -> Folder:
        async with self._opening:
            if company not in self._folders:
                folder = Folder(self._path / names.company(company))
                await asyncio.to_thread(folder.make)
                self._shared.used[company] = await asyncio.to_thread(folder.used)
                self._folders[company] = folder
        await self._look(company, self._folders[company])
        return self._folders[company]

    async def _look(self, company: str, folder: Folder) -> None:
        """Forget what expired, now and then."""
        now = time.monotonic()
        if now - self._looked.get(company, -EVERY) >= EVERY:
            self._looked[company] = now
            self._shared.charge(company, -await asyncio.to_thread(folder.expire, self._settings.upload_age))
