"""A ledger in memory: the same words, gone with the process. For tests, and for looking at the platform without a chain."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from headrace.errors import Conflict, UnknownContract, Unsupported
from headrace.trust.ledgers import Act, Anchor, Anchored, Contract, Deploy, Receipt, Record, Revoke, Status, allowed

GENESIS = "0x" + hashlib.sha256(b"headrace/memory").hexdigest()


@dataclass(frozen=True, slots=True)
class _Done:
    company: str
    act: Act
    receipt: Receipt


class MemoryLedger:
    """Contracts in a dictionary; every act is a block."""

    def __init__(self) -> None:
        self._done: list[_Done] = []
        self._contracts: dict[str, Contract] = {}
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> MemoryLedger:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def account(self, company: str) -> str:
        """See `Ledger`."""
        return _address("account", company)

    async def submit(self, company: str, acts: Sequence[Act]) -> list[Receipt]:
        """See `Ledger`."""
        async with self._lock:
            return [self._do(company, act) for act in acts]

    async def read(self, address: str) -> Contract:
        """See `Ledger`."""
        return self._contract(address)

    async def anchored(self, transaction: str) -> Anchored:
        """See `Ledger`."""
        for done in self._done:
            if done.receipt.transaction == transaction and isinstance(done.act, Anchor):
                owner = _address("account", done.company)
                return Anchored(owner, done.act.root, done.act.count, done.receipt)
        raise UnknownContract(address=transaction)

    async def evidence(self, transaction: str) -> dict[str, Any]:
        """There is none."""
        raise Unsupported(detail="a ledger in memory leaves no evidence; use the embedded one")

    async def status(self) -> Status:
        """See `Ledger`."""
        return Status("memory", 0, GENESIS, len(self._done), single=True, operator="")

    def _contract(self, address: str) -> Contract:
        if address not in self._contracts:
            raise UnknownContract(address=address)
        return self._contracts[address]

    def _do(self, company: str, act: Act) -> Receipt:
        allowed(act)
        for done in self._done:
            if done.company == company and done.act == act:
                return done.receipt
        owner = _address("account", company)
        if isinstance(act, Deploy):
            target = _address("contract", f"{company}/{len(self._done)}")
        else:
            target = _address("anchors", "") if isinstance(act, Anchor) else act.contract
        height = len(self._done) + 1
        receipt = Receipt(f"0x{_hash('tx', str(height))}", target, height, f"0x{_hash('block', str(height))}")
        if isinstance(act, Deploy):
            claimed = hashlib.sha256(act.claim).digest()
            self._contracts[target] = Contract(target, act.kind, owner, act.claim, claimed, receipt)
        elif isinstance(act, Record | Revoke):
            self._change(owner, act, receipt)
        self._done.append(_Done(company, act, receipt))
        return receipt

    def _change(self, owner: str, act: Record | Revoke, receipt: Receipt) -> None:
        contract = self._contract(act.contract)
        if isinstance(act, Record) and contract.kind == "dataset":
            raise Conflict(detail=f"{act.contract} is a dataset's: it has no result")
        if contract.owner != owner:
            raise Conflict(detail=f"{act.contract} belongs to another account")
        if (contract.result if isinstance(act, Record) else contract.revoked) is not None:
            what = "a result" if isinstance(act, Record) else "a revocation"
            raise Conflict(detail=f"{act.contract} has {what} already, and another one: it is written once")
        if isinstance(act, Record):
            changed = replace(contract, result=act.result, recorded=receipt)
        else:
            changed = replace(contract, revoked=act.reason)
        self._contracts[act.contract] = changed


def _hash(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def _address(*parts: str) -> str:
    return f"0x{_hash(*parts)[:40]}"
