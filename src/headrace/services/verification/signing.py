"""What companies sign with: one ECDSA key on P-256 each, made and kept by the platform (`headrace.trust.keyring`).

A key is known by its fingerprint: SHA-256 of its SubjectPublicKeyInfo (RFC 5280), in DER. It stands in a company's claims on the
ledger, so that a bundle's signature and its record vouch for each other.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from headrace.errors import BadInput, CorruptState, Tampered
from headrace.trust.keyring import Keyring

PEM = 4096
"""Bytes of a public key's file, at most."""


class Signer:
    """A company's signing key."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        self.public = PublicKey(private.public_key())

    def sign(self, data: bytes) -> bytes:
        """A signature, DER; the same for the same data (RFC 6979) wherever OpenSSL can."""
        try:
            return self._private.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:
            return self._private.sign(data, ec.ECDSA(hashes.SHA256()))


class PublicKey:
    """Whose signature it is."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.pem = key.public_bytes(serialization.Encoding.PEM, form)
        """PEM, what is given to others."""
        self.fingerprint = f"sha256:{hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()}"

    def check(self, signature: bytes, data: bytes) -> None:
        """Raises Tampered: this key did not sign these data."""
        try:
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise Tampered(detail=f"the signature is not of the key {self.fingerprint} over what is signed") from error


def signer(keyring: Keyring, company: str) -> Signer:
    """A company's signing key; made when first asked for. Blocks. Raises CorruptState."""
    found = serialization.load_der_private_key(keyring.secret(company, "signing", _made), password=None)
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise CorruptState(detail=f"the signing key of {company!r} is of another kind than P-256")
    return Signer(found)


def public_key(pem: bytes) -> PublicKey:
    """A public key from a file. Raises BadInput: it is none, or none on P-256."""
    try:
        found = serialization.load_pem_public_key(pem) if len(pem) <= PEM else None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput(detail="this is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from error
    if not isinstance(found, ec.EllipticCurvePublicKey) or not isinstance(found.curve, ec.SECP256R1):
        raise BadInput(detail="this is no public key on the curve P-256 (prime256v1), which companies sign with")
    return PublicKey(found)


def _made() -> bytes:
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.DER, form, none)
