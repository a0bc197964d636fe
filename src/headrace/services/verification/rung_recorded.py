"""L0, recorded: what the chain alone says of an asset, and that its record says the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from headrace.access import Principal
from headrace.assets import Dataset, Model
from headrace.claims import canonical, differences
from headrace.errors import Conflict, NotFound, Revoked, Tampered, UnknownContract, Unsupported
from headrace.services.sharing import Store
from headrace.services.verification.bundling import Bundling
from headrace.services.verification.case import Case
from headrace.services.verification.reading import Reading
from headrace.services.verification.recomputing import parts, same
from headrace.services.verification.rungs import Skipped, Step, Tell
from headrace.services.verification.sayings import shown
from headrace.trust.ledgers import Ledger


class RungRecorded:
    """Its checks."""

    def __init__(self, ledger: Ledger, reading: Reading, bundling: Bundling, sharing: Store) -> None:
        self._ledger, self._reading, self._bundling, self._sharing = ledger, reading, bundling, sharing

    def steps(self, case: Case) -> list[Step]:
        """Of one asset."""
        snapshot = isinstance(case.asset, Model) and case.asset.snapshot is not None
        checks = {
            "leaf of an anchored batch" if snapshot else "contract": self._contract,
            "account": self._account,
            "claim": self._claim,
            "evidence": self._evidence,
            "revocation": self._not_revoked,
        }
        if isinstance(case.asset, Model) and case.asset.recipe is not None:
            checks["result"] = self._result
        return [Step("L0", name, partial(work, case)) for name, work in checks.items()]

    async def _contract(self, case: Case, _: Tell) -> str:
        """It is on the chain, and the index and the record name the same place."""
        asset = case.asset
        try:
            found = await self._reading.known(asset)
        except UnknownContract as error:
            if asset.anchoring == "anchored" or asset.contract:
                raise Tampered(detail="its record says that it is recorded, and the ledger does not") from error
            raise Skipped(_nothing(asset)) from error
        if asset.contract not in {"", found.address}:
            raise Tampered(detail=f"its record names {asset.contract}, and it is recorded in {found.address}")
        if (found.opened.get("id"), found.opened.get("company")) != (asset.id, asset.company):
            raise Tampered(detail=f"{found.address} is of {found.opened.get('id')} of {found.opened.get('company')}")
        case.found = found
        where = f"block {found.deployed.block}, transaction {found.deployed.transaction}"
        if proof := found.proof:
            return f"leaf {proof.place} of {proof.count} below the root in {where}"
        return f"{found.address}, {where}"

    async def _account(self, case: Case, _: Tell) -> str:
        found, mine = case.recorded, await self._ledger.account(case.asset.company)
        if found.owner != mine or found.company != case.asset.company:
            raise Tampered(detail=f"account {found.owner} recorded it, and that of {case.asset.company!r} is {mine}")
        return f"{mine} of {case.asset.company!r}"

    async def _claim(self, case: Case, _: Tell) -> str:
        """Byte by byte the one that the record gives now."""
        found = case.recorded
        if canonical(json.loads(found.claim)) != found.claim:
            raise Tampered(detail="the claim is not in the one form that is recorded")
        if case.hidden and not isinstance(case.asset, Dataset) and case.asset.recipe is None:
            raise Skipped("its record does not show you all that is claimed: it is held for others")
        inputs = await self._seen(case, [part["id"] for part in parts(found.opened)])
        older = same(case.asset, found.opened, inputs)
        sealed = " (sealed on the chain)" if json.loads(found.claim) != found.opened else ""
        size, less = len(canonical(found.opened)), f"; an older version had less in {', '.join(older)}" if older else ""
        return f"{size:,} bytes, equal to those made of the record again{sealed}{less}"

    async def _seen(self, case: Case, ids: Sequence[str]) -> list[Dataset | Model]:
        seen: list[Dataset | Model] = []
        for id in dict.fromkeys(ids):
            try:
                one = await record(self._sharing, case.who, id)
            except NotFound:
                case.left.append(f"its input {id}, which you may not see: only its id was compared")
                continue
            if isinstance(one, Dataset) or one.digest:
                seen.append(one)
        return seen

    async def _result(self, case: Case, _: Tell) -> str:
        """A training has ended, and what it gave is what the record says."""
        asset, found = case.asset, case.recorded
        assert isinstance(asset, Model)
        if found.result_opened is None or found.result is None:
            if asset.files and asset.anchoring == "anchored":
                raise Tampered(detail="its record says that its training is recorded, and the ledger does not")
            waits = "it waits for the ledger" if asset.files else f"it is {asset.state}"
            raise Skipped(f"no result of a training is recorded (yet): {waits}")
        if case.hidden:
            raise Skipped("its record does not show you its result: it is held for others")
        own = set(differences(asset, found.opened))
        other = [name for name in differences(asset, found.opened, found.result_opened) if name not in own]
        if other:
            raise Tampered(detail=f"the record says otherwise than the ledger: {', '.join(other)}")
        at = found.result_receipt
        return f"{found.digest}, recorded once" + (f" in block {at.block}" if at else "")

    async def _evidence(self, case: Case, _: Tell) -> str:
        """The signed transactions, in the operator's hash-chained log."""
        found = case.recorded
        try:
            said = shown(await self._bundling.sayings(case.asset))
        except Unsupported:
            case.left.append("signed transactions: this ledger keeps none, it is one for tests")
            return "this ledger is in memory and keeps no log; nothing to look at"
        except Conflict as error:
            if isinstance(case.asset, Model) and not case.asset.files:
                raise Skipped(f"there is no result to look for: it is {case.asset.state}") from error
            if case.asset.anchoring == "anchored" and found.result is not None:
                raise Tampered(detail="the index does not know which transaction recorded its result") from error
            raise Skipped(str(error)) from error
        case.time = said.time
        if (said.contract, said.owner) != (found.address, found.owner) or said.claim != found.opened:
            raise Tampered(detail="the log of signed transactions says otherwise than the chain")
        if said.result != found.result_opened or said.revoked != found.revoked:
            raise Tampered(detail="the log of signed transactions has another result or revocation than the chain")
        return f"{len(said.transactions)} signed, in a log of {said.size:,} whose head {said.operator} signed"

    async def _not_revoked(self, case: Case, _: Tell) -> str:
        if case.recorded.revoked is not None:
            raise Revoked(detail=case.recorded.revoked or "no reason is given")
        return "the ledger has no revocation now"


async def record(sharing: Store, who: Principal, id: str) -> Dataset | Model:
    """A record as he may see it. Raises NotFound."""
    return await (sharing.dataset(who, id) if id.startswith("ds_") else sharing.model(who, id))


def _nothing(asset: Dataset | Model) -> str:
    why = {"off": "there is no ledger here, or it was not asked", "waiting": "it waits for the ledger"}
    note = f" ({asset.anchoring_note})" if asset.anchoring_note else ""
    return f"nothing of it is recorded: {why.get(asset.anchoring, asset.anchoring)}{note}"
