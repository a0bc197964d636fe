"""Reading a content: the list of its leaves is checked once against the root, each leaf against the list before it is given."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncGenerator
from typing import IO

from headrace.assets import LEAF, Stored
from headrace.errors import CorruptState
from headrace.merkle import leaf, named, root, split

AHEAD = 2
"""Leaves read and checked while one is given out."""


OPERATOR = "tell the platform's operator"


class Leaves:
    """The leaves of one open content. Waits for the disk: for threads.

    Args:
        list_: hashes of its leaves as they were on the disk; not needed for one leaf, whose hash is the root.

    Raises:
        CorruptState: the list is not the one the root was made of, or the file has another size.
    """

    def __init__(self, file: IO[bytes], stored: Stored, list_: bytes) -> None:
        self._file, self._stored = file, stored
        count = -(-stored.size // LEAF)
        self._hashes = split(list_) if count > 1 else [bytes.fromhex(stored.root.removeprefix("sha256:"))] * count
        if len(self._hashes) != count or named(root(self._hashes)) != stored.root:
            raise CorruptState(detail=f"the list of leaves of {stored.sha256} is damaged; {OPERATOR}")
        size = os.fstat(file.fileno()).st_size
        if size != stored.size:
            raise CorruptState(
                detail=f"the stored content {stored.sha256} is damaged: it has {size:,} bytes, not {stored.size:,}; {OPERATOR}"
            )

    def read(self, index: int, buffer: memoryview) -> memoryview:
        """A leaf, in `buffer`. Raises CorruptState."""
        found = buffer[: os.preadv(self._file.fileno(), [buffer], index * LEAF)]
        if leaf(found) != self._hashes[index]:
            raise CorruptState(
                detail=f"the stored content is damaged at leaf {index} of {self._stored.sha256}; {OPERATOR}"
            )
        return found


async def given(leaves: Leaves, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    """The bytes from `start` up to `stop`, leaf by leaf.

    Leaves are read into the same few buffers again and again: memory that threads ask for and give back a gigabyte at a time
    costs as much as the hash.
    """
    loop = asyncio.get_running_loop()
    todo = range(start // LEAF, -(-stop // LEAF)) if start < stop else range(0)
    buffers = [memoryview(bytearray(LEAF)) for _ in range(min(AHEAD + 1, len(todo)))]
    ahead: deque[asyncio.Future[memoryview]] = deque()

    def send(at: int) -> None:
        if at < len(todo):
            ahead.append(loop.run_in_executor(None, leaves.read, todo[at], buffers[at % len(buffers)]))

    try:
        for at in range(AHEAD):
            send(at)
        for at, index in enumerate(todo):
            send(at + AHEAD)
            found = await asyncio.shield(ahead[0])
            ahead.popleft()
            yield bytes(found[max(0, start - index * LEAF) : stop - index * LEAF])
    finally:  # the file may be closed only when nobody reads it any more
        await asyncio.gather(*ahead, return_exceptions=True)


def whole(file: IO[bytes], stored: Stored) -> None:
    """That a file is this content. For threads. Raises CorruptState."""
    found, size, buffer = hashlib.sha256(), 0, bytearray(LEAF)
    while count := os.preadv(file.fileno(), [buffer], size):
        found.update(memoryview(buffer)[:count])
        size += count
    if f"sha256:{found.hexdigest()}" != stored.sha256 or size != stored.size:
        raise CorruptState(detail=f"{stored.sha256} was changed on disk: its content has another digest")
