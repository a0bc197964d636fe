"""The way of an upload's bytes: gathered into aligned blocks, which three threads hash, hash by leaves, and write.

hashlib and the kernel let go of the interpreter for that time, so that the three run beside each other and beside the event
loop. Full blocks are written past the page cache (O_DIRECT) where the file system offers it: copying a gigabyte into the
cache costs as much processor time as a fifth of its two hashes, and the cache's own write-back has stalls of seconds.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import mmap
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from headrace.assets import Stored
from headrace.merkle import Tree, named

BLOCK = 4 * 2**20
"""Bytes of a block: below 1 MiB the threads' hand-overs are felt, above 8 MiB only memory grows."""
DEPTH = 4
"""Blocks of one upload at most; a slow client never fills its first and has no other."""
DIRECT = 256 * 1024
"""Bytes from which a piece is written past the page cache: a small one is in the cache sooner than on the disk."""
ALIGN = 4096
"""What O_DIRECT asks of addresses, lengths and places; a multiple of every disk's sector."""
Value = TypeVar("Value")


class Hashes:
    """Both hashes of a content, as far as it came."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes given to both."""
        self.whole = hashlib.sha256()
        self.tree = Tree()

    def stored(self) -> Stored:
        """What the content is known by."""
        return Stored(size=self.size, sha256=f"sha256:{self.whole.hexdigest()}", root=named(self.tree.root()))


class Block:
    """Memory for some bytes of the content: `fill` bytes from `place` on, of which the first `known` were hashed before."""

    def __init__(self) -> None:
        self.memory = memoryview(mmap.mmap(-1, BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self.place = self.fill = self.known = 0
        self.hashing: list[Future[None]] = []

    def take(self, data: memoryview) -> int:
        """Bytes taken: as many as have room."""
        count = min(len(data), BLOCK - self.fill)
        self.memory[self.fill : self.fill + count] = data[:count]
        self.fill += count
        return count


class Lanes:
    """Three threads, each doing its jobs one after the other, and a block; lent to one writer after the other."""

    def __init__(self) -> None:
        self.block: Block | None = None
        self.whole, self.tree, self.disk = (
            ThreadPoolExecutor(1, thread_name_prefix=f"artifacts-{name}") for name in ("whole", "tree", "disk")
        )


class Output:
    """A file that is written at given places; large pieces past the page cache."""

    def __init__(self, file: int) -> None:
        self._file, self._direct, self._offered = file, False, hasattr(os, "O_DIRECT")

    def write(self, data: memoryview, place: int) -> None:
        """All of it. Raises OSError."""
        split = len(data) - len(data) % ALIGN if len(data) >= DIRECT else 0
        if split and self._set(direct=True):
            place += self._some(data[:split], place)
            data = data[split:]
        if data:
            self._set(direct=False)
            self._some(data, place)

    def _some(self, data: memoryview, place: int) -> int:
        done = 0
        while done < len(data):
            try:
                done += os.pwrite(self._file, data[done:], place + done)
            except OSError:
                if not self._direct:
                    raise
                self._offered = self._set(direct=False)  # what a full disk left is not aligned; or it never was offered
        return done

    def _set(self, *, direct: bool) -> bool:
        """Whether the file is in that mode now."""
        if direct and not self._offered:
            return False
        if direct != self._direct:
            try:
                flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
                fcntl.fcntl(self._file, fcntl.F_SETFL, flags | os.O_DIRECT if direct else flags & ~os.O_DIRECT)
            except OSError:
                self._offered = False
                return False
            self._direct = direct
        return True


class Blocks:
    """One upload's way to the disk.

    Args:
        file: its file, open for reading and writing; stays the caller's.
        hashes: of what is in the file already.
        stored: called in the writing thread with the number of bytes that were written so far.
    """

    def __init__(self, file: int, hashes: Hashes, lanes: Lanes, stored: Callable[[int], None]) -> None:
        self._file, self._hashes, self._lanes, self._stored = file, hashes, lanes, stored
        self._output = Output(file)
        self._block: Block | None = None
        self._free: list[Block] = []
        self._made = 0
        self._broken = False
        self._flying: deque[tuple[Block, Future[None]]] = deque()
        self.taken = hashes.size
        """Bytes of the content that came so far."""

    async def write(self, data: bytes) -> None:
        """Take in bytes; waits while all blocks are being worked on. Raises OSError."""
        view = memoryview(data)
        while view:
            block = self._block or await self._fresh()
            count = block.take(view)
            self.taken += count
            view = view[count:]
            if block.fill == BLOCK:
                self._send()

    async def end(self, last: Callable[[], Value]) -> Value:
        """All of it is hashed and on stable storage, then `last` is called in the writing thread; what that gives.

        Raises OSError.
        """
        if self._block is not None:
            self._send()
        found = await outcome(self._lanes.disk.submit(self._end, list(self._flying), last))
        self._free += [block for block, _ in self._flying]
        self._flying.clear()
        if self._free:
            self._lanes.block = self._free.pop()  # memory that was touched is dear; one block is enough to keep
        return found

    def _end(self, flying: Sequence[tuple[Block, Future[None]]], last: Callable[[], Value]) -> Value:
        """In the writing thread, which waits for the hashing ones: a way by the event loop costs as much as a small write."""
        os.fsync(self._file)
        for block, written in flying:
            for job in (written, *block.hashing):
                job.result()
        return last()

    async def _fresh(self) -> Block:
        known = self.taken % ALIGN
        place = self.taken - known
        head = await outcome(self._lanes.disk.submit(os.pread, self._file, known, place)) if known else b""
        if not self._free and self._made == DEPTH:
            await self._landed()
        if self._free:
            block = self._free.pop()
        else:
            block, self._lanes.block = self._lanes.block or Block(), None
            self._made += 1
        block.memory[:known] = head
        block.place, block.known, block.fill = place, known, known
        self._block = block
        return block

    async def _landed(self) -> None:
        """The oldest block is done with."""
        block, written = self._flying[0]
        await outcome(written)
        for job in block.hashing:
            await outcome(job)
        self._flying.popleft()
        self._free.append(block)

    def _send(self) -> None:
        block, self._block = self._block, None
        assert block is not None
        self._hashes.size += block.fill - block.known
        self._flying.append((block, self._lanes.disk.submit(self._write, block)))

    def _write(self, block: Block) -> None:
        """In the writing thread. It has the others hash just before the kernel makes it wait for the disk: with as few
        processors as hashing threads they would otherwise be done before the disk is asked for anything."""
        new = block.memory[block.known : block.fill]
        hashes, lanes = self._hashes, self._lanes
        block.hashing = [lanes.whole.submit(hashes.whole.update, new), lanes.tree.submit(hashes.tree.update, new)]
        if self._broken:  # nothing after a hole
            return
        try:
            self._output.write(block.memory[: block.fill], block.place)
            self._stored(block.place + block.fill)
        except BaseException:
            self._broken = True
            raise


async def outcome(job: Future[Value]) -> Value:
    """What a job in a thread gives. It goes on when its caller is cancelled: no block may be left out of a hash."""
    return await asyncio.shield(asyncio.wrap_future(job))
