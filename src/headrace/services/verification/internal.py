"""Doors for the hub when it runs in another process: `Notary`. Only tokens with an ``act`` open them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends
from pydantic import Field

from headrace.access import Principal
from headrace.assets import Dataset, Model, Plain
from headrace.errors import BadInput
from headrace.services.entrance import acting
from headrace.services.sharing import Notary

PREFIX = "/notary"
Who: TypeAlias = Annotated[Principal, Depends(acting)]


class Told(Plain):
    """An asset, with whatever it is made of."""

    asset: str = Field(max_length=64, description="id of the one that it is about")
    datasets: list[Dataset] = Field([])
    models: list[Model] = Field([])

    def parts(self) -> tuple[Dataset | Model, list[Dataset | Model]]:
        """The asset, and its inputs. Raises BadInput."""
        every: list[Dataset | Model] = [*self.datasets, *self.models]
        found = [one for one in every if one.id == self.asset]
        if len(found) != 1:
            raise BadInput(detail=f"the record of {self.asset[:64]!r} is not (or not once) among those that were sent")
        return found[0], [one for one in every if one is not found[0]]


class Revoked(Plain):
    """An asset that is not to be relied upon any more."""

    told: Told
    reason: str = Field(max_length=1000)


class Address(Plain):
    """Where it is recorded."""

    contract: str


class Digest(Plain):
    """What the ledger has of a content."""

    digest: str


def told(asset: Dataset | Model, *inputs: Dataset | Model) -> Told:
    """What is sent of an asset and its inputs."""
    every = {one.id: one for one in (*inputs, asset)}.values()
    return Told(
        asset=asset.id,
        datasets=[one for one in every if isinstance(one, Dataset)],
        models=[one for one in every if isinstance(one, Model)],
    )


def notary_router(service: Notary) -> APIRouter:
    """Routes under ``/notary``."""
    routes = APIRouter(prefix=PREFIX, tags=["internal"])

    @routes.post("/record", operation_id="record_asset")
    async def record(who: Who, told: Told) -> Address:
        """Have the ledger say what a record says; answers once that is final."""
        asset, inputs = told.parts()
        return Address(contract=await service.record(asset, inputs))

    @routes.post("/revoke", operation_id="revoke_asset", status_code=204)
    async def revoke(who: Who, revoked: Revoked) -> None:
        """Have the ledger say that an asset is not to be relied upon any more."""
        await service.revoke(revoked.told.parts()[0], revoked.reason)

    @routes.post("/recorded", operation_id="compare_asset")
    async def recorded(who: Who, told: Told) -> Digest:
        """The digest that the ledger has of an asset's content. 404: nothing is recorded; 500: the record is not what is."""
        return Digest(digest=await service.recorded(told.parts()[0]))

    return routes
