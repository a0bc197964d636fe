"""Whom this user trusts to sign: names he gave to keys and ledgers, in a file of his own (0600), beside his credentials.

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
from headrace.services.verification.knowing import Pins
from headrace.services.verification.signing import PEM, public_key

KINDS = ("key", "operator", "genesis")
"""A company's signing key; the key of a ledger's operator; the hash of a ledger's first block."""
SEEN = "seen"
"""Of a name with an operator: the genesis block of his that was seen first, where none is pinned."""
NAME = 100
"""Characters of a name."""
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
_BLOCK = re.compile(r"0x[0-9a-f]{64}")
_DIGITS = re.compile(r"(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}")


def file() -> Path:
    """The file of pins."""
    return credentials.file().with_name("trust.json")


def kept() -> dict[str, dict[str, str]]:
    """Name -> ``key``, ``operator``, ``genesis``, `SEEN` -> fingerprint. Raises BadInput: the file is damaged."""
    return credentials.entries(file(), "mend it, or delete it and pin your keys again", _is_pin)


def add(name: str, key: str = "", operator: str = "", genesis: str = "") -> dict[str, str]:
    """Pin fingerprints under a name; what the name has then.

    Raises:
        BadInput: no such name may be given. Conflict: it has another key already, or its operator another ledger.
    """
    try:
        one_line(name)
    except ValueError as error:
        raise BadInput(detail=f"the name: {error}") from error
    if not name.strip() or len(name) > NAME:
        raise BadInput(detail=f"a name has 1 to {NAME} characters")
    pins = kept()
    mine = dict(pins.get(name, {}))
    for kind, given in zip(KINDS, (key, operator, genesis), strict=True):
        if given and mine.setdefault(kind, given) != given:
            raise Conflict(
                detail=f"{name!r} is pinned to another {kind}; `headrace trust delete` takes that away first"
            )
    if genesis and mine.pop(SEEN, genesis) != genesis:
        raise Conflict(
            detail=f"a bundle of another ledger of {name!r} was seen before, of genesis block {pins[name][SEEN]}: its operator "
            "began a second history; `headrace trust delete` forgets the first"
        )
    _write(pins | {name: mine})
    return mine


def delete(name: str) -> None:
    """Trust that name no more. Raises NotFound."""
    pins = kept()
    if pins.pop(name, None) is None:
        raise NotFound(detail=f"nothing is pinned as {name!r}; `headrace trust list` shows what is")
    _write(pins)


def chosen(key: str = "", operator: str = "", genesis: str = "") -> Pins:
    """The pins, and those given for once: then it has to be of these."""
    pins = kept()
    keys, operators, geneses = ({one[kind]: name for name, one in pins.items() if kind in one} for kind in KINDS)
    for given, among, what in ((key, keys, "key"), (operator, operators, "operator"), (genesis, geneses, "ledger")):
        if given:
            among.setdefault(given, f"the {what} given")
    return Pins(keys, operators, key, operator, geneses, genesis, _ledgers(pins))


def remember(operator: str, genesis: str) -> list[str]:
    """Keep which ledger of a pinned operator was seen first; the names for which that is new. Raises BadInput."""
    pins = kept()
    fresh = [
        name for name, one in pins.items() if one.get("operator") == operator and not {"genesis", SEEN} & one.keys()
    ]
    if fresh:
        _write(pins | {name: pins[name] | {SEEN: genesis} for name in fresh})
    return fresh


def _ledgers(pins: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """See `Pins.ledgers`: what is pinned holds for key and operator of its name, what was seen for the operator."""
    found: dict[str, dict[str, str]] = {}
    for name, one in pins.items():
        for kind in ("key", "operator"):
            if kind in one and "genesis" in one:
                found.setdefault(one[kind], {})[one["genesis"]] = f"is pinned as {name!r}"
        if "operator" in one and SEEN in one:
            found.setdefault(one["operator"], {})[one[SEEN]] = f"was the first one seen of {name!r}"
    return found


def fingerprint(text: str) -> str:
    """Of a key that is given as a fingerprint, however it is written, or as a file with its PEM. Raises BadInput."""
    if not text:
        return ""
    if found := _hex(text, "sha256:"):
        return f"sha256:{found}"
    if text.startswith("0x") and _hex(text, "0x"):
        raise BadInput(detail=f"{text} is no key but the hash of a block: --genesis names it")
    try:
        with Path(text).open("rb") as source:
            return public_key(source.read(PEM + 1)).fingerprint
    except OSError as error:
        why = (
            f"{text[:100]!r} is neither a fingerprint (sha256: and 64 digits, 0-9 and a-f) nor a file that can be read"
        )
        raise BadInput(detail=f"{why}: {error.strerror}") from error


def block(text: str) -> str:
    """The hash of a genesis block. Raises BadInput."""
    if not text:
        return ""
    if found := _hex(text, "0x"):
        return f"0x{found}"
    raise BadInput(
        detail=f"{text[:100]!r} is no hash of a genesis block (0x and 64 digits, 0-9 and a-f): `headrace ledger` prints it"
    )


def _hex(text: str, before: str) -> str:
    """The 64 digits, small, as tools print them: with colons, in capitals, without what stands before, with the ``-`` of
    sha256sum behind; "": it is none.

    >>> _hex("SHA256:" + ":".join(["AB"] * 32), "sha256:") == "ab" * 32
    True
    """
    bare = text.strip().lower().removesuffix("-").rstrip().removeprefix(before)
    return bare.replace(":", "") if _DIGITS.fullmatch(bare) else ""


def _is_pin(one: object) -> bool:
    return isinstance(one, dict) and all(isinstance(given, str) and _fits(kind, given) for kind, given in one.items())


def _fits(kind: str, given: str) -> bool:
    form = _FINGERPRINT if kind in {"key", "operator"} else _BLOCK if kind in {"genesis", SEEN} else None
    return form is not None and form.fullmatch(given) is not None


def _write(pins: dict[str, dict[str, str]]) -> None:
    path = file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, json.dumps(pins, indent=1, ensure_ascii=False).encode())
    except OSError as error:
        raise BadInput(detail=f"{path} cannot be written: {error.strerror}") from error
