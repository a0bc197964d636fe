"""Merkle trees over SHA-256, hashed as RFC 6962, section 2.1, says: ``0x00`` before a leaf, ``0x01`` before two nodes.

The prefixes keep a node from passing as a leaf. A tree of n leaves splits at the largest power of two below n, so that a
root can be made while leaves come, with one hash kept per level. Here hashes are 32 bytes; `named` gives their text.

>>> named(root([leaf(b"")]))
'sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from headrace.assets import LEAF
from headrace.errors import BadInput, CorruptState

HASH = 32
"""Bytes of a hash."""
Data: TypeAlias = bytes | bytearray | memoryview


def leaf(data: Data) -> bytes:
    """Hash of a leaf."""
    found = hashlib.sha256(b"\0")
    found.update(data)
    return found.digest()


def node(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


def named(digest: bytes) -> str:
    """``sha256:…``"""
    return f"sha256:{digest.hex()}"


class Root:
    """The root of leaves that come one by one. Keeps the roots of perfect subtrees only: at most one per level."""

    def __init__(self) -> None:
        self.count = 0
        """Leaves so far."""
        self._perfect: list[bytes] = []

    @classmethod
    def of(cls, count: int, perfect: bytes) -> Root:
        """Go on from a `state`. Raises CorruptState if it is none."""
        if len(perfect) != HASH * count.bit_count():
            raise CorruptState(detail=f"{len(perfect)} bytes are no state of the root of {count} leaves")
        found = cls()
        found.count, found._perfect = count, split(perfect)
        return found

    def state(self) -> tuple[int, bytes]:
        """(leaves so far, the roots of the perfect subtrees one after the other): all that is needed to go on."""
        return self.count, b"".join(self._perfect)

    def push(self, hashed: bytes) -> None:
        """Take the next leaf's hash."""
        self.count += 1
        self._perfect.append(hashed)
        rest = self.count
        while rest % 2 == 0:
            right, left = self._perfect.pop(), self._perfect.pop()
            self._perfect.append(node(left, right))
            rest //= 2

    def value(self) -> bytes:
        """The root of what came so far; of nothing, the hash of nothing."""
        if not self._perfect:
            return hashlib.sha256().digest()
        found = self._perfect[-1]
        for left in reversed(self._perfect[:-1]):
            found = node(left, found)
        return found


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    found = Root()
    for each in leaves:
        found.push(each)
    return found.value()


def records_root(records: Iterable[bytes]) -> str:
    """The root over records in order, each one leaf whatever its length: what a range of a stream is known by."""
    return named(root(map(leaf, records)))


class Tree:
    """The leaves of content that comes in pieces of any length.

    Args:
        size: bytes of a leaf; the last one may be shorter.
    """

    def __init__(self, size: int = LEAF) -> None:
        self._size, self._whole = size, bytearray()
        self._begun, self._fill = hashlib.sha256(b"\0"), 0

    def update(self, data: Data) -> None:
        """Take in the next bytes."""
        view = memoryview(data)
        while view:
            piece = view[: self._size - self._fill]
            self._begun.update(piece)
            self._fill += len(piece)
            view = view[len(piece) :]
            if self._fill == self._size:
                self._whole += self._begun.digest()
                self._begun, self._fill = hashlib.sha256(b"\0"), 0

    def leaves(self) -> bytes:
        """The hashes of all leaves, one after the other, the unfinished last one included."""
        return bytes(self._whole) + (self._begun.digest() if self._fill else b"")

    def root(self) -> bytes:
        """The root over them."""
        return root(split(self.leaves()))


def split(leaves: bytes) -> list[bytes]:
    """Hashes that stand one after the other."""
    return [leaves[start : start + HASH] for start in range(0, len(leaves), HASH)]


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path (RFC 6962, section 2.1.1) that shows that a leaf is in the tree: siblings, from the leaf upwards.

    Raises:
        BadInput: there is no leaf of that index.
    """
    if not 0 <= index < len(leaves):
        raise BadInput(detail=f"there is no leaf {index} in a tree of {len(leaves)}")
    found, level = [], list(leaves)
    while len(level) > 1:
        if (index ^ 1) < len(level):
            found.append(level[index ^ 1])
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [node(left, right) for left, right in pairs] + level[len(level) - len(level) % 2 :]
        index //= 2
    return found


def check(hashed: bytes, index: int, size: int, audit: Sequence[bytes], expected: bytes) -> None:
    """That a leaf's hash is at `index` in the tree of `size` leaves with root `expected` (RFC 9162, section 2.1.3.2).

    Raises:
        CorruptState: the path does not show it.
    """
    at, last = index, size - 1
    fits = 0 <= index < size
    found = hashed
    for sibling in audit if fits else ():
        if last == 0:
            fits = False
            break
        if at & 1 or at == last:
            found = node(sibling, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node(found, sibling)
        at, last = at >> 1, last >> 1
    if not fits or last != 0 or found != expected:
        raise CorruptState(detail=f"leaf {index} of {size} is not in the tree of root {named(expected)}")
