"""Grants: one asset opened to one other company, until a day or until revoked; and the release of held results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from headrace.access import Principal
from headrace.assets import Grant, Model, new_id
from headrace.errors import BadInput, Conflict, Forbidden, NotFound, TooManyNames, UnknownAsset
from headrace.services.sharing import auditing
from headrace.services.sharing.fence import Fence, holders_of, kind_of, put
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.requests import NewGrant
from headrace.services.sharing.streams import iso
from headrace.services.sharing.tables import grants, holds

MISSES = 20
"""Names nobody has that one company may try in an hour."""
HOUR = 3_600_000
"""Milliseconds."""


class Granting:
    """Opens and closes assets to other companies."""

    def __init__(self, hub: Hub, companies: Callable[[], Container[str]] | None = None) -> None:
        """
        Args:
            companies: names of those that may be granted something; blocks. None: anybody.
        """
        self._hub, self._companies = hub, companies
        self._missed: dict[str, list[int]] = {}
        """company -> when it named one that does not exist, ms"""

    async def grant(self, who: Principal, new: NewGrant) -> Grant:
        """Open one of his company's assets. Raises UnknownAsset, Forbidden, BadInput (also: there is no such company),
        Conflict (held, deleted), TooManyNames.

        Whether a company exists is told to those only who may grant this asset, and `MISSES` times an hour: so much they have to
        know, and a list of names cannot be made of it.
        """
        exists = self._companies is None or new.grantee in await asyncio.to_thread(self._companies)

        def write(connection: Connection) -> Grant:
            now = self._hub.clock()
            self._hub.here(who.company)
            asset = Fence(connection, who, now).own(new.asset, "grant")
            who.require("share")
            _check(new, asset.company, now)
            if not exists:
                self._miss(who.company, now)
            if asset.deleted_ms is not None:
                raise Conflict(detail=f"{asset.id} was deleted; there is nothing left to grant")
            if isinstance(asset, Model) and asset.held_for:
                raise Conflict(
                    detail=f"{asset.id} is held for {', '.join(asset.held_for)}: grant it once they release it"
                )
            made = Grant(
                id=new_id("gr"),
                company=asset.company,
                created_ms=now,
                created_by=who.subject,
                **new.model_dump(),
            )
            connection.execute(insert(grants).values(made.model_dump()))
            detail = f"{made.id}: {made.right} to {made.grantee}" + (
                f" until {made.expires_ms}" if made.expires_ms else ""
            )
            auditing.note(connection, now, who, "grant", asset.id, asset.company, detail=detail)
            return made

        async with self._hub.refusing(who, "grant", new.asset):
            made = await self._hub.book.write(write)
        self._hub.changes += 1
        return made

    def _miss(self, company: str, now: int) -> None:
        """Raises BadInput: nobody has this name; TooManyNames."""
        missed = [at for at in self._missed.get(company, []) if at > now - HOUR]
        if len(missed) >= MISSES:
            raise TooManyNames(count=len(missed))
        self._missed[company] = [*missed, now]
        raise BadInput(detail="there is no company of that name here; ask its people how they are called")

    async def list(self, who: Principal, asset: str = "") -> list[Grant]:
        """Grants his company gave or got, the newest first; also those that have ended."""

        def read(connection: Connection) -> list[Grant]:
            query = select(grants).where(or_(grants.c.company == who.company, grants.c.grantee == who.company))
            if asset:
                query = query.where(grants.c.asset == asset)
            rows = connection.execute(query.order_by(grants.c.created_ms.desc(), grants.c.id).limit(1000)).mappings()
            return [Grant(**row) for row in rows]

        who.require("read")
        return await self._hub.book.read(read)

    async def revoke(self, who: Principal, id: str) -> Grant:
        """End a grant now: downloads under way stop. Raises UnknownAsset, Forbidden."""

        def write(connection: Connection) -> Grant:
            row = connection.execute(select(grants).where(grants.c.id == id)).mappings().first()
            if row is None or who.company not in {row["company"], row["grantee"]}:
                raise UnknownAsset(kind="grant", id=id)
            found = Grant(**row)
            if found.company != who.company:
                raise Forbidden(detail=f"only {found.company!r}, who gave {id}, may revoke it")
            who.require("share")
            if found.revoked_ms is not None:
                return found
            now = self._hub.clock()
            connection.execute(update(grants).where(grants.c.id == id).values(revoked_ms=now))
            detail = f"{id}: {found.right} of {found.grantee}"
            auditing.note(connection, now, who, "revoke", found.asset, found.company, detail=detail)
            return found.model_copy(update={"revoked_ms": now})

        try:
            revoked = await self._hub.book.write(write)
        except (Forbidden, NotFound) as error:
            self._refused(who, id, str(error))
            raise
        self._hub.changes += 1
        return revoked

    def _refused(self, who: Principal, id: str, said: str) -> None:
        """Somebody tried to revoke what is not his."""
        now = self._hub.clock()

        def write(connection: Connection) -> None:
            row = connection.execute(select(grants).where(grants.c.id == id)).mappings().first()
            if row is None:
                auditing.skip(connection)
            else:
                auditing.note(connection, now, who, "revoke", row["asset"], row["company"], allowed=False, detail=said)

        self._hub.note_later(write)

    async def release(self, who: Principal, id: str) -> Model:
        """His company's data went into a model, or were used to measure it, and it lets the result go.

        Raises UnknownAsset; Forbidden for anybody else's; Conflict: it was released before.
        """

        def write(connection: Connection) -> Model:
            now = self._hub.clock()
            fence = Fence(connection, who, now)
            if (before := _released(connection, id, who.company)) is not None:
                raise Conflict(
                    detail=f"{id} was released by {before[0]} on {iso(before[1])}: it is no longer held for you"
                )
            model = fence.find(id)
            if not isinstance(model, Model):
                raise BadInput(detail=f"{id} is no model: only what was trained on granted data is held")
            held = (holds.c.model == id) & (holds.c.company == who.company) & holds.c.released_ms.is_(None)
            if connection.execute(select(holds.c.kind).where(held)).first() is None:
                holders = ", ".join(model.held_for) or "nobody"
                raise Forbidden(
                    detail=f"{id} is held for {holders}, not for {who.company!r}: there is nothing to release"
                )
            who.require("share")
            connection.execute(update(holds).where(held).values(released_ms=now, released_by=who.subject))
            measured = _let_go(model.metrics, who.company)
            put(connection, model.model_copy(update={"metrics": measured}))
            auditing.note(connection, now, who, "release", id, model.company)
            rest = [company for company in model.held_for if company != who.company]
            seen = fence.shown(model)  # as he could see it until now: after this it may be none of his business
            return seen.model_copy(update={"held_for": rest})  # type: ignore[return-value]

        async with self._hub.refusing(who, "release", id):
            model = await self._hub.book.write(write)
        self._hub.changes += 1
        return model


def _released(connection: Connection, model: str, company: str) -> tuple[str, int] | None:
    """(who released it for a company last, when in ms), if nothing of it is held for that company any more."""
    mine = (holds.c.model == model) & (holds.c.company == company)
    if connection.execute(select(holds.c.kind).where(mine, holds.c.released_ms.is_(None))).first() is not None:
        return None
    query = select(holds.c.released_by, holds.c.released_ms).where(mine).order_by(holds.c.released_ms.desc())
    row = connection.execute(query).first()
    return None if row is None else (str(row.released_by), int(row.released_ms))


def _check(new: NewGrant, owner: str, now: int) -> None:
    kind_of(new.asset)
    if new.grantee == owner:
        raise BadInput(detail=f"{owner!r} owns {new.asset}: it needs no grant of its own")
    if new.expires_ms is not None and new.expires_ms <= now:
        raise BadInput(
            detail=f"expires_ms {new.expires_ms} (milliseconds since the epoch) is {iso(new.expires_ms)}, which has passed; "
            f"it is {now} now, {iso(now)}"
        )


def _let_go(metrics: dict[str, Any], company: str) -> dict[str, Any]:
    """Metrics with a company taken from those an evaluation is held for."""
    return {name: _freed(value, company) for name, value in metrics.items()}


def _freed(value: Any, company: str) -> Any:
    held = holders_of(value)
    if company not in held:
        return value
    rest = [one for one in held if one != company]
    free = {key: one for key, one in value.items() if key != "held_for"}
    return {**free, "held_for": rest} if rest else free
