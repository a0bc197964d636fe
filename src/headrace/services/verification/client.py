"""The verification service over HTTP: `Notary` for a hub that runs in another process. Thin around the generated client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.access import LOCAL, Principal
from headrace.assets import Dataset, Model
from headrace.clients.verification import Client
from headrace.clients.verification.api.internal import compare_asset, record_asset, revoke_asset
from headrace.clients.verification.api.verification import get_contract
from headrace.clients.verification.models import Revoked as SentRevoked
from headrace.clients.verification.models import Told as SentTold
from headrace.errors import Conflict, NotFound, Tampered, UnknownContract
from headrace.services.remote import Remote, TokenFor
from headrace.services.sharing import Notary
from headrace.services.verification.internal import Address, Digest, told

PLATFORM = Principal(LOCAL, "platform", "service", frozenset({"service"}))
"""Who has something recorded: the platform, whoever registered it."""


class VerificationClient(Remote):
    """See `Notary`; and `Remote` for what it raises besides.

    Args:
        url: where the verification service answers.
        token_for: makes the token that says on whose behalf a request is.
    """

    def __init__(self, url: str, token_for: TokenFor) -> None:
        super().__init__("verification", url, token_for)
        self._client = self.over(Client(base_url=url))

    async def record(self, asset: Dataset | Model, inputs: Sequence[Dataset | Model]) -> str:
        """See `Notary.record`."""
        sent = _sent(asset, *inputs)
        found = await self.ask(PLATFORM, lambda: record_asset.asyncio_detailed(client=self._client, body=sent))
        return Address.model_validate_json(found).contract

    async def revoke(self, asset: Dataset | Model, reason: str) -> None:
        """See `Notary.revoke`."""
        sent = SentRevoked(told=_sent(asset), reason=reason)
        await self.ask(PLATFORM, lambda: revoke_asset.asyncio_detailed(client=self._client, body=sent))

    async def recorded(self, asset: Dataset | Model) -> str:
        """See `Notary.recorded`."""
        sent = _sent(asset)
        try:
            found = await self.ask(PLATFORM, lambda: compare_asset.asyncio_detailed(client=self._client, body=sent))
        except NotFound as error:
            raise UnknownContract(address=asset.id) from error
        except Conflict as error:
            raise Tampered(detail=str(error).removeprefix("Not verified: ").rstrip(".")) from error
        return Digest.model_validate_json(found).digest

    async def contract(self, who: Principal, address: str) -> dict[str, Any]:
        """See `Verification.contract`."""
        found: dict[str, Any] = json.loads(
            await self.ask(who, lambda: get_contract.asyncio_detailed(address, client=self._client))
        )
        return found


if TYPE_CHECKING:

    def _fits(client: VerificationClient) -> Notary:
        return client


def _sent(asset: Dataset | Model, *inputs: Dataset | Model) -> SentTold:
    return SentTold.from_dict(told(asset, *inputs).model_dump(mode="json"))
