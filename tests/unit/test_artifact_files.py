"""Artifacts in folders: what a kill, a full disk, a changed byte, a cancelled request and a slow disk do."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.assets import LEAF, Stored
from headrace.checks.artifacts import content, get, put, stored
from headrace.errors import CorruptState, StorageUnavailable, TooLarge, TooMany, UnknownObject
from headrace.settings import ArtifactSettings
from headrace.stores.artifacts import blocks
from headrace.stores.artifacts.blocks import BLOCK, Output
from headrace.stores.artifacts.files import FileArtifacts
from headrace.stores.artifacts.folder import Folder
from tests.running import scrubbed


def place(folder: Path, known: Stored, suffix: str = "") -> Path:
    return folder / "acme" / "contents" / (known.sha256[7:] + suffix)


def change(path: Path, at: int, data: bytes = b"!") -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


# -- what was changed on the disk


async def test_reading_stops_at_the_first_bad_leaf(tmp_path: Path) -> None:
    store, data = FileArtifacts(tmp_path), content(5 * LEAF + 3)
    known = await put(store, "acme", "up_1", data)
    change(place(tmp_path, known), 2 * LEAF + 5)
    got = b""
    with pytest.raises(CorruptState, match="leaf 2 of"):
        async for piece in store.read("acme", known):
            got += piece
    assert got == data[: 2 * LEAF]
    assert await get(store, "acme", known, 3 * LEAF) == data[3 * LEAF :]
    with pytest.raises(CorruptState):
        async with store.local("acme", known):
            pass
    assert await put(store, "acme", "up_2", data) == known  # what is uploaded again is whole again
    assert await get(store, "acme", known) == data


@pytest.mark.parametrize("how", ["changed", "cut", "gone", "longer"])
async def test_a_list_of_leaves_that_was_changed(tmp_path: Path, how: str) -> None:
    store = FileArtifacts(tmp_path)
    known = await put(store, "acme", "up_1", content(3 * LEAF))
    leaves = place(tmp_path, known, ".leaves")
    leaves.chmod(0o600)
    found = leaves.read_bytes()
    new = {"changed": b"!" + found[1:], "cut": found[:-32], "longer": found + found, "gone": b""}[how]
    leaves.unlink() if how == "gone" else leaves.write_bytes(new)
    with pytest.raises(CorruptState, match="list of leaves"):
        await get(store, "acme", known)


async def test_leaves_and_content_changed_together(tmp_path: Path) -> None:
    """Whoever can write both files still cannot write the root in the database."""
    store = FileArtifacts(tmp_path)
    known, other = [await put(store, "acme", f"up_{n}", bytes([n]) * (2 * LEAF)) for n in (1, 2)]
    for suffix in ("", ".leaves"):
        place(tmp_path, known, suffix).chmod(0o600)
        place(tmp_path, known, suffix).write_bytes(place(tmp_path, other, suffix).read_bytes())
    with pytest.raises(CorruptState):
        await get(store, "acme", known)


async def test_content_that_lost_its_end(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path)
    known = await put(store, "acme", "up_1", content(LEAF))
    place(tmp_path, known).chmod(0o600)
    os.truncate(place(tmp_path, known), LEAF - 1)
    with pytest.raises(CorruptState, match="1,048,575 bytes, not 1,048,576"):
        await get(store, "acme", known)


async def test_what_is_kept_of_an_upload_was_changed(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path)
    await (await store.receive("acme", "up_1", {})).pause()
    (tmp_path / "acme" / "uploads" / "up_1.json").write_text("{")
    with pytest.raises(CorruptState, match="'up_1'"):
        await store.upload("acme", "up_1")


# -- kills


WRITER = """
import asyncio, sys
from pathlib import Path
from headrace.checks.artifacts import content
from headrace.settings import ArtifactSettings
from headrace.stores.artifacts.files import FileArtifacts
from headrace.stores.artifacts.folder import Folder

