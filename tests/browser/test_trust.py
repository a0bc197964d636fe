"""What the page says about trust: the band, why a value, alerts, candidates, reports. Screenshots as in `test_console.py`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.browser.visits import Site, Visit, with_forecast

desktop = pytest.mark.parametrize("visit", ["desktop"], indirect=True)
"""For what does not depend on the width of the screen."""
WHY = "document.querySelector('#why')"
PARTS = "document.querySelectorAll('#why .parts li').length"


def choose(visit: Visit, model: str) -> None:
    """Another model than the first."""
    visit.page.locator("#picker label", has_text=model).click()
    visit.wait(f"document.querySelector('#model-name').textContent.startsWith({model!r})")


def point(visit: Visit, hours: int) -> None:
    """Click or tap the current forecast, so many hours after its first."""
    chart = visit.page.locator("#chart")
    for _ in range(3):  # on a busy machine a tap can last so long that it counts as a long press
        chart.scroll_into_view_if_needed()
        left, right, top = chart.locator("path.forecast.current").evaluate(
            "path => { const box = path.getBoundingClientRect(); return [box.left, box.right, box.top] }"
        )
        press = visit.page.touchscreen.tap if visit.size == "phone" else visit.page.mouse.click
        press(left + (right - left) * hours / 23, top + 20)
        if not visit.page.evaluate(f"{WHY}.hidden"):
            return
        visit.page.wait_for_timeout(300)


def answer_with(page: Any, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    """Let the platform answer every request for an explanation so."""
    page.route(re.compile("/explanation"), lambda route: route.fulfill(status=status, json=body, headers=headers or {}))


def expect_failed_load(visit: Visit, status: int) -> None:
    """The browser itself notes a failed request in its console; nothing else may be there."""
    assert visit.complaints
    assert all(f"status of {status}" in line for line in visit.complaints)
    visit.complaints.clear()


def test_the_band_and_how_often_it_held(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    assert "90 % band" in visit.text("#legend")
    held = visit.text("#held")
    assert re.search(r"^90 % band: held \d+ % of the last \d+ days \(daytime \d+ %\), mean width [\d.]+ kW\.$", held)
    assert visit.page.locator("#coverage-chart path.covered").count() == 2
    assert visit.page.locator("#coverage-chart line.nominal").count() == 1
    assert visit.page.locator("#coverage-chart text", has_text="90 %").count() == 1


def test_a_click_explains_a_value_of_a_network(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    choose(visit, "pv-gru")
    point(visit, 12)
    visit.wait(f"{PARTS} === 6")  # five largest, and the rest
    assert visit.page.locator("#why rect.part").count() == 36
    assert visit.page.locator("#why circle.part").count() == 36
    assert visit.page.locator("#chart .picked circle").count() == 1
    text = visit.text("#why")
    assert re.search(r"Why [\d.]+ kW for \w{3} \d+ \w+, 12:00 to 13:00\?", text)
    assert "DeepLIFT" in text
    assert "allowed 10⁻⁵" in text
    numbers = [float(one.replace("−", "-")) for one in re.findall(r"[+=−]? ?([\d.]+) kW", visit.text("#why .sums"))]
    start, up, down, forecast = numbers
    assert abs(start + up - down - forecast) < 0.11  # each is shown to three digits
    assert {"origin", "step"} <= set(re.findall(r"[#&](\w+)=", visit.page.url))
    visit.page.keyboard.press("Escape")
    visit.wait(f"{WHY}.hidden")
    assert visit.page.locator("#chart .picked circle").count() == 0
    assert "origin" not in visit.page.url


def test_the_keyboard_explains_steps_through_and_closes(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    visit.page.locator("#chart").focus()
    visit.page.keyboard.press("End")
    visit.page.keyboard.press("Enter")
    visit.wait(f"{PARTS} === 10")
    assert visit.page.evaluate("document.activeElement.id") == "why"
    assert "23:00 to 00:00" in visit.text("#why-title")
    assert visit.page.get_by_role("button", name="Explain the step after").is_disabled()
    for _ in range(10):
        visit.page.get_by_role("button", name="Explain the step before").press("Enter")
    assert "13:00 to 14:00" in visit.text("#why-title")
    assert visit.page.evaluate("document.activeElement.textContent") == "‹ earlier"
    assert "exact, the model is a sum" in visit.text("#why-body")
    visit.page.locator("#why-controls input[value=zero]").focus()
    visit.page.keyboard.press("Space")
    visit.wait("document.querySelector('#why .sums')?.textContent.includes('every input at zero')")
    assert visit.page.evaluate("document.activeElement.value") == "zero"
    visit.page.keyboard.press("Escape")
    visit.wait(f"{WHY}.hidden")
    assert visit.page.evaluate("document.activeElement.id") == "chart"


@desktop
def test_news_leaves_an_open_panel_and_the_focus_alone(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running", 12.0))
    visit.page.locator("#chart").focus()
    visit.page.keyboard.press("Enter")
    visit.wait(f"{PARTS} > 0")
    visit.page.evaluate("document.querySelector('#why .parts').dataset.same = 'yes'")
    visit.page.locator("#why-close").focus()
    before = visit.text("#readout")
    visit.wait(f"document.querySelector('#readout').textContent !== {before!r}")  # midnight: a new forecast
    assert visit.page.locator("#why .parts").get_attribute("data-same") == "yes"
    assert visit.page.evaluate("document.activeElement.id") == "why-close"


@desktop
def test_an_explanation_can_be_linked_to(visit: Visit, site: Site) -> None:
    address = site("running")
    visit.page.goto(address)
    overview = visit.page.evaluate("fetch('/api/models/pv-gru?key=trio&days=3').then(answer => answer.json())")
    origin = overview["forecasts"][-1]["origin_ms"]
    visit.page.goto("about:blank")
    visit.page.goto(f"{address}#model=pv-gru&key=trio&origin={origin}&step=10&baseline=zero")
    visit.wait(f"{PARTS} === 6")
    assert "10:00 to 11:00" in visit.text("#why-title")
    assert "every input at zero" in visit.text("#why .sums")


@desktop
def test_why_there_is_no_explanation_is_said(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    refused = {"error": "the completeness error 2e-3 is above 1e-5: refused"}
    for status, body, headers, words in [
        (429, {}, {"retry-after": "7"}, "Try again in 7 s"),
        (503, {"error": "pv-rls is restarting"}, {}, "pv-rls is restarting"),
        (501, {"error": "backend rls has no explainer"}, {}, "backend rls has no explainer"),
        (404, "Not Found", {}, "a newer Headrace does"),
        (422, refused, {}, "refused"),
    ]:
        answer_with(visit.page, status, body, headers)
        point(visit, 12)
        visit.wait(f"document.querySelector('#why-body').textContent.includes({words!r})")
        again = visit.page.get_by_role("button", name="Try again").count()
        assert again == (status in {429, 503})
        visit.page.locator("#why-close").click()
        visit.page.unroute_all()
        expect_failed_load(visit, status)


@desktop
def test_an_older_forecast_is_explained_by_the_model_of_now(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    chart = visit.page.locator("#chart")
    chart.focus()
    visit.page.keyboard.press("PageUp")
    visit.page.keyboard.press("PageUp")
    visit.page.keyboard.press("Enter")
    visit.wait("document.querySelector('#why .notice')?.textContent.includes('The model has learnt since')")
    assert "what the model would forecast now" in visit.text("#why .sums")


@desktop
def test_a_failed_explanation_can_be_asked_for_again(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    answer_with(visit.page, 503, {})
    point(visit, 12)
    visit.page.get_by_role("button", name="Try again").wait_for()
    visit.page.unroute_all()
    visit.page.get_by_role("button", name="Try again").click()
    visit.wait(f"{PARTS} === 10")
    expect_failed_load(visit, 503)


@desktop
def test_a_sum_that_does_not_add_up_is_called_out(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))

    def spoil(route: Any) -> None:
        answer = route.fetch()
        body = answer.json()
        body["base"] = [value + 3000 for value in body["base"]]
        route.fulfill(response=answer, body=json.dumps(body))

    visit.page.route(re.compile("/explanation"), spoil)
    point(visit, 12)
    visit.wait("document.querySelector('#why .notice')?.textContent.includes('miss the forecast by 3 kW')")


def test_alerts_are_counted_and_listed_active_ones_first(visit: Visit, site: Site) -> None:
    visit.page.goto(site("running"))
    visit.wait("document.querySelectorAll('#alert-list li').length === 4")
    assert visit.text("#alert-count") == "2 alerts"
    assert visit.page.title() == "(2) Headrace"
    states = visit.page.locator("#alert-list li").evaluate_all("items => items.map(item => item.dataset.state)")
    assert states == ["active", "active", "cleared", "cleared"]
    text = visit.text("#alert-list")
    assert re.match(r"Critical\s+trio · band-too-tight \(coverage of the band\)\s+the band held 74%", text)
    assert "74 %, limit 80 %" in text
    assert re.search(r"Warning\s+roof-3 · silent-device \(silence\)\s+no reading for 1h", text)
    assert "2 h 10 min, limit 1 h" in text
    visit.page.get_by_role("button", name="Show all alerts").click()
    visit.wait("document.querySelectorAll('#alert-list li').length === 6")
    visit.wait("document.querySelector('#alert-list').textContent.includes('23.4 kW, limit 22 kW')")
    visit.page.locator("#alerts > summary").click()
    assert visit.page.locator("#alert-list").is_hidden()
    visit.page.reload()
    visit.page.locator("#alert-count").wait_for()
    assert visit.page.locator("#alert-list").is_hidden()  # folded by the reader: stays so
    visit.page.locator("#alert-count").click()
    visit.page.locator("#alert-list").wait_for()


@desktop
def test_many_alerts_of_one_rule_are_one_row(visit: Visit, site: Site) -> None:
    visit.page.goto(site("many"))
    visit.wait("document.querySelector('#alert-list .group')")
    visit.wait("document.querySelector('#alert-list .group').textContent.includes('250 devices')")
    assert re.search(r"250 devices · silent-device \(silence\)\s+roof-\d+, ", visit.text("#alert-list .group"))
    rows = "document.querySelectorAll('#alert-list li[data-state=active]').length"
    assert visit.page.evaluate(rows) < 5
    assert "Webhook of pv-rls: 3 messages given up" in visit.text("#webhooks")
    visit.page.get_by_role("button", name="Show each of 250").click()
    visit.wait(f"{rows} > 100")
    visit.page.get_by_role("button", name="Show 100 more of silent-device").click()
    visit.wait(f"{rows} > 200")
    visit.page.get_by_role("button", name="Show 50 more of silent-device").click()
    visit.wait(f"{rows} > 250")
    assert visit.page.evaluate("document.activeElement.tagName") in {"BUTTON", "BODY"}
    visit.page.get_by_role("button", name="Hide them").click()
    visit.wait(f"{rows} < 5")


@desktop
def test_a_candidate_that_failed_is_not_too_early_to_tell(visit: Visit, site: Site) -> None:
    visit.page.goto(site("failing"))
    visit.wait("document.querySelector('#headline').textContent.includes('1 candidate stopped by an error')")
    assert "in the shadow" not in visit.text("#headline")
    visit.unfold("candidates")
    visit.page.locator("#candidates .comparison").wait_for()
    text = visit.text("#candidates")
    assert "Stopped by an error: steps.py: ZeroDivisionError" in text
    assert "Too early" not in text
    assert "headrace promote" not in text


@desktop
def test_no_difference_does_not_read_as_no_error(visit: Visit, site: Site) -> None:
    visit.page.goto(site("same"))
    visit.unfold("candidates")
    visit.page.locator("#candidates .comparison").wait_for()
    assert re.search(r"difference in squared error\s+none", visit.text("#candidates"))


@desktop
def test_huge_numbers_and_long_units_break_no_figure(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("hostile"))
    visit.unfold("reports")
    visit.page.locator("#report tbody tr").first.wait_for()
    visit.wait("document.querySelectorAll('#report figure path.line').length === 6")
    drawn = visit.page.locator("svg path").evaluate_all("paths => paths.map(path => path.getAttribute('d'))")
    assert len(drawn) > 20
    assert not any(re.search("NaN|Infinity|null|e[+]", path) for path in drawn)
    assert "1e308" in visit.text("#report table")
    unit = visit.page.locator("#chart text.unit")
    assert unit.text_content().startswith("litres per square metre…")
    assert (
        unit.evaluate("text => text.getBoundingClientRect().left - text.ownerSVGElement.getBoundingClientRect().left")
        >= 0
    )
    assert unit.locator("title").text_content() == "litres per square metre and hour"


@desktop
def test_a_quiet_platform_says_so(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("quiet"))
    assert visit.text("#alert-count") == "No alerts"
    assert "none active, 4 cleared" in visit.text("#alerts-note")
    assert visit.page.locator("#alert-list").is_hidden()
    assert visit.page.locator("#candidates").is_hidden()
    visit.unfold("reports")
    visit.wait("document.querySelector('#report').textContent.includes('headrace evaluate')")


def test_a_model_says_what_it_started_from(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    for model, told in (("pv-gru", True), ("pv-rls", False)):
        visit.page.goto(visit.page.url.partition("#")[0] + f"#model={model}&key=trio")
        visit.wait(f"document.querySelector('#model-name').textContent.includes('{model}')")
        assert ("started from md_0123456789abcdef0123" in visit.text("#model-facts")) == told


def test_a_candidate_stands_against_what_is_served(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    visit.page.locator("#candidates .comparison").wait_for()
    text = visit.text("#candidates")
    assert "pv-ridge against pv-rls · trio" in text
    assert "arises by luck in 1 of 64 comparisons" in text  # the platform's own sentence
    assert "headrace promote pv-ridge" in text
    assert re.search(r"(less|more) squared error than what is served\s+[\d.]+ %", text)
    assert re.search(r"candidate [\d.]+ kW, served [\d.]+ kW", text)
    assert re.search(r"\d+ of \d+", text)
    days = visit.page.locator("#candidates circle.daily.candidate").count()
    assert days == visit.page.locator("#candidates circle.daily.served").count() > 10
    assert days == visit.page.locator("#candidates line.gap").count()
    assert "(candidate)" in visit.text("#picker")


def test_reports_are_tables_sorted_best_first(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("running"))
    visit.unfold("reports")
    visit.page.locator("#report tbody tr").first.wait_for()
    names = "rows => rows.map(row => row.firstElementChild.firstChild.textContent)"
    order = visit.page.locator("#report tbody tr").evaluate_all(names)
    assert order == ["ridge", "gru", "rls", "hour-mean", "hist-gb", "persistence"]
    assert visit.page.locator("#report tr.baseline").count() == 2
    visit.page.get_by_role("button", name="cover").click()
    visit.page.locator("#report th[aria-sort=descending]", has_text="cover").wait_for()
    order = visit.page.locator("#report tbody tr").evaluate_all(names)
    assert order[:2] == ["hour-mean", "gru"]
    assert order[-1] == "persistence"  # without a value: last
    assert visit.page.locator("#report th[aria-sort=descending]").inner_text() == "cover"
    assert visit.page.evaluate("document.activeElement.textContent") == "cover"
    widths = visit.page.locator("#report tbody td:nth-child(2)").all_inner_texts()
    assert {len(text.partition(".")[2]) for text in widths} == {4}  # points under each other
    visit.page.locator("#report summary").click()
    assert "share of targets inside the 90% interval" in visit.text("#report .help")
    assert "no target crosses the split" in visit.text("#report .notes")
    assert visit.page.locator("#report figure path.line").count() == 6
    visit.page.locator("#report-picker label").nth(1).click()
    visit.wait("document.querySelector('#report h3').textContent.includes('9 start days')")
    assert visit.page.locator("#report tbody tr").first.inner_text().startswith("rls")


@desktop
def test_an_older_platform_is_shown_as_before(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("older"))
    for part in ("#alert-count", "#alerts", "#candidates", "#reports", "#coverage-chart"):
        assert visit.page.locator(part).is_hidden(), part
    assert "Band held" in visit.text("#coverage")
    assert "interval" in visit.text("#legend")


@desktop
def test_degrees_are_drawn_on_an_axis_of_their_own(visit: Visit, site: Site) -> None:
    with_forecast(visit, site("warm"))
    ticks = visit.page.locator("#chart text.tick[text-anchor=end]").all_text_contents()
    assert min(float(tick) for tick in ticks) > 10
    assert "error in °C" in visit.text("#table")
    assert "by day" not in visit.text("#table")
    assert "Wh in all" not in visit.text("#readout")
