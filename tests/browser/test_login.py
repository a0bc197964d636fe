"""Signing in with a name and a password: the real platform, Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import Up

pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("login") / "data") as up:
        yield up
        assert up.stop() == 0


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def fill(page: Any, password: str) -> None:
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_a_person_signs_in_with_name_and_password(up: Up, page: Any) -> None:
    password = up.call("POST", "/people", json={"name": "anna"}).json()["password"]
    page.goto(f"{up.http}/login")
    fill(page, "not this one")
    page.get_by_role("alert").wait_for()
    fill(page, password)
    page.wait_for_url(f"{up.http}/")
    assert page.evaluate("fetch('/whoami').then(answer => answer.json())")["subject"] == "anna"
    assert page.evaluate("document.cookie") == ""


def test_a_form_of_nowhere_is_refused(up: Up) -> None:
    """A sandboxed frame sends `Origin: null`."""
    form = {"company": "local", "name": "anna", "password": "x"}
    answer = up.call("POST", "/login", data=form, headers={"origin": "null"})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
