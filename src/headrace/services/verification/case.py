"""What a verification knows of an asset, more with every check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace.access import Principal
from headrace.assets import Dataset, Model, OutputFile
from headrace.services.verification.reading import Recorded
from headrace.services.verification.rungs import Skipped


@dataclass(slots=True)
class Case:
    """One asset that is looked at."""

    who: Principal
    """On whose behalf its content is read."""
    asset: Dataset | Model
    """Its record, as he may see it."""
    right: Any = "read"
    """By which he reads it."""
    found: Recorded | None = None
    """What the ledger says, once that was read."""
    time: int | None = None
    """Of the claim's block, seconds since the epoch, by the operator's clock, once that was read."""
    files: list[OutputFile] | None = None
    """Its content as it is in the store, once that was read."""
    damaged: bool = False
    """It cannot be read because of how it is, not for a reason that passes."""
    weaker: str = ""
    """A verdict below the level that was asked for."""
    barred: str = ""
    """Why he may not have it made again; "": he may."""
    taken_back: str = ""
    """Somebody's revocation of something that it was made of."""
    left: list[str] = field(default_factory=list)
    """What was not looked at."""

    @property
    def recorded(self) -> Recorded:
        """What the ledger says. Raises Skipped: it is not known."""
        if self.found is None:
            raise Skipped("what is recorded could not be read")
        return self.found

    @property
    def says(self) -> dict[str, Any]:
        """What the ledger says of its content: the claim, or of a recipe the result. Raises Skipped."""
        found = self.recorded
        if not isinstance(self.asset, Model) or self.asset.recipe is None:
            return found.opened
        if found.result_opened is None:
            raise Skipped("no result of a training is recorded")
        return found.result_opened

    @property
    def hidden(self) -> bool:
        """Whether its record does not show him what is recorded: it is held for others."""
        return (
            isinstance(self.asset, Model)
            and not self.asset.digest
            and self.found is not None
            and bool(self.found.digest)
        )


def owner(asset: Dataset | Model, who: Principal) -> Principal:
    """The company of an asset, for work that the platform does with what only that company may read."""
    subject = who.subject if who.company == asset.company else f"verification for {who.company}"
    return Principal(asset.company, subject, "service", frozenset({"service"}))
