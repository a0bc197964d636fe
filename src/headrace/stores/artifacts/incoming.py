"""One upload on its way to the disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from headrace.assets import Stored
from headrace.disk import unavailable
from headrace.errors import Conflict, StorageUnavailable, TooLarge, TooMany
from headrace.settings import ArtifactSettings
from headrace.stores.artifacts.blocks import BLOCK, Blocks, Hashes, Lanes, Value, outcome
from headrace.stores.artifacts.folder import Folder, Open, State

REMEMBERED = 64
"""Paused uploads whose hashes are kept in memory, so that going on costs no second reading: 32 bytes a MiB each."""


class Shared:
    """What all uploads of a store share. Touched on the event loop only."""

    def __init__(self, settings: ArtifactSettings) -> None:
        self.settings = settings
        self.used: dict[str, int] = {}
        """company -> bytes, for those whose folder was looked into."""
        self.hashes: OrderedDict[tuple[str, str], Hashes] = OrderedDict()
        self._lanes: list[Lanes] = []
        self._writers: Counter[str] = Counter()
        """company -> its writers."""

    def lanes(self, company: str) -> Lanes:
        """Threads for one more writer: a company may have half of those that the others have not. Raises TooMany."""
        own = self._writers[company]
        left = self.settings.writers - (self._writers.total() - own)
        if own >= (left + 1) // 2:
            raise TooMany(count=own, what="uploads of this company")
        self._writers[company] += 1
        return self._lanes.pop() if self._lanes else Lanes()

    def back(self, company: str, lanes: Lanes) -> None:
        """A writer is done."""
        self._writers[company] -= 1
        self._writers += Counter()  # companies without any are not remembered
        self._lanes.append(lanes)

    def charge(self, company: str, count: int) -> None:
        """Count bytes. Raises TooLarge."""
        used, quota = self.used.get(company, 0) + count, self.settings.quota
        if quota and count > 0 and used > quota:
            raise TooLarge(what=f"all that {company} keeps", size=used, limit=quota, setting="--company-quota")
        self.used[company] = used

    def remember(self, key: tuple[str, str], hashes: Hashes) -> None:
        """Keep the hashes of a paused upload."""
        self.hashes[key] = hashes
        if len(self.hashes) > REMEMBERED:
            self.hashes.popitem(last=False)


class FileIncoming:
    """The writer of one open upload."""

    def __init__(
        self, shared: Shared, lanes: Lanes, company: str, folder: Folder, opened: Open, file: IO[bytes], hashes: Hashes
    ) -> None:
        self._shared, self._company, self._folder, self._open, self._file = shared, company, folder, opened, file
        self._hashes, self._lanes = hashes, lanes
        self._blocks = Blocks(file.fileno(), hashes, lanes, self._written)
        self._durable = self._charged = opened.offset
        self._over = False
        self._stored: Stored | None = None
        self._ending, self._freed = False, 0
        self._marked = (opened.offset, time.monotonic())

    @property
    def offset(self) -> int:
        return self._durable if self._over else self._blocks.taken

    async def write(self, data: bytes) -> None:
        if self._over:
            raise Conflict(detail=f"upload {self._open.upload!r} takes nothing more: it was ended, or has failed")
        self._shared.charge(self._company, len(data))
        self._charged += len(data)
        try:
            await self._blocks.write(data)
        except OSError as error:
            await self._fail()
            raise _named(error) from error

    async def pause(self) -> int:
        await self._cut_off()
        if not self._over:
            try:
                await self._blocks.end(lambda: self._keep(self._hashes.size))
            except OSError:
                await self._fail()
            else:
                self._shared.remember((self._company, self._open.upload), self._hashes)
                await self._leave()
        return self._durable

    async def finish(self) -> Stored:
        await self._cut_off()
        if self._stored is None:
            if self._over:
                raise Conflict(detail=f"upload {self._open.upload!r} was ended, or has failed: go on with it first")
            self._ending = True
            try:
                await self._blocks.end(self._place)
            except OSError as error:
                await self._fail()
                raise _named(error) from error
            await self._leave()
        assert self._stored is not None
        return self._stored

    async def _cut_off(self) -> None:
        """The caller of an earlier `finish` may have been cancelled; in the writing thread it goes on all the same."""
        if self._ending and not self._over:
            await self._job(lambda: None)  # after it
            if self._stored is not None:
                await self._leave()

    def _place(self) -> None:
        """In the writing thread."""
        stored = self._hashes.stored()
        freed = self._folder.place(self._open, stored, self._hashes.tree.leaves())
        self._file.close()
        self._stored, self._durable, self._freed = stored, stored.size, freed

    async def _job(self, job: Callable[[], Value]) -> Value:
        return await outcome(self._lanes.disk.submit(job))

    def _written(self, count: int) -> None:
        """In the writing thread: from time to time, note that what was written is on stable storage."""
        size, since = self._marked
        settings = self._shared.settings
        late = time.monotonic() - since >= settings.checkpoint_seconds
        if self._open.state is not None and (count - size >= settings.checkpoint_bytes or late):
            os.fdatasync(self._file.fileno())
            self._keep(count)

    def _keep(self, count: int) -> None:
        state = self._open.state or State()
        state.offset = count
        self._folder.keep(self._open.upload, state)
        self._open.state = state
        self._durable = count
        self._marked = (count, time.monotonic())

    async def _fail(self) -> None:
        """Cut off what is not known to be durable, and free its room."""
        with contextlib.suppress(OSError):
            await self._job(lambda: os.ftruncate(self._file.fileno(), self._durable))
        await self._leave()

    async def _leave(self) -> None:
        self._over = True
        self._shared.charge(self._company, self._durable - self._charged)  # what was not taken after all
        self._shared.charge(self._company, -self._freed)  # what was there already
        self._shared.back(self._company, self._lanes)
        if not self._file.closed:
            await self._job(self._file.close)  # after all that was asked of it


class Finished:
    """An upload that was finished before."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    @property
    def offset(self) -> int:
        return self._stored.size

    async def write(self, data: bytes) -> None:
        raise Conflict(detail="the upload is whole already")

    async def pause(self) -> int:
        return self._stored.size

    async def finish(self) -> Stored:
        return self._stored


def _named(error: OSError) -> Exception:
    return StorageUnavailable(detail=str(error.strerror)) if unavailable(error) else error


async def rehashed(file: IO[bytes], size: int) -> Hashes:
    """The hashes of what an upload has on the disk, both at the same time."""
    hashes = Hashes()
    hashes.size = size
    if not size:
        return hashes

    def read(update: Callable[[memoryview], None]) -> None:
        buffer, at = memoryview(bytearray(min(BLOCK, size))), 0
        while at < size:
            count = os.preadv(file.fileno(), [buffer[: size - at]], at)
            update(buffer[:count])
            at += count

    with ThreadPoolExecutor(2, thread_name_prefix="artifacts-again") as pool:
        jobs = [pool.submit(read, each) for each in (hashes.whole.update, hashes.tree.update)]
        await asyncio.gather(*map(outcome, jobs))
    return hashes
