"""What a report says of what it verified: from claims that may be anybody's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.assets import Model, Recipe
from headrace.claims import Check, Report, Summary, shortened
from headrace.commands.reporting import print_report
from headrace.services.verification.case import Case
from headrace.services.verification.ladder import _about
from headrace.services.verification.reading import Recorded
from headrace.services.verification.summing import kind_of, summary
from headrace.trust.ledgers import Receipt
from tests.bundled import stored
from tests.hub import ACME, BOLT

TRANSLATION: dict[str, Any] = {
    "schema": "headrace/model/1", "id": "md_2", "company": "acme", "name": "net (ONNX)", "created_ms": 5, "kind": "translation",
    "datasets": [], "parent": {"id": "md_1", "digest": "sha256:aa", "contract": "0x1"},
    "translation": {"of": "md_1", "exporter": "dynamo", "opset": 18, "parity": {"real": 0, "inputs": 38, "worst": 0.1}},
    "digest": "sha256:bb", "files": [{"path": "model.onnx", "size": 10, "sha256": "sha256:cc", "root": ""}],
    "metrics": {"mse": 0.5},
}  # fmt: skip
TRAINED: dict[str, Any] = {
    "schema": "headrace/model/1", "kind": "model", "name": "m", "company": "acme",
    "datasets": [{"id": "ds_1", "sha256": "sha256:1", "root": "", "contract": "0x2"}],
    "evaluation": [{"id": "ds_2", "contract": "0x3"}], "parent": {"id": "md_0", "digest": "sha256:0", "contract": ""},
    "recipe": {"parameters": {"epochs": 3}, "code": {"sha256": "sha256:c"}},
}  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_a_translation() -> None:
    found = summary(TRANSLATION, None, 9)
    assert (found.kind, found.digest, found.files, found.size) == ("translation", "sha256:bb", 1, 10)
    assert [(one.role, one.id, one.digest) for one in found.inputs] == [("original", "md_1", "sha256:aa")]
    assert found.details["parity"] == {"inputs": 38, "real": 0, "worst": 0.1}
    assert found.details["translation"] == {"of": "md_1", "exporter": "dynamo", "opset": 18}


def test_a_training_and_what_it_was_made_of() -> None:
    found = summary(TRAINED, {"digest": "sha256:d", "metrics": {"mse": 1.0}, "files": []})
    assert [(one.role, one.id, one.digest) for one in found.inputs] == [
        ("dataset", "ds_1", "sha256:1"),
        ("held-out dataset", "ds_2", ""),
        ("parent", "md_0", "sha256:0"),
    ]
    assert found.details["hyper_parameters"] == {"epochs": 3} and found.metrics == {"mse": 1.0}
    assert [one.digest for one in summary(TRAINED, None, digests=False).inputs] == ["", "", ""]
    assert (summary(TRAINED).digest, summary(TRAINED).metrics) == ("", {}), "no result is recorded"


def test_a_dataset_of_a_stream() -> None:
    stream = {"topic": "pv/#", "from_ms": 1, "to_ms": 2, "records": 3, "root": "sha256:r", "first_position": 7}
    found = summary({"schema": "headrace/dataset/1", "size": 9, "sha256": "sha256:1", "media": "csv", "stream": stream})
    assert (found.says, found.digest, found.size) == ("a dataset made of a stream", "sha256:1", 9)
    assert found.details["stream"] == {name: stream[name] for name in ("topic", "from_ms", "to_ms", "records", "root")}


def test_parts_that_a_claim_has_by_their_digest_only() -> None:
    cut = shortened(TRANSLATION, 300)
    assert cut["metrics"].keys() == {"digest", "bytes"}
    found = summary(cut)
    assert (found.metrics, found.files, found.details) == ({}, None, {})


@given(st.dictionaries(st.sampled_from([*TRANSLATION, *TRAINED, "size", "stream", "snapshot", "media"]), anything))
def test_whatever_a_claim_says_it_is_a_summary_that_can_be_printed(claim: dict[str, Any]) -> None:
    found = summary(claim, claim, 2**70)
    assert Summary.model_validate_json(found.model_dump_json()) == found and found.kind == kind_of(claim)
    print_report(
        Report(id="md_1", level="L1", says="", passed=True, checks=[], not_checked=[], about=found), as_json=False
    )


def test_a_long_list_is_cut_in_print_alone(capsys: pytest.CaptureFixture[str]) -> None:
    many = TRAINED | {"datasets": [{"id": f"ds_{at}", "contract": "0x2"} for at in range(40)]}
    found = summary(many, {"metrics": {f"m{at}": float(at) for at in range(30)}})
    assert len(found.inputs) == 42 and len(found.metrics) == 30
    report = Report(id="md_1", level="L1", says="intact", passed=True, checks=[], not_checked=["x"], about=found)
    print_report(report, as_json=False)
    told = capsys.readouterr().out
    assert "… and 30 more inputs" in told and "(30 in all)" in told and "ds_11" in told and "ds_13" not in told


def test_what_is_held_for_others_is_not_told() -> None:
    """Its record has no digest for whoever may not see it; what the ledger has is not told either."""
    recipe = Recipe(code=stored(b"code"), datasets=["ds_1"])
    held = Model(id="md_1", company="acme", name="m", created_ms=1, created_by="a", state="trained", held_for=["bolt"])
    place = Receipt("0x1", "0x2", 1, "0x3")
    claim, result = {**TRAINED, "id": "md_1"}, {"digest": "sha256:d", "metrics": {"mse": 1.0}}
    found = Recorded("md_1", "acme", "0x2", "0x4", place, b"", claim, b"", result)
    told = _about(Case(ACME, held.model_copy(update={"recipe": recipe}), found=found), [])
    assert told is not None and (told.digest, told.metrics, told.name) == ("", {}, "m")
    assert _about(Case(BOLT, held.model_copy(update={"recipe": recipe}), found=found), []) is None
    uploaded = Recorded("md_1", "acme", "0x2", "0x4", place, b"", TRANSLATION)
    assert _about(Case(ACME, held, found=uploaded), []) is None
    released = held.model_copy(update={"recipe": recipe, "digest": "sha256:d", "held_for": []})
    seen = _about(Case(ACME, released, found=found), [])
    assert seen is not None and seen.metrics == {"mse": 1.0}
    wrong = Check(level="L0", name="claim", state="failed")
    assert _about(Case(ACME, released, found=found), [wrong]) is None, "its record is not what the ledger has"
