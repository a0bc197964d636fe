"""Whatever is changed in a bundle is caught: each a named case of `tests.tampering`, and every byte of the file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.claims import canonical
from headrace.errors import BadInput, HeadraceError, Revoked, Tampered, UnknownSigner
from headrace.services.verification.bundles import write
from headrace.services.verification.knowing import Pins
from headrace.services.verification.offline import examine
from headrace.services.verification.sayings import Saying
from headrace.trust.ledgers import Deploy, Record
from tests import tampering
from tests.bundled import KINDS, Made, dataset, model, signer


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One of each kind."""
    return KINDS[request.param](tmp_path_factory.mktemp("made"), "acme")


def refused(data: bytes, folder: Path, pins: Pins) -> HeadraceError:
    """Why a file is refused; fails if it is not."""
    path = folder / "forged.bundle"
    path.write_bytes(data)
    checks = []
    with pytest.raises((Tampered, UnknownSigner)) as caught:
        examine(path, pins, checks.append)
    assert checks[-1].state == "failed" and all(check.state == "passed" for check in checks[:-1])
    return caught.value


def all_refused(cases: Iterator[tuple[str, tampering.Parts]], made: Made) -> int:
    """That every one of them is Tampered; how many there were."""
    count = 0
    for name, parts in cases:
        count += 1
        try:
            error = refused(tampering.packed(parts), made.folder, made.pins)
        except pytest.fail.Exception:
            pytest.fail(f"not noticed: {name}")
        assert isinstance(error, Tampered), name
    return count


def test_the_good_one_passes(made: Made) -> None:
    path = made.write()
    assert examine(path, made.pins).level == "L1"
    assert tampering.packed(tampering.parts_of(path)) == path.read_bytes()  # so refusals below are not of the packing


def test_a_byte_of_any_part(made: Made) -> None:
    assert all_refused(tampering.bytes_flipped(tampering.parts_of(made.write())), made) > 15


def test_parts_missing_or_changed(made: Made) -> None:
    assert all_refused(tampering.parts_changed(tampering.parts_of(made.write())), made) > 15


def test_a_field_of_claim_or_result(made: Made) -> None:
    assert all_refused(tampering.claims_changed(tampering.parts_of(made.write())), made) > 15


def test_a_value_of_the_evidence(made: Made) -> None:
    assert all_refused(tampering.evidence_changed(tampering.parts_of(made.write())), made) > 20


def test_evidence_of_other_types(made: Made) -> None:
    assert all_refused(tampering.of_other_types(tampering.parts_of(made.write())), made) > 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "sha256", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(
        ["schema", "id", "company", "files", "digest", "recipe", "signer", "size", "root", "sha256", "x"]
    ),
    value=JSON | st.sampled_from(["headrace/dataset/1", "headrace/model/1", "../x", "a\u0000b"]),
    kind=st.sampled_from(["dataset", "model", "snapshot"]),
)
def test_a_company_may_record_anything(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: Any, kind: str
) -> None:
    """A claim is whatever its company sent to the ledger: what does not hold together is refused, and nothing else happens."""
    folder = tmp_path_factory.getbasetemp() / "anything"
    folder.mkdir(exist_ok=True)
    made = KINDS[kind](folder, "acme")
    text = canonical(json.loads(made.sayings["claim"].text) | {name: value})
    kinds = "dataset" if str(json.loads(text)["schema"]).startswith("headrace/dataset/") else "model"
    made.index["claim"], contract = made.ledger.do("acme", Deploy(kinds, text))  # type: ignore[arg-type]
    made.sayings["claim"] = Saying(text, {})
    if result := made.sayings.get("result"):
        made.index["result"], _ = made.ledger.do("acme", Record(contract, result.text))
    with contextlib.suppress(Tampered, Revoked):
        examine(made.write(), made.pins)


def test_a_claim_that_is_nested_as_deep_as_can_be(tmp_path: Path) -> None:
    made = dataset(tmp_path)
    depths = []
    for depth in range(880, 1000, 3):
        text = made.sayings["claim"].text[:-1] + b',"z":' + b"[" * depth + b"]" * depth + b"}"
        made.index["claim"], _ = made.ledger.do("acme", Deploy("dataset", text))
        with contextlib.suppress(RecursionError, Tampered):
            write(
                tmp_path / "deep",
                {"claim": Saying(text, made.ledger.evidence(made.index["claim"]))},
                made.files,
                signer("acme"),
            )
            depths.append(depth)
            examine(tmp_path / "deep", made.pins)
    assert depths


def test_a_forgers_statement(made: Made) -> None:
    forger = signer("mallory")
    assert all_refused(tampering.statements_forged(tampering.parts_of(made.write()), forger), made) > 20


