"""What is said of an asset where it cannot be changed any more, and what a verification found. Pure words.

A claim is a plain JSON object; `canonical` gives the bytes that are recorded and hashed: sorted keys, no spaces, UTF-8, no NaN.
Everything a third party needs to judge an asset stands in its claim, so that the chain alone answers. What must not be read
there (confidential assets, results that are held for others) stands there as the digest of an encrypted claim (`sealed_claim`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from pydantic import Field

from headrace.assets import Dataset, Model, OutputFile, Parity, Plain, Stored

Kind: TypeAlias = Literal["dataset", "model", "model_unverified", "translation", "snapshot"]
Level: TypeAlias = Literal["none", "L0", "L1", "L2"]
SEALED = "headrace/sealed/1"
DELETED, GONE = "deleted by its owner", "its company was deleted"
ENDED = frozenset({DELETED, GONE})
"""Reasons that the platform itself gives to the ledger when a content goes: they say nothing against what was made of it."""
INPUTS = frozenset({"datasets", "evaluation", "parent"})
KEPT = INPUTS | {"schema", "id", "company", "kind", "digest", "sha256", "root", "signer"}
"""Parts of a claim that are never left out of it."""
APART = frozenset({"limits", *INPUTS})
"""What a claim does not say of a recipe: how much it may use; and its inputs, which stand beside it."""
PARTS = frozenset({"recipe", "translation", "snapshot", "stream"})
"""Parts of a claim that are records themselves."""
LEVELS: dict[Level, str] = {
    "none": "not verified",
    "L0": "recorded: this record existed with this digest",
    "L1": "intact: the artifact is the one that was recorded",
    "L2": "re-derived: the recorded recipe and inputs give exactly this model",
}


def canonical(claim: Mapping[str, Any]) -> bytes:
    """The one text of a claim. Raises ValueError for NaN and what JSON does not know.

    >>> canonical({"b": 1, "a": [0.5, "ü"]})
    b'{"a":[0.5,"\\xc3\\xbc"],"b":1}'
    """
    return json.dumps(claim, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(data: bytes) -> str:
    """``sha256:…`` of a text."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_of(made: Iterable[OutputFile]) -> str:
    """Digest over names and digests of files, by name: sha256 of lines ``path NUL sha256 LF``."""
    lines = sorted(f"{file.path}\0{file.stored.sha256}\n".encode() for file in made)
    return f"sha256:{hashlib.sha256(b''.join(lines)).hexdigest()}"


def signed(claim: Mapping[str, Any], signer: str) -> dict[str, Any]:
    """A claim that names the key its company signs with, so that the ledger says whose signature to believe.

    Args:
        signer: fingerprint, ``sha256:…`` (`headrace.services.verification.signing`).
    """
    return {**claim, "signer": signer}


def kind_of(asset: Dataset | Model) -> Kind:
    """What kind of contract or leaf an asset has."""
    if isinstance(asset, Dataset):
        return "dataset"
    if asset.snapshot is not None:
        return "snapshot"
    if asset.translation is not None:
        return "translation"
    return "model" if asset.recipe is not None else "model_unverified"


def dataset_claim(dataset: Dataset) -> dict[str, Any]:
    """What the contract of a dataset says."""
    return {
        "schema": "headrace/dataset/1",
        **_common(dataset),
        "media": dataset.media,
        **_stored(dataset.stored),
        "samples": dataset.samples,
        "sample_shape": dataset.sample_shape,
        "statistics": dataset.statistics,
        "stream": dataset.stream and dataset.stream.model_dump(mode="json"),
    }


def model_claim(model: Model, inputs: Sequence[Dataset | Model] = (), sealed: Collection[str] = ()) -> dict[str, Any]:
    """What the contract of a model says when it is registered.

    Args:
        inputs: the records of its datasets, held-out datasets and parent, whose digests or contracts it is bound to.
        sealed: ids of those of which something recorded is sealed: it is not told here either.
    """
    claim: dict[str, Any] = {"schema": "headrace/model/1", **_common(model), "kind": kind_of(model)}
    known = {one.id: _input(one, model.company, one.id in sealed) for one in inputs}
    claim["datasets"] = [known[id] for id in model.datasets if id in known]
    claim["parent"] = known.get(model.parent)
    if recipe := model.recipe:
        claim["recipe"] = recipe.model_dump(mode="json", exclude=set(APART))
        claim["evaluation"] = [known[id] for id in recipe.evaluation if id in known]
    else:
        claim |= result_claim(model)
    if model.translation:
        claim["translation"] = model.translation.model_dump(mode="json")
    if model.snapshot:
        claim["snapshot"] = model.snapshot.model_dump(mode="json")
    return claim


