"""The keys of companies' accounts and of the operator: made here, kept encrypted, used here, shown to nobody."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account

from headrace.trust.entries import Head, fingerprint, public_bytes, sign
from headrace.trust.evm.machine import GAS
from headrace.trust.keyring import Keyring

OPERATOR = "(operator)"
"""No company can be called that."""
BASE, PER_BYTE = 1_000_000, 300
"""Gas that a transaction is given: more than our contracts can use. It costs nothing here."""


class Accounts:
    """Signs for companies, and for the operator."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._known: dict[str, Any] = {}

    def address(self, company: str) -> str:
        """Of its account."""
        return str(self._account(company).address)

    def sign(self, company: str, nonce: int, to: str | None, data: bytes, chain: int) -> bytes:
        """A signed transaction (EIP-155)."""
        gas = min(GAS, BASE + PER_BYTE * len(data))
        fields = {
            "nonce": nonce,
            "gasPrice": 0,
            "gas": gas,
            "to": to or b"",
            "value": 0,
            "data": data,
            "chainId": chain,
        }
        return bytes(self._account(company).sign_transaction(fields).raw_transaction)

    def _account(self, company: str) -> Any:
        if company not in self._known:
            self._known[company] = Account.from_key(self._keyring.secret(company, "account"))
        return self._known[company]

    @cached_property
    def _operator(self) -> ec.EllipticCurvePrivateKey:
        number = self._keyring.secret(OPERATOR, "operator", _number)
        return ec.derive_private_key(int.from_bytes(number, "big"), ec.SECP256R1())

    def public(self) -> bytes:
        """The operator's public key, DER."""
        return public_bytes(self._operator)

    def fingerprint(self) -> str:
        """What a verifier pins."""
        return fingerprint(self.public())

    def head(self, chain: int, genesis: str, size: int, root: bytes) -> tuple[Head, bytes]:
        """The head of the log as it is now, signed by the operator."""
        now = time.time_ns() // 1_000_000
        head = Head(chain=chain, genesis=genesis, size=size, root=f"0x{root.hex()}", time_ms=now)
        return head, sign(self._operator, head)


def _number() -> bytes:
    """The private number of a new key on P-256."""
    return ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(32, "big")
