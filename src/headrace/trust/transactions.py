"""Signed transactions as Ethereum writes them since EIP-155: who sent what to whom, from their bytes alone."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.errors import Uncheckable
from headrace.trust import rlp

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of the curve secp256k1 (SEC 2, section 2.4.1)."""
ADDRESS = 20
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """What its sender signed."""

    hash: bytes
    sender: str
    nonce: int
    to: str | None
    """None: it makes a contract."""
    data: bytes
    chain: int

    @property
    def contract(self) -> str:
        """Address of the contract that it makes or calls."""
        return self.to or created(self.sender, self.nonce)


def keccak(data: bytes) -> bytes:
    """Keccak-256, which is not SHA3-256."""
    try:
        from eth_hash.auto import keccak as hashed

        return hashed(data)  # the library looks for the one it rests on when it is first asked
    except ImportError as error:
        raise missing(error) from error


def missing(error: ImportError) -> Uncheckable:
    """What to install."""
    return Uncheckable(module=error.name or "pycryptodome")


def checksum(address: bytes) -> str:
    """An address as people write it (EIP-55).

    >>> checksum(bytes.fromhex("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"))
    '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
    """
    text = address.hex()
    marks = keccak(text.encode()).hex()
    return "0x" + "".join(char.upper() if int(mark, 16) >= 8 else char for char, mark in zip(text, marks, strict=False))


def raw_address(address: str) -> bytes:
    """Its 20 bytes. Raises ValueError: it is none, or its checksum is wrong (all small letters have none)."""
    data = bytes.fromhex(address.removeprefix("0x"))
    if len(data) != ADDRESS or address not in {checksum(data), f"0x{data.hex()}"}:
        raise ValueError(f"{address!r} is no address")
    return data


def created(sender: str, nonce: int) -> str:
    """The address of the contract that a transaction makes (Yellow Paper, section 7)."""
    return checksum(keccak(rlp.encode([raw_address(sender), rlp.number(nonce)]))[-ADDRESS:])


def decode(raw: bytes) -> Transaction:
    """Who signed what. Raises ValueError: it is no legacy transaction with a chain id, or was not signed the one way there
    is (EIP-2: the smaller s)."""
    nonce, price, gas, to, value, data, v, r, s = _nine(rlp.flat(raw))
    chain, parity = divmod(rlp.natural(v) - 35, 2)
    if chain < 1 or len(to) not in {0, ADDRESS}:
        raise ValueError("no transaction of EIP-155")
    numbers = [rlp.natural(each) for each in (nonce, price, gas, value, r, s)]
    if not 0 < numbers[4] < ORDER or not 0 < numbers[5] <= ORDER // 2:
        raise ValueError("no signature")
    signed = rlp.encode([nonce, price, gas, to, value, data, rlp.number(chain), b"", b""])
    sender = _recover(keccak(signed), r.rjust(32, b"\0") + s.rjust(32, b"\0") + bytes([parity]))
    return Transaction(keccak(raw), sender, numbers[0], checksum(to) if to else None, data, chain)


def _nine(items: list[bytes]) -> list[bytes]:
    if len(items) != 9:
        raise ValueError("no legacy transaction")
    return items


def _recover(digest: bytes, signature: bytes) -> str:
    try:
        from coincurve import PublicKey
    except ImportError as error:
        raise missing(error) from error
    try:
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception as error:  # the library raises plain ones
        raise ValueError("no signature") from error
    return checksum(keccak(key.format(compressed=False)[1:])[-ADDRESS:])