def result_claim(model: Model) -> dict[str, Any]:
    """What is recorded once when a training has ended, and at once for models that were not trained from a recipe.

    Its metrics are those of the training: what evaluations found later is no part of it.
    """
    return {
        "digest": model.digest,
        "files": _files(model.files),
        "job": model.job,
        "framework": model.framework,
        "input_shape": model.input_shape,
        "output_shape": model.output_shape,
        "parameters": model.parameters,
        "metadata": model.metadata,
        "metrics": {name: value for name, value in model.metrics.items() if not isinstance(value, dict)},
        "fingerprint": model.fingerprint,
    }


def claim_of(
    asset: Dataset | Model, inputs: Sequence[Dataset | Model] = (), sealed: Collection[str] = ()
) -> dict[str, Any]:
    """The claim of any asset; see `model_claim`."""
    return dataset_claim(asset) if isinstance(asset, Dataset) else model_claim(asset, inputs, sealed)


def is_sealed(text: bytes) -> bool:
    """Whether what was recorded is nothing but the digest of an encrypted claim or result."""
    return bool(json.loads(text).get("schema") == SEALED)


def sealed_claim(asset: Dataset | Model, sealed: str) -> dict[str, Any]:
    """What the contract of a confidential asset says: nothing but the digest of its encrypted claim."""
    return {"schema": SEALED, "id": asset.id, "company": asset.company, "sealed": sealed}


def revocation_claim(asset: Dataset | Model, reason: str) -> dict[str, Any]:
    """What revokes an asset that has no contract of its own: a leaf of a later batch than its claim's."""
    return {"schema": "headrace/revocation/1", "id": asset.id, "company": asset.company, "reason": reason}


def has_result(asset: Dataset | Model) -> bool:
    """Whether it was trained from a recipe, so that a result is recorded beside its claim."""
    return isinstance(asset, Model) and asset.recipe is not None and bool(asset.files)


def is_secret(asset: Dataset | Model, result: bool = False) -> bool:
    """Whether a claim (or result) has to be sealed: it is confidential, or it says what is held for others."""
    if isinstance(asset, Dataset):
        return asset.confidential
    tells = result or asset.recipe is None
    return asset.confidential or (tells and bool(asset.held_for))


