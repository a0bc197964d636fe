"""Learning: models that learn from the log, and the doors through which they are asked.

log -> decode -> transform -> predict -> (outcome) -> score -> learn -> gate -> snapshot, in worker processes; the service in
the platform's process keeps the registry of applied specs, reads what the workers stored and answers questions.
"""

from __future__ import annotations

from typing import Any, Protocol

from headrace.access import Principal
from headrace.spec import Document


class Learning(Protocol):
    """What the other parts may ask of the learning service."""

    async def apply(
        self, documents: list[Document], files: dict[str, str], who: Principal | None = None
    ) -> dict[str, str]:
        """Take models into service, all or none: name -> created, changed or unchanged. Parents are read with the rights of
        `who`. Raises BadSpec, and what `parents.Weights` raises."""
        ...

    async def delete(self, name: str) -> None:
        """Take a model out of service. Raises UnknownModel."""
        ...

    def names(self) -> list[str]:
        """Models in service."""
        ...

    def last(self, name: str, key: str = "") -> dict[str, Any]:
        """The last available forecast. Raises UnknownModel, NotReady."""
        ...

    async def taught(self, name: str, kind: str, entry: dict[str, Any], wait: float) -> dict[str, Any]:
        """Append a learn or feedback entry; waits up to `wait` seconds for it to have taken effect."""
        ...
