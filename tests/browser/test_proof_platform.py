"""The real platform with a ledger, in a real browser: recorded, verified check by check, changed on the disk, revoked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_proof import RECORDED, VERIFY, ladder
from tests.browser.visits import Visit
from tests.flow.test_anchoring_platform import anchored, headrace
from tests.running import Up
from tests.translating import line

pytest.importorskip("playwright.sync_api")
pytest.importorskip("eth")
desktop = pytest.mark.parametrize("visit", ["desktop"], indirect=True)
CONTENT = "hour,power\n1,20.5\n2,21.25\n"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("proof") / "data", "--ledger", "embedded") as up:
        yield up
        assert up.stop() == 0


def shown(visit: Visit, up: Up, folder: Path, name: str) -> dict[str, Any]:
    """A dataset that was registered and anchored, opened on the page."""
    file = folder / f"{name}.csv"
    file.write_text(CONTENT)
    made = json.loads(headrace(up, "dataset", "add", str(file), "--json"))
    record = anchored(up.http, up.token, f"/datasets/{made['id']}")
    visit.page.goto(up.login())
    visit.page.goto(f"{up.http}/#library/{made['id']}")
    visit.page.locator(f"{RECORDED} .contract").wait_for()
    return record


def verdict(visit: Visit, level: str = "") -> str:
    ladder(visit, level)
    visit.page.locator(f"{VERIFY} .verdict").wait_for()
    return visit.text(f"{VERIFY} .verdict")


@desktop
def test_a_dataset_is_recorded_verified_and_revoked(visit: Visit, up: Up, tmp_path: Path) -> None:
    record = shown(visit, up, tmp_path, "meter")
    visit.page.get_by_text("The contract, read from the chain").click()
    text = visit.text(RECORDED)
    assert all(one in text for one in ("Anchored", record["contract"], record["stored"]["sha256"]))
    assert "A single-operator chain: whoever runs this platform alone keeps it" in text
    assert "Level L1 intact" in (said := verdict(visit)) and "single-operator chain" in said
    states = "all => [...new Set(all.map((one) => one.dataset.state))]"
    assert visit.page.locator(f"{VERIFY} .checks li").evaluate_all(states) == ["passed"]
    with visit.page.expect_download() as download:
        visit.page.get_by_role("link", name="Download bundle").click()
    kept = tmp_path / "meter.bundle"
    download.value.save_as(kept)
    assert "not checked:\n- whose it is" in headrace(up, "verify", str(kept), "--offline", code=4)  # unknown signer
    visit.page.get_by_role("button", name="Revoke…").click()
    visit.page.get_by_label("Reason").fill("a broken meter")
    visit.page.locator("dialog").get_by_role("button", name="Revoke the dataset").click()
    visit.wait("document.querySelector('.notes-in-words').textContent.includes('a broken meter')")
    assert "No level reached" in verdict(visit, "L0")


@desktop
def test_a_changed_byte_is_seen_on_the_page(visit: Visit, up: Up, tmp_path: Path) -> None:
    shown(visit, up, tmp_path, "other")
    kept = [one for one in up.data.rglob("*") if one.is_file() and one.stat().st_size == len(CONTENT)]
    assert kept
    for one in kept:
        one.chmod(0o600)
        one.write_bytes(one.read_bytes().replace(b"21.25", b"21.26"))
    assert "Level L0 recorded" in (said := verdict(visit)) and "At least one check failed" in said
    assert visit.page.locator(f"{VERIFY} .checks [data-state=failed]").count() >= 1


@desktop
def test_a_model_is_translated_and_described(visit: Visit, up: Up, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "line.pt"
    file.write_bytes(line())
    original = json.loads(headrace(up, "model", "add", str(file), "--json"))["id"]
    anchored(up.http, up.token, f"/models/{original}")
    visit.page.goto(up.login())
    visit.page.goto(f"{up.http}/#library/{original}")
    visit.page.get_by_role("button", name="Translate to ONNX").click()
    visit.page.locator("dialog").get_by_role("button", name="Translate").click()
    visit.wait("document.querySelector('#library-view .said').textContent.includes('shape of its inputs is not known')")
    visit.page.get_by_role("button", name="Translate to ONNX").click()
    visit.page.get_by_label("Shape of one input").fill("3")
    visit.page.locator("dialog").get_by_role("button", name="Translate").click()
    visit.page.locator("#library-view .parity").wait_for()
    made = up.call("GET", f"/models/{visit.page.evaluate('location.hash').partition('/')[2]}").json()
    compared = made["translation"]["parity"]["inputs"]
    assert f"Inputs compared\t{compared}: none recorded," in visit.text("#library-view .parity")
    assert "Nothing recorded was compared" in visit.text("#library-view")
    for link in ("Model card", "Bill of materials"):
        with visit.page.expect_download() as download:
            visit.page.get_by_role("link", name=link).click()
        assert original in download.value.path().read_text()
    visit.page.locator(".lineage a.node", has_text="line").first.wait_for()
    visit.forgive(400)
