"""The log of signed transactions on the disk: the ledger's truth. SQLite, FULL: what is appended survives a power loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace import merkle
from headrace.disk import open_file, transaction
from headrace.errors import CorruptState
from headrace.trust.entries import Entry
from headrace.trust.transactions import keccak

SCHEMA = """
CREATE TABLE IF NOT EXISTS genesis (one INTEGER PRIMARY KEY CHECK (one = 1), chain INTEGER NOT NULL, header BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    idx INTEGER PRIMARY KEY,       -- from 0
    block INTEGER NOT NULL,
    block_hash TEXT NOT NULL,
    time INTEGER NOT NULL,         -- of the block, s since the epoch
    raw BLOB NOT NULL,             -- the signed transaction
    status INTEGER NOT NULL,
    contract TEXT NOT NULL,        -- address that it made or called
    hash BLOB NOT NULL,            -- of the entry
    tx BLOB NOT NULL UNIQUE,       -- hash of the transaction
    act BLOB NOT NULL UNIQUE       -- hash of sender, receiver and data: the same act is done once
);
CREATE INDEX IF NOT EXISTS entries_contract ON entries (contract);
CREATE INDEX IF NOT EXISTS entries_block ON entries (block);
"""
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL")
COLUMNS = "idx, block, block_hash, time, raw, status, contract, hash"


@dataclass(frozen=True, slots=True)
class Made:
    """A transaction that is to be appended."""

    raw: bytes
    contract: str
    act: bytes


class Log:
    """Entries in order; the tree over them is kept in memory (32 bytes an entry).

    Raises sqlite3.Error: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._db = open_file(path, SCHEMA, *PRAGMAS)
        self._leaves: list[bytes] = [row[0] for row in self._db.execute("SELECT hash FROM entries ORDER BY idx")]
        self._root = merkle.Root()
        for each in self._leaves:
            self._root.push(each)
        begun = self.genesis()
        self._genesis = f"0x{keccak(begun[1]).hex()}" if begun else ""

    def close(self) -> None:
        """All of it is on the disk already."""
        self._db.close()

    def genesis(self) -> tuple[int, bytes] | None:
        """Chain id and first header; None: a new log."""
        row = self._db.execute("SELECT chain, header FROM genesis").fetchone()
        return None if row is None else (row[0], row[1])

    def begin(self, chain: int, header: bytes) -> None:
        """The genesis of a new log."""
        with transaction(self._db):
            self._db.execute("INSERT INTO genesis VALUES (1, ?, ?)", (chain, header))
        self._genesis = f"0x{keccak(header).hex()}"

    @property
    def size(self) -> int:
        """Entries."""
        return len(self._leaves)

    def root(self) -> bytes:
        """Of the tree."""
        return self._root.value()

    def path(self, index: int) -> list[str]:
        """From an entry up to the root."""
        return [f"0x{each.hex()}" for each in merkle.path(self._leaves, index)]

    def append(self, block: int, block_hash: str, time: int, made: Sequence[Made]) -> list[Entry]:
        """All transactions of a block, or none; on the disk when this returns."""
        previous = f"0x{self._leaves[-1].hex()}" if self._leaves else self._genesis
        entries, rows = [], []
        for index, each in enumerate(made, self.size):
            entry = Entry(
                index=index,
                previous=previous,
                raw=f"0x{each.raw.hex()}",
                block=block,
                block_hash=block_hash,
                time=time,
                status=1,
                contract=each.contract,
            )
            hashed = entry.hash()
            previous = f"0x{hashed.hex()}"
            entries.append(entry)
            rows.append(
                (index, block, block_hash, time, each.raw, 1, each.contract, hashed, keccak(each.raw), each.act)
            )
        with transaction(self._db):
            self._db.executemany(f"INSERT INTO entries VALUES ({', '.join('?' * 10)})", rows)
        for row in rows:
            self._leaves.append(row[7])
            self._root.push(row[7])
        return entries

    def done(self, act: bytes) -> Entry | None:
        """The entry that did an act."""
        return self._one("act = ?", act)

    def transaction(self, hashed: bytes) -> Entry | None:
        """The entry of a transaction."""
        return self._one("tx = ?", hashed)

    def first(self, contract: str) -> Entry | None:
        """What made a contract."""
        return self._one("contract = ?", contract)

    def of(self, contract: str) -> list[Entry]:
        """What a contract was made and called by."""
        return list(self._some("contract = ? ORDER BY idx", contract))

    def entry(self, index: int) -> Entry:
        """The entry at an index below `size`."""
        found = self._one("idx = ?", index)
        if found is None:
            raise CorruptState(detail=f"the ledger's log has no entry {index} of {self.size}")
        return found

    def blocks(self, after: int) -> Iterator[list[Entry]]:
        """The entries of each block with a number above `after`, in order."""
        waiting: list[Entry] = []
        for entry in self._some("block > ? ORDER BY idx", after):
            if waiting and waiting[0].block != entry.block:
                yield waiting
                waiting = []
            waiting.append(entry)
        if waiting:
            yield waiting

    def last(self) -> Entry | None:
        """The last entry."""
        return self.entry(self.size - 1) if self.size else None

    def _one(self, where: str, value: object) -> Entry | None:
        return next(iter(self._some(f"{where} ORDER BY idx LIMIT 1", value)), None)

    def _some(self, where: str, value: object) -> Iterator[Entry]:
        for row in self._db.execute(f"SELECT {COLUMNS} FROM entries WHERE {where}", (value,)):
            yield self._checked(row)

    def _checked(self, row: tuple[int, int, str, int, bytes, int, str, bytes]) -> Entry:
        """A row as it was appended. Raises CorruptState: it was changed."""
        index, block, block_hash, time, raw, status, contract, hashed = row
        before = self._leaves[index - 1] if index else None
        first = self._genesis
        try:
            entry = Entry(
                index=index,
                previous=f"0x{before.hex()}" if before is not None else first,
                raw=f"0x{raw.hex()}",
                block=block,
                block_hash=block_hash,
                time=time,
                status=status,
                contract=contract,
            )
            right = entry.hash() == hashed == self._leaves[index]
        except (ValueError, AttributeError, TypeError, IndexError):
            right = False
        if not right:
            raise CorruptState(detail=f"entry {index} of the ledger's log was changed on the disk; put a backup back")
        return entry
