"""Resumable uploads with the real tus client against a real server, interrupted and killed; downloads that break off."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed

from headrace.assets import LEAF, Stored
from headrace.checks.artifacts import content, stored
from tests.sharing_server import Server

TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("sharing") / "artifacts")
    yield found
    found.close()


def client(server: Server, company: str = "acme") -> TusClient:
    return TusClient(f"{server.url}/uploads", headers={"X-Company": company})


def created(server: Server, length: int, **headers: str) -> str:
    answer = server.call("POST", "/uploads", headers={**TUS, "Upload-Length": str(length), **headers})
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def offset(server: Server, path: str) -> int:
    return int(server.call("HEAD", path, headers=TUS).headers["Upload-Offset"])


def go_on(server: Server, path: str, at: int, data: bytes, **headers: str) -> httpx.Response:
    return server.call("PATCH", path, headers={**PATCH, "Upload-Offset": str(at), **headers}, content=data)


def settled(server: Server, path: str, data: bytes) -> int:
    """How far an interrupted upload came, once the server has let go of it."""
    for _ in range(100):
        if server.call("PATCH", path, headers={**PATCH, "Upload-Offset": "999999999"}).text.startswith(
            '{"error":"upload'
        ):
            at = offset(server, path)
            if go_on(server, path, at, b"").status_code == 204:
                assert at <= len(data)
                return at
        time.sleep(0.05)
    raise TimeoutError


def files(folder: Path) -> list[str]:
    """Everything on the disk but contents."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "contents" not in str(path)
    )


# -- tus


def test_tuspy_uploads_in_chunks_and_the_upload_is_registered(server: Server) -> None:
    data = content(3 * LEAF + 77)
    uploader = client(server).uploader(
        file_stream=io.BytesIO(data), chunk_size=LEAF - 5, metadata={"filename": "../ä.csv"}, upload_checksum=True
    )
    uploader.upload()
    id = uploader.url.rpartition("/")[2]
    assert server.call("POST", f"/register/{id}", company="other").status_code == 404
    for forget in ("", "?forget=1"):  # registering again after a crash gives the same
        answer = server.call("POST", f"/register/{id}{forget}").json()
        assert Stored.model_validate(answer["stored"]) == stored(data) and answer["filename"] == "ä.csv"
    assert server.call("POST", f"/register/{id}").status_code == 404
    assert not [name for name in files(server.folder) if id in name]


def test_an_upload_whose_content_was_deleted_is_not_registered_empty(server: Server) -> None:
    path = created(server, 3)
    assert go_on(server, path, 0, b"xyz").status_code == 204
    id = path.rpartition("/")[2]
    found = Stored.model_validate(server.call("POST", f"/register/{id}").json()["stored"])
    (server.folder / "acme" / "contents" / found.sha256[7:]).unlink()
    answer = server.call("POST", f"/register/{id}")
    assert answer.status_code == 409 and "only 0 of 3 bytes" in answer.json()["error"]


def test_an_empty_file(server: Server) -> None:
    uploader = client(server).uploader(file_stream=io.BytesIO(b""))
    uploader.upload()
    id = uploader.url.rpartition("/")[2]
    assert Stored.model_validate(server.call("POST", f"/register/{id}").json()["stored"]) == stored(b"")


def test_a_truncated_upload_goes_on_where_it_broke_off(server: Server) -> None:
    data = content(4 * LEAF + 9)
    path = created(server, len(data))
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        head = f"PATCH {path} HTTP/1.1\r\nHost: x\r\nX-Company: acme\r\nUpload-Offset: 0\r\nContent-Length: {len(data)}\r\n"
        line.sendall((head + "".join(f"{name}: {value}\r\n" for name, value in PATCH.items()) + "\r\n").encode())
        line.sendall(data[: 2 * LEAF + 100])
    at = settled(server, path, data)
    assert at == 2 * LEAF + 100, "what came before the connection broke is not kept"
    id = path.rpartition("/")[2]
    answer = server.call("POST", f"/register/{id}")
    assert answer.status_code == 409 and f"only {at} of {len(data)} bytes" in answer.json()["error"]
    uploader = client(server).uploader(file_stream=io.BytesIO(data), url=server.url + path)
    assert uploader.offset == at
    uploader.upload()
    assert Stored.model_validate(server.call("POST", f"/register/{id}").json()["stored"]) == stored(data)


