"""What the contracts understand: acts as calldata and back, events, errors. Their sources stand in ``contracts/``.

All their texts are one ``bytes`` argument, encoded as the Solidity contract ABI says; each has one encoding here, and
another that would mean the same is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias

from headrace.trust.ledgers import LONGEST, Act, Anchor, Deploy, Record, Revoke
from headrace.trust.transactions import Transaction, keccak

Event: TypeAlias = tuple[str, list[bytes], bytes]
"""Name, indexed arguments (a word each), and the text (of an anchor: the count, a word)."""
WORD = 32
"""Bytes."""
NAMES: dict[Literal["dataset", "model"], str] = {"dataset": "Dataset", "model": "Model"}
ERRORS = {
    "NotOwner": "{address} belongs to another account",
    "AlreadyRecorded": "{address} has a result already, and another one: it is written once",
    "AlreadyRevoked": "{address} is revoked already, for another reason: that is written once",
}


@cache
def compiled() -> dict[str, Any]:
    """Name -> ABI, methods, bytecode."""
    text = files("headrace.trust.ledgers").joinpath("contracts.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)["contracts"]
    return found


@cache
def creation(name: str) -> bytes:
    """The code that makes a contract."""
    return bytes.fromhex(compiled()[name]["bytecode"])


@cache
def method(name: str, signature: str) -> bytes:
    """The four bytes that choose a method."""
    return bytes.fromhex(compiled()[name]["methods"][signature])


def refusal(output: bytes, address: str) -> str:
    """Why a contract refused, for people."""
    for name, says in ERRORS.items():
        if output[:4] == keccak(f"{name}()".encode())[:4]:
            return says.format(address=address)
    return f"{address} does not take this"


def encode_text(text: bytes) -> bytes:
    """One ``bytes`` argument: where it stands, its length, itself, zeros up to a whole word.

    >>> [encode_text(b"ab")[at : at + 32].lstrip(b"\\0").rstrip(b"\\0") for at in (0, 32, 64)]
    [b' ', b'\\x02', b'ab']
    """
    return _word(WORD) + _word(len(text)) + text + bytes(-len(text) % WORD)


def decode_text(data: bytes) -> bytes:
    """The argument. Raises ValueError: not in its one encoding."""
    size = int.from_bytes(data[WORD : 2 * WORD], "big")
    text = data[2 * WORD : 2 * WORD + size]
    if len(data) > LONGEST + 3 * WORD or encode_text(text) != data:
        raise ValueError("no text in its one encoding")
    return text


def calldata(act: Act) -> bytes:
    """What an account has to send for an act."""
    if isinstance(act, Deploy):
        return creation(NAMES[act.kind]) + encode_text(act.claim)
    if isinstance(act, Record):
        return method("Model", "record(bytes)") + encode_text(act.result)
    if isinstance(act, Revoke):
        return method("Model", "revoke(bytes)") + encode_text(act.reason.encode())
    return method("Anchors", "anchor(bytes32,uint64)") + act.root + _word(act.count)


def meaning(transaction: Transaction, anchors: str) -> Act | None:
    """What a transaction does; None: it makes the contract of the anchors. Raises ValueError: nothing of ours.

    Args:
        anchors: address of that contract.
    """
    data, to = transaction.data, transaction.to
    if to is None:
        return _made(data)
    chosen, rest = data[:4], data[4:]
    if chosen == method("Model", "record(bytes)") and to != anchors:
        return Record(to, decode_text(rest))
    if chosen == method("Model", "revoke(bytes)") and to != anchors:
        return Revoke(to, decode_text(rest).decode())
    if chosen == method("Anchors", "anchor(bytes32,uint64)") and to == anchors and len(rest) == 2 * WORD:
        count = int.from_bytes(rest[WORD:], "big")
        if 0 < count < 2**64:
            return Anchor(rest[:WORD], count)
    raise ValueError("no act of ours")


def _made(data: bytes) -> Deploy | None:
    if data == creation("Anchors"):
        return None
    for kind, name in NAMES.items():
        code = creation(name)
        if data.startswith(code):
            return Deploy(kind, decode_text(data[len(code) :]))
    raise ValueError("no contract of ours")


@cache
def _topics() -> dict[bytes, str]:
    """What marks an event -> its name."""
    known = {
        "Claimed(bytes32,bytes)",
        "Recorded(bytes32,bytes)",
        "Revoked(bytes32,bytes)",
        "Anchored(address,bytes32,uint64)",
    }
    return {keccak(signature.encode()): signature.partition("(")[0] for signature in known}


def event(topics: Sequence[int], data: bytes) -> Event:
    """An event of one of our contracts. Raises ValueError: of none."""
    mark, *indexed = [topic.to_bytes(WORD, "big") for topic in topics]
    name = _topics().get(mark)
    if name is None:
        raise ValueError("no event of ours")
    return name, indexed, data if name == "Anchored" else decode_text(data)


def _word(value: int) -> bytes:
    return value.to_bytes(WORD, "big")
