"""The fence: the only place where datasets and models are read from the tables or written to them.

A caller gets his company's own, what a grant in force opens to it, and the held results its own data went into;
everything else does not exist for him. What the platform does on its own account (`unfenced`) is never shown to anybody.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, insert, or_, select, update

from headrace.access import Principal
from headrace.assets import UNREADABLE, Anchoring, Dataset, Model, Right, Stored
from headrace.errors import Forbidden, NotFound, Tampered, UnknownAsset
from headrace.services.sharing.tables import datasets, grants, holds, models
from headrace.stores.database import Inserting

_log = logging.getLogger(__name__)
Kind: TypeAlias = Literal["dataset", "model"]
Asset: TypeAlias = Dataset | Model
TABLES: dict[Kind, Table] = {"dataset": datasets, "model": models}
_PUT = {kind: Inserting(insert(table), *table.c.keys()) for kind, table in TABLES.items()}
OPENS: dict[Right, tuple[Right, ...]] = {"read": ("read",), "train": ("train", "derive"), "derive": ("derive",)}
"""right asked for -> rights that give it. To read is not to train: a grant says what it is meant for."""
PAGE_BYTES = 2**20
"""Characters of the records of one page: a single one may be of megabytes, and a page of thousand of them is not."""
HIDDEN: dict[str, Any] = {
    "files": [],
    "digest": "",
    "metrics": {},
    "metadata": {},
    "framework": "",
    "input_shape": None,
    "output_shape": None,
    "parameters": None,
    "translation": None,
}
"""What the record of a held model shows to its own company instead of what is there."""


def kind_of(id: str) -> Kind:
    """What an id names, by its first letters. Raises UnknownAsset."""
    kind: Kind | None = {"ds": "dataset", "md": "model"}.get(id[:2])  # type: ignore[assignment]
    if kind is None or id[2:3] != "_":
        raise UnknownAsset(kind="dataset", id=id[:40])
    return kind


def of_kind(kind: Kind, id: str) -> str:
    """The id, if it names something of that kind. Raises UnknownAsset."""
    if kind_of(id) != kind:
        raise UnknownAsset(kind=kind, id=id[:40])
    return id


def in_force(now: int) -> ColumnElement[bool]:
    """Grants that hold at this moment."""
    return and_(grants.c.revoked_ms.is_(None), or_(grants.c.expires_ms.is_(None), grants.c.expires_ms > now))


def _visible(table: Table, company: str, now: int) -> ColumnElement[bool]:
    granted = select(grants.c.asset).where(grants.c.grantee == company, in_force(now))
    held = select(holds.c.model).where(holds.c.company == company, holds.c.released_ms.is_(None))
    return or_(table.c.company == company, table.c.id.in_(granted), table.c.id.in_(held))


def _within(rows: Iterable[Row[Any]], most: int) -> tuple[list[Row[Any]], bool]:
    """The first of them, one at least, and whether there are more."""
    found: list[Row[Any]] = []
    size = 0
    for row in rows:
        size += len(row.record)
        if len(found) == most or (found and size > PAGE_BYTES):
            return found, True
        found.append(row)
    return found, False


@dataclass(frozen=True, slots=True)
class Page:
    """Which assets to list.

    `owner`: of this company only. `granted`: True: of others only; False: one's own only. `name`: a part of the name,
    whatever its case. `after`: the id the last page ended with. `snapshots`: what online models published, too; `online`: of
    this one alone.
    """

    owner: str = ""
    granted: bool | None = None
    name: str = ""
    deleted: bool = False
    after: str = ""
    limit: int = 100
    snapshots: bool = False
    online: str = ""


class Fence:
    """What one company can see at one moment, in one transaction."""

    def __init__(self, connection: Connection, who: Principal, now: int) -> None:
        self.connection, self.who, self.now = connection, who, now

    def find(self, id: str) -> Asset:
        """A record as it is. Raises UnknownAsset for what he may not know of; Tampered: it cannot be read any more."""
        kind = kind_of(id)
        table = TABLES[kind]
        query = select(table).where(table.c.id == id, _visible(table, self.who.company, self.now))
        row = self.connection.execute(query).first()
        if row is None:
            raise UnknownAsset(kind=kind, id=id)
        return _one(self.connection, kind, row)

    def own(self, id: str, deed: str) -> Asset:
        """A record of his own company. Raises UnknownAsset; Forbidden for one that is only opened to it."""
        found = self.find(id)
        if found.company != self.who.company:
            raise Forbidden(detail=f"only its owner {found.company!r} may {deed} {id}")
        return found

    def page(self, kind: Kind, page: Page) -> tuple[list[Asset], bool]:
        """The newest first, and whether there are more. Of long records (`PAGE_BYTES`) fewer than were asked for."""
        table = TABLES[kind]
        query = select(table).where(_visible(table, self.who.company, self.now))
        if page.owner:
            query = query.where(table.c.company == page.owner)
        if page.granted is not None:
            mine = table.c.company == self.who.company
            query = query.where(~mine if page.granted else mine)
        if page.name:
            query = query.where(table.c.name.icontains(page.name, autoescape=True))
        if not page.deleted:
            query = query.where(table.c.deleted_ms.is_(None))
        if kind == "model" and (page.online or not page.snapshots):
            query = query.where(models.c.online == page.online)
        if page.after:
            last = self.find(page.after)
            older = table.c.created_ms < last.created_ms
            query = query.where(or_(older, and_(table.c.created_ms == last.created_ms, table.c.id < last.id)))
        query = query.order_by(table.c.created_ms.desc(), table.c.id.desc()).limit(page.limit + 1)
        with self.connection.execute(query) as rows:
            found, more = _within(rows, page.limit)
        return _load(self.connection, kind, found), more

    def seen(self, kind: Kind, ids: Iterable[str]) -> dict[str, Asset]:
        """Those of these records that he may know of."""
        table = TABLES[kind]
        query = select(table).where(table.c.id.in_(list(ids)), _visible(table, self.who.company, self.now))
        return {found.id: found for found in _load(self.connection, kind, self.connection.execute(query))}

    def shown(self, found: Asset) -> Asset:
        """The record as he may see it."""
        company = self.who.company
        known = found.company == company or isinstance(found, Dataset) or company in found.held_for
        return shown(found, company, witness=not known and not self.rights(found.id))

    def rights(self, id: str) -> set[str]:
        """What grants in force open to his company."""
        query = select(grants.c.right).where(
            grants.c.asset == id, grants.c.grantee == self.who.company, in_force(self.now)
        )
        return set(self.connection.execute(query).scalars())

    def allowed(self, id: str, right: Right) -> Asset:
        """A record he may use so, now. Raises UnknownAsset, NotFound (a tombstone), Forbidden."""
        found = self.find(id)
        if found.deleted_ms is not None:
            raise NotFound(detail=f"{id} was deleted: its record is left, its content is gone")
        held = found.held_for if isinstance(found, Model) else []
        if right == "read" and held and self.who.company not in held:
            raise Forbidden(detail=f"{id} was trained on data of {', '.join(held)} and is held until they release it")
        if found.company == self.who.company or (right == "read" and self.who.company in held):
            return found
        if not self.rights(id).intersection(OPENS[right]):
            needed = " or ".join(OPENS[right])
            raise Forbidden(detail=f"{found.company!r} has not granted {self.who.company!r} to {right} {id} ({needed})")
        return found


def shown(found: Asset, company: str, witness: bool = False) -> Asset:
    """The record as a company may see it: of a held model without what its files, metrics and formats tell.

    Args:
        witness: it may know of the model only because its own data were used to measure it: it sees these figures.
    """
    if isinstance(found, Dataset):
        return found
    if witness:
        figures = {name: value for name, value in found.metrics.items() if company in holders_of(value)}
        return found.model_copy(update={**HIDDEN, "metrics": figures})
    if found.held_for and company not in found.held_for:
        return found.model_copy(update=HIDDEN)
    metrics = {name: _measured(value, company) for name, value in found.metrics.items()}
    return found.model_copy(update={"metrics": metrics})


def holders_of(value: Any) -> list[str]:
    """The companies an evaluation's figures are held for. Only the platform puts a list there: what else is found under
    that name is a figure some code chose to call so."""
    held = value.get("held_for") if isinstance(value, dict) else None
    return [one for one in held if isinstance(one, str)] if isinstance(held, list) else []


def _measured(value: Any, company: str) -> Any:
    """An evaluation on foreign data is held like a result: until released its figures are its data owner's."""
    held = holders_of(value)
    return {"held_for": held} if held and company not in held else value


