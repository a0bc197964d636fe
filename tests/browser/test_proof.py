"""What is recorded of a thing, verifying it, translations and snapshots, on the page in a real Chromium."""

from __future__ import annotations

import pytest

from tests.browser.fake_assets import CONTRACT, digest, name_of
from tests.browser.fake_proof import LEDGER, SINGLE, keys
from tests.browser.test_library import ROWS, calls, confirm, desktop, listed, opened
from tests.browser.visits import Site, Visit

RECORDED, VERIFY = "#library-view .recorded", "#library-view .verify"


def ladder(visit: Visit, level: str = "") -> None:
    """Choose a level and begin."""
    if level:
        visit.page.get_by_role("radio", name=level).check(force=True)
    visit.page.get_by_role("button", name="Verify", exact=True).click()


def test_a_row_says_briefly_what_is_anchored_and_snapshots_have_a_switch(visit: Visit, hub: Site) -> None:
    listed(visit, hub())
    for name, words in (
        ("pv-2019", "anchored"),
        ("meters", "waiting for the ledger"),
        ("scribbles", "not recorded"),
        ("vendor forecast", "Revoked"),
        ("pv-gru (ONNX)", "Translated"),
    ):
        assert words in visit.text(f"#library-view tbody tr:has(a:text-is('{name}'))")
    assert visit.page.locator("#library-view tbody tr", has_text="Snapshot").count() == 0
    before = visit.page.evaluate(ROWS)
    visit.page.get_by_label("snapshots of online models").check()
    visit.wait(f"{ROWS} === {before + 1}")
    assert "Snapshot" in visit.text("#library-view tbody tr:has(a:text-is('pv-rls'))")
    visit.page.get_by_label("snapshots of online models").uncheck()
    visit.wait(f"{ROWS} === {before}")


def test_the_contract_is_read_on_the_page(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("md", 1), "pv-gru")
    visit.page.get_by_text("The contract, read from the chain").click()
    text = visit.text(RECORDED)
    for words in (
        "Anchored",
        CONTRACT,
        f"A{SINGLE[1:]}.",
        "Registered in block\n12",
        "Result in block\n15",
        "headrace/model/1",
        "Result of the training",
        digest("files 1"),
        "plots/loss curve.png",
    ):
        assert words in text
    visit.page.get_by_text("Recipe", exact=True).last.click()
    assert '"learning_rate": 0.001' in visit.text(RECORDED)


@desktop
def test_whoever_sends_a_bundle_sees_which_fingerprints_to_tell(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("md", 1), "pv-gru")
    text = visit.text(f"{RECORDED} .pins")
    assert keys("acme")["signer"] in text and LEDGER["operator"] in text and "--key FINGERPRINT" in text
    with visit.page.expect_download():
        visit.page.get_by_role("link", name="Download bundle").click()
    visit.wait(f"document.querySelector('{RECORDED} .said').textContent.includes('Tell its recipient the fingerprint')")
    opened(visit, hub(), name_of("ds", 3), "roof photos")  # not anchored: no bundle, no keys
    assert visit.page.locator(f"{RECORDED} .pins").count() == 0


@desktop
def test_a_library_of_snapshots_is_not_called_empty(visit: Visit, hub: Site) -> None:
    visit.page.goto(f"{hub('published')}#library")
    visit.page.get_by_role("button", name="Show them").click()
    visit.wait(f"{ROWS} === 1")
    assert "not shown" not in visit.text("#library-view .title")
    visit.page.get_by_label("snapshots of online models").uncheck()
    visit.page.get_by_text("have published: 1 snapshot of online models").wait_for()
    assert "0 datasets, 0 models; 1 snapshot of online models not shown" in visit.text("#library-view .title")


@desktop
def test_the_address_of_the_contract_is_copied(visit: Visit, hub: Site) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(visit, hub(), name_of("ds", 1), "pv-2019")
    visit.page.get_by_role("button", name="Copy the address of the contract").click()
    assert visit.page.evaluate("navigator.clipboard.readText()") == CONTRACT


@desktop
def test_what_is_not_anchored_says_so(visit: Visit, hub: Site) -> None:
    address = hub()
    for id, title, words in (
        (name_of("ds", 2), "meters", ("Waiting for the ledger", "Waits for the ledger: it is gone")),
        (name_of("ds", 4), "scribbles", ("Could not be recorded", "The ledger has another record of it")),
        (name_of("ds", 3), "roof photos", ("Not recorded", "There is no ledger here")),
    ):
        opened(visit, address, id, title)
        assert all(one in visit.text(RECORDED) for one in words)
        assert visit.page.get_by_role("link", name="Download bundle").count() == 0
        assert visit.page.locator(f"{RECORDED} .contract").count() == 0


