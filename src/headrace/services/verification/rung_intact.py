"""L1, intact: the content in the store is the one that was recorded, read and hashed again, every byte of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from hashlib import sha256
from typing import Any

from headrace.assets import Dataset, OutputFile, Stored
from headrace.claims import canonical, digest_of
from headrace.errors import CorruptState, NotFound, Tampered, size_of
from headrace.merkle import Root, Tree, leaf, named
from headrace.services.sharing import Role, Store
from headrace.services.verification.case import Case
from headrace.services.verification.rungs import Skipped, Step, Tell
from headrace.services.verification.signing import signer
from headrace.trust.keyring import Keyring

AHEAD = 4
"""Pieces of at most 1 MiB that may wait for a thread."""


class RungIntact:
    """Its checks."""

    def __init__(self, sharing: Store, keyring: Keyring) -> None:
        self._sharing, self._keyring = sharing, keyring

    def steps(self, case: Case) -> list[Step]:
        """Of one asset."""
        checks = {"files": self._files, "digest": self._digest, "signing key": self._key}
        if isinstance(case.asset, Dataset) and case.asset.stream is not None:
            checks["raw records"] = self._raw
        case.left.append(
            "a signature of the company: one is made with every bundle, and `headrace verify FILE` checks it"
        )
        return [Step("L1", name, partial(work, case)) for name, work in checks.items()]

    async def _files(self, case: Case, tell: Tell) -> str:
        """Every file is what the rows say."""
        case.says  # nothing is read of what nothing is recorded of  # noqa: B018
        try:
            case.files = await self.hashed(case, "content", tell)
        except (CorruptState, NotFound):
            case.damaged = True
            raise
        return f"{_count(case.files)}: SHA-256 and Merkle root made again"

    async def _digest(self, case: Case, _: Tell) -> str:
        """And they are what the chain says."""
        says, files = case.says, case.files
        if files is None and not case.damaged:
            raise Skipped("the files could not be read")
        if files is None:
            raise Tampered(detail="the files could not be read, so that their digest is not the one on the ledger")
        if isinstance(case.asset, Dataset):
            said = {name: says.get(name) for name in ("size", "sha256", "root")}
            if len(files) != 1 or files[0].stored.model_dump() != said:
                raise Tampered(detail=f"the data are not those that were recorded ({said['sha256']})")
            return f"{said['sha256']}, as the ledger has it"
        if digest_of(files) != says.get("digest"):
            raise Tampered(detail=f"the files are not those that were recorded ({says.get('digest')})")
        listed = [{"path": file.path, **file.stored.model_dump()} for file in files]
        if isinstance(says.get("files"), list) and _sorted(says["files"]) != _sorted(listed):
            raise Tampered(detail="a size or Merkle root of the files is not the one that was recorded")
        return f"{says['digest']}, as the ledger has it"

    async def _raw(self, case: Case, tell: Tell) -> str:
        """The records a dataset was made of: each line a leaf of the root that the ledger has."""
        said = case.recorded.opened.get("stream") or {}
        lines = Lines()
        files = await self.hashed(case, "raw", tell, lines.take)
        if (said.get("raw") or {}) != files[0].stored.model_dump():
            raise Tampered(detail="the file of raw records is not the one that was recorded")
        if (said.get("records"), said.get("root")) != (lines.root.count, named(lines.root.value())):
            raise Tampered(detail="the raw records do not give the root that was recorded")
        return f"{lines.root.count:,} records below root {said['root']}"

    async def _key(self, case: Case, _: Tell) -> str:
        """The key that the claim names is the one the company signs with."""
        named_ = case.recorded.opened.get("signer")
        mine = (await asyncio.to_thread(signer, self._keyring, case.asset.company)).public.fingerprint
        if named_ is not None and named_ != mine:
            raise Tampered(detail=f"the record names the key {named_}, and {case.asset.company!r} signs with {mine}")
        return f"{mine}, as the ledger has it" if named_ else "the record names none"

    async def hashed(
        self, case: Case, role: Role, tell: Tell, also: Callable[[bytes], None] | None = None
    ) -> list[OutputFile]:
        """All files of a role as they are in the store. Raises CorruptState, NotFound, Forbidden, Tampered.

        Args:
            also: given every piece in order, in a thread.
        """
        id, found = case.asset.id, []
        files = await self._sharing.files(case.who, id, case.right, role)
        whole, done = sum(file.stored.size for file in files), 0

        def heard(count: int) -> None:
            nonlocal done
            done += count
            tell(f"{size_of(done)} of {size_of(whole)}")

        with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
            for file in files:
                pieces = self._sharing.pieces(case.who, id, case.right, file.path, role)
                stored = await rehashed(pieces, first, second, heard, also)
                if stored != file.stored:
                    raise Tampered(detail=f"{file.path} is in the store otherwise than in its row")
                found.append(OutputFile(path=file.path, stored=stored))
        return found


class Lines:
    """The root over the lines of a text that comes in pieces."""

    def __init__(self) -> None:
        self.root, self._rest = Root(), b""

    def take(self, piece: bytes) -> None:
        """The next piece; a line ends with its line feed, which is no part of its leaf."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self.root.push(leaf(line))


async def rehashed(
    pieces: AsyncIterator[bytes],
    first: Executor,
    second: Executor,
    heard: Callable[[int], None],
    also: Callable[[bytes], None] | None = None,
) -> Stored:
    """What a content is known by, made while it comes: both digests side by side, for hashing leaves the interpreter free.

    Args:
        first: an executor of one thread, as is the second.
    """
    loop, whole, tree, size = asyncio.get_running_loop(), sha256(), Tree(), 0
    waiting: list[asyncio.Future[Any]] = []

    def rest(piece: bytes) -> None:
        tree.update(piece)
        if also is not None:
            also(piece)

    try:
        async with aclosing(pieces) as coming:  # type: ignore[type-var]
            async for piece in coming:
                waiting += [loop.run_in_executor(first, whole.update, piece), loop.run_in_executor(second, rest, piece)]
                size += len(piece)
                heard(len(piece))
                if len(waiting) >= 2 * AHEAD:
                    await asyncio.gather(*waiting[:2])
                    del waiting[:2]
    finally:
        await asyncio.gather(*waiting)
    return Stored(size=size, sha256=f"sha256:{whole.hexdigest()}", root=named(tree.root()))


def _sorted(files: list[Any]) -> list[bytes]:
    return sorted(canonical({"": file}) for file in files)


def _count(files: list[OutputFile]) -> str:
    size = size_of(sum(file.stored.size for file in files))
    return f"{len(files)} file{'' if len(files) == 1 else 's'}, {size}"
