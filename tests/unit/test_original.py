"""Contracts of the original platform: what our claims and records are in its words, and its hashes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from headrace.errors import BadInput, NotFound
from headrace.original.contracts import DatasetContract, chapter_model, checked, contract_of, free, hashes_of

SHA, OTHER = "ab" * 32, "cd" * 32


def said(claim: dict[str, Any], result: dict[str, Any] | None = None, **opened: Any) -> dict[str, Any]:
    base = {"address": "0x1", "claim": claim, "result": result, "opened": None, "result_opened": None}
    return base | opened


def model(**more: Any) -> dict[str, Any]:
    recipe = {"environment": {"image": "img@sha256:00"}}
    return {"kind": "model", "company": "acme", "recipe": recipe, "datasets": [{"id": "ds_1"}, {"id": "ds_2"}], **more}


def files(*digests: str) -> list[dict[str, str]]:
    return [{"path": str(number), "sha256": f"sha256:{one}"} for number, one in enumerate(digests)]


def test_a_dataset() -> None:
    claim = {"company": "acme", "sample_shape": [500, 500], "size": 7, "sha256": f"sha256:{SHA}"}
    terms = {"organization_id": "acme", "samples_dimension": "(500, 500)", "size_bytes": 7, "hash": SHA}
    assert contract_of("dataset", said(claim)) == terms
    assert contract_of("dataset", said({"sealed": "x"}, opened=claim)) == terms
    assert contract_of("dataset", said(claim | {"sample_shape": None}))["samples_dimension"] == ""
    assert hashes_of(said(claim)) == {SHA}
    with pytest.raises(NotFound, match="is there, as a contract of a "):
        contract_of("model", said(claim))


def test_a_model_before_and_after_its_training() -> None:
    before = said(model())
    assert contract_of("model", before)["model_params"]["res_hash"] is None and hashes_of(before) == set()
    one = said(model(), {"digest": f"sha256:{OTHER}", "files": files(SHA)})
    found = contract_of("model", one)
    assert found["model_params"] == {
        "developer_id": "",
        "organization_id": "acme",
        "train_image": "img@sha256:00",
        "res_hash": SHA,
    }
    assert found["data_params"] == {"dataset_id": "ds_1"} and hashes_of(one) == {SHA, OTHER}
    several = said(model(), {"digest": f"sha256:{OTHER}", "files": files(SHA, SHA)})
    assert contract_of("model", several)["model_params"]["res_hash"] == OTHER and hashes_of(several) == {OTHER}


@pytest.mark.parametrize("kind", ["model_unverified", "translation", "snapshot"])
def test_what_was_not_trained_from_a_recipe_is_unverified(kind: str) -> None:
    claim = {"kind": kind, "company": "acme", "digest": f"sha256:{OTHER}", "files": files(SHA)}
    terms = {"developer_id": "", "organization_id": "acme", "hash": SHA}
    assert contract_of("model_unverified", said(claim)) == terms and hashes_of(said(claim)) == {SHA, OTHER}
    with pytest.raises(NotFound, match="is there, as a contract of a "):
        contract_of("model", said(claim))


def test_what_was_declared_is_read_as_it_was_sent() -> None:
    terms = {"model_params": {"res_hash": f"SHA256:{SHA.upper()}"}}
    claim = said({"schema": "headrace/declared/1", "kind": "model", "declared": terms})
    assert contract_of("model", claim) == terms and hashes_of(claim) == {SHA}
    with pytest.raises(NotFound, match="is there, as a contract of a "):
        contract_of("model_unverified", claim)


@pytest.fixture
def shallow() -> Iterator[None]:
    """The platform's own limit: py-evm, which runs in a process of its own there, raises it when a test imports it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("shallow")
def test_what_cannot_be_read_says_why() -> None:
    with pytest.raises(BadInput, match="samples_dimension: Field required; size: Extra inputs"):
        checked(DatasetContract, b'{"organization_id": "o", "size": 3}')
    for body in (b"[1]", b"{", b"\xff", b'"a"', b"[" * 100_000):
        with pytest.raises(BadInput):
            free(body)
    for wrong in (b'{"model_params": 1}', b'{"model_params": {"params": "[1]"}}', b'{"data_params": {}}'):
        with pytest.raises(BadInput):
            chapter_model(wrong)
    assert chapter_model(b'{"model_params": {"params": "{\\"a\\": 1}", "more": 2}}').model_params.params == {"a": 1}
