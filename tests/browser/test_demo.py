"""The real thing in a real browser: `headrace up`, the PV publisher, Chromium. Screenshots go to artifacts/demo/."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.visits import ROOT, SIZES, until
from tests.running import Up, free_port, scrubbed

ARTIFACTS = ROOT / "artifacts" / "demo"
SPEC = (ROOT / "src/headrace/examples/pv/headrace.yaml").read_text().split("\n---")
LIGHT = next(document for document in SPEC if "name: pv-rls" in document)

pytest.importorskip("playwright.sync_api")


def pv(up: Up, history: int, live: int) -> subprocess.Popen[bytes]:
    """The plant."""
    command = [
        sys.executable,
        "-m",
        "headrace.examples.pv.publisher",
        "--http",
        up.http,
        "--mqtt",
        up.addresses["mqtt"],
    ]
    command += ["--history-days", str(history), "--live-days", str(live)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=scrubbed())


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A platform with the demo's light model, 25 days of history and a day of seconds at full speed."""
    port = free_port()
    with Up(tmp_path_factory.mktemp("demo") / "data", http_port=port) as up:
        assert up.apply(LIGHT).is_success
        with pv(up, 27, 1) as publisher:
            assert publisher.wait(120) == 0
        up.call("POST", "/ingest/plant/odd/reading", content=b'{"power": NaN}')
        up.caught_up()
        yield up
        assert up.stop() == 0


@pytest.fixture(params=list(SIZES))
def page(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=request.param == "phone")
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    shoot(page, request.node.name.removeprefix("test_").replace("[", "-").replace("]", ""))
    sideways = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    context.close()
    assert [line for line in complaints if "ERR_CONNECTION_REFUSED" not in line and "ERR_INCOMPLETE" not in line] == []
    assert sideways <= 0


def shoot(page: Any, name: str) -> None:
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)


def test_a_forecast_beside_the_truth(page: Any, up: Up) -> None:
    page.goto(up.login())
    page.locator("#chart path.forecast.current").wait_for(state="attached")
    for section in ("skill", "gate", "quarantine"):
        page.locator(f"#{section}").evaluate("fold => { fold.open = true }")
    until(page, "document.querySelector('#skill-chart path.skill.live')")
    for part in ("path.actual", "path.band.current", "path.persistence", "rect.night"):
        assert page.locator(f"#chart {part}").count() >= 1, part
    assert page.locator("#chart path.forecast.current").get_attribute("d").count("L") == 23
    assert page.inner_text("#model-state") == "Learning"
    assert "kWh in all" in page.inner_text("#readout") and "UTC−8" in page.inner_text("#zone")
    table = page.inner_text("#table")
    assert "Live model" in table and "Mean of that hour" in table
    decisions = page.inner_text("#decisions")
    assert "Nov 2018" in decisions or "Dec 2018" in decisions
    assert "not understood" in page.inner_text("#quarantine-note")
    assert "NaN" in page.inner_text("#rejected")


def test_an_empty_platform_shows_how_to_send(page: Any, tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        page.goto(up.login())
        until(page, "document.querySelector('#devices .copyable')")
        auth = f'-H "Authorization: Bearer $(headrace token --url {up.http})"'
        hint = f"curl {auth} {up.http}/ingest/plant/demo/reading -d '{{\"power\": 3200}}'"
        assert hint in page.inner_text("#devices")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        subprocess.run(hint, shell=True, check=True, capture_output=True, env=scrubbed() | {"PATH": path})
        until(page, "document.querySelector('#devices').textContent.includes('plant/demo')")
        assert up.stop() == 0


def test_the_page_follows_a_replay_at_full_speed(page: Any, tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        assert up.apply(LIGHT).is_success
        page.goto(up.login())
        with pv(up, 21, 2) as publisher:
            until(page, "document.querySelector('#chart path.forecast.current')", 60)
            began, longest = time.monotonic(), 0.0
            while publisher.poll() is None:
                before = time.monotonic()
                page.evaluate("1")
                longest = max(longest, time.monotonic() - before)
                page.wait_for_timeout(50)
                assert time.monotonic() - began < 60
        up.caught_up()
        page.wait_for_timeout(6500)
        assert "Fri 30 Nov 2018" in page.inner_text("#readout"), "the newest forecast, however fast the replay was"
        newest = up.call("GET", "/api/models/pv-rls").json()["forecasts"][-1]["origin_ms"]
        assert page.evaluate("document.querySelectorAll('#chart path.forecast').length") >= 2
        assert newest and longest < 1.0, f"the page did not answer for {longest:.1f} s"
        assert up.stop() == 0


def test_a_restart_while_the_page_is_open(page: Any, up: Up) -> None:
    page.goto(up.login())
    page.locator("#chart path.forecast.current").wait_for(state="attached")
    port = int(up.http.rpartition(":")[2])
    up.kill()
    until(page, "document.querySelector('#link').textContent.includes('trying again')")
    assert "Headrace does not answer" in page.inner_text("#headline")
    up.__init__(up.data, http_port=port)  # type: ignore[misc]
    until(page, "document.querySelector('#link').textContent === 'Connected'", 40)
    until(page, "document.querySelector('#model-state').textContent === 'Learning'", 40)
    assert page.locator("#chart path.forecast.current").count() == 1
