"""The machine's memory of its chain: keys and values in SQLite, checked when they are read.

What a block writes stays in memory until the block is in the log; a crash in between loses nothing, since the block is made
again from the log.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eth.abc import AtomicWriteBatchAPI
from eth.db.atomic import AtomicDBWriteBatch
from eth.db.backends.base import BaseAtomicDB
from eth_hash.auto import keccak

from headrace.disk import open_file, transaction, unavailable
from headrace.errors import CorruptState
from headrace.trust.evm import LIMIT

sys.setrecursionlimit(LIMIT)

SCHEMA = "CREATE TABLE IF NOT EXISTS nodes (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")
"""Not FULL: what a power loss takes is made again from the log."""
HASH = 32
"""Bytes of a key that is the hash of its value: of trees' nodes, code, headers."""


class Store(BaseAtomicDB):
    """What py-evm calls a database. Raises CorruptState where a value is not what its key says."""

    def __init__(self, path: Path) -> None:
        self._db = open_file(path, SCHEMA, *PRAGMAS)
        self._new: dict[bytes, bytes | None] = {}
        """Written since it was last written down; None: deleted."""
        self._whole: dict[bytes, bytes | None] = {}
        """The same, of whole blocks that are in the log."""

    def close(self) -> None:
        """What is of no whole block is gone."""
        self._db.close()

    def drop(self) -> None:
        """Forget what was written since the last whole block."""
        self._new.clear()

    def keep(self) -> None:
        """Write it down: the block is in the log. On a full disk it is kept in memory, and written with the next."""
        self._whole |= self._new
        self._new = {}
        try:
            self._write()
        except sqlite3.Error as error:
            if not unavailable(error):
                raise
        else:
            self._whole = {}

    def _write(self) -> None:
        with transaction(self._db):
            kept = [pair for pair in self._whole.items() if pair[1] is not None]
            self._db.executemany("INSERT OR REPLACE INTO nodes VALUES (?, ?)", kept)
            gone = [(key,) for key, value in self._whole.items() if value is None]
            self._db.executemany("DELETE FROM nodes WHERE key = ?", gone)

    def __getitem__(self, key: bytes) -> bytes:
        value = self._find(key)
        if value is None:
            raise KeyError(key)
        return value

    def _find(self, key: bytes) -> bytes | None:
        for recent in (self._new, self._whole):
            if key in recent:
                return recent[key]
        row = self._db.execute("SELECT value FROM nodes WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value: bytes = row[0]
        if len(key) == HASH and keccak(value) != key:
            raise CorruptState(
                detail="the chain's data were changed on the disk: `headrace ledger --rebuild` makes them again"
            )
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._new[key] = value

    def __delitem__(self, key: bytes) -> None:
        self._new[key] = None

    def _exists(self, key: bytes) -> bool:
        return self._find(key) is not None

    @contextmanager
    def atomic_batch(self) -> Iterator[AtomicWriteBatchAPI]:
        """Several writes at once."""
        with AtomicDBWriteBatch._commit_unless_raises(self) as batch:
            yield batch
