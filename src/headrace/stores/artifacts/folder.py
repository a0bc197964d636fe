"""One company's folder on the disk. Everything here waits for the disk: call it in threads.

uploads/ID           what came so far; its writer holds a lock on it, which a kill lets go
uploads/ID.json      how much of that is on stable storage, what was said of it, what it was finished to
contents/HEX         a whole content under its digest, read-only
contents/HEX.leaves  hashes of its leaves (only if it has more than one); the root in the database vouches for them
lent/TOKEN           hard links for readers that need a path
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import msgspec

from headrace.assets import Stored
from headrace.disk import write_whole
from headrace.errors import Conflict, CorruptState, TooMany, UnknownObject
from headrace.stores.artifacts import Upload

ABANDONED = 3600.0
"""Seconds after which an upload with nothing beside it that nobody writes is removed: a form's, whose process was killed."""
_TEMPORARY = ".new-"
"""How `write_whole` begins its names: what a kill may leave behind."""


class State(msgspec.Struct, forbid_unknown_fields=True):
    """What is kept beside an upload."""

    offset: int = 0
    about: dict[str, str] | None = None
    stored: dict[str, str | int] | None = None

    def finished(self) -> Stored | None:
        """What it was finished to."""
        return Stored.model_validate(self.stored) if self.stored else None


class Open:
    """An upload that has a writer."""

    def __init__(self, upload: str, file: IO[bytes] | None, state: State | None, offset: int, cut: int) -> None:
        self.upload, self.file, self.offset = upload, file, offset
        self.state = state
        """None: nothing is kept beside it (yet)."""
        self.cut = cut
        """Bytes after `offset` that were not known to be durable, and were cut off."""

    def finished(self) -> Stored:
        """What it was finished to, if it has no file any more."""
        stored = self.state and self.state.finished()
        assert isinstance(stored, Stored)
        return stored


