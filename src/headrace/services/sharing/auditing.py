"""The audit log: who did what with which asset, or tried to. Written in the transaction of the deed; never rewritten."""

from __future__ import annotations

from sqlalchemy import Connection, and_, insert, or_, select

from headrace.access import Principal
from headrace.assets import AuditEntry
from headrace.services.sharing.tables import audit
from headrace.stores.database import Inserting

_put = Inserting(insert(audit), *(each.name for each in audit.c if each.name != "id"))
LONGEST = 500
"""Characters of a detail."""


def note(
    connection: Connection,
    now: int,
    who: Principal,
    action: str,
    asset: str,
    owner: str,
    *,
    allowed: bool = True,
    detail: str = "",
) -> None:
    """One line more.

    Args:
        owner: company whose asset it is, which may read this line too; "" if there is none of that id.
    """
    line = {
        "time_ms": now,
        "company": who.company,
        "subject": who.subject[:200],
        "action": action,
        "asset": asset[:64],
        "owner": owner,
        "allowed": allowed,
        "detail": detail[:LONGEST],
    }
    _put(connection, line)


def skip(connection: Connection) -> None:
    """Nothing is noted of an id that is none, but a number is used up all the same: the next line's must not tell."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'audit'")


def entries(connection: Connection, company: str, limit: int, before: int | None) -> list[AuditEntry]:
    """What a company's people did, and what others did, or tried to do, with its assets; the newest first.

    What its people were refused of others' is in the owners' only: or whoever guesses ids could read here which are some.
    """
    mine = and_(audit.c.company == company, or_(audit.c.allowed, audit.c.owner == ""))
    query = select(audit).where(or_(mine, audit.c.owner == company))
    if before is not None:
        query = query.where(audit.c.id < before)
    rows = connection.execute(query.order_by(audit.c.id.desc()).limit(limit)).mappings()
    return [AuditEntry(**{name: row[name] for name in AuditEntry.model_fields}) for row in rows]
