"""Contents to a platform: with progress, by pieces that can go on after an interruption, checked by digest."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from headrace.commands.calling import fail, guard, read, sign_in
from headrace.commands.printing import say

if TYPE_CHECKING:
    import httpx
    from rich.progress import Progress, TaskID

RESUMABLE = 32 * 2**20
"""Bytes from which a file is sent by tus (tus.io 1.0), which goes on where it stopped."""
PIECE = 16 * 2**20
"""Bytes of one PATCH: what an interruption loses at most."""
CHUNK = 2**18
TRIES = 5
"""Broken connections in a row after which we give up."""
WAIT = 0.5
"""Seconds before the second try; doubled each time."""
SECONDS = 300.0
"""Without a byte from the platform. It may be hashing and writing a large piece."""
_FORGOTTEN = {400, 404, 409, 410, 412}
Watch: TypeAlias = Callable[[int], None]
"""Told how many bytes went by."""


class _Watched(io.FileIO):
    """A file that hashes and counts what is read of it; from the start again when it is rewound."""

    def __init__(self, path: Path, watch: Watch) -> None:
        super().__init__(path)
        self._watch = watch
        self.digest = hashlib.sha256()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        place = super().seek(offset, whence)
        if place == 0:
            self.digest = hashlib.sha256()
        return place

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.digest.update(data)
        self._watch(len(data))
        return data

    def skip(self, offset: int) -> None:
        """Only hash what is there already."""
        watch, self._watch = self._watch, lambda _: None
        while self.tell() < offset:
            self.read(min(CHUNK * 4, offset - self.tell()))
        self._watch = watch


class Bar:
    """Told how many bytes went by, shows how far it is."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def __call__(self, count: int) -> None:
        self._bar.advance(self._task, count)

    def begin(self, offset: int) -> None:
        """So much went by another time."""
        self._bar.reset(self._task, completed=offset)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Bar]:
    """A bar of bytes with their rate on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield Bar(bar, task)


def send(
    url: str,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    client: httpx.Client | None = None,
    **content: Any,
) -> httpx.Response:
    """One request with this user's token; once more with a new one if that had ended. Raises httpx.HTTPError.

    Args:
        client: its connection is used; without one, a connection of its own.
    """
    import httpx

    from headrace import credentials

    place = credentials.normal(url) + path
    mine = guard(lambda: credentials.headers(url))
    given = {"timeout": SECONDS, **content, **({} if client else {"trust_env": False})}
    request = client.request if client else httpx.request
    answer = request(method, place, headers={**(headers or {}), **mine}, **given)
    if answer.status_code == 401 and mine:
        token = mine["Authorization"].removeprefix("Bearer ")
        again = guard(lambda: credentials.headers(url, token))
        if again and again != mine and not isinstance(content.get("content"), Iterator):
            answer = request(method, place, headers={**(headers or {}), **again}, **given)
    if answer.status_code == 401:
        fail(f"{url} does not let you in: {sign_in(url)}")
    return answer


def lost(url: str, error: Exception) -> str:
    """What to say when there was no answer."""
    why = str(error) or type(error).__name__
    return f"no answer from {url} ({why}); is it up? `headrace up` starts it, --url says where it is"


def upload(url: str, path: str, metadata: dict[str, Any], part: str, file: Path) -> dict[str, Any]:
    """Register a file: POST its metadata and content to `path`; returns the record.

    Args:
        part: name of the part of the multipart body with the content.
    """
    import httpx

    try:
        size = file.stat().st_size
        if not file.is_file():
            fail(f"{file} is no file; pack a folder into a zip or tar first")
        with progress(f"sending {file.name}", size) as watch:
            try:
                if size >= RESUMABLE:
                    return _by_pieces(url, path, metadata, file, watch)
                return _at_once(url, path, metadata, part, file, watch)
            except KeyboardInterrupt:
                if size >= RESUMABLE:
                    say("\nheadrace: stopped; the same command goes on where it stopped", err=True)
                raise
            except httpx.HTTPError as error:
                again = "; the same command goes on where it stopped" if size >= RESUMABLE else ""
                fail(lost(url, error) + again)
    except OSError as error:
        fail(f"{file}: {error.strerror}")


def _at_once(url: str, path: str, metadata: dict[str, Any], part: str, file: Path, watch: Watch) -> dict[str, Any]:
    with _Watched(file, watch) as content:
        files = {part: (file.name, content, "application/octet-stream")}
        record = read(send(url, "POST", path, data={"metadata": json.dumps(metadata)}, files=files))
        return _same(record, content.digest.hexdigest(), file)


def _by_pieces(url: str, path: str, metadata: dict[str, Any], file: Path, watch: Bar) -> dict[str, Any]:
    place, digest = _uploaded(url, file, watch)
    record = read(send(url, "POST", path, json={**metadata, "filename": file.name, "upload": place.rpartition("/")[2]}))
    _Remembered(url, file).forget()
    return _same(record, digest, file)


def _same(record: dict[str, Any], digest: str, file: Path) -> dict[str, Any]:
    """The record, if it is of the bytes that were read here."""
    files = record.get("files") or []
    stored = record.get("stored") or (record.get("recipe") or {}).get("code") or (files[0]["stored"] if files else {})
    if stored.get("sha256") != f"sha256:{digest}":
        what = f"{record.get('id')}: the platform stored other bytes than {file} has"
        fail(f"{what}; did it change meanwhile? Delete it, and try again")
    return record


class _Remembered:
    """Where the upload of a file goes on: kept beside the credentials, by what the file was like when it began."""

    def __init__(self, url: str, file: Path) -> None:
        from headrace import credentials

        about = file.stat()
        like = [credentials.normal(url), str(file.resolve()), about.st_size, about.st_mtime_ns]
        self._key = hashlib.sha256(json.dumps(like).encode()).hexdigest()[:32]
        self._path = credentials.file().with_name("uploads.json")

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def place(self) -> str:
        """Path of the upload, or ""."""
        found = self._read().get(self._key, "")
        return found if isinstance(found, str) and found.startswith("/") else ""

    def keep(self, place: str) -> None:
        """Remember it; the oldest of many is forgotten."""
        self._write({**self._read(), self._key: place})

    def forget(self) -> None:
        """It is finished, or gone."""
        self._write({key: place for key, place in self._read().items() if key != self._key})

    def _write(self, entries: dict[str, str]) -> None:
        from headrace.disk import write_whole

        with contextlib.suppress(OSError):  # then it begins anew the next time
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self._path, json.dumps(dict(list(entries.items())[-100:])).encode())


_TUS = {"Tus-Resumable": "1.0.0"}


def _uploaded(url: str, file: Path, watch: Bar) -> tuple[str, str]:
    """(path of the finished upload, sha256 of what was sent). Goes on with an upload that was interrupted."""
    import httpx

    kept, size = _Remembered(url, file), file.stat().st_size
    place = kept.place()
    offset = _offset(url, place) if place else None
    if offset is None or offset > size:
        place, offset = _begun(url, file, size), 0
        kept.keep(place)
    if offset:
        say(f"{file.name}: resumed at {offset:,} of {size:,} bytes", err=True)
        watch.begin(offset)
    with _Watched(file, watch) as content, httpx.Client(trust_env=False) as client:
        content.skip(offset)
        failed = 0
        while offset < size:
            before = offset
            offset = _piece(url, place, offset, size, content, client)
            failed = 0 if offset > before else failed + 1
            if failed:
                if failed >= TRIES:
                    fail(f"{url} stops answering at {offset:,} of {size:,} bytes; the same command goes on from there")
                time.sleep(WAIT * 2 ** (failed - 1))
        return place, content.digest.hexdigest()


def _begun(url: str, file: Path, size: int) -> str:
    name = base64.b64encode(file.name.encode()).decode()
    headers = {**_TUS, "Upload-Length": str(size), "Upload-Metadata": f"filename {name}"}
    answer = send(url, "POST", "/uploads", headers=headers, content=b"")
    if answer.is_error:
        read(answer)
    return answer.url.join(answer.headers["Location"]).path


def _offset(url: str, place: str) -> int | None:
    """Bytes that are there; None: the platform does not know this upload any more."""
    answer = send(url, "HEAD", place, headers=_TUS)
    if answer.status_code in _FORGOTTEN:
        return None
    if answer.is_error or not answer.headers.get("Upload-Offset", "").isdigit():
        fail(f"{url} does not say how much of the upload it has (HTTP {answer.status_code}); try again later")
    return int(answer.headers["Upload-Offset"])


def _piece(url: str, place: str, offset: int, size: int, content: _Watched, client: httpx.Client) -> int:
    """Send the next piece; the new offset, which is what the platform says it has."""
    import httpx

    end = min(size, offset + PIECE)
    headers = {**_TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    headers["Content-Length"] = str(end - offset)
    pieces = [os.pread(content.fileno(), min(CHUNK, end - at), at) for at in range(offset, end, CHUNK)]
    try:  # in small pieces: httpcore copies what is left of one after each send
        answer = send(url, "PATCH", place, headers=headers, content=pieces, client=client)
    except httpx.TransportError:
        answer = None
    if answer is not None and answer.status_code == 204:
        there: int | None = int(answer.headers["Upload-Offset"])
    elif answer is not None and answer.is_client_error and answer.status_code not in {409, 423}:
        read(answer)
    else:
        there = _there(url, place, offset)
    if there is None or not offset <= there <= size:
        fail(f"{url} has lost the upload; the same command begins anew")
    while content.tell() < there:
        content.read(min(CHUNK, there - content.tell()))
    return there


def _there(url: str, place: str, offset: int) -> int | None:
    """What the platform has after a broken connection; no progress if it does not answer."""
    import httpx

    try:
        return _offset(url, place)
    except httpx.TransportError:
        return offset
