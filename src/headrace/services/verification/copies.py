"""Bundles on the disk while they are sent: one file of the same, whoever asks for it, and never the last of the disk.

They are in no company's quota: each is a copy of what is stored, and goes when the last who reads it has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path

from headrace.errors import StorageUnavailable, TooMany, size_of

COMPANY_BYTES = 2**30
"""Bytes of the bundles that are there for one company. A single one may be larger."""
SPARE = 2**30
"""Bytes of the disk that bundles leave free, or a twentieth of a small one: what is sent by devices needs them."""


@dataclass(eq=False)
class _Copy:
    size: int
    folder: Path | None = None
    made: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who makes it; the next tries again if he fails or goes away."""
    readers: list[str] = field(default_factory=list)
    """Companies."""


class Copies:
    """Not for several threads.

    Args:
        scratch: folder for them; None: the system's.
    """

    def __init__(self, scratch: Path | None) -> None:
        self._scratch = scratch
        self._copies: dict[Hashable, _Copy] = {}

    @contextlib.asynccontextmanager
    async def copy(
        self,
        company: str,
        what: Hashable,
        name: str,
        size: int,
        make: Callable[[Path], Awaitable[None]],
        share: Callable[[], Awaitable[None]],
    ) -> AsyncIterator[Path]:
        """A file, for as long as the context lasts.

        Args:
            what: the same file is the same.
            size: bytes of it, about.
            make: writes it, if it is not there.
            share: is asked when it is there; raises if the company may not have it.

        Raises TooMany: too much is there for this company. StorageUnavailable: it would fill the disk.
        """
        self._admit(company, what, size)
        copy = self._copies.setdefault(what, _Copy(size))
        copy.readers.append(company)
        try:
            async with copy.lock:
                if copy.made:
                    await share()
                else:
                    await self._make(copy, name, make)
            assert copy.folder is not None
            yield copy.folder / name
        finally:
            copy.readers.remove(company)
            if not copy.readers:
                del self._copies[what]
                if copy.folder is not None:
                    await asyncio.to_thread(shutil.rmtree, copy.folder, ignore_errors=True)

    def _admit(self, company: str, what: Hashable, size: int) -> None:
        mine = [copy.size for key, copy in self._copies.items() if company in copy.readers and key != what]
        if mine and sum(mine) + size > COMPANY_BYTES:
            raise TooMany(count=len(mine), what="bundles of large assets of your company")

    async def _make(self, copy: _Copy, name: str, make: Callable[[Path], Awaitable[None]]) -> None:
        if copy.folder is None:
            copy.folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._scratch, prefix="bundle-"))
        coming = sum(other.size for other in self._copies.values() if other.folder is not None and not other.made)
        disk = await asyncio.to_thread(shutil.disk_usage, copy.folder)
        if disk.free - coming < min(SPARE, disk.total // 20):
            raise StorageUnavailable(detail=f"the disk has no room for a bundle of {size_of(copy.size)}")
        await make(copy.folder / name)
        copy.made = True
