"""Passwords people chose, as scrypt; secrets we made, as a digest. Both compared in constant time.

A secret of 160 random bits cannot be guessed, however fast its digest is: a fleet of devices that reconnects costs no
scrypt. Which of the two a caller is checked by follows from what *he* sent (`MADE`), never from what is stored: the time
an answer takes tells nobody whether a name exists or what it is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from headrace.errors import BadInput

MADE = "hrs_"
"""How a secret we made begins."""
SHORTEST, LONGEST = 10, 256
"""Characters of a password somebody chooses; bytes of one that is looked at."""
_LOG_N, _R, _P = 14, 8, 1
"""scrypt cost: 16 MiB and some 50 ms (RFC 7914, section 2)."""


def hash_password(password: str | bytes) -> str:
    """What to store, or to write into a users file."""
    salt = secrets.token_bytes(16)
    given = password if isinstance(password, bytes) else password.encode()
    digest = _scrypt(given, salt, _LOG_N, _R, _P)
    return f"scrypt${_LOG_N}${_R}${_P}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def verify_password(hashed: str, password: bytes) -> bool:
    """Compare in constant time."""
    parsed = parse_hash(hashed)
    if parsed is None:
        return False
    log_n, r, p, salt, digest = parsed
    return hmac.compare_digest(_scrypt(password, salt, log_n, r, p), digest)


def parse_hash(hashed: str) -> tuple[int, int, int, bytes, bytes] | None:
    """log2 of the cost, block size, parallelism, salt, digest; None if it is no hash of ours."""
    try:
        scheme, log_n, r, p, salt, digest = hashed.split("$")
        parsed = (
            int(log_n),
            int(r),
            int(p),
            base64.b64decode(salt, validate=True),
            base64.b64decode(digest, validate=True),
        )
    except ValueError:
        return None
    sane = scheme == "scrypt" and 1 <= parsed[0] <= 20 and 1 <= parsed[1] <= 32 and 1 <= parsed[2] <= 16
    return parsed if sane and len(parsed[4]) == 32 else None


def make_secret() -> str:
    """A secret for a device or service: 160 random bits."""
    return MADE + secrets.token_urlsafe(20)


def make_password() -> str:
    """A password for a person to type: 99 random bits in groups of four letters that cannot be mixed up."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(5))


def hash_secret(secret: str | bytes) -> str:
    """What to store of a secret we made, and of any other token with enough random bits."""
    given = secret if isinstance(secret, bytes) else secret.encode()
    return "sha256$" + hashlib.sha256(given).hexdigest()


def hash_any(given: str) -> str:
    """What to store of either kind. Raises BadInput for a chosen password that is too short or too long."""
    if given.startswith(MADE):
        return hash_secret(given)
    if len(given) < SHORTEST or len(given.encode()) > LONGEST:
        raise BadInput(detail=f"a password has at least {SHORTEST} characters and at most {LONGEST} bytes")
    return hash_password(given)


_NOBODY = hash_secret("")
_ZEROS = base64.b64encode(bytes(16)).decode(), base64.b64encode(bytes(32)).decode()
_NOBODY_SCRYPT = f"scrypt${_LOG_N}${_R}${_P}${_ZEROS[0]}${_ZEROS[1]}"


def verify_any(stored: str | None, given: bytes) -> bool:
    """Whether it is the password or secret behind `stored`; None: nobody has that name. As slow for nobody as for somebody."""
    if quick(given):
        kept = stored if stored and stored.startswith("sha256$") else _NOBODY
        return hmac.compare_digest(kept.encode(), hash_secret(given).encode())
    kept = stored if stored and stored.startswith("scrypt$") else _NOBODY_SCRYPT
    return verify_password(kept, given[: LONGEST + 1])


def quick(given: bytes) -> bool:
    """Whether `verify_any` takes microseconds for it; else some 50 ms: call it in a thread."""
    return given.startswith(MADE.encode())


def _scrypt(password: bytes, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    n = 1 << log_n
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r + (1 << 20), dklen=32)