def test_a_forger_who_signs_all_anew(made: Made) -> None:
    parts = tampering.wholly_forged(tampering.parts_of(made.write()), signer("mallory"))
    error = refused(tampering.packed(parts), made.folder, made.pins)
    assert isinstance(error, Tampered) and "the record on the ledger names" in str(error)


def test_a_forger_where_the_record_names_no_key(tmp_path: Path) -> None:
    """Then only who pinned the company's key can tell."""
    made = dataset(tmp_path, names_signer=False)
    parts = tampering.wholly_forged(tampering.parts_of(made.write()), signer("mallory"))
    assert isinstance(refused(tampering.packed(parts), tmp_path, Pins(made.pins.keys)), UnknownSigner)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_another_company(kind: str, tmp_path: Path) -> None:
    mine, theirs = KINDS[kind](tmp_path, "acme"), KINDS[kind](tmp_path, "borg")
    pins = Pins(mine.pins.keys | theirs.pins.keys, mine.pins.operators)
    cases = tampering.swapped(tampering.parts_of(mine.write("a")), tampering.parts_of(theirs.write("b")))
    count = 0
    for name, parts in cases:
        count += 1
        assert isinstance(refused(tampering.packed(parts), tmp_path, pins), Tampered), name
    assert count > 5


def test_parts_of_an_earlier_training(tmp_path: Path) -> None:
    """The result of another model of the same company, by the same account on the same ledger, signed with the same key."""
    mine = model(tmp_path)
    other = model(tmp_path, weights=b"older weights", id="md_older", ledger=mine.ledger)
    cases = tampering.swapped(tampering.parts_of(mine.write("a")), tampering.parts_of(other.write("b")))
    names = [name for name, parts in cases if refused(tampering.packed(parts), tmp_path, mine.pins)]
    assert "result of another" in names and "result/evidence.json of another" in names


def test_a_training_without_its_result(tmp_path: Path) -> None:
    made = model(tmp_path)
    with pytest.raises(Tampered, match="no result is recorded"):
        examine(made.write(without=["result"]), made.pins)


@pytest.mark.parametrize("kind", KINDS)
def test_a_revocation_is_shown(kind: str, tmp_path: Path) -> None:
    mine = KINDS[kind](tmp_path, "acme")
    mine.revoke("trained on the wrong year")
    with pytest.raises(Revoked, match="wrong year"):
        examine(mine.write(), mine.pins)


def test_a_revocation_left_out_is_said_to_be_possible(tmp_path: Path) -> None:
    made = model(tmp_path)
    made.revoke("trained on the wrong year")
    report = examine(made.write(without=["revocation"]), made.pins)
    assert "nor one that was left out of the bundle" in report.not_checked[0]


def test_a_revocation_of_something_else(tmp_path: Path) -> None:
    mine = model(tmp_path)
    other = model(tmp_path, id="md_older", ledger=mine.ledger)
    other.revoke("too old")
    parts = tampering.parts_of(mine.write("a"))
    theirs = {
        path: data for path, data in tampering.parts_of(other.write("b")).items() if path.startswith("revocation/")
    }
    artifact = {path: data for path, data in parts.items() if path.startswith("artifact/")}
    rest = {path: data for path, data in parts.items() if path not in artifact}
    assert isinstance(refused(tampering.packed(rest | theirs | artifact), tmp_path, mine.pins), Tampered)


def test_containers(tmp_path: Path) -> None:
    made = dataset(tmp_path)
    good = made.write()
    cases = dict(tampering.containers(good.read_bytes(), tampering.parts_of(good)))
    for name, data in cases.items():
        assert isinstance(refused(data, tmp_path, made.pins), Tampered), name
    assert len(cases) > 20


def test_listings(tmp_path: Path) -> None:
    made = dataset(tmp_path)
    for name, data in tampering.listings(tampering.parts_of(made.write())):
        assert isinstance(refused(data, tmp_path, made.pins), Tampered), name


def test_every_byte_of_the_file(tmp_path: Path) -> None:
    """Each byte in turn, in the container as in what it contains."""
    made = dataset(tmp_path, data=b"1\n")
    path = made.write()
    with path.open("r+b", buffering=0) as file:
        good = path.read_bytes()
        for place, byte in enumerate(good):
            file.seek(place)
            file.write(bytes([byte ^ (1 << place % 8)]))
            with pytest.raises(Tampered):
                examine(path, made.pins)
            file.seek(place)
            file.write(bytes([byte]))
    assert examine(path, made.pins).passed


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_any_bytes_anywhere(made: Made, data: st.DataObject) -> None:
    """Any change of any length at any place."""
    good = made.write().read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 40)))
    new = data.draw(st.binary(max_size=40))
    if good[start:end] != new:
        refused(good[:start] + new + good[end:], made.folder, made.pins)


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", Path("/dev/null")):
        with pytest.raises(BadInput):
            examine(path, Pins())
