"""Signed texts: DSSE envelopes (secure-systems-lab/dsse, protocol v1.0.2), plain and in a Sigstore bundle v0.3.

Both carry an in-toto statement. Written without the libraries of these formats, which take longer to import than all the
rest takes; tests have the libraries read what is written here. Checked by making the envelope anew around its own signature:
nothing in it is free but that.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeAlias

from headrace.claims import canonical
from headrace.errors import Tampered
from headrace.services.verification.signing import PublicKey, Signer

TYPE = "application/vnd.in-toto+json"
SIGSTORE = "application/vnd.dev.sigstore.bundle.v0.3+json"
LONGEST = 200
"""Characters of a signature: one of P-256 has at most 96."""
NAME, FEW = 100, 5
"""Characters of a name or value, and names of a list, in a message."""
SHOWN = 2**20
"""Bytes of a statement up to which a message says what is wrong in it."""
_BEGINS = b'"sig":"'
_NOTHING = b'"sig":""'
Form: TypeAlias = Callable[[bytes, bytes, PublicKey], dict[str, Any]]
"""(payload, signature, key) -> the JSON object."""


def pae(payload: bytes) -> bytes:
    """What is signed: type and payload with their lengths.

    >>> pae(b"{}")
    b'DSSEv1 28 application/vnd.in-toto+json 2 {}'
    """
    return b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(payload), payload)


def dsse(payload: bytes, signature: bytes, key: PublicKey) -> dict[str, Any]:
    """A plain envelope; its key id is the key's fingerprint."""
    signed = {"keyid": key.fingerprint, "sig": _text(signature)}
    return {"payload": _text(payload), "payloadType": TYPE, "signatures": [signed]}


def sigstore(payload: bytes, signature: bytes, key: PublicKey) -> dict[str, Any]:
    """An envelope as `model_signing` has it for a plain key: no certificate, no transparency log."""
    hint = hashlib.sha256(key.pem).hexdigest()
    inner = {"payload": _text(payload), "payloadType": TYPE, "signatures": [{"keyid": "", "sig": _text(signature)}]}
    return {
        "mediaType": SIGSTORE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": inner,
    }


def sign(form: Form, payload: bytes, signer: Signer) -> bytes:
    """The signed text."""
    return canonical(form(payload, signer.sign(pae(payload)), signer.public))


def check(form: Form, name: str, data: bytes, payload: bytes, key: PublicKey) -> None:
    """That a signed text says exactly this, signed with this key.

    Args:
        name: of the text, for the message.

    Raises Tampered.
    """
    before, after = canonical(form(payload, b"", key)).split(_NOTHING)
    signature = _signature(data[len(before) : len(data) - len(after)])
    if canonical(form(payload, signature, key)) != data:
        raise Tampered(detail=f"{name} says something else than the rest of the bundle{_difference(data, payload)}")
    try:
        key.check(signature, pae(payload))
    except Tampered as error:
        raise Tampered(detail=f"{name} was not signed with the key {key.fingerprint}") from error


def _signature(text: bytes) -> bytes:
    """Base64 between quotes; b"" for what is none."""
    try:
        return base64.b64decode(text[len(_BEGINS) : -1], validate=True) if len(text) < LONGEST else b""
    except ValueError:
        return b""


def _difference(data: bytes, payload: bytes) -> str:
    """Where a statement parts from the expected one, for people; "" if it does not."""
    try:
        found = json.loads(data) if len(data) < SHOWN else {}
        one: Any = json.loads(base64.b64decode(found.get("dsseEnvelope", found)["payload"]))
        other: Any = json.loads(payload)
        path: list[str] = []
        while one != other and (step := _step(one, other)):
            word, one, other = step
            path.append(word)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return f": {'.'.join(path)} is {_shown(one)}, not {_shown(other)}" if path else ""


def _step(one: Any, other: Any) -> tuple[str, Any, Any] | None:
    """Into the first part that differs: the word for it, and its two values; None: they have no parts to compare."""
    if isinstance(one, dict) and isinstance(other, dict):
        name = next(name for name in sorted({*one, *other}) if one.get(name) != other.get(name))
        return name, one.get(name), other.get(name)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        at = next(at for at, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
        named = next((part["name"] for part in (other[at], one[at]) if isinstance(part, dict) and "name" in part), at)
        return str(named)[:NAME], one[at], other[at]
    return None


def _shown(value: Any) -> str:
    """A value in a message: names of files, or of parts, where it has many."""
    if value is None:
        return "missing"
    if isinstance(value, list):
        names = [str(part["name"])[:NAME] for part in value[:FEW] if isinstance(part, dict) and "name" in part]
        return f"a list of {len(value):,}" + (
            f" ({', '.join(names)}{', …' if len(value) > FEW else ''})" if names else ""
        )
    return f"one of {len(value):,} parts" if isinstance(value, dict) else str(value)[:NAME]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
