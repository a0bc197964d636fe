"""The three views of the page, who looks at it, and what is shown without a session."""

from __future__ import annotations

import re

import pytest

from tests.browser.fake_assets import name_of
from tests.browser.visits import Site, Visit, with_forecast

desktop = pytest.mark.parametrize("visit", ["desktop"], indirect=True)


def test_views_are_reached_with_the_keyboard_and_by_their_address(visit: Visit, hub: Site) -> None:
    visit.page.set_viewport_size({"width": 360 if visit.size == "phone" else 1280, "height": 800})
    with_forecast(visit, hub())
    visit.page.get_by_role("link", name="Library").focus()
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("heading", name="Library").wait_for()
    assert visit.page.url.endswith("#library")
    assert visit.page.locator("#streams-view").is_hidden()
    assert visit.page.locator("#headline").is_hidden()
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("heading", name="Jobs", exact=True).wait_for()
    assert visit.text("#views [aria-current]") == "Jobs"
    visit.page.go_back()
    visit.page.get_by_role("heading", name="Library").wait_for()
    visit.page.get_by_role("link", name="Streams").click()
    visit.page.locator("#chart path.forecast.current").wait_for()
    assert visit.page.locator("#headline").is_visible()


@desktop
def test_the_first_view_loads_nothing_of_the_others(visit: Visit, hub: Site) -> None:
    asked: list[str] = []
    visit.page.on("request", lambda sent: asked.append(sent.url))
    with_forecast(visit, hub())
    later = re.compile(r"/console/(library|jobs|asset|tus|hub\.css)|/datasets|/models\?|/jobs|/lineage|/grants")
    assert [url for url in asked if later.search(url)] == []
    visit.page.get_by_role("link", name="Library").click()
    visit.page.get_by_role("heading", name="Library").wait_for()
    assert any("/console/hub.css" in url for url in asked)


@desktop
def test_the_alerts_of_another_view_lead_to_the_streams(visit: Visit, hub: Site) -> None:
    visit.page.goto(hub() + "#jobs")
    visit.page.get_by_role("heading", name="Jobs", exact=True).wait_for()
    visit.page.locator("#alert-count").click()
    visit.page.locator("#alert-list li").first.wait_for()
    assert visit.page.locator("#jobs-view").is_hidden()


def test_the_page_says_who_is_asking(visit: Visit, hub: Site) -> None:
    visit.page.goto(hub())
    visit.page.get_by_role("button", name="Log out").wait_for()
    assert visit.text("#who").startswith("acme · ada")
    title = visit.page.locator("#who span[title]").first.get_attribute("title")
    assert title == "ada of acme: developer, admin"


@desktop
def test_who_may_only_look_finds_no_buttons_that_do_something(visit: Visit, hub: Site) -> None:
    address = hub("viewer")
    visit.page.goto(f"{address}#library/{name_of('ds', 1)}")
    visit.page.locator("#library-view .given li").first.wait_for()
    assert visit.page.locator("#library-view").get_by_role("link", name="Download", exact=True).is_visible()
    for name in ("Delete", "Revoke", "Grant"):
        assert visit.page.locator("#library-view").get_by_role("button", name=name).count() == 0
    assert "needs the role admin" in visit.text("#library-view .grants")
    visit.page.goto(f"{address}#library/{name_of('md', 3)}")
    visit.page.get_by_role("heading", name="turbine faults").wait_for()
    assert visit.page.get_by_role("button", name="Release").count() == 0
    visit.page.goto(f"{address}#library")
    visit.page.locator("#library-view tbody tr").first.wait_for()
    assert visit.page.locator(".upload").count() == 0
    visit.page.goto(f"{address}#jobs/{name_of('jb', 4)}")
    visit.page.get_by_role("heading", name="Training of pv-lstm").wait_for()
    assert visit.page.get_by_role("button", name="Cancel the job").count() == 0


def test_without_a_session_the_page_says_how_to_get_one_and_goes_on_by_itself(visit: Visit, hub: Site) -> None:
    address = hub("locked")
    visit.page.goto(f"{address}#library")
    visit.page.locator("#locked .copyable").wait_for()
    assert "This page asks who you are" in visit.text("#locked")
    assert "headrace open" in visit.text("#locked")
    assert visit.page.locator("main").is_hidden()
    assert "does not answer" not in visit.text("body")
    visit.page.evaluate("fetch('/login', { redirect: 'manual' })")  # as the link does, in another tab
    visit.page.wait_for_timeout(200)
    visit.page.evaluate("dispatchEvent(new Event('focus'))")
    visit.page.locator("#library-view tbody tr").first.wait_for()
    assert visit.page.locator("#locked").is_hidden()
    visit.wait("document.querySelector('#link').textContent === 'Connected'")
    visit.forgive(401)


@desktop
def test_a_session_that_ends_while_the_page_is_open_is_said(visit: Visit, hub: Site) -> None:
    with_forecast(visit, hub())
    visit.page.get_by_role("button", name="Log out").click()
    visit.page.locator("#locked .copyable").wait_for()
    assert "You have logged out" in visit.text("#locked")
    assert visit.page.locator("#who").is_hidden()
    assert visit.page.locator("#chart").is_hidden()
    visit.forgive(401)
