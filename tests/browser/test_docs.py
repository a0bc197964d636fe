"""Swagger UI over a real platform: with the browser's session, with a company's token, and over one service alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from headrace.credentials import TOKEN_PATH
from tests.browser.visits import ROOT
from tests.running import Up, scrubbed

ARTIFACTS = ROOT / "artifacts" / "docs"


class Docs:
    """A page of Swagger UI, used as people do."""

    def __init__(self, browser: Any, width: int = 1280) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900})
        self.page = self.context.new_page()
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        self.page.on("request", lambda sent: self.hosts.add(urlsplit(sent.url).hostname or "data"))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.page.locator(".opblock").first.wait_for()

    def authorize(self, token: str) -> None:
        self.page.get_by_role("button", name="Authorize").first.click()
        self.page.locator(".auth-container input").fill(token)
        self.page.locator(".auth-container button.authorize").click()
        self.page.locator(".btn-done").click()

    def unfold(self, operation: str) -> Any:
        """The block of an operation, ready to be filled in."""
        block = self.page.locator(f".opblock[id$='-{operation}']")
        if "is-open" not in block.get_attribute("class").split():
            block.locator(".opblock-summary-control").click()
            block.locator(".try-out__btn").click()
        return block

    def execute(self, operation: str) -> tuple[int, Any]:
        """Status and body of what the server answered."""
        block = self.unfold(operation)
        with self.page.expect_response(lambda got: got.request.resource_type == "fetch") as got:
            block.locator("button.execute").click()
        answer = block.locator(".live-responses-table .response-col_status").last
        answer.wait_for()
        assert answer.inner_text().split()[0] == str(got.value.status)
        return got.value.status, got.value.json()

    def close(self, name: str) -> None:
        """Nothing came from elsewhere, and nothing was against the page's policy; the screenshot is kept."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)
        self.context.close()
        assert self.hosts <= {"127.0.0.1", "data"}
        assert [line for line in self.complaints if "status of 401" not in line] == []


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("docs") / "data") as up:
        yield up


def test_a_session_tries_things_out(browser: Any, up: Up, tmp_path: Path) -> None:
    docs = Docs(browser)
    docs.page.goto(up.addresses["login"])
    docs.open(f"{up.http}/docs/sharing")
    assert docs.execute("list_datasets") == (200, {"items": [], "next": None})
    (tmp_path / "a.csv").write_text("time,value\n1,2\n")
    block = docs.unfold("register_dataset")
    block.locator("textarea").first.fill('{"name": "from the page"}')
    block.locator("input[type=file]").set_input_files(tmp_path / "a.csv")
    status, made = docs.execute("register_dataset")
    assert (status, made["name"], made["filename"]) == (201, "from the page", "a.csv")
    docs.close("sharing")


def test_a_stranger_needs_a_token_and_it_says_whose_company(browser: Any, up: Up) -> None:
    admin = up.call("POST", "/companies", json={"name": "acme", "admin": "bo"}).json()["admin"]
    form = {"grant_type": "password", "username": "bo", "password": admin["password"], "company": "acme"}
    token = httpx.post(up.http + TOKEN_PATH, data=form, trust_env=False).json()["access_token"]
    docs = Docs(browser, width=700)
    docs.open(f"{up.http}/docs/identity")
    assert docs.execute("whoami")[0] == 401
    docs.authorize(token)
    status, found = docs.execute("whoami")
    assert (status, found["company"], found["subject"]) == (200, "acme", "bo")
    docs.close("identity")
    docs = Docs(browser)
    docs.open(f"{up.http}/docs/verification")
    paths = docs.page.locator(".opblock-summary-path").all_inner_texts()
    assert "/verify/{id}" in paths and not any("notary" in path for path in paths)
    assert "Check what is recorded (L0)" in docs.page.locator(".opblock-post .opblock-summary-description").inner_text()
    docs.close("verification")
    docs = Docs(browser)
    docs.open(f"{up.http}/docs/training")
    docs.authorize(token)
    assert docs.execute("list_jobs") == (200, {"items": []})
    docs.close("training")


def test_a_service_alone_has_its_page(browser: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headrace.cli", "serve", "identity", "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--data", str(tmp_path / "data")], stdout=subprocess.PIPE, env=scrubbed()
    ) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["http"]
        try:
            docs = Docs(browser)
            docs.open(f"{url}/docs/identity")
            docs.authorize((tmp_path / "data" / "identity" / "token").read_text().strip())
            assert docs.execute("whoami")[1]["kind"] == "install"
            docs.close("alone")
        finally:
            process.terminate()
