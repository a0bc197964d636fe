"""Out of a folder that a program of somebody else has filled: its regular files, and nothing else.

Every step is taken from an open directory, and nothing is opened through a link, so no name leads outside. What is no regular
file with a single name (links, pipes, sockets, devices), or bears a name that not every system can store, is left out and told.
Nothing may be running there any more.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headrace.assets import Limits
from headrace.errors import StorageUnavailable, size_of

DEPTH = 16
"""Folders within folders."""
NAME = 200
"""Bytes of a name; of a whole path five times that."""
TOLD = 100
"""Things left out that are told one by one."""
SEEN = 4
"""Entries looked at, as a multiple of the files allowed."""
CHUNK = 2**20
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_RDONLY
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that was copied."""

    path: str
    size: int
    sha256: str


@dataclass(slots=True)
class Gathered:
    """What was found."""

    files: list[Kept] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Sentences: the name, quoted, and why."""
    over: Literal["", "output", "files"] = ""
    """"output" or "files" when a limit was passed; the files above are then not all."""
    size: int = 0
    _left: int = 0

    def leave(self, path: str, why: str) -> None:
        """Something is not taken."""
        self._left += 1
        if self._left <= TOLD:
            self.left_out.append(f"{path!r}: {why}")
        elif self._left == TOLD + 1:
            self.left_out.append("and more")


def collect(output: Path, limits: Limits, into: Path) -> list[str]:
    """Copy the regular files of `output` to the empty folder `into`; returns what was left out, a sentence each.

    Raises:
        StorageUnavailable: they cannot be written.
        ValueError: more bytes or files than `limits` allows; `into` holds a part of them.
    """
    handle = os.open(output, _OPEN | os.O_DIRECTORY)
    try:
        found = gather(handle, limits, into)
    finally:
        os.close(handle)
    if found.over:
        raise ValueError(said(found.over, limits))
    return found.left_out


def take(output: Path, limits: Limits, into: Path) -> list[str]:
    """`collect` without a second copy: the files are moved to `into`, on the same file system. Raises as that does."""
    found = Gathered()
    handle = os.open(output, _OPEN | os.O_DIRECTORY)
    try:
        for path, file, size in _regular(handle, limits, found):
            found.size += size
            if len(found.files) >= limits.output_files:
                found.over = "files"
            elif found.size > limits.output_bytes:
                found.over = "output"
            with os.fdopen(file, "rb"):
                if found.over:
                    break
                found.files.append(_move(file, path, size, output, into))
    except OSError as error:
        raise StorageUnavailable(detail=f"the output cannot be taken ({error.strerror})") from error
    finally:
        os.close(handle)
    if found.over:
        raise ValueError(said(found.over, limits))
    return found.left_out


def said(over: str, limits: Limits) -> str:
    """The sentence for a passed limit."""
    if over == "files":
        more = raised("output_files", "--output-files")
        return f"it left more than {limits.output_files:,} files in its output; {more}"
    more = raised("output_bytes", "--output-mb")
    return f"it wrote more than {size_of(limits.output_bytes)} of output; {more}"


def raised(field: str, option: str) -> str:
    """What to do about a limit: its name in a recipe, and the option of `headrace model train`."""
    return f"raise limits.{field} ({option})"


def gather(folder: int, limits: Limits, into: Path) -> Gathered:
    """The same from an open directory, with sizes and digests; a passed limit ends it. In order of path."""
    found = Gathered()
    try:
        for path, handle, size in _regular(folder, limits, found):
            if len(found.files) >= limits.output_files:
                found.over = "files"
            elif found.size + size > limits.output_bytes:
                found.over = "output"
            if found.over:
                os.close(handle)
                break
            found.size += size
            found.files.append(_copy(handle, path, size, into))
    except OSError as error:
        raise StorageUnavailable(detail=f"the output cannot be copied ({error.strerror})") from error
    return found


def _regular(folder: int, limits: Limits, found: Gathered) -> Iterator[tuple[str, int, int]]:
    """(path, open file, size) of every regular file that may be taken."""
    budget = SEEN * limits.output_files + 1000
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        at = _descend(folder, prefix)
        try:
            names = _names(at, budget)
            budget -= len(names)
            if prefix and not names:
                found.leave(prefix, "an empty folder")
            if budget <= 0:
                found.over = "files"
                return
            below = []
            for name in sorted(names):
                path, handle, size = _entry(at, prefix, name, found)
                if size >= 0:
                    yield path, handle, size
                elif path:
                    below.append(path)
            waiting += reversed(below)
        finally:
            os.close(at)


def _descend(folder: int, path: str) -> int:
    """The folder of that path, opened step by step."""
    at = os.open(".", _OPEN | os.O_DIRECTORY, dir_fd=folder)
    for name in filter(None, path.split("/")):
        try:
            below = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def _names(folder: int, most: int) -> list[str]:
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) >= most:
                break
    return names


def _entry(folder: int, prefix: str, name: str, found: Gathered) -> tuple[str, int, int]:
    """(path, open file, size); for a folder (path, -1, -1); what is left out has no path."""
    path = f"{prefix}/{name}" if prefix else name
    why = unfit(name, path)
    try:
        kind = stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        if not why and kind == stat.S_IFDIR:
            os.close(os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=folder))
            return path, -1, -1
        if not why and kind != stat.S_IFREG:
            why = _KINDS.get(kind, "not a regular file")
        if not why:
            handle = os.open(name, _OPEN, dir_fd=folder)
            facts = os.fstat(handle)
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
                return path, handle, facts.st_size
            os.close(handle)
            why = "a hard link: the file has other names"
    except OSError as error:
        why = f"cannot be opened ({error.strerror})"
    found.leave(path, why)
    return "", -1, -1


def unfit(name: str, path: str) -> str:
    """Why a name is not taken; empty if it is.

    >>> unfit("weights.pt", "a/weights.pt"), unfit("a\\nb", "a\\nb")
    ('', 'a control character in its name')
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "its name is no UTF-8"
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") for letter in name):
        return "a control character in its name"
    if length > NAME or len(path.encode(errors="replace")) > 5 * NAME:
        return "its name is too long"
    if "\\" in name or name.strip() != name:
        return "a backslash, or space at an end, in its name"
    if path.count("/") >= DEPTH:
        return f"more than {DEPTH} folders deep"
    return ""


def _move(handle: int, path: str, size: int, output: Path, into: Path) -> Kept:
    """Give the open file another folder. Nothing runs there any more, so its path still leads to it."""
    target = into / path
    target.parent.mkdir(parents=True, exist_ok=True)
    os.fchmod(handle, 0o600)
    (output / path).rename(target)
    if not os.path.samestat(os.fstat(handle), os.lstat(target)):
        raise OSError(5, f"{path!r} became another file")
    return Kept(path, size, "")


def _copy(handle: int, path: str, size: int, into: Path) -> Kept:
    """Copy exactly `size` bytes; the file is closed."""
    target = into / path
    digest, left = hashlib.sha256(), size
    with os.fdopen(handle, "rb", buffering=0) as source:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "xb", buffering=0) as file:
            while left:
                block = source.read(min(CHUNK, left))
                if not block:
                    raise OSError(5, f"{path!r} became shorter")
                digest.update(block)
                file.write(block)
                left -= len(block)
    return Kept(path, size, f"sha256:{digest.hexdigest()}")
