"""What was made of what: stream -> dataset -> recipe -> job -> model -> the recipes that start from it, and so on."""

from __future__ import annotations

import contextlib
import secrets
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from headrace.assets import Dataset, Job, Lineage, LineageNode, Model, revoked
from headrace.errors import Tampered, UnknownAsset
from headrace.services.sharing.fence import Asset, Fence, Kind, unfenced
from headrace.services.sharing.tables import edges, grants, holds, nodes

MOST = 2000
"""Nodes of one answer."""
NodeKind: TypeAlias = Literal["stream", "dataset", "recipe", "job", "model", "translation", "snapshot"]
SAID = "the ledger says why"
"""In the place of a reason, where the caller may not see what was revoked."""
KINDS: dict[str, NodeKind] = {"st": "stream", "ds": "dataset", "rc": "recipe", "jb": "job", "md": "model"}
"""first letters of an id -> what it is"""


def from_stream(connection: Connection, company: str, topic: str, asset: str) -> None:
    """An asset was made of a company's stream. The stream gets an id that tells nothing of its topic."""
    query = select(nodes.c.id).where(nodes.c.company == company, nodes.c.kind == "stream", nodes.c.name == topic)
    stream = connection.execute(query).scalar()
    if stream is None:
        stream = f"st_{secrets.token_hex(10)}"
        connection.execute(insert(nodes).values(id=stream, kind="stream", company=company, name=topic))
    _edge(connection, stream, asset)


def recipe(connection: Connection, model: Model) -> None:
    """A model is to be made of a recipe, and that of its inputs."""
    assert model.recipe is not None
    id, given = _recipe(model.id), model.recipe
    connection.execute(insert(nodes).values(id=id, kind="recipe", company=model.company, name=given.entry_point))
    for source in {*given.datasets, *given.evaluation, *filter(None, [given.parent])}:
        _edge(connection, source, id)
    _edge(connection, id, model.id)


def job(connection: Connection, model: Model, made: Job) -> None:
    """A job stands between the recipe and its model."""
    found = update(nodes).where(nodes.c.id == made.id).values(state=made.state)
    if not connection.execute(found).rowcount:
        values = {"id": made.id, "kind": "job", "company": made.company, "name": model.name, "state": made.state}
        connection.execute(insert(nodes).values(**values))
    connection.execute(delete(edges).where(edges.c.source == _recipe(model.id), edges.c.target == model.id))
    _edge(connection, _recipe(model.id), made.id)
    _edge(connection, made.id, model.id)


def translated(connection: Connection, model: Model) -> None:
    """A model was translated from its parent."""
    _edge(connection, model.parent, model.id)


def snapshot(connection: Connection, model: Model) -> None:
    """An online model published another: its spec stands above all it ever published, beside the streams it learned from and the
    model it started from."""
    assert model.snapshot is not None
    query = select(nodes.c.id).where(
        nodes.c.company == model.company, nodes.c.kind == "recipe", nodes.c.name == model.snapshot.model
    )
    online = connection.execute(query).scalar()
    if online is None:
        online = f"rc_{secrets.token_hex(10)}"
        values = {"id": online, "kind": "recipe", "company": model.company, "name": model.snapshot.model}
        connection.execute(insert(nodes).values(**values))
    _edge(connection, online, model.id)
    for topic in model.snapshot.topics:
        from_stream(connection, model.company, topic, model.id)
    if model.parent:
        _edge(connection, model.parent, model.id)


def depended_on(connection: Connection, asset: Asset) -> bool:
    """Whether something was made of it, somebody was granted it, or somebody's data went into it."""
    queries = [
        select(edges.c.source).where(edges.c.source == asset.id),
        select(grants.c.id).where(grants.c.asset == asset.id),
        select(holds.c.model).where(holds.c.model == asset.id),
    ]
    return any(connection.execute(query.limit(1)).first() is not None for query in queries)


def cut(connection: Connection, asset: Asset) -> None:
    """Take out an asset nothing depends on, with its recipe, its job, or a stream nothing else was made of."""
    above = {asset.id}
    if isinstance(asset, Model):
        above |= {_recipe(asset.id), asset.job} - {""}
    before = set(connection.execute(select(edges.c.source).where(edges.c.target.in_(above))).scalars())
    connection.execute(delete(edges).where(edges.c.target.in_(above)))
    used = set(connection.execute(select(edges.c.source).where(edges.c.source.in_(before))).scalars())
    connection.execute(delete(nodes).where(nodes.c.id.in_((before | above) - used)))


