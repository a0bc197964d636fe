"""Contents given out: to a job as files, to a caller as a stream that ends when his right ends."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from sqlalchemy import Connection, insert, select

from headrace.access import Principal
from headrace.assets import Dataset, OutputFile, Right, Stored
from headrace.errors import NotFound, UnknownAsset
from headrace.services.sharing import Role, auditing
from headrace.services.sharing.comparing import Comparing
from headrace.services.sharing.fence import Asset, Fence
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.tables import files
from headrace.stores.database import Inserting

_put = Inserting(insert(files), *files.c.keys())
AGAIN = 1.0
"""Seconds after which a download under way asks again whether it still may; a change in this process asks at once."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a caller may download now."""

    id: str
    owner: str
    filename: str
    files: Sequence[OutputFile]
    """One: that file; several: they go into a zip."""
    who: Principal
    right: Right = "read"
    own: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    """What was looked up last for somebody who reads one file after the other."""

    key: tuple[Principal, str, Right, Role]
    opened: Opened
    files: Mapping[str, OutputFile]
    changes: int
    looked: float = field(default_factory=time.monotonic)

    def holds(self, changes: int) -> bool:
        """Whether it may still be believed."""
        return changes == self.changes and time.monotonic() - self.looked < AGAIN


class Contents:
    """Reads what is stored for those who may."""

    def __init__(self, hub: Hub, comparing: Comparing) -> None:
        self._hub, self._comparing = hub, comparing
        self._known: _Known | None = None

    async def open(
        self,
        who: Principal,
        id: str,
        path: str = "",
        role: str = "",
        right: Right = "read",
        own: bool = False,
        noted: bool = True,
    ) -> Opened:
        """Look up a download, and write it down.

        Args:
            path: one file of a model; "": all.
            role: "raw": the records a dataset was made of; "code": the archive of a model's recipe.
            own: only of what is his company's, whatever was granted: `Sharing.code`.
            noted: false: that he did was written down when he asked for all.

        Raises UnknownAsset, NotFound, Forbidden; as `Comparing.check` does.
        """
        await self.compared(who, id, right, own, role, path)

        def write(connection: Connection) -> Opened:
            now = self._hub.clock()
            asset = _allowed(Fence(connection, who, now), id, right, own)
            who.require("read")
            found = _files(connection, id, role or _role(asset), path)
            detail = path or role
            if noted:
                action = "download" if right == "read" else right
                auditing.note(connection, now, who, action, id, asset.company, detail=detail)
            name = PurePosixPath(found[0].path).name if len(found) == 1 else f"{id}.zip"
            return Opened(id, asset.company, name, found, who, right, own)

        async with self._hub.refusing(who, "download", id):
            return await self._hub.book.write(write)

    async def kept(self, who: Principal, id: str, right: Right, role: Role, path: str = "") -> Opened:
        """What services look up; that of one file after that of all is not written down again. As `open`."""
        own, kept = role == "code", "" if role == "content" else role
        return await self.open(who, id, path, kept, right, own=own, noted=not own and not path)

    async def piece(self, who: Principal, id: str, right: Right, role: Role, path: str) -> AsyncIterator[bytes]:
        """The bytes of one file of many, for services that read all: what was found and compared of all is believed for a moment,
        or each file would cost as much as all. Raises as `open` and `read` do."""
        key, known = (who, id, right, role), self._known
        if known is None or known.key != key or not known.holds(self._hub.changes):
            changes, kept = self._hub.changes, "" if role == "content" else role
            all_ = await self.open(who, id, "", kept, right, own=role == "code", noted=False)
            known = self._known = _Known(key, all_, {one.path: one for one in all_.files}, changes)
        file = known.files.get(safe_path(path).as_posix())
        if file is None:
            raise NotFound(detail=f"{id} has no {path}")
        one = replace(known.opened, files=[file])
        source = self._hub.artifacts.read(one.owner, file.stored)
        async for chunk in self._watched(one, source, known.changes, known.looked):
            yield chunk

    def read(self, opened: Opened, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of a single file from `start` to `stop`. Raises Forbidden or NotFound once he may no more, before the
        next leaf; CorruptState at the first leaf that is not what was stored."""
        one = opened.files[0].stored
        return self._watched(opened, self._hub.artifacts.read(opened.owner, one, start, stop))

    async def zipped(self, opened: Opened) -> AsyncIterator[bytes]:
        """All files as a zip, stored and not compressed; the same bytes each time. Raises as `read` does."""
        sink = _Sink()
        with zipfile.ZipFile(cast(BinaryIO, sink), "w") as archive:
            for file in opened.files:
                entry = zipfile.ZipInfo(file.path)  # of 1980
                entry.external_attr = 0o644 << 16
                with archive.open(entry, "w", force_zip64=True) as into:
                    source = self._hub.artifacts.read(opened.owner, file.stored)
                    async for chunk in self._watched(opened, source):
                        into.write(chunk)
                        yield sink.drain()
        yield sink.drain()

    async def _watched(
        self, opened: Opened, chunks: AsyncIterator[bytes], seen: int = -1, checked: float = 0.0
    ) -> AsyncIterator[bytes]:
        """The same, as long as he may have it.

        Args:
            seen, checked: changes of rights, and the time, when that was looked up last.
        """
        hub = self._hub
        async for chunk in chunks:
            if hub.changes != seen or time.monotonic() - checked > AGAIN:
                seen, checked = hub.changes, time.monotonic()
                async with hub.refusing(opened.who, "download", opened.id):
                    await hub.book.read(
                        lambda c: _allowed(Fence(c, opened.who, hub.clock()), opened.id, opened.right, opened.own)
                    )
            yield chunk

    @contextlib.asynccontextmanager
    async def local(self, who: Principal, id: str, right: Right, role: str = "") -> AsyncIterator[Path]:
        """See `Sharing.content`; with role "code" the code archive."""
        await self.compared(who, id, right, role == "code", role)

        def write(connection: Connection) -> tuple[str, list[OutputFile]]:
            now = self._hub.clock()
            fence = Fence(connection, who, now)
            asset = _allowed(fence, id, right, own=role == "code")
            kept = _files(connection, id, role or _role(asset))
            if role != "code":
                auditing.note(connection, now, who, right, id, asset.company)
            return asset.company, kept

        async with self._hub.refusing(who, right, id):
            owner, kept = await self._hub.book.write(write)
        async with contextlib.AsyncExitStack() as stack:
            if len(kept) == 1:
                yield await stack.enter_async_context(self._hub.artifacts.local(owner, kept[0].stored))
                return
            yield await stack.enter_async_context(self.folder(owner, kept))

    async def compared(
        self, who: Principal, id: str, right: Right, own: bool = False, role: str = "", path: str = ""
    ) -> Asset:
        """The record, which its rows and the ledger agree with, for whoever may have it. Raises as `open`."""

        def read(connection: Connection) -> tuple[Asset, str, list[OutputFile]]:
            asset = _allowed(Fence(connection, who, self._hub.clock()), id, right, own)
            who.require("read")
            wanted = role or _role(asset)
            _files(connection, id, wanted, path)
            return asset, wanted, _files(connection, id, wanted)

        async with self._hub.refusing(who, "download" if right == "read" else right, id):
            asset, wanted, kept = await self._hub.book.read(read)
        await self._comparing.check(who, asset, wanted, kept)
        return asset

    @contextlib.asynccontextmanager
    async def folder(self, company: str, kept: Sequence[OutputFile]) -> AsyncIterator[Path]:
        """A folder with copies of checked files, for as long as the context lasts."""
        made = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._hub.scratch, prefix="files-"))
        try:
            for file in kept:
                target = made / safe_path(file.path)
                async with self._hub.artifacts.local(company, file.stored) as source:
                    await asyncio.to_thread(_copy, source, target)
            yield made
        finally:
            await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)


def _allowed(fence: Fence, id: str, right: Right, own: bool) -> Asset:
    """The asset, if he may use it so, or it is his own."""
    return fence.own(id, "read the code of") if own else fence.allowed(id, right)


def _role(asset: Asset) -> str:
    return "data" if isinstance(asset, Dataset) else "output"


def safe_path(path: str) -> PurePosixPath:
    r"""A path among a model's files. Raises UnknownAsset for one that leads elsewhere.

    >>> safe_path("weights/a.bin").as_posix()
    'weights/a.bin'
    """
    found = PurePosixPath(path)
    plain = path and len(path) <= 1024 and found.as_posix() == path and not found.is_absolute()
    if not plain or ".." in found.parts or "\x00" in path or "\\" in path:
        raise UnknownAsset(kind="model", id=path[:80])
    return found


def needs(connection: Connection, id: str, company: str, role: str, kept: Sequence[OutputFile]) -> None:
    """Write down which contents an asset needs."""
    for file in kept:
        stored = file.stored
        row = {"asset": id, "role": role, "path": file.path, "company": company}
        _put(connection, {**row, "sha256": stored.sha256, "root": stored.root, "size": stored.size})


def _files(connection: Connection, id: str, role: str, path: str = "") -> list[OutputFile]:
    query = select(files).where(files.c.asset == id, files.c.role == role)
    if path:
        query = query.where(files.c.path == safe_path(path).as_posix())
    found = connection.execute(query.order_by(files.c.path)).mappings().all()
    if not found:
        raise NotFound(
            detail=f"{id} has no {path or 'content'}" + ("" if path else ": nothing was stored for it (yet)")
        )
    return [
        OutputFile(path=row["path"], stored=Stored(size=row["size"], sha256=row["sha256"], root=row["root"]))
        for row in found
    ]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


class _Sink:
    """Where the zip writes to: what it wrote last is taken away at once. It cannot seek."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._size = 0

    def write(self, data: bytes) -> int:
        self._data += data
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        pass

    def drain(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data
