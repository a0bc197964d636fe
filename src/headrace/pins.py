"""Whom this user trusts to sign: names he gave to keys, in a file of his own (0600), beside his credentials.

A pin is worth what the way is worth by which the fingerprint came: by telephone, on paper, from a page that is known.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from headrace import credentials
from headrace.controls import one_line
from headrace.disk import write_whole
from headrace.errors import BadInput, Conflict, NotFound
from headrace.services.verification.offline import Pins
from headrace.services.verification.signing import PEM, public_key

KINDS = ("key", "operator")
"""A company's signing key; the key of a ledger's operator."""
NAME = 100
"""Characters of a name."""
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")


def file() -> Path:
    """The file of pins."""
    return credentials.file().with_name("trust.json")


def kept() -> dict[str, dict[str, str]]:
    """Name -> ``key`` and ``operator`` -> fingerprint. Raises BadInput: the file is damaged."""
    return credentials.entries(file(), "mend it, or delete it and pin your keys again", _is_pin)


def add(name: str, key: str = "", operator: str = "") -> dict[str, str]:
    """Pin fingerprints under a name; what the name has then.

    Raises:
        BadInput: no such name may be given. Conflict: it has another key already.
    """
    try:
        one_line(name)
    except ValueError as error:
        raise BadInput(detail=f"the name: {error}") from error
    if not name.strip() or len(name) > NAME:
        raise BadInput(detail=f"a name has 1 to {NAME} characters")
    pins = kept()
    mine = dict(pins.get(name, {}))
    for kind, given in zip(KINDS, (key, operator), strict=True):
        if given and mine.setdefault(kind, given) != given:
            raise Conflict(
                detail=f"{name!r} is pinned to another {kind}; `headrace trust delete` takes that away first"
            )
    _write(pins | {name: mine})
    return mine


def delete(name: str) -> None:
    """Trust that name no more. Raises NotFound."""
    pins = kept()
    if pins.pop(name, None) is None:
        raise NotFound(detail=f"nothing is pinned as {name!r}; `headrace trust list` shows what is")
    _write(pins)


def chosen(key: str = "", operator: str = "") -> Pins:
    """The pins, and those given for once: then it has to be of these."""
    pins = kept()
    keys, operators = ({one[kind]: name for name, one in pins.items() if kind in one} for kind in KINDS)
    if key:
        keys.setdefault(key, "the key given")
    if operator:
        operators.setdefault(operator, "the operator given")
    return Pins(keys, operators, key, operator)


def fingerprint(text: str) -> str:
    """Of a key that is given as a fingerprint, or as a file with its PEM. Raises BadInput."""
    if not text or _FINGERPRINT.fullmatch(text):
        return text
    try:
        with Path(text).open("rb") as source:
            return public_key(source.read(PEM + 1)).fingerprint
    except OSError as error:
        why = (
            f"{text[:100]!r} is neither a fingerprint (sha256: and 64 digits, 0-9 and a-f) nor a file that can be read"
        )
        raise BadInput(detail=f"{why}: {error.strerror}") from error


def _is_pin(one: object) -> bool:
    return isinstance(one, dict) and all(
        kind in KINDS and isinstance(given, str) and _FINGERPRINT.fullmatch(given) for kind, given in one.items()
    )


def _write(pins: dict[str, dict[str, str]]) -> None:
    path = file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, json.dumps(pins, indent=1, ensure_ascii=False).encode())
    except OSError as error:
        raise BadInput(detail=f"{path} cannot be written: {error.strerror}") from error
