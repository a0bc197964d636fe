"""What of the hub's records is said on a ledger, and when: promises of the kinds "anchor" and "revoke".

A record says `anchored` when the notary has answered, and never before. Each change that the ledger has to know of (registered,
trained, deleted) is a promise of its own, written in the transaction of the change; those of one asset are kept in order.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from sqlalchemy import Connection, select

from headrace.access import Principal
from headrace.assets import REVOKED, Dataset, Model, revoked
from headrace.errors import Conflict, HeadraceError, Temporary, Unsupported
from headrace.services.sharing import Notary, auditing
from headrace.services.sharing.fence import Asset, Fence, by_anchoring, put, shown, unfenced
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.promises import Promise, Waits, drop, kept, promise
from headrace.services.sharing.tables import pending

_Any: TypeAlias = Dataset | Model
_RECORD: TypeAdapter[_Any] = TypeAdapter(_Any)


def waiting(asset: Any, on: bool) -> Any:
    """A record that the ledger has something to learn of; as it is where there is no ledger."""
    return asset.model_copy(update={"anchoring": "waiting", "anchoring_note": ""}) if on else asset


def to_anchor(connection: Connection, asset: Asset) -> None:
    """Promise to have recorded what a record says now, if it is waiting for that."""
    if asset.anchoring == "waiting":
        promise(connection, "anchor", asset.id, asset.company)


def recorded(asset: Asset) -> bool:
    """Whether the ledger has, or is going to have, something of it."""
    return asset.anchoring != "off" or bool(asset.contract)


def to_revoke(connection: Connection, asset: Asset, reason: str) -> None:
    """Promise that the ledger will say that an asset is not to be relied upon; its record may be gone by then."""
    if recorded(asset):
        detail = {"reason": reason, "record": asset.model_dump(mode="json")}
        promise(connection, "revoke", asset.id, asset.company, detail)


class Anchoring:
    """Keeps the promises.

    Args:
        notary: has it recorded; None: there is no ledger.
    """

    def __init__(self, hub: Hub, notary: Notary | None) -> None:
        self._hub, self._notary = hub, notary

    async def start(self, anew: bool) -> None:
        """Promise what is not: of assets from before there was a ledger, and of those where it failed. Without a ledger nothing
        waits for one any more.

        Args:
            anew: the ledger is empty at each start.
        """
        step = self._give_up if self._notary is None else partial(self._take_up, anew=anew)
        await self._hub.book.write(step)

    def _give_up(self, connection: Connection) -> None:
        for asset in by_anchoring(connection, "waiting", "failed"):
            drop(connection, asset.id, "anchor")
            put(connection, asset.model_copy(update={"anchoring": "off", "anchoring_note": ""}))

    def _take_up(self, connection: Connection, anew: bool) -> None:
        promised = set(connection.execute(select(pending.c.asset).where(pending.c.kind == "anchor")).scalars())
        for asset in by_anchoring(connection, "off", "waiting", "failed", *(("anchored",) if anew else ())):
            if asset.id in promised and not anew:
                continue
            fresh = waiting(asset, True)
            fresh = fresh.model_copy(update={"contract": ""}) if anew else fresh
            drop(connection, asset.id, *(["anchor", "revoke"] if anew else ["anchor"]))
            put(connection, fresh)
            to_anchor(connection, fresh)

    async def anchor(self, promised: Promise) -> None:
        """Have the ledger say what the record says. Raises Temporary."""
        assert self._notary is not None
        asset, inputs = await self._hub.book.read(lambda connection: _read(connection, promised.asset))
        if asset is None or (asset.deleted_ms is not None and not _let_go(asset)):
            await self._hub.book.write(lambda connection: kept(connection, promised.id))
            return
        if late := [one.id for one in inputs if one.anchoring == "waiting" and one.deleted_ms is None]:
            await self._note(asset, f"waits until {', '.join(late[:3])} {'are' if late[1:] else 'is'} recorded")
            raise Waits(detail=f"{late[0]} is not recorded yet")
        try:
            address = await self._notary.record(asset, inputs)
        except Temporary as error:
            await self._note(asset, f"waits for the ledger: {error}")
            raise
        except HeadraceError as error:
            await self._write(promised, asset, {"anchoring": "failed", "anchoring_note": str(error)[:1000]})
        else:
            await self._write(promised, asset, {"anchoring": "anchored", "anchoring_note": "", "contract": address})
        self._hub.nudge()

    async def _write(self, promised: Promise, asset: Asset, found: dict[str, Any]) -> None:
        """Write down what came out; while another promise of it is left, it goes on waiting."""

        def write(connection: Connection) -> None:
            kept(connection, promised.id)
            now = unfenced(connection, asset.id)
            if now is None:
                return
            changed = dict(found)
            more = select(pending.c.id).where(pending.c.asset == asset.id, pending.c.kind == "anchor").limit(1)
            if changed["anchoring"] == "anchored" and connection.execute(more).first() is not None:
                changed["anchoring"] = "waiting"
            if revoked(now) is not None:
                changed["anchoring_note"] = now.anchoring_note
            put(connection, now.model_copy(update=changed))

        await self._hub.book.write(write)

    async def _note(self, asset: Asset, said: str) -> None:
        """What it waits for, where everybody sees it; written when it changes."""
        note = said[:1000]

        def write(connection: Connection) -> None:
            now = unfenced(connection, asset.id)
            if now is not None and now.anchoring == "waiting" and now.anchoring_note != note:
                put(connection, now.model_copy(update={"anchoring_note": note}))

        if asset.anchoring_note != note:
            await self._hub.book.write(write)

    async def kept_revoke(self, promised: Promise) -> None:
        """Have the ledger say that an asset is not to be relied upon. Raises Temporary."""
        assert self._notary is not None
        asset = _RECORD.validate_python(promised.detail["record"])
        said = ""
        try:
            await self._notary.revoke(asset, promised.detail["reason"])
        except Temporary:
            raise
        except HeadraceError as error:
            said = f"the revocation failed: {error}"[:1000]

        def write(connection: Connection) -> None:
            kept(connection, promised.id)
            now = unfenced(connection, asset.id)
            if now is not None and said:
                put(connection, now.model_copy(update={"anchoring_note": said}))

        await self._hub.book.write(write)

    async def revoke(self, who: Principal, id: str, reason: str) -> Asset:
        """Have an asset of his company revoked, for ever. Raises UnknownAsset, Forbidden, Conflict, Unsupported (no ledger)."""

        def write(connection: Connection) -> Asset:
            now = self._hub.clock()
            asset = Fence(connection, who, now).own(id, "revoke")
            who.require("write")
            if self._notary is None:
                raise Unsupported(detail="nothing is recorded on a ledger here, so that nothing can be revoked there")
            if revoked(asset) is not None:
                raise Conflict(detail=f"{id} is revoked already: a reason is given once")
            to_revoke(connection, asset, reason)
            changed = asset.model_copy(update={"anchoring_note": f"{REVOKED}{reason}"[:1000]})
            put(connection, changed)
            auditing.note(connection, now, who, "revoke", id, asset.company, detail=reason)
            return shown(changed, who.company)

        async with self._hub.refusing(who, "revoke", id):
            asset = await self._hub.book.write(write)
        self._hub.nudge()
        return asset


def _let_go(asset: Asset) -> bool:
    """Whether it may have lost its content without having been deleted by anybody; what is deleted has no promises left."""
    return isinstance(asset, Model) and asset.snapshot is not None


def _read(connection: Connection, id: str) -> tuple[Asset | None, list[Asset]]:
    """A record, and those of what it is made of."""
    asset = unfenced(connection, id)
    if not isinstance(asset, Model):
        return asset, []
    evaluation = asset.recipe.evaluation if asset.recipe else []
    wanted = dict.fromkeys(one for one in (*asset.datasets, *evaluation, asset.parent) if one)
    return asset, [one for one in (unfenced(connection, each) for each in wanted) if one is not None]
