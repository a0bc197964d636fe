"""One process at a time has a ledger's folder."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from headrace.errors import DirectoryInUse

PATIENCE = 20.0
"""Seconds to wait for the process before: it may have a block to finish."""


def hold(folder: Path, patience: float = PATIENCE) -> IO[str]:
    """The lock, until it is closed or the process ends. Blocks.

    Raises DirectoryInUse: another process has it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = (folder / "lock").open("a+")
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if time.monotonic() > end:
                lock.seek(0)
                pid = lock.read(20) or "unknown"
                lock.close()
                raise DirectoryInUse(path=folder, pid=pid) from error
            time.sleep(0.05)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
