"""A form with a file: right, wrong, cut at any place; of what is refused nothing is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.checks.artifacts import content, stored
from headrace.errors import BadInput, HeadraceError, StorageUnavailable, TooLarge
from headrace.services import http
from headrace.services.sharing.multipart import METADATA, Taken, take_in
from headrace.settings import ArtifactSettings
from headrace.stores.artifacts.files import FileArtifacts
from headrace.stores.artifacts.memory import MemoryArtifacts

TYPE = b"multipart/form-data; boundary=edge"


def part(name: str, data: bytes, more: str = "", filename: str | None = None) -> bytes:
    named = "" if filename is None else f'; filename="{filename}"'
    return f'--edge\r\nContent-Disposition: form-data; name="{name}"{named}\r\n{more}\r\n'.encode() + data + b"\r\n"


END = b"--edge--\r\n"
META = part("metadata", b'{"name": "n"}', "Content-Type: application/json\r\n")
FILE = part("file", b"a,b\r\n--edg\r\n1,2\r\n", filename="a.csv")


def metadata(raw: bytes, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads(raw))
    except ValueError as error:
        raise BadInput(detail="no JSON") from error


async def send(
    store: Any,
    body: bytes,
    piece: int = 7,
    kind: bytes = TYPE,
    gone: bool = False,
    check: Callable[[bytes, str], Any] = metadata,
    otherwise: bytes | None = None,
) -> Taken[Any]:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": body[at : at + piece], "more_body": True} for at in range(0, len(body), piece)
    ]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    scope = {"headers": [(b"content-type", kind)]}
    return await take_in(scope, receive, store, "acme", check, ("file", "code"), otherwise)


def left(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("piece", [1, 2, 3, 10, 64, 100_000])
async def test_a_form_cut_anywhere(piece: int) -> None:
    store = MemoryArtifacts()
    taken = await send(store, META + FILE + END + b"epilogue", piece)
    assert (taken.metadata, taken.part, taken.filename) == ({"name": "n"}, "file", "a.csv")
    assert taken.stored == stored(b"a,b\r\n--edg\r\n1,2\r\n")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([b"\r\n", b"--", b"edge", b"\r", b"-", b"x", b"\0", b"\r\n--edg"]), max_size=30),
    st.integers(1, 40),
)
def test_any_bytes_come_through(bits: list[bytes], piece: int) -> None:
    data = b"".join(bits)
    if b"\r\n--edge" in b"\r\n" + data:  # that is a boundary
        return
    taken = asyncio.run(send(MemoryArtifacts(), META + part("code", data) + END, piece))
    assert taken.stored == stored(data) and taken.part == "code" and taken.filename == "file"


async def test_a_large_file_is_never_held_whole(tmp_path: Path) -> None:
    data, store = content(9 * 2**20 + 5), FileArtifacts(tmp_path)
    taken = await send(store, META + part("file", data) + END, 65_536)
    assert taken.stored == stored(data)
    assert [path.parent.name for path in left(tmp_path)] == ["contents", "contents"]


WRONG = {
    "no form": (META + FILE + END, b"application/json", "has to be multipart/form-data"),
    "no boundary": (META + FILE + END, b"multipart/form-data", "names no boundary"),
    "an endless boundary": (META + FILE + END, b"multipart/form-data; boundary=" + b"x" * 1000, "cannot be used"),
    "another boundary": (META + FILE + END, b"multipart/form-data; boundary=other", "cannot be read"),
    "nothing": (b"", TYPE, "before its last boundary"),
    "no parts": (END, TYPE, "no part 'metadata'"),
    "no metadata": (FILE + END, TYPE, "'metadata' has to come before 'file'"),
    "no file": (META + END, TYPE, "no part 'file' or 'code'"),
    "file before metadata": (FILE + META + END, TYPE, "'metadata' has to come before"),
    "metadata twice": (META + META + FILE + END, TYPE, "two parts 'metadata'"),
    "metadata again after the file": (META + FILE + META + END, TYPE, "two parts 'metadata'"),
    "two files": (META + FILE + FILE + END, TYPE, "second file"),
    "file and code": (META + FILE + part("code", b"") + END, TYPE, "second file"),
    "another part": (META + part("extra", b"") + FILE + END, TYPE, "a part 'extra'"),
    "bad metadata": (part("metadata", b"{") + FILE + END, TYPE, "no JSON"),
    "no name": (
        b"--edge\r\nContent-Disposition: form-data\r\n\r\n\r\n" + END,
        TYPE,
        "no content-disposition with a name",
    ),
    "no disposition": (b"--edge\r\nA: b\r\n\r\n\r\n" + END, TYPE, "no content-disposition"),
    "encoded part": (
        META + part("file", b"YQ==", "Content-Transfer-Encoding: base64\r\n") + END,
        TYPE,
        "transfer-encoding",
    ),
    "long part header": (META + part("file", b"", f"X: {'x' * 9000}\r\n") + END, TYPE, "Maximum header size"),
    "many part headers": (META + part("file", b"", "X: y\r\n" * 50) + END, TYPE, "Maximum header count"),
    "bad part header": (META + part("file", b"", "X y: z\r\n") + END, TYPE, "invalid character"),
    "endless epilogue": (META + FILE + END + b"x" * 200_000, TYPE, "more after the form's last boundary"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_form_is_refused_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    body, kind, words = WRONG[name]
    for piece in (11, 100_000):
        with pytest.raises(BadInput, match=words):
            await send(FileArtifacts(tmp_path), body, piece, kind)
        assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [(META + FILE + END, {"name": "n"}), (FILE + META + END, {"name": "n"}), (FILE + END, {"name": "none"})],
)
@pytest.mark.parametrize("piece", [1, 9, 100_000])
async def test_a_form_of_another_program(body: bytes, said: dict[str, str], piece: int) -> None:
    taken = await send(MemoryArtifacts(), body, piece, otherwise=b'{"name": "none"}')
    assert taken.metadata == said and taken.stored == stored(b"a,b\r\n--edg\r\n1,2\r\n")


@pytest.mark.parametrize("name", [one for one in WRONG if one not in {"no metadata", "file before metadata"}])
async def test_a_wrong_form_of_another_program_leaves_nothing(name: str, tmp_path: Path) -> None:
    body, kind, _ = WRONG[name]
    with pytest.raises(BadInput):
        await send(FileArtifacts(tmp_path), body, 11, kind, otherwise=b"{}")
    for late in (part("metadata", b"{"), part("metadata", b"x" * (METADATA + 1))):
        with pytest.raises((BadInput, TooLarge)):
            await send(FileArtifacts(tmp_path), FILE + late + END, otherwise=b"{}")
    assert left(tmp_path) == []


async def test_a_truncated_upload_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole, store = META + FILE + END, FileArtifacts(tmp_path)
    for end in range(len(whole) - 2):
        for gone in (False, True):
            with pytest.raises(BadInput, match=r"went away|before its last boundary"):
                await send(store, whole[:end], 50, gone=gone)
    assert left(tmp_path) == []


async def test_large_metadata(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="the metadata"):
        await send(FileArtifacts(tmp_path), part("metadata", b"x" * (METADATA + 1)) + FILE + END, 4096)
    assert left(tmp_path) == []


async def test_a_company_over_its_quota_is_told_and_nothing_stays(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path, ArtifactSettings(quota=1000))
    with pytest.raises(TooLarge, match="--company-quota"):
        await send(store, META + part("file", bytes(2000)) + END, 300)
    assert left(tmp_path) == []
    assert (await send(store, META + part("file", bytes(900)) + END, 300)).stored.size == 900


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileArtifacts(tmp_path)
    monkeypatch.setattr("os.pwrite", _full)
    with pytest.raises(StorageUnavailable, match="No space left"):
        await send(store, META + part("file", bytes(5 * 2**20)) + END, 65_536)
    assert left(tmp_path) == []


def _full(*_: Any) -> int:
    raise OSError(28, "No space left on device")


async def test_a_client_that_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.05)
    first = [META + FILE]

    async def receive() -> dict[str, Any]:
        if first:
            return {"type": "http.request", "body": first.pop(), "more_body": True}
        await asyncio.sleep(60)
        return {}

    monkeypatch.setattr(http, "SPILL_SECONDS", 0.05)
    with pytest.raises(BadInput, match="nothing more of the body came"):
        await take_in({"headers": [(b"content-type", TYPE)]}, receive, FileArtifacts(tmp_path), "acme", metadata)
    assert left(tmp_path) == []


async def test_a_request_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    first = [META + FILE]

    async def receive() -> dict[str, Any]:
        if first:
            return {"type": "http.request", "body": first.pop(), "more_body": True}
        await asyncio.sleep(60)
        return {}

    scope = {"headers": [(b"content-type", TYPE)]}
    task = asyncio.create_task(take_in(scope, receive, FileArtifacts(tmp_path), "acme", metadata))
    while not left(tmp_path):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(tmp_path) == []


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(1, 60))
def test_whatever_stands_in_a_form_it_is_read_or_refused(noise: bytes, at: int, piece: int) -> None:
    whole, store = META + FILE + END, MemoryArtifacts()
    try:
        asyncio.run(send(store, whole[:at] + noise + whole[at:], piece))
    except HeadraceError as error:
        assert str(error)
        assert asyncio.run(store.list("acme")) == []