# -- for the platform itself


def unfenced(connection: Connection, id: str) -> Asset | None:
    """A record for the platform's own work; nobody is shown what this returns. Raises Tampered: it cannot be read."""
    kind = kind_of(id)
    row = connection.execute(select(TABLES[kind]).where(TABLES[kind].c.id == id)).first()
    return None if row is None else _one(connection, kind, row)


def belongings(connection: Connection, company: str) -> list[Asset]:
    """Every record of a company that was not deleted, for the platform's own work."""
    found: list[Asset] = []
    for kind, table in TABLES.items():
        wanted = select(table).where(table.c.company == company, table.c.deleted_ms.is_(None))
        found += _load(connection, kind, connection.execute(wanted))
    return found


def older_snapshots(connection: Connection, newest: Model, kept: int) -> list[Asset]:
    """Snapshots of the same online model that were not let go yet, but for the newest so many."""
    assert newest.snapshot is not None
    query = select(models).where(
        models.c.company == newest.company, models.c.online == newest.snapshot.model, models.c.deleted_ms.is_(None)
    )
    query = query.order_by(models.c.created_ms.desc(), models.c.id.desc()).limit(100).offset(kept)
    return [one for one in _load(connection, "model", connection.execute(query)) if not unreadable(one)]


def by_anchoring(connection: Connection, *states: Anchoring) -> Iterator[Asset]:
    """Records that were not deleted and are in one of these states, the oldest first: what others are made of comes before them.
    Looked for in the text, so that a start with many records that need nothing reads none of them."""
    found: list[tuple[int, str]] = []
    for table in TABLES.values():
        said = {state: table.c.record.contains(f'"anchoring":"{state}"') for state in ("waiting", "anchored", "failed")}
        said["off"] = ~or_(*said.values())  # older records do not say
        wanted = select(table.c.created_ms, table.c.id).where(table.c.deleted_ms.is_(None))
        rows = connection.execute(wanted.where(or_(*(said[state] for state in states))))
        found += [(row.created_ms, row.id) for row in rows]
    for _, id in sorted(found):
        try:
            asset = unfenced(connection, id)
        except Tampered as error:  # one broken row is no reason for a platform not to start
            _log.warning("%s", error)
            continue
        if asset is not None:
            yield asset


