"""Deletion: for good when nothing depends on it; otherwise a tombstone stays, so that lineage has no holes."""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection, delete, select

from headrace.access import Principal
from headrace.assets import REVOKED, Model, revoked
from headrace.claims import DELETED
from headrace.errors import Conflict
from headrace.services.sharing import auditing, lineage
from headrace.services.sharing.anchoring import recorded, to_revoke
from headrace.services.sharing.fence import Asset, Fence, erase, put
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.promises import drop
from headrace.services.sharing.tables import companies, files, grants, holds


class Removing:
    """Takes assets out, and contents nobody needs."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def delete(self, who: Principal, id: str) -> bool:
        """Delete an asset of his company; returns whether a tombstone is left. Its content goes either way, unless another
        record has the same. Raises UnknownAsset, Forbidden, Conflict (it is being trained)."""

        def write(connection: Connection) -> tuple[Asset, bool, list[str]]:
            now = self._hub.clock()
            asset = Fence(connection, who, now).own(id, "delete")
            who.require("write")
            if asset.deleted_ms is not None:
                return asset, True, []
            if isinstance(asset, Model) and asset.job and asset.state in {"registered", "training"}:
                raise Conflict(detail=f"{id} is being trained; `headrace job cancel {asset.job}` first")
            stays = lineage.depended_on(connection, asset)
            contents = buried(connection, asset, now) if stays else erased(connection, asset)
            detail = "a tombstone stays" if stays else ""
            auditing.note(connection, now, who, "delete", id, asset.company, detail=detail)
            return asset, stays, contents

        async with self._hub.refusing(who, "delete", id):
            asset, stays, contents = await self._hub.book.write(write)
        self._hub.changes += 1
        self._hub.nudge()
        await self._hub.forget(asset.company, contents)
        return stays

    async def sweep(self) -> int:
        """Forget contents no record names: of registrations and deletions that were killed. Returns how many."""

        count = 0
        for company in await self._hub.book.read(_companies):
            needed = await self._hub.book.read(partial(_named, company=company))
            orphans = set(await self._hub.artifacts.list(company)) - needed
            await self._hub.forget(company, orphans)
            count += len(orphans)
        return count


def _companies(connection: Connection) -> list[str]:
    return list(connection.execute(select(companies.c.company)).scalars())


def _named(connection: Connection, company: str) -> set[str]:
    return set(connection.execute(select(files.c.sha256).where(files.c.company == company)).scalars())


def buried(connection: Connection, asset: Asset, now: int, reason: str = DELETED) -> list[str]:
    """Leave the record and its place in the lineage; returns the contents that may go."""
    said = {"anchoring_note": f"{REVOKED}{reason}"} if recorded(asset) and revoked(asset) is None else {}
    put(connection, asset.model_copy(update={"deleted_ms": now, **said}))
    _unwanted(connection, asset, reason)
    return _without_files(connection, asset)


def let_go(connection: Connection, asset: Asset, now: int) -> list[str]:
    """Leave the record and all that is said of it, on the ledger too: it was only its content that took too much room.
    Returns the contents that may go."""
    put(connection, asset.model_copy(update={"deleted_ms": now}))
    return _without_files(connection, asset)


def erased(connection: Connection, asset: Asset, reason: str = DELETED) -> list[str]:
    """Take out everything about an asset; returns the contents that may go."""
    erase(connection, asset.id)
    _unwanted(connection, asset, reason)
    connection.execute(delete(holds).where(holds.c.model == asset.id))
    connection.execute(delete(grants).where(grants.c.asset == asset.id))
    lineage.cut(connection, asset)
    return _without_files(connection, asset)


def _unwanted(connection: Connection, asset: Asset, reason: str) -> None:
    """Nothing more is done for it, but that the ledger hears of its end."""
    drop(connection, asset.id, "inspect", "submit", "anchor")
    to_revoke(connection, asset, reason)


def _without_files(connection: Connection, asset: Asset) -> list[str]:
    contents = list(connection.execute(select(files.c.sha256).where(files.c.asset == asset.id)).scalars())
    connection.execute(delete(files).where(files.c.asset == asset.id))
    return contents
