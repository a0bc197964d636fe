"""A dataset goes from the page into the library: in pieces, over a broken connection, or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.test_library import calls, listed
from tests.browser.visits import Site, Visit

desktop = pytest.mark.parametrize("visit", ["desktop"], indirect=True)
SENT = re.compile(r"/uploads/up_\w+$")
MEGABYTE = 2**20


def file_of(folder: Path, name: str, size: int) -> Path:
    path = folder / name
    path.write_bytes(b"time;power\n" + b"1;2\n" * (size // 4))
    return path


def test_a_file_is_added(visit: Visit, hub: Site, tmp_path: Path) -> None:
    listed(visit, hub())
    choose(visit, file_of(tmp_path, "day one.csv", 4_000))
    visit.wait("document.querySelector('.upload')?.textContent.includes('All of it has arrived')")
    assert visit.page.get_by_label("Name", exact=True).input_value() == "day one"
    visit.page.get_by_role("button", name="Add to the library").click()
    visit.page.locator("#library-view .asset h1", has_text="day one").wait_for()


def choose(visit: Visit, path: Path) -> None:
    visit.page.locator("#upload-file").set_input_files(path)


@desktop
def test_a_file_goes_in_although_the_connection_breaks(visit: Visit, hub: Site, tmp_path: Path) -> None:
    listed(visit, hub())
    broken = []

    def breaks(route: object) -> None:
        if route.request.method == "PATCH" and not broken:  # type: ignore[attr-defined]
            broken.append(1)
            route.abort("connectionreset")  # type: ignore[attr-defined]
        else:
            route.continue_()  # type: ignore[attr-defined]

    visit.page.route(SENT, breaks)
    path = file_of(tmp_path, "cut in two.csv", 3 * MEGABYTE)
    choose(visit, path)
    visit.page.get_by_label("Name", exact=True).fill("from the page")
    visit.page.get_by_label("What it is").fill("readings of a day")
    visit.page.get_by_role("button", name="Add to the library").click()
    visit.page.locator("#library-view .asset h1", has_text="from the page").wait_for()
    assert broken == [1]
    text = visit.text("#library-view .asset")
    assert f"({path.stat().st_size:,} bytes)" in text
    assert "readings of a day" in text
    assert "cut in two.csv" in text
    visit.page.locator("#library-view .columns tbody tr").first.wait_for()  # measured meanwhile
    assert "ERR_CONNECTION_RESET" in visit.complaints[0]
    visit.complaints.pop(0)
    visit.forgive(503)


@desktop
def test_a_dropped_file_is_taken(visit: Visit, hub: Site) -> None:
    listed(visit, hub())
    visit.page.locator(".drop").evaluate(
        "zone => { const data = new DataTransfer(); data.items.add(new File(['time;power\\n1;2\\n'], 'dropped.csv'));"
        " zone.dispatchEvent(new DragEvent('dragover', { dataTransfer: data, cancelable: true }));"
        " zone.dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true })) }"
    )
    visit.wait("document.querySelector('.upload')?.textContent.includes('All of it has arrived')")
    assert visit.page.get_by_label("Name", exact=True).input_value() == "dropped"
    visit.page.get_by_label("Name", exact=True).fill("a/b")
    visit.page.get_by_role("button", name="Add to the library").click()
    visit.wait("document.querySelector('.upload .said').textContent === 'A name has no slash'")
    visit.page.get_by_label("Name", exact=True).fill("ab")
    visit.page.keyboard.press("Enter")
    visit.page.locator("#library-view .asset h1", has_text="ab").wait_for()
    visit.forgive(400)


@desktop
def test_an_upload_can_be_given_up(visit: Visit, hub: Site, tmp_path: Path) -> None:
    address = hub()
    listed(visit, address)
    choose(visit, file_of(tmp_path, "slow.csv", 4 * MEGABYTE))
    visit.wait("document.querySelector('.upload progress')?.value > 0")
    assert re.search(r"[\d.]+ (KiB|MiB) of 4 MiB \([\d.]+ %\)", visit.text(".upload"))
    visit.page.get_by_role("button", name="Cancel").click()
    visit.page.locator(".drop").wait_for()
    visit.page.wait_for_timeout(200)
    assert any(line.startswith("DELETE /uploads/up_") for line in calls(address))


@desktop
def test_the_same_file_goes_on_after_a_reload(visit: Visit, hub: Site, tmp_path: Path) -> None:
    listed(visit, hub())
    path = file_of(tmp_path, "slow to come.csv", 4 * MEGABYTE)
    choose(visit, path)
    visit.wait("document.querySelector('.upload progress')?.value > 0.1")
    visit.page.on("dialog", lambda dialog: dialog.accept())  # the browser asks before it leaves
    visit.page.reload()
    visit.page.locator(".drop").wait_for()
    offsets: list[int] = []
    visit.page.on(
        "request", lambda sent: offsets.append(int(sent.headers["upload-offset"])) if sent.method == "PATCH" else None
    )
    choose(visit, path)
    visit.wait("document.querySelector('.upload')?.textContent.includes('All of it has arrived')")
    assert offsets
    assert min(offsets) > 0


@desktop
def test_what_cannot_be_taken_is_said(visit: Visit, hub: Site, tmp_path: Path) -> None:
    listed(visit, hub())
    choose(visit, file_of(tmp_path, "refused.csv", 100))
    visit.wait("document.querySelector('.upload .said')?.textContent.includes('the largest upload is 10 GB')")
    empty = tmp_path / "empty.csv"
    empty.touch()
    choose(visit, empty)
    visit.wait("document.querySelector('.upload .said').textContent.includes('“empty.csv” is empty')")
    assert visit.page.locator(".drop").is_visible()
    visit.forgive(413)
