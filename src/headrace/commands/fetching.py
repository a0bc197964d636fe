"""Contents from a platform: with progress, under another name until they were checked against their record."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from headrace.commands.calling import BUSY, fail, guard, quoted, read, reason, waiting
from headrace.commands.sending import SECONDS, Watch, lost, progress

if TYPE_CHECKING:
    import httpx


def download(url: str, path: str, stored: dict[str, Any], target: Path, *, force: bool) -> None:
    """Fetch a content to a file: under another name until its digest was checked.

    Args:
        stored: ``size`` and ``sha256`` of its record.
        force: a file of that name is replaced; without it, it is kept and the command ends.
    """
    if target.exists() and not force:
        fail(f"{target} exists; --force replaces it, --output chooses another")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}.", suffix=".part")
    except OSError as error:
        fail(f"{target}: {error.strerror}")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, progress(f"fetching {target.name}", int(stored["size"])) as watch:
            digest = _fetched(url, path, int(stored["size"]), file, watch)
        if f"sha256:{digest}" != stored["sha256"]:
            fail(
                f"what came is not what the record says ({stored['sha256']}, got sha256:{digest}); nothing was kept, try again"
            )
        _placed(temporary, target, force=force)
    except OSError as error:
        fail(f"{target}: {error.strerror}")
    finally:
        temporary.unlink(missing_ok=True)


def download_whole(url: str, path: str, target: Path, *, force: bool, check: Callable[[Path], None]) -> None:
    """Fetch what has no record that says its size and digest.

    Args:
        check: ends the command, or raises, if the file is not what it should be; it is not kept then.
    """
    import httpx

    from headrace import credentials

    if target.exists() and not force:
        fail(f"{target} exists; --force replaces it, --output chooses another")
    headers = guard(lambda: credentials.headers(url))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}.", suffix=".part")
    except OSError as error:
        fail(f"{target}: {error.strerror}")
    temporary = Path(name)
    place = credentials.normal(url) + path
    try:
        with (
            os.fdopen(handle, "wb") as file,
            waiting(f"waiting for {url}: {BUSY}") as heard,
            httpx.stream("GET", place, headers=headers, timeout=SECONDS, trust_env=False) as answer,
        ):
            heard()
            _take(answer, file, target.name)
        check(temporary)
        _placed(temporary, target, force=force)
    except httpx.HTTPError as error:
        fail(f"{lost(url, error)}; nothing was kept")
    except OSError as error:
        fail(f"{target}: {error.strerror}")
    finally:
        temporary.unlink(missing_ok=True)


def _take(answer: httpx.Response, file: io.BufferedWriter, name: str) -> None:
    """Write what comes. Ends the command if it is an error."""
    if answer.is_error:
        answer.read()
        if answer.status_code == 401:
            fail(f"{answer.url} does not let you in: `headrace login` signs in")
        read(answer)
    length = answer.headers.get("content-length", "")
    with progress(f"fetching {name}", int(length) if length.isdigit() else 0) as watch:
        for data in answer.iter_raw():
            file.write(data)
            watch(len(data))


def _placed(temporary: Path, target: Path, *, force: bool) -> None:
    """Under its own name, with the rights a new file of this user gets."""
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o666 & ~mask)
    if force:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)  # unlike a rename it replaces nothing that came meanwhile
    except OSError as error:
        if target.exists():
            fail(f"{target} exists; --force replaces it, --output chooses another")
        if error.errno not in {errno.EPERM, errno.ENOTSUP}:
            raise
        temporary.replace(target)  # a file system without links


def _fetched(url: str, path: str, size: int, file: io.BufferedWriter, watch: Watch) -> str:
    """Write what comes; its sha256. What breaks off goes on where it stopped, with a fresh token: one that ends in the middle
    ends the answer. Ends the command if nothing more comes, or more than there should be."""
    import httpx

    digest, count = hashlib.sha256(), 0
    while True:
        before, why = count, ""
        try:
            for data in _pieces(url, path, count):
                count += len(data)
                if count > size:
                    fail(f"{url} sends more than the {size:,} bytes of the record; nothing was kept")
                digest.update(data)
                file.write(data)
                watch(len(data))
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
        if not why or count == size:
            return digest.hexdigest()
        if count == before:
            _damaged(url, path, count)
            fail(f"broken off after {count:,} of {size:,} bytes ({why}); nothing was kept, try again")


def _damaged(url: str, path: str, count: int) -> None:
    """Ends the command with what the platform says of the bytes it did not send, if it says something."""
    import httpx

    from headrace import credentials

    headers = {**guard(lambda: credentials.headers(url)), "Range": f"bytes={count}-"}
    try:
        with httpx.stream(
            "GET", credentials.normal(url) + path, headers=headers, timeout=60, trust_env=False
        ) as answer:
            if answer.is_error and answer.status_code != 416:
                answer.read()
                fail(f"{reason(answer).rstrip('.')}; nothing was kept")
    except httpx.HTTPError:
        return  # then the line is bad


def _pieces(url: str, path: str, start: int) -> Iterator[bytes]:
    """A content from that byte on. Ends the command if it is refused."""
    import httpx

    from headrace import credentials

    headers = guard(lambda: credentials.headers(url)) | ({"Range": f"bytes={start}-"} if start else {})
    place = credentials.normal(url) + path
    with (
        waiting(f"waiting for {url}: {BUSY}") as heard,
        httpx.stream("GET", place, headers=headers, timeout=SECONDS, trust_env=False) as answer,
    ):
        heard()
        if answer.is_error:
            answer.read()
            if start:
                fail(f"{reason(answer).rstrip('.')}; nothing was kept")
            read(answer)
        if start and answer.status_code != 206:
            fail(f"{url} cannot go on with a content in its middle; nothing was kept, try again")
        yield from answer.iter_raw()  # not in larger chunks: what came before it broke off counts


def inside(name: str) -> PurePosixPath:
    """A path of a model's file, if it stays in its folder. The platform may be somebody else's.

    >>> inside("a/weights.pt")
    PurePosixPath('a/weights.pt')
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or "\0" in name:
        fail(f"the platform names a file {name[:80]!r}, which would leave the folder; nothing was kept")
    return path


def file_path(id: str, name: str) -> str:
    """Where one file of a model is."""
    return f"/models/{quoted(id)}/files/" + "/".join(quoted(part) for part in PurePosixPath(name).parts)
