"""What must not be read on the ledger: encrypted here, with its digest there.

Each text has a random key of its own (AES-256-GCM); that key is wrapped by the company's seal key. So one text can be opened
for somebody (in a bundle) without opening another. GCM alone does not bind its key: somebody who wants to can make one ciphertext
that two keys open as two texts, and show each of two readers his own. So a digest of the key stands before it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headrace.claims import digest
from headrace.errors import Tampered
from headrace.trust.keyring import KEY, NONCE, Keyring

BOUND = 32
"""Bytes of a key's digest."""


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
        ciphertext = encrypted(key, text, asset)
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
    if ciphertext[:BOUND] != _bound(key):
        raise Tampered(detail=f"the sealed text of {asset} is not opened by this key")
    return _decrypt(key, ciphertext[BOUND:], asset)


def encrypted(key: bytes, text: bytes, asset: str) -> bytes:
    """A text about an asset under a key: the key's digest, nonce, AES-256-GCM."""
    return _bound(key) + _encrypt(key, text, asset)


def _bound(key: bytes) -> bytes:
    return hashlib.sha256(b"headrace/sealed/key" + key).digest()


def _encrypt(key: bytes, text: bytes, asset: str) -> bytes:
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, text, f"headrace/sealed/{asset}".encode())


def _decrypt(key: bytes, data: bytes, asset: str) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:NONCE], data[NONCE:], f"headrace/sealed/{asset}".encode())
    except (InvalidTag, ValueError) as error:
        raise Tampered(detail=f"the sealed text of {asset} cannot be opened: it, or its key, was changed") from error
