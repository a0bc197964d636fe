"""The jobs of the page: queue, history, progress, and a log that is read while it is written."""

from __future__ import annotations

import pytest

from tests.browser.fake_assets import name_of
from tests.browser.test_library import confirm, pick
from tests.browser.visits import Site, Visit

desktop = pytest.mark.parametrize("visit", ["desktop"], indirect=True)
LOG = "document.querySelector('#jobs-view .log')"


def listed(visit: Visit, address: str) -> None:
    visit.page.goto(f"{address}#jobs")
    visit.page.locator("#jobs-view .jobs li").first.wait_for()


def opened(visit: Visit, address: str, number: int) -> None:
    visit.page.goto(f"{address}#jobs/{name_of('jb', number)}")
    visit.page.locator("#jobs-view h1", has_text="Training of").wait_for()


def test_the_queue_and_what_has_been(visit: Visit, hub: Site) -> None:
    listed(visit, hub())
    assert visit.text("#jobs-view .title .aside") == "1 running, 2 queued, 5 ended"
    queue = visit.page.locator("#jobs-view .card", has=visit.page.get_by_role("heading", name="Queue"))
    assert "next" in queue.locator("li").first.inner_text()
    assert "pv-gru" in queue.locator("li").first.inner_text()  # the higher priority, although it came later
    assert "2. in the queue" in queue.locator("li").nth(1).inner_text()
    assert "it used more than the 2.1 GB of memory" in visit.text("#jobs-view li:has-text('pv-wide')")
    assert "ran 12 min 30 s" in visit.text("#jobs-view li:has-text('pv-wide')")
    pick(visit, "Failed")
    visit.wait("document.querySelectorAll('#jobs-view .jobs li').length === 1")
    assert visit.page.get_by_role("heading", name="History").is_visible()


@desktop
def test_progress_moves_and_the_focus_stays(visit: Visit, hub: Site) -> None:
    listed(visit, hub())
    visit.page.locator("#jobs-view li a", has_text="pv-lstm").focus()
    before = visit.page.locator("#jobs-view progress").evaluate("bar => bar.value")
    visit.wait(f"document.querySelector('#jobs-view progress').value > {before}")
    assert "of 20, loss 0.0" in visit.text("#jobs-view .job-progress")
    assert visit.page.evaluate("document.activeElement.textContent") == "pv-lstm"


def test_a_log_is_read_as_it_is_written(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), 4)
    visit.wait(f"{LOG}?.childElementCount > 70")
    assert visit.text("#jobs-view .card .title .aside") == "Live"
    text = visit.text("#jobs-view .log")
    assert "epoch   3 loss 0.2000 ± 0.01" in text
    assert "\x1b" not in text
    assert "[36m" not in text
    assert "\ufffd" not in text  # letters that came in two pieces
    at_end = f"{LOG}.scrollHeight - {LOG}.scrollTop - {LOG}.clientHeight < 24"
    visit.wait(at_end)
    visit.page.evaluate(f"{LOG}.scrollTop = 0")
    lines = visit.page.evaluate(f"{LOG}.childElementCount")
    visit.wait(f"{LOG}.childElementCount > {lines}")
    assert visit.page.evaluate(f"{LOG}.scrollTop") == 0  # the reader reads here
    visit.page.get_by_role("button", name="To the end").click()
    visit.wait(at_end)
    assert visit.page.get_by_role("button", name="To the end").is_hidden()


@desktop
def test_of_a_long_log_the_end_is_kept(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), 5)
    visit.wait(f"{LOG}?.lastChild?.textContent === 'Killed'")
    assert visit.page.evaluate(f"{LOG}.childElementCount") <= 2000
    whole = 12_000 * len("epoch   0 step  0: loss 0.33333\n") + len("Killed\n")
    shown = 1_999 * len("epoch   0 step  0: loss 0.33333\n") + len("Killed\n")
    assert f"… {(whole - shown) / 1024:,.1f} KiB left out" in visit.text("#jobs-view")
    assert "It used more than the 2.1 GB" in visit.text("#jobs-view .note")
    assert "137" in visit.text("#jobs-view .details")
    assert "3; its code may fail 3 times" in visit.text("#jobs-view .details")


@desktop
def test_a_log_is_shown_as_a_terminal_would(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), 1)
    visit.wait(f"{LOG}?.childElementCount === 4")
    assert visit.text("#jobs-view .log").split("\n") == [
        "reading pv-2019.parquet",
        "step 3",
        "::progress 1.0 done",
        "mse 0.0129",
    ]
    visit.page.get_by_role("link", name="Its model").click()
    visit.page.locator("#library-view .asset h1", has_text="pv-gru").wait_for()


@desktop
def test_a_held_log_says_so(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), 2)
    visit.wait(f"{LOG}?.textContent.startsWith('This log is held')")
    visit.forgive(403)


@desktop
def test_a_job_is_cancelled_and_queued_once_more(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), 4)
    visit.wait(f"{LOG}?.childElementCount > 3")
    visit.page.get_by_role("button", name="Cancel the job").click()
    assert "Its processes are stopped at once" in confirm(visit, "Cancel the job")
    visit.wait("document.querySelector('#jobs-view .badges').textContent.startsWith('Cancelled')")
    assert visit.text("#jobs-view .note") == "Cancelled by ada"
    visit.page.get_by_role("button", name="Queue it once more").click()
    visit.wait("document.querySelector('#jobs-view .badges').textContent.startsWith('Queued')")


@desktop
def test_a_broken_log_goes_on_where_it_stopped(visit: Visit, hub: Site) -> None:
    cut: list[str] = []

    def once(route: object) -> None:
        cut.append(route.request.url)  # type: ignore[attr-defined]
        if len(cut) == 1:
            route.fulfill(
                body="\x1b[36mepoch   0\x1b[0m loss 0.5000 ± 0.01\n\x1b[36mepoch",
                content_type="text/plain; charset=utf-8",
            )  # type: ignore[attr-defined]
        else:
            route.continue_()  # type: ignore[attr-defined]

    visit.page.route("**/log?**", once)
    opened(visit, hub(), 4)
    visit.wait(f"{LOG}?.childElementCount > 5")
    assert cut[1].endswith("?offset=49&follow=1")  # the bytes that came, not the letters
    lines = visit.text("#jobs-view .log").split("\n")
    assert lines[:3] == [f"epoch   {n} loss {1 / (n + 2):.4f} ± 0.01" for n in range(3)]
