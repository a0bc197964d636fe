"""The console in a real Chromium, fed by `fake_api.py`. Screenshots go to artifacts/console/."""

from __future__ import annotations

from typing import Any

from tests.browser.visits import Site, Visit, start, stop, until, with_forecast
from tests.running import free_port


def test_forecast_is_drawn_beside_what_happened_and_its_yardsticks(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    for part in ("path.actual", "path.band.current", "path.persistence", "rect.night", "line.now"):
        assert visit.page.locator(f"#chart {part}").count() >= 1, part
    points = visit.page.locator("#chart path.forecast.current").get_attribute("d").count("L")
    assert points == 23
    assert "Mean of that hour" in visit.text("#yardsticks")
    assert "Same hour yesterday" in visit.text("#yardsticks")
    assert "kWh in all" in visit.text("#readout")
    assert "UTC−8" in visit.text("#zone")
    assert visit.page.locator("#table tbody tr").count() == 15  # three models, each with four contenders and a title


def test_headline_says_what_is_happening(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    visit.wait("document.querySelector('#headline').textContent.includes('local midnight')")
    headline = visit.text("#headline")
    assert "readings/s from 1 device; 2 models learning, 1 candidate in the shadow" in headline
    assert "years ago, replayed now" in visit.text("#devices")
    assert visit.text("#link") == "Connected"


def test_events_move_the_page(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running", 12.0))
    line = visit.page.locator("#chart path.actual").get_attribute("d")
    forecast = visit.text("#readout")
    count = visit.text("#devices .rate")
    visit.wait(f"document.querySelector('#chart path.actual').getAttribute('d') !== {line!r}")
    visit.wait(
        f"document.querySelector('#readout').textContent !== {forecast!r}"
    )  # midnight has passed: a new forecast
    visit.wait(f"document.querySelector('#devices .rate').textContent !== {count!r}")


def test_models_are_chosen_with_the_keyboard_and_the_figure_read_with_it(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
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
    with_forecast(visit, site("running"))
    visit.page.locator("#numbers summary").click()
    visit.page.locator("#numbers tbody tr").first.wait_for()
    assert visit.page.locator("#numbers tbody tr").count() == 24


def test_decisions_come_with_reason_and_numbers(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    visit.unfold("gate")
    visit.page.get_by_role("button", name="Show all decisions").click()
    text = visit.text("#decisions")
    assert "First snapshot with enough scored days" in text
    assert "scaled MSE over 7 days" in text


def test_hostile_names_are_shown_and_not_run(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("hostile"))
    visit.wait("document.querySelector('#devices').textContent.includes('<img src=x')")
    for section in ("quarantine", "reports"):
        visit.unfold(section)
    visit.wait("document.querySelector('#rejected').textContent.includes('<img src=x')")
    visit.wait("document.querySelector('#alert-list').textContent.includes('<img src=x')")
    visit.wait("document.querySelector('#report tbody')?.textContent.includes('<img src=x')")
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
    token = '-H "Authorization: Bearer $(headrace token --url http://127.0.0.1:8080)"'
    assert f"curl {token} http://127.0.0.1:8080/ingest/" in visit.text("#devices")
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
    with_forecast(visit, site("many"))
    assert visit.page.locator("#devices .device").count() == 4
    visit.page.get_by_role("button", name="Show 6 more devices").click()
    assert visit.page.locator("#devices .device").count() == 10
    visit.page.get_by_label("Find a device or topic").fill("Roof-7")
    visit.wait("document.querySelectorAll('#devices .device').length === 1")
    assert "1 of the 10 devices listed has “roof-7” in the name" in visit.text("#devices")
    visit.page.get_by_label("Find a device or topic").fill("nothing")
    visit.wait("document.querySelector('#devices').textContent.startsWith('None of the 10 devices listed have')")


def test_what_was_not_understood_is_said_on_the_card(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("hostile"))
    visit.page.get_by_role("button", name="12 messages not understood: see Quarantine").click()
    visit.page.locator("#rejected li").first.wait_for()
    assert visit.page.evaluate("document.activeElement.parentElement.id") == "quarantine"


def test_a_lost_connection_is_said_and_mended(browser: Any) -> None:
    port = free_port()
    server = start("running", port, 1.0)
    page = browser.new_page()
    try:
        page.goto(f"http://127.0.0.1:{port}/")
        until(page, "document.querySelector('#link').textContent === 'Connected'")
        stop(server)
        until(page, "document.querySelector('#link').textContent.includes('trying again')")
        assert "Headrace does not answer" in page.inner_text("#headline")
        server = start("running", port, 1.0)
        until(page, "document.querySelector('#headline').textContent.startsWith('Receiving')", 40)
    finally:
        page.close()
        stop(server)
