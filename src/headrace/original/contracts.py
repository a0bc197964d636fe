"""The original platform's contracts: as its client sends and reads them, and what our records and claims are in its words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from headrace.assets import Dataset, Model, Plain
from headrace.errors import BadInput, NotFound
from headrace.services.documents import sentence
from headrace.services.sharing.requests import NewRecipe
from headrace.services.verification.declaring import SCHEMA, Declared, Kind

Word: TypeAlias = Annotated[str, StringConstraints(max_length=1000)]
Given = TypeVar("Given", bound=BaseModel)
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)


class DatasetContract(Plain):
    """Terms of a dataset."""

    organization_id: Word
    samples_dimension: Word
    size_bytes: int | None = Field(default=None, ge=0)
    hash: Word | None = None


class ModelParams(Plain):
    """Whose model it is, and what trains it."""

    developer_id: Word
    organization_id: Word
    train_image: Word
    res_hash: Word | None = None


class DataParams(Plain):
    """What it is trained on."""

    dataset_id: Word


class ModelContract(Plain):
    """Terms of a model that is trained here."""

    model_config = ConfigDict(protected_namespaces=())

    model_params: ModelParams
    data_params: DataParams


class ModelContractUnverified(Plain):
    """Terms of a model that was trained elsewhere."""

    developer_id: Word
    organization_id: Word
    hash: Word | None = None


class ChapterParams(BaseModel):
    """`model_params` of the chapter's form; what it says beside these is kept with the description."""

    params: dict[str, Any] = Field(default={}, description="hyper-parameters, or the JSON of them in a string")
    seeds: dict[str, Any] | None = None
    train_image: Word = ""


class ChapterModel(BaseModel):
    """`metadata` of the chapter's form."""

    model_config = ConfigDict(protected_namespaces=())

    model_params: ChapterParams = ChapterParams()
    data_params: DataParams | None = None


CONTRACTS: dict[Kind, type[Plain]] = {
    "dataset": DatasetContract,
    "model": ModelContract,
    "model_unverified": ModelContractUnverified,
}


def checked(kind: type[Given], body: bytes | dict[str, Any]) -> Given:
    """What was sent. Raises BadInput, with all that is wrong."""
    try:
        return kind.model_validate(body) if isinstance(body, dict) else kind.model_validate_json(body)
    except ValidationError as error:
        raise BadInput(detail=sentence(error.errors())) from error


