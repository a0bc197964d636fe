"""Claims: what they say, what they leave out, and how a record is compared with one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import claims
from headrace.assets import Dataset, Model, OutputFile, Recipe, Stored
from headrace.errors import Tampered
from headrace.services.verification.sealing import Sealing, opened
from headrace.settings import VerificationSettings
from headrace.trust.keyring import Keyring

S = Stored(size=3, sha256="sha256:" + "a" * 64, root="sha256:" + "b" * 64)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def dataset(**more: Any) -> Dataset:
    common: dict[str, Any] = {"id": "ds_1", "company": "acme", "name": "d", "created_ms": 1, "created_by": "ann"}
    return Dataset(**{**common, "media": "csv", "filename": "d.csv", "stored": S, **more})


def model(**more: Any) -> Model:
    common: dict[str, Any] = {"id": "md_1", "company": "acme", "name": "m", "created_ms": 1, "created_by": "ann"}
    return Model(
        **{**common, "state": "uploaded", "files": [OutputFile(path="w", stored=S)], "digest": "sha256:1", **more}
    )


def trained(**more: Any) -> Model:
    recipe = Recipe(code=S, datasets=["ds_1"], evaluation=["ds_2"], parameters={"rate": 0.5})
    return model(state="trained", recipe=recipe, datasets=["ds_1"], metrics={"loss": 0.5}, **more)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=6))
def test_canonical_bytes_are_the_same_after_a_journey(claim: dict[str, Any]) -> None:
    try:
        text = claims.canonical(claim)
    except UnicodeEncodeError:  # half a surrogate pair: no text
        return
    assert claims.canonical(json.loads(text)) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_is_no_claim(value: float) -> None:
    with pytest.raises(ValueError):
        claims.canonical({"a": value})


@given(JSON, st.integers(100, 400))
def test_a_shortened_claim_says_the_same(statistics: Any, limit: int) -> None:
    try:
        claims.canonical({"": statistics})
    except UnicodeEncodeError:
        return
    one = dataset(statistics={"found": statistics, "more": ["x" * 50] * 3})
    claim = json.loads(claims.canonical(claims.shortened(claims.dataset_claim(one), limit)))
    assert claims.differences(one, claim) == []
    other = one.model_copy(update={"statistics": {"found": statistics, "more": ["y" * 50] * 3}})
    assert claims.differences(other, claim) == ["statistics"]


def test_only_parts_that_may_go_are_shortened() -> None:
    claim = claims.shortened(claims.dataset_claim(dataset(statistics={"a": "x" * 1000})), 10)
    assert claim["id"] == "ds_1" and claim["sha256"] == S.sha256 and claim["root"] == S.root
    assert set(claim["statistics"]) == {"digest", "bytes"}


CHANGES: dict[str, dict[str, Any]] = {
    "name": {"name": "other"}, "company": {"company": "bolt"}, "created_ms": {"created_ms": 2}, "datasets": {"datasets": ["ds_9"]},
    "parent": {"parent": "md_9"}, "digest": {"digest": "sha256:2"}, "metrics": {"metrics": {"loss": 0.1}},
    "parameters": {"parameters": 9}, "framework": {"framework": "torch"}, "job": {"job": "jb_9"},
    "fingerprint": {"fingerprint": "x"}, "metadata": {"metadata": {"a": 1}}, "input_shape": {"input_shape": [1]},
    "files": {"files": [OutputFile(path="v", stored=S)]},
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_field_is_named(name: str) -> None:
    one = trained()
    claim = claims.model_claim(one, [dataset(), dataset(id="ds_2")])
    assert claims.differences(one, claim, claims.result_claim(one)) == []
    changed = one.model_copy(update=CHANGES[name])
    assert claims.differences(changed, claim, claims.result_claim(one)) == [name]


def test_what_came_later_is_no_difference() -> None:
    one = trained()
    later = one.model_copy(
        update={
            "metrics": {**one.metrics, "ds_9": {"job": "jb_2", "loss": 1.0}},
            "reproducible": "reproduced",
            "description": "better words",
            "contract": "0x1",
            "anchoring": "anchored",
        }
    )
    claim = claims.model_claim(one, [dataset(), dataset(id="ds_2")])
    assert claims.differences(later, claim, claims.result_claim(one)) == []


def test_what_an_older_version_did_not_claim_is_not_compared() -> None:
    one = trained()
    claim, result = claims.model_claim(one, [dataset(), dataset(id="ds_2")]), claims.result_claim(one)
    del claim["recipe"]["deterministic"], claim["created_ms"], result["fingerprint"]
    assert claims.differences(one, claim, result) == []
    assert claims.differences(one, {**claim, "recipe": {**claim["recipe"], "parameters": {}}}, result) == ["recipe"]
    assert claims.differences(one, {**claim, "recipe": {**claim["recipe"], "seeds": "no"}}, result) == ["recipe"]
    assert claims.differences(one.model_copy(update={"recipe": None}), claim)  # another kind


def test_of_a_secret_input_only_its_contract_is_told() -> None:
    secret = dataset(confidential=True, contract="0x1")
    claim = claims.model_claim(trained(), [secret, dataset(id="ds_2")])
    assert claim["datasets"] == [{"id": "ds_1", "contract": "0x1"}] and "sha256" in claim["evaluation"][0]
    held = model(held_for=["bolt"])
    assert claims.model_claim(model(id="md_2", parent="md_1"), [held])["parent"] == {"id": "md_1", "contract": ""}


def test_of_another_companys_input_only_its_contract_is_told() -> None:
    theirs = dataset(company="bolt", contract="0x1", name="plans of bolt")
    one = trained(parent="md_9")
    claim = claims.model_claim(one, [theirs, dataset(id="ds_2"), model(id="md_9", company="bolt", contract="0x2")])
    assert claim["datasets"] == [{"id": "ds_1", "contract": "0x1"}] and "sha256" in claim["evaluation"][0]
    assert claim["parent"] == {"id": "md_9", "contract": "0x2"}
    assert S.sha256 not in json.dumps(claim["datasets"]) and "plans" not in json.dumps(claim)
    assert claims.differences(one, claim) == []
    assert claims.differences(one.model_copy(update={"datasets": ["ds_8"]}), claim) == ["datasets"]


def test_large_parts_of_a_recipe_are_on_no_chain() -> None:
    recipe = Recipe(code=S, datasets=["ds_1"], parameters={f"p{number}": "x" * 200 for number in range(250)})
    one = model(state="trained", recipe=recipe, datasets=["ds_1"])
    claim = claims.shortened(claims.model_claim(one, [dataset()]), VerificationSettings().claim_bytes)
    assert len(claims.canonical(claim)) < 2000 and set(claim["recipe"]) == {"digest", "bytes"}
    assert claims.differences(one, claim) == []
    other = one.model_copy(update={"recipe": recipe.model_copy(update={"parameters": {}})})
    assert claims.differences(other, claim) == ["recipe"]


def test_many_inputs_are_told_by_their_contracts() -> None:
    many = [dataset(id=f"ds_{number}", contract=f"0x{number:040}") for number in range(256)]
    one = model(state="trained", recipe=Recipe(code=S), datasets=[data.id for data in many], parent="md_9")
    claim = claims.shortened(claims.model_claim(one, [*many, model(id="md_9")]), 16_384)
    assert claim["datasets"][7] == {"id": "ds_7", "contract": f"0x{7:040}"}
    assert claim["parent"] == {"id": "md_9", "digest": "sha256:1", "contract": ""}, "nothing else binds it"
    assert len(claims.canonical(claim)) < 24_000 and claims.differences(one, claim) == []
    few = claims.shortened(claims.model_claim(one, many[:2]), 16_384)
    assert "sha256" in few["datasets"][0] and few["parent"] is None


def test_what_has_to_be_sealed() -> None:
    assert claims.is_secret(dataset(confidential=True)) and not claims.is_secret(dataset())
    assert claims.is_secret(model(held_for=["bolt"]))  # it says its content at once
    assert not claims.is_secret(trained(held_for=["bolt"])) and claims.is_secret(
        trained(held_for=["bolt"]), result=True
    )


def test_a_sealed_text_is_opened_by_its_own_key_only(tmp_path: Any) -> None:
    sealing = Sealing(Keyring(tmp_path / "keys", tmp_path / "master"))
    one, two = (sealing.seal("acme", "ds_1", text) for text in (b"one", b"two"))
    assert sealing.open(one) == b"one" and one.digest == claims.digest(one.ciphertext)
    assert opened(one.digest, "ds_1", one.ciphertext, sealing.key(one)) == b"one"
    with pytest.raises(Tampered):
        opened(one.digest, "ds_1", two.ciphertext, sealing.key(two))
    for wrong in (
        (one.digest, "ds_1", one.ciphertext, sealing.key(two)),
        (one.digest, "ds_2", one.ciphertext, sealing.key(one)),
    ):
        with pytest.raises(Tampered):
            opened(*wrong)
