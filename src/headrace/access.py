"""Who asks, and what his roles let him do in his own company. Another company's things are found only through a grant.

One table (`ROLES`) says it for every door: streams and topics, predictions, datasets, models, jobs, people. A service
asks two questions, in this order: *may he know of it?* (his company's own, or granted; otherwise NotFound), then
*may he do this?* (`require`; otherwise Forbidden).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from headrace.errors import Forbidden

Role: TypeAlias = Literal["operator", "admin", "developer", "viewer", "service", "device"]
Kind: TypeAlias = Literal["install", "user", "service", "device"]
Action: TypeAlias = Literal["ingest", "predict", "teach", "read", "write", "share", "manage", "operate"]

ROLES: dict[str, frozenset[str]] = {
    "operator": frozenset({"operate"}),
    "admin": frozenset({"ingest", "predict", "teach", "read", "write", "share", "manage"}),
    "developer": frozenset({"ingest", "predict", "teach", "read", "write"}),
    "viewer": frozenset({"predict", "read"}),
    "service": frozenset({"ingest", "predict", "teach", "read", "write"}),
    "device": frozenset({"ingest", "predict"}),
}
"""role -> actions in one's own company.

ingest: publish readings. predict: ask for predictions and explanations. teach: ``/learn`` and ``/feedback``. read: see
streams, models, datasets, jobs, the page. write: apply and delete specs, register and delete datasets and models, start
and cancel jobs. share: grant, revoke, release. manage: the company's people, devices and services. operate: the
platform's companies; it opens nobody's data.
"""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose credentials were checked."""

    company: str
    subject: str
    """Name of the user, device or service, unique in its company."""
    kind: Kind
    roles: frozenset[str]
    expires: float = math.inf
    """Seconds since the epoch until which he is who he says."""
    topics: tuple[str, ...] = ("#",)
    """Topic filters he may publish and subscribe to, inside his company's topics."""
    acting: str = ""
    """Name of the service of this platform that acts for him, as its token says; "": he is here himself."""

    def may(self, action: Action) -> bool:
        """Whether one of his roles has this action. Unknown roles have none.

        >>> who = Principal("acme", "pump-7", "device", frozenset({"device", "unheard-of"}))
        >>> who.may("ingest"), who.may("read")
        (True, False)
        """
        return any(action in ROLES.get(role, frozenset()) for role in self.roles)

    def require(self, action: Action) -> None:
        """Raises Forbidden, which names the role that would do."""
        if not self.may(action):
            needed = ", ".join(role for role, actions in ROLES.items() if action in actions)
            raise Forbidden(detail=f"{self.subject!r} may not {action} here: that needs one of the roles {needed}")


LOCAL = "local"
"""The company of a laptop: the only one until another is added."""
