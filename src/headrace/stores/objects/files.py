"""Objects in a folder: ``ab/cdef…`` files, written beside their place and renamed into it."""

from __future__ import annotations

import re
from pathlib import Path

from headrace.disk import write_whole
from headrace.errors import CorruptState, UnknownObject
from headrace.states import digest

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class FileObjects:
    """Objects under `folder`; safe for several processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        name = digest(data)
        path = self._path(name)
        if path.exists():
            return name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
        return name

    def get(self, digest_: str) -> bytes:
        try:
            data = self._path(digest_).read_bytes()
        except FileNotFoundError as error:
            raise UnknownObject(name=digest_) from error
        if digest(data) != digest_:
            raise CorruptState(detail=f"object {digest_} was changed on disk: its content has another digest")
        return data

    def size(self, digest_: str) -> int:
        """Bytes of an object, without reading it. Raises UnknownObject."""
        try:
            return self._path(digest_).stat().st_size
        except FileNotFoundError as error:
            raise UnknownObject(name=digest_) from error

    def list(self) -> list[str]:
        return sorted(
            f"sha256:{path.parent.name}{path.name}" for path in self._folder.glob("[0-9a-f][0-9a-f]/[0-9a-f]*")
        )

    def delete(self, digest_: str) -> None:
        self._path(digest_).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        match = _DIGEST.fullmatch(name)
        if match is None:
            raise UnknownObject(name=name)
        return self._folder / match[1][:2] / match[1][2:]
