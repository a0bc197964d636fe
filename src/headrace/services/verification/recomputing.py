"""A claim made again, from a record and the records of its inputs, and compared with what is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.assets import Dataset, Model
from headrace.claims import INPUTS, canonical, claim_of, differences
from headrace.errors import Tampered


def same(asset: Dataset | Model, recorded: Mapping[str, Any], inputs: Sequence[Dataset | Model]) -> list[str]:
    """That a claim made again is the recorded one. Raises Tampered, which names what differs.

    Args:
        recorded: opened, if it was sealed.
        inputs: the records of those of its inputs that can be seen.

    Returns:
        names of parts that have less in the recorded one, because an older version of the platform made it; all others are
        equal byte by byte.
    """
    other = differences(asset, recorded) + _inputs(recorded, inputs)
    if other:
        raise Tampered(detail=f"the record says otherwise than the ledger: {', '.join(other)}")
    now = json.loads(canonical(claim_of(asset)))
    return [name for name in sorted(recorded) if not _kept(name, recorded) and recorded[name] != now[name]]


def _kept(name: str, recorded: Mapping[str, Any]) -> bool:
    """Parts that were compared otherwise: inputs, who signs, and what stands there as a digest only."""
    part = recorded[name]
    return name in INPUTS or name == "signer" or (isinstance(part, dict) and part.keys() == {"digest", "bytes"})


def parts(recorded: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a claim says of each of its inputs."""
    found: list[dict[str, Any]] = []
    for name in sorted(INPUTS):
        said = recorded.get(name) or []
        found += [part for part in (said if isinstance(said, list) else [said]) if isinstance(part, dict)]
    return found


def _inputs(recorded: Mapping[str, Any], inputs: Sequence[Dataset | Model]) -> list[str]:
    """Of the inputs' own records, what the claim says otherwise: they were changed after it was recorded."""
    known = {one.id: _now(one) for one in inputs}
    return [
        f"{name} of its input {part['id']}"
        for part in parts(recorded)
        for name in sorted(part)
        if part.get("id") in known and part[name] != known[part["id"]][name]
    ]


def _now(asset: Dataset | Model) -> dict[str, Any]:
    if isinstance(asset, Dataset):
        content: dict[str, Any] = {"sha256": asset.stored.sha256, "root": asset.stored.root}
    else:
        content = {"digest": asset.digest}
    return {"id": asset.id, "contract": asset.contract, **content}
