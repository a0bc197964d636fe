"""One Chromium for the tests of a module."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.visits import ARTIFACTS, SIZES, Site, Visit, start, stop
from tests.running import free_port

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        message = "no chromium here: `make system-deps` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, chromium_sandbox=False, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Address of the console with the fake API in some scenario; each is started once."""
    running: dict[tuple[str, float], tuple[subprocess.Popen[bytes], str]] = {}

    def serve(scenario: str, speed: float = 1.0) -> str:
        if (scenario, speed) not in running:
            port = free_port()
            running[scenario, speed] = (start(scenario, port, speed), f"http://127.0.0.1:{port}/")
        return running[scenario, speed][1]

    yield serve
    for process, _ in running.values():
        stop(process)


@pytest.fixture
def hub(site: Site) -> Site:
    """As `site`, with companies, datasets, models and jobs as they were at first."""

    def fresh(scenario: str = "running") -> str:
        address = site(scenario)
        urllib.request.urlopen(f"{address}fake/reset", timeout=10).close()
        return address

    return fresh


@pytest.fixture(params=list(SIZES))
def visit(request: pytest.FixtureRequest, browser: Any) -> Iterator[Visit]:
    """A fresh page of either size; whatever it shows, it may neither complain, nor call abroad, nor scroll sideways."""
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=request.param == "phone")
    visit = Visit(context.new_page(), request.param)
    page = visit.page
    page.on("request", lambda sent: visit.hosts.add(urlsplit(sent.url).hostname or ""))
    page.on("console", lambda line: visit.complaints.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    yield visit
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    name = request.node.name.removeprefix("test_").replace("[", "-").replace("]", "")
    page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)
    sideways = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    context.close()
    assert visit.hosts == {"127.0.0.1"}
    assert visit.complaints == []
    assert sideways <= 0
