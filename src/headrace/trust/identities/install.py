"""The per-install token: whoever can read this user's files may use this platform."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from headrace.access import LOCAL, Principal

PREFIX = "hri_"
INSTALL = Principal(LOCAL, "install", "install", frozenset({"operator", "admin"}))
"""Its bearer."""


def install_token(path: Path) -> str:
    """The token in a file that only its owner can read; made if there is none, once, whoever comes first."""
    for _ in range(2):
        with contextlib.suppress(FileNotFoundError):
            path.chmod(0o600)
            found = path.read_text(encoding="ascii", errors="replace").strip()
            if found.startswith(PREFIX) and len(found) >= 32:
                return found
            path.unlink()  # cut off by a full disk, or not ours: it is no secret
        _make(path)
    return path.read_text(encoding="ascii").strip()


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(PREFIX + secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(handle)
        with contextlib.suppress(FileExistsError):  # another process was first: its token counts
            os.link(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
