"""What is deployed, on the disk: a JSON record of each deployment, and the models' bytes by digest.

Each file is written whole or not at all. A record, or bytes, that are not what was written make their one deployment say so.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from headrace.disk import write_whole
from headrace.errors import CorruptState, StorageUnavailable, Temporary
from headrace.services.learning.deployed.tensors import Port, impossible
from headrace.states import digest

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
RECORD = 2**20
"""Bytes of a record; one of 128 inputs and outputs has some 30,000."""


class Entry(msgspec.Struct, frozen=True):
    """What is known of a deployment."""

    name: str
    model: str
    """Id at the hub: the version."""
    digest: str
    """Of the model's bytes."""
    size: int
    providers: list[str]
    """As wanted, by short names."""
    provider: str
    """In use when it was applied."""
    inputs: list[Port]
    outputs: list[Port]
    applied_ms: int
    applied_by: str


class Shelf:
    """A folder of deployments. Its verbs block.

    Args:
        folder: made when something is put there first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def entries(self) -> tuple[list[Entry], dict[str, str]]:
        """(the records, why of each name that has none that can be read)."""
        found, wrong = [], {}
        for path in sorted(self._folder.glob("*.json")):
            name = path.name.removesuffix(".json")
            if _NAME.fullmatch(name) is None:
                continue
            try:
                found.append(_read(path, name))
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                wrong[name] = f"its record is damaged ({error}); apply it again"
        return found, wrong

    def add(self, data: bytes) -> None:
        """Keep a model's bytes. Raises StorageUnavailable."""
        name = digest(data)
        path = self._bytes(name)
        with _stored():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if not (path.is_file() and path.stat().st_size == len(data) and digest(path.read_bytes()) == name):
                write_whole(path, data)

    def put(self, entry: Entry) -> None:
        """Write a record. Raises StorageUnavailable."""
        with _stored():
            write_whole(self._record(entry.name), msgspec.json.format(msgspec.json.encode(entry)))

    def remove(self, name: str) -> None:
        """Remove a record. Raises StorageUnavailable."""
        with _stored():
            self._record(name).unlink(missing_ok=True)

    def sweep(self, used: Collection[str]) -> None:
        """Remove the bytes that none of these digests names, also those a crash left behind."""
        names = {self._bytes(one).name for one in used}
        for path in [*self._folder.glob("*.onnx"), *self._folder.glob(".new-*")]:
            if path.name not in names:
                path.unlink(missing_ok=True)

    def bytes_of(self, entry: Entry) -> bytes:
        """A model's bytes, as they were applied. Raises CorruptState; Temporary: they cannot be read now."""
        try:
            data = self._bytes(entry.digest).read_bytes()
        except FileNotFoundError as error:
            raise CorruptState(detail=f"the bytes of {entry.model} are gone") from error
        except OSError as error:
            raise Temporary(detail=f"the bytes of {entry.model} cannot be read now ({error.strerror})") from error
        if digest(data) != entry.digest:
            raise CorruptState(detail=f"the bytes of {entry.model} are not those that were applied")
        return data

    def _record(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _bytes(self, name: str) -> Path:
        return self._folder / f"{name.replace(':', '-')}.onnx"


def _read(path: Path, name: str) -> Entry:
    if path.stat().st_size > RECORD:
        raise ValueError("it is too long")
    entry = msgspec.json.decode(path.read_bytes(), type=Entry)
    if entry.name != name or _DIGEST.fullmatch(entry.digest) is None or not entry.providers:
        raise ValueError("it is another's")
    if any(map(impossible, [*entry.inputs, *entry.outputs])):
        raise ValueError("it has inputs or outputs that cannot be")
    return entry


@contextlib.contextmanager
def _stored() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(detail=str(error)) from error
