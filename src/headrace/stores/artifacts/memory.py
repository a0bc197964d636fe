"""Artifacts in memory: a real member of the family for tests and embedding."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headrace.assets import LEAF, Stored
from headrace.errors import Conflict, CorruptState, TooLarge, UnknownObject
from headrace.merkle import Tree, named
from headrace.settings import ArtifactSettings
from headrace.stores.artifacts import Incoming, Upload, names


@dataclass
class _Upload:
    data: bytearray = field(default_factory=bytearray)
    about: dict[str, str] | None = None
    stored: Stored | None = None
    written: bool = False
    """It has a writer."""


class MemoryArtifacts:
    """Dictionaries."""

    def __init__(self, path: Path | None = None, settings: ArtifactSettings | None = None) -> None:
        self._quota = (settings or ArtifactSettings()).quota
        self._uploads: dict[tuple[str, str], _Upload] = {}
        self._contents: dict[tuple[str, str], bytes] = {}

    async def receive(self, company: str, upload: str, about: Mapping[str, str] | None = None) -> Incoming:
        key = (names.company(company), names.upload(upload))
        found = self._uploads.setdefault(key, _Upload())
        if found.written:
            raise Conflict(detail=f"upload {upload!r} is being written by another request")
        if about is not None:
            found.about = dict(about)
        found.written = found.stored is None
        return _Incoming(self, key, found)

    async def upload(self, company: str, upload: str) -> Upload:
        found = self._uploads.get((names.company(company), names.upload(upload)))
        if found is None or found.about is None:
            raise UnknownObject(name=upload)
        return Upload(found.stored.size if found.stored else len(found.data), found.about)

    async def discard(self, company: str, upload: str) -> None:
        key = (names.company(company), names.upload(upload))
        if key in self._uploads and self._uploads[key].written:
            raise Conflict(detail=f"upload {upload!r} is being written by another request")
        self._uploads.pop(key, None)

    async def read(self, company: str, stored: Stored, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        data = self._content(company, stored)
        end = stored.size if stop is None else min(stop, stored.size)
        for begin in range(max(0, start), end, LEAF):
            yield data[begin : min(begin + LEAF, end)]

    @asynccontextmanager
    async def local(self, company: str, stored: Stored) -> AsyncIterator[Path]:
        data = self._content(company, stored)
        with tempfile.TemporaryDirectory(prefix="headrace-lent-") as folder:
            path = Path(folder) / "content"
            path.write_bytes(data)
            path.chmod(0o444)
            yield path

    async def delete(self, company: str, sha256: str) -> None:
        self._contents.pop((names.company(company), names.hexadecimal(sha256)), None)

    async def list(self, company: str) -> list[str]:
        wanted = names.company(company)
        return sorted(f"sha256:{name}" for owner, name in self._contents if owner == wanted)

    async def room(self, company: str) -> int | None:
        return max(0, self._quota - self._used(names.company(company))) if self._quota else None

    def _used(self, company: str) -> int:
        held = [each.data for (owner, _), each in self._uploads.items() if owner == company]
        kept = [data for (owner, _), data in self._contents.items() if owner == company]
        return sum(map(len, held)) + sum(map(len, kept))

    async def forget(self, company: str) -> None:
        wanted = names.company(company)
        self._uploads = {key: one for key, one in self._uploads.items() if key[0] != wanted}
        self._contents = {key: one for key, one in self._contents.items() if key[0] != wanted}

    def charge(self, company: str, count: int) -> None:
        """Whether there is room for more bytes. Raises TooLarge."""
        used = self._used(company) + count
        if self._quota and used > self._quota:
            raise TooLarge(what=f"all that {company} keeps", size=used, limit=self._quota, setting="--company-quota")

    def place(self, key: tuple[str, str], upload: _Upload) -> Stored:
        """Make an upload a content. Raises UnknownObject: its company was forgotten."""
        if self._uploads.get(key) is not upload:
            raise UnknownObject(name=key[1])
        tree, data = Tree(), bytes(upload.data)
        tree.update(data)
        name = hashlib.sha256(data).hexdigest()
        self._contents[key[0], name] = data
        upload.stored = Stored(size=len(data), sha256=f"sha256:{name}", root=named(tree.root()))
        upload.data.clear()
        if upload.about is None:
            self._uploads.pop(key, None)
        return upload.stored

    def _content(self, company: str, stored: Stored) -> bytes:
        data = self._contents.get((names.company(company), names.hexadecimal(stored.sha256)))
        if data is None:
            raise UnknownObject(name=stored.sha256)
        tree = Tree()
        tree.update(data)
        if (len(data), named(tree.root())) != (stored.size, stored.root):
            raise CorruptState(detail=f"{stored.sha256} is not what the record says: another size or Merkle root")
        return data


class _Incoming:
    def __init__(self, store: MemoryArtifacts, key: tuple[str, str], upload: _Upload) -> None:
        self._store, self._key, self._upload = store, key, upload
        self._over = upload.stored is not None

    @property
    def offset(self) -> int:
        return self._upload.stored.size if self._upload.stored else len(self._upload.data)

    async def write(self, data: bytes) -> None:
        if self._over:
            raise Conflict(detail=f"upload {self._key[1]!r} takes nothing more: it was ended")
        self._store.charge(self._key[0], len(data))
        self._upload.data += data

    async def pause(self) -> int:
        if not self._over:
            self._over, self._upload.written = True, False
        return self.offset

    async def finish(self) -> Stored:
        if self._upload.stored is None:
            if self._over:
                raise Conflict(detail=f"upload {self._key[1]!r} was ended: go on with it first")
            self._store.place(self._key, self._upload)
        self._over, self._upload.written = True, False
        assert self._upload.stored is not None
        return self._upload.stored
