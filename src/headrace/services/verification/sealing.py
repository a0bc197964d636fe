"""What must not be read on the ledger: encrypted here, with its digest there.

Each text has a random key of its own (AES-256-GCM); that key is wrapped by the company's seal key. So one text can be opened
for somebody (in a bundle) without opening another.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headrace.claims import digest
from headrace.errors import Tampered
from headrace.trust.keyring import KEY, NONCE, Keyring


@dataclass(frozen=True, slots=True)
class Sealed:
    """A row of the table `sealed`."""

    digest: str
    asset: str
    company: str
    ciphertext: bytes
    wrapped: bytes


class Sealing:
    """Seals and opens texts. Blocks on the keyring's files."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def seal(self, company: str, asset: str, text: bytes) -> Sealed:
        """Encrypt a text about an asset."""
        key = secrets.token_bytes(KEY)
        ciphertext = _encrypt(key, text, asset)
        wrapped = _encrypt(self._keyring.secret(company, "seal"), key, asset)
        return Sealed(digest(ciphertext), asset, company, ciphertext, wrapped)

    def key(self, sealed: Sealed) -> bytes:
        """The key that opens this text and no other. Raises Tampered."""
        return _decrypt(self._keyring.secret(sealed.company, "seal"), sealed.wrapped, sealed.asset)

    def open(self, sealed: Sealed) -> bytes:
        """The text. Raises Tampered: it is not what was sealed."""
        return opened(sealed.digest, sealed.asset, sealed.ciphertext, self.key(sealed))


def opened(expected: str, asset: str, ciphertext: bytes, key: bytes) -> bytes:
    """The text about an asset whose ciphertext has this digest. Raises Tampered."""
    if digest(ciphertext) != expected:
        raise Tampered(detail=f"the sealed text of {asset} is not the one whose digest the ledger has")
    return _decrypt(key, ciphertext, asset)


def _encrypt(key: bytes, text: bytes, asset: str) -> bytes:
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, text, f"headrace/sealed/{asset}".encode())


def _decrypt(key: bytes, data: bytes, asset: str) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:NONCE], data[NONCE:], f"headrace/sealed/{asset}".encode())
    except (InvalidTag, ValueError) as error:
        raise Tampered(detail=f"the sealed text of {asset} cannot be opened: it, or its key, was changed") from error