def test_a_translation_shows_its_certificate_and_original(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("md", 9), "pv-gru (ONNX)")
    visit.wait("document.querySelector('.notes-in-words').textContent.includes('“pv-gru” (PyTorch) to ONNX')")
    table = visit.text("#library-view .parity")
    for words in (
        "75: 64 recorded, 5 edge cases, 6 made at random",
        "3.1\u00a0×\u00a010⁻⁵ (1.1\u00a0×\u00a010⁻⁹ of the largest answer)",
        "2.4\u00a0×\u00a010⁻⁶",
        "27,400",
        "float64 to float32",
        "switched off",
        "17",
    ):
        assert words in table
    visit.page.locator(VERIFY).locator("input[value=L2]").check()
    assert "Also translates its original once more" in visit.text(VERIFY)
    assert visit.page.get_by_role("button", name="Translate to ONNX").count() == 0
    node = visit.page.locator(".lineage .node[data-kind=translation]")
    assert "ONNX translation" in node.first.text_content()
    visit.page.locator("#library-view .card:has(h2:text-is('Translation'))").get_by_role("link", name="pv-gru").click()
    visit.page.locator("#library-view .asset h1", has_text="pv-gru").wait_for()
    link = visit.page.locator(".lineage a.node[data-kind=translation]")
    link.first.wait_for()
    inside = """(graph) => { const edge = graph.getBoundingClientRect(); const own = graph.querySelector("[data-here]").getBoundingClientRect();
      return own.left >= edge.left && own.right <= edge.right + 1; }"""
    assert visit.page.locator(".graph").evaluate(inside)
    assert link.first.get_attribute("href") == f"#library/{name_of('md', 9)}"


@desktop
def test_a_snapshot_shows_where_it_comes_from(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("md", 10), "pv-rls")
    text = visit.text("#library-view .card:has(h2:text-is('Snapshot of an online model'))")
    for words in ("Online model\npv-rls", "Key\ntrio", "positions 1 to 86,411: 86,411 records", digest("range")):
        assert words in text
    visit.page.get_by_text("The contract, read from the chain").click()
    assert "4 of 200 anchored together, shown by 8 digests" in visit.text(RECORDED)
    assert "online snapshot" in (visit.page.locator(".lineage [data-here]").text_content() or "")
    visit.page.get_by_role("radio", name="L2").check(force=True)
    assert "replays 86,411 records of the log" in visit.text("#level-help")


def test_each_check_is_shown_as_it_ends_and_then_the_level(visit: Visit, hub: Site) -> None:
    address = hub()
    opened(visit, address, name_of("md", 1), "pv-gru")
    ladder(visit)
    visit.page.locator(f"{VERIFY} .verdict").wait_for()
    lines = visit.page.locator(f"{VERIFY} .checks li")
    assert lines.evaluate_all("all => all.map((one) => one.dataset.state)") == ["passed"] * 4
    assert "0.21 s" in lines.last.inner_text() and "2 files, 84,554 bytes" in lines.last.inner_text()
    verdict = visit.text(f"{VERIFY} .verdict")
    assert "Level L1 intact" in verdict and "on a single-operator chain" in verdict
    assert "What was not checked:" in verdict and "times are the operator's clock" in verdict
    assert f"POST /verify/{name_of('md', 1)}" in calls(address)


@desktop
def test_a_failed_check_and_a_revoked_model_reach_no_higher(visit: Visit, hub: Site) -> None:
    address = hub()
    opened(visit, address, name_of("md", 7), "dropout net")
    assert "it is not reproducible" in visit.text(VERIFY)
    ladder(visit)
    visit.page.locator(f"{VERIFY} .verdict[data-look=failed]").wait_for()
    assert "At least one check failed." in visit.text(f"{VERIFY} .verdict")
    assert "leaf 0 differs" in visit.text(f"{VERIFY} .checks [data-state=failed]")
    opened(visit, address, name_of("md", 6), "vendor forecast")
    ladder(visit, "L0")
    visit.page.locator(f"{VERIFY} .verdict[data-look=failed]").wait_for()
    assert "No level reached" in visit.text(f"{VERIFY} .verdict")


