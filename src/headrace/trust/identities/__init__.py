"""Identities: from a token to the principal behind it. The only place where a token is believed."""

from __future__ import annotations

from typing import Protocol

from headrace.access import Principal
from headrace.plugins import Family


class Identities(Protocol):
    """Checks tokens."""

    @property
    def generation(self) -> int:
        """Changes when somebody who was believed may no longer be: what was remembered of `verify` has to be forgotten."""
        ...

    async def verify(self, token: str) -> Principal:
        """Who the bearer of a token is.

        Raises:
            Unauthenticated: not one of ours, expired, revoked, of another realm or audience, or signed by nobody.
        """
        ...


IDENTITIES = Family("identities", {"local": "headrace.trust.identities.local:LocalIdentities"})
