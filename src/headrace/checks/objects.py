"""What every content-addressed store must do."""

from __future__ import annotations

from headrace.errors import UnknownObject
from headrace.states import digest
from headrace.stores.objects import Objects


def check_objects(store: Objects) -> None:
    """Raises AssertionError with what went wrong. The store is empty at first."""
    assert store.list() == [], "a new store is not empty"
    data = bytes(range(256)) * 100
    name = store.put(data)
    assert name == digest(data), "an object is not named by its SHA-256"
    assert store.put(data) == name and store.list() == [name], "putting twice is not harmless"
    assert store.get(name) == data, "the bytes changed"
    assert store.put(b"") == digest(b"") and store.get(digest(b"")) == b"", "the empty object is lost"
    for bad in (digest(b"other"), "sha256:zz", "../../etc/passwd", "sha256:" + "../" * 20, ""):
        _unknown(store, bad)
    store.delete(name)
    store.delete(name)
    _unknown(store, name)


def _unknown(store: Objects, name: str) -> None:
    try:
        store.get(name)
    except UnknownObject:
        return
    raise AssertionError(f"get({name!r}) did not raise UnknownObject")
