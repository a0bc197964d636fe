"""This process among others that run jobs: its folder, and whether another's owner still lives.

A worker's folder holds a file it keeps locked as long as it lives, and beside it the folders of the jobs it runs. The kernel
gives the lock back when a process dies, however it dies: who can lock the file of another knows that its owner is gone.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

_LOCK = "lock"


class Worker:
    """This process. Enter it before anything else; leaving it takes its folder away."""

    def __init__(self, folder: Path) -> None:
        self.name = f"w{secrets.token_hex(8)}"
        self._all = folder
        self._handle = -1

    @property
    def folder(self) -> Path:
        """Where its jobs run."""
        return self._all / self.name

    def __enter__(self) -> Worker:
        hidden = self._all / f".{self.name}"  # seen by others when it is locked, not before
        hidden.mkdir(parents=True, mode=0o700)
        self._handle = os.open(hidden / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        hidden.rename(self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._handle)

    def others(self) -> list[str]:
        """Names of workers that have, or had, a folder here."""
        found = self._all.iterdir() if self._all.is_dir() else iter(())
        return sorted(path.name for path in found if path.name != self.name and not path.name.startswith("."))

    @contextmanager
    def dead(self, name: str) -> Iterator[Literal["dead", "alive", "elsewhere"]]:
        """Whether another worker is dead. While the context lasts nobody else thinks about the same; what is left in its
        folder is removed afterwards.

        "elsewhere": it has no folder here, only its lease tells.
        """
        try:
            handle = os.open(self._all / name / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            yield "elsewhere"
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            yield "alive"
            return
        try:
            yield "dead"
            remove(self._all / name)
        finally:
            os.close(handle)


def remove(folder: Path) -> None:
    """A folder with everything below, also what its writer made unreadable; links are not followed."""
    for root, folders, _ in os.walk(folder):  # from the top: what is opened up here is looked into next
        for name in folders:
            if not (inner := Path(root) / name).is_symlink():
                with suppress(OSError):
                    inner.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