def test_the_platform_is_killed_in_mid_upload(tmp_path: Path) -> None:
    data = content(24 * LEAF + 5)
    server = Server(tmp_path / "artifacts", checkpoint=2**20)
    uploader = client(server).uploader(file_stream=io.BytesIO(data), metadata={"filename": "a.bin"})
    failed: list[Exception] = []

    def upload() -> None:
        try:
            uploader.upload()
        except (TusUploadFailed, TusCommunicationError) as error:
            failed.append(error)

    uploader.chunk_size = 6 * LEAF + 1
    thread = threading.Thread(target=upload)
    thread.start()
    while uploader.offset < 6 * LEAF:
        time.sleep(0.001)
    server.kill()
    thread.join(30)
    assert failed, "the upload was over before the kill"
    server = Server(tmp_path / "artifacts", port=server.port)
    again = client(server).uploader(file_stream=io.BytesIO(data), url=uploader.url)
    assert 6 * LEAF + 1 <= again.offset < len(data), "what was acknowledged is lost"
    again.upload()
    id = again.url.rpartition("/")[2]
    answer = server.call("POST", f"/register/{id}?forget=1").json()
    assert Stored.model_validate(answer["stored"]) == stored(data) and answer["filename"] == "a.bin"
    assert files(server.folder) == []
    server.close()


def test_two_uploads_racing_for_one_id(server: Server) -> None:
    data = content(2 * LEAF)
    path = created(server, len(data))
    head = {**PATCH, "X-Company": "acme", "Upload-Offset": "0", "Content-Length": str(len(data))}
    first = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    first.putrequest("PATCH", path)
    for name, value in head.items():
        first.putheader(name, value)
    first.endheaders()
    first.send(data[:LEAF])
    time.sleep(0.2)
    second = go_on(server, path, 0, data)
    assert second.status_code == 409 and "being written by another request" in second.json()["error"]
    assert server.call("DELETE", path, headers=TUS).status_code == 409
    first.send(data[LEAF:])
    answer = first.getresponse()
    assert answer.status == 204 and answer.getheader("Upload-Offset") == str(len(data))
    first.close()
    id = path.rpartition("/")[2]
    assert Stored.model_validate(server.call("POST", f"/register/{id}").json()["stored"]) == stored(data)


def test_a_length_that_is_told_later(server: Server) -> None:
    answer = server.call("POST", "/uploads", headers={**TUS, "Upload-Defer-Length": "1"})
    path = answer.headers["Location"]
    assert server.call("HEAD", path, headers=TUS).headers["Upload-Defer-Length"] == "1"
    assert go_on(server, path, 0, b"abc").headers["Upload-Offset"] == "3"
    assert server.call("POST", f"/register/{path.rpartition('/')[2]}").status_code == 409
    assert go_on(server, path, 3, b"", **{"Upload-Length": "2"}).status_code == 409
    assert go_on(server, path, 3, b"de", **{"Upload-Length": "5"}).status_code == 204
    assert server.call("HEAD", path, headers=TUS).headers["Upload-Length"] == "5"
    assert go_on(server, path, 5, b"", **{"Upload-Length": "6"}).status_code == 409
    found = server.call("POST", f"/register/{path.rpartition('/')[2]}").json()["stored"]
    assert Stored.model_validate(found) == stored(b"abcde")


def test_a_wrong_offset_is_a_conflict_and_changes_nothing(server: Server) -> None:
    path = created(server, 6)
    assert go_on(server, path, 0, b"abc").status_code == 204
    for at in (0, 2, 4):
        answer = go_on(server, path, at, b"xyz")
        assert answer.status_code == 409 and "goes on at byte 3" in answer.json()["error"]
    assert offset(server, path) == 3


def test_more_than_was_announced(server: Server) -> None:
    path = created(server, 3)
    assert go_on(server, path, 0, b"abcdef").status_code == 400
    assert offset(server, path) == 0
    assert go_on(server, path, 0, b"abc").status_code == 204


def test_a_wrong_checksum_is_460_and_nothing_is_taken(server: Server) -> None:
    path = created(server, 3)
    right = base64.b64encode(hashlib.sha1(b"abc").digest()).decode()
    assert go_on(server, path, 0, b"abd", **{"Upload-Checksum": f"sha1 {right}"}).status_code == 460
    assert go_on(server, path, 0, b"abc", **{"Upload-Checksum": f"crc9 {right}"}).status_code == 400
    assert offset(server, path) == 0
    assert go_on(server, path, 0, b"abc", **{"Upload-Checksum": f"sha1 {right}"}).status_code == 204


