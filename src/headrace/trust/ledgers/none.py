"""No ledger: nothing is recorded, and every question is answered with why. In the place of one, so that nobody has to ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.errors import Unsupported
from headrace.trust.ledgers import Act, Anchored, Contract, Receipt, Status


class NoLedger:
    """See `Ledger`. No member of the family: it does nothing of what its suite asks.

    Args:
        why: there is none, and what to do.
    """

    def __init__(self, why: str) -> None:
        self.why = why

    async def account(self, company: str) -> str:
        """Raises Unsupported."""
        raise self._none()

    async def submit(self, company: str, acts: Sequence[Act]) -> list[Receipt]:
        """Raises Unsupported."""
        raise self._none()

    async def read(self, address: str) -> Contract:
        """Raises Unsupported."""
        raise self._none()

    async def anchored(self, transaction: str) -> Anchored:
        """Raises Unsupported."""
        raise self._none()

    async def evidence(self, transaction: str) -> dict[str, Any]:
        """Raises Unsupported."""
        raise self._none()

    async def status(self) -> Status:
        """Raises Unsupported."""
        raise self._none()

    def _none(self) -> Unsupported:
        return Unsupported(detail=f"nothing is recorded here: {self.why}")