def owners(connection: Connection, *, deleted: bool = False) -> set[str]:
    """Companies that have records; with `deleted` also those that have tombstones only."""
    found: set[str] = set()
    for table in TABLES.values():
        wanted = select(table.c.company).distinct()
        found |= set(connection.execute(wanted if deleted else wanted.where(table.c.deleted_ms.is_(None))).scalars())
    return found


def put(connection: Connection, asset: Asset) -> None:
    """Write a record that is there, changed."""
    table = TABLES[kind_of(asset.id)]
    connection.execute(update(table).where(table.c.id == asset.id).values(**_row(asset)))


def add(connection: Connection, asset: Asset) -> None:
    """Write a new record."""
    _PUT[kind_of(asset.id)](connection, {"id": asset.id, **_row(asset)})


def _row(asset: Asset) -> dict[str, Any]:
    """The columns beside the id. Who holds a model is not part of its record: `holds` says that."""
    if isinstance(asset, Model):
        asset = asset.model_copy(update={"held_for": []})
    values: dict[str, Any] = {
        "company": asset.company,
        "name": asset.name,
        "created_ms": asset.created_ms,
        "deleted_ms": asset.deleted_ms,
        "record": asset.model_dump_json(),
    }
    if isinstance(asset, Model):
        values["online"] = asset.snapshot.model if asset.snapshot is not None else ""
    return values


def erase(connection: Connection, id: str) -> None:
    """Take a record out of the tables."""
    table = TABLES[kind_of(id)]
    connection.execute(delete(table).where(table.c.id == id))


def unreadable(asset: Asset) -> bool:
    """Whether it stands in a list for a row that is no record any more."""
    return asset.anchoring_note.startswith(UNREADABLE)


def _one(connection: Connection, kind: Kind, row: Row[Any]) -> Asset:
    found: Asset = _load(connection, kind, [row])[0]
    if unreadable(found):
        raise Tampered(
            detail=f"the record of {row.id} cannot be read any more: put a backup of the hub's database back"
        )
    return found


def _parsed(kind: Kind, row: Row[Any]) -> Any:
    """A record; of a row that is none any more what its other columns say."""
    try:
        return (Dataset if kind == "dataset" else Model).model_validate_json(row.record)
    except ValidationError:
        known: dict[str, Any] = {
            name: getattr(row, name) for name in ("id", "company", "name", "created_ms", "deleted_ms")
        }
        known |= {
            "created_by": "",
            "anchoring": "failed",
            "anchoring_note": f"{UNREADABLE}its row is no record any more",
        }
    if kind == "model":
        return Model(**known, state="failed")
    nothing = Stored(size=0, sha256="", root="")
    return Dataset(**known, media="other", filename="", stored=nothing, statistics_state="failed")


def _load(connection: Connection, kind: Kind, rows: Iterable[Row[Any]]) -> list[Any]:
    found = [_parsed(kind, row) for row in rows]
    if kind == "dataset":
        return found
    query = select(holds.c.model, holds.c.company).where(
        holds.c.model.in_([model.id for model in found]), holds.c.kind == "result", holds.c.released_ms.is_(None)
    )
    held: dict[str, list[str]] = {}
    for model, company in connection.execute(query.order_by(holds.c.company)):
        held.setdefault(model, []).append(company)
    return [model.model_copy(update={"held_for": held[model.id]}) if model.id in held else model for model in found]
