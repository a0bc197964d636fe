"""A ledger on paper, for tests of what stands in bundles: transactions, entries, heads and evidence as the real one has
them, without a machine that carries contracts out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric import ec

from headrace import merkle
from headrace.trust import contracts, entries, rlp, transactions
from headrace.trust.ledgers import Act, Anchor, Deploy

CHAIN = 1337
TIME = 1_790_000_000


@dataclass
class Account:
    """Who sends transactions."""

    key: PrivateKey
    nonce: int = 0

    def sign(self, to: bytes, data: bytes) -> bytes:
        """The next transaction."""
        fields = [rlp.number(self.nonce), b"", rlp.number(10**7), to, b"", data]
        hashed = transactions.keccak(rlp.encode([*fields, rlp.number(CHAIN), b"", b""]))
        found = self.key.sign_recoverable(hashed, hasher=None)
        self.nonce += 1
        parity, r, s = found[64], found[:32].lstrip(b"\0"), found[32:64].lstrip(b"\0")
        return rlp.encode([*fields, rlp.number(CHAIN * 2 + 35 + parity), r, s])


@dataclass
class PaperLedger:
    """Evidence for acts. The same name gives the same keys."""

    name: str = "hub"
    history: bytes = b""
    """What tells its genesis block from others of the same operator."""
    raws: list[tuple[bytes, str]] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seed = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:30], "big") + 1
        self.key = ec.derive_private_key(seed, ec.SECP256R1())
        self.public = entries.public_bytes(self.key)
        self.operator = entries.fingerprint(self.public)
        extra = hashlib.sha256(self.public).digest()
        self.header = rlp.encode([self.history] + [b""] * (entries.EXTRA - 1) + [extra, b"", b""])
        self.genesis = entries.genesis_hash(self.header, self.public)
        raw = self._account("operator of " + self.name).sign(b"", contracts.creation("Anchors"))
        self.anchors = transactions.decode(raw).contract
        self.raws.append((raw, self.anchors))

    def do(self, company: str, act: Act) -> tuple[int, str]:
        """Its index in the log, and the contract."""
        to = b""
        if not isinstance(act, Deploy):
            to = transactions.raw_address(self.anchors if isinstance(act, Anchor) else act.contract)
        raw = self._account(company).sign(to, contracts.calldata(act))
        self.raws.append((raw, transactions.decode(raw).contract))
        return len(self.raws) - 1, self.raws[-1][1]

    def evidence(self, index: int, size: int | None = None, time_ms: int = TIME * 1000) -> dict[str, Any]:
        """Of the entry at that index, in the log when it had `size` entries."""
        kept = self._entries()[:size]
        leaves = [entry.hash() for entry in kept]
        head = entries.Head(
            chain=CHAIN, genesis=self.genesis, size=len(kept), root=_hex(merkle.root(leaves)), time_ms=time_ms
        )
        return {
            "schema": "headrace/evidence/1",
            "genesis": _hex(self.header),
            "first": kept[0].model_dump(),
            "first_path": [_hex(each) for each in merkle.path(leaves, 0)],
            "entry": kept[index].model_dump(),
            "path": [_hex(each) for each in merkle.path(leaves, index)],
            "before": [_hex(each) for each in merkle.path(leaves, index - 1)] if index else [],
            "head": head.model_dump(),
            "operator": _hex(self.public),
            "signature": _hex(entries.sign(self.key, head)),
        }

    def _entries(self) -> list[entries.Entry]:
        found: list[entries.Entry] = []
        for index, (raw, contract) in enumerate(self.raws):
            found.append(
                entries.Entry(
                    index=index,
                    previous=_hex(found[-1].hash()) if found else self.genesis,
                    raw=_hex(raw),
                    block=index + 1,
                    block_hash=_hex(hashlib.sha256(b"block %d" % index).digest()),
                    time=TIME + index,
                    status=1,
                    contract=contract,
                )
            )
        return found

    def _account(self, name: str) -> Account:
        if name not in self.accounts:
            self.accounts[name] = Account(PrivateKey(hashlib.sha256(f"{self.name}/{name}".encode()).digest()))
        return self.accounts[name]


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"
