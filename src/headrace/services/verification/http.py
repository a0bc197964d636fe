"""The verification service's HTTP door: contracts, the ledger, keys. Thin: the rules are the service's."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from pydantic import Field

from headrace.access import Principal
from headrace.claims import Report
from headrace.services.apidocs import add_docs
from headrace.services.bounded import Bounded
from headrace.services.documents import describe, service_app
from headrace.services.entrance import caller, known_still, only_acting
from headrace.services.http import Scope
from headrace.services.verification.boms import MEDIA
from headrace.services.verification.internal import PREFIX, notary_router
from headrace.services.verification.lending import BUNDLE, Lent
from headrace.services.verification.records import Contracts, Keys, LedgerStatus, Said
from headrace.services.verification.service import VerificationService
from headrace.services.verification.streaming import LINES, SHOWN, Climbed
from headrace.settings import MIB

PATHS = ("/contracts", "/ledger", "/keys", "/bundles", "/verify", "/cards", "/boms", PREFIX)
"""How its paths begin."""
BODY = MIB
"""Bytes of a JSON body."""
RECORDS = 64 * MIB
"""The same, of what the hub sends: records, each of which may name every file of an output."""
Who: TypeAlias = Annotated[Principal, Depends(caller)]
Address: TypeAlias = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
_CARD: dict[int | str, dict[str, Any]] = {
    200: {"description": "the card", "content": {"text/markdown": {"schema": {"type": "string"}}}}
}
_BOM: dict[int | str, dict[str, Any]] = {
    200: {"description": "the bill", "content": {MEDIA.split(";")[0]: {"schema": {"type": "object"}}}}
}
_NOTARY = re.compile(f"{PREFIX}/")


def create_app(service: VerificationService) -> FastAPI:
    """The service over HTTP. Its life-cycle is not the app's: enter the service before; and it expects the entrance in front."""
    app = service_app(
        "verification",
        title="Headrace verification",
        summary="What is recorded of datasets and models, and whether it holds",
        description="Contracts on the ledger, read from chain data alone, and the keys that records are signed with.",
    )
    app.include_router(_routes(service))
    app.include_router(notary_router(service))
    describe(app)
    add_docs(app, "verification")
    app.add_middleware(Bounded, limit=lambda scope: RECORDS if _NOTARY.match(scope["path"]) else BODY, asks=_ask)
    return app


def _ask(scope: Scope) -> None:
    who = scope.get("headrace.principal")
    if scope["method"] == "POST" and _NOTARY.match(scope["path"]) and isinstance(who, Principal):
        only_acting(who)


def _routes(service: VerificationService) -> APIRouter:
    routes = APIRouter(tags=["verification"])

    @routes.get("/contracts/{address}", operation_id="get_contract")
    async def contract(who: Who, address: Address) -> Said:
        """All that a contract says, from chain data alone; of a sealed claim also what it says, for whoever sees the record."""
        return Said.model_validate(await service.contract(who, address))

    @routes.get("/contracts", operation_id="list_contracts")
    async def contracts(who: Who, asset: Annotated[str, Query(max_length=64, description="id")]) -> Contracts:
        """What is recorded of a dataset or model; of a snapshot with the proof that it is in its batch."""
        return Contracts(items=await service.contracts(who, asset))

    @routes.get("/ledger", operation_id="get_ledger")
    async def ledger(who: Who) -> LedgerStatus:
        """Which chain this is, who runs it, and how far it is."""
        return await service.status(who)

    @routes.get("/keys/{company}", operation_id="get_keys")
    async def keys(
        who: Who,
        company: Annotated[str, Field(max_length=64)],
        asset: Annotated[str, Query(max_length=64, description="of another company: something of theirs you see")] = "",
    ) -> Keys:
        """What a company's records are signed with: to be compared with what it says itself, and pinned."""
        return await service.keys(who, company, asset)

    @routes.get("/bundles/{id}", operation_id="get_bundle", responses=BUNDLE, response_class=Response)
    async def bundle(who: Who, request: Request, id: Annotated[str, Field(max_length=64)]) -> Response:
        """One file with which anybody can check a dataset or model offline: its content, what is recorded, signatures, evidence.
        Made when it is asked for; that of a confidential asset opens its claim for whoever has the file."""
        return Lent(
            lambda: service.bundle(who, id), f"{id}.bundle", still=partial(_still, service, who, id, request.scope)
        )

    _described(routes, service)
    _verifying(routes, service)
    return routes


def _verifying(routes: APIRouter, service: VerificationService) -> None:
    @routes.post("/verify/{id}", operation_id="verify_asset", responses=SHOWN, response_model=Report)
    async def verify(
        who: Who,
        request: Request,
        id: Annotated[str, Field(max_length=64)],
        level: Annotated[Literal["L0", "L1", "L2"], Query(description="as far as it is to be checked")] = "L1",
    ) -> Response:
        """Check what is recorded (L0), that the content is it (L1), and that its recipe or its log gives it once more (L2), which
        takes as long as training. Who closes the connection ends it; whose token ends meanwhile asks again, within a minute."""
        running = await service.verifications.take(who, id, level)
        park = partial(service.verifications.park, who, id, level)
        accepts = request.headers.get("accept", "")
        return Climbed(running, park, whole="application/json" in accepts and LINES not in accepts)


def _described(routes: APIRouter, service: VerificationService) -> None:
    @routes.get("/cards/{id}", operation_id="get_card", responses=_CARD, response_class=Response)
    async def card(who: Who, id: Annotated[str, Field(max_length=64)]) -> Response:
        """A model card, or a dataset's, from the records as the caller may see them; what they do not say is said, too."""
        return Response(await service.card(who, id), media_type="text/markdown")

    @routes.get("/boms/{id}", operation_id="get_bom", responses=_BOM, response_class=Response)
    async def bom(who: Who, id: Annotated[str, Field(max_length=64)]) -> Response:
        """A bill of materials (CycloneDX 1.6) from the same records: data, code, files and packages with their digests."""
        return Response(json.dumps(await service.bom(who, id), ensure_ascii=False), media_type=MEDIA)


async def _still(service: VerificationService, who: Principal, id: str, scope: Scope) -> None:
    """Raises once the caller may have no more of it."""
    await known_still(scope)
    await service.bundles.still(who, id)
