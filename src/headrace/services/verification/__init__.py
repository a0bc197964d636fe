"""Verification: claims recorded on a ledger, re-read, compared, re-derived.

`headrace.services.sharing.Notary` is what the hub asks; `Verification` is the door for people, the page and other programs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from headrace.access import Principal
from headrace.assets import Job, Model
from headrace.claims import Check, Level, Rederived, Report, Retranslated
from headrace.services.sharing import Notary


class Retrainer(Protocol):
    """Whoever can run a recipe again: the training service, here or elsewhere."""

    async def reproduce(self, who: Principal, model: str, priority: int = 0) -> Job:
        """Queue a second training of a model. When it has ended well, `Job.metrics` has the ``digest`` over the files it made
        and the ``fingerprint`` of its environment; its stored files are not needed. Raises NotFound, BadInput, Forbidden."""
        ...

    async def job(self, who: Principal, id: str) -> Job:
        """How far it is. Raises NotFound."""
        ...

    async def cancel(self, who: Principal, id: str) -> Job:
        """Stop it. Raises Conflict if it has ended."""
        ...


class Rederiver(Protocol):
    """Whoever can make again what an online model published: the platform whose log it learned from."""

    async def replay(
        self, company: str, model: Model, weights: bytes | None, tell: Callable[[float], None]
    ) -> Rederived:
        """Replay the log up to a snapshot, apart from everything else, and compare root and weights.

        Args:
            weights: those recorded, for how far others are from them; None: they are gone, and only their digest is compared.
            tell: called with the part that is done, 0 to 1.

        Raises NoIsolation (a company's own code cannot be run here), Temporary (there is no room for it now).
        """
        ...


class Retranslator(Protocol):
    """Whoever can translate an original once more: the translation service."""

    async def retranslate(self, who: Principal, model: Model, tell: Callable[[str], None]) -> Retranslated:
        """Do again what made a translation, and compare the answers of the recorded file where other bytes come of it.
        Ended when its caller is cancelled.

        Args:
            who: of the company that translated it, with the rights it has now.
            tell: called with what is being done.

        Raises NotFound, Forbidden, Conflict (the original is gone, held, or another now), BadInput (it cannot be translated
        any more), NoIsolation, Temporary, TooMany.
        """
        ...


class Verification(Notary, Protocol):
    """What is recorded, and whether it holds. `who` as everywhere: what he may not know of is NotFound."""

    async def contract(self, who: Principal, address: str) -> dict[str, Any]:
        """All that a contract says, from chain data alone: ``{address, kind, owner, claim, claim_digest, result, revoked,
        deployed, recorded}``.
        Raises UnknownContract, CorruptState."""
        ...

    def verify(self, who: Principal, id: str, level: Level = "L1") -> AsyncIterator[Check | Report]:
        """Climb the ladder up to `level`: every check as it ends, then the report. L2 trains or replays again, in a sandbox.
        Raises NotFound, Forbidden, NoIsolation before the first."""
        ...

    def bundle(self, who: Principal, id: str) -> AbstractAsyncContextManager[Path]:
        """A file that somebody without account and network can verify, for as long as the context lasts.
        Raises NotFound, Forbidden, Conflict (not anchored yet)."""
        ...
