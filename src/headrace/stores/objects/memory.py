"""Objects in memory: a real member of the family for tests and embedding."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import UnknownObject
from headrace.states import digest


class MemoryObjects:
    """A dict."""

    def __init__(self, folder: Path | None = None) -> None:
        self._data: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        name = digest(data)
        self._data[name] = bytes(data)
        return name

    def get(self, digest_: str) -> bytes:
        try:
            return self._data[digest_]
        except KeyError as error:
            raise UnknownObject(name=digest_) from error

    def list(self) -> list[str]:
        return sorted(self._data)

    def delete(self, digest_: str) -> None:
        self._data.pop(digest_, None)