def free(body: bytes) -> dict[str, Any]:
    """Any JSON object. Raises BadInput.

    >>> free(b""), free(b'{"epochs": 2}')
    ({}, {'epochs': 2})
    """
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadInput(detail=f"this is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(detail="a JSON object is needed, like {}")
    return found


def chapter_model(body: bytes) -> ChapterModel:
    """The chapter's metadata of a model; its ``params`` may be JSON in a string. Raises BadInput."""
    found = free(body)
    params = found.get("model_params")
    if isinstance(params, dict) and isinstance(params.get("params"), str):
        found["model_params"] = {**params, "params": free(params["params"].encode())}
    return checked(ChapterModel, found)


def recipe_of(params: Mapping[str, Any], seeds: Mapping[str, Any] | None, image: str, dataset: str) -> NewRecipe:
    """A recipe of these terms. Raises BadInput."""
    given: dict[str, Any] = {"parameters": dict(params), "datasets": [dataset] if dataset else []}
    given |= {"environment": {"image": image}} if image else {}
    given |= {"seeds": dict(seeds)} if seeds else {}
    return checked(NewRecipe, given)


def bare(hash: str) -> str:
    """A hash without the name of its function.

    >>> bare("sha256:00FF"), bare("00ff")
    ('00ff', '00ff')
    """
    return hash.strip().lower().removeprefix("sha256:")


def sha256_of(hash: str | None) -> str:
    """A declared hash as one that can be compared with a content; "": there is none, or it is of another function.

    >>> sha256_of("AB" * 32) == "sha256:" + "ab" * 32, sha256_of("d41d8cd98f00b204e9800998ecf8427e")
    (True, '')
    """
    found = _SHA256.fullmatch(hash or "")
    return f"sha256:{found[1].lower()}" if found else ""


def result_hash(model: Model) -> str | None:
    """The hash of a model's result: of one file its SHA-256, of several the digest over their names and digests."""
    if not model.files:
        return None
    return bare(model.files[0].stored.sha256 if len(model.files) == 1 else model.digest)


def dataset_metadata(dataset: Dataset, declared: Declared | None) -> dict[str, Any]:
    """A registered dataset as a contract, with our record beside it; the words of what was declared of it before go first."""
    shape = dataset.sample_shape
    terms: dict[str, Any] = {
        "organization_id": dataset.company,
        "samples_dimension": "" if shape is None else str(tuple(shape)),
    }
    terms |= {"size_bytes": dataset.stored.size, "hash": bare(dataset.stored.sha256)}
    return {"dataset_id": dataset.id, **_state(dataset, "registered", declared), **terms, **_terms(declared)}


def model_metadata(model: Model, declared: Declared | None) -> dict[str, Any]:
    """The same of a model; its hash is that of what it now is."""
    said, recipe = _terms(declared), model.recipe
    params = {
        "developer_id": model.created_by,
        "organization_id": model.company,
        "train_image": recipe.environment.image if recipe else "",
        **_whose(said),
        "res_hash": result_hash(model),
    }
    dataset = said.get("data_params", {}).get("dataset_id") or (model.datasets[0] if model.datasets else "")
    stated = _state(model, model.state, declared)
    return {"model_id": model.id, **stated, "model_params": params, "data_params": {"dataset_id": dataset}}


def waiting_metadata(id: str, declared: Declared) -> dict[str, Any]:
    """What was declared and has no content yet."""
    said = {"state": "waiting", "contract_address": declared.address, "declared_in": declared.address}
    if declared.kind == "dataset":
        return {"dataset_id": id, **said, **declared.terms}
    terms = declared.terms
    if declared.kind == "model_unverified":
        params = {"train_image": "", "res_hash": terms.get("hash"), **_whose(terms)}
        terms = {"model_params": params, "data_params": {"dataset_id": ""}}
    return {"model_id": id, **said, **terms}


def _state(asset: Dataset | Model, state: str, declared: Declared | None) -> dict[str, Any]:
    return {
        "state": state,
        "contract_address": asset.contract,
        "declared_in": declared.address if declared else "",
        "anchoring": asset.anchoring,
        "record": asset.model_dump(mode="json"),
    }


def _terms(declared: Declared | None) -> dict[str, Any]:
    return declared.terms if declared else {}


def _whose(terms: Mapping[str, Any]) -> dict[str, Any]:
    """The `model_params` of either contract of a model, but for its hash."""
    found = terms.get("model_params", terms)
    return {name: found[name] for name in ("developer_id", "organization_id", "train_image") if name in found}


def hashes_of(said: Mapping[str, Any]) -> set[str]:
    """What a contract says of a content, any of which names it: hashes, bare.

    Args:
        said: `Verification.contract`.
    """
    claim, result = said["opened"] or said["claim"], said["result_opened"] or said["result"] or {}
    if claim.get("schema") == SCHEMA:
        terms = claim["declared"]
        found = [terms.get("hash"), terms.get("model_params", {}).get("res_hash")]
    else:
        found = [part.get(name) for part in (claim, result) for name in ("sha256", "digest")]
        files = result.get("files") or claim.get("files") or []
        found += [files[0]["sha256"]] if len(files) == 1 else []
    return {bare(one) for one in found if isinstance(one, str) and one}


def contract_of(kind: Kind, said: Mapping[str, Any]) -> dict[str, Any]:
    """A contract in the original's words, from what the chain says. Raises NotFound: it is one of another kind."""
    claim = said["opened"] or said["claim"]
    declared = claim.get("schema") == SCHEMA
    own = claim.get("kind", "dataset")
    is_one = own if declared or own in CONTRACTS else "model_unverified"
    if kind != is_one:
        place = f"/contract/{is_one}/{said['address']}"
        raise NotFound(detail=f"{said['address']} is there, as a contract of a {is_one}, not of a {kind}: {place}")
    if declared:
        return dict(claim["declared"])
    if kind == "dataset":
        shape = claim.get("sample_shape")
        dimension = "" if shape is None else str(tuple(shape))
        terms: dict[str, Any] = {"organization_id": claim["company"], "samples_dimension": dimension}
        return terms | {"size_bytes": claim["size"], "hash": bare(claim["sha256"])}
    whose = {"developer_id": "", "organization_id": claim["company"]}
    result = said["result_opened"] or said["result"] or claim
    files = result.get("files") or []
    hash = bare(files[0]["sha256"] if len(files) == 1 else result.get("digest", "")) or None
    if kind == "model_unverified":
        return whose | {"hash": hash}
    image = claim.get("recipe", {}).get("environment", {}).get("image", "")
    dataset = next((one["id"] for one in claim.get("datasets", [])), "")
    params = whose | {"train_image": image, "res_hash": hash}
    return {"model_params": params, "data_params": {"dataset_id": dataset}}
