"""Objects: bytes under the digest of their content. What is named by its content can be checked, and never changes."""

from __future__ import annotations

from typing import Protocol

from headrace.plugins import Family


class Objects(Protocol):
    """A content-addressed store. Digests look like ``sha256:<64 hex digits>``."""

    def put(self, data: bytes) -> str:
        """Store bytes durably; returns their digest. Storing the same bytes twice is harmless."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes, checked against their digest. Raises UnknownObject, CorruptState."""
        ...

    def list(self) -> list[str]:
        """Every digest."""
        ...

    def delete(self, digest: str) -> None:
        """Forget the bytes; unknown digests are fine."""
        ...


OBJECTS = Family(
    "objects",
    {"files": "headrace.stores.objects.files:FileObjects", "memory": "headrace.stores.objects.memory:MemoryObjects"},
)
