"""A registered ONNX model is deployed from its record, asked with the line the page gives, and taken out again, on the real platform."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.visits import Visit
from tests.flow.test_deploy import DATA
from tests.flow.test_transfer import register
from tests.running import Up

pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("deployed") / "data") as up:
        yield up
        assert up.stop() == 0


def opened(visit: Visit, up: Up, data: bytes, name: str) -> str:
    """The record of a model that was registered, shown."""
    id = register(up.call, data, name)
    visit.page.goto(up.login())
    visit.page.goto(f"{up.http}/#library/{id}")
    visit.page.locator("#library-view .asset h1", has_text="net").wait_for()
    return id


def test_a_model_is_deployed_asked_and_taken_out_again(visit: Visit, up: Up) -> None:
    id, page = opened(visit, up, DATA, "net.onnx"), visit.page
    page.get_by_role("button", name="Deploy…").click()
    name = page.get_by_label("Name at the inference doors")
    name.wait_for()
    assert name.input_value() == "net"
    assert "cpu" in page.get_by_label("Computed on").locator("option").all_inner_texts()
    name.fill("line.of-" + visit.size)
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_text(f"It answers at /v2/models/line.of-{visit.size}/infer").wait_for()
    name.fill("Not good")
    page.get_by_role("button", name="Deploy", exact=True).click()
    assert name.evaluate("field => field.validity.patternMismatch")
    page.goto(f"{up.http}/#library")
    row = page.locator(".deployed tbody tr")
    row.wait_for()
    text = visit.text(".deployed")
    for words in (f"line.of-{visit.size}", id, "Answers", "cpu", "x FP32 n × 3", "y FP32 n × 2"):
        assert words in text, text
    assert asked(up, visit.text(".deployed .copyable code"))["outputs"][0]["data"] == [0, 0]
    page.get_by_role("button", name="Take out of service").click()
    visit.forgive(501)  # there is no ledger
    page.get_by_role("dialog").get_by_role("button", name="Take it out of service").click()
    row.wait_for(state="detached")
    assert up.call("GET", "/api/deployments").json() == []


def asked(up: Up, line: str) -> Any:
    """What the line to copy gets, sent as curl would."""
    words = shlex.split(line)
    assert words[:3] == ["curl", "-H", "Authorization: Bearer $(headrace token)"] and words[4] == "-d"
    return up.call("POST", words[3].removeprefix(up.http), json=json.loads(words[5])).raise_for_status().json()


@pytest.mark.parametrize("visit", ["desktop"], indirect=True)
def test_what_the_platform_says_against_it_is_said_in_its_words(visit: Visit, up: Up) -> None:
    opened(visit, up, b"no graph", "net.onnx")
    visit.page.get_by_role("button", name="Deploy…").click()
    visit.page.get_by_role("button", name="Deploy", exact=True).click()
    visit.page.get_by_text("which is not served").wait_for()
    visit.forgive(400, 501)