@desktop
def test_a_long_one_is_cancelled(visit: Visit, hub: Site) -> None:
    opened(visit, hub(), name_of("md", 1), "pv-gru")
    visit.page.get_by_role("radio", name="L2").check(force=True)
    visit.wait("document.querySelector('#level-help').textContent.endsWith('as the training did: 12 min 30 s.')")
    ladder(visit)
    running = visit.page.locator(f"{VERIFY} .checks [data-state=running]", has_text="epoch 2 of 20")
    running.wait_for()
    assert visit.page.locator(f"{VERIFY} progress").is_visible()
    assert visit.page.locator(f"{VERIFY} progress").evaluate("bar => bar.value") == 0.1
    assert visit.page.get_by_role("button", name="Verify", exact=True).is_disabled()
    visit.page.get_by_role("button", name="Cancel", exact=True).click()
    visit.wait(f"document.querySelector('{VERIFY} .trouble').textContent.includes('the checks below were made')")
    assert not visit.page.locator(f"{VERIFY} progress").is_visible()
    assert visit.page.locator(f"{VERIFY} .checks li").count() == 4  # what was running is no check


@desktop
def test_refusals_and_broken_answers_stand_beside_the_form(visit: Visit, hub: Site) -> None:
    address = hub()
    opened(visit, address, name_of("ds", 4), "scribbles")
    ladder(visit)
    visit.wait(f"document.querySelector('{VERIFY} .trouble').textContent.startsWith('The answer broke off')")
    assert visit.page.locator(f"{VERIFY} .verdict").count() == 0
    opened(visit, address, name_of("md", 3), "turbine faults")
    ladder(visit, "L2")
    visit.wait(f"document.querySelector('{VERIFY} .trouble').textContent.includes('may have')")
    visit.page.get_by_role("link", name="Model card").click()
    visit.wait(f"document.querySelector('{RECORDED} .said')?.textContent === 'It is held: its result may not be shown'")
    visit.forgive(403)


@desktop
@pytest.mark.parametrize(
    ("link", "filename"), [("Download bundle", "bundle"), ("Model card", "md"), ("Bill of materials", "cdx.json")]
)
def test_what_shows_it_elsewhere_is_taken_away(visit: Visit, hub: Site, link: str, filename: str) -> None:
    opened(visit, hub(), name_of("md", 1), "pv-gru")
    with visit.page.expect_download() as download:
        visit.page.get_by_role("link", name=link).click()
    assert download.value.suggested_filename == f"{name_of('md', 1)}.{filename}"
    assert name_of("md", 1) in download.value.path().read_text()


@desktop
def test_a_model_is_translated_or_the_reason_is_said(visit: Visit, hub: Site) -> None:
    address = hub()
    opened(visit, address, name_of("md", 4), "pv-lstm")
    visit.page.get_by_role("button", name="Translate to ONNX").click()
    visit.wait(
        "document.querySelector('#library-view .said').textContent.includes('has not completed: it is training')"
    )
    opened(visit, address, name_of("md", 1), "pv-gru")
    visit.page.get_by_role("button", name="Translate to ONNX").click()
    visit.page.get_by_role("heading", name="pv-gru (ONNX)").wait_for()
    opened(visit, address, name_of("md", 10), "pv-rls")
    assert visit.page.get_by_role("button", name="Translate to ONNX").count() == 0, "its weights are no network"
    visit.forgive(409)


@desktop
def test_revoking_asks_for_a_reason(visit: Visit, hub: Site) -> None:
    address = hub()
    opened(visit, address, name_of("ds", 1), "pv-2019")
    visit.page.get_by_role("button", name="Revoke…").click()
    visit.page.locator("dialog").get_by_role("button", name="Revoke the dataset").click()
    assert visit.page.evaluate("document.activeElement.id") == "ask-field"  # without a reason nothing is done
    visit.page.get_by_label("Reason, to be read by everybody").fill("the meter was wired the wrong way round")
    assert "for ever and for everybody" in confirm(visit, "Revoke the dataset")
    visit.wait("document.querySelector('#library-view .badges').textContent.startsWith('Revoked')")
    assert "not to be relied on any more: the meter was wired" in visit.text("#library-view .notes-in-words")
    assert visit.page.get_by_role("button", name="Revoke…").count() == 0
    assert f"POST /datasets/{name_of('ds', 1)}/revoke" in calls(address)
    opened(visit, address, name_of("md", 1), "pv-gru")
    visit.wait("document.querySelector('#library-view .notes-in-words').textContent.includes('Made of something')")
    assert "revoked: pv-2019, the meter was wired" in visit.text("#library-view .notes-in-words")
    opened(visit, address, name_of("md", 6), "vendor forecast")
    assert visit.page.get_by_role("button", name="Translate to ONNX").count() == 0
