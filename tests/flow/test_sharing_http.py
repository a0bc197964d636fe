"""The hub's HTTP door: forms, resumable uploads, ranges, broken downloads, errors, and what its OpenAPI document says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from typer.testing import CliRunner

from headrace.cli import app as cli
from headrace.errors import BadInput
from headrace.records import Entry
from headrace.services import apidocs
from headrace.services.http import App, Receive, Scope, Send
from headrace.services.sharing.http import create_app
from headrace.services.sharing.service import SharingService
from headrace.settings import ArtifactSettings
from headrace.stores.artifacts.files import FileArtifacts
from headrace.streams.logs.memory import MemoryLog
from tests.hub import Inspector, Trainer, opened, person, train

MIB = 2**20


class Entrance:
    """Believes the headers ``company`` and ``role``."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = {name.decode(): value.decode() for name, value in scope.get("headers", [])}
        if "company" in told:
            scope["headrace.principal"] = person(told["company"], told.get("role", "admin"))
        await self._app(scope, receive, send)


def _client(hub: SharingService, company: str = "acme", role: str = "admin") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=Entrance(create_app(hub)))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://hub", headers={"company": company, "role": role})


def _form(
    metadata: dict[str, Any], data: bytes = b"a,b\n1,2\n", part: str = "file", name: str = "p.csv"
) -> dict[str, Any]:
    return {
        "files": [
            ("metadata", (None, json.dumps(metadata), "application/json")),
            (part, (name, data, "application/octet-stream")),
        ]
    }


