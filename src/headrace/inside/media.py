"""What a file is, by its content and never by its name."""

from __future__ import annotations

import codecs
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from headrace.errors import BadInput
from headrace.inside.work import reason
from headrace.settings import InspectionSettings

GZIP = b"\x1f\x8b"
NPY = b"\x93NUMPY"
PARQUET = b"PAR1"
HEAD = 2**16
"""Bytes looked at to tell text from other things."""
SOME = 50
"""Files of an archive looked at to tell what it holds."""
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")


def detect(path: Path, limits: InspectionSettings) -> str:
    """csv, parquet, npy, npz, images or other. Raises BadInput for an archive that is damaged."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(NPY):
        return "npy"
    if head.startswith(PARQUET):
        return "parquet"
    if head.startswith(b"PK\x03\x04") or is_tar(head):
        return _archive(path)
    if head.startswith(GZIP):
        head = _unzipped(head)
        if is_tar(head):
            return _archive(path)
    return "csv" if _texty(head) and _tabular(path, limits) else "other"


def _tabular(path: Path, limits: InspectionSettings) -> bool:
    from headrace.inside.columns import is_table

    return is_table(path, limits)


def is_tar(head: bytes) -> bool:
    """Whether it begins as a tar archive."""
    return head[257:262] == b"ustar"


def is_image(head: bytes) -> bool:
    """Whether it begins as one of the image formats read here."""
    return head.startswith(_IMAGES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _unzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return b""


def _texty(head: bytes) -> bool:
    """Text that could be a table: no NUL in it unless it is UTF-16, and no JSON, XML or PDF."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    if not head or b"\0" in head:
        return False
    controls = sum(byte < 32 and byte not in b"\t\n\r\f" for byte in head)
    return controls == 0 and head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] not in {b"{", b"[", b"<", b"%"}


def encoding(path: Path) -> str:
    """utf-16 by its mark, utf-8 if the beginning is, else latin-1: the one that reads every byte."""
    head = _head(path)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _head(path: Path, size: int = HEAD) -> bytes:
    with path.open("rb") as file:
        head = file.read(size)
    if not head.startswith(GZIP):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, size)
    except zlib.error:
        return b""


def beginning(path: Path) -> tuple[str, bool]:
    """(text of its first `HEAD` bytes, whether that is all)."""
    head = _head(path, HEAD)
    return head.decode(encoding(path), "replace").removeprefix("\ufeff"), len(head) < HEAD


def first_line(path: Path, limit: int) -> str:
    """The first line, at most `limit` bytes of it."""
    line = _head(path, limit)
    return (
        line.decode(encoding(path), "replace").split("\n", 1)[0]
        if b"\n" in line or b"\r" not in line
        else (line.decode(encoding(path), "replace").split("\r", 1)[0])
    )


def _archive(path: Path) -> str:
    heads = [_start(file) for _, _, file in islice(members(path), SOME)]
    if heads and all(head.startswith(NPY) for head in heads):
        return "npz"
    return "images" if sum(map(is_image, heads)) * 2 > len(heads) else "other"


def _start(file: IO[bytes]) -> bytes:
    return file.read(16)


def members(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """(name, size, content) of the regular files of a zip or tar, in its order; each is to be read before the next.

    Raises BadInput: damaged, encrypted, or compressed in a way that is not known.
    """
    try:
        yield from _zip(path) if zipfile.is_zipfile(path) or _begins_as_zip(path) else _tar(path)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise BadInput(detail=f"the archive is damaged or cut off: {reason(error)}") from error
    except OSError as error:
        raise BadInput(detail=f"the archive cannot be read: {reason(error)}") from error


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _zip(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                with archive.open(info) as file:
                    yield info.filename, info.file_size, file


def _tar(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(path, "r|*") as archive:
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # or it would remember every one
            if info.isreg():
                yield info.name, info.size, archive.extractfile(info) or io.BytesIO()
