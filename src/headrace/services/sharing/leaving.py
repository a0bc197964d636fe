"""What becomes of a deleted company's things in the hub: its contents go, its grants end, and its name is not given again
while anything is written down under it."""

from __future__ import annotations

from sqlalchemy import Connection, delete, or_, select, update

from headrace.access import Principal
from headrace.claims import GONE
from headrace.services.sharing import auditing, lineage
from headrace.services.sharing.fence import belongings, owners
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.removing import buried, erased
from headrace.services.sharing.tables import audit, companies, grants, holds, nodes, pending

PLATFORM = Principal("local", "platform", "service", frozenset())
"""Who does it."""
_NAMED = (
    companies.c.company, grants.c.company, grants.c.grantee, holds.c.company, nodes.c.company, audit.c.company, audit.c.owner,
)  # fmt: skip
"""Where a company's name stands, besides its own records."""


class Leaving:
    """Companies that go, and names that come."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def opened(self, company: str) -> None:
        """There is a company of this name."""
        self._hub.gone.discard(company)

    async def known(self, company: str) -> bool:
        """Whether anything is written down under this name: records, tombstones, grants, holds, the audit log."""
        return await self._hub.book.read(lambda connection: _known(connection, company))

    async def companies(self) -> set[str]:
        """Those that have something, or were granted something."""

        def read(connection: Connection) -> set[str]:
            granted = select(grants.c.grantee).where(grants.c.revoked_ms.is_(None)).distinct()
            return owners(connection) | set(connection.execute(granted).scalars())

        return await self._hub.book.read(read)

    async def close(self, company: str) -> None:
        """A company was deleted. Its contents and uploads go; its records too, but for tombstones of what others depend on;
        grants to it and from it end. What is held for it stays held: nobody is left to release it. May be called twice."""
        await self._hub.leaving(company)
        await self._hub.book.write(lambda connection: self._write(connection, company))
        self._hub.changes += 1
        self._hub.nudge()
        await self._hub.artifacts.forget(company)

    def _write(self, connection: Connection, company: str) -> None:
        now = self._hub.clock()
        ended = grants.c.revoked_ms.is_(None) & or_(grants.c.company == company, grants.c.grantee == company)
        connection.execute(update(grants).where(ended).values(revoked_ms=now))
        connection.execute(delete(pending).where(pending.c.company == company, pending.c.kind != "revoke"))
        left = belongings(connection, company)
        while free := [one for one in left if not lineage.depended_on(connection, one)]:
            for one in free:
                erased(connection, one, GONE)
            left = [one for one in left if one not in free]
        for one in left:
            buried(connection, one, now, GONE)
        if _known(connection, company):
            auditing.note(connection, now, PLATFORM, "delete", "", company, detail="the company was deleted")


def _known(connection: Connection, company: str) -> bool:
    return company in owners(connection, deleted=True) or any(
        connection.execute(select(name).where(name == company).limit(1)).first() for name in _NAMED
    )
