"""Merkle trees against RFC 6962's own recursive words."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import merkle
from headrace.errors import BadInput, CorruptState

RECORDS = st.lists(st.binary(max_size=40), max_size=40)


def naive_root(records: list[bytes]) -> bytes:
    """MTH(D[n]) as RFC 6962, section 2.1, writes it."""
    if not records:
        return hashlib.sha256(b"").digest()
    if len(records) == 1:
        return hashlib.sha256(b"\x00" + records[0]).digest()
    half = _half(len(records))
    return hashlib.sha256(b"\x01" + naive_root(records[:half]) + naive_root(records[half:])).digest()


def naive_path(at: int, records: list[bytes]) -> list[bytes]:
    """PATH(m, D[n]) as section 2.1.1 writes it."""
    if len(records) == 1:
        return []
    half = _half(len(records))
    if at < half:
        return [*naive_path(at, records[:half]), naive_root(records[half:])]
    return [*naive_path(at - half, records[half:]), naive_root(records[:half])]


def _half(count: int) -> int:
    half = 1
    while half * 2 < count:
        half *= 2
    return half


@given(RECORDS)
def test_the_root_is_the_rfcs(records: list[bytes]) -> None:
    assert merkle.root(map(merkle.leaf, records)) == naive_root(records)
    assert merkle.records_root(records) == merkle.named(naive_root(records))


@given(RECORDS)
def test_a_streaming_root_is_right_after_every_leaf(records: list[bytes]) -> None:
    streaming = merkle.Root()
    assert streaming.value() == naive_root([])
    for count, record in enumerate(records, 1):
        streaming.push(merkle.leaf(record))
        assert streaming.count == count and streaming.value() == naive_root(records[:count])


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 16))
def test_pieces_of_any_length_give_the_same_tree(pieces: list[bytes], size: int) -> None:
    tree, content = merkle.Tree(size), b"".join(pieces)
    for piece in pieces:
        tree.update(piece)
    records = [content[at : at + size] for at in range(0, len(content), size)]
    assert merkle.split(tree.leaves()) == [merkle.leaf(record) for record in records]
    assert tree.root() == naive_root(records)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_a_leaf_is_shown_by_its_path_and_by_no_other(records: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(records) - 1))
    leaves = [merkle.leaf(record) for record in records]
    path, root = merkle.path(leaves, at), naive_root(records)
    assert path == naive_path(at, records)
    merkle.check(leaves[at], at, len(leaves), path, root)
    wrong = [
        (merkle.leaf(b"another" + records[at]), at, len(leaves), path, root),
        (leaves[at], at, len(leaves), [*path, bytes(32)], root),
        (leaves[at], at, len(leaves), path, bytes(32)),
        (leaves[at], at + len(leaves), len(leaves), path, root),
        (leaves[at], -1, len(leaves), path, root),
    ]
    if path:
        changed = data.draw(st.integers(0, len(path) - 1))
        wrong.append((leaves[at], at, len(leaves), path[:-1], root))
        wrong.append((leaves[at], at, len(leaves), [*path[:changed], bytes(32), *path[changed + 1 :]], root))
    for case in wrong:
        with pytest.raises(CorruptState, match="not in the tree"):
            merkle.check(*case)


def test_a_node_does_not_pass_as_a_leaf() -> None:
    left, right = merkle.leaf(b"a"), merkle.leaf(b"b")
    assert merkle.leaf(left + right) != merkle.node(left, right)


def test_there_is_no_path_to_what_is_not_there() -> None:
    for leaves, at in (([], 0), ([merkle.leaf(b"")], 1), ([merkle.leaf(b"")], -1)):
        with pytest.raises(BadInput, match="no leaf"):
            merkle.path(leaves, at)


def test_known_roots() -> None:
    """Roots of the reference tree of Certificate Transparency's own implementations."""
    records = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
    records.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
    assert merkle.root(map(merkle.leaf, records)).hex() == (
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    )
