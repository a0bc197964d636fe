"""The file of a bundle: a zip that any tool opens, in the one form in which all its bytes follow from its parts.

Zip (PKWARE APPNOTE 6.3) lets two directories disagree, parts overlap, and bytes lie about that nobody reads. Here parts are
stored one after the other, uncompressed, of 1980, without comments or fields that are not needed; ZIP64 fields where a size or
an offset needs them. `Container` takes nothing else: it makes header and directory anew from what it read and compares them byte
by byte. So nothing unpacks to more than it is, no name leads out of a folder, and no bit can be changed unseen.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from unicodedata import normalize

from headrace.errors import BadInput, Tampered

PIECE = 2**20
"""Bytes read at a time: a leaf of the Merkle tree."""
PARTS = 20_000
"""Most parts of a bundle."""
PATH = 1024
"""Bytes of a part's path."""
FULL = 2**32 - 1
"""What stands in a field of four bytes when the value is in the ZIP64 field."""
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_UTF8, _DATE, _UNIX, _MODE = 0x800, 0x21, 3 << 8, 0o100644 << 16
_OLD, _NEW = 20, 45
"""Versions of the format: with folders, with ZIP64."""
_ODD = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Part:
    """Where a part stands."""

    path: str
    size: int
    crc: int
    offset: int
    """Of its header."""

    @property
    def start(self) -> int:
        """Of its data."""
        return self.offset + len(_local(self.path.encode(), self.size, self.crc))


def proper(path: str) -> bool:
    """Whether a part may be called so: a relative path that stays where it is unpacked.

    >>> [proper(one) for one in ("artifact/a b.csv", "../a", "/a", "a//b", "a/./b", "a\\\\b", "")]
    [True, False, False, False, False, False, False]
    """
    if _ODD.search(path) or len(path.encode(errors="replace")) > PATH:
        return False
    return all(name not in {"", ".", ".."} for name in path.split("/"))


def clash(paths: Sequence[str]) -> str:
    """A proper path that two parts have, or that is a folder of another, on any disk; "" if there is none.

    Some disks know neither case nor the two ways of Unicode to write a letter: there one of two such files would be lost.

    >>> clash(["model.bin", "Model.bin"]), clash(["caf\\u00e9", "cafe\\u0301"]) != "", clash(["a", "b"])
    ('Model.bin', True, '')
    """
    ordered = sorted((_folded(path).replace("/", "\0"), path) for path in paths)  # a folder's come right behind it
    for (one, path), (next_, _) in pairwise(ordered):
        if next_ == one or next_.startswith(f"{one}\0"):
            return path
    return ""


def _folded(path: str) -> str:
    """The same for paths that are one on a disk that folds case and Unicode (D145 of the Unicode standard, canonical
    caseless matching)."""
    return path.casefold() if path.isascii() else normalize("NFD", normalize("NFD", path).casefold())