def test_foreign_and_made_up_ids_do_not_exist(server: Server) -> None:
    path = created(server, 3)
    real = path.rpartition("/")[2]
    assert server.call("HEAD", path, company="other", headers=TUS).status_code == 404
    assert server.call("DELETE", path, company="other", headers=TUS).status_code == 404
    assert server.call("PATCH", path, company="other", headers={**PATCH, "Upload-Offset": "0"}).status_code == 404
    for id in (
        f"..%2Facme%2F{real}",
        f"%2e%2e%2f{real}",
        "..%00",
        "up_0",
        real[:-1],
        f"{real}.json",
        "%2Fetc%2Fpasswd",
    ):
        for method in ("HEAD", "PATCH", "DELETE"):
            answer = server.call(method, f"/uploads/{id}", headers={**PATCH, "Upload-Offset": "0"})
            assert answer.status_code == 404, (method, id, answer.text)
    for company in ("../acme", "acme/..", "%2e%2e"):
        assert server.call("HEAD", path, company=company, headers=TUS).status_code == 404
    assert offset(server, path) == 0


def test_termination(server: Server) -> None:
    path = created(server, 3)
    assert go_on(server, path, 0, b"a").status_code == 204
    assert server.call("DELETE", path, headers=TUS).status_code == 204
    assert server.call("DELETE", path, headers=TUS).status_code == 404
    assert server.call("HEAD", path, headers=TUS).status_code == 404
    assert not [name for name in files(server.folder) if path.rpartition("/")[2] in name]


def test_requests_that_are_not_tus(server: Server) -> None:
    path = created(server, 3)
    options = server.call("OPTIONS", "/uploads")
    assert options.headers["Tus-Version"] == "1.0.0" and "termination" in options.headers["Tus-Extension"]
    assert server.call("HEAD", path).status_code == 412
    assert server.call("PATCH", path, headers={**TUS, "Upload-Offset": "0"}, content=b"a").status_code == 415
    for value in ("-1", "x", "", "9" * 30, "１"):
        headers = [
            (b"Upload-Offset", value.encode()),
            *((k.encode(), v.encode()) for k, v in PATCH.items()),
            (b"X-Company", b"acme"),
        ]
        assert httpx.patch(server.url + path, headers=headers, trust_env=False).status_code == 400, value
    for bad in ({}, {"Upload-Length": "x"}, {"Upload-Length": "3", "Upload-Metadata": "name !"}):
        assert server.call("POST", "/uploads", headers={**TUS, **bad}).status_code == 400
    assert server.call("POST", "/uploads", headers={**TUS, "Upload-Length": "9" * 15}).status_code == 413
    assert (
        server.call(
            "POST", "/uploads", headers={**TUS, "Upload-Length": "3", "Upload-Metadata": "a " + "A" * 5000}
        ).status_code
        == 413
    )
    assert server.call("POST", "/uploads", headers={**TUS, "Upload-Length": "3", "X-Role": "viewer"}).status_code == 403
    stranger = httpx.post(f"{server.url}/uploads", headers={**TUS, "Upload-Length": "3"}, trust_env=False)
    assert stranger.status_code == 401 and stranger.headers["Tus-Resumable"] == "1.0.0"


def test_a_quota(server: Server) -> None:
    path, at = created(server, 100 * 2**20, **{"X-Company": "small"}), 0
    while True:
        answer = go_on(server, path, at, bytes(30 * 2**20), **{"X-Company": "small"})
        if answer.status_code != 204:
            break
        at = int(answer.headers["Upload-Offset"])
    assert answer.status_code == 413 and "--company-quota" in answer.json()["error"]
    kept = int(server.call("HEAD", path, company="small", headers=TUS).headers["Upload-Offset"])
    assert at == 60 * 2**20 and at <= kept <= 64 * 2**20
    assert server.call("DELETE", path, company="small", headers=TUS).status_code == 204
    again = created(server, 30 * 2**20, **{"X-Company": "small"})
    assert go_on(server, again, 0, bytes(30 * 2**20), **{"X-Company": "small"}).status_code == 204


# -- downloads


