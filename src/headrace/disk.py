"""Files and databases on a disk that may be full, or damaged.

The two look alike in code and are opposites: one passes, the other has to be replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.errors import BadInput

_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


def unavailable(error: BaseException) -> bool:
    """Whether the disk is full, read-only, busy or failing: waiting may help, and the data are not to blame.

    >>> unavailable(OSError(errno.ENOSPC, "no space")), unavailable(ValueError("a user's mistake"))
    (True, False)
    """
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING
    return isinstance(error, OSError) and error.errno in _ERRNO


def damaged(error: BaseException) -> bool:
    """Whether a file is no database of ours (any more): it never will be again."""
    return isinstance(error, sqlite3.DatabaseError) and not unavailable(error)


def set_aside(path: Path) -> Path:
    """Move a damaged database out of the way, with what SQLite keeps beside it; an earlier one is replaced."""
    kept = path.with_name(f"{path.name}.damaged")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.replace(kept)
    return kept


def write_whole(path: Path, data: bytes, mode: int = 0o600, *, replace: bool = True) -> None:
    """A whole file or none: written beside its place, on the disk before it is moved there. Its folder must exist.

    Args:
        replace: false: a file that is there already stays as it is.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        if replace:
            Path(temporary).replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or a power loss undoes the move
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """A file that a user asked for, as `write_whole` writes it; a pipe or link such as /dev/stdout is left in its place.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_text(text, encoding="utf-8")
        else:
            write_whole(path, text.encode(), 0o644)
    except OSError as error:
        raise BadInput(detail=f"{path} cannot be written: {error.strerror}") from error


def open_file(path: Path, schema: str, *pragmas: str) -> sqlite3.Connection:
    """A database that is written, with its tables; nothing stays open if that fails."""
    db = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")
        db.executescript(schema)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and never left open."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk may have ended it already
            db.execute("ROLLBACK")
        raise