class Writer:
    """Writes a container into a file that can seek. Blocks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._parts: list[Part] = []

    def add(self, path: str, size: int, pieces: Iterable[bytes]) -> None:
        """The next part. Raises BadInput: no proper path; Tampered: it is not of that size."""
        if not proper(path):
            raise BadInput(detail=f"a file called {path[:80]!r} cannot be put into a bundle")
        offset, name = self._file.tell(), path.encode()
        self._file.write(_local(name, size, 0))
        crc = count = 0
        for piece in pieces:
            crc, count = zlib.crc32(piece, crc), count + len(piece)
            self._file.write(piece)
        if count != size:
            raise Tampered(detail=f"{path} has {count:,} bytes, its record says {size:,}")
        end = self._file.tell()
        self._file.seek(offset)
        self._file.write(_local(name, size, crc))
        self._file.seek(end)
        self._parts.append(Part(path, size, crc, offset))

    def finish(self) -> None:
        """Write the directory. Raises BadInput: too many parts, or paths that clash."""
        check_paths([part.path for part in self._parts], BadInput)
        self._file.write(_directory(self._parts, self._file.tell()))


class Container:
    """Reads a container. Blocks; use it as a context manager.

    Raises:
        BadInput: the file cannot be read.
        Tampered: it is anything but what `Writer` writes.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise BadInput(detail=f"{path}: {error.strerror}") from error
        try:
            found = os.fstat(self._file)
            if not stat.S_ISREG(found.st_mode):
                raise BadInput(detail=f"{path} is no regular file")
            self.size = found.st_size
            self.parts = self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def pieces(self, part: Part) -> Iterator[bytes]:
        """A part's data. Raises Tampered at its end if they are not those its checksum was made of."""
        crc, left, place = 0, part.size, part.start
        while left:
            piece = self._at(place, min(PIECE, left))
            crc, left, place = zlib.crc32(piece, crc), left - len(piece), place + len(piece)
            yield piece
        if crc != part.crc:
            raise Tampered(detail=f"the checksum of {part.path} is another: the file was damaged")

    def _read(self) -> list[Part]:
        found: list[Part] = []
        place = 0
        while (part := self._part(place)) is not None:
            found.append(part)
            if len(found) > PARTS:
                raise Tampered(detail=f"this is no bundle of ours: it has more than {PARTS:,} parts")
            place = part.start + part.size
        check_paths([part.path for part in found], Tampered)
        expected = _directory(found, place)
        if self.size != place + len(expected) or self._at(place, len(expected)) != expected:
            raise Tampered(
                detail="this is no bundle of ours, or it was changed: its directory is not that of its parts"
            )
        return found

    def _part(self, place: int) -> Part | None:
        """The part whose header stands at that place; None: the directory begins there."""
        head = self._at(place, min(_LOCAL.size, self.size - place))
        if len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
            return None
        crc, size, long, extra = _LOCAL.unpack(head)[6], *_LOCAL.unpack(head)[8:]
        if long > PATH or extra not in {0, 20}:
            raise Tampered(detail="this is no bundle of ours, or it was changed: a header is not as it should be")
        rest = self._at(place + _LOCAL.size, long + extra)
        if extra:
            (size,) = struct.unpack("<Q", rest[-8:])
        try:
            path = rest[:long].decode()
        except UnicodeDecodeError:
            path = ""
        part = Part(path, size, crc, place)
        if not proper(path) or _local(rest[:long], size, crc) != head + rest or part.start + size > self.size:
            raise Tampered(detail=f"this is no bundle of ours, or it was changed: the header of {path[:80]!r}")
        return part

    def _at(self, place: int, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = os.pread(self._file, count - len(data), place + len(data))
            except OSError as error:
                raise BadInput(detail=f"the bundle cannot be read: {error.strerror}") from error
            if not more:
                raise Tampered(detail="it ends too early: the file was cut off")
            data += more
        return data


def check_paths(paths: Sequence[str], error: type[BadInput | Tampered]) -> None:
    """Raises that: too many parts, or paths that clash."""
    if len(paths) > PARTS:
        raise error(detail=f"a bundle has at most {PARTS:,} parts, not {len(paths):,}")
    if again := clash(paths):
        raise error(
            detail=f"two parts of the bundle would be at {again[:80]!r}, on disks that do not know case or Unicode's two forms"
        )


def _local(name: bytes, size: int, crc: int) -> bytes:
    """A part's own header."""
    large = size >= FULL
    extra = struct.pack("<2H2Q", 1, 16, size, size) if large else b""
    shown = FULL if large else size
    version = _NEW if large else _OLD
    fields = (b"PK\3\4", version, _UTF8, 0, 0, _DATE, crc, shown, shown, len(name), len(extra))
    return _LOCAL.pack(*fields) + name + extra


def _central(part: Part) -> bytes:
    """Its entry in the directory."""
    name = part.path.encode()
    wide = [part.size] * 2 if part.size >= FULL else []
    wide += [part.offset] if part.offset >= FULL else []
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    version, size, offset = _NEW if wide else _OLD, min(part.size, FULL), min(part.offset, FULL)
    fields = (b"PK\1\2", _UNIX | version, version, _UTF8, 0, 0, _DATE, part.crc, size, size, len(name), len(extra))
    return _CENTRAL.pack(*fields, 0, 0, 0, _MODE, offset) + name + extra


def _directory(parts: Sequence[Part], start: int) -> bytes:
    """All that stands behind the parts."""
    entries = b"".join(map(_central, parts))
    count, size, wide = len(parts), len(entries), b""
    if start >= FULL:
        wide = _END64.pack(b"PK\6\6", 44, _UNIX | _NEW, _NEW, 0, 0, count, count, size, start)
        wide += _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
    return entries + wide + _END.pack(b"PK\5\6", 0, 0, count, count, size, min(start, FULL), 0)
