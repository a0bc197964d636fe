"""What was verified, in words: from a claim and a result that the ledger was shown to have, and from nothing else.

A claim may be anybody's, so nothing of it is believed to be of the type it should be; what is not is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from headrace.claims import Input, Summary

Said: TypeAlias = Mapping[str, Any]
HOW = {
    "dataset": "a dataset",
    "model": "a model, recorded as trained from a recipe",
    "model_unverified": "a model that was uploaded as it is: no recipe is recorded, how it was trained is unknown",
    "translation": "a translation of another model to ONNX",
    "snapshot": "what an online model had learned",
}
"""Kind -> the words for it."""
_NOTHING: tuple[object, ...] = (None, "", [], {})
_TRANSLATION = ("of", "digest", "framework", "exporter", "opset", "dropout")
_PARITY = ("inputs", "real", "worst", "tolerance")
_SNAPSHOT = (
    "model",
    "key",
    "generation",
    "topics",
    "first_position",
    "last_position",
    "records",
    "root",
    "published_ms",
)
_STREAM = ("topic", "from_ms", "to_ms", "records", "root")


def summary(
    claim: Said, result: Said | None = None, recorded_ms: int | None = None, *, digests: bool = True
) -> Summary:
    """What they say.

    Args:
        claim: opened, if it was sealed.
        result: likewise, if one is recorded and may be told.
        digests: whether those of the inputs may be told.
    """
    kind = kind_of(claim)
    says = claim if claim.get("recipe") is None else result or {}
    files, whole = _files(says) if kind != "dataset" else (1, _count(claim.get("size")))
    return Summary(
        kind=kind,
        says=f"{HOW[kind]} made of a stream" if kind == "dataset" and claim.get("stream") else HOW[kind],
        name=str(claim.get("name", "")),
        company=str(claim.get("company", "")),
        created_ms=_count(claim.get("created_ms")),
        recorded_ms=recorded_ms,
        digest=str(says.get("sha256" if kind == "dataset" else "digest") or ""),
        files=files,
        size=whole,
        metrics=_open(says.get("metrics")),
        inputs=_inputs(claim, kind, digests=digests),
        details={name: value for name, value in _details(claim, says, kind).items() if value not in _NOTHING},
    )


def kind_of(claim: Said) -> str:
    """What it is a claim of; what calls itself nothing we know is an upload."""
    if str(claim.get("schema", "")).startswith("headrace/dataset/"):
        return "dataset"
    kind = claim.get("kind")
    return kind if isinstance(kind, str) and kind in HOW and kind != "dataset" else "model_unverified"


def _files(says: Said) -> tuple[int | None, int | None]:
    """How many, and their bytes; None: it does not say."""
    files = says.get("files")
    sizes = (
        [_count(file.get("size")) if isinstance(file, dict) else None for file in files]
        if isinstance(files, list)
        else []
    )
    known = [size for size in sizes if size is not None]
    return len(sizes) or None, sum(known) if sizes and len(known) == len(sizes) else None


def _inputs(claim: Said, kind: str, *, digests: bool) -> list[Input]:
    roles: Any = {
        "datasets": "dataset",
        "evaluation": "held-out dataset",
        "parent": "original" if kind == "translation" else "parent",
    }
    found = []
    for name, role in roles.items():
        said = claim.get(name) or []
        for part in said if isinstance(said, list) else [said]:
            if isinstance(part, dict):
                digest = str(part.get("sha256") or part.get("digest") or "") if digests else ""
                contract = str(part.get("contract") or "")
                found.append(Input(role=role, id=str(part.get("id", "")), digest=digest, contract=contract))
    return found


def _details(claim: Said, says: Said, kind: str) -> dict[str, Any]:
    if kind == "dataset":
        made = {name: claim.get(name) for name in ("media", "samples", "sample_shape")}
        return made | {"stream": _chosen(claim.get("stream"), _STREAM)}
    found = {name: says.get(name) for name in ("framework", "input_shape", "output_shape", "parameters", "job")}
    if kind == "translation":
        said = _open(claim.get("translation"))
        return found | {
            "translation": _chosen(said, _TRANSLATION),
            "parity": _chosen(said.get("parity"), _PARITY),
        }
    if kind == "snapshot":
        return found | {"snapshot": _chosen(claim.get("snapshot"), _SNAPSHOT)}
    recipe = _open(claim.get("recipe"))
    code = _open(recipe.get("code")).get("sha256")
    return found | {"hyper_parameters": recipe.get("parameters"), "seeds": recipe.get("seeds"), "code": code}


def _chosen(part: object, names: tuple[str, ...]) -> dict[str, Any]:
    said = _open(part)
    return {name: said[name] for name in names if said.get(name) not in _NOTHING}


def _open(part: object) -> dict[str, Any]:
    """A part; nothing, where the claim has its digest alone because it was too long."""
    return dict(part) if isinstance(part, dict) and part.keys() != {"digest", "bytes"} else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
