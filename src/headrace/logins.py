"""MQTT logins: the company a device, person or token belongs to, and what it may do there."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from headrace.access import Principal
from headrace.errors import Unauthenticated
from headrace.services.gateway.mqtt import Core
from headrace.services.gateway.mqtt.logins import access_of
from headrace.services.gateway.mqtt.users import ANYTHING, Access
from headrace.tenant import Tenant
from headrace.trust.identities.local import LocalIdentities

AGAIN = 45.0
"""Seconds until somebody connected is looked up again, though nobody said that anything changed."""
COUNTED = 1.0
"""Seconds for which the number of companies is remembered."""


class CompanyLogins:
    """See `headrace.services.gateway.mqtt.logins.Logins`.

    Args:
        tenant: opens a company's part of the platform.
        loopback: only this machine can connect.
        open_: everybody may do everything.
    """

    def __init__(
        self,
        identities: LocalIdentities,
        tenant: Callable[[str], Awaitable[Tenant]],
        *,
        loopback: bool,
        open_: bool = False,
    ) -> None:
        self._identities, self._tenant = identities, tenant
        self._loopback, self._open = loopback, open_
        self._counted, self._alone = 0.0, True
        self._seen: dict[Principal, tuple[int, float]] = {}

    def anonymous(self) -> bool:
        """Laptop mode: only this machine can connect, and there is one company."""
        now = time.monotonic()
        if now >= self._counted:
            self._counted, self._alone = now + COUNTED, len(self._identities.people.companies()) == 1
        return self._open or (self._loopback and self._alone)

    async def login(self, name: str, password: bytes, address: str) -> tuple[Core, Access] | None:
        try:
            who = await self._identities.login(name, password, address)
        except Unauthenticated:
            return None
        if not (who.may("ingest") or who.may("predict")):
            return None
        return (await self._tenant(who.company)).core, access_of(who)

    async def still(self, access: Access, now: float) -> bool:
        who = access.who
        if who is None:
            return access is not ANYTHING or self.anonymous()
        generation = self._identities.generation
        seen, until = self._seen.get(who, (-1, 0.0))
        if seen == generation and now < min(until, who.expires):
            return True
        if not await self._identities.known(who):
            self._seen.pop(who, None)
            return False
        if len(self._seen) > 20_000:
            self._seen.clear()
        self._seen[who] = generation, now + AGAIN
        return True