def graph(fence: Fence, id: str) -> Lineage:
    """All that an asset or job was made of, and of what was made of it that which the caller may know of. Raises UnknownAsset.

    What stands above is drawn without a gap: what the caller may not see of it has a kind, and a name that means nothing. What
    others made of it is nobody's business but the owner's: he sees of each that it is there, whose it is, and its state.
    """
    owner = _job(fence, id).company if id.startswith("jb_") else fence.find(id).company
    above, sources = _walk(fence, id, up=True)
    below, targets = _walk(fence, id, up=False)
    drawn = sources | targets
    shown = _known(fence, above | below)
    foreign: dict[str, LineageNode] = {}
    if owner == fence.who.company:
        foreign = _others(fence, below - shown.keys())
    else:
        wanted = below & shown.keys()
        below = wanted | _between(targets, wanted)
    kept = above | below
    alias = {one: f"hidden_{number}" for number, one in enumerate(sorted(kept - shown.keys()), 1)}
    made = []
    for one in sorted(kept):
        node = shown.get(one) or foreign.get(one) or _unseen(fence, one, above=one in above)
        made.append(node.model_copy(update={"id": alias.get(one, one)}))
    lines = sorted((alias.get(a, a), alias.get(b, b)) for a, b in drawn if a in kept and b in kept)
    return Lineage(nodes=made, edges=lines)


def names(fence: Fence, id: str) -> bool:
    """Whether a record that he may read names it: something was made of it that he may know of."""
    below, _ = _walk(fence, id, up=False)
    kinds: tuple[Kind, ...] = ("dataset", "model")
    return any(fence.seen(kind, below - {id}) for kind in kinds)


def _job(fence: Fence, id: str) -> LineageNode:
    """A job whose model stands in the tables: one of his company's, or whose result is held for it. Raises UnknownAsset."""
    made = set(fence.connection.execute(select(edges.c.target).where(edges.c.source == id)).scalars())
    found = _known(fence, {id, *made}).get(id)
    if found is None:
        raise UnknownAsset(kind="job", id=id[:40])
    return found


def _walk(fence: Fence, id: str, up: bool) -> tuple[set[str], set[tuple[str, str]]]:
    """Everything on one side of an asset, itself included, and the edges there."""
    near, far = (edges.c.target, edges.c.source) if up else (edges.c.source, edges.c.target)
    found, drawn, front = {id}, set[tuple[str, str]](), {id}
    while front and len(found) < MOST:
        rows = fence.connection.execute(select(edges).where(near.in_(sorted(front)[:MOST]))).all()
        drawn.update((row.source, row.target) for row in rows)
        front = {getattr(row, far.name) for row in rows} - found
        found |= front
    return found, drawn


def _between(drawn: set[tuple[str, str]], wanted: set[str]) -> set[str]:
    """What the wanted ones were made of, along these edges."""
    found, front = set[str](), wanted
    while front:
        front = {source for source, target in drawn if target in front} - found
        found |= front
    return found


def _known(fence: Fence, ids: set[str]) -> dict[str, LineageNode]:
    """What the caller may see: his company's own, what is granted to it, and jobs whose results are held for it."""
    seen = fence.seen("dataset", ids) | fence.seen("model", ids)
    company = fence.who.company
    held = [one.job for one in seen.values() if isinstance(one, Model) and company in one.held_for]
    query = select(nodes).where(nodes.c.id.in_(ids), or_(nodes.c.company == company, nodes.c.id.in_(held)))
    return {one.id: _node(one) for one in fence.connection.execute(query)} | {
        one.id: _asset(one) for one in seen.values()
    }


def _others(fence: Fence, ids: set[str]) -> dict[str, LineageNode]:
    """Whose these are, and how far; for the owner of what they were made of."""
    found = {}
    for one in fence.connection.execute(select(nodes).where(nodes.c.id.in_(ids))):
        found[one.id] = _node(one)
    for id in ids - found.keys():
        with contextlib.suppress(Tampered):  # its row is no record any more: it stands there without its name
            if id[:2] in {"ds", "md"} and (made := unfenced(fence.connection, id)) is not None:
                found[id] = _asset(made)
    return {id: one.model_copy(update={"name": ""}) for id, one in found.items()}


def _unseen(fence: Fence, id: str, *, above: bool) -> LineageNode:
    """What the caller may not see: its kind; and of what his was made of, that it was revoked, which is for everybody to know."""
    taken = ""
    with contextlib.suppress(Tampered):
        found = unfenced(fence.connection, id) if above and id[:2] in {"ds", "md"} else None
        if found is not None and found.deleted_ms is None and revoked(found) is not None:
            taken = SAID
    return LineageNode(id=id, kind=KINDS[id[:2]], revoked=taken)


def _node(row: Any) -> LineageNode:
    return LineageNode(id=row.id, kind=row.kind, name=row.name, company=row.company, state=row.state, revoked="")


def _asset(found: Asset) -> LineageNode:
    state = found.statistics_state if isinstance(found, Dataset) else found.state
    return LineageNode(
        id=found.id,
        kind=_kind(found),
        name=found.name,
        company=found.company,
        state=state,
        deleted=found.deleted_ms is not None,
        revoked="" if (reason := revoked(found)) is None else reason or "no reason is given",
    )


def _kind(found: Asset) -> NodeKind:
    if isinstance(found, Model) and found.snapshot is not None:
        return "snapshot"
    if isinstance(found, Model) and found.translation is not None:
        return "translation"
    return KINDS[found.id[:2]]


def _recipe(model: str) -> str:
    return f"rc_{model[3:]}"


def _edge(connection: Connection, source: str, target: str) -> None:
    connection.execute(upsert(edges).values(source=source, target=target).on_conflict_do_nothing())