@contextlib.asynccontextmanager
async def _served(hub: SharingService) -> AsyncIterator[str]:
    """A real server: broken connections are real, too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(Entrance(create_app(hub)), port=port, log_level="critical", lifespan="off")  # type: ignore[arg-type]
    )
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


async def test_a_dataset_goes_in_as_a_form_and_comes_out(tmp_path: Path) -> None:
    async with (
        opened(tmp_path, inspect=Inspector(samples=1)) as hub,
        _client(hub) as acme,
        _client(hub, "bolt") as bolt,
    ):
        answer = await acme.post("/datasets", **_form({"name": "roof"}, name="../../roof plan.csv"))
        assert answer.status_code == 201
        made = answer.json()
        assert (made["company"], made["filename"], made["media"]) == ("acme", "roof plan.csv", "csv")
        await hub.settled()
        assert (await acme.get(f"/datasets/{made['id']}")).json()["samples"] == 1
        listed = (await acme.get("/datasets", params={"name": "ROO"})).json()
        assert [one["id"] for one in listed["items"]] == [made["id"]] and listed["next"] is None
        content = await acme.get(f"/datasets/{made['id']}/content")
        assert content.content == b"a,b\n1,2\n" and content.headers["etag"]
        head = await acme.head(f"/datasets/{made['id']}/content")
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "8")
        part = await acme.get(f"/datasets/{made['id']}/content", headers={"range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, b"b\n1")
        for path in (f"/datasets/{made['id']}", f"/datasets/{made['id']}/content", f"/lineage/{made['id']}"):
            stranger = await bolt.get(path)
            assert stranger.status_code == 404 and list(stranger.json()) == ["error"]
        assert (await bolt.delete(f"/datasets/{made['id']}")).status_code == 404
        assert (await bolt.post(f"/models/{made['id']}/release")).status_code == 404
        gone = await acme.delete(f"/datasets/{made['id']}")
        assert gone.json() == {"deleted": made["id"], "tombstone": False}


async def test_the_company_comes_from_the_token_never_from_the_body(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, _client(hub) as acme:
        answer = await acme.post("/datasets", **_form({"name": "roof", "company": "bolt"}))
        assert answer.status_code == 400 and "company" in answer.json()["error"]
        assert (await acme.post("/datasets", **_form({"name": "roof"}))).json()["company"] == "acme"


async def test_a_form_the_wrong_way_round_and_json_that_says_nothing_get_a_hint(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, _client(hub) as acme:
        grant = '{"asset": "ds_1", "grantee": "bolt", "right": "read"}'
        said = await acme.post("/grants", content=grant, headers={"content-type": "application/x-www-form-urlencoded"})
        assert said.status_code == 400 and "curl -H 'Content-Type: application/json'" in said.json()["error"]
        form = {"file": ("a.csv", b"a"), "metadata": (None, '{"name": "x"}')}
        said = await acme.post("/datasets", files=form)
        assert (
            said.status_code == 400 and """curl -F 'metadata={"name": "NAME"}' -F file=@FILE""" in said.json()["error"]
        )


async def test_pages_follow_one_another(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, _client(hub) as acme:
        made = [(await acme.post("/datasets", **_form({"name": f"n{n}"}))).json()["id"] for n in range(5)]
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = (await acme.get("/datasets", params={"limit": 2, "after": after})).json()
            found += [one["id"] for one in page["items"]]
            after = page["next"]
        assert found == made[::-1]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/datasets", {"json": {"name": "x"}}),
        ("POST", "/datasets", {"json": {"name": "x", "upload": "up_0"}}),
        ("POST", "/datasets", {"content": b"{", "headers": {"content-type": "application/json"}}),
        ("POST", "/datasets", {"content": b"x"}),
        ("POST", "/datasets", _form({"name": ""})),
        ("POST", "/datasets", _form({"name": "x"}, part="code")),
        ("POST", "/models", _form({"name": "x"}, part="code")),
        ("POST", "/models", _form({"name": "x", "recipe": {}}, part="file")),
        ("POST", "/datasets/from-stream", {"json": {"topic": "t", "from_ms": 5, "to_ms": 2**70, "name": "x"}}),
        ("POST", "/datasets/from-stream", {"json": {"topic": "t", "from_ms": 5, "to_ms": 6, "name": "x"}}),
        ("POST", "/grants", {"json": {"asset": "ds_1", "grantee": "Bolt!", "right": "own"}}),
        ("GET", "/datasets?limit=0", {}),
        ("GET", "/datasets?after=ds_1", {}),
        ("GET", "/audit?before=-1", {}),
        ("GET", "/datasets/..%2f..%2fetc%2fpasswd", {}),
        ("GET", "/models/md_1/files/../../code", {}),
        ("GET", "/models/md_1/files/..%2f..%2fcode", {}),
        ("GET", "/nowhere", {}),
        ("PUT", "/datasets", {}),
    ],
)
async def test_what_is_wrong_is_said_as_an_error(tmp_path: Path, method: str, path: str, body: dict[str, Any]) -> None:
    async with opened(tmp_path) as hub, _client(hub) as acme:
        answer = await acme.request(method, path, **body)
        assert answer.status_code in {400, 404, 405} and list(answer.json()) == ["error"]
        assert await hub.artifacts.list("acme") == []


@pytest.mark.parametrize("odd", ["\x1b[2J", "\x9b31m", "\x7f", "a\rb", "\u202egnp", "a\u2066", "a\x00b", "a\u2028b"])
async def test_names_and_descriptions_have_no_control_characters(tmp_path: Path, odd: str) -> None:
    async with opened(tmp_path) as hub, _client(hub) as acme:
        stream = {"topic": "t", "from_ms": 0, "to_ms": 1}
        for answer in (
            await acme.post("/datasets", **_form({"name": f"x{odd}x"})),
            await acme.post("/datasets", **_form({"name": "x", "description": f"x{odd}x"})),
            await acme.post("/models", **_form({"name": f"x{odd}x"})),
            await acme.post("/models", **_form({"name": "x", "description": f"x{odd}x"})),
            await acme.post("/datasets/from-stream", json={**stream, "name": f"x{odd}x"}),
            await acme.post("/datasets", **_form({"name": "a\nb"})),
        ):
            assert answer.status_code == 400 and "has the control character U+" in answer.json()["error"]
        good = await acme.post("/datasets", **_form({"name": "Dächer №1 屋根", "description": "one\n\ttwo"}))
        assert good.status_code == 201 and good.json()["description"] == "one\n\ttwo"


async def test_the_largest_file_and_a_companys_quota(tmp_path: Path) -> None:
    settings = ArtifactSettings(quota=150_000, upload_bytes=100_000)
    async with opened(tmp_path, artifacts=FileArtifacts(tmp_path / "artifacts", settings)) as hub:
        app = Entrance(create_app(hub, largest_upload=settings.upload_bytes))
        headers = {"company": "acme", "role": "admin", "tus-resumable": "1.0.0"}
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://hub", headers=headers) as acme:
            begun = await acme.post("/uploads", headers={"upload-defer-length": "1"})
            piece = {"upload-offset": "0", "content-type": "application/offset+octet-stream"}
            for answer in (
                await acme.post("/uploads", headers={"upload-length": "100001"}),
                await acme.patch(begun.headers["location"], headers=piece, content=b"x" * 100_001),
                await acme.post("/datasets", **_form({"name": "x"}, b"x" * 100_001)),
                await acme.post("/models", **_form({"name": "x"}, b"x" * 100_001)),
            ):
                assert answer.status_code == 413 and "raise `--upload-limit`" in answer.json()["error"]
            assert (await acme.post("/datasets", **_form({"name": "x"}, b"x" * 100_000))).status_code == 201
            full = await acme.post("/datasets", **_form({"name": "y"}, b"y" * 60_000))
            assert full.status_code == 413 and "raise `--company-quota`" in full.json()["error"]
            other = await acme.post("/datasets", **_form({"name": "y"}, b"y" * 60_000), headers={"company": "bolt"})
            assert other.status_code == 201  # each company has its own


def test_up_and_serve_hand_on_quota_and_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[Any] = []
    for module in ("headrace.running", "headrace.serving"):
        monkeypatch.setattr(f"{module}.run", lambda settings, **_: came.append(settings.library.artifacts))
    limits = ["--company-quota", "2", "--upload-limit", "0.5"]
    for command in (["up"], ["serve", "sharing", "--port", "0"]):
        assert CliRunner().invoke(cli, [*command, *limits]).exit_code == 0
        assert CliRunner().invoke(cli, command).exit_code == 0
    assert [(one.quota, one.upload_bytes) for one in came] == [(2 * 2**30, 2**29), (0, 0)] * 2


async def test_without_a_credential_nothing_and_without_the_role_forbidden(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, _client(hub, role="viewer") as viewer:
        assert (await viewer.post("/datasets", **_form({"name": "x"}))).status_code == 403
        assert (await viewer.get("/audit")).status_code == 403
        del viewer.headers["company"]
        for path in ("/datasets", "/grants", "/audit", "/lineage/ds_1"):
            assert (await viewer.get(path)).status_code == 401


async def test_a_resumable_upload_becomes_a_dataset_once(tmp_path: Path) -> None:
    tus = {"tus-resumable": "1.0.0"}
    async with opened(tmp_path) as hub, _client(hub) as acme, _client(hub, "bolt") as bolt:
        begun = await acme.post(
            "/uploads", headers={**tus, "upload-length": "6", "upload-metadata": "filename cm9vZi5jc3Y="}
        )
        at = begun.headers["location"]
        for offset, data in ((0, b"a,b"), (3, b"\n1\n")):
            headers = {**tus, "upload-offset": str(offset), "content-type": "application/offset+octet-stream"}
            if offset:
                early = await acme.post("/datasets", json={"name": "roof", "upload": at.rpartition("/")[2]})
                assert early.status_code == 409
            assert (await acme.patch(at, headers=headers, content=data)).status_code == 204
        wanted = {"name": "roof", "upload": at.rpartition("/")[2]}
        assert (await bolt.post("/datasets", json=wanted)).status_code == 404
        both = await asyncio.gather(*(acme.post("/datasets", json=wanted) for _ in range(2)))  # a race
        (made,) = [one.json() for one in both if one.status_code == 201]
        assert {one.status_code for one in both} <= {201, 404, 409}
        assert len((await acme.get("/datasets")).json()["items"]) == 1
        assert (made["filename"], made["stored"]["size"]) == ("roof.csv", 6)
        assert (await acme.get(f"/datasets/{made['id']}/content")).content == b"a,b\n1\n"
        assert (await acme.post("/datasets", json=wanted)).status_code == 404


async def test_an_upload_whose_content_was_swept_is_said_to_be_lost(tmp_path: Path) -> None:
    """Killed after the content was in its place and before its record: the sweep took it, the upload's word is left."""
    tus = {"tus-resumable": "1.0.0"}
    async with opened(tmp_path) as hub, _client(hub) as acme:
        at = (await acme.post("/uploads", headers={**tus, "upload-length": "3"})).headers["location"]
        headers = {**tus, "upload-offset": "0", "content-type": "application/offset+octet-stream"}
        await acme.patch(at, headers=headers, content=b"a,b")
        upload = at.rpartition("/")[2]
        stored = await (await hub.artifacts.receive("acme", upload)).finish()
        await hub.artifacts.delete("acme", stored.sha256)
        for _ in range(2):
            answer = await acme.post("/datasets", json={"name": "x", "upload": upload})
            assert answer.status_code == 409 and (await acme.get("/datasets")).json()["items"] == []
        assert (await acme.head(at, headers=tus)).headers["upload-offset"] == "0"  # it can be sent again
        await acme.patch(at, headers=headers, content=b"a,b")
        assert (await acme.post("/datasets", json={"name": "x", "upload": upload})).json()["stored"]["size"] == 3


