"""The fake platform's ledger and ladder: contracts from the real claims, and checks that come one after the other.

The second training of "pv-gru" goes on until it is cancelled; the answer for a thing that could not be recorded breaks off.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from headrace.assets import Dataset, Model
from headrace.claims import LEVELS, Check, Level, Report, canonical, claim_of, digest, has_result, result_claim

ACCOUNT = "0x" + digest(b"account")[7:47]
SINGLE = "a single-operator chain: whoever runs this platform alone keeps it, and could write another one"
LEDGER = {
    "kind": "embedded", "chain": 1337, "genesis": "0x" + digest(b"genesis")[7:], "height": 42, "single": True,
    "operator": digest(b"operator"), "says": SINGLE, "company": "acme", "account": ACCOUNT,
}  # fmt: skip
ENDLESS = 60.0
"""Seconds of a check that somebody cancels."""


def contracts(asset: Dataset | Model) -> list[dict[str, Any]]:
    """As the verification service says them."""
    if asset.anchoring != "anchored":
        return []
    claim = claim_of(asset)
    result = result_claim(asset) if isinstance(asset, Model) and has_result(asset) else None
    note = asset.anchoring_note
    batch = isinstance(asset, Model) and asset.snapshot is not None
    return [
        {
            "asset": asset.id, "company": asset.company, "address": asset.contract, "owner": ACCOUNT,
            "kind": "batch" if batch else "model" if isinstance(asset, Model) else "dataset",
            "claim": claim, "claim_digest": digest(canonical(claim)), "opened": None,
            "result": result, "result_digest": digest(canonical(result)) if result else "", "result_opened": None,
            "revoked": note.removeprefix("revoked: ") if note.startswith("revoked: ") else None,
            "deployed": _place(asset.contract, 12), "recorded": _place(asset.contract, 15) if result else None,
            "inclusion": {"place": 3, "count": 200, "path": [digest(b"p")] * 8, "root": digest(b"batch")} if batch else None,
        }
    ]  # fmt: skip


def _place(contract: str, block: int) -> dict[str, Any]:
    text = f"{contract} {block}".encode()
    return {"transaction": "0x" + digest(text)[7:], "contract": contract, "block": block, "block_hash": "0x" + digest(text + b"b")[7:]}  # fmt: skip


def _checks(asset: Dataset | Model, level: str) -> list[tuple[Check, str]]:
    """Each with what is said while it runs."""
    good = asset.name != "dropout net"
    files = "2 files, 84,554 bytes" if good else "model.safetensors is not what was recorded: leaf 0 differs"
    made = "made of the record again it is the recorded one"
    gone = asset.anchoring_note.removeprefix("revoked: ") if asset.anchoring_note.startswith("revoked: ") else ""
    found = [
        (Check(level="L0", name="revocation", state="failed" if gone else "passed", detail=gone, seconds=0.001), ""),
        (Check(level="L0", name="contract", state="passed", detail=f"contract {asset.contract}", seconds=0.004), ""),
        (Check(level="L0", name="claim", state="passed", detail=made, seconds=0.001), ""),
        (Check(level="L1", name="files", state="passed" if good else "failed", detail=files, seconds=0.21), "12 of 61 kB"),
        (Check(level="L2", name="training again", state="skipped", detail="nobody trains here"), "epoch 2 of 20, 10%"),
    ]  # fmt: skip
    return [one for one in found if one[0].level <= level]


async def _lines(asset: Dataset | Model, level: str) -> AsyncIterator[bytes]:
    ended = []
    for check, meanwhile in _checks(asset, level):
        if meanwhile:
            yield json.dumps({**check.model_dump(), "state": "running", "detail": meanwhile}).encode() + b"\n"
            await asyncio.sleep(ENDLESS if check.level == "L2" else 0.05)
        ended.append(check)
        yield check.model_dump_json().encode() + b"\n"
        if asset.anchoring == "failed":
            return
    passed = all(one.state != "failed" for one in ended)
    reached: Level = "none" if ended[0].state == "failed" else "L1" if passed and level != "L0" else "L0"
    says = f"{LEVELS[reached]}; of company {asset.company}; on a single-operator chain"
    left = ["when: times are the operator's clock", "a revocation that comes later"]
    report = Report(id=asset.id, level=reached, says=says, passed=passed, checks=ended, not_checked=left, chain=SINGLE)
    yield report.model_dump_json().encode() + b"\n"


def verify(asset: Dataset | Model, level: str) -> Response:
    """A line for each check, then the report."""
    if asset.company != "acme" and level == "L2":
        return JSONResponse({"error": f"only {asset.company!r} may have {asset.id} made again"}, 403)
    return StreamingResponse(_lines(asset, level), media_type="application/x-ndjson")


def keys(company: str) -> dict[str, Any]:
    """What its bundles are signed with."""
    signer = {"signing_key": "-----BEGIN PUBLIC KEY-----", "signer": digest(f"signer of {company}".encode())}
    return {"company": company, "account": ACCOUNT, "operator": LEDGER["operator"], **signer}


def taken(what: str, asset: Dataset | Model) -> Response:
    """A bundle, card or bill of materials; of a model that is held there is none."""
    if isinstance(asset, Model) and asset.held_for:
        return JSONResponse({"error": "it is held: its result may not be shown"}, 403)
    return Response(f"{what} of {asset.id}".encode(), media_type="text/markdown")
