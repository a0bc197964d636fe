"""The ledger itself: acts become transactions, transactions blocks, blocks entries of the log; and read back again.

One process, one at a time. A block is in the log, on the disk, before its receipts are given out.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from eth.exceptions import CanonicalHeadNotFound, HeaderNotFound, ReceiptNotFound, TransactionNotFound
from trie.exceptions import MissingTrieNode

from headrace.disk import damaged, set_aside
from headrace.errors import Conflict, CorruptState, HeadraceError, UnknownContract
from headrace.trust import contracts, transactions
from headrace.trust.contracts import Event
from headrace.trust.entries import Entry, genesis_hash
from headrace.trust.evm.accounts import OPERATOR, Accounts
from headrace.trust.evm.lock import hold
from headrace.trust.evm.log import Log, Made
from headrace.trust.evm.machine import Machine, Refused, genesis
from headrace.trust.evm.store import Store
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Act, Anchor, Anchored, Contract, Deploy, Receipt, Record, Status, allowed

Sent: TypeAlias = tuple[str | None, bytes]
"""To whom (None: it makes a contract), and what."""
CHAIN = 4_739_660
"""EIP-155 chain id of embedded ledgers. Their genesis blocks differ."""
REBUILD = "`headrace ledger --rebuild` makes them again from the log"
LOG, STATE = "log.db", "state.db"
GONE = (CanonicalHeadNotFound, HeaderNotFound, ReceiptNotFound, TransactionNotFound, MissingTrieNode, KeyError)
"""What py-evm says when its data are not all there."""


class Book:
    """Opens the ledger in a folder; makes it when there is none, and works out again what a crash left undone. Blocks.

    Raises CorruptState: the log was changed, or another key is there. sqlite3.Error, OSError: the disk.
    """

    def __init__(self, folder: Path, keyring: Keyring) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._accounts = Accounts(keyring)
        self._log = Log(folder / LOG)
        try:
            self.chain, self._first = self._log.genesis() or self._begin()
            self.genesis = self._genesis()
            self._store, self._machine = self._open(folder)
        except BaseException:
            self._log.close()
            raise
        try:
            self._settle()
            self._broken = self._read_over()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing is lost."""
        self._store.close()
        self._log.close()

    def _begin(self) -> tuple[int, bytes]:
        named = hashlib.sha256(self._accounts.public()).digest()
        first = CHAIN, genesis(named, int(time.time()))
        self._log.begin(*first)
        return first

    def _genesis(self) -> str:
        try:
            return genesis_hash(self._first, self._accounts.public())
        except ValueError as error:
            raise CorruptState(
                detail="this ledger was begun with another operator's key, which is gone: put the keys back that belong to it"
            ) from error

    def _open(self, folder: Path) -> tuple[Store, Machine]:
        """The machine; a damaged memory of it is set aside, since the log has all."""
        path = folder / STATE
        try:
            return self._machinery(path)
        except Exception as error:
            if not damaged(error) and not isinstance(error, (CorruptState, *GONE)):
                raise
            logging.getLogger(__name__).warning(
                "the ledger's chain is made again from its log, which has %d entries: %s. If a backup of the log was put back, "
                "what was recorded since then is gone",
                self._log.size,
                error,
            )
            set_aside(path)
            return self._machinery(path)

    def _machinery(self, path: Path) -> tuple[Store, Machine]:
        store = Store(path)
        try:
            machine = Machine(store, self.chain, self._first)
            number, hashed = machine.head()
            at = next(iter(self._log.blocks(number - 1)), None)
            if number and (at is None or at[0].block != number or at[0].block_hash != hashed):
                raise CorruptState(detail="the chain's data are not of this log")
        except BaseException:
            store.close()
            raise
        return store, machine

    def _settle(self) -> None:
        """Make the blocks again that are in the log only; and the contract of the anchors first of all."""
        for entries in self._log.blocks(self._machine.head()[0]):
            self._again(entries)
        if not self._log.size:
            act = (None, contracts.creation("Anchors"))
            self._block(OPERATOR, [act])
        self.anchors = self._log.entry(0).contract

    def _read_over(self) -> str:
        """What of the log is not as it was appended; "": nothing. It is opened all the same: what is intact can be read."""
        try:
            for _ in self._log.blocks(-1):
                pass
        except CorruptState as error:
            logging.getLogger(__name__).warning("the ledger is damaged: %s", error)
            return str(error)
        return ""

    def _again(self, entries: Sequence[Entry]) -> None:
        try:
            made = self._machine.mine([bytes.fromhex(each.raw[2:]) for each in entries], entries[0].time)
        except Refused as error:
            raise CorruptState(detail=f"block {entries[0].block} of the ledger's log cannot be made again") from error
        expected = {(each.block, each.block_hash, each.time) for each in entries}
        if {(made.number, made.hash, made.time)} != expected or made.contracts != [each.contract for each in entries]:
            self._machine.drop()
            raise CorruptState(detail=f"block {entries[0].block} of the ledger's log, made again, is another")
        self._machine.keep()

    def _block(self, company: str, sent: Sequence[Sent]) -> list[Entry]:
        """A block of what a company sends. Raises Refused: nothing was done."""
        sender = self._accounts.address(company)
        nonce = self._machine.nonce(sender)
        raws = [self._accounts.sign(company, nonce + at, *each, self.chain) for at, each in enumerate(sent)]
        block = self._machine.mine(raws, int(time.time()))
        acts = [key(sender, *each) for each in sent]
        made = [Made(*each) for each in zip(raws, block.contracts, acts, strict=True)]
        try:
            entries = self._log.append(block.number, block.hash, block.time, made)
        except BaseException:
            self._machine.drop()
            raise
        self._machine.keep()
        return entries

    def account(self, company: str) -> str:
        """See `Ledger`."""
        return self._accounts.address(company)

    def submit(self, company: str, acts: Sequence[Act]) -> list[Receipt]:
        """See `Ledger`: one block of all that are new."""
        sender = self._accounts.address(company)
        keys: list[bytes] = []
        new: dict[bytes, Sent] = {}
        wrong: HeadraceError | None = None
        for act in acts:
            try:
                sent = self._sent(act)
            except HeadraceError as error:
                wrong = error
                break
            keys.append(key(sender, *sent))
            if self._log.done(keys[-1]) is None:
                new[keys[-1]] = sent
        self._do(company, list(new.values()))
        if wrong is not None:
            raise wrong
        return [_receipt(found) for each in keys if (found := self._log.done(each)) is not None]

    def _do(self, company: str, sent: Sequence[Sent]) -> None:
        """One block; of one that is refused, all before it."""
        if not sent:
            return
        try:
            self._block(company, sent)
        except Refused as error:
            self._do(company, sent[: error.index])
            raise Conflict(detail=contracts.refusal(error.output, str(sent[error.index][0]))) from error

    def _sent(self, act: Act) -> Sent:
        """To whom, and what. Raises BadInput, TooLarge, UnknownContract, Conflict."""
        data = contracts.calldata(allowed(act))
        if isinstance(act, Deploy):
            return None, data
        if isinstance(act, Anchor):
            return self.anchors, data
        address, deployed = self._deployed(act.contract)
        if isinstance(act, Record) and deployed.kind == "dataset":
            raise Conflict(detail=f"{address} is a dataset's: it has no result")
        return address, data

    def _deployed(self, address: str) -> tuple[str, Deploy]:
        """The contract's address with its checksum, and what made it. Raises UnknownContract."""
        try:
            found = transactions.checksum(transactions.raw_address(address))
        except ValueError as error:
            raise UnknownContract(address=address) from error
        entry = self._log.first(found)
        act = self._act(entry) if entry else None
        if not isinstance(act, Deploy):
            raise UnknownContract(address=address)
        return found, act

    def _act(self, entry: Entry) -> Act | None:
        try:
            return contracts.meaning(transactions.decode(bytes.fromhex(entry.raw[2:])), self._log.entry(0).contract)
        except ValueError as error:
            raise CorruptState(detail=f"entry {entry.index} of the ledger's log is no act of ours") from error

    def read(self, address: str) -> Contract:
        """See `Ledger`: the texts from events, compared with the contract's digests and with the log."""
        address, act = self._deployed(address)
        found: dict[str, tuple[bytes, Receipt]] = {}
        for entry in self._log.of(address):
            for event, _, text in self._events(entry):
                found[event] = text, _receipt(entry)
        if "Claimed" not in found or found["Claimed"][0] != act.claim:
            raise _changed(address)
        result, reason = found.get("Recorded"), found.get("Revoked")
        digests: dict[str, bytes | None] = {"claimDigest": act.claim, "revocationDigest": reason and reason[0]}
        if act.kind == "model":
            digests["resultDigest"] = result and result[0]
        for name, said in digests.items():
            if self._answer(act.kind, address, name) != (bytes(32) if said is None else hashlib.sha256(said).digest()):
                raise _changed(address)
        return Contract(
            address=address,
            kind=act.kind,
            owner=transactions.checksum(self._answer(act.kind, address, "owner")[-transactions.ADDRESS :]),
            claim=act.claim,
            claim_digest=self._answer(act.kind, address, "claimDigest"),
            deployed=found["Claimed"][1],
            result=result and result[0],
            recorded=result and result[1],
            revoked=None if reason is None else reason[0].decode(),
        )

    def _answer(self, kind: Literal["dataset", "model"], address: str, name: str) -> bytes:
        return self._machine.call(address, contracts.method(contracts.NAMES[kind], f"{name}()"))

    def _events(self, entry: Entry) -> list[Event]:
        """What the contract of an entry told about it, from the chain's receipts."""
        hashed = transactions.keccak(bytes.fromhex(entry.raw[2:]))
        try:
            number, block, logs = self._machine.logs(hashed)
        except GONE as error:
            raise CorruptState(detail=f"the chain's data lack transaction 0x{hashed.hex()}: {REBUILD}") from error
        if (number, block) != (entry.block, entry.block_hash):
            raise CorruptState(detail=f"block {entry.block} of the chain is not the one in the log: {REBUILD}")
        return [
            contracts.event(log.topics, log.data)
            for log in logs
            if transactions.checksum(log.address) == entry.contract
        ]

    def anchored(self, transaction: str) -> Anchored:
        """See `Ledger`."""
        entry = self._entry(transaction)
        act = self._act(entry)
        if not isinstance(act, Anchor):
            raise UnknownContract(address=transaction)
        events = self._events(entry)
        if len(events) != 1 or events[0][0] != "Anchored" or events[0][1][1] != act.root:
            raise _changed(transaction)
        _, (owner, root), count = events[0]
        return Anchored(
            transactions.checksum(owner[-transactions.ADDRESS :]), root, int.from_bytes(count, "big"), _receipt(entry)
        )

    def _entry(self, transaction: str) -> Entry:
        try:
            found = self._log.transaction(bytes.fromhex(transaction.removeprefix("0x")))
        except ValueError:
            found = None
        if found is None:
            raise UnknownContract(address=transaction)
        return found

    def evidence(self, transaction: str) -> dict[str, Any]:
        """See `headrace.trust.evidence`."""
        entry = self._entry(transaction)
        head, signature = self._accounts.head(self.chain, self.genesis, self._log.size, self._log.root())
        return {
            "schema": "headrace/evidence/1",
            "genesis": f"0x{self._first.hex()}",
            "first": self._log.entry(0).model_dump(),
            "first_path": self._log.path(0),
            "entry": entry.model_dump(),
            "path": self._log.path(entry.index),
            "before": self._log.path(entry.index - 1) if entry.index else [],
            "head": head.model_dump(),
            "operator": f"0x{self._accounts.public().hex()}",
            "signature": f"0x{signature.hex()}",
        }

    def status(self) -> Status:
        """See `Ledger`."""
        height = self._machine.head()[0]
        return Status(
            kind="embedded",
            chain=self.chain,
            genesis=self.genesis,
            height=height,
            single=True,
            operator=self._accounts.fingerprint(),
            broken=self._broken,
        )


def key(sender: str, to: str | None, data: bytes) -> bytes:
    """What an act of an account is known by: done again, it is the same."""
    return hashlib.sha256(f"{sender}/{to or ''}/".encode() + data).digest()


def _receipt(entry: Entry) -> Receipt:
    hashed = transactions.keccak(bytes.fromhex(entry.raw[2:]))
    return Receipt(f"0x{hashed.hex()}", entry.contract, entry.block, entry.block_hash)


def _changed(what: str) -> CorruptState:
    return CorruptState(detail=f"what the chain says of {what} is not what was recorded: {REBUILD}")


def rebuild(folder: Path, keyring: Keyring) -> Status:
    """Work the chain out again from its log, in the place of what there is of it. Blocks: some ten milliseconds an entry.

    Raises CorruptState: the log was changed, or does not give the blocks it names. DirectoryInUse: a ledger is open there.
    """
    with hold(folder, patience=1.0):
        for suffix in ("", "-wal", "-shm"):
            (folder / f"{STATE}{suffix}").unlink(missing_ok=True)
        book = Book(folder, keyring)
        try:
            return book.status()
        finally:
            book.close()
