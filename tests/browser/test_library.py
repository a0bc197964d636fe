"""The library of the page in a real Chromium, fed by `fake_hub.py`."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.browser.fake_assets import digest, name_of
from tests.browser.visits import Site, Visit

desktop = pytest.mark.parametrize("visit", ["desktop"], indirect=True)
ROWS = "document.querySelectorAll('#library-view tbody tr').length"


def listed(visit: Visit, address: str) -> None:
    visit.page.goto(f"{address}#library")
    visit.page.locator("#library-view tbody tr").first.wait_for()


def opened(visit: Visit, address: str, id: str, title: str) -> None:
    """One thing in full, with its lineage."""
    visit.page.goto(f"{address}#library/{id}")
    visit.page.locator("#library-view .asset h1", has_text=title).wait_for()
    visit.wait("document.querySelector('#library-view').textContent.includes('Lineage')")


def confirm(visit: Visit, button: str) -> str:
    """Say yes to the question; its words."""
    visit.page.locator("dialog").wait_for()
    words = visit.text("dialog")
    visit.page.locator("dialog").get_by_role("button", name=button).click()
    visit.page.locator("dialog").wait_for(state="detached")
    return words


def pick(visit: Visit, choice: str) -> None:
    visit.page.get_by_role("radio", name=choice, exact=True).check(force=True)


def calls(address: str) -> list[str]:
    with urllib.request.urlopen(f"{address}fake/calls", timeout=10) as answer:
        found: list[str] = json.load(answer)
    return found


def test_everything_is_listed_and_found(visit: Visit, hub: Site) -> None:
    listed(visit, hub())
    assert visit.text("#library-view .title .aside") == "6 datasets, 9 models; 1 snapshot of online models not shown"
    row = visit.text("#library-view tbody tr:has-text('pv-2019')")
    for words in ("dataset parquet", "us", "976.6 KiB", "541 × 7", "Ready", "7 hours ago"):
        assert words in row
    visit.page.locator("#asset-filter").fill("PV gru")
    visit.wait(f"{ROWS} === 3")
    visit.page.locator("#asset-filter").fill("no such thing")
    visit.wait("document.querySelector('#library-view').textContent.includes('Nothing matches')")
    visit.page.locator("#asset-filter").fill("")
    pick(visit, "Models")
    visit.wait(f"{ROWS} === 9")
    pick(visit, "Granted to us")
    visit.wait(f"{ROWS} === 1")
    assert "turbine faults" in visit.text("#library-view tbody")
    assert "Held by us" in visit.text("#library-view tbody")
    pick(visit, "Datasets")
    pick(visit, "Ours")
    visit.wait(f"{ROWS} === 5")
    visit.page.get_by_label("deleted ones too").check()
    visit.wait(f"{ROWS} === 6")
    assert "Deleted" in visit.text("#library-view tbody tr:has-text('old plant')")


def test_a_dataset_is_shown_with_its_statistics_and_digests(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("ds", 1), "pv-2019")
    text = visit.text("#library-view .asset")
    for words in (
        "A year of the inverter",
        digest("pv-2019"),
        digest("root of pv-2019"),
        digest("stream"),
        "84,960, positions 1,204 to 86,411",
        "plant/trio/reading",
    ):
        assert words in text
    assert visit.page.locator("#library-view .columns tbody tr").count() == 8
    power = visit.page.locator("#library-view .columns tr", has_text="power").first
    assert power.locator("rect.mass").count() == 6  # between seven quantiles
    assert "6.8 % missing" in visit.text("#library-view .columns tr:has-text('clouds')")
    assert "3 different values" in visit.text("#library-view .columns tr:has-text('inverter')")
    assert visit.page.locator("#library-view .heat rect").count() == 36
    assert (
        visit.page.locator("#library-view .heat rect.unknown").count() == 11
    )  # a door that was never opened goes with nothing
    assert "Strongest: power and i1 +1.00" in visit.text("#library-view .together")
    areas = power.locator("rect.mass").evaluate_all(
        "bars => bars.map((bar) => (Number(bar.getAttribute('width')) + 1) * bar.getAttribute('height'))"
    )
    assert areas[2] == pytest.approx(areas[3], rel=0.15)  # each holds a quarter of the values


@desktop
def test_a_digest_is_copied(visit: Visit, hub: Site) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(visit, hub(), name_of("ds", 1), "pv-2019")
    visit.page.get_by_role("button", name="Copy the Merkle root").click()
    assert visit.page.evaluate("navigator.clipboard.readText()") == digest("root of pv-2019")


def test_a_model_is_shown_with_its_recipe_and_files(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("md", 1), "pv-gru")
    assert visit.text("#library-view .badges").split("\n") == ["model", "Trained", "Reproduced"]
    assert "Trained twice, on 3 and 4 November" in visit.text("#library-view .asset")
    text = visit.text("#library-view")
    for words in (
        "learning_rate = 0.001",
        "scale = true",
        "TORCH_SEED = 11",
        "torch 2.13.0, numpy 2.3.5",
        "15,128",
        "24 × 6 in, 24 out",
        "mse\n0.0129",
    ):
        assert words in text
    visit.page.locator("#library-view .card:has(h2:text-is('Recipe'))").get_by_role("link", name="pv-2019").wait_for()
    with visit.page.expect_download() as download:
        visit.page.get_by_role("link", name="plots/loss curve.png").click()
    assert download.value.url.endswith(f"/models/{name_of('md', 1)}/files/plots/loss%20curve.png")


@desktop
def test_images_are_shown_by_their_mean_and_classes(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("ds", 3), "roof photos")
    text = visit.text("#library-view .statistics")
    for words in ("812 images, RGB", "clean 500, dirty 312", "224 × 224 × 3 (812)", "90 ± 61"):
        assert words in text
    corner = "document.querySelector('.mean-image').getContext('2d').getImageData(0, 0, 1, 1).data"
    assert visit.page.evaluate(f"[...{corner}]") == [120, 90, 60, 255]


@desktop
def test_a_model_is_trained_again_to_compare(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("md", 1), "pv-gru")
    visit.page.get_by_role("button", name="Train it again and compare").click()
    visit.page.get_by_role("heading", name="Training of pv-gru").wait_for()
    assert "Queued" in visit.text("#jobs-view .badges")
    assert "It begins when the job does" in visit.text("#jobs-view")


@desktop
def test_what_is_held_deleted_failed_or_uncertain_is_explained(visit: Visit, hub: Site) -> None:
    address = hub()
    for id, title, words in (
        (name_of("md", 2), "pv-gru-wind", "Held: it was trained on data of borealis, granted for training only."),
        (name_of("md", 6), "vendor forecast", "Uploaded as it is, trained elsewhere"),
        (name_of("md", 7), "dropout net", "Its recipe declares it non-deterministic"),
        (name_of("md", 5), "pv-wide", "The training failed: its job says why"),
        (name_of("ds", 6), "old plant", "This is a tombstone: the content is gone"),
        (name_of("ds", 4), "scribbles", "could not be measured: row 12 has 7 cells"),
    ):
        opened(visit, address, id, title)
        assert words in visit.text("#library-view .notes-in-words")
    opened(visit, address, name_of("md", 2), "pv-gru-wind")
    assert visit.page.get_by_role("link", name="Download").count() == 0
    opened(visit, address, name_of("ds", 5), "wind-park")
    visit.wait("document.querySelector('#library-view .details').textContent.includes('Granted to ustrain')")
    visit.page.get_by_role("link", name="Download").click()
    visit.wait("document.querySelector('#library-view .said').textContent.includes('Your grant is for training')")
    visit.forgive(403)


@desktop
def test_the_owner_of_the_data_releases_a_result(visit: Visit, hub: Site) -> None:
    address = hub()
    opened(visit, address, name_of("md", 3), "turbine faults")
    visit.page.get_by_role("button", name="Release it to borealis").click()
    assert "cannot be taken back" in confirm(visit, "Release it")
    visit.wait("document.querySelector('#library-view .badges').textContent.includes('Trained')")
    assert visit.text("#library-view .said") == "Released."
    assert f"POST /models/{name_of('md', 3)}/release" in calls(address)


def test_lineage_runs_from_left_to_right_and_can_be_walked(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("ds", 1), "pv-2019")
    place = "node => node.getBoundingClientRect().x"

    def left_of(name: str) -> float:
        return float(visit.page.locator(".lineage .node", has_text=name).first.evaluate(place))

    assert (
        left_of("plant/trio/reading")
        < left_of("pv-2019")
        < left_of("train.py")
        < left_of("pv-grujob")
        < left_of("model, trained")
    )
    lineage = visit.page.evaluate("fetch('/lineage/' + location.hash.split('/')[1]).then((answer) => answer.json())")
    assert visit.page.locator(".lineage .edge").count() == len(lineage["edges"]) > 10
    assert visit.page.locator(".lineage .node").count() == len(lineage["nodes"])
    assert visit.page.locator(".lineage .node[data-hidden]").count() == 3  # another company's dataset, recipe and job
    hidden = visit.page.locator(".lineage .node[data-hidden]").first
    assert hidden.locator("text").first.text_content() == "not yours"
    assert hidden.evaluate("node => node.tagName") == "g"  # nothing to open
    assert visit.page.locator(".lineage [data-gone]").count() == 1
    boxes = visit.page.locator(".lineage .box").evaluate_all(
        "boxes => boxes.map((box) => { const { x, y, right, bottom } = box.getBoundingClientRect(); return [x, y, right, bottom] })"
    )
    assert not any(_overlap(a, b) for index, a in enumerate(boxes) for b in boxes[:index])
    visit.page.locator(".lineage a.node", has_text="pv-gru").last.focus()
    visit.page.keyboard.press("Enter")
    visit.page.locator("#library-view .asset h1", has_text="pv-gru").wait_for()
    assert visit.page.evaluate("document.activeElement.tagName") == "H1"


def _overlap(a: list[float], b: list[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def beside(visit: Visit, selector: str) -> None:
    """The answer stands in sight, right below what it answers."""
    form, said = (
        f"document.querySelector('#library-view {one}').getBoundingClientRect()" for one in (selector, ".said")
    )
    visit.wait(f"{said}.top >= {form}.bottom && {said}.top < {form}.bottom + 40 && {said}.bottom <= innerHeight")


def test_grants_are_given_and_taken_back(visit: Visit, hub: Site) -> None:
    address = hub()
    opened(visit, address, name_of("ds", 1), "pv-2019")
    visit.page.locator("#library-view .given li").nth(1).wait_for()
    assert "borealis may train on it" in visit.text("#library-view .given")
    assert "Revoked" in visit.text("#library-view .given li:has-text('cargo')")
    visit.page.get_by_label("Open it to").fill("nobody")
    visit.page.get_by_role("button", name="Grant", exact=True).click()
    visit.wait(
        "document.querySelector('#library-view .said').textContent === 'There is no company ’nobody’ here'.replaceAll('’', String.fromCharCode(39))"
    )
    beside(visit, "form.grant-form")
    visit.page.get_by_label("Open it to").fill("dynamo")
    visit.page.get_by_label("who may").select_option("derive")
    assert "keep what it makes" in visit.text("#right-help")
    visit.page.get_by_label("until").fill("2031-05-04")
    visit.page.get_by_role("button", name="Grant", exact=True).click()
    visit.wait("document.querySelector('#library-view .given').textContent.includes('dynamo may derive from it')")
    visit.wait("document.querySelector('#library-view .said').textContent.startsWith('Granted: dynamo')")
    beside(visit, "form.grant-form")
    assert "Until 4 May 2031, 23:59" in visit.text("#library-view .given li:has-text('dynamo')")
    revoke = visit.page.get_by_role("button", name="Revoke the right of dynamo")
    revoke.click()
    visit.page.keyboard.press("Escape")
    visit.page.locator("dialog").wait_for(state="detached")
    assert revoke.evaluate("node => node === document.activeElement")
    revoke.click()
    confirm(visit, "Revoke the grant")
    visit.wait("!document.querySelector('[aria-label^=\"Revoke the right of dynamo\"]')")
    visit.forgive(400)


def test_deleting_says_what_a_tombstone_is(visit: Visit, hub: Site) -> None:
    address = hub()
    opened(visit, address, name_of("ds", 1), "pv-2019")
    visit.page.get_by_role("button", name="Delete").click()
    said = confirm(visit, "Delete the dataset")
    assert "or it is granted to somebody, a tombstone stays: the record without the content" in said
    visit.wait("document.querySelector('#library-view .badges').textContent.includes('Deleted')")
    assert "This is a tombstone" in visit.text("#library-view .asset")
    assert visit.page.get_by_role("link", name="Download").count() == 0
    opened(visit, address, name_of("ds", 7), "to be deleted")
    visit.page.get_by_role("button", name="Delete").click()
    visit.page.locator("dialog").get_by_role("button", name="Keep it as it is").click()
    visit.page.get_by_role("button", name="Delete").click()
    confirm(visit, "Delete the dataset")
    visit.wait("location.hash === '#library'")
    visit.wait(
        "!(document.querySelector('#library-view tbody')?.textContent ?? 'to be deleted').includes('to be deleted')"
    )
    assert [line for line in calls(address) if line.startswith("DELETE")] == [
        f"DELETE /datasets/{name_of('ds', n)}" for n in (1, 7)
    ]


@desktop
def test_a_dialog_goes_with_its_view(visit: Visit, hub: Site) -> None:
    address = hub()
    opened(visit, address, name_of("ds", 1), "pv-2019")
    visit.page.get_by_role("button", name="Delete").click()
    visit.page.locator("dialog").wait_for()
    visit.page.go_back()
    visit.page.locator("dialog").wait_for(state="detached")
    assert not [line for line in calls(address) if line.startswith("DELETE")]


@desktop
def test_what_one_may_not_know_of_is_not_there(visit: Visit, hub: Site) -> None:
    visit.page.goto(f"{hub()}#library/{name_of('ds', 99)}")
    visit.page.get_by_role("heading", name="Not in your library").wait_for()
    assert "There is no dataset" in visit.text("#library-view .notes-in-words")
    visit.forgive(404)


@desktop
def test_focus_and_text_being_typed_outlive_news(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("ds", 2), "meters")  # still being measured: asked for every two seconds
    visit.page.get_by_label("Open it to").type("half a na")
    with visit.page.expect_response("**/datasets/*", timeout=10_000):
        pass
    assert visit.page.evaluate("document.activeElement.value") == "half a na"
    visit.page.get_by_role("link", name="‹ Library").click()
    visit.page.locator("#library-view tbody tr").first.wait_for()
    assert visit.page.evaluate("document.activeElement.textContent") == "meters"  # back where one came from


@desktop
def test_a_hidden_tab_asks_for_nothing(visit: Visit, hub: Site) -> None:
    address = hub()
    listed(visit, address)
    _hide(visit.page, True)
    visit.page.wait_for_timeout(300)
    before = len(calls(address))
    visit.page.wait_for_timeout(2_600)
    assert calls(address)[before:] == ["GET /fake/calls"]
    _hide(visit.page, False)
    with visit.page.expect_response("**/datasets?*", timeout=5_000):
        pass


def _hide(page: Any, hidden: bool) -> None:
    page.evaluate(
        f"Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {str(hidden).lower()} }}); document.dispatchEvent(new Event('visibilitychange'))"
    )


def test_hostile_names_are_shown_and_not_run(visit: Visit, hub: Site) -> None:
    address = hub("hostile")
    listed(visit, address)
    assert "<img src=x" in visit.text("#library-view tbody")
    for id in (name_of("ds", 1), name_of("md", 1)):
        opened(visit, address, id, "<img src=x")
        visit.page.locator(".lineage .node").first.wait_for()
    visit.page.goto(f"{address}#jobs/{name_of('jb', 1)}")
    visit.page.locator("#jobs-view .log div").first.wait_for()
    assert "<script>" in visit.text("#jobs-view .log")
    visit.page.goto(f"{address}#jobs")
    visit.page.locator("#jobs-view .job-progress").wait_for()
    assert visit.page.evaluate("window.pwned") is None
    assert visit.page.locator("main img, main script").count() == 0


@desktop
def test_an_empty_library_says_what_to_do(visit: Visit, hub: Site) -> None:
    visit.page.goto(f"{hub('empty')}#library")
    visit.page.get_by_text("The library is empty").wait_for()
    assert "headrace dataset from-stream" in visit.text("#library-view")
    visit.page.goto(f"{hub('empty')}#jobs")
    visit.page.get_by_text("No model has been trained here yet").wait_for()


@desktop
def test_many_are_shown_a_part_at_a_time(visit: Visit, hub: Site) -> None:
    listed(visit, hub("many"))
    assert "and more" in visit.text("#library-view .title .aside")
    assert visit.page.locator("#library-view tbody tr").count() == 60
    visit.page.get_by_role("button", name="Show 60 more of").click()
    visit.wait(f"{ROWS} === 120")
    visit.page.get_by_role("button", name="Load older ones").click()
    visit.wait(
        "document.querySelector('#library-view .title .aside').textContent === '266 datasets, 9 models; 1 snapshot of online models not shown'"
    )