async def main():
    store = FileArtifacts(Path(sys.argv[1]), ArtifactSettings(checkpoint_bytes=2**20))
    incoming = await store.receive("acme", "up_1", {"name": "n"})
    data = content(60 * 2**20 + 7)[incoming.offset:]
    print("begun", flush=True)
    for at in range(0, len(data), 65536):
        await incoming.write(data[at:at + 65536])
        await asyncio.sleep(0.002)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_killed_in_mid_upload_and_gone_on_with(tmp_path: Path) -> None:
    data, before = content(60 * 2**20 + 7), 0
    store = FileArtifacts(tmp_path)
    for _ in range(2):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, env=scrubbed())
        assert child.stdout is not None
        assert child.stdout.readline() == b"begun\n"
        while (await store.upload("acme", "up_1")).offset == before:
            await asyncio.sleep(0.001)
        child.kill()
        child.wait()
        child.stdout.close()
        known = await store.upload("acme", "up_1")
        assert before + 2**20 <= known.offset < len(data) and known.about == {"name": "n"}
        before = known.offset
    incoming = await store.receive("acme", "up_1")
    assert incoming.offset == before
    await incoming.write(data[before:])
    assert await incoming.finish() == stored(data)
    assert await get(store, "acme", stored(data)) == data


async def test_what_is_not_known_to_be_durable_is_sent_again(tmp_path: Path) -> None:
    """After a power loss a file may be longer than what is whole in it, and shorter than it was said to be."""
    data = content(2 * LEAF)
    path = tmp_path / "acme" / "uploads" / "up_1"
    first = await FileArtifacts(tmp_path).receive("acme", "up_1", {})
    await first.write(data[:LEAF])
    await first.pause()
    with path.open("ab") as file:
        file.write(b"half a block of something")
    second = await FileArtifacts(tmp_path).receive("acme", "up_1")
    assert second.offset == LEAF
    await second.pause()
    os.truncate(path, 1000)
    assert (await FileArtifacts(tmp_path).upload("acme", "up_1")).offset == 1000
    third = await FileArtifacts(tmp_path).receive("acme", "up_1")
    assert third.offset == 1000
    await third.write(data[1000:])
    assert await third.finish() == stored(data)


async def test_killed_between_noting_and_placing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, store = content(100), FileArtifacts(tmp_path)
    incoming = await store.receive("acme", "up_1", {})
    await incoming.write(data)
    await incoming.pause()
    incoming = await store.receive("acme", "up_1")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", _killed)
        with pytest.raises(KeyboardInterrupt):
            await incoming.finish()
    await incoming.pause()
    again = FileArtifacts(tmp_path)
    assert (await again.upload("acme", "up_1")).offset == 100
    assert await (await again.receive("acme", "up_1")).finish() == stored(data)
    assert await get(again, "acme", stored(data)) == data


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


# -- full disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here: run as root, with CAP_SYS_ADMIN")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_and_then_room_again(disk: Path) -> None:
    data = content(20 * LEAF + 99)
    store = FileArtifacts(disk, ArtifactSettings(checkpoint_bytes=LEAF))
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(14 * LEAF))
    incoming = await store.receive("acme", "up_1", {})
    with pytest.raises(StorageUnavailable, match="No space left"):
        for at in range(0, len(data), 65_536):
            await incoming.write(data[at : at + 65_536])
        await incoming.finish()
    at = incoming.offset
    assert 4 * LEAF <= at <= 10 * LEAF and await incoming.pause() == at == (await store.upload("acme", "up_1")).offset
    ballast.unlink()
    incoming = await store.receive("acme", "up_1")
    assert incoming.offset == at
    await incoming.write(data[at:])
    assert await incoming.finish() == stored(data)
    assert await get(store, "acme", stored(data)) == data


