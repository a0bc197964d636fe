"""Signing keys: one signs, those before it are still believed until the last token they signed has expired.

Private keys are files of the owner (0600), public ones rows: a copy of the database signs nothing. ES256 (RFC 7518,
section 3.4): a key is made in a millisecond and its signatures are small.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from sqlalchemy import Engine, delete, insert, select, update

from headrace.disk import write_whole
from headrace.trust.identities import tables

AGE = 30 * 86400.0
"""Seconds for which a key signs."""
AGAIN, UNKNOWN = 30.0, 5.0
"""Seconds after which the table is read again, and after which it is for a key we do not know: services that run alone share
it, and each may change the key."""


class Keys:
    """The signing keys of one issuer. `load` it in a thread first.

    Args:
        folder: of the private keys.
        keep: seconds for which a retired key is still believed: the life of a token, and the leeway.
        clock: seconds since the epoch.
    """

    def __init__(self, engine: Engine, folder: Path, keep: float, clock: Callable[[], float]) -> None:
        self._engine, self._folder, self._keep, self._clock = engine, folder, keep, clock
        self._lock = threading.Lock()
        self._public: dict[str, tuple[jwt.PyJWK, float | None]] = {}
        """Key id -> key, and when it was retired (seconds since the epoch)."""
        self._looked = -math.inf
        self._signing: tuple[str, ec.EllipticCurvePrivateKey, float]

    def load(self) -> None:
        """Read the keys; make the first."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            self._load()

    def _load(self) -> None:
        self._read()
        rows = [kid for kid, (_, retired) in self._public.items() if retired is None]
        found = self._private(rows[-1]) if rows else None
        if found is None or self._clock() - found[2] >= AGE:
            self._change()
        else:
            self._signing = found

    def sign(self, claims: dict[str, Any]) -> str:
        """A token. Makes a new key when the last is too old."""
        with self._lock:
            if self._clock() - self._signing[2] >= AGE:
                self._change()
            elif self._public.get(self._signing[0], (None, 0.0))[1] is not None:
                self._load()  # another process on this folder has changed it
            kid, private, _ = self._signing
        return jwt.encode(claims, private, "ES256", headers={"kid": kid, "typ": "at+jwt"})

    def public(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id, if its signatures still count."""
        if self._clock() - self._looked >= (AGAIN if kid in self._public else UNKNOWN) and self._lock.acquire(False):
            try:
                self._read()
            finally:
                self._lock.release()
        found = self._public.get(kid)
        if found is None or (found[1] is not None and self._clock() > found[1] + self._keep):
            return None
        return found[0]

    def jwks(self) -> dict[str, Any]:
        """The keys that count, as a JWK set (RFC 7517, section 5)."""
        with self._engine.connect() as db:
            rows = db.execute(select(tables.keys.c.kid, tables.keys.c.public).order_by(tables.keys.c.created_ms)).all()
        return {"keys": [json.loads(text) for kid, text in rows if self.public(kid) is not None]}

    def rotate(self, at_once: bool = False) -> str:
        """Sign with a new key from now on; returns its id.

        Args:
            at_once: forget all others, and with them every token they signed: a private key was seen by somebody.
        """
        with self._lock:
            self._change()
            if at_once:
                with self._engine.begin() as db:
                    db.execute(delete(tables.keys).where(tables.keys.c.kid != self._signing[0]))
                self._read()
            return self._signing[0]

    def _change(self) -> None:
        now, private = self._clock(), ec.generate_private_key(ec.SECP256R1())
        public: dict[str, Any] = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        kid = _thumbprint(public)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_whole(self._folder / f"{kid}.pem", pem)
        whole = json.dumps({**public, "kid": kid, "alg": "ES256", "use": "sig"})
        with self._engine.begin() as db:
            expired = round((now - self._keep) * 1000)
            db.execute(delete(tables.keys).where(tables.keys.c.retired_ms < expired))
            db.execute(
                update(tables.keys).where(tables.keys.c.retired_ms.is_(None)).values(retired_ms=round(now * 1000))
            )
            db.execute(insert(tables.keys).values(kid=kid, public=whole, created_ms=round(now * 1000)))
        self._signing = kid, private, now
        for old in self._folder.glob("*.pem"):
            if old.stem != kid:
                old.unlink(missing_ok=True)  # what it signed is checked with the public key
        self._read()

    def _read(self) -> None:
        self._looked = self._clock()
        with self._engine.connect() as db:
            rows = db.execute(select(tables.keys).order_by(tables.keys.c.created_ms)).all()
        self._public = {
            row.kid: (jwt.PyJWK.from_json(row.public), None if row.retired_ms is None else row.retired_ms / 1000)
            for row in rows
        }
        self._created = {row.kid: row.created_ms / 1000 for row in rows}

    def _private(self, kid: str) -> tuple[str, ec.EllipticCurvePrivateKey, float] | None:
        """None: it was lost, or is damaged; another is made."""
        path = self._folder / f"{kid}.pem"
        try:
            path.chmod(0o600)
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except (FileNotFoundError, ValueError):
            return None
        return (kid, key, self._created[kid]) if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _thumbprint(public: dict[str, Any]) -> str:
    """RFC 7638: the digest of what the key is; the first 128 bits name it."""
    members = {name: public[name] for name in ("crv", "kty", "x", "y")}
    return hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]
