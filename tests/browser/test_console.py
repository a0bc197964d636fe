"""The console in a real Chromium, fed by `fake_api.py`. Screenshots go to artifacts/console/."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

sync_api = pytest.importorskip("playwright.sync_api")

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "artifacts" / "console"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
Site = Callable[..., str]


@dataclass
class Visit:
    """A page that was opened, with everything it asked for and complained about."""

    page: Any
    size: str
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return cast(str, self.page.locator(selector).inner_text())

    def wait(self, expression: str) -> None:
        _until(self.page, expression)


def _until(page: Any, expression: str, seconds: float = 20) -> None:
    """Wait for a JavaScript expression to hold. (`wait_for_function` needs `eval`, which the page's policy forbids.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < end, f"{expression} did not come true in {seconds} s"
        page.wait_for_timeout(100)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast(int, probe.getsockname()[1])


def _start(scenario: str, port: int, speed: float) -> subprocess.Popen[bytes]:
    script = str(Path(__file__).with_name("fake_api.py"))
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, script, "--scenario", scenario, "--port", str(port), "--speed", str(speed)]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(150):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/overview", timeout=5).close()
            return process
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise TimeoutError(f"{script} did not answer on port {port}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Address of the console with the fake API in some scenario; each is started once."""
    running: dict[tuple[str, float], tuple[subprocess.Popen[bytes], str]] = {}

    def serve(scenario: str, speed: float = 1.0) -> str:
        if (scenario, speed) not in running:
            port = _free_port()
            running[scenario, speed] = (_start(scenario, port, speed), f"http://127.0.0.1:{port}/")
        return running[scenario, speed][1]

    yield serve
    for process, _ in running.values():
        _stop(process)


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


def _with_forecast(visit: Visit, address: str) -> None:
    visit.page.goto(address)
    visit.page.locator("#chart path.forecast.current").wait_for(state="attached")
    visit.wait("document.querySelector('#skill-chart path.skill.live')")


def test_forecast_is_drawn_beside_what_happened_and_its_yardsticks(visit: Visit, site: Site) -> None:
    _with_forecast(visit, site("running"))
    for part in ("path.actual", "path.band.current", "path.persistence", "rect.night", "line.now"):
        assert visit.page.locator(f"#chart {part}").count() >= 1, part
    points = visit.page.locator("#chart path.forecast.current").get_attribute("d").count("L")
    assert points == 23
    assert "Mean of that hour" in visit.text("#yardsticks")
    assert "Same hour yesterday" in visit.text("#yardsticks")
    assert "kWh in all" in visit.text("#readout")
    assert "UTC−8" in visit.text("#zone")
    assert visit.page.locator("#table tbody tr").count() == 10  # two models, each with four contenders and a title


def test_headline_says_what_is_happening(visit: Visit, site: Site) -> None:
    _with_forecast(visit, site("running"))
    visit.wait("document.querySelector('#headline').textContent.includes('local midnight')")
    headline = visit.text("#headline")
    assert "readings/s from 1 device; 2 models learning" in headline
    assert "years ago, replayed now" in visit.text("#devices")
    assert visit.text("#link") == "Connected"


def test_events_move_the_page(visit: Visit, site: Site) -> None:
    _with_forecast(visit, site("running", 12.0))
    line = visit.page.locator("#chart path.actual").get_attribute("d")
    forecast = visit.text("#readout")
    count = visit.text("#devices .rate")
    visit.wait(f"document.querySelector('#chart path.actual').getAttribute('d') !== {line!r}")
    visit.wait(
        f"document.querySelector('#readout').textContent !== {forecast!r}"
    )  # midnight has passed: a new forecast
    visit.wait(f"document.querySelector('#devices .rate').textContent !== {count!r}")


def test_models_are_chosen_with_the_keyboard_and_the_figure_read_with_it(visit: Visit, site: Site) -> None:
    _with_forecast(visit, site("running"))
    visit.page.locator("#picker input").first.focus()
    visit.page.keyboard.press("ArrowRight")
    visit.wait("document.querySelector('#model-name').textContent === 'pv-gru · trio'")
    assert "model=pv-gru" in visit.page.url
    visit.page.locator("#chart").focus()
    visit.page.keyboard.press("PageUp")
    readout = visit.text("#readout")
    assert " · actual " in readout
    assert " · forecast " in readout
    assert visit.page.locator("#chart .cursor circle").count() == 2
    visit.page.keyboard.press("Escape")
    assert visit.text("#readout").startswith("Forecast for")


def test_the_forecast_is_also_a_table(visit: Visit, site: Site) -> None:
    _with_forecast(visit, site("running"))
    visit.page.locator("#numbers summary").click()
    visit.page.locator("#numbers tbody tr").first.wait_for()
    assert visit.page.locator("#numbers tbody tr").count() == 24


def test_decisions_come_with_reason_and_numbers(visit: Visit, site: Site) -> None:
    _with_forecast(visit, site("running"))
    visit.page.get_by_role("button", name="Show all decisions").click()
    text = visit.text("#decisions")
    assert "First snapshot with enough scored days" in text
    assert "scaled MSE over 7 days" in text


def test_hostile_names_are_shown_and_not_run(visit: Visit, site: Site) -> None:
    _with_forecast(visit, site("hostile"))
    visit.wait("document.querySelector('#devices').textContent.includes('<img src=x')")
    visit.wait("document.querySelector('#rejected').textContent.includes('<img src=x')")
    assert visit.page.evaluate("window.pwned") is None
    assert visit.page.locator("main img, main script").count() == 0
    assert "\\x00\\x17ERR 7" in visit.text("#rejected")


def test_the_browser_itself_refuses_markup_from_text(visit: Visit, site: Site) -> None:
    visit.page.goto(site("empty"))
    refused = "() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } }"
    assert visit.page.evaluate(refused) is True
    assert [text for text in visit.complaints if "TrustedHTML" not in text] == []
    visit.complaints.clear()


def test_an_empty_platform_says_what_to_do(visit: Visit, site: Site) -> None:
    visit.page.goto(site("empty"))
    visit.wait("document.querySelector('#devices .copyable')")
    assert "Waiting for the first reading; no model yet." in visit.text("#headline")
    assert "curl http://127.0.0.1:8080" in visit.text("#devices")
    assert "headrace apply -f headrace.yaml" in visit.text("#model")


def test_a_collecting_model_shows_how_far_it_is(visit: Visit, site: Site) -> None:
    visit.page.goto(site("collecting"))
    visit.wait("document.querySelector('#chart path.actual')")
    assert "Needs 16 d of readings" in visit.text("#model-detail")
    assert 0.1 < visit.page.locator("#model-progress progress").evaluate("bar => bar.value") < 0.9
    assert "No forecast yet" in visit.text("#readout")
    visit.wait("document.querySelector('#model-detail').textContent.includes('to go at this pace')")


def test_missing_facts_and_failed_models_are_said(visit: Visit, site: Site) -> None:
    visit.page.goto(site("odd"))
    visit.page.locator("#chart path.forecast.current").wait_for(state="attached")
    assert visit.text("#model-name") == "whole-site"
    assert visit.page.locator("#chart text.unit").text_content() == "no unit"
    assert "plant/silent: 3 messages, 3 not understood" in visit.text("#devices")
    assert "Not known yet" in visit.text("#yardsticks")
    assert visit.page.locator("#skill").is_hidden()
    visit.page.locator("#picker input").nth(1).check(force=True)
    visit.wait("document.querySelector('#model-state').textContent === 'Stopped by an error'")
    assert "headrace rebuild pv-gru" in visit.text("#model-detail")
    visit.page.locator("#picker input").nth(2).check(force=True)
    visit.wait("document.querySelector('#model-detail').textContent.includes('No topic matches')")


def test_many_devices_are_folded(visit: Visit, site: Site) -> None:
    _with_forecast(visit, site("many"))
    assert visit.page.locator("#devices .device").count() == 4
    visit.page.get_by_role("button", name="Show 6 more devices").click()
    assert visit.page.locator("#devices .device").count() == 10


def test_a_lost_connection_is_said_and_mended(browser: Any) -> None:
    port = _free_port()
    server = _start("running", port, 1.0)
    page = browser.new_page()
    try:
        page.goto(f"http://127.0.0.1:{port}/")
        _until(page, "document.querySelector('#link').textContent === 'Connected'")
        _stop(server)
        _until(page, "document.querySelector('#link').textContent.includes('trying again')")
        assert "Headrace does not answer" in page.inner_text("#headline")
        server = _start("running", port, 1.0)
        _until(page, "document.querySelector('#headline').textContent.startsWith('Receiving')", 40)
    finally:
        page.close()
        _stop(server)