@pytest.mark.parametrize("call", ["pwrite", "fsync", "ftruncate", "fchmod"])
async def test_a_disk_that_fails_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    data, store = content(9 * LEAF), FileArtifacts(tmp_path)
    incoming = await store.receive("acme", "up_1", {})
    await incoming.write(data[:LEAF])
    assert await incoming.pause() == LEAF
    incoming = await store.receive("acme", "up_1")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, _full)
        if call == "ftruncate":
            patched.setattr(os, "pwrite", _full)
        with pytest.raises(StorageUnavailable):
            await incoming.write(data[LEAF:])
            await incoming.finish()
    assert incoming.offset == (await store.upload("acme", "up_1")).offset >= LEAF
    assert await store.list("acme") == []
    counted(store, tmp_path)
    incoming = await store.receive("acme", "up_1")
    await incoming.write(data[incoming.offset :])
    assert await incoming.finish() == stored(data)
    counted(store, tmp_path)


def counted(store: FileArtifacts, folder: Path) -> None:
    """What is counted for the quota is what is on the disk."""
    assert store._shared.used["acme"] == Folder(folder / "acme").used()


def _full(*_: Any) -> int:
    raise OSError(28, "No space left on device")


# -- limits


async def test_a_quota_counts_what_is_there_and_what_comes(tmp_path: Path) -> None:
    limits = ArtifactSettings(quota=1000)
    await put(FileArtifacts(tmp_path), "acme", "up_0", content(600))
    store = FileArtifacts(tmp_path, limits)
    one, two = await store.receive("acme", "up_1"), await store.receive("acme", "up_2")
    await one.write(bytes(300))
    with pytest.raises(TooLarge, match=r"1\.1 KiB, over the limit of 1000 bytes"):
        await two.write(bytes(200))
    await two.write(bytes(100))
    assert await store.room("acme") == 0 and await store.room("other") == 1000
    await one.pause()
    await two.pause()
    await store.discard("acme", "up_1")
    assert await store.room("acme") == 300 and await FileArtifacts(tmp_path).room("acme") is None
    assert (await put(store, "acme", "up_3", content(300))).size == 300
    await store.discard("acme", "up_2")
    assert (await put(store, "acme", "up_4", content(100))).size == 100
    with pytest.raises(TooLarge):
        await put(store, "acme", "up_5", content(1))
    await store.delete("acme", stored(content(600)).sha256)
    assert (await put(store, "acme", "up_6", content(500))).size == 500
    assert (await put(store, "other", "up_1", content(1000))).size == 1000


async def test_content_that_is_there_already_is_kept_and_counted_once(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path, ArtifactSettings(quota=2500))
    for n in range(5):
        await put(store, "acme", f"up_{n}", content(1000))
    assert len(list((tmp_path / "acme" / "contents").iterdir())) == 1


async def test_uploads_nobody_goes_on_with_are_forgotten(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path)
    for name in ("up_old", "up_new", "up_written"):
        incoming = await store.receive("acme", name, {})
        await incoming.write(b"abc")
        await incoming.pause()
    folder = tmp_path / "acme" / "uploads"
    (folder / ".new-left").write_bytes(b"of a kill")
    (folder / "up_plain").write_bytes(b"of a kill, of a form")
    for path in folder.iterdir():
        if "up_new" not in path.name:
            os.utime(path, (0, 0))
    written = await store.receive("acme", "up_written")
    later = FileArtifacts(tmp_path)
    await (await later.receive("acme", "up_next")).pause()
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".json") == [
        "up_new",
        "up_next",
        "up_written",
    ]
    with pytest.raises(UnknownObject):
        await later.upload("acme", "up_old")
    await written.pause()


async def test_bounds_on_uploads(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path, ArtifactSettings(uploads=3, writers=4))
    held = [await store.receive("acme", f"up_{n}", {}) for n in range(2)]
    with pytest.raises(TooMany, match="2 uploads of this company are waiting"):
        await store.receive("acme", "up_2", {})
    await held[0].pause()
    await (await store.receive("acme", "up_2", {})).pause()
    with pytest.raises(TooMany, match="3 unfinished"):
        await store.receive("acme", "up_3")
    await (await store.receive("acme", "up_2")).pause()
    await held[1].pause()


