"""Companies' secrets, encrypted at rest: the keys of their ledger accounts, of their signatures, of what is confidential.

Each secret is a file of its own, AES-256-GCM under the master key, bound to its company and purpose, so that no file can stand in
for another. The master key is 32 bytes in a 0600 file beside them, or wherever `HEADRACE_MASTER_KEY_FILE` says: then a copy of
the data directory alone opens nothing.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headrace.disk import write_whole
from headrace.errors import CorruptState

Purpose: TypeAlias = Literal["account", "signing", "seal", "operator"]
VARIABLE = "HEADRACE_MASTER_KEY_FILE"
NONCE, KEY = 12, 32
"""Bytes."""


class Keyring:
    """Secrets by (company, purpose); made when first asked for. Blocks; may be used from several threads.

    Args:
        folder: of the encrypted files, made if need be (0700).
        master: file of the master key; None: what `HEADRACE_MASTER_KEY_FILE` says, else ``master`` in the folder.
    """

    def __init__(self, folder: Path, master: Path | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        named = os.environ.get(VARIABLE)
        self._folder, self._lock = folder, threading.Lock()
        self._cipher = AESGCM(
            _master(master or (Path(named) if named else folder / "master"), any(folder.glob("*.key")))
        )

    def secret(self, company: str, purpose: Purpose, make: Callable[[], bytes] | None = None) -> bytes:
        """The secret, the same for ever.

        Args:
            make: makes it the first time; None: 32 random bytes.

        Raises CorruptState: the file was changed, or is of another master key.
        """
        path = self._folder / f"{hashlib.sha256(f'{purpose}/{company}'.encode()).hexdigest()[:40]}.key"
        bound = f"headrace/{purpose}/{company}".encode()
        with self._lock:
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                secret, nonce = make() if make else secrets.token_bytes(KEY), secrets.token_bytes(NONCE)
                data = nonce + self._cipher.encrypt(nonce, secret, bound)
                write_whole(path, data, replace=False)
                data = path.read_bytes()  # another process may have been first
        try:
            return self._cipher.decrypt(data[:NONCE], data[NONCE:], bound)
        except (InvalidTag, ValueError) as error:
            raise CorruptState(
                detail=f"the {purpose} key of {company!r} cannot be opened: {path.name} was changed, or the master key is "
                "another one; put the right one back"
            ) from error


def _master(path: Path, needed: bool) -> bytes:
    try:
        found = path.read_bytes()
    except FileNotFoundError as error:
        if needed:
            raise CorruptState(
                detail=f"the master key {path} is gone, and keys are left that only it opens: put it back"
            ) from error
        write_whole(path, secrets.token_bytes(KEY), replace=False)
        found = path.read_bytes()
    if len(found) != KEY:
        raise CorruptState(detail=f"{path} is no master key: {KEY} bytes are expected, {len(found)} are there")
    return found