def given(server: Server, data: bytes) -> tuple[Stored, dict[str, str]]:
    found = server.call("POST", "/form", files=[("metadata", (None, "{}")), ("file", ("a.csv", data))])
    assert found.status_code == 200, found.text
    known = Stored.model_validate(found.json()["stored"])
    return known, {"size": str(known.size), "sha256": known.sha256, "root": known.root}


def test_a_download_says_what_it_is(server: Server) -> None:
    data = content(3 * LEAF + 1)
    known, query = given(server, data)
    answer = server.call("GET", "/content", params=query)
    assert answer.content == data and answer.headers["content-length"] == str(len(data))
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert (
        answer.headers["repr-digest"] == f"sha-256=:{digest}:" and answer.headers["headrace-merkle-root"] == known.root
    )
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A4%20b.csv"
    tag = answer.headers["etag"]
    assert tag == f'"{hashlib.sha256(data).hexdigest()}"'
    for condition in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        unchanged = server.call("GET", "/content", params=query, headers={"If-None-Match": condition})
        assert unchanged.status_code == 304 and unchanged.content == b""
    head = server.call("HEAD", "/content", params=query)
    assert head.headers["content-length"] == str(len(data)) and head.content == b""


def test_ranges(server: Server) -> None:
    data = content(2 * LEAF + 10)
    _, query = given(server, data)
    size = len(data)

    def asked(text: str, **headers: str) -> httpx.Response:
        return server.call("GET", "/content", params=query, headers={"Range": text, **headers})

    for text, start, stop in (
        ("bytes=0-0", 0, 1), (f"bytes={LEAF - 1}-{LEAF}", LEAF - 1, LEAF + 1), ("bytes=-10", size - 10, size),
        (f"bytes={LEAF}-", LEAF, size), (f"bytes=5-{size * 2}", 5, size), (f"bytes=-{size * 2}", 0, size),
    ):  # fmt: skip
        part = asked(text)
        assert part.status_code == 206 and part.content == data[start:stop], text
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    for text in (f"bytes={size}-", "bytes=-0"):
        outside = asked(text)
        assert outside.status_code == 416 and outside.headers["content-range"] == f"bytes */{size}", text
    for text in ("bytes=5-1", "bytes=0-1,3-4", "lines=0-1", "bytes=x-", "bytes=-", "bytes=" + "9" * 40 + "-"):
        assert asked(text).status_code == 200, text
    assert asked("bytes=0-0", **{"If-Range": f'"{query["sha256"][7:]}"'}).status_code == 206
    assert asked("bytes=0-0", **{"If-Range": '"another"'}).status_code == 200


def broken(server: Server, query: dict[str, str]) -> tuple[bytes, httpx.RemoteProtocolError | None]:
    got = b""
    try:
        with httpx.stream(
            "GET", f"{server.url}/content", params=query, headers={"X-Company": "acme"}, trust_env=False
        ) as answer:
            assert answer.status_code == 200
            for piece in answer.iter_raw():
                got += piece
    except httpx.RemoteProtocolError as error:
        return got, error
    return got, None


def test_a_bad_leaf_breaks_the_connection(server: Server) -> None:
    data = content(5 * LEAF)
    known, query = given(server, data)
    path = server.folder / "acme" / "contents" / known.sha256[7:]
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(3 * LEAF + 12)
        file.write(b"!")
    got, error = broken(server, query)
    assert error is not None and got == data[: 3 * LEAF], "a changed leaf was given out, or the end looked clean"
    assert "leaf 3 of" in server.said() and "broken off" in server.said()
    first = server.call("GET", "/content", params=query, headers={"Range": f"bytes={3 * LEAF}-"})
    assert first.status_code == 500 and "is damaged at leaf 3 of" in first.json()["error"]
    whole, error = broken(server, {**query, "sha256": given(server, data)[0].sha256})  # uploading it again heals it
    assert error is None and whole == data


def test_a_grant_revoked_in_mid_download_breaks_the_connection(server: Server) -> None:
    data = content(5 * LEAF)
    _, query = given(server, data)
    got, error = broken(server, {**query, "leaves": "2"})
    assert error is not None and len(got) == 2 * LEAF


def test_a_reader_who_goes_away(server: Server) -> None:
    data = content(8 * LEAF)
    _, query = given(server, data)
    with httpx.stream(
        "GET", f"{server.url}/content", params=query, headers={"X-Company": "acme"}, trust_env=False
    ) as answer:
        next(answer.iter_raw())
    assert server.call("GET", "/content", params=query).content == data
    assert "Traceback" not in server.said()