async def test_a_company_writes_half_of_what_the_others_leave(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path, ArtifactSettings(writers=16))
    held, counts = [], []
    for company in ("evil", "one", "two", "three", "four"):
        for number in range(20):
            try:
                held.append(await store.receive(company, f"up_{number}", {}))
            except TooMany:
                counts.append(number)
                break
    assert counts == [8, 4, 2, 1, 1]  # five companies that do their worst
    for incoming in held:
        await incoming.pause()
    await (await store.receive("evil", "up_9", {})).pause()


# -- the way to the disk


WAITS = (
    "open",
    "pread",
    "preadv",
    "pwrite",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fchmod",
    "stat",
    "unlink",
    "replace",
    "mkdir",
)


async def test_the_event_loop_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, called = threading.get_ident(), set()

    def watched(name: str, real: Any) -> Any:
        def call(*given: Any, **more: Any) -> Any:
            assert threading.get_ident() != loop, f"os.{name} on the event loop"
            called.add(name)
            return real(*given, **more)

        return call

    data, store = content(2 * BLOCK + 100), FileArtifacts(tmp_path, ArtifactSettings(checkpoint_bytes=LEAF))
    for name in WAITS:
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
    incoming = await store.receive("acme", "up_1", {})
    await incoming.write(data[:100])
    await incoming.pause()
    incoming = await store.receive("acme", "up_1")
    await incoming.write(data[100:])
    known = await incoming.finish()
    assert await get(store, "acme", known) == data
    async with store.local("acme", known):
        pass
    await store.discard("acme", "up_1")
    await store.list("acme")
    await store.delete("acme", known.sha256)
    assert called == set(WAITS)


async def test_memory_is_bounded_while_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    class Counted(blocks.Block):
        def __init__(self) -> None:
            nonlocal made
            made += 1
            super().__init__()

    monkeypatch.setattr(blocks, "Block", Counted)
    store = FileArtifacts(tmp_path)
    assert await put(store, "acme", "up_1", content(12 * BLOCK)) == stored(content(12 * BLOCK))
    assert made == blocks.DEPTH


async def test_a_cancelled_write_loses_no_byte_that_was_counted(tmp_path: Path) -> None:
    data, store, at = content(20 * LEAF + 1), FileArtifacts(tmp_path), 0
    for _ in range(60):
        incoming = await store.receive("acme", "up_1", {})
        assert incoming.offset == at
        writing = asyncio.ensure_future(incoming.write(data[at:]))
        await asyncio.sleep(0.004)
        writing.cancel()
        await asyncio.wait([writing])
        at = await incoming.pause()
        counted(store, tmp_path)
        if at == len(data):
            break
    incoming = await store.receive("acme", "up_1")
    await incoming.write(data[at:])
    assert await incoming.finish() == stored(data)


async def test_a_cancelled_finish_is_over_when_it_is_paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, real, let = FileArtifacts(tmp_path), os.fsync, threading.Event()
    monkeypatch.setattr(os, "fsync", lambda file: (let.wait(10), real(file))[1])
    incoming = await store.receive("acme", "up_1")
    await incoming.write(content(100))
    finishing = asyncio.ensure_future(incoming.finish())
    await asyncio.sleep(0.05)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    asyncio.get_running_loop().call_later(0.05, let.set)
    assert await incoming.pause() == 100
    assert await incoming.finish() == stored(content(100))
    await store.discard("acme", "up_1")
    assert await get(store, "acme", stored(content(100))) == content(100)
    counted(store, tmp_path)


async def test_a_file_system_without_direct_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks.fcntl, "fcntl", _full)
    data = content(2 * BLOCK + 5)
    assert await put(FileArtifacts(tmp_path), "acme", "up_1", data) == stored(data)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 40_000), st.booleans()), min_size=1, max_size=12))