class Folder:
    """The folder of one company."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._contents, self._uploads, self._lent = path / "contents", path / "uploads", path / "lent"

    def make(self) -> None:
        """That it exists; what killed readers borrowed is given back, and what killed forms left goes."""
        for each in (self._contents, self._uploads, self._lent):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        for link in self._lent.iterdir():
            with contextlib.suppress(OSError), link.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                link.unlink()
        for path in self._uploads.glob("up_*"):
            if path.suffix != ".json" and not path.with_name(f"{path.name}.json").exists():
                self._abandon(path)

    def _abandon(self, path: Path) -> None:
        with contextlib.suppress(OSError, Conflict):
            if path.stat().st_mtime < time.time() - ABANDONED:
                self.discard(path.name)

    # -- uploads

    def open(self, upload: str, about: Mapping[str, str] | None, limit: int) -> Open:
        """Become the writer of an upload, of which there may be `limit`. Raises Conflict, TooMany, OSError."""
        state, path = self.state(upload), self._uploads / upload
        if state is None and not path.exists() and self._count() >= limit:
            raise TooMany(count=limit, what="unfinished uploads")
        if state and (stored := self._placed(state, path)):
            return Open(upload, None, state, stored.size, 0)
        file = self._locked(path)
        try:
            state = state and self.state(upload)  # the last writer may have written it since
            size = os.fstat(file.fileno()).st_size
            offset = min(state.offset, size) if state else 0
            if about is not None and (state is None or state.about != about):
                state = State(offset, dict(about))
                self.keep(upload, state)
            os.ftruncate(file.fileno(), offset)
        except BaseException:
            file.close()
            raise
        return Open(upload, file, state, offset, size - offset)

    def _locked(self, path: Path) -> IO[bytes]:
        while True:
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b", buffering=0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                        return file  # and not one that was moved or deleted in between
            except BlockingIOError as error:
                file.close()
                raise Conflict(detail=f"upload {path.name!r} is being written by another request") from error
            except BaseException:
                file.close()
                raise
            file.close()

    def state(self, upload: str) -> State | None:
        """What is kept beside an upload."""
        try:
            return msgspec.json.decode((self._uploads / f"{upload}.json").read_bytes(), type=State)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise CorruptState(detail=f"what is kept of upload {upload!r} was changed on disk") from error

    def keep(self, upload: str, state: State) -> None:
        """Write what is kept beside an upload. Raises OSError."""
        write_whole(self._uploads / f"{upload}.json", msgspec.json.encode(state))

    def known(self, upload: str) -> Upload:
        """How far an upload has come. Raises UnknownObject."""
        state, path = self.state(upload), self._uploads / upload
        if state is None:
            raise UnknownObject(name=upload)
        if stored := self._placed(state, path):
            return Upload(stored.size, state.about or {})
        size = path.stat().st_size if path.exists() else 0
        return Upload(min(state.offset, size), state.about or {})

    def _placed(self, state: State, path: Path) -> Stored | None:
        """What an upload was finished to, if that is still there."""
        stored = state.finished()
        placed = stored is not None and not path.exists() and (self._contents / _name(stored)).exists()
        return stored if placed else None

    def discard(self, upload: str) -> int:
        """Forget an upload; bytes freed. Raises Conflict."""
        path, freed = self._uploads / upload, 0
        if path.exists():
            with self._locked(path) as file:
                freed = os.fstat(file.fileno()).st_size
                path.unlink()
        (self._uploads / f"{upload}.json").unlink(missing_ok=True)
        return freed

    def expire(self, age: float) -> int:
        """Forget what nobody went on with for `age` seconds; bytes freed."""
        newest: dict[str, float] = {}
        for path in [*self._uploads.iterdir(), *self._contents.glob(f"{_TEMPORARY}*")]:
            with contextlib.suppress(FileNotFoundError):
                changed = path.stat().st_mtime
                if path.name.startswith(_TEMPORARY):
                    if changed < time.time() - age:
                        path.unlink()
                else:
                    upload = path.name.removesuffix(".json")
                    newest[upload] = max(changed, newest.get(upload, changed))
        freed = 0
        for upload, changed in newest.items():
            if changed < time.time() - age:
                with contextlib.suppress(Conflict):
                    freed += self.discard(upload)
        return freed

    def _count(self) -> int:
        return len({path.name.removesuffix(".json") for path in self._uploads.iterdir()})

    # -- contents

    def place(self, opened: Open, stored: Stored, leaves: bytes) -> int:
        """Make a whole, synced upload a content; bytes freed by that (it was there already). Raises OSError."""
        assert opened.file is not None
        name = _name(stored)
        target = self._contents / name
        os.fchmod(opened.file.fileno(), 0o444)
        if len(leaves) > 32:
            write_whole(target.with_name(f"{name}.leaves"), leaves, 0o444)
        if opened.state is not None:
            opened.state.stored = stored.model_dump()
            self.keep(opened.upload, opened.state)
        freed = stored.size if target.exists() else 0
        try:
            (self._uploads / opened.upload).replace(target)  # also over one that was there: it might have been damaged
        except FileNotFoundError as error:  # its company was forgotten
            (self._uploads / f"{opened.upload}.json").unlink(missing_ok=True)
            target.with_name(f"{name}.leaves").unlink(missing_ok=True)
            raise UnknownObject(name=opened.upload) from error
        _sync(self._contents)
        return freed

    def content(self, name: str) -> IO[bytes]:
        """An open content. Raises UnknownObject."""
        try:
            return os.fdopen(os.open(self._contents / name, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0)
        except FileNotFoundError as error:
            raise UnknownObject(name=f"sha256:{name}") from error

    def leaves(self, name: str) -> bytes:
        """The hashes of its leaves as they are on the disk; b"" if there are none."""
        try:
            return (self._contents / f"{name}.leaves").read_bytes()
        except FileNotFoundError:
            return b""

    def delete(self, name: str) -> int:
        """Forget a content; bytes freed. Who reads it reads on."""
        path = self._contents / name
        try:
            freed = path.stat().st_size
        except FileNotFoundError:
            freed = 0
        path.unlink(missing_ok=True)
        path.with_name(f"{name}.leaves").unlink(missing_ok=True)
        return freed

    def list(self) -> list[str]:
        """Names of all contents."""
        if not self._contents.exists():
            return []
        return sorted(path.name for path in self._contents.iterdir() if len(path.name) == 64)

    def empty(self) -> None:
        """Forget everything; who reads a content reads on."""
        for folder in (self._uploads, self._contents):
            for path in folder.iterdir():
                path.unlink(missing_ok=True)

    def lend(self, name: str) -> tuple[Path, IO[bytes]]:
        """A path of its own to a content, whoever deletes or replaces it meanwhile; `back` ends it. Raises UnknownObject."""
        link = self._lent / secrets.token_hex(16)
        try:
            link.hardlink_to(self._contents / name)
        except FileNotFoundError as error:
            raise UnknownObject(name=f"sha256:{name}") from error
        file = link.open("rb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_SH)
        return link, file

    def back(self, link: Path, file: IO[bytes]) -> None:
        """What was lent is not used any more."""
        link.unlink(missing_ok=True)
        file.close()

    def used(self) -> int:
        """Bytes of contents and uploads."""
        return sum(
            path.stat().st_size
            for folder in (self._contents, self._uploads)
            for path in folder.iterdir()
            if path.suffix not in {".json", ".leaves"}
        )


def _name(stored: Stored) -> str:
    return stored.sha256.removeprefix("sha256:")


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
