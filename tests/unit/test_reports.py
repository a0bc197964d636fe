"""The door for evaluation reports: what is stored is what was understood, within limits, in whole files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from headrace.console import reports as module
from headrace.console.reports import LIMIT, Reports
from headrace.errors import Forbidden

GOOD: dict[str, Any] = {
    "title": "trio: 11 rolling periods",
    "kind": "rolling",
    "columns": [{"name": "model", "label": "model"}, {"name": "mae", "label": "MAE", "unit": "W"}],
    "rows": [{"model": "ridge", "mae": 1.5}, {"model": "<script>", "mae": None}],
    "notes": ["sixteen days"],
    "figures": [{"name": "f", "title": "t", "x": [0, 1], "series": [{"name": "ridge", "values": [0.5, None]}]}],
}


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=Reports(tmp_path / "reports").routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as client:
        yield client


async def test_a_report_comes_back_and_is_listed_newest_first(client: httpx.AsyncClient, tmp_path: Path) -> None:
    assert (await client.get("/api/reports")).json() == []
    for name in ("rolling-a", "drift.b"):
        answer = await client.put(f"/api/reports/{name}", json=GOOD | {"details": [1, 2], "html": "<b>no</b>"})
        assert answer.json() == {"stored": name}, answer.text
    found = (await client.get("/api/reports/rolling-a")).json()
    assert found.pop("received_ms") > 1_700_000_000_000
    assert found == GOOD | {"name": "rolling-a"}, "only what a report holds is kept"
    listed = (await client.get("/api/reports")).json()
    assert {one["name"] for one in listed} == {"rolling-a", "drift.b"}
    assert set(listed[0]) == {"name", "title", "kind", "received_ms"}
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["drift.b.json", "rolling-a.json"]


@pytest.mark.parametrize("name", ["A", ".hidden", "-a", "a" * 64, "a b", "a\u00e9", "a."])
async def test_names_are_checked(client: httpx.AsyncClient, name: str, tmp_path: Path) -> None:
    answer = await client.put(f"/api/reports/{name}", json=GOOD)
    assert answer.status_code in {400, 404}, answer.text
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"rows": [{"model": {"nested": 1}}]},
        {"title": "x" * 201},
        {"title": ""},
        {"title": " "},
        {"columns": [{"name": "model", "label": "a"}, {"name": "model", "label": "b"}]},
        {"columns": [{"name": "", "label": "a"}]},
        {"rows": [{"model": 10**40}]},
        {"columns": "none"},
        {"notes": ["n"] * 201},
        {"figures": [{"name": "f", "series": [{"name": "s", "values": ["<b>"]}]}]},
    ],
)
async def test_other_shapes_are_refused(client: httpx.AsyncClient, change: dict[str, Any]) -> None:
    answer = await client.put("/api/reports/r", json=GOOD | change)
    assert answer.status_code == 400 and "this is no report" in answer.json()["error"]
    assert (await client.get("/api/reports/r")).status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"title":1}', b"[" * 100_000])
async def test_what_is_no_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.put("/api/reports/r", content=body)).status_code == 400


async def test_limits(client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = json.dumps(GOOD | {"padding": "x" * LIMIT}).encode()
    assert (await client.put("/api/reports/r", content=huge)).status_code == 413
    monkeypatch.setattr(module, "KEPT", 2)
    kept = Reports(tmp_path / "few")
    body = json.dumps(GOOD).encode()
    for name in ("a", "b", "a"):
        kept.put(name, body, 1)
    with pytest.raises(Forbidden, match="2 reports are kept already: DELETE /api/reports/NAME makes room"):
        kept.put("c", body, 1)
    kept.delete("b")
    kept.put("c", body, 1)
    assert {one["name"] for one in kept.all()} == {"a", "c"}


async def test_a_report_can_be_deleted(client: httpx.AsyncClient) -> None:
    await client.put("/api/reports/r", json=GOOD)
    assert (await client.delete("/api/reports/r")).json() == {"deleted": "r"}
    assert (await client.get("/api/reports")).json() == []
    again = await client.delete("/api/reports/r")
    assert again.status_code == 404 and "GET /api/reports lists" in again.json()["error"]
    assert (await client.delete("/api/reports/..%2Fregistry")).status_code in {400, 404}


async def test_a_damaged_file_hides_itself_alone(client: httpx.AsyncClient, tmp_path: Path) -> None:
    await client.put("/api/reports/good", json=GOOD)
    (tmp_path / "reports" / "bad.json").write_bytes(b'{"name": "bad"')
    assert [one["name"] for one in (await client.get("/api/reports")).json()] == ["good"]
    assert (await client.get("/api/reports/bad")).status_code == 404