def test_pieces_and_pauses_of_any_length(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool]]
) -> None:
    async def run(folder: Path) -> None:
        data, at, store = content(sum(size for size, _ in steps)), 0, FileArtifacts(folder)
        incoming = await store.receive("acme", "up_1", {})
        for size, pause in steps:
            await incoming.write(data[at : at + size])
            at += size
            if pause:
                assert await incoming.pause() == at
                store = FileArtifacts(folder) if size % 2 else store  # with its hashes in memory, or hashed again
                incoming = await store.receive("acme", "up_1")
        assert await incoming.finish() == stored(data)
        assert await get(store, "acme", stored(data)) == data

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(blocks, "BLOCK", 8192)
        patched.setattr(blocks, "DIRECT", 4096)
        asyncio.run(run(tmp_path_factory.mktemp("pieces")))


@pytest.mark.parametrize("size", [10, blocks.DIRECT - 1, blocks.DIRECT, LEAF + 5, BLOCK + blocks.DIRECT + 7])
async def test_content_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    deeds: list[str] = []
    pwrite, fsync, move = os.pwrite, os.fsync, Path.replace

    def name(file: int) -> str:
        return Path(f"/proc/self/fd/{file}").readlink().name

    def written(file: int, data: bytes, at: int) -> int:
        deeds.append(f"write {name(file)}")
        return pwrite(file, data, at)

    def synced(file: int) -> None:
        deeds.append(f"sync {name(file)}")
        fsync(file)

    def moved(path: Path, target: Path) -> Path:
        deeds.append(f"move {path.name}")
        return move(path, target)

    monkeypatch.setattr(os, "pwrite", written)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    data = content(size)
    assert await put(FileArtifacts(tmp_path), "acme", "up_1", data) == stored(data)
    own = [deed.split()[0] for deed in deeds if deed.endswith(" up_1")]
    assert own[-2:] == ["sync", "move"] and set(own[:-2]) == {"write"}
    assert deeds[-1] == "sync contents"


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: real(file, data[: max(1, len(data) // 2)], at))
    data = content(BLOCK)
    file = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    Output(file).write(memoryview(data), 0)
    os.close(file)
    assert (tmp_path / "a").read_bytes() == data


# -- lending


async def test_what_a_killed_reader_borrowed_is_given_back(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path)
    known = await put(store, "acme", "up_1", b"abc")
    left = tmp_path / "acme" / "lent" / "left"
    left.hardlink_to(place(tmp_path, known))
    async with store.local("acme", known) as path:
        await FileArtifacts(tmp_path).list("acme")
        assert path.read_bytes() == b"abc", "another process took away what is being read"
    await FileArtifacts(tmp_path).list("acme")
    assert not left.exists()


async def test_a_folder_is_nobody_elses(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path / "artifacts")
    await put(store, "acme", "up_1", b"abc")
    for folder in ("contents", "uploads", "lent"):
        assert (tmp_path / "artifacts" / "acme" / folder).stat().st_mode & 0o077 == 0


async def test_a_link_in_the_place_of_content_is_not_followed(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path)
    known = await put(store, "acme", "up_1", b"abc")
    secret = tmp_path / "secret"
    secret.write_bytes(b"abc")
    place(tmp_path, known).unlink()
    place(tmp_path, known).symlink_to(secret)
    with pytest.raises((OSError, CorruptState, UnknownObject)):
        await get(store, "acme", known)


async def test_what_a_killed_form_left_goes_at_the_next_start(tmp_path: Path) -> None:
    uploads, old = tmp_path / "acme" / "uploads", time.time() - 7200
    incoming = await FileArtifacts(tmp_path).receive("acme", "up_kept", {"length": "9"})
    await incoming.write(b"kept")
    await incoming.pause()
    for name in ("up_form", "up_new", "up_busy"):
        (uploads / name).write_bytes(b"x" * 1000)
    for name in ("up_form", "up_busy", "up_kept", "up_kept.json"):
        os.utime(uploads / name, (old, old))
    with (uploads / "up_busy").open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        await FileArtifacts(tmp_path).list("acme")
        assert sorted(path.name for path in uploads.iterdir()) == ["up_busy", "up_kept", "up_kept.json", "up_new"]
