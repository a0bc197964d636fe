"""The console's files as a server sends them: policy, caching, nothing outside its folder."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from importlib import resources

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from headrace import access, console


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=list(console.routes()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as client:
        yield client


async def test_page_is_served_with_a_policy_that_allows_nothing_foreign_or_inline(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_everything_the_page_names_exists(client: httpx.AsyncClient) -> None:
    named = set(re.findall(r'(?:href|src)="(/console/[^"]+)"', (await client.get("/")).text))
    assert named >= {"/console/main.js", "/console/console.css", "/console/icon.svg"}
    todo = sorted(named)
    for path in todo:
        answer = await client.get(path)
        assert answer.status_code == 200, path
        names = re.findall(r'(?:from |import\()"\./([^"]+)"', answer.text)
        names += re.findall(r'href: "/console/([\w.]+)"', answer.text)
        todo += [path for path in dict.fromkeys(f"/console/{name}" for name in names) if path not in todo]
    assert {"/console/chart.js", "/console/dom.js", "/console/numbers.js", "/console/words.js"} <= set(todo)
    assert {"/console/library.js", "/console/job.js", "/console/tus.js", "/console/hub.css"} <= set(todo)
    folder = resources.files(console) / "static"
    assert {f"/console/{item.name}" for item in folder.iterdir()} - set(todo) == {"/console/index.html"}


async def test_an_unchanged_file_costs_a_304(client: httpx.AsyncClient) -> None:
    first = await client.get("/console/main.js")
    again = await client.get("/console/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await client.get("/console/main.js", headers={"if-none-match": '"other"'})
    assert other.content == first.content


@pytest.mark.parametrize(
    "path", ["/console/", "/console/none.js", "/console/../__init__.py", "/console/%2e%2e%2f__init__.py"]
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_no_markup_is_ever_made_from_data(client: httpx.AsyncClient) -> None:
    folder = resources.files(console) / "static"
    scripts = [item.name for item in folder.iterdir() if item.name.endswith(".js")]
    assert len(scripts) > 20
    text = "".join([(await client.get(f"/console/{name}")).text for name in scripts])
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://(?!www\.w3\.org)", text
    )


async def test_the_page_knows_the_roles_of_the_platform(client: httpx.AsyncClient) -> None:
    text = (await client.get("/console/who.js")).text
    table = text[text.index("const ROLES") : text.index("};")]
    known = {role: set(re.findall(r'"(\w+)"', actions)) for role, actions in re.findall(r"(\w+): \[([^\]]*)\]", table)}
    assert known == {role: set(actions) for role, actions in access.ROLES.items()}
