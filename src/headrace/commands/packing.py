"""A folder of code as one archive: the same files give the same bytes, on any machine and at any time."""

from __future__ import annotations

import fnmatch
import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from headrace.errors import BadInput

IGNORE = ".headraceignore"
"""File in the folder with a pattern on each line: ``*.csv``, ``data/``, ``notes/*.txt``. ``#`` begins a remark."""
IGNORED = (
    ".git/",
    ".hg/",
    ".venv/",
    "venv/",
    "__pycache__/",
    "*.pyc",
    ".*_cache/",
    "node_modules/",
    ".DS_Store",
    IGNORE,
)
BYTES = 64 * 2**20
"""Bytes of all files together: code, not data. Data are registered as datasets."""
FILES = 5_000
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path, target: Path) -> list[str]:
    """Write the archive; returns the paths in it. Sorted, of one date and mode, and stored as they are: compression
    differs between versions of zlib.

    Raises:
        BadInput: no folder, nothing in it, too large, or with links, which an archive of code may not have.
    """
    if not folder.is_dir():
        raise BadInput(detail=f"{folder} is no folder; the folder with the training code is wanted")
    names = sorted(_files(folder, [*IGNORED, *_patterns(folder)]), key=lambda name: name.encode())
    if not names:
        raise BadInput(detail=f"there is no file to send in {folder}")
    if len(names) > FILES:
        raise BadInput(detail=f"{folder} has {len(names):,} files; {FILES:,} are the most. {IGNORE} leaves some out")
    size = sum((folder / name).stat().st_size for name in names)
    if size > BYTES:
        largest = max(names, key=lambda name: (folder / name).stat().st_size)
        raise BadInput(
            detail=f"{folder} has {size / 2**20:,.1f} MiB of files ({largest} is the largest); {BYTES // 2**20} MiB are the "
            f"most. Register data with `headrace dataset add`, and leave out the rest in {IGNORE}"
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, (folder / name).read_bytes())
    return names


def _patterns(folder: Path) -> list[str]:
    try:
        lines = (folder / IGNORE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise BadInput(detail=f"{folder / IGNORE} is not UTF-8 text") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _files(folder: Path, patterns: Sequence[str]) -> Iterator[str]:
    """Paths of the plain files that no pattern names, relative to the folder."""
    for root, folders, files in os.walk(folder):
        inside = PurePosixPath(Path(root).relative_to(folder).as_posix())
        folders[:] = [name for name in folders if not ignored(f"{inside / name}/", patterns)]
        for name in [*files, *(one for one in folders if (Path(root) / one).is_symlink())]:
            path = str(inside / name)
            if ignored(path, patterns):
                continue
            if not stat.S_ISREG((folder / path).lstat().st_mode):
                raise BadInput(
                    detail=f"{folder / path} is a link or no plain file; copy it, or leave it out in {IGNORE}"
                )
            yield path


def ignored(path: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern names a path; one that ends in ``/`` names folders, one with another ``/`` the whole path.

    >>> ignored("a/b.pyc", ["*.pyc"]), ignored("data/", ["data/"]), ignored("data", ["data/"]), ignored("a/x.csv", ["b/*.csv"])
    (True, True, False, False)
    """
    folder, plain = path.endswith("/"), path.rstrip("/")
    for pattern in patterns:
        wanted = pattern.strip("/")
        if pattern.endswith("/") and not folder:
            continue
        whole = "/" in pattern.rstrip("/")
        if fnmatch.fnmatchcase(plain if whole else plain.rpartition("/")[2], wanted):
            return True
    return False