def shortened(claim: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """A claim of at most `limit` bytes: its largest parts stand there as their digests only. Those are compared like the parts.
    If that is not enough (many inputs), its inputs stand there by id and contract; that may still be more.

    >>> shortened({"id": "ds_1", "statistics": [1] * 100}, 150)["statistics"]["bytes"]
    201
    """
    made, sizes = dict(claim), {name: len(canonical({"": value})) for name, value in claim.items()}
    for name in sorted(sizes.keys() - KEPT, key=lambda name: (-sizes[name], name)):
        if len(canonical(made)) <= limit:
            break
        made[name] = _cut(claim[name])
    for name in sorted(INPUTS & made.keys()):
        if len(canonical(made)) <= limit:
            break
        said = made[name]
        made[name] = [_bound(one) for one in said] if isinstance(said, list) else said and _bound(said)
    return made


def _bound(part: dict[str, Any]) -> dict[str, Any]:
    """An input by its contract, which has its digests."""
    return {"id": part["id"], "contract": part["contract"]} if part["contract"] else part


def differences(asset: Dataset | Model, claim: Mapping[str, Any], result: Mapping[str, Any] | None = None) -> list[str]:
    """Names of what a record says otherwise than its recorded claim (opened, if it was sealed) and result. What an older version
    did not claim is not compared."""
    names = _others(asset, claim, claim_of(asset))
    if isinstance(asset, Model):
        names += _other_inputs(asset, claim)
        if result is not None:
            names += _others(asset, result, result_claim(asset))
    return names


def _others(asset: Dataset | Model, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = json.loads(canonical(now))
    return [
        name
        for name in sorted(recorded.keys() - INPUTS - {"signer"})
        if not _same(_filled(asset, name, recorded[name]), found.get(name))
    ]


def _filled(asset: Dataset | Model, name: str, recorded: Any) -> Any:
    """A recorded part, with the defaults of what its kind did not have when it was recorded."""
    own = getattr(asset, name, None) if name in PARTS else None
    if own is None or not isinstance(recorded, dict) or "bytes" in recorded:
        return recorded
    try:
        whole = type(own).model_validate({**own.model_dump(mode="json", include=set(APART)), **recorded})
    except ValueError:
        return recorded
    return whole.model_dump(mode="json", exclude=set(APART))


def _other_inputs(model: Model, claim: Mapping[str, Any]) -> list[str]:
    """By id: what their own contracts said when it was recorded is theirs to prove."""
    said = {"datasets": model.datasets, "parent": [model.parent] if model.parent else []}
    if model.recipe:
        said["evaluation"] = model.recipe.evaluation
    names = []
    for name, ids in said.items():
        given = claim.get(name) or []
        parts = given if isinstance(given, list) else [given]
        if [part.get("id") for part in parts if isinstance(part, dict)] != ids:
            names.append(name)
    return names


def _same(recorded: Any, now: Any) -> bool:
    return bool(recorded == now) or (isinstance(recorded, dict) and "bytes" in recorded and recorded == _cut(now))


def _cut(part: Any) -> dict[str, Any]:
    text = canonical({"": part})[4:-1]
    return {"digest": digest(text), "bytes": len(text)}


def _common(asset: Dataset | Model) -> dict[str, Any]:
    return {"id": asset.id, "company": asset.company, "name": asset.name, "created_ms": asset.created_ms}


def _stored(stored: Stored) -> dict[str, Any]:
    return {"size": stored.size, "sha256": stored.sha256, "root": stored.root}


def _files(files: Sequence[OutputFile]) -> list[dict[str, Any]]:
    return [{"path": file.path, **_stored(file.stored)} for file in files]


def _input(asset: Dataset | Model, company: str, sealed: bool) -> dict[str, Any]:
    """What a claim of a company's says of an input. The digest of a secret one, or of another company's, is nobody's business
    who may see the claim: it is bound by its contract."""
    if sealed or asset.company != company or is_secret(asset, result=True):
        return {"id": asset.id, "contract": asset.contract}
    if isinstance(asset, Dataset):
        return {"id": asset.id, "sha256": asset.stored.sha256, "root": asset.stored.root, "contract": asset.contract}
    return {"id": asset.id, "digest": asset.digest, "contract": asset.contract}


class Check(Plain):
    """One thing that was looked at."""

    level: Level
    name: str = Field(description="what was checked, for people")
    state: Literal["running", "passed", "failed", "skipped"] = Field(
        description="running: how far one is that takes long, said until it has ended; never in a report"
    )
    detail: str = Field("", description="what was found; of a skipped one: why")
    seconds: float = 0.0


class Rederived(Plain):
    """What came of making an online model again from the log."""

    verdict: Literal["re-derived", "within tolerance", "failed", "impossible"] = Field(
        description="re-derived: byte by byte; within tolerance: another environment, close weights; failed: the log "
        "or the weights are not those recorded; impossible: what it would be made of is gone"
    )
    says: str = Field(description="the verdict in words, with its reason")
    digest: str = Field("", description="of the weights that were made; empty: none were")
    root: str = Field("", description="of the records that were read; empty: they were not")
    records: int = Field(0, description="records read")
    worst: float | None = Field(
        None, description="largest difference of a weight, as a part of its array's largest value"
    )
    environment: str = Field("", description="digest of the environment it was made in")
    seconds: float = 0.0


class Retranslated(Plain):
    """What came of translating an original once more."""

    digest: str = Field(description="over the ONNX file that was made, as `Model.digest`")
    fingerprint: str = Field(description="digest of the environment it was made in")
    differences: list[str] = Field([], description="what is known to be another there than where it was recorded")
    missing: str = Field("", description="what it was made with and is not there any more; empty: nothing")
    steady: bool | None = Field(
        None,
        description="whether yet another time gave the same bytes as the second; null: not asked, because it gave those "
        "recorded, or was made otherwise",
    )
    compared: str = Field(
        "", description="digest, likewise, of the recorded file where its answers were compared; empty: it is not there"
    )
    parity: Parity | None = Field(
        None, description="how far its answers are from what the original answers now; null: more than was recorded"
    )
    apart: str = Field("", description="what was found where they are further apart, or could not be compared")


class Input(Plain):
    """What a claim says of something that its asset was made of."""

    role: Literal["dataset", "held-out dataset", "parent", "original"]
    id: str
    digest: str = Field("", description="of its content; empty: the claim names its contract alone")
    contract: str = ""


class Summary(Plain):
    """What was verified, in the words of its claim on the ledger and of nothing else."""

    kind: str = Field(
        description="dataset, model (trained from a recipe), model_unverified (uploaded), translation or snapshot"
    )
    says: str = Field(description="the kind in words")
    name: str
    company: str
    created_ms: int | None = Field(None, description="when it was registered, as its claim says")
    recorded_ms: int | None = Field(
        None, description="when the ledger took its claim, by its operator's clock; null: unknown"
    )
    digest: str = Field("", description="of its content; empty: no result is recorded, or not for the reader")
    files: int | None = None
    size: int | None = Field(None, description="bytes of its content")
    metrics: dict[str, Any] = Field({}, description="as its company recorded them when it was trained or uploaded")
    inputs: list[Input] = Field([], description="what it was made of, as far as it is recorded")
    details: dict[str, Any] = Field({}, description="what else the claim says of one of its kind")


class Report(Plain):
    """What a verification found. The level is the highest all of whose checks passed, never a higher one."""

    id: str
    level: Level
    says: str = Field(description="the level in words, with every reservation")
    passed: bool = Field(description="false: at least one check failed. True says nothing of the level: look there")
    checks: list[Check]
    not_checked: list[str] = Field(description="what this verification did not look at, and would have to be trusted")
    chain: str = Field("", description="which chain, and who runs it")
    about: Summary | None = Field(
        default=None, description="what was verified; null: nothing was, so that nothing can be said of it"
    )
