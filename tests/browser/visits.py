"""What the browser's tests share: the fake platform in a process of its own, and a page with everything it complained about."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

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
        until(self.page, expression)

    def forgive(self, *statuses: int) -> None:
        """The browser itself notes failed requests in its console; nothing else may be there."""
        left = [line for line in self.complaints if not any(f"status of {status}" in line for status in statuses)]
        assert left == []
        self.complaints.clear()

    def unfold(self, section: str) -> None:
        """Open a folded section as a reader does; an open one stays open."""
        self.page.locator(f"#{section}").wait_for(state="visible")
        if self.page.locator(f"#{section}").get_attribute("open") is None:
            self.page.locator(f"#{section} > summary").click()


def until(page: Any, expression: str, seconds: float = 20) -> None:
    """Wait for a JavaScript expression to hold. (`wait_for_function` needs `eval`, which the page's policy forbids.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < end, f"{expression} did not come true in {seconds} s"
        page.wait_for_timeout(100)


def start(scenario: str, port: int, speed: float) -> subprocess.Popen[bytes]:
    """The fake platform, answering on `port` when this returns."""
    script = str(Path(__file__).with_name("fake_api.py"))
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, script, "--scenario", scenario, "--port", str(port), "--speed", str(speed)]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(150):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            return process
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise TimeoutError(f"{script} did not answer on port {port}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it at once."""
    process.kill()
    process.wait()


def with_forecast(visit: Visit, address: str) -> None:
    """Open the page and wait until a forecast and the skill of the models are drawn."""
    visit.page.goto(address)
    visit.page.locator("#chart path.forecast.current").wait_for(state="attached")
    visit.unfold("skill")
    visit.wait("document.querySelector('#skill-chart path.skill.live')")
