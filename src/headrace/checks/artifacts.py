"""What every store of large contents must do. ``make(path)`` opens one on a directory; a durable one opened again has all."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from headrace.assets import LEAF, Stored
from headrace.errors import Conflict, CorruptState, HeadraceError, NotFound
from headrace.merkle import leaf, named, root
from headrace.stores.artifacts import Artifacts

SIZES = (0, 1, 4095, 4096, LEAF - 1, LEAF, LEAF + 1, 3 * LEAF, 4 * LEAF, 9 * LEAF + 7)
"""Around the edges of leaves and disk blocks."""
FOREIGN = ("../acme", "..", "/acme", "acme/../acme", "a\0b", "acme\n", "", "a" * 100, "ä", "-x", ".")
"""No names of companies."""


def content(size: int) -> bytes:
    """Bytes whose leaves all differ."""
    return hashlib.shake_128(b"headrace").digest(size)


def stored(data: bytes) -> Stored:
    """What content has to be known by, made in the plainest way."""
    leaves = [leaf(data[at : at + LEAF]) for at in range(0, len(data), LEAF)]
    return Stored(size=len(data), sha256="sha256:" + hashlib.sha256(data).hexdigest(), root=named(root(leaves)))


async def put(store: Artifacts, company: str, upload: str, data: bytes, piece: int = 65_536) -> Stored:
    """Upload bytes in pieces."""
    incoming = await store.receive(company, upload)
    try:
        for at in range(0, len(data), piece):
            await incoming.write(data[at : at + piece])
        return await incoming.finish()
    finally:
        await incoming.pause()


async def get(store: Artifacts, company: str, wanted: Stored, start: int = 0, stop: int | None = None) -> bytes:
    """Read bytes."""
    return b"".join([piece async for piece in store.read(company, wanted, start, stop)])


async def check_artifacts(make: Callable[[Path], Artifacts], path: Path, *, durable: bool) -> None:
    """Raises AssertionError with what went wrong.

    Args:
        path: an empty directory.
        durable: whether what was taken in outlives the object.
    """
    store = make(path)
    await _whole(store)
    await _ranges(store)
    await _later(make, path, store, durable=durable)
    await _finished(store)
    await _racing(store)
    await _companies(store)
    await _deleted(store)
    await _forgotten(store)
    await _lent(store)
    await _names(store)


async def _whole(store: Artifacts) -> None:
    assert await store.list("acme") == [], "a new store is not empty"
    for size in SIZES:
        data = content(size)
        found = await put(store, "acme", f"up_{size}", data, piece=100_003)
        assert found == stored(data), f"{size} bytes are known by the wrong size, digest or root"
        assert await get(store, "acme", found) == data, f"{size} bytes changed"
    assert await put(store, "acme", "up_again", content(LEAF)) == stored(content(LEAF)), "the same content is another"
    assert await store.list("acme") == sorted(stored(content(size)).sha256 for size in SIZES), "the list is wrong"


async def _ranges(store: Artifacts) -> None:
    data = content(SIZES[-1])
    wanted = stored(data)
    for start, stop in ((0, 1), (5, 5), (LEAF - 1, LEAF + 1), (3 * LEAF, None), (2, len(data) + 9), (len(data), None)):
        assert await get(store, "acme", wanted, start, stop) == data[start:stop], f"bytes {start} to {stop} are others"
    wrong = wanted.model_copy(update={"root": named(bytes(32))})
    await _raises(CorruptState, get(store, "acme", wrong), "content was given out under a wrong root")


async def _later(make: Callable[[Path], Artifacts], path: Path, store: Artifacts, *, durable: bool) -> None:
    """An upload goes on wherever it was left, aligned or not."""
    data, at = content(5 * LEAF + 11), 0
    for end in (0, 10, LEAF, 4 * LEAF + 4097, len(data)):
        incoming = await store.receive("acme", "up_later", {"name": "ä"})
        assert incoming.offset == at, "an upload does not go on where it stopped"
        await incoming.write(data[at:end])
        at = await incoming.pause()
        assert at == end == await incoming.pause() == incoming.offset, "a pause lost bytes"
        await _raises(Conflict, incoming.write(b"x"), "a paused writer may still write")
        known = await store.upload("acme", "up_later")
        assert (known.offset, known.about) == (end, {"name": "ä"}), "what is known of an upload is wrong"
        store = make(path) if durable else store
    incoming = await store.receive("acme", "up_later", {"name": "b", "c": "d"})
    assert (await store.upload("acme", "up_later")).about == {"name": "b", "c": "d"}, "what is said last is not kept"
    assert await incoming.finish() == stored(data), "content that came in parts is known by something else"
    assert await get(store, "acme", stored(data)) == data, "content that came in parts is other content"


async def _finished(store: Artifacts) -> None:
    """Finishing again gives the same, until it is forgotten."""
    first = await (await store.receive("acme", "up_twice", {})).finish()
    again = await store.receive("acme", "up_twice")
    assert again.offset == 0 and await again.finish() == first == await again.finish(), "finishing again gives another"
    await _raises(Conflict, again.write(b"x"), "a finished upload was written")
    assert (await store.upload("acme", "up_twice")).offset == 0, "a finished upload is not known any more"
    await store.discard("acme", "up_twice")
    await store.discard("acme", "up_twice")
    await _raises(NotFound, store.upload("acme", "up_twice"), "a discarded upload is still known")
    assert await get(store, "acme", first) == b"", "content went with the upload it came by"


async def _racing(store: Artifacts) -> None:
    """Two uploads racing for one id."""
    one = await store.receive("acme", "up_race")
    await one.write(b"first")
    await _raises(Conflict, store.receive("acme", "up_race"), "an upload has two writers")
    await _raises(Conflict, store.discard("acme", "up_race"), "an upload was discarded under its writer")
    same = await store.receive("other", "up_race")
    assert await one.finish() == stored(b"first"), "the first writer's content changed"
    await same.pause()
    await store.discard("other", "up_race")


async def _companies(store: Artifacts) -> None:
    """What one company has is not there for another, not even as an upload that would be quicker."""
    data = content(2 * LEAF)
    mine = await put(store, "acme", "up_mine", data)
    assert await store.list("other") == [], "a company sees another's content"
    await _raises(NotFound, get(store, "other", mine), "a company reads another's content")
    await _raises(NotFound, _borrow(store, "other", mine), "a company borrows another's content")
    paused = await store.receive("acme", "up_foreign", {"a": "b"})
    await paused.pause()
    await _raises(NotFound, store.upload("other", "up_foreign"), "a company sees another's upload")
    await store.discard("other", "up_foreign")
    await store.delete("other", mine.sha256)
    assert await put(store, "other", "up_theirs", data) == mine, "equal content is known by something else"
    await store.delete("acme", mine.sha256)
    assert await get(store, "other", mine) == data, "a company's content went with another's"
    await store.upload("acme", "up_foreign")


async def _deleted(store: Artifacts) -> None:
    data = content(8 * LEAF)
    mine = await put(store, "acme", "up_gone", data)
    pieces = store.read("acme", mine)
    got = await anext(pieces)
    await store.delete("acme", mine.sha256)
    await store.delete("acme", mine.sha256)
    async for piece in pieces:
        got += piece
    assert got == data, "a reader lost what was deleted while he read it"
    await _raises(NotFound, get(store, "acme", mine), "deleted content is still there")
    assert mine.sha256 not in await store.list("acme"), "deleted content is still listed"


async def _forgotten(store: Artifacts) -> None:
    """A company that goes takes everything with it, also what is being written; another keeps its own."""
    data = content(LEAF + 3)
    wanted = await put(store, "leaver", "a", data)
    await put(store, "stayer", "a", data)
    incoming = await store.receive("leaver", "b", {"name": "b"})
    await incoming.write(b"half")
    await store.forget("leaver")
    assert await store.list("leaver") == [], "a forgotten company still has contents"
    await _raises(NotFound, get(store, "leaver", wanted), "a forgotten company's content was given")
    await _raises(NotFound, store.upload("leaver", "b"), "a forgotten company's upload is still known")
    await _raises(HeadraceError, incoming.finish(), "an upload of a forgotten company became a content")
    await incoming.pause()
    assert await store.list("leaver") == [], "an upload of a forgotten company became a content"
    assert await get(store, "stayer", wanted) == data, "another company lost its content"
    await store.forget("leaver")
    assert await put(store, "leaver", "c", data) == wanted, "nothing can be stored any more"


async def _lent(store: Artifacts) -> None:
    data = content(LEAF + 5)
    mine = await put(store, "acme", "up_lent", data)
    async with store.local("acme", mine) as path:
        assert path.is_file() and not path.is_symlink() and path.read_bytes() == data, "a lent file has other content"
        assert not stat.S_IMODE(path.stat().st_mode) & 0o222, "a lent file may be written"
        assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444, "a lent file is not for a sandbox's user to read"
        await store.delete("acme", mine.sha256)
        assert path.read_bytes() == data, "a lent file went while it was used"
    assert not path.exists(), "a lent file was not given back"
    await _raises(NotFound, _borrow(store, "acme", mine), "deleted content is lent")


async def _names(store: Artifacts) -> None:
    """Whatever is no name is not there; nothing of it reaches a path."""
    good = stored(b"first")
    for name in FOREIGN:
        for call in (
            store.receive(name, "up_x"),
            store.upload(name, "up_x"),
            store.discard(name, "up_x"),
            store.list(name),
            store.delete(name, good.sha256),
            get(store, name, good),
            _borrow(store, name, good),
        ):
            await _raises(NotFound, call, f"{name!r} is taken for a company")
        for call in (store.receive("acme", name), store.upload("acme", name), store.discard("acme", name)):
            await _raises(NotFound, call, f"{name!r} is taken for an upload")
        bad = good.model_copy(update={"sha256": name})
        for call in (get(store, "acme", bad), store.delete("acme", name), _borrow(store, "acme", bad)):
            await _raises(NotFound, call, f"{name!r} is taken for a digest")
    for name in ("sha256:" + "../" * 21 + "x", good.sha256.upper(), good.sha256 + "\n", os.sep + good.sha256):
        await _raises(NotFound, store.delete("acme", name), f"{name!r} is taken for a digest")


async def _borrow(store: Artifacts, company: str, wanted: Stored) -> None:
    async with store.local(company, wanted):
        pass


async def _raises(kind: type[HeadraceError], call: Awaitable[Any], otherwise: str) -> None:
    try:
        await call
    except kind:
        return
    raise AssertionError(otherwise)
