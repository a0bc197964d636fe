"""Unpacking a code archive (zip, tar, tar.gz, tar.bz2, tar.xz) so that nothing in it can reach outside or fill the disk.

An archive is a user's file: this runs inside the sandbox (``python -m headrace.inside.unpack``), never in the platform. The
result is a function of the names and contents alone: files in order of name, mode 0644, folders 0755, no times, no owners.
Everything is checked before the first byte is written, and sizes again while writing: an archive may lie about itself.
"""

from __future__ import annotations

import lzma
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from headrace.errors import BadArchive, size_of

ENTRIES = 10_000
TOTAL = 2**28
"""Bytes of all files together: code, not data."""
RATIO = 200
"""Times an archive may grow, beyond the first MiB. Source text gives 3 to 20, a bomb over 1000."""
FREE = 2**20
LONGEST = 1000
DEEPEST = 32
CHUNK = 2**16
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an archive may hold."""

    entries: int = ENTRIES
    total: int = TOTAL
    ratio: int = RATIO


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive."""

    path: str
    size: int
    key: zipfile.ZipInfo | tarfile.TarInfo


class Opened(Protocol):
    """An archive of either kind."""

    def members(self, bounds: Bounds) -> list[Member]:
        """The files, in the archive's order; folders have none of their own. Raises BadArchive."""
        ...

    def read(self, member: Member) -> IO[bytes]:
        """The content of one."""
        ...


def unpack(archive: Path, into: Path, bounds: Bounds = Bounds()) -> list[str]:
    """Unpack to the empty folder `into`; returns the paths of the files, sorted.

    Raises:
        BadArchive: it is none, is damaged, or holds something that is not taken; the entry is named.
    """
    try:
        return _unpack(archive, into, bounds)
    except _DAMAGED as error:
        raise BadArchive(detail=f"it is damaged, or of a kind that is not read ({str(error)[:200]})") from error
    except OSError as error:
        if error.errno is not None:  # the disk's, not the archive's: gzip and bz2 raise theirs without a number
            raise
        raise BadArchive(detail=f"it is damaged ({error})") from error


def _unpack(archive: Path, into: Path, bounds: Bounds) -> list[str]:
    compressed = archive.stat().st_size
    with _opened(archive) as opened:
        members = opened.members(bounds)
        _check_names([member.path for member in members])
        _check_size(sum(member.size for member in members), compressed, bounds)
        for member in sorted(members, key=lambda member: member.path):
            _write(opened.read(member), member, into / member.path)
    return sorted(member.path for member in members)


def check_name(name: str) -> str:
    """The path as it will be unpacked. Raises BadArchive.

    >>> check_name("src/train.py"), check_name("./train.py")
    ('src/train.py', 'train.py')
    >>> check_name("../train.py")
    Traceback (most recent call last):
    headrace.errors.BadArchive: The code archive is refused: '../train.py' leads outside.
    """
    reason = ""
    if "\0" in name:
        reason = "has a NUL in its name"
    elif name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        reason = "is an absolute path"
    elif "\\" in name:
        reason = "has a backslash in its name"
    elif ".." in name.split("/"):
        reason = "leads outside"
    elif any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        reason = "has a control character, or one that is no text, in its name"
    elif len(name.encode(errors="replace")) > LONGEST or any(len(part.encode()) > 255 for part in name.split("/")):
        reason = "has too long a name"
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not reason and len(parts) > DEEPEST:
        reason = f"is more than {DEEPEST} folders deep"
    if not reason and not parts:
        reason = "has no name"
    if reason:
        raise BadArchive(detail=f"{name[:200]!r} {reason}")
    return "/".join(parts)


def _check_names(paths: Sequence[str]) -> None:
    """Each once, also where case or the spelling of accents does not count; none is another's folder."""
    seen: dict[str, str] = {}
    for path in paths:
        key = unicodedata.normalize("NFC", path).casefold()
        if key in seen:
            what = "is in it twice" if seen[key] == path else f"and {seen[key]!r} differ in case or spelling only"
            raise BadArchive(detail=f"{path!r} {what}")
        seen[key] = path
    for path in paths:
        above = unicodedata.normalize("NFC", path).casefold()
        while "/" in above:
            above = above.rpartition("/")[0]
            if above in seen:
                raise BadArchive(detail=f"{seen[above]!r} is both a file and a folder")


def _check_size(total: int, compressed: int, bounds: Bounds) -> None:
    if total > bounds.total:
        raise BadArchive(
            detail=f"unpacked it has {size_of(total)}, over the limit of {size_of(bounds.total)}; put data into a dataset"
        )
    if total > FREE + bounds.ratio * compressed:
        raise BadArchive(
            detail=f"it grows {total // max(1, compressed)} times when unpacked, over the limit of {bounds.ratio}"
        )


def _write(source: IO[bytes], member: Member, target: Path) -> None:
    """Write one file; sizes were added up before, so it must have the one it said."""
    size = 0
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with source, target.open("xb") as file:
        while block := source.read(CHUNK):
            size += len(block)
            if size > member.size:
                break
            file.write(block)
    if size != member.size:
        raise BadArchive(detail=f"{member.path!r} is longer or shorter than the archive says")
    target.chmod(0o644)


@contextmanager
def _opened(archive: Path) -> Iterator[Opened]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield _Zip(packed)
    else:
        with tarfile.open(archive, "r:*") as taped:
            yield _Tar(taped, archive.stat().st_size)


class _Zip:
    def __init__(self, packed: zipfile.ZipFile) -> None:
        self._packed = packed

    def members(self, bounds: Bounds) -> list[Member]:
        found: list[Member] = []
        for entry in self._packed.infolist():
            _count(found, bounds)
            # zipfile itself cuts a name at NUL; what the archive really says is in orig_filename
            path = check_name(entry.orig_filename.removesuffix("/") or "/")
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.is_dir():
                continue
            if kind not in (0, stat.S_IFREG):
                raise BadArchive(detail=f"{path!r} is a link or a device")
            if entry.flag_bits & 1:
                raise BadArchive(detail=f"{path!r} is encrypted")
            found.append(Member(path, entry.file_size, entry))
        return found

    def read(self, member: Member) -> IO[bytes]:
        assert isinstance(member.key, zipfile.ZipInfo)
        return self._packed.open(member.key)


class _Tar:
    def __init__(self, taped: tarfile.TarFile, compressed: int) -> None:
        self._taped, self._compressed = taped, compressed

    def members(self, bounds: Bounds) -> list[Member]:
        found: list[Member] = []
        total = seen = 0
        for entry in self._taped:
            seen += 1
            if seen > bounds.entries:
                raise BadArchive(detail=f"it has more than {bounds.entries} entries")
            total += entry.size  # while reading the list, for that already unpacks a compressed one
            _check_size(total, self._compressed, bounds)
            if entry.isdir():
                if entry.name.strip("./"):
                    check_name(entry.name)
                continue
            path = check_name(entry.name)
            if entry.sparse is not None or not entry.isreg():
                raise BadArchive(detail=f"{path!r} is a link, a device or a pipe")
            found.append(Member(path, entry.size, entry))
        return found

    def read(self, member: Member) -> IO[bytes]:
        assert isinstance(member.key, tarfile.TarInfo)
        opened = self._taped.extractfile(member.key)
        if opened is None:
            raise BadArchive(detail=f"{member.path!r} has no content")
        return opened


def _count(found: Sequence[Member], bounds: Bounds) -> None:
    if len(found) >= bounds.entries:
        raise BadArchive(detail=f"it has more than {bounds.entries} entries")