async def test_a_recipe_goes_in_with_its_code(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub, _client(hub) as acme, _client(hub, "bolt") as bolt:
        data = (await acme.post("/datasets", **_form({"name": "roof"}))).json()["id"]
        told = {"name": "net", "recipe": {"datasets": [data], "parameters": {"lr": 0.1}, "priority": 3}}
        assert (await bolt.post("/models", **_form(told, b"PK", "code"))).status_code == 404
        granted = await acme.post("/grants", json={"asset": data, "grantee": "bolt", "right": "train"})
        assert granted.status_code == 201
        made = (await bolt.post("/models", **_form(told, b"PK", "code"))).json()
        assert made["held_for"] == ["acme"] and trainer.jobs[made["id"]].priority == 3
        await train(hub, trainer, made["id"], tmp_path / "out", **{"a.bin": b"a", "b.bin": b"b"})
        held = await bolt.get(f"/models/{made['id']}/files/a.bin")
        assert held.status_code == 403 and "acme" in held.json()["error"]
        assert (await bolt.get(f"/models/{made['id']}")).json()["files"] == []
        assert (await acme.get(f"/models/{made['id']}/files/a.bin")).content == b"a"
        assert (await acme.post(f"/models/{made['id']}/release")).json()["held_for"] == []
        archive = zipfile.ZipFile(BytesIO((await bolt.get(f"/models/{made['id']}/content")).content))
        assert archive.namelist() == ["a.bin", "b.bin"]
        assert [one["id"] for one in (await bolt.get("/grants")).json()["items"]] == [granted.json()["id"]]
        ended = await acme.delete(f"/grants/{granted.json()['id']}")
        assert ended.json()["revoked_ms"]
        actions = [(one["company"], one["action"]) for one in (await acme.get("/audit")).json()]
        assert actions[:2] == [("acme", "revoke"), ("acme", "release")]
        assert {"POST", "PUT", "PATCH", "DELETE"}.isdisjoint(
            method.upper() for method in (await acme.get("/openapi/sharing.json")).json()["paths"]["/audit"]
        )


async def test_a_recipe_the_trainer_refuses_is_told_why(tmp_path: Path) -> None:
    trainer = Trainer()
    trainer.refuse_validation = BadInput(detail="there is no train.py in the archive")
    async with opened(tmp_path, trainer=trainer) as hub, _client(hub) as acme:
        answer = await acme.post("/models", **_form({"name": "net", "recipe": {}}, b"PK", "code"))
        assert (answer.status_code, answer.json()) == (400, {"error": "there is no train.py in the archive."})
        assert (await acme.get("/models")).json()["items"] == [] and await hub.artifacts.list("acme") == []


async def test_a_dataset_of_a_stream_with_its_records(tmp_path: Path) -> None:
    log = MemoryLog()
    await log.append([Entry("roof", b'{"time": 1700000000, "power": 5}')])
    async with opened(tmp_path, streams=lambda company: log) as hub, _client(hub) as acme:
        told = {"topic": "roof", "from_ms": 1_700_000_000_000, "to_ms": 1_700_000_000_001, "name": "roof"}
        made = (await acme.post("/datasets/from-stream", json=told)).json()
        raw = await acme.get(f"/datasets/{made['id']}/raw")
        assert json.loads(raw.text)["topic"] == "roof" and made["stream"]["raw"]["size"] == len(raw.content)
        assert (await acme.post("/datasets/from-stream", json={**told, "topic": "cellar"})).status_code == 404


async def test_a_grant_revoked_in_mid_download_breaks_the_connection(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, _served(hub) as url:
        size = 48 * MIB  # more than sockets hold
        async with httpx.AsyncClient(base_url=url, timeout=30) as web:
            acme, bolt = {"company": "acme"}, {"company": "bolt"}
            made = (await web.post("/datasets", **_form({"name": "big"}, bytes(size)), headers=acme)).json()["id"]
            told = {"asset": made, "grantee": "bolt", "right": "read"}
            grant = (await web.post("/grants", json=told, headers=acme)).json()["id"]
            came = 0
            with pytest.raises(httpx.RemoteProtocolError):
                async with web.stream("GET", f"/datasets/{made}/content", headers=bolt) as answer:
                    assert answer.status_code == 200 and answer.headers["content-length"] == str(size)
                    async for piece in answer.aiter_raw():
                        if not came:
                            await web.delete(f"/grants/{grant}", headers=acme)
                        came += len(piece)
            assert 0 < came < size
            assert (await web.get(f"/datasets/{made}/content", headers=bolt)).status_code == 404
            whole = await web.get(f"/datasets/{made}/content", headers=acme)
            assert len(whole.content) == size


async def test_a_truncated_upload_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, _served(hub) as url:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = (
            "POST /datasets HTTP/1.1\r\nhost: hub\r\ncompany: acme\r\ncontent-length: 5000000\r\n"
            "content-type: multipart/form-data; boundary=b\r\n\r\n"
            '--b\r\ncontent-disposition: form-data; name="metadata"\r\n\r\n{"name": "x"}\r\n'
            '--b\r\ncontent-disposition: form-data; name="file"; filename="x.csv"\r\n\r\n'
        )
        writer.write(head.encode() + b"x" * MIB)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.3)
        async with httpx.AsyncClient(base_url=url, headers={"company": "acme"}) as acme:
            assert (await acme.get("/datasets")).json()["items"] == []
        assert await hub.artifacts.list("acme") == []
        assert not [path for path in (tmp_path / "artifacts").rglob("up_*") if path.is_file()]


async def test_the_document_is_complete(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, _client(hub) as acme:
        document = (await acme.get("/openapi/sharing.json")).json()
        text = json.dumps(document)
        assert "HTTPValidationError" not in text and '"422"' not in text
        for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
            assert name in document["components"]["schemas"], name
        operations = [one for methods in document["paths"].values() for one in methods.values()]
        assert all(one.get("summary") and {"400", "401", "404"} <= set(one["responses"]) for one in operations)
        assert len({one["operationId"] for one in operations}) == len(operations)
        assert document["security"] == [{name: []} for name in document["components"]["securitySchemes"]]


async def test_a_method_that_is_not_there_is_told_which_are(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, _client(hub) as acme:
        for path, methods in (
            ("/datasets", "GET, POST"),
            ("/datasets/ds_1", "DELETE, GET"),
            ("/datasets/from-stream", "POST"),
            ("/models/md_1/files/a/b", "GET"),
        ):
            answer = await acme.put(path)
            assert (answer.status_code, answer.headers["allow"]) == (405, methods)


async def test_swagger_ui_comes_from_here_and_nothing_stands_in_its_page(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, _client(hub) as acme:
        page = await acme.get("/docs/sharing")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "://" not in page.text and "style=" not in page.text and "<script>" not in page.text
        for path in apidocs.paths("sharing"):
            answer = await acme.get(path)
            assert answer.status_code == 200, path
            assert path in page.text or path in ("/openapi/sharing.json", "/docs/sharing")
        start = await acme.get("/docs/sharing/start.js")
        assert '"/openapi/sharing.json"' in start.text and '"validatorUrl": null' in start.text
        script = await acme.get("/docs/sharing/swagger-ui-bundle.js")
        assert "SwaggerUIBundle" in script.text and script.headers["content-type"].startswith("text/javascript")
